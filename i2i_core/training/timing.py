"""How long moves take, without stopping a GPU to ask it."""

from __future__ import annotations

import time
from collections import defaultdict

import torch

MOST = 32
"""Moves of a player that are timed between two readings: enough for a mean, and few events to hold."""

Events = tuple[torch.cuda.Event, torch.cuda.Event]


class Stopwatch:
    """Mean seconds of a player's moves: by the host's clock on a CPU; on a GPU by events in its stream, which are read
    one reading later, when they are long past.

    What a move waits for (its batch, gradients of other workers) counts as the move's.
    """

    def __init__(self, device: torch.device) -> None:
        self.gpu = device.type == "cuda"
        self.began = 0.0
        self.begun: torch.cuda.Event | None = None
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.events: dict[str, list[Events]] = defaultdict(list)
        self.earlier: dict[str, list[Events]] = {}

    def start(self) -> None:
        """A move begins."""
        if self.gpu:
            self.begun = torch.cuda.Event(enable_timing=True)
            self.begun.record()
        else:
            self.began = time.perf_counter()

    def stop(self, player: str) -> None:
        """It was this player's, and is over."""
        if not self.gpu:
            self.seconds[player].append(time.perf_counter() - self.began)
        elif self.begun and len(self.events[player]) < MOST:
            end = torch.cuda.Event(enable_timing=True)
            end.record()
            self.events[player].append((self.begun, end))

    def read(self) -> dict[str, float]:
        """By player, the mean since the last reading; on a GPU, of the time between the two before."""
        seconds: dict[str, list[float]] = dict(self.seconds)
        for player, pairs in self.earlier.items():
            seconds[player] = [begun.elapsed_time(end) / 1e3 for begun, end in pairs if end.query()]
        self.seconds, self.earlier, self.events = defaultdict(list), dict(self.events), defaultdict(list)
        return {player: sum(values) / len(values) for player, values in seconds.items() if values}
