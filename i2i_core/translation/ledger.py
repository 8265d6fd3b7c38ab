"""Keep, beside the folder of the outputs, a row for each input: what was made of it, or why nothing was.

Workers write the rows of a piece as one small file once its outputs are whole; the driver puts many of those together.
So whoever is killed leaves files that are there whole or not at all, and the same command goes on: an input is done
where a row says so, the input is still the one that was read, and its outputs lie there with the bytes that they had.
There is one row for an input: rows that do not hold any more are removed before new ones are written.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from i2i_core import strict
from i2i_core.background import Background
from i2i_core.data.format.places import no_file_name
from i2i_core.errors import ConfigError, DataError, counted
from i2i_core.names import printable
from i2i_core.storage.folder import Folder, writing
from i2i_core.storage.paths import sha256
from i2i_core.storage.remote import files_below, is_local, storage_of
from i2i_core.translation.hashes import Hashes, hashes
from i2i_core.translation.inputs import ledger_of

logger = logging.getLogger(__name__)

MADE_BY = "made_by.json"
"""File that names the checkpoint and the options, on which outputs depend besides their inputs."""
NEW = "new"
"""Sub-folder of the rows of single pieces, which the driver has not put together yet."""
ROWS = "rows"
"""Beginning of the names of files that hold the rows of many pieces: rows-000000.jsonl."""
TOGETHER = 20_000
"""Rows of such a file, and a few more."""
MADE, LEFT_OUT = "made", "left out"
"""States of an input."""
MOST_BYTES = 1 << 30
"""Bytes of a file of rows."""
MOST_LINE = 64 << 20
"""Bytes of a row: one of an input with 10,000 outputs has less."""
AT_ONCE = 256
"""Files that are read together."""
FIX = "Remove that file, and run the same command again: what it names is made again. Or start anew with --overwrite."
START_ANEW = "Start anew with --overwrite, or name another --out."


@dataclass(frozen=True)
class Row:
    """Say what became of one input.

    Attributes:
        input: its path below --input, or its key in a data set.
        version: a text that changed where the input did; empty: unknown.
        state: `made` or `left out`.
        outputs: paths below the folder of the outputs.
        sizes: bytes of each output.
        cause: why it was left out.
    """

    input: str
    version: str
    state: str
    outputs: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    cause: str = ""

    def line(self) -> bytes:
        """Write it as a line of JSON."""
        values = {**self.__dict__, "input": printable(self.input), "cause": printable(self.cause)}
        return (json.dumps(values, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")

    @staticmethod
    def read(line: bytes) -> Row:
        """Read what `line` wrote. Raises ValueError for anything else."""
        values = strict.loads(line, MOST_LINE)
        if not isinstance(values, dict) or values.keys() != Row.__dataclass_fields__.keys():
            raise ValueError("no row")
        row = Row(**{**values, "outputs": tuple(_list(values["outputs"])), "sizes": tuple(_list(values["sizes"]))})
        texts = (row.input, row.version, row.cause, *row.outputs)
        if not all(isinstance(text, str) for text in texts) or row.state not in (MADE, LEFT_OUT):
            raise ValueError("no row")
        if len(row.outputs) != len(row.sizes) or not all(type(n) is int and n >= 0 for n in row.sizes):
            raise ValueError("other outputs than sizes")
        if wrong := next(filter(None, map(no_file_name, row.outputs)), ""):
            raise ValueError(f"an output with {wrong}")
        return row

    @property
    def key(self) -> str:
        """Name the input as it was read."""
        return key_of(self.input, self.version)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("no row")
    return value


def key_of(name: str, version: str) -> str:
    """Name an input as it is now."""
    return f"{printable(name)}\0{version}"


def _output(path: str, size: int) -> str:
    return f"{path}\0{size}"


def note(out: str, rows: Sequence[Row]) -> str:
    """Write the rows of one piece, on any worker, and give the file's name in the ledger."""
    folder, data = Folder(ledger_of(out)), b"".join(row.line() for row in rows)
    path = f"{NEW}/{sha256(rows[0].input.encode('utf-8', 'surrogatepass'))[:16]}.jsonl"
    if not folder.local:
        folder.write(path, data)
        return path
    folder.make(NEW)
    beside = Path(folder.path(writing(path)))
    beside.write_bytes(data)
    beside.replace(folder.path(path))  # no fsync: the outputs have none, and their bytes are compared
    return path


class Ledger:
    """Keep the rows of one folder of outputs, in the driver.

    Args:
        out: the folder.
        made_by: what the outputs depend on besides the inputs, by flag or name.

    Attributes:
        made: inputs that are done.
        place: folder of the ledger.
    """

    def __init__(self, out: str, made_by: Mapping[str, str]) -> None:
        self.out, self.made_by, self.place = out, dict(made_by), ledger_of(out)
        self.folder = Folder(self.place)
        self.made = 0
        self._done, self._names, self._replaced = Hashes(), Hashes(), Hashes()
        self._old: set[str] = set()
        self._next = 0
        self._lines: list[bytes] = []
        self._files: list[str] = []
        self._count = 0
        self._background = Background("ledger")

    def open(self, overwrite: bool) -> None:
        """Find what is done, and write down what the outputs depend on.

        Args:
            overwrite: start anew: remove the rows that there are, and the outputs that they name.

        Raises:
            ConfigError: the outputs that are there depend on something else.
            DataError: a file of the ledger is damaged.
        """
        if overwrite:
            self._remove_all()
        there = self._made_by()
        if there is None:
            if files := self._rows_files():
                found = f"{counted(len(files), 'file')} of rows, and no {MADE_BY}"
                raise DataError(self.place, found, "both", START_ANEW)
            self.folder.write_json(MADE_BY, {"made_by": self.made_by})
        elif there != self.made_by:
            raise ConfigError(
                f"--out {self.out}",
                f"outputs that were made otherwise ({differences(there, self.made_by)})",
                "a new folder, or the same options",
                "Name another --out; give the options as they were, to go on; or replace the outputs with --overwrite.",
            )
        else:
            self._find_done()

    def _made_by(self) -> dict[str, str] | None:
        read = self.folder.read_json(
            MADE_BY, dict[str, dict[str, str]], fix=FIX.replace("Remove that file", "Remove the folder")
        )
        return None if read is None else dict(read.get("made_by", {}))

    def has(self, keys: Iterable[str]) -> np.ndarray:
        """Tell of each key (`key_of`) whether that input is done, as an array of bool."""
        return self._done.has(hashes(keys))

    def replaces(self, names: Iterable[str]) -> None:
        """Note that inputs get new rows, which take the place of those that inputs of these names had."""
        found = hashes(map(printable, names))
        self._replaced.add(found[self._names.has(found)])

    # ---- what is there ----

    def _rows_files(self) -> list[str]:
        """List the files of rows, the newest first."""
        parts = [name for name in self.folder.names() if name.startswith(f"{ROWS}-")]
        return [*(f"{NEW}/{name}" for name in self.folder.names(NEW) if name.endswith(".jsonl")), *reversed(parts)]

    def _find_done(self) -> None:
        """Read all rows, and remove those that do not hold any more. Of two of one input the newer counts."""
        self.folder.remove_left((f"{NEW}/*.writing",))
        files = self._rows_files()
        self._old = {path for path in files if path.startswith(ROWS)}
        there = _outputs_there(self.out) if files else Hashes()
        for path, rows in self._read(files):
            names = hashes(row.input for row in rows)
            kept = _whole(rows, there) & ~self._names.has(names)
            kept[np.setdiff1d(np.arange(len(names)), np.unique(names, return_index=True)[1])] = False
            self._names.add(names[kept])
            whole = [row for row, keep in zip(rows, kept, strict=True) if keep]
            self._done.add(hashes(row.key for row in whole))
            self.made += len(whole)
            if path.startswith(f"{NEW}/"):
                self.take(path, [row.line() for row in whole])
            elif len(whole) < len(rows):
                self._keep(path, whole)

    def _keep(self, path: str, rows: Sequence[Row]) -> None:
        """Write a file of rows again, with these alone."""
        if rows:
            self.folder.write(path, b"".join(row.line() for row in rows))
        else:
            self.folder.remove(path)

    def _read(self, files: Sequence[str]) -> Iterator[tuple[str, list[Row]]]:
        """Read files of rows, many at once. Raises DataError for a damaged one."""
        for start in range(0, len(files), AT_ONCE):
            some = files[start : start + AT_ONCE]
            for path, data in zip(some, self._contents(some), strict=True):
                yield path, self._rows(path, data)

    def _contents(self, files: Sequence[str]) -> Iterator[bytes]:
        if self.folder.local or len(files) == 1:
            yield from map(self.folder.read, files)
            return
        paths = [self.folder.path(file) for file in files]
        yield from self.folder.fs.cat_ranges(paths, [None] * len(paths), [None] * len(paths))

    def _rows(self, path: str, data: bytes) -> list[Row]:
        if len(data) > MOST_BYTES:
            raise DataError(self.folder.at(path), f"{len(data):,} bytes", f"at most {MOST_BYTES:,}", FIX)
        rows = []
        for number, line in enumerate(data.splitlines(), start=1):
            try:
                rows.append(Row.read(line))
            except ValueError as wrong:
                where, found = f"{self.folder.at(path)}, line {number}", f"text that is no row of a ledger ({wrong})"
                raise DataError(where, found, "a row as translate.py writes it", FIX) from None
        if not rows:
            raise DataError(self.folder.at(path), "an empty file", "rows as translate.py writes them", FIX)
        return rows

    # ---- what is new ----

    def take(self, path: str, lines: Sequence[bytes]) -> None:
        """Take the rows that a worker has written, and put many files together, in the background."""
        self._lines += lines
        self._files.append(path)
        if len(self._lines) >= TOGETHER:
            self._put_together()

    def _put_together(self) -> None:
        lines, files = sorted(self._lines), self._files
        self._lines, self._files = [], []
        self._background.put(lambda: self._publish(lines, files))

    def _publish(self, lines: Sequence[bytes], files: Sequence[str]) -> None:
        data = b"".join(lines)
        while data and not self.folder.create(f"{ROWS}-{self._next:06d}.jsonl", data):
            self._next += 1
        self._remove(files)

    def _remove(self, files: Sequence[str]) -> None:
        remove(self.folder.fs, [self.folder.path(path) for path in files])

    def close(self) -> None:
        """Put what is left together."""
        if len(self._replaced):
            old = [path for path in self._rows_files() if path in self._old]
            for path, rows in self._read(old):
                stale = self._replaced.has(hashes(row.input for row in rows))
                if stale.any():
                    self._keep(path, [row for row, is_stale in zip(rows, stale, strict=True) if not is_stale])
        if self._files:
            self._put_together()
        self._background.wait()
        self._background.check()
        if self.folder.local:
            with suppress(OSError):  # another command's rows
                os.rmdir(self.folder.path(NEW))

    def forget(self) -> None:
        """Remove a ledger without a row."""
        if not self._rows_files():
            self.folder.remove(MADE_BY)
            if self.folder.local:
                for path in (self.folder.path(NEW), self.folder.root):
                    with suppress(OSError):
                        os.rmdir(path)

    def _remove_all(self) -> None:
        """Remove the ledger, and the outputs that it names."""
        fs, root = storage_of(self.out)
        for path in self._rows_files():
            with suppress(DataError):  # damaged: what it names stays, and what has its name is replaced
                rows = self._rows(path, self.folder.read(path))
                remove(fs, [f"{root}/{output}" for row in rows for output in row.outputs])
            self.folder.remove(path)
        self.folder.remove(MADE_BY)


def remove(fs: Any, paths: Sequence[str]) -> None:
    """Remove files, those that are there."""
    wild = [path for path in paths if is_local(fs) or not {*"*?["}.isdisjoint(path)]
    for path in wild:
        with suppress(FileNotFoundError):
            fs.rm_file(path)
    if plain := [path for path in paths if path not in {*wild}]:
        with suppress(FileNotFoundError):
            fs.rm(plain)


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Name what outputs depend on that differs, with both values."""
    pairs = {name: (there.get(name) or "not given", here.get(name) or "not given") for name in {**there, **here}}
    return "; ".join(f"{name}: {old} there, {new} here" for name, (old, new) in pairs.items() if old != new)


def _outputs_there(out: str) -> Hashes:
    """Find all files below the folder of the outputs, by path and bytes."""
    fs, root = storage_of(out.rstrip("/") or out)
    found, some = Hashes(), list[str]()
    with suppress(FileNotFoundError):  # the folder was removed
        for path, size in files_below(fs, root):
            some.append(_output(path, size))
            if len(some) == 100_000:
                found.add(hashes(some))
                some = []
    found.add(hashes(some))
    return found


def _whole(rows: Sequence[Row], there: Hashes) -> np.ndarray:
    """Tell of each row whether it holds: something was made, and all of it is there."""
    outputs = [_output(path, size) for row in rows for path, size in zip(row.outputs, row.sizes, strict=True)]
    is_there = there.has(hashes(outputs))
    ends = np.cumsum([len(row.outputs) for row in rows])
    missing = np.diff(np.concatenate([[0], np.cumsum(~is_there)])[np.concatenate([[0], ends])])
    return (missing == 0) & np.array([row.state == MADE for row in rows], bool)
