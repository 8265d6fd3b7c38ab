"""Strips of pictures: a demo's own, and the README's, drawn from demos' folders.

pytest tests/unit/test_picture_strip.py
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from i2i_core.config.translation import TranslateOptions
from i2i_core.errors import ConfigError, RunError
from i2i_core.images.picture_strip import BETWEEN, Column, picture_strip
from i2i_core.images.sheet import GAP, NOTHING, PAPER, png_bytes, to_array
from i2i_core.orchestration.translating import rows_again
from i2i_core.translation.translator import Row
from pipelines import demo
from pipelines.demo import TRAINED, Demo, characters_for, numbers, place_of
from pipelines.strip import alone, rows_of, side_by_side

from ..support.translating import go, pixels, untrained


def flat(value: float, height: int = 8, width: int = 8) -> torch.Tensor:
    return torch.full((1, height, width), value)


def test_picture_strip_puts_every_image_into_its_cell() -> None:
    black, grey, white = flat(-1), flat(0), flat(1)
    groups = {"a": [[black, white], [grey, None]], "b": [[white, black]]}
    strip = np.asarray(picture_strip(groups, ["up", "down"], cell=32))
    left = strip.shape[1] - GAP - 32 - BETWEEN - 64 - GAP
    columns = [left, left + 32 + GAP, left + 2 * 32 + GAP + BETWEEN]
    rows = [strip.shape[0] - 2 * (32 + GAP), strip.shape[0] - 32 - GAP]
    found = [[np.unique(strip[y : y + 32, x : x + 32].reshape(-1, 3), axis=0).tolist() for x in columns] for y in rows]
    assert found == [[[[0] * 3], [[128] * 3], [[255] * 3]], [[[255] * 3], [[*NOTHING]], [[0] * 3]]]
    assert strip[rows[0] + 16, columns[0] - 1].tolist() == [*PAPER], "cells do not begin earlier"
    assert (strip[:, : columns[0]] != PAPER).any(), "rows are labelled"


def test_picture_strip_keeps_the_shape_of_images() -> None:
    strip = np.asarray(picture_strip({"": [[flat(-1, 8, 16)]]}, [""], cell=32))
    dark = np.argwhere((strip == 0).all(axis=2))
    assert (np.ptp(dark, axis=0) + 1).tolist() == [16, 32]


@pytest.mark.parametrize(
    ("method", "options"),
    [("stargan", {"target": "+serif"}), ("bicyclegan", {"samples": 3, "most": 4}), ("pix2pix", {"most": 4})],
)
def test_rows_again_are_what_translate_wrote(
    method: str, options: dict[str, object], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The outputs by their files' bytes; the sheet that is drawn of them is the one that translate drew."""
    from i2i_core.images.sheet import contact_sheet

    data = request.getfixturevalue("labelled" if method == "stargan" else "paired")
    run, out = untrained(method, data, tmp_path / "runs", 8), tmp_path / "out"
    go(run, data, out, **options)
    rows = rows_again(run, TranslateOptions(input=data, out=str(out), **options), 8)  # type: ignore[arg-type]
    drawn = png_bytes(contact_sheet({title: [row[title] for row in rows] for title in rows[0]}))
    assert np.array_equal(pixels(drawn), pixels(out.with_name(f"{out.name}-sheet.png").read_bytes()))
    made = {title for title in rows[0] if title not in ("source", "truth")}
    assert len(made) == options.get("samples", 1)
    some = rows[0][min(made)]
    assert some is not None
    written = [pixels(path.read_bytes()) for path in out.rglob("*.png")]
    assert any(np.array_equal(to_array(some).squeeze(), image) for image in written)
    assert rows_again(run, TranslateOptions(input=data, out=str(out), **options), 2)[1].keys() == rows[1].keys()  # type: ignore[arg-type]


def ids(columns: Sequence[Column]) -> list[list[int]]:
    return [[id(x) for x in column] for column in columns]


def striped(height: float) -> torch.Tensor:
    return torch.tensor([height, -height]).expand(1, 2, 2)


def test_side_by_side_shows_the_fullest_samples_or_the_outputs_of_one() -> None:
    one: list[Row] = [{"source": striped(k), "made": flat(k), "truth": None} for k in (0.2, 0.1, 0.3)]
    assert ids(side_by_side(one, 2)) == ids([[one[2]["source"], one[2]["made"]], [one[0]["source"], one[0]["made"]]])
    many: list[Row] = [
        {"source": striped(k), "sample 0": flat(k), "sample 1": flat(-k), "truth": None} for k in (0.1, 0.2)
    ]
    assert ids(side_by_side(many, 3)) == ids([[many[1]["source"], many[1][f"sample {k}"]] for k in (0, 1)])


def test_alone_leaves_out_a_row_without_any_image() -> None:
    rows: list[Row] = [
        {"source": flat(0), "made": flat(1), "truth": None},
        {"source": flat(1), "made": None, "truth": None},
    ]
    columns, titles = alone(rows)
    assert titles == ["source", "made"]
    assert ids(columns) == ids([[rows[0]["source"], rows[0]["made"]], [rows[1]["source"], None]])


def test_strip_names_the_command_of_a_demo_that_was_not_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--method pix2pix --out") as error:
        rows_of("pix2pix", tmp_path, 3)
    assert "pix2pix-demo" in str(error.value)


def test_demo_numbers_stand_beside_doing_nothing_and_real_images() -> None:
    values = {"accuracy/bold": 0.877, "accuracy_nothing/bold": 0.029, "accuracy_real/bold": 0.882, "l1": 0.5}
    values |= {"there_and_back": 0.0243, "l1_nothing": 0.75}
    metrics = {
        name: {"value": value, "better": "higher" if "accuracy" in name else "lower"} for name, value in values.items()
    }
    said = numbers(metrics, ("accuracy/bold", "there_and_back", "l1", "absent"))
    assert said.split("; ") == [
        "accuracy/bold 0.877 (doing nothing 0.029, real images 0.882, higher is better)",
        "there_and_back 0.0243 (lower is better)",
        "l1 0.5 (doing nothing 0.75, lower is better)",
    ]


def test_strip_of_the_readme_is_a_small_wide_picture() -> None:
    path = Path(__file__).parents[2] / "docs" / "images" / "strip.png"
    data = path.read_bytes()
    width, height = Image.open(io.BytesIO(data)).size
    assert (len(data) < 300_000, width > 3 * height) == (True, True)


def test_demo_draws_what_a_short_run_reads_and_takes_what_is_drawn(tmp_path: Path) -> None:
    """At least an image for each that it trains on; all where it reads more, and where all are there."""
    assert characters_for("stargan", 0) == characters_for("stargan", 10_000) == 0
    for method, each in (("stargan", 4), ("pix2pix", 12), ("cyclegan", 0.5)):
        for images in (8, 600, 1000):
            few = characters_for(method, images)
            assert not few or few * each * TRAINED >= images
    assert characters_for("stargan", 600) == characters_for("stargan", 1100) == 320
    demo = Demo(images=600, out=tmp_path)
    assert place_of(demo) == (tmp_path / "short-320", 320)
    assert place_of(Demo(out=tmp_path)) == (tmp_path, 0), "the run of a short demo is another one"
    (tmp_path / "glyphs-styles").mkdir()
    (tmp_path / "glyphs-styles/manifest.json").write_text("{}")
    assert place_of(demo) == (tmp_path, 0)


@pytest.mark.parametrize("lost", ["", "stop", "submit"])
def test_demo_goes_on_where_its_cluster_does_not_stop(
    lost: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was trained is there all the same; a training that failed is an error."""
    called: list[str] = []

    def call(*command: str) -> None:
        called.append(command[1])
        if command[1] == lost:
            raise RunError(f"`{lost}` ended with exit code 1")

    monkeypatch.setattr(demo, "call", call)
    if lost == "submit":
        with pytest.raises(RunError, match="submit"):
            demo.train(Demo(), [])
    else:
        assert demo.train(Demo(), []) >= 0
    assert called == ["start", "submit", "stop"]
    assert ("`stop` ended with exit code 1" in capsys.readouterr().out) == (lost == "stop")


def test_demo_says_that_it_had_been_trained_before(paired: str, tmp_path: Path) -> None:
    run = Path(untrained("pix2pix", paired, tmp_path / "runs"))
    run.rename(tmp_path / "runs/pix2pix-demo")
    (tmp_path / f"glyphs-{demo.EXAMPLES['pix2pix'].data}").symlink_to(paired)
    (tmp_path / "pix2pix-translated.json").write_text('{"metrics": {}}')
    assert "36 images in 7 s; 9 s" in demo.ended("pix2pix", tmp_path, 7, 9)[0]
    assert "36 images in an earlier demo; 9 s" in demo.ended("pix2pix", tmp_path, 0, 9)[0]
