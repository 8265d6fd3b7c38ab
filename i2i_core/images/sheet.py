"""Show images: tensors as image files, and contact sheets with titled columns.

x_CHW one image, x_BCHW several; values in [-1, 1].
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, zip_longest

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from i2i_core.images.codec import composite, encode, storage
from i2i_core.names import printable

LEAST_CELL = 96
"""Smaller images are enlarged by a whole factor until they have about this many pixels."""
MOST_CELL = 512
"""Larger images are shown reduced to this many pixels."""
GAP = 6
WHITE, PAPER, INK = (255, 255, 255), (228, 230, 234), (20, 20, 20)
LETTERS = 15
"""Pixels of the letters before a row."""
MOST_LABEL = 200
"""Pixels of the longest line before a row."""
MOST_TITLE, MOST_LINES = 400, 8
"""Pixels of the longest word in a column's title that is wider than the column, and lines of a title."""
NOTHING = (206, 208, 212)
"""Colour of cells without an image."""

Columns = Mapping[str, Tensor | Sequence[Tensor | None]]
Cells = list[list[Image.Image | None]]
"""Columns or rows of images; None where there is none."""


def to_array(x_CHW: Tensor, dtype: str = "uint8") -> np.ndarray:
    """Convert a tensor to (H, W, C) of `uint8`, `uint16` (both by their range, rounded) or `float32` (as it is); the
    inverse of `i2i_core.batch.scaled`."""
    x = x_CHW.detach().float().cpu().numpy().transpose(1, 2, 0)
    if dtype == "float32":
        return np.ascontiguousarray(x)
    top = np.iinfo(dtype).max
    return np.rint(np.clip((x.astype(np.float64) + 1) * (top / 2), 0, top)).astype(dtype)


def to_bytes(x_CHW: Tensor, dtype: str = "uint8") -> tuple[bytes, str]:
    """Encode a tensor as an image file, and give the end of its name: `png`, or `npy` for what PNG cannot hold (floats,
    16-bit colour, more than 4 channels)."""
    array = to_array(x_CHW, dtype)
    extension = storage(array, "png")
    return encode(array, extension), extension


def to_image(x_CHW: Tensor) -> Image.Image:
    """Show a tensor as 8-bit RGB: grey is repeated, 4 channels are laid over white, of 2 the first is shown, of 5 or
    more the first 3."""
    array = to_array(x_CHW)
    channels = array.shape[2]
    if channels == 4:
        array = composite(array, WHITE)
    elif channels > 4:
        array = array[..., :3]
    elif channels < 3:
        array = np.repeat(array[..., :1], 3, axis=2)
    return Image.fromarray(np.ascontiguousarray(array))


def png_bytes(image: Image.Image) -> bytes:
    """Encode an image as the bytes of a PNG file; the same image always gives the same bytes."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """Put pictures below each other, at the left."""
    if len(sheets) == 1:
        return sheets[0]
    whole = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), PAPER)
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    return whole


def contact_sheet(columns: Columns, *, rows: Sequence[str] = ()) -> Image.Image:
    """Draw images side by side under their columns' titles, one row per sample.

    Every row fits cells of one size: its images are enlarged by a whole factor, or reduced, all of them alike.

    Args:
        columns: by title, (n, C, H, W) in [-1, 1], or a list of images (C, H, W) of any sizes, in which
            None leaves a cell empty.
        rows: what is written before each row, one line or several; lines too long for it lose their middle.
    """
    cells = _fitted([[None if x is None else to_image(x) for x in images] for images in columns.values()])
    cell = max((i.width for row in cells for i in row if i is not None), default=LEAST_CELL)
    heights = [max((i.height for i in row if i is not None), default=LEAST_CELL) for row in cells]
    font = ImageFont.load_default(size=max(14, min(26, cell // 6)))
    titles = [_wrapped(title, cell, font) for title in columns]
    widths = [max(cell, *(int(font.getlength(line)) + 1 for line in lines)) for lines in titles]
    line_height = sum(font.getmetrics())
    head = line_height * max((len(lines) for lines in titles), default=0) + 2 * GAP
    tops = [*accumulate(heights, lambda top, height: top + height + GAP, initial=head)]
    small = ImageFont.load_default(size=LETTERS)
    labels = [[_shortened(printable(line), MOST_LABEL, small) for line in label.split("\n")] for label in rows]
    margin = max((GAP + math.ceil(small.getlength(line)) for label in labels for line in label), default=0)
    sheet = Image.new("RGB", (margin + GAP + sum(w + GAP for w in widths), tops[-1]), PAPER)
    draw, left = ImageDraw.Draw(sheet), margin + GAP
    for label, top, height in zip(labels, tops, heights, strict=False):
        draw.multiline_text((GAP, top + height // 2), "\n".join(label), fill=INK, font=small, anchor="lm")
    for column, (lines, width) in enumerate(zip(titles, widths, strict=True)):
        for i, line in enumerate(lines):
            draw.text((left + width // 2, GAP + i * line_height), line, fill=INK, font=font, anchor="ma")
        for row, top, height in zip(cells, tops, heights, strict=False):
            _fill(sheet, row[column], (left + (width - cell) // 2, top), (cell, height))
        left += width + GAP
    return sheet


def _fitted(columns: Cells) -> Cells:
    """Give the rows of the sheet, with each row's images at one scale: its longest side is about as long as the longest
    of the sheet, which is shown between LEAST_CELL and MOST_CELL pixels."""
    rows = [list(row) for row in zip_longest(*columns)]
    sides = [max((max(image.size) for image in row if image is not None), default=0) for row in rows]
    largest = max(sides, default=0) or LEAST_CELL
    side = min(MOST_CELL, largest * max(1, round(LEAST_CELL / largest)))
    return [
        [None if image is None else _at_scale(image, own, side) for image in row]
        for row, own in zip(rows, sides, strict=True)
    ]


def _at_scale(image: Image.Image, own: int, side: int) -> Image.Image:
    """Bring an image to the scale at which `own` pixels are at most `side`: enlarged (nearest) by a whole factor, or
    reduced (averaged)."""
    if own > side:
        size = [max(1, round(pixels * side / own)) for pixels in image.size]
        return image.resize((size[0], size[1]), Image.Resampling.BOX)
    factor = side // own
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _wrapped(title: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """Wrap the title's words into lines that fit the width; a wider word stands alone, a very long one loses its
    middle."""
    lines: list[str] = []
    for word in map(printable, title.split() or [""]):
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        elif len(lines) < MOST_LINES:
            lines.append(_shortened(word, max(width, MOST_TITLE), font))
        else:
            break
    return lines


def _shortened(line: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """Shorten the line in its middle, by as much as it takes to fit the width."""
    half = width // 2
    line = line if len(line) <= width else f"{line[:half]}...{line[-half:]}"  # quick, for very long ones
    kept = len(line)
    while (
        font.getlength(
            short := line if kept == len(line) else f"{line[: -(-kept // 2)]}...{line[len(line) - kept // 2 :]}"
        )
        > width
    ):
        kept -= 1
    return short


def _fill(sheet: Image.Image, image: Image.Image | None, at: tuple[int, int], cell: tuple[int, int]) -> None:
    """Draw an image in the middle of its cell; of an empty one, the cell."""
    if image is None:
        sheet.paste(NOTHING, (*at, at[0] + cell[0], at[1] + cell[1]))
    else:
        sheet.paste(image, (at[0] + (cell[0] - image.width) // 2, at[1] + (cell[1] - image.height) // 2))
