"""Say where the members of every sample lie: an index beside each shard, read when its rows are needed.

The index of a shard (`index/NAME.npz`) has a row for each of its samples, in their order, so that any sample can be
read without reading what stands before it:

    keys     (N,)            bytes   the sample's KEY
    offset   (N, F)          int64   byte offset of each field's data in the shard, in the order of their names
    size     (N, F)          int64   byte length of the same
    bits     (N, ceil(A/8))  uint8   the attributes, eight in a byte, the first in the highest bit
    clips    (M,)            int64   where the manifest says `clips`: how many rows each clip has, in their order

Version 1 of a data set has one index for all shards of a set, with `labels` (N, A) in place of `bits`, and no clips.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np

from i2i_core.data.format.places import MOST_PATH, MOST_SHOWN
from i2i_core.images.arrays import read_npz

MOST_HEADERS = 1 << 16
"""Bytes of an index besides its arrays."""
KEPT = 1 << 16
"""Rows whose indexes are kept at hand where nobody asks for more."""


@dataclass(frozen=True)
class Index:
    """Hold the index of some rows in memory: arrays as in the module's docstring."""

    keys: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    bits: np.ndarray
    clips: np.ndarray | None = None

    def dumps(self) -> bytes:
        """Give the bytes of the `.npz`; the same arrays always give the same bytes."""
        out = io.BytesIO()
        clips: dict[str, Any] = {} if self.clips is None else {"clips": self.clips}
        np.savez(out, keys=self.keys, offset=self.offset, size=self.size, bits=self.bits, **clips)
        return out.getvalue()

    @staticmethod
    def loads(data: bytes, attributes: int, clips: bool = False, version: int = 2) -> Index:
        """Read the bytes of the `.npz`, no more than they are.

        Args:
            data: the bytes.
            attributes: A.
            clips: whether its rows are frames of clips.
            version: of the data set.

        Raises:
            ValueError: they are no such index.
        """
        names = ("keys", "offset", "size", "labels" if version == 1 else "bits", *(("clips",) if clips else ()))
        keys, offset, size, bits, *lengths = read_npz(data, names).values()
        return Index(keys, offset, size, _packed(bits, attributes) if version == 1 else bits, *lengths)

    def labels(self, attributes: int) -> np.ndarray:
        """Unpack the attributes: (N, A) of 0 and 1."""
        return np.unpackbits(self.bits, axis=1, count=attributes) if attributes else np.zeros((len(self.keys), 0), "u1")

    def rows(self, start: int, stop: int) -> Index:
        """Give some rows, without clips."""
        return Index(*(array[start:stop] for array in (self.keys, self.offset, self.size, self.bits)))

    def misfit(
        self, samples: int, size: Callable[[], int | np.ndarray], fields: int, attributes: int
    ) -> tuple[str, str] | None:
        """Tell what is wrong with an index of so many samples, and what belongs there.

        Args:
            samples: N.
            size: gives the bytes of the shard, or of that of each row; asked once there are so many rows.
            fields: F.
            attributes: A.
        """
        shapes = {"keys": ((samples,), "S"), "offset": ((samples, fields), "i"), "size": ((samples, fields), "i")}
        shapes["bits"] = ((samples, -(-attributes // 8)), "u")
        for name, (shape, kind) in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype.kind != kind or (name == "bits" and array.dtype != np.uint8):
                expected = f"{shape}: {samples} samples, {fields} fields and {attributes} attributes, as the manifest"
                return f"{name} of shape {array.shape} and type {array.dtype}"[:MOST_SHOWN], f"{expected} says"
        of_row = np.broadcast_to(size(), (samples,))
        inside = (self.offset >= 0) & (self.size >= 0) & (self.size <= of_row[:, None] - self.offset)
        if not inside.all():
            row, column = np.argwhere(~inside)[0]
            at, length = int(self.offset[row, column]), int(self.size[row, column])
            return f"{length} bytes from byte {at} for sample {row}", f"a place in its shard of {of_row[row]} bytes"
        if self.clips is not None:
            clips = self.clips
            if clips.ndim != 1 or clips.dtype.kind != "i" or (clips < 1).any() or (clips > samples).any():
                found = f"clips of shape {clips.shape} and type {clips.dtype}"[:MOST_SHOWN]
                return found, f"lengths of 1 to {samples}"
        if self.clips is not None and self.clips.sum() != samples:
            return f"clips of {self.clips.sum()} rows together", f"those that make up {samples} samples"
        if self.keys.dtype.itemsize and (np.ascontiguousarray(self.keys).view(np.uint8) < 128).all():  # most are
            return None
        try:
            b"\n".join(self.keys.tolist()).decode()
        except UnicodeDecodeError as error:
            return f"a key that is not UTF-8 (byte {error.object[error.start]:#x})", "keys in UTF-8"
        return None

    def not_one(self, attributes: int) -> tuple[str, str] | None:
        """Tell which sample does not have exactly one attribute, and what belongs there."""
        sums = self.labels(attributes).sum(axis=1)
        if (sums == 1).all():
            return None
        row = int(np.argmax(sums != 1))
        return f"{sums[row]} attributes of sample {row}", "exactly one: the manifest calls them exclusive"


def _packed(labels: np.ndarray, attributes: int) -> np.ndarray:
    """Pack labels (N, A) eight in a byte. Raises ValueError where they are none."""
    if labels.ndim != 2 or labels.shape[1] != attributes or labels.dtype.kind != "u":
        raise ValueError(f"labels of shape {labels.shape} and type {labels.dtype}, of {attributes} attributes")
    if labels.size and labels.max() > 1:
        row = int(np.argmax(labels.max(axis=1)))
        raise ValueError(f"labels {labels[row].tolist()} of sample {row}, which are 0 and 1")
    return np.packbits(labels.astype(np.uint8), axis=1)


def least_bytes(samples: int, fields: int, attributes: int) -> int:
    """Bound the bytes of an index of so many samples from below."""
    return samples * (16 * fields + -(-attributes // 8))


def most_bytes(samples: int, fields: int, attributes: int, clips: bool) -> int:
    """Bound the bytes of an index of so many samples, of either version."""
    return samples * (MOST_PATH + 16 * fields + attributes + 8 * clips) + MOST_HEADERS


@dataclass
class NewIndex:
    """Collect the index of a shard that is being written, row by row."""

    keys: list[str] = field(default_factory=list)
    offset: list[list[int]] = field(default_factory=list)
    size: list[list[int]] = field(default_factory=list)
    labels: list[Sequence[int]] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)
    _clip: object = None

    def append(self, key: str, places: Sequence[tuple[int, int]], labels: Sequence[int], clip: object = None) -> None:
        """Add the next sample.

        Args:
            key: its KEY.
            places: offset and length of each field's data.
            labels: its attributes, 0 and 1.
            clip: what it shares with the next sample where that is the next frame of its clip; None: of no clip.
        """
        self.keys.append(key)
        self.offset.append([at for at, _ in places])
        self.size.append([size for _, size in places])
        self.labels.append(labels)
        if clip is not None and clip == self._clip:
            self.clips[-1] += 1
        elif clip is not None:
            self.clips.append(1)
        self._clip = clip

    def done(self) -> Index:
        """Give it as arrays."""

        def table(rows: Sequence[Sequence[int]], dtype: type[np.generic]) -> np.ndarray:
            return np.array(rows, dtype).reshape(len(rows), len(rows[0]) if rows else 0)

        return Index(
            np.array([key.encode("utf-8", "surrogateescape") for key in self.keys], np.bytes_),
            table(self.offset, np.int64),
            table(self.size, np.int64),
            np.packbits(table(self.labels, np.uint8), axis=1),
            np.array(self.clips, np.int64) if self.clips else None,
        )


class Rows:
    """Look up the rows of a shard set: key, labels, and where each field's bytes lie. The index of a shard is read when
    one of its rows is needed, and kept for a while.

    Memory follows the rows in use, not the rows that there are: a data set of any size takes the same.

    Args:
        counts: samples of each shard.
        attributes: A.
        read: gives the indexes of some shards, at once.
        whole: the index of all rows, where there is one.
    """

    def __init__(
        self,
        counts: Sequence[int],
        attributes: int,
        read: Callable[[Sequence[int]], list[Index]],
        whole: Index | None = None,
    ) -> None:
        self.counts = np.asarray(counts, np.int64)
        self.ends = np.cumsum(self.counts)
        self.attributes, self._read, self._whole, self.most = attributes, read, whole, KEPT
        self._kept: OrderedDict[int, Index] = OrderedDict()
        self._held, self._lock = 0, Lock()

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_kept": OrderedDict(), "_held": 0}  # another process reads its own
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = Lock()

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def keep(self, rows: int) -> None:
        """Keep the indexes of at least so many rows at hand, if that is more than before."""
        self.most = max(self.most, rows)

    def locate(self, rows: Sequence[int] | np.ndarray | range) -> tuple[np.ndarray, np.ndarray]:
        """Give the shard of each row, and its row in there."""
        rows = np.asarray(rows, np.int64)
        shards = np.searchsorted(self.ends, rows, side="right")
        return shards, rows - (self.ends[shards] - self.counts[shards])

    def shard(self, number: int) -> Index:
        """Give the index of one shard."""
        return self._of([number])[number]

    def places(self, rows: Sequence[int], column: int) -> tuple[list[int], list[int], list[int]]:
        """Give the shard of each row, and the offset and length of one field there."""

        def take(index: Index, i: np.ndarray) -> np.ndarray:
            return np.stack([index.offset[i, column], index.size[i, column]], axis=1)

        shards, at = self._gathered(rows, take)
        return shards.tolist(), at[:, 0].tolist(), at[:, 1].tolist()

    def keys(self, rows: Sequence[int] | np.ndarray | None = None) -> list[str]:
        """Give the key of each row, or of all."""
        rows = range(len(self)) if rows is None else rows
        return [key.decode() for key in self._gathered(rows, lambda index, i: index.keys[i])[1].tolist()]

    def labels(self, rows: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Give the attributes (n, A) of each row, or of all."""
        rows = range(len(self)) if rows is None else rows
        if not self.attributes or not len(rows):
            return np.zeros((len(rows), self.attributes), np.uint8)
        bits = self._gathered(rows, lambda index, i: index.bits[i])[1]
        return np.unpackbits(bits, axis=1, count=self.attributes)

    def clip_lengths(self, number: int) -> np.ndarray:
        """Give the lengths of the clips of a shard."""
        clips = self.shard(number).clips
        assert clips is not None, "asked of data sets of clips"
        return clips

    def _gathered(
        self, rows: Sequence[int] | np.ndarray, take: Callable[[Index, np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Give the shard of each row, and what is taken from the index of that shard."""
        shards, inside = self.locate(rows)
        by_shard = np.argsort(shards, kind="stable")
        numbers, begins = np.unique(shards[by_shard], return_index=True)
        found, parts = self._of(numbers.tolist()), np.split(by_shard, begins[1:])
        taken = [take(found[n], inside[part]) for n, part in zip(numbers.tolist(), parts, strict=False)]
        if not taken:
            return shards, np.zeros((0, 2), np.int64)
        back = np.empty_like(by_shard)
        back[by_shard] = np.arange(len(by_shard))
        return shards, np.concatenate(taken)[back]

    def _of(self, numbers: Sequence[int]) -> dict[int, Index]:
        """Give the indexes of some shards; read those that are not kept in memory, all at once."""
        with self._lock:
            found = {number: self._kept[number] for number in numbers if number in self._kept}
            for number in found:
                self._kept.move_to_end(number)
        missing = [number for number in numbers if number not in found]
        read = self._slices(missing) if self._whole else self._read(missing) if missing else []
        found |= dict(zip(missing, read, strict=True))
        if missing and not self._whole:
            with self._lock:
                self._put(missing, found)
        return {number: found[number] for number in numbers}

    def _put(self, missing: Iterable[int], found: dict[int, Index]) -> None:
        for number in missing:
            if number not in self._kept:
                self._kept[number] = found[number]
                self._held += len(found[number].keys)
        while self._held > self.most and len(self._kept) > 1:
            self._held -= len(self._kept.popitem(last=False)[1].keys)

    def _slices(self, numbers: Iterable[int]) -> list[Index]:
        assert self._whole is not None
        return [self._whole.rows(int(self.ends[n] - self.counts[n]), int(self.ends[n])) for n in numbers]
