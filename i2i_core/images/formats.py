"""List the image formats that are read, recognise them by content, and check a file before a decoder sees it.

A file is read as what its first bytes say, whatever its name; only TGA, which has no such bytes, is taken by its name.
Nothing else is opened: Pillow knows 30 formats more, among them one that starts another program (EPS: Ghostscript).

Pillow looks at sizes itself before it decodes PNG, JPEG, GIF, BMP, PPM and TGA. For what it or its libraries do before
that, or once for every page, tile or scan, `check` looks at the headers.
"""

from __future__ import annotations

import re
import struct

from i2i_core.images import arrays
from i2i_core.images.heif import check_heif
from i2i_core.images.limits import check_bytes, check_size
from i2i_core.images.tiff import check_tiff

FORMATS: dict[str, tuple[str, ...]] = {
    "PNG": ("png",),
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "BMP": ("bmp",),
    "GIF": ("gif",),
    "WEBP": ("webp",),
    "TIFF": ("tif", "tiff"),
    "PPM": ("ppm", "pgm", "pbm", "pnm"),
    "NPY": ("npy",),
    "AVIF": ("avif",),
    "JPEG2000": ("jp2",),
    "TGA": ("tga",),
    "HEIF": ("heic", "heif", "hif"),
    "DICOM": ("dcm", "dicom", "ima"),
}
"""Every format that is read, as Pillow calls it, and the ends of names, in lower case, that are taken for an image."""

_BEGINS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (arrays.MAGIC, "NPY"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xffO\xffQ", "JPEG2000"),
)
_PPM = re.compile(rb"P[1-6f][ \t\n\v\f\r]")
_WEBP = re.compile(rb"RIFF....WEBPVP8[ LX]", re.DOTALL)
_HEIF = re.compile(rb"....ftyp(heic|heix|heim|heis|mif1)", re.DOTALL)
_TGA_END = b"TRUEVISION-XFILE.\0"

_OTHERS = (
    (rb"%!PS|\xc5\xd0\xd3\xc6", "EPS or PostScript"),
    (rb"%PDF", "PDF"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg", "SVG"),
    (rb"\s*<(!doctype )?html", "a web page, perhaps the answer of a failed download"),
    (rb"....ftyp(hevc|hevx|msf1)", "a film in HEVC, of a live photo, say"),
    (rb"....ftyp", "a video (MP4 or its like)"),
    (rb"8BPS", "Photoshop"),
    (rb"\xff\n|\0\0\0\x0cJXL ", "JPEG XL"),
    (rb"v/1\x01", "OpenEXR"),
    (rb"#\?RADIANCE|#\?RGBE", "Radiance HDR"),
    (rb"PF\s", "PFM in colour"),
    (rb"\0\0[\1\2]\0", "an icon"),
    (rb"qoif", "QOI"),
    (rb"DDS ", "DDS"),
    (rb"\x89HDF", "HDF5"),
    (rb"SIMPLE  =", "FITS"),
    (rb"MM\0\+", "BigTIFF, big-endian"),
    (rb"PK\x03\x04", "a zip, such as an .npz"),
    (rb"\x1f\x8b", "gzip"),
    (rb"version https://git-lfs", "a pointer of Git LFS; `git lfs pull` fetches the file"),
)
"""Files that are not read: the start of their bytes, and their name for a person."""


def recognise(data: bytes, name: str) -> str:
    """Tell which format of `FORMATS` the bytes of a file are, by their content.

    Args:
        name: of the file, or its end; only TGA is recognised by it.

    Raises:
        ValueError: none of them; the message says what else it looks like.
    """
    for begin, kind in _BEGINS:
        if data.startswith(begin):
            return kind
    if _PPM.match(data):
        return "PPM"
    if _WEBP.match(data):
        return "WEBP"
    if data[4:8] == b"ftyp" and _is_avif(data):
        return "AVIF"
    if _HEIF.match(data):
        return "HEIF"
    if data[128:132] == b"DICM":
        return "DICOM"
    if _is_tga(data, name):
        return "TGA"
    like = next((kind for begin, kind in _OTHERS if re.match(begin, data[:4096], re.DOTALL | re.IGNORECASE)), "")
    raise ValueError("cannot identify it as an image" + (f"; it looks like {like}" if like else ""))


def _is_avif(data: bytes) -> bool:
    """By the brands of its first box: the major one, then, after a version, the compatible ones."""
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return any(brands[at : at + 4] in (b"avif", b"avis") for at in (0, *range(8, len(brands), 4)))


def _is_tga(data: bytes, name: str) -> bool:
    if len(data) < 18 or not (name.lower().rpartition(".")[2] == "tga" or data.endswith(_TGA_END)):
        return False
    return data[1] in (0, 1) and data[2] in (1, 2, 3, 9, 10, 11) and data[16] in (1, 8, 16, 24, 32)


def check(data: bytes, kind: str) -> None:
    """Look at what the decoder of a format would take for granted.

    Raises:
        ValueError: the picture is over the limits, or would make its decoder work or take memory beyond them.
    """
    if kind in _CHECKS:
        try:
            _CHECKS[kind](data)
        except (struct.error, IndexError):
            raise ValueError(f"a truncated or damaged {kind}") from None


# ---- one format each ----

_MOST_SCANS = 100
"""Scans of a progressive JPEG, at most; encoders write about ten. Each goes over the whole picture and may be a few
bytes long."""
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_JPEG_ALONE = {0x01, 0xD8}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}


def _check_jpeg(data: bytes) -> None:
    at, scans, progressive = 2, 0, False
    while found := _JPEG_MARKER.search(data, at):
        marker, at = found[0][1], found.end()
        if marker == 0xD9:  # the end; what a camera puts after it is another picture
            return
        progressive = progressive or marker in _PROGRESSIVE
        scans += marker == 0xDA
        if scans and not progressive:
            return
        if scans > _MOST_SCANS:
            raise ValueError(f"a JPEG of more than {_MOST_SCANS} scans")
        if marker not in _JPEG_ALONE:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))


def _check_webp(data: bytes) -> None:
    """Check the picture's size: the decoder of animations, which reads all, makes room for it when it is opened."""
    if data[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    check_size(width, height, 3)


def _check_bmp(data: bytes) -> None:
    """Check the size against the data: one code of a run-length compressed BMP may stand for 255 rows of its width."""
    if len(data) >= 34 and struct.unpack_from("<I", data, 30)[0] in (1, 2):
        width = struct.unpack_from("<i", data, 18)[0]
        if width > 1 << 16:
            raise ValueError(f"a run-length compressed BMP, {width} pixels wide")


_MOST_COMMENTS = 1000


def _check_ppm(data: bytes) -> None:
    """Pillow copies the rest of a plain-text file for every comment in it."""
    if data[1:2] in b"123" and data.count(b"#") > _MOST_COMMENTS:
        raise ValueError(f"a plain PPM with more than {_MOST_COMMENTS} comments")


_MOST_TILES, _MOST_LAYERS = 25_000, 1000
_MOST_PRECINCTS, _SMALLEST_BLOCK = 1 << 18, 8
"""Of a tile; and the logarithm of the least area of a code block, in pixels. The decoder makes room for a record of
each precinct and block, and a picture could have one for every pixel."""


def _check_jpeg2000(data: bytes) -> None:
    at = _codestream(data)
    if data[at : at + 4] != b"\xffO\xffQ":
        raise ValueError("a damaged JPEG 2000: no size where its data begins")
    x1, y1, x0, y0, tile_w, tile_h, _, _, channels = struct.unpack_from(">8IH", data, at + 8)
    width, height = x1 - x0, y1 - y0
    if width < 1 or height < 1 or not tile_w or not tile_h or not 1 <= channels <= 4:
        raise ValueError(f"a JPEG 2000 of {width} x {height} pixels of {channels} channels")
    depth = max((d & 0x7F) + 1 for d in data[at + 42 : at + 42 + 3 * channels : 3])
    check_size(width, height, channels, 1 if channels > 1 or depth <= 8 else 2)
    if -(-width // tile_w) * -(-height // tile_h) > _MOST_TILES:
        raise ValueError(f"a JPEG 2000 of more than {_MOST_TILES} tiles, of {tile_w} x {tile_h} pixels")
    w, h = min(width, tile_w), min(height, tile_h)
    check_bytes(4 * w * h * channels, f"a JPEG 2000 decoded in tiles of {w} x {h} pixels, at 4 bytes a value")
    _check_codestream(data, at + 2, (w, h))


def _codestream(data: bytes) -> int:
    """Find where the codestream begins: at once, or in the box jp2c."""
    at = 0
    while data[at : at + 2] != b"\xffO":
        size, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        if name == b"jp2c":
            return at + head
        if size < head:
            raise ValueError("a damaged JPEG 2000: no data")
        at += size
    return at


def _check_codestream(data: bytes, at: int, tile: tuple[int, int]) -> None:
    """Walk the markers of the main header, then those of each part of a tile."""
    part_end = 0
    while at + 4 <= len(data):
        marker, size = struct.unpack_from(">HH", data, at)
        if marker == 0xFFD9:  # the end
            return
        if marker == 0xFF93:  # the data of a part of a tile
            if not part_end:
                return
            at, part_end = part_end, 0
            continue
        if marker == 0xFF90:
            length = struct.unpack_from(">I", data, at + 6)[0]
            if 0 < length < 14:
                raise ValueError("a damaged JPEG 2000: the part of a tile is too short")
            part_end = at + length if length else 0
        elif marker == 0xFF52:
            if struct.unpack_from(">H", data, at + 6)[0] > _MOST_LAYERS:
                raise ValueError(f"a JPEG 2000 of more than {_MOST_LAYERS} layers")
            _check_coding(data[at + 4], data[at + 9 : at + 2 + size], tile)
        elif marker == 0xFF53:  # of one channel, whose number takes a byte
            _check_coding(data[at + 5], data[at + 6 : at + 2 + size], tile)
        elif marker < 0xFF00 or size < 2:
            raise ValueError("a damaged JPEG 2000: no marker where one must be")
        at += 2 + size


def _check_coding(style: int, values: bytes, tile: tuple[int, int]) -> None:
    """Check a style of coding: levels, both logarithms of a code block's sides less 2, two more, a byte per resolution
    with the logarithms of a precinct's sides."""
    if (values[1] & 15) + (values[2] & 15) + 4 < _SMALLEST_BLOCK:
        raise ValueError("a JPEG 2000 with code blocks of less than 256 pixels")
    precincts = 0
    for halvings, sides in zip(range(values[0], -1, -1), values[5:] if style & 1 else b"", strict=False):
        w, h = (-(-side >> halvings) + 1 for side in tile)  # a tile may lie across the precincts' edges
        precincts += ((w >> (sides & 15)) + 1) * ((h >> (sides >> 4)) + 1)
    if precincts > _MOST_PRECINCTS:
        raise ValueError(f"a JPEG 2000 of {precincts} precincts in a tile, over the limit of {_MOST_PRECINCTS}")


_CHECKS = {
    "JPEG": _check_jpeg,
    "WEBP": _check_webp,
    "BMP": _check_bmp,
    "PPM": _check_ppm,
    "JPEG2000": _check_jpeg2000,
    "TIFF": check_tiff,
    "HEIF": check_heif,
}
