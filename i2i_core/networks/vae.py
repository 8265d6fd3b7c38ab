"""Build UNIT's encoders, generators and discriminators: the paper's, with tied layers, and the later program's.

Liu et al., "Unsupervised Image-to-Image Translation Networks", NIPS 2017, sec. 3, Fig. 1 and appendix.

Shapes: B batch, C channels, H height, W width; the latent code is (B, 4 base, H / 4, W / 4).
"""

from __future__ import annotations

from torch import Tensor, nn

from i2i_core.networks.layers import InstanceNorm2d, ResidualBlock, SampleNorm, up_layer
from i2i_core.networks.patchgan import MultiScale
from i2i_core.networks.shapes import Upsample, check_multiple


class Encoder(nn.Module):
    """Encode an image to the mean of its latent code.

    `own` belongs to one domain; `shared` may be one module in both domains' encoders (the paper's weight
    sharing: the same storage), or empty.
    """

    blocks_to_checkpoint = ("own", "shared")

    def __init__(self, own: nn.Module, shared: nn.Module) -> None:
        super().__init__()
        self.own, self.shared = own, shared

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Encode the image. Raises SizeError for a side that is no multiple of 4 from 8 on: it would come back smaller,
        or its innermost map would be a single pixel, which a norm leaves nothing of."""
        for side in x_BCHW.shape[-2:]:
            check_multiple(side, 4, "UNIT's encoder", least=8)
        return self.shared(self.own(x_BCHW))


class Generator(nn.Module):
    """Decode a latent code to an image in [-1, 1]. `shared` comes first, and may be one module in both domains."""

    blocks_to_checkpoint = ("shared", "own")

    def __init__(self, shared: nn.Module, own: nn.Module) -> None:
        super().__init__()
        self.shared, self.own = shared, own

    def forward(self, z_BCHW: Tensor) -> Tensor:
        return self.own(self.shared(z_BCHW))


def shared_block(base: int = 64) -> nn.Module:
    """Make one of the two tied layers: a residual block."""
    return ResidualBlock(4 * base, "instance")


def paper_encoder(channels: int = 3, base: int = 64, blocks: int = 3) -> nn.Module:
    """Make a domain's own part of the encoder: c7s1-64, two 3x3 of stride 2 to 256 (LeakyReLU 0.01, no norm),
    residual blocks (instance norm). Zero padding."""
    return nn.Sequential(
        *_leaky(nn.Conv2d(channels, base, 7, 1, 3)),
        *_leaky(nn.Conv2d(base, 2 * base, 3, 2, 1)),
        *_leaky(nn.Conv2d(2 * base, 4 * base, 3, 2, 1)),
        *(ResidualBlock(4 * base, "instance") for _ in range(blocks)),
    )


def paper_generator(channels: int = 3, base: int = 64, blocks: int = 3, upsample: Upsample = "transposed") -> nn.Module:
    """Make a domain's own part of the generator: residual blocks, two 3x3 transposed of stride 2 to 64 (LeakyReLU
    0.01), 1x1 to the image, tanh."""
    return nn.Sequential(
        *(ResidualBlock(4 * base, "instance") for _ in range(blocks)),
        *_leaky(up_layer(upsample, 4 * base, 2 * base, 3, bias=True)),
        *_leaky(up_layer(upsample, 2 * base, base, 3, bias=True)),
        nn.Conv2d(base, channels, 1),
        nn.Tanh(),
    )


def paper_discriminator(channels: int = 3, base: int = 64, layers: int = 6) -> nn.Module:
    """Make the paper's discriminator, (B, C, H, W) -> logits (B, 1, h, w).

    3x3 convolutions of stride 2 to 2048 (LeakyReLU 0.01), 1x1 to 1.
    """
    widths = [channels, *(base * 2**i for i in range(layers))]
    convolutions = [nn.Conv2d(widths[i], widths[i + 1], 3, 2, 1) for i in range(layers)]
    return nn.Sequential(*(m for conv in convolutions for m in _leaky(conv)), nn.Conv2d(widths[-1], 1, 1))


def later_encoder(channels: int = 3, base: int = 64, blocks: int = 4) -> nn.Module:
    """Make the later program's content encoder: c7s1-64, two 4x4 of stride 2 to 256, residual blocks; instance norm,
    ReLU, reflect padding."""

    def conv(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
        layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, padding_mode="reflect")
        return [layer, InstanceNorm2d(outputs), nn.ReLU(inplace=True)]

    return nn.Sequential(
        *conv(channels, base, 7, 1, 3),
        *conv(base, 2 * base, 4, 2, 1),
        *conv(2 * base, 4 * base, 4, 2, 1),
        *(ResidualBlock(4 * base, "instance", "reflect") for _ in range(blocks)),
    )


def later_generator(channels: int = 3, base: int = 64, blocks: int = 4, upsample: Upsample = "resize") -> nn.Module:
    """Make the later program's decoder: residual blocks, two times (nearest x2, 5x5 convolution, `SampleNorm`, ReLU) to
    64, c7 to the image, tanh; reflect padding. Another `upsample` takes the place of resize and 5x5."""

    def up(inputs: int, outputs: int) -> list[nn.Module]:
        if upsample == "resize":
            conv = nn.Conv2d(inputs, outputs, 5, padding=2, padding_mode="reflect")
            return [nn.Upsample(scale_factor=2), conv, SampleNorm(outputs), nn.ReLU(inplace=True)]
        return [up_layer(upsample, inputs, outputs, 4, bias=True), SampleNorm(outputs), nn.ReLU(inplace=True)]

    return nn.Sequential(
        *(ResidualBlock(4 * base, "instance", "reflect") for _ in range(blocks)),
        *up(4 * base, 2 * base),
        *up(2 * base, base),
        nn.Conv2d(base, channels, 7, padding=3, padding_mode="reflect"),
        nn.Tanh(),
    )


def later_discriminator(channels: int = 3, base: int = 64, layers: int = 4, scales: int = 3) -> MultiScale:
    """Make the later program's discriminator of several scales.

    Per scale: 4x4 convolutions of stride 2 to 512 (LeakyReLU 0.2, no norm, reflect padding), 1x1 to 1.
    """

    def scale() -> nn.Module:
        widths = [channels, *(base * 2**i for i in range(layers))]
        stack: list[nn.Module] = []
        for i in range(layers):
            stack += [nn.Conv2d(widths[i], widths[i + 1], 4, 2, 1, padding_mode="reflect"), nn.LeakyReLU(0.2)]
        return nn.Sequential(*stack, nn.Conv2d(widths[-1], 1, 1))

    return MultiScale([scale() for _ in range(scales)])


def _leaky(layer: nn.Module) -> list[nn.Module]:
    return [layer, nn.LeakyReLU(0.01)]
