"""Say what can be turned when a method makes images: what `translate` and `module()` are told besides their inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Labels:
    """Target labels, (n, A): what the output shows.

    Attributes:
        several: whether the method trains on several labelled data sets side by side.
    """

    several: bool = False


@dataclass(frozen=True)
class Code:
    """A code z, (n, Z), by which outputs for one input differ. It can be drawn, and two can be mixed.

    Attributes:
        encoded: whether it can also be read off an example of the output.
        drawn: each of its numbers from N(0, 1), or evenly from -1 to 1.
    """

    encoded: bool = False
    drawn: Literal["normal", "uniform"] = "normal"


@dataclass(frozen=True)
class Examples:
    """Images that the output is to be like, (n, K, C, H, W): K of each, any number.

    Attributes:
        field: of a batch, the field that has them where a run is measured.
    """

    field: str = "companions"


Control = Labels | Code | Examples
