"""Draw a frame of a street: its picture in each condition, and all that is true of it."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from i2i_core.data.worlds.streets.camera import View
from i2i_core.data.worlds.streets.light import Condition, Lit
from i2i_core.data.worlds.streets.paint import painted
from i2i_core.data.worlds.streets.plan import street
from i2i_core.data.worlds.streets.scene import drawn


class Frame:
    """Draw one frame. Everything is a function of the arguments alone: no frame needs another one.

    Args:
        seed: of all clips.
        clip: number of the clip.
        frame: number of the frame.
        height: in pixels.
        width: in pixels.
        stage: whether the camera stands before one person, who walks or dances.
    """

    def __init__(self, seed: int, clip: int, frame: int, height: int, width: int, stage: bool = False) -> None:
        self.street, self.number = street(seed, clip, stage), frame
        self.view = View(self.street.pose(frame), height, width)
        self.canvas = drawn(self.street, frame, self.view)
        self.part = self.canvas.part
        """(height, width) number of the surface that each pixel shows."""

    @cached_property
    def lit(self) -> Lit:
        """Hold what the frame's conditions share."""
        return Lit(self.view, self.street, self.number, *painted(self.canvas, self.street, self.number))

    def image(self, condition: Condition) -> np.ndarray:
        """Give the picture in a condition: (height, width, 3) uint8."""
        return self.lit.image(condition)

    @cached_property
    def labels(self) -> np.ndarray:
        """Give the class of each pixel: (height, width) uint8, ids of `classes.CLASSES`."""
        out: np.ndarray = np.array([s.label for s in self.canvas.surfaces], np.uint8)[self.part]
        return out

    @cached_property
    def instances(self) -> np.ndarray:
        """Give the object of each pixel: (height, width) uint16, 0 where a class has no objects that are counted.

        Objects keep their ids from frame to frame.
        """
        out: np.ndarray = np.array([s.instance for s in self.canvas.surfaces], np.uint16)[self.part]
        return out

    @cached_property
    def depth(self) -> np.ndarray:
        """Give the depth of each pixel along the optical axis: (height, width) uint16, in centimetres; of the sky
        65535."""
        out: np.ndarray = np.clip(np.rint(self.canvas.depth * np.float32(100)), 0, 65535).astype(np.uint16)
        return out
