"""Make images of codes, and judge them, without convolutions: networks of linear layers, and maxout.

Shapes: B batch, Z length of a code, N numbers, C channels, H height, W width.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn


class Maxout(nn.Module):
    """Compute the largest of `pieces` linear functions for each unit: (B, inputs) -> (B, units).

    Goodfellow et al., "Maxout Networks", ICML 2013 (arXiv:1302.4389), sec. 3.
    """

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, units * pieces)
        self.units = units

    def forward(self, x_BN: Tensor) -> Tensor:
        return self.linear(x_BN).unflatten(1, (self.units, -1)).amax(dim=2)


class MLPGenerator(nn.Module):
    """Make images of codes by linear layers and ReLU: (B, Z) -> (B, C, H, W).

    The last layer has no tanh: images are not bounded (Arjovsky et al. 2017, sec. 4.3).

    Args:
        shape: (C, H, W) of the images.
        widths: units of each hidden layer.
    """

    def __init__(self, z_dim: int, shape: tuple[int, int, int], widths: tuple[int, ...] = (512, 512, 512)) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *_relus((z_dim, *widths)), nn.Linear(widths[-1], math.prod(shape)), nn.Unflatten(1, shape)
        )

    def forward(self, z_BZ: Tensor) -> Tensor:
        return self.net(z_BZ)


class MLPDiscriminator(nn.Module):
    """Judge images by linear layers and ReLU: (B, C, H, W) -> logits (B, 1).

    Args:
        shape: (C, H, W) of the images.
        widths: units of each hidden layer.
    """

    def __init__(self, shape: tuple[int, int, int], widths: tuple[int, ...] = (512, 512, 512)) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), *_relus((math.prod(shape), *widths)), nn.Linear(widths[-1], 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.net(x_BCHW)


def _relus(widths: tuple[int, ...]) -> list[nn.Module]:
    return [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU(inplace=True))]
