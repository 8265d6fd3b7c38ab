"""Exported networks: their files make the checkpoint's images, for any batch and size that the network allows.

pytest tests/unit/test_exporting.py
"""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from i2i_core.errors import ConfigError, ResourceError, RunError
from i2i_core.methods import METHODS
from i2i_core.methods.at_test import AtTest, FixedDropout, FixedNorm, fixed
from i2i_core.methods.exportable import Dropped, Normalised, exportable
from i2i_core.networks.layers import InstanceNorm2d
from i2i_core.translation import exporting
from i2i_core.translation.exporting import export
from i2i_core.translation.model import Model, load
from pipelines import export as program

from ..support.data import ROOT
from ..support.table import TABLE
from ..support.translating import untrained

PAGE = ROOT / "docs" / "exporting.md"


def small(name: str, data: str, folder: Path, gain: float = 8) -> str:
    keep = {k: v for k, v in TABLE[name].small.items() if k not in ("channels", "c_dim")}
    return untrained(name, data, folder, gain, **{f"hyper__{k}": v for k, v in keep.items()})


@pytest.fixture(scope="module")
def run(labelled: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return small("stargan", labelled, tmp_path_factory.mktemp("stargan"))


def said(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["export.py", *arguments])
    return program.run()


# ---------------------------------------------------------------- what stands for a layer


def test_normalised_equals_means_and_variances_by_hand() -> None:
    x = torch.randn(3, 2, 4, 5, dtype=torch.float64)
    weight, bias = torch.tensor([2.0, 3.0]).double(), torch.tensor([0.5, -1.0]).double()
    made = Normalised(weight, bias, 1e-3)(x)
    for i in range(3):
        for c in range(2):
            values = x[i, c].numpy()
            by_hand = (values - values.mean()) / np.sqrt(((values - values.mean()) ** 2).mean() + 1e-3)
            assert np.allclose(made[i, c].numpy(), by_hand * weight[c].item() + bias[c].item(), atol=1e-6)


@pytest.mark.parametrize("of_channels", [False, True])
def test_dropped_keeps_its_share_and_the_mean(of_channels: bool) -> None:
    layer = Dropped(FixedDropout(nn.Dropout2d(0.25) if of_channels else nn.Dropout(0.25)))
    torch.manual_seed(0)
    made = layer(torch.ones(50, 40, 8, 8))
    assert made.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert abs((made == 0).float().mean().item() - 0.25) < 0.03
    whole = made.flatten(2)
    assert bool(((whole == 0).all(2) | (whole != 0).all(2)).all()) == of_channels


def test_exportable_makes_what_the_network_makes() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), InstanceNorm2d(4, affine=True), nn.BatchNorm2d(4), nn.Dropout(0.5))
    x = torch.randn(2, 1, 8, 8)
    plain = fixed(network, AtTest("image", False))
    other = exportable(fixed(network, AtTest("image", False)))
    assert isinstance(plain[2], FixedNorm)
    assert [type(layer) for layer in other[1:3]] == [Normalised, Normalised]
    assert torch.allclose(plain(x), other(x), atol=1e-5)


# ---------------------------------------------------------------- the files


@pytest.mark.slow
def test_export_for_torch_makes_the_checkpoints_images(run: str, tmp_path: Path) -> None:
    """Of batches and sizes that it was not traced with; the labels are an input."""
    model = load(run)
    made = export(model, "torch")
    assert made.difference < 1e-4
    assert made.fixed == ""
    assert made.about["sides"] == {"multiple_of": 4, "at_least": 8}
    assert made.about["inputs"]["input_image"]["shape"][0] == "batch"
    told = torch.export.load(io.BytesIO(made.data), extra_files=(extra := {"i2i.json": ""})).module(check_guards=False)
    assert json.loads(extra["i2i.json"])["method"] == "stargan"
    for n, height, width in ((1, 16, 16), (5, 20, 44)):
        x = torch.rand(n, 1, height, width) * 2 - 1
        target = torch.tensor([[0.0, 1, 0, 0]]).expand(n, -1)
        assert torch.allclose(told(x, target), model.translate(x, target="bold"), atol=1e-4)


@pytest.mark.slow
def test_export_of_a_fixed_size_takes_that_size_alone(run: str) -> None:
    made = export(load(run), "torch", size=(16, 24))
    assert made.fixed == "--size names them"
    assert made.about["sides"] == {"height_width": [16, 24]}
    told = torch.export.load(io.BytesIO(made.data)).module()
    assert told(torch.zeros(3, 1, 16, 24), torch.zeros(3, 4)).shape == (3, 1, 16, 24)
    with pytest.raises(Exception, match=r"Guard failed.*24"):
        told(torch.zeros(3, 1, 16, 16), torch.zeros(3, 4))


@pytest.mark.slow
def test_export_refuses_a_size_that_the_network_cannot_take_and_its_advice_works(run: str) -> None:
    with pytest.raises(ConfigError, match=r"--size: found 22x16; expected multiples of 4.*\n.*--size 24x16"):
        export(load(run), "torch", size=(16, 22))
    assert export(load(run), "torch", size=(16, 24)).difference < 1e-4


@pytest.mark.slow
def test_export_writes_no_file_that_differs_from_the_checkpoint(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Normalised, "forward", lambda self, x: x * 1.01)
    with pytest.raises(RunError, match="nothing is written"):
        export(load(run), "torch")


def test_export_names_a_missing_package(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ResourceError, match=r"no package onnxruntime.*(?s:.)*pip install 'i2i\[export\]'"):
        export(load(run), "onnx")


def test_export_back_is_refused_where_there_is_no_way_back(run: str) -> None:
    with pytest.raises(ConfigError, match="--back"):
        export(load(run), "torch", "BtoA")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], "checkpoint: found nothing"),
        (["RUN"], "--out: found nothing"),
        (["RUN", "--out", "x.pt2"], r"--out: found x.pt2; expected a file whose name ends in .onnx"),
        (["nowhere", "--out", "x.onnx"], "nothing at that place"),
    ],
)
def test_export_refuses_what_it_cannot_use(
    arguments: list[str], found: str, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=found):
        said([run if word == "RUN" else word for word in arguments], monkeypatch)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_export_replaces_no_file_unless_asked(run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.pt2").write_text("mine")
    arguments = [run, "--to", "torch", "--out", str(tmp_path / "x.pt2")]
    with pytest.raises(ConfigError, match=r"which is there.*(?s:.)*--overwrite"):
        said(arguments, monkeypatch)
    assert (tmp_path / "x.pt2").read_text() == "mine"
    assert said([*arguments, "--overwrite"], monkeypatch) == 0
    assert len((tmp_path / "x.pt2").read_bytes()) > 1000


# ---------------------------------------------------------------- every method, and ONNX


def data_for(name: str, request: pytest.FixtureRequest) -> str:
    data: str = request.getfixturevalue(METHODS[name].method.needs.kind)
    return data


def onnx_of(data: bytes, *given: Tensor, times: int = 1) -> list[np.ndarray]:
    """Run a file some times in one session, which draws on."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    put = {n: x.numpy() for n, x in zip(names, given, strict=True)}
    return [session.run(None, put)[0] for _ in range(times)]


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "torch"])
@pytest.mark.parametrize("name", METHODS)
def test_export_of_every_method_makes_its_images(
    name: str, to: exporting.Format, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model = load(small(name, data_for(name, request), tmp_path))
    if model.method.optimises:
        with pytest.raises(ConfigError, match="export: found a method that makes images by a search for their codes"):
            export(model, to)
        return
    for direction in ("AtoB", "BtoA") if model.method.two_way else ("AtoB",):
        made = export(model, to, direction)
        assert made.difference < 1e-4
        assert bool(made.fixed) == (not model.method.inputs), "height and width of what goes in are free"
    assert str(ROOT).encode() not in made.data, "no place of this machine"


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "torch"])
def test_export_keeps_dropout_that_is_the_noise(to: exporting.Format, paired: str, tmp_path: Path) -> None:
    sizes = {"image_size": 32, "g_base": 4, "d_base": 4, "downs": 5, "receptive_field": 16}
    model = load(untrained("pix2pix", paired, tmp_path, 2, **{f"hyper__{k}": v for k, v in sizes.items()}))
    made = export(model, to)
    assert made.about["noise"].startswith("dropout")
    assert made.difference < 1e-4
    x = torch.rand(1, model.method.channels()["a"], 32, 32)
    if to == "onnx":
        twice = onnx_of(made.data, x, times=2)
        assert not np.array_equal(*twice)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "torch"])
@pytest.mark.parametrize("half", [False, True])
def test_export_of_a_noisy_method_writes_no_file_that_differs(
    to: exporting.Format, half: bool, paired: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compared with the checkpoint's own network, not with what was made of it to be exported."""
    sizes = {"image_size": 32, "g_base": 4, "d_base": 4, "downs": 5, "receptive_field": 16, "norm": "instance"}
    model = load(untrained("pix2pix", paired, tmp_path, 2, **{f"hyper__{k}": v for k, v in sizes.items()}))
    assert export(model, to, half=half).difference < (exporting.MOST_DIFFERENCE_HALF if half else 1e-4)
    plain = Normalised.forward
    monkeypatch.setattr(Normalised, "forward", lambda self, x: plain(self, x) * 2)
    with pytest.raises(RunError, match="nothing is written"):
        export(model, to, half=half)


@pytest.mark.slow
def test_export_in_half_precision_takes_and_makes_halves(labelled: str, tmp_path: Path) -> None:
    run = small("stargan", labelled, tmp_path, 2)
    made = export(load(run), "onnx", half=True)
    assert made.difference < exporting.MOST_DIFFERENCE_HALF
    (out,) = onnx_of(made.data, torch.zeros(2, 1, 16, 16).half(), torch.zeros(2, 4).half())
    assert out.dtype == np.float16
    assert len(made.data) < 0.7 * len(export(load(run), "onnx").data)


@pytest.mark.slow
def test_exporting_page_runs_as_it_is_written(run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for to, name in (("onnx", "bold.onnx"), ("torch", "bold.pt2")):
        assert said([run, "--to", to, "--out", name], monkeypatch) == 0
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32), dtype=np.uint8)).save("letter.png")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), {})
    expected = np.asarray(load(run).translate(Image.open("letter.png"), target="bold"))
    for made in ("bold-onnx.png", "bold-torch.png"):
        assert np.abs(np.asarray(Image.open(made)).astype(int) - expected).max() <= 1


@pytest.mark.slow
def test_model_of_export_is_not_changed(run: str) -> None:
    model: Model = load(run)
    x = torch.rand(1, 1, 16, 16)
    before = model.translate(x, target="bold")
    export(model, "torch")
    assert torch.equal(before, model.translate(x, target="bold"))
