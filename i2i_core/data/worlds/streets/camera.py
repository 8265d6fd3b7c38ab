"""Look at the street: a pinhole camera that stays level, so that what stands upright is upright in the picture.

The world is in metres: x to the right, y up, z along the street. The ray through a pixel is x + t * across,
y + t * up, z + t * along, at `t` metres along the optical axis. As the camera is level, `across` and `along` depend on
the column alone, and `up` on the row alone; upright walls have one depth for each column, and level ground one for each
row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from i2i_core.data.worlds.streets.exactly import cosine, sine

NEAR = 0.35
"""Least depth that is drawn, in metres."""
FAR = 655.35
"""Depth of the sky, in metres: the largest that 16 bits of centimetres hold."""


@dataclass(frozen=True)
class Pose:
    """Place a camera: where it stands, in metres, where it looks, in turns, and the horizon as a share of the
    height."""

    x: float
    y: float
    z: float
    yaw: float
    horizon: float


class View:
    """Look from a pose through the middle of each pixel.

    Args:
        pose: of the camera.
        height: of the picture, in pixels.
        width: of the picture, in pixels.
    """

    def __init__(self, pose: Pose, height: int, width: int) -> None:
        self.pose, self.height, self.width, self.shape = pose, height, width, (height, width)
        self.focal = 0.56 * width + 0.48 * height
        self.middle = width * 0.5
        self.horizon = pose.horizon * height
        self.sin, self.cos = sine(pose.yaw), cosine(pose.yaw)
        self.columns, self.rows = 0.5 + np.arange(width), 0.5 + np.arange(height)
        u = (self.columns - self.middle) / self.focal
        self.across = (u * self.cos + self.sin).astype(np.float32)
        self.along = (self.cos - u * self.sin).astype(np.float32)
        self.up = ((self.horizon - self.rows) / self.focal).astype(np.float32)

    def depth_of(self, x: float, z: float) -> float:
        """Give the depth of a place, in metres along the optical axis."""
        return (x - self.pose.x) * self.sin + (z - self.pose.z) * self.cos

    def pixel_of(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Give the column and the row, in pixels, of a place in front of the camera."""
        t = max(self.depth_of(x, z), NEAR)
        side = (x - self.pose.x) * self.cos - (z - self.pose.z) * self.sin
        return self.middle + self.focal * side / t, self.horizon - self.focal * (y - self.pose.y) / t

    def pixels_of(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give columns, rows and depths of many places."""
        dx, dz = x - np.float32(self.pose.x), z - np.float32(self.pose.z)
        t = np.maximum(dx * np.float32(self.sin) + dz * np.float32(self.cos), np.float32(NEAR))
        scale = np.float32(self.focal) / t
        column = np.float32(self.middle) + (dx * np.float32(self.cos) - dz * np.float32(self.sin)) * scale
        return column, np.float32(self.horizon) - (y - np.float32(self.pose.y)) * scale, t

    def window(self, corners: list[tuple[float, float]]) -> tuple[int, int, int, int]:
        """Give the rows and columns, first and last + 1 of each, around some places in pixels."""
        columns, rows = zip(*corners, strict=True)
        return *self.span(min(rows), max(rows), self.shape[0]), *self.span(min(columns), max(columns), self.shape[1])

    def span(self, low: float, high: float, count: int) -> tuple[int, int]:
        """Give the rows or columns, first and last + 1 of `count`, that lie between two places in pixels."""
        low, high = max(low, -1e6), min(high, 1e6)
        first = max(0, int(low - 0.5))
        last = min(count, int(high - 0.5) + 2 if high >= 0.5 else 0)
        return first, max(first, last)
