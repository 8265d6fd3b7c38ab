"""Say what comes next, by a pure function of (manifest, seed, global batch size, batch number).

A *lane* is a fixed share of the slots of every global batch. Each epoch the shards are permuted
and laid end to end (beginning at a seeded point), the line is cut into as many equal spans as
there are lanes, and each lane's span is shuffled in windows. Lanes are dealt to workers, so the
order knows nothing of how many workers, loader processes or restarts there are. docs/stream.md
has the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np

from i2i_core.errors import ResourceError
from i2i_core.randomness import permutation, seed_from

MOST_LANES = 64


def lanes_of(batch: int, wanted: int = 0) -> int:
    """The lanes of a global batch: the largest divisor up to 64, or the number wanted.

    Raises:
        ResourceError: the wanted number does not divide the batch.
    """
    if wanted and batch % wanted:
        raise ResourceError(
            "--lanes", str(wanted), f"a divisor of the batch, {batch}", "Leave --lanes out, or change --batch."
        )
    return wanted or max(d for d in range(1, min(batch, MOST_LANES) + 1) if batch % d == 0)


def slots_of(batch: int, lanes: int, rank: int, world: int) -> tuple[int, int]:
    """First and past-the-last slot of one worker: lanes dealt in order, as evenly as they go.

    Raises:
        ResourceError: more workers than lanes.
    """
    if world > lanes:
        fitting = next(b for b in count(max(batch, world)) if lanes_of(b) >= world)
        raise ResourceError(
            "--workers",
            f"{world} workers for a global batch of {batch} ({lanes} lanes)",
            f"at most {lanes} workers",
            f"Use --workers {lanes}, or a larger batch: --batch {fitting}.",
        )
    per_lane = batch // lanes
    return rank * lanes // world * per_lane, (rank + 1) * lanes // world * per_lane


class Order:
    """Which row of a shard set stands in which slot of which global batch.

    Args:
        counts: samples per shard.
        batch: B, the global batch. A set smaller than B is laid end to end with itself, each time
            in a new order, until it holds one batch.
        lanes: a divisor of B.
        seed: of the run; `domain` makes two sets of one run independent.
        window: samples a lane shuffles among.
    """

    def __init__(self, counts: Sequence[int], batch: int, lanes: int, seed: int, domain: str, window: int) -> None:
        self.counts, self.batch, self.lanes, self.window = np.asarray(counts), batch, lanes, window
        self.key = (seed, domain)
        self.rows = int(self.counts.sum())
        self.laps = -(-batch // self.rows)
        self.batches = self.laps * self.rows // batch
        """Global batches in an epoch."""
        self.per_lane = batch // lanes
        self.span = self.batches * self.per_lane
        self.first_row = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        self._remember()

    def _remember(self) -> None:
        self._line = lru_cache(maxsize=4)(self._lay)
        self._shuffled = lru_cache(maxsize=4 * self.lanes)(self._shuffle)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_line", "_shuffled")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._remember()

    def _lay(self, lap: int) -> tuple[np.ndarray, np.ndarray, int]:
        """One lap's shards: their numbers in order, where each begins, and where the line starts."""
        shards = permutation(len(self.counts), *self.key, "shards", lap)
        begins = np.concatenate([[0], np.cumsum(self.counts[shards])[:-1]])
        return shards, begins, seed_from(*self.key, "start", lap) % self.rows

    def _shuffle(self, epoch: int, lane: int, window: int) -> np.ndarray:
        size = min(self.window, self.span - window * self.window)
        return permutation(size, *self.key, "window", epoch, lane, window)

    def _rows(self, epoch: int, positions: np.ndarray) -> np.ndarray:
        """The rows at positions of the epoch's line."""
        laps, along = np.divmod(positions, self.rows)
        rows = np.empty_like(along)
        for lap in set(laps.tolist()):
            shards, begins, start = self._line(epoch * self.laps + lap)
            here = (along[laps == lap] + start) % self.rows
            at = np.searchsorted(begins, here, side="right") - 1
            rows[laps == lap] = self.first_row[shards[at]] + here - begins[at]
        return rows

    def _row(self, epoch: int, position: int) -> int:
        return int(self._rows(epoch, np.array([position]))[0])

    def locate_all(self, t: int, start: int, stop: int) -> tuple[int, np.ndarray]:
        """The epoch of global batch number t, and the rows of its slots start to stop."""
        epoch, index = divmod(t, self.batches)
        lanes, within = np.divmod(np.arange(start, stop), self.per_lane)
        windows, at = np.divmod(index * self.per_lane + within, self.window)
        places = zip(lanes.tolist(), windows.tolist(), at.tolist(), strict=True)
        along = [self._shuffled(epoch, lane, window)[i] for lane, window, i in places]
        return epoch, self._rows(epoch, lanes * self.span + windows * self.window + along)

    def locate(self, t: int, slot: int) -> tuple[int, int]:
        """(epoch, row) of a slot of global batch number t."""
        return next(self.candidates(t, slot))

    def candidates(self, t: int, slot: int) -> Iterator[tuple[int, int]]:
        """The slot's own (epoch, row), then the others of its window: what may replace it, in order."""
        epoch, index = divmod(t, self.batches)
        lane, within = divmod(slot, self.per_lane)
        window, at = divmod(index * self.per_lane + within, self.window)
        order = self._shuffled(epoch, lane, window)
        base = lane * self.span + window * self.window
        for step in range(len(order)):
            yield epoch, self._row(epoch, base + int(order[(at + step) % len(order)]))

    def needs(self, first: int, lanes: range) -> Iterator[tuple[int, int, int]]:
        """(t, last t, shard) of every shard that some lanes read, window by window from the one of global batch `first`
        on, without end; t rises."""
        epoch, index = divmod(first, self.batches)
        while True:
            for begin in range(index * self.per_lane // self.window * self.window, self.span, self.window):
                end = min(begin + self.window, self.span)
                start = epoch * self.batches
                t, last = max(first, start + begin // self.per_lane), start + (end - 1) // self.per_lane
                for lane in lanes:
                    for shard in self._shards(epoch, lane * self.span + begin, lane * self.span + end):
                        yield t, last, shard
            epoch, index = epoch + 1, 0

    def _shards(self, epoch: int, position: int, end: int) -> Iterator[int]:
        """Numbers of the shards on a stretch of the epoch's line."""
        while position < end:
            lap, along = divmod(position, self.rows)
            shards, begins, start = self._line(epoch * self.laps + lap)
            on_line = (along + start) % self.rows
            at = int(np.searchsorted(begins, on_line, side="right")) - 1
            yield int(shards[at])
            left = int(begins[at]) + int(self.counts[shards[at]]) - on_line
            position += min(left, self.rows - along)
