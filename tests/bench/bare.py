"""Time the bare step on one fixed batch: every method, plain eager fp32 against each way of making it fast.

A row is a pair: plain and one way, in alternating rounds of the same process, medians. Peak memory is that of the first
updates, where anything is compiled or captured, less what was there before; on a CPU it is left out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from i2i_core.batch import Batch
from i2i_core.config.fast import OPTIONS
from i2i_core.config.training import TrainingConfig
from i2i_core.errors import ConfigError
from i2i_core.methods import METHODS, build_method
from i2i_core.methods.base import Progress
from i2i_core.training.fast import Fast, check_possible, choose
from i2i_core.training.graphs import EAGER
from i2i_core.training.step import Step
from i2i_core.training.sync import World

from ..support.methods import whole_batch
from .peak import flops_of, measure_peak, synchronize
from .results import Key, Results, Values, free, reason

ROUNDED = {"simgan": {"warmup_r": 0, "warmup_d": 0}}
"""Hyper-parameters over those of a preset: SimGAN is measured in its rounds, not in what precedes them."""
PAPER_SIZED = ("pix2pix", "cyclegan")
"""The methods that a CPU updates at the paper's size by default."""
MOST_UPDATES = 50
"""The most updates of a round."""
LONGEST = 3.0
"""Seconds of an update beyond which no larger batch is tried."""


@dataclass(frozen=True)
class Case:
    """Name what is updated: method, preset and batch."""

    method: str
    preset: str
    batch: int

    @property
    def key(self) -> Key:
        """Name the case in a row's key."""
        return {"method": self.method, "preset": self.preset, "batch": self.batch}

    @classmethod
    def of(cls, method: str, preset: str) -> Case:
        """Take the batch of the preset."""
        return cls(method, preset, METHODS[method].presets[preset].values.get("training.batch", TrainingConfig().batch))


@dataclass(frozen=True)
class Effort:
    """Say how long to measure.

    Attributes:
        rounds: at most; no further one is begun, after the second, when all took `most` seconds.
        seconds: of a round of one side; at least one update.
        warm_up: updates that are not counted.
    """

    rounds: int = 5
    seconds: float = 0.7
    warm_up: int = 3
    most: float = 20.0

    def updates(self, length: float) -> int:
        """Give the updates of a round, where one takes `length` seconds."""
        return min(MOST_UPDATES, max(1, int(self.seconds / length)))

    def spend(self) -> Iterator[int]:
        """Number the rounds that there is time for."""
        began = time.monotonic()
        for number in range(self.rounds):
            if number > 1 and time.monotonic() - began > self.most:
                break
            yield number


CPU = Effort()
HEAVY = Effort(warm_up=1)
"""The effort for updates of many seconds."""
GPU = Effort(seconds=0.3, warm_up=EAGER + 3)


@dataclass
class Same:
    """Give one batch over and over, and count how often it was taken."""

    batch: Batch
    taken: int = 0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        self.taken += 1
        return self.batch


@dataclass
class Bare:
    """A step with its fixed batch, and what its updates took.

    Attributes:
        first: seconds of each of the first updates, with what is compiled or captured in them.
        rounds: seconds of an update, by round.
        flops: of one update; 0: not counted.
        memory: the most bytes allocated and reserved on a GPU by its networks and first updates.
        begun: bytes that were allocated before it was built.
    """

    step: Step
    feed: Same
    progress: Progress = field(default_factory=Progress)
    updates: int = 0
    first: list[float] = field(default_factory=list)
    rounds: list[float] = field(default_factory=list)
    flops: int = 0
    memory: Values = field(default_factory=dict)
    begun: int = 0

    @classmethod
    def of(cls, case: Case, fast: Fast, device: str) -> Bare:
        """Build the step of a case on the device."""
        begun = watch_memory(device)
        method = build_method(case.method, case.preset, **ROUNDED.get(case.method, {})).to(torch.device(device))
        method.attach()
        step = Step(method, TrainingConfig(batch=case.batch), World(), lambda images: 1.0, fast=fast)
        return cls(step, Same(step.place(whole_batch(method, case.batch, 0))), begun=begun)

    @property
    def device(self) -> str:
        """Name the kind of device: cpu or cuda."""
        return self.step.device.type

    def update(self, times: int = 1) -> float:
        """Make updates; give the seconds that one took, the device's work included."""
        synchronize(self.device)
        start = time.perf_counter()
        for _ in range(times):
            self.step(self.feed, self.progress)
        synchronize(self.device)
        self.updates += times
        return (time.perf_counter() - start) / times

    def warm_up(self, times: int, count: bool) -> float:
        """Make the first updates, and count the operations of the second (of the first, if it is alone) where that is
        asked for; give the seconds of the last that was not counted."""
        last: list[float] = []
        for number in range(times):
            if count and number == min(1, times - 1):
                self.flops = flops_of(lambda: last.append(self.update()))
            else:
                self.first.append(self.update())
        self.memory = most_memory(self.device, self.begun)
        self.step.stopwatch.read(), self.step.stopwatch.read()
        return (self.first or last)[-1]

    def values(self) -> Values:
        """Sum up the rounds: medians, and seconds of an update by player."""
        seconds = statistics.median(self.rounds)
        images = self.feed.taken * self.feed.batch.size / self.updates
        of_moves = self.step.stopwatch.read() or self.step.stopwatch.read()  # a GPU's are read one reading later
        by_player = {name: each * self.progress.moves.get(name, 0) / self.updates for name, each in of_moves.items()}
        return {
            "images_per_second": images / seconds,
            "seconds": seconds,
            "rounds": self.rounds,
            "start_seconds": max(0.0, sum(self.first) - len(self.first) * seconds),
            "refused": self.step.recorded.refused if self.step.recorded else "",
            "seconds_by_player": by_player,
            **self.memory,
        }


def watch_memory(device: str) -> int:
    """Reset the record of the most memory in use on a GPU; give the bytes in use now."""
    if device == "cpu":
        return 0
    free()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def most_memory(device: str, begun: int) -> Values:
    """Give the most bytes allocated since `watch_memory`, less what was then; and the most reserved."""
    if device == "cpu":
        return {}
    most, reserved = torch.cuda.max_memory_allocated() - begun, torch.cuda.max_memory_reserved()
    return {"peak_bytes": most, "peak_reserved_bytes": reserved}


def compare(case: Case, asked: str, device: str, effort: Effort) -> Values:
    """Time plain eager fp32 and what `--fast asked` comes to in alternating rounds; where that is plain, plain alone.

    Raises:
        ConfigError: the option cannot be on this device.
    """
    sides = {"plain": Bare.of(case, Fast(), device)}
    lengths = {"plain": sides["plain"].warm_up(effort.warm_up, count=True)}
    check_possible((asked,), torch.device(device), workers=1, again=False)
    choice = choose((asked,), sides["plain"].step.method.networks, torch.device(device))
    if choice.fast != Fast():
        sides["fast"] = Bare.of(case, choice.fast, device)
        lengths["fast"] = sides["fast"].warm_up(effort.warm_up, count=False)
    for _ in effort.spend():
        for name, side in sides.items():
            side.rounds.append(side.update(effort.updates(lengths[name])))
    found = {name: side.values() for name, side in sides.items()}
    return {"options": list(choice.fast.names), "flops": sides["plain"].flops, **found}


def possible(device: str) -> list[str]:
    """List the options of `--fast` that one worker can take on a device."""
    found = []
    for name in OPTIONS:
        with suppress(ConfigError):
            check_possible((name,), torch.device(device), workers=1, again=False)
            found.append(name)
    return found


def largest(case: Case, device: str) -> Values:
    """Double the batch until an update no longer fits in memory, takes longer than `LONGEST`, or fails otherwise.

    Raises:
        RuntimeError: not even the case's own batch can be updated.
    """
    batch, ended = 0, ""
    while not ended:
        tried = replace(case, batch=2 * batch or case.batch)
        try:
            bare = Bare.of(tried, Fast(), device)
            bare.update()
            seconds = bare.update()
        except RuntimeError as error:
            if not batch:
                raise
            ended = "memory" if is_memory(error) else reason(error)
        else:
            batch, ended = tried.batch, "time" if seconds > LONGEST else ""
        bare = None
        free()
    return {"batch": batch, "ended_by": ended}


def is_memory(error: RuntimeError) -> bool:
    """Tell whether memory was short: torch's own, or that of a library under it."""
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(error)


def bench_cpu(results: Results, methods: Sequence[str] = (), asked: Sequence[str] = ()) -> None:
    """Measure every demo at its batch.

    Args:
        methods: that are measured; none: all.
        asked: of `--fast`, one at a time; none: auto.
    """
    results.measure({"bench": "peak"}, partial(measure_peak, "cpu"))
    for fast in asked or ("auto",):
        for name in methods or METHODS:
            measure(results, Case.of(name, "demo"), fast, CPU)


def bench_paper(results: Results, methods: Sequence[str] = (), asked: Sequence[str] = ()) -> None:
    """Measure some methods at the paper's size and batch 1 on a CPU, which takes minutes.

    Args:
        methods: that are measured; none: `PAPER_SIZED`.
        asked: of `--fast`, one at a time; none: auto.
    """
    results.measure({"bench": "peak"}, partial(measure_peak, "cpu"))
    for fast in asked or ("auto",):
        for name in methods or PAPER_SIZED:
            measure(results, Case(name, "reference", 1), fast, HEAVY)


def bench_cuda(results: Results, methods: Sequence[str] = (), asked: Sequence[str] = ()) -> None:
    """Measure every method at its paper's batch, then at the largest that fits.

    Args:
        methods: that are measured; none: all.
        asked: of `--fast`, one at a time; none: auto, and then every option by itself.
    """
    results.measure({"bench": "peak"}, partial(measure_peak, "cuda"))
    cases = [Case.of(name, "reference") for name in methods or METHODS]
    large: list[Case] | None = None
    for fast in asked or ("auto", *possible("cuda")):
        for case in cases:
            measure(results, case, fast, GPU)
        large = [found for case in cases if (found := enlarged(results, case))] if large is None else large
        for case in large:
            measure(results, case, fast, GPU)


def enlarged(results: Results, case: Case) -> Case | None:
    """Give the case at the largest batch that fits; None where that is its own, or is not known."""
    found = results.measure({"bench": "largest", **case.key}, partial(largest, case, "cuda"))
    return replace(case, batch=found["batch"]) if found and found["batch"] != case.batch else None


def measure(results: Results, case: Case, asked: str, effort: Effort) -> None:
    """Keep a pair as a row."""
    key: Key = {"bench": "update", **case.key, "fast": asked}
    results.measure(key, partial(compare, case, asked, results.about["device"], effort))
