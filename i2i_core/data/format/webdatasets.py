"""Make data sets of WebDatasets that exist, without touching their tars.

Each tar is read once, in streaming fashion (`scan`), for where its members lie and what they are; `finish_index`
then writes the indexes, and the manifest last.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from typing import IO, Any, Self

from i2i_core.data.folders.alike import check_apart
from i2i_core.data.folders.splits import SPLITS
from i2i_core.data.format.index import Index, NewIndex
from i2i_core.data.format.manifest import MANIFEST, DataSet, Manifest
from i2i_core.data.format.places import Places, below, no_file_name, storage_named
from i2i_core.data.format.shards import (
    OF_VERSION_1,
    PARTS,
    FinishedShard,
    agree_all,
    check_index_folder,
    index_name,
    indexed,
    tables_of,
    written_by,
)
from i2i_core.data.format.table import Shard, ShardSet
from i2i_core.errors import ConfigError, DataError, counted
from i2i_core.fields import WHOLE, Field
from i2i_core.images.codec import EXTENSIONS, check_range, decode
from i2i_core.names import printable
from i2i_core.settings import to_dict
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import sha256
from i2i_core.storage.remote import is_local, storage_of
from i2i_core.storage.retry import AT_START, patient_for


@dataclass(frozen=True)
class IndexOptions:
    """Name a WebDataset that exists, to make it a data set without rewriting it."""

    index: str = ""
    """Folder or fsspec URL with its tars. Indexes and manifest go beside them, or to --out."""
    domains: tuple[str, ...] = ()
    """Two words of the shards' names that tell domain A and B apart, for unpaired images (--domains horse zebra)."""

    def __post_init__(self) -> None:
        if len(self.domains) not in (0, 2):
            raise ConfigError("--domains", " ".join(self.domains), "two names", "Name A's, then B's.")


IMAGES = "images that cannot be read"
FIELDS = "samples without their images"
KINDS = "images of another kind than most"
LABELLING = "labels that cannot be used"
NAMES = "keys that cannot be names of files"
TWICE = "keys or members that come twice"
LINKS = "images that are links, devices or too large"
DAMAGE = "damaged tars"

_FIXES = {
    DAMAGE: "Copy the tar again; --bad skip takes the samples before that byte.",
    FIELDS: "Rename the members, or unpack the tars and use --layout; --bad skip leaves such samples out.",
    LABELLING: "Name attributes that every sample has, with --attributes; --bad skip leaves such samples out.",
}
_EXPECTED = {
    IMAGES: "an image",
    FIELDS: "samples KEY.a.png KEY.b.png, or KEY.png",
    LABELLING: "labels",
    NAMES: "a name that a file can have",
    TWICE: "every key and every member once",
    LINKS: "an image in one piece",
    DAMAGE: "a whole one",
}
_SKIP = "--bad skip leaves such samples out"

INDEXES_AT_ONCE = 16
"""Indexes that are written at the same time."""
MOST_IMAGE = 1 << 30
MOST_LABEL = 16 << 20
MOST_HEADER = 1 << 16
"""Bytes of one image, of a json or cls, and of an extended header, beyond which they are refused unread."""
MOST_CLASSES = 10_000
"""Classes that a cls may count to where they are not named."""


@dataclass(frozen=True)
class Fault:
    """Say why a sample (or, without a key, the rest of a tar) cannot be used."""

    key: str
    kind: str
    cause: str
    member: str = ""
    expected: str = ""

    def error(self, where: str) -> DataError:
        """Make an error of it that names the tar, which is `where`."""
        place = where if not self.key else f"{where}: {printable(self.key)}" + f".{self.member}" * bool(self.member)
        fix = _FIXES.get(self.kind, f"Mend or remove it; {_SKIP}.")
        return DataError(place, self.cause, self.expected or _EXPECTED[self.kind], fix)


Image = tuple[int, int, Field]
"""Offset and size of an image in its tar, and what it is."""
Kinds = tuple[tuple[str, int, str, str], ...]
"""Name, channels, dtype and ending of each image of a sample."""


@dataclass(frozen=True)
class Sample:
    """Hold a sample of a tar: its images by name, and its label."""

    key: str
    images: dict[str, Image]
    label: Any
    """Contents of its json or cls; None where it has neither, a Fault where it cannot be read."""

    @property
    def kind(self) -> Kinds:
        """Kind of each image, by which samples are compared."""
        return tuple((name, f.channels, f.dtype, f.extension) for name, (_, _, f) in sorted(self.images.items()))

    @property
    def is_half(self) -> bool:
        """Tell whether it is one side of a pair."""
        return self.images.keys() < {"a", "b"}


@dataclass(frozen=True)
class Scanned:
    """Hold what a tar contains: its usable samples, and what cannot be used."""

    shard: Shard
    samples: list[Sample]
    left_out: list[Fault]


@dataclass(frozen=True)
class Tars:
    """List the tars of a WebDataset: name below the root -> bytes."""

    uri: str
    root: str
    sizes: dict[str, int]
    digest: str

    def prefix(self, out: str) -> str:
        """Give what stands before a tar's name in the manifest at `out` (empty: beside the tars): nothing or a path
        where it lies below, else a URL."""
        fs, home = storage_of(out or self.root)
        return f"{self.root}/".removeprefix(f"{fs.unstrip_protocol(home).rstrip('/')}/")

    def apart(self, out: str) -> tuple[str, ...]:
        """List the folders that readers of the manifest at `out` have to allow with --shards-at: the tars' own, and
        those to which links lead."""
        fs, home = storage_of(out or self.root)
        folders = [self.uri] if "://" in self.prefix(out) else []
        if is_local(fs):
            known = [os.path.realpath(at) for at in (home, *folders)]
            root = storage_of(self.root)[1]
            real = sorted({os.path.dirname(os.path.realpath(f"{root}/{tar}")) for tar in self.sizes})
            folders += [at for at in real if not below(f"{at}/", known)]
        return tuple(folders)

    def check_names(self, out: str) -> None:
        """Check that a manifest at `out` can name every tar, and that each is a plain file.

        Raises:
            DataError: naming the first that is not so.
        """
        fs, home = storage_of(out or self.uri)
        places, prefix = Places(f"{out or self.uri}/{MANIFEST}", fs, home, self.apart(out)), self.prefix(out)
        try:
            for tar in self.sizes:
                places.path(prefix + tar)
        except DataError as error:
            fix = "Rename it, or leave it out of the folder."
            raise DataError(f"--index {self.uri}", error.found, error.expected, fix) from None


@patient_for(AT_START)
def list_tars(options: IndexOptions, attributes: tuple[str, ...]) -> Tars:
    """List the tars to index.

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
    """Read one tar from end to end: members, checksums, images.

    Raises:
        DataError: with `bad="stop"`, for the first sample that cannot be used, or a damaged tar.
    """
    fs, base = storage_of(root)
    where = f"{root.removeprefix('file://')}/{name}"
    samples: list[Sample] = []
    left_out: list[Fault] = []

    def leave_out(fault: Fault) -> None:
        if bad == "stop":
            raise fault.error(where)
        left_out.append(fault)

    with fs.open(f"{base}/{name}", "rb") as file:
        reading = HashedReader(file)
        seen: set[str] = set()
        for key, entries in groupby(tar_entries(reading, _is_read), key=lambda entry: entry[0]):
            members = [entry[1:] for entry in entries]
            sample = _sample(key, members)
            if reading.damage and (isinstance(sample, Fault) or sample.is_half):
                reading.end = members[0][1].offset  # the damage is in it
                break
            if isinstance(sample, Sample) and key in seen:
                sample = Fault(key, TWICE, "a key that stood before, in the same tar")
            seen.add(key)
            if isinstance(sample, Sample):
                samples.append(sample)
            else:
                leave_out(sample)
        reading.drain()
    if reading.damage or reading.filled > reading.end:
        found = reading.damage or f"{reading.filled - reading.end} bytes after the end of the archive"
        leave_out(Fault("", DAMAGE, f"{found}; nothing is taken from byte {reading.end} on"))
    half = [sample for sample in samples if sample.is_half]
    if half and bad == "stop":
        found = f"{len(half)} samples without a or b ({', '.join(printable(s.key) for s in half[:3])})"
        raise DataError(where, found, "both in every sample", f"Complete or remove those samples; {_SKIP}.")
    left_out += [Fault(s.key, FIELDS, f"{'b' if 'a' in s.images else 'a'} is missing") for s in half]
    samples = [sample for sample in samples if not sample.is_half]
    if bad == "stop":
        _alike([(where, sample) for sample in samples])
    return Scanned(Shard(name, len(samples), reading.bytes, reading.hash.hexdigest()), samples, left_out)


# ---- tars ----


class HashedReader:
    """Read a file from end to end, and keep its length and checksum as it goes.

    Attributes:
        filled: where its last byte that is not 0 ends.
        end: once `tar_entries` is through, where the archive ended.
        damage: why it ended there before its time.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hash, self.bytes, self.filled = file, hashlib.sha256(), 0, 0
        self.end, self.damage = 0, ""
        self.length = file.seek(0, io.SEEK_END)
        file.seek(0)

    def read(self, size: int) -> bytes:
        """Read some bytes, and count them in."""
        data = self.file.read(size)
        self.hash.update(data)
        if filled := len(data.rstrip(b"\0")):
            self.filled = self.bytes + filled
        self.bytes += len(data)
        return data

    def drain(self) -> None:
        """Read to the end."""
        while self.read(1 << 20):
            pass


class _Header(tarfile.TarInfo):
    """Read a header, or raise a ReadError: `tarfile` takes a damaged one for the end of the archive, and skips to
    wherever one says that the next is."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            raise tarfile.ReadError("it ends without the mark of an archive's end") from None
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a damaged header: {error}") from None
        if header.size < 0 or (header.type in _LONG and header.size > MOST_HEADER):
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            header = super().fromtarfile(tar)
        except (ValueError, LookupError, OverflowError, RecursionError) as error:  # of extended headers
            raise tarfile.ReadError(f"a damaged header: {type(error).__name__}") from None
        length = tar.fileobj.fileobj.length  # type: ignore[attr-defined]
        if not 0 <= header.size <= length - header.offset_data:
            raise tarfile.ReadError(f"{printable(header.name)} of {header.size} bytes does not fit in {length} bytes")
        return header


_LONG = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)

TarMember = tuple[str, str, tarfile.TarInfo, bytes]
"""Key, member, header and data of something in a tar."""


def tar_entries(file: HashedReader, is_read: Callable[[str, tarfile.TarInfo], bool]) -> Iterator[TarMember]:
    """Give all in a tar that has a name by WebDataset's convention: the key ends at the first dot of the last part.

    Where the tar is damaged it ends; `file.end` and `file.damage` then say where and how.

    Args:
        is_read: given a member and its header, whether its data is wanted; else it comes empty.
    """
    try:
        with tarfile.open(fileobj=file, mode="r|", tarinfo=_Header) as tar:  # type: ignore[call-overload]
            while (info := tar.next()) is not None:
                file.end = info.offset
                _, dot, member = info.name.rpartition("/")[2].partition(".")
                key = info.name[: -len(dot + member)]
                if dot and key and not key.endswith("/") and not info.isdir():
                    opened = tar.extractfile(info) if _is_file(info) and is_read(member, info) else None
                    yield key, member, info, opened.read() if opened else b""
                file.end = tar.offset
                tar.members.clear()
    except tarfile.TarError as error:
        file.damage = f"a damaged tar ({error})"


def _is_file(info: tarfile.TarInfo) -> bool:
    """Tell whether a member's data lies in one piece in the tar."""
    return info.isreg() and not info.issparse()


def tar_members(file: HashedReader) -> Iterator[TarMember]:
    """Give every file of a tar with its data, as `tar_entries` does."""
    return (entry for entry in tar_entries(file, lambda *_: True) if _is_file(entry[2]))


# ---- samples ----

LABELS = ("json", "cls")
_Members = list[tuple[str, tarfile.TarInfo, bytes]]


def _field_of(member: str) -> str:
    """Name the field of an image's member: `a`, `b`, `image`, or what else it is called."""
    return member.rpartition(".")[0] or "image"


def _is_image(member: str) -> bool:
    return member.lower().rpartition(".")[2] in EXTENSIONS


def _is_read(member: str, info: tarfile.TarInfo) -> bool:
    return info.size <= _most_bytes(member)


def _most_bytes(member: str) -> int:
    return MOST_IMAGE if _is_image(member) else MOST_LABEL if member.lower() in LABELS else 0


def _sample(key: str, members: _Members) -> Sample | Fault:
    """Give the images of a sample, and its json or cls where it has one that may be labels. All else is left alone."""
    if wrong := no_file_name(key):
        return Fault(key, NAMES, wrong)
    if twice := [name for name, n in Counter(name.lower() for name, _, _ in members).items() if n > 1]:
        return Fault(key, TWICE, f"{twice[0]} twice")
    images: dict[str, _Members] = defaultdict(list)
    notes: dict[str, Any] = {}
    for name, info, data in members:
        member = name.lower()
        if _is_image(member):
            images[_field_of(member)].append((member, info, data))
        elif member in LABELS:
            notes[member] = _note(key, member, info, data)
    if {"a", "b"} <= images.keys():
        images = {name: images[name] for name in ("a", "b", "image") if name in images}
    elif "image" in images:
        images = {"image": images["image"]}
    elif not images.keys().isdisjoint("ab"):
        images = {name: images[name] for name in "ab" if name in images}
    if images.keys() not in ({"a"}, {"b"}, {"a", "b"}, {"image"}):
        return Fault(key, FIELDS, f"images named {', '.join(map(printable, sorted(images))) or 'nothing'}")
    found = {}
    for name, some in images.items():
        image = _image(key, some)
        if isinstance(image, Fault):
            return image
        found[name] = image
    return Sample(key, found, _may_be_labels(notes) if "image" in found else None)


def _note(key: str, member: str, info: tarfile.TarInfo, data: bytes) -> Any:
    """Read what a json or cls holds, or give a Fault."""
    if wrong := _not_in_one_piece(member, info):
        return Fault(key, LABELLING, wrong, member)
    try:
        return _flat(json.loads(data))
    except (ValueError, RecursionError) as error:
        return Fault(key, LABELLING, f"text that is not JSON ({error})", member)


def _flat(value: Any) -> Any:
    """Reduce a JSON value to what may be labels: a number, or an object of numbers; else its type's name."""
    if isinstance(value, dict):
        return {key: v if isinstance(v, int | float) else _brief(v) for key, v in value.items()}
    return value if isinstance(value, int | float) else _brief(value)


def _brief(value: Any) -> str:
    return value[:80] if isinstance(value, str) else type(value).__name__


def _not_in_one_piece(member: str, info: tarfile.TarInfo) -> str:
    """Why a member cannot be read at its offset; empty if it can."""
    if not _is_file(info):
        kinds = ((info.issym(), "a symbolic link"), (info.islnk(), "a hard link"), (info.isdev(), "a device"))
        return next((kind for is_one, kind in kinds if is_one), "no plain file")
    return "" if _is_read(member, info) else f"{info.size} bytes, over the limit of {_most_bytes(member)}"


def _may_be_labels(notes: dict[str, Any]) -> Any:
    """Choose between a json and a cls: the json if it is an object with attributes."""
    value = notes.get("json")
    attributes = isinstance(value, dict) and any(_is_bit(v) for v in value.values())
    return value if attributes or "cls" not in notes else notes["cls"]


def _is_bit(value: Any) -> bool:
    return isinstance(value, int | float) and value in (0, 1)


def _image(key: str, members: _Members) -> Image | Fault:
    """Find the image among the members of one name: an array beside an image is an annotation."""
    images = [m for m in members if not m[0].endswith("npy")] or members
    if len(images) > 1:
        return Fault(key, TWICE, f"both {images[0][0]} and {images[1][0]}, two images of one name")
    name, info, data = images[0]
    if wrong := _not_in_one_piece(name, info):
        return Fault(key, LINKS, wrong, name)
    try:
        x = decode(data, name)
        check_range(x)
    except ValueError as error:
        return Fault(key, IMAGES, str(error), name)
    field = Field(name.rsplit(".", 1)[-1], x.shape[2], str(x.dtype), x.shape[0], x.shape[1])
    return info.offset_data, len(data), field


def _alike(samples: Sequence[tuple[str, Sample]], bad: str = "stop") -> list[Fault | None]:
    """Give for each (tar, sample) why it is left out, if its images are not of the kind that most are.

    Raises:
        DataError: with `bad="stop"`, naming the first.
    """
    kinds = Counter(sample.kind for _, sample in samples)
    if len(kinds) < 2:
        return [None] * len(samples)
    most = max(kinds, key=lambda kind: kinds[kind])
    like = next((tar, sample) for tar, sample in samples if sample.kind == most)
    out: list[Fault | None] = []
    for tar, sample in samples:
        cause = f"{_described(sample.kind)}, where {kinds[most]} samples hold {_described(most)}"
        out.append(Fault(sample.key, KINDS, cause) if sample.kind != most else None)
        if out[-1] and bad == "stop":
            fix = f"Make all images of one kind; {_SKIP}."
            found = f"{_described(sample.kind)}, while {like[0]}: {printable(like[1].key)} holds {_described(most)}"
            raise DataError(f"{tar}: {printable(sample.key)}", found, "the same of every sample", fix)
    return out


def _described(kind: Kinds) -> str:
    return " and ".join(
        f"{name} of {counted(channels, 'channel')} of {dtype} as {end}" for name, channels, dtype, end in kind
    )


# ---- the data set ----


@dataclass(frozen=True)
class Kept:
    """Hold the samples that are taken, each with its tar's name; how they are labelled; and what is left out."""

    rows: list[tuple[str, Sample]]
    labels: LabelColumns | None
    left_out: list[tuple[str, Fault]]


def finish_index(
    tars: Tars,
    scanned: dict[str, Scanned],
    options: IndexOptions,
    attributes: tuple[str, ...],
    out: str,
    bad: str = "stop",
) -> Manifest:
    """Write the indexes and the manifest of a WebDataset that exists, beside its tars or at `out`.

    Raises:
        DataError: what the tars hold cannot be told; with `bad="stop"`, also where single samples do not agree.
    """
    output = Folder(out or tars.uri)
    full = [name for name in tars.sizes if scanned[name].samples or scanned[name].left_out]
    sets = {name: _set_of(name, options.domains or ("A", "B")) for name in full}
    kept = _kept(tars, scanned, options, attributes, sets, bad)
    labels, left_out, fields = kept.labels, kept.left_out, _fields([sample for _, sample in kept.rows])
    check_apart(labels.names if labels else (), f"--index {tars.uri}", "attribute")
    unpaired = "image" in kept.rows[0][1].images and labels is None
    if unpaired:
        _check_domains(tars, {name: sets[name][1] for name, _ in kept.rows})
    to_write: list[ToWrite] = []
    for name, some in groupby(kept.rows, key=lambda row: row[0]):
        (split, domain), samples = sets[name], [row[1] for row in some]
        shard = replace(scanned[name].shard, name=tars.prefix(out) + name, samples=len(samples))
        where, index = (split, domain if unpaired else WHOLE), _index(samples, fields, labels)
        to_write.append((where, index_name(name), FinishedShard(shard, fields), index))
    manifest = Manifest(
        fields=fields,
        splits=_written(output, to_write, len(labels.names) if labels else 0),
        attributes=labels.names if labels else (),
        exclusive=bool(labels and labels.exclusive),
        domains=("A", "B") if unpaired else (WHOLE,),
        made_by={
            "index": to_dict(options)["domains"],
            "left_out": [_line(*one) for one in left_out],
            "left_out_counts": dict(Counter(fault.kind for _, fault in left_out).most_common()),
            "indexed": tars.digest,
        },
    )
    old = _old_indexes(output, tars.apart(out))
    output.write(MANIFEST, manifest.dumps().encode())
    output.remove(PARTS, *(old - {name for _, name, _, _ in to_write}))
    output.remove_left()
    return manifest


def _kept(
    tars: Tars,
    scanned: dict[str, Scanned],
    options: IndexOptions,
    attributes: tuple[str, ...],
    sets: dict[str, tuple[str, str]],
    bad: str,
) -> Kept:
    """Decide which samples are taken, and how they are labelled. Raises DataError as `finish_index`."""
    left_out = [(name, fault) for name in tars.sizes for fault in scanned[name].left_out]

    def usable(given: list[tuple[str, Sample]], faults: Sequence[Fault | None]) -> list[tuple[str, Sample]]:
        left_out.extend((name, f) for (name, _), f in zip(given, faults, strict=True) if f)
        return [row for row, fault in zip(given, faults, strict=True) if not fault]

    rows = [(name, sample) for name in sets for sample in scanned[name].samples]
    rows = usable(rows, _alike([(f"{tars.uri}/{name}", sample) for name, sample in rows], bad))
    told = {domain for _, domain in sets.values()} == {"A", "B"}
    labels: LabelColumns | None = None
    if rows and "image" in rows[0][1].images and not options.domains:
        found = read_labels([sample for _, sample in rows], attributes)
        if attributes or not told or not any(found.faults):  # else two domains, whose json or cls are annotations
            labels = found
            _check_labels(rows, labels, attributes, tars.uri, bad)
            rows = usable(rows, labels.faults)
    if not rows:
        agree_all([], [_line(*one) for one in left_out])
    return Kept(rows, labels, left_out)


def _check_domains(tars: Tars, domain_of: Mapping[str, str]) -> None:
    """Check that tars with samples are of two domains, and of one each. Raises DataError where they are not."""
    for name, domain in domain_of.items():
        if domain == WHOLE:
            raise DataError(f"{tars.uri}/{name}", "single images without json or cls", _DOMAINS[0], _DOMAINS[1])
    if {*domain_of.values()} != {"A", "B"}:
        only, fix = next(iter(domain_of.values())), "Add the other domain's tars, or mend its samples."
        raise DataError(tars.uri, f"samples of domain {only} alone", "two domains", fix)


def _old_indexes(output: Folder, apart: Sequence[str]) -> set[str]:
    """Name the indexes that an earlier indexing wrote here: plain files of the names that it gives, in the data set's
    own folder. Whatever else a manifest names is let be."""
    names: set[str] = set()
    with suppress(DataError, ConfigError):
        data = DataSet(output.url, apart)
        for of in (of for sets in data.manifest.splits.values() for of in sets.values()):
            pairs = zip(of.shards.name, of.index.name, strict=False)
            ours = [name for tar, name in pairs if f"/{tar}".endswith(f"/{_tar_of(name)}") and not of.whole]
            for name in [name for name in of.index.name if OF_VERSION_1.fullmatch(name)] if of.whole else ours:
                data.path(name, "index")  # refuses links and folders
                names.add(name)
    return names if "indexed" in written_by(output) else set()


def _tar_of(index: str) -> str:
    return f"{index.removeprefix('index/').removesuffix('.npz')}.tar"


_DOMAINS = (
    "labels, or two domains",
    "Name the word of the shards' names that tells the domains apart: --domains horse zebra.",
)


def _line(name: str, fault: Fault) -> str:
    return f"{name} {printable(fault.key)}: {fault.cause}" if fault.key else f"{name}: {fault.cause}"


def _fields(samples: Sequence[Sample]) -> dict[str, Field]:
    """Describe all images of a name at once; height and width are 0 where they differ."""
    fields = {}
    for name, (_, _, first) in sorted(samples[0].images.items()):
        sizes = {(sample.images[name][2].height, sample.images[name][2].width) for sample in samples}
        height, width = ({size[i] for size in sizes} for i in (0, 1))
        fields[name] = replace(
            first, height=first.height if len(height) == 1 else 0, width=first.width if len(width) == 1 else 0
        )
    return fields


def _index(samples: Sequence[Sample], fields: dict[str, Field], labels: LabelColumns | None) -> Index:
    rows = NewIndex()
    for sample in samples:
        places = [sample.images[name][:2] for name in fields]
        rows.append(sample.key, places, labels.row(sample.label) if labels else [])
    return rows.done()


ToWrite = tuple[tuple[str, str], str, FinishedShard, Index]
"""A split and a domain; the name of an index; the part that it is of; the index."""


def _written(output: Folder, to_write: Sequence[ToWrite], attributes: int) -> dict[str, dict[str, ShardSet]]:
    """Write all indexes, many at once, and give the tables of their shards."""
    with ThreadPoolExecutor(INDEXES_AT_ONCE) as pool:
        parts = list(pool.map(lambda one: indexed(output, one[1], one[2], one[3], attributes), to_write))
    groups: dict[tuple[str, str], list[FinishedShard]] = defaultdict(list)
    for (where, *_), part in zip(to_write, parts, strict=True):
        groups[where].append(part)
    return tables_of(groups)


@patient_for(AT_START)
def begin_index(tars: Tars, out: str, overwrite: bool) -> bool:
    """Tell whether these tars are indexed already. Raises DataError if another data set is in the way."""
    output = Folder(out or tars.uri)
    if storage_named(output.url) != storage_named(tars.uri):
        fix = "Leave --out out, to write indexes and manifest beside the tars."
        raise DataError(f"--out {out}", "another storage or bucket than the tars'", "the same", fix)
    tars.check_names(out)
    check_index_folder(output, "--out" if out else "--index")
    there, made_by = output.exists(MANIFEST), written_by(output)
    if not there or (overwrite and "plan" not in made_by):
        return False
    if made_by.get("indexed") == tars.digest:
        return True
    fix = "Replace it with --overwrite." if "plan" not in made_by else "It is a data set as it is."
    raise DataError(output.url, "a manifest.json of something else", "none", fix)


def _set_of(name: str, domains: Sequence[str]) -> tuple[str, str]:
    """Find (split, domain) in the words of a shard's name: `train-A-000.tar`, `trainA-0.tar`, `horse/val-3.tar`."""
    words = [word.lower() for word in re.split(r"[^0-9A-Za-z]+", name)]
    glued = {f"{split}{domain.lower()}": (split, domain) for split in SPLITS for domain in domains}
    for word in words:
        if word in glued:
            split, domain = glued[word]
            return SPLITS[split], "AB"[list(domains).index(domain)]
    split = next((SPLITS[word] for word in words if word in SPLITS), "train")
    domain = next(("AB"[i] for i, name in enumerate(domains) if name.lower() in words), WHOLE)
    return split, domain


@dataclass(frozen=True)
class LabelColumns:
    """Say how the json or cls of samples are read as labels."""

    names: tuple[str, ...]
    exclusive: bool
    faults: list[Fault | None]
    """Reason, for each sample, why it has no such label; None where it has one."""

    def row(self, value: Any) -> list[int]:
        """Give 0 or 1 for each attribute of a label that has no fault."""
        if self.exclusive:
            return [int(i == value) for i in range(len(self.names))]
        return [int(value[name]) for name in self.names]


def read_labels(samples: Sequence[Sample], attributes: tuple[str, ...]) -> LabelColumns:
    """Read the attributes of json objects or class numbers, whichever more samples have.

    Attributes that are not named are those of the first object, if every sample has them; else of the commonest.
    """
    values = [sample.label for sample in samples]
    classes = [value for value in values if _is_class(value)]
    objects = [value for value in values if isinstance(value, dict)]
    if len(classes) > len(objects):
        known = [value for value in classes if value < MOST_CLASSES]
        names = attributes or tuple(f"class_{i}" for i in range(max(known, default=-1) + 1))
        expected = f"a class number from 0 to {len(names) - 1}"
        fits = [_is_class(value) and value < len(names) for value in values]
        return LabelColumns(names, True, _label_faults(samples, fits, expected))
    forms = [tuple(key for key, value in o.items() if _is_bit(value)) for o in objects]
    choices = [attributes] if attributes else [*forms[:1], *(form for form, _ in Counter(forms).most_common(1))]
    for names in choices:
        fits = [isinstance(v, dict) and bool(names) and all(_is_bit(v.get(name)) for name in names) for v in values]
        if all(fits):
            break
    else:
        names = choices[-1] if choices else ()
    expected = f"an object with {', '.join(names) or 'attributes'} of 0 or 1, or a class number"
    return LabelColumns(names, False, _label_faults(samples, fits if choices else [False] * len(values), expected))


def _is_class(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _label_faults(samples: Sequence[Sample], fits: Sequence[bool], expected: str) -> list[Fault | None]:
    out: list[Fault | None] = []
    for sample, fit in zip(samples, fits, strict=True):
        found = sample.label
        if fit:
            out.append(None)
        elif isinstance(found, Fault):
            out.append(found)
        else:
            said = "no json or cls" if found is None else f"labels such as {json.dumps(found)[:80]}"
            out.append(Fault(sample.key, LABELLING, said, expected=expected))
    return out


def _check_labels(
    rows: Sequence[tuple[str, Sample]], labels: LabelColumns, attributes: tuple[str, ...], uri: str, bad: str
) -> None:
    """Check that samples have labels. Raises DataError for the first one without; with `bad="skip"`, only if not one
    has any."""
    wrong = [(name, sample, fault) for (name, sample), fault in zip(rows, labels.faults, strict=True) if fault]
    if not wrong or (bad == "skip" and len(wrong) < len(rows)):
        return
    name, sample, fault = wrong[0]
    if all(sample.label is None for _, sample, _ in wrong) and len(wrong) == len(rows):
        raise DataError(f"{uri}/{name}", "single images without json or cls", _DOMAINS[0], _DOMAINS[1])
    if labels.exclusive and attributes and _is_class(sample.label):
        fix = f"Name every class, in the order of the numbers; {_SKIP}."
        found, expected = (
            f"{len(labels.names)} names",
            f"{sample.label + 1}, as in {uri}/{name}: {printable(sample.key)}",
        )
        raise DataError("--attributes", found, expected, fix)
    raise fault.error(f"{uri}/{name}")
