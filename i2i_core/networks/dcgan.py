"""Make images of codes, and judge them, by strided convolutions: DCGAN's generator and discriminator.

Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks", ICLR
2016 (arXiv:1511.06434), sec. 3 and Fig. 1. Kernels of 5 are the article's; kernels of 4 are those of the PyTorch
examples, which most people call DCGAN.

Shapes: B batch, Z length of a code, C channels, H height, W width; h, w the smallest map, whose shorter side is 4.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from i2i_core.networks.layers import norm_layer
from i2i_core.networks.shapes import CriticNorm, GeneratorNorm, halvings_to_four
from i2i_core.sizes import Size, sides


class DCGANGenerator(nn.Module):
    """Make images in [-1, 1] of codes: (B, Z) -> (B, C, H, W).

    A first layer makes the smallest map, and each further one doubles it: norm and ReLU between, tanh at the end. With
    kernels of 4 the first layer is a transposed convolution with one norm per channel; with kernels of 5 it is a
    linear layer with one norm per unit, as in the article's program. Channels halve from layer to layer, to `base`
    before the image.

    Args:
        image_size: the side of a square, or (height, width).
        kernel: 4 or 5.
        norm: "batch" or "none".
        biases: true for biases in all layers, as WGAN-GP's program for 32 px has them; else there are none.

    Raises:
        SizeError: the size cannot be halved to a map whose shorter side is 4.
    """

    blocks_to_checkpoint = ("ups",)

    def __init__(
        self,
        image_size: Size = 64,
        image_channels: int = 3,
        z_dim: int = 100,
        base: int = 64,
        kernel: int = 4,
        norm: GeneratorNorm = "batch",
        biases: bool = False,
    ) -> None:
        super().__init__()
        layers, smallest = _pyramid(image_size)
        widths = [base * 2**i for i in reversed(range(layers))]
        self.first = _first(z_dim, widths[0], smallest, kernel, norm, biases)
        pads = (1, 0) if kernel == 4 else (2, 1)
        ups: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            up = nn.ConvTranspose2d(inputs, outputs, kernel, 2, *pads, bias=biases)
            ups += [up, norm_layer(norm, outputs), nn.ReLU(inplace=True)]
        last = nn.ConvTranspose2d(widths[-1], image_channels, kernel, 2, *pads, bias=biases)
        self.ups = nn.Sequential(*ups, last, nn.Tanh())

    def forward(self, z_BZ: Tensor) -> Tensor:
        return self.ups(self.first(z_BZ))


class DCGANDiscriminator(nn.Module):
    """Judge images: (B, C, H, W) -> logits (B, 1).

    Convolutions of stride 2, LeakyReLU 0.2 and a norm in all but the first, down to the smallest map, which one linear
    layer over the whole map reads. Channels double from layer to layer, from `base` on.

    Args:
        image_size: the side of a square, or (height, width).
        kernel: 4 or 5.
        norm: "batch"; "layer", over channels and pixels of each sample with a scale and a shift per channel (Gulrajani
            et al. 2017, sec. 4); or "none".
        biases: true for biases in all layers; else there are none.

    Raises:
        SizeError: as the generator.
    """

    def __init__(
        self,
        image_size: Size = 64,
        image_channels: int = 3,
        base: int = 64,
        kernel: int = 4,
        norm: CriticNorm = "batch",
        biases: bool = False,
    ) -> None:
        super().__init__()
        layers, smallest = _pyramid(image_size)
        self.image_size = sides(image_size)
        widths = [image_channels, *(base * 2**i for i in range(layers))]
        downs: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            conv = nn.Conv2d(inputs, outputs, kernel, 2, 1 if kernel == 4 else 2, bias=biases)
            downs += [conv, _critic_norm(norm if i else "none", outputs), nn.LeakyReLU(0.2, inplace=True)]
        self.downs = nn.Sequential(*downs)
        self.last = nn.Conv2d(widths[-1], 1, smallest, bias=biases)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.last(self.downs(x_BCHW)).flatten(1)


def _pyramid(image_size: Size) -> tuple[int, tuple[int, int]]:
    """Count the layers of stride 2, and give height and width of the smallest map. Raises SizeError."""
    layers, (height, width) = halvings_to_four(image_size), sides(image_size)
    return layers, (height // 2**layers, width // 2**layers)


def _first(
    z_dim: int, channels: int, smallest: tuple[int, int], kernel: int, norm: GeneratorNorm, biases: bool
) -> nn.Sequential:
    """Make the layers from a code to the smallest map, (B, Z) -> (B, channels, h, w)."""
    if kernel == 4:
        project: nn.Module = nn.ConvTranspose2d(z_dim, channels, smallest, bias=biases)
        return nn.Sequential(nn.Unflatten(1, (z_dim, 1, 1)), project, norm_layer(norm, channels), nn.ReLU(inplace=True))
    units = channels * smallest[0] * smallest[1]
    per_unit = nn.BatchNorm1d(units) if norm == "batch" else norm_layer(norm, units)
    project = nn.Linear(z_dim, units, bias=biases)
    return nn.Sequential(project, per_unit, nn.ReLU(inplace=True), nn.Unflatten(1, (channels, *smallest)))


def _critic_norm(norm: CriticNorm, channels: int) -> nn.Module:
    return nn.GroupNorm(1, channels) if norm == "layer" else norm_layer(norm, channels)
