"""LPIPS and its EfficientNet stand-in against their definitions written out, and what they say of known methods.

pytest tests/unit/test_perceptual.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchmetrics
from torch import Tensor
from torchvision.models import vgg16

from i2i_core.batch import Batch
from i2i_core.config.evaluation import EvaluationConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.errors import ConfigError, DataError
from i2i_core.evaluation.families.multimodal import INPUTS, SAMPLES
from i2i_core.evaluation.families.perceptual import (
    EFFICIENTNET,
    METRICS,
    between_layers,
    build_efficientnet,
    build_lpips,
)
from i2i_core.evaluation.samples import Asked, Outputs, chunks, means
from i2i_core.evaluation.suite import Suite
from i2i_core.methods.base import Method
from i2i_core.methods.controls import Code
from i2i_core.pretrained import backbones
from i2i_core.pretrained.backbones import LPIPS, SIDE, EfficientNet

from ..support.pairs import Labelled, Paired

CPU = torch.device("cpu")
ALEX = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
"""Of torchvision's AlexNet: place of a convolution in `features` -> channels out, channels in, side of the kernel."""


class Coded(Paired):
    """Brighter by `spread` times the code, which is another for every sample and input."""

    controls: ClassVar = {"z": Code()}

    def __init__(self, spread: float) -> None:
        super().__init__(lambda x: x)
        self.spread = spread

    def draw_codes(self, keys: Sequence[str], sample: int = 0) -> Tensor:
        return torch.tensor([[np.cos(sample * (2 + i))] for i in range(len(keys))], dtype=torch.float32)

    def translate(self, inputs: Any, controls: Any = None, *way: Any, **more: Any) -> dict[str, Tensor]:
        x, z = inputs["a"], (controls or {}).get("z", torch.zeros(len(inputs["a"]), 1))
        return {"b": x * 0.5 + self.spread * z[:, :, None, None]}


def asked(uri: str, method: Method[Any], *, most: int = 0, **judging: Any) -> Asked:
    return Asked(method, DataSet(uri), "test", 16, judging=EvaluationConfig(**judging), most=most)


def images(n: int, channels: int, *size: int, seed: int = 0) -> Tensor:
    return torch.rand((n, channels, *size), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def first_chunk(question: Asked) -> Batch:
    return next(batch for _, batch in chunks(question))


# ---------------------------------------------------------------- LPIPS


@pytest.fixture(scope="module")
def lpips(alex: str) -> LPIPS:
    return LPIPS("alex", alex, CPU)


@pytest.fixture(scope="module")
def alex(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random tensors named as torchvision's, and one of the classifier that LPIPS has no use for."""
    generator = torch.Generator().manual_seed(0)
    state = {"classifier.6.bias": torch.zeros(1000)}
    for place, (o, i, k) in ALEX.items():
        state[f"features.{place}.weight"] = torch.randn(o, i, k, k, generator=generator) / (i * k * k) ** 0.5
        state[f"features.{place}.bias"] = torch.randn(o, generator=generator) / 10
    path = tmp_path_factory.mktemp("alex") / "alexnet.pth"
    torch.save(state, path)
    return str(path)


def written_out(x: Tensor, y: Tensor, file: str) -> Tensor:
    """Zhang et al. 2018, eq. 1, of RGB images: sum over layers of the mean over positions of w . (x - y)^2, with
    channel vectors of length 1."""
    state = torch.load(file, weights_only=True)
    heads = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / "alex.pth"
    w = torch.load(heads, map_location="cpu", weights_only=True)
    layers = []
    for image in (x, y):
        h = (image - torch.tensor([-0.030, -0.088, -0.188])[:, None, None]) / torch.tensor([0.458, 0.448, 0.450])[
            :, None, None
        ]
        outputs = []
        for place, (stride, padding) in zip(ALEX, [(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)], strict=True):
            if place in (3, 6):
                h = F.max_pool2d(h, 3, 2)
            h = F.conv2d(h, state[f"features.{place}.weight"], state[f"features.{place}.bias"], stride, padding).relu()
            outputs.append(h / h.square().sum(1, keepdim=True).sqrt().clamp(min=1e-4))
        layers.append(outputs)
    total = torch.zeros(len(x))
    for i, (a, b) in enumerate(zip(*layers, strict=True)):
        total += ((a - b).square() * w[f"lin{i}.model.1.weight"]).sum(1).mean((1, 2))
    return total


def test_lpips_is_its_definition(alex: str) -> None:
    before = torch.random.get_rng_state()
    network = LPIPS("alex", alex, CPU)
    assert torch.equal(before, torch.random.get_rng_state())
    x, y = images(3, 3, 70, 64), images(3, 3, 70, 64, seed=1)
    found = network.between(network.seen(x), network.seen(y))
    assert found.shape == (3,)
    assert found.min() > 0.01
    torch.testing.assert_close(found, written_out(x, y, alex), rtol=1e-4, atol=1e-6)
    assert network.between(x, x).tolist() == [0, 0, 0]


def test_lpips_refuses_a_backbone_of_other_tensors(alex: str, lpips: LPIPS, tmp_path: Path) -> None:
    state = torch.load(alex, weights_only=True)
    backbone = lpips.network.net
    names = {name: f"features.{name.split('.', 1)[1]}" for name in backbone.state_dict()}
    file = tmp_path / "other.pth"
    torch.save({**state, "features.3.bias": torch.zeros(7)}, file)
    with pytest.raises(ConfigError, match=r"features\.3\.bias of shape \(7,\), not \(192,\).*alexnet-owt"):
        backbones.BACKBONES["alex"].read(str(file)).load(backbone, names)
    torch.save({name: state[name] for name in list(state)[:-2]}, file)
    with pytest.raises(ConfigError, match=r"other\.pth without 2 of 10 tensors, as features\.10\.weight"):
        backbones.BACKBONES["alex"].read(str(file)).load(backbone, names)


def test_lpips_enlarges_small_images_and_repeats_grey(alex: str, lpips: LPIPS) -> None:
    for size, seen in {(16, 16): (64, 64), (16, 24): (64, 96), (70, 63): (71, 64), (64, 80): (64, 80)}.items():
        assert lpips.seen(images(1, 3, *size)).shape[-2:] == seen
    x, y = images(2, 1, 16, 16), images(2, 1, 16, 16, seed=1)
    large = [F.interpolate(i.repeat(1, 3, 1, 1), (64, 64), mode="bilinear", align_corners=False) for i in (x, y)]
    found = lpips.between(lpips.seen(x), lpips.seen(y))
    torch.testing.assert_close(found, written_out(*large, alex), rtol=1e-4, atol=1e-6)
    assert "64 px" in lpips.facts["resampling"]


def test_lpips_of_vgg_takes_its_own_file(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in vgg16().features.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    state = {f"features.{name}": torch.rand(shape, generator=generator) / 30 for name, shape in shapes.items()}
    torch.save(state, tmp_path / "vgg.pth")
    network = LPIPS("vgg", str(tmp_path / "vgg.pth"), CPU)
    assert torch.equal(network.network.net.slice5[-2].weight, state["features.28.weight"])
    x = images(1, 3, 64, 64)
    assert network.between(x, x).item() == 0
    assert network.between(x, -x).item() > 0


def test_lpips_without_internet_says_what_to_fetch(
    paired: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    nobody = replace(backbones.BACKBONES["alex"], url="http://127.0.0.1:9/alexnet-owt-7be5be79.pth")
    monkeypatch.setitem(backbones.BACKBONES, "alex", nobody)
    with pytest.raises(ConfigError) as refused:
        build_lpips(asked(paired, Paired(lambda x: x)))
    for part in ("--lpips-weights FILE", "alexnet-owt-7be5be79.pth", nobody.url, "efficientnet_perceptual"):
        assert part in str(refused.value)
    with pytest.raises(ConfigError, match="no file"):
        build_lpips(asked(paired, Paired(lambda x: x), lpips_weights=str(tmp_path / "none.pth")))


def test_lpips_of_a_method_and_of_its_codes(paired: str, alex: str, lpips: LPIPS) -> None:
    method = Coded(0.4)
    question = asked(paired, method, most=3, lpips_weights=alex)
    family, network, batch = build_lpips(question), lpips, first_chunk(question)
    assert set(family.metrics) == set(METRICS) == {"lpips", "lpips_best", "lpips_diversity", "lpips_nothing"}
    assert family.judges == ["lpips", "lpips_best", "lpips_diversity"]
    found = family.result([family.chunk(Outputs(method, batch))])
    truth = network.seen(batch["b"])
    outputs = [method.image_from(batch["a"], z=method.draw_codes(batch.keys, i)) for i in range(SAMPLES)]
    seen = [network.seen(x) for x in outputs]
    apart = [network.between(x, y).double() for x, y in pairwise(seen)]
    assert len(apart) == 19
    assert found["lpips_diversity"].value == pytest.approx(torch.stack(apart).mean().item(), rel=1e-9)
    least = torch.stack([network.between(x, truth).double() for x in seen]).amin(0).mean()
    assert found["lpips_best"].value == pytest.approx(least.item(), rel=1e-9)
    one = network.between(network.seen(method.image_from(batch["a"])), truth).double().mean()
    assert found["lpips"].value == pytest.approx(one.item(), rel=1e-9)
    idle = network.between(network.seen(batch["a"]), truth).double().mean()
    assert found["lpips_nothing"].value == pytest.approx(idle.item(), rel=1e-9)
    assert {m.count for m in found.values()} == {3}


@pytest.mark.slow
def test_lpips_is_equal_bits_for_any_number_of_workers(paired: str, alex: str) -> None:
    """The family's own arithmetic: an EfficientNet's distances go the same way."""
    question = asked(paired, Coded(0.4), most=34, lpips_weights=alex, metrics=("lpips",))
    suite = Suite(question)
    alone = suite.result(suite.parts()).metrics
    assert set(METRICS) < set(alone)
    assert suite.result([part for rank in (1, 0) for part in suite.parts(rank, 2)]).metrics == alone


def test_lpips_diversity_is_0_where_codes_are_ignored_and_of_the_first_inputs_alone(paired: str, alex: str) -> None:
    method = Coded(0.0)
    question = asked(paired, method, most=2, lpips_weights=alex)
    family, batch = build_lpips(question), first_chunk(question)
    assert family.chunk(Outputs(method, batch))["lpips_diversity"] == [0, 0]
    at_the_end = family.chunk(Outputs(method, replace(batch, images=INPUTS - 1)))
    assert {name: len(values) for name, values in at_the_end.items()} == {
        "lpips": 2,
        "lpips_nothing": 2,
        "lpips_best": 1,
        "lpips_diversity": 1,
    }
    assert set(family.chunk(Outputs(method, replace(batch, images=INPUTS)))) == {"lpips", "lpips_nothing"}


@pytest.mark.parametrize("build", [build_lpips, build_efficientnet])
def test_perceptual_refuses_a_method_without_truth_and_images_of_two_channels(
    build: Callable[[Asked], Any], labelled: str, paired: str, alex: str
) -> None:
    with pytest.raises(DataError, match="labelled samples; expected pairs"):
        build(asked(labelled, Labelled(lambda x: x), lpips_weights=alex))
    question = asked(paired, Paired(lambda x: x), lpips_weights=alex)
    fields = question.data.manifest.fields
    question.data.manifest = replace(question.data.manifest, fields={**fields, "b": replace(fields["b"], channels=2)})
    with pytest.raises(DataError, match="images of 2 channels"):
        build(question)


# ---------------------------------------------------------------- EfficientNet


def test_between_layers_is_its_definition() -> None:
    x = [images(2, 3, 4, 5), images(2, 7, 2, 2)]
    y = [images(2, 3, 4, 5, seed=1), images(2, 7, 2, 2, seed=2)]
    expected = np.zeros(2)
    for n in range(2):
        layers = []
        for a, b in zip(x, y, strict=True):
            places = [(h, w) for h in range(a.shape[2]) for w in range(a.shape[3])]
            vectors = [(a[n, :, h, w].double().numpy(), b[n, :, h, w].double().numpy()) for h, w in places]
            layers.append(np.mean([((u / np.linalg.norm(u) - v / np.linalg.norm(v)) ** 2).sum() for u, v in vectors]))
        expected[n] = np.mean(layers)
    np.testing.assert_allclose(between_layers(x, y).numpy(), expected, rtol=1e-12)
    assert between_layers(x, [-a for a in x]).tolist() == pytest.approx([4, 4])


def test_efficientnet_layers_are_the_last_of_each_resolution() -> None:
    network = EfficientNet(CPU)
    layers = network.layers(images(1, 1, 16, 20))
    sides = [SIDE // 2**i for i in range(1, 6)]
    assert [tuple(x.shape) for x in layers] == [
        (1, c, s, s) for c, s in zip((16, 24, 40, 112, 320), sides, strict=True)
    ]
    blocks = network.network._blocks
    assert [i for i in range(15) if blocks[i + 1]._block_args.stride == [2]] == [0, 2, 4, 10]
    assert [i for i in range(16) if blocks[i]._block_args.stride in ([2], 2)] == [1, 3, 5, 11]


def test_efficientnet_distances_of_a_method_and_of_its_codes(paired: str) -> None:
    method = Coded(0.4)
    question = asked(paired, method, most=1)
    family, network, batch = build_efficientnet(question), EfficientNet(CPU), first_chunk(question)
    assert set(family.metrics) == set(EFFICIENTNET)
    found = family.result([family.chunk(Outputs(method, batch))])
    outputs = [method.image_from(batch["a"], z=method.draw_codes(batch.keys, i)) for i in range(SAMPLES)]
    seen, truth = [network.layers(x) for x in outputs], network.layers(batch["b"])
    apart = [between_layers(x, y).item() for x, y in pairwise(seen)]
    assert found["efficientnet_diversity"].value == pytest.approx(np.mean(apart), rel=1e-9)
    assert found["efficientnet_best"].value == pytest.approx(min(between_layers(x, truth).item() for x in seen))
    assert found["efficientnet_perceptual"].value > found["efficientnet_best"].value > 0


def test_efficientnet_perceptual_is_0_for_the_truth_and_grows_with_blur(paired: str) -> None:
    question = asked(paired, Paired(lambda x: x), most=2)
    batch = first_chunk(question)
    batch = replace(batch, fields={"a": batch["b"], "b": batch["b"]})
    values = []
    for width in (1, 3, 7):
        method = Paired(lambda x, width=width: F.avg_pool2d(x, width, 1, width // 2))
        family = build_efficientnet(replace(question, method=method))
        assert set(family.metrics) == {"efficientnet_perceptual", "efficientnet_perceptual_nothing"}
        values.append(means([family.chunk(Outputs(method, batch))])["efficientnet_perceptual"].value)
    assert values[0] == 0
    assert values[0] < values[1] < values[2] < 4
