"""Indexes: read shard by shard when rows are asked for, forgotten again, and the same as one index of all rows.

pytest tests/unit/test_index.py
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from i2i_core.config.data import DataConfig
from i2i_core.data.folders.declared import FieldOptions
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format.index import Index, NewIndex, Rows
from i2i_core.data.format.manifest import FEW, DataSet
from i2i_core.data.format.shards import ShardOptions, plan
from i2i_core.data.reading.starts import Frames, LookedUp, count_starts
from i2i_core.data.reading.stream import Stream, in_order
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.errors import DataError
from i2i_core.fields import Needs
from i2i_core.images.codec import ImageOptions
from i2i_core.orchestration.sharding import make
from tests.support.data import as_version_1, noise, put, shard

COUNTS = (3, 1, 4, 1, 5, 9, 2, 6)


class Kept:
    """Made-up indexes of shards, and which were asked for."""

    def __init__(self, counts: Sequence[int] = COUNTS, attributes: int = 11) -> None:
        draw = np.random.default_rng(0)
        self.asked: list[list[int]] = []
        self.labels = [draw.integers(0, 2, (n, attributes), np.uint8) for n in counts]
        self.indexes = [self._index(number, labels) for number, labels in enumerate(self.labels)]
        self.rows = Rows(counts, attributes, self.read)

    def _index(self, number: int, labels: np.ndarray) -> Index:
        made = NewIndex()
        for row, label in enumerate(labels.tolist()):
            made.append(f"{number}/{row}", [(512 * row, number), (512 * row + 7, row)], label)
        return made.done()

    def read(self, numbers: Sequence[int]) -> list[Index]:
        self.asked.append(list(numbers))
        return [self.indexes[number] for number in numbers]


def test_rows_of_any_shards_in_any_order_are_those_of_all_indexes_together() -> None:
    kept = Kept()
    names = [f"{number}/{row}" for number, n in enumerate(COUNTS) for row in range(n)]
    labels = np.concatenate(kept.labels)
    draw = np.random.default_rng(1)
    for size in (1, 2, 7, 40):
        rows = draw.integers(0, len(names), size)
        assert kept.rows.keys(rows) == [names[row] for row in rows]
        assert np.array_equal(kept.rows.labels(rows), labels[rows])
        shards, at, sizes = kept.rows.places(rows.tolist(), 1)
        assert [f"{number}/{size}" for number, size in zip(shards, sizes, strict=True)] == [names[row] for row in rows]
        assert at == [512 * size + 7 for size in sizes]
    assert kept.rows.keys() == names
    assert len(kept.rows) == len(names)
    assert kept.rows.keys([]) == []
    assert kept.rows.labels([]).shape == (0, 11)


def test_rows_read_indexes_together_once_and_only_where_needed() -> None:
    kept = Kept()
    kept.rows.keys([0, 3, 4, 1])
    kept.rows.labels([2, 3])
    assert kept.asked == [[0, 1, 2]]
    kept.rows.keys([0, len(kept.rows) - 1])
    assert kept.asked[1:] == [[7]]


def test_rows_keep_the_indexes_in_use() -> None:
    kept = Kept((100,) * 50)
    kept.rows.most = 350
    for number in (0, 1, 2, 0, 3, 0, 4):
        kept.rows.shard(number)
    assert kept.asked == [[0], [1], [2], [3], [4]], "the one that was used last stays"
    kept.rows.shard(1)
    assert kept.asked[-1] == [1]
    assert sum(len(index.keys) for index in kept.rows._kept.values()) <= 350
    kept.rows.keep(10**6)
    kept.rows.keys(range(5000))
    kept.asked.clear()
    kept.rows.keys(range(5000))
    assert kept.asked == []


def test_rows_keep_a_shard_larger_than_their_bound_alone() -> None:
    kept = Kept((5, 50, 5))
    kept.rows.most = 10
    for number in (0, 1, 1, 2, 2):
        kept.rows.shard(number)
    assert kept.asked == [[0], [1], [2]]


def test_rows_take_no_index_along_to_another_process() -> None:
    rows = Rows(COUNTS, 11, Kept)  # type: ignore[arg-type]
    rows._kept[0] = Kept().indexes[0]
    other = pickle.loads(pickle.dumps(rows))
    assert not other._kept
    assert np.array_equal(other.ends, rows.ends)


def test_index_survives_its_bytes() -> None:
    (index, *_) = Kept().indexes
    read = Index.loads(index.dumps(), 11)
    assert all(np.array_equal(getattr(read, name), getattr(index, name)) for name in ("keys", "offset", "size", "bits"))
    assert index.misfit(3, lambda: 4096, 2, 11) is None
    assert index.dumps() == read.dumps()


def test_index_ends_runs_of_frames_where_a_clip_ends() -> None:
    made = NewIndex()
    for number, clip in enumerate((("x", 0), ("x", 0), ("x", 1), ("y", 1), ("y", 1), ("y", 1))):
        made.append(str(number), [(0, 0)], [], clip)
    index = made.done()
    assert index.clips is not None
    assert index.clips.tolist() == [2, 1, 3]


@pytest.mark.parametrize("unit", ["start", "clip"])
def test_starts_are_counted_without_reading_long_clips(unit: str) -> None:
    lengths = [[5, 9], [4], [2, 3, 4], [30], [3, 3]]
    counts, asked = np.array([sum(of) for of in lengths]), list[int]()

    def read(number: int) -> np.ndarray:
        asked.append(number)
        return np.array(lengths[number])

    known = LookedUp([len(of) for of in lengths], [min(of) for of in lengths], read)
    kinds = [Frames(3), Frames(2, 2)]
    whole = count_starts(counts, lengths, kinds, unit)  # type: ignore[arg-type]
    some = count_starts(counts, known, kinds, unit)  # type: ignore[arg-type]
    for frames in kinds:
        assert some[frames].per_shard.tolist() == whole[frames].per_shard.tolist()
        assert some[frames].too_short == whole[frames].too_short
    assert asked == [2], "the one shard that has a clip of fewer than three frames"


# ---- of data sets ----


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data set of thirty images in three classes, two to a shard."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(30):
        put(folder / f"in/train/{'abc'[number % 3]}/{number}.png", noise(8, 8, 3))
    shard("classes", folder / "in", folder / "out", goal={"shard_samples": 2})
    return str(folder / "out")


@pytest.mark.parametrize("kind", ["many", "paired", "unpaired", "labelled"])
def test_index_of_version_1_gives_the_same_batches(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    new = request.getfixturevalue(kind)
    old = str(as_version_1(Path(shutil.copytree(new, tmp_path / "old"))))
    for balance in (False, True) if kind == "many" else (False,):
        config = DataConfig(load_size=10, balance=balance)
        one, two = (Stream(DataSet(uri), config, 8, 4, 0) for uri in (new, old))
        assert one.batches_per_epoch == two.batches_per_epoch
        for t in range(one.batches_per_epoch + 1):
            a, b = one.read(t, 0, 4), two.read(t, 0, 4)
            assert a.keys == b.keys
            assert all(torch.equal(a.fields[name], b.fields[name]) for name in a.fields)
            assert all(torch.equal(a.whole[name], b.whole[name]) for name in a.whole)
    DataSet(old).check_shards("train")
    keys = [[key for batch in in_order(DataSet(uri), "train", 0) for key in batch.keys] for uri in (new, old)]
    assert keys[0] == keys[1]


def test_data_set_reads_only_the_indexes_of_what_is_read(many: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, asked = DataSet(many), list[str]()
    ranges = data.fs.cat_ranges
    monkeypatch.setattr(
        data.fs, "cat_ranges", lambda paths, *rest, **more: (asked.extend(paths), ranges(paths, *rest, **more))[1]
    )
    stream = Stream(data, DataConfig(flip=False), 8, 2, 0)
    assert asked == []
    batch = stream.read(0, 0, 2)
    rows = stream.sources[0].order.locate_all(0, 0, 2)[1]
    assert {Path(path).stem for path in asked} == {f"train-{row // 2:06d}" for row in rows.tolist()}
    assert batch.whole["labels"].sum(1).tolist() == [1, 1]


def test_data_set_names_a_missing_or_altered_index(many: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(many, tmp_path / "copy"))
    assert len(list(copy.glob("index/*.npz"))) == 15 > FEW
    one = copy / "index/train-000007.npz"
    whole = one.read_bytes()
    one.write_bytes(whole[:-1])
    cause = f"{len(whole) - 1} bytes: it is truncated; expected {len(whole)} bytes"
    with pytest.raises(DataError, match=cause) as caught:
        DataSet(str(copy)).check_shards("train")
    assert caught.value.where == f"{copy}/index/train-000007.npz"
    one.write_bytes(whole[:-1] + b"x")
    data = DataSet(str(copy))
    data.check_shards("train")  # of many shards, by their lengths alone
    with pytest.raises(DataError, match="other bytes than the manifest's checksum"):
        data.rows("train").keys([14])
    assert data.rows("train").keys([13])
    one.unlink()
    with pytest.raises(DataError, match="no such index"):
        DataSet(str(copy)).check_shards("train")
    with pytest.raises(DataError, match="no such file"):
        DataSet(str(copy)).rows("train").keys([14])


def test_data_set_asks_for_a_few_dozen_indexes_at_a_time(many: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, asked = DataSet(many), list[int]()
    ranges = data.fs.cat_ranges
    monkeypatch.setattr("i2i_core.data.format.manifest.INDEXES_AT_ONCE", 4)
    monkeypatch.setattr(
        data.fs, "cat_ranges", lambda paths, *rest, **more: (asked.append(len(paths)), ranges(paths, *rest, **more))[1]
    )
    data.rows("train").keys()
    assert asked == [4, 4, 4, 3]


def test_index_takes_a_bit_for_each_of_a_thousand_classes(tmp_path: Path) -> None:
    labels = np.eye(1000, dtype=np.uint8)[:3]
    made = NewIndex()
    for number, label in enumerate(labels.tolist()):
        made.append(str(number), [(0, 0)], label)
    assert made.done().bits.shape == (3, 125)
    assert np.array_equal(made.done().labels(1000), labels)


def test_manifest_counts_the_samples_of_each_class(many: str) -> None:
    shard_set = json.loads(Path(many, "manifest.json").read_text())["splits"]["train"]["all"]
    assert shard_set["labels"] == [10, 10, 10]
    assert shard_set["shards"]["samples"] == [2] * 15


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> DataSet:
    """The data set, its manifest's only shard set changed."""
    values = json.loads((folder / "manifest.json").read_text())
    change(values["splits"]["train"]["all"])
    (folder / "manifest.json").write_text(json.dumps(values))
    return DataSet(str(folder))


@pytest.fixture
def copy(many: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(many, tmp_path / "copy"))


def test_manifest_with_counts_of_classes_that_lie_is_refused(copy: Path) -> None:
    data = rewritten(copy, lambda of: of.update(labels=[30, 0, 0]))
    with pytest.raises(DataError, match=r"\[30, 0, 0\]; expected \[10, 10, 10\], as in the indexes of train"):
        data.check_indexes("train")
    stream = Stream(data, DataConfig(balance=True, flip=False), 8, 2, 0)
    with pytest.raises(DataError, match="a class of which the manifest counts none"):
        [stream.read(t, 0, 2) for t in range(20)]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A data set of two clips, of 5 and 7 frames, in one shard."""
    for clip, length in (("a", 5), ("b", 7)):
        for frame in range(length):
            put(tmp_path / f"in/frames/{clip}/{frame}.png", noise(4, 4, 3))
    layout = LayoutOptions(layout="fields", input=str(tmp_path / "in"), split=(1, 0, 0))
    goal, fields = ShardOptions(out=str(tmp_path / "out")), FieldOptions(field=("image=frames/{clip}/{frame}.png",))
    make(plan(find(layout, None, fields), layout, GlyphOptions(), ImageOptions(), goal), goal, 0)
    return tmp_path / "out"


def test_manifest_with_a_table_of_clips_that_lies_is_refused(clips: Path) -> None:
    """Sequences would cross from one clip into the next."""
    data = rewritten(clips, lambda of: of.update(clips={"number": [1], "shortest": [12]}))
    with pytest.raises(DataError, match="found 2 clips of 5 rows or more; expected 1 of 12, as the manifest says"):
        data.check_indexes("train")
    stream = Stream(data, DataConfig(flip=False), 4, 2, 0, needs=Needs({"image": "image"}, frames=3))
    with pytest.raises(DataError, match="2 clips of 5 rows or more"):
        stream.read(0, 0, 2)


@pytest.mark.parametrize("lengths", [[2**62] * 3 + [2**62 + 12], [5, 8], [12, 0], [-1, 13], [5.0, 7.0], [[5, 7]]])
def test_index_whose_clips_do_not_make_up_a_shard_is_refused(lengths: list[Any], clips: Path) -> None:
    index = DataSet(str(clips)).rows("train").shard(0)
    wrong = replace(index, clips=np.array(lengths))
    assert wrong.misfit(12, lambda: 1 << 20, 1, 0) is not None
    assert index.misfit(12, lambda: 1 << 20, 1, 0) is None


def test_manifest_may_have_fields_in_any_order(paired: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(paired, tmp_path / "other"))
    values = json.loads((folder / "manifest.json").read_text())
    values["fields"] = dict(reversed(values["fields"].items()))
    (folder / "manifest.json").write_text(json.dumps(values))
    (one,), (other,) = (list(in_order(DataSet(str(uri)), "train", 0, size=500, most=500)) for uri in (paired, folder))
    assert not torch.equal(one["a"], one["b"])
    assert torch.equal(one["a"], other["a"])


def test_manifest_of_version_1_that_counts_without_end_is_one_error(labelled: str, tmp_path: Path) -> None:
    folder = as_version_1(Path(shutil.copytree(labelled, tmp_path / "old")))
    values = json.loads((folder / "manifest.json").read_text())
    values["splits"]["train"]["all"]["shards"][0].update(samples=10**12, bytes=10**15)
    (folder / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match="keys of shape"):
        DataSet(str(folder)).rows("train")
