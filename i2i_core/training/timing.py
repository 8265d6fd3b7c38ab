"""Measure how long moves take and where a run's time goes, without stopping a GPU."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

MOST = 32
"""The most moves of a player that are timed between two readings: enough for a mean, and few events to hold."""

Events = tuple[torch.cuda.Event, torch.cuda.Event]


class Stopwatch:
    """Measure the mean seconds of each player's moves: by the host's clock on a CPU; on a GPU by events in its stream,
    which are read one reading later, when they are long past.

    What a move waits for (its batch, other ranks' gradients) counts as the move's.

    Attributes:
        waited: seconds that steps have waited for batches so far; the loop adds them.
        moves: each player's moves since the beginning.
        sampled: each player's timed moves since the beginning: their seconds, and their number. On a CPU the seconds
            leave out the waiting for batches.
    """

    def __init__(self, device: torch.device) -> None:
        self.gpu = device.type == "cuda"
        self.began = 0.0
        self.begun: torch.cuda.Event | None = None
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.events: dict[str, list[Events]] = defaultdict(list)
        self.earlier: dict[str, list[Events]] = {}
        self.waited = 0.0
        self.waited_before = 0.0
        self.moves: dict[str, int] = defaultdict(int)
        self.sampled: dict[str, tuple[float, int]] = {}

    def start(self) -> None:
        """Begin a move."""
        if self.gpu:
            self.begun = torch.cuda.Event(enable_timing=True)
            self.begun.record()
        else:
            self.began, self.waited_before = time.perf_counter(), self.waited

    def stop(self, player: str) -> None:
        """End the move, which was this player's."""
        self.moves[player] += 1
        if not self.gpu:
            seconds = time.perf_counter() - self.began
            self.seconds[player].append(seconds)
            self._sample(player, [seconds - (self.waited - self.waited_before)])
        elif self.begun and len(self.events[player]) < MOST:
            end = torch.cuda.Event(enable_timing=True)
            end.record()
            self.events[player].append((self.begun, end))

    def read(self) -> dict[str, float]:
        """Return the mean seconds by player since the last reading; on a GPU, between the two readings before."""
        seconds: dict[str, list[float]] = dict(self.seconds)
        for player, pairs in self.earlier.items():
            seconds[player] = [begun.elapsed_time(end) / 1e3 for begun, end in pairs if end.query()]
            self._sample(player, seconds[player])
        self.seconds, self.earlier, self.events = defaultdict(list), dict(self.events), defaultdict(list)
        return {player: sum(values) / len(values) for player, values in seconds.items() if values}

    def _sample(self, player: str, seconds: list[float]) -> None:
        total, count = self.sampled.get(player, (0.0, 0))
        self.sampled[player] = total + sum(seconds), count + len(seconds)

    def worked(self) -> dict[str, float]:
        """Return each player's seconds since the beginning: the mean of its timed moves, times its moves.

        On a GPU only moves whose events are past count; nothing waits for the others.
        """
        if self.gpu:
            self.read()
            self.read()  # those of the time since the last log
        means = {player: total / count for player, (total, count) in self.sampled.items() if count}
        return {player: mean * self.moves[player] for player, mean in means.items()}


class Spent:
    """Add up where a run's time goes, by the host's clock, each second once: a part inside another part stops the
    other's time.

    The first part is START_UP, until `begin` is called. Time that then belongs to no part is REST.

    Args:
        began: when the first part began, by the clock; None for now.
        clock: returns seconds.

    Attributes:
        from_images: images of the run before this start of it.
    """

    START_UP, REST, STEP = "start_up", "rest", "step"

    def __init__(self, began: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.last = clock() if began is None else began
        self.parts = [self.START_UP]
        """The parts that are running, the innermost last."""
        self.seconds: dict[str, float] = {}
        self.from_images = 0

    def _charge(self) -> None:
        """Add the time since the last call to the innermost part."""
        now = self.clock()
        self.seconds[self.parts[-1]] = self.seconds.get(self.parts[-1], 0.0) + now - self.last
        self.last = now

    def begin(self, images: int) -> None:
        """End the start-up. `images` are those of the run so far."""
        self._charge()
        self.parts, self.from_images = [self.REST], images

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        """Count the time inside the block for a part."""
        self._charge()
        self.parts.append(part)
        try:
            yield
        finally:
            self._charge()
            self.parts.pop()

    def of(self, *parts: str) -> float:
        """Return the seconds of parts that are not running now, added up."""
        return sum(self.seconds.get(part, 0.0) for part in parts)

    def by_part(self, players: Mapping[str, float]) -> dict[str, float]:
        """Return the seconds of every part, which add up to the time since the beginning. The step's are split into
        `step/PLAYER`.

        Args:
            players: seconds of moves by player; the step's seconds are divided in this proportion.
        """
        self._charge()
        found = dict(self.seconds)
        if whole := sum(players.values()):
            step = found.pop(self.STEP, 0.0)
            found |= {f"{self.STEP}/{player}": step * seconds / whole for player, seconds in players.items()}
        return found


def shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return each part's share of the whole, from 0 to 1."""
    whole = sum(seconds.values())
    return {part: one / whole if whole else 0.0 for part, one in seconds.items()}


def device_name(device: torch.device) -> str:
    """Name a device: a GPU by its product, a CPU as `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


LEAST_SAID = 0.01
"""Least share of the time of a part that the log names; the file has all."""


def spent_line(report: Mapping[str, Any]) -> str:
    """Word where the time went, in a line: the parts of more than LEAST_SAID, the largest first.

    Args:
        report: the contents of `speed.json`.
    """
    seconds, share = report["seconds"], report["share"]
    workers, begun = report["workers"], report["from_images"]
    which = f"of this start of the run, from image {begun:,} on" if begun else "of the run"
    order = sorted((part for part in seconds if share[part] >= LEAST_SAID), key=lambda part: -seconds[part])
    parts = ", ".join(f"{part.replace('_', '-')} {seconds[part]:,.1f} s ({share[part]:.0%})" for part in order)
    return (
        f"where the time went: {parts}; {sum(seconds.values()):,.1f} s in all since the workers began, "
        f"{report['images']:,} images {which}, {workers} worker{'s' if workers > 1 else ''}, {report['device']}"
    )
