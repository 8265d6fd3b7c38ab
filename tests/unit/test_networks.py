"""The networks are the papers' networks: weights, shapes, receptive fields, skips, dropout, first weights.

Run: python -m pytest tests/unit/test_networks.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from i2i_core.config.methods.checks import check_patch_size, check_two_scales, check_unet
from i2i_core.errors import ConfigError
from i2i_core.methods import METHODS, build_method
from i2i_core.networks import vae
from i2i_core.networks.cogan import (
    coupled_discriminators,
    coupled_generators,
    digit_discriminators,
    digit_generators,
)
from i2i_core.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from i2i_core.networks.encoder import Encoder
from i2i_core.networks.init import init_default, init_kaiming, init_normal, init_uniform, init_xavier
from i2i_core.networks.layers import ResidualBlock, SampleNorm, norm_layer, uses_bias, with_label_planes
from i2i_core.networks.mlp import (
    ConditionalDiscriminator,
    ConditionalGenerator,
    GANDiscriminator,
    GANGenerator,
    Maxout,
    MLPDiscriminator,
    MLPGenerator,
)
from i2i_core.networks.patchgan import (
    MultiScale,
    PatchGAN,
    PixelGAN,
    patch_discriminator,
    two_scales,
)
from i2i_core.networks.refiner import LocalDiscriminator, Refiner
from i2i_core.networks.resnet import ResNetGenerator
from i2i_core.networks.shapes import SizeError, check_multiple
from i2i_core.networks.stargan import StarGANDiscriminator, StarGANGenerator
from i2i_core.networks.unet import UNet, dropout_ups


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def build(make: Callable, initialise: Callable, generator: Generator) -> Any:
    net = make()
    initialise(net, generator)
    return net


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


def of_preset(method: str, preset: str, network: str) -> nn.Module:
    return build_method(method, preset).networks[network]


# ---------------------------------------------------------------- parameter counts (acceptance figures)

COUNTS: list[tuple[str, Callable[[], nn.Module], int]] = [
    ("pix2pix G, 256 px", lambda: UNet(3, 3), 54_413_955),
    ("pix2pix G, code's dropout", lambda: UNet(3, 3, dropout_at="after_innermost"), 54_413_955),
    ("pix2pix G, 128 px", lambda: UNet(3, 3, downs=7), 41_828_995),
    ("pix2pix D, RF 70", lambda: PatchGAN(6), 2_768_705),
    ("pix2pix D, RF 70 by name", lambda: patch_discriminator(70, 6), 2_768_705),
    ("pix2pix D, RF 1", lambda: PixelGAN(6), 9_024),
    ("pix2pix D, RF 1 by name", lambda: patch_discriminator(1, 6), 9_024),
    ("CycleGAN D", lambda: PatchGAN(3, norm="instance"), 2_764_737),
    ("StarGAN G", lambda: StarGANGenerator(), 8_430_528),
    ("StarGAN D, 128 px", lambda: StarGANDiscriminator(), 44_762_048),
    ("StarGAN G, CelebA + RaFD", lambda: StarGANGenerator(c_dim=5 + 8 + 2), 8_461_888),
    ("StarGAN D, CelebA + RaFD, 256 px", lambda: StarGANDiscriminator(256, c_dim=5 + 8), 45_147_072),
    ("CycleGAN G, 9 blocks", lambda: ResNetGenerator(), 11_378_179),
    ("CycleGAN G, 6 blocks", lambda: ResNetGenerator(blocks=6), 7_837_699),
    ("BiGAN G", lambda: build_method("bigan", "paper").networks["G"], 7_837_699),
    ("BiGAN E", lambda: build_method("bigan", "paper").networks["E"], 7_837_699),
    ("BiGAN E, 256 px", lambda: build_method("bigan", "paper", image_size=256).networks["E"], 11_378_179),
    ("BiGAN D", lambda: build_method("bigan", "paper").networks["D"], 2_767_809),
    ("pixel loss + GAN, G", lambda: build_method("pixel_gan", "paper").networks["G"], 7_837_699),
    ("pixel loss + GAN, D", lambda: build_method("pixel_gan", "paper").networks["D"], 2_764_737),
    ("feature loss + GAN, G and D", lambda: build_method("feature_gan", "paper").networks, 7_837_699 + 2_764_737),
    ("SimGAN R, eyes", lambda: Refiner(), 296_129),
    ("SimGAN D, eyes", lambda: LocalDiscriminator(), 75_906),
    ("UNIT, E and G of both domains", lambda: build_method("unit", "paper").networks_of("generators"), 18_017_286),
    ("UNIT D", lambda: vae.paper_discriminator(), 25_149_057),
    ("UNIT, later VAE", lambda: nn.ModuleList([vae.later_encoder(), vae.later_generator()]), 11_140_483),
    ("UNIT, later D", lambda: vae.later_discriminator(), 8_271_171),
    ("BicycleGAN G, z everywhere", lambda: UNet(3, 3, norm="instance", dropout=0, z_dim=8, z_at="all"), 54_794_627),
    ("BicycleGAN G, z at the input", lambda: UNet(3, 3, norm="instance", dropout=0, z_dim=8), 54_417_795),
    ("BicycleGAN E", lambda: Encoder(), 2_590_032),
    ("BicycleGAN D", lambda: two_scales(3), 3_458_978),
    ("CoGAN G, one component", lambda: build_method("cogan", "paper").networks["G1"], 12_834_563),
    ("CoGAN D, one component", lambda: build_method("cogan", "paper").networks["D1"], 14_856_450),
    ("CoGAN G", lambda: nn.ModuleList(coupled_generators(128, (3, 3))), 12_868_294),
    ("CoGAN D", lambda: nn.ModuleList(coupled_discriminators(128, (3, 3))), 14_910_338),
    ("CoGAN G, shared", lambda: coupled_generators(128, (3, 3))[0].shared, 12_800_832),
    ("CoGAN G, 256 px", lambda: nn.ModuleList(coupled_generators(256, (3, 3), base=16)), 12_851_046),
    ("CoGAN D, 256 px", lambda: nn.ModuleList(coupled_discriminators(256, (3, 3))), 24_350_594),
    ("CoGAN G, digits", lambda: nn.ModuleList(digit_generators((1, 1))), 7_842_694),
    ("CoGAN D, digits", lambda: nn.ModuleList(digit_discriminators((1, 1))), 427_593),
    ("DCGAN G, 64 px", lambda: DCGANGenerator(), 3_576_704),
    ("DCGAN D, 64 px", lambda: DCGANDiscriminator(), 2_765_568),
    ("DCGAN G, 64 px, grey", lambda: DCGANGenerator(image_channels=1), 3_574_656),
    ("DCGAN D, 64 px, grey", lambda: DCGANDiscriminator(image_channels=1), 2_763_520),
    ("DCGAN G, 32 px", lambda: DCGANGenerator(32), 1_068_928),
    ("DCGAN D, 32 px", lambda: DCGANDiscriminator(32), 663_296),
    ("DCGAN G, 128 px", lambda: DCGANGenerator(128), 12_786_560),
    ("DCGAN D, 128 px", lambda: DCGANDiscriminator(128), 11_164_416),
    ("DCGAN G, 256 px", lambda: DCGANGenerator(256), 47_983_488),
    ("DCGAN D, 256 px", lambda: DCGANDiscriminator(256), 44_739_328),
    ("DCGAN G, the authors' program", lambda: DCGANGenerator(base=128, kernel=5), 18_885_760),
    ("DCGAN D, the authors' program", lambda: DCGANDiscriminator(base=128, kernel=5), 17_232_768),
    ("WGAN G without batch norm", lambda: DCGANGenerator(norm="none"), 3_574_784),
    ("WGAN critic with layer norm", lambda: DCGANDiscriminator(norm="layer"), 2_765_568),
    ("WGAN MLP G", lambda: MLPGenerator(100, (3, 64, 64)), 6_880_768),
    ("WGAN MLP critic, 512", lambda: MLPDiscriminator((3, 64, 64)), 6_817_793),
    ("WGAN MLP critic, 64", lambda: MLPDiscriminator((3, 64, 64), (64, 64, 64)), 794_881),
    ("GAN G", lambda: GANGenerator(100, (1, 28, 28)), 2_503_984),
    ("GAN D", lambda: GANDiscriminator((1, 28, 28)), 1_231_441),
    ("cGAN G", lambda: ConditionalGenerator(10, 100, (1, 28, 28)), 2_413_984),
    ("cGAN D", lambda: ConditionalDiscriminator(10, (1, 28, 28)), 1_224_351),
    ("WGAN-GP G, 32 px", lambda: of_preset("dcgan", "wgan_gp_reference", "G"), 5_179_907),
    ("WGAN-GP critic, 32 px", lambda: of_preset("dcgan", "wgan_gp_reference", "D"), 4_114_689),
]


@pytest.mark.parametrize(("make", "count"), [row[1:] for row in COUNTS], ids=[row[0] for row in COUNTS])
def test_network_parameter_count_is_the_papers(make: Callable[[], nn.Module], count: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in make().parameters()) == count


# ---------------------------------------------------------------- shapes


@pytest.mark.parametrize(("size", "downs"), [(64, 6), (128, 7), (256, 8)])
@pytest.mark.parametrize("skips", [True, False])
def test_unet_trains_on_one_image(size: int, downs: int, skips: bool) -> None:
    """The innermost map is 1 x 1, one sample: a batch norm there would refuse to train."""
    net = build(lambda: UNet(1, 3, base=2, downs=downs, skips=skips), init_normal, seeded()).train()
    image = net(noise(1, 1, size, size))
    assert image.shape == (1, 3, size, size)
    assert image.abs().max() <= 1
    image.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("norm", ["batch", "instance", "instance_affine", "none"])
def test_unet_takes_every_norm(norm: str) -> None:
    net = UNet(3, 1, base=2, downs=5, norm=norm)
    assert net(noise(1, 3, 32, 64)).shape == (1, 1, 32, 64)


def test_networks_are_fully_convolutional_at_512() -> None:
    with torch.device("meta"):
        x, label = torch.empty(1, 3, 512, 512), torch.empty(1, 5)
        assert UNet(3, 3)(torch.empty(2, 3, 512, 768)).shape == (2, 3, 512, 768)
        assert UNet(3, 3, downs=9)(x).shape == x.shape
        assert StarGANGenerator()(x, label).shape == x.shape
        assert PatchGAN(3)(x).shape == (1, 1, 62, 62)
        source, classes = StarGANDiscriminator(512)(x)
        assert (source.shape, classes.shape) == ((1, 1, 8, 8), (1, 5))


@pytest.mark.parametrize(("field", "side"), [(1, 256), (16, 126), (70, 30), (286, 6)])
def test_patchgan_logits_at_256(field: int, side: int) -> None:
    with torch.device("meta"):
        assert patch_discriminator(field, 6)(torch.empty(2, 6, 256, 256)).shape == (2, 1, side, side)


@pytest.mark.parametrize(("field", "smallest"), [(1, 1), (16, 6), (70, 24), (286, 96)])
def test_patchgan_smallest_image(field: int, smallest: int) -> None:
    check_patch_size(smallest, field)
    with torch.device("meta"):
        net = patch_discriminator(field, 3, base=2)
        assert net(torch.empty(2, 3, smallest, smallest)).shape == (2, 1, 1, 1)
    with pytest.raises(ConfigError, match=f"--image-size: found {smallest - 1}; expected at least {smallest}"):
        check_patch_size(smallest - 1, field)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_stargan_shapes(size: int) -> None:
    x, c = noise(2, 3, size, size), torch.eye(5)[:2]
    fake = StarGANGenerator(base=2, blocks=1)(x, c)
    assert fake.shape == x.shape
    assert fake.abs().max() <= 1
    source, classes = StarGANDiscriminator(size, base=2)(fake)
    assert source.shape == (2, 1, size // 64, size // 64)
    assert classes.shape == (2, 5)


# ---------------------------------------------------------------- receptive fields


@pytest.mark.parametrize(("field", "size"), [(1, 16), (16, 64), (70, 192), (286, 512)])
def test_patchgan_receptive_field_is_measured(field: int, size: int) -> None:
    """The input pixels that one logit in the middle has a gradient to."""
    net = build(lambda: patch_discriminator(field, 3, base=2, norm="none"), init_default, seeded()).double()
    x = noise(1, 3, size, size).double().requires_grad_()
    logits = net(x)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], x)
    rows, columns = gradient[0].abs().sum(0).nonzero(as_tuple=True)
    assert rows.max() - rows.min() + 1 == field
    assert columns.max() - columns.min() + 1 == field
    assert rows.min() > 0 or field == 1  # not cut off by the border
    assert rows.max() < size - 1


# ---------------------------------------------------------------- U-Net: skips and dropout


def outputs_with_a_fixed_bottleneck(net: UNet) -> list[Tensor]:
    """Outputs for two images when both are given the same innermost feature map."""
    net.downs[-1].register_forward_hook(lambda _module, _inputs, output: torch.ones_like(output))
    return [net(noise(1, 3, 64, 64, seed=seed)) for seed in (1, 2)]


def test_unet_without_skips_has_no_path_but_the_bottleneck() -> None:
    first, second = outputs_with_a_fixed_bottleneck(UNet(3, 3, base=2, downs=6, skips=False).eval())
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_unet_has_a_path_past_the_bottleneck() -> None:
    first, second = outputs_with_a_fixed_bottleneck(UNet(3, 3, base=2, downs=6).eval())
    assert (first - second).abs().max() > 1e-3


def test_unet_skip_joins_the_up_block_of_its_own_size() -> None:
    net, joined = UNet(3, 3, base=2, downs=5).eval(), []
    for up in net.ups:
        up.register_forward_pre_hook(lambda _module, inputs: joined.append(inputs[0]))
    kept: list[Tensor] = []
    for down in net.downs:
        down.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    net(noise(1, 3, 32, 32))
    for skip, into in zip(reversed(kept[:-1]), joined[1:], strict=True):
        torch.testing.assert_close(into[:, : skip.shape[1]], skip, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("downs", "dropout_at", "expected"),
    [
        (8, "innermost", [0, 1, 2]),
        (8, "after_innermost", [1, 2, 3]),
        (7, "innermost", [0, 1, 2]),
        (7, "after_innermost", [1, 2]),
        (6, "innermost", [0, 1]),
        (6, "after_innermost", [1]),
        (5, "innermost", [0]),
        (5, "after_innermost", []),
        (4, "innermost", []),
        (9, "innermost", [0, 1, 2]),
        (9, "after_innermost", [1, 2, 3]),
    ],
)
@pytest.mark.parametrize("skips", [True, False])
def test_unet_dropout_placement(downs: int, dropout_at: str, expected: list[int], skips: bool) -> None:
    with torch.device("meta"):
        net = UNet(3, 3, downs=downs, dropout_at=dropout_at, skips=skips)
    found = [i for i, up in enumerate(net.ups) if any(isinstance(m, nn.Dropout) for m in up)]
    assert found == expected
    assert list(dropout_ups(downs, dropout_at)) == expected
    assert all(net.ups[i][1].out_channels == 512 for i in found)
    assert not any(isinstance(m, nn.Dropout) for m in net.downs.modules())


def test_unet_layers_are_the_papers() -> None:
    with torch.device("meta"):
        net = UNet(3, 1)
    assert [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)] == [64, 128, 256, *[512] * 5]
    ups = [m for m in net.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.in_channels, m.out_channels) for m in ups] == [
        *[(512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64), (128, 1)]
    ]
    normed_downs = [any(isinstance(m, nn.BatchNorm2d) for m in down.modules()) for down in net.downs]
    normed_ups = [any(isinstance(m, nn.BatchNorm2d) for m in up.modules()) for up in net.ups]
    assert normed_downs == [False, *[True] * 6, False]
    assert normed_ups == [*[True] * 7, False]
    assert all(m.negative_slope == 0.2 for m in net.modules() if isinstance(m, nn.LeakyReLU))


def test_unet_has_no_dropout_when_it_is_zero() -> None:
    with torch.device("meta"):
        assert not any(isinstance(m, nn.Dropout) for m in UNet(3, 3, dropout=0.0).modules())


# ---------------------------------------------------------------- U-Net: the code z


@pytest.mark.parametrize("z_at", ["input", "all"])
def test_unet_code_reaches_the_output(z_at: str) -> None:
    """Every entry of it, for every sample its own; and the image of course."""
    net = UNet(3, 3, base=2, downs=4, norm="instance", dropout=0, z_dim=5, z_at=z_at)
    init_xavier(net, seeded(), gain=1.0)
    net.double()
    x, z = noise(2, 3, 32, 32).double().requires_grad_(), noise(2, 5).double().requires_grad_()
    y = net(x, z)
    to_x, to_z = torch.autograd.grad(y[0].square().sum(), (x, z))
    assert (to_z[0].abs() > 1e-9).all()
    assert not to_z[1].any()
    assert to_x[0].abs().sum() > 1e-6


def test_unet_code_goes_in_where_z_at_says() -> None:
    """At the input: beside the image alone. At all: beside what each of the downs reads, as planes of one number."""
    widths = [64, 128, 256, *[512] * 5]
    with torch.device("meta"):
        at_input, at_all = (UNet(3, 1, norm="instance", dropout=0, z_dim=8, z_at=at) for at in ("input", "all"))
    for net, deep in ((at_input, 0), (at_all, 8)):
        downs = [m for down in net.downs for m in down.modules() if isinstance(m, nn.Conv2d)]
        assert [m.in_channels for m in downs] == [3 + 8, *(width + deep for width in widths[:-1])]
        assert [m.out_channels for m in downs] == widths
        ups = [m for up in net.ups for m in up.modules() if isinstance(m, nn.ConvTranspose2d)]
        assert [m.in_channels for m in ups] == [512, *[1024] * 4, 512, 256, 128]

    net, seen = UNet(3, 3, base=2, downs=4, norm="instance", dropout=0, z_dim=3, z_at="all"), []
    for down in net.downs:
        down.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    z = noise(2, 3)
    net(noise(2, 3, 32, 32), z)
    assert [tuple(x.shape[2:]) for x in seen] == [(32, 32), (16, 16), (8, 8), (4, 4)]
    for x in seen:
        torch.testing.assert_close(x[:, -3:], z[:, :, None, None].expand(-1, -1, *x.shape[2:]), rtol=0, atol=0)


def test_unet_code_is_no_skip() -> None:
    """What an up-block reads is the features and the skip, without planes of z."""
    net, joined = UNet(3, 3, base=2, downs=4, norm="instance", dropout=0, z_dim=3, z_at="all"), []
    for up in net.ups:
        up.register_forward_pre_hook(lambda _module, inputs: joined.append(inputs[0].shape[1]))
    net(noise(1, 3, 16, 16), noise(1, 3))
    assert joined == [16, 16, 8, 4]


# ---------------------------------------------------------------- layers, one by one


def layers_of(net: nn.Module) -> list[str]:
    """What stands in a network, in order: "conv7 s1 p3 reflect 3-64", "InstanceNorm2d", "LeakyReLU 0.2", ..."""
    names = []
    for m in net.modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d):
            kind = "conv" if isinstance(m, nn.Conv2d) else "up"
            padding = "" if m.padding_mode == "zeros" else f" {m.padding_mode}"
            names.append(
                f"{kind}{m.kernel_size[0]} s{m.stride[0]} p{m.padding[0]}{padding} {m.in_channels}-{m.out_channels}"
            )
        elif isinstance(m, nn.LeakyReLU):
            names.append(f"LeakyReLU {m.negative_slope}")
        elif isinstance(m, nn.MaxPool2d | nn.AvgPool2d):
            names.append(f"{type(m).__name__} {m.kernel_size} s{m.stride} p{m.padding}")
        elif isinstance(m, nn.Linear):
            names.append(f"Linear {m.in_features}-{m.out_features}")
        elif not list(m.children()):
            names.append(type(m).__name__)
    return names


def residual(width: int, padding: str = "", norm: str = "InstanceNorm2d") -> list[str]:
    conv = f"conv3 s1 p1{padding} {width}-{width}"
    return [conv, norm, "ReLU", conv, norm]


def normed(conv: str, norm: str = "InstanceNorm2d", activation: str = "ReLU") -> list[str]:
    return [conv, norm, activation]


@pytest.mark.parametrize("blocks", [6, 9])
def test_cyclegan_generator_layers(blocks: int) -> None:
    with torch.device("meta"):
        net = ResNetGenerator(3, 3, blocks=blocks)
    assert layers_of(net) == [
        *normed("conv7 s1 p3 reflect 3-64"),
        *normed("conv3 s2 p1 64-128"),
        *normed("conv3 s2 p1 128-256"),
        *residual(256, " reflect") * blocks,
        *normed("up3 s2 p1 256-128"),
        *normed("up3 s2 p1 128-64"),
        "conv7 s1 p3 reflect 64-3",
        "Tanh",
    ]
    ups = [m for m in net.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert all(m.output_padding == (1, 1) for m in ups)
    norms = [m for m in net.modules() if isinstance(m, nn.InstanceNorm2d)]
    assert not any(m.affine or m.track_running_stats for m in norms)
    assert all(m.bias is not None for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))


def test_cyclegan_has_nine_blocks_from_256_px_on_and_six_below() -> None:
    for size, blocks in ((128, 6), (252, 6), (256, 9), (512, 9)):
        config = METHODS["cyclegan"].config(image_size=size)
        assert config.g_blocks == blocks
    with torch.device("meta"):
        method = build_method("cyclegan", image_size=128, blocks=2)
        assert sum(isinstance(m, ResidualBlock) for m in method.networks["G"].modules()) == 2


def test_patchgan_layers() -> None:
    """RF 70: stride 2 three times, then 1 and 1; no norm on the first layer and the last."""
    with torch.device("meta"):
        net = PatchGAN(3, norm="instance")
    assert layers_of(net) == [
        *["conv4 s2 p1 3-64", "LeakyReLU 0.2"],
        *normed("conv4 s2 p1 64-128", activation="LeakyReLU 0.2"),
        *normed("conv4 s2 p1 128-256", activation="LeakyReLU 0.2"),
        *normed("conv4 s1 p1 256-512", activation="LeakyReLU 0.2"),
        "conv4 s1 p1 512-1",
    ]


@pytest.mark.parametrize(("first", "blocks"), [(3, 4), (7, 10)], ids=["eyes", "hands"])
def test_simgan_refiner_layers(first: int, blocks: int) -> None:
    with torch.device("meta"):
        net = Refiner(first=first, blocks=blocks)
    assert layers_of(net) == [
        *[f"conv{first} s1 p{first // 2} 1-64", "ReLU"],
        *["conv3 s1 p1 64-64", "conv3 s1 p1 64-64", "ReLU"] * blocks,
        *["conv1 s1 p0 64-1", "Tanh"],
    ]


def test_simgan_refiner_block_by_hand() -> None:
    """relu(x + conv(relu(conv(x)))): 1x1 kernels in the middle make it arithmetic."""
    block = Refiner(base=1, blocks=1).net[2]
    for conv, (weight, bias) in zip((block.first, block.second), ((2.0, -1.0), (-3.0, 0.5)), strict=True):
        nn.init.zeros_(conv.weight)
        nn.init.constant_(conv.bias, bias)
        conv.weight.data[0, 0, 1, 1] = weight
    x = torch.tensor([[[[-1.0, 0.25, 1.0, 4.0]]]])
    expected = [max(0.0, v + (-3 * max(0.0, 2 * v - 1) + 0.5)) for v in (-1.0, 0.25, 1.0, 4.0)]
    torch.testing.assert_close(block(x).flatten(), torch.tensor(expected))


@pytest.mark.parametrize("size", [(35, 55), (36, 60), (7, 5)])
def test_simgan_refiner_keeps_every_size(size: tuple[int, int]) -> None:
    assert Refiner(base=2, blocks=1)(noise(2, 1, *size)).shape == (2, 1, *size)


def test_simgan_discriminator_layers() -> None:
    with torch.device("meta"):
        eyes, hands = LocalDiscriminator(), LocalDiscriminator(form="hands")
        assert eyes(torch.empty(2, 1, 35, 55)).shape == (2, 1, 9, 14)
        assert eyes.net(torch.empty(2, 1, 35, 55)).shape == (2, 2, 9, 14)
        assert hands(torch.empty(2, 1, 224, 224)).shape == (2, 1, 7, 7)
    assert layers_of(eyes) == [
        *["conv3 s2 p1 1-96", "ReLU", "conv3 s2 p1 96-64", "ReLU", "MaxPool2d 3 s1 p1"],
        *["conv3 s1 p1 64-32", "ReLU", "conv1 s1 p0 32-32", "ReLU", "conv1 s1 p0 32-2"],
    ]
    assert layers_of(hands) == [
        *["conv7 s4 p3 1-96", "ReLU", "conv5 s2 p2 96-64", "ReLU", "MaxPool2d 3 s2 p1"],
        *["conv3 s2 p1 64-32", "ReLU", "conv1 s1 p0 32-32", "ReLU", "conv1 s1 p0 32-2"],
    ]


def test_simgan_discriminator_gives_the_logit_of_its_softmax() -> None:
    """sigmoid of what it gives is the second channel's softmax, "real"."""
    net, x = LocalDiscriminator(base=6), noise(2, 1, 16, 16)
    torch.testing.assert_close(net(x).sigmoid(), net.net(x).softmax(dim=1)[:, 1:])
    net.net[-1].bias.data = torch.tensor([0.0, 50.0])
    assert (net(x) > 0).all()


def test_unit_layers_of_the_papers_first_program() -> None:
    leaky = "LeakyReLU 0.01"
    with torch.device("meta"):
        networks = build_method("unit", "paper").networks
    for i in (1, 2):
        assert layers_of(networks[f"E{i}"].own) == [
            *["conv7 s1 p3 3-64", leaky, "conv3 s2 p1 64-128", leaky, "conv3 s2 p1 128-256", leaky],
            *residual(256) * 3,
        ]
        assert layers_of(networks[f"E{i}"].shared) == residual(256) == layers_of(networks[f"G{i}"].shared)
        assert layers_of(networks[f"G{i}"].own) == [
            *residual(256) * 3,
            *["up3 s2 p1 256-128", leaky, "up3 s2 p1 128-64", leaky, "conv1 s1 p0 64-3", "Tanh"],
        ]
        widths = [3, 64, 128, 256, 512, 1024, 2048]
        convs = [f"conv3 s2 p1 {a}-{b}" for a, b in pairwise(widths)]
        assert layers_of(networks[f"D{i}"]) == [*(m for conv in convs for m in (conv, leaky)), "conv1 s1 p0 2048-1"]
    assert networks["E1"].own is not networks["E2"].own
    assert networks["E1"].shared is networks["E2"].shared
    assert networks["G1"].shared is networks["G2"].shared
    assert networks["E1"].shared is not networks["G1"].shared


def test_unit_layers_of_the_later_program() -> None:
    with torch.device("meta"):
        networks = build_method("unit", "reference").networks
    up = ["SampleNorm", "ReLU"]
    for i in (1, 2):
        assert layers_of(networks[f"E{i}"].own) == [
            *normed("conv7 s1 p3 reflect 3-64"),
            *normed("conv4 s2 p1 reflect 64-128"),
            *normed("conv4 s2 p1 reflect 128-256"),
            *residual(256, " reflect") * 4,
        ]
        assert layers_of(networks[f"G{i}"].own) == [
            *residual(256, " reflect") * 4,
            *["Upsample", "conv5 s1 p2 reflect 256-128", *up, "Upsample", "conv5 s1 p2 reflect 128-64", *up],
            *["conv7 s1 p3 reflect 64-3", "Tanh"],
        ]
        scale = [
            *(
                m
                for a, b in pairwise([3, 64, 128, 256, 512])
                for m in (f"conv4 s2 p1 reflect {a}-{b}", "LeakyReLU 0.2")
            ),
            "conv1 s1 p0 512-1",
        ]
        assert layers_of(networks[f"D{i}"]) == scale * 3 + ["AvgPool2d 3 s2 p1"]
    assert not set(map(id, networks["E1"].parameters())) & set(map(id, networks["E2"].parameters()))


def test_unit_encodes_to_a_quarter_and_back() -> None:
    with torch.device("meta"):
        for encoder, generator in (
            (vae.paper_encoder(), vae.paper_generator()),
            (vae.later_encoder(), vae.later_generator()),
        ):
            z = encoder(torch.empty(2, 3, 64, 96))
            assert z.shape == (2, 256, 16, 24)
            assert generator(z).shape == (2, 3, 64, 96)
        assert vae.paper_discriminator()(torch.empty(1, 3, 256, 256)).shape == (1, 1, 4, 4)
        maps = vae.later_discriminator()(torch.empty(1, 3, 256, 256))
    assert [tuple(m.shape) for m in maps] == [(1, 1, 16, 16), (1, 1, 8, 8), (1, 1, 4, 4)]


def test_bicyclegan_encoder_layers() -> None:
    def block(inputs: int, outputs: int) -> list[str]:
        return [
            *["InstanceNorm2d", "LeakyReLU 0.2", f"conv3 s1 p1 {inputs}-{inputs}"],
            *["InstanceNorm2d", "LeakyReLU 0.2", f"conv3 s1 p1 {inputs}-{outputs}", "AvgPool2d 2 s2 p0"],
            *["AvgPool2d 2 s2 p0", f"conv1 s1 p0 {inputs}-{outputs}"],
        ]

    with torch.device("meta"):
        net = Encoder()
    assert layers_of(net) == [
        "conv4 s2 p1 3-64",
        *[*block(64, 128), *block(128, 192), *block(192, 256), *block(256, 256)],
        *["LeakyReLU 0.2", "AdaptiveAvgPool2d", "Flatten", "Linear 256-8", "Linear 256-8"],
    ]


def test_bicyclegan_encoder_block_adds_what_it_passes() -> None:
    block = Encoder(base=3, blocks=1, norm="none").trunk[1]
    for parameter in block.body.parameters():
        nn.init.zeros_(parameter)
    x = noise(2, 3, 8, 8)
    passed = nn.functional.conv2d(nn.functional.avg_pool2d(x, 2), block.shortcut[1].weight, block.shortcut[1].bias)
    torch.testing.assert_close(block(x), passed)


def test_encoder_gives_mean_and_log_variance_from_heads_of_their_own() -> None:
    net, x = Encoder(1, z_dim=5, base=4, blocks=2), noise(3, 1, 32, 32)
    mean, log_variance = net(x)
    assert mean.shape == (3, 5)
    assert log_variance is not None
    assert log_variance.shape == (3, 5)
    assert not torch.equal(mean, log_variance)
    nn.init.zeros_(net.log_variance.weight)
    nn.init.constant_(net.log_variance.bias, 7.0)
    assert torch.equal(net(x)[0], mean)
    assert torch.equal(net(x)[1], torch.full((3, 5), 7.0))
    alone = Encoder(1, z_dim=5, base=4, blocks=2, variance=False)
    assert alone(x)[1] is None
    assert sum(p.numel() for p in net.parameters()) - sum(p.numel() for p in alone.parameters()) == 12 * 5 + 5


def test_encoder_takes_any_size() -> None:
    """The average over what is left makes one code of it."""
    net = Encoder(1, z_dim=5, base=2, blocks=2)
    for size in ((16, 16), (32, 48)):
        assert net(noise(2, 1, *size))[0].shape == (2, 5)


@pytest.mark.parametrize(("size", "blocks"), [(16, 1), (32, 1), (64, 2), (128, 3), (256, 4)])
def test_bicyclegan_encoder_sees_8_by_8_in_the_end(size: int, blocks: int) -> None:
    for name in ("cvae_gan", "clr_gan", "bicyclegan"):
        assert METHODS[name].config(image_size=size, d_layers=1).blocks == blocks


# ---------------------------------------------------------------- two scales and more


def test_two_scales_layers() -> None:
    with torch.device("meta"):
        net = two_scales(3)
        full, half = net(torch.empty(1, 3, 256, 256))
        assert (full.shape, half.shape) == ((1, 1, 30, 30), (1, 1, 14, 14))
    assert [m.out_channels for m in net.scales[0].modules() if isinstance(m, nn.Conv2d)] == [64, 128, 256, 512, 1]
    assert [m.out_channels for m in net.scales[1].modules() if isinstance(m, nn.Conv2d)] == [32, 64, 128, 256, 1]
    assert layers_of(net)[-1] == "AvgPool2d 3 s2 p1"


def test_multi_scale_halves_by_the_mean_of_3_by_3_without_the_padding() -> None:
    """By hand, for 4 x 4: a corner is a mean of 4 pixels, an edge of 6, the inside of 9."""
    x = torch.arange(16.0).view(1, 1, 4, 4)
    net = MultiScale([nn.Identity(), nn.Identity(), nn.Identity()])
    full, half, quarter = net(x)
    assert torch.equal(full, x)
    rows = x[0, 0].tolist()
    expected = []
    for i in (0, 2):
        for j in (0, 2):
            near = [rows[r][c] for r in range(i - 1, i + 2) for c in range(j - 1, j + 2) if r >= 0 and c >= 0]
            expected.append(sum(near) / len(near))
    assert half.flatten().tolist() == pytest.approx(expected)
    assert quarter.flatten().tolist() == pytest.approx([sum(expected) / 4])  # halved once more, from the half


def test_multi_scale_keeps_a_constant_image_constant() -> None:
    for one in MultiScale([nn.Identity() for _ in range(3)])(torch.full((1, 2, 8, 8), 0.7)):
        torch.testing.assert_close(one, torch.full_like(one, 0.7))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_two_scales_smallest_image(layers: int) -> None:
    smallest = 2 * 3 * 2**layers
    check_two_scales(smallest, layers)
    assert two_scales(1, 2, layers, "none")(noise(1, 1, smallest, smallest))[1].shape == (1, 1, 1, 1)
    with pytest.raises(ConfigError, match=f"--image-size: found {smallest - 1}; expected at least {smallest}"):
        check_two_scales(smallest - 1, layers)


def measured_field(net: Callable[[Tensor], Tensor], channels: int, size: int) -> int:
    """The rows that the output in the middle has a gradient to."""
    x = noise(1, channels, size, size).double().requires_grad_()
    y = net(x)
    middle = y.shape[-1] // 2
    (gradient,) = torch.autograd.grad(y[0, :, middle, middle].sum(), x)
    rows = gradient[0].abs().sum(0).nonzero()[:, 0]
    assert rows.min() > 0
    assert rows.max() < size - 1
    return int(rows.max() - rows.min() + 1)


@pytest.mark.parametrize(("scale", "field"), [(0, 70), (1, 141)])
def test_two_scales_receptive_field(scale: int, field: int) -> None:
    """The second judges twice as much: 70 pixels 2 apart, each a mean of 3."""
    net = build(lambda: two_scales(1, 4, 3, "none"), init_default, seeded()).double()
    assert measured_field(lambda x: net(x)[scale], 1, 320) == field


def test_network_receptive_fields_of_the_later_methods() -> None:
    """From kernels and strides: r + (k - 1) * (product of the strides before)."""

    def linear(net: nn.Module) -> nn.Module:  # so that no unit is inactive and no norm sees everything
        for module in net.modules():
            for name, child in module.named_children():
                if isinstance(child, nn.ReLU | nn.LeakyReLU | nn.Tanh | nn.InstanceNorm2d):
                    setattr(module, name, nn.Identity())
        init_default(net, seeded())
        return net.double()

    discriminator = vae.paper_discriminator(1, 1, 4)
    assert measured_field(linear(discriminator), 1, 96) == 1 + 2 * (1 + 2 + 4 + 8)
    later = vae.later_discriminator(1, 1, 3, 1)
    assert measured_field(lambda x: linear(later)(x)[0], 1, 96) == 1 + 3 * (1 + 2 + 4)
    encoder = vae.paper_encoder(1, 1, 1)
    assert measured_field(linear(encoder), 1, 96) == 7 + 2 * 1 + 2 * 2 + 2 * 4 * 2
    refiner = Refiner(base=2, first=7, blocks=0)
    assert measured_field(linear(refiner), 1, 32) == 7


# ---------------------------------------------------------------- biases and norms


def biased(net: nn.Module) -> list[bool]:
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return [m.bias is not None for m in net.modules() if isinstance(m, kinds)]


def test_network_biases_follow_the_norm() -> None:
    with torch.device("meta"):
        assert biased(UNet(3, 3)) == [*[False] * 15, True]
        assert all(biased(UNet(3, 3, norm="instance")))
        assert biased(PatchGAN(3)) == [True, False, False, False, True]
        assert all(biased(PatchGAN(3, norm="instance")))
        assert biased(PixelGAN(3)) == [True, False, False]
        assert all(biased(PixelGAN(3, norm="instance")))
        assert not any(biased(StarGANGenerator()))
        assert biased(StarGANDiscriminator()) == [*[True] * 6, False, False]
    assert [uses_bias(n) for n in ("batch", "instance", "instance_affine", "none")] == [False, True, False, True]


def test_network_biases_of_the_unpaired_and_multimodal_methods() -> None:
    with torch.device("meta"):
        for net in (Refiner(), LocalDiscriminator(), Encoder(), vae.paper_encoder(), vae.paper_generator()):
            assert all(biased(net))
        for net in (vae.later_encoder(), vae.later_generator(), vae.later_discriminator(), vae.paper_discriminator()):
            assert all(biased(net))
        assert all(biased(two_scales(3)))
        assert biased(ResNetGenerator(norm="batch", blocks=1)) == [*[False] * 7, True]


def test_sample_norm_by_hand() -> None:
    """(x - mean) / (std + 1e-5) over a sample's channels and pixels, std with n - 1; scale and shift by channel."""
    layer, x = SampleNorm(2), 3 + 2 * noise(2, 2, 3, 4).double()
    layer.weight.data, layer.bias.data = torch.tensor([2.0, 0.5]), torch.tensor([0.0, -1.0])
    found = layer.double()(x)
    for sample, normed_sample in zip(x, found, strict=True):
        values = sample.flatten().tolist()
        mean = sum(values) / 24
        std = math.sqrt(sum((v - mean) ** 2 for v in values) / 23)
        for channel, (scale, shift) in enumerate([(2.0, 0.0), (0.5, -1.0)]):
            expected = [(v - mean) / (std + 1e-5) * scale + shift for v in sample[channel].flatten().tolist()]
            assert normed_sample[channel].flatten().tolist() == pytest.approx(expected, rel=1e-12)


def test_sample_norm_of_a_flat_image_is_its_shift() -> None:
    """Epsilon stands outside the root: nothing is divided by zero."""
    layer, x = SampleNorm(2), torch.full((1, 2, 2, 2), 5.0)
    x[0, 0, 0, 0] = 5 + 1e-5
    assert layer(torch.full((1, 2, 2, 2), 5.0)).abs().max() == 0
    assert layer.double()(x.double()).abs().max() < 1  # a std of 4e-6 counts for less than epsilon


@pytest.mark.parametrize(("norm", "parameters"), [("instance", 0), ("instance_affine", 2)])
def test_instance_norm_uses_the_instance_in_eval_mode_too(norm: str, parameters: int) -> None:
    layer, x = norm_layer(norm, 3), 5 + 3 * noise(2, 3, 8, 8)
    assert len(list(layer.parameters())) == parameters
    assert not list(layer.buffers())
    torch.testing.assert_close(layer.train()(x), layer.eval()(x), rtol=0, atol=0)
    assert layer(x).mean(dim=(2, 3)).abs().max() < 1e-5


def test_stargan_generator_ignores_the_rest_of_the_batch() -> None:
    net, x, c = StarGANGenerator(base=4, blocks=1), noise(3, 3, 16, 16), torch.eye(5)[:3]
    torch.testing.assert_close(net.train()(x, c)[:1], net.eval()(x[:1], c[:1]))


def test_label_planes() -> None:
    x, c = noise(2, 3, 4, 6), torch.tensor([[1, 0], [0, 1]])
    joined = with_label_planes(x, c)
    assert joined.shape == (2, 5, 4, 6)
    assert torch.equal(joined[:, :3], x)
    assert torch.equal(joined[0, 3:].mean(dim=(1, 2)), torch.tensor([1.0, 0.0]))
    assert torch.equal(joined[1, 3:].mean(dim=(1, 2)), torch.tensor([0.0, 1.0]))


def test_stargan_generator_reads_its_label() -> None:
    net, x = StarGANGenerator(base=4, blocks=1), noise(1, 3, 16, 16)
    assert (net(x, torch.eye(5)[:1]) - net(x, torch.eye(5)[1:2])).abs().max() > 1e-3


def test_residual_block_adds_its_input() -> None:
    block, x = ResidualBlock(4, "instance", padding="reflect"), noise(1, 4, 8, 8)
    assert block.body[0].padding_mode == "reflect"
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    torch.testing.assert_close(block(x), x)


# ---------------------------------------------------------------- first weights


@pytest.mark.parametrize("initialise", [init_normal, init_default, init_xavier, init_kaiming])
@pytest.mark.parametrize(
    "make",
    [lambda: UNet(3, 3, base=4, downs=4), lambda: PatchGAN(6, base=4), lambda: StarGANGenerator(base=4, blocks=1)],
)
def test_init_gives_the_same_weights_for_a_seed(make: Callable, initialise: Callable) -> None:
    first = build(make, initialise, seeded(7)).state_dict()
    second, other = build(make, initialise, seeded(7)).state_dict(), build(make, initialise, seeded(8)).state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize("name", METHODS)
def test_build_method_leaves_global_randomness_alone(name: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_method(name, "demo", seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = build_method(name, "demo", seed=3).state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("initialise", [init_normal, init_default, init_xavier, init_kaiming])
def test_init_replaces_every_weight(initialise: Callable) -> None:
    net = nn.ModuleList(
        [StarGANGenerator(base=4, blocks=1), vae.later_generator(1, 2, 1), Encoder(1, base=2, blocks=1)]
    )
    for parameter in net.parameters():
        nn.init.constant_(parameter, math.nan)
    initialise(net, seeded())
    assert all(p.isfinite().all() for p in net.parameters())


def test_init_gives_the_same_weights_in_every_dtype() -> None:
    single, double = nn.Linear(8, 8), nn.Linear(8, 8).double()
    init_normal(single, seeded())
    init_normal(double, seeded())
    assert torch.equal(single.weight.double(), double.weight)


def test_init_normal_statistics() -> None:
    net = nn.Sequential(
        nn.Conv2d(64, 128, 4), nn.BatchNorm2d(20_000), nn.ConvTranspose2d(64, 64, 4), nn.Linear(300, 300)
    )
    init_normal(net, seeded(), gain=0.05)
    for layer, mean in zip(net, (0.0, 1.0, 0.0, 0.0), strict=True):
        assert abs(layer.weight.mean().item() - mean) < 0.002
        assert abs(layer.weight.std().item() - 0.05) < 0.001
        assert not layer.bias.any()


def test_init_xavier_statistics() -> None:
    """A normal of std gain * sqrt(2 / (fan_in + fan_out)), fans counted with the kernel; norms around 1."""
    net = nn.Sequential(
        nn.Conv2d(32, 96, 3),
        nn.ConvTranspose2d(48, 24, 4),
        nn.Linear(500, 100),
        nn.BatchNorm2d(20_000),
        SampleNorm(20_000),
    )
    init_xavier(net, seeded(), gain=0.02)
    for layer, fans in zip(net[:3], (9 * (32 + 96), 16 * (48 + 24), 600), strict=True):
        std = 0.02 * math.sqrt(2 / fans)
        assert layer.weight.std().item() == pytest.approx(std, rel=0.03)
        assert abs(layer.weight.mean().item()) < 0.03 * std
        assert layer.weight.abs().max() > 2.5 * std  # no uniform
        assert not layer.bias.any()
    for norm in net[3:]:
        assert norm.weight.mean().item() == pytest.approx(1, abs=0.002)
        assert norm.weight.std().item() == pytest.approx(0.02, rel=0.03)
        assert not norm.bias.any()


def test_init_kaiming_statistics() -> None:
    """A normal of std sqrt(2 / fan_in), the kernel counted; scales of the norm uniform from 0 to 1."""
    net = nn.Sequential(nn.Conv2d(32, 96, 3), nn.Linear(500, 100), SampleNorm(20_000))
    init_kaiming(net, seeded())
    for layer, fan_in in zip(net[:2], (9 * 32, 500), strict=True):
        std = math.sqrt(2 / fan_in)
        assert layer.weight.std().item() == pytest.approx(std, rel=0.03)
        assert abs(layer.weight.mean().item()) < 0.03 * std
        assert layer.weight.abs().max() > 2.5 * std
        assert not layer.bias.any()
    scales = net[2].weight
    assert scales.min() >= 0
    assert scales.max() <= 1
    assert scales.mean().item() == pytest.approx(0.5, abs=0.01)
    assert scales.std().item() == pytest.approx(12**-0.5, rel=0.03)
    assert not net[2].bias.any()


def spread(network: nn.Module) -> list[float]:
    """Each convolution's weights against their fan-in: 1 where they are as in He et al. 2015."""
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    return [m.weight.std().item() * math.sqrt(m.weight[0].numel() / 2) for m in layers if m.weight.numel() > 2_000]


def stds(network: nn.Module) -> list[float]:
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    return [m.weight.std().item() for m in layers if m.weight.numel() > 2_000]


@pytest.mark.parametrize(
    ("name", "preset", "size"),
    [("cyclegan", "reference", 32), ("pix2pix", "reference", 32), ("unit", "paper", 32), ("unit", "reference", 64)],
)
def test_init_of_each_method_is_its_papers(name: str, preset: str, size: int) -> None:
    """N(0, 0.02); the later UNIT's generators He et al."""
    sizes = {"g_base": 16, "d_base": 16, "image_size": size} | ({} if name == "unit" else {"receptive_field": 16})
    method = build_method(name, preset, **sizes)
    for part, network in method.networks.items():
        later = name == "unit" and preset == "reference" and part[0] in "EG"
        assert (spread(network) if later else stds(network)) == pytest.approx(
            [1.0 if later else 0.02] * len(stds(network)), rel=0.06
        )
        assert stds(network)


def test_init_of_multimodal_methods_is_xavier_and_of_simgan_pytorchs() -> None:
    method = build_method("bicyclegan", image_size=32, g_base=16, d_base=16, e_base=16, d_layers=2)
    for network in method.networks.values():
        layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        for layer in layers:
            if layer.weight.numel() > 2_000:
                fans = layer.weight[0].numel() + layer.weight[:, 0].numel()
                assert layer.weight.std().item() == pytest.approx(0.02 * math.sqrt(2 / fans), rel=0.06)
    refiner = build_method("simgan").networks["R"]
    for layer in (m for m in refiner.modules() if isinstance(m, nn.Conv2d)):
        bound = 1 / math.sqrt(layer.weight[0].numel())
        assert 0.9 * bound < layer.weight.abs().max() <= bound
        assert layer.bias.any()


def test_init_default_is_pytorchs_own() -> None:
    """The same bounds as a freshly constructed layer's, for each kind of layer."""
    for layer in (nn.Conv2d(8, 64, 3), nn.ConvTranspose2d(64, 8, 4), nn.Linear(200, 100)):
        theirs = [p.detach().clone() for p in (layer.weight, layer.bias)]
        init_default(layer, seeded())
        fan_in = nn.init._calculate_fan_in_and_fan_out(layer.weight)[0]
        for ours, torchs in zip((layer.weight, layer.bias), theirs, strict=True):
            assert not torch.equal(ours, torchs)
            assert ours.abs().max() <= 1 / math.sqrt(fan_in)
            assert torchs.abs().max() <= 1 / math.sqrt(fan_in)
        assert abs(layer.weight.std().item() * math.sqrt(3 * fan_in) - 1) < 0.05
    norm = nn.InstanceNorm2d(4, affine=True)
    nn.init.constant_(norm.weight, 3.0)
    init_default(norm, seeded())
    assert torch.equal(norm.weight, torch.ones(4))


def test_init_refuses_a_layer_without_a_rule() -> None:
    for initialise in (init_normal, init_default, init_xavier, init_kaiming):
        with pytest.raises(TypeError, match="Embedding has parameters and no rule"):
            initialise(nn.Sequential(nn.Linear(1, 1), nn.Embedding(2, 2)), seeded())


# ---------------------------------------------------------------- what cannot be

REFUSED: list[tuple[str, Callable[[], object], str]] = [
    (
        "unet forward",
        lambda: UNet(3, 3, base=2, downs=3)(noise(1, 3, 16, 20)),
        "a multiple of 8 .a U-Net of 3 downs",
    ),
    ("unet downs", lambda: UNet(3, 3, downs=1), "1 downs, expected at least 2"),
    (
        "unet dropout",
        lambda: UNet(3, 3, base=2, downs=3, dropout_at="inermost"),
        "dropout_at 'inermost', not one of",
    ),
    ("norm", lambda: norm_layer("instanc", 3), "norm 'instanc', not one of batch, instance, instance_affine, none"),
    ("receptive field", lambda: patch_discriminator(64, 3), "receptive field of 64, not one of 1, 16, 70, 286"),
    ("patch layers", lambda: PatchGAN(3, layers=0), "0 stride-2 layers, expected at least 1"),
    ("stargan D", lambda: StarGANDiscriminator(100), "100, expected a multiple of 64 .StarGAN's discriminator"),
    (
        "stargan D forward",
        lambda: StarGANDiscriminator(64, base=2)(noise(1, 3, 128, 128)),
        "128 x 128; .* 64 x 64",
    ),
    ("resnet forward", lambda: ResNetGenerator(base=1, blocks=1)(noise(1, 3, 16, 18)), "18, expected a multiple of 4"),
    ("unit forward", lambda: vae.Encoder(vae.paper_encoder(1, 1), nn.Identity())(noise(1, 1, 16, 18)), "side of 18"),
    ("refiner kernel", lambda: Refiner(first=4), "first convolution of side 4, expected an odd number"),
    ("local D too narrow", lambda: LocalDiscriminator(base=2), "2 channels, expected at least 3"),
    ("stargan G", lambda: StarGANGenerator(base=2, blocks=1)(noise(1, 3, 18, 18), noise(1, 5)), "side of 18"),
]


@pytest.mark.parametrize(("act", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_network_refuses_what_it_cannot_be_or_take(act: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()


@pytest.mark.parametrize(
    ("side", "factor", "nearest"), [(300, 256, "256 or 512"), (100, 256, "256"), (0, 256, "256"), (18, 4, "16 or 20")]
)
def test_network_refuses_a_side_that_is_no_multiple_with_the_nearest(side: int, factor: int, nearest: str) -> None:
    with pytest.raises(SizeError, match=f"side of {side}, expected a multiple of {factor}") as refused:
        check_multiple(side, factor, "a network")
    assert refused.value.listed == nearest
    for size in map(int, nearest.split(" or ")):
        check_multiple(size, factor, "a network")


FLAGS: list[tuple[str, Callable[[], object], str]] = [
    ("unet between", lambda: check_unet(300, 8), r"--image-size: found 300.*\n.*--image-size 256 or 512"),
    ("unet too small", lambda: check_unet(100, 8), r"--image-size: found 100.*\n.*--image-size 256; or --downs 2\."),
    ("unet nonsense", lambda: check_unet(0, 8), r"--image-size: found 0.*\n.*--image-size 256\."),
    ("unet downs", lambda: check_unet(256, 1), "--downs: found 1"),
    ("pix2pix downs", lambda: build_method("pix2pix", downs=1), "--downs: found 1"),
    ("stargan D", lambda: build_method("stargan", image_size=100), r"found 100.*\n.*--image-size 64 or 128"),
    ("stargan G", lambda: build_method("stargan", image_size=18, d_layers=1), "found 18; expected a multiple of 4"),
    ("refiner kernel", lambda: build_method("simgan", first_kernel=4), "--first-kernel: found 4"),
    ("local D too narrow", lambda: build_method("simgan", d_base=2), "--d-base: found 2"),
    (
        "dropout",
        lambda: METHODS["pix2pix"].config(dropout_at="inermost"),
        r"--dropout-at: found 'inermost'.*\n.*Did you mean innermost",
    ),
]


@pytest.mark.parametrize(("act", "message"), [row[1:] for row in FLAGS], ids=[row[0] for row in FLAGS])
def test_config_refuses_a_side_by_its_flag(act: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        act()


@pytest.mark.parametrize("size", [256, 512, 768])
def test_config_accepts_these_sizes(size: int) -> None:
    check_unet(size, 8)


LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("of_gradient", LAYOUTS, ids=str)
@pytest.mark.parametrize("of_images", LAYOUTS, ids=str)
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_instance_norm_is_right_in_every_layout(
    n: int, affine: bool, of_images: torch.memory_format, of_gradient: torch.memory_format
) -> None:
    """torch's own has a wrong gradient of one image whose gradient lies channels last."""
    norm = norm_layer("instance_affine" if affine else "instance", 5).double()
    if affine:
        nn.init.uniform_(norm.weight)
        nn.init.uniform_(norm.bias)
    x, towards = torch.rand(2, n, 5, 4, 6, dtype=torch.float64)
    x = x.contiguous(memory_format=of_images).requires_grad_()
    towards = towards.contiguous(memory_format=of_gradient)
    weights = list(norm.parameters())
    found = torch.autograd.grad(norm(x), [x, *weights], towards)

    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
    y = (x - mean) / (variance + 1e-5).sqrt()
    if affine:
        y = y * weights[0][:, None, None] + weights[1][:, None, None]
    torch.testing.assert_close(norm(x), y)
    for mine, expected in zip(found, torch.autograd.grad(y, [x, *weights], towards), strict=True):
        torch.testing.assert_close(mine, expected)


# ---------------------------------------------------------------- images of noise


@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize("size", [8, 32, (16, 40)])
def test_dcgan_makes_and_judges_images_of_its_size(kernel: int, size: Any) -> None:
    height, width = (size, size) if isinstance(size, int) else size
    G, D = DCGANGenerator(size, 2, 5, 4, kernel), DCGANDiscriminator(size, 2, 4, kernel)
    made = G(noise(3, 5))
    assert made.shape == (3, 2, height, width)
    assert made.abs().max() <= 1
    assert D(made).shape == (3, 1)


@pytest.mark.parametrize("size", [4, 24, (24, 16), (16, 30)])
def test_dcgan_refuses_a_size_that_cannot_be_halved_to_four(size: Any) -> None:
    if size == (24, 16):
        assert DCGANDiscriminator(size, 1, 4)(torch.zeros(1, 1, 24, 16)).shape == (1, 1)
        return
    for network in (DCGANGenerator, DCGANDiscriminator):
        with pytest.raises(SizeError):
            network(size)


def test_dcgan_has_norms_but_at_the_image() -> None:
    """Not in G's last layer and in D's first (sec. 3)."""
    G, D = DCGANGenerator(32), DCGANDiscriminator(32)
    norms = [[m.num_features for m in net.modules() if isinstance(m, nn.BatchNorm2d)] for net in (G, D)]
    assert norms == [[256, 128, 64], [128, 256]]
    assert not any(getattr(m, "bias", None) is not None for m in [*G.ups, *D.downs] if "Conv" in type(m).__name__)


def test_dcgans_layer_norm_is_of_each_sample_with_a_scale_per_channel() -> None:
    norm = DCGANDiscriminator(16, norm="layer", base=4).downs[4]
    x = noise(2, 8, 3, 3)
    with torch.no_grad():
        norm.weight.copy_(torch.arange(8.0))
        found = norm(x)
    one = (x[1] - x[1].mean()) / (x[1].var(correction=0) + norm.eps).sqrt() * torch.arange(8.0)[:, None, None]
    torch.testing.assert_close(found[1], one)
    assert norm.weight.shape == (8,)


def test_maxout_is_the_largest_of_its_pieces() -> None:
    layer = Maxout(4, 3, 2)
    x = noise(5, 4)
    pieces = x @ layer.linear.weight.T + layer.linear.bias
    assert torch.equal(layer(x), torch.stack([pieces[:, 2 * u : 2 * u + 2].max(dim=1).values for u in range(3)], dim=1))


def test_gan_of_goodfellow_makes_images_by_a_sigmoid_and_judges_them_in_zero_to_one() -> None:
    """2 sigmoid(h) - 1 is an image in [-1, 1]; D sees (x + 1) / 2."""
    G, D = GANGenerator(5, (1, 4, 4), 6), GANDiscriminator((1, 4, 4), 3, 2)
    z = noise(2, 5)
    hidden = G.net[:-1](z)
    torch.testing.assert_close(G(z).flatten(1), 2 / (1 + torch.exp(-hidden)) - 1)
    D.eval()
    x = G(z)
    torch.testing.assert_close(D(x), D.net[1:]((x.flatten(1) + 1) / 2))
    assert [m.p for m in D.modules() if isinstance(m, nn.Dropout)] == [0.2, 0.5, 0.5]


def test_conditional_gan_reads_code_and_label_apart_and_then_together() -> None:
    G, D = ConditionalGenerator(10, 100, (1, 28, 28)), ConditionalDiscriminator(10, (1, 28, 28))
    assert (G.of_code.out_features, G.of_label.out_features) == (200, 1000)
    assert (D.of_image[1].units, D.of_label.units) == (240, 50)
    assert [m.p for m in [*G.modules(), *D.modules()] if isinstance(m, nn.Dropout)] == [0.5] * 4


def test_init_uniform_stays_within_its_bound_and_takes_linear_layers_alone() -> None:
    net = GANDiscriminator((1, 4, 4), 50, 5)
    init_uniform(net, seeded(), 0.005)
    weights = torch.cat([m.weight.flatten() for m in net.modules() if isinstance(m, nn.Linear)])
    assert 0.00499 < weights.abs().max() <= 0.005
    assert abs(weights.mean()) < 1e-4
    assert all(not m.bias.any() for m in net.modules() if isinstance(m, nn.Linear))
    with pytest.raises(TypeError, match="Conv2d, which is no linear layer"):
        init_uniform(nn.Conv2d(1, 1, 1), seeded(), 0.1)
