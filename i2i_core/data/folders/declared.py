"""Read what a person declares of the fields of samples: which files they are, their roles, and what these need."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from i2i_core.data.folders.palettes import PALETTES
from i2i_core.errors import ConfigError, nearest
from i2i_core.fields import PIXELS, ROLES, Field, contradictions
from i2i_core.settings import check_at_least, check_numbers, setting
from i2i_core.storage.near import corrected

PLACES = ("split", "domain", "class", "clip", "frame", "key")
"""List what may stand in braces in a pattern."""
_ROLES: dict[str, dict[str, str]] = {
    **{role: {"role": role} for role in ROLES},
    "flow": {"role": "map", "kind": "flow"},
    "points": {"role": "vector", "kind": "points"},
}
_FIELD = re.compile(r"(?P<name>[A-Za-z]\w{0,63})(:(?P<role>\w+))?=(?P<pattern>.+)", re.ASCII)
_EXAMPLE = "For example --field image=images/{key}.png labels:classes=labels/{key}_ids.png."


@dataclass(frozen=True)
class FieldOptions:
    """Declare the fields of samples, for --layout fields: NAME=VALUE, or VALUE alone where it can mean one field
    only."""

    field: tuple[str, ...] = ()
    """NAME=PATTERN or NAME:ROLE=PATTERN of each field. Roles: image (the default), classes, instances, map, flow,
    vector, points, text, boxes. A pattern is a path below --input with {key}, the sample's name; it may also have
    {split}, {domain} and {class}, and {clip} and {frame} in place of {key}, for the frames of clips in the order of
    their numbers."""
    classes: tuple[str, ...] = ()
    """Classes of a label map or of boxes: their number, or a file with one name per line: --classes labels=35."""
    palette: tuple[str, ...] = ()
    """The colours of a label map: a file with a line `ID R G B NAME` each (the name may be left out), or a name that is
    known, cityscapes or streets. Pictures in colour become ids by it, and label maps are shown in it."""
    ignore: tuple[str, ...] = ()
    """Id of pixels whose class is not known, in a label map; it lies outside of the classes: --ignore labels=255."""
    range: tuple[str, ...] = ()
    """Range of a field's values, LOW:HIGH: --range depth=0:80. Floats outside of it are refused; of integers 0 stands
    for LOW, and the largest of their type for HIGH."""
    flip_pairs: tuple[str, ...] = ()
    """Pairs that swap when a sample is mirrored, numbered from 0: classes, channels of a map, or points: --flip-pairs
    pose=1:2,3:4."""
    no_flip: tuple[str, ...] = ()
    """Fields whose samples may not be mirrored, such as a text that names sides; train.py then needs --no-flip."""
    clip_overlap: int = setting(0, most=1_000_000)
    """Frames that the parts of a clip share where it is longer than a shard."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 0, "clip_overlap")


@dataclass(frozen=True)
class Declared:
    """Hold a field as it was declared: its name, where its files are, what it is."""

    name: str
    pattern: str
    field: Field
    colours: tuple[tuple[int, int], ...] = ()
    """(0xRRGGBB, id) of a label map in colour."""

    @property
    def regex(self) -> re.Pattern[str]:
        """Return a pattern that matches the paths of the field's files, with a group for each place."""
        parts = re.split(r"\{(\w+)\}", self.pattern)
        seen: set[str] = set()
        out = ""
        for i, part in enumerate(parts):
            anything = ".+" if part in ("key", "clip") else "[^/]+"
            name = f"at_{part}"  # `class` is no name of a group
            out += re.escape(part) if i % 2 == 0 else f"(?P={name})" if part in seen else f"(?P<{name}>{anything})"
            seen.update([part] if i % 2 else [])
        return re.compile(out)

    @property
    def letters(self) -> int:
        """Count what the pattern says besides its places: the more, the closer it describes a file."""
        return len(re.sub(r"\{\w+\}", "", self.pattern))

    def path(self, places: dict[str, str]) -> str:
        """Name the field's file of a sample."""
        return self.pattern.format(**places)

    def as_json(self) -> dict[str, Any]:
        """Give what shapes the data set, as JSON has it."""
        return {"pattern": self.pattern, **self.field.as_json(), **({"colours": self.colours} if self.colours else {})}


def declared(options: FieldOptions) -> tuple[Declared, ...]:
    """Read the declared fields, in the order of their names.

    Raises:
        ConfigError: naming the flag that cannot be.
    """
    if not options.field:
        raise ConfigError("--field", "nothing", "the fields of a sample", _EXAMPLE)
    found = [_declared(text) for text in options.field]
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise ConfigError("--field", " ".join(names), "each field once", "Leave the repeated one out.")
    places = [set(re.findall(r"\{(\w+)\}", one.pattern)) for one in found]
    if any(some != places[0] for some in places):
        shown = " and ".join(one.pattern for one in found if one.pattern)
        raise ConfigError("--field", shown, "the same {places} in every pattern", "Name them in each.")
    known = {one.name: one for one in found}
    for name, value in _values("--classes", options.classes, known, lambda f: f.role in ("classes", "boxes")):
        known[name] = _with_classes(known[name], value)
    for name, value in _values("--ignore", options.ignore, known, lambda f: f.role == "classes"):
        known[name] = _with(known[name], ignore=_number("--ignore", value))
    for name, value in _values("--palette", options.palette, known, lambda f: f.role == "classes"):
        known[name] = _with_palette(known[name], value)
    for name, value in _values("--range", options.range, known, _has_range):
        low, high = _numbers("--range", value)
        known[name] = _with(known[name], low=low, high=high)
    for name, value in _values("--flip-pairs", options.flip_pairs, known, _has_sides):
        known[name] = _with(known[name], pairs=_pairs(value))
    for name in options.no_flip:
        _check_name("--no-flip", name, known)
        known[name] = _with(known[name], flip=False)
    framed = _framed(known, names)
    for one in framed.values():
        _check(one)
    return tuple(framed[name] for name in sorted(framed))


def _declared(text: str) -> Declared:
    found = _FIELD.fullmatch(text)
    if not found:
        raise ConfigError("--field", repr(text), "NAME=PATTERN or NAME:ROLE=PATTERN", _EXAMPLE)
    name, role, pattern = found["name"], found["role"] or "image", found["pattern"]
    if role not in _ROLES:
        raise ConfigError("--field", f"{text!r}, of role {role}", ", ".join(_ROLES), nearest(role, _ROLES))
    _check_pattern(text, pattern)
    kind: dict[str, Any] = _ROLES[role]
    ending = pattern.rpartition(".")[2].lower()
    if role == "text" and ending not in ("txt", "json"):
        raise ConfigError("--field", repr(text), "a text in files that end in .txt or .json", "Name such files.")
    fixed = {"text": (ending, "str"), "boxes": ("json", "float32"), "vector": ("npy", "float32")}
    extension, dtype = fixed.get(kind["role"], ("png", "uint8"))
    return Declared(name, pattern, Field(extension, int(kind["role"] in PIXELS), dtype, 0, 0, **kind))


def _check_pattern(text: str, pattern: str) -> None:
    places = re.findall(r"\{(.*?)\}", pattern)
    strange = [place for place in places if place not in PLACES]
    plain = re.sub(r"\{\w+\}", "", pattern)
    if strange or set("{}") & set(plain) or pattern.startswith("/") or ".." in pattern.split("/"):
        shown = f"{{{strange[0]}}}" if strange else "a path below --input"
        fix = f"Write {' '.join(f'{{{place}}}' for place in PLACES)} alone in braces, in a path below --input."
        raise ConfigError("--field", f"{text!r} with {shown}", "a pattern", fix)
    if ("key" in places) == ("clip" in places) or ("clip" in places) != ("frame" in places):
        fix = f"{_EXAMPLE} Of frames of clips: --field image=frames/{{clip}}/{{frame}}.png."
        raise ConfigError("--field", repr(text), "{key}, or {clip} and {frame}", fix)


def _values(
    flag: str, given: Sequence[str], known: dict[str, Declared], fits: Callable[[Field], bool]
) -> Iterator[tuple[str, str]]:
    """Give (name, value) of each flag's value; a value without a name is for the one field that it fits."""
    can = [name for name, one in known.items() if fits(one.field)]
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            if len(can) != 1:
                found = f"{text}, which could be of {' or '.join(can) or 'no field'}"
                raise ConfigError(flag, found, "NAME=VALUE", f"Name the field: {flag} NAME={text}.")
            name, value = can[0], text
        _check_name(flag, name, known)
        if name not in can:
            found = f"{text}, of a field of role {known[name].field.role}"
            raise ConfigError(flag, found, f"one of {', '.join(can) or 'no field'}", f"Leave {flag} {text} out.")
        yield name, value


def _check_name(flag: str, name: str, known: dict[str, Declared]) -> None:
    if name not in known:
        raise ConfigError(flag, repr(name), "a field that --field declares", nearest(name, known))


def _with(one: Declared, **values: Any) -> Declared:
    return replace(one, field=replace(one.field, **values))


def _has_range(field: Field) -> bool:
    return field.role in ("image", "map", "vector")


def _has_sides(field: Field) -> bool:
    return field.role in ("classes", "map") or field.kind == "points"


def _number(flag: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise ConfigError(flag, repr(text), "a whole number", f"Write a number after {flag}.")
    return int(text)


def _numbers(flag: str, text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise ConfigError(flag, repr(text), "LOW:HIGH", f"For example {flag} depth=0:80.") from None


def _pairs(text: str) -> tuple[tuple[int, int], ...]:
    pairs = [pair.split(":") for pair in text.split(",")]
    if any(len(pair) != 2 or not all(re.fullmatch(r"\d{1,9}", n) for n in pair) for pair in pairs):
        raise ConfigError("--flip-pairs", repr(text), "pairs of numbers", "For example --flip-pairs pose=1:2,3:4.")
    return tuple((int(a), int(b)) for a, b in pairs)


def _lines(flag: str, file: str) -> list[str]:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", "") or "no text"
        found = f"{file}, which cannot be read ({cause})"
        expected = "a file of text" + (f", or {' or '.join(PALETTES)}" if flag == "--palette" else "")
        raise ConfigError(flag, found, expected, corrected(file)) from None
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def _with_classes(one: Declared, value: str) -> Declared:
    if re.fullmatch(r"\d{1,9}", value):
        return _with(one, classes=int(value))
    names = tuple(_lines("--classes", value))
    return _with(one, classes=len(names), names=names)


def _with_palette(one: Declared, file: str) -> Declared:
    """Give the field its colours and, where they are not declared, the number and names of its classes."""
    rows: dict[int, tuple[tuple[int, int, int], str]] = {}
    colours: dict[int, int] = {}
    for i, rgb_, name in PALETTES.get(file, ()):
        rows[i] = (rgb_, name)
        colours.setdefault(int.from_bytes(bytes(rgb_), "big"), i)
    for line in () if rows else _lines("--palette", file):
        cells = re.fullmatch(r"(\d{1,5})\s+(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})(?:\s+(.*))?", line)
        rgb = tuple(map(int, cells.groups()[1:4])) if cells else (256,)
        code = int.from_bytes(bytes(rgb), "big") if max(rgb) < 256 else -1
        if not cells or code < 0 or colours.get(code, int(cells[1])) != int(cells[1]):
            found = f"{line!r} in {file}" + (", a colour that has another id above" if cells and code >= 0 else "")
            raise ConfigError(
                "--palette", found, "lines ID R G B NAME, each colour once", "For example `1 128 0 0 roof`."
            )
        colours[code] = int(cells[1])
        rows.setdefault(int(cells[1]), ((rgb[0], rgb[1], rgb[2]), cells[5] or ""))
    known = {i: row for i, row in rows.items() if i != one.field.ignore}
    n = one.field.classes or max(known, default=-1) + 1
    if any(i >= n for i in known):
        found, fix = f"id {max(known)} in {file}", "Give --classes the number of classes, or --ignore the id."
        raise ConfigError("--palette", found, f"ids below {n}, the number of classes", fix)
    names = tuple(known.get(i, ((0, 0, 0), ""))[1] or str(i) for i in range(n))
    named = one.field.names or (names if any(name for _, name in known.values()) else ())
    palette = tuple(known.get(i, ((0, 0, 0), ""))[0] for i in range(n))
    return replace(_with(one, classes=n, names=named, palette=palette), colours=tuple(sorted(colours.items())))


def _framed(known: dict[str, Declared], order: Sequence[str]) -> dict[str, Declared]:
    """Give points and boxes the picture that they are in: the field called image, else the first declared with
    pixels."""
    pictures = sorted((n for n in order if known[n].field.role in PIXELS), key=lambda n: (n != "image", order.index(n)))
    out = {}
    for name, one in known.items():
        placed = one.field.kind == "points" or one.field.role == "boxes"
        if placed and not pictures:
            raise ConfigError(
                "--field", f"{name} and no picture", "one whose pixels they are in", "Add --field image=..."
            )
        out[name] = _with(one, frame=pictures[0]) if placed else one
    return out


def _check(one: Declared) -> None:
    """Check what a field declares, before any file is read. Raises ConfigError where it contradicts itself."""
    field = one.field
    if field.role == "classes" and not field.classes:
        fix = f"Give --classes {one.name}=NUMBER or =FILE, or --palette {one.name}=FILE."
        raise ConfigError("--field", f"{one.name}:classes without a number of classes", "one", fix)
    most = max((i for pair in field.pairs for i in pair), default=0) + 1
    known = {
        "vector": {"shape": (most, 2)},
        "map": {"channels": 2 if field.kind == "flow" else most},
    }.get(field.role, {})
    if wrong := next(contradictions(replace(field, **known)), None):  # type: ignore[arg-type]
        found, expected = wrong
        fix = "Correct --classes, --range, --ignore or --flip-pairs of it."
        raise ConfigError(f"--field {one.name}", found, expected, fix)
