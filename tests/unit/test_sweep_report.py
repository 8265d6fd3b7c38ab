"""What a sweep leaves to read, from studies filled by hand.

pytest tests/unit/test_sweep_report.py
"""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import re
import tomllib
import warnings
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from PIL import Image

from i2i_core.config.run import TrainConfig
from i2i_core.search import report
from i2i_core.search.report import Report, table, write_report
from i2i_core.search.space import Space, choice, configured, integer, log_uniform, paper_values
from i2i_core.search.study import SearchedMetric
from i2i_core.settings import differences
from i2i_core.storage.folder import Folder

BASE = TrainConfig.of("cyclegan", "demo", {"launch.name": "the-sweep", "training.images": 900})
SPACE = Space(
    "cyclegan",
    {
        "hyper.lambda_cyc": log_uniform(1, 100, "small & large: <both> go wrong"),
        "hyper.pool_size": integer(0, 200, "why a history", step=10),
        "hyper.adversarial": choice(("lsgan", "hinge"), "why these terms"),
    },
)
PAPER = paper_values(SPACE, BASE)
TWIN, CHANGE = SearchedMetric("twin", "lower"), SearchedMetric("psnr", "higher")
SOME = [{"hyper.lambda_cyc": c, "hyper.pool_size": p, "hyper.adversarial": a}
        for c, p, a in ((2.0, 0, "hinge"), (30.0, 200, "lsgan"), (5.0, 100, "hinge"), (90.0, 10, "lsgan"))]  # fmt: skip


def study_of(objectives: Sequence[SearchedMetric]) -> optuna.Study:
    ways = ["minimize" if one.direction == "lower" else "maximize" for one in objectives]
    return optuna.create_study(directions=ways, sampler=optuna.samplers.RandomSampler(seed=0))


def trial(study: optuna.Study, params: dict[str, Any], values: list[float] | str | None, images: int = 900) -> None:
    """Adds a trial: its values, or why it was stopped, or None while it runs."""
    study.enqueue_trial(params)
    asked = study.ask()
    for key, parameter in SPACE.parameters.items():
        parameter.suggest(asked, key)
    asked.set_user_attr("run", f"sweeps/one/trials/{asked.number:04d}")
    asked.set_user_attr("images", images)
    if isinstance(values, str):
        asked.set_user_attr("reason", values)
        if len(study.directions) == 1:
            asked.report(0.001, images)  # better than all, and not at the end
        study.tell(asked, state=TrialState.PRUNED)
    elif values:
        for seen in (300, 900) if len(values) == 1 else ():
            asked.report(values[0] * 1000 / seen, seen)
        study.tell(asked, values)


class Page(HTMLParser):
    """A page as a browser reads it: rows of tables, code, and whether every element is closed."""

    VOID = ("meta", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & {*self.open}:
            self.rows[-1][-1] += data
        self.text += data

    def row(self, first: str) -> list[str]:
        (found,) = (row for row in self.rows if row[0] == first)
        return found


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[optuna.Study, Report, Folder]:
    """Ten trials, one metric: the paper's first, the best number 3, one stopped, one running, one far off."""
    study = study_of([TWIN])
    trial(study, PAPER, [0.04])
    trial(study, SOME[0], "stopped after 100 images: twin <0.01> & worse than others", 100)
    trial(study, SOME[1], [0.05])
    trial(study, SOME[2], [0.0321])
    trial(study, SOME[3], None, 300)
    for number in range(5):
        trial(study, {**SOME[0], "hyper.lambda_cyc": 3.0 + number}, [0.06 + 0.001 * number])
    trial(study, SOME[0], [55.0])
    sweep = Folder(str(tmp_path_factory.mktemp("sweeps") / "one"))
    return study, write_report(study, [TWIN], BASE, SPACE, sweep), sweep


def test_report_writes_a_best_configuration_that_train_takes(one: tuple[optuna.Study, Report, Folder]) -> None:
    _, left, sweep = one
    assert left.best == (sweep.at("best.json"),)
    config = TrainConfig.loads(sweep.read("best.json").decode(), "best.json")
    assert config.hyper == configured(BASE, SOME[2]).hyper
    assert config.launch.name == ""  # not the sweep's: it is a run of its own
    assert differences(configured(BASE, SOME[2]), config) == []
    assert config.training.images == 900


def test_report_writes_every_trial_into_the_table(one: tuple[optuna.Study, Report, Folder]) -> None:
    rows = list(csv.DictReader(io.StringIO(one[2].read("trials.csv").decode())))
    assert [int(row["trial"]) for row in rows] == list(range(11))
    states = ["finished", "stopped early", "finished", "finished", "running", *["finished"] * 6]
    assert [row["state"] for row in rows] == states
    assert [row["twin"] for row in rows][:5] == ["0.04", "", "0.05", "0.0321", ""]
    assert rows[1]["reason"] == "stopped after 100 images: twin <0.01> & worse than others"
    assert (rows[3]["hyper.lambda_cyc"], rows[3]["hyper.pool_size"]) == ("5.0", "100")
    assert (rows[1]["images"], rows[3]["run"]) == ("100", "sweeps/one/trials/0003")


def test_report_of_hostile_text_is_a_table_without_formulas_and_a_page_without_elements(tmp_path: Path) -> None:
    study, folder = study_of([TWIN]), Folder(str(tmp_path))
    for reason in ("=cmd|' /C calc'!A0", "@SUM(1)", "<script>x</script>", "a\x1b[2J\u202e,\nb"):
        trial(study, SOME[0], reason, 100)
    write_report(study, [TWIN], BASE, SPACE, folder)
    text = folder.read("trials.csv").decode()
    reasons = [row["reason"] for row in csv.DictReader(io.StringIO(text))]
    assert reasons == ["'=cmd|' /C calc'!A0", "'@SUM(1)", "<script>x</script>", r"a\x1b[2J\u202e,\nb"]
    page = folder.read("index.html").decode()
    assert "<script" not in page
    assert [row[-1] for row in Page(page).rows[-2:]] == [f"stopped early - {reason}" for reason in reasons[2:]]
    assert f": {reasons[3]}" in table(study, [TWIN], SPACE)


def test_page_compares_the_best_with_the_paper_and_says_why(one: tuple[optuna.Study, Report, Folder]) -> None:
    page = Page(one[2].read("index.html").decode())
    assert page.row("")[1:3] == ["paper", "best"]
    assert page.row("twin (lower is better)")[1:3] == ["0.04", "0.0321"]
    assert page.row("hyper.lambda_cyc") == [
        *("hyper.lambda_cyc", "10", "5", "1 to 100, logarithmic"),
        "small & large: <both> go wrong",
    ]
    (stopped,) = (row for row in page.rows if row[1:2] == ["1"])
    assert stopped[0] == "no grid"
    assert stopped[-1] == "stopped early - stopped after 100 images: twin <0.01> & worse than others"
    assert stopped[-2] == "hyper.lambda_cyc 2 hyper.pool_size 0 hyper.adversarial hinge"
    assert ("a", "href", "trials/0001/") in page.attributes
    assert page.row("trials")[1] == "9 finished, 1 stopped early, 1 running"


def test_page_shows_without_other_files_and_closes_every_element(one: tuple[optuna.Study, Report, Folder]) -> None:
    text = one[2].read("index.html").decode()
    page = Page(text)
    assert page.open == []
    assert "<script" not in text
    sources = [value for _, name, value in page.attributes if name == "src"]
    drawn = ("history", "slice", "parallel_coordinate", "curves", "importance")
    assert one[2].names("plots") == sorted(f"{name}.png" for name in drawn)
    for source, name in zip(sources, drawn, strict=True):
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == one[2].read(f"plots/{name}.png")


def test_page_leads_to_the_report_of_each_trial_also_of_one_that_was_ended_before_it_wrote_one(tmp_path: Path) -> None:
    study, sweep = study_of([TWIN]), Folder(str(tmp_path))
    for value in (0.4, 0.3):
        trial(study, SOME[0], [value])
    for number in (0, 1):
        sweep.write(f"trials/{number:04d}/config.json", BASE.dumps().encode())
    sweep.write("trials/0000/report.html", b"its own")
    write_report(study, [TWIN], BASE, SPACE, sweep)
    page = Page(sweep.read("index.html").decode())
    for number in (0, 1):
        assert ("a", "href", f"trials/{number:04d}/report.html") in page.attributes
    assert sweep.read("trials/0000/report.html") == b"its own"
    assert b"None was logged." in sweep.read("trials/0001/report.html")


def test_page_shows_the_last_grid_of_each_trial_small_with_a_link_to_it(tmp_path: Path) -> None:
    study, sweep = study_of([TWIN]), Folder(str(tmp_path))
    for value in (0.4, 0.3, 0.2):
        trial(study, SOME[0], [value])
    for name, red in (("images-000000000300.png", 0), ("images-000000000900.png", 255)):
        out = io.BytesIO()
        Image.new("RGB", (600, 1500), (red, 0, 0)).save(out, "PNG")
        sweep.write(f"trials/0001/grids/{name}", out.getvalue())
    sweep.write("trials/0002/grids/images-000000000900.png", b"torn")
    write_report(study, [TWIN], BASE, SPACE, sweep)
    page = Page(sweep.read("index.html").decode())
    assert page.open == []
    assert ("a", "href", "trials/0001/grids/images-000000000900.png") in page.attributes
    pictures = [value for _, name, value in page.attributes if name == "src"]
    shown = Image.open(io.BytesIO(base64.b64decode(pictures[0].removeprefix("data:image/png;base64,"))))
    assert (shown.size, shown.getpixel((9, 9))) == ((200, 200), (255, 0, 0))
    (none, _, torn) = (row[0] for row in page.rows if row[1:2] in (["0"], ["1"], ["2"]))
    assert (none, torn[:23]) == ("no grid", "its grid cannot be read")


def test_plots_show_something_and_leave_matplotlib_as_it_was(one: tuple[optuna.Study, Report, Folder]) -> None:
    for name in one[2].names("plots"):
        image = np.asarray(Image.open(io.BytesIO(one[2].read(f"plots/{name}"))).convert("L"))
        assert min(image.shape) > 250
        assert image.std() > 10
    assert plt.get_fignums() == []
    assert mpl.rcParams["axes.facecolor"] == mpl.rcParamsDefault["axes.facecolor"]


def test_plots_leave_out_a_trial_that_is_far_off_and_the_page_says_so(
    one: tuple[optuna.Study, Report, Folder],
) -> None:
    assert one[1].left_out == ("in the plots, trials that are far worse than the others: 10",)
    assert (
        "Not shown in the plots, trials that are far worse than the others: 10."
        in Page(one[2].read("index.html").decode()).text
    )


def test_plots_mark_the_best_and_keep_the_numbers_of_trials(one: tuple[optuna.Study, Report, Folder]) -> None:
    """Number 10 is far off and left out; number 3 is the best."""
    of = report._Sweep(one[0], [TWIN], SPACE, PAPER)
    with warnings.catch_warnings(action="ignore"):
        near = report._without(of, [10])
    assert [trial.number for trial in near.done] == [3, 0, 2, 5, 6, 7, 8, 9]
    with mpl.rc_context(), warnings.catch_warnings(action="ignore"):
        axes = report._curves(near)
        red = [line.get_label() for line in axes.get_lines() if line.get_color() == "crimson"]
        above = [line.get_xydata().tolist() for line in axes.get_lines() if line.get_marker() == "v"]
        bottom = axes.get_ylim()[0]
        slices = report._slice(near, 0, 1)
        rings = [axes.collections[-1].get_offsets().tolist() for axes in slices]
        dashes = [axes.get_lines()[-1].get_xdata()[0] for axes in slices]
    plt.close("all")
    assert red == ["Trial3"]
    assert above == [[[100, pytest.approx(bottom)]]], "what was stopped, off the picture, is shown at its edge"
    assert [axes.get_xlabel() for axes in slices] == ["hyper.adversarial", "hyper.lambda_cyc", "hyper.pool_size"]
    assert rings[1:] == [[[5.0, 0.0321]], [[100.0, 0.0321]]]
    assert dashes[1:] == [10.0, 50.0]


def contrast(colours: Any, ground: Any) -> Any:
    """How much colours stand out from a ground, 1 to 21, as WCAG counts it; 3 is what it asks of a picture."""
    linear = [np.where(c[..., :3] <= 0.04045, c[..., :3] / 12.92, ((c[..., :3] + 0.055) / 1.055) ** 2.4)
              for c in (np.atleast_2d(colours), np.atleast_2d(ground))]  # fmt: skip
    light, dark = (each @ [0.2126, 0.7152, 0.0722] + 0.05 for each in linear)
    return np.maximum(light / dark, dark / light)


def test_plots_show_every_trial_in_a_colour_that_stands_out(one: tuple[optuna.Study, Report, Folder]) -> None:
    """Optuna's scales begin with white: the worst trials, or the first ones, would not be seen."""
    near = report._Sweep(one[0], [TWIN], SPACE, PAPER)
    for draw in (lambda: report._slice(near, 0, 1), lambda: report._parallel(near)):
        with mpl.rc_context(), warnings.catch_warnings(action="ignore"):
            figure = np.ravel(draw())[0].figure
            report._make_legible(figure)
            figure.canvas.draw()
            shown = [(c, axes) for axes in figure.axes for c in axes.collections if c.get_array() is not None]
            assert [c for c, axes in shown if axes.get_label() != "<colorbar>"]
            for collection, axes in shown:
                ground = mpl.colors.to_rgba(axes.get_facecolor())
                assert contrast(collection.cmap(np.linspace(0, 1, 9)), np.array(ground)).min() >= 3
            plt.close("all")


def test_plots_name_the_paper_s_line_and_draw_the_best_red(one: tuple[optuna.Study, Report, Folder]) -> None:
    of = report._Sweep(one[0], [TWIN], SPACE, PAPER)
    with mpl.rc_context(), warnings.catch_warnings(action="ignore"):
        history = report._history(of, 0)
        named = [text.get_text() for text in history.get_legend().get_texts()]
        *_, red = report._parallel(of).collections
        at = red.get_segments()[0][0]
    plt.close("all")
    assert named == ["twin (lower is better)", "Best Value", "the paper's values"]
    assert mpl.colors.to_hex(red.get_color()[0]) == mpl.colors.to_hex("crimson")
    assert at.tolist() == [0, pytest.approx(0.0321)]


def test_page_says_on_how_many_samples_it_is_measured(one: tuple[optuna.Study, Report, Folder]) -> None:
    page = Page(one[2].read("index.html").decode())
    assert page.row("measured on")[1] == "split val, 256 samples of it, or all where it has fewer (--evaluate-samples)"


def test_page_s_words_are_shipped_with_the_package() -> None:
    root = Path(__file__).parents[2]
    shipped = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    files = {file for pattern in shipped["i2i_core"] for file in (root / "i2i_core").glob(pattern)}
    others = {file for file in (root / "i2i_core").rglob("*.*") if file.suffix not in (".py", ".pyc")}
    assert report.PAGE in files
    assert others <= files


def test_page_names_the_best_in_its_commands(one: tuple[optuna.Study, Report, Folder]) -> None:
    text = Page(one[2].read("index.html").decode()).text
    assert f"pipelines/train.py --config {one[2].at('best.json')}" in text
    assert "pipelines/translate.py sweeps/one/trials/0003 " in text
    assert f"optuna-dashboard {one[2].at('study.log')}" in text


def test_table_has_the_best_first_and_the_reasons(one: tuple[optuna.Study, Report, Folder]) -> None:
    lines = table(one[0], [TWIN], SPACE).splitlines()
    assert lines[0].split() == ["trial", "twin", "images", "lambda_cyc", "pool_size", "adversarial"]
    assert lines[1].split() == ["*", "3", "0.0321", "900", "5", "100", "hinge"]
    assert [line.split()[0] for line in lines[2:10]] == ["0", "2", "5", "6", "7", "8", "9", "10"]
    assert lines[-1] == "trial 1 stopped early: stopped after 100 images: twin <0.01> & worse than others"


@pytest.mark.parametrize(("nothing", "says"), [(0.5, False), (0.02, True)])
def test_report_says_where_no_trial_is_better_than_doing_nothing(nothing: float, says: bool, tmp_path: Path) -> None:
    study = study_of([TWIN])
    asked = study.ask()
    for key, parameter in SPACE.parameters.items():
        parameter.suggest(asked, key)
    asked.set_user_attr("evaluations", [[900, {"twin": 0.04, "twin_nothing": nothing}]])
    asked.set_user_attr("images", 900)
    study.tell(asked, 0.04)
    sweep = Folder(str(tmp_path))
    write_report(study, [TWIN], BASE, SPACE, sweep)
    line = f"no trial is better in twin than doing nothing, which has {nothing:g}"
    assert (line in table(study, [TWIN], SPACE)) == says
    assert (line in Page(sweep.read("index.html").decode()).text) == says


def test_report_of_several_metrics_gives_the_trials_that_no_other_beats(tmp_path: Path) -> None:
    study, objectives = study_of([TWIN, CHANGE]), [TWIN, CHANGE]
    trial(study, PAPER, [0.3, 30.0])
    trial(study, SOME[0], [0.1, 10.0])  # best in the first
    trial(study, SOME[1], [0.2, 25.0])  # between
    trial(study, SOME[2], [0.25, 20.0])  # beaten by the one before
    sweep = Folder(str(tmp_path))
    sweep.write("best-7.json", b"of an earlier report")
    sweep.write("best.json", b"of an earlier report")
    sweep.write("plots/old.png", b"of an earlier report")
    left = write_report(study, objectives, BASE, SPACE, sweep)
    assert left.best == tuple(sweep.at(f"best-{i}.json") for i in range(3))
    assert [name for name in sweep.names() if name.startswith("best")] == ["best-0.json", "best-1.json", "best-2.json"]
    cycles = [json.loads(sweep.read(f"best-{i}.json"))["hyper"]["lambda_cyc"] for i in range(3)]
    assert cycles == [2.0, 30.0, 10.0]
    assert sweep.names("plots") == sorted(
        [f"{name}-{one.metric}.png" for name in ("history", "slice") for one in objectives]
        + ["parallel_coordinate.png", "pareto_front.png"]
    )
    assert left.left_out == ("importance: 4 trials ran to their end, and it takes 8 to tell",)
    page = Page(sweep.read("index.html").decode())
    assert page.open == []
    assert page.row("hyper.lambda_cyc")[1:5] == ["10", "2", "30", "10"]
    marked = [line.split()[1] for line in table(study, objectives, SPACE).splitlines() if line.startswith("*")]
    assert marked == ["1", "2", "0", "no"]


@pytest.mark.parametrize("completed", [0, 1])
def test_report_says_why_too_few_trials_are_not_drawn(completed: int, tmp_path: Path) -> None:
    study = study_of([TWIN])
    trial(study, PAPER, [0.04] if completed else "its loss was not finite")
    trial(study, SOME[0], None)
    sweep = Folder(str(tmp_path))
    left = write_report(study, [TWIN], BASE, SPACE, sweep)
    assert left.best == ((sweep.at("best.json"),) if completed else ())
    assert sweep.exists("best.json") == bool(completed)
    assert left.left_out == (f"plots: {completed} trial(s) ran to the end, and they take two",)
    page = Page(sweep.read("index.html").decode())
    assert page.open == []
    assert ("No trial has run to its end." in page.text) == (not completed)
    assert ("no trial has run to its end" in table(study, [TWIN], SPACE)) == (not completed)


def test_report_takes_a_study_without_trials(tmp_path: Path) -> None:
    left = write_report(study_of([TWIN]), [TWIN], BASE, SPACE, Folder(str(tmp_path)))
    assert left.best == ()
    assert Page((tmp_path / "index.html").read_text()).row("trials")[1] == "none"


def test_plots_draw_two_completed_trials_of_one_parameter(tmp_path: Path) -> None:
    space = dataclasses.replace(SPACE, parameters={"hyper.lambda_cyc": SPACE.parameters["hyper.lambda_cyc"]})
    study = study_of([TWIN])
    for value in (1.0, 100.0):  # at the ends, and equal: nothing to scale colours by
        study.enqueue_trial({"hyper.lambda_cyc": value})
        asked = study.ask()
        space.parameters["hyper.lambda_cyc"].suggest(asked, "hyper.lambda_cyc")
        study.tell(asked, 0.5)
    left = write_report(study, [TWIN], BASE, space, Folder(str(tmp_path)))
    drawn = {file.stem for file in (tmp_path / "plots").iterdir()}
    said = {re.split(r"\W", line)[0] for line in left.left_out}
    assert {"history", "slice", "parallel_coordinate"} <= drawn, left.left_out
    assert drawn == {"history", "slice", "parallel_coordinate"}
    assert said == {"curves", "importance"}


def test_report_tells_no_password(tmp_path: Path) -> None:
    base = BASE.with_section("data", uri="s3://bob:SECRET@bucket/a", also=("s3://bob:SECRET@bucket/b",))
    study = study_of([TWIN])
    asked = study.ask()
    for key, parameter in SPACE.parameters.items():
        parameter.suggest(asked, key)
    asked.set_user_attr("run", "s3://bob:SECRET@bucket/sweep/trials/0000")
    study.tell(asked, 0.1)
    trial(study, SOME[2], "failed: postgresql://host/db?user=bob&password=SECRET")
    sweep = Folder(str(tmp_path))
    sweep.url = "s3://bob:SECRET@bucket/sweep"
    write_report(study, [TWIN], base, SPACE, sweep)
    page = Page(sweep.read("index.html").decode())
    assert page.row("data")[1] == "s3://bucket/a, s3://bucket/b"
    assert page.row("sweep")[1] == "s3://bucket/sweep"
    for text in (page.text, sweep.read("trials.csv").decode(), table(study, [TWIN], SPACE)):
        assert "SECRET" not in text
        assert "postgresql://host/db?user=bob" in text
