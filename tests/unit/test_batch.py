"""Batches of every role: cut, put together, moved to a device; one-hot maps and edges.

pytest tests/unit/test_batch.py
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from i2i_core.batch import Batch, join
from i2i_core.data.reading.collate import Sample, collated
from i2i_core.fields import Field
from i2i_core.tensors import edges, one_hot

CPU = torch.device("cpu")
FIELDS = {
    "labels": Field("png", 1, "uint8", 2, 3, "classes", classes=9),
    "inst": Field("png", 1, "uint32", 2, 3, "instances"),
    "image": Field("png", 3, "uint8", 2, 3),
    "flow": Field("npy", 2, "float32", 2, 3, "map", kind="flow"),
    "code": Field("npy", 0, "float32", 0, 0, "vector", shape=(10, 4)),
    "caption": Field("txt", 0, "str", 0, 0, "text"),
    "objects": Field("json", 0, "float32", 0, 0, "boxes"),
}


def samples(n: int) -> list[Sample]:
    rng = np.random.default_rng(0)
    return [
        {
            "labels": rng.integers(0, 9, (2, 3, 1), dtype=np.uint8),
            "inst": rng.integers(0, 1 << 31, (2, 3, 1)).astype(np.int32),
            "image": rng.integers(0, 256, (2, 3, 3), dtype=np.uint8),
            "flow": rng.standard_normal((2, 3, 2)).astype(np.float32),
            "code": rng.standard_normal((10, 4)).astype(np.float32),
            "caption": tuple(f"{i} {j}" for j in range(i + 1)),
            "objects": rng.random((i, 5), np.float32),
        }
        for i in range(n)
    ]


def batch_of(some: list[Sample]) -> Batch:
    columns = collated(([sample] for sample in some), (len(some), 1), FIELDS)
    more = {"roles": columns.roles, "texts": columns.texts, "boxes": columns.boxes}
    return Batch(columns.fields, len(some), 0, len(some), 0, 0, keys=tuple(map(str, range(len(some)))), **more)


def same(x: Batch, y: Batch) -> bool:
    tensors = [(x.fields[k], y.fields[k]) for k in x.fields]
    tensors += [(a, b) for k in x.boxes for a, b in zip(x.boxes[k], y.boxes[k], strict=True)]
    return x.texts == y.texts and x.roles == y.roles and all(torch.equal(a, b) for a, b in tensors)


def test_batch_collated_holds_every_value_as_it_is() -> None:
    some = samples(4)
    batch = batch_of(some)
    for i, sample in enumerate(some):
        for name in ("labels", "inst", "image", "flow"):
            assert np.array_equal(batch[name][i].permute(1, 2, 0).numpy(), sample[name])
        assert np.array_equal(batch["code"][i].numpy(), sample["code"])
        assert np.array_equal(batch.boxes["objects"][i].numpy(), sample["objects"])
        assert batch.texts["caption"][i] == sample["caption"]
    assert batch.roles == {"labels": "classes", "inst": "instances", "flow": "map", "code": "vector"}


def test_batch_of_sequences_has_an_axis_of_frames_and_lists_of_their_frames() -> None:
    some = samples(6)
    columns = collated([some[:3], some[3:]], (2, 3), FIELDS)
    batch = Batch(columns.fields, 2, 0, 2, 0, 0, roles=columns.roles, texts=columns.texts, boxes=columns.boxes)
    assert batch["code"].shape == (2, 3, 10, 4)
    for i, frame in [(0, 2), (1, 1)]:
        sample = some[3 * i + frame]
        assert np.array_equal(batch["flow"][i, frame].permute(1, 2, 0).numpy(), sample["flow"])
        assert batch.texts["caption"][i][frame] == sample["caption"]
        assert np.array_equal(batch.boxes["objects"][i][frame].numpy(), sample["objects"])
    second = batch.to(torch.device("cpu"), torch.float64).split(1)[1]
    assert second["image"].dtype == torch.float64
    assert second.texts["caption"] == (tuple(sample["caption"] for sample in some[3:]),)
    assert [len(boxes) for boxes in second.boxes["objects"][0]] == [3, 4, 5]


def test_batch_refuses_vectors_of_several_shapes() -> None:
    some = samples(2)
    some[1]["code"] = np.zeros((9, 4), np.float32)
    with pytest.raises(ValueError, match="wrong shape"):
        batch_of(some)


@pytest.mark.parametrize("most", [1, 2, 3, 0])
def test_batch_split_and_joined_is_itself(most: int) -> None:
    batch = batch_of(samples(5))
    parts = batch.split(most)
    assert same(join(parts), batch)
    assert [len(part.texts["caption"]) for part in parts] == [len(part.keys) for part in parts]
    assert [len(part.boxes["objects"]) for part in parts] == [len(part.keys) for part in parts]


def test_batch_on_a_device_scales_images_alone() -> None:
    some = samples(3)
    batch = batch_of(some).to(CPU)
    assert batch["image"].dtype == torch.float32
    assert torch.equal(batch["image"], batch_of(some)["image"].float() / 127.5 - 1)
    assert (batch["labels"].dtype, batch["inst"].dtype) == (torch.int64, torch.int64)
    assert int(batch["inst"].max()) == max(int(s["inst"].max()) for s in some if isinstance(s["inst"], np.ndarray))
    assert torch.equal(batch["flow"], batch_of(some)["flow"])
    halves = batch_of(some).to(CPU, torch.bfloat16)
    assert [halves[k].dtype for k in ("image", "flow", "code")] == [torch.bfloat16] * 3
    assert halves["labels"].dtype == torch.int64


def test_batch_draws_like_its_numbers_and_not_like_its_ids() -> None:
    batch = batch_of(samples(3)).to(CPU)
    assert batch.draw("z", 2).dtype == torch.float32
    ids_alone = replace(batch, fields={"labels": batch["labels"]}, roles={"labels": "classes"})
    assert torch.equal(ids_alone.draw("z", 2), batch.draw("z", 2))


def grid(*rows: list[int]) -> Tensor:
    return torch.tensor([[list(rows)]])


def test_one_hot_has_a_channel_for_each_class() -> None:
    found = one_hot(grid([0, 1], [2, 255]), 3)
    assert found.tolist() == [[[[1, 0], [0, 0]], [[0, 1], [0, 0]], [[0, 0], [1, 0]]]]
    assert found.dtype == torch.float32


def test_edges_are_where_a_pixel_differs_from_one_of_four_neighbours() -> None:
    ids = grid([1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 1], [3, 1, 1, 1])
    assert edges(ids)[0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 0, 0, 1], [1, 1, 0, 0]]
    assert edges(grid([7])).tolist() == [[[[0]]]]


def pix2pixhd_edges(t: Tensor) -> Tensor:
    """As the authors' `get_edges` goes about it."""
    edge = torch.zeros(t.size(), dtype=torch.bool)
    edge[:, :, :, 1:] = edge[:, :, :, 1:] | (t[:, :, :, 1:] != t[:, :, :, :-1])
    edge[:, :, :, :-1] = edge[:, :, :, :-1] | (t[:, :, :, 1:] != t[:, :, :, :-1])
    edge[:, :, 1:, :] = edge[:, :, 1:, :] | (t[:, :, 1:, :] != t[:, :, :-1, :])
    edge[:, :, :-1, :] = edge[:, :, :-1, :] | (t[:, :, 1:, :] != t[:, :, :-1, :])
    return edge.float()


def test_edges_are_the_authors() -> None:
    ids = torch.randint(0, 3, (2, 1, 9, 11), generator=torch.Generator().manual_seed(0))
    assert torch.equal(edges(ids), pix2pixhd_edges(ids))
