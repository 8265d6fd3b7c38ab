"""Read members of shards at their offsets."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.table import Shard
from i2i_core.data.reading.staging import Cache, cut_short, no_shard
from i2i_core.storage.remote import is_local


class Reader:
    """Read the bytes of a sample's fields out of shards at the offsets that the index gives, without scanning a tar.

    Shards on this node (the data set's own, or cached) are read from disk. Remote shards are read by range requests,
    many at once, until they are cached: the first few reads do not wait for a shard that is being fetched, later ones
    do.
    """

    OPEN = 256
    BEGINNING = 4
    """Reads that do not wait for a shard under way."""

    def __init__(self, data: DataSet, split: str, domain: str, cache: Cache | None = None) -> None:
        self.data, self.domain, self.cache = data, domain, cache
        self.set, self.rows = data.shard_set(split, domain), data.rows(split, domain)
        self.local, self.reads = is_local(data.fs), 0
        self._files: OrderedDict[str, int] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}  # descriptors stay with their process

    def read(self, rows: Sequence[int], field: int) -> list[bytes]:
        """Read the bytes of one field of each row.

        Raises:
            DataError: a shard that is no longer there, or other than the manifest says.
            StorageError: the storage does not answer.
        """
        numbers, starts, sizes = self.rows.places(rows, field)
        shards = [self.set.shards[i] for i in numbers]
        self.reads += 1
        out, far = [b""] * len(shards), []
        for i, shard in enumerate(shards):
            file = self._file(shard)  # open until the next is asked for
            if file is None:
                far.append(i)
            else:
                out[i] = os.pread(file, sizes[i], starts[i])
        if far:
            ends = [starts[i] + sizes[i] for i in far]
            paths = [self.data.path(shards[i].name) for i in far]
            got = self.data.fs.cat_ranges(paths, [starts[i] for i in far], ends, on_error="return")
            for i, data in zip(far, got, strict=True):
                if isinstance(data, FileNotFoundError):
                    raise no_shard(self.data, shards[i]) from None
                if isinstance(data, EOFError):
                    raise cut_short(self.data, shards[i]) from None
                if isinstance(data, Exception):
                    raise data
                out[i] = data
        for i, data in enumerate(out):
            if len(data) != sizes[i]:
                raise cut_short(self.data, shards[i])
        return out

    def _file(self, shard: Shard) -> int | None:
        """Open a shard that is on this node; None where it is not."""
        if shard.name not in self._files:
            file = self._open(shard)
            if file is None:
                return None
            self._close(*(name for name, number in self._files.items() if not os.fstat(number).st_nlink))
            if len(self._files) >= self.OPEN:
                self._close(next(iter(self._files)))
            self._files[shard.name] = file
        self._files.move_to_end(shard.name)
        return self._files[shard.name]

    def _open(self, shard: Shard) -> int | None:
        if self.local:
            try:
                return os.open(self.data.path(shard.name), os.O_RDONLY)
            except FileNotFoundError:
                raise no_shard(self.data, shard) from None
        if self.cache is None:
            return None
        if self.reads > self.BEGINNING:
            self.cache.wait(shard)
        try:
            return os.open(self.cache.path(shard), os.O_RDONLY)
        except FileNotFoundError:
            return None

    def _close(self, *names: str) -> None:
        """Close some shards. Files that were removed from the cache take room as long as they are open."""
        for name in names:
            os.close(self._files.pop(name))

    def __del__(self) -> None:
        self._close(*self.__dict__.get("_files", ()))

    def key(self, row: int) -> str:
        """Name a sample."""
        return self.rows.keys([row])[0]

    def classes(self, rows: np.ndarray) -> np.ndarray:
        """Give the class of each row, where each has exactly one attribute."""
        return self.rows.labels(rows).argmax(axis=1)
