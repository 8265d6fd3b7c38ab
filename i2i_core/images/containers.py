"""Check a video file by the lengths that it states, before FFmpeg opens it.

The three families of containers that are read say how long they are: MP4 and QuickTime by the lengths of their boxes,
Matroska and WebM by that of their segment, AVI by that of its list. FFmpeg plays what is there and says nothing of the
rest, so a download that broke off would become a shorter clip without a word.
"""

from __future__ import annotations

import io
import struct
from typing import IO

from i2i_core.images.formats import recognise

ENDINGS = frozenset({"mp4", "m4v", "mov", "3gp", "mkv", "webm", "avi"})
"""Ends of names, in lower case, that mean a video. The content decides the container."""
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
"""FFmpeg's names of the containers that are read. Play lists and scripts, which name further files, are not."""

_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof")
_BOXES = (*_FIRST_BOXES, b"uuid", b"udta", b"meta", b"mfra", b"sidx", b"emsg", b"prft", b"pdin")
_BRANCHES = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
"""Boxes in one another that lead to the tables of samples."""
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_UNKNOWN = 0xFFFFFFFF
_MOST_BOXES = 1_000_000
"""Boxes at the top of a file; a film in fragments has some for every second."""


def is_video(name: str) -> bool:
    """Tell by the end of a file's name if it is a video."""
    return name.rpartition("/")[2].rpartition(".")[2].lower() in ENDINGS and "." in name


def check_container(file: IO[bytes]) -> None:
    """Refuse a file that is no video of a container that is read, or that ends before its own headers say.

    Args:
        file: open for reading in any order.

    Raises:
        ValueError: saying what it is, or how many bytes are missing.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(4096)
    if not head:
        raise ValueError("the file is empty")
    if head[4:8] in _FIRST_BOXES:
        _check_boxes(file, size)
    elif head.startswith(_EBML):
        _check_matroska(head, size)
    elif head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        _check_riff(file, size)
    else:
        raise ValueError(_instead(head))


def _instead(head: bytes) -> str:
    """Word what a file is that is no video."""
    read = "videos in MP4, QuickTime, Matroska, WebM and AVI are read"
    try:
        return f"an image ({recognise(head, '')}); {read}"
    except ValueError as error:
        like = str(error).partition("; ")[2]
        return f"cannot identify it as a video{f'; {like}' if like else ''}; {read}"


def _cut_off(size: int, stated: int) -> ValueError:
    return ValueError(f"it is cut off: {size:,} bytes of the {stated:,} that it states; fetch or copy it again")


def _check_boxes(file: IO[bytes], size: int) -> None:
    """Go over the boxes at the top of a file; a film needs one that lists its frames (ISO/IEC 14496-12, 8.2)."""
    at, kinds = 0, set[bytes]()
    for _ in range(_MOST_BOXES):
        kind, start, end = _box(file, at, size)
        if not kind or kind not in _BOXES:  # what a camera puts behind the film
            break
        kinds.add(kind)
        if end > size:
            raise _cut_off(size, end)
        if kind == b"moov":
            _check_tables(file, start, end, size)
        at = end
    if b"moov" not in kinds:
        raise ValueError("the list of its frames (moov) is missing: it is cut off, or its recording never ended")


def _box(file: IO[bytes], at: int, size: int) -> tuple[bytes, int, int]:
    """Read the box at a place: its kind, and where its content begins and ends; no kind where there is none."""
    file.seek(at)
    head = file.read(16)
    if len(head) < 8:
        return b"", at, at
    length, kind = struct.unpack_from(">I4s", head)
    start = at + 8
    if length == 1 and len(head) == 16:
        length, start = struct.unpack_from(">Q", head, 8)[0], at + 16
    elif length == 0:
        length = size - at
    return (kind, start, at + length) if at + length >= start else (b"", at, at)


def _check_tables(file: IO[bytes], at: int, end: int, size: int, depth: int = 1) -> None:
    """Refuse samples of one size that are more than the file can hold: FFmpeg makes room for each that is stated."""
    while at < end:
        kind, start, stop = _box(file, at, end)
        if not kind or stop > end:
            break
        if depth < len(_BRANCHES) and kind == _BRANCHES[depth]:
            _check_tables(file, start, stop, size, depth + 1)
        elif kind == b"stsz":
            file.seek(start + 4)
            table = file.read(8)
            each, count = struct.unpack(">II", table) if len(table) == 8 else (0, 0)
            if each * count > size:
                raise ValueError(f"it states {count:,} samples of {each} bytes in a file of {size:,} bytes")
        at = stop


def _check_matroska(head: bytes, size: int) -> None:
    """Compare the length of the segment, which holds everything, with the file (RFC 9559, 5.1; lengths: RFC 8794, 4).
    A live recording states none."""
    length, at = _length(head, len(_EBML))
    at += length
    if head[at : at + 4] != _SEGMENT:
        return
    length, start = _length(head, at + 4)
    if length >= 0 and start + length > size:
        raise _cut_off(size, start + length)


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Read a length of EBML, and where it ends; -1 for one that is unknown."""
    first = data[at] if at < len(data) else 0
    width = 9 - first.bit_length()
    if width > 8:
        raise ValueError("a damaged Matroska: a length without an end")
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return (-1 if value == (1 << 7 * width) - 1 else value), at + width


def _check_riff(file: IO[bytes], size: int) -> None:
    """Go over the lists that an AVI is made of. One whose recording never ended states no length."""
    at = 0
    while at + 12 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF" or length in (0, _UNKNOWN):
            return
        at += 8 + length + length % 2
        if at - length % 2 > size:
            raise _cut_off(size, at - length % 2)
