"""Generate images by a U-Net: pix2pix's, the encoder-decoder of its ablation, and BicycleGAN's with a code z.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, sec. 3.2.1 and 6.1.1;
Zhu et al., "Toward Multimodal Image-to-Image Translation", NIPS 2017, sec. 4.

Shapes: B batch, C channels, H height, W width, Z length of the code.
"""

from __future__ import annotations

import typing

import torch
from torch import Tensor, nn

from i2i_core.networks.layers import norm_layer, up_layer, uses_bias, with_label_planes
from i2i_core.networks.shapes import DropoutAt, NoiseAt, Norm, Upsample, check_multiple

DROPOUTS = 3  # up-blocks with dropout, in the paper and in the authors' code
WIDEST = 8  # widths double up to WIDEST * base: 512 channels at base 64


def dropout_ups(downs: int, dropout_at: DropoutAt) -> range:
    """List the up-blocks, counted from the innermost, that have dropout.

    "innermost" (paper): the first three. "after_innermost" (authors' code): the three after the first.
    Only up-blocks of the full 512 channels have it: with 8 downs there are four, with 7 three, and so on, so
    a smaller U-Net has fewer dropouts: 8 downs 3 or 3, 7 downs 3 or 2, 6 downs 2 or 1, 5 downs 1 or 0.

    Raises:
        ValueError: `dropout_at` is unknown.
    """
    places = typing.get_args(DropoutAt)
    if dropout_at not in places:
        raise ValueError(f"dropout_at {dropout_at!r}, not one of {', '.join(places)}")
    first = 0 if dropout_at == "innermost" else 1
    widest_ups = max(0, downs - 4)  # the last four give 256, 128 and 64 channels, and the image
    return range(first, min(first + DROPOUTS, widest_ups))


class UNet(nn.Module):
    """Translate images (B, in_channels, H, W) to (B, out_channels, H, W) in [-1, 1]; H and W multiples of 2**downs.

    Args:
        base: channels of the outermost feature map.
        downs: times the image is halved; 8 takes 256 px to 1 x 1.
        norm: on every convolution but the first, the innermost down and the last. (The innermost map may be
            1 x 1, where a norm over one sample would leave only zeros.)
        dropout: probability; 0 removes the dropouts.
        dropout_at: see `dropout_ups`.
        skips: False is the encoder-decoder of the paper's ablation (sec. 4.3): nothing is concatenated.
        upsample: how an up-block doubles the image; see `layers.up_layer`.
        z_dim: length of the code z, laid out as planes beside the input (BicycleGAN sec. 4); 0: none.
        z_at: "input": beside the image; "all": beside the input of every down-block. There, as in the authors'
            code, z passes the block's LeakyReLU together with the features.
    """

    blocks_to_checkpoint = ("downs", "ups")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        base: int = 64,
        downs: int = 8,
        norm: Norm = "batch",
        dropout: float = 0.5,
        dropout_at: DropoutAt = "innermost",
        skips: bool = True,
        upsample: Upsample = "transposed",
        z_dim: int = 0,
        z_at: NoiseAt = "input",
    ) -> None:
        super().__init__()
        self.z_dim, self.z_at = z_dim, z_at
        deep = z_dim if z_at == "all" else 0
        if downs < 2:
            raise ValueError(f"a U-Net of {downs} downs, expected at least 2")
        self.num_downs, self.skips = downs, skips
        widths = [base * min(2**i, WIDEST) for i in range(downs)]

        self.downs = nn.ModuleList([nn.Conv2d(in_channels + z_dim, base, 4, 2, 1, bias=uses_bias(norm))])
        for i in range(1, downs):
            inner: Norm = "none" if i == downs - 1 else norm
            self.downs.append(_down(widths[i - 1] + deep, widths[i], inner, uses_bias(norm)))

        with_dropout = dropout_ups(downs, dropout_at)
        self.ups = nn.ModuleList()  # innermost first
        for i in range(downs - 1):
            inputs = widths[-1 - i] * self._streams(i)
            self.ups.append(_up(inputs, widths[-2 - i], norm, upsample, dropout if i in with_dropout else 0.0))
        last = up_layer(upsample, base * self._streams(downs - 1), out_channels, 4, bias=True)
        self.ups.append(nn.Sequential(nn.ReLU(), last, nn.Tanh()))

    def _streams(self, up: int) -> int:
        """Feature maps that up-block `up` reads: the one below it, and the skip where there is one."""
        return 2 if self.skips and up > 0 else 1

    def forward(self, x_BCHW: Tensor, z_BZ: Tensor | None = None) -> Tensor:
        """Make the image. Raises SizeError for a side that is no multiple of 2**downs: it would come back smaller."""
        for side in x_BCHW.shape[-2:]:
            check_multiple(side, 2**self.num_downs, f"a U-Net of {self.num_downs} downs")
        x, skips = x_BCHW, []
        for i, down in enumerate(self.downs):
            x = down(with_label_planes(x, z_BZ) if z_BZ is not None and (i == 0 or self.z_at == "all") else x)
            skips.append(x)
        skips.pop()  # the innermost map is the decoder's input, not a skip
        x = self.ups[0](x)
        for up in self.ups[1:]:
            skip = skips.pop()
            x = up(torch.cat([skip, x], dim=1) if self.skips else x)
        return x


def _down(inputs: int, outputs: int, norm: Norm, bias: bool) -> nn.Module:
    # Not in place: the input is also a skip.
    return nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(inputs, outputs, 4, 2, 1, bias=bias), norm_layer(norm, outputs))


def _up(inputs: int, outputs: int, norm: Norm, upsample: Upsample, dropout: float) -> nn.Module:
    layers = [
        nn.ReLU(),
        up_layer(upsample, inputs, outputs, 4, bias=uses_bias(norm)),
        norm_layer(norm, outputs),
    ]
    return nn.Sequential(*layers, nn.Dropout(dropout)) if dropout > 0 else nn.Sequential(*layers)
