"""`--layout streets`: what becomes of the built-in streets in shards."""

from __future__ import annotations

import shlex
import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from i2i_core.cli import parse
from i2i_core.config.common import SHARD
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format.manifest import DataSet, Manifest
from i2i_core.data.format.roles import read_value
from i2i_core.data.worlds.streets import samples
from i2i_core.data.worlds.streets.samples import StreetOptions, drawn
from i2i_core.errors import ConfigError
from i2i_core.fields import Needs
from i2i_core.orchestration.sharding import shard_streets
from pipelines.shard import MakeOptions

SMALL = (24, 48)


def shard(folder: Path, **options: object) -> Manifest:
    return shard_streets(str(folder), StreetOptions(street_size=SMALL, **options))[0]  # type: ignore[arg-type]


def members(folder: Path) -> dict[str, dict[str, bytes]]:
    """Read all members of all samples, by key."""
    found: dict[str, dict[str, bytes]] = defaultdict(dict)
    for tar in sorted(folder.glob("*.tar")):
        with tarfile.open(tar) as file:
            for member in file:
                folder_, _, name = member.name.rpartition("/")
                key, _, rest = name.partition(".")
                content = file.extractfile(member)
                assert content
                found[f"{folder_}/{key}" if folder_ else key][rest] = content.read()
    return found


@pytest.mark.parametrize("shown", ["labels", "video", "pose", "captions"])
def test_streets_layout_stores_what_is_drawn(tmp_path: Path, shown: str) -> None:
    more = {"frames": 3} if shown in samples.CLIPS else {}
    manifest = shard(tmp_path, streets=shown, clips=3, **more)
    options = StreetOptions(streets=shown, street_size=SMALL, clips=3, **more)  # type: ignore[arg-type]
    assert sorted(manifest.fields) == sorted(samples.names_of(options))
    stored = members(tmp_path)
    assert len(stored) == 3 * options.length
    for sample in samples.listed(options):
        for name, source in zip(samples.names_of(options), sample.sources, strict=True):
            field = manifest.fields[name]
            data = stored[sample.key][field.extension if name == "image" else f"{name}.{field.extension}"]
            value, want = read_value(data, field, field.extension), drawn(name, source, 0)
            if isinstance(want, tuple):
                assert value == want
            else:
                assert np.array_equal(np.asarray(value), want), name
    assert manifest.clips == (shown in samples.CLIPS)


def test_streets_layout_twins_are_pairs_and_weather_is_classes(tmp_path: Path) -> None:
    pairs = shard(tmp_path / "twins", streets="twins", clips=4, conditions=("dusk", "rain"))
    assert pairs.kind == "paired"
    stored = members(tmp_path / "twins")["street000002"]
    for side, condition in (("a", "dusk"), ("b", "rain")):
        pixels = read_value(stored[f"{side}.png"], pairs.fields[side], "png")
        assert np.array_equal(np.asarray(pixels), drawn("image", f"48x24/2/0/{condition}", 0))
    classes = shard(tmp_path / "weather", streets="weather", clips=8)
    assert (classes.kind, classes.attributes, classes.exclusive) == (
        "labelled", ("day", "dusk", "night", "rain"), True,
    )  # fmt: skip


def test_streets_layout_labels_fit_a_method_that_reads_maps(tmp_path: Path) -> None:
    manifest = shard(tmp_path, clips=2)
    needs = Needs({"labels": "classes", "instances": "instances", "image": "image", "depth": "map", "boxes": "boxes"})
    assert needs.lacks(manifest) is None
    field = manifest.fields["labels"]
    assert (field.classes, len(field.names), field.palette[0]) == (12, 12, (128, 64, 128))


def test_streets_layout_keeps_clips_whole(tmp_path: Path) -> None:
    manifest = shard(tmp_path, streets="video", clips=10, frames=4)
    assert Needs({"image": "image", "flow": "flow"}, frames=4).lacks(manifest) is None
    found = find(
        LayoutOptions(layout="streets"), street=StreetOptions(streets="video", clips=10, frames=4, street_size=SMALL)
    )
    splits = defaultdict(set)
    for record in found.records:
        splits[record.clip].add(record.split)
    assert {len(some) for some in splits.values()} == {1}
    assert {split for some in splits.values() for split in some} == {"train", "val", "test"}


def test_streets_layout_goes_by_its_seed_and_says_when_it_is_done(tmp_path: Path) -> None:
    options = StreetOptions(street_size=SMALL, clips=2)
    one, _ = shard_streets(str(tmp_path / "a"), options)
    _, old = shard_streets(str(tmp_path / "a"), options)
    assert old
    shard_streets(str(tmp_path / "b"), options, seed=1)
    assert members(tmp_path / "a") != members(tmp_path / "b")
    assert one.made_by["streets"]["street_size"] == list(SMALL)
    assert DataSet(str(tmp_path / "a")).manifest.made_by["streets"]["clips"] == 2


def test_streets_layout_is_taken_from_flags() -> None:
    flags = "--layout streets --streets twins --street-size 128x64 --clips 5 --conditions day rain --out x"
    options = parse(MakeOptions(), "shard.py", shlex.split(flags), "", SHARD).streets
    assert options == StreetOptions("twins", (64, 128), 5, None, ("day", "rain"))


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"frames": 3}, "--frames"),
        ({"conditions": ("snow",)}, "--conditions"),
        ({"conditions": ("day", "day")}, "--conditions"),
        ({"streets": "twins", "conditions": ("day",)}, "--conditions"),
        ({"streets": "weather", "conditions": ("day",)}, "--conditions"),
        ({"street_size": 4}, "--street-size"),
        ({"street_size": (64, 9000)}, "--street-size"),
        ({"clips": 0}, "--clips"),
    ],
)
def test_streets_layout_refuses_options_by_name(options: dict[str, object], flag: str) -> None:
    with pytest.raises(ConfigError) as raised:
        StreetOptions(**options)  # type: ignore[arg-type]
    assert flag in str(raised.value)


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"direction": "BtoA"}, "--direction"),
        ({"annotations": ("json",)}, "--annotations"),
        ({"list_left_out": "x"}, "--list-left-out"),
    ],
)
def test_streets_layout_refuses_flags_of_folders(options: dict[str, object], flag: str) -> None:
    with pytest.raises(ConfigError) as raised:
        find(LayoutOptions(layout="streets", **options), street=StreetOptions(streets="twins", clips=2))  # type: ignore[arg-type]
    assert flag in str(raised.value)
