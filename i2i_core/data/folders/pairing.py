"""Tell the two sides of pairs apart by the names of files alone: equal names, patterns, or a table of two columns.

Names of images are paths below a folder, as a listing has them. A side maps what the two images of a pair have in
common, their key, to the image. Nothing is read here but the table's text.
"""

from __future__ import annotations

import csv
import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import nlargest
from typing import NamedTuple

from i2i_core.data.folders.listing import stem
from i2i_core.data.folders.splits import SPLITS
from i2i_core.errors import ConfigError, DataError, counted
from i2i_core.images.codec import EXTENSIONS

Key = tuple[str, str]
"""The folder of the split, "" for none, and the name that both images of a pair have in common."""
Side = Mapping[Key, str]
"""The images of one side, by key."""

EXAMPLE = "For example --pair-pattern '{key}_A' '{key}_B', or 'photos/{key}' 'labels/{key}_label'."
MOST_TABLE = 256 << 20
"""Bytes of a table of pairs."""
_NEIGHBOURS = 8
"""Names, those most like the first one, among which its partner is looked for."""
_PLACE = re.compile(r"\{(key|split)\}")
_PARTS = re.compile(r"[_\-. ]+")
_DELIMITERS = ",;\t"


# ---- patterns ----


@dataclass(frozen=True)
class Pattern:
    """Match the names of one side: a path with {key}, and perhaps {split}; without an ending it fits all of them."""

    text: str

    @property
    def splits(self) -> bool:
        """Tell whether it says where the split stands."""
        return "{split}" in self.text

    @property
    def letters(self) -> int:
        """Count what it says besides its places: the more, the closer it describes a name."""
        return len(_PLACE.sub("", self.text))

    @property
    def regex(self) -> re.Pattern[str]:
        """Return the expression that matches whole paths."""
        parts, seen, out = _PLACE.split(self.text), set[str](), ""
        for i, part in enumerate(parts):
            looks = ".+?" if part == "key" else "[^/]+"
            out += re.escape(part) if i % 2 == 0 else f"(?P={part})" if part in seen else f"(?P<{part}>{looks})"
            seen.update([part] if i % 2 else [])
        ending = self.text.rpartition(".")[2].lower()
        return re.compile(out if ending in EXTENSIONS else out + r"(?:\.[^./]+)?")


def patterns_of(texts: Sequence[str], two_folders: bool) -> tuple[Pattern, Pattern]:
    """Read the two patterns of `--pair-pattern`.

    Args:
        texts: as they were given.
        two_folders: each side has a folder of its own, so that equal patterns tell them apart.

    Raises:
        ConfigError: they are not two, not below a folder, have other places, or cannot tell the sides apart.
    """
    shown = " ".join(map(repr, texts))
    if len(texts) != 2:
        raise ConfigError("--pair-pattern", shown or "nothing", "two patterns, A's and B's", EXAMPLE)
    for text in texts:
        plain = _PLACE.sub("", text)
        if "{key}" not in text or set("{}") & set(plain) or text.startswith("/") or ".." in text.split("/"):
            expected = "a path below --input with {key}, and perhaps {split}"
            raise ConfigError("--pair-pattern", repr(text), expected, EXAMPLE)
    first, second = (Pattern(text.removeprefix("./")) for text in texts)
    if first.splits != second.splits:
        raise ConfigError("--pair-pattern", shown, "{split} in both patterns or in neither", "Add it, or leave it out.")
    if first == second and not two_folders:
        fix = "Give patterns that differ, or the folder of B's images with --input-b."
        raise ConfigError("--pair-pattern", f"{shown}, which are equal", "patterns that tell A from B", fix)
    return first, second


class Place(NamedTuple):
    """Hold where an image lies: its path below the listed folder, its split's folder, and the path below that."""

    path: str
    split: str
    rest: str


def matched(pattern: Pattern, other: Pattern | None, places: Iterable[Place], where: str) -> dict[Key, str]:
    """Map keys to the images that a pattern fits, unless the other one describes them more closely.

    Raises:
        DataError: two images of one key.
    """
    looks, found = pattern.regex, dict[Key, str]()
    closer = other.regex if other and other.letters > pattern.letters else None
    for path, split, rest in places:
        name = path if pattern.splits else rest
        match = looks.fullmatch(name)
        if not match or (closer and closer.fullmatch(name)):
            continue
        at = match["split"] if pattern.splits else split
        key = (SPLITS.get(at.lower(), at), match["key"])
        if found.setdefault(key, path) != path:
            found_, fix = f"both {found[key]} and {path}, of one key", "Keep one of the two, or write a closer pattern."
            raise DataError(f"{where}, --pair-pattern {pattern.text!r}", found_, "one image of each key", fix)
    return found


# ---- equal names ----


def by_name(paths: Iterable[str], where: str) -> dict[Key, str]:
    """Map names without ending to images. Raises DataError where two images differ in their endings alone."""
    found: dict[Key, str] = {}
    for path in paths:
        if (other := found.setdefault(("", stem(path)), path)) != path:
            raise DataError(where, f"both {other} and {path}", "one image of each name", "Keep one of the two.")
    return found


def lone(sides: Sequence[Side]) -> tuple[list[str], list[str]]:
    """Name the images of each side whose key the other does not have, in order."""
    a, b = sides
    return [a[key] for key in sorted(a.keys() - b)], [b[key] for key in sorted(b.keys() - a)]


# ---- what may tell them apart ----


class Words(NamedTuple):
    """Hold the words that tell two sides apart, at the beginning or at the end of their names."""

    a: str
    b: str
    last: bool

    def patterns(self, below: tuple[str, str] = ("", "")) -> tuple[str, str]:
        """Write the patterns of both sides, each below a folder."""
        first, second = ((f"{{key}}{w}" if self.last else f"{w}{{key}}") for w in (self.a, self.b))
        return below[0] + first, below[1] + second


def told_apart(names: Collection[tuple[str, str]]) -> Words | None:
    """Find the words, such as _A and _B, that make pairs of all names of one folder; None where there are none.

    Args:
        names: the folder and the last part, without ending, of each.
    """
    every = sorted(set(names))
    if len(every) < 4 or len(every) % 2:
        return None
    for words in _candidates(every[0], every):
        if _key_sets(every, every, words):
            return words
    return None


def told_apart_between(a: Collection[tuple[str, str]], b: Collection[tuple[str, str]]) -> Words | None:
    """Find the words that make pairs of all names of two folders, a side each."""
    if len(a) != len(b) or len(a) < 2:
        return None
    for words in _candidates(min(a), b):
        if _key_sets(sorted(a), sorted(b), words, apart=True):
            return words
    return None


def _candidates(first: tuple[str, str], others: Iterable[tuple[str, str]]) -> Iterator[Words]:
    """Give the words by which a name may differ from its partner: the one that begins, or ends, most like it."""
    beside = [name for folder, name in others if (folder, name) != first and folder == first[0]]
    for last in (True, False):
        own, names = (first[1], beside) if last else (first[1][::-1], [name[::-1] for name in beside])
        for other in nlargest(_NEIGHBOURS, names, key=partial(_shared, own)):
            if words := _words(own, other):
                yield Words(*words, True) if last else Words(words[0][::-1], words[1][::-1], False)


def _shared(one: str, other: str) -> int:
    """Count the letters that two names begin with together."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _words(one: str, other: str) -> tuple[str, str] | None:
    """Cut what two names have in common off both, at the edge of a word; None where nothing or a number is left."""
    at = _shared(one, other)
    while at and any(at < len(name) and _same_word(name[at - 1], name[at]) for name in (one, other)):
        at -= 1
    while at and _PARTS.fullmatch(one[at - 1]):
        at -= 1
    a, b = one[at:], other[at:]
    numbers = all(not word or _PARTS.sub("", word).isdecimal() for word in (a, b))
    return None if not at or numbers else (a, b)


def _same_word(one: str, other: str) -> bool:
    return (one.isalpha() and other.isalpha()) or (one.isdecimal() and other.isdecimal())


def _key_sets(a: Sequence[tuple[str, str]], b: Sequence[tuple[str, str]], words: Words, *, apart: bool = False) -> bool:
    """Tell whether two words make pairs of all names; of one folder each name has one of them."""
    keys_a, keys_b = (_keys(names, word, words.last) for names, word in ((a, words.a), (b, words.b)))
    if not apart:  # the longer word describes a name more closely
        close, wide = (keys_a, keys_b) if len(words.a) > len(words.b) else (keys_b, keys_a)
        wide = {name: key for name, key in wide.items() if name not in close}
        return len(close) + len(wide) == len(a) and sorted(close.values()) == sorted(wide.values())
    return len(keys_a) == len(a) and len(keys_b) == len(b) and sorted(keys_a.values()) == sorted(keys_b.values())


def _keys(names: Sequence[tuple[str, str]], word: str, last: bool) -> dict[tuple[str, str], tuple[str, str]]:
    """Map the names that have a word to what is left without it."""
    found = {}
    for folder, name in names:
        left = name.removesuffix(word) if last else name.removeprefix(word)
        if left and len(left) == len(name) - len(word):
            found[folder, name] = (folder, left)
    return found


# ---- tables ----


class Row(NamedTuple):
    """Hold one row of a table of pairs."""

    line: int
    a: str
    b: str
    split: str
    """As it stands in the third column; "" where there is none."""


def read_table(text: str, where: str) -> list[Row]:
    """Read the rows of a table: A's path, B's path, and perhaps the split. Blank lines are passed over; whether the
    first row is a heading is for the caller to say, who knows the files.

    Cells are separated by commas, semicolons or tabs, whichever the first line has; a cell in quotes may hold them.

    Raises:
        DataError: naming the line with other than two or three cells, or an empty one.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    first = next((line for line in lines if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count) if any(d in first for d in _DELIMITERS) else ","
    rows, width = [], 0
    try:
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            width = width or len(cells)
            if len(cells) not in (2, 3) or len(cells) != width or not all(cells[:2]):
                found = f"{counted(len(cells), 'cell')}, {delimiter.join(cells)[:60]!r}"
                raise _bad_row(f"{where}, line {reader.line_num}", found, width)
            rows.append(Row(reader.line_num, cells[0], cells[1], cells[2] if len(cells) == 3 else ""))
    except csv.Error as error:
        raise _bad_row(f"{where}, line {reader.line_num}", f"a row that cannot be read ({error})", width) from None
    if not rows:
        raise _bad_row(where, "no row", width)
    return rows


def _bad_row(where: str, found: str, width: int) -> DataError:
    expected = "A's path and B's path" + (", and a split" if width == 3 else "")
    fix = "Write a row for each pair: a/1.png,b/1.png; a third column may say train, val or test."
    return DataError(where, found, expected, fix)


def spelt(path: str, bases: Sequence[str]) -> Iterator[str]:
    """Give what a path in a table may mean below the listed folder, the likeliest first.

    Args:
        path: as it stands in the table.
        bases: folders below the listed one, "" for itself, that it may be relative to.
    """
    for text in dict.fromkeys((path, path.replace("\\", "/"))):
        for base in bases:
            yield posixpath.normpath(posixpath.join(base, text))


@dataclass(frozen=True)
class Lookup:
    """Find the images that paths of a table mean in one listing."""

    images: Mapping[str, str]
    """Path -> path; and, for paths without an ending that one image alone has, stem -> path."""
    bases: tuple[str, ...]
    """Folders below the listed one that paths may be relative to."""
    root: str
    """The listed folder's URL."""

    @staticmethod
    def of(images: Sequence[str], bases: tuple[str, ...], root: str) -> Lookup:
        """Make one of a listing's images."""
        stems = Counter(map(stem, images))
        known = {stem(path): path for path in images if stems[stem(path)] == 1}
        return Lookup(known | {path: path for path in images}, bases, root)

    def find(self, text: str) -> str | None:
        """Give the image that a path means; None where there is none."""
        for root in (self.root, self.root.removeprefix("file://")):
            text = text.removeprefix(root.rstrip("/") + "/")
        return next((self.images[path] for path in spelt(text, self.bases) if path in self.images), None)


class Table(NamedTuple):
    """Hold what a table names: pairs of images that are there, and the rest of it."""

    pairs: list[tuple[int, str, str, str]]
    """Line, A's path, B's path, split."""
    missing: list[str]
    """Rows of images that are not there, in words."""
    lone: list[tuple[int, str]]
    """Side (0 or 1) and path of images whose partner is not there."""
    notes: list[str]


def looked_up(rows: Sequence[Row], sides: Sequence[Lookup], where: str) -> Table:
    """Find the images of each row. A first row that names no image, by its ending or otherwise, is a heading.

    Raises:
        DataError: an image that is its own partner.
    """
    pairs: dict[tuple[str, str], tuple[int, str, str, str]] = {}
    table, repeated = Table([], [], [], []), 0
    for n, row in enumerate(rows):
        found = [side.find(text) for side, text in zip(sides, row[1:3], strict=True)]
        if n == 0 and found == [None, None] and not any(has_ending(text) for text in row[1:3]):
            table.notes.append(f"the first row of {where} is a heading: {row.a}, {row.b}")
            continue
        a, b = found
        if a is None or b is None:
            path = row.a if a is None else row.b
            table.missing.append(f"line {row.line}: {path}")
            table.lone.extend((side, one) for side, one in enumerate(found) if one is not None)
        elif a == b and sides[0] is sides[1]:
            raise DataError(f"{where}, line {row.line}", f"{row.a} twice", "two images", "Correct the row.")
        elif (a, b) in pairs:
            repeated += 1
        else:
            pairs[a, b] = (row.line, a, b, row.split)
    table.pairs.extend(pairs.values())
    if repeated:
        table.notes.append(f"{counted(repeated, 'row')} of {where} repeat others, and count once")
    return table


def has_ending(path: str) -> bool:
    """Tell whether a path ends as images do."""
    return "." in path and path.rpartition(".")[2].lower() in EXTENSIONS


def below_common(paths: Sequence[str]) -> list[str]:
    """Give paths below the last folder that all have in common and that is no split's."""
    folders = posixpath.commonpath([posixpath.dirname(path) for path in paths]).split("/")
    while folders and folders[-1].lower() in SPLITS:
        folders.pop()
    skip = len("/".join(folders)) + bool("/".join(folders))
    return [path[skip:] for path in paths]


def text_of(data: bytes) -> str:
    """Decode a table: UTF-8, or UTF-16 where it begins with that mark, as spreadsheets write it."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")
