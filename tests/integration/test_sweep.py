"""Real sweeps on Ray Tune, as a person types them.

pytest tests/integration/test_sweep.py                  what is refused before Ray starts
pytest tests/integration/test_sweep.py -m slow          whole sweeps: stopped early, failed, killed and gone on with
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from i2i_core.config.run import TrainConfig
from i2i_core.search.study import study_of
from i2i_core.storage.folder import Folder

from ..support.processes import ROOT, Run, left_for_good

SPACE = """
from i2i_core.search.space import Space, log_uniform
SPACE = Space(
    "pix2pix",
    {{"hyper.lr": log_uniform(1e-12, 1e38, "the test"), "hyper.lambda_l1": log_uniform(50, 200, "the test")}},
    metrics=("l1",),
    guesses=({guesses}),
)
"""
SMALL = [
    *("--image-size", "16", "--g-base", "4", "--d-base", "4", "--batch", "8", "--grid-every", "0", "--loaders", "0"),
    *("--evaluate-samples", "16", "--log-every", "500", "--keep-last", "100", "--cpu"),
]


class Sweep(Run):
    """`tune.py` with one name, typed again as often as it takes."""

    def __init__(self, data: str, folder: Path, guesses: str, flags: list[str]) -> None:
        super().__init__("sweep", data, str(folder), [])
        space = folder / "space.py"
        space.write_text(SPACE.format(guesses=guesses))
        self.command = [sys.executable, "pipelines/tune.py", "--method", "pix2pix", "--preset", "demo", "--data", data]
        self.command += ["--space", str(space), "--storage", str(folder), "--name", "sweep", *SMALL, *flags]

    def resume(self) -> subprocess.Popen[bytes]:
        self.command = [*self.command, *([] if "--resume" in self.command else ["--resume"])]
        return self.type()

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        return list(study_of(self.folder).trials)

    def run_of(self, number: int) -> Folder:
        return self.folder.sub(f"trials/{number:04d}")

    def checkpoints(self, number: int) -> dict[str, int]:
        """When each whole checkpoint of a trial was written."""
        place = Path(self.run_of(number).path("checkpoints"))
        return {file.parent.name: file.stat().st_mtime_ns for file in sorted(place.glob("*/checksums.json"))}


@pytest.fixture
def started() -> Iterator[Callable[..., Sweep]]:
    made: list[Sweep] = []

    def start(*args: Any) -> Sweep:
        made.append(Sweep(*args))
        return made[-1]

    yield start
    for sweep in made:
        sweep.clean()


@pytest.mark.ray
@pytest.mark.slow
def test_sweep_stops_one_trial_early_fails_one_that_diverges_and_names_the_best(
    paired: str, tmp_path: Path, started: Callable[..., Sweep]
) -> None:
    """One trial at a time, of two workers each, on two CPUs: a stopped trial gives them back, or no other begins."""
    guesses = '{"hyper.lr": 1e-12, "hyper.lambda_l1": 100.0}, {"hyper.lr": 1e38, "hyper.lambda_l1": 100.0}'
    flags = ["--samples", "5", "--workers", "2", "--images", "1600", "--evaluate-every", "400"]
    sweep = started(paired, tmp_path, guesses, flags)
    assert sweep.type().wait(timeout=600) == 0, sweep.text()[-6000:]
    paper, own, still, huge, drawn = sweep.trials()
    assert paper.state.name == "COMPLETE"
    assert [e[0] for e in paper.user_attrs["evaluations"]] == list(range(400, 1601, 400))
    assert paper.user_attrs["evaluations"] == [
        [e["images"], e["metrics"]] for e in sweep.run_of(0).read_json("evaluations.json")
    ]
    assert paper.value == paper.user_attrs["evaluations"][-1][1]["l1"]
    assert own.params["hyper.lr"] != paper.params["hyper.lr"], "the preset has another than the paper"
    assert still.state.name == "PRUNED"
    assert list(still.intermediate_values) == [400]
    assert still.user_attrs["outcome"] == "stopped early"
    assert sweep.run_of(2).read_json("status.json")["state"] == "stopped"
    assert huge.state.name == "PRUNED"
    assert huge.user_attrs["outcome"] == "failed"
    assert "finite" in huge.user_attrs["reason"], huge.user_attrs["reason"]
    assert drawn.user_attrs["outcome"] in ("finished", "stopped early", "failed")
    page = sweep.folder.read("index.html").decode()
    for number, trial in enumerate(("finished", "finished", "stopped", "failed")):  # however it ended
        assert f"state</td><td>{trial}" in sweep.run_of(number).read("report.html").decode()
        assert f'<a href="trials/{number:04d}/report.html"' in page
    assert "5 of 5 trials done" in sweep.text()
    assert "pipelines/translate.py" in sweep.text()
    assert "Configuration for experiment" not in sweep.text(), "Ray's own reporter"
    assert not left_for_good(sweep.left)
    best = min((t for t in sweep.trials() if t.value is not None and t.state.name == "COMPLETE"), key=lambda t: t.value)
    found = TrainConfig.loads(sweep.folder.read("best.json").decode(), "best.json")
    assert found.hyper.lr == best.params["hyper.lr"]


@pytest.mark.ray
@pytest.mark.slow
def test_sweep_that_is_stopped_and_killed_ends_with_as_many_trials_as_asked_for(
    paired: str, tmp_path: Path, started: Callable[..., Sweep]
) -> None:
    """SIGTERM, then SIGKILL of the driver, then of a worker; each time the trials that ran go on from their own
    checkpoints, and trial 0 is what it was."""
    flags = ["--samples", "3", "--no-early-stop", "--evaluate-every", "600", "--checkpoint-every", "300"]
    guesses = '{"hyper.lr": 1e-4, "hyper.lambda_l1": 100.0}, {"hyper.lr": 1e-3, "hyper.lambda_l1": 100.0}'
    sweep = started(paired, tmp_path, guesses, [*flags, "--images", "2400"])

    sweep.type()
    sweep.when(lambda _: all(sweep.checkpoints(n) for n in (0, 1)))
    assert sweep.kill("notice", random.Random(0))
    assert sweep.driver
    assert sweep.driver.wait(timeout=600) == 1, sweep.text()
    assert "stopped after 0 of 3 trials. Everything is saved" in sweep.text()
    assert [t.state.name for t in sweep.trials()] == ["RUNNING", "RUNNING", "WAITING"]
    assert sweep.run_of(0).read_json("status.json")["state"] == "stopped"
    saved = [sweep.checkpoints(n) for n in (0, 1)]

    sweep.resume()
    sweep.when(lambda text: text.count("trial 0 finished") == 1 and bool(sweep.checkpoints(2)))
    first = sweep.trials()[0]
    assert sweep.kill("driver", random.Random(0))
    sweep.driver.wait(timeout=600)
    third = sweep.checkpoints(2)

    sweep.resume()
    sweep.when(lambda text: "2 are done, 1 go on" in text and sweep.kill("worker", random.Random(0)))
    assert sweep.driver.wait(timeout=600) == 0, sweep.text()[-6000:]

    trials = sweep.trials()
    assert [t.state.name for t in trials] == ["COMPLETE"] * 3, sweep.text()[-6000:]
    assert trials[0] == first
    for number, trial in enumerate(trials):
        assert [e[0] for e in trial.user_attrs["evaluations"]] == list(range(600, 2401, 600))
        before = [*saved, third][number]
        assert before.items() <= sweep.checkpoints(number).items(), "trained again from its beginning"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--method", "pix2pix", "--metric", "accuracy"], "error: --metric: found 'accuracy'"),
        (["--method", "pix2pix", "--no-early-stop", "--resume"], "error: --resume: found no sweep in"),
    ],
)
def test_sweep_refuses_wrong_input_before_ray_starts(flags: list[str], says: str, paired: str, tmp_path: Path) -> None:
    flags = [*flags, "--data", paired, "--preset", "demo", "--storage", str(tmp_path), "--name", "sweep"]
    command = [sys.executable, "pipelines/tune.py", *flags, "--images", "100"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "sweep").exists()
