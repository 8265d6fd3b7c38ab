"""Say what can be turned when a method makes images: the arguments of `translate` besides its inputs."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    encoded: bool = False


Control = Labels | Code
