"""Measure the distance between images pixel by pixel."""

from __future__ import annotations

from torch import Tensor

from i2i_core.losses.numeric import check_same_shape, upcast


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Compute E[||a - b||_1], the mean over samples, channels and pixels.

    pix2pix Eq. 3, CycleGAN Eq. 2, StarGAN Eq. 4.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(a, b)
    return (upcast(a) - upcast(b)).abs().mean()
