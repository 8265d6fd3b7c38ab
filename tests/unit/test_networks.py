"""The networks are the papers' networks: weights, shapes, receptive fields, skips, dropout, first weights.

Run: python -m pytest tests/unit/test_networks.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from i2i_core.errors import ConfigError
from i2i_core.methods import METHODS, build_method
from i2i_core.networks import vae
from i2i_core.networks.encoder import Encoder
from i2i_core.networks.init import init_default, init_normal
from i2i_core.networks.layers import ResidualBlock, norm_layer, uses_bias, with_label_planes
from i2i_core.networks.patchgan import PatchGAN, PixelGAN, check_patch_size, patch_discriminator, two_scales
from i2i_core.networks.refiner import LocalDiscriminator, Refiner
from i2i_core.networks.resnet import ResNetGenerator
from i2i_core.networks.stargan import StarGANDiscriminator, StarGANGenerator
from i2i_core.networks.unet import UNet, check_unet_size, dropout_ups


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def build(make: Callable, initialise: Callable, generator: Generator) -> Any:
    net = make()
    initialise(net, generator)
    return net


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


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
]


@pytest.mark.parametrize(("make", "count"), [row[1:] for row in COUNTS], ids=[row[0] for row in COUNTS])
def test_parameter_count(make: Callable[[], nn.Module], count: int) -> None:
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
def test_patch_logits_at_256(field: int, side: int) -> None:
    with torch.device("meta"):
        assert patch_discriminator(field, 6)(torch.empty(2, 6, 256, 256)).shape == (2, 1, side, side)


@pytest.mark.parametrize(("field", "smallest"), [(1, 1), (16, 6), (70, 24), (286, 96)])
def test_smallest_image_of_each_patch_discriminator(field: int, smallest: int) -> None:
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
def test_receptive_field_is_measured(field: int, size: int) -> None:
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


def test_encoder_decoder_has_no_path_but_the_bottleneck() -> None:
    first, second = outputs_with_a_fixed_bottleneck(UNet(3, 3, base=2, downs=6, skips=False).eval())
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_unet_has_a_path_past_the_bottleneck() -> None:
    first, second = outputs_with_a_fixed_bottleneck(UNet(3, 3, base=2, downs=6).eval())
    assert (first - second).abs().max() > 1e-3


def test_every_skip_joins_the_up_block_of_its_own_size() -> None:
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
def test_dropout_placement(downs: int, dropout_at: str, expected: list[int], skips: bool) -> None:
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


def test_no_dropout_when_it_is_zero() -> None:
    with torch.device("meta"):
        assert not any(isinstance(m, nn.Dropout) for m in UNet(3, 3, dropout=0.0).modules())


# ---------------------------------------------------------------- biases and norms


def biased(net: nn.Module) -> list[bool]:
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return [m.bias is not None for m in net.modules() if isinstance(m, kinds)]


def test_biases_follow_the_norm() -> None:
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


@pytest.mark.parametrize(("norm", "parameters"), [("instance", 0), ("instance_affine", 2)])
def test_instance_norms_use_the_instance_in_eval_mode_too(norm: str, parameters: int) -> None:
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


@pytest.mark.parametrize("initialise", [init_normal, init_default])
@pytest.mark.parametrize(
    "make",
    [lambda: UNet(3, 3, base=4, downs=4), lambda: PatchGAN(6, base=4), lambda: StarGANGenerator(base=4, blocks=1)],
)
def test_a_seed_gives_the_weights(make: Callable, initialise: Callable) -> None:
    first = build(make, initialise, seeded(7)).state_dict()
    second, other = build(make, initialise, seeded(7)).state_dict(), build(make, initialise, seeded(8)).state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize("name", METHODS)
def test_making_a_method_leaves_global_randomness_alone(name: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_method(name, "demo", seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = build_method(name, "demo", seed=3).state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("initialise", [init_normal, init_default])
def test_every_weight_is_replaced(initialise: Callable) -> None:
    net = StarGANGenerator(base=4, blocks=1)
    for parameter in net.parameters():
        nn.init.constant_(parameter, math.nan)
    initialise(net, seeded())
    assert all(p.isfinite().all() for p in net.parameters())


def test_the_same_weights_in_every_dtype() -> None:
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


def test_a_layer_without_a_rule_is_not_passed_over() -> None:
    for initialise in (init_normal, init_default):
        with pytest.raises(TypeError, match="Embedding has parameters and no rule"):
            initialise(nn.Sequential(nn.Linear(1, 1), nn.Embedding(2, 2)), seeded())


# ---------------------------------------------------------------- what users get wrong

REFUSED: list[tuple[str, Callable[[], object], str]] = [
    ("unet between", lambda: check_unet_size(300, 8), r"--image-size: found 300.*\n.*--image-size 256 or 512"),
    ("unet too small", lambda: check_unet_size(100, 8), r"--image-size: found 100.*\n.*--image-size 256\."),
    ("unet nonsense", lambda: check_unet_size(0, 8), r"--image-size: found 0.*\n.*--image-size 256\."),
    ("unet forward", lambda: UNet(3, 3, base=2, downs=3)(noise(1, 3, 16, 20)), "--image-size: found 20"),
    ("unet downs", lambda: UNet(3, 3, downs=1), "--downs: found 1"),
    ("unet dropout", lambda: UNet(3, 3, base=2, downs=3, dropout_at="inermost"), "Did you mean innermost"),
    ("norm", lambda: norm_layer("instanc", 3), "--norm: found 'instanc'.*\n.*Did you mean instance"),
    ("receptive field", lambda: patch_discriminator(64, 3), r"--receptive-field: found 64.*\n.*--receptive-field 70"),
    ("patch layers", lambda: PatchGAN(3, layers=0), "--layers: found 0"),
    ("stargan D", lambda: StarGANDiscriminator(100), r"--image-size: found 100.*\n.*--image-size 64 or 128"),
    ("stargan D forward", lambda: StarGANDiscriminator(64, base=2)(noise(1, 3, 128, 128)), "found images of 128 x 128"),
    ("stargan G", lambda: StarGANGenerator(base=2, blocks=1)(noise(1, 3, 18, 18), noise(1, 5)), "found 18"),
]


@pytest.mark.parametrize(("act", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused_with_a_message_that_names_the_flag(act: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        act()


@pytest.mark.parametrize("size", [256, 512, 768])
def test_accepted_sizes(size: int) -> None:
    check_unet_size(size, 8)
