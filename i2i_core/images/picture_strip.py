"""Draw a wide strip of pictures: sources above, what was made of them below, one group beside the other.

x_CHW one image, values in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from i2i_core.images.sheet import GAP, INK, NOTHING, PAPER, to_image

BETWEEN = 4 * GAP
"""Pixels between two groups."""
TITLE, LABEL = 18, 15
"""Pixels of the letters above a group, and before a row."""

Column = Sequence[Tensor | None]
"""Images from top to bottom; None leaves a cell empty."""


def picture_strip(groups: Mapping[str, Sequence[Column]], rows: Sequence[str], cell: int = 96) -> Image.Image:
    """Draw groups of columns side by side, each group under its title.

    Args:
        groups: by title, the group's columns.
        rows: written at the left of each row, from top to bottom.
        cell: pixels of the longer side that every image is brought to.
    """
    title_font, label_font = (ImageFont.load_default(size=size) for size in (TITLE, LABEL))
    margin = GAP + max((math.ceil(label_font.getlength(row)) + GAP for row in rows), default=0)
    head = sum(title_font.getmetrics()) + 2 * GAP
    widths = {title: _width(title, columns, cell, title_font) for title, columns in groups.items()}
    width = margin + sum(widths.values()) + BETWEEN * max(0, len(groups) - 1) + GAP
    strip = Image.new("RGB", (width, head + len(rows) * (cell + GAP)), PAPER)
    draw, left = ImageDraw.Draw(strip), margin
    for i, row in enumerate(rows):
        draw.text((GAP, head + i * (cell + GAP) + cell // 2), row, fill=INK, font=label_font, anchor="lm")
    for title, columns in groups.items():
        draw.text((left, GAP), title, fill=INK, font=title_font)
        for k, column in enumerate(columns):
            for i, x_CHW in enumerate(column):
                _paste(strip, x_CHW, left + k * (cell + GAP), head + i * (cell + GAP), cell)
        left += widths[title] + BETWEEN
    return strip


def _width(title: str, columns: Sequence[Column], cell: int, font: ImageFont.FreeTypeFont) -> int:
    """Measure a group: its columns, or its title where that is wider."""
    return max(len(columns) * (cell + GAP) - GAP, math.ceil(font.getlength(title)))


def _paste(strip: Image.Image, x_CHW: Tensor | None, left: int, top: int, cell: int) -> None:
    """Fill a cell with an image in its middle, smoothly enlarged or reduced."""
    if x_CHW is None:
        strip.paste(NOTHING, (left, top, left + cell, top + cell))
        return
    image = to_image(x_CHW)
    share = cell / max(image.size)
    size = max(1, round(image.width * share)), max(1, round(image.height * share))
    at = left + (cell - size[0]) // 2, top + (cell - size[1]) // 2
    strip.paste(image.resize(size, Image.Resampling.BICUBIC), at)
