"""Describe sizes of images, and compute the size that resizing leads to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

Size = int | tuple[int, int]
"""The side of a square, or (height, width), in pixels. People and files write WIDTHxHEIGHT (`said`, `parsed_size`)."""
MOST_SIDE = 9000
"""Longest side, in pixels, that images are resized to."""
MOST_DIGITS = 9
"""Most digits of a side that is read."""
Fit = Literal["square", "shorter", "width", "native", "pad"]
"""How an image of another shape comes to the load size; see `fitted`."""
FITS: tuple[Fit, ...] = get_args(Fit)
StoredFit = Literal["square", "shorter"]
"""The fits of images that are stored, and cut later."""


def sides(size: Size) -> tuple[int, int]:
    """Return a size as (height, width)."""
    return (size, size) if isinstance(size, int) else size


def simplest(size: Size) -> Size:
    """Return a size as the side of a square, where it is one, else as (height, width)."""
    height, width = sides(size)
    return height if height == width else (height, width)


def written(size: Size) -> str:
    """Write a size as people do: `WIDTHxHEIGHT`."""
    height, width = sides(size)
    return f"{width}x{height}"


def said(size: Size) -> str:
    """Write a size as flags and files have it: the side of a square, or `WIDTHxHEIGHT`."""
    size = simplest(size)
    return str(size) if isinstance(size, int) else written(size)


def parsed_size(text: str) -> Size:
    """Read what `said` writes. Raise ValueError for any other text."""
    found = re.fullmatch(rf"(\d{{1,{MOST_DIGITS}}})(?:x(\d{{1,{MOST_DIGITS}}}))?", text, re.ASCII)
    if not found:
        raise ValueError(f"a size of {text[:40]!r}, expected pixels of a square's side, or WIDTHxHEIGHT")
    width = int(found[1])
    return simplest((int(found[2] or width), width))


@dataclass(frozen=True)
class Resizing:
    """Describe how images are resized: `fit` as in `fitted`, and `resample`, the antialiased filter.

    The defaults are what files mean that name none.
    """

    fit: Fit = "square"
    resample: Literal["bicubic", "bilinear"] = "bicubic"

    def __str__(self) -> str:
        return f"{self.resample}, antialiased{CUTS[self.fit]}"


CUTS: dict[Fit, str] = {
    "square": "",
    "shorter": ", the shorter side to the image size, and the middle cut out",
    "width": ", the width to that of the image size, and the middle cut out",
    "native": ", which enlarges only images that are smaller than the image size; the middle cut out",
    "pad": ", the whole image into the image size, padded",
}
"""What is done besides resizing where images are judged."""


def fitted(height: int, width: int, load_size: Size, fit: Fit, least: Size = 0) -> tuple[int, int]:
    """Compute (height, width) of an image after resizing to the load size, the side of a square or (height, width).

    `square` returns the load size itself. All others keep the image's aspect ratio. `shorter` covers the load size: one
    side equals the load size exactly, the other is at least as long. `width` gives the image the load size's width.
    `native` leaves it as it is. `pad` fits it into the load size: one side equals it, the other is at most as long.

    Args:
        least: the size to cut out, which images of `width` and `native` are enlarged to cover; 0: the load size.
    """
    rows, columns = sides(load_size)
    if fit == "square":
        return rows, columns
    if fit == "pad":
        scale = min(rows / height, columns / width)
        return min(rows, max(1, round(height * scale))), min(columns, max(1, round(width * scale)))
    if fit == "width":
        rows = sides(least or load_size)[0]
    elif fit == "native":
        rows, columns = sides(least or load_size)
    scale = max(rows / height, columns / width)
    if fit == "native":
        scale = max(1.0, scale)
    return max(rows, round(height * scale)), max(columns, round(width * scale))


def said_bytes(count: float) -> str:
    """Format a number of bytes: `1.50 GiB`."""
    unit = 0
    while count >= 1024 and unit < len(UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:.2f} {UNITS[unit]}" if unit else f"{count:.0f} B"
