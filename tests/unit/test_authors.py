"""The authors' weights: their networks, rebuilt here layer by layer under their names, against ours with their files.

pytest tests/unit/test_authors.py
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i_core.checkpoints import authors, starting
from i2i_core.config.run import TrainConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.errors import CheckpointError, ConfigError, UserError
from i2i_core.methods import METHODS, build_from, build_method
from i2i_core.methods.base import Method
from i2i_core.registry import entry
from i2i_core.training.loop import Loop
from i2i_core.training.preparing import prepare
from i2i_core.training.sync import World

from ..support.methods import SMALL

# ---------------------------------------------------------------------------------------------------------------------
# Networks with the authors' names and forward order
# ---------------------------------------------------------------------------------------------------------------------

Norm = Callable[[int], nn.Module]
BATCH: Norm = nn.BatchNorm2d
INSTANCE: Norm = nn.InstanceNorm2d


def tracked(channels: int) -> nn.Module:
    """As the instance norms of 2018 were saved: with statistics that only eval mode would use."""
    return nn.InstanceNorm2d(channels, track_running_stats=True)


def tracked_affine(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)


def planes(x: Tensor, z: Tensor) -> Tensor:
    return torch.cat([x, z[:, :, None, None].expand(-1, -1, *x.shape[2:])], dim=1)


class Nested(nn.Module):
    """A level of a U-Net of `model.`: pix2pix's ([skip, up]) or BicycleGAN's ([up, skip])."""

    def __init__(
        self, widths: list[int], into: int, out: int, norm: Norm, bias: bool, upper_first: bool, outermost: bool = True
    ) -> None:
        super().__init__()
        self.outermost, self.upper_first = outermost, upper_first
        width, innermost = widths[0], len(widths) == 1
        layers: list[nn.Module] = [] if outermost else [nn.LeakyReLU(0.2, inplace=True)]
        layers.append(nn.Conv2d(into, width, 4, 2, 1, bias=bias))
        if not innermost:
            layers += [] if outermost else [norm(width)]
            layers.append(Nested(widths[1:], width, width, norm, bias, upper_first, outermost=False))
        up_bias = bias or outermost
        layers += [nn.ReLU(inplace=True), nn.ConvTranspose2d(width * (2 - innermost), out, 4, 2, 1, bias=up_bias)]
        layers += [nn.Tanh() if outermost else norm(out)]
        layers += [] if outermost or innermost else [nn.Dropout(0.5)]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        if self.outermost:
            return self.model(x)
        up = self.model(x)  # which rectifies x in place
        return torch.cat([up, x] if self.upper_first else [x, up], dim=1)


class UNet(nn.Module):
    def __init__(
        self, into: int, out: int, base: int, downs: int, norm: Norm, bias: bool, upper_first: bool = False
    ) -> None:
        super().__init__()
        self.model = Nested([base * min(2**i, 8) for i in range(downs)], into, out, norm, bias, upper_first)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        return self.model(x if z is None else planes(x, z))


class Coded(nn.Module):
    """A level of BicycleGAN's U-Net with the code at every layer."""

    def __init__(self, widths: list[int], into: int, out: int, z_dim: int, norm: Norm, outermost: bool = True) -> None:
        super().__init__()
        self.outermost = outermost
        width, innermost = widths[0], len(widths) == 1
        down: list[nn.Module] = [] if outermost else [nn.LeakyReLU(0.2, inplace=True)]
        down.append(nn.Conv2d(into + z_dim, width, 4, 2, 1))
        down += [] if outermost or innermost else [norm(width)]
        up = [nn.ReLU(inplace=True), nn.ConvTranspose2d(width * (2 - innermost), out, 4, 2, 1)]
        self.down = nn.Sequential(*down)
        self.submodule = None if innermost else Coded(widths[1:], width, width, z_dim, norm, outermost=False)
        self.up = nn.Sequential(*up, nn.Tanh() if outermost else norm(out))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        h = self.down(planes(x, z))
        h = self.up(h if self.submodule is None else self.submodule(h, z))
        return h if self.outermost else torch.cat([h, x], dim=1)


class CodedUNet(nn.Module):
    def __init__(self, into: int, out: int, z_dim: int, base: int, downs: int, norm: Norm) -> None:
        super().__init__()
        self.model = Coded([base * min(2**i, 8) for i in range(downs)], into, out, z_dim, norm)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.model(x, z)


class Residual(nn.Module):
    def __init__(self, name: str, *layers: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        return x + getattr(self, self.name)(x)


class ResNet(nn.Module):
    def __init__(self, into: int, out: int, base: int, blocks: int, norm: Norm, bias: bool, dropout: bool) -> None:
        super().__init__()

        def then(layer: nn.Module, channels: int) -> list[nn.Module]:
            return [layer, norm(channels), nn.ReLU(inplace=True)]

        def padded() -> list[nn.Module]:
            return [nn.ReflectionPad2d(1), nn.Conv2d(4 * base, 4 * base, 3, bias=bias), norm(4 * base)]

        def up(channels: int) -> list[nn.Module]:
            return then(nn.ConvTranspose2d(2 * channels, channels, 3, 2, 1, output_padding=1, bias=bias), channels)

        middle = [nn.ReLU(inplace=True)] + [nn.Dropout(0.5)] * dropout
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            *then(nn.Conv2d(into, base, 7, bias=bias), base),
            *then(nn.Conv2d(base, 2 * base, 3, 2, 1, bias=bias), 2 * base),
            *then(nn.Conv2d(2 * base, 4 * base, 3, 2, 1, bias=bias), 4 * base),
            *(Residual("conv_block", *padded(), *middle, *padded()) for _ in range(blocks)),
            *up(2 * base),
            *up(base),
            nn.ReflectionPad2d(3),
            nn.Conv2d(base, out, 7),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def patch_layers(into: int, base: int, layers: int, norm: Norm, bias: bool) -> nn.Sequential:
    stack: list[nn.Module] = [nn.Conv2d(into, base, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    width = base
    for i in range(1, layers + 1):
        before, width = width, base * min(2**i, 8)
        stack += [nn.Conv2d(before, width, 4, 2 if i < layers else 1, 1, bias=bias), norm(width)]
        stack.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*stack, nn.Conv2d(width, 1, 4, 1, 1))


class Patch(nn.Module):
    def __init__(self, into: int, base: int, layers: int, norm: Norm, bias: bool) -> None:
        super().__init__()
        self.model = patch_layers(into, base, layers, norm, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Pixel(nn.Module):
    def __init__(self, into: int, base: int, norm: Norm, bias: bool) -> None:
        super().__init__()
        first, middle = nn.Conv2d(into, base, 1), nn.Conv2d(base, 2 * base, 1, bias=bias)
        rest = [norm(2 * base), nn.LeakyReLU(0.2), nn.Conv2d(2 * base, 1, 1, bias=bias)]
        self.net = nn.Sequential(first, nn.LeakyReLU(0.2), middle, *rest)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Scales(nn.Module):
    def __init__(self, into: int, base: int, layers: int, scales: int, norm: Norm) -> None:
        super().__init__()
        self.number = scales
        for i in range(scales):
            self.add_module(f"model_{i}", patch_layers(into, base // 2**i, layers, norm, bias=True))
        self.down = nn.AvgPool2d(3, 2, 1, count_include_pad=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for i in range(self.number):
            maps.append(getattr(self, f"model_{i}")(x))
            x = self.down(x)
        return maps


class Halving(nn.Module):
    def __init__(self, into: int, out: int, norm: Norm) -> None:
        super().__init__()
        first = [norm(into), nn.LeakyReLU(0.2, inplace=False), nn.Conv2d(into, into, 3, 1, 1)]
        last = nn.Sequential(nn.Conv2d(into, out, 3, 1, 1), nn.AvgPool2d(2))
        self.conv = nn.Sequential(*first, norm(into), nn.LeakyReLU(0.2), last)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(into, out, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.shortcut(x)


class Encoder(nn.Module):
    def __init__(self, into: int, z_dim: int, base: int, blocks: int, norm: Norm, variance: bool) -> None:
        super().__init__()
        widths = [base * min(4, n) for n in range(1, blocks + 2)]
        self.fc = nn.Sequential(nn.Linear(widths[-1], z_dim))
        if variance:
            self.fcVar = nn.Sequential(nn.Linear(widths[-1], z_dim))
        halvings = [Halving(widths[i], widths[i + 1], norm) for i in range(blocks)]
        ends = [nn.LeakyReLU(0.2), nn.AvgPool2d(8)]
        self.conv = nn.Sequential(nn.Conv2d(into, base, 4, 2, 1), *halvings, *ends)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        h = self.conv(x).flatten(1)
        return self.fc(h), self.fcVar(h) if hasattr(self, "fcVar") else None


class StarG(nn.Module):
    def __init__(self, labels: int, base: int, blocks: int) -> None:
        super().__init__()

        def then(layer: nn.Module, channels: int) -> list[nn.Module]:
            return [layer, tracked_affine(channels), nn.ReLU(inplace=True)]

        def conv() -> nn.Module:
            return nn.Conv2d(4 * base, 4 * base, 3, 1, 1, bias=False)

        self.main = nn.Sequential(
            *then(nn.Conv2d(3 + labels, base, 7, 1, 3, bias=False), base),
            *then(nn.Conv2d(base, 2 * base, 4, 2, 1, bias=False), 2 * base),
            *then(nn.Conv2d(2 * base, 4 * base, 4, 2, 1, bias=False), 4 * base),
            *(Residual("main", *then(conv(), 4 * base), conv(), tracked_affine(4 * base)) for _ in range(blocks)),
            *then(nn.ConvTranspose2d(4 * base, 2 * base, 4, 2, 1, bias=False), 2 * base),
            *then(nn.ConvTranspose2d(2 * base, base, 4, 2, 1, bias=False), base),
            nn.Conv2d(base, 3, 7, 1, 3, bias=False),
            nn.Tanh(),
        )

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return self.main(planes(x, c))


class StarD(nn.Module):
    def __init__(self, side: int, labels: int, base: int, layers: int) -> None:
        super().__init__()
        widths = [3, *(base * 2**i for i in range(layers))]
        stack: list[nn.Module] = []
        for i in range(layers):
            stack += [nn.Conv2d(widths[i], widths[i + 1], 4, 2, 1), nn.LeakyReLU(0.01)]
        self.main = nn.Sequential(*stack)
        self.conv1 = nn.Conv2d(widths[-1], 1, 3, 1, 1, bias=False)
        self.conv2 = nn.Conv2d(widths[-1], labels, side // 2**layers, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.main(x)
        return self.conv1(h), self.conv2(h).flatten(1)


# ---------------------------------------------------------------------------------------------------------------------
# Small networks: the same output
# ---------------------------------------------------------------------------------------------------------------------

PAIR = {"in_channels": 2, "out_channels": 3}
PIX = {**PAIR, "image_size": 32, "g_base": 4, "d_base": 4}
CYCLE = {**PAIR, "lambda_id": 0.0, "image_size": 32, "g_base": 4, "d_base": 4, "blocks": 2}
CODE = {**PAIR, "image_size": 32, "g_base": 4, "d_base": 4, "d_layers": 2, "z_dim": 3}
BICYCLE = {**CODE, "e_base": 4, "e_blocks": 1}
STAR = {"image_size": 32, "c_dim": 4, "g_base": 4, "d_base": 4, "blocks": 2, "d_layers": 3}

Case = tuple[str, dict[str, Any], str, Callable[[], nn.Module]]
CASES: dict[str, Case] = {
    "pix2pix-G-batch": ("pix2pix", PIX, "G", lambda: UNet(2, 3, 4, 5, BATCH, bias=False)),
    "pix2pix-G-instance": (
        "pix2pix", {**PIX, "norm": "instance", "downs": 3}, "G", lambda: UNet(2, 3, 4, 3, INSTANCE, bias=True),
    ),
    "pix2pix-D-70": ("pix2pix", PIX, "D", lambda: Patch(5, 4, 3, BATCH, bias=False)),
    "pix2pix-D-16": (
        "pix2pix", {**PIX, "norm": "instance", "receptive_field": 16}, "D", lambda: Patch(5, 4, 1, INSTANCE, bias=True),
    ),
    "pix2pix-D-1": ("pix2pix", {**PIX, "receptive_field": 1}, "D", lambda: Pixel(5, 4, BATCH, bias=False)),
    "pix2pix-D-sees-b": ("pix2pix", {**PIX, "objective": "L1+GAN"}, "D", lambda: Patch(3, 4, 3, BATCH, bias=False)),
    "cyclegan-G": ("cyclegan", CYCLE, "G", lambda: ResNet(2, 3, 4, 2, INSTANCE, bias=True, dropout=False)),
    "cyclegan-F-dropout": ("cyclegan", CYCLE, "F", lambda: ResNet(3, 2, 4, 2, INSTANCE, bias=True, dropout=True)),
    "cyclegan-G-batch-dropout": (
        "cyclegan", {**CYCLE, "norm": "batch"}, "G", lambda: ResNet(2, 3, 4, 2, BATCH, bias=False, dropout=True),
    ),
    "cyclegan-D_Y": ("cyclegan", CYCLE, "D_Y", lambda: Patch(3, 4, 3, INSTANCE, bias=True)),
    "bicyclegan-G-all": ("bicyclegan", BICYCLE, "G", lambda: CodedUNet(2, 3, 3, 4, 5, INSTANCE)),
    "bicyclegan-G-input": (
        "bicyclegan", {**BICYCLE, "z_at": "input"}, "G",
        lambda: UNet(5, 3, 4, 5, INSTANCE, bias=True, upper_first=True),
    ),
    "pix2pix_noise-G": ("pix2pix_noise", CODE, "G", lambda: CodedUNet(2, 3, 3, 4, 5, INSTANCE)),
    "bicyclegan-E": ("bicyclegan", BICYCLE, "E", lambda: Encoder(3, 3, 4, 1, INSTANCE, variance=True)),
    "clr_gan-E": ("clr_gan", BICYCLE, "E", lambda: Encoder(3, 3, 4, 1, INSTANCE, variance=False)),
    "bicyclegan-D2": ("bicyclegan", BICYCLE, "D2", lambda: Scales(3, 4, 2, 2, INSTANCE)),
    "stargan-G": ("stargan", STAR, "G", lambda: StarG(4, 4, 2)),
    "stargan-D": ("stargan", STAR, "D", lambda: StarD(32, 4, 4, 3)),
}  # fmt: skip


def filled(theirs: nn.Module) -> nn.Module:
    """With every parameter and running statistic drawn anew, in float64."""
    g = torch.Generator().manual_seed(3)
    theirs = theirs.double()
    for name, tensor in theirs.state_dict().items():
        if tensor.is_floating_point():
            drawn = torch.rand(tensor.shape, generator=g, dtype=tensor.dtype)
            tensor.copy_(0.5 + drawn if name.endswith("running_var") or tensor.ndim == 1 else drawn * 0.4 - 0.2)
    return theirs


def inputs_of(method: Method[Any], key: str) -> list[Tensor]:
    k = method.config
    g = torch.Generator().manual_seed(4)

    def drawn(*shape: int) -> Tensor:
        return torch.rand(2, *shape, generator=g, dtype=torch.float64) * 2 - 1

    first = next(p for name, p in method.networks[key].named_parameters() if p.ndim == 4)
    code = getattr(k, "z_dim", 0) * (key == "G")
    labels = getattr(k, "c_dim", 0) * (key == "G")
    out = [drawn(first.shape[1] - code - labels, 32, 32)]
    return out + [drawn(code + labels)] * bool(code + labels)


def file_of(theirs: nn.Module, path: Path) -> Path:
    torch.save(theirs.state_dict(), path)
    return path


def fill(init_from: str, name: str, method: Method[Any], ema: nn.ModuleDict | None) -> str:
    """A method started from the files; the line of the log."""
    return starting.read(init_from, (), name, method).fill(method, ema)


def tensors_of(output: Any) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else [each for each in output if each is not None]


@pytest.mark.parametrize("case", CASES)
def test_authors_file_gives_their_networks_output(case: str, tmp_path: Path) -> None:
    name, hyper, key, build = CASES[case]
    method = build_method(name, **hyper).double()
    theirs = filled(build())
    file = file_of(theirs, tmp_path / "x.pth")
    line = fill(f"authors:{key}={file}", name, method, None)
    assert f"{key} from {file}" in line

    # StarGAN's authors make images in training mode, with the image's own statistics
    theirs.train(key == "G" and name == "stargan")
    method.eval()
    inputs = inputs_of(method, key)
    with torch.no_grad():
        ours = tensors_of(method.networks[key](*inputs))
        expected = tensors_of(theirs(*inputs))
    assert len(ours) == len(expected)
    for a, b in zip(ours, expected, strict=True):
        assert a.std() > 1e-3
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_authors_program_at_test_time_is_translate(tmp_path: Path) -> None:
    """pix2pix at batch 1 with the image's own statistics; CycleGAN both ways."""
    x = torch.rand(2, 2, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    method = build_method("pix2pix", **PIX, dropout=0.0).double()
    unet = filled(UNet(2, 3, 4, 5, BATCH, bias=False))
    fill(f"authors:{file_of(unet, tmp_path / 'latest_net_G.pth')}", "pix2pix", method, None)
    for module in unet.modules():
        module.training = not isinstance(module, nn.Dropout)
    with torch.no_grad():
        expected = torch.cat([unet(x[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(method.image_from(x), expected, rtol=1e-12, atol=1e-12)

    cycle = build_method("cyclegan", **CYCLE).double()
    there, back = (filled(ResNet(*io, 4, 2, tracked, bias=True, dropout=False)) for io in ((2, 3), (3, 2)))
    files = [file_of(there, tmp_path / "latest_net_G_A.pth"), file_of(back, tmp_path / "latest_net_G_B.pth")]
    fill(f"authors:{files[0]},{files[1]}", "cyclegan", cycle, None)
    y = torch.cat([x, x[:, :1]], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(cycle.image_from(x), there(x), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(cycle.image_from(y, "BtoA"), back(y), rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Full size: every tensor once
# ---------------------------------------------------------------------------------------------------------------------

BOTH = {"image_size": 256, "c_dim": 13, "sizes": (5, 8), "kinds": ("attributes", "classes")}  # CelebA and RaFD
FULL: dict[str, tuple[str, dict[str, Any], str, Callable[[], nn.Module], int]] = {
    "pix2pix-G": ("pix2pix", {}, "G", lambda: UNet(3, 3, 64, 8, BATCH, bias=False), 54_413_955),
    "pix2pix-D": ("pix2pix", {}, "D", lambda: Patch(6, 64, 3, BATCH, bias=False), 2_768_705),
    "cyclegan-G": (
        "cyclegan", {}, "G", lambda: ResNet(3, 3, 64, 9, tracked, bias=True, dropout=False), 11_378_179,
    ),
    "cyclegan-D_X": ("cyclegan", {}, "D_X", lambda: Patch(3, 64, 3, tracked, bias=True), 2_764_737),
    "bicyclegan-G": ("bicyclegan", {}, "G", lambda: CodedUNet(3, 3, 8, 64, 8, INSTANCE), 54_794_627),
    "bicyclegan-E": ("bicyclegan", {}, "E", lambda: Encoder(3, 8, 64, 4, INSTANCE, variance=True), 2_590_032),
    "bicyclegan-D": ("bicyclegan", {}, "D", lambda: Scales(3, 64, 3, 2, INSTANCE), 3_458_978),
    "stargan-G": ("stargan", {}, "G", lambda: StarG(5, 64, 6), 8_430_528),
    "stargan-D": ("stargan", {}, "D", lambda: StarD(128, 5, 64, 6), 44_762_048),
    "stargan-G-both": ("stargan", BOTH, "G", lambda: StarG(15, 64, 6), 8_461_888),
    "stargan-D-both": ("stargan", BOTH, "D", lambda: StarD(256, 13, 64, 6), 45_147_072),
}  # fmt: skip


@functools.cache
def at_full_size(name: str, *hyper: tuple[str, Any]) -> Method[Any]:
    with torch.device("meta"):
        return build_method(name, "reference", **dict(hyper))


@pytest.mark.parametrize("case", FULL)
def test_authors_published_sizes_fit_the_reference_presets(case: str) -> None:
    name, hyper, key, build, parameters = FULL[case]
    method = at_full_size(name, *hyper.items())
    with torch.device("meta"):
        theirs = build()
    state = theirs.state_dict()
    (layout,) = [each for each in authors.LAYOUTS if each.seen(state)]
    target = authors.TARGETS[name](method.config)[key]
    tensors, dropped = authors.convert(state, layout, target, key, method.networks[key], "here")
    assert sum(p.numel() for p in method.networks[key].parameters()) == parameters
    assert sum(p.numel() for p in theirs.parameters()) == parameters
    assert len(state) == len(tensors) + dropped
    counted = {n: t.numel() for n, t in tensors.items() if not n.endswith(authors.RUNNING)}
    assert sum(counted.values()) == parameters
    assert len({id(t) for t in tensors.values()}) == len(tensors)
    assert (dropped > 0) == any("InstanceNorm" in type(m).__name__ and m.track_running_stats for m in theirs.modules())


# ---------------------------------------------------------------------------------------------------------------------
# Files as they come
# ---------------------------------------------------------------------------------------------------------------------


def small(name: str, **hyper: Any) -> Method[Any]:
    return build_method(name, **{**{"pix2pix": PIX, "cyclegan": CYCLE, "stargan": STAR}.get(name, BICYCLE), **hyper})


def same(network: nn.Module, tensors: dict[str, Tensor]) -> bool:
    state = network.state_dict()
    return state.keys() == tensors.keys() and all(torch.equal(state[n], tensors[n]) for n in state)


def test_authors_old_files_with_a_wrapper_and_without_counts_are_read(tmp_path: Path) -> None:
    """DataParallel's prefix, the file format before PyTorch 1.6, batch norms before 0.4.1."""
    theirs = filled(UNet(2, 3, 4, 5, BATCH, bias=False)).float()
    plain, old = small("pix2pix"), small("pix2pix")
    fill(f"authors:{file_of(theirs, tmp_path / 'a.pth')}", "pix2pix", plain, None)
    state = {n: t for n, t in nn.DataParallel(theirs).state_dict().items() if not n.endswith("num_batches_tracked")}
    assert all(n.startswith("module.") for n in state)
    torch.save(state, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    fill(f"authors:{tmp_path / 'b.pth'}", "pix2pix", old, None)
    assert same(old.networks["G"], plain.networks["G"].state_dict())
    running = old.networks["G"].state_dict()["downs.1.2.running_var"]
    assert torch.equal(running, theirs.state_dict()["model.model.1.model.2.running_var"])


def test_authors_file_names_tell_cyclegans_networks_apart(tmp_path: Path) -> None:
    """D_A judges what G_A makes: the paper's D_Y."""
    equal = {"in_channels": 3, "out_channels": 3}
    nets = {n: ResNet(3, 3, 4, 2, INSTANCE, bias=True, dropout=False) for n in ("G_A", "G_B")}
    nets |= {n: Patch(3, 4, 3, INSTANCE, bias=True) for n in ("D_A", "D_B")}
    files = [file_of(net, tmp_path / f"latest_net_{n}.pth") for n, net in nets.items()]
    parts = authors.read("authors:" + ",".join(map(str, files)), "cyclegan", small("cyclegan", **equal))
    assert {Path(p.uri).stem: p.network for p in parts} == {
        "latest_net_G_A": "G", "latest_net_G_B": "F", "latest_net_D_A": "D_Y", "latest_net_D_B": "D_X",
    }  # fmt: skip
    (part,) = authors.read(f"authors:F={files[0]}", "cyclegan", small("cyclegan", **equal))
    assert part.network == "F"  # what is said counts more than the name


def test_authors_files_of_bicyclegans_two_discriminators_and_encoder(tmp_path: Path) -> None:
    nets = {"D2": Scales(3, 4, 2, 2, INSTANCE), "D": Scales(3, 4, 2, 2, INSTANCE)}
    nets["E"] = Encoder(3, 3, 4, 1, INSTANCE, variance=True)
    files = [file_of(net, tmp_path / f"latest_net_{n}.pth") for n, net in nets.items()]
    method = small("bicyclegan")
    parts = authors.read("authors:" + ",".join(map(str, files)), "bicyclegan", method)
    assert [p.network for p in parts] == ["D2", "D", "E"]
    assert torch.equal(parts[0].tensors["scales.0.net.0.weight"], nets["D2"].state_dict()["model_0.0.weight"])


def test_authors_files_start_a_run_and_its_averages(paired: str, storage: str, tmp_path: Path, said: list[str]) -> None:
    fitted = entry("pix2pix").method.fit(entry("pix2pix").config(**SMALL["pix2pix"]), DataSet(paired).manifest, "AtoB")
    theirs = UNet(fitted.in_channels, fitted.out_channels, 4, 4, INSTANCE, bias=True)
    file = file_of(theirs, tmp_path / "latest_net_G.pth")
    hyper = {f"hyper.{k}": v for k, v in SMALL["pix2pix"].items()}
    values = {
        **hyper, "data.uri": paired, "data.loaders": 0, "training.batch": 4, "training.images": 8,
        "training.ema_halflife": 50, "monitoring.grid_every": 0, "launch.storage": storage,
        "training.init_from": f"authors:{file}",
    }  # fmt: skip
    config = prepare(TrainConfig.of("pix2pix", "demo", values))
    said.clear()
    loop = Loop(config, World(), torch.device("cpu"))
    (part,) = authors.read(config.training.init_from, "pix2pix", loop.method)
    assert same(loop.method.networks["G"], part.tensors)
    assert loop.step.ema is not None
    assert same(loop.step.ema["G"], part.tensors)
    fresh = build_from("pix2pix", config.hyper, seed=config.training.seed)
    assert same(loop.method.networks["D"], fresh.networks["D"].state_dict())
    assert [line for line in said if "authors" in line] == [
        f"started from the authors' weights: G from {file} (a U-Net); starting fresh: D"
    ]


def test_authors_dropped_statistics_are_counted_aloud(tmp_path: Path) -> None:
    file = file_of(StarG(4, 4, 2), tmp_path / "200000-G.ckpt")
    line = fill(f"authors:{file}", "stargan", small("stargan"), None)
    assert "27 running statistics of instance norms dropped" in line
    assert "starting fresh: D" in line


def test_authors_paths_are_made_absolute_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = "authors:G_A.pth, F=sub/x.pth,s3://bucket/D.pth,./a=b/c.pth"
    expected = [f"{tmp_path}/G_A.pth", f"F={tmp_path}/sub/x.pth", "s3://bucket/D.pth", f"{tmp_path}/a=b/c.pth"]
    assert authors.located(given) == "authors:" + ",".join(expected)
    assert authors.located(authors.located(given)) == authors.located(given)
    assert authors.located("runs/one") == f"{tmp_path}/runs/one"
    assert authors.located("") == ""


# ---------------------------------------------------------------------------------------------------------------------
# What is refused, and how
# ---------------------------------------------------------------------------------------------------------------------


def refused(init_from: str, name: str, **hyper: Any) -> UserError:
    """The error of the driver's check: the method is built without memory."""
    with torch.device("meta"):
        method = small(name, **hyper)
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        authors.read(init_from, name, method)
    assert not twice(str(caught.value))
    return caught.value


def twice(said: str) -> list[str]:
    """Punctuation that stands twice in a message (and is not two dots of a path)."""
    return re.findall(r":\s*:|;\s*;|,\s*,|\.\s*\.(?!\w|/)", said)


def test_authors_refuse_a_method_without_converter_and_name_those_with_one() -> None:
    with torch.device("meta"):
        method = build_method("unit", **SMALL["unit"])
    with pytest.raises(ConfigError, match=r"--method unit; expected one of pix2pix, .*stargan") as caught:
        authors.read("authors:/x.pth", "unit", method)
    assert not twice(str(caught.value))
    assert set(authors.TARGETS) <= set(METHODS)


@pytest.mark.parametrize(
    ("build", "name", "hyper", "said"),
    [
        (lambda: UNet(3, 3, 8, 5, BATCH, False), "pix2pix", {},
         ["3 input channels, 8 channels in the first layer", "2 input channels, 4 channels", "--g-base 8"]),
        (lambda: UNet(2, 3, 4, 4, BATCH, False), "pix2pix", {}, ["4 downs", "5 downs", "--downs 4"]),
        (lambda: UNet(2, 3, 4, 5, INSTANCE, True), "pix2pix", {}, ["instance norm", "--norm instance"]),
        (lambda: UNet(2, 3, 4, 5, BATCH, False), "pix2pix", {"upsample": "resize"}, ["--upsample transposed"]),
        (lambda: UNet(2, 3, 4, 5, BATCH, False), "pix2pix", {"generator": "encoder_decoder"}, ["--generator unet"]),
        (lambda: Patch(5, 4, 1, BATCH, False), "pix2pix", {}, ["1 stride-2 layers", "--receptive-field 16"]),
        (lambda: Patch(5, 4, 2, BATCH, False), "pix2pix", {}, ["2 stride-2 layers", "0 or 1 or 3 or 5"]),
        (lambda: Pixel(5, 4, BATCH, False), "pix2pix", {}, ["--receptive-field 1;"]),
        (lambda: Patch(3, 4, 3, BATCH, False), "pix2pix", {}, ["--objective", "3 channels"]),
        (lambda: ResNet(2, 3, 4, 2, BATCH, False, False), "pix2pix", {},
         ["a ResNet generator", "what --method pix2pix has: G (a U-Net), D (a PatchGAN"]),
        (lambda: CodedUNet(2, 3, 3, 4, 5, INSTANCE), "bicyclegan", {"z_at": "input"}, ["--z-at all"]),
        (lambda: CodedUNet(2, 3, 2, 4, 5, INSTANCE), "bicyclegan", {}, ["a code of 2", "--z-dim 2"]),
        (lambda: UNet(7, 3, 4, 5, INSTANCE, True, True), "bicyclegan", {"z_at": "input"}, ["7 input", "--z-dim"]),
        (lambda: UNet(5, 3, 4, 5, INSTANCE, True, True), "bicyclegan", {},
         ["found the code at input; expected the code at all, as G", "--z-at input"]),
        (lambda: Encoder(3, 3, 4, 2, INSTANCE, True), "bicyclegan", {}, ["--e-blocks 2"]),
        (lambda: Encoder(3, 3, 4, 1, INSTANCE, True), "clr_gan", {}, ["variance", "bicyclegan"]),
        (lambda: Patch(3, 4, 2, INSTANCE, True), "bicyclegan", {}, ["PatchGAN", "several scales"]),
        (lambda: Scales(3, 4, 2, 3, INSTANCE), "cvae_gan", {}, ["3 scales", "2 scales"]),
        (lambda: StarG(5, 4, 6), "stargan", {}, ["a label vector of 5", "6 residual blocks", "--blocks 6"]),
        (lambda: StarD(64, 4, 4, 3), "stargan", {}, ["images of 64 px", "--image-size 64"]),
        (lambda: StarD(64, 4, 4, 4), "stargan", {}, ["4 stride-2 layers", "--d-layers 4"]),
    ],
)  # fmt: skip
def test_authors_file_of_another_size_names_the_flag_that_chooses_it(
    build: Callable[[], nn.Module], name: str, hyper: dict[str, Any], said: list[str], tmp_path: Path
) -> None:
    file = file_of(build(), tmp_path / "latest_net_X.pth")
    message = str(refused(f"authors:{file}", name, **hyper))
    assert f"--init-from {file}" in message
    for part in said:
        assert part in message
    method = small(name, **hyper)
    if "add --init-parts fits" in message:
        assert starting.read(f"authors:{file}", ["fits"], name, method).networks
    else:
        with pytest.raises(CheckpointError):
            starting.read(f"authors:{file}", ["fits"], name, method)


def test_authors_files_of_other_attributes_give_every_layer_that_does_not_see_them(tmp_path: Path) -> None:
    """StarGAN's weights for another number of attributes, which is what G's first layer and D's head see."""
    theirs = {"G": filled(StarG(5, 4, 2)), "D": filled(StarD(32, 5, 4, 3))}
    files = [file_of(net, tmp_path / f"200000-{key}.ckpt") for key, net in theirs.items()]
    init_from = f"authors:{files[0]},{files[1]}"
    assert "--attributes" in str(refused(init_from, "stargan"))
    method = small("stargan")
    before = {name: tensor.clone() for name, tensor in method.networks.state_dict().items()}
    line = starting.read(init_from, ["fits"], "stargan", method).fill(method, None)
    assert f"layers of G from {files[0]} (StarGAN's generator" in line
    assert line.endswith("starting fresh: G.net.0, D.classes")
    for name, tensor in method.networks.state_dict().items():
        is_fresh = name in ("G.net.0.weight", "D.classes.weight")
        assert torch.equal(tensor, before[name]) == is_fresh, name
    ours, given = method.networks["G"].state_dict()["net.3.weight"], theirs["G"].state_dict()["main.3.weight"]
    assert torch.equal(ours, given.float())


def test_authors_files_that_are_not_asked_for_are_left_alone(tmp_path: Path) -> None:
    files = [
        file_of(StarG(4, 4, 2), tmp_path / "200000-G.ckpt"),
        file_of(StarD(64, 4, 4, 3), tmp_path / "200000-D.ckpt"),
    ]
    init_from = f"authors:{files[0]},{files[1]}"
    assert "--image-size 64" in str(refused(init_from, "stargan"))
    method = small("stargan")
    line = starting.read(init_from, ["G"], "stargan", method).fill(method, None)
    assert line.startswith(f"started from the authors' weights: G from {files[0]}")
    assert line.endswith("starting fresh: D")
    part = starting.read(init_from, ["G.net.3"], "stargan", method).fill(method, None)
    assert "weights: 1 of " in part
    with pytest.raises(CheckpointError, match="nothing for D; expected what --init-parts asks for") as caught:
        starting.read(f"authors:{files[0]}", ["G", "D"], "stargan", method)
    assert "Name its file too" in caught.value.fix


def test_authors_file_whose_name_does_not_tell_its_network_is_refused(tmp_path: Path) -> None:
    net = ResNet(2, 3, 4, 2, INSTANCE, bias=True, dropout=False)
    file = file_of(net, tmp_path / "latest_net_G.pth")
    message = str(refused(f"authors:{file}", "cyclegan"))
    assert "could be G or F" in message
    assert f"authors:G={file} or authors:F={file}" in message
    assert "latest_net_G_A.pth or latest_net_G_B.pth" in message
    patch = file_of(Patch(3, 4, 3, INSTANCE, bias=True), tmp_path / "D.pth")
    assert "latest_net_D_A.pth or latest_net_D_B.pth" in str(refused(f"authors:{patch}", "cyclegan"))
    assert "one of this run's: G, F, D_X, D_Y" in str(refused(f"authors:H={file}", "cyclegan"))
    assert "which D_X is" in str(refused(f"authors:D_X={file}", "cyclegan"))
    assert "a second file for G" in str(refused(f"authors:G={file},G={file}", "cyclegan"))
    without = str(refused(f"authors:D_Y={file}", "cyclegan", lambda_gan=0.0))
    assert "one of this run's: G, F." in without


def test_authors_tensors_that_are_missing_or_too_many_are_named(tmp_path: Path) -> None:
    whole = UNet(2, 3, 4, 5, BATCH, bias=False).state_dict()
    gone = "model.model.1.model.3.model.1.weight"
    torch.save({n: t for n, t in whole.items() if n != "model.model.1.model.2.running_mean"}, tmp_path / "a.pth")
    assert "no model.model.1.model.2.running_mean" in str(refused(f"authors:{tmp_path}/a.pth", "pix2pix"))
    torch.save({**whole, "model.model.9.weight": torch.zeros(1)}, tmp_path / "b.pth")
    assert "also model.model.9.weight" in str(refused(f"authors:{tmp_path}/b.pth", "pix2pix"))
    torch.save({**whole, gone: torch.zeros(16, 8, 3, 3)}, tmp_path / "c.pth")
    shapes = str(refused(f"authors:{tmp_path}/c.pth", "pix2pix"))
    assert f"{gone} of shape (16, 8, 3, 3); expected (16, 8, 4, 4)" in shapes
    torch.save({n: t for n, t in whole.items() if n != "model.model.3.weight"}, tmp_path / "d.pth")
    assert "a U-Net in which model.model.3.weight is missing" in str(refused(f"authors:{tmp_path}/d.pth", "pix2pix"))
    # BicycleGAN's program gives every convolution a bias, beside batch norm too; ours has none there
    biased = file_of(CodedUNet(2, 3, 3, 4, 5, BATCH), tmp_path / "e.pth")
    assert "also model.down.0.bias" in str(refused(f"authors:{biased}", "bicyclegan", norm="batch"))


def test_authors_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    def said(data: object, name: str = "x.pth") -> str:
        file = tmp_path / name
        file.write_bytes(data) if isinstance(data, bytes) else torch.save(data, file)
        return str(refused(f"authors:{file}", "pix2pix"))

    assert "nothing that can be read" in str(refused(f"authors:{tmp_path}/none.pth", "pix2pix"))
    assert "cannot load as weights" in said(b"")
    assert "cannot load as weights" in said(b"<html>404</html>")
    assert "cannot load as weights" in said(nn.Conv2d(1, 1, 1))  # a pickled module: its code is not run
    assert "other things than tensors" in said({"state_dict": {"model.0.weight": torch.zeros(1)}})
    assert "other things than tensors" in said([torch.zeros(1)])
    assert "tensors named a, b, c and 1 more" in said({n: torch.zeros(1) for n in "abcd"})
    for text in ("authors:", "authors:a.pth,,b.pth", "authors:G="):
        with pytest.raises(ConfigError, match="NETWORK=FILE"):
            authors.located(text)


def test_authors_files_are_refused_by_the_driver_before_anything_starts(
    paired: str, storage: str, tmp_path: Path
) -> None:
    file = file_of(UNet(1, 1, 8, 4, BATCH, bias=False), tmp_path / "latest_net_G.pth")
    values = {**{f"hyper.{k}": v for k, v in SMALL["pix2pix"].items()}, "data.uri": paired}
    values |= {"launch.storage": storage, "training.init_from": f"authors:{file}"}
    with pytest.raises(CheckpointError, match="--g-base 8"):
        prepare(TrainConfig.of("pix2pix", "demo", values))
    assert not Path(storage).exists()
