"""Estimate how long a sweep still takes, from how long its trials take."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Running:
    """Hold what is known of a running trial.

    Attributes:
        since: when this process began to run it.
        first: share of it that was done by then.
        share: share of it that was done when it was measured last.
        measured: when that was.
    """

    since: float
    first: float
    share: float
    measured: float


class TimeLeft:
    """Follow the trials of a sweep, and estimate when the last one ends.

    A trial's share is known only when it is measured, which may be at its end alone; what it has left is therefore
    estimated from how long others took.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.running: dict[int, Running] = {}
        self.took: list[float] = []
        """Seconds of a whole trial, by each that has ended; one that was stopped early took less."""
        self.at_once = 0
        """Most trials that ran at once."""

    def begin(self, number: int, share: float) -> None:
        """Note that a trial begins, or goes on after some share of it."""
        now = self.clock()
        self.running[number] = Running(now, share, share, now)
        self.at_once = max(self.at_once, len(self.running))

    def measured(self, number: int, share: float) -> None:
        """Note the share of a trial that is done."""
        if trial := self.running.get(number):
            trial.share, trial.measured = share, self.clock()

    def end(self, number: int) -> None:
        """Note that a trial has ended; one that is not running is left alone."""
        if (trial := self.running.pop(number, None)) and trial.first < 1:
            self.took.append((self.clock() - trial.since) / (1 - trial.first))

    def shares(self) -> dict[int, float]:
        """Give the share that is done of each running trial that was measured, by number."""
        return {number: trial.share for number, trial in sorted(self.running.items()) if trial.share > 0}

    def left(self, waiting: int) -> float | None:
        """Estimate the seconds until all trials have ended; None while nothing tells how long one takes.

        Args:
            waiting: how many have not begun.
        """
        took = self.took or [
            (trial.measured - trial.since) / (trial.share - trial.first)
            for trial in self.running.values()
            if trial.share > trial.first
        ]
        if not took:
            return None
        now, each = self.clock(), sum(took) / len(took)
        ends = [max(0.0, each * (1 - one.first) - (now - one.since)) for one in self.running.values()]
        ends += [0.0] * (self.at_once - len(ends))
        heapq.heapify(ends)
        for _ in range(waiting):
            heapq.heappush(ends, heapq.heappop(ends) + each)
        return max(ends)
