"""Write a split of a data set again with one image of every sample replaced: a refined data set.

Every other member of a sample (labels, annotations, the other side of a pair) is carried over byte for byte, and so
are the other domain's shards. Shards and samples keep their names and their order. Shards are written one by one and
left as parts, as in `shards`, so that a job that was stopped goes on.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, takewhile
from typing import IO, Any

import numpy as np

from i2i_core.batch import Bad
from i2i_core.data.format.index import Index, NewIndex
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.places import MOST_SHOWN
from i2i_core.data.format.shards import FinishedShard, Hashed, add, agree, published, tar_of
from i2i_core.data.format.table import Shard
from i2i_core.data.format.tar_names import LABELS
from i2i_core.data.format.tars import HashedReader, tar_members
from i2i_core.errors import ConfigError, DataError
from i2i_core.fields import Field
from i2i_core.images.codec import Encoding, encode
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import sha256

ENCODERS: dict[str, Encoding] = {"png": "png", "npy": "npy", "jpg": "jpg", "jpeg": "jpg", "webp": "webp"}
_BLOCK = 1 << 20


@dataclass(frozen=True)
class RefinedShard:
    """Describe a shard to write, from the rows start to stop of its shard set's index."""

    name: str
    split: str
    domain: str
    source: Shard
    start: int
    stop: int
    copied: bool
    """True for the other domain's shards, which stay as they are."""


@dataclass(frozen=True)
class Refined:
    """Describe a data set to write from a split of another; equal digests mean equal bytes."""

    column: int
    """Column, in the index, of the image that is replaced."""
    jobs: tuple[RefinedShard, ...]
    made_by: dict[str, Any]
    digest: str


@dataclass(frozen=True)
class Made:
    """Hold what takes an image's place: the bytes of its file, its entry in the manifest, and the sample's labels."""

    data: bytes
    field: Field
    labels: tuple[int, ...]


Replace = Callable[[Sequence[int]], Mapping[int, Made | Bad]]
"""From rows of the index to what takes their images' place, or why nothing does."""


def plan_refined(
    data: DataSet, split: str, domain: str, column: int, made_by: dict[str, Any], most: int = 0
) -> Refined:
    """Plan the shards of a refined data set.

    Args:
        domain: whose images are replaced.
        column: which image of a sample, as a column of the index.
        made_by: what the new images depend on besides the old ones.
        most: only the first so many samples; 0: all.
    """
    sets, jobs = data.manifest.splits[split], []
    names = iter(output_names([shard for _, shard_set in sorted(sets.items()) for shard in shard_set.shards]))
    for owner, shard_set in sorted(sets.items()):
        copied, start = owner != domain, 0
        for shard in shard_set.shards:
            name, stop = next(names), start + shard.samples
            last = stop if copied or not most else min(stop, most)
            if last > start:
                jobs.append(RefinedShard(name, split, owner, shard, start, last, copied))
            start = stop
    about = {**made_by, "data": data.manifest.fingerprint, "split": split, "domain": domain, "most": most}
    digest = sha256(json.dumps([about, column], sort_keys=True).encode())
    labels = data.manifest.made_by.get("labels")  # where they stand, which stays so
    return Refined(column, tuple(jobs), {"refined": about, **({"labels": labels} if labels else {})}, digest)


def output_names(shards: Sequence[Shard]) -> list[str]:
    """Name shards in one folder: shards of other folders, and URLs relative to the folder they share, have `/` made
    `-`."""
    parts = [shard.name.split("/") for shard in shards]
    folders = zip(*(p[:-1] for p, shard in zip(parts, shards, strict=True) if "://" in shard.name), strict=False)
    common = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, folders))
    names = ["-".join(p[common:] if "://" in s.name else p) for p, s in zip(parts, shards, strict=True)]
    owner: dict[str, str] = {}
    for name, shard in zip(names, shards, strict=True):
        if owner.setdefault(name, shard.name) != shard.name:
            found = f"shards {owner[name]} and {shard.name}, which would both be {name}"
            raise DataError("--input", found, "names that differ in one folder", "Rename one of them and index again.")
    return names


def check_stored(field: Field, name: str) -> None:
    """Check that images of a field can be written, not only read. Raises ConfigError where they cannot."""
    if field.extension not in ENCODERS:
        fix = "Shard them again with `python pipelines/shard.py`."
        raise ConfigError(name, f"images stored as {field.extension}", ", ".join(ENCODERS), fix)


def stored(x_HWC: np.ndarray, like: Field) -> tuple[bytes, Field]:
    """Encode an image in the format that the field's images have. Gives the bytes and the image's entry in the
    manifest."""
    height, width, channels = x_HWC.shape
    data = encode(x_HWC, ENCODERS[like.extension])
    return data, replace(like, channels=channels, dtype=str(x_HWC.dtype), height=height, width=width)


def write_refined(out: str, data: DataSet, image: int, job: RefinedShard, images: Replace, batch: int) -> FinishedShard:
    """Write one shard and its part.

    Args:
        image: column of the index of the image that is replaced.
        images: called with `batch` rows at a time.

    Raises:
        DataError: the shard is not what the manifest says, or new images do not agree.
    """
    attributes = len(data.manifest.attributes)
    if job.copied:
        return published(Folder(out), job.name, lambda file: _copied(file, data, job), attributes)
    return published(Folder(out), job.name, lambda file: _refined(file, data, image, job, images, batch), attributes)


def _copied(file: IO[bytes], data: DataSet, job: RefinedShard) -> tuple[FinishedShard, Index]:
    hashed = Hashed(file)
    with data.fs.open(data.path(job.source.name), "rb") as source:
        while block := source.read(_BLOCK):
            hashed.write(block)
    _check_sum(data, job, hashed.hash.hexdigest())
    part = FinishedShard(replace(job.source, name=job.name), data.manifest.fields, job.name)
    return part, _index_of(data, job)


def _index_of(data: DataSet, job: RefinedShard) -> Index:
    """Give the index of the shard that a new one is made of."""
    rows = data.rows(job.split, job.domain)
    return rows.shard(int(rows.locate([job.start])[0][0]))


def _check_sum(data: DataSet, job: RefinedShard, found: str) -> None:
    if found != job.source.sha256:
        fix = "Copy the data set again, or make it again with `python pipelines/shard.py`."
        raise DataError(data.url(job.source.name), "other bytes than the manifest's checksum", "the same", fix)


@dataclass(frozen=True)
class _Sample:
    row: int
    key: str
    members: list[tuple[str, int | None, bytes]]
    """Name, column of the index (None: no image of the data set's), data; in the order of the tar."""


def _refined(
    file: IO[bytes], data: DataSet, image: int, job: RefinedShard, images: Replace, batch: int
) -> tuple[FinishedShard, Index]:
    part, rows = FinishedShard(Shard(job.name, 0, 0, "")), NewIndex()
    hashed, index = Hashed(file), _index_of(data, job)
    labels = index.labels(len(data.manifest.attributes))
    clips = None if index.clips is None else np.repeat(np.arange(len(index.clips)), index.clips)
    fields, replaced = list(data.manifest.fields), list(data.manifest.fields)[image]
    with tar_of(hashed) as tar:
        for some in _chunks(_samples(data, job, index), batch):
            made = images([sample.row for sample in some])
            for sample in some:
                new = made[sample.row]
                if isinstance(new, Bad):
                    part.left_out.append(f"{new.key}: {new.cause}")
                    continue
                at, places = sample.row - job.start, {}
                for name, column, old in sample.members:
                    name, content = _member(name, column, old, image, new, data, labels[at])
                    places[column] = add(tar, sample.key, name, content)
                now = {name: new.field if name == replaced else f for name, f in data.manifest.fields.items()}
                part = replace(part, fields=agree(part.fields, now, part.example, sample.key))
                part = replace(part, example=part.example or sample.key)
                # a frame that is left out ends a run of frames
                clip = None if clips is None else (clips[at], at - len(rows.keys))
                rows.append(sample.key, [places[c] for c in range(len(fields))], new.labels, clip)
    shard = Shard(job.name, len(rows.keys), hashed.bytes, hashed.hash.hexdigest())
    return replace(part, shard=shard), rows.done()


def _member(
    name: str, column: int | None, old: bytes, replaced: int, new: Made, data: DataSet, labels: np.ndarray
) -> tuple[str, bytes]:
    """Name and content that a member has in the new sample."""
    if column == replaced:
        first, _, ending = name.rpartition(".")
        kept = ending.lower() == new.field.extension
        return (name if kept else f"{first}.{new.field.extension}".lstrip(".")), new.data
    members, entry = labels_in(data)
    if name.lower() in members and data.manifest.attributes and tuple(labels.tolist()) != new.labels:
        try:
            return name, relabelled(old, data.manifest.attributes, new.labels, entry)
        except (ValueError, RecursionError) as error:
            fix = "Put its tars into one folder without manifest.json, and index them again: shard.py --index FOLDER."
            found = f"a member {name[:MOST_SHOWN]!r} that holds no labels ({error})"
            raise DataError(f"data {data.uri}", found, "the labels that were indexed", fix) from None
    return name, old


def labels_in(data: DataSet) -> tuple[tuple[str, ...], str]:
    """Name the members of samples that hold labels, and the entry of a json that holds the class: as the manifest says
    of tars that were indexed."""
    said = data.manifest.made_by.get("labels")
    said = said if isinstance(said, dict) else {}
    members, entry = said.get("members", LABELS), said.get("entry", "")
    members = members if isinstance(members, list | tuple) else LABELS
    return tuple(map(str, members)), entry if isinstance(entry, str) else ""


def relabelled(old: bytes, attributes: Sequence[str], labels: Sequence[int], entry: str = "") -> bytes:
    """Rewrite a member that holds labels with others: of an object the attributes change, or the entry that holds the
    class; else the number or the name of the class does. Raises ValueError or RecursionError where it holds neither."""
    try:
        value = json.loads(old)
    except ValueError:
        value = old.decode().strip()
        if value in attributes:
            return attributes[list(labels).index(1)].encode()
        raise
    if isinstance(value, dict) and not entry:
        return json.dumps({**value, **dict(zip(attributes, map(int, labels), strict=True))}).encode()
    number = list(labels).index(1)
    if not isinstance(value, dict):
        return json.dumps(attributes[number] if isinstance(value, str) else number).encode()
    named = isinstance(value.get(entry), str)
    return json.dumps({**value, entry: attributes[number] if named else number}).encode()


def _samples(data: DataSet, job: RefinedShard, index: Index) -> Iterator[_Sample]:
    """Give the samples of a shard that the index lists, in its order.

    Raises:
        DataError: the shard is not the one that was indexed.
    """
    rows = range(job.start, job.stop)
    columns = {int(offset): (row, c) for row in rows for c, offset in enumerate(index.offset[row - job.start])}
    seen = 0
    with data.fs.open(data.path(job.source.name), "rb") as file:
        reading = HashedReader(file)
        try:
            for key, members in groupby(tar_members(reading), key=lambda member: member[0]):
                kept = [(name, info.offset_data, content) for _, name, info, content in members]
                found = [columns[offset][0] for _, offset, _ in kept if offset in columns]
                if found:
                    seen += 1
                    named = [(name, columns[at][1] if at in columns else None, content) for name, at, content in kept]
                    yield _Sample(found[0], key, named)
        except tarfile.TarError:
            _check_sum(data, job, "")
        reading.drain()
    _check_sum(data, job, reading.hash.hexdigest())
    assert seen == len(rows), "bytes of that checksum hold the samples of that index"


def _chunks(samples: Iterator[_Sample], size: int) -> Iterator[list[_Sample]]:
    some: list[_Sample] = []
    for sample in samples:
        some.append(sample)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some
