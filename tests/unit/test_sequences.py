"""Sequences of frames come from the stream as their order has them: from one clip, by one draw, whoever reads them.

pytest tests/unit/test_sequences.py
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i_core.batch import Batch, join
from i2i_core.config.data import DataConfig
from i2i_core.data.folders.declared import FieldOptions
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.shards import ShardOptions, plan
from i2i_core.data.reading.lanes import slots_of
from i2i_core.data.reading.stream import Stream, in_order
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.errors import ConfigError, DataError
from i2i_core.fields import Needs
from i2i_core.images.codec import ImageOptions
from i2i_core.orchestration.sharding import make
from tests.support.data import whole_index

from ..support.street import videos

LENGTHS = (7, 2, 5, 9, 3, 8)
FRAMES = 3
BATCH = 4
FIELDS = ("image=frames/{clip}/{frame}.png", "pose:points=pose/{clip}/{frame}.npy")


def clips(folder: Path, shard_samples: int = 12, fields: tuple[str, ...] = FIELDS) -> str:
    """A data set of clips in several shards."""
    videos(folder / "in", LENGTHS)
    layout = LayoutOptions(layout="fields", input=str(folder / "in"), split=(1, 0, 0))
    goal = ShardOptions(out=str(folder / "out"), shard_samples=shard_samples)
    found = find(layout, None, FieldOptions(field=fields))
    make(plan(found, layout, GlyphOptions(), ImageOptions(), goal), goal, 0)
    return goal.out


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return clips(tmp_path_factory.mktemp("clips"))


def stream_of(uri: str, frames: int = FRAMES, image_size: int = 0, **config: Any) -> Stream:
    needs = Needs({"image": "image", "pose": "points"}, frames=frames)
    return Stream(DataSet(uri), DataConfig(**{"flip": False, **config}), image_size, BATCH, 0, needs=needs)


def played(stream: Stream, world: int, loaders: int, first: int, n: int) -> list[Batch]:
    parts = [islice(stream.batches(first, slots_of(BATCH, r, world), loaders), n) for r in range(world)]
    return [join(together) for together in zip(*parts, strict=True)]


def seen(batch: Batch) -> list[tuple[int, list[int]]]:
    """(clip, frames) of each sequence, by the pixels; the frames' other fields agree."""
    image, pose = batch["image"], batch["pose"]
    assert image.ndim == 5
    assert (image == image[..., :1, :1]).all(), "every pixel says the same"
    of_frame = image[:, :, :, 0, 0].long()
    assert (pose[:, :, 0, 0].long() == of_frame[:, :, 1]).all()
    found = []
    for clip_and_frames in of_frame:
        (clip,) = set(clip_and_frames[:, 0].tolist())
        found.append((clip, clip_and_frames[:, 1].tolist()))
    return found


@pytest.mark.parametrize("stride", [1, 2])
def test_sequences_start_once_an_epoch_and_follow_in_their_clip(data: str, stride: int) -> None:
    stream = stream_of(data, frame_stride=stride)
    starts = {(c, f) for c, n in enumerate(LENGTHS) for f in range(n - (FRAMES - 1) * stride)}
    assert stream.batches_per_epoch == len(starts) // BATCH
    found = [one for t in range(stream.batches_per_epoch) for one in seen(stream.read(t, 0, BATCH))]
    for _, frames in found:
        assert np.diff(frames).tolist() == [stride] * (FRAMES - 1)
    begun = [(clip, frames[0]) for clip, frames in found]
    assert len({*begun}) == len(begun)
    assert {*begun} <= starts
    assert len(starts) - len(begun) < BATCH


@pytest.mark.parametrize("stride", [1, 2])
def test_sequences_in_order_stand_one_after_the_other(data: str, stride: int) -> None:
    needs = Needs({"image": "image", "pose": "points"}, frames=FRAMES)
    reach = (FRAMES - 1) * stride
    expected = sorted((c, f) for c, n in enumerate(LENGTHS) for f in range(0, n - reach, reach + 1))
    for size in (2, 100):
        batches = list(in_order(DataSet(data), "train", 0, size=size, needs=needs, frame_stride=stride))
        assert len(batches) == -(-len(expected) // size)
        found = [one for batch in batches for one in seen(replace(batch, fields=as_stored(batch)))]
        assert sorted((clip, frames[0]) for clip, frames in found) == expected
        assert all(np.diff(frames).tolist() == [stride] * (FRAMES - 1) for _, frames in found)
    (first,) = in_order(DataSet(data), "train", 0, most=3, needs=needs, frame_stride=stride)
    assert first.keys == tuple(key for batch in batches for key in batch.keys)[:3]


def as_stored(batch: Batch) -> dict[str, torch.Tensor]:
    """The fields of a batch with images as bytes."""
    return {**batch.fields, "image": (batch["image"] * 127.5 + 127.5).round()}


def test_sequences_of_one_frame_have_no_axis_of_frames(data: str) -> None:
    batch = stream_of(data, frames=1).read(0, 0, BATCH)
    assert batch["image"].shape == (BATCH, 3, 24, 32)
    assert batch["pose"].shape == (BATCH, 2, 2)


@pytest.mark.processes  # loaders
@pytest.mark.parametrize(("world", "loaders"), [(2, 0), (3, 0), (1, 2)])
def test_sequences_do_not_depend_on_workers_or_loaders(data: str, world: int, loaders: int) -> None:
    one = played(stream_of(data, image_size=16, flip=True, load_size=20), 1, 0, 0, 9)
    many = played(stream_of(data, image_size=16, flip=True, load_size=20), world, loaders, 0, 9)
    for a, b in zip(one, many, strict=True):
        assert a.keys == b.keys
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["pose"], b["pose"])


def test_sequences_have_all_frames_cut_and_mirrored_alike(tmp_path: Path) -> None:
    """Every frame of a clip shows the same noise, so frames that are cut alike are equal."""
    videos(tmp_path / "in", LENGTHS)
    rng = np.random.default_rng(0)
    for folder in sorted((tmp_path / "in/frames").iterdir()):
        noise = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        for place in folder.iterdir():
            Image.fromarray(noise).save(place)
    layout = LayoutOptions(layout="fields", input=str(tmp_path / "in"), split=(1, 0, 0))
    goal = ShardOptions(out=str(tmp_path / "out"))
    make(plan(find(layout, None, FieldOptions(field=FIELDS)), layout, GlyphOptions(), ImageOptions(), goal), goal, 0)
    stream = stream_of(goal.out, image_size=12, load_size=18, flip=True)
    images = torch.cat([stream.read(t, 0, BATCH)["image"] for t in range(stream.batches_per_epoch)])
    assert (images == images[:, :1]).all()
    assert len(images.flatten(1).unique(dim=0)) > len(LENGTHS), "sequences of one clip are cut differently"


def test_sequences_with_a_bad_frame_are_replaced_as_a_whole(tmp_path: Path) -> None:
    uri = clips(tmp_path)
    data = DataSet(uri)
    index, column = whole_index(data, "train"), list(data.manifest.fields).index("image")
    row = next(row for row, key in enumerate(index.keys) if key == "c3/4")
    with open(Path(uri, index.shard[row]), "r+b") as tar:
        tar.seek(int(index.offset[row, column]))
        tar.write(bytes(int(index.size[row, column])))
    stream = stream_of(uri, lanes=BATCH)
    batches = [stream.read(t, 0, BATCH) for t in range(stream.batches_per_epoch)]
    found = [one for batch in batches for one in seen(batch)]
    assert len(found) == stream.batches_per_epoch * BATCH
    assert (3, [2, 3, 4]) not in found
    assert not any(clip == 3 and 4 in frames for clip, frames in found)
    bad = [bad for batch in batches for bad in batch.bad]
    assert {one.key for one in bad} == {"c3/4"}, "the frame, whichever sequence it would be in"
    assert all(one.instead for one in bad)


def test_sequences_take_a_frame_of_another_size_for_a_bad_one(tmp_path: Path) -> None:
    """Where images come as they are stored; brought to one size they go together."""
    videos(tmp_path / "in", (6, 20))
    Image.new("RGB", (32, 24)).resize((64, 48)).save(tmp_path / "in/frames/c0/3.png")
    layout = LayoutOptions(layout="fields", input=str(tmp_path / "in"), split=(1, 0, 0))
    goal, fields = ShardOptions(out=str(tmp_path / "out")), FieldOptions(field=FIELDS)
    make(plan(find(layout, None, fields), layout, GlyphOptions(), ImageOptions(), goal), goal, 0)
    stream = stream_of(goal.out, lanes=BATCH, window=8)
    bad = [bad for t in range(stream.batches_per_epoch) for bad in stream.read(t, 0, BATCH).bad]
    assert bad
    assert all("where the first frame has (24, 32, 3)" in one.cause or "(48, 64, 3)" in one.cause for one in bad)
    resized = stream_of(goal.out, image_size=16)
    assert not any(resized.read(t, 0, BATCH).bad for t in range(resized.batches_per_epoch))


def test_sequences_refuse_a_stride_where_samples_stand_alone(data: str) -> None:
    with pytest.raises(ConfigError, match="--frame-stride: found 2; expected 1: samples stand alone"):
        stream_of(data, frames=1, frame_stride=2)


def test_sequences_refuse_data_without_a_clip_so_long(data: str, labelled: str) -> None:
    with pytest.raises(DataError, match=r"6 clips, all shorter than 10 rows; expected a clip that holds 10 frames"):
        stream_of(data, frames=10)
    lack = Needs({"image": "image"}, frames=2).lacks(DataSet(labelled).manifest)
    assert lack is not None
    assert "clips, of which 2 frames at a time are read" in lack.expected
