"""Describe what a sample is made of, and what a method reads of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

WHOLE = "all"
"""The one domain of paired and labelled data sets."""
Kind = Literal["paired", "unpaired", "labelled"]


@dataclass(frozen=True)
class Field:
    """One image of a sample. `height` and `width` are 0 where they differ between samples."""

    extension: str
    channels: int
    dtype: str
    """`uint8`, `uint16` or `float32` (already in [-1, 1])."""
    height: int
    width: int


@dataclass(frozen=True)
class Schema:
    """Describe the samples of a data set, wherever they are stored: what a method's `fit` reads."""

    kind: Kind
    fields: dict[str, Field]
    """In `a`, `b` order for paired data; the single field `image` otherwise."""
    attributes: tuple[str, ...] = ()
    exclusive: bool = False
    """Labelled only: every sample has exactly one attribute (a class per folder)."""
    domains: tuple[str, ...] = (WHOLE,)
