"""Check a HEIF file (HEIC: what phones write) before its decoder sees it: what it is made of, and how large.

The decoder, libheif with libde265, makes room for what the coded pictures say of their size, which need not be what
the file says; so both are read here, in the parameter sets that stand beside the pictures and among their data. Only
pictures in HEVC are read, whole or in a grid of tiles.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from i2i_core.images.limits import MAX_PIXELS, check_size

_CODED, _GRID = b"hvc1", b"grid"
_SPS = 33
"""Type of the unit that says how large a coded picture is."""
_MOST_ITEMS = 4096
_MOST_TILED = 4 * MAX_PIXELS
"""Pixels of all tiles together, at most, those beyond the picture's edge with them."""

Box = tuple[bytes, int, int]
"""Kind of a box, and where its content begins and ends."""


def register() -> None:
    """Have Pillow know the format, by pi_heif, which decodes alone and is the smaller package, or by pillow_heif.

    Raises:
        ValueError: neither is installed.
    """
    try:
        import pi_heif as package
    except ImportError:
        try:
            import pillow_heif as package
        except ImportError:
            raise ValueError("a HEIC, as phones write them, which takes a package: pip install pi-heif") from None
    package.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)


@dataclass
class _Items:
    """Hold what a file says of its items."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    extents: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """Where the data of each item lies: offsets and lengths."""
    elsewhere: set[int] = field(default_factory=set)
    """Items whose data lie in other places than the file itself."""
    tiles: dict[int, int] = field(default_factory=dict)
    """Number of pictures that an item is put together of."""
    areas: list[int] = field(default_factory=list)
    """Pixels of the coded pictures."""
    length_bytes: int = 4


def check_heif(data: bytes) -> None:
    """Refuse a HEIF that is not what can be read.

    Raises:
        ValueError: a picture over the limits, by what the file or its coded data say; other codecs than HEVC; metadata
            that are compressed; a damaged file.
    """
    items = _items(data)
    kind = items.kinds.get(items.primary, b"")
    if kind not in (_CODED, _GRID):
        raise ValueError(f"a HEIF whose picture is of the kind {kind.decode('latin-1')!r}; pictures in HEVC are read")
    for item, of_kind in items.kinds.items():
        if of_kind != _CODED:
            continue
        if item in items.elsewhere:
            raise ValueError("a HEIF whose picture lies outside of its data")
        for unit in _units(data, items, item):
            items.areas += [_checked(unit)] if unit[0] >> 1 & 63 == _SPS else []
    tiled = items.tiles.get(items.primary, 1) * max(items.areas, default=0)
    if not items.areas or tiled > _MOST_TILED:
        raise ValueError(f"a HEIF of {items.tiles.get(items.primary, 1)} tiles of {max(items.areas, default=0)} pixels")


def _boxes(data: bytes, at: int, end: int) -> Iterator[Box]:
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        size = size or end - at
        if size < head or at + size > end:
            raise ValueError("a damaged HEIF: a box that is longer than its file")
        yield kind, at + head, at + size
        at += size


def _items(data: bytes) -> _Items:
    items, found = _Items(), False
    for kind, at, end in _boxes(data, 0, len(data)):
        if kind != b"meta":
            continue
        found = True
        for name, start, stop in _boxes(data, at + 4, end):
            if name == b"pitm":
                (items.primary,) = struct.unpack_from(">I" if data[start] else ">H", data, start + 4)
            elif name == b"iinf":
                _read_kinds(data, start, stop, items)
            elif name == b"iloc":
                _read_extents(data, start, items)
            elif name == b"iref":
                _read_references(data, start, stop, items)
            elif name == b"iprp":
                for inner, first, last in _boxes(data, start, stop):
                    if inner == b"ipco":
                        _read_properties(data, first, last, items)
    if not found:
        raise ValueError("a damaged HEIF: nothing in it says what its items are")
    return items


def _read_kinds(data: bytes, at: int, end: int, items: _Items) -> None:
    for kind, start, stop in _boxes(data, at + (8 if data[at] else 6), end):
        version = data[start]
        if kind != b"infe" or version < 2:
            raise ValueError("a damaged HEIF: an item without a kind")
        form = ">I2x4s" if version > 2 else ">H2x4s"
        item, of_kind = struct.unpack_from(form, data, start + 4)
        if item in items.kinds or len(items.kinds) >= _MOST_ITEMS:
            raise ValueError("a damaged HEIF: an item twice, or too many")
        items.kinds[item] = of_kind
        words = data[start + 4 + struct.calcsize(form) : stop].split(b"\0")  # name, type of content, its compression
        if of_kind == b"mime" and len(words) > 2 and words[2]:
            raise ValueError("a HEIF whose metadata are compressed")


def _read_extents(data: bytes, at: int, items: _Items) -> None:
    version, sizes, at = data[at], struct.unpack_from(">H", data, at + 4)[0], at + 6
    offset_bytes, length_bytes, base_bytes, index_bytes = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = version > 1
    (count,) = struct.unpack_from(">I" if wide else ">H", data, at)
    at += 4 if wide else 2

    def number(size: int) -> int:
        nonlocal at
        if at + size > len(data):
            raise ValueError("a damaged HEIF: it ends where its items' places are listed")
        value = int.from_bytes(data[at : at + size], "big")
        at += size
        return value

    if count > _MOST_ITEMS:
        raise ValueError(f"a HEIF of {count} items")
    for _ in range(count):
        item = number(4 if wide else 2)
        method = number(2) & 15 if version else 0
        if number(2) or method:
            items.elsewhere.add(item)
        base, extents = number(base_bytes), number(2)
        if extents > _MOST_ITEMS or item in items.extents:
            raise ValueError("a damaged HEIF: an item's place twice, or in too many parts")
        places = items.extents[item] = []
        for _ in range(extents):
            number(index_bytes if version else 0)
            start = base + number(offset_bytes)
            places.append((start, number(length_bytes)))


def _read_references(data: bytes, at: int, end: int, items: _Items) -> None:
    wide = bool(data[at])
    for kind, start, _ in _boxes(data, at + 4, end):
        item, count = struct.unpack_from(">IH" if wide else ">HH", data, start)
        if kind == b"dimg":
            items.tiles[item] = max(items.tiles.get(item, 0), count)


def _read_properties(data: bytes, at: int, end: int, items: _Items) -> None:
    for kind, start, stop in _boxes(data, at, end):
        if kind == b"ispe":
            width, height = struct.unpack_from(">II", data, start + 4)
            check_size(width, height, 3)
        elif kind == b"hvcC":
            items.length_bytes = 1 + (data[start + 21] & 3)
            place = start + 23
            for _ in range(data[start + 22]):
                (count,) = struct.unpack_from(">H", data, place + 1)
                place += 3
                for _ in range(count):
                    (size,) = struct.unpack_from(">H", data, place)
                    unit = data[place + 2 : min(place + 2 + size, stop)]
                    items.areas += [_checked(unit)] if unit and unit[0] >> 1 & 63 == _SPS else []
                    place += 2 + size


def _units(data: bytes, items: _Items, item: int) -> Iterator[bytes]:
    """Give the coded units of an item's data, each of them after its length."""
    parts = items.extents.get(item, [])
    if not parts or any(start + (size or 0) > len(data) for start, size in parts):
        raise ValueError("a damaged HEIF: a picture's data lie beyond its end")
    if sum(size for _, size in parts) > len(data):
        raise ValueError("a damaged HEIF: parts of a picture's data lie over each other")
    coded = b"".join(data[start : start + size] if size else data[start:] for start, size in parts)
    at = 0
    while at + items.length_bytes < len(coded):
        size = int.from_bytes(coded[at : at + items.length_bytes], "big")
        at += items.length_bytes
        if not size or at + size > len(coded):
            raise ValueError("a damaged HEIF: a part of a picture is longer than its data")
        yield coded[at : at + min(size, 512)]
        at += size


def _checked(unit: bytes) -> int:
    width, height = size_of(unit)
    check_size(width, height, 3)
    return width * height


class _Bits:
    def __init__(self, data: bytes) -> None:
        self.value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self.left -= count
        if self.left < 0:
            raise ValueError("a damaged HEIF: the size of a coded picture is cut off")
        return self.value >> self.left & ((1 << count) - 1)

    def number(self) -> int:
        """Read a number of the code that is called Exp-Golomb."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 31:
                raise ValueError("a damaged HEIF: the size of a coded picture")
        return (1 << zeros) - 1 + self.take(zeros)


def size_of(unit: bytes) -> tuple[int, int]:
    """Read width and height of coded pictures from their sequence parameter set (H.265, 7.3.2.2)."""
    bits = _Bits(unit[2:512].replace(b"\0\0\3", b"\0\0"))
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 96)  # nesting; profile, compatibility, constraints, level
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    bits.take(2 * (8 - layers) if layers else 0)
    for profile, level in present:
        bits.take(88 * profile + 8 * level)
    bits.number()
    if bits.number() == 3:
        bits.take(1)
    return bits.number(), bits.number()
