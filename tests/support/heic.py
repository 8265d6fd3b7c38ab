"""Puts HEIC files together: a picture, or a grid of tiles, as phones write them, of pictures that were coded once.

No package that codes HEVC is needed. `_SMALL` (64 x 64, three slopes of colour) and `_TILE` (512 x 512, one colour)
were made by pillow_heif.from_pillow(image).save(file, quality=50); each is its record of the decoder (hvcC) and its
data.
"""

from __future__ import annotations

import base64
import struct
from typing import NamedTuple

_SMALL = (
    b"0RwOV0058x000009`FGC{rLC*01pFT0096PKmiN^|NjGU00093kN^M!000939=ZZRVE_RDD?$MQ18@KU0|1Z!00RI30{|YNAb|yz>PacCZUPz%"
    b"2mk;B0LTCU0{{p>VgLaE2SfqEa<C#m",
    b"0001UC;_h%fVb|EpF*2<(!RlTXvmRhoaN`FFhtJ&dy6B*<2+2`IC+^nkU%KMJ1+i7)=mg#<b!<-^u$$WoXVP9r-C?Eox6n!<G6z7lIG|W#6&~x"
    b"V3Cg&0_BzV@4-Z?*+z{q)_4+UHbyEP$Y5CiPlP}",
)
_TILE = (
    b"0RwOV0058x00000TJQk;{rLC*01pFT0096PKmiN^|NjGU00093kN^M!00093TDk&2VE_RDD?$MQ18@KU0|1Z!00RI30{~i}1OfnnS#G3~n&#jk"
    b"pum6t01SWt00RJoVgLaE2SfqEa<F1R",
    b"0002iC;_h%5NcUnb(K=)sBqK2@ueUCZGL!sm{7EyZ)7`~?CqElOKCs=0yF>vga91C00095a-#w%Z72W$Mt}g600mG000RI30{{R60AE0p0074T"
    b"2QUBt0{{R60009300RI30|B*%0009300RI30{{R60009300RI30|5;H00RI30{{R60009300RI30{{R60oecm0{{R60009300RI30{{R6003LS"
    b"0009300RI30{{R60009300RI6+5i9p0009300RI30{{R60009349E",
)


class Picture(NamedTuple):
    """A coded picture, and its sides."""

    record: bytes
    data: bytes
    side: int


SMALL = Picture(*(base64.b85decode(text) for text in _SMALL), 64)
TILE = Picture(*(base64.b85decode(text) for text in _TILE), 512)


def box(kind: bytes, *content: bytes, version: int | None = None) -> bytes:
    """A box; one with a version has four bytes more."""
    head = b"" if version is None else struct.pack(">I", version << 24)
    body = head + b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def heic(
    picture: Picture = SMALL,
    grid: tuple[int, int] | None = None,
    size: tuple[int, int] | None = None,
    turned: int = 0,
    kind: bytes = b"hvc1",
    more: bytes = b"",
) -> bytes:
    """A file of one picture.

    Args:
        grid: rows and columns of tiles, each of them the picture.
        size: width and height that the file says.
        turned: quarter turns against the clock.
        kind: of the coded item.
        more: further items, as boxes `infe`.
    """
    rows, columns = grid or (1, 1)
    width, height = size or (picture.side * columns, picture.side * rows)
    of_grid = struct.pack(">BBBBII", 0, 1, (rows - 1) & 255, (columns - 1) & 255, width, height) if grid else b""
    tiles = [*range(1, rows * columns + 1)]
    primary = len(tiles) + bool(grid)  # a grid comes after its tiles, which share their data
    of_tile = (picture.side, picture.side) if grid else (width, height)
    properties = [box(b"hvcC", picture.record), box(b"ispe", struct.pack(">II", *of_tile), version=0)]
    properties += [box(b"ispe", struct.pack(">II", width, height), version=0), box(b"irot", bytes([turned]))]
    kinds = dict.fromkeys(tiles, kind) | ({primary: b"grid"} if grid else {})
    named = b"".join(box(b"infe", struct.pack(">HH4s", i, 0, kind) + b"\0", version=2) for i, kind in kinds.items())
    owned = {i: [0x81, 2] for i in tiles} | ({primary: [3]} if grid else {})
    owned[primary].append(0x84)
    owns = b"".join(struct.pack(">HB", i, len(of)) + bytes(of) for i, of in owned.items())

    def meta(at: int) -> bytes:
        places = {i: (at, len(picture.data)) for i in tiles}
        places |= {primary: (at + len(picture.data), len(of_grid))} if grid else {}
        located = b"".join(struct.pack(">HHHII", i, 0, 1, *place) for i, place in places.items())
        parts = [
            box(b"hdlr", struct.pack(">I4s13x", 0, b"pict"), version=0),
            box(b"pitm", struct.pack(">H", primary), version=0),
            box(b"iloc", struct.pack(">BBH", 0x44, 0, len(places)), located, version=0),
            box(b"iinf", struct.pack(">H", len(kinds) + bool(more)), named, more, version=0),
            box(
                b"iprp",
                box(b"ipco", *properties),
                box(b"ipma", struct.pack(">I", len(owned)), owns, version=0),
            ),
        ]
        if grid:
            of = struct.pack(f">HH{len(tiles)}H", primary, len(tiles), *tiles)
            parts.append(box(b"iref", box(b"dimg", of), version=0))
        return box(b"meta", *parts, version=0)

    first = box(b"ftyp", b"heic", bytes(4), b"mif1heic")
    at = len(first) + len(meta(0)) + 8
    return first + meta(at) + box(b"mdat", picture.data, of_grid)
