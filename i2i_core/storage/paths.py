"""Name paths and addresses the same in every process of a run."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from i2i_core.errors import ConfigError
from i2i_core.submitted import in_copy

_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def special(path: str) -> str:
    """Say what kind of special file stands at a local path, as `a named pipe`: reading one may wait for ever, or never
    end. Empty for a plain file or a folder, and where nothing is."""
    try:
        return special_kind(os.stat(path).st_mode)
    except OSError:
        return ""


def special_kind(mode: int) -> str:
    """Say by the mode that `os.stat` gives which kind of special file it is; empty for a plain file or a folder."""
    kind = stat.S_IFMT(mode)
    return "" if kind in (stat.S_IFREG, stat.S_IFDIR) else _SPECIAL.get(kind, "a special file")


def absolute(uri: str, flag: str) -> str:
    """Make a local path absolute (workers have folders of their own); a URL as it is.

    Args:
        flag: names the path in messages.

    Raises:
        ConfigError: a relative path in a job that runs in a copy of the submitted folder.
    """
    if "://" in uri or not uri:
        return uri
    path = Path(uri).expanduser()
    if not path.is_absolute() and in_copy():
        fix = f"This job runs in a copy of your folder: give {flag} as a path that all nodes see, or as a URL."
        raise ConfigError(flag, f"the relative path {uri}", "an absolute path or a URL", fix)
    return str(path.resolve())


def sha256(data: bytes) -> str:
    """Give the SHA-256 of bytes as hexadecimal text."""
    return hashlib.sha256(data).hexdigest()


def check_folders(folders: Iterable[str], flag: str) -> None:
    """Check that each is a folder or a plain URL. Raises ConfigError for a chain of protocols or nothing."""
    for folder in folders:
        if not folder or "::" in folder:
            fix = "Name folders, or URLs of the data set's own storage."
            raise ConfigError(flag, repr(folder), "a folder or a plain URL", fix)
