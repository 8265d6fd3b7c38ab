"""Networks that losses see through, against their layers written out: what they are given, what they give, and that
nothing moves them.

pytest tests/unit/test_features.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from i2i_core.errors import ConfigError
from i2i_core.pretrained import features
from i2i_core.pretrained.backbones import LAYERS, SIDE, EfficientNet
from i2i_core.pretrained.features import VGG, Features, read_efficientnet_lite0, read_features, read_vgg
from i2i_core.storage.paths import sha256

from ..support.backbones import vgg_file

Name = Literal["vgg16", "vgg19"]
CONVS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Simonyan & Zisserman 2015, table 1, columns D and E: convolutions in each block."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("vgg")
    return {"vgg16": vgg_file(folder, "vgg16"), "vgg19": vgg_file(folder, "vgg19")}


def images(n: int, channels: int, *size: int, seed: int = 0) -> Tensor:
    return torch.rand((n, channels, *size), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def taken(x: Tensor, convention: str) -> Tensor:
    """What a network of that convention takes, in numpy."""
    rgb = x.numpy()
    if convention == "imagenet":
        rgb = rgb / 2 + 0.5
        rgb = np.stack([(rgb[:, 0] - 0.485) / 0.229, (rgb[:, 1] - 0.456) / 0.224, (rgb[:, 2] - 0.406) / 0.225], 1)
    if convention == "caffe":
        r, g, b = (255 * (rgb[:, i] + 1) / 2 for i in range(3))
        rgb = np.stack([b - 103.939, g - 116.779, r - 123.68], 1)
    return torch.from_numpy(rgb.astype(np.float32))


def written_out(name: str, file: str, x: Tensor) -> dict[str, Tensor]:
    """Every layer of a VGG by name, from images as it takes them."""
    state, found, place = torch.load(file, weights_only=True), {}, 0
    for block, convs in enumerate(CONVS[name], 1):
        for conv in range(1, convs + 1):
            x = F.conv2d(x, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1).clamp(min=0)
            found[f"relu{block}_{conv}"], place = x, place + 2
        x = F.max_pool2d(x, 2)
        found[f"pool{block}"], place = x, place + 1
    return found


@pytest.mark.parametrize("convention", ["imagenet", "caffe", "plain"])
@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_vgg_layers_are_their_definition(name: Name, convention: Any, files: dict[str, str]) -> None:
    before, x = torch.random.get_rng_state(), images(2, 3, 40, 33)
    expected = written_out(name, files[name], taken(x, convention))
    layers = ["relu4_1", "relu1_1", "pool2", "relu5_3", "relu3_2"]
    found = read_vgg(name, layers, files[name], convention)(x)
    assert torch.equal(before, torch.random.get_rng_state())
    assert isinstance(found, tuple)
    for layer, one in zip(layers, found, strict=True):
        torch.testing.assert_close(one, expected[layer], rtol=1e-4, atol=1e-5 * expected[layer].abs().max().item())
    every = {f"relu{b}_{c}" for b, convs in enumerate(CONVS[name], 1) for c in range(1, convs + 1)}
    assert set(read_vgg(name, ["relu1_1"], files[name]).after.values()) == every | {f"pool{b}" for b in range(1, 6)}


def test_vgg_ends_at_the_deepest_layer_asked_for(files: dict[str, str]) -> None:
    for layers, links in ((["relu1_1"], 2), (["relu2_1", "relu1_2"], 7), (["pool5"], 31)):
        assert len(list(read_vgg("vgg16", layers, files["vgg16"]).network.children())) == links
    assert len(list(read_efficientnet_lite0(["block3", "block1"]).network.children())) == 5


def test_published_files_are_torchvisions() -> None:
    for name, kind in (("vgg16", models.VGG16_Weights), ("vgg19", models.VGG19_Weights)):
        assert kind.IMAGENET1K_V1.url == VGG[name].url
        assert VGG[name].file == f"{name}-{VGG[name].sha256}.pth"


def test_features_name_their_file_and_its_checksum(files: dict[str, str]) -> None:
    facts = read_vgg("vgg19", ["relu5_1"], files["vgg19"], "caffe").facts
    assert facts["network"].startswith("vgg19 (ImageNet) by torchvision")
    assert facts["file"] == Path(files["vgg19"]).name
    assert facts["sha256"] == sha256(Path(files["vgg19"]).read_bytes())
    assert (facts["published"], facts["images"], facts["layers"]) == (False, "caffe", ["relu5_1"])
    lite = read_efficientnet_lite0(["block10"]).facts
    assert lite["network"].startswith("EfficientNet-lite0")
    assert lite["file"]
    assert len(lite["sha256"]) == 64


def networks(files: dict[str, str]) -> list[Features]:
    return [read_vgg("vgg16", ["relu2_1", "relu4_1"], files["vgg16"]), read_efficientnet_lite0(["block2", "block6"])]


def test_features_pass_gradients_to_images_and_leave_the_network_as_it_is(files: dict[str, str]) -> None:
    for network in networks(files):
        before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
        parent = nn.Sequential(network).train()
        assert not any(module.training for module in network.modules())
        x = images(2, 3, 32, 32).requires_grad_()
        sum(one.square().mean() for one in parent(x)).backward()
        assert x.grad is not None
        assert x.grad.abs().sum() > 0
        assert not any(p.requires_grad or p.grad is not None for p in network.parameters())
        assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_features_gradient_is_the_slope(files: dict[str, str]) -> None:
    """Along one direction, in float64, by central differences."""
    direction = images(1, 3, 32, 32, seed=1).double()
    for network in networks(files):
        network.double()
        x = images(1, 3, 32, 32).double().requires_grad_()
        value = lambda x, network=network: sum(one.square().mean() for one in network(x))  # noqa: E731
        value(x).backward()
        assert x.grad is not None
        slope = (value(x.detach() + 1e-6 * direction) - value(x.detach() - 1e-6 * direction)) / 2e-6
        assert (x.grad * direction).sum().item() == pytest.approx(slope.item(), rel=1e-4)


def test_features_ignore_autocast_and_take_bf16_images(files: dict[str, str]) -> None:
    for network in networks(files):
        x = images(1, 3, 32, 32).bfloat16()
        plain = network(x.float())
        with torch.autocast("cpu", torch.bfloat16):
            found = network(x)
        assert all(one.dtype == torch.float32 for one in found)
        assert all(torch.equal(one, other) for one, other in zip(found, plain, strict=True))


def test_features_repeat_grey(files: dict[str, str]) -> None:
    for network in networks(files):
        x = images(2, 1, 32, 32)
        assert all(torch.equal(a, b) for a, b in zip(network(x), network(x.repeat(1, 3, 1, 1)), strict=True))


def test_efficientnet_features_are_those_of_the_judge() -> None:
    """Of images of the side that the judge brings all images to."""
    x = images(1, 3, SIDE, SIDE)
    found = read_efficientnet_lite0([f"block{number}" for number in LAYERS])(x)
    for one, other in zip(found, EfficientNet(torch.device("cpu")).layers(x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layers", [["relu6_1"], ["conv1_1"], []])
def test_features_refuse_unknown_layers(layers: Sequence[str], files: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"layers.*not of relu1_1, relu1_2, pool1"):
        read_vgg("vgg16", layers, files["vgg16"])
    with pytest.raises(ValueError, match="not one of vgg16, vgg19, efficientnet_lite0"):
        read_features("alex", ["relu1"])
    with pytest.raises(ValueError, match="not one of imagenet, caffe, plain"):
        read_vgg("vgg16", ["relu1_1"], files["vgg16"], "rgb")  # type: ignore[arg-type]


def test_features_refuse_files_of_something_else(files: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"--perceptual-weights: found vgg16\.pth without 12 of 32(.|\n)*vgg19-dcbb9e9d"
    ):
        read_vgg("vgg19", ["relu1_1"], files["vgg16"])
    with pytest.raises(ConfigError, match=r"no file .*none\.pth"):
        read_features("vgg16", ["relu1_1"], str(tmp_path / "none.pth"))
    with pytest.raises(ConfigError, match="come as a package"):
        read_features("efficientnet_lite0", ["block1"], files["vgg16"])


def test_features_without_internet_say_where_to_fetch_and_what_else_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    nobody = replace(VGG["vgg16"], url="http://127.0.0.1:9/vgg16-397923af.pth")
    monkeypatch.setitem(VGG, "vgg16", nobody)
    with pytest.raises(ConfigError) as refused:
        read_features("vgg16", ["relu5_3"])
    for part in ("--perceptual-weights FILE", nobody.url, "VGG16", "--perceptual efficientnet_lite0"):
        assert part in str(refused.value)


def test_features_name_packages_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ConfigError, match=r"--perceptual: found no package(.|\n)*i2i\[features\]"):
        features.read_efficientnet_lite0(["block1"])
