"""List the samples of the folders people have, from the names of the files alone: nothing is decoded here.

Every layout is a function from a listing to a `Found`: which samples there are, where the image
of each of their fields comes from, and what is known about them. docs/data.md draws the trees.
"""

from __future__ import annotations

import hashlib
import logging
import posixpath
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from i2i_core.data.folders import groups, hints, lists, pairing
from i2i_core.data.folders.alike import check_apart
from i2i_core.data.folders.declared import Declared, FieldOptions, declared
from i2i_core.data.folders.label_maps import KNOWN, fields_of
from i2i_core.data.folders.listing import Listing, described, left_out, list_files, place, write_list
from i2i_core.data.folders.listing import extension as _extension
from i2i_core.data.folders.listing import some as _some
from i2i_core.data.folders.listing import stem as _stem
from i2i_core.data.folders.splits import DOMAIN_FOLDER, SPLITS, is_split
from i2i_core.data.worlds import glyphs
from i2i_core.data.worlds.streets import samples as streets
from i2i_core.errors import ConfigError, DataError, counted, nearest
from i2i_core.fields import WHOLE, Kind
from i2i_core.images.codec import EXTENSIONS
from i2i_core.names import listed, normal
from i2i_core.settings import MOST_SEED, check_at_least, check_numbers, setting
from i2i_core.storage.near import corrected
from i2i_core.storage.remote import storage_of
from i2i_core.storage.retry import AT_START, patient_for

logger = logging.getLogger(__name__)


CELEBA_ATTRIBUTES = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
"""Attributes that StarGAN is trained on; the default of --attributes."""

LOOKS = {
    "ab": "images that hold A on their left half and B on their right, in train/, val/, test/ or side by side in DIR",
    "pairs": "two folders with images of equal names: DIR/a and DIR/b, or --input DIR_A --input-b DIR_B; other "
    "names by --pair-pattern or --pair-table",
    "unpaired": "folders trainA and trainB (and testA, testB, valA, valB), or --input DIR_A --input-b DIR_B",
    "images": "images, in DIR or in DIR/train, DIR/val, DIR/test",
    "classes": "one folder of images per class, in DIR or in DIR/train, DIR/val, DIR/test",
    "celeba": "images and list_attr_celeba.txt (and list_eval_partition.txt), or --list FILE of attributes or classes",
    "glyphs": "nothing: it is built in",
    "streets": "nothing: it is built in",
    **{name: known.looks for name, known in KNOWN.items()},
    "fields": "files of any roles, which --field NAME:ROLE=PATTERN names: label maps, instances, maps, text, clips",
}

Reading = Literal["files", "left-right", "right-left", "top-bottom", "bottom-top", "glyphs", "streets", "tars"]
DRAWN = ("glyphs", "streets")
"""Layouts that are drawn here, of no folder."""
_TURNED: dict[Reading, Reading] = {"left-right": "right-left", "top-bottom": "bottom-top"}


@dataclass(frozen=True)
class LayoutOptions:
    """Say which images there are, and how they are split."""

    layout: Literal[
        "none", "ab", "pairs", "unpaired", "images", "classes", "celeba", "glyphs", "streets", "fields",
        "cityscapes", "ade20k", "coco-stuff", "pix2pixhd",
    ] = "none"  # fmt: skip
    """Layout of the images' folders; docs/data.md shows each."""
    input: str = ""
    """Folder or fsspec URL with the images."""
    input_b: str = ""
    """Folder or URL with the images of B, where --input holds those of A (pairs and unpaired)."""
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    """Side that is the input: BtoA swaps the two sides of a pair, or the two domains."""
    attributes: tuple[str, ...] = ()
    """Attributes to keep, for celeba (default: the five of the StarGAN paper), or to read from labels, for --index."""
    labels_list: str = setting("", name="list")
    """Celeba: the list of images with their attributes (two values each) or classes (names or numbers), a row each:
    txt, csv or tsv, wherever it lies. Default: the file in --input that is called as CelebA's, list_attr_celeba.txt."""
    annotations: tuple[str, ...] = ()
    """Endings of files beside the images, such as json txt: KEY.json and KEY.txt go into each sample as they are."""
    common_only: bool = False
    """Pairs: take the names that both folders have, and list the other images in a file of --out. Without it, an image
    without a partner stops the job."""
    pair_pattern: tuple[str, ...] = ()
    """Pairs whose names differ: the patterns of A's and of B's images, paths below --input (B's: below --input-b, if it
    is given) with {key} for what both have in common, and perhaps {split}: '{key}_A' '{key}_B' for x_A.png x_B.png.
    Without an ending a pattern fits any."""
    pair_table: str = ""
    """Pairs listed in a table: a csv with A's and B's path in each row, and perhaps a third column of splits. Paths are
    relative to the table's folder or to --input, which is the table's folder unless it is given."""
    stacked: bool = False
    """ab: A is the upper half of each image and B the lower; without it, A is the left half and B the right."""
    split: tuple[float, float, float] = (0.9, 0.05, 0.05)
    """Shares of train, val and test, where the layout says nothing of splits."""
    group_by: str = ""
    """Regular expression that keeps near-copies in one split. It is searched in each sample's name: the path below the
    split's folder, without ending; of clips, the clip's path. Samples whose first group, or else whole match, is equal
    go to one split: '^[^_]+' for anna_1.png, anna_2.png."""
    list_left_out: str = ""
    """File to write, with the paths of all that is left out of the folders and why: files that are no images, formats
    that are not read, what systems and tools leave behind. The job itself prints their numbers."""
    seed: int = setting(0, most=MOST_SEED)
    """Seed of the splits, of the order in the shards, and of the colours of glyphs."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 0, "seed")
        if min(self.split) < 0 or abs(sum(self.split) - 1) > 1e-6:
            fix = "For example --split 0.8 0.1 0.1."
            raise ConfigError("--split", " ".join(map(str, self.split)), "three shares that sum to 1", fix)
        if self.group_by:
            groups.compiled(self.group_by)
        for ending in self.endings:
            if not re.fullmatch(r"\w+(\.\w+)*", ending) or self.endings.count(ending) > 1:
                fix = "For example --annotations json txt."
                raise ConfigError("--annotations", repr(ending), "endings of file names, each once", fix)

    @property
    def names_of_attributes(self) -> tuple[str, ...]:
        """Names in --attributes, which commas may separate too."""
        return tuple(part for name in self.attributes for part in name.split(",") if part)

    @property
    def endings(self) -> tuple[str, ...]:
        """Endings of annotations, without a dot before them."""
        return tuple(part.removeprefix(".") for name in self.annotations for part in name.split(",") if part)


@dataclass(frozen=True, slots=True)
class Record:
    """Name the files of one sample, and what is known of it before they are read. `sources[i]` is the path of image i
    below root i."""

    key: str
    sources: tuple[str, ...]
    split: str | None = None
    domain: str = WHOLE
    labels: tuple[int, ...] = ()
    bytes: int = 0
    """Bytes of all sources; with the names they tell one input from another."""
    annotations: tuple[tuple[str, str], ...] = ()
    """(member, path below the annotations' root) of each file that goes into the sample as it is."""
    clip: str = ""
    """Clip that the sample is a frame of. The frames of a clip are in their order and stay together."""
    tar: str = ""
    """Path, below the root, of the tar that holds the sample's files; empty: they are files."""
    places: tuple[tuple[int, int], ...] = ()
    """(offset, bytes) in that tar of each source, then of each annotation."""


@dataclass(frozen=True)
class Found:
    """Hold all samples of an input, in the order of their names, each with its split."""

    kind: Kind
    fields: tuple[str, ...]
    records: tuple[Record, ...]
    reader: Reading
    roots: tuple[str, ...] = ("",)
    """Absolute URLs that sources are relative to."""
    attributes: tuple[str, ...] = ()
    exclusive: bool = False
    domains: tuple[str, ...] = (WHOLE,)
    notes: tuple[str, ...] = ()
    """Notes for the user, a line each."""
    annotations_root: str = ""
    """Absolute URL that paths of annotations are relative to."""
    declared: tuple[Declared, ...] = ()
    """Declarations of `fields`, for --layout fields."""
    clip_overlap: int = 0
    lone: tuple[str, ...] = ()
    """Places of images without a partner, which `--common-only` leaves out; of lists also rows."""
    left_out: tuple[str, ...] = ()
    """Samples of tars that could not be used, a line each."""
    made_by: Mapping[str, Any] = field(default_factory=dict)
    """Further entries of the manifest's `made_by`."""


@patient_for(AT_START)
def find(
    options: LayoutOptions,
    glyph: glyphs.GlyphOptions | None = None,
    fields: FieldOptions | None = None,
    street: streets.StreetOptions | None = None,
) -> Found:
    """List the samples of an input, each with its split.

    Raises:
        DataError: the layout does not fit what is there, or a file that belongs to it is damaged.
        ConfigError: options that do not go together.
    """
    fields = fields or FieldOptions()
    _check_options(options, fields)
    options = _with_folder(options)
    listing = None if options.layout in DRAWN else list_files(options.input)
    if options.layout == "streets":
        found = find_streets(street or streets.StreetOptions())
    elif listing is None:
        found = find_glyphs(glyph or glyphs.GlyphOptions(), options)
    elif options.layout in (*KNOWN, "fields"):
        fields = fields_of(options.layout, listing, fields) if options.layout in KNOWN else fields
        found = find_fields(options, listing, fields)
    else:
        listing = replace(listing, annotations=options.endings)
        found = _LAYOUTS[options.layout](options, listing)
        found = _annotated(found, listing, options.endings) if options.endings else found
    if options.layout == "glyphs" and options.endings:
        found = _annotated_glyphs(found, options.endings)
    found = _turned(found) if options.direction == "BtoA" else found
    if listing is not None:
        found = _with_left_out(found, listing, options.list_left_out)
    if options.group_by:
        return with_groups(found, options)
    if {record.split for record in found.records} == {"train"}:
        note = (
            "all images lie in folders of train: no val, no test, and --split cuts none off; a folder beside makes one"
        )
        found = replace(found, notes=(note, *found.notes))
    return replace(found, records=with_splits(found.records, options.split, options.seed))


def _with_left_out(found: Found, listing: Listing, file: str) -> Found:
    """Note how much of the folders no sample is made of, and list it in a file if one is named. Raises as
    `write_list`."""
    used = {root + source for r in found.records for root, source in zip(_starts(found.roots), r.sources, strict=False)}
    (of_annotations,) = _starts((found.annotations_root,))
    used |= {of_annotations + path for r in found.records for _, path in r.annotations}
    causes = left_out(listing, used, {*found.lone})
    if file:
        write_list(causes, file)
    more = f"; {file} lists them" if file else "; --list-left-out FILE lists them"
    line = described(causes)
    return replace(found, notes=(*found.notes, line + more)) if line else found


def _starts(roots: Sequence[str]) -> list[str]:
    return [place(root, "") for root in roots]


def with_groups(found: Found, options: LayoutOptions) -> Found:
    """Give each sample a split, so that no group of `--group-by` is in two; domains are cut by the same groups.

    Raises:
        ConfigError: a name that the pattern does not fit.
        DataError: folders of splits that cut a group.
    """
    named = groups.groups_of((r.clip or r.key for r in found.records), options.group_by)
    group = [named[r.clip or r.key] for r in found.records]
    kept = [(g, r) for g, r in zip(group, found.records, strict=True) if r.split is not None]
    own = {g: r.split for g, r in kept if r.split is not None}
    open_ = groups.sizes_of((r.domain, g) for g, r in zip(group, found.records, strict=True) if r.split is None)
    for _, sizes in sorted(open_.items()):
        ordered = order(sizes, "split", options.seed, "groups")
        own |= groups.cut_groups(sizes, options.split, ordered, {g: s for g, s in own.items() if g in sizes})
    records = tuple(r if r.split else replace(r, split=own[g]) for g, r in zip(group, found.records, strict=True))
    splits = ((g, r.split or "", r.sources[0]) for g, r in zip(group, records, strict=True))
    groups.check_apart(splits, f"--input {options.input}" if options.input else f"--layout {options.layout}")
    notes = [groups.described(Counter(group)), *_left_empty(records, options.split)] if group else []
    return replace(found, records=records, notes=(*found.notes, *notes))


def _left_empty(records: Iterable[Record], shares: Sequence[float]) -> Iterator[str]:
    """Say which splits got no sample of a domain, though they have a share: its groups are larger than that."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        counts[record.domain][record.split or ""] += 1
    for domain, of in sorted(counts.items()):
        empty = [
            split for split, share in zip(("train", "val", "test"), shares, strict=True) if share and not of[split]
        ]
        if empty:
            who = "" if domain == WHOLE else f" of domain {domain}"
            fix = "give a finer --group-by, or a larger share in --split"
            yield f"nothing{who} is in {' and '.join(empty)}, as its groups are larger than their shares: {fix}"


def _annotated(found: Found, listing: Listing, endings: tuple[str, ...]) -> Found:
    """Add the files that lie beside the images (of pairs: beside A's). A domain may have none at all of an ending.

    Raises:
        ConfigError: an ending that is the labels'.
        DataError: naming an annotation that is missing.
    """
    _check_labels_free(found, endings)
    below = found.roots[0].removeprefix(listing.root).lstrip("/")
    prefix = f"{below}/" if below else ""
    paths = {(e, r): f"{_stem(r.sources[0])}.{e}" for r in found.records for e in endings}
    there = {(e, r.domain) for (e, r), path in paths.items() if prefix + path in listing.files}
    for (ending, r), path in paths.items():
        some = {domain for e, domain in there if e == ending}
        if (r.domain in some or not some) and prefix + path not in listing.files:
            fix = f"Add it, or leave {ending} out of --annotations."
            where, expected = f"{listing.uri}/{prefix}{path}", f"the annotation of {r.sources[0]}"
            raise DataError(where, "no such file", expected, fix)

    def with_its(r: Record) -> Record:
        its = tuple((e, paths[e, r]) for e in endings if (e, r.domain) in there)
        return replace(r, annotations=its, bytes=r.bytes + sum(listing.files[prefix + path] for _, path in its))

    return replace(found, records=tuple(map(with_its, found.records)), annotations_root=found.roots[0])


def _annotated_glyphs(found: Found, endings: tuple[str, ...]) -> Found:
    """Add KEY.json, which says what each drawing of unpaired glyphs shows."""
    if len(found.domains) < 2 or endings != ("json",):
        fix = "Give --glyphs unpaired --annotations json, or leave --annotations out."
        raise ConfigError("--annotations", f"{' '.join(endings)} of {found.kind} glyphs", "json of unpaired ones", fix)
    return replace(found, records=tuple(replace(r, annotations=(("json", r.sources[0]),)) for r in found.records))


def _check_labels_free(found: Found, endings: tuple[str, ...]) -> None:
    taken = {"json", "cls"} & set(endings) if found.attributes else set()
    for ending in sorted(taken):
        fix = f"Give the files another ending, and name that: meta.{ending}, say."
        raise ConfigError("--annotations", ending, "an ending that is not the labels' own", fix)


def _check_options(options: LayoutOptions, fields: FieldOptions) -> None:
    if options.layout == "none":
        known = "\n".join(f"    {name}: {looks}" for name, looks in LOOKS.items())
        raise ConfigError("--layout", "nothing", "one of the layouts", f"Name one:\n{known}")
    if options.attributes and options.layout != "celeba":
        raise ConfigError("--attributes", f"it beside --layout {options.layout}", "--layout celeba", "Leave it out.")
    if options.labels_list and options.layout != "celeba":
        raise ConfigError("--list", f"it beside --layout {options.layout}", "--layout celeba", "Leave it out.")
    if options.input_b and options.layout not in ("pairs", "unpaired"):
        expected = "--layout pairs or unpaired"
        raise ConfigError("--input-b", f"it beside --layout {options.layout}", expected, "Leave it out.")
    if options.input_b and options.layout == "unpaired" and options.endings:
        fix = "Put the images into trainA and trainB of one folder, or leave --annotations out."
        raise ConfigError("--annotations", "it beside --input-b of unpaired images", "one --input", fix)
    if options.list_left_out and options.layout in DRAWN:
        raise ConfigError("--list-left-out", f"it beside --layout {options.layout}", "folders", "Leave it out.")
    if options.endings and options.layout == "streets":
        raise ConfigError("--annotations", "it beside --layout streets", "folders", "Leave it out.")
    for flag, given, layout in (
        ("--common-only", options.common_only, "pairs"),
        ("--pair-pattern", options.pair_pattern, "pairs"),
        ("--pair-table", options.pair_table, "pairs"),
        ("--stacked", options.stacked, "ab"),
    ):
        if given and options.layout != layout:
            raise ConfigError(flag, f"it beside --layout {options.layout}", f"--layout {layout}", "Leave it out.")
    if options.pair_pattern and options.pair_table:
        raise ConfigError("--pair-pattern", "it beside --pair-table", "one of the two", "Leave one of them out.")
    if options.layout in KNOWN and fields.field:
        fix = "Leave it out, or declare every field with --layout fields."
        raise ConfigError("--field", f"it beside --layout {options.layout}", "fields that are known", fix)
    if fields != FieldOptions() and options.layout not in (*KNOWN, "fields"):
        raise ConfigError("--field", f"it beside --layout {options.layout}", "--layout fields", "Leave it out.")
    if options.direction == "BtoA" and options.layout == "streets":
        raise ConfigError(
            "--direction", "it beside --layout streets", "--conditions", "Name the two the other way round."
        )
    if options.layout in (*KNOWN, "fields") and (options.endings or options.direction == "BtoA"):
        flag = "--annotations" if options.endings else "--direction"
        raise ConfigError(
            flag, f"it beside --layout {options.layout}", "fields alone", "Declare what you want with --field."
        )


def _turned(found: Found) -> Found:
    """Swap A and B."""
    if found.attributes:
        fix = "Leave --direction out; attributes have none."
        raise ConfigError("--direction", "BtoA for labelled images", "pairs or two domains", fix)
    if len(found.domains) == 2:
        other = dict(zip(found.domains, found.domains[::-1], strict=True))
        return replace(found, records=tuple(replace(r, domain=other[r.domain]) for r in found.records))
    if found.reader in _TURNED:
        return replace(found, reader=_TURNED[found.reader])
    records = tuple(replace(r, sources=r.sources[::-1]) for r in found.records)
    return replace(found, records=records, roots=found.roots[::-1])


def order(names: Iterable[str], *seed: object) -> list[str]:
    """Order names by a seed. The order is the same everywhere, and stays when other names come or go."""
    salt = " ".join(map(str, seed))
    return sorted(names, key=lambda name: hashlib.sha256(f"{salt} {name}".encode("utf-8", "surrogateescape")).digest())


def cut(names: Sequence[str], shares: tuple[float, float, float], *seed: object) -> dict[str, str]:
    """Cut names into exact shares by a seed, rounded; train is never rounded away. Gives name -> split."""
    n = len(names)
    test = min(int(shares[2] * n + 0.5), n - (shares[0] > 0))
    val = min(int(shares[1] * n + 0.5), n - test - (shares[0] > 0))
    ordered = order(names, "split", *seed)
    splits = ["test"] * test + ["val"] * val + ["train"] * (n - test - val)
    return dict(zip(ordered, splits, strict=True))


def with_splits(records: tuple[Record, ...], shares: tuple[float, float, float], seed: int) -> tuple[Record, ...]:
    """Give each record a split: its own, else one by seeded shares within its domain. Clips are not cut."""
    open_keys: dict[str, dict[str, None]] = defaultdict(dict)
    for r in records:
        if r.split is None:
            open_keys[r.domain][r.clip or r.key] = None
    cuts = {domain: cut([*keys], shares, seed, domain) for domain, keys in open_keys.items()}
    return tuple(r if r.split else replace(r, split=cuts[r.domain][r.clip or r.key]) for r in records)


# ---- the layouts ----


def find_ab(options: LayoutOptions, listing: Listing) -> Found:
    """List images that hold both sides, beside each other or one above the other, in folders of splits or not."""
    _need_images("ab", listing)
    parts = _split_folders(listing)
    nested = sorted({rest.split("/")[0] for _, _, rest in parts if "/" in rest})
    if nested and any(hint.layout != "ab" for hint in _hints(listing)):
        raise _unfit("ab", listing)
    keys = _keys_by_split(parts)
    records = [Record(keys[path], (path,), split, bytes=listing.files[path]) for path, split, _ in parts]
    reader: Reading = "top-bottom" if options.stacked else "left-right"
    return Found("paired", ("a", "b"), tuple(records), reader, (listing.root,))


def find_pairs(options: LayoutOptions, listing: Listing) -> Found:
    """Pair images: those of two folders by their names, whose endings may differ (a/1.jpg, b/1.png); any others by two
    patterns, or by a table."""
    if options.pair_table:
        return find_pairs_of_table(options, listing)
    _need_images("pairs", listing)
    patterns: tuple[pairing.Pattern, ...] = ()
    if options.pair_pattern:
        patterns = pairing.patterns_of(options.pair_pattern, bool(options.input_b))
    if options.input_b:
        sides = (listing, listing.further(options.input_b, "--input-b"))
        _need_images("pairs", sides[1])
    elif patterns := patterns or _folders_in_splits(listing):
        sides = (listing, listing)
    else:
        sides = _two_sides(listing)
    if patterns:
        return _pairs_by_pattern(sides, patterns, options)
    by_name = [pairing.by_name(side.images, side.uri) for side in sides]
    lone = _lone(sides, by_name, options)
    a_parts = {path: (split, rest) for path, split, rest in _split_folders(sides[0])}
    keys = _keys_by_split([(path, split, rest) for path, (split, rest) in a_parts.items()])
    records = []
    for name, path in by_name[0].items():
        if other := by_name[1].get(name):
            size = sides[0].files[path] + sides[1].files[other]
            records.append(Record(keys[path], (path, other), a_parts[path][0], bytes=size))
    return Found("paired", ("a", "b"), tuple(records), "files", (sides[0].root, sides[1].root), lone=lone)


def _pairs_by_pattern(
    sides: tuple[Listing, Listing], patterns: Sequence[pairing.Pattern], options: LayoutOptions
) -> Found:
    """Pair the images that two patterns fit by their keys. Folders of splits may stand above them, or in them."""
    places = [
        [pairing.Place(path, "", path) for path in side.images]
        if patterns[0].splits
        else [pairing.Place(path, split or "", rest) for path, split, rest in _split_folders(side)]
        for side in sides
    ]
    others = (patterns[1], patterns[0]) if sides[0] is sides[1] else (None, None)
    where = [f"{flag} {side.uri}" for flag, side in zip(("--input", "--input-b"), sides, strict=True)]
    found = [
        pairing.matched(pattern, other, some, at)
        for pattern, other, some, at in zip(patterns, others, places, where, strict=True)
    ]
    for pattern, of, side, at in zip(patterns, found, sides, where, strict=True):
        if not of:
            fix = f"There are {len(side.images)} images, {_some(side.images)}: correct the pattern."
            fix += hints.told_apart(side)
            raise DataError("--pair-pattern", f"no image of {pattern.text!r} in {at}", "one of each pair", fix)
    lone = _lone(sides, found, options)
    common = [key for key in found[0] if key in found[1]]
    split_of = {split: _split_named(split, sides[0].uri) for split, _ in common}
    keys = _keys_by_split([(path, s, f"{name}.{_extension(path)}") for (s, name), path in found[0].items()])
    records = []
    for key in common:
        a, b = found[0][key], found[1][key]
        records.append(Record(keys[a], (a, b), split_of[key[0]], bytes=sides[0].files[a] + sides[1].files[b]))
    records.sort(key=lambda record: record.sources)
    roots = (sides[0].root, sides[1].root)
    return Found("paired", ("a", "b"), tuple(records), "files", roots, lone=lone)


def _split_named(name: str, where: str) -> str | None:
    """Give the split that a word means; None for no word. Raises DataError where it means none."""
    if name and name.lower() not in SPLITS:
        raise DataError(where, f"the split {name!r}", " ".join(SPLITS), "Rename it.")
    return SPLITS.get(name.lower())


def _with_folder(options: LayoutOptions) -> LayoutOptions:
    """Take the folder of the table of pairs for --input where that was not given."""
    if not options.pair_table or options.input:
        return options
    return replace(options, input=options.pair_table.rpartition("/")[0] or ".")


def find_pairs_of_table(options: LayoutOptions, listing: Listing) -> Found:
    """List the pairs that a table names, a row each.

    Raises:
        DataError: no table, a row of another form, or one that names an image which is not there.
    """
    fs, table_path = storage_of(options.pair_table)
    if not fs.isfile(table_path):
        fix = corrected(options.pair_table, "Name a csv with A's and B's path in each row.")
        raise DataError(f"--pair-table {options.pair_table}", "no file at that place", "a table", fix)
    if fs.size(table_path) > pairing.MOST_TABLE:
        expected = f"at most {pairing.MOST_TABLE:,} bytes"
        raise DataError(
            f"--pair-table {options.pair_table}", f"{fs.size(table_path):,} bytes", expected, "Cut it into parts."
        )
    rows = pairing.read_table(pairing.text_of(fs.cat_file(table_path)), options.pair_table)
    other = listing.further(options.input_b, "--input-b") if options.input_b else listing
    folder = str(fs.unstrip_protocol(table_path)).rpartition("/")[0]
    listing.opened.add(place(folder, table_path.rpartition("/")[2]))
    sides = (listing, other)
    own = sides if options.input_b else sides[:1]
    found = [pairing.Lookup.of(side.images, _bases(folder, side.root), side.root) for side in own]
    lookups = (found[0], found[-1])
    table = pairing.looked_up(rows, lookups, options.pair_table)
    if table.missing and not options.common_only:
        fix = "Correct the paths, which are relative to the table's folder or to --input; or give --common-only: it "
        fix += "leaves such rows out, and lists the images whose partners are missing in a file."
        absent = f"{counted(len(table.missing), 'row')} of images that are not there ({_some(table.missing)})"
        raise DataError(f"--pair-table {options.pair_table}", absent, "an image at every path", fix)
    if not table.pairs:
        absent, fix = f"no row whose images are there ({_some(table.missing)})", "Correct the paths, or --input."
        raise DataError(f"--pair-table {options.pair_table}", absent, "pairs", fix)
    rest = pairing.below_common([a for _, a, _, _ in table.pairs])
    parts = _splits_of(
        [(str(line), name) for (line, *_), name in zip(table.pairs, rest, strict=True)], options.pair_table
    )
    told = {line: _split_named(split, f"{options.pair_table}, line {line}") for line, _, _, split in table.pairs}
    keyed = [(line, told[int(line)] or split, rest) for line, split, rest in parts]
    keys, split_of = _keys_by_split(keyed), {line: split for line, split, _ in keyed}
    records = [
        Record(keys[str(n)], (a, b), split_of[str(n)], bytes=sides[0].files[a] + sides[1].files[b])
        for n, a, b, _ in table.pairs
    ]
    lone = tuple(f"{sides[side].uri}/{path}" for side, path in table.lone)
    roots = (sides[0].root, sides[1].root)
    return Found("paired", ("a", "b"), tuple(records), "files", roots, lone=lone, notes=tuple(table.notes))


def _bases(folder: str, root: str) -> tuple[str, ...]:
    """Name the folders below a root that paths of a table in `folder` may be relative to."""
    below = posixpath.relpath(folder, root) if folder.split("://")[0] == root.split("://")[0] else "."
    return ("",) if below == "." else (below, "")


def _two_sides(listing: Listing) -> tuple[Listing, Listing]:
    tops = _top_folders(listing)
    loose = any("/" not in path for path in listing.images)
    if len(tops) != 2 or loose or all(is_split(top) for top in tops):
        raise _unfit("pairs", listing)
    first, second = (listing.below(top) for top in sorted(tops))
    return first, second


def _folders_in_splits(listing: Listing) -> tuple[pairing.Pattern, ...]:
    """Give the patterns of the two folders that every folder of a split holds (train/a, train/b, val/a, val/b); none
    where there are no such folders."""
    tops = _top_folders(listing)
    if not tops or not all(is_split(top) for top in tops) or any("/" not in path for path in listing.images):
        return ()
    below = sorted({rest.split("/")[0] if "/" in rest else "" for _, _, rest in _split_folders(listing)})
    return tuple(pairing.Pattern(f"{name}/{{key}}") for name in below) if len(below) == 2 and all(below) else ()


def _lone(sides: tuple[Listing, Listing], by_key: Sequence[pairing.Side], options: LayoutOptions) -> tuple[str, ...]:
    """Name the images that have no partner.

    Raises:
        DataError: there are some, and they are not to be left out; or no name is on both sides.
    """
    extra = [by_key[0].keys() - by_key[1], by_key[1].keys() - by_key[0]]
    names = [["/".join(filter(None, key)) for key in some] for some in extra]
    on = [side.uri if sides[0] is not sides[1] else f"side {name}" for side, name in zip(sides, "AB", strict=True)]
    counts = " and ".join(
        f"{len(some)} only in {side} ({_some(some)})" for side, some in zip(on, names, strict=True) if some
    )
    none = not by_key[0].keys() & by_key[1]
    if counts and not options.common_only and not none:
        fix = "Add the missing images, move the lone ones away, or give --common-only: it takes the names that both "
        fix += "folders have, and lists the other images in a file."
        raise DataError("--layout pairs", counts, "an image of each name in both folders", fix)
    if none:
        fix = "Name two folders whose images have the same names."
        if options.pair_pattern:
            fix = "Write {key} for what the names of both have in common."
        fix += hints.of_two_folders(*sides) if sides[0] is not sides[1] else hints.told_apart(sides[0])
        raise DataError("--layout pairs", f"no name in both: {counts}", "images of equal names", fix)
    lone = pairing.lone(by_key)
    return tuple(f"{side.uri}/{path}" for side, some in zip(sides, lone, strict=True) for path in some)


def find_unpaired(options: LayoutOptions, listing: Listing) -> Found:
    """List the images of two domains: of trainA, trainB and their like in one folder, of train/x, train/y and their
    like, or of two folders.

    Raises:
        DataError: images elsewhere, or a split with one domain alone.
    """
    _need_images("unpaired", listing)
    if options.input_b:
        return _two_domains(listing, listing.further(options.input_b, "--input-b"))
    two, parts = _folders_in_splits(listing), []
    sides = dict(zip((name.text.partition("/")[0] for name in two), "AB", strict=False))
    for path in listing.images:
        if two:
            top, folder, rest = path.split("/", 2)
            parts.append((path, SPLITS[top.lower()], sides[folder], rest))
        elif match := DOMAIN_FOLDER.match(path):
            parts.append((path, SPLITS[match[1]], match[2], path[match.end() :]))
        else:
            raise _unfit("unpaired", listing)
    have = {(split, domain) for _, split, domain, _ in parts}
    for split, domain in sorted(have):
        other = "B" if domain == "A" else "A"
        if (split, other) not in have:
            named = {"A": f"{split}A", "B": f"{split}B"}
            named |= {side: f"{split}/{folder}" for folder, side in sides.items()}
            found, fix = f"images in {named[domain]} and none in {named[other]}", f"Add {named[other]}."
            raise DataError(f"--layout unpaired --input {listing.uri}", found, LOOKS["unpaired"], fix)
    keys = {}
    for wanted in have:
        group = [(path, rest) for path, split, domain, rest in parts if (split, domain) == wanted]
        keys.update(_unique_keys(group))
    records = [Record(keys[p], (p,), split, domain, bytes=listing.files[p]) for p, split, domain, _ in parts]
    notes = tuple(f"domain {side} is {folder}" for folder, side in sides.items())
    return Found("unpaired", ("image",), tuple(records), "files", (listing.root,), domains=("A", "B"), notes=notes)


def _two_domains(*sides: Listing) -> Found:
    """List the images of two folders, a domain each, with folders of splits below or none.

    Raises:
        DataError: a folder without images, or splits that one of the two has alone.
    """
    _need_images("unpaired", sides[1])
    root = _common_root(*(side.root for side in sides))
    records: list[Record] = []
    for domain, side in zip("AB", sides, strict=True):
        parts, below = _split_folders(side), f"{side.root[len(root) :].strip('/')}/".lstrip("/")
        keys = _keys_by_split(parts)
        records += [Record(keys[p], (below + p,), split, domain, bytes=side.files[p]) for p, split, _ in parts]
    has = [{r.split for r in records if r.domain == domain} for domain in "AB"]
    if has[0] != has[1]:
        shown = [", ".join(sorted(split or "no split's folder" for split in some)) for some in has]
        fix = "Give both folders the same splits, or neither any."
        raise DataError("--layout unpaired", f"{shown[0]} in A and {shown[1]} in B", "the same splits in both", fix)
    return Found("unpaired", ("image",), tuple(records), "files", (root,), domains=("A", "B"))


def _common_root(*roots: str) -> str:
    """Name the folder that both lie in. Raises ConfigError where they are on different storage."""
    parts = [root.rstrip("/").split("/") for root in roots]
    shared = next((i for i, (a, b) in enumerate(zip(*parts, strict=False)) if a != b), min(map(len, parts)))
    if parts[0][:3] != parts[1][:3]:
        expected = "both on one storage, in one bucket"
        raise ConfigError("--input-b", f"{roots[1]} beside {roots[0]}", expected, "Copy one of them to the other.")
    return "/".join(parts[0][:shared]) if shared > 3 or not parts[0][0].startswith("file") else "file:///"


def find_images(options: LayoutOptions, listing: Listing) -> Found:
    """List all images of a folder and of the folders below it, each alone and without a label."""
    _need_images("images", listing)
    parts = _split_folders(listing)
    keys = _keys_by_split(parts)
    records = [Record(keys[path], (path,), split, bytes=listing.files[path]) for path, split, _ in parts]
    return Found("labelled", ("image",), tuple(records), "files", (listing.root,))


def find_classes(options: LayoutOptions, listing: Listing) -> Found:
    """List the images of one folder per class; the class is each image's attribute."""
    _need_images("classes", listing)
    parts = _split_folders(listing)
    loose = [rest for _, _, rest in parts if "/" not in rest]
    if loose:
        raise _unfit("classes", listing, f"{len(loose)} images beside the class folders ({_some(loose)})")
    classes = sorted({rest.split("/")[0] for _, _, rest in parts})
    check_apart(classes, f"--layout classes --input {listing.uri}", "class")
    keys = _keys_by_split(parts)
    records = []
    for path, split, rest in parts:
        labels = tuple(int(name == rest.split("/")[0]) for name in classes)
        records.append(Record(keys[path], (path,), split, labels=labels, bytes=listing.files[path]))
    counts = Counter(rest.split("/")[0] for _, _, rest in parts)
    notes = [f"images of each class: {_some([f'{name} {counts[name]:,}' for name in classes], 12)}"]
    if len(classes) == 1:
        notes = [f"one class only: {classes[0]}; a method that changes classes needs two, each a folder of --input"]
    else:
        notes += [f"{str(hint)[0].lower()}{str(hint)[1:-1]}" for hint in _hints(listing) if hint.layout != "classes"]
    names = tuple(map(normal, classes))
    found = Found("labelled", ("image",), tuple(records), "files", (listing.root,), names, exclusive=True)
    return replace(found, notes=tuple(notes))


def find_celeba(options: LayoutOptions, listing: Listing) -> Found:
    """List the images of a list of attributes or classes: CelebA's, in all its forms, or one's own (`--list`)."""
    _need_images("celeba", listing)
    images, given = lists.Images(listing.images), options.labels_list
    table = "" if given else lists.one_of(listing.files, listing.uri, "attributes")
    if not (given or table):
        raise _no_list(listing, images)
    url = lists.named(given, listing.root) if given else f"{listing.root}/{table}"
    rows = lists.read(url, images)
    by = lists.split_column(rows, SPLITS)
    names = tuple(name for name in rows.names if name != by)
    if not names:
        fix = "Give each row the image's attributes or its class."
        raise DataError(rows.where, "no column besides that of the files", "attributes or a class", fix)
    labelled = lists.labels_of(rows, _chosen(options.attributes, names, rows.where), names)
    of, notes = lists.matched(rows, images), [labelled.note]
    partition = "" if by else lists.one_of(listing.files, listing.uri, "partition")
    splits: dict[str, str] = {}
    if by:
        by_file = lists.splits_of(rows, by, SPLITS)
        splits = {path: by_file[rows.files[row]] for path, row in of.rows.items()}
    elif partition:
        cut_by = lists.read(f"{listing.root}/{partition}", images)
        splits = lists.partition_of(cut_by, images, of.rows, SPLITS)
        notes.append(cut_by.described("splits"))
        listing.opened.add(place(listing.root, partition))
    folder, _, name = url.rpartition("/")
    listing.opened.add(place(folder, name))
    listing.opened.update(place(listing.root, path) for path in of.without_row)  # these are counted already
    keys = _keys_of_listed(of.rows)
    records = [
        Record(keys[path], (path,), splits.get(path), WHOLE, labelled.labels[of.rows[path]], listing.files[path])
        for path in sorted(of.rows)
    ]
    return Found(
        "labelled", ("image",), tuple(records), "files", (listing.root,), labelled.names, labelled.exclusive,
        notes=(*notes, *lists.notes_of(rows, of)), lone=lists.lone_of(rows, of, listing.uri),
    )  # fmt: skip


def _keys_of_listed(paths: Collection[str]) -> dict[str, str]:
    """Map images to keys: their names, or their paths where folders tell equal names apart."""
    names = [(path, path.rpartition("/")[2]) for path in sorted(paths)]
    return _unique_keys(names if len({name for _, name in names}) == len(names) else [(p, p) for p, _ in names])


def _no_list(listing: Listing, images: lists.Images) -> DataError:
    """Say that no list is there, and name a file that can be read as one."""
    error = _unfit("celeba", listing, "no list of attributes (list_attr_celeba.txt)")
    if path := lists.likely(listing.files, listing.root, images):
        fix = f"If {path} is the list, name it: --list {shlex.quote(f'{listing.uri}/{path}')}."
        return DataError(error.where, error.found, error.expected, fix)
    return error


def _chosen(wanted: tuple[str, ...], names: tuple[str, ...], where: str) -> tuple[str, ...]:
    wanted = tuple(part for text in wanted for part in listed(text, names))
    for name in wanted:
        if name not in names:
            raise DataError("--attributes", repr(name), f"attributes of {where}", nearest(name, names))
    if len(set(wanted)) < len(wanted):
        raise ConfigError("--attributes", " ".join(wanted), "each attribute once", "Remove the repeated one.")
    chosen = wanted or (CELEBA_ATTRIBUTES if set(CELEBA_ATTRIBUTES) <= set(names) else names)
    check_apart(chosen, where, "attribute")
    return chosen


def find_glyphs(options: glyphs.GlyphOptions, layout: LayoutOptions) -> Found:
    """List the drawings of the built-in characters, split by character; of classes, by drawing."""
    styles = [style for name, style in glyphs.STYLES.items() if name in (options.styles or glyphs.STYLES)]
    if options.glyphs == "classes":
        return _glyphs_of_classes(glyphs.DIGITS[: options.characters], styles)
    characters = order(glyphs.characters(), "characters", layout.seed)[: options.characters]
    splits = cut(characters, layout.split, layout.seed, "glyphs")
    if options.glyphs == "unpaired":
        return _unpaired_glyphs(options, splits)
    if options.glyphs == "labelled":
        vary = [i for i in range(len(glyphs.ATTRIBUTES)) if len({style.labels[i] for style in styles}) > 1]
        kept = vary or list(range(len(glyphs.ATTRIBUTES)))
        records = [
            Record(
                _glyph_key(c, s.name), (glyphs.source(c, s.name),), splits[c], labels=tuple(s.labels[i] for i in kept)
            )
            for c in sorted(splits)
            for s in styles
        ]
        attributes = tuple(glyphs.ATTRIBUTES[i] for i in kept)
        return Found("labelled", ("image",), tuple(records), "glyphs", ("",), attributes)
    pair = {"outline": _outline_pair, "bold": _bold_pair, "colour": _colour_pair}[options.variant]
    styles = [s for s in styles if "bold" not in s.attributes] if options.variant == "bold" else styles
    if not styles:
        raise ConfigError("--styles", " ".join(options.styles), "one that is not bold", "Name sans-regular, say.")
    records = [Record(_glyph_key(c, s.name), pair(c, s), splits[c]) for c in sorted(splits) for s in styles]
    return Found("paired", ("a", "b"), tuple(records), "glyphs", ("", ""))


def _glyphs_of_classes(characters: str, styles: Sequence[glyphs.Style]) -> Found:
    """List many drawings of each character in each style; the character is the class."""
    records = [
        Record(
            f"{_glyph_key(character, style.name)}-{copy:02d}",
            (glyphs.source(character, style.name, f"fill.{copy}"),),
            labels=tuple(int(character == other) for other in characters),
        )
        for character in characters
        for style in styles
        for copy in range(glyphs.COPIES)
    ]
    names = tuple(characters)
    return Found("labelled", ("image",), tuple(records), "glyphs", ("",), names, exclusive=True)


def _outline_pair(character: str, style: glyphs.Style) -> tuple[str, str]:
    return glyphs.source(character, style.name, "outline"), glyphs.source(character, style.name)


def _colour_pair(character: str, style: glyphs.Style) -> tuple[str, str]:
    return glyphs.source(character, style.name, "black"), glyphs.source(character, style.name, "ground")


def _bold_pair(character: str, style: glyphs.Style) -> tuple[str, str]:
    wanted = style.attributes | {"bold"}
    bold = next(s.name for s in glyphs.STYLES.values() if s.attributes == wanted)
    return glyphs.source(character, style.name), glyphs.source(character, bold)


def _unpaired_glyphs(options: glyphs.GlyphOptions, splits: dict[str, str]) -> Found:
    """Deal train's characters to A and B in turn; val and test have all of theirs in both domains."""
    train = [c for c, split in splits.items() if split == "train"]
    owner = {c: "AB"[i % 2] for i, c in enumerate(train)}
    drawings = ("fill", "scan" if options.scanned else "fill")
    records = [
        Record(_glyph_key(c, face), (glyphs.source(c, face, drawing),), splits[c], domain)
        for domain, face, drawing in zip("AB", options.faces, drawings, strict=True)
        for c in sorted(splits)
        if owner.get(c, domain) == domain
    ]
    return Found("unpaired", ("image",), tuple(records), "glyphs", ("",), domains=("A", "B"))


def _glyph_key(character: str, style: str) -> str:
    return f"U+{ord(character):04X}-{style}"


def find_streets(options: streets.StreetOptions) -> Found:
    """List the samples of the built-in streets."""
    names = streets.names_of(options)
    classes = options.shown if options.streets == "weather" else ()
    records = tuple(
        Record(each.key, each.sources, labels=tuple(int(each.condition == name) for name in classes), clip=each.clip)
        for each in streets.listed(options)
    )
    kind: Kind = {"twins": "paired", "weather": "labelled"}.get(options.streets, "fields")  # type: ignore[assignment]
    known = tuple(Declared(name, "", streets.FIELDS[name]) for name in names) if kind == "fields" else ()
    return Found(
        kind, names, records, "streets", ("",) * len(names), classes, exclusive=bool(classes), declared=known,
        made_by={"streets": options.as_json()},
    )  # fmt: skip


def find_fields(options: LayoutOptions, listing: Listing, fields: FieldOptions) -> Found:
    """Find the files of fields by their patterns. A sample that misses one is listed all the same: it is refused, or
    left out by name, when it is written."""
    known = declared(fields)
    where = f"--input {listing.uri}"
    by_sample = [_matched(one, known, listing, where) for one in known]
    samples = sorted({places for found in by_sample for places in found}, key=_in_order)
    words = sorted({places.domain for places in samples})
    if len(words) > 2:
        raise DataError(where, f"domains {_some(words, 6)}", "one or two", "Name two folders by {domain}.")
    domains = dict(zip(words, "AB", strict=True)) if len(words) == 2 else {}
    classes = tuple(sorted({places.label for places in samples} - {""}))
    check_apart(classes, where, "class")
    records = []
    for places in samples:
        paths = tuple(found.get(places) or one.path(places.named) for one, found in zip(known, by_sample, strict=True))
        size = sum(listing.files.get(path, 0) for path in paths)
        split, domain = SPLITS.get(places.split.lower()), domains.get(places.domain, WHOLE)
        labels = tuple(int(name == places.label) for name in classes)
        records.append(Record(places.sample, paths, split, domain, labels, size, clip=places.clip))
    _check_keys(records, where)
    return Found(
        "fields", tuple(one.name for one in known), tuple(records), "files", (listing.root,) * len(known),
        tuple(map(normal, classes)),
        exclusive=bool(classes), domains=tuple(domains.values()) or (WHOLE,), declared=known,
        clip_overlap=fields.clip_overlap,
        notes=tuple(f"domain {side} is {word}" for word, side in domains.items()),
    )  # fmt: skip


class Places(NamedTuple):
    """Hold what the places of a pattern ({key}, {split}, ...) stand for in one sample; "" for places that no pattern
    has."""

    split: str
    domain: str
    label: str
    clip: str
    name: str
    """Its key, or the frame."""

    @property
    def sample(self) -> str:
        """WebDataset key of the sample: no dot in its last part."""
        folder, slash, last = "/".join(part for part in (self.label, self.clip, self.name) if part).rpartition("/")
        return folder + slash + last.replace(".", "_")

    @property
    def named(self) -> dict[str, str]:
        """The same values by the names that patterns have for them."""
        split, domain, label, clip, name = self
        return {"split": split, "domain": domain, "class": label, "clip": clip, "frame": name, "key": name}


def _matched(one: Declared, known: Sequence[Declared], listing: Listing, where: str) -> dict[Places, str]:
    """Map samples to the files of a field. A file that another field's pattern describes more closely is left to that
    field: 1_ids.png is no {key}.png where there is a {key}_ids.png. Raises DataError where no file matches, or a
    {split} is none."""
    looks, found = one.regex, dict[Places, str]()
    closer = [other.regex for other in known if other.letters > one.letters]
    for path in listing.files:
        if (match := looks.fullmatch(path)) and not any(other.fullmatch(path) for other in closer):
            part = {name.removeprefix("at_"): value for name, value in match.groupdict("").items()}
            split = part.get("split", "")
            if split and split.lower() not in SPLITS:
                raise DataError(f"{where}, {path}", f"the split {split!r}", " ".join(SPLITS), "Rename the folder.")
            name = part.get("frame") or part.get("key", "")
            found[Places(split, part.get("domain", ""), part.get("class", ""), part.get("clip", ""), name)] = path
    if not found:
        fix = f"There are {len(listing.files)} files, {_some(listing.files)}: correct the pattern."
        raise DataError(f"--field {one.name}", f"no file of {one.pattern} in {listing.uri}", "one of each sample", fix)
    return found


def _in_order(places: Places) -> tuple[object, ...]:
    return (*places[:4], by_number(places.name), places.name)


def by_number(name: str) -> list[tuple[int, str]]:
    """Give a sort key that orders names by the numbers in them: 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _check_keys(records: Sequence[Record], where: str) -> None:
    seen: dict[tuple[str | None, str, str], Record] = {}
    for r in records:
        other = seen.setdefault((r.split, r.domain, r.key), r)
        if other is not r:
            found = f"both {other.sources[0]} and {r.sources[0]}, which are one key, {r.key}"
            raise DataError(where, found, "names that differ in more than dots", "Rename one of the two.")


_LAYOUTS: dict[str, Callable[[LayoutOptions, Listing], Found]] = {
    "ab": find_ab,
    "pairs": find_pairs,
    "unpaired": find_unpaired,
    "images": find_images,
    "classes": find_classes,
    "celeba": find_celeba,
}


# ---- names ----


def _unique_keys(paths: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Map paths to WebDataset keys: the name without ending and without a dot in its last part, none twice."""

    def key(name: str, ending: str = "") -> str:
        folder, _, last = _stem(name).rpartition("/")
        last = last.replace(".", "_") + ending
        return f"{folder}/{last}" if folder else last

    shared = Counter(key(name) for _, name in paths)
    keys: dict[str, str] = {}
    taken = {k for k, count in shared.items() if count == 1}
    for path, name in paths:
        wanted = key(name)
        if shared[wanted] > 1:
            number, base = 1, key(name, f"_{_extension(name)}")
            wanted = base
            while wanted in taken:
                number, wanted = number + 1, f"{base}_{number + 1}"
            taken.add(wanted)
        keys[path] = wanted
    return keys


def _keys_by_split(parts: Sequence[tuple[str, str | None, str]]) -> dict[str, str]:
    groups = defaultdict(list)
    for path, split, rest in parts:
        groups[split].append((path, rest))
    return {path: key for group in groups.values() for path, key in _unique_keys(group).items()}


def _split_folders(listing: Listing) -> list[tuple[str, str | None, str]]:
    """Give (path, split, path below the split's folder) of every image, as `_splits_of`."""
    return _splits_of([(path, path) for path in listing.images], f"--input {listing.uri}")


def _splits_of(names: Iterable[tuple[str, str]], where: str) -> list[tuple[str, str | None, str]]:
    """Give (what, split, path below the split's folder) of (what, path); the split is None where there are no such
    folders.

    Raises:
        DataError: some images lie in split folders and others beside them.
    """
    parts: list[tuple[str, str | None, str]] = []
    for what, path in names:
        top, _, rest = path.partition("/")
        split = SPLITS.get(top.lower()) if rest else None
        parts.append((what, split, rest if split else path))
    outside = [rest for _, split, rest in parts if split is None]
    if outside and len(outside) < len(parts):
        fix = "Move them into a split's folder, or away."
        found = f"{len(outside)} images outside of the split folders ({_some(outside)})"
        raise DataError(where, found, "all images in train/, val/ or test/, or none", fix)
    return parts


def _top_folders(listing: Listing) -> list[str]:
    return sorted({path.split("/")[0] for path in listing.images if "/" in path})


# ---- what else it might be ----


def _need_images(layout: str, listing: Listing) -> None:
    if not listing.images:
        kinds = Counter(f".{_extension(p)}" if _extension(p) else "no ending" for p in listing.files)
        found = f"no image among {len(listing.files)} files"
        found += f" ({', '.join(f'{n} {kind}' for kind, n in kinds.most_common(3))})" if kinds else ""
        fix = f"Name a folder with images ({' '.join(sorted(EXTENSIONS))})."
        raise DataError(f"--input {listing.uri}", found, LOOKS[layout], fix)


def _hints(listing: Listing) -> list[hints.Hint]:
    return hints.hints(listing, celeba=lists.has_known(listing.files))


def _unfit(layout: str, listing: Listing, found: str = "") -> DataError:
    tops = _top_folders(listing)
    there = f"{len(listing.images)} images" + (f" in {_some([top + '/' for top in tops], 6)}" if tops else "")
    fix = hints.advice(_hints(listing), layout)
    return DataError(f"--layout {layout} --input {listing.uri}", found or there, LOOKS[layout], fix)
