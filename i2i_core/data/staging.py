"""Remote shards on this node's disk: whole, verified, and there before they are needed.

A training worker knows which shards its lanes will read, and when. A `Stager` streams them into a `Cache` in that
order, as far ahead as the cache has room; every process of the node reads them from there.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import IO

from i2i_core.data.manifest import DataSet, Shard
from i2i_core.errors import DataError, ResourceError

STREAMS = 4
"""Shards that a worker fetches at a time."""
LATE = 64
"""Global batches that may have been asked for and not yet read."""


class Cache:
    """Whole shards in a folder of this node, each under the checksum of its bytes: data sets can share one only where
    it is the same.

    Safe between processes. A shard is fetched by one of them, under a lock that dies with its holder, into a `.part`
    that appears under its name when it is whole and verified; a `.part` that was left behind is gone on with.

    Args:
        folder: made if it is not there; none given: one of this user's in the temporary folder.
        most: bytes that it may hold, those under way included.

    Raises:
        ResourceError: the folder cannot be written to, or is another user's.
    """

    def __init__(self, folder: str, most: int) -> None:
        self.folder = Path(folder) if folder else Path(tempfile.gettempdir(), f"i2i-cache-{os.getuid()}")
        self.most = most
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            mine = self.folder.stat().st_uid == os.getuid() and os.access(self.folder, os.W_OK)
        except OSError as error:
            mine, folder = False, f"{self.folder} ({error})"
        if not mine:
            found = f"{folder or self.folder}, which this user does not own or cannot write to"
            raise ResourceError("--cache", found, "a folder of your own", "Name one on a local disk.")

    def path(self, shard: Shard) -> Path:
        return self.folder / f"{shard.sha256}.tar"

    def _part(self, shard: Shard) -> Path:
        return self.folder / f"{shard.sha256}-{shard.bytes}.part"

    def wait(self, shard: Shard) -> None:
        """Until nobody is fetching the shard any more."""
        with suppress(FileNotFoundError), self._part(shard).open("rb") as part:
            fcntl.flock(part, fcntl.LOCK_SH)

    def fetch(self, data: DataSet, shard: Shard, keep: Collection[str] = ()) -> bool:
        """Whether the shard is here now: it was, or another process has fetched it, or it was fetched.

        False where there is no room for it.

        Args:
            keep: checksums of shards that may not be removed to make room.

        Raises:
            DataError: its bytes are not those of the manifest's checksum.
            StorageError: the storage does not answer.
        """
        place = self.path(shard)
        if self._touched(place):
            return True
        with self._locked(self._part(shard)) as part:
            there = self._touched(place)
            if there or not self._has_room(keep) or not self._downloaded(data, shard, part):
                os.unlink(part.name)
                return there
            os.replace(part.name, place)
        return True

    def _touched(self, place: Path) -> bool:
        try:
            os.utime(place)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def _locked(self, path: Path) -> Iterator[IO[bytes]]:
        """A file opened to append to, locked; made if it is not there."""
        while True:
            with path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                with suppress(FileNotFoundError):
                    if os.fstat(file.fileno()).st_ino == path.stat().st_ino:  # not removed while it was waited for
                        yield file
                        return

    def _has_room(self, keep: Collection[str]) -> bool:
        """Whether what is here and under way fits; the longest unused shards go, and parts that were left behind."""
        with self._locked(self.folder / ".room"):
            held = {part: int(part.stem.rsplit("-", 1)[1]) for part in self.folder.glob("*.part")}
            whole = sorted((*_time_and_size(path), path) for path in self.folder.glob("*.tar"))
            held |= {path: size for _, size, path in whole}
            for path in [*(path for _, _, path in whole if path.stem not in keep), *self.folder.glob("*.part")]:
                if sum(held.values()) > self.most and (path.suffix == ".tar" or _left_behind(path)):
                    path.unlink(missing_ok=True)
                    del held[path]
            return sum(held.values()) <= self.most

    def _downloaded(self, data: DataSet, shard: Shard, part: IO[bytes]) -> bool:
        """False when the disk is full."""
        for begun in (part.seek(0, os.SEEK_END), 0):
            part.truncate(begun)
            part.seek(begun)
            try:
                data.fs.pour(data.path(shard.name), part, begun, shard.bytes)
                part.flush()
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    return False
                raise
            part.seek(0)
            if hashlib.file_digest(part, "sha256").hexdigest() == shard.sha256:  # type: ignore[arg-type]
                return True
            if not begun:
                break
        part.truncate(0)
        fix = "Copy the data set again, or make it again with `python pipelines/shard.py`."
        raise DataError(data.url(shard.name), "other bytes than the manifest's checksum", "the same", fix)


def _left_behind(part: Path) -> bool:
    """Whether nobody holds a part's lock."""
    try:
        with part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):
        return False
    return True


def _time_and_size(path: Path) -> tuple[float, int]:
    try:
        stat = path.stat()
    except FileNotFoundError:  # another process removed it
        return 0.0, 0
    return stat.st_mtime, stat.st_size


@dataclass(frozen=True)
class Need:
    """A shard, and the first and last global batch that it is read for."""

    t: int
    last: int
    data: DataSet
    shard: Shard


class Stager:
    """Fetches what a worker will need, in order, by threads of its own.

    As far ahead as the cache has room for beside what is needed now; what does not fit is read sample by sample.
    """

    def __init__(self, cache: Cache, needs: Iterator[Need]) -> None:
        self.cache, self.needs = cache, needs
        self.live: list[Need] = []
        self.t, self.stopped, self.told, self.moved = -1, False, False, Condition()
        self.error: Exception | None = None
        for i in range(STREAMS):
            Thread(target=self._work, name=f"stager-{i}", daemon=True).start()

    def at(self, t: int) -> None:
        """Global batch t is asked for. Raises what went wrong with a shard that was fetched."""
        with self.moved:
            self.t = t
            self.live = [need for need in self.live if need.last >= t - LATE]
            self.moved.notify_all()
        if self.error:
            raise self.error

    def close(self) -> None:
        """No further shard is begun."""
        with self.moved:
            self.stopped = True
            self.moved.notify_all()

    def _work(self) -> None:
        try:
            while need := self._next():
                with self.moved:
                    keep = {n.shard.sha256 for n in self.live}
                self.cache.fetch(need.data, need.shard, keep)
        except Exception as error:  # raised where the next batch is asked for
            self.error = error

    def _next(self) -> Need | None:
        """The next need, once there is room for it; None when closed."""
        with self.moved:
            need = next(self.needs)
            while not self.stopped and not self._fits(need):
                self.moved.wait()
            self.live.append(need)
            return None if self.stopped else need

    def _fits(self, need: Need) -> bool:
        sizes = {n.shard.sha256: n.shard.bytes for n in (*self.live, need)}
        fits = sum(sizes.values()) <= self.cache.most
        if not fits and need.t <= self.t and not self.told:
            self.told = True
            print(
                f"WARNING: the cache ({self.cache.most / 1e9:.3g} GB) cannot hold the {len(sizes)} shards "
                f"({sum(sizes.values()) / 1e9:.3g} GB) that are read at a time; what does not fit is read sample by "
                "sample, which is slower: raise --cache-gb, or make smaller shards",
                flush=True,
            )
        return fits
