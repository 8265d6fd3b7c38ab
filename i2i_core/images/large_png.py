"""Read and write 8-bit PNGs a few rows at a time, so that memory holds the pixels once, and no other copy of them.

Pillow decodes an image whole, at four bytes a pixel, beside the array that it is copied to. A PNG's rows are filtered
by the row above, so some rows with the row before them make a PNG of their own, which Pillow decodes as any other.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from i2i_core.images.deep_png import SIGNATURE, chunks_of, write_chunk
from i2i_core.images.limits import LARGE_PIXELS, MAX_PIXELS

CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Channels by PNG's colour type: grey, RGB, grey with alpha, RGB with alpha."""
COLOURS = {channels: colour for colour, channels in CHANNELS.items()}
_STRIP = 1 << 22
"""Bytes of the rows that are decoded or encoded at a time, about."""
_CHANGING = frozenset((b"tRNS", b"eXIf", b"acTL"))
"""Chunks that change what the rows show: a transparent colour, a turn, frames."""


def is_large(data: bytes) -> bool:
    """Tell whether `data` begins as a PNG of more pixels than a picture that is decoded whole may have."""
    if data[:8] != SIGNATURE or len(data) < 33 or data[12:16] != b"IHDR":
        return False
    width, height = struct.unpack_from(">II", data, 16)
    return int(width) * int(height) > MAX_PIXELS


def size_of(data: bytes) -> tuple[int, int]:
    """Give (height, width) of a PNG by its header."""
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def read(data: bytes) -> np.ndarray:
    """Read a PNG of 8 bits as (H, W, C) uint8, C = 1 or 3, or 2 or 4 with transparency.

    Args:
        data: the bytes of a whole file.

    Raises:
        ValueError: another kind of PNG, one of more than `LARGE_PIXELS` pixels, or a damaged one.
    """
    (name, header), *chunks = chunks_of(data)
    if name != b"IHDR" or len(header) != 13:
        raise ValueError("a damaged PNG: it does not begin with its header")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    said = f"{width} x {height} pixels"
    if not width or not height or width * height > LARGE_PIXELS:
        raise ValueError(f"{said}, over the limit of {LARGE_PIXELS}; cut it into tiles first")
    found = {name for name, _ in chunks}
    if depth != 8 or colour not in CHANNELS or interlaced or found & _CHANGING:
        kind = "of 8 bits, not interlaced, without palette, transparent colour, EXIF and frames"
        raise ValueError(f"{said}, over the limit of {MAX_PIXELS} for all but PNGs {kind}; save it as one")
    if strange := next((name for name in found if name not in (b"IDAT", b"PLTE", b"IEND") and not name[0] & 32), b""):
        raise ValueError(f"a PNG with the chunk {strange!r}, which is not known and cannot be left out")
    x_HWC = np.empty((height, width, CHANNELS[colour]), np.uint8)
    row = 1 + width * CHANNELS[colour]
    step, top = max(1, _STRIP // row), 0
    for raw in _inflated([content for name, content in chunks if name == b"IDAT"], row * height, row * step):
        rows = len(raw) // row
        x_HWC[top : top + rows] = _unfiltered(raw, x_HWC[top - 1 : top], bytes(header), rows)
        top += rows
    return x_HWC


def _inflated(pieces: list[memoryview], expected: int, step: int) -> Iterator[bytes]:
    """Inflate `expected` bytes, `step` at a time. Raises ValueError where there are fewer or more."""
    stream, held, left = zlib.decompressobj(), bytearray(), expected
    try:
        for piece in pieces:
            given: bytes | memoryview = piece
            while not stream.eof:
                out = stream.decompress(given, step)
                given, held = stream.unconsumed_tail, held + out
                while len(held) >= min(step, left) > 0:
                    size = min(step, left)
                    yield bytes(held[:size])
                    del held[:size]
                    left -= size
                if held and not left:
                    raise ValueError("a damaged PNG: more data than its picture has")
                if not given and len(out) < step:
                    break
    except zlib.error as error:
        raise ValueError(f"a damaged PNG: {error}") from None
    if left or not stream.eof:
        raise ValueError(f"a truncated PNG: {expected - left} of the {expected} bytes of its picture")


def _unfiltered(raw: bytes, before_1WC: np.ndarray, header: bytes, rows: int) -> np.ndarray:
    """Decode filtered rows, (rows, W, C), of which the row above is known; the first of all has none."""
    filters = raw[:: len(raw) // rows]
    if max(filters) > 4:
        raise ValueError(f"a damaged PNG: a row with the filter {max(filters)}")
    above = b"\0" + before_1WC.tobytes() if len(before_1WC) else b""
    count = rows + bool(above)
    file = io.BytesIO()
    file.write(SIGNATURE)
    write_chunk(file, b"IHDR", header[:4] + struct.pack(">I", count) + header[8:])
    write_chunk(file, b"IDAT", zlib.compress(above + raw, 0))
    write_chunk(file, b"IEND", b"")
    file.seek(0)
    x = np.asarray(Image.open(file, formats=["PNG"]))
    return x.reshape(count, x.shape[1], -1)[count - rows :]


def write(x_HWC: np.ndarray) -> bytes:
    """Encode an image of 8 bits, 1 to 4 channels, as a PNG; the same array always gives the same bytes."""
    height, width, channels = x_HWC.shape
    file = io.BytesIO()
    file.write(SIGNATURE)
    write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, COLOURS[channels], 0, 0, 0))
    stream, step = zlib.compressobj(), max(1, _STRIP // (width * channels))
    for top in range(0, height, step):
        filtered = _filtered(x_HWC[top : top + step], x_HWC[top - 1 : top])
        if data := stream.compress(filtered):
            write_chunk(file, b"IDAT", data)
    write_chunk(file, b"IDAT", stream.flush())
    write_chunk(file, b"IEND", b"")
    return file.getvalue()


def _filtered(x_RWC: np.ndarray, before_1WC: np.ndarray) -> bytes:
    """Filter rows: each as its differences from the pixel to the left, or from the one above, whichever are smaller."""
    rows = x_RWC.shape[0]
    above = np.concatenate([before_1WC if len(before_1WC) else np.zeros_like(x_RWC[:1]), x_RWC[:-1]])
    left = x_RWC.copy()
    left[:, 1:] -= x_RWC[:, :-1]
    up = x_RWC - above
    sums = [np.abs(one.view(np.int8).astype(np.int16)).reshape(rows, -1).sum(1) for one in (left, up)]
    takes_up = sums[1] < sums[0]
    out = np.empty((rows, 1 + x_RWC[0].size), np.uint8)
    out[:, 0] = np.where(takes_up, 2, 1)
    out[:, 1:] = np.where(takes_up[:, None], up.reshape(rows, -1), left.reshape(rows, -1))
    return out.tobytes()
