"""Folders of label maps as people have them: Cityscapes, ADE20K, COCO-Stuff, pix2pixHD's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from i2i_core.data.folders.declared import FieldOptions, declared
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.folders.palettes import PALETTES
from i2i_core.data.format.manifest import Manifest
from i2i_core.data.format.shards import ShardOptions, plan
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.errors import ConfigError, DataError
from i2i_core.fields import Needs
from i2i_core.images.codec import ImageOptions
from i2i_core.orchestration.sharding import make

SIZE = 12, 16
TREES: dict[str, tuple[str, str, str]] = {
    "cityscapes": (
        "leftImg8bit/{split}/ulm/ulm_{n}_leftImg8bit.png",
        "gtFine/{split}/ulm/ulm_{n}_gtFine_labelIds.png",
        "gtFine/{split}/ulm/ulm_{n}_gtFine_instanceIds.png",
    ),
    "ade20k": ("images/{split}ing/ADE_{n}.jpg", "annotations/{split}ing/ADE_{n}.png", ""),
    "coco-stuff": ("{split}_img/{n}.jpg", "{split}_label/{n}.png", "{split}_inst/{n}.png"),
    "pix2pixhd": ("{split}_img/{n}.jpg", "{split}_label/{n}.png", "{split}_inst/{n}.png"),
}
CLASSES = {"cityscapes": 35, "ade20k": 151, "coco-stuff": 182, "pix2pixhd": 35}


def write(folder: Path, layout: str, samples: int = 3, ids: int | None = None) -> Path:
    """Write a folder of a layout, of two splits."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for n in range(samples):
            values = (
                rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
                rng.integers(0, ids or CLASSES[layout], SIZE, dtype=np.uint8),
                rng.integers(0, 30000, SIZE, dtype=np.uint16),
            )
            for pattern, x in zip(TREES[layout], values, strict=True):
                if pattern:
                    place = folder / pattern.format(split=split, n=f"{n:06d}")
                    place.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(x).save(place)
    return folder


def made(layout: str, source: Path, out: Path, **fields: Any) -> Manifest:
    where, to = LayoutOptions(layout=layout, input=str(source)), ShardOptions(out=str(out))  # type: ignore[arg-type]
    found = find(where, None, FieldOptions(**fields))
    return make(plan(found, where, GlyphOptions(), ImageOptions(), to), to, 0)[0]


@pytest.mark.parametrize("layout", sorted(TREES))
def test_label_maps_of_known_folders_become_fields(tmp_path: Path, layout: str) -> None:
    manifest = made(layout, write(tmp_path / "in", layout), tmp_path / "out")
    needs = {"labels": "classes", "image": "image"} | ({"instances": "instances"} if TREES[layout][2] else {})
    assert Needs(needs).lacks(manifest) is None
    assert manifest.fields.keys() == needs.keys()
    assert manifest.fields["labels"].classes == CLASSES[layout]
    assert {split: of["all"].samples for split, of in manifest.splits.items()} == {"train": 3, "test": 3}


def test_label_maps_of_cityscapes_have_its_names_and_colours(tmp_path: Path) -> None:
    field = made("cityscapes", write(tmp_path / "in", "cityscapes"), tmp_path / "out").fields["labels"]
    assert (field.names[7], field.palette[7]) == ("road", (128, 64, 128))
    assert (field.names[26], field.palette[26]) == ("car", (0, 0, 142))


def test_label_maps_without_instances_have_none(tmp_path: Path) -> None:
    source = write(tmp_path / "in", "pix2pixhd")
    for place in [*source.glob("*_inst/*")]:
        place.unlink()
    assert made("pix2pixhd", source, tmp_path / "out").fields.keys() == {"image", "labels"}


def test_label_maps_missing_from_one_sample_stop_the_job_by_name(tmp_path: Path) -> None:
    source = write(tmp_path / "in", "pix2pixhd")
    (source / "train_inst/000001.png").unlink()
    with pytest.raises(DataError, match=r"train_inst/000001\.png"):
        made("pix2pixhd", source, tmp_path / "out")


def test_label_maps_with_an_id_too_many_name_file_id_and_pixel(tmp_path: Path) -> None:
    source = write(tmp_path / "in", "pix2pixhd", ids=30)
    x = np.array(Image.open(source / "train_label/000002.png"))
    x[5, 9] = 35
    Image.fromarray(x).save(source / "train_label/000002.png")
    with pytest.raises(DataError) as raised:
        made("pix2pixhd", source, tmp_path / "out")
    said = str(raised.value)
    for part in ("train_label/000002.png", "the id 35 at row 5, column 9", "--classes", "--ignore"):
        assert part in said
    assert made("pix2pixhd", source, tmp_path / "out", classes=("labels=36",)).fields["labels"].classes == 36


def test_label_maps_of_coco_may_hold_255_for_unknown(tmp_path: Path) -> None:
    source = write(tmp_path / "in", "coco-stuff")
    x = np.full(SIZE, 255, np.uint8)
    Image.fromarray(x).save(source / "train_label/000000.png")
    assert made("coco-stuff", source, tmp_path / "out").fields["labels"].ignore == 255


def test_label_maps_of_another_shape_than_their_photo_are_named(tmp_path: Path) -> None:
    source = write(tmp_path / "in", "ade20k")
    Image.fromarray(np.zeros((30, 16), np.uint8)).save(source / "annotations/training/ADE_000001.png")
    with pytest.raises(DataError) as raised:
        made("ade20k", source, tmp_path / "out")
    said = str(raised.value)
    for part in ("ADE_000001.png", "30x16", "12x16", "resize the map"):
        assert part in said


def test_label_maps_in_colour_become_ids_by_a_palette_of_a_name(tmp_path: Path) -> None:
    source = write(tmp_path / "in", "cityscapes", ids=30)
    colours = np.array([colour for _, colour, _ in PALETTES["cityscapes"]], np.uint8)
    for place in source.glob("gtFine/*/*/*labelIds.png"):
        Image.fromarray(colours[np.array(Image.open(place))]).save(place)
    manifest = made("cityscapes", source, tmp_path / "out")
    assert manifest.fields["labels"].dtype == "uint8"
    x = np.zeros((*SIZE, 3), np.uint8)
    x[3, 4] = (1, 2, 3)
    place = source / "gtFine/train/ulm/ulm_000001_gtFine_labelIds.png"
    Image.fromarray(x).save(place)
    with pytest.raises(DataError) as raised:
        made("cityscapes", source, tmp_path / "other")
    said = str(raised.value)
    for part in ("ulm_000001_gtFine_labelIds.png", "#010203 at row 3, column 4", "--palette"):
        assert part in said


def test_palettes_by_name_take_each_colour_to_its_first_id() -> None:
    one = declared(FieldOptions(field=("m:classes={key}.png",), palette=("cityscapes",)))[0]
    colours = dict(one.colours)
    assert colours[0x804080] == 7
    assert colours[0x999999] == 17
    with pytest.raises(ConfigError, match="cityscapes or streets"):
        declared(FieldOptions(field=("m:classes={key}.png",), palette=("cityscape",)))


def test_label_maps_refuse_another_folder_and_flags_that_do_not_fit(tmp_path: Path) -> None:
    source = write(tmp_path / "in", "pix2pixhd")
    with pytest.raises(DataError, match="leftImg8bit/SPLIT"):
        made("cityscapes", source, tmp_path / "out")
    with pytest.raises(ConfigError, match="--layout fields"):
        made("pix2pixhd", source, tmp_path / "out", field=("image={key}.png",))
