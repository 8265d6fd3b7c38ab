"""Files under a URL, local or on object storage, and patience with storage that does not answer.

Credentials and endpoints come from where the storage's own tools take them (for S3: AWS_PROFILE, AWS_ENDPOINT_URL,
~/.aws, the instance's role); nothing here reads, keeps or prints them.
"""

from __future__ import annotations

import copy
import errno
import functools
import hashlib
import io
import json
import math
import os
import random
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from i2i_core.errors import ConfigError, RunError, WorkerError

Result = TypeVar("Result")

PATIENCE = "I2I_STORAGE_PATIENCE"
"""Environment variable: seconds that storage may go without answering. Processes inherit it."""
DEFAULT_PATIENCE = 600.0
AT_START = 30.0
"""The same while nothing has begun."""
LONGEST_PAUSE = 15.0
TELL = 3
"""Failed tries in a row that a person is told of."""
BLOCK = 4 << 20
"""Bytes asked for at a time where a whole file is read as a stream."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Of a local disk: no room for more."""
OLD = 24 * 3600.0
"""Seconds after which a half written file is taken for left behind, where its writer cannot be looked for."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""How filesystems say that they have no hard links."""
S3 = {
    "retries": {"mode": "standard", "total_max_attempts": 2},
    "connect_timeout": 10,
    "read_timeout": 30,
    "max_pool_connections": 64,
}
"""Settings of botocore, so that an error comes soon and `Trying` decides; a lost page of a long listing or part of a
large upload is asked for twice there, for all of it is begun anew after an error. fsspec's configuration overrides."""

_FINAL = (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError)
_FINAL_NUMBERS = {errno.EROFS, errno.EINVAL, errno.ENAMETOOLONG, errno.EMFILE, errno.EMSGSIZE, errno.ENOSYS}
_FINAL_NUMBERS |= {errno.ENOTEMPTY, getattr(errno, "EREMCHG", errno.EINVAL), *FULL}
_LIBRARIES = {"aiohttp", "requests", "urllib3", "gcsfs", "google", "azure", "adlfs"}
_NO_WEATHER = ("Credential", "Config", "Validation", "Auth", "Certificate", "InvalidURL")
_OF_BOTOCORE = {"HTTPClientError", "ConnectionError", "IncompleteReadError", "ResponseParserError", "ChecksumError"}
_TRANSIENT = (408, 409, 429)
PRECONDITION_FAILED = 412
"""HTTP: the answer to a put of what must not be there yet, and is."""


class StorageError(WorkerError):
    """Storage that has not answered for as long as it may."""


def is_weather(error: BaseException) -> bool:
    """Whether an error of a remote filesystem may be over the next time: connections, time-outs, 5xx, cut bodies.
    Not: no such file, no permission, no credentials, a certificate that nobody trusts."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return False
    if isinstance(error, TimeoutError):
        return True
    if status := _status(error):
        return status in _TRANSIENT or (status >= 500 and status != 501)
    if isinstance(error, OSError):
        return not isinstance(error, _FINAL) and getattr(error, "errno", None) not in _FINAL_NUMBERS
    library, name = type(error).__module__.split(".")[0], type(error).__name__
    if library in ("botocore", "aiobotocore"):
        return any(kind.__name__ in _OF_BOTOCORE for kind in type(error).__mro__)
    return library in _LIBRARIES and not any(word in name for word in _NO_WEATHER)


def _status(error: BaseException) -> int:
    """The HTTP status that an error stands for; 0 where it stands for none."""
    for of_botocore in (error, error.__cause__):  # what s3fs raises is caused by botocore's
        answer = getattr(of_botocore, "response", None)
        if isinstance(answer, dict):
            return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    of_others = (getattr(error, name, None) for name in ("status", "status_code", "code"))
    return next((number for number in of_others if isinstance(number, int) and 400 <= number < 600), 0)


def patience() -> float:
    """Seconds that storage may go without answering."""
    return min(_MOST.get(), float(os.environ.get(PATIENCE, DEFAULT_PATIENCE)))


_MOST: ContextVar[float] = ContextVar("most patience", default=math.inf)


@contextmanager
def patient_for(seconds: float) -> Iterator[None]:
    """Less patience for a while, or for a function that it decorates; in this thread."""
    before = _MOST.set(min(seconds, patience()))
    try:
        yield
    finally:
        _MOST.reset(before)


class Trying:
    """Decides, error by error, whether to try again; pauses in between, longer each time.

    Args:
        where: what is read or written, as a person would name it.

    Attributes:
        began: when the storage last stopped answering; None while it answers.
    """

    _silent: ClassVar[set[str]] = set()  # storages that a person was told of, by any thread of this process
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, where: str) -> None:
        self.where = re.sub(r"//[^/]*@", "//", where)  # no user's password
        self.storage = "/".join(self.where.split("/")[:3])
        self.began: float | None = None
        self.tries = 0

    def answered(self) -> None:
        """Something came: patience begins anew."""
        self.began, self.tries = None, 0
        with self._lock:
            told = self.storage in self._silent
            self._silent.discard(self.storage)
        if told:
            _say(f"{self.storage} answers again")

    def failed(self, error: Exception) -> None:
        """Pauses, so that the caller tries again.

        Raises:
            StorageError: there was no answer for as long as there may be.
            PermissionError: it was refused, or there are no credentials.
        Raises the error itself where else trying again would not help.
        """
        if _is_refusal(error):
            raise PermissionError(errno.EACCES, f"refused ({_short(error)})", self.where) from error
        if not is_weather(error):
            raise error
        now = time.monotonic()
        self.began = self.began or now
        self.tries += 1
        left = patience() - (now - self.began)
        if left <= 0:
            raise StorageError(
                f"{self.where} has not answered for {patience():.0f} s ({_short(error)}). "
                "What was saved is whole; the same command goes on from there once the storage answers."
            ) from error
        if self.tries == TELL:
            with self._lock:
                new = self.storage not in self._silent
                self._silent.add(self.storage)
            if new:
                _say(f"WARNING: {self.where} does not answer ({_short(error)}); trying again for {left:.0f} s")
        pause = min(LONGEST_PAUSE, 0.1 * 2 ** min(self.tries, 10)) * (0.5 + random.random() / 2)
        time.sleep(min(pause, left + 0.01))


def _is_refusal(error: Exception) -> bool:
    words = ("Credential", "Profile", "Token", "SSO", "Auth")
    return isinstance(error, PermissionError) or any(word in type(error).__name__ for word in words)


def _short(error: Exception) -> str:
    """One line of an error, without what is secret in a URL: user, password and query."""
    line = f"{type(error).__name__}: {error}".split("\n")[0]
    return re.sub(r"(//)[^/\s]*@|\?[^\s\"']*=[^\s\"']*", r"\1", line)[:200]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def patiently(where: str, call: Callable[[], Result]) -> Result:
    """The call's result, made again while storage does not answer. Raises as `Trying.failed`."""
    trying = Trying(where)
    while True:
        try:
            result = call()
        except Exception as error:
            trying.failed(error)
        else:
            trying.answered()
            return result


def _settings(url: str) -> dict[str, Any]:
    """Options of a URL's filesystem, beside those of fsspec's configuration."""
    if url.split("://")[0] not in ("s3", "s3a"):
        return {}
    own: dict[str, Any] = {}
    for protocol in ("s3", "s3a"):
        own |= fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
    return {"config_kwargs": S3 | own}


_of_parents: list[Any] = []
"""Filesystems that came by a fork. Their end would wait a second for a thread that did not come with them."""


class Remote:
    """A remote filesystem of fsspec that is asked again when it does not answer.

    It carries over to other processes, forked or not: each makes its own connections. Listings are never remembered.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._connect()

    def _connect(self) -> None:
        self._fs, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False, **_settings(self.url))
        if hasattr(self._fs, "_call_s3"):
            self._fs.retries = 1
        self._pid, self.root = os.getpid(), str(root)

    def __reduce__(self) -> tuple[Any, ...]:
        return Remote, (self.url,)

    @property
    def fs(self) -> Any:
        if self._pid != os.getpid():
            _of_parents.append(self._fs)
            self._connect()
        return self._fs

    @property
    def protocol(self) -> str:
        protocol = self.fs.protocol
        return protocol if isinstance(protocol, str) else str(protocol[0])

    def _ask(self, name: str, path: str, *args: Any, **kwargs: Any) -> Any:
        return patiently(self.unstrip_protocol(path), lambda: getattr(self.fs, name)(path, *args, **kwargs))

    def unstrip_protocol(self, path: str) -> str:
        return str(self.fs.unstrip_protocol(path))

    def _strip_protocol(self, path: str) -> str:
        return str(self.fs._strip_protocol(path))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        data: bytes = self._ask("cat_file", path, start=start, end=end)
        return data

    def pipe_file(self, path: str, data: bytes) -> None:
        self._ask("pipe_file", path, data)

    def create_file(self, path: str, data: bytes) -> bool:
        """Put a file where none is; False where one is. After an answer that was lost the file may be one's own."""
        try:
            self._ask("pipe_file", path, data, mode="create")
        except FileExistsError:
            return False
        except Exception as error:
            if _status(error) != PRECONDITION_FAILED:
                raise
            return False
        return True

    def modified(self, path: str) -> Any:
        return self._ask("modified", path)

    def put_file(self, local: str, path: str) -> None:
        patiently(self.unstrip_protocol(path), lambda: self.fs.put_file(local, path))

    def exists(self, path: str) -> bool:
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def info(self, path: str) -> dict[str, Any]:
        return dict(self._ask("info", path))

    def size(self, path: str) -> int:
        """Bytes of a file. Raises StorageError where its server does not say."""
        size = self.info(path)["size"]
        if size is None:
            raise StorageError(f"{self.unstrip_protocol(path)}: its server does not say how long this file is.")
        return int(size)

    def isdir(self, path: str) -> bool:
        return self.exists(path) and self.info(path)["type"] == "directory"

    def isfile(self, path: str) -> bool:
        return self.exists(path) and self.info(path)["type"] == "file"

    def ls(self, path: str, detail: bool = True) -> list[Any]:
        return list(self._ask("ls", path, detail=detail))

    def find(self, path: str, detail: bool = False) -> Any:
        return self._ask("find", path, detail=detail)

    def rm(self, path: str, recursive: bool = False) -> None:
        self._ask("rm", path, recursive=recursive)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Nothing: object storage has no folders."""

    def cat_ranges(
        self, paths: list[str], starts: Any, ends: Any, on_error: Literal["raise", "return"] = "raise"
    ) -> list[Any]:
        """Many ranges at once. Those that fail for the weather are asked for again; of the others, the error stands in
        their place (`on_error="return"`) or is raised: EOFError for a range that begins behind the file's end."""
        places = list(zip(paths, _each(starts, len(paths)), _each(ends, len(paths)), strict=True))
        got: dict[int, Any] = {i: b"" for i, (_, start, end) in enumerate(places) if None is not start == end}
        missing, trying = (
            [i for i in range(len(places)) if i not in got],
            Trying(self.unstrip_protocol(paths[0]) if paths else ""),
        )
        while missing:
            columns = [list(column) for column in zip(*(places[i] for i in missing), strict=True)]
            try:
                answers = self.fs.cat_ranges(*columns, on_error="return")
            except Exception as error:
                answers = [error] * len(missing)
            for i, answer in zip(missing, answers, strict=True):
                beyond = isinstance(answer, Exception) and _status(answer) == 416
                got[i] = self._ends(*places[i]) if beyond else answer
            broken = [i for i in missing if isinstance(got[i], Exception) and is_weather(got[i])]
            if len(broken) < len(missing):
                trying.answered()
            if broken:
                trying.failed(got[broken[0]])
            missing = broken
        out = [got[i] for i in range(len(places))]
        if on_error == "raise":
            for item in out:
                if isinstance(item, Exception):
                    raise item
        return out

    def open(self, path: str, mode: str = "rb") -> IO[bytes]:
        """A file to read from its beginning to its end, or in any other way."""
        if mode != "rb":
            raise ValueError(f"mode {mode}: files are written whole, with pipe_file")
        return io.BufferedReader(_Ranged(self, path), BLOCK)

    def pour(self, path: str, out: IO[bytes], start: int, stop: int) -> None:
        """Bytes start to stop of a file into `out`, as they come; what breaks off is taken up at the byte where it
        broke.

        Raises:
            EOFError: the file is shorter.
        """
        at, trying = start, Trying(self.unstrip_protocol(path))
        while at < stop:
            begun = out.tell()
            try:
                if hasattr(self.fs, "_call_s3"):
                    fsspec.asyn.sync(self.fs.loop, _pour_s3, self.fs, path, at, stop, out)
                else:
                    write_all(out, self.fs.cat_file(path, start=at, end=min(at + BLOCK, stop)))
            except Exception as error:
                if (came := out.tell() - begun) > 0:
                    trying.answered()
                    at += came
                elif _status(error) == 416:
                    raise self._ends(path, at, stop) from None
                trying.failed(error)
            else:
                trying.answered()
                if out.tell() == begun:
                    raise self._ends(path, at, stop)
                at += out.tell() - begun

    def _ends(self, path: str, at: int, stop: int) -> EOFError:
        return EOFError(f"{self.unstrip_protocol(path)} ends before byte {at + 1} of {stop}")


def write_all(out: IO[bytes], data: bytes) -> None:
    """Write all of it: a file without a buffer may take less at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[out.write(rest) :]


async def _pour_s3(fs: Any, path: str, start: int, stop: int, out: IO[bytes]) -> None:
    """One GET, written as it arrives: s3fs's own reads give nothing of a body that breaks off."""
    bucket, key, _ = fs.split_path(path)
    wanted = {"Bucket": bucket, "Key": key, "Range": f"bytes={start}-{stop - 1}", **fs.req_kw}
    body = (await fs._call_s3("get_object", **wanted))["Body"]
    try:
        while data := await body.read(1 << 18):
            write_all(out, data)
    finally:
        body.close()


def _each(value: Any, n: int) -> Sequence[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] * n


class _Ranged(io.RawIOBase):
    """A remote file, read by ranges."""

    def __init__(self, remote: Remote, path: str) -> None:
        self.remote, self.path, self.at, self.length = remote, path, 0, remote.size(path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.length}[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        stop = min(self.at + len(buffer), self.length)
        if stop <= self.at:
            return 0
        data = self.remote.cat_file(self.path, self.at, stop)
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


def storage_of(url: str) -> tuple[Any, str]:
    """A URL's filesystem, and the path on it: fsspec's own for local files, else a `Remote`.

    Raises:
        ConfigError: a kind of URL that nothing here can read.
    """
    try:
        fs, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        found, fix = f"a URL that cannot be opened ({error})", "Give a folder, or s3://BUCKET/PREFIX."
        raise ConfigError(url, found, "a path, or a URL that fsspec knows", fix) from None
    if isinstance(fs, LocalFileSystem):
        return fs, str(root)
    remote = Remote(url)
    return remote, remote.root


def is_local(fs: Any) -> bool:
    return isinstance(fs, LocalFileSystem)


def _create(place: str, data: bytes) -> bool:
    """As `Folder.create`, where there are no hard links: the file is there before all that is in it."""
    try:
        with open(place, "xb") as out:
            out.write(data)
    except FileExistsError:
        return False
    return True


@functools.cache
def machine() -> str:
    """A short name of what a process number belongs to: the host, since it was started, and its container."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # not Linux
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:8]


def lives(process: int) -> bool:
    """Tell whether a process of this machine is there and has not ended. One that stands still is."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    with suppress(OSError):  # not Linux
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return True


def writing(name: str) -> str:
    """The name that a file has while this process writes it; it tells who does."""
    return f"{name}.{machine()}-{os.getpid()}.writing"


def is_left(place: Path) -> bool:
    """Tell whether a file named by `writing` was left behind: its writer is gone, or nobody can tell and it is old."""
    named = re.search(r"\.([0-9a-f]{8})-(\d+)\.writing$", place.name)
    if named and named[1] == machine():
        return not lives(int(named[2]))
    return time.time() - place.stat().st_mtime > OLD


class Folder:
    """Files under one URL. Paths are relative to it.

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

    def guarded(self, guard: Callable[[], None]) -> Folder:
        """The same folder, with another guard."""
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
        """A name for it that holds in any process."""
        return self.root if self.local else str(self.fs.unstrip_protocol(self.root))

    def at(self, path: str) -> str:
        """A file's full URL, as a person would name it."""
        return f"{self.url}/{path}"

    def path(self, path: str) -> str:
        """A file as its filesystem knows it."""
        return f"{self.root}/{path}"

    def sub(self, path: str) -> Folder:
        return Folder(self.at(path))

    def write(self, path: str, data: bytes) -> None:
        if not self.local:
            self._check()
            self.fs.pipe_file(self.path(path), data)
            return
        with self._beside(path, data) as beside:
            self._check()
            beside.replace(self.path(path))

    def create(self, path: str, data: bytes) -> bool:
        """Write a file where none is; False where one is. Of several writers at once one alone is told True.

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
        """The data, on disk beside its place; gone again afterwards."""
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
        """When a file was written, in seconds since 1970 by the storage's clock."""
        return float(self.fs.modified(self.path(path)).timestamp())

    def remove_left(self) -> None:
        """Remove what writers that are gone left half written, in a local folder and its sub-folders."""
        for pattern in ("*.writing", "*/*.writing") if self.local else ():
            for place in Path(self.root).glob(pattern):
                with suppress(FileNotFoundError):  # written to its end meanwhile
                    if is_left(place):
                        place.unlink()

    def beside(self, path: str, folder: str) -> IO[bytes]:
        """A new local file to write what `publish` will put in place; in a sub-folder, or where the folder is remote
        in the temporary one."""
        name = path.replace("/", "-")
        if not self.local:
            number, place = tempfile.mkstemp(".writing", f"{name}.")
            os.close(number)
            return open(place, "wb")
        self.make(folder)
        return open(Path(self.path(folder)) / writing(name), "wb")

    def publish(self, temporary: str, path: str) -> None:
        if self.local:
            Path(temporary).replace(self.path(path))
            return
        self.fs.put_file(temporary, self.path(path))
        Path(temporary).unlink()

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError when it is not there."""
        data: bytes = self.fs.cat_file(self.path(path))
        return data

    def exists(self, path: str) -> bool:
        return bool(self.fs.exists(self.path(path)))

    def size(self, path: str) -> int:
        """Bytes; -1 if it is not there."""
        try:
            return int(self.fs.size(self.path(path)))
        except FileNotFoundError:
            return -1

    def names(self, path: str = "") -> list[str]:
        """Names in the folder or a sub-folder, sorted; none if there is no such folder."""
        where = self.path(path).rstrip("/")
        try:
            entries = self.fs.ls(where, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for e in entries if (name := e.rstrip("/").rsplit("/", 1)[-1]) and e.rstrip("/") != where)

    def remove(self, *paths: str) -> None:
        for path in paths:
            with suppress(FileNotFoundError):
                self.fs.rm(self.path(path), recursive=True)

    def write_json(self, path: str, value: Any) -> None:
        self.write(path, (json.dumps(value, indent=1) + "\n").encode())

    def read_json(self, path: str) -> Any:
        """The value, or None when the file is not there."""
        try:
            return json.loads(self.read(path))
        except FileNotFoundError:
            return None


def unwritable(folder: Folder, error: OSError) -> RunError:
    """A run whose folder cannot be used any more, in words."""
    fix = "Make it so, with room, and run the same command to go on from its last checkpoint."
    return RunError(f"{folder.url} cannot be read and written ({error.strerror or error}). {fix}")
