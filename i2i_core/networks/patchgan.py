"""Judge images patch by patch: pix2pix's PatchGAN, PixelGAN and ImageGAN.

Isola et al., CVPR 2017, sec. 3.2.2, 4.4 and 6.1.2. All give logits, one per patch.

Shapes: B batch, C channels (of A and B together, for a conditional D), H height, W width; h, w the logit map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from i2i_core.networks.layers import norm_layer, uses_bias
from i2i_core.networks.shapes import STRIDED_LAYERS, Norm


class PatchGAN(nn.Module):
    """Judge overlapping patches: (B, C, H, W) -> logits (B, 1, H / 2**layers - 2, W / 2**layers - 2), one a patch.

    4x4 convolutions: `layers` of stride 2 (base, 2 base, 4 base, then 8 base), one of stride 1, and the output.
    LeakyReLU 0.2; no norm on the first. The first and last convolution always have a bias.
    """

    def __init__(self, in_channels: int, base: int = 64, layers: int = 3, norm: Norm = "batch") -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"a PatchGAN of {layers} stride-2 layers, expected at least 1")
        widths = [base * min(2**i, 8) for i in range(layers + 1)]
        stack: list[nn.Module] = [nn.Conv2d(in_channels, base, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for i in range(1, layers + 1):
            stride = 2 if i < layers else 1
            stack += [
                nn.Conv2d(widths[i - 1], widths[i], 4, stride, 1, bias=uses_bias(norm)),
                norm_layer(norm, widths[i]),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.net = nn.Sequential(*stack, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.net(x_BCHW)


class PixelGAN(nn.Module):
    """Judge each pixel: (B, C, H, W) -> logits (B, 1, H, W), by 1x1 convolutions base, 2 base, 1 (sec. 6.1.2).

    LeakyReLU 0.2, norm on the middle one. The first convolution always has a bias, the others by the norm.
    """

    def __init__(self, in_channels: int, base: int = 64, norm: Norm = "batch") -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(in_channels, base, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(base, 2 * base, 1, bias=uses_bias(norm)),
            norm_layer(norm, 2 * base),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * base, 1, 1, bias=uses_bias(norm)),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.net(x_BCHW)


class MultiScale(nn.Module):
    """Judge the image at full size, at half, at a quarter, ...: (B, C, H, W) -> one logit map per scale.

    The image is halved by 3x3 average pooling of stride 2, padding 1, the padding not counted (BicycleGAN's two
    scales; the three of UNIT's later program).

    Args:
        scales: one network per scale, for the full size first.
    """

    def __init__(self, scales: Sequence[nn.Module]) -> None:
        super().__init__()
        self.scales = nn.ModuleList(scales)
        self.halve = nn.AvgPool2d(3, 2, 1, count_include_pad=False)

    def seen(self, x_BCHW: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
        """Yield each scale's network with the images at that scale."""
        for i, scale in enumerate(self.scales):
            x_BCHW = self.halve(x_BCHW) if i else x_BCHW
            yield scale, x_BCHW

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        return [scale(x) for scale, x in self.seen(x_BCHW)]


def with_features(D: nn.Module, x_BCHW: Tensor) -> tuple[Tensor | list[Tensor], list[list[Tensor]]]:
    """Give D(x), and for each scale the features (n, C_i, H_i, W_i) after each nonlinearity.

    `losses.feature_matching` compares these features.

    Args:
        D: a discriminator of this file, a chain of layers (UNIT's), or several scales of either.

    Raises:
        TypeError: D is another kind of network.
    """
    if not isinstance(D, MultiScale):
        logits, hidden = _along(D, x_BCHW)
        return logits, [hidden]
    maps, found = zip(*(_along(scale, x) for scale, x in D.seen(x_BCHW)), strict=True)
    return list(maps), list(found)


def _along(D: nn.Module, x_BCHW: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Give the output of a chain of layers, and its features after each nonlinearity."""
    chain = D.net if isinstance(D, PatchGAN | PixelGAN) else D
    if not isinstance(chain, nn.Sequential):
        raise TypeError(f"a {type(D).__name__}, which is no chain of layers")
    hidden = []
    for layer in chain:
        x_BCHW = layer(x_BCHW)
        if isinstance(layer, nn.LeakyReLU):
            hidden.append(x_BCHW)
    return x_BCHW, hidden


def two_scales(in_channels: int, base: int = 64, layers: int = 3, norm: Norm = "instance") -> MultiScale:
    """Make BicycleGAN's discriminator: a PatchGAN, and one of half its channels on the halved image (sec. 4)."""
    return MultiScale([PatchGAN(in_channels, base // 2**i, layers, norm) for i in range(2)])


def patch_discriminator(receptive_field: int, in_channels: int, base: int = 64, norm: Norm = "batch") -> nn.Module:
    """Make the discriminator of a receptive field of 1 (PixelGAN), 16, 70 or 286 pixels (ImageGAN) (sec. 4.4).

    Raises:
        ValueError: the receptive field is none of them.
    """
    if receptive_field not in STRIDED_LAYERS:
        raise ValueError(f"a receptive field of {receptive_field}, not one of {', '.join(map(str, STRIDED_LAYERS))}")
    layers = STRIDED_LAYERS[receptive_field]
    return PatchGAN(in_channels, base, layers, norm) if layers else PixelGAN(in_channels, base, norm)
