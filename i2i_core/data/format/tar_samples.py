"""Read the samples of somebody's tars in one pass: where their members lie, what they are, and what cannot be used."""

from __future__ import annotations

import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

from i2i_core.data.format.places import no_file_name
from i2i_core.data.format.table import Shard
from i2i_core.data.format.tar_labels import Unread, is_bit, label_in
from i2i_core.data.format.tar_names import MemberNames
from i2i_core.data.format.tars import HashedReader, is_file, tar_entries
from i2i_core.errors import DataError, counted
from i2i_core.fields import Field
from i2i_core.images.codec import check_range, decode
from i2i_core.names import printable
from i2i_core.storage.remote import storage_of

IMAGES = "images that cannot be read"
FIELDS = "samples without their images"
KINDS = "images of another kind than most"
LABELLING = "labels that cannot be used"
NAMES = "keys that cannot be names of files"
TWICE = "keys or members that come twice"
PIECES = "samples in pieces"
LINKS = "images that are links, devices or too large"
DAMAGE = "damaged tars"

SKIP = "--bad skip leaves such samples out"
_FIXES = {
    DAMAGE: "Copy the tar again; --bad skip takes the samples before that byte.",
    LABELLING: f"Name attributes that every sample has, with --attributes; {SKIP}.",
    PIECES: f"--rewrite --out NEW puts them together; where names have dots, add --keys last-dot; {SKIP}.",
}
_EXPECTED = {
    IMAGES: "an image",
    FIELDS: "samples KEY.a.png KEY.b.png, or KEY.png",
    LABELLING: "labels",
    NAMES: "a name that a file can have",
    TWICE: "every key and every member once",
    PIECES: "the members of a sample one after the other",
    LINKS: "an image in one piece",
    DAMAGE: "a whole one",
}
MOST_IMAGE = 1 << 30
MOST_LABEL = 16 << 20
"""Bytes of one image, and of what holds labels, beyond which they are refused unread."""


@dataclass(frozen=True)
class Fault:
    """Say why a sample (or, without a key, the rest of a tar) cannot be used."""

    key: str
    kind: str
    cause: str
    member: str = ""
    expected: str = ""
    fix: str = ""

    def error(self, where: str) -> DataError:
        """Make an error of it that names the tar, which is `where`."""
        place = where if not self.key else f"{where}: {printable(self.key)}" + f".{self.member}" * bool(self.member)
        fix = self.fix or _FIXES.get(self.kind, f"Mend or remove it; {SKIP}.")
        return DataError(place, self.cause, self.expected or _EXPECTED[self.kind], fix)


Image = tuple[int, int, Field]
"""Offset and size of an image in its tar, and what it is."""
Kinds = tuple[tuple[str, int, str, bool], ...]
"""Name, channels and dtype of each image of a sample, and whether its name has to say that it is a TGA."""


class Member(NamedTuple):
    """Hold a member of a sample."""

    name: str
    start: int
    """Where its header begins."""
    at: int
    size: int
    wrong: str
    """Why it cannot be read at its offset; empty if it can."""
    data: bytes


class Part(NamedTuple):
    """Say where a further member of a sample lies."""

    name: str
    at: int
    size: int


@dataclass(frozen=True)
class Sample:
    """Hold a sample of a tar: its images by name, and its label."""

    key: str
    images: dict[str, Image]
    label: Any
    """Value of the member that holds labels; None where it has none, a Fault where it cannot be read."""
    members: tuple[str, ...] = ()
    """Names of all its members, in lower case."""
    parts: tuple[Part, ...] = ()
    """Its other members, where it is to be written again."""

    @property
    def kind(self) -> Kinds:
        """Kind of each image, by which samples are compared. Their contents say what they are stored as."""
        return tuple(
            (name, f.channels, f.dtype, f.extension == "tga") for name, (_, _, f) in sorted(self.images.items())
        )

    @property
    def described(self) -> str:
        """Describe its images, for messages."""
        return " and ".join(
            f"{name} of {counted(f.channels, 'channel')} of {f.dtype} as {f.extension}"
            for name, (_, _, f) in sorted(self.images.items())
        )

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


def scan(root: str, name: str, bad: str, names: MemberNames | None = None, again: bool = False) -> Scanned:
    """Read one tar from end to end: members, checksums, images.

    Args:
        root, name: the tar.
        bad: `stop` or `skip`.
        names: what its members are.
        again: whether its samples are to be written again. Then images are not decoded yet, further members are noted,
            and the members of a sample may lie apart.

    Raises:
        DataError: with `bad="stop"`, for the first sample that cannot be used, or a damaged tar.
    """
    fs, base = storage_of(root)
    where, names = f"{root.removeprefix('file://')}/{name}", names or MemberNames()
    samples: list[Sample] = []
    left_out: list[Fault] = []

    def leave_out(fault: Fault) -> None:
        if bad == "stop":
            raise fault.error(where)
        left_out.append(fault)

    with fs.open(f"{base}/{name}", "rb") as file:
        reading = HashedReader(file)
        seen: dict[str, tuple[str, ...]] = {}
        forms: dict[tuple[str, ...], tuple[str, ...]] = {}
        for key, members, last in (_together if again else _in_turn)(_members(reading, names, again)):
            form = tuple(member.name.lower() for member in members)
            form = forms.setdefault(form, form)  # of most samples the same
            sample = _sample(key, members, form, names, again)
            if reading.damage and last and (isinstance(sample, Fault) or sample.is_half):
                reading.end = members[0].start  # the damage is in it
                break
            if key in seen and not (isinstance(sample, Fault) and sample.kind == NAMES):
                sample = _again(key, seen[key], members)
            seen[key] = seen[key] + form if key in seen else form
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
        raise DataError(where, found, "both in every sample", f"Complete or remove those samples; {SKIP}.")
    left_out += [Fault(s.key, FIELDS, f"{'b' if 'a' in s.images else 'a'} is missing") for s in half]
    samples = [sample for sample in samples if not sample.is_half]
    if bad == "stop" and not again:
        alike([(where, sample) for sample in samples])
    return Scanned(Shard(name, len(samples), reading.bytes, reading.hash.hexdigest()), samples, left_out)


def _members(reading: HashedReader, names: MemberNames, again: bool) -> Iterator[tuple[str, Member]]:
    """Give each member with its key."""
    for key, name, info, data in tar_entries(reading, partial(_is_read, names, again), names.cut):
        yield key, _member(names, again, name, info, data)


def _member(names: MemberNames, again: bool, name: str, info: tarfile.TarInfo, data: bytes) -> Member:
    return Member(name, info.offset, info.offset_data, info.size, _not_in_one_piece(names, name, info), data)


def _is_read(names: MemberNames, again: bool, member: str, info: tarfile.TarInfo) -> bool:
    """Tell whether a member's data is wanted: images that are written again are read when they are."""
    return info.size <= _most_bytes(names, member) and not (again and not names.is_label(member))


def _most_bytes(names: MemberNames, member: str) -> int:
    return MOST_LABEL if names.is_label(member) else MOST_IMAGE if names.is_image(member) else 0


def _not_in_one_piece(names: MemberNames, member: str, info: tarfile.TarInfo) -> str:
    if not is_file(info):
        kinds = ((info.issym(), "a symbolic link"), (info.islnk(), "a hard link"), (info.isdev(), "a device"))
        return next((kind for is_one, kind in kinds if is_one), "no plain file")
    most = _most_bytes(names, member)
    return f"{info.size} bytes, over the limit of {most}" if most and info.size > most else ""


def _in_turn(entries: Iterator[tuple[str, Member]]) -> Iterator[tuple[str, list[Member], bool]]:
    """Give the members of each sample that follow each other. The last value says that the tar may end in it."""
    for key, some in groupby(entries, key=lambda entry: entry[0]):
        yield key, [member for _, member in some], True


def _together(entries: Iterator[tuple[str, Member]]) -> Iterator[tuple[str, list[Member], bool]]:
    """Give the members of each sample, wherever they lie in the tar. The last value says that the tar ends in it."""
    found: dict[str, list[Member]] = defaultdict(list)
    key = ""
    for key, member in entries:
        found[key].append(member)
    for one, members in found.items():
        yield one, members, one == key


def _again(key: str, before: Sequence[str], members: Sequence[Member]) -> Fault:
    """Say of a key that comes again whether it is another sample or a further piece of the same."""
    names = [member.name.lower() for member in members]
    if not {*before}.isdisjoint(names):
        return Fault(key, TWICE, "a key that stood before, in the same tar")
    return Fault(
        key, PIECES, f"{', '.join(map(printable, names[:3]))} apart from {', '.join(map(printable, before[:3]))}"
    )


# ---- samples ----


def _sample(
    key: str, members: Sequence[Member], form: tuple[str, ...], names: MemberNames, again: bool
) -> Sample | Fault:
    """Give the images of a sample, and its label where it has a member that may hold one. All else is left alone."""
    if wrong := no_file_name(key):
        return Fault(key, NAMES, wrong)
    if twice := [name for name, n in Counter(form).items() if n > 1]:
        return Fault(key, TWICE, f"{twice[0]} twice")
    images = _named(members, names) if names.fields else _by_their_names(members, names)
    if images.keys() not in ({"a"}, {"b"}, {"a", "b"}, {"image"}):
        return _no_images(key, members, images, names)
    found = {}
    for name, some in images.items():
        image = _image(key, some, name, again)
        if isinstance(image, Fault):
            return image
        found[name] = image
    label = _label(key, members, names) if "image" in found else None
    taken = {at for at, _, _ in found.values()}
    parts = tuple(Part(m.name, m.at, m.size) for m in members if again and m.at not in taken and not m.wrong)
    return Sample(key, found, label, form, parts)


def _named(members: Sequence[Member], names: MemberNames) -> dict[str, list[Member]]:
    """Find the images that `--member` names."""
    by_name = {member.name.lower(): member for member in members}
    found = {field: [by_name[one] for one in some if one in by_name][:1] for field, some in names.fields}
    return {field: some for field, some in found.items() if some}


def _by_their_names(members: Sequence[Member], names: MemberNames) -> dict[str, list[Member]]:
    """Find the images by WebDataset's names: `a.png` and `b.png`, or `png`."""
    images: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        if names.is_image(member.name):
            images[member.name.lower().rpartition(".")[0] or "image"].append(member)
    if {"a", "b"} <= images.keys():
        return {name: _no_array(images[name]) for name in ("a", "b", "image") if name in images}
    kept = ["image"] if "image" in images else [name for name in "ab" if name in images]
    return {name: _no_array(images[name]) for name in kept or images}


def _no_array(members: list[Member]) -> list[Member]:
    """Leave arrays beside an image out: they are annotations."""
    return [member for member in members if not member.name.lower().endswith("npy")] or members


def _no_images(key: str, members: Sequence[Member], images: dict[str, list[Member]], names: MemberNames) -> Fault:
    """Say which images there are, and how to name those that are meant."""
    if names.fields:
        has = ", ".join(sorted(printable(member.name) for member in members)[:6])
        wanted = " and ".join(" or ".join(some) for _, some in names.fields)
        fix = f"Name what every sample has, with --member; {SKIP}."
        return Fault(key, FIELDS, f"members {has}", expected=f"a member {wanted}", fix=fix)
    cause = f"images named {', '.join(map(printable, sorted(images))) or 'nothing'}"
    found = [printable(some[0].name) for _, some in sorted(images.items())]
    fix = "Rename the members, or unpack the tars and use --layout"
    if len(found) == 1:
        fix = f"Say that it is the image: --member image={found[0]}"
    elif len(found) == 2:
        fix = f"Say which is which: --member a={found[0]} b={found[1]}"
    elif found:
        fix = f"Name two of them: --member a={found[0]} b={found[1]}, or one: --member image={found[0]}"
    if found:
        fix += "; or, where names of files have dots, --keys last-dot --rewrite --out NEW"
    return Fault(key, FIELDS, cause, fix=f"{fix}; {SKIP}.")


def _label(key: str, members: Iterable[Member], names: MemberNames) -> Any:
    """Read what holds labels: the json if it is an object with attributes, else the cls; or the first that is named."""
    found: dict[str, Any] = {}
    for member in members:
        name = member.name.lower()
        if names.is_label(name):
            value = label_in(name, member.data, names.entry)
            wrong = member.wrong or (value.cause if isinstance(value, Unread) else "")
            found[name] = Fault(key, LABELLING, wrong, member.name) if wrong else value
    if names.labels:
        return next((found[name] for name in names.labels if name in found), None)
    value = found.get("json")
    attributes = isinstance(value, dict) and any(is_bit(v) for v in value.values())
    return value if attributes or "cls" not in found else found["cls"]


def _image(key: str, members: Sequence[Member], field: str, again: bool) -> Image | Fault:
    """Find the image among the members of one name."""
    if len(members) > 1:
        first, second = (printable(member.name) for member in members[:2])
        how = f"image={first}" if field == "image" else f"{field}={first} and the other side's"
        fix = f"Name the one that is meant, --member {how}; or remove one. {SKIP}."
        return Fault(key, TWICE, f"both {first} and {second}, two images of one name", fix=fix)
    member = members[0]
    name = member.name.lower()
    if member.wrong:
        return Fault(key, LINKS, member.wrong, name)
    ending = name.rpartition(".")[2]
    if again:
        return member.at, member.size, Field(ending, 0, "uint8", 0, 0)
    try:
        x = decode(member.data, name)
        check_range(x)
    except ValueError as error:
        return Fault(key, IMAGES, str(error), name)
    return member.at, member.size, Field(ending, x.shape[2], str(x.dtype), x.shape[0], x.shape[1])


def alike(samples: Sequence[tuple[str, Sample]], bad: str = "stop") -> list[Fault | None]:
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
        cause = f"{sample.described}, where {kinds[most]} samples hold {like[1].described}"
        out.append(Fault(sample.key, KINDS, cause) if sample.kind != most else None)
        if out[-1] and bad == "stop":
            found = f"{sample.described}, while {like[0]}: {printable(like[1].key)} holds {like[1].described}"
            raise DataError(f"{tar}: {printable(sample.key)}", found, "the same of every sample", _one_kind([*kinds]))
    return out


def _one_kind(kinds: Sequence[Kinds]) -> str:
    """Say how images of these kinds become one: by channels, if they differ in no more."""
    forms = {tuple((name, dtype) for name, _, dtype, _ in kind) for kind in kinds}
    channels = {channels for kind in kinds for _, channels, _, _ in kind}
    if len(forms) > 1 or not channels <= {1, 3}:
        return f"Make all images of one kind; {SKIP}."
    return f"--channels 3 --out NEW writes all in colour (1: in grey), into new shards; {SKIP}."


def of_one_shape(samples: Sequence[tuple[str, Sample]], bad: str) -> list[Fault | None]:
    """Give for each (tar, sample) why it is left out, if it is a pair where most are single images, or the other way
    round. Raises as `alike`."""
    shapes = Counter(" and ".join(sorted(sample.images)) for _, sample in samples)
    most = shapes.most_common(1)[0][0] if shapes else ""
    out: list[Fault | None] = []
    for tar, sample in samples:
        shape = " and ".join(sorted(sample.images))
        cause, expected = f"images named {shape}", f"{most}, as in {shapes[most]:,} samples"
        out.append(Fault(sample.key, KINDS, cause, expected=expected) if shape != most else None)
        if (fault := out[-1]) and bad == "stop":
            raise fault.error(tar)
    return out


def fields_of(samples: Sequence[Sample]) -> dict[str, Field]:
    """Describe all images of a name at once: stored as most are; height and width are 0 where they differ."""
    fields = {}
    for name, (_, _, first) in sorted(samples[0].images.items()):
        its = [sample.images[name][2] for sample in samples]
        heights, widths = {f.height for f in its}, {f.width for f in its}
        ending = Counter(f.extension for f in its).most_common(1)[0][0]
        height, width = (first.height if len(heights) == 1 else 0), (first.width if len(widths) == 1 else 0)
        fields[name] = replace(first, extension=ending, height=height, width=width)
    return fields
