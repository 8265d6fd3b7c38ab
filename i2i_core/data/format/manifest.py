"""Say what a data set is: a folder of `*.tar` shards, an index of each in `index/`, and `manifest.json`.

Samples follow the WebDataset convention `KEY.FIELD`, so any WebDataset reader can read them:

    paired     KEY.a.png KEY.b.png          one shard set per split, domain "all"
    unpaired   KEY.png                      one shard set per split and domain ("A", "B")
    labelled   KEY.png KEY.json             one shard set per split, domain "all"
    fields     KEY.png KEY.NAME.ENDING ...  the field called image, and others by their names

`KEY.json` of a labelled sample is an object from attribute to 0 or 1. A sample may have other members (annotations),
which nothing here reads and `refined` carries over. Frames of a clip stand next to each other, in their order, within
one shard.

The manifest says the role of each field, and lists shards and indexes (`table`, `index`). It has no kind, which follows
from the fields (`Schema.kind`). Version 1 is read: it has a kind, images alone, and one index for a whole shard set.

The manifest is written last: a folder without one is not a data set.
"""

from __future__ import annotations

import json
import posixpath
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from i2i_core import strict
from i2i_core.data.format.index import Index, Rows, most_bytes
from i2i_core.data.format.places import MOST_SHOWN, SHARD, Places, no_file_name
from i2i_core.data.format.table import ShardSet
from i2i_core.errors import DataError
from i2i_core.fields import MOST_ATTRIBUTES, PIXELS, WHOLE, Field, Schema, contradictions
from i2i_core.names import quoted
from i2i_core.settings import cut, from_dict
from i2i_core.storage.near import corrected
from i2i_core.storage.paths import sha256
from i2i_core.storage.remote import storage_of

MANIFEST = "manifest.json"
"""The role of each field, and every shard and index by split; written last: a folder without it is no data set."""
VERSION = 2
"""Number the form of manifests that are written; earlier forms are read."""
FEW = 8
"""Shards that are requested one by one: a listing also holds all that lies beside them, such as other splits."""
UNLISTED = ("http://", "https://")
"""Protocols whose folders have no listings that a program can rely on."""
MOST_FIELDS = 64
MOST_MANIFEST = 64 << 20
"""Bytes of a manifest: those of some 300,000 shards."""
INDEXES_AT_ONCE = 64
"""Indexes that are requested together."""

_AGAIN = "Copy the data set again, or make it again with `python pipelines/shard.py`."
_ENDING = re.compile(r"[a-z0-9]{1,8}")
_NAME = re.compile(r"[A-Za-z]\w{0,63}", re.ASCII)
_OF_VERSION_1 = {"paired": {"a", "b"}, "labelled": {"image"}, "unpaired": {"image"}}


@dataclass(frozen=True)
class Manifest(Schema):
    """Hold the contents of `manifest.json`."""

    splits: dict[str, dict[str, ShardSet]] = field(default_factory=dict)
    """split -> domain -> shards."""
    made_by: dict[str, Any] = field(default_factory=dict)
    """Layout, options and seed that the data set was made with. For people, and for shard.py to know its work again."""

    def dumps(self) -> str:
        """Write it as JSON of version 2, each list in a line."""
        assert list(self.fields) == sorted(self.fields), "columns of the index are in the order of the names"
        values = {name: getattr(self, name) for name in ("attributes", "exclusive", "domains", "clips", "made_by")}
        values |= {"version": VERSION, "fields": {name: field.as_json() for name, field in self.fields.items()}}
        values["splits"] = {
            split: {domain: shard_set.as_json() for domain, shard_set in sets.items()}
            for split, sets in self.splits.items()
        }
        return _lines(values) + "\n"

    @property
    def fingerprint(self) -> str:
        """Checksum of the contents: the same for a copy at another place."""
        sums = [
            (split, domain, *shards.index.sha256, *shards.shards.sha256)
            for split, sets in sorted(self.splits.items())
            for domain, shards in sorted(sets.items())
        ]
        return sha256(repr(sums).encode())[:16]

    def describe(self) -> str:
        """Describe the data set in one line: `labelled, 64x64x3 uint8, attributes bold serif, train 20000 / val
        100`."""
        shape = next(iter(self.fields.values()))
        size = f"{shape.height or '?'}x{shape.width or '?'}x{shape.channels} {shape.dtype}"
        if self.kind == "fields" or not all(field.of_version_1 for field in self.fields.values()):
            size = ", ".join(f"{name} ({described(f)})" for name, f in self.fields.items())
        odd = any(" " in name or name != quoted(name) for name in self.attributes)
        named = ", ".join(map(quoted, self.attributes)) if odd else " ".join(self.attributes)
        labels = f", attributes {named}" if self.attributes else ""
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
        return f"{size}x{field.channels} {field.dtype}" + (f", in B x{field.channels_b}" if field.channels_b else "")
    name = field.role if field.kind == "plain" else field.kind
    more = {"classes": f", {field.classes}", "map": f" {size}x{field.channels}", "vector": f" {_times(field.shape)}"}
    return name + more.get(field.role, "")


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


class DataSet:
    """Open a data set for reading: its manifest, and where its files are.

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
        values = strict.read(self._manifest_bytes(make), Any, where, make, most=MOST_MANIFEST)
        version = values.get("version") if isinstance(values, dict) else None
        if isinstance(version, bool) or version not in range(1, VERSION + 1):
            raise DataError(
                where,
                f"version {version!r}"[:MOST_SHOWN],
                f"version 1 to {VERSION}",
                "It was made by another release: use that release, or shard the images again with this one.",
            )
        manifest = _manifest(values, where)
        sets = [shard_set for domains in manifest.splits.values() for shard_set in domains.values()]
        self.places.check(name for shard_set in sets for name in shard_set.shards.name)
        self.places.check((name for shard_set in sets for name in shard_set.index.name), "index")
        return manifest

    def _manifest_bytes(self, make: str) -> bytes:
        """Read the manifest, unless it is longer than any is."""
        path = f"{self.root}/{MANIFEST}"
        try:
            info = self.fs.info(path)
        except (FileNotFoundError, NotADirectoryError):
            found = "a folder without manifest.json" if self.fs.exists(self.root) else "nothing at that place"
            fix = corrected(self.uri, make)
            raise DataError(f"data {self.uri}", found, "a folder of shards with manifest.json", fix) from None
        size = info.get("size")
        if info["type"] != "file" or size is None or size > MOST_MANIFEST:
            found = "no plain file" if info["type"] != "file" else f"{size} bytes" if size else "an unknown length"
            raise DataError(f"{self.uri}/{MANIFEST}", found, f"a file of at most {MOST_MANIFEST:,} bytes", make)
        data: bytes = self.fs.cat_file(path)
        return data

    @cached_property
    def _rows(self) -> dict[tuple[str, str], Rows]:
        return {}

    def shard_set(self, split: str, domain: str = WHOLE) -> ShardSet:
        """Give the shards of a split and domain. Raises DataError when the split or the domain is not there."""
        sets = self.manifest.splits.get(split)
        if not sets:
            has = ", ".join(sorted(self.manifest.splits))
            raise DataError(f"data {self.uri}", f"splits {has}", f"a split {split!r}", "Name one of the splits it has.")
        if domain not in sets:
            has = ", ".join(sorted(sets))
            fix = "Take another split, or shard again so that it has a share of each domain (--split, --group-by)."
            raise DataError(f"data {self.uri}", f"domains {has} in split {split}", f"domain {domain!r} in it too", fix)
        return sets[domain]

    def rows(self, split: str, domain: str = WHOLE) -> Rows:
        """Give the rows of a shard set. Indexes are read, and verified, when their rows are needed; that of version
        1 at once.

        Raises:
            DataError: no such split or domain. Here (version 1) or where rows are read: an index that is missing,
                altered, or does not fit the manifest.
        """
        if (split, domain) not in self._rows:
            shard_set = self.shard_set(split, domain)
            counts, attributes = shard_set.shards.samples, len(self.manifest.attributes)
            whole = self._whole(shard_set) if shard_set.whole else None
            self._rows[split, domain] = Rows(counts, attributes, partial(self.indexes, shard_set), whole)
        return self._rows[split, domain]

    def indexes(self, shard_set: ShardSet, numbers: Sequence[int]) -> list[Index]:
        """Read the indexes of some shards, a few dozen at a time; of a set of version 1 its only one.

        Raises:
            DataError: one is missing, altered, or does not fit the manifest.
        """
        if shard_set.whole:
            return [self._whole(shard_set)]
        found = []
        for start in range(0, len(numbers), INDEXES_AT_ONCE):
            some = numbers[start : start + INDEXES_AT_ONCE]
            names = [shard_set.index.name[n] for n in some]
            sizes = [shard_set.index.bytes[n] for n in some]
            paths = [self.path(name, "index") for name in names]
            got = self.fs.cat_ranges(paths, [0] * len(paths), sizes, on_error="return")
            for n, name, data in zip(some, names, got, strict=True):
                shard, digest, clips = shard_set.shards[n], shard_set.index.sha256[n], shard_set.clips
                told = (clips.number[n], clips.shortest[n]) if clips else None
                found.append(self._index(name, data, digest, shard.samples, partial(int, shard.bytes), told))
        return found

    def _whole(self, shard_set: ShardSet) -> Index:
        """Read the one index of a set of version 1, unless it is longer than that of so many samples can be."""
        name, manifest, shards = shard_set.index.name[0], self.manifest, shard_set.shards
        path, n = self.path(name, "index"), shard_set.samples
        most = most_bytes(n, len(manifest.fields), len(manifest.attributes), False)
        try:
            if (size := self.fs.size(path)) > most:
                raise DataError(self.url(name), f"{size:,} bytes", f"at most {most:,} for {n:,} samples", _AGAIN)
            data = self.fs.cat_file(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            data = error
        sizes = partial(np.repeat, shards.bytes, shards.samples)
        return self._index(name, data, shard_set.index.sha256[0], n, sizes, version=1)

    def _index(
        self,
        name: str,
        data: Any,
        digest: str,
        samples: int,
        size: Callable[[], int | np.ndarray],
        clips: tuple[int, int] | None = None,
        version: int = VERSION,
    ) -> Index:
        """Read an index from its bytes, or from the error that came in their place.

        Args:
            clips: how many the manifest says it has, and how long the shortest.
        """
        where, manifest = self.url(name), self.manifest
        if isinstance(data, FileNotFoundError | NotADirectoryError):
            raise DataError(where, "no such file", "the index named in the manifest", _AGAIN) from None
        if isinstance(data, Exception) and not isinstance(data, EOFError):
            raise data
        if isinstance(data, EOFError) or sha256(data) != digest:
            raise DataError(where, "other bytes than the manifest's checksum", "the index it was made with", _AGAIN)
        attributes = len(manifest.attributes)
        try:
            index = Index.loads(data, attributes, manifest.clips, version)
        except ValueError as error:
            raise DataError(where, f"no index ({error})", "an .npz of arrays", _AGAIN) from None
        wrong = index.misfit(samples, size, len(manifest.fields), attributes)
        if not wrong and index.clips is not None and (len(index.clips), int(index.clips.min())) != clips:
            found = f"{len(index.clips)} clips of {index.clips.min()} rows or more"
            wrong = found, f"{clips[0]} of {clips[1]}, as the manifest says" if clips else "no clips"
        if wrong := wrong or (index.not_one(attributes) if manifest.exclusive else None):
            raise DataError(where, *wrong, _AGAIN)
        return index

    def path(self, name: str, kind: str = SHARD) -> str:
        """Name a file of the data set as its filesystem knows it. Raises DataError as `Places.path`."""
        return self.places.path(name, kind)

    def url(self, name: str) -> str:
        """Name a file of the data set as a person would."""
        return name if "://" in name else f"{self.uri}/{name}"

    def check_shards(self, split: str) -> None:
        """Check that every shard of the split and its index are there with their full length: by a listing of each
        folder; by a request for each where they are few, or a server has no listings (HTTP). Of few shards the indexes
        are read as well, and the one of version 1; of others that happens when their rows are needed.

        Raises:
            DataError: no such split; or naming the first file that is missing, of another length, or an index that was
                altered.
        """
        self.shard_set(split, self.manifest.domains[0])
        sets = self.manifest.splits[split].values()
        self._check_sizes(SHARD, [(s.shards.name, s.shards.bytes) for s in sets])
        self._check_sizes("index", [(s.index.name, s.index.bytes) for s in sets if not s.whole])
        self.check_indexes(split, FEW)

    def check_indexes(self, split: str, most: int = sys.maxsize) -> None:
        """Read every index of a split, a few dozen at a time, and keep none.

        Args:
            split: its name.
            most: shard sets of more indexes are passed over.

        Raises:
            DataError: one is missing, altered, or does not fit the manifest, which counts other attributes.
        """
        for shard_set in (self.manifest.splits.get(split) or {}).values():
            numbers = range(len(shard_set.index.name))
            if len(numbers) > most:
                continue
            counts = np.zeros(len(self.manifest.attributes), np.int64)
            for start in numbers[::INDEXES_AT_ONCE]:
                for index in self.indexes(shard_set, numbers[start : start + INDEXES_AT_ONCE]):
                    counts += index.labels(len(counts)).sum(axis=0, dtype=np.int64)
            if not shard_set.whole and counts.tolist() != list(shard_set.labels):
                found = f"samples with each attribute: {list(shard_set.labels)}"[:MOST_SHOWN]
                expected = f"{counts.tolist()}, as in the indexes of {split}"[:MOST_SHOWN]
                raise DataError(f"{self.uri}/{MANIFEST}", found, expected, _AGAIN)

    def _check_sizes(self, kind: str, files: Sequence[tuple[Sequence[str], Sequence[int]]]) -> None:
        again = "Copy the data set again, or run the same `python pipelines/shard.py` command again to finish it."
        names = [name for of_set, _ in files for name in of_set]
        folders = {self._folder(name, kind): name for name in names} if len(names) > FEW else {}
        for name in folders.values():  # a folder may be a link to elsewhere, which this refuses
            self.path(name, kind)
        listed = self._listed(folders)
        for name, expected in zip(names, (size for _, sizes in files for size in sizes), strict=True):
            size = listed.get(f"{self._folder(name, kind)}/{posixpath.basename(name)}")
            try:
                size = self.fs.size(self.path(name, kind)) if size is None else size
            except (FileNotFoundError, NotADirectoryError):
                raise DataError(self.url(name), f"no such {kind}", f"{expected} bytes", _AGAIN) from None
            if size != expected:
                found = f"{size} bytes" + (": it is truncated" if size < expected else "")
                raise DataError(self.url(name), found, f"{expected} bytes", again)

    def _folder(self, name: str, kind: str) -> str:
        """Name the folder of a file as its filesystem knows it."""
        return posixpath.dirname(self.path(name, kind) if "://" in name else f"{self.root}/{name}")

    def _listed(self, folders: Iterable[str]) -> dict[str, int]:
        """Size by path of the plain files in some folders, as far as they can be listed."""
        if self.uri.startswith(UNLISTED):
            return {}
        listed: dict[str, int] = {}
        for folder in folders:
            with suppress(FileNotFoundError, NotADirectoryError):
                for entry in self.fs.ls(folder, detail=True):
                    if entry["type"] == "file" and not entry.get("islink") and entry.get("size") is not None:
                        listed[str(entry["name"])] = entry["size"]
        return listed


def _lines(value: Any, before: str = "") -> str:
    """Write a value as JSON: objects over several lines, whatever else in one."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    within = (f"{before} {json.dumps(name)}: {_lines(one, before + ' ')}" for name, one in sorted(value.items()))
    return "{\n" + ",\n".join(within) + f"\n{before}}}"


def _manifest(values: dict[str, Any], where: str) -> Manifest:
    try:
        manifest = _parsed(values, where)
        wrong = next(_contradictions(manifest, values), None)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(where, f"entries of another form ({cut(str(error))})", "a manifest", _AGAIN) from None
    if wrong:
        raise DataError(where, cut(wrong[0]), cut(wrong[1]), _AGAIN)
    return manifest


def _contradictions(manifest: Manifest, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give each value that a manifest read from `values` cannot have, with what it could have."""
    if values["version"] == 1:
        yield from _contradictions_of_version_1(manifest, values.get("kind"))
    yield from _field_contradictions(manifest)
    if len(manifest.domains) not in (1, 2):
        yield f"domains {list(manifest.domains)}", "two of unpaired data, else one"
    owned = {domain for sets in manifest.splits.values() for domain in sets}
    if owned != set(manifest.domains):
        yield f"shards of domains {sorted(owned)}", f"those of its domains, {sorted(manifest.domains)}"
    if not isinstance(manifest.exclusive, bool) or not isinstance(manifest.clips, bool):
        yield f"exclusive {manifest.exclusive!r} and clips {manifest.clips!r}"[:MOST_SHOWN], "true or false"
    if len(manifest.attributes) > MOST_ATTRIBUTES:
        yield f"{len(manifest.attributes):,} attributes", f"at most {MOST_ATTRIBUTES:,}"
    if not all(isinstance(name, str) for name in manifest.attributes):
        yield f"attributes {list(manifest.attributes)}", "names"
    if len(set(manifest.attributes)) < len(manifest.attributes):
        yield f"attributes {' '.join(manifest.attributes)}", "each once"
    for name in (*manifest.splits, *manifest.domains):  # files are named by them
        if not isinstance(name, str) or "/" in name or no_file_name(name):
            yield f"a split or domain {str(name)[:MOST_SHOWN]!r}", "a word"
    for split, sets in manifest.splits.items():
        seen: set[str] = set()
        for domain, shard_set in sets.items():
            names = (*shard_set.shards.name, *shard_set.index.name)
            if len(seen | {*names}) < len(seen) + len(names):
                twice = next(name for name, n in Counter([*seen, *names]).items() if n > 1)
                yield f"{twice[:MOST_SHOWN]!r} twice", "every file of a split once"
            seen.update(names)
            for found, expected in shard_set.contradictions(manifest):
                yield f"{found}, in {domain} of {split}", expected


def _contradictions_of_version_1(manifest: Manifest, kind: Any) -> Iterator[tuple[str, str]]:
    names = _OF_VERSION_1
    if kind not in names:
        yield f"kind {kind!r}", ", ".join(names)
    elif manifest.fields.keys() != names[kind]:
        yield f"fields {sorted(manifest.fields)}", f"{sorted(names[kind])} of {kind} data"
    elif len(manifest.domains) != (2 if kind == "unpaired" else 1):
        yield f"domains {list(manifest.domains)}", "two of unpaired data, else one"
    elif manifest.clips or not all(f.of_version_1 or any(contradictions(f)) for f in manifest.fields.values()):
        yield "version 1", "version 2 of fields that have roles, and of clips"


def _field_contradictions(manifest: Manifest) -> Iterator[tuple[str, str]]:
    if len(manifest.fields) > MOST_FIELDS:
        yield f"{len(manifest.fields)} fields", f"at most {MOST_FIELDS}"
    for name, of in manifest.fields.items():
        if not _NAME.fullmatch(name):
            yield f"a field {name[:MOST_SHOWN]!r}", "letters, digits and _"
        if not _ENDING.fullmatch(of.extension):
            yield f"field {name} stored as {of.extension[:MOST_SHOWN]!r}", "the ending of a file's name"
        if of.channels_b and len(manifest.domains) != 2:
            yield f"field {name} with channels of a second domain", "two domains"
        for found, expected in contradictions(of):
            yield f"field {name} {found}", expected
        if of.frame and (of.frame not in manifest.fields or manifest.fields[of.frame].role not in PIXELS):
            yield f"field {name} in the pixels of {of.frame[:MOST_SHOWN]!r}", "a field that has pixels"


def _parsed(values: dict[str, Any], where: str) -> Manifest:
    nested = {k: v for k, v in values.items() if k != "version" and (k, values["version"]) != ("kind", 1)}
    fields = sorted(values.get("fields", {}).items())  # columns of an index are in the order of the names
    nested["fields"] = {name: from_dict(Field, of, f"{where} fields.{name}") for name, of in fields}
    nested["splits"] = {
        split: {domain: ShardSet.from_json(v, values["version"]) for domain, v in sets.items()}
        for split, sets in values.get("splits", {}).items()
    }
    nested["attributes"], nested["domains"] = (
        tuple(values.get("attributes", ())),
        tuple(values.get("domains", (WHOLE,))),
    )
    unknown = set(nested) - set(Manifest.__dataclass_fields__)
    if unknown or not nested["fields"] or not nested["splits"]:
        raise DataError(where, cut(f"keys {sorted(values)}"), "a manifest", "Shard the images again with this release.")
    return Manifest(**nested)
