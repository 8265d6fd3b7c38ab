"""The order of samples is a pure function of manifest, seed, batch and position.

pytest tests/unit/test_order.py
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i2i_core.data.stream import Order, lanes_of, permutation, slots_of
from i2i_core.errors import ResourceError

counts = st.lists(st.integers(1, 40), min_size=1, max_size=8)
batches = st.integers(1, 48)


def epoch_rows(order: Order, epoch: int) -> list[int]:
    first = epoch * order.batches
    return [order.locate(t, slot)[1] for t in range(first, first + order.batches) for slot in range(order.batch)]


@settings(max_examples=60, deadline=None)
@given(counts, batches, st.integers(0, 5), st.integers(1, 64))
def test_an_epoch_uses_each_sample_at_most_once_and_leaves_out_less_than_a_batch(
    counts: list[int], batch: int, seed: int, window: int
) -> None:
    order = Order(counts, batch, lanes_of(batch), seed, "all", window)
    rows = epoch_rows(order, seed)
    total = sum(counts)
    assert set(rows) <= set(range(total))
    if total >= batch:
        assert len(rows) == len(set(rows))
        assert total - len(rows) < batch
    else:
        assert max(np.bincount(rows)) <= -(-batch // total)


@settings(max_examples=30, deadline=None)
@given(counts, st.integers(1, 24), st.integers(1, 24))
def test_lanes_are_dealt_to_workers_without_gap_or_overlap(counts: list[int], batch: int, world: int) -> None:
    lanes = lanes_of(batch)
    if world > lanes:
        with pytest.raises(ResourceError, match="--batch"):
            slots_of(batch, lanes, 0, world)
        return
    parts = [slots_of(batch, lanes, rank, world) for rank in range(world)]
    assert [slot for start, stop in parts for slot in range(start, stop)] == list(range(batch))
    sizes = [stop - start for start, stop in parts]
    assert max(sizes) - min(sizes) <= batch // lanes


def test_the_suggested_batch_has_room_for_the_workers() -> None:
    with pytest.raises(ResourceError) as caught:
        slots_of(7, 7, 0, 9)
    suggested = int(str(caught.value).rsplit("--batch ", 1)[1].rstrip("."))
    assert lanes_of(suggested) >= 9


def test_epochs_differ_and_seeds_differ() -> None:
    order = Order([30, 30, 30], 10, 10, 0, "all", 1024)
    other = Order([30, 30, 30], 10, 10, 1, "all", 1024)
    assert epoch_rows(order, 0) != epoch_rows(order, 1)
    assert epoch_rows(order, 0) != epoch_rows(other, 0)
    assert epoch_rows(order, 0) == epoch_rows(Order([30, 30, 30], 10, 10, 0, "all", 1024), 0)


def test_every_sample_is_seen_within_a_few_epochs() -> None:
    """What an epoch leaves out is not always the same tail, even of a single shard."""
    order = Order([19], 8, 8, 0, "all", 1024)
    assert set().union(*(epoch_rows(order, e) for e in range(8))) == set(range(19))


def test_a_replacement_comes_from_the_slot_s_own_window_and_each_once() -> None:
    order = Order([64], 8, 4, 3, "all", 5)
    own = [row for _, row in order.candidates(2, 5)]
    assert own[0] == order.locate(2, 5)[1]
    assert len(own) == len(set(own)) == 5
    lane, within = divmod(5, order.per_lane)
    window = (2 * order.per_lane + within) // 5
    line = lane * order.span + window * 5
    assert set(own) == {order._row(0, line + i) for i in range(5)}


def test_a_permutation_is_what_it_was() -> None:
    """Golden: a change here would silently reorder every run ever started."""
    assert permutation(8, 0, "all", "shards", 0).tolist() == GOLDEN


GOLDEN = [4, 2, 3, 0, 1, 7, 6, 5]
