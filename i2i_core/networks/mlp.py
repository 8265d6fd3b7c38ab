"""Make images of codes, and judge them, without convolutions: networks of linear layers, and maxout.

Shapes: B batch, Z length of a code, N numbers, C channels, H height, W width.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
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


class Squashed(nn.Module):
    """Make images of the last layer's numbers by a sigmoid, from [0, 1] to [-1, 1]: (B, C H W) -> (B, C, H, W)."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, h_BN: Tensor) -> Tensor:
        return (2 * h_BN.sigmoid() - 1).unflatten(1, self.shape)


class Flat(nn.Module):
    """Flatten images, from [-1, 1] to [0, 1]: (B, C, H, W) -> (B, C H W)."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return (x_BCHW.flatten(1) + 1) / 2


class MLPGenerator(nn.Module):
    """Make images of codes by linear layers and ReLU: (B, Z) -> (B, C, H, W).

    The last layer has no tanh: images are not bounded (Arjovsky et al. 2017, sec. 4.3).

    Args:
        shape: (C, H, W) of the images.
        widths: units of each hidden layer.
    """

    blocks_to_checkpoint = ("net",)

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


class GANGenerator(nn.Module):
    """Make images in [-1, 1] of codes by two hidden layers of ReLU and a sigmoid: (B, Z) -> (B, C, H, W).

    Goodfellow et al., "Generative Adversarial Networks", NIPS 2014 (arXiv:1406.2661), and its authors' program.

    Args:
        shape: (C, H, W) of the images.
        units: of each hidden layer.
    """

    blocks_to_checkpoint = ("net",)

    def __init__(self, z_dim: int, shape: tuple[int, int, int], units: int = 1200) -> None:
        super().__init__()
        self.net = nn.Sequential(*_relus((z_dim, units, units)), nn.Linear(units, math.prod(shape)), Squashed(shape))

    def forward(self, z_BZ: Tensor) -> Tensor:
        return self.net(z_BZ)


class GANDiscriminator(nn.Module):
    """Judge images by two hidden layers of maxout with dropout: (B, C, H, W) -> logits (B, 1).

    Args:
        shape: (C, H, W) of the images.
        units, pieces: of each hidden layer.
        input_dropout, dropout: share of pixels, and of hidden units, that are dropped.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        units: int = 240,
        pieces: int = 5,
        input_dropout: float = 0.2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.net = nn.Sequential(
            Flat(),
            nn.Dropout(input_dropout),
            Maxout(math.prod(shape), units, pieces),
            nn.Dropout(dropout),
            Maxout(units, units, pieces),
            nn.Dropout(dropout),
            nn.Linear(units, 1),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.net(x_BCHW)


class ConditionalGenerator(nn.Module):
    """Make images in [-1, 1] of labels and codes: (B, A), (B, Z) -> (B, C, H, W).

    A layer of ReLU each reads the code and the labels, a joint layer of ReLU both, and a sigmoid makes the image
    (Mirza & Osindero, "Conditional Generative Adversarial Nets", 2014, arXiv:1411.1784, sec. 4.1). Dropout follows each
    hidden layer.

    Args:
        labels: length A of a label vector.
        shape: (C, H, W) of the images.
        units: of the joint layer; a sixth of them read the code, and five sixths the labels.
        dropout: share of hidden units that is dropped.
    """

    blocks_to_checkpoint = ("joint",)

    def __init__(
        self, labels: int, z_dim: int, shape: tuple[int, int, int], units: int = 1200, dropout: float = 0.5
    ) -> None:
        super().__init__()
        readers = max(1, units // 6)
        self.of_code, self.of_label = nn.Linear(z_dim, readers), nn.Linear(labels, max(1, units - readers))
        parts = readers + self.of_label.out_features
        self.hidden = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(dropout))
        self.joint = nn.Sequential(nn.Linear(parts, units), nn.ReLU(inplace=True), nn.Dropout(dropout))
        self.last = nn.Sequential(nn.Linear(units, math.prod(shape)), Squashed(shape))

    def forward(self, y_BA: Tensor, z_BZ: Tensor) -> Tensor:
        parts = torch.cat([self.of_code(z_BZ), self.of_label(y_BA)], dim=1)
        return self.last(self.joint(self.hidden(parts)))


class ConditionalDiscriminator(nn.Module):
    """Judge images and their labels together: (B, C, H, W), (B, A) -> logits (B, 1).

    Maxout of 5 pieces reads each, and maxout of 4 pieces both together; dropout follows each (Mirza & Osindero 2014,
    sec. 4.1).

    Args:
        labels: length A of a label vector.
        shape: (C, H, W) of the images.
        units: of the layer of images and of the joint layer; the labels' has five for each 24 of them.
        dropout: share of hidden units that is dropped.
    """

    def __init__(self, labels: int, shape: tuple[int, int, int], units: int = 240, dropout: float = 0.5) -> None:
        super().__init__()
        readers = max(1, 5 * units // 24)
        self.of_image = nn.Sequential(Flat(), Maxout(math.prod(shape), units, 5))
        self.of_label = Maxout(labels, readers, 5)
        self.joint = nn.Sequential(
            nn.Dropout(dropout), Maxout(units + readers, units, 4), nn.Dropout(dropout), nn.Linear(units, 1)
        )

    def forward(self, x_BCHW: Tensor, y_BA: Tensor) -> Tensor:
        return self.joint(torch.cat([self.of_image(x_BCHW), self.of_label(y_BA)], dim=1))
