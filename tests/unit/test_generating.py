"""Grids of codes: samples, walks, sums and differences, with labels or an input where a method takes any.

pytest tests/unit/test_generating.py
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from i2i_core.errors import ConfigError
from i2i_core.images.sheet import contact_sheet
from i2i_core.translation import generating
from i2i_core.translation.codes import walk
from i2i_core.translation.generating import parse_groups, rows_of
from i2i_core.translation.model import Model, load
from pipelines import generate

from ..support.table import TABLE
from ..support.translating import noise, save, untrained

Made = Callable[[str], str]


@pytest.fixture(scope="module")
def run_of(labelled: str, paired: str, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Give the run of an untrained method, whose images differ by their codes."""
    runs: dict[str, str] = {}

    def made(name: str) -> str:
        if name not in runs:
            values = {f"hyper__{k}": v for k, v in TABLE[name].small.items() if k not in ("channels", "c_dim")}
            folder = tmp_path_factory.mktemp(name)
            data = paired if name in ("bicyclegan", "pix2pix") else labelled
            runs[name] = untrained(name, data, folder, 8, **values)
        return runs[name]

    return made


def codes(model: Model, *numbers: int) -> Tensor:
    return model.method.draw_codes([str(number) for number in numbers])


def cells(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, list[Tensor]]]:
    """Collect what grids are drawn of."""
    found: list[dict[str, list[Tensor]]] = []

    def noted(columns: Any, **others: Any) -> Image.Image:
        found.append(dict(columns))
        return contact_sheet(columns, **others)

    monkeypatch.setattr(generating, "contact_sheet", noted)
    return found


def test_walk_on_a_line_and_on_a_circle_by_hand() -> None:
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    line = walk(a, b, 5)
    assert [step[0].tolist() for step in line] == [[2, 0], [1.5, 1], [1, 2], [0.5, 3], [0, 4]]
    circle = walk(a, b, 3, "circle")
    half = math.sqrt(0.5)
    torch.testing.assert_close(torch.cat(circle), torch.tensor([[2.0, 0.0], [2 * half, 4 * half], [0.0, 4.0]]))


def test_walk_on_a_circle_keeps_lengths_and_is_a_line_where_there_is_no_angle() -> None:
    a, b = torch.randn(2, 4, 100, generator=torch.Generator().manual_seed(0))
    a, b = 3 * a / a.norm(dim=1, keepdim=True), 3 * b / b.norm(dim=1, keepdim=True)
    for step in walk(a, b, 7, "circle"):
        torch.testing.assert_close(step.norm(dim=1), torch.full((4,), 3.0))
    for other in (2 * a, -a):
        torch.testing.assert_close(torch.stack(walk(a, other, 5, "circle")), torch.stack(walk(a, other, 5)))


def test_samples_are_of_the_codes_that_their_numbers_seed(run_of: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    model, drawn = load(run_of("dcgan")), cells(monkeypatch)
    generating.samples(model, rows_of(model, "", ""), 2, 3, first=10)
    (columns,) = drawn
    assert list(columns) == ["0", "1", "2"]
    found = torch.stack([columns[str(k)][row] for row in range(2) for k in range(3)])
    torch.testing.assert_close(found, model.generate(6, z=codes(model, *range(10, 16))), rtol=1e-4, atol=1e-5)


def test_samples_of_classes_have_a_row_each_of_the_same_codes(
    run_of: Made, labelled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, drawn = load(run_of("cgan")), cells(monkeypatch)
    with pytest.raises(ConfigError, match="--target: found nothing; expected what images are to show"):
        rows_of(model, "", "")  # these labels are attributes
    object.__setattr__(model.method.config, "labels", "classes")
    rows = rows_of(model, "", "")
    assert rows.count == len(model.method.label_sets[0].names) == 4
    generating.samples(model, rows, 4, 2)
    (columns,) = drawn
    z = codes(model, 0, 1)
    for row in range(4):
        expected = model.generate(2, z=z, target=torch.eye(4)[row].expand(2, -1))
        found = torch.stack([columns["0"][row], columns["1"][row]])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert rows_of(model, "bold", "").titles == ("bold",)
    with pytest.raises(ConfigError, match="--target"):
        rows_of(model, "bald", "")


def test_walks_go_from_each_code_to_the_next_with_the_input_fixed(
    run_of: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, drawn = load(run_of("bicyclegan")), cells(monkeypatch)
    save(tmp_path / "a.png", noise(16, 16, 3))
    rows = rows_of(model, "", str(tmp_path / "a.png"))
    generating.walks(model, rows, 2, 5, "circle")
    (columns,) = drawn
    assert list(columns) == ["source", "0.00", "0.25", "0.50", "0.75", "1.00"]
    assert rows.images is not None
    steps = walk(codes(model, 0, 1), codes(model, 1, 2), 5, "circle")
    for title, z in zip(list(columns)[1:], steps, strict=True):
        expected = model.translate(rows.images.expand(2, -1, -1, -1), z=z)
        torch.testing.assert_close(torch.stack(columns[title]), expected, rtol=1e-3, atol=1e-4)


def test_arithmetic_is_on_means_of_three_codes(run_of: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    model, drawn = load(run_of("gan")), cells(monkeypatch)
    generating.arithmetic(model, rows_of(model, "", ""), parse_groups(["1,2,3", "4,5,6", "7,8,9"]))
    (columns,) = drawn
    a, b, c = (codes(model, *range(k, k + 3)).mean(0) for k in (1, 4, 7))
    expected = model.generate(4, z=torch.stack([a, b, c, a - b + c]))
    torch.testing.assert_close(torch.stack(columns["mean"]), expected, rtol=1e-4, atol=1e-5)
    near = torch.stack([columns[str(k)][3] for k in (1, 2, 3)])
    assert not torch.equal(near[0], near[1])


@pytest.mark.parametrize("groups", [["1,2,3"], ["1,2", "3,4", "5,6"], ["1,2,x", "1,2,3", "1,2,3"], ["1,2,-3"] * 3])
def test_arithmetic_takes_three_groups_of_three_numbers(groups: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"--arithmetic: found .*; expected three groups of 3 numbers"):
        parse_groups(groups)


def test_generate_refuses_what_a_method_does_not_take(run_of: Made, tmp_path: Path) -> None:
    plain, bicycle = load(run_of("dcgan")), load(run_of("bicyclegan"))
    with pytest.raises(ConfigError, match="found a method without codes"):
        rows_of(load(run_of("pix2pix")), "", "")
    with pytest.raises(ConfigError, match="--target: found 'bold'; expected none"):
        rows_of(plain, "bold", "")
    with pytest.raises(ConfigError, match=r"--input: found x.png; expected nothing"):
        rows_of(plain, "", "x.png")
    with pytest.raises(ConfigError, match="--input: found nothing; expected images"):
        rows_of(bicycle, "", "")


@pytest.mark.parametrize("flags", [[], ["--walk", "circle", "--columns", "3"], ["--arithmetic", *["0,1,2"] * 3]])
def test_generate_writes_a_grid(
    flags: list[str], run_of: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "new/grid.png"
    monkeypatch.setattr(sys, "argv", ["generate.py", run_of("dcgan"), "--out", str(place), *flags])
    assert generate.run() == 0
    grid = np.asarray(Image.open(place))
    assert grid.std() > 0
    assert f"{place}: {grid.shape[1]} x {grid.shape[0]} pixels" in capsys.readouterr().out


def test_generate_refuses_two_things_at_once_and_a_file_that_is_no_png(monkeypatch: pytest.MonkeyPatch) -> None:
    for flags, message in (
        (["--out", "x.jpg"], "--out: found x.jpg; expected a file whose name ends in .png"),
        (["--out", "x.png", "--walk", "line", "--arithmetic", "1,2,3"], "--arithmetic --walk: found both"),
    ):
        monkeypatch.setattr(sys, "argv", ["generate.py", "runs/x", *flags])
        with pytest.raises(ConfigError, match=message):
            generate.run()
