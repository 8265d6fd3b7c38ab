"""Describe what a sample is made of, and what a method reads of a data set.

A sample has named fields, and each field has a role, which says how its values are read, resized, mirrored and scaled:

    role        in a batch                              resized         scaled          mirrored
    image       (n, C, H, W) float in [-1, 1]           as --resample   yes             yes
    classes     (n, 1, H, W) int64, ids of classes      nearest         never           yes; ids of pairs swap
    instances   (n, 1, H, W) int64, ids of objects      nearest         never           yes
    map         (n, C, H, W) float, as declared         bilinear        as declared     yes; channels of pairs swap
    vector      (n, *shape) float                       points move     as declared     points move, pairs swap
    text        captions of each sample                 -               -               yes, unless declared otherwise
    boxes       (N, 5) float of each sample             move            -               move

Attributes are no field: they stand in the index, where every worker knows those of a whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

WHOLE = "all"
"""The one domain of data sets that have one."""
Kind = Literal["paired", "unpaired", "labelled", "fields"]
"""Names of common data sets, for people and messages: see `Schema.kind`."""
Relation = Literal["same", "other"]
"""Class of a sample's companions: the sample's own, or another one."""
Role = Literal["image", "classes", "instances", "map", "vector", "text", "boxes"]
ROLES: tuple[Role, ...] = get_args(Role)
PIXELS = frozenset({"image", "classes", "instances", "map"})
"""Roles whose values stand on a grid of pixels."""
IDS: frozenset[Role] = frozenset({"classes", "instances"})
"""Roles whose values are ids: nothing may come between two of them."""
NUMBERS = PIXELS | {"vector"}
"""Roles that are one tensor in a batch; the others are lists, an entry per sample."""
MOST_CLASSES = 1 << 16
MOST_CHANNELS = 1 << 10
"""Most channels of an image or a map."""
MOST_ATTRIBUTES = 10_000
MOST_PIXELS = 1 << 27
"""Most pixels of an image, and numbers of a vector."""

_DTYPES: dict[str, tuple[str, ...]] = {
    "image": ("uint8", "uint16", "float32"),
    "classes": ("uint8", "uint16"),
    "instances": ("uint8", "uint16", "uint32"),
    "map": ("uint8", "uint16", "float32"),
    "vector": ("float32",),
    "text": ("str",),
    "boxes": ("float32",),
}
_ENDINGS: dict[str, tuple[str, ...]] = {
    "classes": ("png",),
    "instances": ("png",),
    "map": ("png", "npy"),
    "vector": ("npy",),
    "text": ("txt", "json"),
    "boxes": ("json",),
}


@dataclass(frozen=True)
class Field:
    """Describe one field of every sample: how it is stored, and what its role adds to that.

    The first five say how it is stored; a version 1 manifest has no others. `height` and `width` are 0 where they
    differ between samples, and where there are no pixels.
    """

    extension: str
    channels: int
    """0 where there are no pixels."""
    dtype: str
    """`uint8`, `uint16` or `float32`; of instances also `uint32`; of text `str`."""
    height: int
    width: int
    role: Role = "image"
    kind: Literal["plain", "flow", "points"] = "plain"
    """Meaning of the values. Of a map, `flow`: channels u, v, in pixels to the right and down. Of a vector, `points`:
    (..., P, 2 or 3) of x, y and visibility, in pixels from the top left corner of the picture (the middle of its first
    pixel is .5, .5)."""
    classes: int = 0
    """Number of classes of a label map (ids are 0 to classes - 1) or of boxes; 0: boxes have none."""
    names: tuple[str, ...] = ()
    """Names of the classes."""
    palette: tuple[tuple[int, ...], ...] = ()
    """Colour of each class, (R, G, B), by its id."""
    ignore: int | None = None
    """Id outside of the classes that a label map may hold where no class is known."""
    low: float | None = None
    high: float | None = None
    """Range of the values (without it, -1 and 1 for float images). Stored integers stand for it: 0 is low, the largest
    is high. A float image comes into a batch scaled from it to [-1, 1]; maps and vectors as they are."""
    shape: tuple[int, ...] = ()
    """Shape of a vector."""
    flip: bool = True
    """False where a sample may not be mirrored, as beside a text that names sides."""
    pairs: tuple[tuple[int, int], ...] = ()
    """Pairs that swap when a sample is mirrored: ids of classes, channels of a map, or points."""
    frame: str = ""
    """Field in whose pixels points and boxes are; empty: the first that has pixels."""
    channels_b: int = 0
    """Channels of images of the second domain, where they differ from those of the first, which `channels` counts."""

    def on(self, second: bool) -> Field:
        """Describe the field in one of two domains alone."""
        return replace(self, channels=self.channels_b or self.channels, channels_b=0) if second else self._first

    @property
    def _first(self) -> Field:
        return replace(self, channels_b=0) if self.channels_b else self

    @property
    def of_version_1(self) -> bool:
        """Tell whether a version 1 manifest can describe it."""
        return self == Field(self.extension, self.channels, self.dtype, self.height, self.width)

    def as_json(self) -> dict[str, Any]:
        """Give its values as JSON has them, without those that are not declared."""
        first = ("extension", "channels", "dtype", "height", "width")
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        return {name: value for name, (value, default) in values.items() if name in first or value != default}


def with_sizes(a: Field, b: Field) -> Field:
    """Describe two samples' field at once: height and width become 0 where they differ."""
    return replace(a, height=a.height * (a.height == b.height), width=a.width * (a.width == b.width))


def contradictions(field: Field) -> Iterator[tuple[str, str]]:
    """Give each value that a field declares and cannot have, with what it could have."""
    role = field.role
    if (
        field.dtype not in _DTYPES[role]
        or (field.channels < 1) == (role in PIXELS)
        or min(field.height, field.width) < 0
    ):
        shape = f"{field.height}x{field.width}x{field.channels} {field.dtype}"
        yield f"of {shape}", f"{'channels, and ' if role in PIXELS else ''}{', '.join(_DTYPES[role])}"
    if field.channels > MOST_CHANNELS or max(field.height, field.width, field.height * field.width) > MOST_PIXELS:
        found = f"of {field.height}x{field.width} pixels of {field.channels} channels"[:80]
        yield found, f"at most {MOST_PIXELS:,} pixels of {MOST_CHANNELS:,} channels"
    if field.channels_b and (role != "image" or not 0 < field.channels_b <= MOST_CHANNELS):
        yield f"of {field.channels_b} channels in the second domain"[:80], f"1 to {MOST_CHANNELS:,}, of images"
    if role in _ENDINGS and field.extension not in _ENDINGS[role]:
        yield f"stored as {field.extension[:80]!r}", f"{role} stored as {' or '.join(_ENDINGS[role])}"
    if role in IDS and field.channels != 1:
        yield f"of {field.channels} channels", f"{role} in one channel"
    yield from _class_contradictions(field)
    yield from _value_contradictions(field)


def _class_contradictions(field: Field) -> Iterator[tuple[str, str]]:
    n = field.classes
    if not 0 <= n <= MOST_CLASSES or (field.role == "classes") > n or (n and field.role not in ("classes", "boxes")):
        yield f"of {n} classes", f"1 to {MOST_CLASSES} of a label map, and of boxes that have any"
    for what, of_each in (("names", field.names), ("colours", field.palette)):
        if of_each and len(of_each) != n:
            yield f"with {len(of_each)} {what} of {n} classes", "one of each class"
    if any(len(colour) != 3 or not all(0 <= c <= 255 for c in colour) for colour in field.palette):
        yield "with a colour that is none", "three numbers from 0 to 255"
    if field.ignore is not None and (field.role != "classes" or not 0 <= field.ignore < 1 << 16):
        yield f"with the id {field.ignore} ignored", "of a label map, an id of 0 to 65535"


def _value_contradictions(field: Field) -> Iterator[tuple[str, str]]:
    kinds = {"map": ("plain", "flow"), "vector": ("plain", "points")}.get(field.role, ("plain",))
    if field.kind not in kinds:
        yield f"a {field.role} of kind {field.kind}", " or ".join(kinds)
    if field.kind == "flow" and field.channels != 2:
        yield f"a flow of {field.channels} channels", "two, u and v"
    if field.role == "vector" and (not field.shape or min(field.shape) < 1 or math.prod(field.shape) > MOST_PIXELS):
        yield f"a vector of shape {field.shape}"[:80], f"sizes of 1 or more, of at most {MOST_PIXELS:,} numbers"
    if field.kind == "points" and (len(field.shape) < 2 or field.shape[-1] not in (2, 3)):
        yield f"points of shape {field.shape}", "(..., P, 2 or 3)"
    low, high = (0.0, 1.0) if field.low is None and field.high is None else (field.low, field.high)
    if low is None or high is None or not (low < high and math.isfinite(high - low)):
        yield f"a range from {field.low} to {field.high}", "two numbers, the lower first"
    most = _swappable(field)
    flat = [i for pair in field.pairs for i in pair]
    if any(len(pair) != 2 for pair in field.pairs) or len({*flat}) < len(flat) or not all(0 <= i < most for i in flat):
        yield f"with pairs {field.pairs}", f"pairs of two different numbers below {most}, each once"


def _swappable(field: Field) -> int:
    """Count the ids, channels or points of which `flip_pairs` can swap two."""
    if field.role == "map":
        return field.channels
    if field.kind == "points":
        return field.shape[-2] if len(field.shape) > 1 else 0
    return field.classes if field.role == "classes" else 0


@dataclass(frozen=True)
class Schema:
    """Describe the samples of a data set, wherever they are stored: what a method's `fit` reads."""

    fields: dict[str, Field]
    attributes: tuple[str, ...] = ()
    exclusive: bool = False
    """Every sample has exactly one attribute (a class per folder)."""
    domains: tuple[str, ...] = (WHOLE,)
    clips: bool = False
    """Samples are frames of clips, whose lengths stand in the indexes."""

    def fields_in(self, domain: str) -> dict[str, Field]:
        """Describe the fields of one domain's samples."""
        second = len(self.domains) == 2 and domain == self.domains[1]
        return {name: field.on(second) for name, field in self.fields.items()}

    @property
    def kind(self) -> Kind:
        """Name the shape of the data set for a person: what it has at least of the common ones.

        unpaired: two domains; paired: fields a and b; labelled: a field image, and attributes or nothing else.
        """
        if len(self.domains) == 2:
            return "unpaired"
        if self.fields.keys() >= {"a", "b"}:
            return "paired"
        labelled = "image" in self.fields and (self.attributes or len(self.fields) == 1)
        return "labelled" if labelled else "fields"


def field_on(side: str, name: str) -> str:
    """Name a field as a batch has it: `SIDE` of the image, `SIDE.NAME` of others. A side is a domain (`a`, `b`),
    `again` or `companions`."""
    return side if name == "image" else f"{side}.{name}"


@dataclass(frozen=True)
class Lack:
    """Say what a data set lacks for a method: what was found, what was expected, and how to make it."""

    found: str
    expected: str
    fix: str


SHARDED = {
    "paired": "Shard pairs of images: --layout pairs, two folders with equal names.",
    "unpaired": "Shard the two folders again: --layout unpaired --input A --input-b B.",
    "labelled": "Shard a folder for each class: --layout classes.",
}
"""Advice on how to make data of each kind."""


class Needs:
    """Say what a method reads of a data set: a pattern that a schema fits or not.

    Args:
        fields: role by name: `{"labels": "classes", "instances?": "instances", "image": "image"}`. A name with `?` may
            be missing. `flow` and `points` are roles of these kinds.
        domains: 2: two sets of samples that are not paired, each with these fields.
        attributes: whether the index must say what samples show.
        frames: samples that follow each other in a clip; 1: any samples.
        again: whether a batch holds samples of the one domain twice, in orders that know nothing of each other: the
            second ones are fields `again` and `again.NAME`, their attributes `again.labels`.
        companions: how many others come with each sample, as fields `companions` and `companions.NAME` (n, K, ...) and
            attributes `companions.labels` (n, K, A).
        relation: of which class they are: the same, or another.

    Raises:
        ValueError: relations of two domains, or of sequences.
    """

    def __init__(
        self,
        fields: Mapping[str, str],
        *,
        domains: int = 1,
        attributes: bool = False,
        frames: int = 1,
        again: bool = False,
        companions: int = 0,
        relation: Relation = "same",
    ) -> None:
        if (again or companions) and (domains > 1 or frames > 1):
            raise ValueError("samples have companions, or come twice, where they stand alone and are of one domain")
        self.again, self.companions, self.relation = again, companions, relation
        self.roles = {name.removesuffix("?"): role for name, role in fields.items()}
        self.optional = frozenset(name.removesuffix("?") for name in fields if name.endswith("?"))
        self.domains, self.attributes, self.frames = domains, attributes, frames

    def of_frames(self, frames: int) -> Needs:
        """Return the same needs with sequences of `frames` frames; 0 keeps their own number."""
        other = copy(self)
        other.frames = frames or self.frames
        return other

    @property
    def kind(self) -> Kind:
        """Name the shape of data sets that fit, as `Schema.kind` does."""
        if self.domains == 2:
            return "unpaired"
        if self.roles.keys() >= {"a", "b"}:
            return "paired"
        return "labelled" if "image" in self.roles and (self.attributes or len(self.roles) == 1) else "fields"

    @property
    def in_batch(self) -> tuple[str, ...]:
        """Name the fields as a batch has them: of two domains those of each; else the fields, then those of `again` and
        `companions`."""
        if self.domains == 2:
            return tuple(field_on(side, name) for side in "ab" for name in self.roles)
        sides = ["again"] * self.again + ["companions"] * bool(self.companions)
        return (*self.roles, *(field_on(side, name) for side in sides for name in self.roles))

    def stored(self, name: str, direction: str) -> str:
        """Name the field of a data set that a batch has under a name: what stands behind the side (`b.labels`), or the
        image; of pairs that are read from b to a, the other side."""
        side, _, rest = name.partition(".")
        if self.domains == 2 or (side in ("again", "companions") and side not in self.roles):
            return rest or "image"
        swapped = direction == "BtoA" and self.roles.keys() >= {"a", "b"}
        return {"a": "b", "b": "a"}.get(name, name) if swapped else name

    def field(self, schema: Schema, name: str, direction: str) -> Field | None:
        """Describe the field of a data set that a batch has under a name; None where it has none."""
        found = schema.fields.get(self.stored(name, direction))
        if found is None or self.domains != 2 or len(schema.domains) != 2:
            return found
        return found.on((name.partition(".")[0] == "b") == (direction == "AtoB"))

    @property
    def described(self) -> str:
        """List the fields with their roles, for messages: `labels (classes), image (image)`."""
        return ", ".join(f"{name} ({role})" for name, role in self.roles.items())

    def reads(self, schema: Schema) -> frozenset[str]:
        """Name the fields of a data set that the method reads, and those in whose pixels points and boxes are."""
        mine = {name for name in self.roles if name in schema.fields}
        return frozenset(mine | {schema.fields[name].frame for name in mine if schema.fields[name].frame})

    def lacks(self, schema: Schema) -> Lack | None:
        """Tell what a data set lacks, in the names of common data sets where those say it all; None: it fits."""
        lack = self._lack(schema)
        if lack and self.kind != schema.kind and "fields" not in (self.kind, schema.kind):
            fix = (
                f"{SHARDED[self.kind]} Or name another data set." if self.kind in SHARDED else "Name another data set."
            )
            return Lack(f"{schema.kind} samples", f"{self.kind} ones", fix)
        return lack

    def _lack(self, schema: Schema) -> Lack | None:
        if len(schema.domains) != self.domains:
            names = ("one domain", "two domains")
            found, expected = (names[n - 1] for n in (len(schema.domains), self.domains))
            return Lack(f"{schema.kind} samples of {found}", expected, "Name another data set.")
        for name, role in self.roles.items():
            if name in schema.fields and _role_name(schema.fields[name]) != role:
                found = f"field {name} of role {_role_name(schema.fields[name])}"
                return Lack(found, f"one of role {role}", f"Declare it so: {_how(name, role)}.")
            if name not in schema.fields and name not in self.optional:
                has = ", ".join(f"{n} ({_role_name(f)})" for n, f in schema.fields.items())
                return Lack(
                    f"no field {name}, but {has}", f"a field {name} of role {role}", f"Add it: {_how(name, role)}."
                )
        if self.attributes and not schema.attributes:
            return Lack("samples without attributes", "labelled ones", "Shard them with --layout classes or celeba.")
        if self.companions and not schema.exclusive:
            has = f"attributes {', '.join(schema.attributes)}" if schema.attributes else "samples without a class"
            expected = f"a class for each sample, by which {self.companions} others are found beside it"
            return Lack(has, expected, "Shard a folder for each class: --layout classes.")
        if self.frames > 1 and not schema.clips:
            fix = "Shard folders of frames: --layout fields --field image=frames/{clip}/{frame}.png."
            return Lack("single samples", f"clips, of which {self.frames} frames at a time are read", fix)
        return None


def _role_name(field: Field) -> str:
    return field.role if field.kind == "plain" else field.kind


def _how(name: str, role: str) -> str:
    ending = {"vector": "npy", "points": "npy", "flow": "npy", "text": "txt", "boxes": "json"}.get(role, "png")
    of = "" if role == "image" else f":{role}"
    flag = f"--field {name}{of}={name}/{{key}}.{ending}"
    return f"`python pipelines/shard.py --layout fields {flag}`, and the others beside it"
