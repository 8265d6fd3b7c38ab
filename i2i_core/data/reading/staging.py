"""Cache remote shards on this node's disk: whole, verified, and there before they are needed.

A training worker knows which shards its lanes will read, and when. A `Stager` streams them into a `Cache` in that
order, as far ahead as the cache has room; every process of the node reads them from there.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import logging
import os
import re
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import IO

from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.table import Shard
from i2i_core.errors import DataError, ResourceError
from i2i_core.storage.leftovers import OLD
from i2i_core.storage.retry import FULL

logger = logging.getLogger(__name__)

STREAMS = 4
"""Shards that a worker fetches at a time."""
LATE = 64
"""Global batches that loaders may have requested and not yet read."""
FARTHEST = 4096
"""Needs that are examined ahead of the batch that is requested."""
_OURS = re.compile(r"([0-9a-f]{64})(?:\.tar|-([0-9]+)\.part)")


class Cache:
    """Keep whole shards in a folder of this node, each named by its checksum, so that data sets share a shard only
    where its bytes are equal.

    Processes may share a cache. One of them downloads a shard, under a lock that ends with that process, into a `.part`
    file, and renames the file once it is whole and verified. The next download resumes a `.part` file that was left
    behind; a day after its last byte the next cache of the folder removes it. To make room, a cache evicts no shard
    that a process holds, and no file that is not a cache's.

    Args:
        folder: made if it is not there; none given: one of this user's in the temporary folder.
        most: bytes that it may hold, those under way included.

    Raises:
        ResourceError: the folder cannot be written to, or is another user's.
    """

    def __init__(self, folder: str, most: int) -> None:
        self.folder = Path(folder) if folder else Path(tempfile.gettempdir(), f"i2i-cache-{os.getuid()}")
        self.most = most
        found = f"{self.folder}, which this user does not own or cannot write to"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            mine = self.folder.stat().st_uid == os.getuid() and os.access(self.folder, os.W_OK)
        except OSError as error:
            mine, found = False, f"{self.folder} ({error.strerror})"
        if not mine:
            raise ResourceError("--cache", found, "a folder of your own", "Name one on a local disk.")
        self._remove_left()

    def _remove_left(self) -> None:
        """Remove the `.part` files that nobody fetches and nothing was added to for OLD seconds."""
        for written, _, path in _times_and_sizes(self.folder):
            if path.suffix == ".part" and time.time() - written > OLD:
                with suppress(OSError), ExitStack() as lock:  # somebody goes on with it
                    if (file := _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB, "rb")) is not None:
                        lock.enter_context(file)
                        path.unlink()

    def path(self, shard: Shard) -> Path:
        """Place of a shard that is whole."""
        return self.folder / f"{shard.sha256}.tar"

    def part(self, shard: Shard) -> Path:
        """Place of a shard while it is fetched."""
        return self.folder / f"{shard.sha256}-{shard.bytes}.part"

    def wait(self, shard: Shard) -> None:
        """Wait until nobody is fetching the shard any more."""
        with suppress(FileNotFoundError), self.part(shard).open("rb") as part:
            fcntl.flock(part, fcntl.LOCK_SH)

    def fetch(self, data: DataSet, shard: Shard) -> IO[bytes] | None:
        """Open a whole shard. Where the cache lacks it, download it first, or wait for another process that does. No
        process evicts the file before it is closed. Return None where there is no room beside the shards that are held.

        Raises:
            DataError: it is no longer there, or its bytes are not those of the manifest's checksum.
            StorageError: the storage does not answer.
            OSError: the disk is full, or broken.
        """
        place = self.path(shard)
        while True:
            with suppress(FileNotFoundError):
                if (whole := _locked(place, fcntl.LOCK_SH, "rb")) is not None:
                    os.utime(whole.fileno())
                    return whole
                continue
            try:
                part = _locked(self.part(shard), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.wait(shard)  # shared: what is waited for may be in place by now, and held
                continue
            if part is None:
                continue  # another process has just put it in place, or given it up
            try:
                if place.exists():
                    os.unlink(part.name)
                elif not self._has_room():
                    os.unlink(part.name)
                    return None
                else:
                    start = time.monotonic()
                    self._download(data, shard, part)
                    logger.debug(f"cached {shard.name}, {shard.bytes:,} bytes, in {time.monotonic() - start:.1f} s")
                    with self._room():  # whoever counts meanwhile would miss a file that changes its name
                        os.replace(part.name, place)
                    fcntl.flock(part, fcntl.LOCK_SH)
                    whole, part = part, None
                    return whole
            finally:
                if part:
                    part.close()

    def _has_room(self) -> bool:
        """Tell whether the cached files and the downloads under way fit. To make room, evict the least recently used
        files that nobody holds, `.part` files left behind among them."""
        with self._room(), ExitStack() as locks:
            files = sorted(_times_and_sizes(self.folder))
            over = sum(size for _, size, _ in files) - self.most
            going: list[Path] = []
            for _, size, path in files:
                if over <= 0:
                    break
                with suppress(FileNotFoundError, BlockingIOError):
                    if (file := _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB, "rb")) is not None:
                        locks.enter_context(file)
                        going.append(path)
                        over -= size
            if over > 0:
                return False
            for path in going:
                path.unlink()
            return True

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Keep other processes from counting and evicting the cache's files inside the block."""
        while (room := _locked(self.folder / ".room", fcntl.LOCK_EX)) is None:
            pass
        with room:
            yield

    def _download(self, data: DataSet, shard: Shard, part: IO[bytes]) -> None:
        """Fetch a shard into its part, from where an earlier try broke off, and verify its checksum."""
        for begun in (part.seek(0, os.SEEK_END), 0):
            part.truncate(begun)
            part.seek(begun)
            try:
                data.fs.pour(data.path(shard.name), part, begun, shard.bytes)
            except (FileNotFoundError, EOFError) as error:
                os.unlink(part.name)
                raise (cut_short if isinstance(error, EOFError) else no_shard)(data, shard) from None
            except OSError as error:
                if error.errno in FULL:
                    os.unlink(part.name)
                raise
            part.seek(0)
            if hashlib.file_digest(part, "sha256").hexdigest() == shard.sha256:  # type: ignore[arg-type]
                return
            if not begun:
                break
        os.unlink(part.name)
        raise other_bytes(data, shard)


def no_shard(data: DataSet, shard: Shard) -> DataError:
    """Make the error of a shard that is no longer there."""
    fix = "Put it back and run the same command again: the run goes on from its last checkpoint."
    return DataError(data.url(shard.name), "no such shard any more", "the shard of the manifest", fix)


def other_bytes(data: DataSet, shard: Shard) -> DataError:
    """Make the error of a shard whose bytes are not those of the manifest's checksum."""
    fix = "Copy the data set again, or make it again with `python pipelines/shard.py`."
    return DataError(data.url(shard.name), "other bytes than the manifest's checksum", "the same", fix)


def cut_short(data: DataSet, shard: Shard) -> DataError:
    """Make the error of a shard that ends too soon: it is truncated, where it is not another by now."""
    there = data.fs.size(data.path(shard.name))
    if there >= shard.bytes:
        return other_bytes(data, shard)
    found = f"{there:,} of its {shard.bytes:,} bytes: it is truncated"
    fix = "Copy the data set again, or make it again with `python pipelines/shard.py`."
    return DataError(data.url(shard.name), found, "the whole shard", fix)


class _Locked(io.FileIO):
    """Keep a file whose lock ends when it is closed, also where a process that was forked meanwhile has it open too.

    Without a buffer: a full disk is met where it is written to, and not again where it is closed.
    """

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self.pid = os.getpid()

    def close(self) -> None:
        if not self.closed and self.pid == os.getpid():
            fcntl.flock(self, fcntl.LOCK_UN)
        super().close()


def _locked(path: Path, how: int, mode: str = "ab+") -> IO[bytes] | None:
    """Open a file (make it, to append to) and lock it; None if it was removed or renamed while its lock was waited for.

    Raises:
        BlockingIOError: with LOCK_NB, when another holds it.
    """
    file = _Locked(path, mode)
    try:
        fcntl.flock(file, how)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def _times_and_sizes(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Give, for each file of a cache, when it was last used and the bytes that it takes, or will take when whole."""
    for path in folder.iterdir():
        if ours := _OURS.fullmatch(path.name):
            with suppress(FileNotFoundError):
                stat = path.stat()
                yield stat.st_mtime, int(ours[2] or stat.st_size), path


@dataclass(frozen=True)
class Need:
    """Name a shard, and the first and last global batch that it is read for."""

    t: int
    last: int
    data: DataSet
    shard: Shard


class Stager:
    """Prefetch the remote shards that a rank will read into the node's cache, in the order of reading, and hold each in
    the cache until the rank has read the last batch that needs it.

    STREAMS threads fetch as far ahead as the rank's share of the cache has room; the ranks of a node have equal shares.
    A shard is let go LATE global batches after its last batch was requested: by then the loaders have read it. `Reader`
    reads the samples of a shard that does not fit one by one, and the stager warns once. A full disk shrinks the share
    for good; any other error ends the prefetching, and `at` raises it.
    """

    def __init__(self, cache: Cache, needs: Iterator[Need]) -> None:
        self.cache, self.needs = cache, needs
        self.share = cache.most // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
        self.last: dict[str, int] = {}  # of the shards held or under way
        self.bytes: dict[str, int] = {}
        self.held: dict[str, IO[bytes]] = {}
        self.head: Need | None = None
        self.ahead: deque[int] = deque()
        self.t, self.stopped, self.told, self.moved = -1, False, False, Condition()
        self.error: Exception | None = None
        self.threads = [Thread(target=self._work, name=f"stager-{i}", daemon=True) for i in range(STREAMS)]
        for thread in self.threads:
            thread.start()

    def at(self, t: int) -> None:
        """Note that the loaders request global batch t, and let go of the shards whose last batch lies more than LATE
        batches back. Raises the error that ended the prefetching, if any."""
        with self.moved:
            self.t = t
            for name in [name for name, last in self.last.items() if last < t - LATE and name in self.held]:
                self._let_go(name)
            while self.ahead and self.ahead[0] <= t:
                self.ahead.popleft()
            self.moved.notify_all()
            if self.error:
                raise self.error

    def close(self) -> None:
        """Let go of every shard, and begin no further download; those under way still end."""
        with self.moved:
            self.stopped = True
            for name in list(self.held):
                self._let_go(name)
            self.moved.notify_all()

    def _let_go(self, name: str) -> None:
        del self.last[name], self.bytes[name]
        if name in self.held:
            self.held.pop(name).close()

    def _work(self) -> None:
        try:
            while need := self._next():
                self._fetch(need)
        except Exception as error:  # raised where the next batch is asked for
            with self.moved:
                self.error = self.error or error
                self.stopped = True
                self.moved.notify_all()

    def _fetch(self, need: Need) -> None:
        file = None
        try:
            file = self.cache.fetch(need.data, need.shard)
        except OSError as error:
            if error.errno not in FULL:
                raise
            with self.moved:  # and never again so much
                self.share = min(self.share, sum(self.bytes.values()) - need.shard.bytes)
                self._tell(f"the disk of the cache, {self.cache.folder}, is full")
        with self.moved:
            if file is not None:
                self.held[need.shard.sha256] = file
            if file is None or self.stopped:
                self._let_go(need.shard.sha256)

    def _next(self) -> Need | None:
        """Give the next shard to fetch, once there is room for it; None when closed."""
        with self.moved:
            while not self.stopped:
                need = self.head = self.head or next(self.needs)
                name = need.shard.sha256
                if need.last < self.t or (name in self.last and len(self.ahead) < FARTHEST):
                    self.head = None
                    if name in self.last:
                        self.last[name] = max(self.last[name], need.last)
                        self.ahead.append(need.t)
                elif name not in self.last and self._fits(need):
                    self.head = None
                    self.last[name], self.bytes[name] = need.last, need.shard.bytes
                    self.ahead.append(need.t)
                    return need
                else:
                    self.moved.wait()
            return None

    def _fits(self, need: Need) -> bool:
        total = sum(self.bytes.values()) + need.shard.bytes
        if total > self.share and need.t <= self.t:
            self._tell(
                f"the cache ({self.share / 1e9:.3g} GB for each worker) cannot hold the {len(self.bytes) + 1} shards "
                f"({total / 1e9:.3g} GB) that are read at a time"
            )
        return total <= self.share

    def _tell(self, what: str) -> None:
        if not self.told:
            self.told = True
            logger.warning(
                f"{what}; what does not fit is read sample by sample, which is slower: raise --cache-gb where the disk "
                "has room, or make smaller shards"
            )
