"""Check the pages of a TIFF before any is decoded: how many, how large, in which tiles, compressed how."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from i2i_core.images.limits import MAX_CHANNELS, check_bytes, check_size

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value of each type of tag."""
_BYTES, _NUMBERS = (1, 2, 6, 7), {1: "B", 3: "H", 4: "I", 16: "Q"}
_MOST_VALUES = 1 << 18
"""Numbers in the tags of a page (where its strips lie, for example), each of which becomes an object in Pillow."""

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, ROWS = 256, 257, 258, 259, 262, 277, 278
TILE_WIDTH, TILE_HEIGHT, SAMPLE_FORMAT = 322, 323, 339
_READ = {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, ROWS, TILE_WIDTH, TILE_HEIGHT, SAMPLE_FORMAT}

_COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946, 50000}
"""None, fax (2 to 4), LZW, JPEG, deflate, PackBits, deflate as once numbered, Zstandard."""
_PALETTE = 3


@dataclass(frozen=True)
class Page:
    """Describe a page as its tags do."""

    width: int
    height: int
    channels: int
    bits: int
    floating: bool
    tile: tuple[int, int] | None

    @property
    def value_bytes(self) -> int:
        """Bytes of one value."""
        return 1 if self.bits <= 8 else 2 if self.bits <= 16 else 4

    @property
    def decoded(self) -> int:
        """Bytes that come out of its decoder: whole tiles, where they reach over the picture's edge."""
        width, height = self.width, self.height
        if self.tile:
            width, height = (-(-side // tile) * tile for side, tile in zip((width, height), self.tile, strict=True))
        return width * height * self.channels * self.value_bytes

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.channels} of {self.bits} bits"


def check_tiff(data: bytes) -> None:
    """Refuse a TIFF that is not what can be read.

    Raises:
        ValueError: a page, or all together, over the limits; pages that are not grey or of several kinds; a chain of
            pages that does not end; 16-bit colour, which Pillow narrows; a compression that is not read.
    """
    pages, total = [], 0
    for tags in _directories(data):
        page = _page(tags)
        check_size(page.width, page.height, page.channels, page.value_bytes)
        total += page.decoded
        pages.append(page)
        if len(pages) > MAX_CHANNELS:
            raise ValueError(f"a TIFF of more than {MAX_CHANNELS} pages")
    first = pages[0]
    tiles = f" in tiles of {first.tile[0]} x {first.tile[1]}" if first.tile else ""
    check_bytes(total, f"a TIFF of {len(pages)} pages of {first.width} x {first.height} pixels{tiles}")
    if first.channels > 1 and first.bits > 8:
        raise ValueError("16-bit colour TIFF, which Pillow would narrow to 8 bits; save it as PNG or .npy")
    kinds = sorted({str(page) for page in pages})
    if len(pages) > 1 and (len(kinds) > 1 or first.channels > 1):
        raise ValueError(f"a TIFF of {len(pages)} pages of {', '.join(kinds[:4])}; pages must be grey, of one size")


def _directories(data: bytes) -> Iterator[dict[int, list[int]]]:
    """Read the tags of each page that matter here."""
    order, big = "<" if data[:1] == b"I" else ">", data[2:3] == b"+"
    count, entry, link = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    at = struct.unpack_from(order + link, data, 8 if big else 4)[0]
    seen: set[int] = set()
    while at:
        if at in seen:
            raise ValueError(f"a damaged TIFF: its chain of pages comes back to byte {at}")
        seen.add(at)
        (entries,) = struct.unpack_from(order + count, data, at)
        at += struct.calcsize(order + count)
        size = struct.calcsize(order + entry)
        if not 0 < entries <= 4096 or at + entries * size > len(data):
            raise ValueError(f"a damaged TIFF: a page of {entries} tags")
        tags: dict[int, list[int]] = {}
        held = 0
        for place in range(at, at + entries * size, size):
            tag, kind, number, value = struct.unpack_from(order + entry, data, place)
            held += 0 if kind in _BYTES else number
            if held > _MOST_VALUES or number * _SIZES.get(kind, 1) > len(data):
                raise ValueError(f"a damaged TIFF: {number} values of tag {tag}")
            if tag in _READ:
                if tag in tags:
                    raise ValueError(f"a damaged TIFF: tag {tag} twice in a page")
                tags[tag] = _numbers(data, order, link, tag, kind, number, value)
        yield tags
        (at,) = struct.unpack_from(order + link, data, at + entries * size)


def _numbers(data: bytes, order: str, link: str, tag: int, kind: int, number: int, value: bytes) -> list[int]:
    if kind not in _NUMBERS or not 0 < number <= MAX_CHANNELS:
        raise ValueError(f"a damaged TIFF: {number} values of type {kind} of tag {tag}")
    form = f"{order}{number}{_NUMBERS[kind]}"
    if struct.calcsize(form) <= len(value):
        return list(struct.unpack_from(form, value))
    return list(struct.unpack_from(form, data, struct.unpack(order + link, value)[0]))


def _page(tags: dict[int, list[int]]) -> Page:
    if WIDTH not in tags or HEIGHT not in tags:
        raise ValueError("a damaged TIFF: a page without a size")
    one = {tag: values[0] for tag, values in tags.items()}
    compression = one.get(COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        raise ValueError(f"a TIFF with compression {compression}, which is not read; save it with LZW or deflate")
    tile = None
    if TILE_WIDTH in one or TILE_HEIGHT in one:
        tile = one.get(TILE_WIDTH, 0), one.get(TILE_HEIGHT, 0)
        if not all(tile):
            raise ValueError(f"a damaged TIFF: tiles of {tile[0]} x {tile[1]}")
    channels = max(one.get(SAMPLES, 1), len(tags.get(BITS, ())), 3 if one.get(PHOTOMETRIC) == _PALETTE else 1)
    floating = one.get(SAMPLE_FORMAT) == 3
    return Page(one[WIDTH], one[HEIGHT], channels, max(tags.get(BITS, [1])), floating, tile)
