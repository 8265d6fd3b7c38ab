"""Images that differ in colour or transparency alone are stored with the channels that hold all of them.

pytest tests/unit/test_mixed.py
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from i2i_core.data.format.manifest import DataSet, Manifest
from i2i_core.errors import DataError
from i2i_core.images.codec import ImageOptions
from i2i_core.orchestration import sharding

from ..support.data import noise, put, sample, shard, sums, whole_index

ALL_TRAIN = {"split": (1.0, 0.0, 0.0)}
KEEP = ImageOptions(keep_alpha=True)
SIDE = 4


def images(folder: Path, channels: str) -> dict[str, np.ndarray]:
    """Write an image for each digit, with so many channels, into the folder of one class."""
    made = {f"{i}": noise(SIDE, SIDE, int(n)) for i, n in enumerate(channels)}
    for key, x in made.items():
        put(folder / f"in/c/{key}.png", x)
    return made


def made(folder: Path, options: ImageOptions | None = None, per_shard: int = 100, out: str = "out") -> Manifest:
    return shard("classes", folder / "in", folder / out, options, goal={"shard_samples": per_shard}, **ALL_TRAIN)


def stored(folder: Path) -> dict[str, np.ndarray]:
    keys = whole_index(DataSet(str(folder / "out")), "train").keys
    return {key.rpartition("/")[2]: sample(folder / "out", key)[0] for key in keys}


@pytest.mark.parametrize("per_shard", [1, 2, 100])
def test_grey_among_colour_is_stored_as_colour_and_counted(tmp_path: Path, per_shard: int) -> None:
    before = images(tmp_path, "1331")
    manifest = made(tmp_path, per_shard=per_shard)
    assert manifest.fields["image"].channels == 3
    assert manifest.made_by["converted"] == 2
    found = stored(tmp_path)
    for key, x in before.items():
        assert np.array_equal(found[key], np.repeat(x, 3, axis=2) if x.shape[2] == 1 else x)


ALONE = [("1", 1), ("3", 3), ("2", 2), ("4", 4), ("13", 3), ("12", 2), ("34", 4), ("14", 4), ("23", 4), ("24", 4)]


@pytest.mark.parametrize(("kinds", "channels"), ALONE)
def test_channels_hold_colour_and_transparency_of_all(tmp_path: Path, kinds: str, channels: int) -> None:
    """Whatever the order of the images, and whatever shard they are in."""
    for number, order in enumerate(itertools.permutations(kinds * 2)):
        if number % 9 == 0:
            folder = tmp_path / str(number)
            before = images(folder, "".join(order))
            assert made(folder, KEEP, 1 + number % 3).fields["image"].channels == channels
            for key, x in stored(folder).items():
                colours = before[key][..., : 1 if before[key].shape[2] < 3 else 3]
                alpha = before[key][..., -1:] if before[key].shape[2] in (2, 4) else np.full((SIDE, SIDE, 1), 255)
                wide = np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 and channels > 2 else colours
                assert np.array_equal(x, np.concatenate([wide, alpha], axis=2) if channels in (2, 4) else wide)


def test_each_field_of_pairs_has_channels_of_its_own(tmp_path: Path) -> None:
    for key, (a, b) in enumerate([(1, 1), (1, 3), (1, 1)]):
        put(tmp_path / f"in/a/{key}.png", noise(SIDE, SIDE, a))
        put(tmp_path / f"in/b/{key}.png", noise(SIDE, SIDE, b))
    manifest = shard("pairs", tmp_path / "in", tmp_path / "out", goal={"shard_samples": 1}, **ALL_TRAIN)
    assert (manifest.fields["a"].channels, manifest.fields["b"].channels) == (1, 3)
    assert manifest.made_by["converted"] == 2


def test_bytes_do_not_depend_on_how_often_the_job_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time each shard was written already, some as grey: stopped before they were written again."""
    images(tmp_path, "113311")
    made(tmp_path, per_shard=2)
    passes = []
    each = sharding.pool.each

    def once(units: Any, *rest: Any) -> Any:
        if passes:
            raise KeyboardInterrupt
        passes.append(units)
        return each(units, *rest)

    monkeypatch.setattr(sharding.pool, "each", once)
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, per_shard=2, out="stopped")
    monkeypatch.undo()
    made(tmp_path, per_shard=2, out="stopped")
    assert sums(tmp_path / "out") == sums(tmp_path / "stopped")


def test_channels_given_are_those_of_all(tmp_path: Path) -> None:
    images(tmp_path, "13")
    manifest = made(tmp_path, ImageOptions(channels=1))
    assert manifest.fields["image"].channels == 1
    assert "converted" not in manifest.made_by


def test_images_of_other_depth_are_refused_as_before(tmp_path: Path) -> None:
    images(tmp_path, "1")
    Image.fromarray(np.arange(16, dtype=np.uint16).reshape(4, 4)).save(tmp_path / "in/c/deep.png")
    with pytest.raises(DataError, match="Convert the files to one number of bits"):
        made(tmp_path)


TREES = {
    "ab": ("1.png", "2.png", "3.png"),
    "pairs": ("a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png", "b/3.png"),
    "unpaired": ("trainA/1.png", "trainA/2.png", "trainA/3.png", "trainB/1.png", "trainB/2.png"),
    "classes": ("cat/1.png", "cat/2.png", "dog/1.png"),
    "celeba": ("img/1.png", "img/2.png", "img/3.png"),
}


@pytest.mark.parametrize("layout", TREES)
@pytest.mark.parametrize(("asked", "channels"), [(None, 3), (1, 1), (3, 3)])
def test_grey_among_colour_is_stored_as_colour_in_every_layout(
    tmp_path: Path, layout: str, asked: Any, channels: int
) -> None:
    """Unless --channels says otherwise; which image is the grey one plays no part."""
    for i, name in enumerate(TREES[layout]):
        put(tmp_path / "in" / name, noise(SIDE, 2 * SIDE, 1 if i == 1 else 3))
    if layout == "celeba":
        rows = "".join(f"{i}.png 1 -1\n" for i in (1, 2, 3))
        (tmp_path / "in/list_attr_celeba.txt").write_text(f"3\nMale Young\n{rows}")
    options = {"attributes": ("Male", "Young")} if layout == "celeba" else {}
    manifest = shard(
        layout, tmp_path / "in", tmp_path / "out", ImageOptions(channels=asked), goal={"shard_samples": 1},
        **ALL_TRAIN, **options,
    )  # fmt: skip
    assert {field.channels for field in manifest.fields.values()} == {channels}
    assert manifest.made_by.get("converted", 0) == (asked is None)


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_among_colour_of_16_bits_follows_the_advice(tmp_path: Path, channels: Any) -> None:
    for i, n in enumerate((1, 3)):
        put(tmp_path / f"in/c/{i}.npy", noise(SIDE, SIDE, n, dtype="uint16"))
    with pytest.raises(DataError, match="--channels 3 \\(colour\\) or --channels 1 \\(grey\\)"):
        made(tmp_path)
    assert made(tmp_path, ImageOptions(channels=channels)).fields["image"].channels == channels


def test_images_of_many_channels_are_not_told_to_convert(tmp_path: Path) -> None:
    """--channels converts no more than four."""
    put(tmp_path / "in/c/0.npy", noise(SIDE, SIDE, 5))
    put(tmp_path / "in/c/1.npy", noise(SIDE, SIDE, 3))
    with pytest.raises(DataError) as refused:
        made(tmp_path)
    assert refused.value.fix == "Shard them into different data sets."
    (tmp_path / "in/c/0.npy").rename(tmp_path / "0.npy")
    assert made(tmp_path).fields["image"].channels == 3
