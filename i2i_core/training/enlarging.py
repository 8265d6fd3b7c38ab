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
from i2i_core.sizes import Size, fitted, said, sides, simplest, written

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
        rows, columns = fitted(height, width, trains, config.data.fit) if found else (1, 1)
        times = max(rows / height, columns / width) if found else 1.0
        if times <= SLIGHT:
            continue
        at = written(trains) + (f" (resized to {loads} and cropped)" if loads > trains[0] else "")
        stored = written((height, width))
        said = f"the images of {data.uri} are {stored}; this run trains at {at}: they are enlarged {times:.3g} "
        fix = "" if config.training.parsed_stages else advice(config, height, width)
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


def advice(config: TrainConfig, height: int, width: int) -> str:
    """Give the flags that train at an image's own size: the largest that fits into it, of the aspect ratio of the run's
    training size, that the method's networks take; "" where none is."""
    (rows, columns), load = sides(config.image_size), config.data.load_size
    most = min(height, round(width * rows / columns))
    sizes = (simplest((size, round(size * columns / rows))) for size in range(most, most // 2, -1))
    size = next((size for size in sizes if sides(size)[1] <= width and _takes(config, size)), 0)
    if not size:
        return ""
    scaled = f" --load-size {round(load * sides(size)[0] / rows)}" if load > rows else ""
    return f"--image-size {said(size)}{scaled}"


def _takes(config: TrainConfig, size: Size) -> bool:
    """Tell whether the method's options can be with images of a size."""
    try:
        config.with_section("hyper", image_size=size)
    except UserError:
        return False
    return True
