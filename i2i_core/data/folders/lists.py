"""Read the lists that say what images show: CelebA's in all the forms that are passed on, and people's own.

One reader takes them all. It tells from the text what separates cells, whether a count and a line of names stand before
the rows, which column names the files and how two values are written, and says what it took the list for. What does
not fit is refused with its line.
"""

from __future__ import annotations

import csv
import re
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from i2i_core.data.folders.alike import check_apart
from i2i_core.errors import DataError, counted
from i2i_core.images.codec import EXTENSIONS
from i2i_core.storage.near import corrected
from i2i_core.storage.paths import absolute, special
from i2i_core.storage.remote import is_local, storage_of

MOST_LIST = 1 << 28
"""Bytes of a list, beyond which it is refused unread."""
MOST_CLASSES = 10_000
"""Classes that a column of names may have."""
MOST_SHOWN = 60
"""Characters of a cell, or of a line, that a message shows."""
MOST_TRIED = 20
"""Files that are tried where no list has been named."""
LOOKED_AT = 50
"""Rows by which the form of a list is told."""

SPLIT_WORDS = {"0": "train", "1": "val", "2": "test"}
"""Numbers that stand for splits, as in CelebA's partition."""
_SPLIT_COLUMNS = ("split", "partition", "subset", "set")
"""Names of a column that holds splits, if all of its cells are words for them."""
_CLASS_COLUMNS = ("class", "class_id", "label", "label_id", "category", "category_id", "target", "cls")
"""Names of a column whose 0 and 1 are numbers of classes."""
_KNOWN = re.compile(r"(list_attr_.*|.*attribute-anno)\.(txt|csv|tsv)", re.IGNORECASE)
_PARTITION = re.compile(r"list_eval_partition.*\.(txt|csv|tsv)", re.IGNORECASE)
_TEXT = re.compile(r".*\.(txt|csv|tsv)", re.IGNORECASE)
_SEPARATORS = {"\t": "tab-separated", ";": "semicolon-separated", ",": "comma-separated", "|": "separated by bars"}
_CODINGS: dict[str, dict[str, int]] = {
    "-1/1": {"1": 1, "-1": 0, "+1": 1, "1.0": 1, "-1.0": 0},
    "0/1": {"1": 1, "0": 0, "1.0": 1, "0.0": 0},
    "false/true": {"true": 1, "false": 0, "True": 1, "False": 0, "TRUE": 1, "FALSE": 0},
    "no/yes": {"yes": 1, "no": 0, "Yes": 1, "No": 0, "YES": 1, "NO": 0},
}
"""Ways in which lists write that an image has an attribute, by what a note calls them."""


@dataclass(frozen=True)
class Rows:
    """Hold the rows of a list as text."""

    where: str
    form: str
    """Name of what separates its cells, for notes."""
    names: tuple[str, ...]
    """Names of the columns besides that of the files; (`class`,) of one column without a line of names."""
    named: bool
    """True if a line of names stood in it."""
    files: list[str] = field(repr=False)
    cells: list[tuple[str, ...]] = field(repr=False)
    lines: list[int] = field(repr=False)
    """Number of each row's line."""

    def column(self, name: str) -> list[str]:
        """Give the cells of a column."""
        at = self.names.index(name)
        return [row[at] for row in self.cells]

    def line(self, row: int) -> str:
        """Name the line of a row, for messages."""
        return f"{self.where}, line {self.lines[row]}"

    def described(self, which: str) -> str:
        """Say what it was taken for."""
        return f"{self.where.rpartition('/')[2]}: {self.form}, {counted(len(self.files), 'row')}, {which}"


def text_of(data: bytes, where: str) -> str:
    """Decode a list: UTF-8 with or without a byte-order mark, or UTF-16 with one; bytes of names that are neither stay
    what they are in names of files.

    Raises:
        DataError: a workbook, or something else that is no text.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    if data[:4] == b"PK\x03\x04" or b"\0" in data[:4096]:
        found = "an Excel workbook or a zip archive" if data[:2] == b"PK" else "bytes that are no text"
        raise DataError(where, found, "a list as text", "Save it as CSV, and name that file.")
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def read_rows(text: str, where: str, is_known: Callable[[str], bool]) -> Rows:
    """Read a list of files, whatever separates its cells.

    Args:
        where: names it in messages.
        is_known: whether a cell names an image that is there, with or without its ending.

    Raises:
        DataError: with the line that is wrong.
    """
    separator = _separator(text)
    lines = _split(text, separator, where)
    first = list(islice(lines, LOOKED_AT))
    count = int(first[0][1][0]) if first and _is_count(first) else None
    first = first[1:] if count is not None else first
    if not first:
        fix = "Name a list with a line of names and a row for each image: --list FILE."
        raise DataError(f"{where}, line 1", "nothing", "a line of names, or a row", fix)
    width = Counter(len(cells) for _, cells in first[1:] or first).most_common(1)[0][0]

    def names_image(cell: str) -> bool:
        return cell.rpartition(".")[2].lower() in EXTENSIONS or is_known(_clean(cell))

    hits = [sum(len(cells) > i and names_image(cells[i]) for _, cells in first) for i in range(width)]
    at = hits.index(max(hits)) if hits else 0
    names = _names(first[0], width, at, names_image, where)
    if names is not None:
        first = first[1:]
    elif width != 2:
        found = f"no line of names before rows of {counted(width - 1, 'value')}"
        fix = "Write the names of the columns into a first line, separated as the rows are."
        raise DataError(f"{where}, line {first[0][0]}", found, "names of the attributes", fix)
    columns = {name: i for i, name in enumerate(names or ["class"] * width) if i != at and name}
    form = _SEPARATORS.get(separator, "separated by spaces")
    rows = Rows(where, form, tuple(columns), names is not None, [], [], [])
    _fill(rows, (row for some in (first, lines) for row in some), width, at, [*columns.values()])
    if count is not None and count != len(rows.files):
        fix = "Take the whole file, or write the number of its rows there."
        raise DataError(f"{where}, line 1", f"the count {count}", f"{len(rows.files)}, as rows follow", fix)
    return rows


def _fill(rows: Rows, lines: Iterable[tuple[int, list[str]]], width: int, at: int, columns: Sequence[int]) -> None:
    """Read all rows. Raises DataError for one of another length, or a file that stood before."""
    same: dict[str, str] = {}
    once, seen = same.setdefault, dict[str, int]()
    for number, given in lines:
        cells = given if len(given) == width else _spaced(given, width, at, rows.form)
        if len(cells) != width:
            fix = "Mend that line; every row has a file's name and a value for each column."
            found, expected = counted(len(cells) - 1, "value"), f"a name and {counted(width - 1, 'value')}"
            raise DataError(f"{rows.where}, line {number}", found, expected, fix)
        name = _clean(cells[at])
        if not name:
            raise DataError(f"{rows.where}, line {number}", "no name", "a file's name", "Write it there.")
        if (other := seen.setdefault(name, number)) != number:
            fix = "Keep one of the two lines."
            raise DataError(f"{rows.where}, line {number}", f"{name} again, as on line {other}", "a row each", fix)
        rows.files.append(name)
        rows.cells.append(tuple([once(cells[i], cells[i]) for i in columns]))
        rows.lines.append(number)


def _separator(text: str) -> str:
    """Tell what separates cells; empty: spaces."""
    some = [line for line in islice(_lines(text), LOOKED_AT) if line.strip()]
    rows = some[1:] or some
    return next((mark for mark in _SEPARATORS if sum(mark in row for row in rows) * 2 > len(rows)), "")


def _lines(text: str) -> list[str]:
    """Give the lines of a text from any system. Names may hold what else Python takes for ends of lines."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _split(text: str, separator: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Give the number of each line that is not empty, and its cells."""
    if not separator:
        for number, line in enumerate(_lines(text), start=1):
            if cells := line.split():
                yield number, cells
        return
    reader = csv.reader(_lines(text), delimiter=separator, skipinitialspace=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        fix = "Mend that line, or save the list again as CSV."
        raise DataError(f"{where}, line {reader.line_num}", str(error), "cells of text", fix) from None


def _is_count(first: Sequence[tuple[int, list[str]]]) -> bool:
    """Tell whether the first line is a number of rows."""
    head, *rest = first[0][1]
    is_number = head.isdecimal() and len(head) < 12 and not any(rest)
    if not is_number or len(first) == 1 or rest:
        return is_number
    return any(len(cells) > 1 for _, cells in first[1:3])  # the name of a single attribute stands alone


def _spaced(cells: list[str], width: int, at: int, form: str) -> list[str]:
    """Put a file's name together again that holds spaces, in a list that is separated by them."""
    more = len(cells) - width
    if more < 1 or form in _SEPARATORS.values() or at:
        return cells
    name = cells[: more + 1]
    ends = [cell.rpartition(".")[2].lower() in EXTENSIONS and "." in cell for cell in name]
    return [" ".join(name), *cells[more + 1 :]] if ends[-1] and not any(ends[:-1]) else cells


def _names(
    line: tuple[int, list[str]], width: int, at: int, names_image: Callable[[str], bool], where: str
) -> list[str] | None:
    """Give the name of each column (empty: of the files, or of none); None where the first line is a row."""
    number, cells = line
    if len(cells) == width and names_image(cells[at]):
        return None
    if len(cells) == width - 1:  # the files' column has no name
        cells = [*cells[:at], "", *cells[at:]]
    if len(cells) != width:
        found, expected = counted(len(cells), "name"), f"{width - 1}, as rows have values, or a count of rows"
        fix = "Write a name for each column into that line, or take the list as it was given out."
        raise DataError(f"{where}, line {number}", found, expected, fix)
    twice = [name for name, n in Counter(cell for cell in cells if cell).items() if n > 1]
    if twice:
        raise DataError(f"{where}, line {number}", f"{twice[0]} twice", "every name once", "Rename one of the two.")
    return cells


def _clean(name: str) -> str:
    """Write a path in a list as a path below a folder."""
    name = name.replace("\\", "/").removeprefix("./")
    return name if name.isascii() else unicodedata.normalize("NFC", name)


# ---- what the columns say ----


@dataclass(frozen=True)
class Labelled:
    """Hold what a list says of each of its rows."""

    names: tuple[str, ...]
    exclusive: bool
    labels: list[tuple[int, ...]]
    note: str


def split_column(rows: Rows, words: Mapping[str, str]) -> str:
    """Name the column that says splits; empty: none does."""
    known = {*words, *SPLIT_WORDS}
    for name in rows.names:
        if name.lower() in _SPLIT_COLUMNS and {cell.lower() for cell in rows.column(name)} <= known:
            return name
    return ""


def splits_of(rows: Rows, column: str, words: Mapping[str, str]) -> dict[str, str]:
    """Give the split of each file. Raises DataError with the line of a cell that is none."""
    known = {**words, **SPLIT_WORDS}
    found = {}
    for row, (file, cell) in enumerate(zip(rows.files, rows.column(column), strict=True)):
        if cell.lower() not in known:
            fix = "Mend that line; or move the file away, and use --split."
            raise DataError(rows.line(row), repr(cell[:MOST_SHOWN]), "0, 1 or 2, or train, val or test", fix)
        found[file] = known[cell.lower()]
    return found


def labels_of(rows: Rows, kept: Sequence[str], among: Sequence[str]) -> Labelled:
    """Read the attributes of the kept columns, or the classes of the one column that is kept.

    Args:
        rows: of the list.
        kept: columns to read.
        among: columns that there are.

    Raises:
        DataError: a cell that is neither of two values, with its line; a column that is none of attributes.
    """
    columns = {name: rows.column(name) for name in kept}
    codings = {name: _coding({*cells}) for name, cells in columns.items()}
    if len(kept) == 1 and (not codings[kept[0]] or not rows.named or kept[0].lower() in _CLASS_COLUMNS):
        return _classes(rows, kept[0], columns[kept[0]])
    for name in kept:
        if not codings[name]:
            raise _no_attribute(rows, name, columns)
    values = [[*map(_CODINGS[codings[name]].__getitem__, cells)] for name, cells in columns.items()]
    said = " and ".join(dict.fromkeys(codings.values()))
    some = f" ({len(kept)} kept)" if len(kept) < len(among) else ""
    note = rows.described(f"{counted(len(among), 'attribute')}{some}, {said}")
    return Labelled(tuple(kept), False, [*zip(*values, strict=True)], note)


def _coding(values: set[str]) -> str:
    return next((name for name, coding in _CODINGS.items() if values <= coding.keys()), "")


def _classes(rows: Rows, name: str, cells: Sequence[str]) -> Labelled:
    """Read a column of names or numbers of classes."""
    found = {*cells}
    if "-1" in found and _coding(found):
        fix = "Write the attribute's name into a first line, separated as the rows are."
        raise DataError(rows.where, "no line of names before values of 1 and -1", "the attribute's name", fix)
    if "" in found:
        fix = "Write the class there, or remove the line."
        raise DataError(rows.line(cells.index("")), "no class", f"a value of {name}", fix)
    if len(found) > MOST_CLASSES or (len(found) == len(cells) and len(cells) > LOOKED_AT):
        fix = "Name the column of classes, or those of attributes, with --attributes."
        known = f"{counted(len(found), 'value')} of {name} in {counted(len(cells), 'row')}"
        raise DataError(rows.where, known, f"classes that many images share, {MOST_CLASSES:,} at most", fix)
    numbers = all(value.isdecimal() and len(value) < 10 for value in found)
    ordered = sorted(found, key=int) if numbers else sorted(found)
    names = tuple(f"class_{int(value)}" for value in ordered) if numbers else tuple(ordered)
    if len({*names}) < len(names):
        twice = next(name for name, n in Counter(names).items() if n > 1)
        raise DataError(rows.where, f"{twice} written in two ways", "one of them", "Write each number in one way.")
    check_apart(names, rows.where, "class", "If they are one class, write it in one way; else rename one of them.")
    rank = {value: i for i, value in enumerate(ordered)}
    one = [tuple(int(i == at) for i in range(len(names))) for at in range(len(names))]
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    note = rows.described(f"{len(names):,} classes ({shown})")
    return Labelled(names, True, [one[rank[cell]] for cell in cells], note)


def _no_attribute(rows: Rows, name: str, columns: Mapping[str, Sequence[str]]) -> DataError:
    """Say which cell is neither of the two values that the list has, and how to leave such columns out."""
    counts = Counter(cell for cells in columns.values() for cell in cells)
    how = max(_CODINGS, key=lambda coding: sum(counts[cell] for cell in _CODINGS[coding]))
    row = next(i for i, cell in enumerate(columns[name]) if cell not in _CODINGS[how])
    found = f"{columns[name][row][:MOST_SHOWN]!r} of {name}"
    good = [other for other, cells in columns.items() if _coding({*cells})]
    fix = "Mend that line"
    if good and len(good) <= 12:
        fix += f"; or name the columns that have two values: --attributes {shlex.join(good)}"
    elif len(columns) > 1:
        fix += f"; or, if these are classes, name that column alone: --attributes {shlex.quote(name)}"
    return DataError(rows.line(row), found, how.replace("-1/1", "1 or -1").replace("/", " or "), f"{fix}.")


# ---- which image a row means ----


class Images:
    """Find the images that the rows of lists name.

    Args:
        paths: of the images, below the input's folder.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            name = _clean(path.rpartition("/")[2])
            self._by_name[name].append(path)
            self._by_stem[_stem(name)].append(path)

    def is_known(self, cell: str) -> bool:
        """Tell whether a cell names an image, with its ending or without."""
        name = cell.rpartition("/")[2]
        return name in self._by_name or name in self._by_stem

    def of(self, file: str, alone: bool) -> list[str]:
        """List the images that a row can mean: of its own name, else of its name with another ending. A path in either
        has to agree with the other as far as both go.

        Args:
            file: the row's.
            alone: whether no other row has its name in another folder; then an image of that name is meant, wherever
                the list was made.
        """
        name = file.rpartition("/")[2]
        same = self._by_name.get(name, [])
        exact = [path for path in same if _agree(file, _clean(path))]
        if file in exact:
            return [file]
        stem = _bare(file)
        others = self._by_stem.get(stem.rpartition("/")[2], [])
        agreeing = exact or [path for path in others if _agree(stem, _stem(_clean(path)))]
        elsewhere = same or others
        return agreeing or (elsewhere if alone and len(elsewhere) == 1 else [])


def _bare(file: str) -> str:
    """Leave the ending of an image away from a name in a list."""
    return _stem(file) if file.rpartition(".")[2].lower() in EXTENSIONS else file


def _agree(a: str, b: str) -> bool:
    return a == b or a.endswith(f"/{b}") or b.endswith(f"/{a}")


def _stem(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    stem, dot, _ = last.rpartition(".")
    return f"{folder}{slash}{stem if dot else last}"


@dataclass(frozen=True)
class Matched:
    """Say which row each image has, and what has no partner."""

    rows: dict[str, int]
    """Number of the row of each image, by the image's path."""
    without_image: list[int]
    without_row: list[str]


def matched(rows: Rows, images: Images) -> Matched:
    """Find the image of each row.

    Raises:
        DataError: a row that names two images, two rows that name one, or not one row that names any.
    """
    found: dict[str, int] = {}
    lone = []
    names = [_bare(file.rpartition("/")[2]) for file in rows.files]
    times = Counter(names)
    for row, (file, name) in enumerate(zip(rows.files, names, strict=True)):
        its = images.of(file, times[name] == 1)
        if len(its) > 1:
            fix = "Move one of them away, or write the path below --input into the list."
            raise DataError(rows.line(row), f"{file}, which is both {its[0]} and {its[1]}", "one image of a row", fix)
        if not its:
            lone.append(row)
        elif found.setdefault(its[0], row) != row:
            fix = "Keep one of the two lines."
            both = f"{rows.files[found[its[0]]]} and {file}, which both are {its[0]}"
            raise DataError(rows.line(row), both, "a row of each image", fix)
    if not found:
        shown = f"rows of {rows.files[0]}, ..., and images {images.paths[0]}, ..." if rows.files else "no row"
        fix = "Name the list of these images with --list FILE, or the folder of its images with --input."
        raise DataError(rows.where, shown, "rows that name these images", fix)
    return Matched(found, lone, [path for path in images.paths if path not in found])


def lone_of(rows: Rows, of: Matched, uri: str) -> tuple[str, ...]:
    """List what has no partner, a line each."""
    return (
        *(f"{uri}/{path}: an image without a row" for path in of.without_row),
        *(f"{rows.line(row)}: {rows.files[row]}, a row without an image" for row in of.without_image),
    )


def notes_of(rows: Rows, of: Matched) -> list[str]:
    """Count what has no partner, and name some of it."""
    name = rows.where.rpartition("/")[2]
    lone = [rows.files[row] for row in of.without_image]
    notes = [f"{counted(len(lone), 'row')} of {name} without an image: {_some(lone)}"] if lone else []
    images = of.without_row
    return notes + ([f"{counted(len(images), 'image')} without a row in {name}: {_some(images)}"] if images else [])


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(sorted(names)[:most]) + (", ..." if len(names) > most else "")


def partition_of(rows: Rows, images: Images, of: Iterable[str], words: Mapping[str, str]) -> dict[str, str]:
    """Give the split of each of some images by the last column of a partition. Raises DataError where one has none."""
    if len(rows.names) != 1:
        fix = "Take the file as CelebA ships it, or move it away and use --split."
        raise DataError(rows.where, counted(len(rows.names), "column"), "one besides that of the files", fix)
    splits, its = splits_of(rows, rows.names[0], words), matched(rows, images).rows
    if missing := [path for path in of if path not in its]:
        fix = "Take the file that belongs to these images, or move it away and use --split."
        found = f"no row for {counted(len(missing), 'image')} ({_some(missing)})"
        raise DataError(rows.where, found, "a row for every image", fix)
    return {path: splits[rows.files[its[path]]] for path in of}


# ---- where lists lie ----


def read(url: str, images: Images) -> Rows:
    """Read the list at a URL.

    Raises:
        DataError: it is too large, no text, or damaged.
    """
    fs, path = storage_of(url)
    where = url.removeprefix("file://")
    size = int(fs.info(path)["size"])
    if size > MOST_LIST:
        raise DataError(where, f"{size:,} bytes", f"at most {MOST_LIST:,} of a list", "Name another file.")
    return read_rows(text_of(fs.cat_file(path), where), where, images.is_known)


def named(given: str, root: str) -> str:
    """Give the URL of the list that `--list` names: a file, or one below the input's folder. Raises DataError where
    there is none."""
    for at in (absolute(given, "--list"), f"{root}/{given}"):
        fs, path = storage_of(at)
        if fs.isfile(path) and not (is_local(fs) and special(path)):
            return str(fs.unstrip_protocol(path))
    expected = "a list of images with their attributes or classes"
    raise DataError(f"--list {given}", "no file at that place", expected, corrected(absolute(given, "--list")))


def one_of(paths: Iterable[str], uri: str, kind: Literal["attributes", "partition"]) -> str:
    """Find the file among those of a folder whose name is that of CelebA's lists of a kind; empty where none is.

    Raises:
        DataError: there are several.
    """
    known = _KNOWN if kind == "attributes" else _PARTITION
    found = sorted(path for path in paths if known.fullmatch(path.rpartition("/")[2]))
    if len(found) > 1:
        fix = "Keep one of them there."
        if kind == "attributes":
            fix = f"Name the one to read: --list {shlex.quote(f'{uri}/{found[0]}')}, say."
        raise DataError(f"--input {uri}", f"both {found[0]} and {found[1]}", f"one list of {kind}", fix)
    return found[0] if found else ""


def has_known(paths: Iterable[str]) -> bool:
    """Tell whether a file is called as CelebA's lists of attributes."""
    return any(_KNOWN.fullmatch(path.rpartition("/")[2]) for path in paths)


def likely(paths: Iterable[str], root: str, images: Images) -> str:
    """Find a text or table among some files that can be read as the list of these images; empty where none can."""
    texts = sorted(path for path in paths if _TEXT.fullmatch(path.rpartition("/")[2]))
    for path in [path for path in texts if not _PARTITION.fullmatch(path.rpartition("/")[2])][:MOST_TRIED]:
        with suppress(DataError):
            rows = read(f"{root}/{path}", images)
            labels_of(rows, rows.names, rows.names)
            matched(rows, images)
            return path
    return ""
