"""Make temporary folders, and remove those that killed processes left.

A folder's name holds its kind, its user and its host, and the process that made it holds a lock on it, which ends with
that process however it ends. So a later program can tell a folder that was left from one that is in use.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
import weakref
from contextlib import suppress

OLD = 24 * 3600.0
"""Seconds after which what a process wrote may be taken for left behind."""
_NAME = re.compile(r"i2i-[a-z]+-(\d+)-([0-9a-f]{8})-[a-z0-9_]{8}")


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


class TemporaryFolder(tempfile.TemporaryDirectory[str]):
    """Make a temporary folder that is removed by `cleanup`, at the end of a `with`, or when the process ends.

    Folders that killed processes left are removed first, see `sweep`.

    Args:
        kind: what the folder is for, in small letters; a part of its name.
    """

    def __init__(self, kind: str) -> None:
        sweep()
        super().__init__(prefix=f"i2i-{kind}-{os.getuid()}-{_host()}-", ignore_cleanup_errors=True)
        lock = os.open(self.name, os.O_RDONLY)
        weakref.finalize(self, os.close, lock)
        with suppress(OSError):  # a filesystem without locks, where `sweep` gets none either
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sweep() -> None:
    """Remove the temporary folders that killed processes of this user left on this host.

    A folder goes only if its name is one of ours, it is this user's, nobody holds its lock, and nothing was made in it
    for OLD seconds. No link is followed.
    """
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            with suppress(OSError):  # somebody holds it, or has just removed it
                if _is_old_and_ours(entry):
                    _remove(entry.path)


def _is_old_and_ours(entry: os.DirEntry[str]) -> bool:
    named = _NAME.fullmatch(entry.name)
    if not named or (int(named[1]), named[2]) != (os.getuid(), _host()):
        return False
    found = entry.stat(follow_symlinks=False)
    return found.st_uid == os.getuid() and time.time() - found.st_mtime > OLD


def _remove(folder: str) -> None:
    """Remove a folder whose lock is free. Raises OSError where it is held, or a link or a file stands in its place."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
