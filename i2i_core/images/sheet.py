"""Show images: tensors as image files, and contact sheets with titled columns.

x_CHW one image, x_BCHW several; values in [-1, 1].
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from i2i_core.images.codec import composite, encode, storage
from i2i_core.names import printable

LEAST_CELL = 96
"""Smaller images are enlarged by a whole factor until they have about this many pixels."""
MOST_CELL = 512
"""Larger images are shown reduced by a whole factor."""
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
"""Columns of images; None where a row has none."""


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


def contact_sheet(columns: Columns, *, scale: int = 0, rows: Sequence[str] = ()) -> Image.Image:
    """Draw images side by side under their columns' titles, one row per sample.

    Args:
        columns: by title, (n, C, H, W) in [-1, 1], or a list of images (C, H, W) of any sizes, in which
            None leaves a cell empty.
        scale: pixels of the sheet per pixel of an image; 0: small images are enlarged and large
            ones reduced, by a whole factor that is the same for the whole sheet.
        rows: what is written before each row, one line or several; lines too long for it lose their middle.
    """
    cells = _resized([[None if x is None else to_image(x) for x in images] for images in columns.values()], scale)
    every = [image for column in cells for image in column if image is not None]
    cell = max((i.width for i in every), default=LEAST_CELL), max((i.height for i in every), default=LEAST_CELL)
    font = ImageFont.load_default(size=max(14, min(26, cell[0] // 6)))
    titles = [_wrapped(title, cell[0], font) for title in columns]
    widths = [max(cell[0], *(int(font.getlength(line)) + 1 for line in lines)) for lines in titles]
    line_height = sum(font.getmetrics())
    head = line_height * max((len(lines) for lines in titles), default=0) + 2 * GAP
    count = max((len(column) for column in cells), default=0)
    small = ImageFont.load_default(size=LETTERS)
    labels = [[_shortened(printable(line), MOST_LABEL, small) for line in label.split("\n")] for label in rows]
    margin = max((GAP + math.ceil(small.getlength(line)) for label in labels for line in label), default=0)
    width = margin + GAP + sum(w + GAP for w in widths)
    sheet = Image.new("RGB", (width, head + count * (cell[1] + GAP)), PAPER)
    draw, left = ImageDraw.Draw(sheet), margin + GAP
    for row, label in enumerate(labels):
        middle = head + row * (cell[1] + GAP) + cell[1] // 2
        draw.multiline_text((GAP, middle), "\n".join(label), fill=INK, font=small, anchor="lm")
    for lines, width, column in zip(titles, widths, cells, strict=True):
        for i, line in enumerate(lines):
            draw.text((left + width // 2, GAP + i * line_height), line, fill=INK, font=font, anchor="ma")
        _fill(sheet, column, count, (left + (width - cell[0]) // 2, head), cell)
        left += width + GAP
    return sheet


def _resized(cells: Cells, scale: int) -> Cells:
    """Enlarge all (nearest) or reduce all (averaged) by one whole factor."""
    largest = max((max(image.size) for column in cells for image in column if image is not None), default=LEAST_CELL)
    factor = scale or max(1, round(LEAST_CELL / largest))
    smaller = 1 if scale else -(-largest // MOST_CELL)

    def one(image: Image.Image) -> Image.Image:
        if smaller > 1:
            return image.reduce(smaller)
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)

    return [[None if image is None else one(image) for image in column] for column in cells]


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


def _fill(
    sheet: Image.Image, column: Sequence[Image.Image | None], rows: int, at: tuple[int, int], cell: tuple[int, int]
) -> None:
    """Draw one column's images, each in the middle of its cell."""
    for row in range(rows):
        image = column[row] if row < len(column) else None
        left, top = at[0], at[1] + row * (cell[1] + GAP)
        if image is None:
            sheet.paste(NOTHING, (left, top, left + cell[0], top + cell[1]))
        else:
            sheet.paste(image, (left + (cell[0] - image.width) // 2, top + (cell[1] - image.height) // 2))
