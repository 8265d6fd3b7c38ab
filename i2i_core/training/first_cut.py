"""Say what a run does to the first image of its data before the networks see it, with numbers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from i2i_core.config.run import TrainConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.transforms import Augment
from i2i_core.images.placement import Placement
from i2i_core.sizes import written
from i2i_core.training.enlarging import stored_size

SLIGHT = 1.02
"""Distortion up to which nothing is said: the rounding of small sides."""


@dataclass(frozen=True)
class FirstCut:
    """Hold the line, and the level at which it is logged: a warning where shapes are distorted."""

    level: int
    words: str


def of(config: TrainConfig, sets: Sequence[DataSet]) -> FirstCut | None:
    """Word what the first stage of a run does to the first image of its first data set that has images.

    Args:
        config: of the run.
        sets: its data sets, opened.

    Returns:
        None where there are no pixels, or the first image cannot be read.
    """
    found = next(filter(None, (stored_size(data, config.data.split) for data in sets)), None)
    if found is None:
        return None
    stage, k = config.stages(1)[0], config.data
    place = Augment(stage.size, stage.load, k.crop, False, 0, k.resizing).placement(found, [0, 0, 0])
    distortion = _distortion(place)
    steps = [_scaled(place, distortion), *_cut(place, k.crop == "random"), *(["mirrored half the time"] * k.flip)]
    level = logging.WARNING if distortion > SLIGHT else logging.INFO
    return FirstCut(level, f"first image {written(place.stored)}: {', '.join(steps)}")


def _distortion(place: Placement) -> float:
    """Compute by how much one side is scaled more than the other; 1 keeps the shape."""
    (height, width), (rows, columns) = place.stored, place.loaded
    times = rows / height, columns / width
    nearly = abs(rows * width - columns * height) <= max(height, width)  # the rounding of a side
    return 1.0 if nearly else max(times) / min(times)


def _scaled(place: Placement, distortion: float) -> str:
    if place.loaded == place.stored:
        return "not resized"
    if distortion <= SLIGHT:
        return f"scaled to {written(place.loaded)}"
    (height, width), (rows, columns) = place.stored, place.loaded
    narrower = "narrower" if columns / width < rows / height else "flatter"
    return (
        f"stretched to {written(place.loaded)}, which makes everything in it {distortion:.3g} times {narrower} "
        "(--fit shorter keeps shapes)"
    )


def _cut(place: Placement, is_random: bool) -> list[str]:
    """Word the padding and the crop, if there are any."""
    (rows, columns), (height, width) = place.loaded, place.size
    if place.loaded == place.size:
        return []
    padded = rows < height or columns < width
    words = [f"padded to {written((max(rows, height), max(columns, width)))}"] if padded else []
    if rows > height or columns > width:
        words.append(f"{written(place.size)} cut out {'at random' if is_random else 'of the middle'}")
    return words
