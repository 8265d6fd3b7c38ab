"""Suggest the place that somebody may have meant who named one where nothing is."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice
from typing import Any

from i2i_core.errors import UserError, nearly
from i2i_core.names import normal
from i2i_core.storage.remote import is_local, storage_of
from i2i_core.storage.retry import StorageError, patient_for

MOST_LISTED = 10_000
"""Names of a folder that are compared."""
_PATIENCE = 2.0
"""Seconds that a storage out of reach may take: the message it is for does not need it."""
_UNLISTED = ("http", "https")
"""Protocols whose folders cannot be listed: a page of the web may link to anything."""


def corrected(url: str, fix: str = "") -> str:
    """Write the fix for a path or URL where nothing is: the nearest places that are there, then `fix`.

    Of `dta/photos` the folder is wrong, which is looked for first; `data/photos` is suggested if that is there.

    Args:
        fix: what else to do; empty: `Check the name.`, where nothing is near.
    """
    found = []
    with suppress(OSError, StorageError, UserError), patient_for(_PATIENCE):
        found = _near(url)
    meant = f"Did you mean {' or '.join(found)}?" if found else ""
    return " ".join(filter(None, (meant, fix))) or "Check the name."


def _near(url: str) -> list[str]:
    """List the places like the one that is named; none where that is there."""
    fs, root = storage_of(url.rstrip("/") or url)
    if not is_local(fs) and fs.protocol in _UNLISTED:
        return []
    path, below = root.rstrip("/"), ""
    while path and not fs.exists(path):
        path, _, name = path.rpartition("/")
        below = f"{name}/{below}".rstrip("/")
    if not below or (path and not fs.isdir(path)) or not (path or is_local(fs)):
        return []
    wrong, _, rest = below.partition("/")
    near = [f"{path}/{name}" for name in _alike(wrong, _names(fs, path or "/"))]
    whole = [place for place in (f"{each}/{rest}" for each in near) if rest and fs.exists(place)]
    return [each if is_local(fs) else fs.unstrip_protocol(each) for each in whole or near]


def _alike(wrong: str, names: list[str]) -> list[str]:
    """List the names like a name: those that differ from it in case or accents alone, else the nearest."""
    folded: dict[str, str] = {}
    for name in names:
        if name.startswith(".") <= wrong.startswith("."):
            folded.setdefault(normal(name).casefold(), name)
    key = normal(wrong).casefold()
    return [folded[key]] if key in folded else [folded[name] for name in nearly(key, folded)]


def _names(fs: Any, folder: str) -> list[str]:
    """List the names in a folder, of a large one those that come first."""
    if is_local(fs):
        with os.scandir(folder) as entries:
            return [entry.name for entry in islice(entries, MOST_LISTED)]
    listed = islice(fs.ls(folder, detail=False), MOST_LISTED)
    return [str(path).rstrip("/").rpartition("/")[2] for path in listed]
