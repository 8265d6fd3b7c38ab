"""Data without the split that a run is measured on: said at launch and in the evaluation, refused where asked for.

pytest tests/integration/test_cautions.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from i2i_core import cli
from i2i_core.config.run import TrainConfig
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format.shards import ShardOptions, plan
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.errors import ConfigError, DataError
from i2i_core.images.codec import ImageOptions
from i2i_core.orchestration.sharding import make
from i2i_core.runs.folder import RunFolder
from i2i_core.training.preparing import warn
from pipelines import train

from ..support.data import noise, put, shard
from ..support.runs import config_of, loop_of

Warnings = Callable[[TrainConfig], list[str]]


@pytest.fixture
def warnings(said: list[str]) -> Warnings:
    """What a person is warned of before a run starts."""

    def of(config: TrainConfig) -> list[str]:
        said.clear()
        warn(config)
        return [line for line in said if line.startswith("WARNING")]

    return of


def glyphs(out: Path, kind: Any, split: tuple[float, float, float]) -> str:
    glyph, goal = GlyphOptions(glyphs=kind, size=16, characters=60), ShardOptions(out=str(out))
    layout = LayoutOptions(layout="glyphs", split=split)
    make(plan(find(layout, glyph), layout, glyph, ImageOptions(), goal), goal, 0)
    return str(out)


@pytest.mark.parametrize(("method", "kind"), [("cyclegan", "unpaired"), ("pix2pix", "paired"), ("stargan", "labelled")])
def test_data_without_val_is_cautioned_of_once_and_as_advised_no_more(
    method: str, kind: str, storage: str, tmp_path: Path, warnings: Warnings
) -> None:
    data = glyphs(tmp_path / "without", kind, (0.9, 0.0, 0.1))
    config = config_of(method, data, storage, training__images=12)
    (said,) = warnings(config)
    assert said.startswith(f"WARNING: {data} has no split 'val'")
    assert "the best checkpoint go by the split 'train', which the run also trains on" in said
    loop = loop_of(config)
    loop.train()
    report = loop.run.read_json(RunFolder.LAST_EVALUATION)
    for one in report.values():
        assert one["split"] == "train"
        assert "which the run also trains on" in one["warning"]
    assert "give --evaluate-split test" in said
    assert warnings(config_of(method, data, storage, monitoring__evaluate_split="test")) == []
    assert "`--split 0.9 0.05 0.05`" in said
    with_val = glyphs(tmp_path / "with", kind, (0.9, 0.05, 0.05))
    assert warnings(config_of(method, with_val, storage)) == []


def test_data_with_val_is_reported_without_a_warning(labelled: str, storage: str, warnings: Warnings) -> None:
    config = config_of("stargan", labelled, storage, training__images=12)
    assert warnings(config) == []
    loop = loop_of(config)
    loop.train()
    (report,) = loop.run.read_json(RunFolder.LAST_EVALUATION).values()
    assert report["split"] == "val"
    assert "warning" not in report


def test_data_in_folders_without_val_is_cautioned_of_until_there_are_some(
    tmp_path: Path, storage: str, warnings: Warnings
) -> None:
    for number in range(8):
        for side in "AB":
            put(tmp_path / f"in/train{side}/{number}.png", noise(16, 16, 1))
    shard("unpaired", tmp_path / "in", tmp_path / "one")
    (said,) = warnings(config_of("cyclegan", str(tmp_path / "one"), storage))
    assert "--evaluate-split" not in said, "there is no other split"
    assert "valA and valB folders" in said
    for side in "AB":
        put(tmp_path / f"in/val{side}/0.png", noise(16, 16, 1))
    shard("unpaired", tmp_path / "in", tmp_path / "two")
    assert warnings(config_of("cyclegan", str(tmp_path / "two"), storage)) == []


def test_data_of_several_sets_is_cautioned_of_where_one_has_no_val(
    labelled: str, storage: str, tmp_path: Path, warnings: Warnings
) -> None:
    for number in range(8):
        for name in ("cat", "dog"):
            put(tmp_path / f"in/train/{name}/{number}.png", noise(16, 16, 1))
    shard("classes", tmp_path / "in", other := str(tmp_path / "other"))
    (said,) = warnings(config_of("stargan", labelled, storage, data__also=(other,)))
    assert f"{other} has no split 'val'" in said
    assert labelled not in said


def test_split_that_is_asked_for_and_not_there_is_refused(labelled: str, storage: str, warnings: Warnings) -> None:
    with pytest.raises(ConfigError, match="--evaluate-split: found 'vla'") as caught:
        config_of("stargan", labelled, storage, monitoring__evaluate_split="vla")
    assert "Did you mean val?" in caught.value.fix
    config_of("stargan", labelled, storage, monitoring__evaluate_split="val")
    assert warnings(config_of("stargan", labelled, storage, monitoring__evaluate_split="train")) == [], (
        "it was asked for"
    )


def test_caution_is_on_the_screen_once(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = glyphs(tmp_path / "without", "labelled", (0.9, 0.0, 0.1))
    capsys.readouterr()
    small = ["--method", "stargan", "--preset", "demo", "--image-size", "16", "--d-layers", "3", "--dry-run"]
    monkeypatch.setattr(sys, "argv", ["train.py", *small, "--data", data, "--storage", storage])
    with pytest.raises(SystemExit) as ended:
        cli.main(train.run)
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.count("has no split 'val'") == 1
    assert json.loads(out[out.index("\n{") :])["monitoring"]["evaluate_split"] == "val"


def test_prepare_refuses_a_split_without_one_of_two_domains_and_its_advice_works(tmp_path: Path) -> None:
    """All images of A are of one group, which goes to train whole; B's are each their own."""
    for i in range(40):
        put(tmp_path / f"in/a/one_{i}.png", noise(16, 16, 3))
        put(tmp_path / f"in/b/b{i}_x.png", noise(16, 16, 3))
    a, b = str(tmp_path / "in/a"), str(tmp_path / "in/b")
    where = LayoutOptions(layout="unpaired", input=a, input_b=b, group_by="^[^_]+")
    found = find(where)
    (note,) = (note for note in found.notes if note.startswith("nothing"))
    assert note.startswith("nothing of domain A is in val and test, as its groups are larger than their shares")
    to = ShardOptions(out=str(tmp_path / "data"))
    make(plan(found, where, GlyphOptions(), ImageOptions(), to), to, 0)
    data, runs = str(tmp_path / "data"), str(tmp_path / "runs")
    with pytest.raises(DataError, match=r"--evaluate-split: found val, in which .* has nothing of domain A") as caught:
        config_of("cyclegan", data, runs)
    assert caught.value.fix.startswith("Give --evaluate-split train, or shard the images again")
    config_of("cyclegan", data, runs, monitoring__evaluate_split="train")
