"""Read PNGs of 16-bit colour whole, or refuse them: the chunks, their checksums and the inflated length are checked
first.

Pillow drops the lower 8 bits of such images. PNG's filters work on bytes, each with the byte of the pixel to the left
and of the row above that has its own place in a pixel. So the upper bytes of all values and their lower bytes are two
filtered images of 8 bits, which Pillow decodes as it does any other.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO

import numpy as np
from PIL import Image

from i2i_core.images.limits import check_size
from i2i_core.images.strips import copy_rows

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CHANNELS = {2: 3, 4: 2, 6: 4}
"""Channels by PNG's colour type: RGB, grey with alpha, RGB with alpha."""
_PIECE = 1 << 20
"""Bytes that are inflated at a time."""
_MOST_PIECES = 1 << 18
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps between columns and rows, of each pass of an interlaced image (PNG, section 8.2)."""


@dataclass(frozen=True)
class _Header:
    """Hold an image's IHDR."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: int

    @property
    def row_bytes(self) -> list[tuple[int, int]]:
        """Rows, and bytes of a row without its filter's number, of each pass."""
        if not self.interlaced:
            sizes = [(self.width, self.height)]
        else:
            sizes = [(-(-(self.width - x) // dx), -(-(self.height - y) // dy)) for x, y, dx, dy in _ADAM7]
        return [(rows, columns * self.pixel_bytes) for columns, rows in sizes if rows > 0 and columns > 0]

    @property
    def pixel_bytes(self) -> int:
        return _CHANNELS[self.colour] * self.depth // 8

    def dumps(self) -> bytes:
        return struct.pack(">IIBBBBB", self.width, self.height, self.depth, self.colour, 0, 0, self.interlaced)


def is_deep(data: bytes) -> bool:
    """Tell whether `data` begins as a PNG of 16-bit colour."""
    return data[:8] == SIGNATURE and data[24:25] == b"\x10" and data[25:26] in (b"\x02", b"\x04", b"\x06")


def read(data: bytes) -> np.ndarray:
    """Read a PNG of 16-bit colour as (H, W, C) uint16, C = 2 or 4 with transparency, else 3.

    Args:
        data: the bytes of a whole file.

    Raises:
        ValueError: a chunk is cut off, damaged, unknown and critical, or out of its place; the size is over the limit;
            or the inflated data is not exactly as long as the picture.
    """
    header, idat, transparent = _parts(data)
    raw = _inflated(idat, sum(rows * (1 + length) for rows, length in header.row_bytes))
    halves = [_half(header, raw, number) for number in (1, 0)]
    del raw
    x = np.empty((header.height, header.width, _CHANNELS[header.colour], 2), np.uint8)
    for number in (0, 1):
        copy_rows(Image.open(halves.pop(), formats=["PNG"]), x[..., number])
    x_HWC = x.view(">u2")[..., 0]
    if not x_HWC.dtype.isnative:
        x_HWC = x_HWC.byteswap(inplace=True).view(np.uint16)
    return x_HWC if transparent is None else _with_alpha(x_HWC, transparent)


def _with_alpha(x_HWC: np.ndarray, transparent: tuple[int, ...]) -> np.ndarray:
    """Add the transparency of one colour of an RGB image (tRNS), as Pillow does for 8 bits."""
    height, width = x_HWC.shape[:2]
    check_size(width, height, 4, 2)
    y = np.empty((height, width, 4), np.uint16)
    y[..., :3] = x_HWC
    for row, target in zip(x_HWC, y, strict=True):
        target[:, 3] = np.where((row == transparent).all(1), 0, 65535)
    return y


# ---- chunks ----


def chunks_of(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield name and content of each chunk up to the last, IEND.

    Raises:
        ValueError: a chunk is cut off, or its checksum is wrong.
    """
    at, whole = len(SIGNATURE), memoryview(data)
    while at + 12 <= len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 8 + size
        if end + 4 > len(data):
            break
        if zlib.crc32(whole[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError(f"a damaged PNG: the checksum of its chunk {_shown(name)} at byte {at} is wrong")
        yield name, whole[at + 8 : end]
        if name == b"IEND":
            return
        at = end + 4
    raise ValueError(f"a truncated PNG: it ends in the chunk at byte {at} of {len(data)}")


def _shown(name: bytes) -> str:
    return name.decode("latin-1") if name.isalpha() else repr(name)


def _parts(data: bytes) -> tuple[_Header, list[memoryview], tuple[int, ...] | None]:
    """Give the header, the pieces of the compressed data, and the transparent colour if there is one."""
    chunks = chunks_of(data)
    name, content = next(chunks)
    if name != b"IHDR":
        raise ValueError(f"a damaged PNG: it begins with the chunk {_shown(name)}, not IHDR")
    header = _header(content)
    idat: list[memoryview] = []
    transparent = None
    last, seen = name, {name}
    for name, content in chunks:
        if name == b"IDAT":
            if idat and last != b"IDAT":
                raise ValueError("a damaged PNG: another chunk stands between those of its data")
            idat.append(content)
            if len(idat) > _MOST_PIECES:
                raise ValueError(f"a PNG whose data lies in more than {_MOST_PIECES} chunks")
        elif name in (b"PLTE", b"tRNS", b"IHDR") and (idat or name in seen):
            raise ValueError(f"a damaged PNG: a chunk {_shown(name)} out of its place")
        elif name == b"tRNS":
            transparent = _transparent(header, content)
        elif name == b"IEND" and len(content):
            raise ValueError("a damaged PNG: its last chunk is not empty")
        elif name not in (b"PLTE", b"IEND") and not name[0] & 32:
            raise ValueError(f"a PNG with the chunk {_shown(name)}, which is not known and cannot be left out")
        last = name
        seen.add(name)
    return header, idat, transparent


def _header(content: memoryview) -> _Header:
    if len(content) != 13:
        raise ValueError(f"a damaged PNG: a header of {len(content)} bytes")
    width, height, depth, colour, compression, filtering, interlaced = struct.unpack(">IIBBBBB", content)
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31) or compression or filtering or interlaced > 1:
        raise ValueError(f"a damaged PNG: a header of {width} x {height} pixels, {bytes(content[8:]).hex(' ')}")
    check_size(width, height, _CHANNELS[colour], 2)
    return _Header(width, height, depth, colour, interlaced)


def _transparent(header: _Header, content: memoryview) -> tuple[int, ...]:
    if header.colour != 2 or len(content) != 6:
        raise ValueError("a damaged PNG: a transparent colour that does not fit its kind")
    return struct.unpack(">3H", content)


# ---- values ----


def _inflated(idat: list[memoryview], expected: int) -> np.ndarray:
    """Inflate the filtered rows, of exactly `expected` bytes; no more than that is ever inflated."""
    raw, filled = np.empty(expected, np.uint8), 0
    stream = zlib.decompressobj()
    try:
        for piece in (left[at : at + _PIECE] for left in idat for at in range(0, len(left), _PIECE)):
            given: bytes | memoryview = piece
            while not stream.eof:
                out = stream.decompress(given, min(_PIECE, expected - filled + 1))
                if len(out) > expected - filled:
                    raise ValueError("a damaged PNG: more data than its picture has")
                raw[filled : filled + len(out)] = np.frombuffer(out, np.uint8)
                filled, given = filled + len(out), stream.unconsumed_tail
                if not given:
                    break
    except zlib.error as error:
        raise ValueError(f"a damaged PNG: {error}") from None
    if filled < expected or not stream.eof:
        raise ValueError(f"a truncated PNG: {filled} of the {expected} bytes of its picture")
    return raw


def _half(header: _Header, raw: np.ndarray, number: int) -> io.BytesIO:
    """Make a PNG of the upper (0) or lower (1) bytes of the values."""
    rows_8 = np.empty(sum(rows * (1 + length // 2) for rows, length in header.row_bytes), np.uint8)
    at = at_8 = 0
    for rows, length in header.row_bytes:
        both = raw[at : at + rows * (1 + length)].reshape(rows, 1 + length)
        one = rows_8[at_8 : at_8 + rows * (1 + length // 2)].reshape(rows, 1 + length // 2)
        if both[:, 0].max() > 4:
            raise ValueError(f"a damaged PNG: a row with the filter {both[:, 0].max()}")
        one[:, 0], one[:, 1:] = both[:, 0], both[:, 1 + number :: 2]
        at, at_8 = at + both.size, at_8 + one.size
    stored = zlib.compress(rows_8.data, 0)
    del rows_8
    chunks = ((b"IHDR", replace(header, depth=8).dumps()), (b"IDAT", stored), (b"IEND", b""))
    file = io.BytesIO()
    file.write(SIGNATURE)
    for name, content in chunks:
        write_chunk(file, name, content)
    del stored, chunks, content
    file.seek(0)
    return file


def write_chunk(file: IO[bytes], name: bytes, content: bytes | memoryview) -> None:
    """Write a chunk with its length and checksum."""
    file.write(len(content).to_bytes(4, "big") + name)
    file.write(content)
    file.write(zlib.crc32(content, zlib.crc32(name)).to_bytes(4, "big"))
