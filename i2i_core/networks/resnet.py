"""Generate images by residual blocks: CycleGAN's generator, the ResNet of Johnson et al. 2016.

Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017, sec. 4 and
7.2.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from torch import Tensor, nn

from i2i_core.networks.layers import ResidualBlock, norm_layer, up_layer, uses_bias
from i2i_core.networks.shapes import Norm, Upsample, check_multiple


class ResNetGenerator(nn.Module):
    """Translate images (B, in_channels, H, W) to (B, out_channels, H, W) in [-1, 1]; H and W multiples of 4.

    c7s1-64, d128, d256, residual blocks of 256, u128, u64, c7s1 to the image; reflect padding around the 7x7
    convolutions and in the blocks; ReLU; tanh.

    Args:
        blocks: 9 in the paper from 256 px on, 6 below.
        norm: on every convolution but the last.
        upsample: how u128 and u64 double the image; see `layers.up_layer`.
    """

    blocks_to_checkpoint = ("net",)

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        base: int = 64,
        blocks: int = 9,
        norm: Norm = "instance",
        upsample: Upsample = "transposed",
    ) -> None:
        super().__init__()
        bias = uses_bias(norm)

        def normed(layer: nn.Module, channels: int) -> list[nn.Module]:
            return [layer, norm_layer(norm, channels), nn.ReLU(inplace=True)]

        self.net = nn.Sequential(
            *normed(nn.Conv2d(in_channels, base, 7, padding=3, padding_mode="reflect", bias=bias), base),
            *normed(nn.Conv2d(base, 2 * base, 3, 2, 1, bias=bias), 2 * base),
            *normed(nn.Conv2d(2 * base, 4 * base, 3, 2, 1, bias=bias), 4 * base),
            *(ResidualBlock(4 * base, norm, "reflect") for _ in range(blocks)),
            *normed(up_layer(upsample, 4 * base, 2 * base, 3, bias), 2 * base),
            *normed(up_layer(upsample, 2 * base, base, 3, bias), base),
            nn.Conv2d(base, out_channels, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Make the image. Raises SizeError for a side that is no multiple of 4 from 8 on: it would come back smaller,
        or its innermost map would be a single pixel, which a norm leaves nothing of."""
        for side in x_BCHW.shape[-2:]:
            check_multiple(side, 4, "the ResNet generator", least=8)
        return self.net(x_BCHW)
