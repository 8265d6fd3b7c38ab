"""Describe sizes of images, and compute the size that resizing leads to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

Size = int | tuple[int, int]
"""The side of a square, or (height, width), in pixels."""
MOST_SIDE = 9000
"""Longest side, in pixels, that images are resized to."""
Fit = Literal["square", "shorter"]


def sides(size: Size) -> tuple[int, int]:
    """Return a size as (height, width)."""
    return (size, size) if isinstance(size, int) else size


def written(size: Size) -> str:
    """Write a size as people do: `WIDTHxHEIGHT`."""
    height, width = sides(size)
    return f"{width}x{height}"


def size_named(text: str) -> Size:
    """Read a size as people write it: `256`, the side of a square, or `WIDTHxHEIGHT`.

    Raises:
        ValueError: it is written in another way, or a side lies outside 1 to MOST_SIDE.
    """
    found = re.fullmatch(r"([0-9]{1,9})(?:[xX]([0-9]{1,9}))?", text.strip())
    if not found:
        raise ValueError(f"{text!r} is no size")
    width, height = int(found[1]), int(found[2] or found[1])
    if not (1 <= width <= MOST_SIDE and 1 <= height <= MOST_SIDE):
        raise ValueError(f"sides lie from 1 to {MOST_SIDE}")
    return (height, width) if found[2] else width


@dataclass(frozen=True)
class Resizing:
    """Describe how images are resized: `fit` as in `fitted`, and `resample`, the antialiased filter."""

    fit: Fit = "square"
    resample: Literal["bicubic", "bilinear"] = "bicubic"

    def __str__(self) -> str:
        cut = ", the shorter side to the image size, and the middle cut out" if self.fit == "shorter" else ""
        return f"{self.resample}, antialiased{cut}"


def fitted(height: int, width: int, load_size: int | tuple[int, int], fit: Fit) -> tuple[int, int]:
    """Compute (height, width) of an image after resizing to the load size, the side of a square or (height, width).

    `square` returns the load size itself. `shorter` keeps the image's aspect ratio and covers the load size: one side
    equals the load size exactly, the other is at least as long.
    """
    rows, columns = (load_size, load_size) if isinstance(load_size, int) else load_size
    if fit == "square":
        return rows, columns
    scale = max(rows / height, columns / width)
    return max(rows, round(height * scale)), max(columns, round(width * scale))


def said_bytes(count: float) -> str:
    """Format a number of bytes: `1.50 GiB`."""
    unit = 0
    while count >= 1024 and unit < len(UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:.2f} {UNITS[unit]}" if unit else f"{count:.0f} B"
