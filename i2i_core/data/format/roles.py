"""Read, check and store the values of a field by its role.

A *value* is an array (H, W, C) of pixels, a vector, (N, 5) boxes, or a tuple of captions. What a file holds comes out
exactly as it stands, or is refused with a ValueError that names what was found: where training reads it, the sample is
then replaced and named, and `shard.py` stops or leaves it out.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from i2i_core.errors import counted
from i2i_core.fields import IDS, PIXELS, Field
from i2i_core.images import arrays
from i2i_core.images.codec import check_range, decode, encode, storage
from i2i_core.images.exact import ids_of, read_exact, read_flow, split_ids, wide_ids
from i2i_core.images.limits import check_bytes
from i2i_core.images.placement import Value

Colours = Mapping[int, int]
"""Of a label map in colour: what id each colour, 0xRRGGBB, stands for."""

MOST_TEXT = 1 << 20
MOST_CAPTIONS = 1000
MOST_BOX_BYTES = 1 << 22
MOST_BOXES = 10_000
"""Bytes of a text or of a sample's boxes, and their number, beyond which they are refused."""
OVER = 0.5
"""Pixels that a box may reach over the edge, as rounding makes it; it is cut there."""
NO_CLASS = -1


def value_of(data: bytes, field: Field) -> Value:
    """Read a field of a sample as it comes into a batch.

    Args:
        data: the bytes of its member in a shard.
        field: what the manifest says of it.

    Raises:
        ValueError: it cannot be read, or is not what the manifest says.
    """
    value = read_value(data, field, field.extension)
    check_stored(value, field)
    check_value(value, field)
    return usable(value, field)


def read_value(data: bytes, field: Field, extension: str, colours: Colours | None = None) -> Value:
    """Read what a file holds, of the types that are stored.

    Args:
        data: the bytes of a whole file.
        field: its role and kind; how it is stored is not looked at.
        extension: the end of its name.
        colours: of a label map in colour.

    Raises:
        ValueError: it cannot be read as this role.
    """
    match field.role:
        case "image":
            return decode(data, extension)
        case "classes":
            return ids_of(read_exact(data, extension), dict(colours) if colours else None)
        case "instances":
            x = read_exact(data, extension)
            return wide_ids(x) if x.shape[2] in (3, 4) else ids_of(x)
        case "map":
            of_flow = field.kind == "flow" and extension.lower().rpartition(".")[2] == "flo"
            return read_flow(data) if of_flow else _numbers(read_exact(data, extension))
        case "vector":
            return _vector(data)
        case "text":
            return captions(data, extension)
        case "boxes":
            return boxes_of(data, field.names)


def check_stored(value: Value, field: Field) -> None:
    """Check a value that was read. Raises ValueError where its type or size is not what the manifest says."""
    if field.role not in PIXELS:
        return
    assert isinstance(value, np.ndarray)
    h, w, c = value.shape
    if c != field.channels or (value.dtype != field.dtype and stored_dtype(value) != field.dtype):
        found = f"{counted(c, 'channel')} of {stored_dtype(value)}"
        raise ValueError(f"{found} where the manifest says {field.channels} of {field.dtype}")
    if (field.height and h != field.height) or (field.width and w != field.width):
        raise ValueError(f"{h}x{w} pixels where the manifest says {field.height}x{field.width}")


def stored_dtype(x: np.ndarray) -> str:
    """Name a type as manifests do: ids of 31 bits are held as int32 and stored as uint32."""
    return "uint32" if x.dtype == np.int32 else str(x.dtype)


def check_value(value: Value, field: Field) -> None:
    """Check what a value holds against what its field declares: ids, range, shape.

    Raises:
        ValueError: naming what was found.
    """
    if not isinstance(value, np.ndarray):
        return
    if field.role == "classes":
        _check_ids(value, field)
    elif field.role == "image" and field.low is None:
        check_range(value)
    elif field.role != "boxes" and value.dtype == np.float32:
        _check_floats(value, field)
    if field.role == "vector" and field.shape and value.shape != field.shape:
        raise ValueError(f"an array of shape {value.shape}, where {field.shape} is declared")
    if field.kind == "points" and (value.ndim < 2 or value.shape[-1] not in (2, 3)):
        raise ValueError(f"points of shape {value.shape}, not (..., P, 2) or (..., P, 3)")
    if field.kind == "flow" and value.shape[2] != 2:
        raise ValueError(f"a flow of {value.shape[2]} channels, not two, u and v")


def _check_ids(x_HW1: np.ndarray, field: Field) -> None:
    wrong = x_HW1[..., 0] >= field.classes
    if field.ignore is not None:
        wrong &= x_HW1[..., 0] != field.ignore
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        known = f"0 to {field.classes - 1}" + (f" and {field.ignore}" if field.ignore is not None else "")
        raise ValueError(f"the id {x_HW1[row, column, 0]} at row {row}, column {column}, where ids are {known}")


def _check_floats(x: np.ndarray, field: Field) -> None:
    low, high = float(x.min()), float(x.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("a value that is NaN" if np.isnan(x).any() else f"values from {low:g} to {high:g}")
    values = x[..., :2] if field.kind == "points" else x
    if field.low is not None and field.high is not None and not _within(values, field.low, field.high):
        raise ValueError(f"values from {low:g} to {high:g}, where {field.low:g} to {field.high:g} is declared")


def _within(x: np.ndarray, low: float, high: float) -> bool:
    return bool(x.min() >= np.float32(low) and x.max() <= np.float32(high))


def usable(value: Value, field: Field) -> Value:
    """Give a checked value as batches hold it on the host: maps as floats, float images in [-1, 1]."""
    if not isinstance(value, np.ndarray):
        return value
    if field.role == "map":
        return _declared(value, field)
    if field.role == "image" and field.low is not None and field.high is not None and value.dtype == np.float32:
        scale = np.float32(2 / (field.high - field.low))
        return np.clip((value - np.float32(field.low)) * scale - 1, -1, 1, dtype=np.float32)
    return value


def _declared(x: np.ndarray, field: Field) -> np.ndarray:
    if x.dtype == np.float32:
        return x
    y = x.astype(np.float32)
    if field.low is None or field.high is None:
        return y
    return y * np.float32((field.high - field.low) / np.iinfo(x.dtype).max) + np.float32(field.low)


class MisfitError(ValueError):
    """Tell of a field that does not go with the others of its sample."""

    def __init__(self, field: str, cause: str) -> None:
        super().__init__(cause)
        self.field = field


def check_sample(values: Mapping[str, Value], fields: Mapping[str, Field]) -> None:
    """Check what can be checked of a sample's fields together: that boxes lie in their picture, and that maps and ids
    have the shape of the picture beside them. They may be coarser or finer.

    Raises:
        MisfitError: naming the field.
    """
    for name, field in fields.items():
        value = values[name]
        if field.role == "boxes" and isinstance(value, np.ndarray) and len(value):
            frame = values[frame_of(name, fields)]
            assert isinstance(frame, np.ndarray)
            _check_boxes(name, value, frame.shape[:2], field)
    picture = next((name for name, field in fields.items() if field.role == "image"), None)
    for name, field in fields.items():
        if picture and field.role in PIXELS and field.role != "image":
            _check_shape(name, values[name], picture, values[picture])


def _check_shape(name: str, value: Value, picture: str, other: Value) -> None:
    """Check one shape: sizes may differ by a factor and less than a pixel."""
    assert isinstance(value, np.ndarray)
    assert isinstance(other, np.ndarray)
    (h, w), (height, width) = value.shape[:2], other.shape[:2]
    if abs(h * width - w * height) >= max(height, width, h, w):
        raise MisfitError(
            name, f"{name} of {h}x{w} pixels beside {picture} of {height}x{width}, which is of another shape"
        )


def frame_of(name: str, fields: Mapping[str, Field]) -> str:
    """Name the field in whose pixels the points or boxes of another are.

    Raises:
        ValueError: no field has pixels.
    """
    if fields[name].frame:
        return fields[name].frame
    found = next((other for other, field in fields.items() if field.role in PIXELS), None)
    if found is None:
        raise ValueError(f"{name} in pixels, and no field that has any")
    return found


def _check_boxes(name: str, boxes_N5: np.ndarray, size: tuple[int, ...], field: Field) -> None:
    height, width = size
    for n, (x0, y0, x1, y1, of) in enumerate(boxes_N5.tolist()):
        shown = f"box {n}, {x0:g} {y0:g} {x1:g} {y1:g},"
        if not (x0 < x1 and y0 < y1):  # nor is a NaN
            raise MisfitError(name, f"{shown} which has no inside; x0 < x1 and y0 < y1 are expected")
        if min(x0, y0) < -OVER or x1 > width + OVER or y1 > height + OVER:
            raise MisfitError(name, f"{shown} which reaches out of a picture of {width} x {height} pixels")
        if field.classes and not 0 <= of < field.classes:
            raise MisfitError(name, f"{shown} of class {of:g}, where classes are 0 to {field.classes - 1}")
    edges = (width, height, width, height)
    boxes_N5[:, :4] = boxes_N5[:, :4].clip(0, np.array(edges, np.float32))


# ---- files ----


def _numbers(x_HWC: np.ndarray) -> np.ndarray:
    """Give a map's values as uint8, uint16 or float32, unchanged."""
    if x_HWC.dtype == np.bool_:
        return x_HWC.astype(np.uint8)
    if x_HWC.dtype.kind == "u" and x_HWC.dtype.itemsize <= 2:
        return x_HWC.astype(x_HWC.dtype.newbyteorder("="), order="C")
    return _floats(x_HWC)


def _floats(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what becomes infinite is refused as such
        y = x.astype(np.float32, order="C")
    if x.dtype.kind in "iu" and (y != x).any():
        raise ValueError(f"whole numbers up to {int(np.abs(x).max())}, which 32-bit floats do not hold exactly")
    return y


def _vector(data: bytes) -> np.ndarray:
    x = arrays.read_npy(data)
    if not x.ndim or not x.size or x.dtype.kind not in "buif":
        raise ValueError(f"an array of shape {x.shape} of {x.dtype}, where a vector has numbers")
    check_bytes(4 * x.size, f"a vector of shape {x.shape}")
    return _floats(x)


def captions(data: bytes, extension: str) -> tuple[str, ...]:
    """Read the captions of a sample: of txt one a line, of json a text or a list of texts.

    Raises:
        ValueError: no text in UTF-8, none at all, or too much.
    """
    if len(data) > MOST_TEXT:
        raise ValueError(f"a text of {len(data):,} bytes, over the limit of {MOST_TEXT:,}")
    if extension.rpartition(".")[2] == "json":
        found = _json(data)
        lines = [found] if isinstance(found, str) else found
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise ValueError(f"{_brief(found)}, where a text or a list of texts is expected")
    else:
        try:
            lines = [line.strip() for line in data.decode("utf-8-sig").split("\n")]
        except UnicodeDecodeError as error:
            raise ValueError(f"text that is not UTF-8 (byte {error.object[error.start]:#x})") from None
    kept = tuple(line for line in lines if line.strip())
    if any("\ud800" <= character <= "\udfff" for line in kept for character in line):
        raise ValueError("a text with half a character (a lone surrogate)")
    if not 0 < len(kept) <= MOST_CAPTIONS:
        raise ValueError(f"{len(kept)} captions, where there are 1 to {MOST_CAPTIONS}")
    return kept


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"text that is not JSON ({error})") from None


def _brief(value: Any) -> str:
    shown = json.dumps(value)[:80] if isinstance(value, str | int | float) else ""
    return shown or f"a JSON {type(value).__name__}"


def boxes_of(data: bytes, names: tuple[str, ...] = ()) -> np.ndarray:
    """Read boxes, (N, 5) float32: left, top, right, bottom and class, which is -1 where there is none.

    Each is [x0, y0, x1, y1], or these and a class; {"box": [x0, y0, x1, y1], "class": 3}; or as COCO has it,
    {"bbox": [x, y, width, height], "category_id": 3}. A class is a number, or one of `names`.

    Raises:
        ValueError: no list of such boxes, or too many.
    """
    if len(data) > MOST_BOX_BYTES:
        raise ValueError(f"boxes of {len(data):,} bytes, over the limit of {MOST_BOX_BYTES:,}")
    found = _json(data)
    if not isinstance(found, list) or len(found) > MOST_BOXES:
        many = f"{len(found)} boxes" if isinstance(found, list) else _brief(found)
        raise ValueError(f"{many}, where a list of at most {MOST_BOXES} boxes is expected")
    rows = [_box(n, one, names) for n, one in enumerate(found)]
    with np.errstate(over="ignore"):
        boxes_N5 = np.array(rows, np.float64).reshape(-1, 5).astype(np.float32)
    if not np.isfinite(boxes_N5).all():
        raise ValueError(f"box {int(np.argwhere(~np.isfinite(boxes_N5))[0][0])} with a number that is not finite")
    return boxes_N5


def _box(n: int, one: Any, names: tuple[str, ...]) -> list[float]:
    corners, of = one, None
    if isinstance(one, dict):
        corners, of = one.get("box", one.get("bbox")), one.get("class", one.get("category_id"))
    elif isinstance(one, list) and len(one) == 5:
        corners, of = one[:4], one[4]
    numbers = isinstance(corners, list) and len(corners) == 4 and all(map(_is_number, corners))
    if isinstance(of, str) and of in names:
        of = names.index(of)
    if not numbers or not (of is None or _is_number(of)):
        raise ValueError(f"box {n} is {json.dumps(one)[:80]}, which is not four numbers and a class")
    assert isinstance(corners, list)
    x0, y0, x1, y1 = map(float, corners)
    if isinstance(one, dict) and "box" not in one:
        x1, y1 = x0 + x1, y0 + y1
    return [x0, y0, x1, y1, NO_CLASS if of is None else float(of)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


# ---- storing ----


def encode_value(value: Value, field: Field) -> tuple[bytes, Field]:
    """Store a checked value, of any role but image: the bytes of its member, and the field with how it is stored.

    Equal values give equal bytes. How a field is stored depends on the type of its file, not on its values, so that all
    samples agree.
    """
    if not isinstance(value, np.ndarray):
        return _encoded_text(value, field), replace(field, channels=0, dtype="str", height=0, width=0)
    if field.role == "boxes":
        rows = value.tolist() if field.classes else value[:, :4].tolist()
        return json.dumps(rows).encode(), _listed(field, "json")
    if field.role == "vector":
        return _npy(value), replace(_listed(field, "npy"), shape=value.shape)
    x = _ids_stored(value, field) if field.role in IDS else value
    wide = field.role == "instances" and x.dtype == np.int32
    ending = "png" if wide else storage(x, "png")
    data = encode(split_ids(x) if wide else x, ending)
    height, width, channels = x.shape
    stored = replace(field, extension=ending, channels=channels, dtype=stored_dtype(x), height=height, width=width)
    return data, stored


def _listed(field: Field, extension: str) -> Field:
    return replace(field, extension=extension, channels=0, dtype="float32", height=0, width=0)


def _ids_stored(x: np.ndarray, field: Field) -> np.ndarray:
    """Label maps in as few bits as their classes need; instances in 16, or 32 where their files have more."""
    if field.role == "classes":
        return x.astype(np.uint8 if max(field.classes - 1, field.ignore or 0) < 256 else np.uint16)
    return x if x.dtype == np.int32 else x.astype(np.uint16)


def _encoded_text(value: tuple[str, ...], field: Field) -> bytes:
    if field.extension == "json":
        return json.dumps(list(value), ensure_ascii=False).encode()
    return ("\n".join(value) + "\n").encode()


def _npy(x: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(x), allow_pickle=False)
    return out.getvalue()
