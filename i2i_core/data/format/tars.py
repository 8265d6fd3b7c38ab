"""Read tars from end to end as streams, whatever bytes they are of."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from typing import IO, Self

from i2i_core.names import printable

MOST_HEADER = 1 << 16
"""Bytes of an extended header, beyond which it is refused unread."""


class HashedReader:
    """Read a file from end to end, and keep its length and checksum as it goes.

    Attributes:
        filled: where its last byte that is not 0 ends.
        end: once `tar_entries` is through, where the archive ended.
        damage: why it ended there before its time.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hash, self.bytes, self.filled = file, hashlib.sha256(), 0, 0
        self.end, self.damage = 0, ""
        self.length = file.seek(0, io.SEEK_END)
        file.seek(0)

    def read(self, size: int) -> bytes:
        """Read some bytes, and count them in."""
        data = self.file.read(size)
        self.hash.update(data)
        if filled := len(data.rstrip(b"\0")):
            self.filled = self.bytes + filled
        self.bytes += len(data)
        return data

    def drain(self) -> None:
        """Read to the end."""
        while self.read(1 << 20):
            pass


class _Header(tarfile.TarInfo):
    """Read a header, or raise a ReadError: `tarfile` takes a damaged one for the end of the archive, and skips to
    wherever one says that the next is."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            raise tarfile.ReadError("it ends without the mark of an archive's end") from None
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a damaged header: {error}") from None
        if header.size < 0 or (header.type in _LONG and header.size > MOST_HEADER):
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            header = super().fromtarfile(tar)
        except (ValueError, LookupError, OverflowError, RecursionError) as error:  # of extended headers
            raise tarfile.ReadError(f"a damaged header: {type(error).__name__}") from None
        length = tar.fileobj.fileobj.length  # type: ignore[attr-defined]
        if not 0 <= header.size <= length - header.offset_data:
            raise tarfile.ReadError(f"{printable(header.name)} of {header.size} bytes does not fit in {length} bytes")
        return header


_LONG = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)

TarMember = tuple[str, str, tarfile.TarInfo, bytes]
"""Key, member, header and data of something in a tar."""


def at_first_dot(name: str) -> tuple[str, str]:
    """Cut a name into key and member by WebDataset's convention: the key ends at the first dot of the last part."""
    _, dot, member = name.rpartition("/")[2].partition(".")
    return (name[: -len(dot + member)], member) if dot else (name, "")


def tar_entries(
    file: HashedReader,
    is_read: Callable[[str, tarfile.TarInfo], bool],
    key_of: Callable[[str], tuple[str, str]] = at_first_dot,
) -> Iterator[TarMember]:
    """Give all in a tar whose name has a key and a member. A `./` before it is no part of the key.

    Where the tar is damaged it ends; `file.end` and `file.damage` then say where and how.

    Args:
        file: the tar.
        is_read: given a member and its header, whether its data is wanted; else it comes empty.
        key_of: cuts a name into key and member; the member is empty where it has none.
    """
    try:
        with tarfile.open(fileobj=file, mode="r|", tarinfo=_Header) as tar:  # type: ignore[call-overload]
            while (info := tar.next()) is not None:
                file.end = info.offset
                key, member = key_of(info.name.removeprefix("./"))
                if member and key and not key.endswith("/") and not info.isdir():
                    opened = tar.extractfile(info) if is_file(info) and is_read(member, info) else None
                    yield key, member, info, opened.read() if opened else b""
                file.end = tar.offset
                tar.members.clear()
    except tarfile.TarError as error:
        file.damage = f"a damaged tar ({error})"


def is_file(info: tarfile.TarInfo) -> bool:
    """Tell whether a member's data lies in one piece in the tar."""
    return info.isreg() and not info.issparse()


def tar_members(file: HashedReader) -> Iterator[TarMember]:
    """Give every file of a tar with its data, as `tar_entries` does."""
    return (entry for entry in tar_entries(file, lambda *_: True) if is_file(entry[2]))
