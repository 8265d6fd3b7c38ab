"""Find the images that a pattern such as `photos/*.jpg` matches, on any filesystem."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from i2i_core.data.folders.listing import version_of
from i2i_core.errors import DataError, counted
from i2i_core.images.codec import EXTENSIONS
from i2i_core.storage.paths import special
from i2i_core.storage.remote import is_local

_WILD = re.compile(r"[*?[]")


def is_pattern(path: str, fs: Any) -> bool:
    """Tell whether a path is a pattern; in an address of the web, `?` begins a query."""
    web = not is_local(fs) and fs.protocol in ("http", "https")
    return bool(_WILD.search(path.replace("?", "") if web else path))


def matched(pattern: str, fs: Any, where: str) -> tuple[list[str], list[str], list[str], str]:
    """List the images that a pattern matches.

    Args:
        pattern: as the filesystem knows it; `*` stands for any letters of a name, `**` for folders too.
        where: names it in messages.

    Returns:
        Paths in order; the part of each below the last folder that the pattern names in full; a text of each that
        changes where the file does; and what was left out.

    Raises:
        DataError: it matches no image.
    """
    top = pattern[: _WILD.search(pattern).start()].rpartition("/")[0]  # type: ignore[union-attr]
    found: dict[str, dict[str, Any]] = fs.glob(pattern, detail=True)
    paths, out = [], Counter[str]()
    for path, about in sorted(found.items()):
        below, name = path[len(top) :].lstrip("/"), path.rpartition("/")[2]
        if any(part.startswith(".") for part in below.split("/")):
            out["hidden file"] += 1
        elif about["type"] == "directory":
            out["folder"] += 1
        elif name.rpartition(".")[2].lower() not in EXTENSIONS:
            out["file that is no image"] += 1
        elif is_local(fs) and special(path):
            out["special file"] += 1
        else:
            paths.append(path)
    left = ", ".join(_counted(n, what) for what, n in out.items())
    if not paths:
        fix = "Quote the pattern; `*` stands for any letters of a name, `**` for folders too: 'photos/**/*.jpg'."
        raise DataError(where, f"a pattern that matches no image{f', but {left}' if left else ''}", "images", fix)
    versions = [version_of(found[path]) for path in paths]
    return paths, [path[len(top) :].lstrip("/") for path in paths], versions, left


def _counted(n: int, what: str) -> str:
    return f"{n:,} {'files that are no images' if n > 1 else what}" if "no image" in what else counted(n, what)
