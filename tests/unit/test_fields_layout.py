"""Samples of every role from their files to a batch: `shard.py --layout fields`.

pytest tests/unit/test_fields_layout.py
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i_core.batch import Bad
from i2i_core.config.data import DataConfig
from i2i_core.data.folders.declared import FieldOptions, declared
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format.manifest import DataSet, Manifest
from i2i_core.data.format.refined import Made, plan_refined, stored, write_refined
from i2i_core.data.format.shards import ShardOptions, begin, conclude, plan
from i2i_core.data.reading.stream import Stream, in_order
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.errors import ConfigError, DataError
from i2i_core.fields import Needs
from i2i_core.images.codec import ImageOptions
from i2i_core.images.previews import columns_of
from i2i_core.images.sheet import contact_sheet
from i2i_core.methods import METHODS
from i2i_core.orchestration.sharding import builtin_data, make
from pipelines import shard as program
from tests.support.data import whole_index

from ..support.data import sums
from ..support.runs import config_of, loop_of
from ..support.street import NAMES, SIZE, street, videos, write_sample

ROOT = Path(__file__).parents[2]
EVERY = (
    "image=images/{key}.png", "labels:classes=labels/{key}_ids.png", "inst:instances=inst/{key}.png",
    "depth:map=depth/{key}.png", "objects:boxes=objects/{key}.json", "captions:text=captions/{key}.txt",
)  # fmt: skip
CLIPS = ("image=frames/{clip}/{frame}.png",)
DECLARED: dict[str, Any] = {
    "field": EVERY, "classes": ("labels=3", "objects=3"), "ignore": ("labels=255",), "range": ("depth=0:655.35",),
    "no_flip": ("captions",),
}  # fmt: skip


def made(
    source: Path,
    out: Path,
    images: ImageOptions | None = None,
    goal: dict[str, Any] | None = None,
    split: Any = (1, 0, 0),
    **fields: Any,
) -> Manifest:
    layout = LayoutOptions(layout="fields", input=str(source), split=split)
    to = ShardOptions(out=str(out), **(goal or {}))
    found = find(layout, None, FieldOptions(**fields))
    return make(plan(found, layout, GlyphOptions(), images or ImageOptions(), to), to, 0)[0]


# ---- the example of docs/data.md ----


def example(starts: str) -> tuple[list[str], str]:
    """A command of docs/data.md and the line that it prints at the end."""
    text = (ROOT / "docs/data.md").read_text()
    (command,) = re.findall(rf"^    (python pipelines/shard\.py {starts}(?:.*\\\n)*.*)$", text, re.MULTILINE)
    printed = re.search(r"It prints, at the end:\n\n    (.*)\n", text)
    assert printed
    return shlex.split(command.replace("\\\n", " "))[2:], printed[1]


def run(arguments: list[str], at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(at)
    monkeypatch.setattr(sys, "argv", ["shard.py", *arguments, "--workers", "0"])
    assert program.run() == 0


def test_fields_layout_runs_the_worked_example_of_the_docs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    street(tmp_path / "street")
    arguments, printed = example("--layout fields --input street")
    run(arguments, tmp_path, monkeypatch)
    assert printed in capsys.readouterr().out.splitlines()
    fields = DataSet(str(tmp_path / "data/street")).manifest.fields
    assert fields["labels"].names == NAMES
    assert fields["objects"].frame == "image"


def test_fields_layout_runs_the_example_of_clips_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos(tmp_path / "videos", (3, 4, 2))
    run(example("--layout fields --input videos")[0], tmp_path, monkeypatch)
    manifest = DataSet(str(tmp_path / "data/videos")).manifest
    assert manifest.clips
    assert manifest.fields["pose"].pairs == ((0, 1),)


# ---- values survive ----


def test_fields_of_every_role_survive_from_file_to_batch(tmp_path: Path) -> None:
    truth = street(tmp_path / "street", 7)
    made(tmp_path / "street", tmp_path / "out", goal={"shard_samples": 3}, **DECLARED)
    seen = 0
    for batch in in_order(DataSet(str(tmp_path / "out")), "train", 0, size=2):
        assert not batch.bad
        for i, key in enumerate(batch.keys):
            values: dict[str, Any] = truth[key]
            assert np.array_equal(((batch["image"][i] + 1) * 127.5).round().permute(1, 2, 0).numpy(), values["image"])
            assert np.array_equal(batch["labels"][i, 0].numpy(), values["labels"])
            assert np.array_equal(batch["inst"][i, 0].numpy(), values["inst"])
            assert np.allclose(batch["depth"][i, 0].numpy(), values["depth"] / 100, atol=1e-3)
            assert batch.boxes["objects"][i].tolist() == values["objects"]
            assert batch.texts["captions"][i] == tuple(values["captions"])
            seen += 1
    assert seen == 7


def test_fields_are_the_same_for_any_shards_and_the_same_command(tmp_path: Path) -> None:
    street(tmp_path / "street", 5)
    first = made(tmp_path / "street", tmp_path / "out", goal={"shard_samples": 2}, **DECLARED)
    before = sums(tmp_path / "out")
    again = made(tmp_path / "street", tmp_path / "out", goal={"shard_samples": 2}, **DECLARED)
    assert (again, sums(tmp_path / "out")) == (first, before)
    shutil.rmtree(tmp_path / "out")
    made(tmp_path / "street", tmp_path / "out", goal={"shard_samples": 2}, **DECLARED)
    assert sums(tmp_path / "out") == before


def test_stream_augments_fields_alike_for_any_part_of_a_batch(tmp_path: Path) -> None:
    street(tmp_path / "street", 9)
    made(tmp_path / "street", tmp_path / "out", **DECLARED)
    stream = Stream(DataSet(str(tmp_path / "out")), DataConfig(load_size=20, flip=False), 16, 3, 0)
    whole = stream.read(1, 0, 3)
    parts = [stream.read(1, i, i + 1) for i in range(3)]
    assert whole["labels"].shape == (3, 1, 16, 16)
    assert set(whole["labels"].unique().tolist()) <= {0, 1, 2, 255}
    for name in whole.fields:
        assert torch.equal(whole[name], torch.cat([part[name] for part in parts]))
    assert whole.texts["captions"] == tuple(part.texts["captions"][0] for part in parts)


def test_stream_refuses_to_mirror_what_may_not_be(tmp_path: Path) -> None:
    street(tmp_path / "street", 3)
    made(tmp_path / "street", tmp_path / "out", **DECLARED)
    with pytest.raises(ConfigError, match="--flip: found on, with captions") as caught:
        Stream(DataSet(str(tmp_path / "out")), DataConfig(), 16, 1, 0)
    assert "--no-flip" in str(caught.value)


def test_contact_sheet_shows_a_batch_of_every_role(tmp_path: Path) -> None:
    """As it is stored and as it is used alike."""
    street(tmp_path / "street", 3)
    made(tmp_path / "street", tmp_path / "out", **DECLARED)
    stream = Stream(DataSet(str(tmp_path / "out")), DataConfig(flip=False), 0, 3, 0)
    stored = stream.read(0, 0, 3)
    fields = stream.sources[0].fields
    columns, used = columns_of(stored, fields), columns_of(stored.to(torch.device("cpu")), fields)
    assert columns.keys() == fields.keys()
    for name, column in columns.items():
        assert all(torch.equal(a, b) for a, b in zip(column, used[name], strict=True))
        assert all(x.shape[0] == 3 and float(x.abs().max()) <= 1 for x in column)
    assert torch.equal(columns["image"][0], stored.to(torch.device("cpu"))["image"][0])
    assert columns["objects"][0].shape == columns["image"][0].shape
    assert contact_sheet(columns).width > 6 * 96


def test_stream_reads_what_a_method_needs_and_no_more(tmp_path: Path) -> None:
    street(tmp_path / "street", 3)
    made(tmp_path / "street", tmp_path / "out", **DECLARED)
    data = DataSet(str(tmp_path / "out"))
    needs = Needs({"labels": "classes", "objects": "boxes", "instances?": "instances"})
    batch = Stream(data, DataConfig(), 16, 2, 0, needs=needs).read(0, 0, 2)  # mirrored: captions are not read
    assert batch.fields.keys() == {"image", "labels"}
    assert (batch.boxes.keys(), batch.texts) == ({"objects"}, {})


def pairs_and_more(folder: Path) -> tuple[str, str]:
    """Two data sets of the same pairs; the second has every other role besides."""
    street(folder / "street", 20)
    sides = "a=images/{key}.png", "b=depth/{key}.png"
    split = (0.8, 0.1, 0.1)
    made(folder / "street", folder / "pairs", split=split, goal={"shard_samples": 6}, field=sides)
    every = {**DECLARED, "field": (*EVERY, *sides)}
    made(folder / "street", folder / "more", split=split, goal={"shard_samples": 6}, **every)
    return str(folder / "pairs"), str(folder / "more")


def test_stream_gives_pairs_the_same_order_and_pixels_beside_other_fields(tmp_path: Path) -> None:
    pairs, more = pairs_and_more(tmp_path)
    needs, config = METHODS["pix2pix"].method.needs, DataConfig(load_size=18)
    one, other = (Stream(DataSet(uri), config, 16, 4, 0, needs=needs) for uri in (pairs, more))
    assert one.batches_per_epoch == 4
    for t in range(6):
        a, b = one.read(t, 0, 4), other.read(t, 0, 4)
        assert (a.keys, a.fields.keys()) == (b.keys, b.fields.keys())
        assert all(torch.equal(a[name], b[name]) for name in "ab")


def test_fields_beside_a_pair_do_not_keep_a_method_from_training(tmp_path: Path) -> None:
    """It decodes its pairs alone; captions, which may not be mirrored, are no matter. It is measured, too."""
    _, more = pairs_and_more(tmp_path)
    sizes = {"training__images": 12, "training__batch": 4, "monitoring__checkpoint_every": 12}
    loop = loop_of(config_of("pix2pix", more, str(tmp_path / "runs"), monitoring__grid_every=12, **sizes))
    loop.train()
    assert loop.state.progress.images == 12
    with pytest.raises(DataError, match="found fields samples"):
        made(tmp_path / "street", tmp_path / "scene", **DECLARED)
        config_of("cyclegan", str(tmp_path / "scene"), str(tmp_path / "runs"))


def test_stream_replaces_a_sample_whose_label_map_went_bad(tmp_path: Path) -> None:
    street(tmp_path / "street", 6)
    made(tmp_path / "street", tmp_path / "out", **DECLARED)
    data = DataSet(str(tmp_path / "out"))
    column, index = list(data.manifest.fields).index("labels"), whole_index(data, "train")
    with open(tmp_path / "out/train-000000.tar", "r+b") as tar:
        tar.seek(int(index.offset[0, column]) + 40)
        tar.write(b"\xff" * 40)
    stream = Stream(data, DataConfig(flip=False, lanes=1), 16, 1, 0)
    (bad,) = [bad for t in range(6) for bad in stream.read(t, 0, 1).bad]
    assert bad.key == index.keys[0]
    assert bad.instead in set(index.keys[1:])


def test_refined_data_set_carries_the_other_fields_over(tmp_path: Path) -> None:
    """With one image replaced and one left out; its clips end where a frame is missing."""
    videos(tmp_path / "in", (4,))
    made(tmp_path / "in", tmp_path / "out", field=(*CLIPS, "pose:points=pose/{clip}/{frame}.npy"))
    data = DataSet(str(tmp_path / "out"))
    column = list(data.manifest.fields).index("image")
    work = plan_refined(data, "train", "all", column, {})

    def white(rows: Any) -> dict[int, Made | Bad]:
        new = stored(np.full((*SIZE, 3), 255, np.uint8), data.manifest.fields["image"])
        return {row: Bad("x", "bad") if row == 1 else Made(*new, ()) for row in rows}

    goal = str(tmp_path / "refined")
    begin(work, goal)
    parts = {job.name: write_refined(goal, data, column, job, white, 2) for job in work.jobs}
    conclude(work, goal, parts, (), False, ("all",), work.made_by)
    refined = DataSet(goal)
    assert refined.manifest.fields == data.manifest.fields
    (batch,) = in_order(refined, "train", 0)
    assert batch["image"].unique().tolist() == [1]
    assert batch["pose"][:, 0, 0].tolist() == [0, 2, 3]
    assert whole_index(refined, "train").clip == [0, 1, 1]


# ---- what cannot be ----


def broken(source: Path, key: str, **values: Any) -> None:
    truth = street(source, 4)
    write_sample(source, key, {**truth[key], **values})


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an id": ({"labels": np.full(SIZE, 7, np.uint8)}, r"labels/0002_ids.png.*the id 7 at row 0, column 0"),
    "a box": (
        {"objects": [[0, 0, 99, 4, 1]]},
        r"objects/0002.json.*box 0, 0 0 99 4, which reaches out of a picture of 32 x 24",
    ),
    "a class": ({"objects": [[0, 0, 9, 4, 3]]}, "of class 3, where classes are 0 to 2"),
    "a caption": ({"captions": [""]}, "captions/0002.txt.*0 captions"),
    "another shape": (
        {"depth": np.zeros((9, 9), np.uint16)},
        "depth/0002.png.*depth of 9x9 pixels beside image of 24x32",
    ),
    "a label map in colour": ({"labels": np.zeros((*SIZE, 3), np.uint8)}, "a palette says what its colours mean"),
}


@pytest.mark.parametrize("case", BAD)
def test_fields_layout_stops_at_a_bad_sample_or_leaves_it_out(case: str, tmp_path: Path) -> None:
    values, cause = BAD[case]
    broken(tmp_path / "street", "0002", **values)
    with pytest.raises(DataError, match=cause):
        made(tmp_path / "street", tmp_path / "out", **DECLARED)
    manifest = made(tmp_path / "street", tmp_path / "out", goal={"bad": "skip"}, **DECLARED)
    assert manifest.splits["train"]["all"].samples == 3
    (line,) = manifest.made_by["left_out"]
    assert re.search(cause.split(".*")[-1], line)


@pytest.mark.parametrize("gone", ["labels/0002_ids.png", "images/0002.png", "captions/0002.txt"])
def test_fields_layout_names_a_sample_that_misses_a_file(gone: str, tmp_path: Path) -> None:
    street(tmp_path / "street", 4)
    (tmp_path / "street" / gone).unlink()
    with pytest.raises(DataError, match=gone):
        made(tmp_path / "street", tmp_path / "out", **DECLARED)
    manifest = made(tmp_path / "street", tmp_path / "out", goal={"bad": "skip"}, **DECLARED)
    assert manifest.splits["train"]["all"].samples == 3


def test_fields_layout_refuses_vectors_of_several_shapes(tmp_path: Path) -> None:
    videos(tmp_path, (2,))
    np.save(tmp_path / "pose/c0/1.npy", np.zeros((3, 2), np.float32))
    with pytest.raises(
        DataError, match=r"a vector of shape \(3, 2\) as npy, while .* holds a vector of shape \(2, 2\)"
    ):
        made(
            tmp_path, tmp_path / "out", field=("image=frames/{clip}/{frame}.png", "pose:points=pose/{clip}/{frame}.npy")
        )


FLAGS: dict[str, tuple[dict[str, Any], str]] = {
    "no field": ({}, "--field: found nothing"),
    "no pattern": ({"field": ("image",)}, "--field: found 'image'; expected NAME=PATTERN"),
    "a role": ({"field": ("image:picture={key}.png",)}, "of role picture"),
    "a place": ({"field": ("image={name}.png",)}, "with {name}"),
    "no key": ({"field": ("image=x.png",)}, "{key}, or {clip} and {frame}"),
    "a frame alone": ({"field": ("image={frame}.png",)}, "{key}, or {clip} and {frame}"),
    "out of the input": ({"field": ("image=../{key}.png",)}, "with a path below --input"),
    "several places": ({"field": ("image={key}.png", "b={split}/{key}.png")}, "the same {places}"),
    "twice": ({"field": ("image={key}.png", "image=b/{key}.png")}, "each field once"),
    "no classes": ({"field": ("l:classes={key}.png",)}, "l:classes without a number of classes"),
    "classes of no field": ({"field": ("image={key}.png",), "classes": ("3",)}, "could be of no field"),
    "classes of an image": ({"field": ("image={key}.png",), "classes": ("image=3",)}, "of a field of role image"),
    "an unknown field": ({"field": ("l:classes={key}.png",), "classes": ("m=3",)}, "found 'm'"),
    "a text file of classes": ({"field": ("l:classes={key}.png",), "classes": ("l=no.txt",)}, "which cannot be read"),
    "a range": ({"field": ("d:map={key}.npy",), "range": ("d=3",)}, "LOW:HIGH"),
    "a range upside down": ({"field": ("d:map={key}.npy",), "range": ("d=3:1",)}, "a range from 3.0 to 1.0"),
    "pairs": ({"field": ("l:classes={key}.png",), "classes": ("3",), "flip_pairs": ("1-2",)}, "pairs of numbers"),
    "pairs beyond": ({"field": ("l:classes={key}.png",), "classes": ("3",), "flip_pairs": ("1:3",)}, "below 3"),
    "text in pictures": ({"field": ("t:text={key}.png",)}, "end in .txt or .json"),
    "points in no picture": ({"field": ("p:points={key}.npy",)}, "p and no picture"),
}  # fmt: skip


@pytest.mark.parametrize("case", FLAGS)
def test_declared_fields_that_cannot_be_are_refused_by_their_flag(case: str) -> None:
    options, cause = FLAGS[case]
    with pytest.raises(ConfigError, match=re.escape(cause)):
        declared(FieldOptions(**options))


def test_declared_value_without_a_name_is_for_the_one_field_it_can_mean() -> None:
    (found, _) = declared(
        FieldOptions(field=("l:classes={key}.png", "m={key}.jpg"), classes=("3",), flip_pairs=("1:2",))
    )
    assert (found.field.classes, found.field.pairs) == (3, ((1, 2),))


def test_palette_gives_classes_names_and_ids_of_colours(tmp_path: Path) -> None:
    (tmp_path / "palette.txt").write_text("# id r g b\n0 0 0 0 void\n1 128 0 0 roof\n\n1 129 0 0\n255 9 9 9 unknown\n")
    flags: dict[str, Any] = {"palette": (str(tmp_path / "palette.txt"),), "ignore": ("255",)}
    (found,) = declared(FieldOptions(field=("l:classes=l/{key}.png",), **flags))
    assert (found.field.classes, found.field.names) == (2, ("void", "roof"))
    assert found.field.palette == ((0, 0, 0), (128, 0, 0))
    assert dict(found.colours) == {0: 0, 0x800000: 1, 0x810000: 1, 0x090909: 255}
    (tmp_path / "l").mkdir()
    Image.fromarray(np.array([[[129, 0, 0], [9, 9, 9]]], np.uint8)).save(tmp_path / "l/x.png")
    made(tmp_path, tmp_path / "out", field=("l:classes=l/{key}.png",), **flags)
    (batch,) = in_order(DataSet(str(tmp_path / "out")), "train", 0)
    assert batch["l"].tolist() == [[[[1, 255]]]]
    (tmp_path / "palette.txt").write_text("0 0 0 0\n1 0 0 0\n")
    with pytest.raises(ConfigError, match="a colour that has another id above"):
        declared(FieldOptions(field=("l:classes=l/{key}.png",), palette=(str(tmp_path / "palette.txt"),)))


def test_palette_keeps_a_class_that_another_label_map_ignores(tmp_path: Path) -> None:
    (tmp_path / "palette.txt").write_text("0 0 0 0\n1 128 0 0\n2 9 9 9\n")
    fields = ("l:classes=l/{key}.png", "m:classes=m/{key}.png")
    flags: dict[str, Any] = {"palette": (f"l={tmp_path / 'palette.txt'}",), "classes": ("m=2",), "ignore": ("m=2",)}
    one, other = declared(FieldOptions(field=fields, **flags))
    assert (one.field.classes, one.field.ignore) == (3, None)
    assert (other.field.classes, other.field.ignore) == (2, 2)


def test_load_size_and_center_crop_bring_every_field_to_the_size_of_the_images(tmp_path: Path) -> None:
    """24 x 32, the middle 16 x 16 of it, in 8 x 8: nearest for ids, averages for depth, half the numbers for boxes."""
    truth = street(tmp_path / "street", 3)
    images = ImageOptions(center_crop=16, load_size=8)
    manifest = made(tmp_path / "street", tmp_path / "out", images, **DECLARED)
    assert {(f.height, f.width) for f in manifest.fields.values() if f.height} == {(8, 8)}
    (batch,) = in_order(DataSet(str(tmp_path / "out")), "train", 0)
    for i, key in enumerate(batch.keys):
        values: dict[str, Any] = truth[key]
        assert np.array_equal(batch["labels"][i, 0].numpy(), values["labels"][4:20, 8:24][1::2, 1::2])
        assert np.array_equal(batch["inst"][i, 0].numpy(), values["inst"][4:20, 8:24][1::2, 1::2])
        assert abs(float(batch["depth"][i].mean()) - values["depth"][4:20, 8:24].mean() / 100) < 20
        for x0, y0, x1, y1, of in values["objects"]:
            corners = np.clip([x0 - 8, y0 - 4, x1 - 8, y1 - 4], 0, 16) / 2
            if corners[0] < corners[2] and corners[1] < corners[3]:
                assert batch.boxes["objects"][i][0].tolist() == [*corners, of]
            else:
                assert not len(batch.boxes["objects"][i])


def test_load_size_resizes_a_coarser_map_with_the_image_and_center_crop_refuses_it(tmp_path: Path) -> None:
    street(tmp_path / "street", 2)
    for i in range(2):
        Image.fromarray(np.full((12, 16), 7, np.uint16)).save(tmp_path / f"street/depth/{i:04d}.png")
    fields = ("image=images/{key}.png", "depth:map=depth/{key}.png")
    manifest = made(tmp_path / "street", tmp_path / "out", ImageOptions(load_size=9, fit="shorter"), field=fields)
    assert [(f.height, f.width) for f in manifest.fields.values()] == [(9, 12), (9, 12)]
    (batch,) = in_order(DataSet(str(tmp_path / "out")), "train", 0)
    assert batch["depth"].unique().tolist() == [7]
    with pytest.raises(DataError, match="depth of 12x16 pixels beside image of 24x32, of which --center-crop"):
        made(tmp_path / "street", tmp_path / "other", ImageOptions(center_crop=8), field=fields)


def test_fields_a_and_b_alone_are_pairs(tmp_path: Path) -> None:
    street(tmp_path / "street", 3)
    manifest = made(tmp_path / "street", tmp_path / "out", field=("a=images/{key}.png", "b=inst/{key}.png"))
    assert manifest.kind == "paired"


def test_fields_layout_takes_domains_and_splits_in_patterns(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for domain in ("zebra", "horse"):
            (tmp_path / split / domain).mkdir(parents=True)
            for name in ("1", "2.x"):
                pixels = np.full((4, 4, 3), domain == "zebra", np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / domain / f"{name}.png")
                Image.fromarray(pixels[..., 0]).save(tmp_path / split / domain / f"{name}_l.bmp")
    fields = ("image={split}/{domain}/{key}.png", "l:classes={split}/{domain}/{key}_l.bmp")
    manifest = made(tmp_path, tmp_path / "out", field=fields, classes=("2",))
    assert (manifest.kind, manifest.domains, sorted(manifest.splits)) == ("unpaired", ("A", "B"), ["train", "val"])
    (batch,) = in_order(DataSet(str(tmp_path / "out")), "val", 0, direction="BtoA")
    assert sorted(batch.keys) == ["1", "2_x"]
    assert batch["a.l"].unique().tolist() == [1]
    assert batch["b.l"].unique().tolist() == [0]


def test_fields_layout_gives_a_file_to_the_pattern_that_says_more(tmp_path: Path) -> None:
    """Pictures and label maps side by side in one folder."""
    for key in ("1", "2"):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / f"{key}.png")
        Image.fromarray(np.ones((4, 4), np.uint8)).save(tmp_path / f"{key}_ids.png")
    manifest = made(tmp_path, tmp_path / "out", field=("image={key}.png", "l:classes={key}_ids.png"), classes=("2",))
    assert manifest.splits["train"]["all"].samples == 2


def test_fields_layout_takes_classes_in_patterns(tmp_path: Path) -> None:
    for label in ("owl", "cat"):
        (tmp_path / label).mkdir()
        for name in ("1", "2"):
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / label / f"{name}.png")
            (tmp_path / label / f"{name}.txt").write_text(f"a picture of a {label}")
    manifest = made(tmp_path, tmp_path / "out", field=("image={class}/{key}.png", "text:text={class}/{key}.txt"))
    assert (manifest.kind, manifest.attributes, manifest.exclusive) == ("labelled", ("cat", "owl"), True)
    (batch,) = in_order(DataSet(str(tmp_path / "out")), "train", 0)
    assert sorted(batch.keys) == ["cat/1", "cat/2", "owl/1", "owl/2"]
    for key, label, (text,) in zip(batch.keys, batch["labels"].tolist(), batch.texts["text"], strict=True):
        assert text == f"a picture of a {key[:3]}"
        assert label == [int(key[:3] == "cat"), int(key[:3] == "owl")]


# ---- clips ----


def frames(uri: Path) -> list[tuple[int, str, int]]:
    """(shard, key, clip) of each sample, in order."""
    data = DataSet(str(uri))
    shards, index = data.manifest.splits["train"]["all"].shards, whole_index(data, "train")
    numbers = np.repeat(np.arange(len(shards)), shards.samples).tolist()
    return list(zip(numbers, index.keys, index.clip, strict=True))


def test_clips_stay_together_with_frames_by_number(tmp_path: Path) -> None:
    videos(tmp_path, (12, 3, 4, 2))
    made(tmp_path, tmp_path / "out", goal={"shard_samples": 14}, field=CLIPS)
    found = frames(tmp_path / "out")
    assert len(found) == 21
    runs: dict[int, list[tuple[int, str]]] = {}
    for shard, key, clip in found:
        runs.setdefault(clip, []).append((shard, key))
    assert len(runs) == 4
    for run in runs.values():
        assert len({shard for shard, _ in run}) == 1
        name = run[0][1].split("/")[0]
        assert [key for _, key in run] == [f"{name}/{i}" for i in range(len(run))]


def test_clip_longer_than_a_shard_is_cut_with_overlap(tmp_path: Path) -> None:
    videos(tmp_path, (10,))
    made(tmp_path, tmp_path / "out", goal={"shard_samples": 4}, field=CLIPS, clip_overlap=1)
    assert [(shard, int(key[3:]), clip) for shard, key, clip in frames(tmp_path / "out")] == [
        *((0, i, 0) for i in (0, 1, 2, 3)), *((1, i, 1) for i in (3, 4, 5, 6)), *((2, i, 2) for i in (6, 7, 8, 9)),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="--clip-overlap: found 4; expected less than a shard's 4 samples"):
        made(tmp_path, tmp_path / "other", goal={"shard_samples": 4}, field=CLIPS, clip_overlap=4)


def test_clip_that_lacks_a_frame_is_two_runs(tmp_path: Path) -> None:
    videos(tmp_path, (5, 2))
    (tmp_path / "frames/c0/2.png").write_bytes(b"no image")
    made(tmp_path, tmp_path / "out", goal={"bad": "skip"}, field=CLIPS)
    by_clip: dict[int, list[str]] = {}
    for _, key, clip in frames(tmp_path / "out"):
        by_clip.setdefault(clip, []).append(key)
    assert sorted(by_clip.values()) == [["c0/0", "c0/1"], ["c0/3", "c0/4"], ["c1/0", "c1/1"]]


def test_clips_are_not_cut_by_splits(tmp_path: Path) -> None:
    videos(tmp_path, (3,) * 10)
    manifest = made(tmp_path, tmp_path / "out", split=(0.6, 0.2, 0.2), field=CLIPS)
    assert {split: sets["all"].samples for split, sets in manifest.splits.items()} == {"train": 18, "val": 6, "test": 6}


def test_fields_of_flow_points_vectors_and_maps_survive(tmp_path: Path) -> None:
    """And follow the mirror, which is drawn for some of the samples."""
    rng = np.random.default_rng(0)
    truth: dict[str, dict[str, np.ndarray]] = {}
    for name in ("image", "flow", "pose", "code", "heat"):
        (tmp_path / name).mkdir()
    for i in range(6):
        values = truth[str(i)] = {
            "flow": rng.standard_normal((6, 8, 2)).astype(np.float32),
            "pose": np.append(rng.random((2, 2)) * 6, [[2], [1]], axis=1).astype(np.float32),
            "code": rng.standard_normal((2, 3)),
            "heat": rng.random((6, 8, 2)).astype(np.float16),
        }
        Image.fromarray(rng.integers(0, 256, (6, 8), dtype=np.uint8)).save(tmp_path / f"image/{i}.png")
        for name, x in values.items():
            np.save(tmp_path / name / f"{i}.npy", x)
    fields = (
        "image=image/{key}.png",
        "flow:flow=flow/{key}.npy",
        "pose:points=pose/{key}.npy",
        "code:vector=code/{key}.npy",
    )
    made(
        tmp_path, tmp_path / "out", field=(*fields, "heat:map=heat/{key}.npy"),
        flip_pairs=("pose=0:1", "heat=0:1"), range=("heat=0:1",),
    )  # fmt: skip
    batch = Stream(DataSet(str(tmp_path / "out")), DataConfig(), 0, 6, 0).read(0, 0, 6).to(torch.device("cpu"))
    flipped = 0
    for i, key in enumerate(batch.keys):
        x = truth[key]
        found = {name: batch[name][i].numpy() for name in x}
        assert np.array_equal(found["code"], x["code"].astype(np.float32))
        if np.array_equal(found["pose"], x["pose"]):
            assert np.array_equal(found["flow"].transpose(1, 2, 0), x["flow"])
            assert np.array_equal(found["heat"].transpose(1, 2, 0), x["heat"].astype(np.float32))
        else:
            flipped += 1
            assert np.array_equal(found["flow"].transpose(1, 2, 0), x["flow"][:, ::-1] * np.array([-1, 1], np.float32))
            assert np.array_equal(found["heat"].transpose(1, 2, 0), x["heat"][:, ::-1, ::-1].astype(np.float32))
            mirrored = x["pose"][::-1] * np.array([-1, 1, 1], np.float32) + np.array([8, 0, 0], np.float32)
            assert np.allclose(found["pose"], mirrored)
    assert 0 < flipped < 6


def test_builtin_data_has_no_fields_beside_glyphs() -> None:
    with pytest.raises(ConfigError, match="--data: found nothing"):
        builtin_data(Needs({"labels": "classes"}).kind, 16, {})


def test_fields_of_points_are_in_the_pixels_of_their_own_domain(tmp_path: Path) -> None:
    for domain, width in (("horse", 8), ("zebra", 16)):
        (tmp_path / domain).mkdir()
        for key in "12":
            Image.fromarray(np.zeros((8, width, 3), np.uint8)).save(tmp_path / domain / f"{key}.png")
            np.save(tmp_path / domain / f"{key}.npy", np.array([[width, 8]], np.float32))
    fields = "image={domain}/{key}.png", "pose:points={domain}/{key}.npy"
    made(tmp_path, tmp_path / "out", field=fields)
    stream = Stream(DataSet(str(tmp_path / "out")), DataConfig(flip=False, direction="BtoA", fit="square"), 4, 2, 0)
    assert [source.fields[f"{side}.pose"].frame for side, source in zip("ab", stream.sources, strict=True)] == [
        "a",
        "b",
    ]
    batch = stream.read(0, 0, 2)
    assert batch.fields.keys() == {"a", "b", "a.pose", "b.pose"}
    assert batch["a.pose"].tolist() == batch["b.pose"].tolist() == [[[4, 4]], [[4, 4]]]
