"""What a sweep tries next and what it remembers: `searcher.py`, and ASHA over it, without Ray's processes.

pytest tests/unit/test_searcher.py
"""

from __future__ import annotations

import math
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState

from i2i_core.config.run import TrainConfig
from i2i_core.config.sweep import SweepConfig
from i2i_core.errors import CheckpointError, ConfigError, RunError, UserError
from i2i_core.methods import METHODS
from i2i_core.orchestration.sweep import Asha, SweepPlan, Telling, check_same_sweep, plan
from i2i_core.runs.attempts import begin, stands
from i2i_core.runs.folder import RunFolder
from i2i_core.search.report import write_report
from i2i_core.search.space import Space, choice, log_uniform, uniform
from i2i_core.search.study import STUDY, Counts, NextTrial, Search, SearchedMetric, rehearse, study_of
from i2i_core.storage.folder import Folder
from i2i_core.storage.retry import PATIENCE
from i2i_core.training.preparing import prepare
from pipelines.tune import configure

from ..support.data import noise, put, shard
from ..support.methods import SMALL
from ..support.runs import EXACT, as_version_1
from ..support.weather import Weather

WHY = "the test"
SPACE = Space(
    "pix2pix",
    {"hyper.lambda_l1": log_uniform(1, 1000, WHY), "hyper.lr": log_uniform(1e-5, 1e-2, WHY)},
    metrics=("l1",),
    guesses=({"hyper.lambda_l1": 10.0, "hyper.lr": 1e-3},),
)
HALF_REFUSED = Space(
    "pix2pix",
    {
        "hyper.objective": choice(("L1+cGAN", "L1+GAN"), WHY),  # the second refuses matching-aware negatives
        "hyper.matching_aware": choice((False, True), WHY),
        "hyper.lambda_l1": uniform(1, 200, WHY),
    },
    metrics=("l1",),
)
ALL_REFUSED = Space("pix2pix", {"hyper.lambda_l1": uniform(-2, -1, WHY)}, metrics=("l1",))
L1 = (SearchedMetric("l1", "lower"),)


@pytest.fixture
def base(paired: str, tmp_path: Path) -> TrainConfig:
    small = {f"hyper.{k}": v for k, v in SMALL["pix2pix"].items() if k not in EXACT}
    values = {"data.uri": paired, "training.batch": 6, "training.images": 600, "monitoring.evaluate_every": 100}
    where = {"launch.storage": str(tmp_path), "launch.name": "sweep"}
    return TrainConfig.of("pix2pix", "demo", {**small, **values, **where})


def search_of(base: TrainConfig, space: Space = SPACE, samples: int = 8, **other: Any) -> Search:
    folder = Folder(f"{base.launch.storage}/{base.launch.name}")
    objectives = other.pop("objectives", L1)
    return Search(folder, space, base, objectives, other.pop("sampler", "tpe"), samples)


def asked(search: Search) -> NextTrial:
    found = search.ask()
    assert found is not None
    return found


def l1_of(trial: NextTrial) -> float:
    """Made up: best at lambda 30."""
    return 0.1 + abs(math.log(trial.config.hyper.lambda_l1 / 30))


def run_all(search: Search) -> list[dict[str, Any]]:
    """Every trial to its end; their values, in order."""
    while (trial := search.ask()) is not None:
        search.finish(trial.number, 600, {"l1": l1_of(trial)})
    return [search.values(number) for number in search.ended]


def states(search: Search) -> list[str]:
    """What another process finds in the file."""
    return [t.state.name for t in study_of(search.sweep).trials]


def test_search_tries_the_papers_values_then_the_presets_then_the_guesses(base: TrainConfig) -> None:
    search = search_of(base)
    first, own, guess, drawn = (asked(search) for _ in range(4))
    assert (first.number, first.config.hyper.lambda_l1, first.config.hyper.lr) == (0, 100.0, 2e-4)
    assert (own.config.hyper.lambda_l1, own.config.hyper.lr) == (base.hyper.lambda_l1, base.hyper.lr) == (100.0, 8e-4)
    assert (guess.config.hyper.lambda_l1, guess.config.hyper.lr) == (10.0, 1e-3)
    assert drawn.config.hyper.lambda_l1 not in (10.0, 100.0)


def test_search_leaves_out_presets_values_that_its_space_does_not_hold(base: TrainConfig) -> None:
    search = search_of(base.with_section("hyper", lr=0.5))
    assert [asked(search).config.hyper.lr for _ in range(2)] == [2e-4, 1e-3]


def test_search_prepares_each_trial(base: TrainConfig) -> None:
    first = asked(search_of(base))
    assert first.config.launch.name == "0000"
    assert first.config.launch.storage.endswith("sweep/trials")
    assert first.config.hyper.in_channels == 3, "prepared"
    assert (first.length, first.known) == (600, -1)


def test_search_gives_as_many_trials_as_asked_for(base: TrainConfig) -> None:
    assert len(run_all(search_of(base, samples=5))) == 5


def test_search_writes_what_becomes_of_a_trial_into_the_study(base: TrainConfig) -> None:
    search = search_of(base, samples=5)
    trials = [asked(search) for _ in range(5)]
    for images in (100, 200):
        search.report(1, images, {"l1": 0.9, "psnr": 7.0})
    search.finish(0, 600, {"l1": 0.2})
    search.stop_early(1)
    search.fail(2, "a term was NaN")
    search.finish(3, 600, {"l1": math.nan})
    assert search.counts() == Counts(running=1, finished=1, stopped=1, failed=2)
    assert states(search) == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED", "RUNNING"]
    stopped, failed, undefined = (search.study.trials[n] for n in (1, 2, 3))
    assert stopped.intermediate_values == {100: 0.9, 200: 0.9}
    assert stopped.user_attrs["images"] == 200
    assert stopped.user_attrs["run"].endswith("trials/0001")
    assert "after 200 images" in stopped.user_attrs["reason"]
    assert failed.user_attrs["reason"] == "a term was NaN"
    assert undefined.user_attrs["reason"] == "l1 is nan after 600 images"
    assert search.reasons() == ["trial 2: a term was NaN", "trial 3: l1 is nan after 600 images"]
    assert search.best().number == 0  # type: ignore[union-attr]
    assert trials[4].number == 4


def test_search_counts_an_evaluation_once(base: TrainConfig) -> None:
    search = search_of(base)
    asked(search)
    assert search.report(0, 100, {"l1": 0.9})
    assert not search.report(0, 100, {"l1": 0.5})
    assert search.study.trials[0].intermediate_values == {100: 0.9}


def test_search_notes_why_a_combination_is_refused_and_counts_it_as_no_trial(base: TrainConfig) -> None:
    search = search_of(base, HALF_REFUSED, samples=20)
    run_all(search)
    counts = search.counts()
    assert counts.finished == 20
    assert counts.refused > 0
    refused = [t for t in search.study.trials if t.state == TrialState.PRUNED]
    assert len(refused) == counts.refused
    for trial in refused:
        assert trial.params["hyper.objective"] == "L1+GAN"
        assert "--matching-aware" in trial.user_attrs["reason"]
        assert "run" not in trial.user_attrs


def test_search_ends_where_everything_of_a_space_is_refused(base: TrainConfig) -> None:
    search = search_of(base, ALL_REFUSED, samples=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the paper's value is outside, which `check_space` refuses
        assert asked(search).config.hyper.lambda_l1 == 100
    with pytest.raises(RunError, match=r"refused 100 combinations.*--lambda-l1: found -"):
        search.ask()
    assert search.counts() == Counts(running=1, refused=100)


def test_search_ends_where_the_data_is_gone_and_refuses_no_trial(base: TrainConfig, tmp_path: Path) -> None:
    data, aside = Path(shutil.copytree(base.data.uri, tmp_path / "data")), tmp_path / "aside"
    search = search_of(base.with_section("data", uri=str(data)))
    asked(search)
    data.rename(aside)
    for _ in range(2):
        with pytest.raises(UserError, match="data"):
            search.ask()
        assert search.counts() == Counts(running=2)
    aside.rename(data)
    second = asked(search)
    assert (second.number, second.config.hyper.lambda_l1) == (1, 100.0)
    assert search.counts() == Counts(running=2)


def test_search_notes_the_end_of_a_trial_once(base: TrainConfig) -> None:
    """Tune runs a trial again when something goes wrong at its end."""
    search = search_of(base)
    for _ in range(2):
        asked(search)
        search.report(len(search.ended), 100, {"l1": 0.5})
        search.stop_early(len(search.ended))
    before = search.study.trials[:2]
    for number in range(2):
        assert not search.report(number, 300, {"l1": 0.1})
        search.finish(number, 600, {"l1": 0.1})
        search.stop_early(number)
        search.fail(number, "its process was lost 4 times")
    assert search.study.trials[:2] == before


def test_search_notes_the_end_of_a_trial_while_storage_is_away(
    base: TrainConfig, weather: Weather, s3: str, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    search = search_of(base.with_section("launch", storage=s3))
    first, second = asked(search), asked(search)
    with monkeypatch.context() as impatient:
        impatient.setenv(PATIENCE, "0")
        weather.gone()
        search.finish(first.number, 600, {"l1": 0.5})
        weather.back()
    assert any(line.startswith("WARNING: the sweep's study is not saved yet") for line in said)
    assert states(search)[0] == "RUNNING"
    search.fail(first.number, "its process was lost 4 times")
    search.finish(second.number, 600, {"l1": 0.4})
    assert states(search)[:2] == ["COMPLETE", "COMPLETE"]
    assert search.counts() == Counts(finished=2)


def test_search_forgets_a_line_that_a_dead_process_wrote_by_half(base: TrainConfig) -> None:
    search = search_of(base)
    asked(search)
    search._handed[0].set_user_attr("reason", "others were better")
    again = search_of(base)
    asked(again)
    again.finish(0, 600, {"l1": 0.5})
    assert again.study.trials[0].user_attrs["reason"] == ""


def test_search_of_a_seed_draws_the_same_trials(base: TrainConfig) -> None:
    def drawn(name: str, seed: int) -> list[dict[str, Any]]:
        named = replace(base, launch=replace(base.launch, name=name))
        return run_all(search_of(named.with_section("training", seed=seed), samples=14))

    first = drawn("first", 1)
    assert first == drawn("second", 1)
    assert first[2:] != drawn("third", 2)[2:]
    assert len({tuple(values.values()) for values in first}) == 14


def test_search_that_is_resumed_equals_one_left_alone(base: TrainConfig, tmp_path: Path) -> None:
    """Two trials run when the process dies; the line it was writing is torn. The next one asks for those two first."""
    whole = run_all(search_of(replace(base, launch=replace(base.launch, name="whole")), samples=14))
    search = search_of(base, samples=14)
    for _ in range(11):
        trial = asked(search)
        search.finish(trial.number, 600, {"l1": l1_of(trial)})
    died = asked(search)
    search.report(died.number, 300, {"l1": 3.0})
    with Path(search.sweep.path(STUDY)).open("ab") as file:
        file.write(b'{"op_code": 4, "wor')

    again = search_of(base, samples=14)
    assert again.counts() == Counts(running=1, finished=11)
    same = asked(again)
    assert (same.number, same.known) == (died.number, 300)
    assert same.config == died.config
    assert not again.report(died.number, 300, {"l1": 3.0})
    again.finish(same.number, 600, {"l1": l1_of(same)})
    assert run_all(again) == whole
    assert states(again) == ["COMPLETE"] * 14


def test_search_takes_up_the_last_trial_left_running_and_no_other(base: TrainConfig) -> None:
    search = search_of(base, samples=2)
    for _ in range(2):
        asked(search)
    search.finish(0, 600, {"l1": 1.0})
    again = search_of(base, samples=2)
    assert asked(again).number == 1
    again.fail(1, "a reason")
    assert again.ask() is None


def test_search_of_a_later_process_ends_the_earlier_one(base: TrainConfig) -> None:
    earlier = search_of(base)
    asked(earlier)
    later = search_of(base)
    asked(later)
    for call in (earlier.ask, lambda: earlier.finish(0, 600, {"l1": 1.0}), lambda: earlier.fail(0, "no reason")):
        with pytest.raises(RunError, match="taken over by another"):
            call()
    assert states(later) == ["RUNNING", *["WAITING"] * 2]


def test_search_on_object_storage_is_resumed_on_another_machine(base: TrainConfig, s3: str) -> None:
    """The study is brought to the sweep's folder before a trial begins and when it has ended."""
    base = base.with_section("launch", storage=s3)
    search = search_of(base)
    first = asked(search)
    assert states(search)[0] == "RUNNING"
    search.finish(first.number, 600, {"l1": l1_of(first)})
    second = asked(search)
    again = search_of(base)
    assert again.place != search.place
    assert again.counts() == Counts(running=1, finished=1)
    assert asked(again).config == second.config


def test_search_of_several_objectives_finds_the_pareto_front(base: TrainConfig) -> None:
    objectives = (SearchedMetric("l1", "lower"), SearchedMetric("psnr", "higher"))
    search = search_of(base, samples=14, objectives=objectives)
    while (trial := search.ask()) is not None:
        search.report(trial.number, 100, {"l1": 1.0, "psnr": 2.0})
        if trial.number == 3:
            search.stop_early(3)
        else:
            search.finish(trial.number, 600, {"l1": l1_of(trial), "psnr": l1_of(trial)})
    assert search.counts() == Counts(finished=13, stopped=1)
    assert len(search.study.best_trials) == 13
    assert search.curve(3) == [(100, 1.0)]


def test_search_best_of_several_objectives_is_the_one_that_is_written(base: TrainConfig) -> None:
    """Of two that are as good in the first, the one that is better in the second."""
    objectives = (SearchedMetric("l1", "lower"), SearchedMetric("psnr", "higher"))
    search = search_of(base, samples=2, objectives=objectives)
    for psnr in (5.0, 9.0):
        search.finish(asked(search).number, 600, {"l1": 0.1, "psnr": psnr})
    best = search.best()
    assert best is not None
    assert best.number == 1
    report = write_report(search.study, objectives, base, SPACE, search.sweep)
    written = TrainConfig.loads(search.sweep.read(Path(report.best[0]).name).decode(), "best")
    assert written.hyper.lambda_l1 == best.params["hyper.lambda_l1"]


@pytest.mark.parametrize("name", ["tpe", "TPESampler", "random", "nsgaii", "nsgaiii"])
def test_sampler_of_finds_samplers_by_name(name: str) -> None:
    rehearse(name, SPACE, L1)


@pytest.mark.parametrize(
    ("name", "says"),
    [("tpee", "Did you mean tpe"), ("grid", "which needs search_space"), ("bruteforce", "which says"), ("", "Known: ")],
)
def test_sampler_of_refuses_a_sampler_that_cannot_search_the_space(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        rehearse(name, SPACE, L1)


def test_sampler_of_brute_force_searches_a_grid(base: TrainConfig) -> None:
    space = Space("pix2pix", {"hyper.lambda_l1": choice((1.0, 100.0), WHY), "hyper.lr": choice((2e-4, 1e-3), WHY)})
    rehearse("bruteforce", space, L1)
    tried = run_all(search_of(base, space, samples=4, sampler="bruteforce"))
    assert len({tuple(values.values()) for values in tried}) == 4


# ASHA over the search


def planned(base: TrainConfig, search: Search, **settings: Any) -> SweepPlan:
    return SweepPlan(base, SweepConfig(**settings), SPACE, L1, search.sweep, 600, settings.get("grace", 100))


def ray_trial(number: int) -> Any:
    return SimpleNamespace(trial_id=f"t{number}", config={"number": number}, last_result={})


def reported(asha: Asha, trial: Any, images: int, l1: float) -> str:
    decision = asha.on_trial_result(None, trial, {"images": images, "metrics/l1": l1})
    trial.last_result = {"images": images}
    return decision


def test_asha_stops_the_worse_of_two_trials_and_never_the_papers(base: TrainConfig) -> None:
    search = search_of(base)
    asha = Asha.over(search, planned(base, search))
    good, bad, paper = ray_trial(1), ray_trial(2), ray_trial(0)
    for trial in (good, bad, paper):
        asha.on_trial_add(None, trial)
    assert reported(asha, good, 102, 0.1) == "CONTINUE"
    assert reported(asha, bad, 102, 0.3) == "STOP"
    assert reported(asha, paper, 102, 0.4) == "CONTINUE"
    assert reported(asha, good, 102, 0.1) == "CONTINUE", "a second time"
    assert reported(asha, good, 600, 9.0) == "CONTINUE", "at its end"


def test_asha_remembers_the_trials_of_earlier_launches(base: TrainConfig) -> None:
    search = search_of(base)
    for number, l1 in enumerate((0.1, 0.2, 0.3)):
        asked(search)
        search.report(number, 102, {"l1": l1})
        if number < 2:
            search.finish(number, 600, {"l1": l1})
    again = search_of(base)
    asha = Asha.over(again, planned(base, again))
    left, new = ray_trial(2), ray_trial(3)
    asha.on_trial_add(None, left)
    asha.on_trial_add(None, new)
    assert reported(asha, new, 102, 0.25) == "STOP"
    assert reported(asha, left, 204, 0.3) == "CONTINUE", "it was judged at 102 images, and is next at 300"


# What a person is told


def test_telling_says_what_is_running_done_and_best(base: TrainConfig, said: list[str]) -> None:
    search = search_of(base, samples=5)
    telling = Telling(search, planned(base, search, samples=5))
    trials = []
    for _ in range(4):
        trial = asked(search)
        config = {"number": trial.number, "length": 600, "known": trial.known}
        trials.append(SimpleNamespace(config=config, last_result={}, num_failures=4))
        telling.on_trial_start(0, [], trials[-1])

    def tell(number: int, **result: Any) -> None:
        trials[number].last_result = result
        telling.on_trial_result(0, [], trials[number], result)

    tell(0, images=100, metrics={"l1": 0.4})
    tell(0, outcome="finished", images=600, metrics={"l1": 0.25})
    telling.on_trial_complete(0, [], trials[0])
    tell(1, images=100, metrics={"l1": 0.5})
    stopped = RunFolder(search.run_of(1).url)
    begin(stopped, "one", b"{}")
    telling.on_trial_complete(0, [], trials[1])
    tell(2, outcome="failed", reason="a term was NaN")
    telling.on_trial_complete(0, [], trials[2])
    telling.on_trial_error(0, [], trials[3])
    telling.on_trial_complete(0, [], trials[0])  # as Tune does when something went wrong the first time
    telling.on_trial_error(0, [], trials[0])
    text = "\n".join(said)
    for line in (
        "trial 0 begins: lambda_l1 100, lr 0.0002",
        "trial 0 finished: l1 0.25",
        "trial 1 stopped early: l1 0.5 after 100 images: others were better, of which trial 0 had 0.4 then (lower is "
        "better)",
        "trial 2 failed: a term was NaN",
        "trial 3 failed: its process was lost 4 times",
        "1 of 5 trials done (1 finished, 0 stopped early, 0 failed), 3 running; best: trial 0, l1 0.25, with lambda",
        "4 of 5 trials done (1 finished, 1 stopped early, 2 failed), 0 running",
    ):
        assert line in text
    assert text.count("best: ") == 1, "the same trial is not said to be the best again and again"
    assert " left" in said[-1]
    assert stands(stopped) == "stopped", "and no lost launch"
    assert search.counts() == Counts(finished=1, stopped=1, failed=2)


def test_telling_leaves_a_trial_that_was_asked_to_stop_running(base: TrainConfig) -> None:
    search = search_of(base)
    telling = Telling(search, planned(base, search))
    asked(search)
    stopped = SimpleNamespace(config={"number": 0}, last_result={"outcome": "stopped"})
    telling.on_trial_complete(0, [], stopped)
    assert telling.stopped
    assert search.counts() == Counts(running=1)
    assert asked(search_of(base)).number == 0


# Before anything starts


@pytest.mark.parametrize("method", [*METHODS])
def test_tune_has_flags_of_the_method_and_of_the_sweep(method: str) -> None:
    flags = ["--metric", "l1", "psnr", "--samples", "3", "--batch", "2", "--no-early-stop", "--seed", "4", "--resume"]
    options = configure(["--method", method, "--preset", "demo", *flags])
    base = options.run
    assert (base.method, base.training.batch, base.training.seed) == (method, 2, 4)
    assert options.sweep == SweepConfig(metric=("l1", "psnr"), samples=3, early_stop=False)
    assert (options.resume, options.dry_run) == (True, False)


def test_tune_asks_for_a_method() -> None:
    with pytest.raises(ConfigError, match="--method: found nothing"):
        configure([])


@pytest.fixture
def space_file(tmp_path: Path) -> str:
    file = tmp_path / "space.py"
    file.write_text(
        "from i2i_core.search.space import Space, log_uniform\n"
        "SPACE = Space('pix2pix', {'hyper.lambda_l1': log_uniform(1, 1000, 'why')}, metrics=('l1',))\n"
    )
    return str(file)


def test_plan_is_checked_whole(base: TrainConfig, space_file: str) -> None:
    made = plan(base, SweepConfig(space=space_file))
    assert (made.length, made.grace, made.objectives) == (600, 100, L1)
    assert made.folder.url.endswith("/sweep")
    assert made.base.launch.name == ""


def test_plan_of_an_unnamed_sweep_goes_by_the_name_that_version_1_made_where_that_is_there(
    base: TrainConfig, space_file: str
) -> None:
    unnamed, settings = base.with_section("launch", name=""), SweepConfig(space=space_file)
    prepared = prepare(unnamed)
    assert plan(unnamed, settings).folder.url.endswith(f"/sweep-{prepared.run_name}")
    filled_in = prepared.with_section("data", lanes=prepared.training.batch)  # as programs of version 1 did
    old = Folder(f"{base.launch.storage}/sweep-{filled_in.name_of_version_1}")
    old.write_json("sweep.json", {})
    assert plan(unnamed, settings).folder.url == old.url


def test_plan_searches_a_metric_of_several_parts_by_one_of_them(base: TrainConfig, space_file: str) -> None:
    base = base.with_section("evaluation", metrics=("colour",))
    made = plan(base, SweepConfig(space=space_file, metric=("colour/a",)))
    assert made.objectives == (SearchedMetric("colour/a", "higher"),)
    with pytest.raises(ConfigError, match="--metric: found 'colour/x'"):
        plan(base, SweepConfig(space=space_file, metric=("colour/x",)))


def test_plan_without_twins_names_a_metric_that_the_data_allows(tmp_path: Path) -> None:
    """The space of CycleGAN searches `twin`, which people's own images do not have; the advised flags make a plan."""
    for domain, names in (("a", "12345678"), ("b", "cdefghij")):
        for name in names:
            put(tmp_path / f"{domain}/{name}.png", noise(32, 32, 3))
    shard("unpaired", tmp_path / "a", tmp_path / "data", input_b=str(tmp_path / "b"), split=(0.5, 0.5, 0.0))
    values = {"data.uri": str(tmp_path / "data"), "launch.storage": str(tmp_path / "runs"), "training.images": 600}
    own = TrainConfig.of("cyclegan", "demo", {**values, "monitoring.evaluate_every": 100, "launch.name": "sweep"})
    with pytest.raises(ConfigError) as refused:
        plan(own, SweepConfig())
    advised = re.findall(r"--(metrics?) (\w+)", refused.value.fix)
    assert advised == [("metrics", "efficientnet_frechet"), ("metric", "efficientnet_frechet")]
    made = plan(own.with_section("evaluation", metrics=(advised[0][1],)), SweepConfig(metric=(advised[1][1],)))
    assert [objective.metric for objective in made.objectives] == ["efficientnet_frechet"]


def test_plan_names_the_image_that_leaves_all_without_twins_and_the_names_that_it_advises_give_them(
    tmp_path: Path,
) -> None:
    def refused(*names: str, metric: tuple[str, ...] = ()) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for domain in "ab":
            for name in names:
                put(folder / f"{domain}/{name.format(domain)}.png", noise(32, 32, 3))
        shard("unpaired", folder / "a", folder / "data", input_b=str(folder / "b"), split=(0.0, 1.0, 0.0))
        values = {"data.uri": str(folder / "data"), "launch.storage": str(folder / "runs"), "training.images": 600}
        own = TrainConfig.of("cyclegan", "demo", {**values, "data.split": "val", "monitoring.evaluate_every": 100})
        try:
            assert [one.metric for one in plan(own, SweepConfig(metric=metric)).objectives] == ["twin"]
        except ConfigError as error:
            return error.found
        return ""

    for metric in ((), ("twin",)):
        said = refused("horse1-{}", "horse2", "horse3-{}", metric=metric)
        assert "the key 'horse2' has no `-` in split val of domain B" in said
        assert "Name the files so, as horse7-a.png and horse7-b.png, and shard again" in said
    said = refused("img-1", "img-2")
    assert "the keys 'img-1' and 'img-2' have the same identity, 'img'" in said
    assert refused("horse1-{}", "horse2-{}", "horse3-{}") == ""


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"metric": ("l2",)}, r"--metric: found 'l2'.*Did you mean l1"),
        ({"metric": ("twin",)}, r"--metric: found 'twin'; expected a metric that this run measures: l1, psnr, ssim"),
        ({"metric": ("l1/x",)}, r"--metric: found 'l1/x'"),
        ({"metric": ("l1", "l1")}, r"l1 twice"),
        ({"sampler": "tpo"}, r"--sampler: found 'tpo'"),
        ({"space": "pix3pix"}, r"--space: found 'pix3pix'"),
        ({"grace": 600}, r"--grace: found 600"),
    ],
)
def test_plan_refuses_wrong_names_and_numbers(
    base: TrainConfig, space_file: str, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=f"(?s){says}"):
        plan(base, SweepConfig(**{"space": space_file, **settings}))


def test_plan_with_early_stopping_has_evaluations_on_the_way(base: TrainConfig, space_file: str) -> None:
    none, late = (base.with_section("monitoring", evaluate_every=every) for every in (0, 600))
    made = plan(none, SweepConfig(space=space_file))
    assert (made.length, made.base.monitoring.evaluate_every, made.grace) == (600, 66, 66)
    assert plan(none, SweepConfig(space=space_file, early_stop=False)).grace == 600
    with pytest.raises(ConfigError, match="--evaluate-every: found 600"):
        plan(late, SweepConfig(space=space_file))


def test_sweep_of_another_order_is_refused_by_one_message(base: TrainConfig, space_file: str) -> None:
    """Its trials come in the order that its program had; version 1's sweep.json has `output` in their base."""
    made = plan(base, SweepConfig(space=space_file))
    made.folder.write_json("sweep.json", {**made.saved, "base": as_version_1(made.saved["base"])})
    with pytest.raises(CheckpointError) as caught:
        check_same_sweep(made, resume=True)
    assert "order 1, that of another release" in str(caught.value)
    assert "give another --name" in str(caught.value)
    assert "--init-from" not in str(caught.value)


def test_sweep_is_resumed_with_the_same_trials_alone(base: TrainConfig, space_file: str) -> None:
    base = base.with_section("evaluation", metrics=("colour",))
    made = plan(base, SweepConfig(space=space_file))
    made.folder.write_json("sweep.json", made.saved)
    check_same_sweep(made, resume=True)
    other = base.with_section("monitoring", evaluate_samples=7).with_section("evaluation", metrics=())
    other = other.with_section("at_test", test_norm="image").with_section("training", fast=("bf16",))
    with pytest.raises(ConfigError) as caught:
        check_same_sweep(plan(other, SweepConfig(space=space_file)), resume=True)
    for line in (
        "monitoring.evaluate_samples: saved 256, now 7",
        "evaluation.metrics: saved ('colour',), now ()",
        "at_test.test_norm: saved 'auto', now 'image'",
        "training.fast: saved ('auto',), now ('bf16',)",
    ):
        assert line in str(caught.value)


def test_sweep_is_resumed_only_as_what_it_is(base: TrainConfig, space_file: str) -> None:
    made = plan(base, SweepConfig(space=space_file))
    with pytest.raises(ConfigError, match="--resume: found no sweep"):
        check_same_sweep(made, resume=True)
    check_same_sweep(made, resume=False)
    made.folder.write_json("sweep.json", made.saved)
    with pytest.raises(ConfigError, match="Add --resume"):
        check_same_sweep(made, resume=False)
    check_same_sweep(made, resume=True)
    check_same_sweep(plan(base, SweepConfig(space=space_file, samples=99, concurrent=1)), resume=True)
    other = base.with_section("training", images=900, seed=3).with_section("data", flip=True)
    Path(space_file).write_text(Path(space_file).read_text().replace("1000", "2000"))
    with pytest.raises(ConfigError) as caught:
        check_same_sweep(plan(other, SweepConfig(space=space_file, sampler="random")), resume=True)
    for line in (
        "training.seed: saved 0, now 3",
        "training.images: saved 600, now 900",
        "data.flip: saved False, now True",
        "sampler: saved 'tpe', now 'random'",
        "space.parameters.hyper.lambda_l1.high: saved 1000.0, now 2000.0",
    ):
        assert line in str(caught.value)
