"""Decide which sample comes next, by a pure function of (manifest, seed, global batch size, batch number).

Each epoch the shards are permuted and laid end to end (beginning at a seeded point), the line is cut into lanes
(`lanes`), and each lane is shuffled in windows. Each slot of the global batch owns some lanes and visits each of them
once a round, in another order every round. The order does not depend on the number of workers, loader processes or
restarts. A sample stands alone or is a sequence of frames (`starts`), whose length may change from epoch to epoch.
docs/stream.md has the picture.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from i2i_core.data.reading.lanes import Cut
from i2i_core.data.reading.starts import ClipLengths, Frames, Unit, count_starts
from i2i_core.errors import ConfigError
from i2i_core.randomness import permutation, seed_from

VERSION = 2
"""Version of the order. A run can only be resumed by the version that it began with: raise this number with every
change of what comes when. In version 1 a batch had at most 64 lanes, and a slot shared one with others."""


@dataclass(frozen=True)
class Stage:
    """Describe a stage of an order: epochs whose sequences have one length and stride. The last stage has no end."""

    frames: Frames = field(default_factory=Frames)
    epochs: int = 1


@dataclass(frozen=True)
class Epoch:
    """Place one epoch among the global batches of an order.

    Attributes:
        number: of all epochs, whatever their stage.
        first: its first global batch.
        batches: how many it has.
        stage: the number of its stage.
    """

    number: int
    first: int
    batches: int
    stage: int

    @property
    def last(self) -> int:
        """Its last global batch."""
        return self.first + self.batches - 1


@dataclass(frozen=True)
class Around:
    """Hold the row that a slot reads, within the window of its lane.

    Attributes:
        epoch: the number of the epoch.
        lane, window: which window of the epoch this is.
        at: the slot's place in it.
        rows: the first rows of the window, in their order; of a set that is smaller than B some may stand twice.
    """

    epoch: int
    lane: int
    window: int
    at: int
    rows: np.ndarray

    @property
    def row(self) -> int:
        """The slot's own row."""
        return int(self.rows[self.at])

    @property
    def in_turn(self) -> list[int]:
        """List the rows of the window in a ring, from the slot's own row on."""
        return np.roll(self.rows, -self.at).tolist()


class Order:
    """Decide which row of a shard set stands in which slot of which global batch.

    An order is a pure function of its arguments: any rank can compute any batch, and a resumed run needs no state but
    the number of the batch. Each epoch lays the permuted shards end to end, cuts that line into lanes, which may begin
    inside a shard, and shuffles each lane in windows. A *start* is a row where a sample begins. A whole epoch reads
    every start at most once and leaves out fewer than B; only a set with fewer than B starts repeats them (`batch`).

    Args:
        counts: samples per shard.
        batch: B, the samples of a global batch. A set with fewer starts than B is repeated within an epoch, each time
            in a new order, until one batch is full.
        lanes: the largest number of lanes, a multiple of B.
        seed: the run's seed. Orders with one seed and different `domain`s are independent.
        window: units that a lane shuffles among.
        clips: lengths of each shard's clips; None: each row is a clip of its own.
        stages: what a sequence of frames is, from epoch to epoch.
        unit: what an epoch counts: every start, or one start of each clip, drawn anew each epoch.
        ends: the global batch at which each stage but the last ends, where another order decides it (the longer of two
            domains); the epoch in progress is then cut short. None: each stage ends after its `epochs`.

    Raises:
        ConfigError: stages that end before they begin.
        DataError: as `count_starts`.
    """

    def __init__(
        self,
        counts: Sequence[int] | np.ndarray,
        batch: int,
        lanes: int,
        seed: int,
        domain: str,
        window: int,
        *,
        clips: ClipLengths | None = None,
        stages: Sequence[Stage] = (Stage(),),
        unit: Unit = "start",
        ends: Sequence[int] | None = None,
    ) -> None:
        self.counts, self.batch, self.lanes, self.window = np.asarray(counts, np.int64), batch, lanes, window
        self.key = (seed, domain)
        self.first_row = np.cumsum(self.counts) - self.counts
        starts = count_starts(self.counts, clips, [stage.frames for stage in stages], unit)
        self.starts = [starts[stage.frames] for stage in stages]
        self.cuts = [Cut(each.total, batch, lanes, window) for each in self.starts]
        self.stages = tuple(stages)
        self.end_at(ends)
        self._remember()

    def end_at(self, ends: Sequence[int] | None) -> None:
        """Set the global batches at which all stages but the last end; None: after their epochs. Call this before
        anything is read. Raises ConfigError for a stage that ends before it begins."""
        self.ends, self.first_epochs = _table(self.stages, self.cuts, ends)

    def _remember(self) -> None:
        lanes = max(self.batch * cut.per_slot for cut in self.cuts)
        self._line = lru_cache(maxsize=4)(self._lay)
        self._rows_of = lru_cache(maxsize=2 * lanes)(self._shuffle)
        self._turns = lru_cache(maxsize=2 * self.batch)(self._turn)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_line", "_rows_of", "_turns")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._remember()

    @property
    def batches(self) -> int:
        """Global batches in an epoch of the first stage."""
        return self.cuts[0].batches

    def batches_in(self, stage: int) -> int:
        """Return the global batches in a whole epoch of a stage."""
        return self.cuts[stage].batches

    def epoch_at(self, t: int) -> Epoch:
        """Return the epoch of global batch number t."""
        stage = bisect_right(self.ends, t)
        begin, batches = (self.ends[stage - 1] if stage else 0), self.cuts[stage].batches
        lap = (t - begin) // batches
        first = begin + lap * batches
        if stage < len(self.ends):
            batches = min(batches, self.ends[stage] - first)
        return Epoch(self.first_epochs[stage] + lap, first, batches, stage)

    def first_of(self, epoch: int) -> int:
        """Return the first global batch of an epoch."""
        stage = bisect_right(self.first_epochs, epoch) - 1
        begin = self.ends[stage - 1] if stage else 0
        return begin + (epoch - self.first_epochs[stage]) * self.cuts[stage].batches

    def frames_at(self, t: int) -> Frames:
        """Return the number and the stride of the frames of a sequence in global batch number t."""
        return self.starts[bisect_right(self.ends, t)].frames

    def frame_rows(self, t: int, rows: np.ndarray) -> np.ndarray:
        """Return the rows of all frames of sequences that begin at rows (n,): (n, T)."""
        frames = self.frames_at(t)
        return np.asarray(rows)[:, None] + frames.stride * np.arange(frames.number)

    def _lay(self, stage: int, lap: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Lay one lap's shards: their numbers in order, where each begins, and where the line starts."""
        starts = self.starts[stage]
        shards = permutation(len(self.counts), *self.key, "shards", lap)
        units = starts.per_shard[shards]
        return shards, np.cumsum(units) - units, seed_from(*self.key, "start", lap) % starts.total

    def _shuffle(self, epoch: Epoch, lane: int, window: int) -> np.ndarray:
        """Return the first rows of a window of a lane, in their order."""
        begin, end = self.cuts[epoch.stage].stretch(lane, window)
        return self._rows(epoch, begin + permutation(end - begin, *self.key, "window", epoch.number, lane, window))

    def _turn(self, epoch: int, slot: int, round: int, lanes: int) -> np.ndarray:
        return permutation(lanes, *self.key, "turns", epoch, slot, round)

    def _lap_of(self, epoch: Epoch, lap: int) -> int:
        """Give a lap a number that no other lap of any epoch has."""
        most = max(cut.laps for cut in self.cuts)
        return epoch.number * most + lap

    def _rows(self, epoch: Epoch, positions: np.ndarray) -> np.ndarray:
        """Return the rows at positions of the epoch's line."""
        starts = self.starts[epoch.stage]
        laps, along = np.divmod(positions, starts.total)
        rows = np.empty_like(along)
        for lap in set(laps.tolist()):
            shards, begins, start = self._line(epoch.stage, number := self._lap_of(epoch, lap))
            here = (along[laps == lap] + start) % starts.total
            at = np.searchsorted(begins, here, side="right") - 1
            inside = starts.rows(shards[at], here - begins[at], *self.key, number)
            rows[laps == lap] = self.first_row[shards[at]] + inside
        return rows

    def _place(self, epoch: Epoch, t: int, slot: int) -> tuple[int, int, int]:
        """Return the lane, the window and the place in it that a slot of a global batch has."""
        cut = self.cuts[epoch.stage]
        round, turn = divmod(t - epoch.first, cut.per_slot)
        lane = slot
        if cut.per_slot > 1:
            lane += self.batch * int(self._turns(epoch.number, slot, round, cut.turns(round))[turn])
        window = cut.window_of(round)
        return lane, window, round - cut.edge(window)

    def locate_all(self, t: int, start: int, stop: int) -> tuple[int, np.ndarray]:
        """Return the epoch of global batch number t, and the first rows of its slots start to stop."""
        epoch = self.epoch_at(t)
        places = (self._place(epoch, t, slot) for slot in range(start, stop))
        rows = [self._rows_of(epoch, lane, window)[at] for lane, window, at in places]
        return epoch.number, np.array(rows, np.int64)

    def locate(self, t: int, slot: int) -> tuple[int, int]:
        """Return (epoch, first row) of a slot of global batch number t."""
        epoch, rows = self.locate_all(t, slot, slot + 1)
        return epoch, int(rows[0])

    def around(self, t: int, slot: int) -> Around:
        """Return the window of a lane that a slot of global batch number t reads from."""
        epoch = self.epoch_at(t)
        lane, window, at = self._place(epoch, t, slot)
        return Around(epoch.number, lane, window, at, self._rows_of(epoch, lane, window))

    def candidates(self, t: int, slot: int) -> Iterator[tuple[int, int]]:
        """Give the (epoch, row) of the slot, then those that may replace it: the other rows of its window, in order."""
        found = self.around(t, slot)
        return ((found.epoch, row) for row in found.in_turn)

    def near(self, t: int, slot: int) -> np.ndarray:
        """Return, sorted, the rows among which a slot of global batch number t finds companions: all rows of the shards
        that the slot's window lies on, which the node holds at that time; for sequences the rows of the window
        alone."""
        epoch = self.epoch_at(t)
        lane, window, _ = self._place(epoch, t, slot)
        if not self.starts[epoch.stage].single:
            return np.unique(self._rows_of(epoch, lane, window))
        shards = sorted(set(self._shards_of(epoch, lane, window)))
        return np.concatenate([np.arange(self.counts[n]) + self.first_row[n] for n in shards])

    def needs(self, first: int, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield (t, last t, shard): the shards that slots start to stop read in global batches t to last t, also in
        place of bad samples. The windows follow each other without end, from that of global batch `first` on; t never
        falls."""
        t = first
        while True:
            epoch = self.epoch_at(t)
            cut = self.cuts[epoch.stage]
            for window in range(cut.window_of((t - epoch.first) // cut.per_slot), cut.windows):
                begin = epoch.first + cut.edge(window) * cut.per_slot
                last = min(epoch.first + cut.edge(window + 1) * cut.per_slot - 1, epoch.last)
                if begin > epoch.last:
                    break
                for shard in dict.fromkeys(self._shards(epoch, window, start, stop)):
                    yield max(first, begin), last, shard
            t = epoch.last + 1

    def _shards(self, epoch: Epoch, window: int, start: int, stop: int) -> Iterator[int]:
        """Give the shards that a window of the lanes of slots start to stop lies on."""
        for block in range(self.cuts[epoch.stage].per_slot):
            for slot in range(start, stop):
                yield from self._shards_of(epoch, block * self.batch + slot, window)

    def _shards_of(self, epoch: Epoch, lane: int, window: int) -> Iterator[int]:
        """Give the shards that a window of a lane lies on."""
        total = self.starts[epoch.stage].total
        position, end = self.cuts[epoch.stage].stretch(lane, window)
        while position < end:
            lap, along = divmod(position, total)
            shards, begins, origin = self._line(epoch.stage, self._lap_of(epoch, lap))
            on_line = (along + origin) % total
            at = int(np.searchsorted(begins, on_line, side="right")) - 1
            yield int(shards[at])
            left = int(begins[at]) + int(self.starts[epoch.stage].per_shard[shards[at]]) - on_line
            position += min(left, total - along)


def _table(stages: Sequence[Stage], cuts: Sequence[Cut], ends: Sequence[int] | None) -> tuple[list[int], list[int]]:
    """Return the global batches at which stages end, but for the last, and the number of each stage's first epoch."""
    until, first_epochs, begin = [], [0], 0
    for i, (stage, cut) in enumerate(zip(stages[:-1], cuts[:-1], strict=True)):
        end = begin + stage.epochs * cut.batches if ends is None else ends[i]
        if end <= begin:
            found = f"one from global batch {begin} to {end}"
            fix = "Give each stage an epoch or more."
            raise ConfigError(f"stage {i + 1}", found, "one that ends after it begins", fix)
        until.append(end)
        first_epochs.append(first_epochs[-1] - (begin - end) // cut.batches)
        begin = end
    return until, first_epochs
