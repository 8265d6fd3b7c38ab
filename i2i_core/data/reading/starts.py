"""Number the rows of a data set at which a sample, or a sequence of T frames, can begin: its *starts*.

Rows of one clip stand next to each other in one shard. A clip of L rows has L - (T - 1) stride starts, and none where
it is shorter than a sequence. The *units* of an epoch are all starts, or one start of each clip, drawn anew each epoch.
What is kept in memory grows with the shards, not with their samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from i2i_core.errors import ConfigError, DataError
from i2i_core.randomness import seed_from

Unit = Literal["start", "clip"]
ClipLengths = Sequence[Sequence[int]]
"""Lengths of each shard's clips, in order. They are looked up shard by shard, so they may be read when needed."""
_KEPT = 256
"""Shards whose clips are kept at hand."""


class LookedUp(Sequence[Sequence[int]]):
    """Look up the lengths of clips when they are needed; hold of each shard only what it takes to count its starts.

    Args:
        number: of each shard, how many clips it has.
        shortest: of each shard, how long its shortest is.
        lengths: gives the lengths of a shard's clips.
    """

    def __init__(self, number: Sequence[int], shortest: Sequence[int], lengths: Callable[[int], np.ndarray]) -> None:
        self.number, self.shortest = np.asarray(number, np.int64), np.asarray(shortest, np.int64)
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.number)

    def __getitem__(self, shard: int) -> Sequence[int]:  # type: ignore[override]
        return self.lengths(shard).tolist()


@dataclass(frozen=True)
class Frames:
    """Describe a sequence of frames: `number` rows of a clip, `stride` rows from each to the next."""

    number: int = 1
    stride: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ConfigError(f"frames: {name}", str(value), "1 or more", "Give a whole number above zero.")

    @property
    def reach(self) -> int:
        """Rows from the first frame to the last."""
        return (self.number - 1) * self.stride


class Starts:
    """Number the units of every shard, for sequences of one kind.

    Args:
        frames: the sequence that begins at a start.
        per_shard: units of each shard.
        too_short: clips that are shorter than the sequence.
        clips: lengths of each shard's clips; None: each row is a clip of its own.
        unit: what an epoch counts.
    """

    def __init__(
        self, frames: Frames, per_shard: np.ndarray, too_short: int, clips: ClipLengths | None, unit: Unit
    ) -> None:
        self.frames, self.per_shard, self.too_short, self.clips, self.unit = frames, per_shard, too_short, clips, unit
        self.total = int(per_shard.sum())
        self._remember()

    @property
    def single(self) -> bool:
        """Tell whether every row is a unit: samples that stand alone."""
        return self.clips is None and self.frames.reach == 0

    def _remember(self) -> None:
        self._table = lru_cache(maxsize=_KEPT)(self._tabulate)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_table"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._remember()

    def _tabulate(self, shard: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give of the clips of a shard that have starts: the first row, the starts, and the starts before them."""
        lengths = np.asarray(self.clips[shard], np.int64)  # type: ignore[index]
        rows, starts = np.cumsum(lengths) - lengths, np.maximum(lengths - self.frames.reach, 0)
        rows, starts = rows[starts > 0], starts[starts > 0]
        return rows, starts, np.cumsum(starts) - starts

    def rows(self, shards: np.ndarray, units: np.ndarray, *seed: object) -> np.ndarray:
        """Return the row within its shard at which each unit begins.

        Args:
            shards: the shard of each unit.
            units: the number of each unit in its shard.
            seed: of the starts that are drawn, one in each clip.
        """
        if self.clips is None:
            return units
        found = np.empty_like(units)
        for shard in np.unique(shards).tolist():
            first, starts, before = self._table(shard)
            here = units[shards == shard]
            if self.unit == "start":
                clips = np.searchsorted(before, here, side="right") - 1
                found[shards == shard] = first[clips] + here - before[clips]
            else:
                drawn = [seed_from(*seed, "start in clip", shard, clip) for clip in here.tolist()]
                found[shards == shard] = first[here] + np.array(drawn, np.int64) % starts[here]
        return found


class OneByOne:
    """Number the sequences of a shard set one after the other, where those of a clip begin where the one before has
    ended. They are found as far as they are needed.

    Args:
        frames: the sequences.
        counts: samples per shard.
        clips: lengths of each shard's clips; None: each row is a clip of its own.
    """

    def __init__(self, frames: Frames, counts: Sequence[int], clips: ClipLengths | None) -> None:
        self.frames, self.counts, self.clips = frames, counts, clips
        self._found: list[int] = []
        self._shards, self._row = 0, 0

    def count(self, most: int) -> int:
        """Count them, at most so many."""
        while len(self._found) < most and self._shards < len(self.counts):
            count = self.counts[self._shards]
            row, lengths = self._row, [1] * count if self.clips is None else self.clips[self._shards]
            for length in lengths:
                self._found += range(row, row + length - self.frames.reach, self.frames.reach + 1)
                row += length
            self._row, self._shards = self._row + count, self._shards + 1
        return min(len(self._found), most)

    def first_rows(self, numbers: Sequence[int]) -> np.ndarray:
        """Return the rows at which those of some numbers begin."""
        self.count(max(numbers, default=-1) + 1)
        return np.array([self._found[number] for number in numbers], np.int64)


def count_starts(
    counts: np.ndarray, clips: ClipLengths | None, kinds: Iterable[Frames], unit: Unit = "start"
) -> dict[Frames, Starts]:
    """Count the units of every shard for each kind of sequence, in one pass over the clips; over those of a few shards
    where it is known that all others are long enough.

    Args:
        counts: samples per shard.
        clips: lengths of each shard's clips; None: each row is a clip of its own.
        kinds: the sequences that the method reads.
        unit: what an epoch counts.

    Raises:
        DataError: the clips of a shard do not make up its samples, or no clip is as long as a sequence.
    """
    distinct = list(dict.fromkeys(kinds))
    per_shard = {frames: np.zeros_like(counts) for frames in distinct}
    too_short = dict.fromkeys(distinct, 0)
    long_enough = np.zeros(len(counts), bool)
    if isinstance(clips, LookedUp):
        long_enough = clips.shortest > max(frames.reach for frames in distinct)
        for frames in distinct:
            starts = counts - clips.number * frames.reach if unit == "start" else clips.number
            per_shard[frames] = np.where(long_enough, starts, 0)
    for shard, lengths in _lengths(counts, clips, np.flatnonzero(~long_enough)):
        for frames in distinct:
            starts = lengths[lengths > frames.reach] - frames.reach
            per_shard[frames][shard] = starts.sum() if unit == "start" else len(starts)
            too_short[frames] += len(lengths) - len(starts)
    if clips is None:
        for frames in distinct:
            per_shard[frames] = counts * (frames.reach == 0)
            too_short[frames] = int(counts.sum()) * (frames.reach > 0)
    for frames in distinct:
        if not per_shard[frames].any():
            found = f"{too_short[frames]:,} clips, all shorter than {frames.reach + 1} rows"
            expected = f"a clip that holds {frames.number} frames with a stride of {frames.stride}"
            raise DataError("data", found, expected, "Ask for fewer frames or a smaller stride, or shard longer clips.")
    return {frames: Starts(frames, per_shard[frames], too_short[frames], clips, unit) for frames in distinct}


def _lengths(counts: np.ndarray, clips: ClipLengths | None, shards: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Give the number of some shards and the lengths of their clips. Raises DataError as `count_starts`."""
    for shard in shards.tolist() if clips is not None else ():
        count = int(counts[shard])
        lengths = np.asarray(clips[shard], np.int64)  # type: ignore[index]
        if lengths.sum() != count or (lengths < 1).any():
            found = f"clips of {int(lengths.sum())} rows in a shard of {count}"
            raise DataError(f"shard {shard}", found, "clips that make it up", "Shard the data set again.")
        yield shard, lengths
