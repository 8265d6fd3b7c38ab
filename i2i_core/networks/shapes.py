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
GeneratorNorm = Literal["batch", "none"]
CriticNorm = Literal["batch", "layer", "none"]

UPSAMPLES: tuple[str, ...] = typing.get_args(Upsample)
STRIDED_LAYERS: dict[int, int] = {1: 0, 16: 1, 70: 3, 286: 5}
"""Number of stride-2 layers of a patch discriminator by its receptive field; 0 is PixelGAN. (With stride 2 in the last
feature layer too, 16 and 286 would be 22 and 382.)"""


class SizeError(ValueError):
    """Report an image side that a network cannot take.

    Attributes:
        expected: the sides that it can take, in words.
        listed: the nearest of them, `16 or 20`.
        factor: a number whose multiples it can take, from `least` on; 0: nothing is known of it. Images that are
            translated are padded to them (`translation/padding.py`).
    """

    def __init__(self, side: int, expected: str, sides: tuple[int, ...], factor: int = 0, least: int = 0) -> None:
        super().__init__(f"an image side of {side}, expected {expected}")
        self.expected, self.listed = expected, " or ".join(map(str, sides))
        self.factor, self.least = factor, least


def check_multiple(side: int, factor: int, network: str, least: int = 0) -> None:
    """Refuse an image side that the network's strides do not divide, and one below `least`.

    Raises:
        SizeError: with the nearest sides that they divide.
    """
    if side >= max(least, 1) and side % factor == 0:
        return
    below = max(side, 0) // factor * factor
    expected = f"a multiple of {factor} ({network} halves the image {factor.bit_length() - 1} times)"
    if 0 < side < least:
        expected += f", at least {least}"
    nearest = dict.fromkeys(max(near, least) for near in (below, below + factor) if near > 0)
    raise SizeError(side, expected, tuple(nearest), factor, least)


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


def halvings_to_four(size: Size) -> int:
    """Count the layers of stride 2 that bring an image's shorter side to 4.

    Raises:
        SizeError: they do not, or there is none: the shorter side is no power of two from 8 on, or the other one is no
            multiple of as much.
    """
    short, long = sorted(sides(size))
    near = 1 << max(3, short.bit_length() - 1) if short > 0 else 8
    if short < 8 or short & (short - 1):
        raise SizeError(short, "a power of two, at least 8, on the shorter side", (near, 2 * near))
    layers = short.bit_length() - 3
    check_multiple(long, 2**layers, "DCGAN's discriminator")
    return layers
