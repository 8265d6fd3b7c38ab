"""Declare what controls a method's images besides its inputs: target labels, a code, or example images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Labels:
    """Declare that the method takes target labels (n, A): the attributes that the output shows.

    Attributes:
        several: true if the method trains on several labelled data sets side by side.
    """

    several: bool = False


@dataclass(frozen=True)
class Code:
    """Declare that the method takes a code z (n, Z): outputs for one input differ by it.

    A code can be drawn at random, and two codes can be interpolated.

    Attributes:
        encoded: true if the method can also read the code off an example of the output.
        drawn: `normal` draws each number from N(0, 1), `uniform` evenly from -1 to 1.
    """

    encoded: bool = False
    drawn: Literal["normal", "uniform"] = "normal"


@dataclass(frozen=True)
class Examples:
    """Declare that the method takes example images (n, K, C, H, W), which the output resembles: any number K.

    Attributes:
        field: the batch's field that holds examples when a run is evaluated.
    """

    field: str = "companions"


Control = Labels | Code | Examples
