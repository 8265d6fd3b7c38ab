"""A run that enlarges its images says so, and the flags that it advises train at their own size."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from i2i_core.config.run import TrainConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.training.enlarging import caution, stored_size
from i2i_core.training.preparing import prepare, warn

from ..support.data import noise, put, shard

TRAIN = {"split": (1.0, 0.0, 0.0)}


def data_of(kind: str, tmp_path: Path, *size: int) -> DataSet:
    """Shard two images of a size for a kind of method."""
    for name in ("1", "2"):
        put(tmp_path / f"a/{name}.png", noise(*size, 3))
        put(tmp_path / f"b/{name}.png", noise(*size, 3))
    shard(kind, tmp_path / "a", tmp_path / "out", input_b=str(tmp_path / "b"), split=(0.5, 0.5, 0.0))
    return DataSet(str(tmp_path / "out"))


def config_of(method: str, preset: str, data: DataSet, tmp_path: Path) -> TrainConfig:
    config = TrainConfig.of(method, preset).with_section("data", uri=data.uri)
    config = config.with_section("launch", storage=str(tmp_path / "runs"))
    return config.with_section("training", images=8, epochs=0.0)


@pytest.mark.parametrize("preset", ["paper", "reference"])
@pytest.mark.parametrize(("method", "kind"), [("pix2pix", "pairs"), ("cyclegan", "unpaired")])
@pytest.mark.parametrize(("side", "advised"), [(64, 64), (50, None)])
def test_caution_of_enlarged_images_gives_flags_that_a_run_takes(
    method: str, kind: str, preset: str, side: int, advised: int | None, tmp_path: Path, said: list[str]
) -> None:
    data = data_of(kind, tmp_path, side, side)
    config = config_of(method, preset, data, tmp_path)
    warn(prepare(config))
    (line,) = [line for line in said if "enlarged" in line]
    assert f"are {side}x{side}; this run trains at 256x256 (resized to 286 and cropped): they are enlarged" in line
    assert f"enlarged {256 / side:.3g} times" in line
    flags = {name: int(value) for name, value in re.findall(r"--([a-z-]+) (\d+)", line)}
    assert flags.keys() == {"image-size", "load-size"}
    assert advised is None or flags["image-size"] == advised
    assert side / 2 < flags["image-size"] <= side
    config = config.with_section("hyper", image_size=flags["image-size"])
    config = config.with_section("data", load_size=flags["load-size"])
    said.clear()
    warn(prepare(config))
    assert not [line for line in said if "enlarged" in line]


def test_caution_is_silent_where_images_are_large_enough(tmp_path: Path) -> None:
    data = data_of("pairs", tmp_path, 240, 300)
    assert not caution(config_of("pix2pix", "paper", data, tmp_path), [data])


def test_caution_reads_the_first_image_where_sizes_differ(tmp_path: Path) -> None:
    put(tmp_path / "in/1.png", noise(30, 80, 3))
    put(tmp_path / "in/2.png", noise(40, 80, 3))
    shard("ab", tmp_path / "in", tmp_path / "out", **TRAIN)
    data = DataSet(str(tmp_path / "out"))
    assert data.manifest.fields["a"].height == 0
    size = stored_size(data, "train")
    assert size in ((30, 40), (40, 40))
    assert "enlarged" in caution(config_of("pix2pix", "paper", data, tmp_path), [data])


def test_caution_leaves_advice_out_where_stages_say_sizes(tmp_path: Path) -> None:
    data = data_of("pairs", tmp_path, 64, 64)
    config = config_of("pix2pix", "paper", data, tmp_path)
    assert "stages" in {f.name for f in fields(config.training)}
    config = config.with_section("training", stages=("images=4 size=128", "size=256"))
    said = caution(config, [data])
    assert "enlarged 4 times" in said
    assert "--" not in said
