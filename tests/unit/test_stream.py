"""What comes next does not depend on who reads it, nor on where reading began.

pytest tests/unit/test_stream.py
"""

from __future__ import annotations

import pickle
import shutil
import tempfile
from collections.abc import Iterator
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
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.shards import ShardOptions, plan
from i2i_core.data.reading.ahead import Ahead
from i2i_core.data.reading.lanes import lane_bytes, slots_of
from i2i_core.data.reading.reader import Reader
from i2i_core.data.reading.stream import Alternating, Stream, in_order
from i2i_core.data.reading.transforms import resized
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.errors import ConfigError, DataError, ResourceError
from i2i_core.images.codec import ImageOptions
from i2i_core.orchestration.sharding import make, shard_glyphs
from i2i_core.sizes import Resizing
from tests.support.data import whole_index

from ..support import data as made

BATCH = 6
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def unpaired(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = str(tmp_path_factory.mktemp("data") / "unpaired")
    shard_glyphs(out, "unpaired", 16, characters=60)
    return out


def stream_of(uri: str, **config: Any) -> Stream:
    return Stream(DataSet(uri), DataConfig(load_size=20, **config), 16, BATCH, 0)


def played(stream: Stream, world: int, loaders: int, first: int, n: int) -> list[Batch]:
    """n global batches from `first`, put together from the parts that `world` workers read."""
    parts = [islice(stream.batches(first, slots_of(BATCH, r, world), loaders), n) for r in range(world)]
    return [join(together) for together in zip(*parts, strict=True)]


def same(a: Batch, b: Batch) -> bool:
    return (
        a.keys == b.keys
        and (a.images, a.source) == (b.images, b.source)
        and all(torch.equal(a.fields[k], b.fields[k]) for k in a.fields)
        and all(torch.equal(a.whole[k], b.whole[k]) for k in a.whole)
    )


@pytest.mark.processes  # loaders
@pytest.mark.parametrize(("world", "loaders"), [(2, 0), (3, 0), (1, 2), (2, 1)])
@pytest.mark.parametrize("kind", ["labelled", "paired", "unpaired"])
def test_stream_is_the_same_for_any_workers_and_loaders(
    kind: str, world: int, loaders: int, request: pytest.FixtureRequest
) -> None:
    stream = stream_of(request.getfixturevalue(kind))
    one, many = played(stream, 1, 0, 0, 5), played(stream, world, loaders, 0, 5)
    assert all(same(a, b) for a, b in zip(one, many, strict=True))


def test_stream_read_from_a_position_equals_having_come_there(labelled: str) -> None:
    stream = stream_of(labelled)
    assert same(played(stream, 1, 0, 0, 9)[-1], played(stream_of(labelled), 1, 0, 8, 1)[0])


def test_stream_differs_by_epoch_in_order_and_augmentation(paired: str) -> None:
    stream = stream_of(paired)
    once, again = stream.read(0, 0, BATCH), stream.read(stream.batches_per_epoch, 0, BATCH)
    assert once.keys != again.keys
    epochs = [
        {key: batch.fields["a"][i] for batch in played(stream, 1, 0, first, 40) for i, key in enumerate(batch.keys)}
        for first in (0, stream.batches_per_epoch)
    ]
    shared = set(epochs[0]) & set(epochs[1])
    assert sum(not torch.equal(epochs[0][k], epochs[1][k]) for k in shared) > len(shared) / 2


def test_stream_augments_both_sides_of_a_pair_alike(paired: str) -> None:
    """The outline's dark pixels stay inside the filled shape, whatever the crop and the flip."""
    for batch in played(stream_of(paired), 1, 0, 0, 5):
        a, b = (batch.fields[k].float().mean(1) for k in "ab")
        for outline, filled in zip(a, b, strict=True):
            ink, paper = filled.min(), filled.max()
            drawn = outline < paper - 0.6 * (paper - ink)
            assert (filled[drawn] < paper - 0.2 * (paper - ink)).float().mean() > 0.95


def test_stream_gives_unpaired_domains_orders_of_their_own(unpaired: str) -> None:
    stream = stream_of(unpaired, crop="none", flip=False)
    a, b = stream.sources
    orders = [[s.order.locate(t, 0)[1] for t in range(5)] for s in (a, b)]
    assert orders[0] != orders[1]
    turned = stream_of(unpaired, crop="none", flip=False, direction="BtoA").read(0, 0, BATCH)
    assert torch.equal(turned.fields["a"], stream.read(0, 0, BATCH).fields["b"])


def test_stream_keeps_labels_with_images_and_gives_all_to_every_part(labelled: str) -> None:
    data = DataSet(labelled)
    index = whole_index(data, "train")
    label = dict(zip(index.keys, index.labels, strict=True))
    stream = stream_of(labelled)
    for batch in played(stream, 1, 0, 0, 4):
        assert np.array_equal(batch.whole["labels"].numpy(), [label[k] for k in batch.keys])
    part = stream.read(2, 3, 5)
    assert torch.equal(part.whole["labels"], stream.read(2, 0, BATCH).whole["labels"])
    assert torch.equal(part["labels"], part.whole["labels"][3:5])


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> str:
    """360 images of one class, dark, and 36 of another, bright."""
    folder = tmp_path_factory.mktemp("uneven")
    for name, count, value in (("common", 360, 10), ("rare", 36, 200)):
        for number in range(count):
            made.put(folder / f"in/train/{name}/{number}.png", np.full((16, 16, 1), value, np.uint8))
    made.shard("classes", folder / "in", folder / "out")
    return str(folder / "out")


def test_stream_balances_classes_whoever_reads_them(uneven: str) -> None:
    stream, plain = stream_of(uneven, balance=True, lanes=BATCH), stream_of(uneven)
    assert stream.batches_per_epoch == plain.batches_per_epoch
    one, two = (played(stream_of(uneven, balance=True, lanes=BATCH), world, 0, 0, 132) for world in (1, 2))
    assert all(same(a, b) for a, b in zip(one, two, strict=True))
    for batch in one:
        assert (batch.fields["image"].flatten(1).amin(1) > 100).tolist() == (batch.whole["labels"][:, 1] == 1).tolist()
    rare = torch.cat([batch.whole["labels"][:, 1] for batch in one]).float().mean().item()
    assert rare == pytest.approx(0.5, abs=0.03)
    seldom = torch.cat([plain.read(t, 0, BATCH).whole["labels"][:, 1] for t in range(60)]).float().mean().item()
    assert seldom == pytest.approx(36 / 396, abs=0.04)


def test_stream_refuses_balance_where_samples_have_no_class(labelled: str) -> None:
    with pytest.raises(ConfigError, match=r"--balance: found .* with attributes serif, bold, .*; expected a class"):
        stream_of(labelled, balance=True)


def test_stream_replaces_an_unreadable_sample_and_nothing_else_shifts(labelled: str, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(labelled, tmp_path / "broken"))
    data = DataSet(str(broken))
    shards, index = data.shard_set("train").shards, whole_index(data, "train")
    row = 17
    with (broken / shards[0].name).open("r+b") as tar:
        tar.seek(int(index.offset[row, 0]) + 20)
        tar.write(b"\0" * 30)
    key = index.keys[row]
    good, bad = stream_of(labelled), stream_of(str(broken))
    found = 0
    for t in range(good.batches_per_epoch):
        whole, hurt = good.read(t, 0, BATCH), bad.read(t, 0, BATCH)
        assert hurt.keys == whole.keys
        for i, name in enumerate(whole.keys):
            if name == key:
                found += 1
                assert [b.key for b in hurt.bad] == [key]
                assert not torch.equal(hurt.fields["image"][i], whole.fields["image"][i])
            else:
                assert torch.equal(hurt.fields["image"][i], whole.fields["image"][i])
    assert found == 1
    assert sum(len(b.bad) for b in in_order(data, "train", 16)) == 1


def test_stream_without_a_good_sample_in_a_window_is_one_error(labelled: str, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(labelled, tmp_path / "broken"))
    data = DataSet(str(broken))
    index = whole_index(data, "train")
    for shard in data.shard_set("train").shards:
        with (broken / shard.name).open("r+b") as tar:
            for offset in index.offset[:, 0]:
                tar.seek(int(offset))
                tar.write(b"\0\0\0\0")
    with pytest.raises(DataError, match="samples in a row"):
        stream_of(str(broken)).read(0, 0, BATCH)


def test_reader_says_that_a_shard_was_truncated(labelled: str, tmp_path: Path) -> None:
    data = DataSet(str(shutil.copytree(labelled, tmp_path / "copy")))
    shard = data.manifest.splits["train"]["all"].shards[0]
    with open(data.path(shard.name), "r+b") as file:
        file.truncate(900)
    with pytest.raises(DataError, match=f"found 900 of its {shard.bytes:,} bytes: it is truncated") as caught:
        Reader(data, "train", "all").read([shard.samples - 1], 0)
    assert caught.value.where == f"{tmp_path}/copy/{shard.name}"


def test_in_order_gives_every_sample_once(labelled: str) -> None:
    data = DataSet(labelled)
    keys = [k for batch in in_order(data, "test", 16, size=7) for k in batch.keys]
    assert keys == whole_index(data, "test").keys
    assert [len(b.keys) for b in in_order(data, "test", 16, most=10, size=7)] == [7, 3]


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = str(tmp_path_factory.mktemp("data") / "small")
    shard_glyphs(out, "labelled", 16, characters=12)
    return out


def alternating(*uris: str) -> Alternating:
    return Alternating([DataSet(uri) for uri in uris], DataConfig(load_size=20), 16, BATCH, 0)


def test_alternating_takes_data_sets_in_turn_each_in_its_own_order(labelled: str, small_set: str) -> None:
    stream = alternating(labelled, small_set)
    sets = [DataSet(uri) for uri in (labelled, small_set)]
    own = [Stream(data, DataConfig(load_size=20), 16, BATCH, 0, number) for number, data in enumerate(sets)]
    for t in range(9):
        batch, expected = stream.read(t, 0, BATCH), own[t % 2].read(t // 2, 0, BATCH)
        assert same(batch, replace(expected, images=t * BATCH, source=t % 2))
    assert own[0].batches_per_epoch > own[1].batches_per_epoch
    assert stream.batches_per_epoch == 2 * own[0].batches_per_epoch, "until the longer one is through"


@pytest.mark.processes  # loaders
@pytest.mark.parametrize(("world", "loaders"), [(2, 0), (3, 0), (2, 1)])
def test_alternating_is_the_same_for_any_workers_and_loaders(
    world: int, loaders: int, labelled: str, small_set: str
) -> None:
    one = played(alternating(labelled, small_set), 1, 0, 0, 7)
    many = played(alternating(labelled, small_set), world, loaders, 0, 7)
    assert all(same(a, b) for a, b in zip(one, many, strict=True))
    assert [b.source for b in one] == [0, 1, 0, 1, 0, 1, 0]
    late = played(alternating(labelled, small_set), world, loaders, 5, 2)
    assert all(same(a, b) for a, b in zip(one[5:], late, strict=True))


def test_alternating_serves_one_data_set_as_it_is_alone(labelled: str) -> None:
    stream, alone = alternating(labelled), stream_of(labelled)
    assert stream.images_per_epoch == alone.images_per_epoch
    assert all(same(stream.read(t, 0, BATCH), alone.read(t, 0, BATCH)) for t in range(5))


def test_alternating_gives_a_data_set_beside_itself_another_order(labelled: str) -> None:
    stream = alternating(labelled, labelled)
    mine, other = ([stream.read(t, 0, BATCH) for t in range(n, 80, 2)] for n in (0, 1))
    assert [b.keys for b in mine] != [b.keys for b in other]
    images = [{k: b.fields["image"][i] for b in each for i, k in enumerate(b.keys)} for each in (mine, other)]
    shared = set(images[0]) & set(images[1])
    assert sum(not torch.equal(images[0][k], images[1][k]) for k in shared) > len(shared) / 2


def test_alternating_names_an_unreadable_sample_with_its_data_set(labelled: str, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(labelled, tmp_path / "broken"))
    index = whole_index(DataSet(str(broken)), "train")
    with next(broken.glob("train-*.tar")).open("r+b") as tar:
        tar.seek(int(index.offset[0, 0]) + 20)
        tar.write(b"\0" * 30)
    stream = alternating(labelled, str(broken))
    bad = [b.key for t in range(stream.batches_per_epoch) for b in stream.read(t, 0, BATCH).bad]
    assert bad == [f"{index.keys[0]} of {broken}"]


def test_ahead_raises_an_error_where_the_batch_would_have_come(labelled: str) -> None:
    stream = stream_of(labelled)

    def two_and_an_error() -> Iterator[Batch]:
        yield from played(stream, 1, 0, 0, 2)
        raise OSError("storage went away")

    ahead = Ahead(two_and_an_error(), lambda batch: batch.to(CPU))
    assert next(ahead).images == 0
    assert next(ahead).images == BATCH
    with pytest.raises(OSError, match="storage went away"):
        next(ahead)
    ahead.close()


def test_batch_scales_images_by_their_range() -> None:
    fields = {"a": torch.tensor([0, 255], dtype=torch.uint8), "b": torch.tensor([0, 65535], dtype=torch.uint16)}
    batch = Batch(fields, 2, 0, 2, 0, 0).to(CPU)
    assert batch["a"].tolist() == batch["b"].tolist() == [-1, 1]


# ---- one whole epoch, of many small shards ----


@pytest.fixture(scope="module", params=["labelled", "paired", "unpaired"])
def many_shards(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """Batches of 8, from shards of 7 samples; the last shard of a set has fewer."""
    goal = ShardOptions(out=str(tmp_path_factory.mktemp("shards") / request.param), shard_samples=7)
    characters = {"labelled": 6, "paired": 8, "unpaired": 80}[request.param]
    glyph, layout = GlyphOptions(glyphs=request.param, size=16, characters=characters), LayoutOptions(layout="glyphs")
    make(plan(find(layout, glyph), layout, glyph, ImageOptions(), goal), goal, 0)
    stream = Stream(DataSet(goal.out), DataConfig(load_size=20, window=5), 16, 8, 0)
    assert [source.order.lanes for source in stream.sources] == [64] * len(stream.sources)
    assert len(DataSet(goal.out).shard_set("train", "A" if request.param == "unpaired" else "all").shards) > 4
    return stream


def test_stream_has_no_more_lanes_than_shards_have_room_for(
    many_shards: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the manifest and the configuration alone; the orders of all domains and sets have equal parts of the room."""
    data, orders = many_shards.sources[0].reader.data, len(many_shards.sources)
    sets = [source.reader.set for source in many_shards.sources]
    held = [lane_bytes(sum(s.bytes for s in of.shards), len(of.shards), of.samples, 1, 1) for of in sets]
    monkeypatch.setattr("i2i_core.data.reading.stream.ROOM", 2 * orders * max(held))

    def lanes(**config: Any) -> list[int]:
        return [s.order.lanes for s in Stream(data, DataConfig(load_size=20, window=1, **config), 16, 1, 0).sources]

    assert min(lanes()) == 2
    assert max(lanes()) <= 2 * max(held) / min(held)
    assert min(lanes(uri=data.uri, also=(data.uri,))) == 1
    assert lanes(lanes=5) == [5] * orders, "as asked for"
    with pytest.raises(ResourceError, match="--lanes: found 4"):
        Stream(data, DataConfig(lanes=4), 16, BATCH, 0)


@pytest.mark.processes  # loaders
@pytest.mark.parametrize(("world", "loaders"), [(1, 0), (1, 2), (2, 0), (2, 1), (4, 1)])
def test_stream_epoch_is_the_same_for_any_workers_and_loaders(world: int, loaders: int, many_shards: Stream) -> None:
    """All of its keys and augmented pixels, and the first batch of the next."""
    n = many_shards.batches_per_epoch + 1
    parts = [many_shards.batches(0, slots_of(8, rank, world), loaders) for rank in range(world)]
    for t in range(n):
        whole = many_shards.read(t, 0, 8)
        assert same(join([next(part) for part in parts]), whole)
        assert len(whole.keys) == 8


@pytest.mark.parametrize(("channels", "size"), [(1, (40, 40)), (3, (24, 30)), (4, (70, 70))])
@pytest.mark.parametrize("resample", ["bicubic", "bilinear"])
def test_transforms_resize_as_pillow_does(channels: int, size: tuple[int, int], resample: Any) -> None:
    """With antialiasing, as the papers' programs resize: to within the rounding of the two."""
    x_HWC = np.random.default_rng(0).integers(0, 256, (50, 50, channels), dtype=np.uint8)
    made = resized(torch.from_numpy(x_HWC).permute(2, 0, 1), size, Resizing(resample=resample))
    how = Image.Resampling[resample.upper()]
    planes = [Image.fromarray(x_HWC[..., c]).resize(size[::-1], how) for c in range(channels)]
    expected = torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]))
    assert made.dtype == torch.uint8
    assert (made.int() - expected.int()).abs().max() <= 2


@pytest.mark.parametrize("kind", ["labelled", "paired", "unpaired"])
def test_stream_rows_of_a_whole_part_are_those_of_its_slots(kind: str, request: pytest.FixtureRequest) -> None:
    for source in stream_of(request.getfixturevalue(kind)).sources:
        for t in range(2 * source.order.batches):
            epoch, rows = source.order.locate_all(t, 1, BATCH)
            assert [(epoch, row) for row in rows] == [source.order.locate(t, slot) for slot in range(1, BATCH)]


@pytest.mark.parametrize("kind", ["labelled", "paired", "unpaired"])
def test_stream_goes_to_loader_processes_that_are_not_forked(kind: str, request: pytest.FixtureRequest) -> None:
    """As from Python 3.14 on."""
    stream = stream_of(request.getfixturevalue(kind))
    stream.read(0, 0, BATCH)
    assert same(pickle.loads(pickle.dumps(stream)).read(3, 0, BATCH), stream.read(3, 0, BATCH))


@pytest.mark.skipif(torch.multiprocessing.get_sharing_strategy() != "file_descriptor", reason="no sockets are made")
def test_stream_refuses_loaders_where_the_temporary_folder_has_no_room_for_sockets(
    labelled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch would drop every batch with a trace, and the reader wait for ever."""
    stream = Stream(DataSet(labelled), DataConfig(), 16, 4, 0)
    place = str(tmp_path / ("x" * 90))
    monkeypatch.setattr(tempfile, "tempdir", place)
    with pytest.raises(ResourceError, match=rf"TMPDIR: found {place}, of {len(place)} bytes; expected at most \d+"):
        stream.batches(0, (0, 4), 2)
    next(stream.batches(0, (0, 4), 0))
