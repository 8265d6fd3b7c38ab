"""How long moves take, and where a run's time goes, without stopping a GPU to ask it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

MOST = 32
"""Moves of a player that are timed between two readings: enough for a mean, and few events to hold."""

Events = tuple[torch.cuda.Event, torch.cuda.Event]


class Stopwatch:
    """Mean seconds of a player's moves: by the host's clock on a CPU; on a GPU by events in its stream, which are read
    one reading later, when they are long past.

    What a move waits for (its batch, gradients of other workers) counts as the move's.

    Attributes:
        waited: seconds that steps have waited for batches so far, by the loop, which waits.
        moves: of each player, since the beginning.
        sampled: of each player, the seconds of all moves that were timed since the beginning, and how many these are;
            on a CPU without what was waited for batches.
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
        """A move begins."""
        if self.gpu:
            self.begun = torch.cuda.Event(enable_timing=True)
            self.begun.record()
        else:
            self.began, self.waited_before = time.perf_counter(), self.waited

    def stop(self, player: str) -> None:
        """It was this player's, and is over."""
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
        """By player, the mean since the last reading; on a GPU, of the time between the two before."""
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
        """Seconds of all of a player's moves since the beginning: the mean of those that were timed, times the moves.

        On a GPU, of the moves whose events are past, which nobody waits for.
        """
        if self.gpu:
            self.read()
            self.read()  # those of the time since the last log
        means = {player: total / count for player, (total, count) in self.sampled.items() if count}
        return {player: mean * self.moves[player] for player, mean in means.items()}


class Spent:
    """Add up where the time of a run goes, by the host's clock, each second once: a part that runs inside of another
    stops the other's time.

    The first part is START_UP, until `begin` is called; what then belongs to no part is REST.

    Args:
        began: when the first part began, by the clock; None: now.
        clock: gives seconds.

    Attributes:
        from_images: images of the run before this start of it.
    """

    START_UP, REST, STEP = "start_up", "rest", "step"

    def __init__(self, began: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.last = clock() if began is None else began
        self.parts = [self.START_UP]
        """Those that go on, the innermost last."""
        self.seconds: dict[str, float] = {}
        self.from_images = 0

    def _charge(self) -> None:
        """Add the time since the last call to the innermost part."""
        now = self.clock()
        self.seconds[self.parts[-1]] = self.seconds.get(self.parts[-1], 0.0) + now - self.last
        self.last = now

    def begin(self, images: int) -> None:
        """End the start-up of a run that goes on after so many images."""
        self._charge()
        self.parts, self.from_images = [self.REST], images

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        """Count the time inside of the block as a part's."""
        self._charge()
        self.parts.append(part)
        try:
            yield
        finally:
            self._charge()
            self.parts.pop()

    def of(self, *parts: str) -> float:
        """Add up the seconds of parts that do not go on now."""
        return sum(self.seconds.get(part, 0.0) for part in parts)

    def by_part(self, players: Mapping[str, float]) -> dict[str, float]:
        """Give the seconds of every part so far, which add up to the time since the beginning. Those of the step are
        given as `step/PLAYER`.

        Args:
            players: by player, what its moves took; the step's seconds are divided in proportion.
        """
        self._charge()
        found = dict(self.seconds)
        if whole := sum(players.values()):
            step = found.pop(self.STEP, 0.0)
            found |= {f"{self.STEP}/{player}": step * seconds / whole for player, seconds in players.items()}
        return found


def shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Give what each part is of the whole, from 0 to 1."""
    whole = sum(seconds.values())
    return {part: one / whole if whole else 0.0 for part, one in seconds.items()}


def device_name(device: torch.device) -> str:
    """Name a device as a person would: a GPU by its product."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def spent_lines(report: Mapping[str, Any]) -> list[str]:
    """Say where the time went in lines: a head, then a line for each part, the largest first.

    Args:
        report: what `speed.json` holds.
    """
    seconds, share = report["seconds"], report["share"]
    workers, begun = report["workers"], report["from_images"]
    which = f"of this start of the run, from image {begun:,} on" if begun else "of the run"
    head = (
        f"where the time went: {sum(seconds.values()):,.1f} s, {report['images']:,} images {which}, "
        f"{workers} worker{'s' if workers > 1 else ''}, {report['device']}"
    )
    order = sorted(seconds, key=lambda part: -seconds[part])
    return [head, *(f"  {part.replace('_', '-'):<12} {seconds[part]:>10,.1f} s {share[part]:>7.1%}" for part in order)]
