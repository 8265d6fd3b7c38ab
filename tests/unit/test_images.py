"""What is opened is what was meant, nothing crashes or grows beyond its limit, and values are those of the file.

pytest tests/unit/test_images.py
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torchvision.io import ImageReadMode, decode_png

from i2i_core.images import codec, deep_png, formats, strips
from i2i_core.images.arrays import read_npy, read_npz
from i2i_core.images.codec import EXTENSIONS, ImageOptions, Picture, composite, convert, decode, decode_picture, prepare
from i2i_core.images.limits import MAX_BYTES, MAX_PIXELS, check_size

from ..support.data import ROOT
from ..support.pictures import (
    LARGEST,
    SIGNATURE,
    Tag,
    chunk,
    filtered,
    grey_page,
    largest,
    noise,
    npy,
    npy_of,
    png,
    png_of,
    samples,
    saved,
    tiff,
    zeros,
)

# ---- PNG of 16-bit colour ----


def of_torchvision(data: bytes) -> np.ndarray:
    x_CHW = decode_png(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.UNCHANGED)
    return x_CHW.numpy().transpose(1, 2, 0)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_deep_png_has_the_values_that_torchvision_reads(channels: int, interlaced: bool) -> None:
    for height, width in ((1, 1), (1, 9), (9, 1), (3, 5), (13, 11)):
        x = noise(height, width, channels, "uint16")
        for filters in ((0,), (1,), (2,), (3,), (4,), (4, 0, 3, 1, 2)):
            data = png(x, filters, interlaced)
            assert np.array_equal(of_torchvision(data), x)
            picture = decode_picture(data, "png")
            assert picture.pixels.dtype == np.uint16
            assert np.array_equal(picture.pixels, x)
            assert picture.alpha == (channels != 3)


@pytest.mark.parametrize("interlaced", [False, True])
def test_deep_grey_png_has_the_values_that_torchvision_reads(interlaced: bool) -> None:
    x = noise(13, 11, 1, "uint16")
    data = png(x, (4, 0, 3, 1, 2), interlaced)
    assert np.array_equal(of_torchvision(data), x)
    assert np.array_equal(decode(data, "png"), x)


def test_deep_png_of_more_pieces_than_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of which the decompressor keeps some for its next call, an empty chunk, and annotations between."""
    monkeypatch.setattr(deep_png, "_PIECE", 50)
    x = np.zeros((40, 40, 3), np.uint16)
    x[20:] = noise(20, 40, 3, "uint16")
    whole = png(x, (4,))
    at = whole.find(b"IDAT")
    (size,) = struct.unpack(">I", whole[at - 4 : at])
    body = whole[at + 4 : at + 4 + size]
    parts = b"".join(chunk(b"IDAT", part) for part in (body[:1], b"", body[1:100], body[100:]))
    data = whole[: at - 4] + chunk(b"tEXt", b"a\0b") + parts + chunk(b"tIME", b"x") + whole[at + 8 + size :]
    assert np.array_equal(decode(data + b"\0" * 30, "png"), x)


def test_deep_png_makes_the_transparent_colour_transparent() -> None:
    x = noise(4, 4, 3, "uint16")
    x[1:3, 2] = x[0, 0]
    key = chunk(b"tRNS", struct.pack(">3H", *x[0, 0]))
    picture = decode_picture(png(x, before=key), "png")
    assert np.array_equal(picture.pixels[..., :3], x)
    clear = np.zeros((4, 4), bool)
    clear[0, 0] = clear[1:3, 2] = True
    assert np.array_equal(picture.pixels[..., 3], np.where(clear, 0, 65535))
    assert picture.alpha
    eight = decode_picture(saved(Image.fromarray((x >> 8).astype(np.uint8)), transparency=(1, 2, 3)), "png")
    assert eight.alpha, "as of 8 bits"


DEEP = noise(8, 8, 3, "uint16")
ROWS = filtered(DEEP, (0, 4))
HEAD = (8, 8, 16, 2, 0)


def deep_of(raw: bytes = ROWS, head: tuple[int, ...] = HEAD, before: bytes = b"") -> bytes:
    return png_of(head, zlib.compress(raw), before)


def ihdr(*values: int) -> bytes:
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", *values)) + deep_of()[33:]


WHOLE = deep_of()
BROKEN: dict[str, tuple[bytes, str]] = {
    "a byte of its data": (WHOLE[:60] + bytes([WHOLE[60] ^ 1]) + WHOLE[61:], "checksum of its chunk IDAT"),
    "a byte of its header": (WHOLE[:19] + b"\7" + WHOLE[20:], "checksum of its chunk IHDR"),
    "cut off in its data": (WHOLE[:200], "truncated PNG"),
    "cut off in its header": (WHOLE[:28], "truncated PNG"),
    "no end": (WHOLE[:-12], "truncated PNG"),
    "zeros from the middle on": (WHOLE[:200] + bytes(len(WHOLE) - 200), "checksum of its chunk IDAT"),
    "half of its rows": (deep_of(ROWS[: len(ROWS) // 2]), "196 of the 392 bytes"),
    "a byte less": (deep_of(ROWS[:-1]), "391 of the 392 bytes"),
    "a byte more": (deep_of(ROWS + b"x"), "more data than its picture"),
    "no data": (deep_of(b""), "0 of the 392 bytes"),
    "no chunk of data": (SIGNATURE + WHOLE[8:33] + WHOLE[-12:], "0 of the 392 bytes"),
    "a bomb": (png_of(HEAD, zeros(1 << 26)), "more data than its picture"),
    "no compressed data": (png_of(HEAD, b"no zlib"), "damaged PNG"),
    "compressed data cut off": (png_of(HEAD, zlib.compress(ROWS)[:-3]), "truncated PNG"),
    "a wrong sum in its data": (png_of(HEAD, zlib.compress(ROWS)[:-1] + b"x"), "incorrect data check"),
    "a strange filter": (deep_of(b"\5" + ROWS[1:]), "the filter 5"),
    "interlaced data of another": (deep_of(head=(*HEAD[:4], 1)), "392 of the"),
    "no width": (ihdr(0, 8, 16, 2, 0, 0, 0), "0 x 8 pixels"),
    "too wide": (ihdr(1 << 31, 1, 16, 2, 0, 0, 0), "2147483648 x 1 pixels"),
    "too large": (ihdr(9000, 9000, 16, 2, 0, 0, 0), "464 MiB, over the limit of 256 MiB; cut it into tiles"),
    "a strange compression": (ihdr(8, 8, 16, 2, 1, 0, 0), "a header of"),
    "a strange filtering": (ihdr(8, 8, 16, 2, 0, 1, 0), "a header of"),
    "a strange interlacing": (ihdr(8, 8, 16, 2, 0, 0, 2), "a header of"),
    "a long header": (SIGNATURE + chunk(b"IHDR", WHOLE[16:29] + b"x") + WHOLE[33:], "header of 14 bytes"),
    "a header twice": (deep_of(before=chunk(b"IHDR", WHOLE[16:29])), "IHDR out of its place"),
    "something before its header": (SIGNATURE + chunk(b"tEXt", WHOLE[16:29]) + WHOLE[8:], "not IHDR"),
    "an unknown critical chunk": (deep_of(before=chunk(b"ABCD", b"")), "ABCD, which is not known"),
    "data in two places": (WHOLE[:-12] + chunk(b"tEXt", b"") + chunk(b"IDAT", b"") + WHOLE[-12:], "between those"),
    "a late palette": (WHOLE[:-12] + chunk(b"PLTE", b"abc") + WHOLE[-12:], "PLTE out of its place"),
    "a strange transparency": (deep_of(before=chunk(b"tRNS", b"abcd")), "transparent colour"),
    "an end with content": (WHOLE[:-12] + chunk(b"IEND", b"x"), "not empty"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_deep_png_that_is_damaged_is_refused_saying_how(case: str) -> None:
    data, says = BROKEN[case]
    with pytest.raises(ValueError, match=says):
        decode(data, "png")


# ---- what is opened ----


def test_formats_are_told_by_content_whatever_the_name() -> None:
    found = set()
    for name, (end, data) in samples().items():
        picture = decode_picture(data, end)
        kind = formats.recognise(data, end)
        assert end in formats.FORMATS[kind], name
        found.add(kind)
        if kind == "TGA":
            continue
        for other in ("x.png", "npy", "jpg"):
            assert np.array_equal(decode(data, other), picture.pixels), name
    assert found == set(formats.FORMATS)
    assert {end for some in formats.FORMATS.values() for end in some} == EXTENSIONS


def test_formats_tell_a_tga_without_a_mark_by_its_name() -> None:
    old = samples()["tga RGB"][1].removesuffix(b"TRUEVISION-XFILE.\0")
    assert decode(old, "a.TGA").shape == (13, 11, 3)
    with pytest.raises(ValueError, match="cannot identify it as an image"):
        decode(old, "png")
    with pytest.raises(ValueError, match="cannot identify it as an image"):
        decode(bytes(3000), "tga")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n%%EOF\n"


def zipped() -> bytes:
    out = io.BytesIO()
    np.savez(out, x=np.zeros((4, 4), np.uint8))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "like"),
    [
        (EPS, "EPS or PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(40), "EPS or PostScript"),
        (b"%PDF-1.7\n", "PDF"),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"\0\0\0\x18ftyphevc\0\0\0\0msf1hevc", "a film in HEVC"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42", "a video"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (zipped(), "a zip, such as an .npz"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (saved(noise(4, 4), "ICO"), "an icon"),
        (saved(noise(4, 4), "QOI"), "QOI"),
        (saved(noise(4, 4), "DDS"), "DDS"),
    ],
)
def test_formats_refuse_other_content_and_say_what_it_looks_like(data: bytes, like: str) -> None:
    for name in ("x.png", "npy", "tif", "tga", "eps"):
        with pytest.raises(ValueError, match=f"cannot identify it as an image; it looks like .*{like}"):
            decode(data, name)


def test_formats_open_nothing_else_that_pillow_reads() -> None:
    """All that Pillow writes here, and small beginnings of what it only reads."""
    Image.init()
    written, refused = set(), set()
    for kind in sorted(Image.SAVE):
        try:
            data = saved(noise(32, 32, 3), kind)
        except (KeyError, OSError, ValueError, AttributeError, TypeError):
            continue
        written.add(kind)
        try:
            decode(data, "png")
        except ValueError:
            refused.add(kind)
    assert written - refused <= {*formats.FORMATS, "MPO"}
    assert {"EPS", "ICO", "PCX", "SGI", "PDF", "IM"} <= refused


def test_decode_has_pillow_open_a_file_as_its_own_format() -> None:
    """By its name and header a TGA, which Pillow would open as a PCX if it were asked what it is."""
    data = bytearray(saved(Image.new("1", (8, 8)), "PCX"))
    data[1], data[12:16], data[16] = 0, bytes([4, 0, 4, 0]), 24
    assert Image.open(io.BytesIO(data)).format == "PCX"
    with pytest.raises(ValueError, match="cannot load this image"):
        decode(bytes(data), "tga")


def test_decode_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\necho ran >> {tmp_path}/ran\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    Image.init()
    with pytest.raises(ValueError, match="EPS"):
        decode(EPS, "png")
    assert not (tmp_path / "ran").exists()


def test_images_are_opened_in_one_place() -> None:
    """Whatever else reads bytes as an image would go round what is tested here."""
    opens = re.compile(
        r"Image\.open|np\.load\b|numpy\.load\b|torchvision\.io|decode_(png|jpeg|image)\b|read_image\b|imread"
    )
    places = [*ROOT.glob("i2i_core/**/*.py"), *ROOT.glob("pipelines/*.py"), *ROOT.glob("cluster/**/*.py")]
    found = {str(place.relative_to(ROOT)) for place in places if opens.search(place.read_text())}
    assert found == {f"i2i_core/images/{name}.py" for name in ("codec", "deep_png", "large_png")}


def test_decode_reads_the_first_of_several_frames() -> None:
    first, second = Image.new("RGB", (16, 16), (200, 0, 0)), Image.new("RGB", (16, 16), (0, 0, 200))
    for kind in ("PNG", "GIF", "WEBP", "AVIF", "MPO"):
        x = decode(saved(first, kind, save_all=True, append_images=[second]), "png")[..., :3].astype(int)
        assert abs(x - [200, 0, 0]).max() < 8, kind


def test_decode_applies_no_profile() -> None:
    """As the authors' programs read photographs: PIL's values, whatever colours a profile says they are."""
    image, profile = Image.fromarray(noise(8, 8)), ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for kind in ("PNG", "TIFF"):
        data = saved(image, kind, icc_profile=profile)
        assert profile[:40] in data or kind == "PNG"
        assert np.array_equal(decode(data, "x"), noise(8, 8))


@pytest.mark.processes
def test_decode_imports_no_torch() -> None:
    code = (
        f"import sys, i2i_core.images.codec as i; i.decode({WHOLE!r}, 'png'); i.decode({npy(DEEP)!r}, 'npy');"
        "print([m for m in ('torch', 'torchvision', 'ray', 'webdataset') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


# ---- limits ----


def test_limits_count_all_channels_bytes_and_pages() -> None:
    check_size(9459, 9459, 3)
    check_size(9400, 9400, 3)
    for size in ((9400, 9400, 4), (9400, 9400, 3, 2), (9000, 9000, 12), (4000, 4000, 512)):
        with pytest.raises(ValueError, match=r"MiB, over the limit of 256 MiB; cut it into tiles first"):
            check_size(*size)
    with pytest.raises(ValueError, match=f"9460 x 9460 pixels, over the limit of {MAX_PIXELS}"):
        check_size(9460, 9460)
    assert MAX_PIXELS * 3 <= MAX_BYTES < MAX_PIXELS * 3 + 3


STRIP = zeros(9000 * 9000)


def pages(count: int, width: int, height: int, *more: Tag, **options: Any) -> bytes:
    return tiff([grey_page(width, height, len(STRIP), *more, **options)] * count, STRIP)


def patched(data: bytes, find: bytes, at: int, new: bytes) -> bytes:
    place = data.index(find) + at
    return data[:place] + new + data[place + len(new) :]


def big_j2k(**options: Any) -> bytes:
    return saved(noise(64, 64), "JPEG2000", no_jp2=True, **options)


def j2k_siz(width: int, height: int, tile: int) -> Callable[[bytes], bytes]:
    return lambda data: patched(data, b"\xffQ", 6, struct.pack(">8I", width, height, 0, 0, tile, tile, 0, 0))


def webp_canvas(side: int) -> bytes:
    sides = 2 * (side - 1).to_bytes(3, "little")
    return patched(saved(noise(8, 8, 4), "WEBP", exif=b"Exif\0\0"), b"VP8X", 12, sides)


def many_scans() -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = saved(noise(16, 16), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 200 + data[-2:]


def rle_bmp_of(width: int) -> bytes:
    return patched(samples()["bmp RLE"][1], b"BM", 18, struct.pack("<i", width))


OVER: dict[str, tuple[Callable[[], bytes], str]] = {
    "pages": (lambda: pages(12, 9000, 9000), "12 pages of 9000 x 9000 pixels, 927 MiB"),
    "small pages": (lambda: pages(513, 1, 1), "more than 512 pages"),
    "a loop of pages": (lambda: tiff([grey_page(4, 4, 9)] * 3, STRIP[:9], loop=True), "comes back to byte 18"),
    "a page": (lambda: pages(1, 20000, 20000), "20000 x 20000 pixels, over the limit"),
    "deep pages": (lambda: pages(4, 8000, 8000, (258, 3, 32)), "4 pages of .*, 977 MiB"),
    "a tile": (lambda: pages(1, 4, 4, (322, 4, 100000), (323, 4, 100000)), "in tiles of 100000 x 100000, 9537 MiB"),
    "tiles of pages": (lambda: pages(64, 4, 4, (322, 4, 4096), (323, 4, 4096)), "64 pages .*1024 MiB"),
    "no tile": (lambda: pages(1, 4, 4, (322, 4, 0)), "tiles of 0 x 0"),
    "many samples": (lambda: pages(1, 9000, 9000, (277, 3, 60000)), "60000 channels"),
    "pages that differ": (
        lambda: tiff([grey_page(4, 4, 9), grey_page(5, 4, 9)], STRIP[:9]),
        "2 pages of 4x4x1 of 8 bits, 4x5x1 of 8 bits; pages must be grey, of one size",
    ),
    "a width twice": (lambda: tiff([[*grey_page(4, 4, 9), (256, 4, 9000)]], STRIP[:9]), "tag 256 twice"),
    "values without end": (
        lambda: patched(pages(1, 4, 4), struct.pack("<HHI", 273, 4, 1), 4, struct.pack("<I", 1 << 20)),
        "1048576 values of tag 273",
    ),
    "old JPEG": (lambda: pages(1, 4, 4, compression=6), "compression 6, which is not read; save it with LZW"),
    "webp": (lambda: webp_canvas(16000), "16000 x 16000 pixels, over the limit"),
    "jp2": (lambda: j2k_siz(20000, 20000, 64)(big_j2k()), "20000 x 20000 pixels, over the limit"),
    "jp2 tiles": (lambda: j2k_siz(9000, 9000, 16)(big_j2k()), "more than 25000 tiles"),
    "jp2 tile": (lambda: j2k_siz(9000, 9000, 9000)(big_j2k()), "tiles of 9000 x 9000 pixels, at 4 bytes a value, 927"),
    "jp2 precincts": (
        lambda: j2k_siz(4096, 4096, 4096)(patched(big_j2k(precinct_size=(64, 64)), b"\xffR", 14, bytes(6))),
        "precincts in a tile, over the limit",
    ),
    "jp2 blocks": (lambda: patched(big_j2k(), b"\xffR", 10, b"\0\0"), "code blocks of less than 256 pixels"),
    "jp2 channels": (lambda: patched(big_j2k(), b"\xffQ", 38, b"\x3f\xff"), "of 16383 channels"),
    "jpeg scans": (many_scans, "more than 100 scans"),
    "bmp": (lambda: rle_bmp_of(1 << 26), "67108864 pixels wide"),
    "ppm comments": (lambda: b"P3 2 2 255\n" + b"#\n" * 2000 + b"1 " * 12, "more than 1000 comments"),
    "png": (lambda: png_of((60000, 60000, 8, 2, 0), zlib.compress(b"")), "cut it into tiles first"),
    "png RGBA": (lambda: png_of((9000, 9000, 8, 6, 0), zlib.compress(b"")), "4 channels, 309 MiB"),
    "png text": (lambda: png_of((4, 4, 8, 0, 0), b"", chunk(b"zTXt", b"x\0\0" + zeros(1 << 26))), "too large"),
    "png profile": (lambda: png_of((4, 4, 8, 0, 0), b"", chunk(b"iCCP", b"x\0\0" + zeros(1 << 26))), "too large"),
    "npy": (lambda: npy_of("{'descr': '<f8', 'fortran_order': False, 'shape': (10**6, 1), }"), "header cannot be read"),
    "npy values": (
        lambda: npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (9000, 9000, 512), }", bytes(9)),
        "165888000000 bytes, in 9 bytes",
    ),
    "npy longer": (lambda: npy(noise(4, 4)) + b"x", "48 bytes, in 49 bytes"),
    "npy shorter": (lambda: npy(noise(4, 4))[:-1], "48 bytes, in 47 bytes"),
    "npy of nothing": (
        lambda: npy_of("{'descr': '|V0', 'fortran_order': False, 'shape': (90000, 90000), }"),
        "only numbers are read",
    ),
    "npy negative": (
        lambda: npy_of("{'descr': '|u1', 'fortran_order': False, 'shape': (-4, -4), }", bytes(16)),
        r"shape \(-4, -4\)",
    ),
    "npy deep": (lambda: npy_of("(" * 9000), "header cannot be read"),
    "npy objects": (
        lambda: npy_of("{'descr': '|O', 'fortran_order': False, 'shape': (1, 1), }", bytes(8)),
        "only numbers are read",
    ),
    "npy fields": (
        lambda: npy_of("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1, 1), }", b"x"),
        "only numbers are read",
    ),
}


@pytest.mark.parametrize("case", OVER)
def test_limits_refuse_by_the_header(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, says = OVER[case]
    data = make()

    def decoded(*_: Any) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(Image.Image, "crop", decoded)
    with pytest.raises(ValueError, match=says):
        decode(data, "png")


def test_limits_leave_alone_what_encoders_write() -> None:
    """Pages that share a strip, tiles over the edge, precincts that shrink with the resolutions, and many scans."""
    assert decode(pages(12, 9, 9), "tif").shape == (9, 9, 12)
    for name in ("tiff tiled", "tiff big", "tiff pages LZW", "jp2 precincts", "jp2 tiles", "jpeg progressive"):
        decode(samples()[name][1], "png")
    video = saved(noise(8, 8), "JPEG", progressive=True) + b"\xff\xda" * 1000
    assert decode(video, "jpg").shape == (8, 8, 3), "what a camera puts after its picture is not looked at"


def test_limits_refuse_a_load_size_that_is_over_them() -> None:
    for shape, load_size, fit in (((10, 10, 5), 9000, "square"), ((3, 3000, 1), 400, "shorter")):
        with pytest.raises(ValueError, match=f"--load-size {load_size} makes it .*over the limit"):
            prepare(Picture(np.zeros(shape, np.uint8)), ImageOptions(load_size=load_size, fit=fit))  # type: ignore[arg-type]


# ---- arrays ----


def test_arrays_are_read_as_numpy_reads_them() -> None:
    for x in (noise(3, 4, 2, "uint16").astype(">u2"), np.asfortranarray(noise(5, 3, 2)), np.array("text"), np.zeros(0)):
        got = read_npy(npy(x))
        assert got.dtype == x.dtype
        assert np.array_equal(got, x)
    out = io.BytesIO()
    np.lib.format.write_array(out, noise(2, 2), version=(2, 0))
    assert np.array_equal(read_npy(out.getvalue()), noise(2, 2))


def test_arrays_in_a_zip_are_read_as_they_lie_and_never_inflated() -> None:
    out, packed = io.BytesIO(), io.BytesIO()
    np.savez(out, a=np.arange(5), b=np.array(["x", "yz"]))
    np.savez_compressed(packed, a=np.zeros(1 << 20), b=np.zeros(1))
    found = read_npz(out.getvalue(), ("b", "a"))
    assert list(found) == ["b", "a"]
    assert np.array_equal(found["a"], np.arange(5))
    assert found["a"].flags.writeable
    with pytest.raises(ValueError, match=r"a\.npy is compressed"):
        read_npz(packed.getvalue(), ("a",))
    with pytest.raises(ValueError, match=r"no item named 'c\.npy'"):
        read_npz(out.getvalue(), ("c",))
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a.npy", npy_of("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"))
    with pytest.raises(ValueError, match="8000000000000 bytes, in 0 bytes"):
        read_npz(out.getvalue(), ("a",))


# ---- in strips ----


def plain_composite(x_HWC: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """The whole image in float64 at once."""
    top = np.iinfo(x_HWC.dtype).max
    colour, alpha = x_HWC[..., :-1].astype(np.float64), x_HWC[..., -1:] / top
    below = np.array(background) * (top / 255)
    below = below if colour.shape[2] == 3 else (below @ codec.LUMA)[None]
    return np.rint(colour * alpha + below * (1 - alpha)).astype(x_HWC.dtype)


def plain_grey(x_HWC: np.ndarray) -> np.ndarray:
    grey = (x_HWC @ codec.LUMA)[..., None]
    return (grey if x_HWC.dtype == np.float32 else np.rint(grey)).astype(x_HWC.dtype)


@pytest.mark.parametrize("strip", [1, 100, 1 << 20])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_strips_give_the_values_of_the_whole(dtype: str, strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP", strip)
    for channels in (2, 4):
        x = noise(37, 29, channels, dtype)
        for colour in ((255, 255, 255), (12, 200, 99)):
            assert np.array_equal(composite(x, colour), plain_composite(x, colour))
    x = noise(37, 29, 3, dtype)
    assert np.array_equal(convert(x, 1), plain_grey(x))
    floats = (x / np.iinfo(x.dtype).max).astype(np.float32)
    assert np.array_equal(convert(floats, 1), plain_grey(floats))
    deep = noise(37, 29, 3, "uint16")
    planes = [
        Image.fromarray(deep[..., c].astype(np.float32)).resize((11, 17), codec._FILTERS["lanczos"]) for c in range(3)
    ]
    whole = np.clip(np.rint(np.stack([np.asarray(p) for p in planes], 2)), 0, 65535).astype(np.uint16)
    assert np.array_equal(codec.resize(Picture(deep), 17, 11, "lanczos"), whole)


def test_strips_give_the_values_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {name: decode(data, end) for name, (end, data) in samples().items()}
    monkeypatch.setattr(strips, "STRIP", 1)
    for name, (end, data) in samples().items():
        assert np.array_equal(decode(data, end), whole[name]), name
    for name in ("png RGB", "jpeg", "bmp RGB", "tiff tiff_lzw", "webp", "gif", "png P", "tiff CMYK"):
        image = Image.open(io.BytesIO(samples()[name][1]))
        transposed = np.asarray(codec.ImageOps.exif_transpose(image).convert("RGB"))
        assert np.array_equal(whole[name], transposed), name


# ---- damage, and memory, in processes of their own ----


def fuzzed(note: Path, seed: int, cases: int) -> dict[str, Any]:
    """The report of a batch. A crash is named by the case that did it."""
    command = [sys.executable, "-m", "tests.support.fuzz_images", str(note), str(seed), str(cases)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    at = note.read_text().strip() if note.exists() else "none"
    again = f"python -m tests.support.fuzz_images NOTE {seed} 1 {at}"
    assert done.returncode == 0, f"exit {done.returncode} in case {at}: {again}\n{done.stderr[-2000:]}"
    return dict(json.loads(done.stdout))


def check_fuzzed(report: dict[str, Any]) -> None:
    assert report["other"] == {}
    assert report["imported"] == []
    assert report["MiB"] < 1600, "WebP's largest picture, 1.4 GiB, and what the process keeps"
    kinds = {name.split()[0] for name in samples()}
    assert {f"{kind} {came}" for kind in kinds for came in ("array", "ValueError")} <= report["seen"].keys()


@pytest.mark.slow
@pytest.mark.processes
def test_decode_gives_an_array_or_a_value_error_for_damaged_images(tmp_path: Path) -> None:
    check_fuzzed(fuzzed(tmp_path / "note", 1, 12_000))


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
def test_decode_gives_an_array_or_a_value_error_for_many_damaged_images(seed: int, tmp_path: Path) -> None:
    check_fuzzed(fuzzed(tmp_path / "note", seed, 60_000))


MEASURE = """
import sys
from pathlib import Path
from i2i_core.images.codec import ImageOptions, decode_picture, prepare
from tests.support.pictures import peak
data = Path(sys.argv[1]).read_bytes()
before = peak()
picture = decode_picture(data, sys.argv[1])
decoded = peak() - before
prepare(picture, ImageOptions(channels=1 if picture.pixels.shape[2] < 5 else None, load_size=256))
print(picture.pixels.nbytes >> 20, decoded >> 20, peak() - before >> 20)
"""


def peaks(file: Path) -> tuple[int, int, int]:
    """MiB of the values, and of the peaks of decoding, and of decoding and preparing."""
    command = [sys.executable, "-c", MEASURE, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    values, decoded, prepared = map(int, done.stdout.split())
    return values, decoded, prepared


@pytest.mark.processes
def test_decode_takes_little_more_memory_than_the_values(tmp_path: Path) -> None:
    """Nine million pixels with transparency in 35 kB: compositing them at once took 25 times the values."""
    file = tmp_path / "x.png"
    file.write_bytes(png_of((3000, 3000, 8, 6, 0), zeros(12001 * 3000)))
    values, decoded, prepared = peaks(file)
    assert values == 34
    assert decoded < 2 * values + 60
    assert prepared < 3 * values + 60


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGEST)
def test_decode_takes_for_the_largest_picture_what_the_docs_say(kind: str, tmp_path: Path) -> None:
    file = largest(kind, tmp_path)
    values, decoded, prepared = peaks(file)
    print(f"{kind}: {file.stat().st_size} bytes, {values} MiB, decoded at {decoded} MiB, prepared at {prepared} MiB")
    assert 250 <= values <= 256 or kind in ("jp2", "dcm"), "dcm: values of 32 bits, which become 16"
    text = (ROOT / "docs/data.md").read_text()
    stated = re.search(rf"{re.escape(LARGEST[kind])}:\s+([0-9.]+)\s+GiB", text)
    assert stated
    assert prepared / 1024 <= float(stated[1])
