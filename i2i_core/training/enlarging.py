"""Find out whether a run enlarges its images, and which flags would train at their own size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from i2i_core.config.run import TrainConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.roles import value_of
from i2i_core.data.reading.reader import Reader
from i2i_core.errors import UserError
from i2i_core.fields import PIXELS
from i2i_core.sizes import sides, written

SLIGHT = 1.1
"""Enlargement up to which nothing is said: a preset may resize 250 pixels to 256."""


def caution(config: TrainConfig, sets: Sequence[DataSet]) -> str:
    """Say that a run enlarges its images, how much, and what trains at their own size; "" where it does not.

    Args:
        config: of the run.
        sets: its data sets, opened.
    """
    stage = config.stages(1)[-1]
    trains, loads = sides(stage.size), stage.load
    for data in sets:
        found = stored_size(data, config.data.split)
        height, width = found or (0, 0)
        times = max(trains[0] / height, trains[1] / width) if found else 1.0
        if times <= SLIGHT:
            continue
        at = written(trains) + (f" (resized to {loads} and cropped)" if loads > trains[0] else "")
        stored = written((height, width))
        said = f"the images of {data.uri} are {stored}; this run trains at {at}: they are enlarged {times:.3g} "
        alone = not config.training.parsed_stages and trains[0] == trains[1]
        fix = advice(config, min(height, width)) if alone else ""
        return f"{said}times." + (f" {fix} trains at their own size." if fix else "")
    return ""


def stored_size(data: DataSet, split: str) -> tuple[int, int] | None:
    """Find height and width of a data set's images: of all of them as its manifest says, else of the first one.

    Returns:
        None where there are no pixels, or the first image cannot be read.
    """
    names = [name for name, of in data.manifest.fields.items() if of.role in PIXELS]
    images = [name for name in names if data.manifest.fields[name].role == "image"] or names
    if not images:
        return None
    field = data.manifest.fields[images[0]]
    if field.height and field.width:
        return field.height, field.width
    reader = Reader(data, split, data.manifest.domains[0])
    try:
        (first,) = reader.read([0], list(data.manifest.fields).index(images[0]))
        value = value_of(first, field)
    except (ValueError, UserError):
        return None
    assert isinstance(value, np.ndarray)
    return value.shape[0], value.shape[1]


def advice(config: TrainConfig, side: int) -> str:
    """Give the flags that train at a size, the largest up to it that the method's networks take; "" where none is."""
    size = next((size for size in range(side, side // 2, -1) if _takes(config, size)), 0)
    if not size:
        return ""
    (trains, _), load = sides(config.image_size), config.data.load_size
    return f"--image-size {size}" + (f" --load-size {round(load * size / trains)}" if load > trains else "")


def _takes(config: TrainConfig, size: int) -> bool:
    """Tell whether the method's options can be with images of a size."""
    try:
        config.with_section("hyper", image_size=size)
    except UserError:
        return False
    return True
