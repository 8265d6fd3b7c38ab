"""Refuse options that the networks cannot have, and image sizes that they cannot take, naming the flag."""

from __future__ import annotations

from i2i_core.errors import ConfigError
from i2i_core.networks import shapes

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


def check_multiple(size: int, factor: int, network: str) -> None:
    """Refuse an image side that the network's strides do not divide.

    Raises:
        ConfigError: names --image-size and the nearest sides that the network can take.
    """
    try:
        shapes.check_multiple(size, factor, network)
    except shapes.SizeError as error:
        raise ConfigError("--image-size", str(size), error.expected, f"Give --image-size {error.listed}.") from None


def check_unet(size: int, downs: int) -> None:
    """Refuse an image side that cannot be halved `downs` times, and fewer than 2 downs.

    Raises:
        ConfigError: names --image-size and the nearest sides that can be halved so, or --downs.
    """
    if downs < 2:
        raise ConfigError("--downs", str(downs), "a number >= 2", "Give --downs 8 for 256 px, 7 for 128 px.")
    check_multiple(size, 2**downs, f"a U-Net of {downs} downs")


def check_patch_size(size: int, receptive_field: int) -> None:
    """Refuse an image side so small that the patch discriminator has no logit left.

    Raises:
        ConfigError: names --image-size and the smallest side.
    """
    smallest = shapes.smallest_side(shapes.STRIDED_LAYERS[receptive_field])
    if size < smallest:
        raise ConfigError(
            "--image-size",
            str(size),
            f"at least {smallest} for a receptive field of {receptive_field}",
            f"Give --image-size {smallest} or more, or a smaller --receptive-field.",
        )


def check_two_scales(size: int, layers: int) -> None:
    """Refuse an image side so small that the second scale has no logit left.

    Raises:
        ConfigError: names --image-size and the smallest side.
    """
    smallest = 2 * shapes.smallest_side(layers)
    if size < smallest:
        raise ConfigError(
            "--image-size",
            str(size),
            f"at least {smallest} for two scales of {layers} stride-2 layers",
            f"Give --image-size {smallest} or more, or --d-layers {max(1, layers - 1)}.",
        )
