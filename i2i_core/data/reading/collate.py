"""Put the fields of several samples together, as a batch holds them on the host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i_core.data.format.roles import Value
from i2i_core.fields import NUMBERS, PIXELS, Field, Role

Sample = dict[str, Value]
"""Values of the fields of a sample, by their names in a batch."""


@dataclass(frozen=True)
class Columns:
    """Hold the fields of n samples by name, as a `Batch` does."""

    fields: dict[str, Tensor] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    texts: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    boxes: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def add(self, other: Columns) -> None:
        """Take the fields of another source's samples."""
        self.fields.update(other.fields)
        self.roles.update(other.roles)
        self.texts.update(other.texts)
        self.boxes.update(other.boxes)


def check_alike(first: Sample, frame: Sample) -> None:
    """Check that a frame's arrays have the shapes of the first frame's of its sequence. Raises ValueError where one has
    not."""
    for name, value in frame.items():
        if isinstance(value, np.ndarray) and isinstance(of := first[name], np.ndarray) and value.shape != of.shape:
            raise ValueError(f"{name} of shape {value.shape} where the first frame has {of.shape}")


def collated(
    sequences: Iterable[Sequence[Sample]], shape: tuple[int, ...], fields: Mapping[str, Field], grouped: bool = False
) -> Columns:
    """Put samples together, one after the other, while each is in the processor's cache.

    Args:
        sequences: the frames of each sample; one of samples that stand alone.
        shape: (n, T): how many samples, and how many frames or companions of each.
        fields: what they are.
        grouped: whether the axis T stays even where T is one: of companions.

    Returns:
        Tensors (n, ...), or (n, T, ...) where T is more than one or `grouped`; of lists an entry per sample, which then
        holds one for each of the T.

    Raises:
        ValueError: arrays of several shapes.
    """
    (n, frames), samples = shape, chain.from_iterable(sequences)
    arrays: dict[str, np.ndarray] = {}
    lists: dict[str, list[Value]] = {name: [] for name, of in fields.items() if of.role not in NUMBERS}
    for i, sample in enumerate(samples):
        for name, value in sample.items():
            if name in lists:
                lists[name].append(value)
                continue
            assert isinstance(value, np.ndarray)
            x = value.transpose(2, 0, 1) if fields[name].role in PIXELS else value
            if i == 0:
                arrays[name] = np.empty((n * frames, *x.shape), x.dtype)
            np.concatenate([x[None]], out=arrays[name][i : i + 1])  # unlike an assignment, refuses another shape
    single = frames == 1 and not grouped
    lead = (n,) if single else (n, frames)
    return Columns(
        {name: torch.from_numpy(x.reshape(*lead, *x.shape[1:])) for name, x in arrays.items()},
        {name: fields[name].role for name in arrays if fields[name].role != "image"},
        {
            name: _by_sample(map(_captions, of), frames, single)
            for name, of in lists.items()
            if fields[name].role == "text"
        },
        {
            name: _by_sample(map(_boxes, of), frames, single)
            for name, of in lists.items()
            if fields[name].role == "boxes"
        },
    )


def _by_sample(values: Iterable[Any], frames: int, single: bool) -> tuple[Any, ...]:
    each = tuple(values)
    return each if single else tuple(each[i : i + frames] for i in range(0, len(each), frames))


def _captions(value: Value) -> tuple[str, ...]:
    assert isinstance(value, tuple)
    return value


def _boxes(value: Value) -> Tensor:
    assert isinstance(value, np.ndarray)
    return torch.from_numpy(np.ascontiguousarray(value, np.float32))
