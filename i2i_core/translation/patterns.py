"""Find the images that a pattern such as `photos/*.jpg` matches, on any filesystem."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from i2i_core.data.folders.listing import are_images, extension, version_of
from i2i_core.errors import DataError, counted
from i2i_core.images.codec import EXTENSIONS
from i2i_core.images.containers import is_video
from i2i_core.storage.near import corrected
from i2i_core.storage.paths import special
from i2i_core.storage.remote import is_local

_WILD = re.compile(r"[*?[]")


def is_pattern(path: str, fs: Any) -> bool:
    """Tell whether a path is a pattern; in an address of the web, `?` begins a query."""
    web = not is_local(fs) and fs.protocol in ("http", "https")
    return bool(_WILD.search(path.replace("?", "") if web else path))


def matched(pattern: str, fs: Any, where: str, videos: bool = False) -> tuple[list[str], list[str], list[str], str]:
    """List the images that a pattern matches; where it matches none, the videos.

    Args:
        pattern: as the filesystem knows it; `*` stands for any letters of a name, `**` for folders too.
        where: names it in messages.
        videos: take videos too.

    Returns:
        Paths in order; the part of each below the last folder that the pattern names in full; a text of each that
        changes where the file does; and what was left out.

    Raises:
        DataError: it matches no image.
    """
    top = pattern[: _WILD.search(pattern).start()].rpartition("/")[0]  # type: ignore[union-attr]
    found: dict[str, dict[str, Any]] = fs.glob(pattern, detail=True)
    paths, films, out = list[str](), list[str](), Counter[str]()
    unnamed = _unnamed_images(fs, top, found)
    for path, about in sorted(found.items()):
        below, name = path[len(top) :].lstrip("/"), path.rpartition("/")[2]
        if any(part.startswith(".") for part in below.split("/")):
            out["hidden file"] += 1
        elif about["type"] == "directory":
            out["folder"] += 1
        elif videos and is_video(path):
            films.append(path)
        elif is_local(fs) and special(path):
            out["special file"] += 1
        elif extension(name) not in EXTENSIONS and path not in unnamed:
            out["file that is no image"] += 1
        else:
            paths.append(path)
    if paths and films:
        out["video among the images"] += len(films)
    paths = paths or films
    left = ", ".join(_counted(n, what) for what, n in out.items())
    if not paths:
        folder = str(fs.unstrip_protocol(top or "/"))
        fix = "Quote the pattern; `*` stands for any letters of a name, `**` for folders too: 'photos/**/*.jpg'."
        said = f"a pattern that matches no image{f', but {left}' if left else ''}"
        raise DataError(where, said, "images", corrected(folder, fix))
    versions = [version_of(found[path]) for path in paths]
    return paths, [path[len(top) :].lstrip("/") for path in paths], versions, left


def _unnamed_images(fs: Any, top: str, found: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Find the images among the files below a folder whose names have no ending."""
    bare = [path for path, about in found.items() if about["type"] != "directory" and not extension(path)]
    plain = [path for path in bare if not (is_local(fs) and special(path))]
    read = are_images(fs, top, [path[len(top) :].lstrip("/") for path in plain])
    return {path for path, is_image in zip(plain, read, strict=True) if is_image}


def _counted(n: int, what: str) -> str:
    several = {"file that is no image": "files that are no images", "video among the images": "videos among the images"}
    return f"{n:,} {several[what]}" if n > 1 and what in several else counted(n, what)
