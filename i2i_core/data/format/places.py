"""Decide what the names in a data set may open: they are data, and one function decides for all of them.

A manifest may come from anybody. `Places.path` turns a name in it into a path of the data set's own filesystem, or
refuses it. It makes no request; of local files it looks where links lead.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import unquote

from i2i_core.credentials import redacted
from i2i_core.errors import DataError
from i2i_core.names import MOST_NAME
from i2i_core.storage.paths import check_folders
from i2i_core.storage.remote import is_local, strip_protocol

MOST_PATH = 900
"""Bytes in a key: object storage takes 1024."""
MOST_SHOWN, MOST_FOLDERS = 200, 8
"""Characters of a name, and folders, that a message shows."""
SHARD = "shard"

_ALIASES = {"s3a": "s3", "gcs": "gs", "local": "file", "abfss": "abfs", "az": "abfs"}
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_DRIVE = re.compile(r"[A-Za-z]:")
_WEB = ("http", "https")
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}){0,2}")
"""Names that cannot lead anywhere else, whatever the storage: most are, and a data set may have very many."""


def no_file_name(key: str) -> str:
    """Say why a key cannot be the name of a file below a folder, without its ending; empty if it can."""
    parts = key.split("/")
    if not parts[0] or ".." in parts:
        return "a path that leaves its folder"
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in key):
        return "control characters in its name"
    try:
        lengths = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return "a name that is not UTF-8"
    if max(lengths) > MOST_NAME or sum(lengths) + len(parts) > MOST_PATH:
        return f"a name of {len(key)} characters"
    return ""


def no_path_below(name: str, scheme: str = "file") -> str:
    """Say why a name is no normalised relative path of a file; empty if it is one.

    Args:
        scheme: of the storage; a name in an HTTP address can have no query.
    """
    if wrong := no_file_name(name):  # first: it bounds the length
        return wrong
    plain = name
    while (decoded := unquote(plain)) != plain:  # a server may read %2e%2e as ..
        plain = decoded
    for text in (name, plain):
        if "\\" in text or _DRIVE.match(text):
            return "a path of another system"
        if text.startswith("/"):
            return "an absolute path"
        if "::" in text:
            return "a chain of protocols"
        if not {"", ".", ".."}.isdisjoint(text.split("/")):
            return "not a normalised path in one folder"
    if scheme in _WEB and ("?" in name or "#" in name):
        return "an address with a query"
    return ""


def storage_named(uri: str) -> tuple[str, str]:
    """Protocol and host (bucket, server) that a URL names; `file` and none of a path."""
    scheme, is_url, rest = uri.partition("://")
    if not is_url:
        return "file", ""
    scheme = _ALIASES.get(scheme.lower(), scheme.lower())
    return scheme, "" if scheme == "memory" else rest.partition("/")[0]


class Places:
    """Decide where the files of one data set lie.

    Args:
        where: the manifest, as its user would name it.
        fs, root: its filesystem, and its folder there.
        shards_at: folders or URLs of the same protocol and host where shards may lie besides.

    Raises:
        ConfigError: `shards_at` holds a chain of protocols, or nothing.
    """

    def __init__(self, where: str, fs: Any, root: str, shards_at: Sequence[str] = ()) -> None:
        check_folders(shards_at, "--shards-at")
        self.where, self.fs, self.root, self.shards_at = where, fs, root, tuple(shards_at)
        self.storage = storage_named(where)
        self.folders = [self._stripped(at) for at in shards_at if storage_named(at) == self.storage]
        self._real = [os.path.realpath(folder or "/") for folder in (root, *self.folders)] if is_local(fs) else []
        self._names: tuple[str, ...] = ()
        self._paths: dict[str, str] = {}

    def _stripped(self, url: str) -> str:
        return strip_protocol(self.fs, url).rstrip("/")

    def check(self, names: Iterable[str], kind: str = SHARD) -> None:
        """Check names in a manifest as text, without a look at any file.

        Args:
            names: of shards, or of other files.
            kind: as for `path`.

        Raises:
            DataError: naming the first that is refused.
        """
        names = tuple(names)
        if kind == SHARD:
            self._names = names
        for name in names:
            if not _PLAIN.fullmatch(name):
                self._decide(name, kind)

    def path(self, name: str, kind: str = SHARD) -> str:
        """Turn a name in the manifest into a path of the filesystem.

        Args:
            kind: `shard`; any other word for a file that lies in the data set's own folder, whatever `shards_at` says.

        Raises:
            DataError: it would leave the data set's folder and those of `shards_at`, or is no plain file.
        """
        if name not in self._paths:
            path = self._decide(name, kind)
            if self._real:
                self._check_link(name, path, kind)
            self._paths[name] = path
        return self._paths[name]

    def _decide(self, name: str, kind: str) -> str:
        if wrong := self._misnamed(name):
            raise self._refused(name, kind, wrong)
        if not _URL.match(name):
            return f"{self.root}/{name}"
        path = self._stripped(name)
        if not below(path, [self.root, *self.folders] if kind == SHARD else [self.root]):
            folders = self._folders_apart() if kind == SHARD else []
            raise self._refused(name, kind, "outside the folder of the data set", folders)
        return path

    def _misnamed(self, name: str) -> str:
        """Say why a name can be none of this storage; empty if it can."""
        if not _URL.match(name):
            return no_path_below(name, self.storage[0])
        if "://" not in name or storage_named(name) != self.storage:
            return "of another storage than the data set"
        return no_path_below(name.partition("://")[2].partition("/")[2], self.storage[0])

    def _folders_apart(self) -> list[str]:
        """List the folders outside the data set's that its manifest names, as few as there are."""
        named = {_folder(name) for name in self._names if _URL.match(name) and not self._misnamed(name)}
        apart: list[str] = []
        for at in sorted(named):
            if not below(f"{self._stripped(at)}/", [self.root]) and not below(at, apart[-1:]):
                apart.append(at)
        return apart

    def _check_link(self, name: str, path: str, kind: str) -> None:
        real = os.path.realpath(path)
        if not below(real, self._real):
            why = f"a link to {real!r}, outside the folder of the data set"
            raise self._refused(name, kind, why, [os.path.dirname(real)])
        if os.path.lexists(real) and not os.path.isfile(real):
            raise self._refused(name, kind, "no plain file")

    def _refused(self, name: str, kind: str, why: str, apart: Sequence[str] = ()) -> DataError:
        """Make the error. `apart`: the folders that `--shards-at` would have to name."""
        expected = "a relative path in the folder of the data set"
        if kind == SHARD:
            expected += f", or a URL below --shards-at, on {'://'.join(self.storage)}"
        fix = "Put its tars into one folder without this manifest.json, and `python pipelines/shard.py --index FOLDER`."
        if apart:
            more = " ..." if len(apart) > MOST_FOLDERS else ""
            every = dict.fromkeys([*self.shards_at, *apart[:MOST_FOLDERS]])
            fix = f"If it may read there: --shards-at {shlex.join(every)}{more}"
        shown = redacted(repr(name if len(name) <= MOST_SHOWN else f"{name[:MOST_SHOWN]}..."))
        return DataError(self.where, f"a file {shown} ({kind}), {why}", expected, redacted(fix))


def _folder(url: str) -> str:
    folder = url.rpartition("/")[0]
    return f"{folder}/" if folder.endswith("/") else folder


def below(path: str, folders: Iterable[str]) -> bool:
    """Tell whether a path lies in one of the folders. Text alone counts."""
    return any(path.startswith(f"{folder.rstrip('/')}/") for folder in folders)
