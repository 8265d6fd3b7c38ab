"""What a run says at its end, and what its commands then do.

pytest tests/unit/test_ending.py
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from i2i_core.evaluation.suite import BETTER
from i2i_core.orchestration.ending import ending, metrics
from i2i_core.orchestration.launch import Reached
from i2i_core.runs.folder import RunFolder

from ..support.data import noise, put, shard
from ..support.runs import config_of


def lines_of(kind: str, uri: str, tmp_path: Path, *, again: bool = False, **values: object) -> list[str]:
    config = config_of(kind, uri, str(tmp_path), **values)
    return [*ending(Reached(RunFolder.of(config), 96, {"l1": 0.25}, again), config)]


def test_ending_tells_a_run_that_has_just_finished_from_one_that_had(paired: str, tmp_path: Path) -> None:
    """First what was reached and where it lies, then how good it is, last what to do next."""
    lines = lines_of("pix2pix", paired, tmp_path)
    assert lines[0] == f"finished after 96 images: {tmp_path}/run"
    assert lines[1].startswith("  l1 0.25 (lower is better")
    assert lines[-1].startswith("train longer with: ")
    again = lines_of("pix2pix", paired, tmp_path, again=True)[0]
    assert again == f"finished before, after 96 images: nothing was done; {tmp_path}/run"


def test_ending_shows_metrics_beside_doing_nothing() -> None:
    """A metric of a part has doing nothing's value of that part; doing nothing has no line of its own."""
    found = {"l1": 0.0123456, "l1_nothing": 0.05, "in_target/there": 0.9, "in_target_nothing/there": 0.1, "cycle": 0.03}
    assert [*metrics(found)] == [
        "  l1 0.01235 (lower is better, doing nothing 0.05)",
        "  in_target/there 0.9 (higher is better, doing nothing 0.1)",
        "  cycle 0.03 (lower is better, doing nothing 0, by definition: alone it says little)",
    ]
    assert BETTER["cycle"] == "lower"


def test_ending_names_flags_that_translate_asks_for(paired: str, labelled: str, tmp_path: Path) -> None:
    """A labelled run is told a target; and the commands are ones that a shell reads as they are meant."""
    for method, uri, expected in (
        ("pix2pix", paired, ["--input", "IMAGES", "--out", "FOLDER"]),
        ("stargan", labelled, ["--input", "IMAGES", "--target", "serif", "--out", "FOLDER"]),
    ):
        lines = lines_of(method, uri, tmp_path)
        (line,) = (line for line in lines if line.startswith("translate with: "))
        assert shlex.split(line)[5:] == expected


@pytest.mark.parametrize(("schedule", "rises"), [("constant", False), ("linear", True)])
def test_ending_says_whether_a_longer_run_raises_the_rate(
    schedule: str, rises: bool, paired: str, tmp_path: Path
) -> None:
    last = lines_of("pix2pix", paired, tmp_path, training__lr_schedule=schedule)[-1]
    assert last.startswith("train longer with: the same command and --images 192")
    assert last.endswith("--lr-may-rise (docs/recovery.md)") == rises


@pytest.mark.parametrize(("preset", "short"), [("demo", True), ("reference", False)])
def test_ending_says_what_is_too_short_to_judge_by(preset: str, short: bool, paired: str, tmp_path: Path) -> None:
    """`reference` counts epochs: how many images those are follows from the data."""
    config = replace(config_of("pix2pix", paired, str(tmp_path)), preset=preset)
    said = [line for line in ending(Reached(RunFolder.of(config), 96, {}), config) if "too short" in line]
    assert said == ["too short to judge by: the preset demo has 9,000 images"] * short


@pytest.mark.parametrize(
    ("splits", "named"), [(("train", "val", "test"), "test"), (("train", "val"), "val"), (("train",), "train")]
)
def test_ending_names_a_split_that_the_data_have(splits: tuple[str, ...], named: str, tmp_path: Path) -> None:
    for split in splits:
        for side in "AB":
            for number in range(4):
                put(tmp_path / f"in/{split}{side}/{number}.png", noise(16, 16, 1))
    shard("unpaired", tmp_path / "in", tmp_path / "data")
    lines = lines_of("cyclegan", str(tmp_path / "data"), tmp_path)
    (line,) = (line for line in lines if line.startswith("evaluate with: "))
    words = shlex.split(line)
    assert words[words.index("--split") + 1] == named
