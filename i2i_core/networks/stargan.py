"""Translate images by labels, and judge and label them: StarGAN's generator and discriminator.

Choi et al., "StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image Translation",
CVPR 2018, Tables 4 and 5 (appendix).

Shapes: B batch, C channels, H height, W width, A the label's length (c_dim); h, w the source map.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from i2i_core.networks.layers import ResidualBlock, norm_layer, up_layer, with_label_planes
from i2i_core.networks.shapes import Upsample, check_multiple
from i2i_core.sizes import Size, sides


class StarGANGenerator(nn.Module):
    """Translate an image by a target label to an image in [-1, 1] (Table 4). H and W are multiples of 4.

    Instance norm with scale and shift, on the instance's own statistics in training and at test time (the
    authors' code tracks running statistics, and never uses them). No convolution has a bias; zero padding.
    """

    blocks_to_checkpoint = ("net",)

    def __init__(
        self,
        image_channels: int = 3,
        c_dim: int = 5,
        base: int = 64,
        blocks: int = 6,
        upsample: Upsample = "transposed",
    ) -> None:
        super().__init__()
        self.c_dim = c_dim
        self.net = nn.Sequential(
            *_normed(nn.Conv2d(image_channels + c_dim, base, 7, 1, 3, bias=False), base),
            *_normed(nn.Conv2d(base, 2 * base, 4, 2, 1, bias=False), 2 * base),
            *_normed(nn.Conv2d(2 * base, 4 * base, 4, 2, 1, bias=False), 4 * base),
            *(ResidualBlock(4 * base, "instance_affine") for _ in range(blocks)),
            *_normed(up_layer(upsample, 4 * base, 2 * base, 4, bias=False), 2 * base),
            *_normed(up_layer(upsample, 2 * base, base, 4, bias=False), base),
            nn.Conv2d(base, image_channels, 7, 1, 3, bias=False),
            nn.Tanh(),
        )

    def forward(self, x_BCHW: Tensor, c_BA: Tensor) -> Tensor:
        """Make the image. Raises SizeError for a side that is no multiple of 4 from 8 on: it would come back smaller,
        or its innermost map would be a single pixel, which a norm leaves nothing of."""
        for side in x_BCHW.shape[-2:]:
            check_multiple(side, 4, "StarGAN's generator", least=8)
        return self.net(with_label_planes(x_BCHW, c_BA))


class StarGANDiscriminator(nn.Module):
    """Judge and classify images: source logits (B, 1, h, w) and class logits (B, A) (Table 5).

    h and w are height and width of the images, over 2**layers.

    `layers` 4x4 convolutions of stride 2, LeakyReLU 0.01, no norm: the gradient penalty is one per sample,
    and a norm over the batch would mix the samples (Gulrajani et al. 2017, sec. 4). The heads have no bias.

    Args:
        image_size: the side of a square, or (height, width).

    Raises:
        SizeError: a side is no multiple of 2**layers.
    """

    logits_from = "source"

    def __init__(
        self, image_size: Size = 128, image_channels: int = 3, c_dim: int = 5, base: int = 64, layers: int = 6
    ) -> None:
        super().__init__()
        for side in sides(image_size):
            check_multiple(side, 2**layers, "StarGAN's discriminator")
        self.image_size = sides(image_size)
        height, width = self.image_size
        widths = [image_channels, *(base * 2**i for i in range(layers))]
        trunk: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            trunk += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.01, inplace=True)]
        self.trunk = nn.Sequential(*trunk)
        self.source = nn.Conv2d(widths[-1], 1, 3, 1, 1, bias=False)
        self.classes = nn.Conv2d(widths[-1], c_dim, (height // 2**layers, width // 2**layers), bias=False)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Judge the images. Raises ValueError for images of another size: the class head spans the whole image."""
        if x_BCHW.shape[-2:] != self.image_size:
            (height, width), (rows, columns) = x_BCHW.shape[-2:], self.image_size
            raise ValueError(f"images of {height} x {width}; this discriminator was built for {rows} x {columns}")
        h = self.trunk(x_BCHW)
        return self.source(h), self.classes(h).flatten(1)


def _normed(conv: nn.Module, channels: int) -> list[nn.Module]:
    return [conv, norm_layer("instance_affine", channels), nn.ReLU(inplace=True)]
