"""List the files of a data set, as its manifest does: a table for each shard set, in columns.

    "shards": {"name": [...], "samples": [...], "bytes": [...], "sha256": [...]}
    "index":  {"name": [...], "bytes": [...], "sha256": [...]}     of each shard
    "labels": [...]                                               samples with each attribute
    "clips":  {"number": [...], "shortest": [...]}                 of each shard, where samples are frames of clips

A column is read in one piece: a hundred thousand shards take a fraction of a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, overload

from i2i_core.data.format.index import Rows, least_bytes, most_bytes
from i2i_core.data.format.places import MOST_SHOWN
from i2i_core.fields import Schema

BLOCK = 512
"""Bytes of a member's header in a tar: a sample has one at least."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_SAMPLES, MOST_BYTES = 1 << 53, 1 << 62
"""Bound the samples and the bytes of a shard set, so that what is computed of them stays exact."""
_NUMBERS = ("samples", "bytes", "number", "shortest")
"""Columns of numbers; others are text."""


@dataclass(frozen=True)
class Shard:
    """Name one tar file. `name` is relative to the manifest's folder, or a full URL of the same storage (`places`)."""

    name: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class IndexFile:
    """Name the index of a shard, in the data set's own folder."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Shards(Sequence[Shard]):
    """Hold shards in columns."""

    name: tuple[str, ...]
    samples: tuple[int, ...]
    bytes: tuple[int, ...]
    sha256: tuple[str, ...]

    @staticmethod
    def of(shards: Sequence[Shard]) -> Shards:
        """Put shards into columns."""
        return Shards(*_in_columns(shards, Shard))

    def __len__(self) -> int:
        return len(self.name)

    @overload
    def __getitem__(self, n: int) -> Shard: ...
    @overload
    def __getitem__(self, n: slice) -> Sequence[Shard]: ...
    def __getitem__(self, n: int | slice) -> Shard | Sequence[Shard]:
        if isinstance(n, slice):
            return [self[i] for i in range(*n.indices(len(self)))]
        return Shard(self.name[n], self.samples[n], self.bytes[n], self.sha256[n])


@dataclass(frozen=True)
class IndexFiles:
    """Hold index files in columns. In version 1 there is one file, and `bytes` is empty: its manifest does not say."""

    name: tuple[str, ...]
    bytes: tuple[int, ...]
    sha256: tuple[str, ...]

    @staticmethod
    def of(files: Sequence[IndexFile]) -> IndexFiles:
        """Put indexes into columns."""
        return IndexFiles(*_in_columns(files, IndexFile))


@dataclass(frozen=True)
class ClipCounts:
    """Count each shard's clips, and the rows of its shortest clip: what it takes to count their starts."""

    number: tuple[int, ...]
    shortest: tuple[int, ...]


@dataclass(frozen=True)
class ShardSet:
    """List the shards of one domain of one split, and their indexes.

    Attributes:
        shards: the tars.
        index: the index of each; of version 1 one, of all of them.
        labels: samples with each attribute; empty where there are no attributes, and in version 1.
        clips: where samples are frames of clips.
        whole: whether one index has the rows of all shards: version 1.
    """

    shards: Shards
    index: IndexFiles
    labels: tuple[int, ...] = ()
    clips: ClipCounts | None = None
    whole: bool = False

    @property
    def samples(self) -> int:
        """Samples of all shards together."""
        return sum(self.shards.samples)

    def as_json(self) -> dict[str, Any]:
        """Give its columns as JSON has them."""
        values: dict[str, Any] = {"shards": _columns(self.shards), "index": _columns(self.index)}
        values |= {"labels": self.labels} if self.labels else {}
        return values | ({"clips": _columns(self.clips)} if self.clips else {})

    @staticmethod
    def from_json(values: Mapping[str, Any], version: int) -> ShardSet:
        """Read its columns. Raises KeyError, TypeError or ValueError where they are none."""
        if version == 1:
            rows = values["shards"]
            columns = {column.name: [row[column.name] for row in rows] for column in fields(Shard)}
            if any(len(row) > len(columns) for row in rows) or values.keys() != {"shards", "index", "index_sha256"}:
                raise ValueError("unknown names in a shard set")
            names, sums = (_column(name, [values[name]]) for name in ("index", "index_sha256"))
            return ShardSet(Shards(**_table(columns)), IndexFiles(names, (), sums), whole=True)
        unknown = values.keys() - {"shards", "index", "labels", "clips"}
        if unknown:
            raise ValueError(f"unknown names in a shard set: {sorted(unknown)}")
        clips = ClipCounts(**_table(values["clips"])) if "clips" in values else None
        labels = _column("samples", values.get("labels", []))
        return ShardSet(Shards(**_table(values["shards"])), IndexFiles(**_table(values["index"])), labels, clips)

    def contradictions(self, schema: Schema) -> Iterator[tuple[str, str]]:
        """Give each value of the table that cannot be right, with what could be."""
        shards, index, n = self.shards, self.index, len(self.shards)
        columns = [shards.samples, shards.bytes, shards.sha256]
        columns += [] if self.whole else [index.name, index.bytes, index.sha256]
        columns += [self.clips.number, self.clips.shortest] if self.clips else []
        if lengths := {len(column) for column in columns} - {n}:
            yield f"a column of {max(lengths)} entries for {n} shards", "an entry of each shard in every column"
            return
        if not 0 < self.samples < MOST_SAMPLES or sum(shards.bytes) >= MOST_BYTES:
            found = f"{self.samples} samples in {sum(shards.bytes)} bytes" if self.samples else "no sample"
            yield found, f"at least one, and fewer than {MOST_SAMPLES:,} in {MOST_BYTES:,} bytes"
        for names, sums in ((shards.name, shards.sha256), (index.name, index.sha256)):
            if not all(map(_SHA256.fullmatch, sums)):
                at = next(i for i, one in enumerate(sums) if not _SHA256.fullmatch(one))
                yield f"checksum {sums[at][:MOST_SHOWN]!r} of {names[at][:MOST_SHOWN]}", "64 digits of hex"
        for name, samples, size in zip(shards.name, shards.samples, shards.bytes, strict=True):
            if samples < 0 or size < 0:
                yield f"{samples} samples in {size} bytes for {name[:MOST_SHOWN]}", "sizes that are not negative"
            if samples * BLOCK > size:
                found = f"{samples} samples in {size} bytes for {name[:MOST_SHOWN]}"
                yield found, f"{BLOCK} bytes or more of each, as in any tar"
        if not self.whole:
            yield from self._more_contradictions(schema)

    def _more_contradictions(self, schema: Schema) -> Iterator[tuple[str, str]]:
        """Give contradictions, as `contradictions` does, in what only version 2 says."""
        attributes, clips = len(schema.attributes), bool(self.clips)
        for name, size, samples in zip(self.index.name, self.index.bytes, self.shards.samples, strict=True):
            least = least_bytes(samples, len(schema.fields), attributes)
            most = most_bytes(samples, len(schema.fields), attributes, clips)
            if not least <= size <= most:
                expected = f"at least {least:,} and at most {most:,} for {samples} samples"
                yield f"an index {name[:MOST_SHOWN]} of {size} bytes", expected
        if len(self.labels) != attributes or any(not 0 <= count <= self.samples for count in self.labels):
            found = f"samples with each attribute: {list(self.labels)}"[:MOST_SHOWN]
            yield found, f"{attributes} numbers of 0 to {self.samples}"
        elif schema.exclusive and sum(self.labels) != self.samples:
            yield f"{sum(self.labels)} samples with an attribute", f"all {self.samples} of a set that is exclusive"
        if clips != schema.clips:
            yield f"{'clips' if clips else 'no clips'} in a shard set", f"{'' if schema.clips else 'no '}clips, as said"
        if self.clips:
            for n, shortest, samples in zip(self.clips.number, self.clips.shortest, self.shards.samples, strict=True):
                if not (n > 0 < shortest and n * shortest <= samples):
                    yield f"{n} clips of {shortest} rows or more in {samples} samples", "clips that make them up"


def label_counts(shard_set: ShardSet, rows: Rows) -> list[int]:
    """Count the samples with each attribute; of version 1 from its index."""
    return [int(n) for n in rows.labels().sum(axis=0)] if shard_set.whole else list(shard_set.labels)


def _in_columns(rows: Sequence[Any], kind: type[Any]) -> Iterator[tuple[Any, ...]]:
    """Give the values of each field of a dataclass, of all rows."""
    return (tuple(getattr(row, column.name) for row in rows) for column in fields(kind))


def _columns(table: Any) -> dict[str, Sequence[Any]]:
    return {column.name: getattr(table, column.name) for column in fields(table)}


def _table(values: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    if not isinstance(values, Mapping):
        raise TypeError("a table that is no object of columns")
    return {name: _column(name, values[name]) for name in values}


def _column(name: str, values: Any) -> tuple[Any, ...]:
    kind = int if name in _NUMBERS else str
    if not isinstance(values, list):
        raise TypeError(f"{name} is no list")
    if wrong := set(map(type, values)) - {kind}:
        raise TypeError(f"{name} holds a {wrong.pop().__name__}")
    return tuple(values)
