"""A checkpoint from Python: what docs/python.md says, and its network by itself.

pytest tests/unit/test_python.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from i2i_core.config.evaluation import AtTestOptions
from i2i_core.errors import ConfigError, DataError
from i2i_core.methods import METHODS
from i2i_core.methods.at_test import AtTest, fixed
from i2i_core.translation.model import Model, load

from ..support.data import ROOT
from ..support.table import TABLE
from ..support.translating import files, go, noise, pixels, save, untrained

PAGE = ROOT / "docs" / "python.md"


def small(name: str, data: str, folder: Path, **values: Any) -> str:
    keep = {k: v for k, v in TABLE[name].small.items() if k not in ("channels", "c_dim")}
    return untrained(name, data, folder, 8, **{f"hyper__{k}": v for k, v in {**keep, **values}.items()})


def test_python_page_runs_as_it_is_written(
    labelled: str, paired: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(small("stargan", labelled, tmp_path / "runs")).rename(tmp_path / "runs/faces")
    save(tmp_path / "photos/cat.png", noise(32, 32, 3))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/pairs").symlink_to(paired)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 4
    known: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), known)
    assert np.asarray(Image.open("bold.png")).shape == (32, 32)


def test_readme_code_runs_as_printed(labelled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo-output/runs").mkdir(parents=True)
    Path(small("stargan", labelled, tmp_path / "made")).rename(tmp_path / "demo-output/runs/stargan-demo")
    save(tmp_path / "letter.png", noise(32, 32))
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(block.splitlines()) <= 11, "ten lines, and an empty one"
    known: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), known)
    assert np.asarray(Image.open("bold.png")).shape == (32, 32)
    assert known["y"].shape == known["x"].shape
    assert isinstance(known["network"], nn.Module)


@pytest.fixture(scope="module")
def stargan(labelled: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return small("stargan", labelled, tmp_path_factory.mktemp("stargan"))


def test_model_makes_what_translate_makes(stargan: str, tmp_path: Path) -> None:
    """Of files, of PIL images, arrays, tensors, one or several, of either depth."""
    for name, image in {"grey": noise(16, 20), "colour": noise(16, 20, 3, seed=1)}.items():
        save(tmp_path / f"in/{name}.png", image)
    go(stargan, tmp_path / "in", tmp_path / "out", target="bold")
    expected = {name: pixels(data) for name, data in files(tmp_path / "out").items()}
    model = load(stargan)
    for name in ("grey", "colour"):
        file = Image.open(tmp_path / f"in/{name}.png")
        for given in (file, np.asarray(file)):
            made = np.asarray(model.translate(given, target="bold", keys=[name]))
            assert np.abs(np.squeeze(made).astype(int) - expected[f"{name}.png"]).max() <= 1
    both = model.translate([np.asarray(Image.open(tmp_path / "in/grey.png"))] * 2, target="bold")
    assert len(both) == 2
    assert np.array_equal(both[0], both[1])
    deep = model.translate(noise(16, 20, dtype="uint16"), target="bold")
    assert deep.dtype == np.uint16
    x = torch.rand(3, 1, 16, 16) * 2 - 1
    batch = model.translate(x, target=torch.tensor([[0.0, 1, 0, 0]] * 3))
    torch.testing.assert_close(model.translate(x[1], target="bold"), batch[1], rtol=1e-3, atol=1e-4)


def test_model_takes_codes_examples_and_the_way_back(paired: str, unpaired: str, tmp_path: Path) -> None:
    bicycle = load(small("bicyclegan", paired, tmp_path / "bicycle"))
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    z = bicycle.method.draw_codes(["cat", "dog"])
    one, other = bicycle.translate(x, z=z), bicycle.translate(x, keys=["cat", "dog"])
    assert torch.equal(one, other)
    assert torch.equal(bicycle.encode(x), bicycle.method.encode(x))
    cycle = load(small("cyclegan", unpaired, tmp_path / "cycle"))
    y = torch.rand(2, cycle.method.channels()["b"], 16, 16) * 2 - 1
    assert torch.equal(cycle.translate(y, "BtoA"), cycle.method.image_from(y, "BtoA"))


def test_model_translates_images_of_several_sizes_in_their_order(stargan: str, paired: str, tmp_path: Path) -> None:
    """Each as it is alone: with its own labels, and the code that its own key, or its place, seeds."""
    images = [noise(16, 20, seed=1), Image.fromarray(noise(24, 16, seed=2)), noise(16, 20, seed=3)]
    target = torch.tensor([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]])
    model = load(stargan)
    made = model.translate(images, target=target)
    assert [x.shape for x in made] == [(16, 20), (24, 16), (16, 20)]
    for image, own, x in zip(images, target, made, strict=True):
        alone = np.asarray(model.translate(image, target=own[None]))
        assert np.abs(alone.astype(int) - x).max() <= 1
    bicycle = load(small("bicyclegan", paired, tmp_path / "bicycle"))
    for keys in (None, ["a", "b", "c"]):
        several = bicycle.translate(images, keys=keys)
        for image, key, x in zip(images, keys or "012", several, strict=True):
            assert np.abs(np.asarray(bicycle.translate(image, keys=[key])).astype(int) - x).max() <= 1


def test_model_refuses_what_does_not_fit_with_one_message(stargan: str) -> None:
    model = load(stargan)
    image = noise(16, 16)
    for names in ("photo.png", Path("photo.png"), ["photo.png"]):
        with pytest.raises(ConfigError, match=r"PIL images, arrays or tensors(.|\n)*Open files with PIL first"):
            model.translate(names, target="bold")
    with pytest.raises(ConfigError, match="--target: found 'bald'; expected one of"):
        model.translate(image, target="bald")
    with pytest.raises(ConfigError, match="target: found '\\+bold'; expected labels, not a change"):
        model.translate(image, target="+bold")
    with pytest.raises(ConfigError, match="z: found a control of that name; expected those of this method: target"):
        model.translate(image, z=torch.zeros(1, 8))
    with pytest.raises(ConfigError, match="target: found nothing; expected what the outputs are to show"):
        model.translate(image)
    with pytest.raises(ConfigError, match="direction: found BtoA; expected AtoB"):
        model.translate(image, "BtoA", target="bold")
    with pytest.raises(ConfigError, match="found an array of float64; expected uint8, uint16, or float32"):
        model.translate(image / 255.0, target="bold")
    with pytest.raises(DataError, match="found none; expected an image, or several"):
        model.translate([], target="bold")
    with pytest.raises(DataError, match="image 0: found 5 channels; expected 1"):
        model.translate(noise(16, 16, 5), target="bold")
    with pytest.raises(ConfigError, match="generate: found a method that takes image; expected none"):
        model.generate(3)
    with pytest.raises(ConfigError, match="target: found 3 rows; expected 2, one for each image"):
        model.translate([image, noise(16, 20)], target=torch.zeros(3, 4))
    with pytest.raises(ConfigError, match="encode: found a method that reads no code"):
        model.encode(image)


@pytest.mark.parametrize("norm", ["image", "running"])
@pytest.mark.parametrize("name", list(TABLE))
def test_model_network_makes_translates_pictures(
    name: str, norm: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    data = request.getfixturevalue(METHODS[name].method.needs.kind)
    values = TABLE[name].small
    has_norm = hasattr(METHODS[name].config, "norm") and ("norm" in values or "dropout" in values)
    norms = {"norm": "batch"} if has_norm else {}
    norms |= {key: "batch" for key in ("g_norm", "d_norm") if key in values}
    run = small(name, data, tmp_path, **norms, **({"image_size": 32} if norms else {}))
    model = load(run)
    model.method.at_test = AtTest(norm, False)
    if model.method.optimises:
        with pytest.raises(ConfigError, match="network: found a method that makes images by a search"):
            model.network()
        return
    trained_a_while(model.method.networks)
    for direction in ("AtoB", *(("BtoA",) if model.method.two_way else ())):
        told = {"target": torch.eye(4)[:3]} if "target" in model.method.controls else {}
        if model.method.codes:
            told["z"] = model.method.draw_codes(["a", "b", "c"])
        given = [torch.rand(3, model.method.channels()[name], 32, 32) * 2 - 1 for name in model.method.inputs]
        with torch.no_grad():
            alone = model.network(direction)(*given, *told.values())
        found = model.translate(given[0], direction, **told) if given else model.generate(3, **told)
        torch.testing.assert_close(alone, found, rtol=1e-4, atol=1e-5)


def trained_a_while(networks: nn.Module) -> None:
    """Give batch norm running statistics that are not those it begins with."""
    for module in networks.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)


def test_model_network_keeps_dropout_that_is_noise_and_leaves_the_method_alone(paired: str, tmp_path: Path) -> None:
    run = small("pix2pix", paired, tmp_path, dropout=0.5, image_size=32)
    model: Model = load(run)
    network, x = model.network(), torch.rand(2, 3, 32, 32)
    assert not torch.equal(network(x), network(x))
    assert not torch.equal(network.eval()(x), network(x))
    still = load(run, at_test=AtTestOptions(test_dropout="off")).network()
    assert torch.equal(still(x), still(x))
    assert any(isinstance(m, nn.Dropout) for m in model.method.networks.modules())
    assert all(p.requires_grad for p in model.method.networks.parameters())


def test_model_network_dropout_of_channels_drops_whole_ones() -> None:
    network = fixed(nn.Sequential(nn.Dropout2d(0.5)), AtTest("image", True))
    kept: Tensor = network(torch.ones(4, 8, 5, 5)).flatten(2)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(kept.amin(2), kept.amax(2))
