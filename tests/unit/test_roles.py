"""Values of every role: they survive exactly, or are refused with a cause that names what was found.

pytest tests/unit/test_roles.py
"""

from __future__ import annotations

import io
import json
import random
import struct
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from i2i_core.data.format.roles import (
    boxes_of,
    captions,
    check_sample,
    check_value,
    encode_value,
    read_value,
    usable,
    value_of,
)
from i2i_core.fields import Field, contradictions
from i2i_core.images.exact import ids_of, read_exact, split_ids, wide_ids

from ..support.pictures import SIGNATURE, chunk

rng = np.random.default_rng(0)


def field(role: Any, **more: Any) -> Field:
    return Field("png", 1, "uint8", 0, 0, role, **more)


CLASSES = field("classes", classes=7)
INSTANCES = field("instances")
MAP = field("map")
VECTOR = Field("npy", 0, "float32", 0, 0, "vector")
TEXT = Field("txt", 0, "str", 0, 0, "text")
BOXES = Field("json", 0, "float32", 0, 0, "boxes", classes=3)


def file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def npy(x: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, np.asarray(x), allow_pickle=True)
    return out.getvalue()


def through(data: bytes, of: Field, extension: str = "png", **options: Any) -> Any:
    """From a file into a shard and out again."""
    value = read_value(data, of, extension, **options)
    check_value(value, of)
    stored, known = encode_value(value, of)
    assert not list(contradictions(known))
    return value_of(stored, known)


# ---- ids ----


def palette_png(ids_HW: np.ndarray, bits: int = 8) -> bytes:
    image = Image.fromarray(ids_HW, "P")
    image.putpalette([(37 * i + 11) % 256 for i in range(3 * 2**bits)])
    return file(image, bits=bits)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_label_map_of_a_palette_png_gives_its_indices(bits: int) -> None:
    ids = rng.integers(0, min(7, 2**bits), (5, 9), dtype=np.uint8)
    assert np.array_equal(through(palette_png(ids, bits), CLASSES)[..., 0], ids)


def grey_png(ids_HW: np.ndarray, bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits, which Pillow does not write: a palette PNG made one."""
    rows = [b"\0" + bytes(_packed(row, bits)) for row in ids_HW]
    height, width = ids_HW.shape
    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")


def _packed(row: np.ndarray, bits: int) -> np.ndarray:
    as_bits = np.unpackbits(row[:, None], axis=1)[:, 8 - bits :]
    return np.packbits(as_bits.reshape(-1))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_label_map_of_a_grey_png_of_few_bits_is_not_spread(bits: int) -> None:
    ids = rng.integers(0, min(7, 2**bits), (5, 9), dtype=np.uint8)
    assert np.array_equal(through(grey_png(ids, bits), CLASSES)[..., 0], ids)


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "PNG"])
def test_label_map_survives_in_every_format_that_keeps_values(kind: str) -> None:
    ids = rng.integers(0, 7, (5, 9), dtype=np.uint8)
    assert np.array_equal(through(file(Image.fromarray(ids), kind), CLASSES)[..., 0], ids)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PPM", "GIF"])
def test_label_map_in_a_format_that_may_change_values_is_refused(kind: str) -> None:
    data = file(Image.fromarray(np.zeros((8, 8, 3), np.uint8)), kind)
    with pytest.raises(ValueError, match=f"a {kind}, which may not keep values"):
        read_value(data, CLASSES, kind.lower())


@pytest.mark.parametrize(
    ("image", "options", "cause"),
    [
        (Image.new("L", (8, 8)), {"compression": "jpeg"}, "compressed as JPEG"),
        (Image.new("L", (8, 8)), {"tiffinfo": {262: 0}}, "0 is white"),
        (Image.new("L", (8, 8)), {"save_all": True, "append_images": [Image.new("L", (8, 8))]}, "several pages"),
    ],
)
def test_label_map_in_a_tiff_that_does_not_keep_values_is_refused(image: Image.Image, options: Any, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        read_value(file(image, "TIFF", **options), CLASSES, "tif")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", ">u2", "bool"])
def test_label_map_of_npy_survives_whatever_its_integers(dtype: str) -> None:
    ids = rng.integers(0, 2, (5, 9)).astype(dtype)
    assert np.array_equal(through(npy(ids), CLASSES, "npy")[..., 0], ids)


def test_label_map_of_many_classes_is_stored_in_16_bits() -> None:
    of = field("classes", classes=300)
    ids = rng.integers(0, 300, (5, 9), dtype=np.uint16)
    stored, known = encode_value(read_value(file(Image.fromarray(ids)), of, "png"), of)
    assert (known.dtype, known.extension) == ("uint16", "png")
    assert np.array_equal(value_of(stored, known)[..., 0], ids)


def test_label_map_in_colour_is_turned_into_ids_by_the_palette() -> None:
    colours = {0x0000FF: 0, 0xFF0000: 1, 0x00FF00: 6, 0x000000: 255}
    ids = rng.choice(np.array([0, 1, 6, 255], np.uint8), (5, 9))
    by_id = {i: [c >> 16, c >> 8 & 255, c & 255] for c, i in colours.items()}
    x = np.array([[by_id[i] for i in row] for row in ids.tolist()], np.uint8)
    of = replace(CLASSES, ignore=255)
    assert np.array_equal(through(file(Image.fromarray(x)), of, colours=colours)[..., 0], ids)
    x[2, 3] = 1, 2, 3
    with pytest.raises(ValueError, match="the colour #010203 at row 2, column 3, which the palette does not name"):
        read_value(file(Image.fromarray(x)), of, "png", colours)
    with pytest.raises(ValueError, match="a palette says what its colours mean"):
        read_value(file(Image.fromarray(x)), of, "png")


def test_label_map_with_a_transparent_pixel_is_refused() -> None:
    x = np.full((4, 4, 4), 255, np.uint8)
    x[1, 2, 3] = 254
    with pytest.raises(ValueError, match="a transparent pixel at row 1, column 2"):
        read_value(file(Image.fromarray(x)), CLASSES, "png", {0xFFFFFF: 0})


def test_label_map_with_an_id_outside_of_its_classes_is_refused() -> None:
    ids = np.zeros((4, 5), np.uint8)
    ids[3, 1] = 7
    data = file(Image.fromarray(ids))
    with pytest.raises(ValueError, match="the id 7 at row 3, column 1, where ids are 0 to 6"):
        through(data, CLASSES)
    assert through(data, replace(CLASSES, ignore=7))[3, 1, 0] == 7
    with pytest.raises(ValueError, match="where ids are 0 to 6 and 255"):
        through(data, replace(CLASSES, ignore=255))


@pytest.mark.parametrize(
    ("x", "cause"),
    [
        (np.full((2, 2), -1), "ids from -1 to -1"),
        (np.full((2, 2), 1 << 31), "ids from 2147483648"),
        (np.full((2, 2), 1.0), "values of float64, where ids are whole numbers"),
        (np.zeros((2, 2, 2), np.uint16), "2 channels, where ids have one"),
        (np.zeros((2,), np.uint8), "not .H, W."),
    ],
)
def test_label_map_ids_that_are_none_are_refused(x: np.ndarray, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        read_value(npy(x), CLASSES, "npy")


@pytest.mark.parametrize("most", [255, 65535, (1 << 31) - 1])
def test_instance_ids_survive_to_31_bits(most: int) -> None:
    dtype = np.uint8 if most < 256 else np.uint16 if most < 65536 else np.int32
    ids = rng.integers(0, most, (5, 9), endpoint=True).astype(dtype)
    ids[0, :2] = 0, most
    assert np.array_equal(through(npy(ids), INSTANCES, "npy")[..., 0], ids)
    if dtype != np.uint8:
        assert np.array_equal(through(file(Image.fromarray(ids), "TIFF"), INSTANCES, "tif")[..., 0], ids)


def test_instance_ids_of_coco_stand_in_colours() -> None:
    x = np.array([[[1, 2, 3], [255, 255, 255]]], np.uint8)
    found = through(file(Image.fromarray(x)), INSTANCES)
    assert found[..., 0].tolist() == [[1 + 256 * 2 + 65536 * 3, (1 << 24) - 1]]


def test_instance_ids_that_are_wide_are_split_and_put_together() -> None:
    ids = rng.integers(0, 1 << 31, (3, 4, 1)).astype(np.int32)
    assert np.array_equal(wide_ids(split_ids(ids)), ids)


# ---- maps and vectors ----


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", "uint8", "uint16", "int16"])
def test_map_of_npy_survives(dtype: str) -> None:
    x = (rng.random((5, 9, 2)) * 100).astype(dtype)
    assert np.array_equal(through(npy(x), MAP, "npy"), x.astype(np.float32))


def flo(flow_HW2: np.ndarray) -> bytes:
    height, width, _ = flow_HW2.shape
    return b"PIEH" + struct.pack("<2i", width, height) + flow_HW2.astype("<f4").tobytes()


def test_flow_of_middlebury_survives() -> None:
    x = rng.standard_normal((3, 5, 2)).astype(np.float32)
    of = replace(MAP, kind="flow")
    assert np.array_equal(through(flo(x), of, "flo"), x)
    assert encode_value(x, of)[1].extension == "npy"


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "begins with PIEH"),
        (flo(np.zeros((3, 5, 2)))[:-1], "a flow of 5 x 3 vectors in 131 bytes"),
        (b"PIEH" + struct.pack("<2i", -5, -3) + bytes(120), "a flow of -5 x -3"),
        (b"PIEH" + struct.pack("<2i", 1 << 30, 1 << 30), "in 12 bytes"),
        (flo(np.full((2, 2, 2), 1e10)), "not known at row 0, column 0"),
        (flo(np.full((2, 2, 2), np.nan)), "not known at row 0, column 0"),
    ],
)
def test_flow_of_middlebury_that_is_none_is_refused(data: bytes, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        read_value(data, replace(MAP, kind="flow"), "flo")


def test_map_of_16_bits_is_stored_so_and_read_by_its_range() -> None:
    x = np.array([[0, 32768, 65535]], np.uint16)
    stored, known = encode_value(read_value(file(Image.fromarray(x)), MAP, "png"), MAP)
    assert (known.dtype, known.extension) == ("uint16", "png")
    assert value_of(stored, known)[..., 0].tolist() == [[0, 32768, 65535]]
    ranged = value_of(stored, replace(known, low=0.0, high=655.35))
    assert ranged[0, :, 0] == pytest.approx([0, 327.68, 655.35])


@pytest.mark.parametrize(
    ("x", "of", "cause"),
    [
        (np.array([[0, np.nan]]), MAP, "a value that is NaN"),
        (np.array([[0, np.inf]]), MAP, "values from 0 to inf"),
        (np.array([[0, 1e39]]), MAP, "values from 0 to inf"),
        (np.array([[-0.5, 2]]), replace(MAP, low=0.0, high=1.0), "from -0.5 to 2, where 0 to 1 is declared"),
        (np.array([[1 << 25 | 1]]), MAP, "which 32-bit floats do not hold exactly"),
        (np.zeros((2, 2, 3)), replace(MAP, kind="flow"), "a flow of 3 channels"),
        (np.array([["a"]]), MAP, "whole numbers and floats are read"),
        (np.array([[1 + 2j]]), MAP, "whole numbers and floats are read"),
        (np.array([1.0, np.nan]), VECTOR, "NaN"),
        (np.array(1.0), VECTOR, "an array of shape"),
        (np.zeros((0, 4)), VECTOR, "an array of shape"),
        (np.array([1, 2.0]), replace(VECTOR, shape=(3,)), "shape .2,., where .3,. is declared"),
        (np.zeros((5, 4)), replace(VECTOR, kind="points"), "points of shape .5, 4."),
        (np.array([{}]), VECTOR, "only numbers are read"),
    ],
)
def test_map_numbers_that_cannot_be_are_refused(x: np.ndarray, of: Field, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        through(npy(x), of, "npy")


@pytest.mark.parametrize("shape", [(4,), (10, 1024), (17, 3), (2, 17, 2)])
def test_vector_survives(shape: tuple[int, ...]) -> None:
    x = rng.standard_normal(shape).astype(np.float32)
    assert np.array_equal(through(npy(x), VECTOR, "npy"), x)


def test_float_image_with_a_range_is_scaled_and_without_must_lie_in_its_own() -> None:
    image = Field("npy", 1, "float32", 1, 3, low=0.0, high=10.0)
    data = npy(np.array([[0, 5, 10]], np.float32))
    assert value_of(data, image)[..., 0].tolist() == [[-1, 0, 1]]
    with pytest.raises(ValueError, match="float values from 0 to 10; float images must lie in"):
        value_of(data, replace(image, low=None, high=None))
    with pytest.raises(ValueError, match="where 0 to 9 is declared"):
        value_of(data, replace(image, high=9.0))
    for odd in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"NaN|inf"):
            value_of(npy(np.array([[0, 5, odd]], np.float32)), image)


def test_value_of_another_size_or_type_than_the_manifest_says_is_refused() -> None:
    stored, known = encode_value(np.zeros((4, 5, 1), np.uint8), CLASSES)
    for other, cause in (
        (replace(known, height=5), "4x5 pixels where the manifest says 5x5"),
        (replace(known, height=0, width=6), "4x5 pixels where the manifest says 0x6"),
        (replace(known, dtype="uint16"), "1 channel of uint8 where the manifest says 1 of uint16"),
    ):
        with pytest.raises(ValueError, match=cause):
            value_of(stored, other)
    assert value_of(stored, replace(known, width=0)).shape == (4, 5, 1)


# ---- text and boxes ----


def test_captions_survive() -> None:
    assert through(b"\xef\xbb\xbfa bird \r\n\n\xc3\xa9tude\n", TEXT, "txt") == ("a bird", "\u00e9tude")
    of = replace(TEXT, extension="json")
    assert through(b'["two\\nlines", "one"]', of, "json") == ("two\nlines", "one")
    assert through(b'"one"', of, "json") == ("one",)


@pytest.mark.parametrize(
    ("data", "extension", "cause"),
    [
        (b"\xff\xfe", "txt", "not UTF-8"),
        (b" \n\n", "txt", "0 captions"),
        (b"x\n" * 1001, "txt", "1001 captions"),
        (b"x" * ((1 << 20) + 1), "txt", "over the limit"),
        (b"{}", "json", "a JSON dict, where a text"),
        (b"[1]", "json", "a JSON list, where a text"),
        (b"[" * 100_000, "json", "not JSON"),
        (b'"\\ud800"', "json", "half a character"),
    ],
)
def test_captions_that_are_none_are_refused(data: bytes, extension: str, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        captions(data, extension)


def test_boxes_of_each_notation_are_the_same() -> None:
    notations: list[Any] = [
        [1, 2, 4, 6, 2],
        {"box": [1, 2, 4, 6], "class": 2},
        {"bbox": [1, 2, 3, 4], "category_id": 2},
        {"box": [1, 2, 4, 6], "class": "cat"},
    ]
    found = boxes_of(json.dumps(notations).encode(), ("sky", "dog", "cat"))
    assert found.tolist() == [[1, 2, 4, 6, 2]] * 4
    assert boxes_of(b"[[0, 0, 1, 1]]").tolist() == [[0, 0, 1, 1, -1]]
    assert boxes_of(b"[]").shape == (0, 5)


def test_boxes_survive() -> None:
    boxes = [[0.1, 0.2, 3.3, 4.7, 1], [0, 0, 9, 5, 0]]
    found = through(json.dumps(boxes).encode(), BOXES, "json")
    assert np.array_equal(found, np.array(boxes, np.float32))


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"{}", "a JSON dict, where a list"),
        (b"[[1, 2, 3]]", "box 0 is .1, 2, 3., which is not four numbers"),
        (b'[{"box": [0, 0, 1, true]}]', "box 0 is"),
        (b'[[0, 0, 1, 1, "cow"]]', "box 0 is"),
        (b"[[0, 0, NaN, 1]]", "box 0"),
        (b"[[0, 0, 1e999, 1]]", "box 0"),
        (b"[" * 100_000, "not JSON"),
        (b"[[0,0,1,1]," * 20_000 + b"[0,0,1,1]]", "not JSON|boxes"),
        (b"[" + b"1" * 5000 + b"]", "not JSON"),
    ],
)
def test_boxes_that_are_none_are_refused(data: bytes, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        boxes_of(data)


@pytest.mark.parametrize(
    ("box", "cause"),
    [
        ([2, 2, 2, 3, 0], "box 0, 2 2 2 3, which has no inside"),
        ([2, 3, 3, 2, 0], "which has no inside"),
        ([0, 0, 9, 6, 0], "reaches out of a picture of 9 x 5 pixels"),
        ([-1, 0, 9, 5, 0], "reaches out"),
        ([0, 0, 9, 5, 3], "of class 3, where classes are 0 to 2"),
        ([0, 0, 9, 5], "of class -1"),
    ],
)
def test_boxes_outside_of_their_picture_are_refused(box: list[float], cause: str) -> None:
    fields = {"image": Field("png", 3, "uint8", 5, 9), "objects": BOXES}
    values = {"image": np.zeros((5, 9, 3), np.uint8), "objects": boxes_of(json.dumps([box]).encode())}
    with pytest.raises(ValueError, match=cause):
        check_sample(values, fields)


def test_box_that_rounding_put_over_the_edge_is_cut_there() -> None:
    fields = {"image": Field("png", 3, "uint8", 5, 9), "objects": BOXES}
    values = {"image": np.zeros((5, 9, 3), np.uint8), "objects": boxes_of(b"[[-0.01, 0, 9.01, 5, 1]]")}
    check_sample(values, fields)
    assert values["objects"].tolist() == [[0, 0, 9, 5, 1]]


# ---- hostile bytes ----


def seeds() -> dict[str, tuple[Field, str, bytes]]:
    ids = rng.integers(0, 7, (8, 9), dtype=np.uint8)
    floats = rng.random((8, 9, 2), dtype=np.float32)
    return {
        "palette": (CLASSES, "png", palette_png(ids)),
        "grey of 2 bits": (CLASSES, "png", grey_png(ids % 4, 2)),
        "tiff": (INSTANCES, "tif", file(Image.fromarray(ids.astype(np.int32)), "TIFF")),
        "bmp": (CLASSES, "bmp", file(Image.fromarray(ids), "BMP")),
        "npy": (MAP, "npy", npy(floats)),
        "16 bits": (MAP, "png", file(Image.fromarray(ids.astype(np.uint16) * 999))),
        "flow": (replace(MAP, kind="flow"), "flo", flo(floats)),
        "vector": (VECTOR, "npy", npy(floats)),
        "text": (TEXT, "json", b'["a bird", "another"]'),
        "boxes": (BOXES, "json", b'[{"bbox": [1, 2, 3, 4], "category_id": 2}, [0, 0, 5, 5, 1]]'),
    }


def broken(data: bytes, dice: random.Random) -> bytes:
    x = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        match dice.randrange(4):
            case 0:
                x[dice.randrange(len(x))] = dice.choice([0, 1, 127, 128, 255, dice.randrange(256)])
            case 1:
                del x[dice.randrange(len(x)) :]
            case 2:
                at = dice.randrange(len(x))
                x[at:at] = bytes([dice.randrange(256)] * dice.choice([1, 4, 64]))
            case _:
                at = dice.randrange(len(x))
                x[at : at + 4] = dice.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"])
        if not x:
            break
    return bytes(x)


@pytest.mark.parametrize("case", seeds())
def test_roles_read_or_refuse_hostile_bytes_in_little_memory(case: str) -> None:
    """A ValueError or a value, and no more than what the limits allow for so small a file."""
    of, extension, data = seeds()[case]
    dice = random.Random(case)
    tracemalloc.start()
    try:
        for _ in range(250):
            try:
                value = read_value(broken(data, dice), of, extension)
                check_value(value, of)
                usable(value, of)
            except ValueError:
                pass
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_roles_refuse_large_headers_before_anything_is_inflated() -> None:
    for of, x in ((MAP, (1 << 20, 1 << 20)), (VECTOR, (1 << 40,))):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": x})
        with pytest.raises(ValueError, match="bytes, in 0 bytes"):
            read_value(header.getvalue(), of, "npy")
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    with pytest.raises(ValueError, match="limit"):
        read_exact(SIGNATURE + head + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b""), "png")


def test_label_map_of_16_bit_colour_is_refused() -> None:
    with pytest.raises(ValueError, match="3 channels of uint16"):
        ids_of(np.zeros((2, 2, 3), np.uint16), {0: 0})
