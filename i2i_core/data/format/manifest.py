"""What a data set is: a folder of `*.tar` shards, one index per shard set, and `manifest.json`.

Samples follow the WebDataset convention `KEY.FIELD`, so any WebDataset reader can read them:

    paired     KEY.a.png KEY.b.png          one shard set per split, domain "all"
    unpaired   KEY.png                      one shard set per split and domain ("A", "B")
    labelled   KEY.png KEY.json             one shard set per split, domain "all"
    fields     KEY.png KEY.NAME.ENDING ...  the field called image, and others by their names

`KEY.json` of a labelled sample is an object from attribute to 0 or 1. A sample may have other members (annotations),
which nothing here reads and `refined` carries over. The index of a shard set
(`*.index.npz`) says for every sample, in shard order, where its members lie, so that any sample
can be read without reading what stands before it:

    keys     (N,)   bytes   the sample's KEY
    offset   (N, F) int64   byte offset of each field's data in its shard, in the order of their names
    size     (N, F) int64   byte length of the same
    labels   (N, A) uint8   the attributes (A = 0 where there are none)
    clip     (N,)   int32   where the manifest says `clips`: the clip that the sample is a frame of; the frames of a
                            clip stand next to each other, in their order, within one shard

A manifest is of version 1 where version 1 can say all of it: images alone, as a kind with known fields, and no clips.
So the same command writes the same bytes as before version 2, and earlier releases read them. Version 2 has no kind,
which follows from the fields (`Schema.kind`); a field says its role and what the role needs.

The manifest is written last: a folder without one is not a data set.
"""

from __future__ import annotations

import io
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from i2i_core.data.format.places import MOST_PATH, MOST_SHOWN, SHARD, Places, no_file_name
from i2i_core.errors import DataError
from i2i_core.fields import PIXELS, WHOLE, Field, Schema, contradictions
from i2i_core.images.arrays import read_npz
from i2i_core.settings import from_dict, to_dict
from i2i_core.storage.paths import sha256
from i2i_core.storage.remote import storage_of

MANIFEST = "manifest.json"
READ = (1, 2)
"""Versions that are read."""
FEW = 8
"""Shards that are asked for one by one: a listing also holds all that lies beside them, such as other splits."""
UNLISTED = ("http://", "https://")
"""Where folders have no listings that a program can rely on."""
MOST_FIELDS = 64
MOST_MANIFEST = 64 << 20
"""Bytes of a manifest: those of some 300,000 shards."""
BLOCK = 512
"""Bytes of a member's header in a tar: a sample has one at least."""
MOST_HEADERS = 1 << 16
"""Bytes of an index besides its arrays."""
MOST_DEPTH = 32
"""Lists and objects in one another in a manifest."""

_AGAIN = "Copy the data set again, or make it again with `python pipelines/shard.py`."
_SHA256, _ENDING = re.compile(r"[0-9a-f]{64}"), re.compile(r"[a-z0-9]{1,8}")
_NAME = re.compile(r"[A-Za-z]\w{0,63}", re.ASCII)
_OF_VERSION_1 = {"paired": {"a", "b"}, "labelled": {"image"}, "unpaired": {"image"}}


@dataclass(frozen=True)
class Shard:
    """One tar file. `name` is relative to the manifest's folder, or a full URL of the same storage (`places`)."""

    name: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardSet:
    """The shards of one domain of one split, and the index over all of them."""

    index: str
    index_sha256: str
    shards: tuple[Shard, ...]

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)


@dataclass(frozen=True)
class Manifest(Schema):
    """The contents of `manifest.json`."""

    splits: dict[str, dict[str, ShardSet]] = field(default_factory=dict)
    """split -> domain -> shards."""
    made_by: dict[str, Any] = field(default_factory=dict)
    """How the data set was made: layout, options, seed. For people, and for shard.py to know its own work again."""

    @property
    def version(self) -> int:
        """The lowest version that can say all of it."""
        known = self.fields.keys() == _OF_VERSION_1.get(self.kind)
        return 1 if known and not self.clips and all(f.of_version_1 for f in self.fields.values()) else 2

    def dumps(self) -> str:
        assert list(self.fields) == sorted(self.fields), "columns of the index are in the order of the names"
        values = {**to_dict(self), "version": self.version, "fields": {k: f.as_json() for k, f in self.fields.items()}}
        if self.version == 1:
            del values["clips"]
            values["kind"] = self.kind
        return json.dumps(values, indent=1, sort_keys=True) + "\n"

    @property
    def fingerprint(self) -> str:
        """Of the contents: the same for a copy at another place."""
        sums = [
            (split, domain, shards.index_sha256, *(shard.sha256 for shard in shards.shards))
            for split, sets in sorted(self.splits.items())
            for domain, shards in sorted(sets.items())
        ]
        return sha256(repr(sums).encode())[:16]

    def describe(self) -> str:
        """One line: `labelled, 64x64x3 uint8, attributes bold serif, train 20000 / val 100`."""
        shape = next(iter(self.fields.values()))
        size = f"{shape.height or '?'}x{shape.width or '?'}x{shape.channels} {shape.dtype}"
        if self.version > 1:
            size = ", ".join(f"{name} ({described(f)})" for name, f in self.fields.items())
        labels = f", attributes {' '.join(self.attributes)}" if self.attributes else ""
        labels += ", clips" if self.clips else ""
        counts = " / ".join(
            f"{split} " + "+".join(str(sets[d].samples) for d in sorted(sets))
            for split, sets in sorted(self.splits.items())
        )
        return f"{self.kind}, {size}{labels}, {counts} samples"


def described(field: Field) -> str:
    """Say in a few words what a field holds: `64x64x3 uint8`, `classes, 35`, `points 17x3`."""
    size = f"{field.height or '?'}x{field.width or '?'}"
    if field.role == "image":
        return f"{size}x{field.channels} {field.dtype}"
    name = field.role if field.kind == "plain" else field.kind
    more = {"classes": f", {field.classes}", "map": f" {size}x{field.channels}", "vector": f" {_times(field.shape)}"}
    return name + more.get(field.role, "")


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


@dataclass(frozen=True)
class Index:
    """The index of one shard set, in memory. Arrays as in the module's docstring."""

    keys: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    labels: np.ndarray
    clip: np.ndarray | None = None

    def dumps(self) -> bytes:
        """The bytes of the `.npz`; the same arrays always give the same bytes."""
        out = io.BytesIO()
        clips: dict[str, Any] = {} if self.clip is None else {"clip": self.clip}
        np.savez(out, keys=self.keys, offset=self.offset, size=self.size, labels=self.labels, **clips)
        return out.getvalue()

    @staticmethod
    def loads(data: bytes, clips: bool = False) -> Index:
        """Read the bytes of the `.npz`, no more than they are.

        Args:
            clips: whether it names the clip of each sample.

        Raises:
            ValueError: they are no index.
        """
        return Index(**read_npz(data, ("keys", "offset", "size", "labels", *(("clip",) if clips else ()))))


class DataSet:
    """A data set opened for reading: its manifest, and where its files are.

    Args:
        uri: a local folder or any fsspec URL of one, holding `manifest.json`.
        shards_at: folders or URLs of the same protocol and host where its shards may lie besides.

    Raises:
        DataError: nothing there, no manifest, a manifest that cannot be read, is of a newer version, or names files
            elsewhere.
        ConfigError: `shards_at` cannot be.
    """

    def __init__(self, uri: str, shards_at: Sequence[str] = ()) -> None:
        self.uri, self.shards_at = uri.rstrip("/"), tuple(shards_at)
        self.fs, self.root = storage_of(self.uri)
        self.places = Places(f"{self.uri}/{MANIFEST}", self.fs, self.root, self.shards_at)
        self.manifest = self._read_manifest()

    def _read_manifest(self) -> Manifest:
        make = "Make one with `python pipelines/shard.py`, or index an existing WebDataset with its `--index`."
        where = f"{self.uri}/{MANIFEST}"
        try:
            values = json.loads(self._manifest_bytes(make))
        except ValueError as error:
            raise DataError(where, f"text that is not JSON ({error})", "a manifest", make) from None
        except RecursionError:
            raise DataError(where, "lists in one another without end", "a manifest", make) from None
        version = values.get("version") if isinstance(values, dict) else None
        if isinstance(version, bool) or version not in READ:
            raise DataError(
                where,
                f"version {version!r}"[:MOST_SHOWN],
                f"version {' or '.join(map(str, READ))}",
                "It was made by another release: use that release, or shard the images again with this one.",
            )
        manifest = _manifest(values, where)
        sets = [shard_set for domains in manifest.splits.values() for shard_set in domains.values()]
        self.places.check(shard.name for shard_set in sets for shard in shard_set.shards)
        for shard_set in sets:
            self.path(shard_set.index, "index")
        return manifest

    def _manifest_bytes(self, make: str) -> bytes:
        """Read the manifest, unless it is longer than any is."""
        path = f"{self.root}/{MANIFEST}"
        try:
            info = self.fs.info(path)
        except (FileNotFoundError, NotADirectoryError):
            found = "a folder without manifest.json" if self.fs.exists(self.root) else "nothing at that place"
            raise DataError(f"data {self.uri}", found, "a folder of shards with manifest.json", make) from None
        size = info.get("size")
        if info["type"] != "file" or size is None or size > MOST_MANIFEST:
            found = "no plain file" if info["type"] != "file" else f"{size} bytes" if size else "an unknown length"
            raise DataError(f"{self.uri}/{MANIFEST}", found, f"a file of at most {MOST_MANIFEST:,} bytes", make)
        data: bytes = self.fs.cat_file(path)
        return data

    @cached_property
    def _indexes(self) -> dict[str, Index]:
        return {}

    def shard_set(self, split: str, domain: str = WHOLE) -> ShardSet:
        """Raises DataError when the split or the domain is not there."""
        sets = self.manifest.splits.get(split)
        if not sets:
            has = ", ".join(sorted(self.manifest.splits))
            raise DataError(f"data {self.uri}", f"splits {has}", f"a split {split!r}", "Name one of the splits it has.")
        if domain not in sets:
            has = ", ".join(sorted(sets))
            raise DataError(
                f"data {self.uri}", f"domains {has}", f"a domain {domain!r}", "Name one of the domains it has."
            )
        return sets[domain]

    def index(self, split: str, domain: str = WHOLE) -> Index:
        """The index of a shard set, verified against its checksum and kept.

        Raises:
            DataError: the index file is missing, altered, or does not fit the manifest.
        """
        shard_set = self.shard_set(split, domain)
        if shard_set.index not in self._indexes:
            where = self.url(shard_set.index)
            try:
                data = self._index_bytes(shard_set)
            except FileNotFoundError:
                raise DataError(where, "no such file", "the index named in the manifest", _AGAIN) from None
            if sha256(data) != shard_set.index_sha256:
                raise DataError(where, "other bytes than the manifest's checksum", "the index it was made with", _AGAIN)
            try:
                index = Index.loads(data, self.manifest.clips)
            except ValueError as error:
                raise DataError(where, f"no index ({error})", "an .npz of arrays", _AGAIN) from None
            if wrong := _misfit(index, shard_set, self.manifest):
                raise DataError(where, *wrong, _AGAIN)
            self._indexes[shard_set.index] = index
        return self._indexes[shard_set.index]

    def _index_bytes(self, shard_set: ShardSet) -> bytes:
        """Read an index file, unless it is longer than that of so many samples can be."""
        path, manifest = self.path(shard_set.index, "index"), self.manifest
        row = MOST_PATH + 16 * len(manifest.fields) + 4 * manifest.clips + len(manifest.attributes)
        most = shard_set.samples * row + MOST_HEADERS
        if (size := self.fs.size(path)) > most:
            found, expected = f"{size:,} bytes", f"at most {most:,} for {shard_set.samples:,} samples"
            raise DataError(self.url(shard_set.index), found, expected, _AGAIN)
        data: bytes = self.fs.cat_file(path)
        return data

    def path(self, name: str, kind: str = SHARD) -> str:
        """A file of the data set as its filesystem knows it. Raises DataError as `Places.path`."""
        return self.places.path(name, kind)

    def url(self, name: str) -> str:
        """A file of the data set as a person would name it."""
        return name if "://" in name else f"{self.uri}/{name}"

    def check_shards(self, split: str) -> None:
        """Check that every shard of the split is there with its full length: by a listing of each folder; by a request
        for each where they are few, or a server has no listings (HTTP). Nothing is read.

        Raises:
            DataError: naming the first shard that is missing or of another length.
        """
        again = "Copy the data set again, or run the same `python pipelines/shard.py` command again to finish it."
        shards = [shard for sets in (self.manifest.splits.get(split) or {}).values() for shard in sets.shards]
        paths = [self.path(shard.name) for shard in shards]
        listed = self._listed({posixpath.dirname(path) for path in paths}) if len(paths) > FEW else {}
        for shard, path in zip(shards, paths, strict=True):
            try:
                size = self.fs.size(path) if listed.get(path) is None else listed[path]
            except FileNotFoundError:
                raise DataError(self.url(shard.name), "no such shard", f"{shard.bytes} bytes", _AGAIN) from None
            if size != shard.bytes:
                raise DataError(self.url(shard.name), f"{size} bytes", f"{shard.bytes} bytes", again)

    def _listed(self, folders: Iterable[str]) -> dict[str, int | None]:
        """Size by path of what is in some folders, as far as it can be listed."""
        if self.uri.startswith(UNLISTED):
            return {}
        listed: dict[str, int | None] = {}
        for folder in folders:
            with suppress(FileNotFoundError, NotADirectoryError):
                listed |= {str(entry["name"]): entry.get("size") for entry in self.fs.ls(folder, detail=True)}
        return listed


def _misfit(index: Index, shard_set: ShardSet, manifest: Manifest) -> tuple[str, str] | None:
    """What is wrong with an index that does not fit its manifest, and what belongs there."""
    n, fields, attributes = shard_set.samples, len(manifest.fields), len(manifest.attributes)
    arrays = [
        ("keys", (n,), "S"),
        ("offset", (n, fields), "i"),
        ("size", (n, fields), "i"),
        ("labels", (n, attributes), "u"),
    ]
    for name, shape, kind in [*arrays, ("clip", (n,), "i")] if manifest.clips else arrays:
        array = getattr(index, name)
        if array.shape != shape or array.dtype.kind != kind:
            expected = f"{shape}: {n} samples, {fields} fields and {attributes} attributes, as the manifest says"
            return f"{name} of shape {array.shape} and type {array.dtype}"[:MOST_SHOWN], expected
    of_row = np.repeat([shard.bytes for shard in shard_set.shards], [shard.samples for shard in shard_set.shards])
    inside = (index.offset >= 0) & (index.size >= 0) & (index.size <= of_row[:, None] - index.offset)
    if not inside.all():
        row, column = np.argwhere(~inside)[0]
        at, size = int(index.offset[row, column]), int(index.size[row, column])
        return f"{size} bytes from byte {at} for sample {row}", f"a place in its shard of {of_row[row]} bytes"
    if index.labels.size and index.labels.max() > 1:
        row = int(np.argmax(index.labels.max(axis=1)))
        return f"labels {index.labels[row].tolist()} of sample {row}", "0 and 1"
    if index.clip is not None and np.count_nonzero(np.diff(index.clip)) + 1 > len(np.unique(index.clip)):
        return "frames of a clip apart from each other", "those of each clip in a row"
    sums = index.labels.sum(axis=1)
    if manifest.exclusive and not (sums == 1).all():
        row = int(np.argmax(sums != 1))
        return f"{sums[row]} attributes of sample {row}", "exactly one: the manifest calls them exclusive"
    try:
        b"\n".join(index.keys.tolist()).decode()
    except UnicodeDecodeError as error:
        return f"a key that is not UTF-8 (byte {error.object[error.start]:#x})", "keys in UTF-8"
    return None


def _manifest(values: dict[str, Any], where: str) -> Manifest:
    if _deeper(values, MOST_DEPTH):
        raise DataError(where, f"more than {MOST_DEPTH} lists in one another", "a manifest", _AGAIN)
    try:
        manifest = _parsed(values, where)
        wrong = next(_contradictions(manifest, values), None)
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(where, f"entries of another form ({error})", "a manifest", _AGAIN) from None
    if wrong:
        raise DataError(where, *wrong, _AGAIN)
    return manifest


def _contradictions(manifest: Manifest, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What cannot be in a manifest, read from `values`, each with what could."""
    if values["version"] == 1:
        yield from _contradictions_of_version_1(manifest, values.get("kind"))
    yield from _field_contradictions(manifest)
    if len(manifest.domains) not in (1, 2):
        yield f"domains {list(manifest.domains)}", "two of unpaired data, else one"
    owned = {domain for sets in manifest.splits.values() for domain in sets}
    if owned != set(manifest.domains):
        yield f"shards of domains {sorted(owned)}", f"those of its domains, {sorted(manifest.domains)}"
    if not all(isinstance(name, str) for name in manifest.attributes):
        yield f"attributes {list(manifest.attributes)}", "names"
    if len(set(manifest.attributes)) < len(manifest.attributes):
        yield f"attributes {' '.join(manifest.attributes)}", "each once"
    for name in (*manifest.splits, *manifest.domains):  # files are named by them
        if not isinstance(name, str) or "/" in name or no_file_name(name):
            yield f"a split or domain {str(name)[:MOST_SHOWN]!r}", "a word"
    for split, sets in manifest.splits.items():
        for shard_set in sets.values():
            seen: set[str] = set()
            if not shard_set.samples:
                yield f"no sample in split {split}", "at least one"
            for name in (shard_set.index, *(shard.name for shard in shard_set.shards)):
                if name in seen:
                    yield f"{name[:MOST_SHOWN]!r} twice", "every file of a split once"
                seen.add(name)
            for shard in shard_set.shards:
                if not _SHA256.fullmatch(shard.sha256):
                    yield f"checksum {shard.sha256[:MOST_SHOWN]!r} of {shard.name[:MOST_SHOWN]}", "64 digits of hex"
                if shard.samples < 0 or not 0 <= shard.bytes < 1 << 63:
                    yield (
                        f"{shard.samples} samples in {shard.bytes} bytes for {shard.name}",
                        "sizes that are not negative",
                    )
                if shard.samples * BLOCK > shard.bytes:
                    yield (
                        f"{shard.samples} samples in {shard.bytes} bytes for {shard.name[:MOST_SHOWN]}",
                        f"{BLOCK} bytes or more of each, as in any tar",
                    )


def _contradictions_of_version_1(manifest: Manifest, kind: Any) -> Iterator[tuple[str, str]]:
    names = _OF_VERSION_1
    if kind not in names:
        yield f"kind {kind!r}", ", ".join(names)
    elif manifest.fields.keys() != names[kind]:
        yield f"fields {sorted(manifest.fields)}", f"{sorted(names[kind])} of {kind} data"
    elif len(manifest.domains) != (2 if kind == "unpaired" else 1):
        yield f"domains {list(manifest.domains)}", "two of unpaired data, else one"
    elif manifest.version > 1 and all(not any(contradictions(f)) for f in manifest.fields.values()):
        yield "version 1", "version 2 of fields that have roles, and of clips"


def _field_contradictions(manifest: Manifest) -> Iterator[tuple[str, str]]:
    if len(manifest.fields) > MOST_FIELDS:
        yield f"{len(manifest.fields)} fields", f"at most {MOST_FIELDS}"
    for name, of in manifest.fields.items():
        if not _NAME.fullmatch(name):
            yield f"a field {name[:MOST_SHOWN]!r}", "letters, digits and _"
        if not _ENDING.fullmatch(of.extension):
            yield f"field {name} stored as {of.extension[:MOST_SHOWN]!r}", "the ending of a file's name"
        for found, expected in contradictions(of):
            yield f"field {name} {found}", expected
        if of.frame and (of.frame not in manifest.fields or manifest.fields[of.frame].role not in PIXELS):
            yield f"field {name} in the pixels of {of.frame[:MOST_SHOWN]!r}", "a field that has pixels"


def _deeper(value: Any, most: int) -> bool:
    """Tell whether more than so many lists and objects stand in one another."""
    level = [value]
    for _ in range(most + 1):
        level = [
            v for one in level if isinstance(one, dict | list) for v in (one.values() if isinstance(one, dict) else one)
        ]
    return any(isinstance(v, dict | list) for v in level)


def _parsed(values: dict[str, Any], where: str) -> Manifest:
    nested = {k: v for k, v in values.items() if k != "version" and (k, values["version"]) != ("kind", 1)}
    nested["fields"] = {k: from_dict(Field, v, f"{where} fields.{k}") for k, v in values.get("fields", {}).items()}
    nested["splits"] = {
        split: {domain: from_dict(ShardSet, v, f"{where} splits.{split}.{domain}") for domain, v in sets.items()}
        for split, sets in values.get("splits", {}).items()
    }
    nested["attributes"], nested["domains"] = (
        tuple(values.get("attributes", ())),
        tuple(values.get("domains", (WHOLE,))),
    )
    unknown = set(nested) - set(Manifest.__dataclass_fields__)
    if unknown or not nested["fields"] or not nested["splits"]:
        raise DataError(where, f"keys {sorted(values)}", "a manifest", "Shard the images again with this release.")
    return Manifest(**nested)
