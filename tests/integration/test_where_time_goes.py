"""What a run says of its time: every second once, in the part that it belongs to.

The clock counts how often it is asked: a part that holds no other takes one second each time.

pytest tests/integration/test_where_time_goes.py
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from i2i_core.errors import Stopped
from i2i_core.runs.folder import RunFolder
from i2i_core.training.loop import Loop
from i2i_core.training.timing import Spent, shares

from ..support.runs import config_of, loop_of, run_until


class Clock:
    """A second later each time it is asked."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def counting(loop: Loop, name: str, of: Any) -> list[int]:
    """How often a method of a part of the loop is called."""
    calls, right = [0], getattr(of, name)

    def counted(*args: Any) -> Any:
        calls[0] += 1
        return right(*args)

    setattr(of, name, counted)
    return calls


def test_spent_counts_time_inside_another_part_once() -> None:
    times = iter([5, 7, 11, 14, 20, 30])
    spent = Spent(began=0, clock=lambda: next(times))
    spent.begin(0)  # at 5
    with spent.on("step"), spent.on("data"):  # from 7 to 20, from 11 to 14
        pass
    parts = spent.by_part({"D": 1, "G": 2})  # at 30
    assert parts == {"start_up": 5, "rest": 2 + 10, "step/D": 10 / 3, "step/G": 20 / 3, "data": 3}


def test_spent_parts_of_a_run_add_up_to_its_whole(labelled: str, storage: str, said: list[str]) -> None:
    over = {"monitoring__grid_every": 24, "monitoring__evaluate_every": 48, "monitoring__log_every": 12}
    clock = Clock()
    began = clock.now
    loop = loop_of(config_of("stargan", labelled, storage, **over), spent=Spent(began, clock))
    grids, evaluations = (counting(loop, name, loop.measuring) for name in ("draw", "evaluate"))
    logs, saves = counting(loop, "send", loop.monitor), counting(loop, "save", loop.keeper)
    settled = counting(loop, "settle", loop.keeper)
    loop.train()
    found = loop.run.read_json(RunFolder.SPEED)
    seconds = found["seconds"]
    assert sum(seconds.values()) == pytest.approx(clock.now - began)
    assert sum(found["share"].values()) == pytest.approx(1)
    assert found["share"]["data"] == pytest.approx(seconds["data"] / (clock.now - began))
    assert seconds["data"] == loop.progress.images / loop.stream.batch
    assert seconds["grid"] == grids[0] > 1
    assert seconds["evaluation"] == evaluations[0] + 1 > 2, "and the picture of the last one's samples"
    assert seconds["log"] == logs[0] > 1
    assert seconds["checkpoint"] == saves[0] + settled[0]
    assert {name for name in seconds if name.startswith("step/")} == {"step/D", "step/G"}
    assert (found["images"], found["from_images"], found["workers"], found["device"]) == (96, 0, 1, "cpu")
    (line,) = (line for line in said if line.startswith("where the time went"))
    assert line.endswith("96 images of the run, 1 worker, cpu"), "one line: the result, which follows, is what counts"
    told = [part.rsplit(" ", 3)[0] for part in line.removeprefix("where the time went: ").split("; ")[0].split(", ")]
    assert told == [
        part.replace("_", "-")
        for part in sorted(seconds, key=lambda part: -seconds[part])
        if found["share"][part] >= 0.01
    ]


def test_monitor_rate_leaves_out_the_time_in_which_training_stands_still(
    labelled: str, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("i2i_core.training.monitoring.monitor.time", SimpleNamespace(monotonic=lambda: now[0]))
    monitor = loop_of(config_of("stargan", labelled, storage)).monitor
    monitor.begin(0)
    rates = []
    for images, seconds, paused in ((60, 6, 0), (120, 36, 30), (180, 6, 30)):
        now[0] += seconds
        monitor.since.waited = 3
        rates.append(monitor.send(images, paused)["speed/images_per_second"])
        assert monitor.sent
        assert monitor.sent.read().speed["speed/data_wait_share"] == pytest.approx(0.5)
    assert rates == [10, 10, 10]
    assert monitor.pace.pauses == 30 / 12, "of what follows the first log"


def test_loop_tells_the_rate_of_every_grid_evaluation_and_checkpoint(labelled: str, storage: str) -> None:
    over = {"monitoring__grid_every": 24, "monitoring__evaluate_every": 48, "monitoring__log_every": 12}
    loop = loop_of(config_of("stargan", labelled, storage, **over), spent=Spent(None, Clock()))
    calls = [counting(loop, name, of) for name, of in (("draw", loop.measuring), ("evaluate", loop.measuring))]
    calls.append(counting(loop, "save", loop.keeper))
    told, right = [], loop.monitor.send

    def send(images: int, paused: float) -> Any:
        told.append((paused, sum(count[0] for count in calls)))
        return right(images, paused)

    loop.monitor.send = send  # type: ignore[method-assign]
    loop.train()
    assert len(told) == 8
    assert told[-1][0] > 5
    assert all(paused == count for paused, count in told), "each took a second"


def test_loop_says_what_comes_last_and_how_far_an_evaluation_is(
    labelled: str, storage: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("i2i_core.logs.EVERY", 0.0)
    over = {"monitoring__evaluate_samples": 200, "monitoring__grid_every": 96, "training__images": 12}
    loop_of(config_of("stargan", labelled, storage, **over)).train()
    last = said.index("12 images are trained on; to come: a grid, an evaluation, the last checkpoint")
    there = [line for line in said[last:] if line.startswith("evaluating: ")]
    assert there
    assert all(
        re.fullmatch(r"evaluating: \d+ / \d+ samples \| [\d.,]+ samples/s \| \d+:\d\d left", line) for line in there
    )


def test_loop_counts_to_the_images_that_its_last_update_ends_with(labelled: str, storage: str, said: list[str]) -> None:
    """An update of StarGAN takes a batch for each move of D: a run of 40 images has 48."""
    loop = loop_of(config_of("stargan", labelled, storage, training__images=40, monitoring__log_every=12))
    loop.train()
    counts = [re.match(r"(\d+) / (\d+) images \|", line) for line in said]
    assert [count.groups() for count in counts if count] == [(str(n), "48") for n in (12, 24, 36, 48)]
    (line,) = (line for line in said if line.startswith("an update takes"))
    assert line == "an update takes 12 images: the run ends after 48, with the update that passes 40"


def test_spent_of_a_resumed_run_is_of_its_own_start(labelled: str, storage: str, said: list[str]) -> None:
    config = config_of("stargan", labelled, storage)
    run_until(config, 60)
    loop = loop_of(config)
    loop.train()
    found = loop.run.read_json(RunFolder.SPEED)
    assert (found["images"], found["from_images"]) == (96 - 36, 36)
    assert any("60 images of this start of the run, from image 36 on" in line for line in said)


def test_spent_is_reported_by_a_run_that_is_asked_to_stop(labelled: str, storage: str) -> None:
    loop = loop_of(config_of("stargan", labelled, storage))
    loop.ask("stop")
    with pytest.raises(Stopped):
        loop.train()
    found = loop.run.read_json(RunFolder.SPEED)
    assert 0 < found["images"] < 96
    assert found["images"] == loop.progress.images


def test_spent_report_is_kept_by_a_start_that_trains_nothing(labelled: str, storage: str) -> None:
    config = config_of("stargan", labelled, storage)
    loop_of(config).train()
    again = loop_of(config)
    before = again.run.read(RunFolder.SPEED)
    again.train()
    assert again.run.read(RunFolder.SPEED) == before


def test_shares_of_nothing_are_nothing() -> None:
    assert shares({"rest": 0.0}) == {"rest": 0.0}
