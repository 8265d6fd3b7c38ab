"""Bring values that have no range of their own into a window, which becomes black to white of 16 bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from i2i_core.images.strips import strips

TOP = 65535


@dataclass(frozen=True)
class Scan:
    """Hold values as a scanner writes them, and how they are meant."""

    values: np.ndarray
    """(H, W, C), whole numbers as they are stored; `slope * values + intercept` is what was measured."""
    slope: float = 1
    intercept: float = 0
    window: tuple[float, float] | None = None
    """Lowest and highest measured value that the file says to show."""
    inverted: bool = False
    """The lowest value is white."""


def to_window(scan: Scan, low: float, high: float) -> np.ndarray:
    """Bring values to 16 bits, with `low` as 0 and `high` as 65535. Raises ValueError for a value that is NaN."""
    x_HWC = scan.values
    y = np.empty(x_HWC.shape, np.uint16)
    scale = TOP / (high - low)
    for rows in strips(x_HWC):
        part = (x_HWC[rows].astype(np.float64) * scan.slope + (scan.intercept - low)) * scale
        if np.isnan(part).any():
            raise ValueError("a value that is NaN")
        part = np.rint(np.clip(part, 0, TOP))
        y[rows] = TOP - part if scan.inverted else part
    return y
