"""Which samples are measured, and how what every worker found becomes one number.

A split is cut into chunks of CHUNK samples in the order of its index; chunks are dealt to workers
in turn. What is computed from a chunk depends on the chunk alone, so the number of workers changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from i2i_core.data.batch import Batch
from i2i_core.data.manifest import DataSet
from i2i_core.data.stream import in_order
from i2i_core.data.transforms import Size

CHUNK = 32

Values = dict[str, list[float]]
"""Per metric, one number for each sample (or image made of it) that it applies to."""
Gather = Callable[[Any], list[Any]]
"""Takes this worker's object and gives those of all workers, in any order."""


@dataclass(frozen=True)
class Measured:
    """The mean of a metric, and over how many images."""

    value: float
    count: int


def identity(key: str) -> str:
    """What a sample shows, of data sets whose keys say it: what stands before the first `-`."""
    return key.split("-", 1)[0]


def chunks(
    data: DataSet,
    split: str,
    image_size: Size,
    *,
    most: int = 0,
    rank: int = 0,
    world: int = 1,
    direction: Literal["AtoB", "BtoA"] = "AtoB",
) -> Iterator[tuple[int, Batch]]:
    """This worker's chunks, each with its number: unaugmented, on the CPU at [-1, 1].

    Args:
        image_size: pixels that images are resized to; 0: as they are stored.
        most: only the first so many samples; 0: all.

    Raises:
        DataError: no such split.
    """
    chunks = in_order(data, split, image_size, most=most, size=CHUNK, rank=rank, world=world, direction=direction)
    return ((chunk.images // CHUNK, chunk) for chunk in chunks)


def means(parts: Iterable[tuple[int, Values]]) -> dict[str, Measured]:
    """Chunks of all workers as one mean per metric, exactly rounded: the order of the parts does not matter."""
    merged: Values = {}
    for _, values in sorted(parts, key=lambda part: part[0]):
        for name, numbers in values.items():
            merged.setdefault(name, []).extend(numbers)
    return {name: Measured(math.fsum(v) / len(v), len(v)) for name, v in merged.items() if v}


def repeatable() -> AbstractContextManager[None]:
    """cuDNN held to algorithms that give the same bits each time."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
