"""The report of a run: curves as they were logged, what differs, and one page that needs nothing else.

pytest tests/unit/test_reporting.py
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode
from collections.abc import Mapping
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from i2i_core.errors import CheckpointError
from i2i_core.evaluation import extremes
from i2i_core.evaluation.suite import BETTER
from i2i_core.images.codec import decode
from i2i_core.images.sheet import png_bytes
from i2i_core.reporting.charts import chart, ticks
from i2i_core.reporting.facts import RunFacts, differences
from i2i_core.reporting.page import MOST_GRIDS, chosen, page, write_report
from i2i_core.reporting.scalars import MOST_EVENTS, Bucket, read_events, thinned
from i2i_core.runs import attempts
from i2i_core.runs.folder import RunFolder
from i2i_core.training.monitoring.boards import TensorBoard
from pipelines import report

from ..support.runs import config_of, loop_of


class Page(HTMLParser):
    """A page as a browser reads it: addresses that it needs, its text, and elements that are not closed."""

    EMPTY = ("meta", "img", "input", "line", "circle", "polyline", "polygon", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if not self.open or self.open[-1] not in ("style", "script") else ""


@pytest.fixture(scope="module")
def trained(paired: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A short run with logs, grids and evaluations."""
    over = {"monitoring__grid_every": 36, "monitoring__log_every": 12, "monitoring__evaluate_every": 48}
    storage = str(tmp_path_factory.mktemp("reported"))
    loop = loop_of(config_of("pix2pix", paired, storage, training__images=96, **over))
    attempts.claim(loop.run, "first", since=0.0)
    loop.run.write(loop.run.CONFIG, loop.config.dumps().encode())  # as a launch does
    loop.train()
    return loop.run


# ---- curves ----


def test_events_are_read_as_they_were_shown(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    board = TensorBoard(run)
    board.describe(0, {"training.batch": 4}, "")
    for images in (10, 20):
        board.scalars(images, {"D/loss": images / 4, "G/loss": math.nan})
    board.text(20, "diagnosis/D/certain", "D is certain")
    board.picture(20, np.zeros((4, 4, 3), np.uint8))
    found = read_events(run)
    assert found.scalars["D/loss"] == [(10, 2.5), (20, 5.0)]
    assert [images for images, value in found.scalars["G/loss"] if math.isnan(value)] == [10, 20]
    assert found.texts == [(20, "diagnosis/D/certain", "D is certain")], "the configuration is no warning"


def test_events_of_a_resumed_run_take_the_place_of_what_was_not_kept(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    first, second = TensorBoard(run), TensorBoard(run)
    second.name = first.name.replace("tfevents.", "tfevents.9", 1)  # begins later
    for images in (10, 20, 30):
        first.scalars(images, {"D/loss": 1.0})
        first.text(images, "diagnosis/D/certain", f"first {images}")
        first.scalars(images, {"D/early": 1.0})
    second.describe(12, {}, "")
    for images in (20, 40):
        second.scalars(images, {"D/loss": 2.0})
        second.text(images, "diagnosis/D/certain", f"second {images}")
    found = read_events(run)
    assert found.scalars["D/loss"] == [(10, 1.0), (20, 2.0), (40, 2.0)]
    assert found.scalars["D/early"] == [(10, 1.0)], "the second launch never said it"
    assert [text for _, _, text in found.texts] == ["first 10", "second 20", "second 40"]


def test_events_of_a_killed_run_are_read_up_to_the_half_record(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    board = TensorBoard(run)
    board.scalars(10, {"D/loss": 1.0})
    whole = board.file.stat().st_size
    board.scalars(20, {"D/loss": 2.0})
    board.file.write_bytes(board.file.read_bytes()[: whole + 7])
    assert read_events(run).scalars == {"D/loss": [(10, 1.0)]}


def test_events_of_too_many_bytes_are_left_out_and_said(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    board = TensorBoard(run)
    board.scalars(10, {"D/loss": 1.0})
    with open(board.file, "ab") as file:
        file.truncate(MOST_EVENTS + 1)
    found = read_events(run)
    assert not found.scalars
    assert found.left_out == "event files of 1.00 GiB, of which at most 1.00 GiB are read"


def test_thinned_curves_are_means_of_neighbours_with_their_range() -> None:
    series = [(1, 2.0), (2, 4.0), (3, math.inf), (4, 9.0)]
    assert thinned(series, 2) == [Bucket(1.5, 3.0, 2.0, 4.0), Bucket(4.0, 9.0, 9.0, 9.0)]
    assert thinned([], 2) == []
    assert len(thinned([(n, float(n)) for n in range(1000)], 240)) == 200, "five each"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 5, 10]),
        (0, 11008, [0, 5000, 10000]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (0.0221, 0.0261, [0.023, 0.024, 0.025, 0.026]),
    ],
)
def test_ticks_are_round_numbers_within_the_limits(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_chart_puts_values_where_they_belong() -> None:
    """From (0, 0) at the left below to the last image at the right; the highest mean lies a tenth below the top."""
    drawn = chart("D/loss", [[(0, 0.0), (50, 10.0), (100, 5.0)]])
    (line,) = re.findall(r'<polyline class="run0" points="([^"]*)"', drawn)
    points = [tuple(map(float, point.split(","))) for point in line.split()]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert (x0, x1, x2) == (58, 214, 370)
    assert y0 == 166, "0 is the lowest value, and the axis begins there"
    assert (y0 - y1) / (y0 - y2) == pytest.approx(2, rel=1e-2)
    assert y0 - y1 == pytest.approx(158 / 1.1, abs=0.1)


def test_chart_counts_values_that_are_not_finite_and_draws_the_others() -> None:
    drawn = chart("G/loss", [[(0, 1.0), (1, math.nan), (2, 3.0)], []])
    assert "(1 not finite)" in drawn
    assert drawn.count("<polyline") == 1
    assert "no finite value" in chart("G/loss", [[(0, math.inf)]])


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-30, 1e30])
def test_chart_of_one_constant_value_is_drawn(value: float) -> None:
    drawn = chart("lr", [[(0, value), (10, value)]])
    assert "nan" not in drawn
    assert drawn.count("<polyline") == 1


# ---- what differs ----


def test_differences_are_the_keys_in_which_runs_differ(paired: str, tmp_path: Path) -> None:
    runs = []
    for name, values in (("one", {}), ("two", {"training__seed": 5, "hyper__lambda_l1": 7.0})):
        config = config_of("pix2pix", paired, str(tmp_path), launch__name=name, **values)
        run = RunFolder.of(config)
        run.write(run.CONFIG, config.dumps().encode())
        runs.append(RunFacts.of(run.url))
    found = dict(differences(runs))
    assert found.keys() == {"training.seed", "hyper.lambda_l1"}
    assert found["hyper.lambda_l1"] == [100.0, 7.0]
    assert {key: values for key, *values in runs[1].beside_preset()}["hyper.lambda_l1"] == [100.0, 7.0]


# ---- the page ----


def test_page_of_a_run_shows_what_it_left_and_needs_no_other_file(trained: RunFolder) -> None:
    facts = RunFacts.of(trained.url)
    text = page([facts])
    read = Page(text)
    assert read.open == []
    assert all(source.startswith("data:image/") for source in read.sources)
    assert len(read.sources) == 4 + 1, "grids after 0, 36, 72 and 96 images, and the samples"
    for name in facts.events.scalars:
        assert name in read.text
    for number in (f"{facts.last['paired']['metrics']['l1']['value']:.4g}", "mean |G(a) - b|", "after 96 images"):
        assert number in read.text
    assert "measured on 32 images only, where one image is 3% of a share" in read.text
    assert {"D/loss", "G/l1", "val/l1"} <= facts.events.scalars.keys()
    assert [images for images, _ in facts.events.scalars["D/loss"]] == [12 * n for n in range(1, 9)]
    assert (facts.images, facts.launches) == (96, 1)


def test_samples_at_the_end_of_a_run_are_the_extremes_of_its_last_evaluation(paired: str, tmp_path: Path) -> None:
    loop = loop_of(config_of("pix2pix", paired, str(tmp_path), training__images=12))
    loop.train()
    suite, result = loop.measuring.suites["paired"], loop.measuring.results["paired"]
    with loop.step.averaged():
        expected = extremes.sheet(suite, extremes.chosen(result.ranked, BETTER["l1"]))
    assert loop.run.read(RunFolder.SAMPLES) == png_bytes(expected)


def test_page_of_several_runs_has_a_line_for_each(trained: RunFolder) -> None:
    facts = RunFacts.of(trained.url)
    read = page([facts, facts])
    assert read.count('<polyline class="run1"') == read.count('<polyline class="run0"') > 5
    assert "Nothing: the runs have one configuration." in read


def test_page_shows_at_most_so_many_grids_the_first_and_last_among_them() -> None:
    grids = {n: f"grids/{n}.png" for n in range(100)}
    kept = [*chosen(grids)]
    assert len(kept) == MOST_GRIDS
    assert (kept[0], kept[-1]) == (0, 99)
    assert {b - a for a, b in pairwise(kept)} == {9}
    assert chosen({5: "a"}) == {5: "a"}


NASTY = "</svg><script>alert(1)</script>\"'\x1b[2J"


def test_page_escapes_every_name_and_text(trained: RunFolder, tmp_path: Path) -> None:
    """Whatever a metric, a warning, a data set or a part of the time is called, it stays text."""
    run = RunFolder(str(tmp_path / "run"))
    config: dict[str, Any] = json.loads(trained.read(trained.CONFIG))
    config["data"]["uri"] = f"/{NASTY}"
    run.write_json(run.CONFIG, config)
    metric = {"value": 1.0, "images": 3, "better": NASTY, "definition": NASTY}
    one = {"split": NASTY, "metrics": {NASTY: metric}, "warnings": [NASTY], "images": 3, "not_measured": {}}
    run.write_json(run.LAST_EVALUATION, {NASTY: one})
    speed = {
        "seconds": {NASTY: 1.0},
        "share": {NASTY: 1.0},
        "images": 1,
        "from_images": 0,
        "workers": 1,
        "device": NASTY,
    }
    run.write_json(run.SPEED, speed)
    run.write_json(run.STATUS, {"state": "failed", "error": NASTY})
    run.write_json(run.BEST, {"metric": NASTY, "checkpoint": "images-1", "value": 1.0})
    board = TensorBoard(run)
    board.scalars(1, {NASTY: 1.0, f"{NASTY}/x": 1.0})
    board.text(1, NASTY, NASTY)
    plain, read = Page(page([RunFacts.of(trained.url)])), Page(page([RunFacts.of(run.url)]))
    assert read.tags.count("script") == plain.tags.count("script") == 1
    assert "\x1b" not in read.text
    assert read.text.count("alert(1)") >= 10


def test_page_says_what_cannot_be_read(trained: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path / "run"))
    run.write(run.CONFIG, trained.read(trained.CONFIG))
    run.write(run.grid(12), b"no png")
    run.write(run.SAMPLES, b"no png")
    for name in (run.SPEED, run.LAST_EVALUATION, run.EVALUATIONS, run.STATUS):
        run.write(name, b'{"seconds": "many"}')
    text = Page(page([RunFacts.of(run.url)])).text
    assert "The grid grids/images-000000000012.png cannot be read" in text
    assert "samples.png cannot be read" in text
    assert "Not known: the last launch wrote none." in text
    assert "None was measured." in text
    assert "None was logged." in text


def test_report_of_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing at that place"):
        RunFacts.of(str(tmp_path / "none"))
    with pytest.raises(CheckpointError, match=r"a folder without config\.json"):
        RunFacts.of(str(tmp_path))


def test_report_at_the_end_of_a_run_fails_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert write_report(str(tmp_path)) == ""
    assert "no report: CheckpointError" in caplog.text


def test_report_is_written_into_the_runs_folder_and_read_back(trained: RunFolder) -> None:
    place = write_report(trained.url)
    assert place == f"{trained.url}/report.html"
    text = trained.read(RunFolder.REPORT).decode()
    (first, *_) = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", text)
    shown, grid = decode(b64decode(first), "jpg"), decode(trained.read(trained.grid(0)), "png")
    expected = Image.fromarray(grid).crop((0, 0, grid.shape[1], min(grid.shape[0], 2 * grid.shape[1])))
    expected.thumbnail((900, 1800))
    assert np.abs(shown.astype(float) - np.asarray(expected, float)).mean() < 6, "as the grid, but for JPEG"


@pytest.mark.s3
def test_report_of_a_run_in_a_bucket_is_written_there(trained: RunFolder, s3: str) -> None:
    run = RunFolder(f"{s3}/run")
    for name in (*trained.names(), *(f"{run.GRIDS}/{name}" for name in trained.names(run.GRIDS))):
        if "." in name:
            run.write(name, trained.read(name))
    assert write_report(run.url) == f"{s3}/run/report.html"
    text = run.read(RunFolder.REPORT).decode()
    assert "D/loss" in text
    assert text.count("data:image/") == 5


# ---- the program ----


def given(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["report.py", *words])
    return report.run()


def test_report_program_writes_the_page(
    trained: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert given(monkeypatch, trained.url, trained.url, "--out", f"{tmp_path}/two.html") == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/two.html: ")
    assert "2 runs" in Page((tmp_path / "two.html").read_text()).text
    assert given(monkeypatch, trained.url) == 0
    assert trained.exists(RunFolder.REPORT)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["RUN", "RUN"], "--out: found nothing"),
        (["RUN"] * 9 + ["--out", "a.html"], "RUN: found 9 runs; expected at most 8"),
        (["RUN", "--out", "a.txt"], "expected a file whose name ends in .html"),
        (["RUN", "--out", "folder/.html"], "expected a file whose name ends in .html"),
        (["nowhere"], "nothing at that place"),
    ],
)
def test_report_program_refuses_wrong_input(
    words: list[str], said: str, trained: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Mapping[str, str] = {"RUN": trained.url}
    with pytest.raises(Exception, match=re.escape(said)) as caught:
        given(monkeypatch, *(real.get(word, word) for word in words))
    assert "Traceback" not in str(caught.value)
