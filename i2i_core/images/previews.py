"""Show a field of any role to a person: as an RGB picture."""

from __future__ import annotations

import hashlib
import math
import textwrap
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from i2i_core.batch import Batch, scaled
from i2i_core.fields import PIXELS, Field
from i2i_core.images.codec import composite
from i2i_core.images.placement import Value
from i2i_core.names import printable

PAPER, INK, ACCENT = (255, 255, 255), (20, 20, 20), (230, 40, 60)
UNKNOWN = (0, 0, 0)
"""The colour of ids outside of the classes."""
CARD = 256
"""Pixels of the side of a picture that is made for values which have none."""
_LETTERS, _MOST_SHOWN = 12, 1000
"""Pixels of letters, and characters of a text that are drawn."""


def preview(value: Value, field: Field, under: np.ndarray | None = None) -> np.ndarray:
    """Show a field of one sample, (H, W, 3) uint8.

    Args:
        value: as a batch has it, without its first axis and with channels last: of images uint8, uint16 or floats in
            [-1, 1]; ids; numbers; captions; boxes (N, 5).
        field: its role, palette and names.
        under: (H, W, 3) uint8, the picture that points and boxes are drawn on.
    """
    match field.role:
        case "image":
            return _image(_array(value))
        case "classes":
            return class_colours(_array(value)[..., 0], field)
        case "instances":
            return hashed_colours(_array(value)[..., 0])
        case "map":
            x = _array(value)
            return flow_colours(x) if field.kind == "flow" else _heat(x, field)
        case "text":
            return _card("\n".join(_captions(value)))
        case "boxes":
            return _boxes(_array(value), field, under)
        case "vector":
            x = _array(value)
            return _points(x, under) if field.kind == "points" else _bars(x)


def columns_of(batch: Batch, fields: Mapping[str, Field], rows: int = 8) -> dict[str, list[Tensor]]:
    """Show the first samples of a batch in the columns of a `contact_sheet`, (C, H, W) in [-1, 1]: a column a field.

    Args:
        batch: of samples that stand alone, on the host or a device.
        fields: what the fields of the batch are, by their names there (`Source.fields` of a stream).
    """
    columns: dict[str, list[Tensor]] = {}
    for name, field in fields.items():
        under = field.frame if field.frame in batch.fields else ""
        shown = []
        for i in range(min(rows, len(batch.keys))):
            below = preview(_one(batch, under, i), fields[under]) if under else None
            shown.append(_as_tensor(preview(_one(batch, name, i), field, below)))
        columns[name] = shown
    return columns


def shown(x: Tensor, field: Field) -> Tensor:
    """Show a field of one sample as a batch has it, on the host or a device, as an image (C, H, W) in [-1, 1]; images
    as they are."""
    if field.role == "image":
        return x
    value = x.cpu().float() if x.is_floating_point() else x.cpu()
    return _as_tensor(preview((value.permute(1, 2, 0) if field.role in PIXELS else value).numpy(), field))


def _one(batch: Batch, name: str, i: int) -> Value:
    """Draw a field of one sample, channels last."""
    if name in batch.texts:
        return batch.texts[name][i]
    if name in batch.boxes:
        return batch.boxes[name][i].cpu().numpy()
    x = batch.fields[name][i].cpu()
    x = x.float() if x.dtype.is_floating_point else x
    pixels = batch.roles.get(name, "image") in PIXELS
    return x.permute(1, 2, 0).numpy() if pixels else x.numpy()


def _as_tensor(x_HWC: np.ndarray) -> Tensor:
    return scaled(torch.from_numpy(np.ascontiguousarray(x_HWC.transpose(2, 0, 1))))


def _array(value: Value) -> np.ndarray:
    assert isinstance(value, np.ndarray)
    return value


def _captions(value: Value) -> tuple[str, ...]:
    assert isinstance(value, tuple)
    return value


def _image(x_HWC: np.ndarray) -> np.ndarray:
    top = 2 if x_HWC.dtype.kind == "f" else np.iinfo(x_HWC.dtype).max
    x = x_HWC.astype(np.float64) + (x_HWC.dtype.kind == "f")
    bytes_HWC = np.rint(np.clip(x / top, 0, 1) * 255).astype(np.uint8)
    channels = bytes_HWC.shape[2]
    if channels == 4:
        return composite(bytes_HWC, PAPER)
    return bytes_HWC[..., :3] if channels >= 3 else np.repeat(bytes_HWC[..., :1], 3, axis=2)


# ---- ids ----


def class_colours(ids_HW: np.ndarray, field: Field) -> np.ndarray:
    """Colour a label map by the field's palette, or by colours far from each other where it has none."""
    n = field.classes
    table = np.array([*(field.palette or [spread(i) for i in range(n)]), UNKNOWN], np.uint8)
    ids = ids_HW.astype(np.int64)
    return table[np.where((ids >= 0) & (ids < n), ids, n)]


def spread(i: int) -> tuple[int, int, int]:
    """Give the i-th of endless colours as the palette of PASCAL VOC does: each bit of its number, by threes, in a lower
    bit of red, green and blue."""
    red = green = blue = 0
    for place in range(7, -1, -1):
        red |= (i & 1) << place
        green |= (i >> 1 & 1) << place
        blue |= (i >> 2 & 1) << place
        i >>= 3
    return red, green, blue


def hashed_colours(ids_HW: np.ndarray) -> np.ndarray:
    """Colour instances so that the same id has the same colour everywhere; 0 is black."""
    ids, inverse = np.unique(ids_HW, return_inverse=True)
    table = np.array([_hashed(int(i)) for i in ids], np.uint8)
    return table[inverse.reshape(ids_HW.shape)]


def _hashed(i: int) -> tuple[int, int, int]:
    if i == 0:
        return 0, 0, 0
    red, green, blue = hashlib.sha256(str(i).encode()).digest()[:3]
    return 64 + red * 191 // 255, 64 + green * 191 // 255, 64 + blue * 191 // 255


# ---- maps ----


def flow_colours(flow_HW2: np.ndarray, longest: float = 0) -> np.ndarray:
    """Colour a flow by the colour wheel: hue is the direction (red to the right, then yellow, green, ... clockwise, as
    rows run down), white is stillness, full colour the longest vector.

    Args:
        longest: pixels that full colour stands for; 0: the longest vector's.
    """
    u, v = flow_HW2[..., 0].astype(np.float64), flow_HW2[..., 1].astype(np.float64)
    length = np.hypot(u, v)
    most = longest or float(length.max()) or 1.0
    hue = np.arctan2(v, u) / (2 * math.pi) % 1 * 6
    saturation = np.clip(length / most, 0, 1)
    wheel = np.stack([_ramp(hue), _ramp(hue - 2), _ramp(hue - 4)], axis=-1)
    return np.rint(255 * (1 - saturation[..., None] * (1 - wheel))).astype(np.uint8)


def _ramp(sixths: np.ndarray) -> np.ndarray:
    """Give the share of red at a hue in sixths of the wheel: full at 0, none from 2 to 4."""
    away = np.minimum(sixths % 6, 6 - sixths % 6)
    return np.clip(2 - away, 0, 1)


def _heat(x_HWC: np.ndarray, field: Field) -> np.ndarray:
    """Show one channel in grey; several as heat, each in a colour of its own, the strongest on top."""
    x = x_HWC.astype(np.float64)
    low, high = (field.low, field.high) if field.low is not None and field.high is not None else (x.min(), x.max())
    x = np.clip((x - low) / ((high - low) or 1), 0, 1)
    if x.shape[2] == 1:
        return np.repeat(np.rint(x * 255).astype(np.uint8), 3, axis=2)
    table = np.array([spread(i + 1) for i in range(x.shape[2])], np.float64)
    strongest = x.argmax(2)
    return np.rint(x.max(2)[..., None] * table[strongest]).astype(np.uint8)


# ---- points, boxes, text, vectors ----


def _canvas(under: np.ndarray | None, far: float) -> Image.Image:
    """Give a picture to draw on: the one given, or an empty one that reaches so far."""
    if under is not None:
        return Image.fromarray(np.ascontiguousarray(under))
    side = min(4096, max(CARD, math.ceil(far) if math.isfinite(far) else 0))
    return Image.new("RGB", (side, side), PAPER)


def _points(x: np.ndarray, under: np.ndarray | None) -> np.ndarray:
    points = x.reshape(-1, x.shape[-1]).astype(np.float64)
    canvas = _canvas(under, float(points[:, :2].max(initial=0)))
    draw, radius = ImageDraw.Draw(canvas), max(1, min(canvas.size) // 64)
    for number, (left, top, *seen) in enumerate(points.tolist()):
        if seen != [0]:
            around = (left - radius, top - radius, left + radius, top + radius)
            draw.ellipse(around, fill=spread(number % x.shape[-2] + 1), outline=INK)
    return np.asarray(canvas)


def _boxes(boxes_N5: np.ndarray, field: Field, under: np.ndarray | None) -> np.ndarray:
    canvas = _canvas(under, float(boxes_N5[:, :4].max(initial=0)))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=_LETTERS)
    for left, top, right, bottom, of in boxes_N5.tolist():
        number = int(of)
        colour = (
            field.palette[number] if 0 <= number < len(field.palette) else ACCENT if number < 0 else spread(number + 1)
        )
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=tuple(colour))
        if number >= 0:
            name = printable(field.names[number][:_MOST_SHOWN]) if number < len(field.names) else str(number)
            draw.text((left + 2, top + 1), name, fill=tuple(colour), font=font)
    return np.asarray(canvas)


def _card(text: str) -> np.ndarray:
    canvas = Image.new("RGB", (CARD, CARD), PAPER)
    shown = map(printable, text[:_MOST_SHOWN].split("\n"))
    lines = [part for line in shown for part in textwrap.wrap(line, 38) or [""]]
    font = ImageFont.load_default(size=_LETTERS)
    ImageDraw.Draw(canvas).multiline_text((6, 6), "\n".join(lines[:16]), fill=INK, font=font)
    return np.asarray(canvas)


def _bars(x: np.ndarray) -> np.ndarray:
    """Show the first numbers of a vector as bars up and down from the middle."""
    values = x.reshape(-1)[:CARD].astype(np.float64)
    canvas = Image.new("RGB", (CARD, CARD), PAPER)
    draw, most, width = ImageDraw.Draw(canvas), float(np.abs(values).max(initial=0)) or 1.0, CARD / max(1, len(values))
    for i, value in enumerate(values.tolist()):
        ends = sorted((CARD / 2, CARD / 2 * (1 - value / most)))
        draw.rectangle((i * width, ends[0], max(i * width, (i + 1) * width - 1), ends[1]), fill=INK)
    return np.asarray(canvas)
