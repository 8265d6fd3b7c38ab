"""Read a code off an image, as a normal distribution: BicycleGAN's encoder.

Zhu et al., "Toward Multimodal Image-to-Image Translation", NIPS 2017, sec. 4 (E_ResNet).

Shapes: B batch, C channels, H height, W width, Z length of the code.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from i2i_core.networks.layers import norm_layer
from i2i_core.networks.shapes import Norm

WIDEST = 4  # widths grow by base up to WIDEST * base


class _Block(nn.Module):
    """Norm, LeakyReLU, conv3, norm, LeakyReLU, conv3, pool; beside it pool and conv1. Halves the image."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.body = nn.Sequential(
            norm_layer(norm, inputs),
            nn.LeakyReLU(0.2),
            nn.Conv2d(inputs, inputs, 3, 1, 1),
            norm_layer(norm, inputs),
            nn.LeakyReLU(0.2),
            nn.Conv2d(inputs, outputs, 3, 1, 1),
            nn.AvgPool2d(2),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.body(x_BCHW) + self.shortcut(x_BCHW)


class Encoder(nn.Module):
    """Encode images (B, C, H, W) to the mean and the log variance of a code, (B, Z) each; or to (mean, None).

    4x4 convolution of stride 2; `blocks` residual blocks, each of which halves the image and widens it by `base`, up to
    four times `base`; average over positions; a linear head for each result.

    Args:
        variance: false leaves the second head out (cLR-GAN).

    Attributes:
        least: the side in pixels that is halved to one; images must not be smaller.
    """

    blocks_to_checkpoint = ("trunk",)

    def __init__(
        self,
        channels: int = 3,
        z_dim: int = 8,
        base: int = 64,
        blocks: int = 4,
        norm: Norm = "instance",
        variance: bool = True,
    ) -> None:
        super().__init__()
        self.least = 2 ** (blocks + 1)
        widths = [base * min(n, WIDEST) for n in range(1, blocks + 2)]
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, base, 4, 2, 1),
            *(_Block(inputs, outputs, norm) for inputs, outputs in pairwise(widths)),
            nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.mean = nn.Linear(widths[-1], z_dim)
        self.log_variance = nn.Linear(widths[-1], z_dim) if variance else None

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        h = self.trunk(x_BCHW)
        return self.mean(h), self.log_variance(h) if self.log_variance else None
