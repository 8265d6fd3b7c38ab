"""Open the filesystem under a URL, local or remote; ask a remote one again when it does not answer (`retry`).

What s3fs and fsspec keep to themselves is used in this file alone: `_call_s3`, `split_path`, `req_kw` and `retries` of
an S3 filesystem, `_strip_protocol` of any. All of it was read in s3fs and fsspec 2026.9.0 (`READ_IN`);
`tests/unit/test_private_uses.py` names what another version no longer has.

Credentials and endpoints come from where the storage's own tools take them (for S3: AWS_PROFILE, AWS_ENDPOINT_URL,
~/.aws, the instance's role); nothing here reads, keeps or prints them, and an address that holds some is refused.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import IO, Any, Literal

import fsspec
from fsspec.implementations.local import LocalFileSystem

from i2i_core.credentials import check_address
from i2i_core.errors import ConfigError
from i2i_core.storage.retry import _FINAL_NUMBERS, FULL, StorageError, Trying, _status, is_weather, patiently

READ_IN = "2026.9.0"
"""The version of s3fs and fsspec in which their private names were read."""
BLOCK = 4 << 20
"""Bytes requested at a time where a whole file is read as a stream."""
S3 = {
    "retries": {"mode": "standard", "total_max_attempts": 2},
    "connect_timeout": 10,
    "read_timeout": 30,
    "max_pool_connections": 64,
}
"""Settings of botocore, so that an error comes soon and `Trying` decides; a lost page of a long listing or part of a
large upload is requested twice there, for all of it is begun anew after an error. fsspec's configuration overrides."""

_FINAL_NUMBERS |= {errno.ENOTEMPTY, getattr(errno, "EREMCHG", errno.EINVAL), *FULL}
PRECONDITION_FAILED = 412
"""HTTP: the answer to a put of what must not be there yet, and is."""


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
    """Use a remote filesystem of fsspec, and ask again when it does not answer.

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
        """fsspec's own filesystem, opened anew in a process that was forked."""
        if self._pid != os.getpid():
            _of_parents.append(self._fs)
            self._connect()
        return self._fs

    @property
    def protocol(self) -> str:
        """Protocol of its URLs: `s3`, say."""
        protocol = self.fs.protocol
        return protocol if isinstance(protocol, str) else str(protocol[0])

    def _ask(self, name: str, path: str, *args: Any, **kwargs: Any) -> Any:
        return patiently(self.unstrip_protocol(path), lambda: getattr(self.fs, name)(path, *args, **kwargs))

    def unstrip_protocol(self, path: str) -> str:
        """Name a path by its full URL."""
        return str(self.fs.unstrip_protocol(path))

    def strip_protocol(self, url: str) -> str:
        """Name a URL as the filesystem knows it."""
        return strip_protocol(self.fs, url)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """Read a file, or bytes start to end of it."""
        data: bytes = self._ask("cat_file", path, start=start, end=end)
        return data

    def pipe_file(self, path: str, data: bytes) -> None:
        """Write a whole file."""
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
        """Tell when a file was written, by the storage's clock."""
        return self._ask("modified", path)

    def put_file(self, local: str, path: str) -> None:
        """Write a whole file from a local one."""
        patiently(self.unstrip_protocol(path), lambda: self.fs.put_file(local, path))

    def exists(self, path: str) -> bool:
        """Tell whether a file or folder is there."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def info(self, path: str) -> dict[str, Any]:
        """Give what the storage says of a file or folder: name, size, type."""
        return dict(self._ask("info", path))

    def size(self, path: str) -> int:
        """Count the bytes of a file. Raises StorageError where its server does not say."""
        size = self.info(path)["size"]
        if size is None:
            raise StorageError(f"{self.unstrip_protocol(path)}: its server does not say how long this file is.")
        return int(size)

    def isdir(self, path: str) -> bool:
        """Tell whether a folder is there."""
        return self.exists(path) and self.info(path)["type"] == "directory"

    def isfile(self, path: str) -> bool:
        """Tell whether a file is there."""
        return self.exists(path) and self.info(path)["type"] == "file"

    def ls(self, path: str, detail: bool = True) -> list[Any]:
        """List a folder."""
        return list(self._ask("ls", path, detail=detail))

    def glob(self, pattern: str, detail: bool = False) -> Any:
        """List the files and folders that a pattern matches."""
        return self._ask("glob", pattern, detail=detail)

    def find(self, path: str, detail: bool = False) -> Any:
        """List all files below a folder."""
        return self._ask("find", path, detail=detail)

    def each(self, path: str) -> Iterator[dict[str, Any]]:
        """List all files below a folder, sorted, as they come: what is held is a page, or one folder. A page that does
        not come is asked for again by itself."""
        yield from self._pages(path) if hasattr(self.fs, "_call_s3") else self._below(path)

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        bucket, key, _ = self.fs.split_path(path.rstrip("/"))
        wanted = {"Bucket": bucket, "Prefix": f"{key}/" if key else "", **self.fs.req_kw}
        while True:
            page = patiently(self.unstrip_protocol(path), partial(self._page, wanted))
            for found in page.get("Contents", ()):
                if not found["Key"].endswith("/"):  # stands for an empty folder
                    yield {"name": f"{bucket}/{found['Key']}", "size": found["Size"], "ETag": found.get("ETag")}
            if not page.get("IsTruncated"):
                return
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    def _page(self, wanted: dict[str, Any]) -> Any:
        return fsspec.asyn.sync(self.fs.loop, self.fs._call_s3, "list_objects_v2", **wanted)

    def _below(self, path: str) -> Iterator[dict[str, Any]]:
        folders = [self._listed(path)]
        while folders:
            if not folders[-1]:
                folders.pop()
            elif (found := folders[-1].pop())["type"] == "directory":
                folders.append(self._listed(found["name"]))
            else:
                yield found

    def _listed(self, path: str) -> list[dict[str, Any]]:
        """List a folder, the last name first; folders stand where their files do."""
        itself = path.rstrip("/")
        found = [one for one in self.ls(path) if one["name"].rstrip("/") != itself]
        return sorted(found, key=lambda one: one["name"] + "/" * (one["type"] == "directory"), reverse=True)

    def rm(self, path: str | list[str], recursive: bool = False) -> None:
        """Remove a file, or a folder with all that is in it; several at once, whose names hold no wild card."""
        if paths := [path] if isinstance(path, str) else path:
            patiently(self.unstrip_protocol(paths[0]), lambda: self.fs.rm(path, recursive=recursive))

    def rm_file(self, path: str) -> None:
        """Remove a file of any name."""
        self._ask("rm_file", path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Do nothing: object storage has no folders."""

    def cat_ranges(
        self, paths: list[str], starts: Any, ends: Any, on_error: Literal["raise", "return"] = "raise"
    ) -> list[Any]:
        """Read many ranges at once. Those that fail for the weather are requested again; of the others, the error
        stands in their place (`on_error="return"`) or is raised: EOFError for a range that begins behind the file's
        end."""
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
        """Open a file to read from its beginning to its end, or in any other way."""
        if mode != "rb":
            raise ValueError(f"mode {mode}: files are written whole, with pipe_file")
        return io.BufferedReader(_Ranged(self, path), BLOCK)

    def pour(self, path: str, out: IO[bytes], start: int, stop: int) -> None:
        """Write bytes start to stop of a file into `out`, as they come; what breaks off is taken up at the byte where
        it broke.

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
    """Write one GET's body as it arrives: s3fs's own reads give nothing of a body that breaks off."""
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
    """Read a remote file by ranges."""

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
    """Find a URL's filesystem, and the path on it: fsspec's own for local files, else a `Remote`.

    Raises:
        ConfigError: a kind of URL that nothing here can read, or one with credentials in it.
    """
    check_address(url, url)
    try:
        fs, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        found, fix = f"a URL that cannot be opened ({error})", "Give a folder, or s3://BUCKET/PREFIX."
        raise ConfigError(url, found, "a path, or a URL that fsspec knows", fix) from None
    if isinstance(fs, LocalFileSystem):
        return fs, str(root)
    remote = Remote(url)
    return remote, remote.root


def files_below(fs: Any, root: str, deep: bool = True) -> Iterator[tuple[str, int]]:
    """Give path below a folder, and bytes, of every file there, in no order; links to folders are not followed.

    Args:
        deep: false: of files directly in a local folder alone.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not is_local(fs):
        start = len(root.rstrip("/")) + 1
        yield from ((one["name"][start:], int(one["size"] or 0)) for one in fs.each(root))
        return
    folders = [""]
    while folders:
        below = folders.pop()
        with os.scandir(f"{root}/{below}") as there:
            for one in there:
                if not one.is_dir(follow_symlinks=False):
                    yield f"{below}{one.name}", one.stat(follow_symlinks=False).st_size
                elif deep:
                    folders.append(f"{below}{one.name}/")


def strip_protocol(fs: Any, url: str) -> str:
    """Name a URL as its filesystem knows it."""
    return str(fs.strip_protocol(url) if isinstance(fs, Remote) else fs._strip_protocol(url))


def is_local(fs: Any) -> bool:
    """Tell whether a filesystem is this machine's."""
    return isinstance(fs, LocalFileSystem)
