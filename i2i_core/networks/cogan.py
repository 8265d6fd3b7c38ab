"""Make pairs of images of one code, and judge each domain's, by networks that share layers: CoGAN's.

Liu & Tuzel, "Coupled Generative Adversarial Networks", NIPS 2016 (arXiv:1606.07536), sec. 3, with the sizes that its
authors' program has for photos of 128 pixels.

Shapes: B batch, Z length of a code, C channels, H height, W width; h, w the smallest map.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from i2i_core.networks.mlp import Squashed
from i2i_core.networks.shapes import GeneratorNorm, halvings_to_four
from i2i_core.sizes import Size, sides

DROPS = (0.1, 0.3, 0.3)
"""Dropout after the shared convolutions of D, the third one on; 0.5 after later ones and after the linear layer."""
KERNELS = (5, 5, 5)
"""Sides of D's first kernels; later ones have 3."""
WIDEST = 32
"""The most channels of D's convolutions, over those of its first one."""


DIGITS = 28
"""Side of the images that the program for digits makes."""


class CoupledGenerator(nn.Module):
    """Make one domain's image in [-1, 1] of a code: (B, Z) -> (B, C, H, W).

    Both domains' generators hold the same `shared` layers, which decide what is shown, and layers of their own.
    """

    blocks_to_checkpoint = ("shared", "own")

    def __init__(self, shared: nn.Module, own: nn.Module) -> None:
        super().__init__()
        self.shared, self.own = shared, own

    def forward(self, z_BZ: Tensor) -> Tensor:
        return self.own(self.shared(z_BZ))


class CoupledDiscriminator(nn.Module):
    """Judge one domain's images: (B, C, H, W) -> logits (B, 1), larger where an image is likelier real than made.

    Both domains' discriminators hold the same `shared` layers behind some of their own. The last layer has two outputs,
    whose softmax is the probability of "made" and of "real"; their difference is the logit of that probability.
    """

    def __init__(self, own: nn.Module, shared: nn.Module) -> None:
        super().__init__()
        self.own, self.shared = own, shared

    def forward(self, x_BCHW: Tensor) -> Tensor:
        made_B, real_B = self.shared(self.own(x_BCHW)).unbind(dim=1)
        return (real_B - made_B)[:, None]


def coupled_generators(
    image_size: Size, channels: tuple[int, int], z_dim: int = 100, base: int = 32, norm: GeneratorNorm = "batch"
) -> tuple[CoupledGenerator, CoupledGenerator]:
    """Make the generators of both domains.

    A linear layer makes the smallest map, and each 4x4 transposed convolution doubles it, with half of the channels, to
    `base`; a 3x3 one makes the image. Norm, PReLU per channel between, tanh at the end. All but the last two layers are
    shared.

    Args:
        image_size: the side of a square, or (height, width).
        channels: of the images of both domains.
        norm: "batch", with a shift and no scale; or "none".

    Raises:
        SizeError: the shorter side cannot be halved to 4, the other one as often.
    """
    layers, (height, width) = halvings_to_four(image_size), sides(image_size)
    widths = [base * 2**i for i in reversed(range(layers + 1))]
    h, w = height // 2**layers, width // 2**layers
    first = [nn.Linear(z_dim, widths[0] * h * w), nn.Unflatten(1, (widths[0], h, w))]
    ups = (m for pair in pairwise(widths[:-1]) for m in _double(*pair, norm))
    shared = nn.Sequential(*first, *_normed(nn.BatchNorm2d, widths[0], norm), *ups)

    def generator(outputs: int) -> CoupledGenerator:
        last = nn.ConvTranspose2d(base, outputs, 3, 1, 1)
        return CoupledGenerator(shared, nn.Sequential(*_double(widths[-2], base, norm), last, nn.Tanh()))

    one, other = (generator(outputs) for outputs in channels)
    return one, other


def coupled_discriminators(
    image_size: Size, channels: tuple[int, int], base: int = 32, norm: GeneratorNorm = "batch", dropout: bool = True
) -> tuple[CoupledDiscriminator, CoupledDiscriminator]:
    """Make the discriminators of both domains.

    Convolutions of stride 2 double the channels, from `base` to 32 times as many, down to a map whose shorter side is
    2; then a linear layer of 64 times as many units, and one of two outputs. Norm and PReLU per channel after all but
    the last. All but the first two convolutions are shared.

    Args:
        image_size, channels, norm: as the generators'.
        dropout: true for dropout after all shared layers but the last.

    Raises:
        SizeError: as the generators.
    """
    layers, (height, width) = halvings_to_four(image_size) + 1, sides(image_size)
    widths = [base * min(2**i, WIDEST) for i in range(layers)]
    kernels = [*KERNELS, *[3] * layers][:layers]
    units, map_size = 64 * base, height // 2**layers * (width // 2**layers)

    def down(i: int) -> list[nn.Module]:
        conv = nn.Conv2d(widths[i - 1], widths[i], kernels[i], 2, kernels[i] // 2)
        return [conv, *_normed(nn.BatchNorm2d, widths[i], norm), *_drop(i - 2, dropout)]

    linear = [nn.Flatten(), nn.Linear(widths[-1] * map_size, units), *_normed(nn.BatchNorm1d, units, norm)]
    ends = [*linear, *_drop(len(DROPS), dropout), nn.Linear(units, 2)]
    shared = nn.Sequential(*(m for i in range(2, layers) for m in down(i)), *ends)

    def discriminator(inputs: int) -> CoupledDiscriminator:
        first = nn.Conv2d(inputs, base, kernels[0], 2, kernels[0] // 2)
        return CoupledDiscriminator(nn.Sequential(first, *_normed(nn.BatchNorm2d, base, norm), *down(1)), shared)

    one, other = (discriminator(inputs) for inputs in channels)
    return one, other


def digit_generators(
    channels: tuple[int, int], z_dim: int = 100, norm: GeneratorNorm = "batch"
) -> tuple[CoupledGenerator, CoupledGenerator]:
    """Make the generators of the authors' program for digits of 28 pixels.

    Transposed convolutions make maps of 4, 7, 13 and 25 pixels, with norms that have neither scale nor shift and PReLU
    of one slope, all shared; one of a domain's own makes the image, and a sigmoid.
    """
    widths, forms = [z_dim, 1024, 512, 256, 128], [(4, 1, 0), (3, 2, 1), (3, 2, 1), (3, 2, 1)]
    layers: list[nn.Module] = [nn.Unflatten(1, (z_dim, 1, 1))]
    for (inputs, outputs), (kernel, stride, padding) in zip(pairwise(widths), forms, strict=True):
        layers += [nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding)]
        layers += [nn.BatchNorm2d(outputs, affine=False)] if norm == "batch" else []
        layers += [nn.PReLU()]
    shared = nn.Sequential(*layers)

    def generator(outputs: int) -> CoupledGenerator:
        last = nn.ConvTranspose2d(widths[-1], outputs, 6, 1, 1)
        return CoupledGenerator(shared, nn.Sequential(last, nn.Flatten(), Squashed((outputs, DIGITS, DIGITS))))

    one, other = (generator(outputs) for outputs in channels)
    return one, other


def digit_discriminators(channels: tuple[int, int]) -> tuple[CoupledDiscriminator, CoupledDiscriminator]:
    """Make the discriminators of the authors' program for digits: LeNet's layers, of which the first is a domain's
    own. A PReLU of one slope is the only nonlinearity besides the pooling."""
    middle = [nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Conv2d(50, 500, 4), nn.PReLU()]
    shared = nn.Sequential(*middle, nn.Conv2d(500, 2, 1), nn.Flatten())

    def discriminator(inputs: int) -> CoupledDiscriminator:
        return CoupledDiscriminator(nn.Sequential(nn.Conv2d(inputs, 20, 5), nn.MaxPool2d(2)), shared)

    one, other = (discriminator(inputs) for inputs in channels)
    return one, other


def _normed(kind: type[nn.BatchNorm1d | nn.BatchNorm2d], channels: int, norm: GeneratorNorm) -> list[nn.Module]:
    """Give batch norm with a shift and no scale, or none, and PReLU with a slope for each channel."""
    if norm == "none":
        return [nn.PReLU(channels)]
    normed = kind(channels)
    normed.register_parameter("weight", None)
    return [normed, nn.PReLU(channels)]


def _double(inputs: int, outputs: int, norm: GeneratorNorm) -> list[nn.Module]:
    return [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), *_normed(nn.BatchNorm2d, outputs, norm)]


def _drop(number: int, dropout: bool) -> list[nn.Module]:
    """Give the dropout after a shared layer of D, numbered from 0 on; none after its own layers, with negative ones."""
    if not dropout or number < 0:
        return []
    return [nn.Dropout(DROPS[number] if number < len(DROPS) else 0.5)]
