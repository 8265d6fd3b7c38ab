"""Bring every field of a sample to its place: resized, cut and mirrored alike, each as its role asks.

Coordinates of points and boxes run from the top left corner of the picture: pixel (row r, column c) covers [c, c + 1]
x [r, r + 1], so a picture of W columns mirrored takes x to W - x, and resized to V columns takes x to x V / W.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from i2i_core.fields import IDS, PIXELS, Field

Value = np.ndarray | tuple[str, ...]
"""Value of a field of a sample: an array of any role, or captions."""


@dataclass(frozen=True)
class Placement:
    """Place the picture of a sample: first resized to `loaded`, then cut to `size` at (top, left), then mirrored if
    `flipped`. Sizes are (height, width). Where the cut reaches beyond the picture (top or left below 0, or past the
    other edges), the rest is padding."""

    stored: tuple[int, int]
    loaded: tuple[int, int]
    top: int
    left: int
    size: tuple[int, int]
    flipped: bool

    def cut(self, x_HWC: np.ndarray, blank: float = 0) -> np.ndarray:
        """Cut and mirror a picture that is resized; a view, unless some of it is padding, which has the value
        `blank`."""
        height, width = self.size
        y_HWC = x_HWC[max(self.top, 0) : self.top + height, max(self.left, 0) : self.left + width]
        if y_HWC.shape[:2] != self.size:
            row, column = max(-self.top, 0), max(-self.left, 0)
            padded = np.full((height, width, *x_HWC.shape[2:]), blank, x_HWC.dtype)
            padded[row : row + y_HWC.shape[0], column : column + y_HWC.shape[1]] = y_HWC
            y_HWC = padded
        return y_HWC[:, ::-1] if self.flipped else y_HWC

    def ids(self, x_HW1: np.ndarray, pairs: Sequence[tuple[int, int]] = (), ignore: int | None = None) -> np.ndarray:
        """Place a map of ids: nearest, so that no id comes out which did not go in; `pairs` swap in the mirror. Padding
        has the id `ignore`, or 0 where there is none."""
        blank = ignore if ignore is not None and ignore <= np.iinfo(x_HW1.dtype).max else 0
        y = self.cut(nearest(x_HW1, self.loaded), blank)
        return swapped_ids(y, pairs) if self.flipped and pairs else y

    def map(self, x_HWC: np.ndarray, field: Field) -> np.ndarray:
        """Place a map of numbers: bilinear; a flow's vectors change with the picture's width and height. Padding is 0,
        or what its range has next to it."""
        y = bilinear(x_HWC, self.loaded)
        if field.kind == "flow":
            (h, w), (height, width) = self.stored, self.loaded
            y = y * np.array([width / w, height / h], np.float32)
        low, high = (0.0, 0.0) if field.low is None or field.high is None else (field.low, field.high)
        y = self.cut(y, min(max(0.0, low), high))
        if not self.flipped:
            return y
        if field.kind == "flow":
            return y * np.array([-1, 1], np.float32)
        return y[..., swapped(field.pairs, y.shape[2])] if field.pairs else y

    def xy(self, points: np.ndarray) -> np.ndarray:
        """Move coordinates, (..., 2) of x and y."""
        (h, w), (height, width) = self.stored, self.loaded
        moved = points * np.array([width / w, height / h], np.float32) - np.array([self.left, self.top], np.float32)
        if self.flipped:
            moved[..., 0] = self.size[1] - moved[..., 0]
        return moved

    def points(self, x: np.ndarray, pairs: Sequence[tuple[int, int]] = ()) -> np.ndarray:
        """Move key points, (..., P, 2 or 3); of those that are cut off the visibility becomes 0. `pairs` swap sides."""
        moved = np.concatenate([self.xy(x[..., :2]), x[..., 2:]], axis=-1)
        if x.shape[-1] == 3:
            height, width = self.size
            inside = (moved[..., :2] >= 0) & (moved[..., :2] <= np.array([width, height], np.float32))
            moved[..., 2] *= inside.all(-1)
        return moved[..., swapped(pairs, x.shape[-2]), :] if self.flipped and pairs else moved

    def boxes(self, boxes_N5: np.ndarray) -> np.ndarray:
        """Move boxes, cut them at the edges, and drop those of which nothing is left."""
        corners = self.xy(boxes_N5[:, :4].reshape(-1, 2, 2))
        x, y = np.sort(corners[..., 0], axis=1), np.sort(corners[..., 1], axis=1)  # a mirror swaps left and right
        x, y = x.clip(0, self.size[1]), y.clip(0, self.size[0])
        moved = np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1], boxes_N5[:, 4]], axis=1)
        return moved[(x[:, 0] < x[:, 1]) & (y[:, 0] < y[:, 1])]

    def other(self, value: Value, field: Field) -> Value:
        """Place a value of any role but image. Of points and boxes, this placement is their frame's."""
        if not isinstance(value, np.ndarray):
            return value
        if field.role in IDS:
            return self.ids(value, field.pairs, field.ignore)
        if field.role == "map":
            return self.map(value, field)
        if field.role == "boxes":
            return self.boxes(value)
        return self.points(value, field.pairs) if field.kind == "points" else value


def moves_with_a_picture(field: Field) -> bool:
    """Tell whether a field's values depend on where a picture goes."""
    return field.role in PIXELS or field.role == "boxes" or field.kind == "points"


def nearest(x_HWC: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize to (height, width) by the value at the middle of each new pixel, as Pillow's NEAREST does.

    New pixel i of n covers [i, i + 1] m / n of m old ones and takes the one under its middle, (2 i + 1) m // 2 n, so
    ids stay on the picture that is resized beside them. (torch's `nearest` takes the one under the pixel's left edge,
    which shifts a map by up to half of the larger pixel; its `nearest-exact` is this one.)
    """
    if x_HWC.shape[:2] == size:
        return x_HWC
    rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(size, x_HWC.shape[:2], strict=True))
    return x_HWC[rows[:, None], columns]


def bilinear(x_HWC: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize floats to (height, width), antialiased as images are."""
    if x_HWC.shape[:2] == size:
        return x_HWC
    import torch  # late: flags and plans of data sets do without
    from torch.nn import functional as F

    x_CHW = torch.from_numpy(np.require(x_HWC, requirements="W")).permute(2, 0, 1)
    y = F.interpolate(x_CHW[None], size, mode="bilinear", antialias=True, align_corners=False)[0]
    return y.permute(1, 2, 0).numpy()


def swapped(pairs: Sequence[tuple[int, int]], n: int) -> np.ndarray:
    """List the numbers 0 to n - 1 with those of each pair in each other's place."""
    order = np.arange(n)
    for one, other in pairs:
        order[[one, other]] = order[[other, one]]
    return order


def swapped_ids(x: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Swap the ids of each pair."""
    y = x.copy()
    for one, other in pairs:
        y[x == one], y[x == other] = other, one
    return y
