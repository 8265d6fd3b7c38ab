"""Keep files in a folder, local or remote, each there whole or not at all."""

from __future__ import annotations

import copy
import errno
import functools
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

from i2i_core import strict
from i2i_core.errors import DataError, RunError
from i2i_core.storage.leftovers import OLD, TemporaryFolder
from i2i_core.storage.remote import is_local, storage_of

MOST_BYTES = 16 << 20
"""Bytes of a JSON file in a folder."""
AGAIN = "Remove the file, and run the same command again: it is written anew."
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""Error numbers of filesystems without hard links."""
_WRITING = re.compile(r"\.([0-9a-f]{8})-(\d+)(?:-(\d+))?\.writing$")
_homes: dict[str, TemporaryFolder] = {}
"""The temporary folders of this process, by the file that `Folder.beside` opened in each."""


def _create(place: str, data: bytes) -> bool:
    """Create a file as `Folder.create` does, where there are no hard links: the file is there before all that is in
    it."""
    try:
        with open(place, "xb") as out:
            out.write(data)
    except FileExistsError:
        return False
    return True


@functools.cache
def machine() -> str:
    """Name, in short, what a process number belongs to: the host, since it was started, and its container."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # not Linux
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:8]


def lives(process: int, began: int = 0) -> bool:
    """Tell whether a process of this machine is there and has not ended. One that stands still is.

    Args:
        began: when the process began, as `_began` gives it: another process that has got its number since does not
            count. 0: unknown.
    """
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    state, now = _state(process)
    return state not in "ZX" and (not began or not now or began == now)


def _state(process: int) -> tuple[str, int]:
    """Read a process's state, and the clock ticks between the machine's start and its own; ("?", 0) where that cannot
    be read."""
    with suppress(OSError):  # not Linux, or just gone
        parts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return parts[0], int(parts[19])
    return "?", 0


def writing(name: str) -> str:
    """Name a file while this process writes it; the name tells who does."""
    return f"{name}.{machine()}-{os.getpid()}-{_state(os.getpid())[1]}.writing"


def is_left(place: Path) -> bool:
    """Tell whether a file named by `writing` was left behind: its writer is gone, or nobody can tell and it is old. A
    file of any other name was not."""
    if not (named := _WRITING.search(place.name)):
        return False
    if named[1] == machine():
        return not lives(int(named[2]), int(named[3] or 0))
    return time.time() - place.stat().st_mtime > OLD


class Folder:
    """Keep files under one URL. Paths are relative to it.

    A file is either there whole or not there: local files are written beside their place, flushed to
    disk and renamed; on object storage a put is already so.

    Attributes:
        guard: called last before a file takes its place (on object storage: before it is sent); raises if it is not to.
        kept: a local folder that somebody removes or unmounts is not made again by a write, which raises
            FileNotFoundError.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.fs, self.root = storage_of(self.url)
        self.local = is_local(self.fs)
        self.guard: Callable[[], None] | None = None
        self.kept = False

    def _check(self) -> None:
        if self.guard:
            self.guard()

    def guarded(self, guard: Callable[[], None]) -> Self:
        """Give the same folder, with another guard."""
        other = copy.copy(self)
        other.guard = guard
        return other

    def keep(self) -> None:
        """Make the folder, this once: see `kept`."""
        self.make()
        self.kept = True

    def make(self, path: str = "") -> None:
        """Make a local sub-folder, or the folder itself; object storage has none."""
        if not self.local:
            return
        if self.kept and not os.path.isdir(self.root):
            raise FileNotFoundError(errno.ENOENT, "the folder was removed, replaced or unmounted", self.root)
        Path(self.path(path)).mkdir(parents=True, exist_ok=True)

    @property
    def absolute(self) -> str:
        """A name for the folder that holds in any process."""
        return self.root if self.local else str(self.fs.unstrip_protocol(self.root))

    def at(self, path: str) -> str:
        """Name a file by its full URL, as a person would."""
        return f"{self.url}/{path}"

    def path(self, path: str) -> str:
        """Name a file as its filesystem knows it."""
        return f"{self.root}/{path}"

    def sub(self, path: str) -> Folder:
        """Open a sub-folder."""
        return Folder(self.at(path))

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file, in place of one that is there."""
        if not self.local:
            self._check()
            self.fs.pipe_file(self.path(path), data)
            return
        with self._beside(path, data) as beside:
            self._check()
            beside.replace(self.path(path))

    def create(self, path: str, data: bytes) -> bool:
        """Write a file where none is; False where one is. Of several writers at once one alone gets True.

        Local filesystems and object storage with conditional puts (S3's If-None-Match) decide that themselves; on
        others two may be told True, and the later one's file stays.
        """
        if not self.local:
            return bool(self.fs.create_file(self.path(path), data))
        with self._beside(path, data) as beside:
            try:
                os.link(beside, self.path(path))
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return _create(self.path(path), data)
        return True

    @contextmanager
    def _beside(self, path: str, data: bytes) -> Iterator[Path]:
        """Put the data on disk beside its place; the file is gone again afterwards."""
        place = Path(self.path(path))
        self.make(os.path.dirname(path))
        beside = place.with_name(writing(f".{place.name}"))
        try:
            with beside.open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            yield beside
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def write_over(self, path: str, data: bytes) -> None:
        """Write into the local file that is there, in the room that it has: for a disk that is full.

        Raises:
            OSError: there is no such file, or it has less room.
        """
        with open(self.path(path), "r+b", buffering=0) as out:
            size, blocks = os.fstat(out.fileno()).st_size, os.fstat(out.fileno()).st_blocks
            if len(data) > max(size, 512 * blocks):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path(path))
            out.write(data.ljust(size))  # at once: no reader sees half of it
            out.truncate(len(data))
            os.fsync(out.fileno())

    def modified(self, path: str) -> float:
        """Tell when a file was written, in seconds since 1970 by the storage's clock."""
        return float(self.fs.modified(self.path(path)).timestamp())

    def remove_left(self, patterns: Sequence[str] = ("*.writing", "*/*.writing")) -> None:
        """Remove what writers that are gone left half written, in a local folder and its sub-folders; of names that
        match a pattern."""
        for pattern in patterns if self.local else ():
            for place in Path(self.root).glob(pattern):
                with suppress(FileNotFoundError):  # written to its end meanwhile
                    if is_left(place):
                        place.unlink()

    def beside(self, path: str, folder: str) -> IO[bytes]:
        """Open a new local file to write what `publish` will put in place; in a sub-folder, or where the folder is
        remote in the temporary one."""
        name = path.replace("/", "-")
        if not self.local:
            home = TemporaryFolder("writing")
            place = os.path.join(home.name, name)
            _homes[place] = home
            return open(place, "wb")
        self.make(folder)
        return open(Path(self.path(folder)) / writing(name), "wb")

    def publish(self, temporary: str, path: str) -> None:
        """Put a local file that `beside` opened in its place."""
        if self.local:
            Path(temporary).replace(self.path(path))
            return
        self.fs.put_file(temporary, self.path(path))
        self.discard(temporary)

    def discard(self, temporary: str) -> None:
        """Remove a local file that `beside` opened; nothing where it was published."""
        Path(temporary).unlink(missing_ok=True)
        if home := _homes.pop(temporary, None):
            home.cleanup()

    def read(self, path: str) -> bytes:
        """Read a file. Raises FileNotFoundError when it is not there."""
        data: bytes = self.fs.cat_file(self.path(path))
        return data

    def exists(self, path: str) -> bool:
        """Tell whether a file is there."""
        return bool(self.fs.exists(self.path(path)))

    def size(self, path: str) -> int:
        """Count the bytes of a file; -1 if it is not there."""
        try:
            return int(self.fs.size(self.path(path)))
        except FileNotFoundError:
            return -1

    def names(self, path: str = "") -> list[str]:
        """List the names in the folder or a sub-folder, sorted; none if there is no such folder."""
        where = self.path(path).rstrip("/")
        try:
            entries = self.fs.ls(where, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for e in entries if (name := e.rstrip("/").rsplit("/", 1)[-1]) and e.rstrip("/") != where)

    def remove(self, *paths: str) -> None:
        """Remove files or sub-folders; those that are not there are passed over."""
        for path in paths:
            with suppress(FileNotFoundError):
                self.fs.rm(self.path(path), recursive=True)

    def write_json(self, path: str, value: Any) -> None:
        """Write a value as JSON."""
        self.write(path, (json.dumps(value, indent=1) + "\n").encode())

    def read_json(
        self, path: str, hint: Any = Any, fix: str = AGAIN, most: int = MOST_BYTES, finite: bool = True
    ) -> Any:
        """Read a value of a type that `settings.typed` knows, or None when the file is not there.

        Args:
            fix: says what to do about a file that cannot be read.
            most, finite: as for `strict.loads`.

        Raises:
            DataError: the file holds something else.
        """
        try:
            if self.local:
                self._check_small(path, most, fix)
            data = self.read(path)
        except FileNotFoundError:
            return None
        return strict.read(data, hint, self.at(path), fix, most=most, finite=finite)

    def _check_small(self, path: str, most: int, fix: str) -> None:
        """Raise DataError for a local path that is no plain file of at most so many bytes, before it is opened."""
        info = self.fs.info(self.path(path))
        if info["type"] != "file" or info["size"] > most:
            found = f"{info['size']:,} bytes" if info["type"] == "file" else "no plain file"
            raise DataError(self.at(path), found, f"a file of at most {most:,} bytes", fix)


def unwritable(folder: Folder, error: OSError) -> RunError:
    """Say that a run's folder cannot be used any more."""
    fix = "Make it so, with room, and run the same command to go on from its last checkpoint."
    return RunError(f"{folder.url} cannot be read and written ({error.strerror or error}). {fix}")
