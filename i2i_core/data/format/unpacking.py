"""Unpack compressed tars, whose samples cannot be read by offsets, into a temporary folder of this machine."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from i2i_core.errors import DataError, ResourceError
from i2i_core.storage.leftovers import TemporaryFolder
from i2i_core.storage.remote import storage_of
from i2i_core.storage.retry import FULL

if TYPE_CHECKING:
    from i2i_core.data.format.webdatasets import Tars

_OPEN: dict[str, Callable[[IO[bytes]], Any]] = {
    **dict.fromkeys(("gz", "tgz"), lambda file: gzip.GzipFile(fileobj=file)),
    **dict.fromkeys(("bz2", "tbz", "tbz2"), bz2.BZ2File),
    **dict.fromkeys(("xz", "txz"), lzma.LZMAFile),
}
"""Readers of compressed tars, by ending."""
MOST_TIMES, ALLOWED = 200, 64 << 20
"""Times its own bytes, and bytes beyond those, that a compressed tar may hold: images hardly shrink."""
_PART = 1 << 20


def is_read(name: str) -> bool:
    """Tell whether a compressed tar of that name can be unpacked here."""
    return _ending(name) in _OPEN


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower()


def plain_name(name: str) -> str:
    """Name a compressed tar as it is called once it is unpacked: `a.tar.gz` and `a.tgz` become `a.tar`."""
    return name.rpartition(".")[0].removesuffix(".tar") + ".tar" if is_read(name) else name


@contextmanager
def unpacked(tars: Tars) -> Iterator[Tars]:
    """Give the tars as plain ones, in a temporary folder for as long as the block runs; as they are where none is
    compressed.

    Raises:
        DataError: one is damaged, or holds more than any tar of images does; or two would have one name.
        ResourceError: the temporary folder has no room for them.
    """
    if not any(map(is_read, tars.sizes)):
        yield tars
        return
    fs, root = storage_of(tars.root)
    with TemporaryFolder("tars") as home:
        sizes: dict[str, int] = {}
        for name, size in tars.sizes.items():
            plain = plain_name(name)
            if plain in sizes:
                found = f"{name} and another of the name {plain}"
                raise DataError(f"--index {tars.uri}", found, "each tar once", "Name one of them: --index 'DIR/*.tar'.")
            with fs.open(f"{root}/{name}", "rb") as file:
                sizes[plain] = _unpack(file, name, size, Path(home, plain), f"--index {tars.uri}")
        yield replace(tars, root=f"file://{home}", sizes=sizes)


def _unpack(file: IO[bytes], name: str, size: int, place: Path, where: str) -> int:
    """Unpack a tar into a local file, or copy a plain one; return its bytes."""
    most, written = size * MOST_TIMES + ALLOWED, 0
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with place.open("wb") as out:
            source = _OPEN.get(_ending(name), lambda plain: plain)(file)
            while part := source.read(_PART):
                if (written := written + len(part)) > most:
                    found = f"{name}, of {size:,} bytes, which hold more than {most:,}"
                    raise DataError(where, found, "a compressed tar of images", "Leave it out.")
                out.write(part)
    except OSError as error:
        if error.errno not in FULL:
            raise _damaged(name, where, error) from None
        found, fix = f"no room for {name} without its compression", "Name a larger place for it: TMPDIR=FOLDER."
        raise ResourceError(str(place.parent), found, "room for all tars, unpacked", fix) from None
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise _damaged(name, where, error) from None
    return written


def _damaged(name: str, where: str, error: Exception) -> DataError:
    fix = "Fetch it again, or leave it out of the folder."
    return DataError(where, f"{name}, which cannot be unpacked ({error})", "a whole compressed tar", fix)
