"""Small image files of every format and depth that is read, and hostile ones. Needs no torch, so that what decodes them
can be tested without it."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .heic import SMALL, TILE, heic
from .scans import BIG, EXPLICIT, IMPLICIT, dicom, slices

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Of PNG's colour types."""
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def noise(height: int, width: int, channels: int = 3, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (height, width, channels), dtype, endpoint=True)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(head: Sequence[int], idat: bytes, before: bytes = b"") -> bytes:
    """A PNG of a header (width, height, depth, colour, interlaced), compressed data, and chunks before it."""
    width, height, depth, colour, interlaced = head
    ihdr = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return SIGNATURE + chunk(b"IHDR", ihdr) + before + chunk(b"IDAT", idat) + chunk(b"IEND", b"")


def filtered(x_HWC: np.ndarray, filters: Sequence[int]) -> bytes:
    """The rows of a pass as PNG stores them, its filters taken in turn (PNG, section 9)."""
    step = max(1, x_HWC.shape[2] * x_HWC.dtype.itemsize)
    rows = np.ascontiguousarray(x_HWC.astype(x_HWC.dtype.newbyteorder(">"))).view(np.uint8)
    rows = rows.reshape(x_HWC.shape[0], -1).astype(int)
    out, above = [], np.zeros(rows.shape[1], int)
    for y, row in enumerate(rows):
        left, corner = (np.concatenate([np.zeros(step, int), r])[: len(row)] for r in (row, above))
        away = [abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)]
        nearest = np.where((away[0] <= away[1]) & (away[0] <= away[2]), left, above)
        paeth = np.where((away[2] < away[0]) & (away[2] < away[1]), corner, nearest)
        kind = filters[y % len(filters)]
        guess = [0 * row, left, above, (left + above) // 2, paeth][kind]
        out.append(bytes([kind]) + ((row - guess) % 256).astype(np.uint8).tobytes())
        above = row
    return b"".join(out)


def passes(x_HWC: np.ndarray) -> list[np.ndarray]:
    """The passes of an interlaced image that are not empty."""
    parts = [x_HWC[y::dy, x::dx] for x, y, dx, dy in ADAM7]
    return [part for part in parts if part.size]


def png(x_HWC: np.ndarray, filters: Sequence[int] = (0,), interlaced: bool = False, before: bytes = b"") -> bytes:
    """A PNG of 8 or 16 bits, filtered and interlaced as asked; Pillow can write no colour of 16 bits."""
    height, width, channels = x_HWC.shape
    raw = b"".join(filtered(part, filters) for part in (passes(x_HWC) if interlaced else [x_HWC]))
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = (width, height, 8 * x_HWC.dtype.itemsize, colour, int(interlaced))
    return png_of(head, zlib.compress(raw), before)


def zeros(size: int) -> bytes:
    """So many zeros, compressed."""
    packer, out = zlib.compressobj(9), []
    for start in range(0, size, 1 << 20):
        out.append(packer.compress(bytes(min(size - start, 1 << 20))))
    return b"".join(out) + packer.flush()


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def npy(x: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, x)
    return out.getvalue()


def npy_of(header: str, values: bytes = b"") -> bytes:
    """An array file with this header, true or not."""
    text = header.encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + values


Tag = tuple[int, int, int]
"""Number, type (3: 16 bits, 4: 32 bits) and value."""


def tiff(pages: Sequence[Sequence[Tag]], data: bytes = b"", loop: bool = False) -> bytes:
    """A little-endian TIFF of pages of tags, `data` at byte 8. `loop`: the last page leads to the first."""
    head = b"II*\0" + struct.pack("<I", 8 + len(data) + len(data) % 2)
    first = at = 8 + len(data) + len(data) % 2
    out = [head, data, b"\0" * (len(data) % 2)]
    for number, tags in enumerate(pages):
        at += 2 + 12 * len(tags) + 4
        following = at if number + 1 < len(pages) else first if loop else 0
        body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(tags))
        out.append(struct.pack("<H", len(tags)) + body + struct.pack("<I", following))
    return b"".join(out)


def grey_page(width: int, height: int, strip: int, *more: Tag, compression: int = 8) -> list[Tag]:
    """Tags of a page of 8-bit grey whose one strip of so many bytes lies at byte 8; `more` replace or join them."""
    tags = {256: (4, width), 257: (4, height), 258: (3, 8), 259: (3, compression), 262: (3, 1), 273: (4, 8)}
    tags |= {277: (3, 1), 278: (4, height), 279: (4, strip)}
    tags |= {tag: (kind, value) for tag, kind, value in more}
    return [(tag, kind, value) for tag, (kind, value) in tags.items()]


def tiled_tiff(x_HW: np.ndarray) -> bytes:
    """Grey, uncompressed, in one tile that reaches over the edges."""
    height, width = x_HW.shape
    tile = np.zeros((32, 32), np.uint8)
    tile[:height, :width] = x_HW
    page = [t for t in grey_page(width, height, 1024, compression=1) if t[0] not in (273, 278, 279)]
    return tiff([[*page, (322, 3, 32), (323, 3, 32), (324, 4, 8), (325, 4, 1024)]], tile.tobytes())


def rle_bmp() -> bytes:
    """8-bit grey, 4 x 3 pixels, run-length compressed: a run, a jump, literal pixels."""
    data = bytes([4, 7, 0, 0, 0, 2, 1, 0, 2, 9, 0, 0, 0, 4, 1, 2, 3, 4, 0, 1])
    palette = b"".join(bytes([i, i, i, 0]) for i in range(256))
    info = struct.pack("<IiiHHIIiiII", 40, 4, 3, 1, 8, 1, len(data), 2835, 2835, 256, 0)
    offset = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + palette + data


def samples() -> dict[str, tuple[str, bytes]]:
    """By name, the end of a file's name and a healthy file, of each format and depth that is read."""
    h, w = 13, 11
    grey, both, rgb, rgba = (Image.fromarray(noise(h, w, c)[..., slice(c) if c > 1 else 0]) for c in (1, 2, 3, 4))
    flat = Image.fromarray(noise(4, 4, 3)).resize((w, h))
    modes = {"1": grey.convert("1"), "L": grey, "P": rgb.convert("P"), "LA": both, "RGB": rgb, "RGBA": rgba}
    deep, cmyk = Image.fromarray(noise(h, w, 1, "uint16")[..., 0]), flat.convert("CMYK")
    floats = Image.fromarray((noise(h, w, 1)[..., 0] / 255).astype(np.float32))
    whole = Image.fromarray(noise(h, w, 1)[..., 0].astype(np.int32) * 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    frames: dict[str, Any] = {"save_all": True, "append_images": [flat.rotate(90 * i) for i in (1, 2)]}
    some: dict[str, tuple[str, bytes]] = {}

    def add(name: str, end: str, data: bytes) -> None:
        some[name] = (end, data)

    for mode, image in modes.items():
        add(f"png {mode}", "png", saved(image, "PNG"))
    for colours in (2, 4, 16):
        add(f"png {colours} colours", "png", saved(flat.quantize(colours), "PNG", bits=colours.bit_length() - 1))
    for channels in (1, 2, 3, 4):
        for interlaced in (False, True):
            x = noise(h, w, channels, "uint16")
            add(f"png 16 {channels} {interlaced}", "png", png(x, (0, 1, 2, 3, 4), interlaced))
    add("png 8 interlaced", "png", png(noise(h, w, 3), (4, 3, 2, 1, 0), interlaced=True))
    add("png animated", "png", saved(flat, "PNG", **frames))
    add("png transparent", "png", saved(flat.quantize(8), "PNG", transparency=1))
    add("jpeg", "jpg", saved(flat, "JPEG", exif=exif))
    add("jpeg grey", "jpeg", saved(grey, "JPEG"))
    add("jpeg progressive", "jpg", saved(flat, "JPEG", progressive=True))
    add("jpeg CMYK", "jpg", saved(cmyk, "JPEG"))
    add("jpeg MPO", "jpg", saved(flat, "MPO", **frames))
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        add(f"bmp {mode}", "bmp", saved(modes[mode], "BMP"))
    add("bmp RLE", "bmp", rle_bmp())
    add("gif", "gif", saved(modes["P"], "GIF"))
    add("gif animated", "gif", saved(flat, "GIF", comment=b"x" * 300, transparency=3, **frames))
    add("webp", "webp", saved(flat, "WEBP"))
    add("webp lossless", "webp", saved(rgba, "WEBP", lossless=True))
    add("webp alpha", "webp", saved(rgba, "WEBP", exif=exif))
    add("webp animated", "webp", saved(flat, "WEBP", **frames))
    for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd"):
        add(f"tiff {name}", "tif", saved(flat, "TIFF", compression=name))
    for name in ("group3", "group4", "tiff_ccitt"):
        add(f"tiff {name}", "tiff", saved(modes["1"], "TIFF", compression=name))
    for mode, image in {**modes, "CMYK": cmyk, "I;16": deep, "I": whole, "F": floats}.items():
        add(f"tiff {mode}", "tif", saved(image, "TIFF"))
    for mode, image in {"I;16": deep, "F": floats, "RGBA": rgba, "P": modes["P"]}.items():
        add(f"tiff deflate {mode}", "tif", saved(image, "TIFF", compression="tiff_adobe_deflate"))
    grey_frames: dict[str, Any] = {"save_all": True, "append_images": [grey, grey]}
    add("tiff pages", "tif", saved(grey, "TIFF", **grey_frames))
    add("tiff pages LZW", "tif", saved(grey, "TIFF", compression="tiff_lzw", **grey_frames))
    add("tiff tiled", "tif", tiled_tiff(noise(h, w, 1)[..., 0]))
    add("tiff big", "tif", saved(flat, "TIFF", big_tiff=True))
    add("ppm P1", "pbm", b"P1\n# note\n3 2\n1 0 1\n0 1 0\n")
    add("ppm P2", "pgm", b"P2\n3 2\n255\n" + b"9 8 7\n6 5 4\n")
    add("ppm P3", "ppm", b"P3 2 1 65535\n" + b"900 80 7 6 5 400\n")
    for mode, end in (("1", "pbm"), ("L", "pgm"), ("RGB", "ppm"), ("I;16", "pgm")):
        add(f"ppm {mode}", end, saved(deep if mode == "I;16" else modes[mode], "PPM"))
    add("ppm 12 bits", "pgm", b"P5 3 2 4095\n" + noise(2, 3, 1, "uint16").tobytes())
    add("ppm float", "pnm", saved(floats, "PPM"))
    for x in (noise(h, w, 1)[..., 0], noise(h, w, 5), noise(h, w, 3, "uint16").astype(">u2"), noise(h, w, 2) > 99):
        add(f"npy {x.dtype} {x.ndim}", "npy", npy(x))
    for dtype in ("float16", "float32", "float64"):
        add(f"npy {dtype}", "npy", npy(np.asfortranarray((noise(h, w, 3) / 255).astype(dtype))))
    add("avif", "avif", saved(flat, "AVIF"))
    add("avif alpha", "avif", saved(rgba, "AVIF", exif=exif))
    add("avif animated", "avif", saved(flat, "AVIF", **frames))
    for mode, image in {**modes, "I;16": deep}.items():
        if mode not in ("1", "P"):
            add(f"jp2 {mode}", "jp2", saved(image, "JPEG2000"))
    large = flat.resize((150, 140))
    add("jp2 tiles", "jp2", saved(large, "JPEG2000", tile_size=(64, 64), irreversible=True))
    add("jp2 precincts", "jp2", saved(large, "JPEG2000", precinct_size=(64, 64), codeblock_size=(32, 32)))
    add("jp2 codestream", "jp2", saved(flat, "JPEG2000", no_jp2=True, quality_layers=[40, 10]))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        add(f"tga {mode}", "tga", saved(modes[mode], "TGA"))
    for mode in ("L", "P", "RGB", "RGBA"):
        add(f"tga RLE {mode}", "tga", saved(modes[mode], "TGA", rle=True))
    for syntax in (IMPLICIT, EXPLICIT, BIG):
        add(
            f"dicom {syntax}",
            "dcm",
            dicom(slices(), syntax, centre=40, width=400, slope=2, intercept=-9, stored=13, high=12),
        )
    add("heic", "heic", heic())
    add("heic tiles", "heif", heic(SMALL, grid=(2, 2), size=(100, 90), turned=1))
    add("dicom RGB", "dcm", dicom(noise(h, w, 3)))
    return some


LARGEST = {
    "png": "PNG of 8 bits",
    "png palette": "PNG of 8 bits",
    "png RGBA": "PNG of 8 bits",
    "png 16": "PNG of 16-bit colour",
    "jpeg": "JPEG",
    "jpeg progressive": "JPEG",
    "bmp": "BMP",
    "gif": "GIF",
    "webp": "WebP",
    "avif": "AVIF",
    "jp2": "JPEG 2000",
    "tiff": "TIFF",
    "tiff pages": "TIFF",
    "npy": "NumPy",
    "heic": "HEIC",
    "dcm": "DICOM",
}
"""About the largest picture that is read of each kind, and how docs/data.md calls it."""


def peak() -> int:
    """The most bytes that this process has held since it began; ru_maxrss would count what its parent held."""
    return int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) << 10


def largest(kind: str, folder: Path) -> Path:
    """Write such a picture to a file."""
    file = folder / f"x.{kind.split()[0]}"
    if kind == "png":
        data = png_of((9459, 9459, 8, 2, 0), zeros((1 + 3 * 9459) * 9459))
    elif kind == "png palette":
        data = png_of((8191, 8191, 8, 3, 0), zeros(8192 * 8191), chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", b"x"))
    elif kind == "png RGBA":
        data = png_of((8191, 8191, 8, 6, 0), zeros((1 + 4 * 8191) * 8191))
    elif kind == "png 16":
        data = png_of((6688, 6688, 16, 2, 0), zeros((1 + 6 * 6688) * 6688))
    elif kind == "tiff pages":
        strip = zeros(2048 * 2048)
        data = tiff([grey_page(2048, 2048, len(strip))] * 64, strip)
    elif kind == "heic":
        data = heic(TILE, grid=(19, 19), size=(9459, 9459), turned=1)
    elif kind == "dcm":
        data = dicom(np.zeros((8191, 8191), np.int32), centre=0, width=100, stored=24, high=23)
    elif kind == "npy":
        data = npy(np.zeros((4729, 4729, 3), np.float32))
    else:
        side = 4729 if kind == "jp2" else 9459
        name = {"jp2": "JPEG2000"}.get(kind, kind.split()[0].upper())
        options: dict[str, Any] = {"speed": 10} if kind == "avif" else {}
        options |= {"progressive": True, "subsampling": 0} if kind == "jpeg progressive" else {}
        options |= {"compression": "tiff_lzw"} if kind == "tiff" else {}
        exif = Image.Exif()
        exif[0x0112] = 6
        options |= {"exif": exif} if kind in ("jpeg", "jpeg progressive", "webp", "avif") else {}
        image = Image.new("P" if kind == "gif" else "RGB", (side, side), 9)
        data = saved(image, name, **options)
    file.write_bytes(data)
    return file
