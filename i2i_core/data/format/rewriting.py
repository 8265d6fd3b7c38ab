"""Write somebody's tars again as shards of our own: with images converted, and samples put together.

What `tar_samples.scan` has noted of the tars becomes a list of samples like that of a folder, whose files lie at
offsets of tars; `shards` plans and writes it as any other.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from i2i_core.data.folders.layouts import Found, LayoutOptions, Record, with_groups, with_splits
from i2i_core.data.format.shards import ShardOptions, finished_of
from i2i_core.data.format.tar_samples import Scanned
from i2i_core.data.format.webdatasets import IndexOptions, Kept, Tars, kept_of, labels_of
from i2i_core.errors import ConfigError, DataError
from i2i_core.fields import WHOLE, Kind
from i2i_core.images.codec import ImageOptions
from i2i_core.settings import to_dict
from i2i_core.storage.paths import sha256
from i2i_core.storage.remote import storage_of

MADE_BY = "rewritten"
"""Entry of a manifest's `made_by`: the checksum of the tars and options that it was made of."""


def check_output(tars: Tars, goal: ShardOptions) -> None:
    """Check that new shards have a place of their own. Raises ConfigError where none is named, or it lies among the
    tars."""
    if not goal.out:
        fix = "Name a new folder: --out data/NAME."
        raise ConfigError("--out", "nothing", "a folder for the new shards", fix)
    fs, out = storage_of(goal.out)
    if f"{fs.unstrip_protocol(out).rstrip('/')}/".startswith(f"{tars.root.rstrip('/')}/"):
        fix = "Name a folder outside of theirs, such as data/NAME."
        raise ConfigError("--out", f"{goal.out}, among the tars", "a folder of its own", fix)


def checksum(tars: Tars, layout: LayoutOptions, images: ImageOptions, goal: ShardOptions) -> str:
    """Give the checksum of all that new shards are made of; of the tars their names and sizes."""
    split = {"split": layout.split, "group_by": layout.group_by, "seed": layout.seed, "direction": layout.direction}
    cut = {"shard_samples": goal.shard_samples, "shard_bytes": goal.shard_bytes}
    of_images = {key: value for key, value in to_dict(images).items() if value or key not in ("window_a", "window_b")}
    return sha256(json.dumps([tars.digest, split, of_images, cut], sort_keys=True).encode())


def is_done(digest: str, out: str) -> bool:
    """Tell whether the data set at `out` was made of the same, and is whole."""
    return finished_of(out, MADE_BY) == digest


def found_in(
    tars: Tars,
    scanned: Mapping[str, Scanned],
    options: IndexOptions,
    layout: LayoutOptions,
    bad: str,
    digest: str,
) -> Found:
    """List the samples of scanned tars, each with its split.

    Raises:
        DataError: what the tars hold cannot be told, or two samples would have one key.
    """
    by_folder = layout.split == LayoutOptions.split
    kept = kept_of(tars, scanned, options, layout.names_of_attributes, bad, again=True, by_folder=by_folder)
    labels, fields = kept.labels, tuple(sorted(kept.rows[0][1].images))
    swapped = layout.direction == "BtoA"
    if swapped and labels:
        fix = "Leave --direction out; attributes have none."
        raise ConfigError("--direction", "BtoA for labelled images", "pairs or two domains", fix)
    told, read = any(split for split, _ in kept.sets.values()), fields[::-1] if swapped else fields
    records = []
    for (name, sample), key in zip(kept.rows, _keys(kept), strict=True):
        split, domain = kept.sets[name]
        domain = domain if kept.unpaired else WHOLE
        images, where = [sample.images[field] for field in read], f"{name}/{sample.key}"
        ends = [
            f"{field}.{image[2].extension}".removeprefix("image.") for field, image in zip(read, images, strict=True)
        ]
        record = Record(
            key,
            tuple(f"{where}.{end}" for end in ends),
            (split or "train") if told else None,
            {"A": "B", "B": "A"}.get(domain, domain) if swapped else domain,
            tuple(labels.row(sample.label)) if labels else (),
            sum(size for _, size, _ in images) + sum(part.size for part in sample.parts),
            tuple((part.name, f"{where}.{part.name}") for part in sample.parts),
            tar=name,
            places=(*((at, size) for at, size, _ in images), *((part.at, part.size) for part in sample.parts)),
        )
        records.append(record)
    made_by: dict[str, object] = {MADE_BY: digest}
    if labels_in := labels_of(options, labels):
        made_by["labels"] = labels_in
    kind: Kind = "unpaired" if kept.unpaired else "labelled" if labels else "paired"
    found = Found(
        kind, fields, tuple(records), "tars", (tars.root,) * len(fields), labels.names if labels else (),
        bool(labels and labels.exclusive), ("A", "B") if kept.unpaired else (WHOLE,),
        annotations_root=tars.root, left_out=tuple(kept.lines), made_by=made_by,
    )  # fmt: skip
    if layout.group_by:
        return with_groups(found, layout)
    return replace(found, records=with_splits(found.records, layout.split, layout.seed))


def _keys(kept: Kept) -> list[str]:
    """Give each sample a key without dots that no other of its split and domain has: its own, or the tar's name before
    it where keys of tars are equal."""
    own = [_without_dots(sample.key) for _, sample in kept.rows]
    sets = [kept.sets[name] for name, _ in kept.rows]
    if _are_different(zip(sets, own, strict=True)):
        return own
    tars = [_without_dots(name.removesuffix(".tar")) for name, _ in kept.rows]
    with_tar = [f"{tar}/{key}" for tar, key in zip(tars, own, strict=True)]
    if not _are_different(zip(sets, with_tar, strict=True)):
        twice, _ = Counter(with_tar).most_common(1)[0]
        names = [s.key for (_, s), key in zip(kept.rows, with_tar, strict=True) if key == twice][:2]
        found = f"keys {' and '.join(names)}, which would both be {twice}"
        raise DataError("--index", found, "names that differ in more than dots", "Rename one of the two.")
    return with_tar


def _are_different(keys: Iterable[tuple[tuple[str, str], str]]) -> bool:
    listed = [*keys]
    return len({*listed}) == len(listed)


def _without_dots(key: str) -> str:
    folder, slash, last = key.rpartition("/")
    return folder + slash + last.replace(".", "_")
