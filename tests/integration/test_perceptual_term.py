"""Perceptual terms of UNIT and of feature loss + GAN: what they compute, and their network's file from launch to
translation.

pytest tests/integration/test_perceptual_term.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.run import TrainConfig
from i2i_core.errors import ConfigError
from i2i_core.methods import build_method
from i2i_core.pretrained.features import VGG
from i2i_core.runs.folder import RunFolder
from i2i_core.storage.paths import sha256
from i2i_core.training.loop import Loop
from i2i_core.training.preparing import check_same_run
from i2i_core.training.sync import World

from ..support.backbones import vgg_file
from ..support.methods import SMALL, Case, small
from ..support.runs import config_of, latest, loop_of, prompt

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> str:
    return vgg_file(tmp_path_factory.mktemp("vgg"), "vgg16")


def term_config(data: str, storage: str, file: str, **values: Any) -> TrainConfig:
    given = {"hyper__lambda_perceptual": 1.0, "hyper__perceptual_weights": file, "hyper__image_size": 32}
    return config_of("unit", data, storage, **{**given, "training__images": 12, **values})


def as_caffe(x: Tensor) -> Tensor:
    r, g, b = (127.5 * (x[:, i] + 1) for i in range(3))
    return torch.stack([b - 103.939, g - 116.779, r - 123.68], 1)


def as_imagenet(x: Tensor) -> Tensor:
    r, g, b = ((x[:, i] + 1) / 2 for i in range(3))
    return torch.stack([(r - 0.485) / 0.229, (g - 0.456) / 0.224, (b - 0.406) / 0.225], 1)


def vgg16_of(file: str, x: Tensor, convs: tuple[int, ...]) -> Tensor:
    """VGG16's activations after so many convolutions of its blocks, of images as they are."""
    state, place = torch.load(file, weights_only=True), 0
    for block, number in enumerate(convs):
        x = F.max_pool2d(x, 2) if block else x
        for _ in range(number):
            x = F.conv2d(x, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1).relu()
            place += 2
        place += 1
    return x


def seen(file: str, x: Tensor) -> Tensor:
    """VGG16's relu5_3 of images as Caffe has them, each map of a sample without its mean, by its deviation."""
    x = vgg16_of(file, as_caffe(x), (2, 2, 3, 3, 3))
    return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()


def test_perceptual_term_is_its_definition(vgg: str) -> None:
    hyper = {**SMALL["unit"], "channels": 3, "image_size": 48, "lambda_perceptual": 1.0, "perceptual_weights": vgg}
    method = build_method("unit", **hyper)
    method.attach()
    x, y = torch.rand(2, 2, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = (seen(vgg, x) - seen(vgg, y)).square().mean()
    assert expected > 0.1
    assert method.perceptual(x, y).item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize(("how", "prepared"), [("caffe", as_caffe), ("imagenet", as_imagenet)])
def test_perceptual_term_of_feature_gan_is_its_definition(
    how: str, prepared: Callable[[Tensor], Tensor], vgg: str
) -> None:
    """relu4_2 of images at 224 px, 28 x 28 positions of 512 channels, whose order of colours is the weights'."""
    hyper = {**SMALL["feature_gan"], "lambda_perceptual": 1.0, "perceptual_weights": vgg, "perceptual_input": how}
    method = build_method("feature_gan", **hyper)
    method.attach()
    x, y = torch.rand(2, 1, 3, 40, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    of_x, of_y = (vgg16_of(vgg, prepared(F.interpolate(i, (224, 224), mode="bilinear")), (2, 2, 3, 2)) for i in (x, y))
    assert of_x.shape == (1, 512, 28, 28)
    expected = (of_x - of_y).abs().mean()
    assert expected > 0.01
    assert method.perceptual(x, y).item() == pytest.approx(expected.item(), rel=1e-4)
    swapped = method.perceptual(x.flip(1), y.flip(1)).item()
    assert abs(swapped / expected.item() - 1) > 1e-3, "the order of colours counts"


def test_perceptual_term_of_feature_gan_pulls_towards_its_input(vgg: str) -> None:
    """Its gradient is that of the printed value: a step against it lowers the term as much as it promises."""
    hyper = {**SMALL["feature_gan"], "lambda_perceptual": 1.0, "perceptual_weights": vgg, "perceptual_size": 32}
    method = build_method("feature_gan", **hyper)
    method.attach()
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(1, 3, 32, 32, generator=generator) * 2 - 1 for _ in range(2))
    x.requires_grad_()
    before = method.perceptual(x, y)
    (slope,) = torch.autograd.grad(before, x)
    step = 1e-3 * slope / slope.norm()
    promised = (slope * step).sum().item()
    assert before.item() - method.perceptual(x.detach() - step, y).item() == pytest.approx(promised, rel=0.05)


def test_perceptual_weights_must_be_given_for_the_vgg_authors_images(unpaired: str, storage: str, vgg: str) -> None:
    """No file that is fetched has seen such images; what the advice names is taken."""
    asked = {"hyper__lambda_perceptual": 10.0, "hyper__perceptual": "vgg16"}
    with pytest.raises(
        ConfigError, match=r"--perceptual-weights: found none, with --perceptual-input caffe"
    ) as refused:
        config_of("feature_gan", unpaired, storage, **asked)
    assert "--perceptual-input imagenet" in refused.value.fix
    given = config_of("feature_gan", unpaired, storage, **asked, hyper__perceptual_weights=vgg)
    assert given.hyper.perceptual_sha256 == sha256(Path(vgg).read_bytes())
    lite = config_of(
        "feature_gan", unpaired, storage, hyper__perceptual="efficientnet_lite0", **{"hyper__lambda_perceptual": 10.0}
    )
    assert lite.hyper.perceptual_sha256
    assert not Path(storage).exists()


def test_run_of_feature_gan_trains_with_its_file_and_translates_without(
    unpaired: str, storage: str, tmp_path: Path
) -> None:
    file = Path(vgg_file(tmp_path, "vgg16"))
    values = {"hyper__perceptual": "vgg16", "hyper__perceptual_weights": str(file), "hyper__perceptual_size": 32}
    config = config_of("feature_gan", unpaired, storage, training__images=12, hyper__lambda_perceptual=1.0, **values)
    shown: dict[str, float] = {}
    prompt(Loop(config, World(), CPU, measured=shown.update)).train()
    assert shown["G/features"] > 0
    file.unlink()
    trained = load_trained(f"{storage}/run", CPU)
    assert trained.method.image_from(torch.zeros(1, 1, 32, 32)).shape == (1, 1, 32, 32)


def test_perceptual_term_that_is_off_reads_no_network() -> None:
    method = small(Case("unit"))
    assert method.perceptual.features is None
    assert method.perceptual(torch.ones(1), torch.zeros(1)).item() == 0
    assert type(method).with_files(replace(method.config, perceptual_sha256="x")).perceptual_sha256 == ""


def test_perceptual_network_is_neither_trained_nor_saved(vgg: str) -> None:
    hyper = {"lambda_perceptual": 1.0, "image_size": 32}
    without, having = small(Case("unit", hyper={"image_size": 32})), build_method("unit", **SMALL["unit"] | hyper)
    having.perceptual.config = replace(having.config, perceptual_weights=vgg)
    before = [*having.state_dict()]
    having.attach()
    assert having.perceptual.features is not None
    assert [*having.state_dict()] == before == [*without.state_dict()]
    assert len([*having.parameters()]) == len([*without.parameters()])


def test_run_notes_the_file_of_its_term_and_translates_without_it(
    unpaired: str, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path(vgg_file(tmp_path, "vgg16"))
    config = term_config(unpaired, storage, file.name)
    assert config.hyper.perceptual_weights == str(file)
    assert config.hyper.perceptual_sha256 == sha256(file.read_bytes())
    shown: dict[str, float] = {}
    prompt(Loop(config, World(), CPU, measured=shown.update)).train()
    assert shown["generators/perceptual"] > 0
    run = RunFolder(f"{storage}/run")
    networks, averaged, _ = latest(run).networks()
    assert not [name for name in (*networks, *averaged) if not name.startswith(("E", "G", "D"))]
    file.unlink()
    trained = load_trained(f"{storage}/run", CPU)
    assert trained.method.image_from(torch.zeros(1, 1, 32, 32)).shape == (1, 1, 32, 32)


def test_run_refuses_another_file_for_its_term(unpaired: str, storage: str, vgg: str, tmp_path: Path) -> None:
    config = term_config(unpaired, storage, vgg)
    run = RunFolder(f"{storage}/run")
    run.write("config.json", config.dumps().encode())
    moved = tmp_path / "same.pth"
    moved.write_bytes(Path(vgg).read_bytes())
    check_same_run(term_config(unpaired, storage, str(moved)), run)
    other = term_config(unpaired, storage, vgg_file(tmp_path, "vgg16", seed=1))
    with pytest.raises(ConfigError, match=r"hyper\.perceptual_sha256: saved '[0-9a-f]{64}', now '[0-9a-f]{64}'"):
        check_same_run(other, run)
    with pytest.raises(ConfigError, match=r"--perceptual-weights: found weights of sha256(.|\n)*as at launch"):
        loop_of(replace(other, hyper=replace(other.hyper, perceptual_sha256=config.hyper.perceptual_sha256)))


def test_perceptual_term_refuses_wrong_input_before_a_run(
    unpaired: str, storage: str, vgg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="--perceptual-weights: found no file"):
        term_config(unpaired, storage, str(tmp_path / "none.pth"))
    with pytest.raises(ConfigError, match=r"without 12 of 32 tensors(.|\n)*vgg19-dcbb9e9d\.pth"):
        term_config(unpaired, storage, vgg, hyper__perceptual="vgg19")
    with pytest.raises(ConfigError, match="come as a package"):
        term_config(unpaired, storage, vgg, hyper__perceptual="efficientnet_lite0")
    with pytest.raises(ConfigError, match="--image-size: found 16 with --lambda-perceptual; expected at least 32 px"):
        term_config(unpaired, storage, vgg, hyper__image_size=16)
    with pytest.raises(ConfigError, match="--lambda-perceptual"):
        term_config(unpaired, storage, vgg, hyper__lambda_perceptual=-1.0)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setitem(VGG, "vgg16", replace(VGG["vgg16"], url="http://127.0.0.1:9/vgg16-397923af.pth"))
    with pytest.raises(ConfigError, match=r"none to be had(.|\n)*Or look through (.|\n)*efficientnet_lite0"):
        term_config(unpaired, storage, "")
    assert not Path(storage).exists()
