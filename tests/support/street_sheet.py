"""Make the contact sheet of the built-in streets: `python -m tests.support.street_sheet docs/images/streets.png`."""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image

from i2i_core.data.worlds.streets.classes import CLASSES
from i2i_core.data.worlds.streets.frames import Frame
from i2i_core.data.worlds.streets.light import CONDITIONS
from i2i_core.data.worlds.streets.truth import flow

SIZE, GAP = (120, 240), 4
CLIPS = (8, 5, 2)


def sheet() -> np.ndarray:
    """Draw three streets in four conditions, and of the first its truths, and two people: (H, W, 3) uint8."""
    rows = [[Frame(0, clip, 3, *SIZE).image(condition) for condition in CONDITIONS] for clip in CLIPS]
    first = Frame(0, CLIPS[0], 3, *SIZE)
    palette = np.array([*CLASSES.values()], np.uint8)
    near = (255 / (1 + first.depth[..., None] / 1200)).astype(np.uint8).repeat(3, axis=2)
    moved = np.clip(128 + 10 * flow(first), 0, 255).astype(np.uint8)
    shown = np.concatenate([moved, np.full((*SIZE, 1), 128, np.uint8)], axis=2)
    rows.append([palette[first.labels], near, shown, Frame(0, 3, 3, *SIZE, stage=True).image("day")])
    return np.concatenate([_beside(row) for row in rows])


def _beside(images: list[np.ndarray]) -> np.ndarray:
    framed = [np.pad(x, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for x in images]
    return np.concatenate(framed, axis=1)


if __name__ == "__main__":
    Image.fromarray(sheet()).quantize(256, kmeans=2, dither=Image.Dither.NONE).save(sys.argv[1], optimize=True)
