"""Go over large pictures a few rows at a time, so that no second whole copy of one is made in a wider type."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

STRIP = 1 << 20
"""Values of a strip, about."""


def strips(x_HWC: np.ndarray) -> Iterator[slice]:
    """Cut (H, W, ...) into runs of whole rows of about `STRIP` values."""
    row = x_HWC[:1].size
    step = max(1, STRIP // max(1, row))
    for top in range(0, x_HWC.shape[0], step):
        yield slice(top, min(top + step, x_HWC.shape[0]))


def copy_rows(image: Image.Image, out: np.ndarray, mode: str = "") -> None:
    """Copy the values of an image into `out`, (H, W) or (H, W, C), converted to `mode` if one is named."""
    for rows in strips(out):
        whole = rows.stop - rows.start == image.height
        strip = image if whole else image.crop((0, rows.start, image.width, rows.stop))
        values = np.asarray(strip.convert(mode) if mode and mode != strip.mode else strip)
        out[rows] = values.reshape(out[rows].shape)
