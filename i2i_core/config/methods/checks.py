"""Refuse options that the networks cannot have, and image sizes that they cannot take, naming the flag."""

from __future__ import annotations

import math

from i2i_core.errors import ConfigError
from i2i_core.networks import shapes
from i2i_core.sizes import Size, said, sides

WIDEST = 4096
"""Most channels of a network's first layer, and numbers of a code."""
DEEPEST = 1000
"""Most residual blocks of a network."""
MOST_HALVINGS = 14
"""Most layers of stride 2, one after the other: more than the longest side can be halved."""
MOST_RATE = 1e38
"""Largest learning rate: nearly what float32 holds, so that a search may find out where a run diverges."""
MOST_MOVES = 1000
"""Most moves of one player to one of another."""
MOST_KEPT = 1_000_000
"""Most images of a history."""


def check_multiple(size: Size, factor: int, network: str, other: str = "") -> None:
    """Refuse an image size of which the network's strides do not divide both sides.

    Args:
        other: another way out, added to the advice.

    Raises:
        ConfigError: names --image-size and the nearest sizes that the network can take.
    """
    for side in sides(size):
        try:
            shapes.check_multiple(side, factor, network)
        except shapes.SizeError as error:
            expected = error.expected if isinstance(size, int) else f"of each side {error.expected}"
            fix = f"Give --image-size {' or '.join(_nearest(size, factor))}{other}."
            raise ConfigError("--image-size", said(size), expected, fix) from None


def check_size(size: Size) -> None:
    """Refuse a size without pixels. Raises ConfigError, which names --image-size."""
    if min(sides(size)) < 1:
        raise ConfigError("--image-size", said(size), "sides of 1 pixel or more", "Give --image-size 64, or 64x32.")


def _nearest(size: Size, factor: int) -> list[str]:
    """List the next smaller size of which a factor divides both sides, and the next larger one."""
    height, width = sides(size)
    below = max(height, 0) // factor * factor, max(width, 0) // factor * factor
    above = -(-max(height, 1) // factor) * factor, -(-max(width, 1) // factor) * factor
    return [said(near) for near in (below, above) if min(near) > 0]


def check_unet(size: Size, downs: int) -> None:
    """Refuse an image size that cannot be halved `downs` times, and fewer than 2 downs.

    Raises:
        ConfigError: names --image-size and the nearest sizes that can be halved so, and the --downs that this size can.
    """
    if downs < 2:
        raise ConfigError("--downs", str(downs), "a number >= 2", "Give --downs 8 for 256 px, 7 for 128 px.")
    height, width = sides(size)
    halvings = shapes.halvings(math.gcd(height, width)) if min(height, width) > 0 else 0
    other = f"; or --downs {halvings}" if halvings >= 2 else ""
    check_multiple(size, 2**downs, f"a U-Net of {downs} downs", other)


def check_patch_size(size: Size, receptive_field: int) -> None:
    """Refuse an image size so small that the patch discriminator has no logit left.

    Raises:
        ConfigError: names --image-size and the smallest side.
    """
    smallest = shapes.smallest_side(shapes.STRIDED_LAYERS[receptive_field])
    if min(sides(size)) < smallest:
        raise ConfigError(
            "--image-size",
            said(size),
            f"at least {smallest} for a receptive field of {receptive_field}",
            f"Give --image-size {smallest} or more, or a smaller --receptive-field.",
        )


def check_two_scales(size: Size, layers: int) -> None:
    """Refuse an image size so small that the second scale has no logit left.

    Raises:
        ConfigError: names --image-size and the smallest side.
    """
    smallest = 2 * shapes.smallest_side(layers)
    if min(sides(size)) < smallest:
        raise ConfigError(
            "--image-size",
            said(size),
            f"at least {smallest} for two scales of {layers} stride-2 layers",
            f"Give --image-size {smallest} or more, or --d-layers {max(1, layers - 1)}.",
        )


def check_pyramid(size: Size) -> None:
    """Refuse an image size whose shorter side cannot be halved to 4, the other one as often.

    Raises:
        ConfigError: names --image-size and sizes that can be.
    """
    try:
        shapes.halvings_to_four(size)
    except shapes.SizeError as error:
        short = max(8, min(4096, 1 << max(0, min(sides(size)).bit_length() - 1)))
        fix = f"Give --image-size {short} or {2 * short}, say, or --image-size {2 * short}x{short}."
        raise ConfigError("--image-size", said(size), error.expected, fix) from None
