"""Make data sets of WebDatasets that exist, without touching their tars.

Each tar is read once, in streaming fashion (`tar_samples.scan`), for where its members lie and what they are;
`finish_index` then writes the indexes, and the manifest last.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from i2i_core.data.folders.alike import check_apart
from i2i_core.data.folders.listing import some
from i2i_core.data.folders.splits import SPLITS
from i2i_core.data.format import unpacking
from i2i_core.data.format.index import Index, NewIndex
from i2i_core.data.format.manifest import MANIFEST, DataSet, Manifest
from i2i_core.data.format.places import Places, below, storage_named
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
from i2i_core.data.format.table import ShardSet
from i2i_core.data.format.tar_labels import LabelColumns, is_class, read_labels
from i2i_core.data.format.tar_names import MemberNames, chosen, cut_pattern, split_of
from i2i_core.data.format.tar_samples import LABELLING, SKIP, Fault, Sample, Scanned, alike, fields_of, of_one_shape
from i2i_core.errors import ConfigError, DataError, counted
from i2i_core.fields import WHOLE, Field
from i2i_core.names import printable
from i2i_core.settings import to_dict
from i2i_core.storage.folder import Folder
from i2i_core.storage.near import corrected
from i2i_core.storage.paths import sha256
from i2i_core.storage.remote import is_local, storage_of
from i2i_core.storage.retry import AT_START, patient_for

INDEXES_AT_ONCE = 16
"""Indexes that are written at the same time."""
_UNPACK = {"gz": "gunzip", "tgz": "gunzip", "bz2": "bunzip2", "tbz2": "bunzip2", "tbz": "bunzip2"}
_UNPACK |= {"xz": "unxz", "txz": "unxz", "zst": "zstd -d", "lz4": "lz4 -d"}
"""Commands that leave a .tar, by the ending of a compressed one."""


@dataclass(frozen=True)
class IndexOptions:
    """Name a WebDataset that exists, to make it a data set without rewriting it."""

    index: str = ""
    """Folder or fsspec URL with tars; one tar; or a pattern of tars, as 'data/{000..099}.tar' or 'data/train-*.tar'.
    Indexes and manifest go beside them, or to --out. With flags of images, new shards go to --out instead."""
    domains: tuple[str, ...] = ()
    """Two words of the shards' names that tell domain A and B apart, for unpaired images (--domains horse zebra)."""
    member: tuple[str, ...] = ()
    """Members of a sample that are its images and its labels, where their names do not say so: a=input.jpg
    b=target.png, or 'image=jpg;png' labels=txt. Of several, a sample's first one counts. labels=json:species takes the
    class from that entry of a json."""
    keys: Literal["first-dot", "last-dot"] = "first-dot"
    """End of a sample's key in the name of a file: the first dot, WebDataset's own rule; or the last one, for names
    with dots (v1.2.png), which --rewrite gives keys without dots."""
    rewrite: bool = False
    """Write the samples into new shards in --out, as --layout does with folders, instead of an index of their tars:
    puts together samples whose members lie apart, and takes --split and the like. Flags of images do so by
    themselves."""

    def __post_init__(self) -> None:
        if len(self.domains) not in (0, 2):
            raise ConfigError("--domains", " ".join(self.domains), "two names", "Name A's, then B's.")
        if not self.index and (self.member or self.keys != "first-dot" or self.rewrite):
            flag = "--member" if self.member else "--rewrite" if self.rewrite else "--keys"
            raise ConfigError(flag, "it without --index", "--index FOLDER", "Leave it out, or name tars with --index.")
        MemberNames.of(self.member)

    @property
    def names(self) -> MemberNames:
        """What the members of samples are."""
        return MemberNames.of(self.member, self.keys)


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
def list_tars(options: IndexOptions, attributes: tuple[str, ...], again: bool = False) -> Tars:
    """List the tars to index.

    Args:
        again: whether they are to be written again, which compressed ones can be, where `unpacking` reads them.

    Raises:
        DataError: nothing there, no tar, or compressed ones.
    """
    uri, pattern = cut_pattern(options.index.rstrip("/"))
    where = f"--index {options.index}"
    fs, root = storage_of(uri)
    found = (
        {p[len(root) + 1 :]: int(i["size"]) for p, i in fs.find(root, detail=True).items()} if fs.isdir(root) else {}
    )
    names = chosen(found, pattern, where) if found else []
    packed = [name for name in names if re.search(r"\.(tar\.\w+|tgz|tbz2?|txz)$", name)]
    if unread := [name for name in packed if not (again and unpacking.is_read(name))]:
        tool = _UNPACK.get(unread[0].rpartition(".")[2], "its program")
        many = f"{counted(len(unread), 'compressed tar')} ({some(unread, 1)}), which cannot be read in parts"
        fix = f"Unpack them: {tool} leaves a .tar."
        if all(map(unpacking.is_read, packed)):
            fix += " Or write their samples anew: --rewrite --out data/NAME."
        raise DataError(where, many, ".tar", fix)
    sizes = {name: found[name] for name in names if name.endswith(".tar") or name in packed}
    if not sizes:
        ends = Counter(name.rpartition("/")[2].rpartition(".")[2] for name in names if "." in name)
        shown = ", ".join(f"{n} .{end}" for end, n in ends.most_common(3))
        nothing = "a folder without files" if fs.isdir(root) else "nothing at that place, or not a folder"
        has = f"{counted(len(names), 'file')}, none of them a tar ({shown})" if names else nothing
        raise DataError(where, has, "a folder of .tar shards", corrected(uri))
    digest = sha256(json.dumps([sizes, options.domains, attributes, *options.names.said]).encode())
    return Tars(uri, str(fs.unstrip_protocol(root)), sizes, digest)


# ---- the data set ----


@dataclass(frozen=True)
class Kept:
    """Hold the samples that are taken, each with its tar's name; how they are labelled; and what is left out."""

    rows: list[tuple[str, Sample]]
    labels: LabelColumns | None
    left_out: list[tuple[str, Fault]]
    sets: dict[str, tuple[str, str]]
    """Split (empty: none is named) and domain of each tar, by its name."""

    @property
    def unpaired(self) -> bool:
        """Tell whether the samples are single images of two domains."""
        return "image" in self.rows[0][1].images and self.labels is None

    @property
    def lines(self) -> list[str]:
        """What is left out, a line each."""
        return [_line(*one) for one in self.left_out]


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
    kept = kept_of(tars, scanned, options, attributes, bad)
    labels, fields = kept.labels, fields_of([sample for _, sample in kept.rows])
    to_write: list[ToWrite] = []
    for name, rows in groupby(kept.rows, key=lambda row: row[0]):
        (split, domain), samples = kept.sets[name], [row[1] for row in rows]
        shard = replace(scanned[name].shard, name=tars.prefix(out) + name, samples=len(samples))
        where, index = (split or "train", domain if kept.unpaired else WHOLE), _index(samples, fields, labels)
        to_write.append((where, index_name(name), FinishedShard(shard, fields), index))
    manifest = Manifest(
        fields=fields,
        splits=_written(output, to_write, len(labels.names) if labels else 0),
        attributes=labels.names if labels else (),
        exclusive=bool(labels and labels.exclusive),
        domains=("A", "B") if kept.unpaired else (WHOLE,),
        made_by={
            "index": to_dict(options)["domains"],
            "left_out": kept.lines,
            "left_out_counts": dict(Counter(fault.kind for _, fault in kept.left_out).most_common()),
            "indexed": tars.digest,
            **({"labels": labels_in} if (labels_in := labels_of(options, labels)) else {}),
        },
    )
    old = _old_indexes(output, tars.apart(out))
    output.write(MANIFEST, manifest.dumps().encode())
    output.remove(PARTS, *(old - {name for _, name, _, _ in to_write}))
    output.remove_left()
    return manifest


def labels_of(options: IndexOptions, labels: LabelColumns | None) -> dict[str, object]:
    """Say where the labels stand, for whoever writes others: in which members, and in which entry of them. Empty where
    they stand in WebDataset's own way."""
    entry = options.names.entry or (labels.entry if labels else "")
    members = options.names.labels if labels else ()
    return {key: value for key, value in (("members", members), ("entry", entry)) if value}


def kept_of(
    tars: Tars,
    scanned: Mapping[str, Scanned],
    options: IndexOptions,
    attributes: tuple[str, ...],
    bad: str,
    again: bool = False,
    by_folder: bool = True,
) -> Kept:
    """Decide which samples are taken, and how they are labelled.

    Args:
        again: whether they are to be written again, so that their images may differ.
        by_folder: whether the folder's own name says the split of tars whose names say none.

    Raises:
        DataError: as `finish_index`.
    """
    full = [name for name in tars.sizes if scanned[name].samples or scanned[name].left_out]
    of_folder = SPLITS.get(tars.uri.rstrip("/").rpartition("/")[2].lower(), "") if by_folder else ""
    said = {name: split_of(name, options.domains or ("A", "B")) for name in full}
    sets = {name: (split or of_folder, domain) for name, (split, domain) in said.items()}
    left_out = [(name, fault) for name in tars.sizes for fault in scanned[name].left_out]

    def usable(given: list[tuple[str, Sample]], faults: Sequence[Fault | None]) -> list[tuple[str, Sample]]:
        left_out.extend((name, f) for (name, _), f in zip(given, faults, strict=True) if f)
        return [row for row, fault in zip(given, faults, strict=True) if not fault]

    rows = [(name, sample) for name in sets for sample in scanned[name].samples]
    placed = [(f"{tars.uri}/{name}", sample) for name, sample in rows]
    rows = usable(rows, of_one_shape(placed, bad) if again else alike(placed, bad))
    told = {domain for _, domain in sets.values()} == {"A", "B"}
    labels: LabelColumns | None = None
    if rows and "image" in rows[0][1].images and not options.domains:
        found = read_labels([sample.label for _, sample in rows], attributes)
        faults = _label_faults([sample for _, sample in rows], found)
        if attributes or options.names.labels or not told or not any(faults):  # else annotations of two domains
            labels = found
            _check_labels(rows, labels, faults, attributes, tars.uri, bad)
            rows = usable(rows, faults)
    if not rows:
        agree_all([], [_line(*one) for one in left_out])
    check_apart(labels.names if labels else (), f"--index {tars.uri}", "attribute")
    kept = Kept(rows, labels, left_out, sets)
    if kept.unpaired:
        _check_domains(tars, {name: sets[name][1] for name, _ in kept.rows})
    return kept


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


def _label_faults(samples: Sequence[Sample], labels: LabelColumns) -> list[Fault | None]:
    """Give for each sample why it has no such label; None where it has one."""
    out: list[Fault | None] = []
    for sample, fit in zip(samples, labels.fits, strict=True):
        found = sample.label
        if fit:
            out.append(None)
        elif isinstance(found, Fault):
            out.append(found)
        else:
            said = "no json or cls" if found is None else f"labels such as {json.dumps(found)[:80]}"
            out.append(Fault(sample.key, LABELLING, said, expected=labels.expected, fix=_fix_of(found)))
    return out


def _fix_of(label: object) -> str:
    """Say how an object that is no label may hold one."""
    if not isinstance(label, dict) or not label:
        return ""
    some = ", ".join(printable(str(name))[:40] for name in [*label][:4])
    fix = f"If an entry ({some}, ...) is a class, name it: --member labels=json:ENTRY. Or name attributes that every "
    return f"{fix}sample has, with --attributes; {SKIP}."


def _check_labels(
    rows: Sequence[tuple[str, Sample]],
    labels: LabelColumns,
    faults: Sequence[Fault | None],
    attributes: tuple[str, ...],
    uri: str,
    bad: str,
) -> None:
    """Check that samples have labels. Raises DataError for the first one without; with `bad="skip"`, only if not one
    has any."""
    wrong = [(name, sample, fault) for (name, sample), fault in zip(rows, faults, strict=True) if fault]
    if not wrong or (bad == "skip" and len(wrong) < len(rows)):
        return
    name, sample, fault = wrong[0]
    if all(sample.label is None for _, sample, _ in wrong) and len(wrong) == len(rows):
        raise DataError(f"{uri}/{name}", _unlabelled(sample), _DOMAINS[0], _other_ways(rows))
    if labels.exclusive and not labels.by_name and not labels.entry and attributes and is_class(sample.label):
        fix = f"Name every class, in the order of the numbers; {SKIP}."
        found, expected = (
            f"{len(labels.names)} names",
            f"{sample.label + 1}, as in {uri}/{name}: {printable(sample.key)}",
        )
        raise DataError("--attributes", found, expected, fix)
    raise fault.error(f"{uri}/{name}")


def _unlabelled(sample: Sample) -> str:
    """Say what single images without labels have beside them."""
    return "single images without json or cls" + (", but with captions (txt)" if "txt" in sample.members else "")


def _other_ways(rows: Sequence[tuple[str, Sample]]) -> str:
    """Say what else samples without labels may be."""
    fix = _DOMAINS[1]
    if "txt" in rows[0][1].members:
        fix += " If the texts are names of classes: --member labels=txt."
    folders = {sample.key.rpartition("/")[0] for _, sample in rows}
    if len(folders) > 1 and "" not in folders:
        fix += " If the folders in the tars are classes, unpack the tars: --layout classes --input FOLDER."
    return fix
