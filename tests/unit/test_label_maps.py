"""Label maps and animations among the images of plain layouts are named, with the layout that keeps what they hold.

pytest tests/unit/test_label_maps.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2i_core.cli import parse
from i2i_core.data.format.manifest import Manifest
from pipelines.shard import MakeOptions, _report, _shard

from ..support.data import put
from ..support.pictures import noise, saved

IDS = np.arange(64, dtype=np.uint8).reshape(8, 8) % 5


def palette_image() -> Image.Image:
    image = Image.fromarray(IDS, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128])
    return image


def pairs(folder: Path, maps: Image.Image) -> None:
    for i in range(3):
        put(folder / f"in/a/{i}.png", noise(8, 8, seed=i))
        (folder / "in/b").mkdir(exist_ok=True)
        maps.save(folder / f"in/b/{i}.png")


def made(folder: Path, *flags: str, out: str = "out") -> Manifest:
    words = ["--input", str(folder / "in"), "--out", str(folder / out), *flags, "--split", "1", "0", "0"]
    return _shard(parse(MakeOptions(), "shard.py", words).located)[0]


@pytest.mark.parametrize("kind", ["palette", "grey"])
def test_sharding_names_label_maps_and_the_advice_keeps_their_ids(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs(tmp_path, palette_image() if kind == "palette" else Image.fromarray(IDS))
    manifest = made(tmp_path, "--layout", "pairs")
    assert manifest.made_by["palettes" if kind == "palette" else "faint"] == {"b": 3}
    _report(manifest, False, "out")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "--layout fields" in line]
    assert line.startswith("3 images (b) ")
    fields = ["--field", "a=a/{key}.png", "b:classes=b/{key}.png", "--classes", "b=5"]
    followed = made(tmp_path, "--layout", "fields", *fields, out="fields")
    assert not {"palettes", "faint"} & followed.made_by.keys()
    stored = _stored(tmp_path / "fields")
    assert np.array_equal(stored, IDS)


def _stored(folder: Path) -> np.ndarray:
    from i2i_core.data.format.manifest import DataSet
    from i2i_core.data.format.roles import value_of
    from i2i_core.data.reading.reader import Reader

    data = DataSet(str(folder))
    value = value_of(Reader(data, "train", "all").read([0], 1)[0], data.manifest.fields["b"])
    assert isinstance(value, np.ndarray)
    return value[..., 0]


def test_sharding_says_nothing_of_photographs(tmp_path: Path) -> None:
    pairs(tmp_path, Image.fromarray(noise(8, 8, 1)[..., 0]))
    assert not {"palettes", "faint"} & made(tmp_path, "--layout", "pairs").made_by.keys()


def test_sharding_counts_label_maps_by_domain(tmp_path: Path) -> None:
    for i in range(2):
        put(tmp_path / f"in/trainA/{i}.png", noise(8, 8))
        (tmp_path / "in/trainB").mkdir(exist_ok=True)
        palette_image().save(tmp_path / f"in/trainB/{i}.png")
    assert made(tmp_path, "--layout", "unpaired").made_by["palettes"] == {"image of B": 2}


def test_sharding_does_not_take_a_few_dark_images_for_label_maps(tmp_path: Path) -> None:
    pairs(tmp_path, Image.fromarray(IDS))
    Image.fromarray(noise(8, 8, 1)[..., 0]).save(tmp_path / "in/b/1.png")
    assert "faint" not in made(tmp_path, "--layout", "pairs", "--shard-samples", "1").made_by


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "MPO"])
def test_sharding_counts_animations_of_which_it_takes_the_first_frame(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A phone's MPO is a photograph with something beside it."""
    frames = [Image.fromarray(noise(8, 8, seed=i)) for i in range(2)]
    for side in ("trainA", "trainB"):
        (tmp_path / "in" / side).mkdir(parents=True)
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        (tmp_path / "in" / side / "1.png").write_bytes(data)
        (tmp_path / "in" / side / "2.png").write_bytes(saved(frames[1], "PNG" if kind == "MPO" else kind))
    manifest = made(tmp_path, "--layout", "unpaired", "--channels", "3")
    assert manifest.made_by.get("animated") == (None if kind == "MPO" else 2)
    _report(manifest, False, "out")
    assert ("2 samples held images of several frames" in capsys.readouterr().out) == (kind != "MPO")


def test_sharding_counts_pairs_whose_images_differ_in_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of one size, of another size and the same shape but for rounding, and of another shape."""
    for name, (a, b) in {"1": ((8, 8), (8, 8)), "2": ((101, 201), (50, 100)), "3": ((50, 36), (36, 50))}.items():
        put(tmp_path / f"in/a/{name}.png", noise(*a, 3))
        put(tmp_path / f"in/b/{name}.png", noise(*b, 3, seed=1))
    manifest = made(tmp_path, "--layout", "pairs")
    assert manifest.made_by.get("unequal") == 1
    _report(manifest, False, "out")
    assert "1 sample held images that differ in shape" in capsys.readouterr().out
    again = made(tmp_path, "--layout", "pairs", "--fit", "square", "--load-size", "16", "--overwrite")
    assert {(field.height, field.width) for field in again.fields.values()} == {(16, 16)}


def test_sharding_asks_whether_square_images_hold_a_and_b(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, shape in {"squares": (8, 8, 3), "pairs": (8, 16, 3)}.items():
        put(tmp_path / name / "in/1.png", noise(*shape))
        _report(made(tmp_path / name, "--layout", "ab"), False, "out")
        assert ("halves of 4x8 pixels, of square images" in capsys.readouterr().out) == (name == "squares")


@pytest.mark.parametrize("splits", [("train",), ("train", "test"), ("",)])
def test_sharding_says_where_the_folders_hold_train_alone(
    splits: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in splits:
        for side in "AB":
            name = f"{split}{side}" if split else f"domain_{side}"
            put(tmp_path / "in" / name / "1.png", noise(8, 8, 3))
    flags = ("--layout", "unpaired") if splits != ("",) else ("--layout", "classes")
    made(tmp_path, *flags)
    assert ("no val, no test" in capsys.readouterr().out) == (splits == ("train",))
