"""Samples that come with others: companions of a class, and a domain twice; whoever reads them, and whatever is bad.

pytest tests/unit/test_related.py
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from i2i_core.batch import Batch, join
from i2i_core.config.data import DataConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.stream import Alternating, Stream, in_order
from i2i_core.errors import DataError
from i2i_core.fields import Needs, Relation
from tests.support.data import put, shard, whole_index

B, K = 6, 2
COUNTS = {"a": 20, "b": 14, "c": 9}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Images whose level says which they are: class 0 below 80, class 1 from 80, class 2 from 160."""
    folder = tmp_path_factory.mktemp("three")
    for number, (name, count) in enumerate(COUNTS.items()):
        for i in range(count):
            put(folder / f"in/train/{name}/{i}.png", np.full((8, 8, 1), 80 * number + i, np.uint8))
    shard("classes", folder / "in", folder / "out", goal={"shard_samples": 8})
    return str(folder / "out")


def stream_of(uri: str, relation: Relation = "same", **config: Any) -> Stream:
    needs = Needs({"image": "image"}, attributes=True, again=True, companions=K, relation=relation)
    return Stream(
        DataSet(uri), DataConfig(**{"flip": False, "load_size": 8, "crop": "none", **config}), 8, B, 3, needs=needs
    )


def levels(x: torch.Tensor) -> np.ndarray:
    """The level of each image."""
    return x.flatten(-3).amax(-1).numpy().astype(int)


def same(a: Batch, b: Batch) -> bool:
    fields = all(torch.equal(a.fields[name], b.fields[name]) for name in a.fields)
    return fields and a.keys == b.keys and all(torch.equal(a.whole[name], b.whole[name]) for name in a.whole)


@pytest.mark.parametrize("relation", ["same", "other"])
@pytest.mark.parametrize("balance", [False, True])
def test_companions_are_others_of_the_class_that_is_asked_for(relation: Relation, balance: bool, three: str) -> None:
    stream = stream_of(three, relation, balance=balance)
    met = set[tuple[int, ...]]()
    for t in range(2 * stream.batches_per_epoch):
        batch = stream.read(t, 0, B)
        own, mates = levels(batch["image"]), levels(batch["companions"])
        assert batch["companions"].shape == (B, K, 1, 8, 8)
        assert ((mates // 80 == own[:, None] // 80) == (relation == "same")).all()
        assert (mates != own[:, None]).all(), "none is its own companion"
        assert (mates[:, 0] != mates[:, 1]).all()
        assert batch["labels"].argmax(1).tolist() == (own // 80).tolist()
        assert batch["companions.labels"].argmax(2).tolist() == (mates // 80).tolist()
        met |= {(a, *b) for a, b in zip(own.tolist(), mates.tolist(), strict=True)}
    assert len(met) > 1.5 * sum(COUNTS.values()), "they are drawn anew"


def test_again_samples_of_a_domain_know_nothing_of_the_first(three: str) -> None:
    stream = stream_of(three)
    epochs = [stream.read(t, 0, B) for t in range(stream.batches_per_epoch)]
    first, second = (np.concatenate([levels(batch[name]) for batch in epochs]) for name in ("image", "again"))
    assert len(set(second.tolist())) == len(second), "each once an epoch"
    assert np.mean(first == second) < 0.2
    for batch in epochs:
        assert batch["again.labels"].argmax(1).tolist() == (levels(batch["again"]) // 80).tolist()


def test_companions_are_the_same_for_one_worker_and_three(three: str) -> None:
    whole, parts = stream_of(three, balance=True), stream_of(three, balance=True)
    for t in (0, 3, 11):
        assert same(whole.read(t, 0, B), join([parts.read(t, a, b) for a, b in ((0, 1), (1, 3), (3, B))]))


def test_companions_are_read_at_once_with_their_samples(three: str) -> None:
    """One request for all of a batch, and one for the domain's second samples."""
    stream = stream_of(three)
    stream.read(0, 0, B)
    assert stream.sources[0].reader.reads == 2


def test_companions_stay_with_their_part_of_a_batch(three: str) -> None:
    batch = stream_of(three).read(0, 0, B)
    small = batch.split(4)
    assert [part["companions"].shape[0] for part in small] == [4, 2]
    assert torch.equal(torch.cat([part["companions.labels"] for part in small]), batch["companions.labels"])


def spoiled(uri: str, out: Path, rows: list[int]) -> list[str]:
    """A copy in which some rows cannot be decoded; gives their keys."""
    shutil.copytree(uri, out)
    index = whole_index(DataSet(uri), "train")
    for row in rows:
        with open(out / index.shard[row], "r+b") as tar:
            tar.seek(int(index.offset[row, 0]))
            tar.write(b"no image")
    return [index.keys[row] for row in rows]


@pytest.mark.parametrize("relation", ["same", "other"])
def test_companion_that_cannot_be_read_is_replaced_by_one_of_its_class(
    relation: Relation, three: str, tmp_path: Path
) -> None:
    batch = stream_of(three, relation).read(0, 0, B)
    mates = levels(batch["companions"])
    apart = np.flatnonzero((mates[:, 0] // 80 != mates[:, 1] // 80) == (relation == "other"))
    slot = int(apart[0])
    mate = int(mates[slot, 0])
    index = whole_index(DataSet(three), "train")
    (key,) = spoiled(three, tmp_path / "bad", [index.keys.index(f"{'abc'[mate // 80]}/{mate % 80}")])
    hurt = stream_of(str(tmp_path / "bad"), relation).read(0, 0, B)
    instead = int(levels(hurt["companions"])[slot, 0])
    assert instead != mate
    assert instead // 80 == mate // 80
    assert any(bad.key == key and bad.instead == f"{'abc'[instead // 80]}/{instead % 80}" for bad in hurt.bad)
    assert hurt.keys == batch.keys
    assert torch.equal(hurt["companions.labels"], batch["companions.labels"])
    own = levels(batch["image"])
    assert [a for a in levels(hurt["image"]).tolist() if a != mate] == [a for a in own.tolist() if a != mate]


def test_companions_come_with_what_replaces_an_unreadable_sample(three: str, tmp_path: Path) -> None:
    batch = stream_of(three).read(0, 0, B)
    (key,) = spoiled(three, tmp_path / "bad", [whole_index(DataSet(three), "train").keys.index(batch.keys[1])])
    hurt = stream_of(str(tmp_path / "bad")).read(0, 0, B)
    own, mates = levels(hurt["image"]), levels(hurt["companions"])
    assert own[1] // 80 == levels(batch["image"])[1] // 80
    assert (mates // 80 == own[:, None] // 80).all()
    assert (mates != own[:, None]).all()
    assert key in {bad.key for bad in hurt.bad}
    assert all(bad.instead for bad in hurt.bad)


@pytest.mark.parametrize("relation", ["same", "other"])
def test_companions_have_the_labels_of_what_was_read(relation: Relation, three: str, tmp_path: Path) -> None:
    """Also where a sample, and with it its companions, or a companion is replaced."""
    spoiled(three, tmp_path / "bad", [3, 11, 17, 18, 30, 42])
    stream = stream_of(str(tmp_path / "bad"), relation)
    bad = 0
    for t in range(2 * stream.batches_per_epoch):
        batch = stream.read(t, 0, B)
        bad += len(batch.bad)
        assert batch["companions.labels"].argmax(2).tolist() == (levels(batch["companions"]) // 80).tolist()
    assert bad > 20


def test_companions_that_lack_have_their_sample_replaced_and_named(tmp_path: Path) -> None:
    """Shards of four, of which some have one or two of the rare class."""
    for name, count in (("many", 40), ("few", 6)):
        for i in range(count):
            put(tmp_path / f"in/train/{name}/{i}.png", np.full((8, 8, 1), 80 * (name == "few") + i, np.uint8))
    shard("classes", tmp_path / "in", tmp_path / "out", goal={"shard_samples": 4})
    stream = stream_of(str(tmp_path / "out"), lanes=B)
    read = [stream.read(t, 0, B) for t in range(4 * stream.batches_per_epoch)]
    named = {bad for batch in read for bad in batch.bad}
    assert named
    assert {bad.cause[1:] for bad in named} == {" of its class in the shards about it, where 2 are needed"}
    for batch in read:
        own, mates = levels(batch["image"]), levels(batch["companions"])
        assert batch["labels"].argmax(1).tolist() == [int(level < 80) for level in own]
        assert ((mates < 80) == (own[:, None] < 80)).all()


def test_companions_of_a_class_too_small_are_refused_before_a_run(tmp_path: Path) -> None:
    for name, count in (("many", 20), ("two", 2)):
        for i in range(count):
            put(tmp_path / f"in/train/{name}/{i}.png", np.full((8, 8, 1), i, np.uint8))
    shard("classes", tmp_path / "in", tmp_path / "out")
    needs = [Needs({"image": "image"}, attributes=True, companions=K, relation=of) for of in ("same", "other")]
    with pytest.raises(DataError, match="found 2 samples of class two; expected 3 or more"):
        Alternating([DataSet(str(tmp_path / "out"))], DataConfig(), 8, B, 3, needs[0])
    Alternating([DataSet(str(tmp_path / "out"))], DataConfig(), 8, B, 3, needs[1])
    shutil.rmtree(tmp_path / "in/train/two")
    shard("classes", tmp_path / "in", tmp_path / "alone")
    with pytest.raises(DataError, match="found 0 samples that are not of class many; expected 2 or more"):
        Alternating([DataSet(str(tmp_path / "alone"))], DataConfig(), 8, B, 3, needs[1])


def test_companions_that_nothing_has_near_it_are_one_error(tmp_path: Path) -> None:
    for i in range(12):
        put(tmp_path / f"in/train/{'ab'[i % 2]}/{i}.png", np.full((8, 8, 1), i, np.uint8))
    shard("classes", tmp_path / "in", tmp_path / "out", goal={"shard_samples": 1})
    with pytest.raises(DataError, match=r"none of which has 2 of the same class in its shards; .*\n.*--shard-samples"):
        stream_of(str(tmp_path / "out"), window=1).read(0, 0, B)


def test_companions_come_with_rows_in_order_too(three: str, tmp_path: Path) -> None:
    needs = Needs({"image": "image"}, attributes=True, again=True, companions=K)
    (batch,) = in_order(DataSet(three), "train", 0, size=64, needs=needs)
    own, mates = levels(batch["image"] * 127.5 + 127.6), levels(batch["companions"] * 127.5 + 127.6)
    assert len(own) == sum(COUNTS.values())
    assert (mates // 80 == own[:, None] // 80).all()
    assert (mates != own[:, None]).all()
    assert not np.array_equal(levels(batch["again"] * 127.5 + 127.6), own)
    assert batch["companions.labels"].argmax(2).tolist() == (mates // 80).tolist()
    assert batch.whole["again.labels"].argmax(1).tolist() == (levels(batch["again"] * 127.5 + 127.6) // 80).tolist()
    keys = spoiled(three, tmp_path / "bad", [4])
    (some,) = in_order(DataSet(str(tmp_path / "bad")), "train", 0, size=64, needs=needs)
    assert keys[0] not in some.keys
    assert keys[0] in {bad.key for bad in some.bad}


def test_needs_of_related_samples_of_two_domains_or_sequences_cannot_be() -> None:
    for more in ({"domains": 2, "again": True}, {"frames": 2, "companions": 1}):
        with pytest.raises(ValueError, match="stand alone and are of one domain"):
            Needs({"image": "image"}, **more)  # type: ignore[arg-type]


def test_needs_name_the_fields_of_related_samples() -> None:
    needs = Needs({"image": "image", "pose": "points"}, again=True, companions=2)
    assert needs.in_batch == ("image", "pose", "again", "again.pose", "companions", "companions.pose")
