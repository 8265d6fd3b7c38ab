"""Which checkpoint of a run counts where only the run is named.

pytest tests/unit/test_trained.py
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from i2i_core.checkpoints.trained import find
from i2i_core.config.run import TrainConfig
from i2i_core.runs.folder import CheckpointFolder, RunFolder, name_at


def run_with(folder: Path, checkpoints: tuple[int, ...], best: int, measured: tuple[int, ...], every: int) -> str:
    """A run's folder, as training leaves it: checkpoints, evaluations, the best of them."""
    run = RunFolder(str(folder))
    config = TrainConfig.of("pix2pix", "demo", {"monitoring.evaluate_every": every})
    for images in checkpoints:
        run.write(run.in_checkpoint(name_at(images), CheckpointFolder.CONFIG), config.dumps().encode())
        run.write(run.in_checkpoint(name_at(images), CheckpointFolder.CHECKSUMS), b"{}")
    if best:
        run.write_json(RunFolder.BEST, {"metric": "l1", "value": 0.1, "checkpoint": name_at(best)})
    run.write_json(RunFolder.EVALUATIONS, [{"images": images, "metrics": {"l1": 0.1}} for images in measured])
    return str(folder)


@pytest.mark.parametrize(
    ("checkpoints", "best", "measured", "every", "taken", "why"),
    [
        ((100, 200, 300), 200, (100, 200, 300), 100, 200, "best of the run by l1; the last is images-000000000300"),
        ((100, 200, 300), 200, (100, 200), 100, 200, "best of the run by l1; the last is images-000000000300"),
        (
            (800, 7512),
            800,
            (800,),
            0,
            7512,
            "last of the run: it was not measured, nor was any since images-000000000800",
        ),
        ((800, 1600), 800, (800, 1600), 0, 800, "best of the run by l1; the last is images-000000001600"),
        ((800,), 800, (800,), 0, 800, "best of the run by l1"),
        ((100, 200), 0, (), 0, 200, "last of the run"),
    ],
)
def test_trained_takes_the_best_unless_the_run_went_on_unmeasured(
    checkpoints: tuple[int, ...],
    best: int,
    measured: tuple[int, ...],
    every: int,
    taken: int,
    why: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        found = find(run_with(tmp_path, checkpoints, best, measured, every))
    assert found.url.endswith(f"checkpoints/{name_at(taken)}")
    assert caplog.messages == [f"checkpoint {name_at(taken)}, the {why}"]


def test_trained_says_nothing_of_a_checkpoint_that_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = run_with(tmp_path, (100, 200), 100, (100,), 0)
    with caplog.at_level(logging.INFO):
        assert find(f"{run}/checkpoints/{name_at(100)}").url.endswith(name_at(100))
    assert not caplog.messages


@pytest.mark.parametrize("damaged", [b"", b"{", b"[1]", b'[{"metrics": {}}]', b"7"])
def test_trained_takes_the_last_where_the_evaluations_cannot_be_read(damaged: bytes, tmp_path: Path) -> None:
    run = run_with(tmp_path, (800, 1600), 800, (800, 1600), 0)
    RunFolder(run).write(RunFolder.EVALUATIONS, damaged)
    assert find(run).url.endswith(name_at(1600))
