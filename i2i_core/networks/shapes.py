"""List the variants of networks and the image sizes they take; without torch, so that configurations use it too."""

from __future__ import annotations

import typing
from typing import Literal

from i2i_core.sizes import Size, sides

Norm = Literal["batch", "instance", "instance_affine", "none"]
Padding = Literal["zeros", "reflect"]
Upsample = Literal["transposed", "resize", "shuffle"]
DropoutAt = Literal["innermost", "after_innermost"]
NoiseAt = Literal["input", "all"]
Local = Literal["eyes", "hands"]
ReceptiveField = Literal[1, 16, 70, 286]

UPSAMPLES: tuple[str, ...] = typing.get_args(Upsample)
STRIDED_LAYERS: dict[int, int] = {1: 0, 16: 1, 70: 3, 286: 5}
"""Number of stride-2 layers of a patch discriminator by its receptive field; 0 is PixelGAN. (With stride 2 in the last
feature layer too, 16 and 286 would be 22 and 382.)"""


class SizeError(ValueError):
    """Report an image side that a network cannot take.

    Attributes:
        expected: the sides that it can take, in words.
        listed: the nearest of them, `16 or 20`.
    """

    def __init__(self, side: int, expected: str, sides: tuple[int, ...]) -> None:
        super().__init__(f"an image side of {side}, expected {expected}")
        self.expected, self.listed = expected, " or ".join(map(str, sides))


def check_multiple(side: int, factor: int, network: str) -> None:
    """Refuse an image side that the network's strides do not divide.

    Raises:
        SizeError: with the nearest sides that they divide.
    """
    if side > 0 and side % factor == 0:
        return
    below = max(side, 0) // factor * factor
    expected = f"a multiple of {factor} ({network} halves the image {factor.bit_length() - 1} times)"
    raise SizeError(side, expected, tuple(near for near in (below, below + factor) if near > 0))


def halvings(side: int) -> int:
    """Count how often a side above 0 can be halved without a remainder."""
    return (side & -side).bit_length() - 1


def downs_for(size: Size, downs: int = 0) -> int:
    """Count the stride-2 layers of a U-Net for an image size: `downs`, or as many as halve its shorter side to 1, from
    2 to 8."""
    return downs or min(8, max(2, min(sides(size)).bit_length() - 1))


def smallest_side(layers: int) -> int:
    """Compute the image side for which a patch discriminator of `layers` stride-2 layers gives one logit.

    Its two stride-1 convolutions take one pixel each.
    """
    return 3 * 2**layers if layers else 1
