"""Write samples into WebDataset shards, with an index of each and a manifest.

`plan` says which samples go into which shard; it depends on the input and the options only. Each
shard is then written on its own (`write_shard`), by whoever and in whatever order, with its index, and leaves a
part in `_parts/` when it is done. `finish` makes the parts a manifest. A job that is killed leaves parts and no
manifest; the same job again goes on from the parts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, TypedDict

import numpy as np

from i2i_core import strict
from i2i_core.data.folders.declared import Declared
from i2i_core.data.folders.layouts import DRAWN, Found, LayoutOptions, Reading, Record, order
from i2i_core.data.format.index import Index, NewIndex
from i2i_core.data.format.loaded import loaded
from i2i_core.data.format.manifest import MANIFEST, MOST_MANIFEST, DataSet, Manifest
from i2i_core.data.format.mixed import Channels, MixedError, check_channels, holding_all, own, stored_with
from i2i_core.data.format.places import MOST_SHOWN, no_file_name
from i2i_core.data.format.roles import MisfitError, Value, check_sample, check_value, encode_value, read_value
from i2i_core.data.format.table import BLOCK, ClipCounts, IndexFile, IndexFiles, Shard, Shards, ShardSet
from i2i_core.data.worlds import glyphs
from i2i_core.data.worlds.streets import samples as streets
from i2i_core.errors import ConfigError, DataError, ResourceError, counted
from i2i_core.fields import WHOLE, Field, Kind, with_sizes
from i2i_core.images.codec import ImageOptions, Picture, decode_picture, deepened, encode, prepare, storage
from i2i_core.images.scanner import ShallowError, read_windowed
from i2i_core.names import printable, shortened
from i2i_core.settings import check_at_least, check_numbers, flag, from_dict, setting, to_dict
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import sha256, special
from i2i_core.storage.remote import is_local, storage_of
from i2i_core.storage.retry import AT_START, patient_for

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from webdataset.writer import TarWriter

INDEX = "index"
"""Sub-folder of a data set: an index of each shard."""
PARTS = "_parts"
"""Sub-folder of an unfinished data set: `plan.json`, and a record of each finished shard."""

WITHOUT_PARTNER = "without_partner.txt"
"""File of a data set of pairs or of a list: the images, and rows, that were left out, each a line below a heading."""
_HEADING = b"# images without a partner"
_OF_PAIRS, _OF_LISTS = b", which --common-only left out\n", b", and rows of the list without an image\n"
"""Ends of the heading."""

SAMPLES_AT_ONCE = 32
"""Samples whose files are fetched together."""

OF_VERSION_1 = re.compile(r"(train|val|test)(-[AB])?\.index\.npz")
"""Names of indexes in version 1."""
UNEQUAL = 0.02
"""Share by which the shapes (width over height) of a sample's images may differ without a word."""
MOST_INDEX_NAME = 200
_OURS = re.compile(rf"(train|val|test)(-[AB])?-\d{{6}}\.tar|{OF_VERSION_1.pattern}")
"""Names that shard.py gives in a data set\'s own folder: shards, and indexes of version 1."""


@dataclass(frozen=True)
class ShardOptions:
    """Say where a data set goes, and how it is cut into shards."""

    out: str = ""
    """Folder or fsspec URL for the data set."""
    shard_samples: int = setting(1024, most=10_000_000)
    """Samples in a shard."""
    shard_bytes: int | None = None
    """Approximate bytes in a shard, in place of --shard-samples; the first samples give the estimate."""
    bad: Literal["stop", "skip"] = "stop"
    """Response to an image that cannot be read: stop the job, or skip the sample, which the job names and counts."""
    overwrite: bool = False
    """Replace a data set, or an unfinished one, that was made with other options."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 1, "shard_samples")
        if self.shard_bytes is not None:
            check_at_least(self, 1, "shard_bytes")


@dataclass(frozen=True)
class Recipe:
    """Hold all that turns a record into the members of its sample; the same for every shard."""

    kind: Kind
    fields: tuple[str, ...]
    reader: Reading
    roots: tuple[str, ...]
    attributes: tuple[str, ...]
    images: ImageOptions
    size: int
    colour: bool
    white_paper: bool
    seed: int
    """Seed; this and the three above are of glyphs."""
    annotations_root: str = ""
    declared: tuple[Declared, ...] = ()
    """Declarations of `fields`; none: images."""
    channels: Channels = field(default_factory=dict)
    """Channels of fields whose images differ in channels, found while they are written (mixed.py)."""

    def side(self, record: Record, i: int) -> str:
        """Name the side of a source, `a` or `b`: its domain's, or its field's; of samples without sides, the field."""
        return self.fields[i] if record.domain == WHOLE else record.domain.lower()

    def images_of(self, name: str, domain: str) -> ImageOptions:
        """Give what happens to the images of a field, in a domain."""
        if self.images.channels_b is not None and "b" in (name, domain.lower()):
            return replace(self.images, channels=self.images.channels_b)
        channels = self.channels.get(name)
        return stored_with(self.images, channels) if channels else self.images

    def field_of(self, field: Field, domain: str) -> Field:
        """Describe an image of either domain as the manifest does, which describes both at once."""
        k = self.images
        if domain == WHOLE or k.channels is None or k.channels_b in (None, k.channels):
            return field
        apart = (k.channels_b or 0) - k.channels  # both have transparency, or neither
        a = field.channels if domain == "A" else field.channels - apart
        return replace(field, channels=a, channels_b=a + apart)


@dataclass(frozen=True)
class ShardJob:
    """Describe one shard to write: its name and its samples, in their order."""

    name: str
    split: str
    domain: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Plan:
    """Describe all shards of a data set. Equal input and options give an equal `digest`."""

    recipe: Recipe
    jobs: tuple[ShardJob, ...]
    exclusive: bool
    domains: tuple[str, ...]
    made_by: dict[str, Any]
    digest: str
    lone: tuple[str, ...] = ()
    """Places of images that `--common-only` leaves out; of a list, also its rows."""
    left_out: tuple[str, ...] = ()
    """Samples that could not be used, known before any shard is written; a line each."""

    @property
    def samples(self) -> int:
        """Samples of all shards together."""
        return sum(len(job.records) for job in self.jobs)


class Goes(Protocol):
    """Describe where a shard to write belongs."""

    @property
    def name(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def domain(self) -> str: ...


class ShardWork(Protocol):
    """Describe a data set to write; equal digests mean equal bytes."""

    @property
    def digest(self) -> str: ...
    @property
    def jobs(self) -> Sequence[Goes]: ...
    @property
    def made_by(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class FinishedShard:
    """Record a finished shard: all that the manifest says of it."""

    shard: Shard
    fields: dict[str, Field] = field(default_factory=dict)
    example: str = ""
    """A file of this shard, to name when shards disagree."""
    left_out: list[str] = field(default_factory=list)
    index: IndexFile = field(default_factory=lambda: IndexFile("", 0, ""))
    labels: tuple[int, ...] = ()
    """Samples with each attribute."""
    clips: int = 0
    shortest: int = 0
    """Count its clips, and the rows of the shortest of them."""
    transparent: int = 0
    """Samples with transparent pixels that were laid over the background."""
    converted: int = 0
    """Samples that were stored with more channels than they had, as the others have them."""
    animated: int = 0
    """Samples with images of several frames, of which the first was taken."""
    unequal: int = 0
    """Samples whose images differ in shape (width over height), so that cuts of them do not show the same."""
    indexed: dict[str, int] = field(default_factory=dict)
    faint: dict[str, int] = field(default_factory=dict)
    """Images with a palette, and grey ones of low values alone, by field (and domain): they may be label maps."""

    def dumps(self) -> bytes:
        """Write it as JSON, which `loads` reads."""
        return (json.dumps(asdict(self)) + "\n").encode()

    @staticmethod
    def loads(data: bytes) -> FinishedShard:
        """Read what `dumps` wrote. Raises ValueError or ConfigError where it is of another form, as that of an earlier
        release."""
        values = strict.loads(data)
        if not isinstance(values, dict) or values.keys() != FinishedShard.__dataclass_fields__.keys():
            raise ValueError("a part of another form")
        return from_dict(FinishedShard, values)

    def is_of(self, name: str) -> bool:
        """Tell whether it is the part of the shard of that name, and names no other file."""
        index = index_name(name) if self.shard.samples else ""
        return (self.shard.name, self.index.name) == (name, index)


_PLACES = ("input", "input_b", "labels_list", "pair_table", "annotations", "list_left_out")
"""Options of layouts that a manifest does not name: places, and annotations as they were typed."""
_SINCE = ("group_by", "common_only", "pair_pattern", "stacked")
"""Options of layouts that came later: a manifest names those that were given."""


class _MadeBy(TypedDict, total=False):
    made_by: dict[str, Any]


class _Note(TypedDict, total=False):
    plan: str
    old: list[str]
    failed: bool


class BadImageError(Exception):
    """Name an image that cannot be used, and the cause."""


class _SpecialFileError(Exception):
    """Say what kind of special file stands where an image should: it is not opened."""


# ---- planning ----


def plan(
    found: Found, layout: LayoutOptions, glyph: glyphs.GlyphOptions, images: ImageOptions, shards: ShardOptions
) -> Plan:
    """Plan the shards of a data set: order the samples of each split and domain by the seed, and cut them into equal
    runs.

    Raises:
        DataError: there are no samples, or one whose name no file can have.
    """
    if not found.records:
        raise DataError(f"--layout {layout.layout}", "no sample", "at least one", "Check --input.")
    for record in found.records:
        if wrong := no_file_name(record.key):
            where, name = f"--input {layout.input}", shortened(record.key, MOST_SHOWN)
            raise DataError(where, f"{wrong} ({name!r})", "names that any reader can read", "Rename the file.")
    if images.channels_b is not None and (found.declared or found.kind not in ("paired", "unpaired")):
        fix = "Leave it out; --channels holds for all images."
        raise ConfigError("--channels-b", f"it beside --layout {layout.layout}", "pairs, ab or unpaired", fix)
    if images.window and (found.declared or found.reader in DRAWN):
        fix = "Leave it out." if found.reader in DRAWN else "Give the field's own: --range NAME=LOW:HIGH."
        raise ConfigError("--window", f"it beside --layout {layout.layout}", "another layout", fix)
    if images.one_sided and (found.declared or found.reader != "files" or found.kind not in ("paired", "unpaired")):
        name = flag("window_a" if images.window_a else "window_b")
        raise ConfigError(name, f"it beside --layout {layout.layout}", "pairs or unpaired", "Give --window, for all.")
    recipe = Recipe(
        found.kind, found.fields, found.reader, found.roots, found.attributes, images,
        glyph.size, glyph.in_colour, glyph.white_paper, layout.seed, found.annotations_root,
        found.declared,
    )  # fmt: skip
    groups = _shuffled(found.records, layout.seed)
    most = shards.shard_samples
    if shards.shard_bytes is not None:
        most = _samples_in(shards.shard_bytes, recipe, max(groups.values(), key=len))
    if found.clip_overlap >= most:
        fix = "Give --clip-overlap less, or --shard-samples more."
        raise ConfigError("--clip-overlap", str(found.clip_overlap), f"less than a shard's {most} samples", fix)
    made_by = {**_made_by(layout, glyph, images, most), **found.made_by}
    if found.declared:
        made_by["fields"] = {one.name: one.as_json() for one in found.declared}
        made_by["clip_overlap"] = found.clip_overlap
    jobs = tuple(
        job
        for (split, domain), group in sorted(groups.items())
        for job in _jobs(split, domain, group, most, found.clip_overlap)
    )
    digest = _digest(found, jobs, made_by)
    return Plan(recipe, jobs, found.exclusive, found.domains, made_by, digest, found.lone, found.left_out)


def _shuffled(records: Iterable[Record], seed: int) -> dict[tuple[str, str], list[Record]]:
    """Order the samples of each split and domain by the seed; clips as wholes, with their frames in order."""
    groups: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        groups[record.split or "train", record.domain][record.clip or record.key].append(record)
    return {
        which: [record for name in order(group, "shuffle", seed, *which) for record in group[name]]
        for which, group in groups.items()
    }


def _jobs(split: str, domain: str, records: Sequence[Record], most: int, overlap: int) -> Iterator[ShardJob]:
    prefix = set_name(split, domain)
    for number, some in enumerate(_packed(records, most, overlap)):
        yield ShardJob(f"{prefix}-{number:06d}.tar", split, domain, tuple(some))


def _packed(records: Sequence[Record], most: int, overlap: int) -> Iterator[Sequence[Record]]:
    """Cut samples into runs of at most so many. A clip that does not fit begins the next run; one that fits in none is
    cut into parts, each of which begins with the last `overlap` frames of the one before."""
    if not records[0].clip:
        for start in range(0, len(records), most):
            yield records[start : start + most]
        return
    some: list[Record] = []
    for _, frames in groupby(records, key=lambda record: record.clip):
        for part in _parts(list(frames), most, overlap):
            if len(some) + len(part) > most and some:
                yield some
                some = []
            some.extend(part)
    yield some


def _parts(frames: list[Record], most: int, overlap: int) -> Iterator[list[Record]]:
    start = 0
    while True:
        yield frames[start : start + most]
        if start + most >= len(frames):
            return
        start += most - overlap


def set_name(split: str, domain: str) -> str:
    """Name a shard set: its split, and its domain where there are two."""
    return split if domain == WHOLE else f"{split}-{domain}"


_SINCE_IMAGES = ("window", "window_a", "window_b", "channels_b")
"""Options of images that a manifest names where they are given: older data sets have none of them."""


def _made_by(layout: LayoutOptions, glyph: glyphs.GlyphOptions, images: ImageOptions, most: int) -> dict[str, Any]:
    """List the options that shape the data set. The places of input and output are left out: a copy is equal."""
    kept = {key: value for key, value in to_dict(layout).items() if key not in _PLACES}
    kept |= {"annotations": list(layout.endings)} if layout.endings else {}
    kept = {key: value for key, value in kept.items() if value or key not in _SINCE}
    drawn = {"glyphs": to_dict(glyph)} if layout.layout == "glyphs" else {}
    of_images = {key: value for key, value in to_dict(images).items() if value or key not in _SINCE_IMAGES}
    if not images.load_size:
        of_images["fit"] = "square"  # of images that keep their size every fit is the same: it is called as it ever was
    return {"layout": kept, **drawn, "images": of_images, "shard_samples": most}


def _digest(found: Found, jobs: tuple[ShardJob, ...], made_by: dict[str, Any]) -> str:
    head = [made_by, found.kind, found.fields, found.reader, found.attributes, found.exclusive, found.domains]
    total = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for job in jobs:
        total.update(json.dumps([job.name, [_row(record) for record in job.records]]).encode())
    return total.hexdigest()


def _row(record: Record) -> list[Any]:
    row = [record.key, record.sources, record.labels, record.bytes]
    row += [record.annotations] if record.annotations else []
    row += [record.tar, record.places] if record.tar else []
    return [*row, record.clip] if record.clip else row


def _samples_in(shard_bytes: int, recipe: Recipe, records: Sequence[Record]) -> int:
    """Estimate how many samples make about `shard_bytes`, from the mean of the first ones that can be read."""
    sizes = []
    for record, files in _read(recipe, records[:SAMPLES_AT_ONCE]):
        if not isinstance(files, BadImageError):
            with suppress(BadImageError):
                members = _members(recipe, record, files)[1]
                sizes.append(sum(BLOCK + _padded(len(data)) for data in members.values()))
    return max(1, int(shard_bytes / np.mean(sizes))) if sizes else ShardOptions.shard_samples


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


# ---- where it goes ----


def output_at(uri: str) -> Folder:
    """Open the folder of a data set being written. Raises DataError when none is named."""
    if not uri:
        raise DataError("--out", "nothing", "a folder or URL", "Name it with --out.")
    return Folder(uri)


@patient_for(AT_START)
def begin(plan: ShardWork, out: str, overwrite: bool = False) -> dict[str, FinishedShard] | None:
    """Get the output ready for a job.

    Returns the shards that are done already, by name; None if the data set is finished.

    Raises:
        DataError: something else is there.
        ResourceError: it cannot be written to.
    """
    output = output_at(out)
    check_index_folder(output, "--out")
    try:
        if _finished(plan, output, overwrite):
            return None
        _clear_for(plan, output, overwrite)
        output.write_json(f"{PARTS}/plan.json", {"plan": plan.digest})
    except OSError as error:
        fix = "Name a place that can be written to."
        raise ResourceError(f"--out {out}", f"writing fails ({error})", "a writable folder or URL", fix) from None
    return _done(plan, output)


def _finished(plan: ShardWork, output: Folder, overwrite: bool) -> bool:
    """Tell whether the data set of this plan is there and whole; a damaged one, or one to be overwritten, is
    removed."""
    if output.size(MANIFEST) < 0:
        return False
    made_by = written_by(output)
    same = made_by.get("plan") == plan.digest
    if same and _whole(output.url):
        output.remove(PARTS)
        return True
    if "plan" not in made_by:
        found, fix = "a data set that was not written here", "Name another place."
        raise DataError(f"--out {output.url}", found, "a new folder", fix)
    if not same and not overwrite:
        found = f"a data set made from another input or with other options ({_differences(made_by, plan.made_by)})"
        fix = "Name another place, or replace it with --overwrite."
        raise DataError(f"--out {output.url}", found, "a new folder, or the same job's", fix)
    named = _named_tars(output)
    output.write_json(f"{PARTS}/plan.json", {"plan": plan.digest, "old": sorted(named)})  # whoever is stopped goes on
    output.remove(MANIFEST)
    _remove(output, named)
    return False


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """List the options in which a finished data set differs from a plan."""
    old, new = dict(_flat({key: there[key] for key in here if key in there})), dict(_flat(here))
    found = [
        f"{key}: {old.get(key, 'not given')} there, {new.get(key, 'not given')} here"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]
    return "; ".join(found) or "the options are equal: the images or their names differ"


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give every value of nested mappings by its own key, in JSON."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield key, json.dumps(value)


def written_by(output: Folder) -> dict[str, Any]:
    """Read what the manifest there says that it was made by; {} where there is none, or it does not say."""
    with suppress(DataError):
        manifest: _MadeBy | None = output.read_json(MANIFEST, _MadeBy, most=MOST_MANIFEST)
        return manifest.get("made_by", {}) if manifest else {}
    return {}


def finished_of(out: str, name: str) -> object:
    """Give an entry of what the manifest of a data set says that it was made by; None where it is not whole."""
    output = output_at(out)
    value = written_by(output).get(name) if output.exists(MANIFEST) else None
    return value if value is not None and _whole(output.url) else None


def check_index_folder(output: Folder, flag: str) -> None:
    """Check that indexes can be written in a folder of their own. Raises DataError where a file or a link has its
    name."""
    place = output.path(INDEX)
    if output.local and (os.path.islink(place) or (os.path.exists(place) and not os.path.isdir(place))):
        what, fix = "link" if os.path.islink(place) else "file", "Rename it, or name another place with --out."
        raise DataError(f"{flag} {output.url}", f"a {what} called {INDEX}", "room for a folder of indexes", fix)


def _named_tars(output: Folder) -> set[str]:
    """Name the shards that a manifest written here lists."""
    with suppress(DataError, ConfigError):
        sets = [s for domains in DataSet(output.url).manifest.splits.values() for s in domains.values()]
        return {name for s in sets for name in s.shards.name}
    return set()


def _remove(output: Folder, tars: Collection[str]) -> None:
    """Remove what was written here: shards of these or our names, their indexes, and the list of lone images."""
    ours = [name for name in output.names() if _OURS.fullmatch(name) or name in tars]
    output.remove(*(index_name(name) for name in ours if name.endswith(".tar")), *ours)
    if output.exists(WITHOUT_PARTNER) and output.read(WITHOUT_PARTNER).startswith(_HEADING):
        output.remove(WITHOUT_PARTNER)


def _whole(uri: str) -> bool:
    """Tell whether every shard and index of a data set is there and unaltered."""
    try:
        data = DataSet(uri)
        for split in data.manifest.splits:
            data.check_shards(split)
            data.check_indexes(split)
    except DataError:
        return False
    return True


def _clear_for(plan: ShardWork, output: Folder, overwrite: bool) -> None:
    """Make room for this plan where nothing is there, its own unfinished work, or another plan's that may be removed.
    Raises DataError where something else is there."""
    note = _note(output)
    tars = [name for name in output.names() if name.endswith(".tar")]
    if note is None and tars:
        fix = "Name another place; an existing WebDataset is made a data set with --index."
        raise DataError(f"--out {output.url}", f"tar files ({tars[0]}, ...)", "a new folder", fix)
    if note is None:
        return
    if note.get("plan") == plan.digest:
        if "old" in note:
            _remove(output, [name for name in note["old"] if name.endswith(".tar")])
        return
    if not overwrite and not note.get("failed"):
        found = "an unfinished data set from another input or with other options"
        fix = "Run the first command again to finish it, name another place, or replace it with --overwrite."
        raise DataError(f"--out {output.url}", found, "a new folder, or the same job's", fix)
    done = {name.removesuffix(".json") for name in output.names(PARTS) if name.endswith(".tar.json")}
    output.remove(PARTS)
    _remove(output, done)


def _note(output: Folder) -> _Note | None:
    """Read which plan is unfinished there; None where there is no such note. A damaged one is of no plan."""
    try:
        note: _Note | None = output.read_json(f"{PARTS}/plan.json", _Note | None)
    except DataError as error:
        logger.warning(f"{error}")
        return {}
    return note


def give_up(work: ShardWork, out: str) -> None:
    """Note that the input or the options stopped this job, so that a job with others may take its place at `out`. The
    same job still goes on from its finished shards."""
    output_at(out).write_json(f"{PARTS}/plan.json", {"plan": work.digest, "failed": True})


def list_lone(plan: Plan, out: str) -> str:
    """Write the list of images without a partner into the data set's folder, and give its place."""
    output = output_at(out)
    lines = "".join(f"{printable(place)}\n" for place in plan.lone)
    heading = _HEADING + (_OF_PAIRS if plan.recipe.kind == "paired" else _OF_LISTS)
    output.write(WITHOUT_PARTNER, heading + lines.encode())
    return output.at(WITHOUT_PARTNER)


def _done(plan: ShardWork, output: Folder) -> dict[str, FinishedShard]:
    """Give the finished shards of an earlier run of this plan."""
    there = output.names(PARTS)
    done = {}
    for job in plan.jobs:
        if f"{job.name}.json" in there:
            with suppress(ValueError, ConfigError):
                part = FinishedShard.loads(output.read(f"{PARTS}/{job.name}.json"))
                files = (part.shard, part.index) if part.shard.samples else ()
                if part.is_of(job.name) and all(output.size(file.name) == file.bytes for file in files):
                    done[job.name] = part
    return done


# ---- writing ----


class Hashed:
    """Write to a file, and keep the length and the checksum of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hash, self.bytes = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        """Write some bytes, and count them in."""
        self.hash.update(data)
        self.bytes += len(data)
        return self.file.write(data)


def write_shard(out: str, recipe: Recipe, job: ShardJob, bad: str) -> FinishedShard:
    """Write one shard, its index and its part. The same arguments always give the same bytes.

    Raises:
        DataError: an image that cannot be read (with `bad="stop"`), or images that do not agree.
    """
    attributes, output = len(recipe.attributes), output_at(out)
    while True:
        try:
            return published(output, job.name, partial(_write_tar, recipe=recipe, job=job, bad=bad), attributes)
        except MixedError as mixed:
            recipe = replace(recipe, channels=mixed.channels)


def published(
    output: Folder, name: str, write: Callable[[IO[bytes]], tuple[FinishedShard, Index]], attributes: int
) -> FinishedShard:
    """Put what `write` makes of a new file in place as a shard of that name, unless it is empty, with its index; then
    its part."""
    temporary = output.beside(name, PARTS)
    try:
        with temporary:
            part, index = write(temporary)
        if part.shard.samples:
            output.publish(temporary.name, name)
    finally:
        output.discard(temporary.name)
    if part.shard.samples:
        part = indexed(output, index_name(name), part, index, attributes)
    output.write(f"{PARTS}/{name}.json", part.dumps())
    return part


def index_name(tar: str) -> str:
    """Name the index of a shard: after it, unless that would be too long while it is written."""
    folder, slash, name = tar.removesuffix(".tar").rpartition("/")
    return f"{INDEX}/{folder}{slash}{name if len(name.encode()) <= MOST_INDEX_NAME else sha256(name.encode())[:32]}.npz"


def indexed(output: Folder, name: str, part: FinishedShard, index: Index, attributes: int) -> FinishedShard:
    """Write the index of a shard, and say in its part what the manifest has to know of it."""
    data = index.dumps()
    output.write(name, data)
    labels = tuple(index.labels(attributes).sum(axis=0, dtype=int).tolist())
    part = replace(part, index=IndexFile(name, len(data), sha256(data)), labels=labels)
    return part if index.clips is None else replace(part, clips=len(index.clips), shortest=int(index.clips.min()))


def _write_tar(file: IO[bytes], recipe: Recipe, job: ShardJob, bad: str) -> tuple[FinishedShard, Index]:
    part, rows = FinishedShard(Shard(job.name, 0, 0, "")), NewIndex()
    hashed = Hashed(file)
    with tar_of(hashed) as tar:
        for number, (record, files) in enumerate(_read(recipe, job.records)):
            try:
                if isinstance(files, BadImageError):
                    raise files
                pictures = _pictures(recipe, files)
                before = {name: of.channels for name, of in part.fields.items()}
                check_channels(pictures, before, recipe.channels, recipe.images)
                fields, members = _members(recipe, record, files)
            except BadImageError as error:
                if bad == "stop":
                    fix = f"{_remedy(str(error.args[1]))}; --bad skip leaves such samples out."
                    wanted = "a file as --field and its like declare" if recipe.declared else "an image"
                    raise DataError(str(error.args[0]), str(error.args[1]), wanted, fix) from None
                part.left_out.append(f"{_relative(recipe, record, error.args[0])}: {error.args[1]}")
                continue
            name = _named(recipe, record, 0)
            agreed = agree(part.fields, fields, part.example, name)
            part = replace(
                part,
                fields=agreed,
                example=part.example or name,
                transparent=part.transparent + _is_laid_over(recipe, files),
                converted=part.converted
                + any(own(pictures[f], recipe.images) != n for f, n in recipe.channels.items()),
                animated=part.animated + any(x.animated for x in pictures.values()),
                unequal=part.unequal + (not recipe.declared and _differ_in_shape([*pictures.values()])),
                indexed=_counted_in(part.indexed, job, [name for name, x in pictures.items() if x.indexed]),
                faint=_counted_in(part.faint, job, [name for name, x in pictures.items() if x.faint]),
            )
            # a frame that was left out ends a run of frames
            clip = (record.clip, number - len(rows.keys)) if record.clip else None
            places = {member: add(tar, record.key, member, data) for member, data in sorted(members.items())}
            at = [places[_member_of(name, fields[name])] for name in recipe.fields]
            rows.append(record.key, at, record.labels, clip)
    shard = Shard(job.name, len(rows.keys), hashed.bytes, hashed.hash.hexdigest())
    return replace(part, shard=shard), rows.done()


_REMEDIES = {
    "where ids are": "Give --classes the number of all classes, or --ignore an id that means none, or mend it",
    "the palette does not name": "Add the colour to the file of --palette, or mend it",
    "which is of another shape": "Cut or resize the map as its picture was",
}
"""What helps against causes that hold one of these phrases."""


def _remedy(cause: str) -> str:
    return next((fix for phrase, fix in _REMEDIES.items() if phrase in cause), "Mend or remove it")


def _counted_in(counts: Mapping[str, int], job: ShardJob, names: Sequence[str]) -> dict[str, int]:
    """Count these fields of a sample, by name and domain."""
    said = [name if job.domain == WHOLE else f"{name} of {job.domain}" for name in names]
    return {**counts, **{name: counts.get(name, 0) + 1 for name in said}}


def _relative(recipe: Recipe, record: Record, place: str) -> str:
    """Name a source below the input's folder; of two folders, with its folder's name."""
    for i, source in enumerate(record.sources):
        if place == _named(recipe, record, i) and len({*recipe.roots}) > 1:
            return f"{recipe.roots[i].rstrip('/').rpartition('/')[2]}/{source}"
    return " ".join(dict.fromkeys(record.sources))


def _differ_in_shape(pictures: Sequence[Picture]) -> bool:
    """Tell whether width over height differs among images by more than rounding of a resized copy explains."""
    shapes = [x.pixels.shape[:2] for x in pictures]
    products = [(shapes[0][0] * width, height * shapes[0][1]) for height, width in shapes[1:]]
    return any(abs(one - other) > UNEQUAL * max(one, other) for one, other in products)


def _is_laid_over(recipe: Recipe, files: Files) -> bool:
    """Tell whether a sample has transparent pixels that are laid over the background."""
    return not recipe.images.keep_alpha and any(isinstance(x, Picture) and x.transparent for x in files[0])


def _pictures(recipe: Recipe, files: Files) -> dict[str, Picture]:
    return {name: x for name, x in zip(recipe.fields, files[0], strict=True) if isinstance(x, Picture)}


def tar_of(file: Hashed) -> TarWriter:
    """Open a tar without times and owners: equal members give equal bytes."""
    from webdataset.writer import TarWriter  # late: it brings torch, which flags and manifests do without

    return TarWriter(file, user="", group="", mode=0o444, mtime=0, encoder=False, keep_meta=True)


def add(tar: TarWriter, key: str, member: str, data: bytes) -> tuple[int, int]:
    """Add a member of a sample to a tar. Gives the offset and the length of its data."""
    tar.write({"__key__": key, member: data})
    return tar.tarstream.offset - _padded(len(data)), len(data)


def agree(have: dict[str, Field], new: dict[str, Field], first: str, other: str) -> dict[str, Field]:
    """Give the fields that hold for both; height and width become 0 where they differ.

    Raises:
        DataError: naming two images that differ in channels or dtype.
    """
    if not have:
        return new
    agreed = {}
    for name, a in have.items():
        b = new[name]
        if _form(a) != _form(b):
            found = f"{_kind_of(b)}, while {first} holds {_kind_of(a)}"
            fix = "Convert all of them with --channels 3 (colour) or --channels 1 (grey)."
            if not {a.channels, b.channels} <= {1, 3}:
                fix = (
                    "Give --channels 3 (or 1); beside --keep-alpha every image then has those and transparency. "
                    "Others go into different data sets."
                )
            if max(a.channels, b.channels) > 4:
                fix = "Shard them into different data sets."
            if a.dtype != b.dtype:
                fix = "Convert the files to one number of bits; or shard them into different data sets."
            elif a.channels == b.channels:
                fix = "Shard the images again, all in one format."
            if a.role != "image":
                fix = f"Give every sample a {name} of one form."
            raise DataError(other, found, "the same of every image" if a.role == "image" else "the same", fix)
        agreed[name] = with_sizes(a, b)
    return agreed


def _form(field: Field) -> tuple[object, ...]:
    """Give what must be the same of every sample's field."""
    return field.channels, field.channels_b, field.dtype, field.extension, field.shape


def _kind_of(field: Field) -> str:
    shape = (
        f"a {field.role} of shape {field.shape}"
        if field.shape
        else f"{counted(field.channels, 'channel')} of {field.dtype}"
    )
    return f"{shape} as {field.extension}"


Files = tuple[list[Picture | Value], dict[str, bytes]]
"""Values that were read, one per field: images, or values of other roles; annotations by the names of their members."""


def _read(recipe: Recipe, records: Sequence[Record]) -> Iterator[tuple[Record, Files | BadImageError]]:
    """Read the images and annotations of each record, or why they cannot be read."""
    if recipe.reader == "glyphs":
        for record in records:
            drawn = [
                glyphs.render(s, recipe.size, recipe.colour, recipe.seed, recipe.white_paper) for s in record.sources
            ]
            yield record, ([Picture(x) for x in drawn], {name: _drawing(s) for name, s in record.annotations})
        return
    if recipe.reader == "streets":
        for record in records:
            yield record, (_drawn(recipe, record), {})
        return
    places = [storage_of(root) for root in recipe.roots]
    for start in range(0, len(records), SAMPLES_AT_ONCE):
        some = records[start : start + SAMPLES_AT_ONCE]
        if recipe.reader == "tars":
            yield from _read_of_tars(recipe, some)
            continue
        columns = [_fetch(fs, [f"{root}/{r.sources[i]}" for r in some]) for i, (fs, root) in enumerate(places)]
        annotations = _annotations(recipe, some)
        for row, record in enumerate(some):
            try:
                pictures = _decoded(recipe, record, [column[row] for column in columns])
                yield record, (pictures, _readable(recipe, record, annotations[row]))
            except BadImageError as error:
                yield record, error


def _drawn(recipe: Recipe, record: Record) -> list[Picture | Value]:
    """Draw the fields of a street's sample."""
    names = [*recipe.fields] if recipe.declared else ["image"] * len(record.sources)
    drawn = [streets.drawn(name, source, recipe.seed) for name, source in zip(names, record.sources, strict=True)]
    found: list[Picture | Value] = [
        Picture(x) if name == "image" and isinstance(x, np.ndarray) else x for name, x in zip(names, drawn, strict=True)
    ]
    return _together(recipe, record, found) if recipe.declared else found


def _read_of_tars(recipe: Recipe, records: Sequence[Record]) -> Iterator[tuple[Record, Files | BadImageError]]:
    """Read the images and annotations of each record out of tars."""
    fs, root = storage_of(recipe.roots[0])
    wanted = [(f"{root}/{record.tar}", at, size) for record in records for at, size in record.places]
    starts, ends = [at for _, at, _ in wanted], [at + size for _, at, size in wanted]
    got = iter(fs.cat_ranges([path for path, _, _ in wanted], starts, ends, on_error="return"))
    for record in records:
        its = zip(islice(got, len(record.places)), record.places, strict=True)
        files = [_whole_or_error(data, size) for data, (_, size) in its]
        images, annotations = files[: len(record.sources)], files[len(record.sources) :]
        try:
            yield record, (_decoded(recipe, record, images), _readable(recipe, record, annotations))
        except BadImageError as error:
            yield record, error


def _whole_or_error(data: bytes | Exception, size: int) -> bytes | Exception:
    """Give bytes of a tar, or an error in place of those that are gone. Other errors of storage are raised."""
    if isinstance(data, bytes) and len(data) == size:
        return data
    if isinstance(data, bytes | EOFError | FileNotFoundError | PermissionError):
        return data if isinstance(data, Exception) else EOFError("the tar has become shorter")
    raise data


def _annotations(recipe: Recipe, records: Sequence[Record]) -> list[list[bytes | Exception]]:
    """Read the annotations of each record, in the order that it names them in."""
    paths = [path for record in records for _, path in record.annotations]
    if not paths:
        return [[] for _ in records]
    fs, root = storage_of(recipe.annotations_root)
    got = iter(_fetch(fs, [f"{root}/{path}" for path in paths]))
    return [list(islice(got, len(record.annotations))) for record in records]


def _readable(recipe: Recipe, record: Record, files: Sequence[bytes | Exception]) -> dict[str, bytes]:
    out = {}
    for (name, path), data in zip(record.annotations, files, strict=True):
        if isinstance(data, Exception):
            where = f"{recipe.annotations_root.removeprefix('file://')}/{path}"
            raise BadImageError(where, _unread(data))
        out[name] = data
    return out


def _drawing(source: str) -> bytes:
    """Say what a glyph shows, as JSON."""
    character, style, _ = source.split("/")
    return json.dumps({"character": character, "style": style}).encode()


def _unread(error: Exception) -> str:
    """Word the error that came in place of a file."""
    return f"a file that cannot be read ({error if isinstance(error, _SpecialFileError) else type(error).__name__})"


def _fetch(fs: Any, paths: list[str]) -> list[bytes | Exception]:
    """Read whole files at once; in place of one that is gone, locked or special stands its error. Other errors of
    storage are raised."""
    odd = {path: kind for path in paths if is_local(fs) and (kind := special(path))}
    plain = [path for path in paths if path not in odd]
    read = dict(zip(plain, fs.cat_ranges(plain, None, None, on_error="return"), strict=True))
    got: list[bytes | Exception] = [_SpecialFileError(odd[path]) if path in odd else read[path] for path in paths]
    for item in got:
        if isinstance(item, Exception) and not isinstance(
            item, FileNotFoundError | PermissionError | IsADirectoryError | _SpecialFileError
        ):
            raise item
    return got


def _decoded(recipe: Recipe, record: Record, files: list[bytes | Exception]) -> list[Picture | Value]:
    found: list[Picture | Value] = []
    for i, data in enumerate(files):
        if isinstance(data, Exception):
            raise BadImageError(_named(recipe, record, i), _unread(data))
        ending = record.sources[i].rsplit(".", 1)[-1]
        try:
            found.append(
                _value(recipe.declared[i], data, ending)
                if recipe.declared
                else _picture(recipe, record, i, data, ending)
            )
        except ShallowError as error:
            given, _ = recipe.images.window_of(recipe.side(record, i))
            where, fix = f"{given}, {_named(recipe, record, i)}", f"Leave {given} out, or take such images away."
            raise ConfigError(where, str(error), "images of 16 or 32 bits, or floats", fix) from None
        except ValueError as error:
            what = "used" if recipe.declared else "decoded"
            raise BadImageError(_named(recipe, record, i), f"a file that cannot be {what} ({error})") from None
    if recipe.declared:
        return _together(recipe, record, found)
    if recipe.reader in ("files", "tars"):
        return found
    pictures = [picture for picture in found if isinstance(picture, Picture)]
    stacked = recipe.reader in ("top-bottom", "bottom-top")
    first, second = _halves(pictures[0], _named(recipe, record, 0), stacked)
    return [first, second] if recipe.reader in ("left-right", "top-bottom") else [second, first]


def _picture(recipe: Recipe, record: Record, i: int, data: bytes, ending: str) -> Picture:
    """Decode an image in the window of its side. Where the other domain alone has one, bring it to 16 bits too, as both
    are of one field."""
    _, window = recipe.images.window_of(recipe.side(record, i))
    if window:
        return Picture(read_windowed(data, ending, window[0], window[1]))
    picture = decode_picture(data, ending)
    return deepened(picture) if recipe.images.one_sided and record.domain != WHOLE else picture


def _value(one: Declared, data: bytes, ending: str) -> Picture | Value:
    """Read a file of a declared field. Raises ValueError where it cannot be such a field."""
    if one.field.role == "image":
        picture = decode_picture(data, ending)
        check_value(picture.pixels, one.field)
        return picture
    value = read_value(data, one.field, ending, dict(one.colours))
    check_value(value, one.field)
    return value


def _together(recipe: Recipe, record: Record, found: Sequence[Picture | Value]) -> list[Picture | Value]:
    """Check the fields of a sample together, and bring those that are no images to the size of its images.

    Raises:
        BadImageError: naming the file that does not go with the sample's others.
    """
    fields = {one.name: one.field for one in recipe.declared}
    values = dict(zip(recipe.fields, (x.pixels if isinstance(x, Picture) else x for x in found), strict=True))
    try:
        check_sample(values, fields)
        values = loaded(values, fields, recipe.images)
    except MisfitError as error:
        name = _named(recipe, record, recipe.fields.index(error.field))
        raise BadImageError(name, str(error)) from None
    return [x if isinstance(x, Picture) else value for x, value in zip(found, values.values(), strict=True)]


def _halves(picture: Picture, name: str, stacked: bool = False) -> tuple[Picture, Picture]:
    """Cut an image into its left and right half, or its upper and lower one. Raises BadImageError where it has none."""
    x = picture.pixels
    side = x.shape[0 if stacked else 1]
    if side % 2:
        what = "height" if stacked else "width"
        other = "side by side, leave --stacked out" if stacked else "one above the other, give --stacked"
        more = f" (if A and B lie {other})" if not x.shape[1 if stacked else 0] % 2 else ""
        raise BadImageError(name, f"{side} pixels of {what}, which are not two equal halves{more}")
    halves = (x[: side // 2], x[side // 2 :]) if stacked else (x[:, : side // 2], x[:, side // 2 :])
    return replace(picture, pixels=halves[0]), replace(picture, pixels=halves[1])


def _members(recipe: Recipe, record: Record, files: Files) -> tuple[dict[str, Field], dict[str, bytes]]:
    """Give the fields of a sample and its members, by name: `a.png`, `b.png`; or `png` and `json`; and annotations.

    Raises:
        BadImageError: an image that cannot be stored as asked.
        ConfigError: an annotation that has the name of an image.
    """
    members, fields = dict(files[1]), {}
    for i, (name, read) in enumerate(zip(recipe.fields, files[0], strict=True)):
        try:
            data, fields[name] = _stored(recipe, i, read, record.domain)
        except ValueError as error:
            raise BadImageError(_named(recipe, record, min(i, len(record.sources) - 1)), str(error)) from None
        member = _member_of(name, fields[name])
        if member in members:
            found, fix = f"{member}, as images are stored here", "Store them in another way, with --encode."
            flag = "--index" if recipe.reader == "tars" else "--annotations"
            raise ConfigError(flag, found, "an ending that images do not have", fix)
        members[member] = data
    if recipe.attributes and recipe.reader != "tars":  # of tars the labels' members are kept as they are
        labels = dict(zip(recipe.attributes, record.labels, strict=True))
        members["json"] = json.dumps(labels).encode()
    return fields, members


def _stored(recipe: Recipe, i: int, read: Picture | Value, domain: str) -> tuple[bytes, Field]:
    """Encode a member. Gives its bytes and its entry in the manifest. Raises ValueError where an image cannot be stored
    as asked."""
    if not isinstance(read, Picture):
        return encode_value(read, recipe.declared[i].field)
    declared = recipe.declared[i].field if recipe.declared else None
    images = recipe.images_of(recipe.fields[i], domain)
    x = prepare(read, images, checked=bool(declared and declared.low is not None))
    extension = storage(x, images.encode)
    data = encode(x, extension, images.quality)
    how: dict[str, Any] = {"extension": extension, "channels": x.shape[2], "dtype": str(x.dtype)}
    how |= {"height": x.shape[0], "width": x.shape[1]}
    return data, replace(declared, **how) if declared else recipe.field_of(Field(**how), domain)


def _member_of(name: str, field: Field) -> str:
    return field.extension if name == "image" else f"{name}.{field.extension}"


def _named(recipe: Recipe, record: Record, i: int) -> str:
    """Name a source as a person would."""
    root = recipe.roots[i].removeprefix("file://")
    return f"{root.rstrip('/')}/{record.sources[i]}" if root else record.sources[i]


# ---- finishing ----


_COUNTED = ("transparent", "converted", "animated", "unequal")
"""Numbers of samples that the job says at its end."""


def finish(plan: Plan, out: str, parts: dict[str, FinishedShard]) -> Manifest:
    """Write the manifest of a finished plan, and remove the parts.

    Raises:
        DataError: nothing could be read, or shards do not agree.
    """
    counts = {name: sum(getattr(part, name) for part in parts.values()) for name in _COUNTED}
    made_by = plan.made_by | {name: count for name, count in counts.items() if count} | _perhaps_ids(plan, parts)
    made_by |= {"left_out": [*plan.left_out]} if plan.left_out else {}
    return conclude(plan, out, parts, plan.recipe.attributes, plan.exclusive, plan.domains, made_by)


def _perhaps_ids(plan: Plan, parts: Mapping[str, FinishedShard]) -> dict[str, dict[str, int]]:
    """Count the images with a palette, and those of fields whose images are all grey and of low values."""
    if plan.recipe.declared or plan.recipe.reader in DRAWN:
        return {}
    indexed, faint, all_ = Counter[str](), Counter[str](), Counter[str]()
    for job in plan.jobs:
        part = parts[job.name]
        indexed.update(part.indexed)
        faint.update(part.faint)
        all_.update(dict.fromkeys(_counted_in({}, job, plan.recipe.fields), part.shard.samples))
    found = {"palettes": dict(indexed), "faint": {name: n for name, n in faint.items() if n == all_[name]}}
    return {name: counts for name, counts in found.items() if counts}


def differ_in_channels(plan: Plan, parts: Sequence[FinishedShard]) -> Channels:
    """Give the channels by field that hold all of some shards which differ in channels alone; empty where none do."""
    return holding_all([part.fields for part in parts if part.shard.samples], plan.recipe.images)


def in_more_channels(plan: Plan, parts: Mapping[str, FinishedShard]) -> tuple[Recipe, list[ShardJob]]:
    """List the finished shards to write again, and how, where shards differ in channels alone."""
    channels = differ_in_channels(plan, [*parts.values()])
    recipe = replace(plan.recipe, channels=channels)
    old = {
        name
        for name, part in parts.items()
        if part.shard.samples and any(part.fields[field].channels != n for field, n in channels.items())
    }
    return recipe, [job for job in plan.jobs if job.name in old]


def conclude(
    work: ShardWork,
    out: str,
    parts: dict[str, FinishedShard],
    attributes: tuple[str, ...],
    exclusive: bool,
    domains: tuple[str, ...],
    made_by: dict[str, Any],
) -> Manifest:
    """Write the manifest of any work whose shards are all there, and remove the parts. Raises as `finish`."""
    output = output_at(out)
    groups: dict[tuple[str, str], list[FinishedShard]] = defaultdict(list)
    left_out: list[str] = [*made_by.get("left_out", ())]
    for job in work.jobs:
        part = parts[job.name]
        left_out += part.left_out
        if part.shard.samples:
            groups[job.split, job.domain].append(part)
    fields = agree_all([part for group in groups.values() for part in group], left_out)
    made_by = {**made_by, "left_out": left_out, "plan": work.digest}
    clips = any(part.clips for part in parts.values())
    manifest = Manifest(fields, attributes, exclusive, domains, clips, tables_of(groups), made_by)
    output.write(MANIFEST, manifest.dumps().encode())
    output.remove(PARTS)
    output.remove_left()
    return manifest


def agree_all(parts: Sequence[FinishedShard], left_out: Sequence[str] = ()) -> dict[str, Field]:
    """Give the fields that hold for all parts together. Raises DataError where parts disagree, or there are none."""
    if not parts:
        first = f" (the first: {left_out[0]})" if left_out else ""
        fix = "Check that these are images."
        raise DataError("the input", f"no sample that can be read{first}", "at least one", fix)
    fields = parts[0].fields
    for part in parts[1:]:
        fields = agree(fields, part.fields, parts[0].example, part.example)
    return fields


def tables_of(groups: Mapping[tuple[str, str], Sequence[FinishedShard]]) -> dict[str, dict[str, ShardSet]]:
    """Put the parts of each split and domain into the tables of a manifest."""
    splits: dict[str, dict[str, ShardSet]] = defaultdict(dict)
    for (split, domain), parts in sorted(groups.items()):
        splits[split][domain] = _table_of(parts)
    return dict(splits)


def _table_of(parts: Sequence[FinishedShard]) -> ShardSet:
    """Put the parts of one domain of one split into the table of a shard set."""
    labels = tuple(int(n) for n in np.sum([part.labels for part in parts], axis=0, dtype=int))
    clips = ClipCounts(tuple(part.clips for part in parts), tuple(part.shortest for part in parts))
    shards, index = Shards.of([part.shard for part in parts]), IndexFiles.of([part.index for part in parts])
    return ShardSet(shards, index, labels, clips if any(clips.number) else None)
