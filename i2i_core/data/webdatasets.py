"""Existing WebDatasets made into data sets, their tars untouched.

Each tar is read once, in streaming fashion (`scan`), for where its members lie and what they are; `finish_index`
then writes the indexes, and the manifest last.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from typing import IO, Any

from i2i_core.data.images import (
    EXTENSIONS,
    check_range,
    decode,
)
from i2i_core.data.layouts import SPLITS
from i2i_core.data.manifest import (
    MANIFEST,
    WHOLE,
    Field,
    Manifest,
    Shard,
    sha256,
)
from i2i_core.data.shards import PARTS, BadImageError, Part, agree, agree_all, write_indexes
from i2i_core.errors import ConfigError, DataError
from i2i_core.settings import to_dict
from i2i_core.storage import Folder, storage_of


@dataclass(frozen=True)
class IndexOptions:
    """An existing WebDataset, made a data set without rewriting it."""

    index: str = ""
    """Folder or fsspec URL with its tars. The index goes beside them, or to --out."""
    domains: tuple[str, ...] = ()
    """Of unpaired: two words of the shards' names, A's and B's (--domains horse zebra)."""

    def __post_init__(self) -> None:
        if len(self.domains) not in (0, 2):
            raise ConfigError("--domains", " ".join(self.domains), "two names", "Name A's, then B's.")


@dataclass(frozen=True)
class Scanned:
    """What a tar holds: its part (labels still empty), and for each sample its json or cls, or None."""

    part: Part
    raw: list[Any]


@dataclass(frozen=True)
class Tars:
    """The tars of a WebDataset: name below the root -> bytes."""

    uri: str
    root: str
    sizes: dict[str, int]
    digest: str


def list_tars(options: IndexOptions, attributes: tuple[str, ...]) -> Tars:
    """The shards to index.

    Raises:
        DataError: nothing there, no tar, or compressed ones.
    """
    uri = options.index.rstrip("/")
    fs, root = storage_of(uri)
    found = (
        {p[len(root) + 1 :]: int(i["size"]) for p, i in fs.find(root, detail=True).items()} if fs.isdir(root) else {}
    )
    packed = sorted(name for name in found if re.search(r"\.(tar\.\w+|tgz|tbz2?|txz)$", name))
    if packed:
        fix = "Unpack them: gunzip leaves a .tar."
        raise DataError(
            f"--index {uri}", f"compressed tars ({packed[0]}, ...), which cannot be read in parts", ".tar", fix
        )
    sizes = {name: found[name] for name in sorted(found) if name.endswith(".tar")}
    if not sizes:
        has = f"{len(found)} files, none of them a tar" if found else "nothing at that place, or not a folder"
        raise DataError(f"--index {uri}", has, "a folder of .tar shards", "Check the name.")
    digest = sha256(json.dumps([sizes, options.domains, attributes]).encode())
    return Tars(uri, str(fs.unstrip_protocol(root)), sizes, digest)


def scan(root: str, name: str, bad: str) -> Scanned:
    """Reads one tar from end to end: members, checksums, images.

    Raises:
        DataError: it is damaged, its samples lack fields, or an image cannot be read (with `bad="stop"`).
    """
    fs, base = storage_of(root)
    where = f"{root.removeprefix('file://')}/{name}"
    rows: list[tuple[str, dict[str, Any]]] = []
    with fs.open(f"{base}/{name}", "rb") as file:
        reading = HashedReader(file)
        try:
            for key, members in groupby(tar_members(reading), key=lambda member: member[0]):
                rows.append((key, _scanned([member[1:] for member in members], f"{where}: {key}")))
        except tarfile.TarError as error:
            fix = "Copy it again."
            raise DataError(where, f"a damaged tar ({error})", "a whole one", fix) from None
        reading.drain()
    return _scanned_part(Shard(name, 0, reading.bytes, reading.hash.hexdigest()), rows, where, bad)


class HashedReader:
    """A file being read from end to end, its length and checksum as it goes."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hash, self.bytes = file, hashlib.sha256(), 0

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.hash.update(data)
        self.bytes += len(data)
        return data

    def drain(self) -> None:
        while self.read(1 << 20):
            pass


def tar_members(file: HashedReader) -> Iterator[tuple[str, str, tarfile.TarInfo, bytes]]:
    """(key, member, header, data) of every file, by WebDataset's convention: the key ends at the first dot."""
    with tarfile.open(fileobj=file, mode="r|") as tar:  # type: ignore[call-overload]
        for info in tar:
            folder, _, last = info.name.rpartition("/")
            key, dot, member = last.partition(".")
            if info.isreg() and key and dot:
                opened = tar.extractfile(info)
                yield f"{folder}/{key}" if folder else key, member, info, opened.read() if opened else b""


LABELS = ("json", "cls")
_Members = list[tuple[str, tarfile.TarInfo, bytes]]


def _field_of(member: str) -> str:
    """`a`, `b`, `image`, or what else an image is called."""
    return member.rpartition(".")[0] or "image"


def _scanned(members: _Members, where: str) -> dict[str, Any]:
    """A sample's images, each (offset, size, Field) or a BadImageError, and `labels`, where it has a json or cls that
    may be labels. All else is left alone."""
    images: dict[str, _Members] = defaultdict(list)
    notes: dict[str, Any] = {}
    for name, info, data in members:
        member = name.lower()
        if member.rpartition(".")[2] in EXTENSIONS:
            images[_field_of(member)].append((member, info, data))
        elif member in LABELS:
            try:
                notes[member] = json.loads(data)
            except ValueError as error:
                notes[member] = BadImageError(f"{where}.{member}", str(error))
    if not {"a", "b"} <= images.keys() and "image" in images:
        images = {"image": images["image"]}
    elif {"a", "b"} <= images.keys():
        images = {name: images[name] for name in ("a", "b", "image") if name in images}
    found = {name: _image(_one_of(some, where), where) for name, some in images.items()}
    labels = _may_be_labels(notes) if "image" in images else None
    return found if labels is None else {**found, "labels": labels}


def _may_be_labels(notes: dict[str, Any]) -> Any:
    """Of a json and a cls, the json if it is an object with attributes."""
    value = notes.get("json")
    attributes = isinstance(value, dict) and any(_is_bit(v) for v in value.values())
    return value if attributes or "cls" not in notes else notes["cls"]


def _is_bit(value: Any) -> bool:
    return isinstance(value, int | float) and value in (0, 1)


def _one_of(members: _Members, where: str) -> tuple[str, tarfile.TarInfo, bytes]:
    """The image among the members of one name: an array beside an image is an annotation."""
    images = [m for m in members if not m[0].endswith("npy")] or members
    if len(images) > 1:
        both = " and ".join(member for member, _, _ in images[:2])
        raise DataError(where, f"both {both}", "one image of each name", "Rename one: `mask.png`, say.")
    return images[0]


def _image(member: tuple[str, tarfile.TarInfo, bytes], where: str) -> Any:
    """(offset, size, Field), or a BadImageError."""
    name, info, data = member
    try:
        x = decode(data, name)
        check_range(x)
    except ValueError as error:
        return BadImageError(f"{where}.{name}", str(error))
    field = Field(name.rsplit(".", 1)[-1], x.shape[2], str(x.dtype), x.shape[0], x.shape[1])
    return info.offset_data, len(data), field


def _scanned_part(shard: Shard, rows: list[tuple[str, dict[str, Any]]], where: str, bad: str) -> Scanned:
    names = _image_fields(rows, where)
    part, raw = Part(shard, {}, "", [], [], [], [], []), []
    for key, members in rows:
        wrong = next((value for value in members.values() if isinstance(value, BadImageError)), None)
        if wrong and bad == "stop":
            fix = "Mend it; --bad skip leaves such samples out."
            raise DataError(str(wrong.args[0]), str(wrong.args[1]), "an image", fix)
        if wrong:
            part.left_out.append(f"{shard.name} {key}: {wrong.args[1]}")
            continue
        fields = {name: members[name][2] for name in names}
        name = f"{where}: {key}"
        part = replace(part, fields=agree(part.fields, fields, part.example, name), example=part.example or name)
        part.keys.append(key)
        part.offset.append([members[name][0] for name in names])
        part.size.append([members[name][1] for name in names])
        raw.append(members.get("labels"))
    return Scanned(replace(part, shard=replace(shard, samples=len(part.keys))), raw)


def _image_fields(rows: list[tuple[str, dict[str, Any]]], where: str) -> tuple[str, ...]:
    """The image fields of every sample: (a, b), or (image,). Raises DataError if samples differ, or have others."""
    if not rows:
        return ()
    sets = Counter(frozenset(n for n in members if n != "labels") for _, members in rows)
    names = max(sets, key=lambda s: (len(s), sorted(s)))
    lacking = [key for key, members in rows if not names <= members.keys()]
    expected = "samples KEY.a.png KEY.b.png, or KEY.png"
    if names not in ({"a", "b"}, {"image"}):
        fix = "Rename the members, or unpack the tars and use --layout."
        raise DataError(where, f"images named {', '.join(sorted(names)) or 'nothing'}", expected, fix)
    if lacking:
        found = f"{len(lacking)} samples without {' or '.join(sorted(names))} ({', '.join(lacking[:3])})"
        raise DataError(where, found, "every field in every sample", "Complete or remove those samples.")
    return tuple(sorted(names))


def finish_index(
    tars: Tars, scanned: dict[str, Scanned], options: IndexOptions, attributes: tuple[str, ...], out: str
) -> Manifest:
    """Manifest and indexes of an existing WebDataset, beside its tars or at `out`.

    Raises:
        DataError: its tars do not agree, or what they hold cannot be told.
    """
    output = Folder(out or tars.uri)
    full = {name: scanned[name] for name in tars.sizes if scanned[name].part.shard.samples}
    left_out = [line for name in tars.sizes for line in scanned[name].part.left_out]
    fields = agree_all([s.part for s in full.values()], left_out)
    raw = [value for s in full.values() for value in s.raw]
    sets = {name: _set_of(name, options.domains or ("A", "B")) for name in full}
    labelled = "image" in fields and all(value is not None for value in raw) and not options.domains
    names: tuple[str, ...] = ()
    exclusive = False
    if labelled:
        try:
            names, exclusive = _label_names(raw, attributes, tars.uri)
        except DataError:
            if attributes or {domain for _, domain in sets.values()} != {"A", "B"}:
                raise
            labelled = False  # two domains, whose json or cls are annotations
    unpaired = "image" in fields and not labelled
    groups: dict[tuple[str, str], list[Part]] = defaultdict(list)
    for name, (split, domain) in sets.items():
        if unpaired and domain == WHOLE:
            fix = "Name the word of the shards' names that tells the domains apart: --domains horse zebra."
            raise DataError(f"{tars.uri}/{name}", "single images without json or cls", "labels, or two domains", fix)
        part = _labelled(full[name], names, exclusive) if labelled else full[name].part
        shown = name if not out else f"{tars.root}/{name}"
        groups[split, domain if unpaired else WHOLE].append(replace(part, shard=replace(part.shard, name=shown)))
    manifest = Manifest(
        kind="unpaired" if unpaired else "labelled" if labelled else "paired",
        fields=fields,
        splits=write_indexes(output, groups),
        attributes=names,
        exclusive=exclusive,
        domains=("A", "B") if unpaired else (WHOLE,),
        made_by={"index": to_dict(options)["domains"], "left_out": left_out, "indexed": tars.digest},
    )
    output.write(MANIFEST, manifest.dumps().encode())
    output.remove(PARTS)
    return manifest


def begin_index(tars: Tars, out: str, overwrite: bool) -> bool:
    """Whether these tars are indexed already. Raises DataError if another data set is in the way."""
    output = Folder(out or tars.uri)
    if output.fs.protocol != storage_of(tars.root)[0].protocol:
        fix = "Leave --out out, to write the index beside the tars."
        raise DataError(f"--out {out}", "another storage than the tars'", "the same", fix)
    there = output.exists(MANIFEST)
    made_by: dict[str, Any] = {}
    with suppress(ValueError, AttributeError):
        made_by = (output.read_json(MANIFEST) or {}).get("made_by") or {}
    if not there or (overwrite and "plan" not in made_by):
        return False
    if made_by.get("indexed") == tars.digest:
        return True
    fix = "Replace it with --overwrite." if "plan" not in made_by else "It is a data set as it is."
    raise DataError(output.url, "a manifest.json of something else", "none", fix)


def _set_of(name: str, domains: Sequence[str]) -> tuple[str, str]:
    """(split, domain) from the words of a shard's name: `train-A-000.tar`, `trainA-0.tar`, `horse/val-3.tar`."""
    words = [word.lower() for word in re.split(r"[^0-9A-Za-z]+", name)]
    glued = {f"{split}{domain.lower()}": (split, domain) for split in SPLITS for domain in domains}
    for word in words:
        if word in glued:
            split, domain = glued[word]
            return SPLITS[split], "AB"[list(domains).index(domain)]
    split = next((SPLITS[word] for word in words if word in SPLITS), "train")
    domain = next(("AB"[i] for i, name in enumerate(domains) if name.lower() in words), WHOLE)
    return split, domain


def _label_names(raw: list[Any], attributes: tuple[str, ...], where: str) -> tuple[tuple[str, ...], bool]:
    """The attributes of json objects or class numbers, and whether they exclude each other.

    Raises:
        DataError: labels of another form, or not those that were named.
    """
    classes = all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in raw)
    if classes:
        names = attributes or tuple(f"class_{i}" for i in range(max(raw) + 1))
        if max(raw) >= len(names):
            fix = "Name every class, in the order of the numbers."
            raise DataError("--attributes", f"{len(names)} names", f"{max(raw) + 1}, as in {where}", fix)
        return names, True
    first = raw[0] if isinstance(raw[0], dict) else {}
    names = attributes or tuple(key for key, value in first.items() if value in (0, 1))
    for value in raw:
        if not names or not isinstance(value, dict) or any(value.get(name) not in (0, 1) for name in names):
            fix = "Name attributes that every sample has, with --attributes."
            expected = f"an object with {', '.join(names) or 'attributes'} of 0 or 1, or a class number"
            raise DataError(where, f"labels such as {json.dumps(value)[:80]}", expected, fix)
    return names, False


def _labelled(scanned: Scanned, names: tuple[str, ...], exclusive: bool) -> Part:
    if exclusive:
        return replace(scanned.part, labels=[[int(i == value) for i in range(len(names))] for value in scanned.raw])
    return replace(scanned.part, labels=[[int(value[name]) for name in names] for value in scanned.raw])
