"""Put the fields of several samples together, as a batch holds them on the host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from i2i_core.data.format.roles import Value
from i2i_core.fields import NUMBERS, PIXELS, Field, Role

Sample = dict[str, Value]
"""Values of the fields of a sample, by their names in a batch."""


@dataclass(frozen=True)
class Columns:
    """Hold the fields of n samples, by name, as `Batch` has them."""

    fields: dict[str, Tensor] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    texts: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    boxes: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)

    def add(self, other: Columns) -> None:
        """Take the fields of another source's samples."""
        self.fields.update(other.fields)
        self.roles.update(other.roles)
        self.texts.update(other.texts)
        self.boxes.update(other.boxes)


def collated(samples: Iterable[Sample], n: int, fields: Mapping[str, Field]) -> Columns:
    """Put n samples together, one after the other, while each is in the processor's cache.

    Raises:
        ValueError: arrays of several shapes.
    """
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
                arrays[name] = np.empty((n, *x.shape), x.dtype)
            np.concatenate([x[None]], out=arrays[name][i : i + 1])  # unlike an assignment, refuses another shape
    return Columns(
        {name: torch.from_numpy(x) for name, x in arrays.items()},
        {name: fields[name].role for name in arrays if fields[name].role != "image"},
        {name: tuple(map(_captions, values)) for name, values in lists.items() if fields[name].role == "text"},
        {name: tuple(map(_boxes, values)) for name, values in lists.items() if fields[name].role == "boxes"},
    )


def _captions(value: Value) -> tuple[str, ...]:
    assert isinstance(value, tuple)
    return value


def _boxes(value: Value) -> Tensor:
    assert isinstance(value, np.ndarray)
    return torch.from_numpy(np.ascontiguousarray(value, np.float32))
