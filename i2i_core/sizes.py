"""Name the sizes of images, and how images come to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Size = int | tuple[int, int]
"""Pixels of a square's side, or height and width."""
Fit = Literal["square", "shorter"]


def sides(size: Size) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else size


@dataclass(frozen=True)
class Resizing:
    """How images come to a size: `fit` as `fitted` has it, `resample` is the filter, antialiased."""

    fit: Fit = "square"
    resample: Literal["bicubic", "bilinear"] = "bicubic"

    def __str__(self) -> str:
        cut = ", the shorter side to the image size, and the middle cut out" if self.fit == "shorter" else ""
        return f"{self.resample}, antialiased{cut}"


def fitted(height: int, width: int, load_size: int | tuple[int, int], fit: Fit) -> tuple[int, int]:
    """(height, width) after resizing to the load size, a square's side or (height, width).

    `square` gives the load size itself; `shorter` keeps the image's shape and covers the load size, so that its
    shorter side, compared with the load size, is exactly that long.
    """
    rows, columns = (load_size, load_size) if isinstance(load_size, int) else load_size
    if fit == "square":
        return rows, columns
    scale = max(rows / height, columns / width)
    return max(rows, round(height * scale)), max(columns, round(width * scale))
