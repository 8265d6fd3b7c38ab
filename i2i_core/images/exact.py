"""Read the values of a picture file as they stand: for label maps, ids and maps, where every value means something.

`codec` reads pictures for the eye: palettes become colours, 2-bit greys are spread over 0 to 255, JPEGs are as good as
PNGs. Here a palette gives its indices, a 2-bit grey 0 to 3, and a format that does not keep values is refused.
"""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image, ImageOps

from i2i_core.images import arrays, deep_png
from i2i_core.images.codec import as_value_errors, opened
from i2i_core.images.formats import check, recognise
from i2i_core.images.limits import check_size
from i2i_core.images.strips import copy_rows

KEEPING = ("PNG", "TIFF", "BMP", "NPY")
"""Formats that keep values. PPM keeps them too, but Pillow spreads those of a low maximum; programs that write a GIF
number its colours anew, so that neither indices nor greys can be relied on."""
WIDEST = (1 << 31) - 1
"""The largest id."""

_DTYPES = {"1": np.uint8, "L": np.uint8, "P": np.uint8, "LA": np.uint8, "RGB": np.uint8, "RGBA": np.uint8}
_BITS, _COMPRESSION, _PHOTOMETRIC = 258, 259, 262
"""Tags of a TIFF."""
_JPEGS = (6, 7)
"""Its compressions that change values."""


def read_exact(data: bytes, extension: str) -> np.ndarray:
    """Read the values of a file as (H, W, C), of the least dtype that a file of its kind has.

    Args:
        data: the bytes of a whole file. Their content tells the format.
        extension: the end of its name.

    Returns:
        uint8, uint16, int32 (32-bit TIFF), float32 (float TIFF), or what a `.npy` holds.

    Raises:
        ValueError: no picture, one over the limits, or a file that does not keep values exactly.
    """
    if not data:
        raise ValueError("the file is empty")
    kind = recognise(data, extension)
    with as_value_errors(kind):
        if kind not in KEEPING:
            raise ValueError(f"a {kind}, which may not keep values as they are; save it as PNG or .npy")
        check(data, kind)
        if kind == "NPY":
            return _array(data)
        return deep_png.read(data) if deep_png.is_deep(data) else _picture(data, kind)


def _array(data: bytes) -> np.ndarray:
    x = arrays.read_pixels(data)
    if x.dtype.kind not in "buif":
        raise ValueError(f"an array of {x.dtype}; whole numbers and floats are read")
    check_size(x.shape[1], x.shape[0], x.shape[2], x.itemsize)
    return x


def _picture(data: bytes, kind: str) -> np.ndarray:
    image = opened(data, kind)
    check_size(image.width, image.height, len(image.getbands()), 4)
    if kind == "TIFF":
        _check_tags(image)
    step = _step(data) if kind == "PNG" else 1
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    channels = len(image.getbands())
    x = np.empty((image.height, image.width, channels), _dtype(image.mode))
    copy_rows(image, x)
    return x // np.uint8(step) if step > 1 else x


def _dtype(mode: str) -> type[np.generic]:
    if mode.startswith("I;16"):
        return np.uint16
    if mode not in _DTYPES and mode not in ("I", "F"):
        raise ValueError(f"a picture of mode {mode}, whose values are not read as they are; save it as PNG or .npy")
    return {"I": np.int32, "F": np.float32}.get(mode) or _DTYPES[mode]


def _step(data: bytes) -> int:
    """Give the number that Pillow multiplies the values of a grey PNG of 2 or 4 bits with, so that they fill 0 to
    255."""
    if data[12:16] != b"IHDR":
        raise ValueError("a damaged PNG: it does not begin with IHDR")
    depth, colour = data[24], data[25]
    return {2: 85, 4: 17}.get(depth, 1) if colour == 0 else 1


def _check_tags(image: Image.Image) -> None:
    """Refuse TIFFs that Pillow inverts, spreads or has several pages of."""
    tags = image.tag_v2
    bits = tags.get(_BITS, (1,))
    if getattr(image, "n_frames", 1) > 1:
        raise ValueError("a TIFF of several pages; save it as .npy")
    if tags.get(_COMPRESSION) in _JPEGS:
        raise ValueError("a TIFF compressed as JPEG, which does not keep values; save it as PNG or .npy")
    if tags.get(_PHOTOMETRIC) == 0:
        raise ValueError("a TIFF in which 0 is white; save it with 0 as black, or as PNG")
    if image.mode not in ("1", "P") and min(bits if isinstance(bits, tuple) else (bits,)) < 8:
        raise ValueError("a TIFF of less than 8 bits, whose values are spread when it is read; save it as PNG")


_FLOW, _UNKNOWN = b"PIEH", 1e9
"""Bytes that a `.flo` begins with, and the value beyond which a vector is unknown."""


def read_flow(data: bytes) -> np.ndarray:
    """Read a `.flo`, as Middlebury's benchmark has them: (H, W, 2) float32 of u and v.

    Raises:
        ValueError: no such file, one of another length than its header says, or vectors that are not known.
    """
    if len(data) < 12 or data[:4] != _FLOW:
        raise ValueError("no flow in Middlebury's format, which begins with PIEH")
    width, height = struct.unpack_from("<2i", data, 4)
    if min(width, height) < 1 or len(data) != 12 + 8 * width * height:
        raise ValueError(f"a flow of {width} x {height} vectors in {len(data)} bytes")
    check_size(width, height, 2, 4)
    flow_HW2 = np.frombuffer(data, "<f4", 2 * width * height, 12).reshape(height, width, 2).astype(np.float32)
    if (wrong := np.argwhere(~(np.abs(flow_HW2) <= _UNKNOWN))).size:
        row, column, _ = wrong[0].tolist()
        raise ValueError(f"a vector that is not known at row {row}, column {column}")
    return flow_HW2


# ---- ids ----


def ids_of(x_HWC: np.ndarray, colours: dict[int, int] | None = None) -> np.ndarray:
    """Turn the values of a file into ids, (H, W, 1) of the least of uint8, uint16 and int32 that their type needs.

    Args:
        x_HWC: as `read_exact` gives it.
        colours: of a file in colour, what id each colour, 0xRRGGBB, stands for.

    Raises:
        ValueError: values that are no ids, or a colour that `colours` has not.
    """
    channels = x_HWC.shape[2]
    if channels in (2, 4) and x_HWC.dtype == np.uint8:
        x_HWC = _opaque(x_HWC)
    if channels in (3, 4):
        return _ids_of_colours(x_HWC, colours)
    if x_HWC.shape[2] != 1:
        raise ValueError(f"{channels} channels, where ids have one")
    if x_HWC.dtype.kind not in "bui":
        raise ValueError(f"values of {x_HWC.dtype}, where ids are whole numbers")
    low, high = int(x_HWC.min()), int(x_HWC.max())
    if low < 0 or high > WIDEST:
        raise ValueError(f"ids from {low} to {high}; they lie in 0 to {WIDEST}")
    wide = np.int32 if x_HWC.dtype.itemsize > 2 else np.uint16 if x_HWC.dtype.itemsize > 1 else np.uint8
    return x_HWC.astype(wide)


def _opaque(x_HWC: np.ndarray) -> np.ndarray:
    if (clear := np.argwhere(x_HWC[..., -1] < 255)).size:
        row, column = clear[0].tolist()
        raise ValueError(f"a transparent pixel at row {row}, column {column}, where every pixel has an id")
    return x_HWC[..., :-1]


def _ids_of_colours(x_HWC: np.ndarray, colours: dict[int, int] | None) -> np.ndarray:
    if colours is None:
        raise ValueError("a picture in colour, where ids stand in one channel; a palette says what its colours mean")
    if x_HWC.dtype != np.uint8 or x_HWC.shape[2] != 3:
        raise ValueError(f"{x_HWC.shape[2]} channels of {x_HWC.dtype}, where colours are three of uint8")
    known = np.array(sorted(colours), dtype=np.int32)
    ids = np.array([colours[colour] for colour in known.tolist()], dtype=np.int32)
    codes = codes_of(x_HWC)
    at = np.searchsorted(known, codes).clip(max=len(known) - 1)
    if (strange := np.argwhere(known[at] != codes)).size:
        row, column = strange[0].tolist()
        found = f"the colour #{codes[row, column]:06x} at row {row}, column {column}"
        raise ValueError(f"{found}, which the palette does not name")
    return ids[at][..., None].astype(np.uint8 if ids.max() < 256 else np.uint16)


def codes_of(x_HWC: np.ndarray) -> np.ndarray:
    """Give (H, W) int32 numbers 0xRRGGBB of colours, (H, W, 3) uint8."""
    red, green, blue = (x_HWC[..., c].astype(np.int32) for c in range(3))
    return red << 16 | green << 8 | blue


def wide_ids(x_HWC: np.ndarray) -> np.ndarray:
    """Put together ids that stand in colours: R + 256 G + 256^2 B, as COCO's panoptic maps have them, + 256^3 A.

    Raises:
        ValueError: an id above `WIDEST`.
    """
    if x_HWC.dtype != np.uint8:
        raise ValueError(f"{x_HWC.shape[2]} channels of {x_HWC.dtype}, where ids in colours are of uint8")
    if x_HWC.shape[2] == 4 and (high := int(x_HWC[..., 3].max())) > 127:
        raise ValueError(f"an id of {high} x 256^3 or more; they lie in 0 to {WIDEST}")
    x = np.zeros(x_HWC.shape[:2], np.int32)
    for c in range(x_HWC.shape[2]):
        x |= x_HWC[..., c].astype(np.int32) << (8 * c)
    return x[..., None]


def split_ids(x_HW1: np.ndarray) -> np.ndarray:
    """Write ids as (H, W, 4) uint8 that `wide_ids` puts together again."""
    little = np.ascontiguousarray(x_HW1[..., 0], dtype="<i4")
    return little.view(np.uint8).reshape(*x_HW1.shape[:2], 4)
