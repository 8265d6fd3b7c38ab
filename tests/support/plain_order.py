"""Write the order of samples out in full, slowly and without arithmetic: lists of a whole epoch, and nothing else.

What `i2i_core/data/reading/order.py` computes is compared with it. The two share the seeds' names and `permutation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from i2i_core.randomness import permutation, seed_from


@dataclass(frozen=True)
class Slot:
    """What a slot of a global batch reads: the epoch, the first row, and its lane's window in order."""

    epoch: int
    row: int
    lane: int
    window: tuple[int, ...]
    """The first rows of the window, in their order, beginning with the slot's own."""


@dataclass
class PlainOrder:
    """The arguments of `Order`, with the clips of every shard and stages as (frames, stride, epochs)."""

    clips: Sequence[Sequence[int]]
    batch: int
    lanes: int
    seed: int
    domain: str
    window: int
    stages: Sequence[tuple[int, int, int]] = ((1, 1, 1),)
    unit: str = "start"

    def units(self, frames: int, stride: int, lap: int) -> list[list[int]]:
        """The first rows of each shard's units."""
        found, row = [], 0
        for shard, clips in enumerate(self.clips):
            found.append([])
            usable = 0
            for length in clips:
                starts = [row + i for i in range(length) if i + (frames - 1) * stride < length]
                if starts and self.unit == "start":
                    found[-1] += starts
                elif starts:
                    drawn = seed_from(self.seed, self.domain, lap, "start in clip", shard, usable)
                    found[-1].append(starts[drawn % len(starts)])
                usable += bool(starts)
                row += length
        return found

    def line(self, epoch: int, frames: int, stride: int) -> list[int]:
        """The line of an epoch: all units, end to end with themselves until they hold a batch."""
        most = max(self.laps(f, s) for f, s, _ in self.stages)
        line: list[int] = []
        for n in range(self.laps(frames, stride)):
            lap = epoch * most + n
            units = self.units(frames, stride, lap)
            shards = permutation(len(units), self.seed, self.domain, "shards", lap).tolist()
            end_to_end = [row for shard in shards for row in units[shard]]
            start = seed_from(self.seed, self.domain, "start", lap) % len(end_to_end)
            line += end_to_end[start:] + end_to_end[:start]
        return line

    def laps(self, frames: int, stride: int) -> int:
        units = sum(map(len, self.units(frames, stride, 0)))
        return next(laps for laps in count(1) if laps * units >= self.batch)

    def epoch(self, epoch: int, frames: int, stride: int) -> list[list[Slot]]:
        """All global batches of an epoch."""
        line = self.line(epoch, frames, stride)
        batches = len(line) // self.batch
        per_slot = next(k for k in count(1) if k * self.window >= batches or k == self.lanes // self.batch)
        spans = [0] * per_slot
        for i in range(batches):
            spans[i % per_slot] += 1
        lanes: list[list[int]] = []
        for n in range(per_slot):
            for _ in range(self.batch):
                lanes.append(line[: spans[n]])
                line = line[spans[n] :]
        slots = [self.slot(epoch, slot, lanes[slot :: self.batch]) for slot in range(self.batch)]
        return [list(batch) for batch in zip(*slots, strict=True)]

    def slot(self, epoch: int, slot: int, lanes: list[list[int]]) -> list[Slot]:
        """What a slot reads in an epoch, from its lanes in turn."""
        shuffled = [self.shuffled(epoch, slot + n * self.batch, lane, len(lanes[0])) for n, lane in enumerate(lanes)]
        read: list[Slot] = []
        for round in range(len(lanes[0])):
            there = [lane for lane in shuffled if round < len(lane)]
            turns = permutation(len(there), self.seed, self.domain, "turns", epoch, slot, round)
            read += [there[turn][round] for turn in turns]
        return read

    def shuffled(self, epoch: int, lane: int, rows: list[int], longest: int) -> list[Slot]:
        """A lane in its order; all lanes' windows end after the same rounds, as those of the longest lane do."""
        windows = -(-longest // self.window)
        edges = [n * longest // windows for n in range(windows + 1)]
        out: list[Slot] = []
        for n in range(windows):
            part = rows[edges[n] : edges[n + 1]]
            mixed = [part[i] for i in permutation(len(part), self.seed, self.domain, "window", epoch, lane, n)]
            out += [Slot(epoch, row, lane, tuple(mixed[i:] + mixed[:i])) for i, row in enumerate(mixed)]
        return out

    def play(self, batches: int) -> list[tuple[list[Slot], int, int]]:
        """The first global batches, each with the frames and the stride of its windows."""
        out: list[tuple[list[Slot], int, int]] = []
        epoch = 0
        for n, (frames, stride, epochs) in enumerate(self.stages, 1):
            for _ in range(epochs) if n < len(self.stages) else count():
                out += [(batch, frames, stride) for batch in self.epoch(epoch, frames, stride)]
                epoch += 1
                if len(out) >= batches:
                    return out[:batches]
        return out
