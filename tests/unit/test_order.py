"""The order of samples is a pure function of manifest, seed, batch and position.

pytest tests/unit/test_order.py
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import takewhile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i2i_core.config.data import DataConfig
from i2i_core.data.reading.order import Order, lanes_of, slots_of
from i2i_core.errors import ResourceError
from i2i_core.randomness import permutation

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


# ---- for all shard sizes, batches, lanes, windows and worlds ----

shard_sizes = st.one_of(
    st.lists(st.integers(1, 3), min_size=20, max_size=60),  # many tiny
    st.lists(st.integers(1, 90), min_size=1, max_size=4),  # few, uneven
    st.tuples(st.integers(1, 2), st.integers(60, 120)).map(list),  # one tiny beside a large one
    st.just([1]),
)


@st.composite
def orders(draw: st.DrawFn, domain: str = "all") -> Order:
    """An order of any shards, batch, lanes and window; the set may be smaller than the batch."""
    batch = draw(st.integers(1, 32))
    lanes = draw(st.sampled_from([d for d in range(1, batch + 1) if batch % d == 0]))
    window = draw(st.one_of(st.integers(1, 12), st.just(1024)))
    return Order(draw(shard_sizes), batch, lanes, draw(st.integers(0, 99)), domain, window)


def rows_of(order: Order, epoch: int, rank: int = 0, world: int = 1) -> list[list[int]]:
    """What one worker reads of each global batch of an epoch."""
    slots = slots_of(order.batch, order.lanes, rank, world)
    first = epoch * order.batches
    return [order.locate_all(t, *slots)[1].tolist() for t in range(first, first + order.batches)]


def owners(order: Order) -> np.ndarray:
    """The shard of each row."""
    return np.repeat(np.arange(len(order.counts)), order.counts)


ALL = settings(max_examples=40, deadline=None, derandomize=True)


@ALL
@given(orders(), st.integers(0, 5))
def test_any_epoch_uses_each_sample_at_most_once_and_leaves_out_less_than_a_batch(order: Order, epoch: int) -> None:
    used = np.bincount(epoch_rows(order, epoch), minlength=order.rows)
    assert len(used) == order.rows, "rows beyond the set"
    assert used.max() <= order.laps, "a set that fills the batch has one lap"
    assert (order.laps == 1) == (order.rows >= order.batch)
    assert 0 <= order.laps * order.rows - used.sum() < order.batch


@ALL
@given(orders(), st.data())
def test_global_batches_do_not_depend_on_the_world_or_on_where_reading_began(order: Order, data: st.DataObject) -> None:
    """Workers' parts laid side by side are the whole batch; an order that never saw what came before agrees."""
    last = 2 * order.batches + 1
    whole = [[order.locate(t, slot)[1] for slot in range(order.batch)] for t in range(last)]
    world = data.draw(st.integers(1, order.lanes), "world")
    first = data.draw(st.integers(0, last - 1), "first batch read")
    counts, (seed, domain) = order.counts.tolist(), order.key
    workers = [Order(counts, order.batch, order.lanes, seed, domain, order.window) for _ in range(world)]
    for t in range(first, last):
        parts = [w.locate_all(t, *slots_of(w.batch, w.lanes, rank, world))[1] for rank, w in enumerate(workers)]
        assert np.concatenate(parts).tolist() == whole[t]


@ALL
@given(st.integers(1, 64), st.data())
def test_every_slot_has_one_worker(batch: int, data: st.DataObject) -> None:
    lanes = data.draw(st.sampled_from([d for d in range(1, batch + 1) if batch % d == 0]))
    for world in range(1, lanes + 1):
        parts = [slots_of(batch, lanes, rank, world) for rank in range(world)]
        assert [slot for part in parts for slot in range(*part)] == list(range(batch))
        sizes = {stop - start for start, stop in parts}
        assert min(sizes) > 0
        assert max(sizes) - min(sizes) in (0, batch // lanes), "lanes are dealt as evenly as they go"


@ALL
@given(orders(), st.integers(0, 3))
def test_candidates_are_the_slot_s_window_and_windows_are_disjoint(order: Order, epoch: int) -> None:
    windows: Counter[tuple[int, ...]] = Counter()
    for t in range(epoch * order.batches, (epoch + 1) * order.batches):
        for slot in range(order.batch):
            found = [row for _, row in order.candidates(t, slot)]
            assert found[0] == order.locate_all(t, slot, slot + 1)[1][0]
            assert len(found) <= order.window
            windows[tuple(sorted(found))] += 1
    if order.laps == 1:  # else a window may hold a sample twice
        rows = [row for window in windows for row in window]
        assert sorted(rows) == sorted(epoch_rows(order, epoch)), "windows overlap, or leave something out"
        assert all(len(window) == slots for window, slots in windows.items()), "a window is that of its own slots"


@ALL
@given(orders(), st.integers(0, 3), st.data())
def test_a_shard_is_read_by_one_worker_but_for_those_that_the_end_of_a_part_divides(
    order: Order, epoch: int, data: st.DataObject
) -> None:
    """Each byte is read by one worker in an epoch, and each of the ends of the workers' parts of the line divides at
    most one shard; so does the place where the line begins. A set that is laid end to end with itself is read again."""
    world = data.draw(st.integers(1, order.lanes), "world")
    readers: dict[int, set[int]] = defaultdict(set)
    for rank in range(world):
        for rows in rows_of(order, epoch, rank, world):
            for shard in owners(order)[rows]:
                readers[int(shard)].add(rank)
    if order.laps == 1:
        assert sum(len(ranks) > 1 for ranks in readers.values()) <= world
        assert sum(len(ranks) for ranks in readers.values()) <= len(readers) + world


def test_workers_share_few_shards() -> None:
    """Eight workers open 20 shards 27 times in an epoch, and not 160 times."""
    order = Order([50] * 20, 16, 16, 0, "all", 1024)
    opened = {(rank, row // 50) for rank in range(8) for rows in rows_of(order, 0, rank, 8) for row in rows}
    assert 20 < len(opened) <= 20 + 8


@ALL
@given(orders(), st.data())
def test_every_shard_is_announced_before_it_is_read(order: Order, data: st.DataObject) -> None:
    """Of `needs`, on which staging relies: also for what replaces a bad sample."""
    world = data.draw(st.integers(1, order.lanes), "world")
    rank = data.draw(st.integers(0, world - 1), "rank")
    first = data.draw(st.integers(0, 2 * order.batches), "first batch read")
    start, stop = slots_of(order.batch, order.lanes, rank, world)
    lanes = range(start // order.per_lane, stop // order.per_lane)
    last = first + order.batches + 1
    announced = list(takewhile(lambda need: need[0] < last, order.needs(first, lanes)))
    assert [t for t, _, _ in announced] == sorted(t for t, _, _ in announced)
    for t in range(first, last):
        there = {shard for begin, end, shard in announced if begin <= t <= end}
        read = {row for slot in range(start, stop) for _, row in order.candidates(t, slot)}
        assert set(owners(order)[list(read)].tolist()) <= there


def test_two_domains_have_orders_that_know_nothing_of_each_other() -> None:
    """Over 40 seeds the places of the same row in A's and in B's order do not go together, and one row in a set's
    number meets its namesake: one, in the mean, of two random orders."""

    def places(seed: int, domain: str) -> np.ndarray:
        rows = np.concatenate(rows_of(Order([32] * 32, 16, 16, seed, domain, 1024), 0))
        return np.argsort(rows)

    both = [(places(seed, "A"), places(seed, "B")) for seed in range(40)]
    together = np.array([np.corrcoef(a, b)[0, 1] for a, b in both])
    assert abs(together.mean()) < 3 * together.std() / len(both) ** 0.5
    assert together.std() < 0.1
    assert 0.5 < np.mean([(a == b).sum() for a, b in both]) < 1.5


# ---- how well it shuffles ----

SHARDS = [1000] * 20


def displacement(order: Order, epochs: int = 4) -> tuple[float, float, float]:
    """How far samples are moved, as parts of how far a full shuffle of n moves them: n / 3 in the mean.

    Returns:
        The means of |place in an epoch - place in storage|, of |place in an epoch - place in the next|, and of |place -
        place of the next sample in storage|, each over n / 3.
    """
    n = order.batches * order.batch
    places = np.full((epochs, order.rows), np.nan)
    for epoch in range(epochs):
        places[epoch, np.concatenate(rows_of(order, epoch))] = np.arange(n)
    moves = (places - np.arange(order.rows), np.diff(places, axis=0), np.diff(places, axis=1))
    stored, between, neighbours = (float(np.nanmean(np.abs(move)) / (n / 3)) for move in moves)
    return stored, between, neighbours


@pytest.mark.parametrize("batch", [16, 64])
def test_the_default_window_moves_samples_as_far_as_a_full_shuffle(batch: int) -> None:
    stored, between, neighbours = displacement(Order(SHARDS, batch, lanes_of(batch), 0, "all", DataConfig().window))
    assert 0.9 < stored < 1.1
    assert 0.9 < between < 1.1
    assert neighbours > {16: 0.65, 64: 0.95}[batch], "a lane of 16 has a second, short window"


def test_displacement_is_what_it_says() -> None:
    class Still(Order):
        def locate_all(self, t: int, start: int, stop: int) -> tuple[int, np.ndarray]:
            return 0, np.arange(start, stop) + t % self.batches * self.batch

    stored, between, neighbours = displacement(Still(SHARDS, 16, 16, 0, "all", 1024))
    assert (stored, between) == (0, 0)
    assert neighbours == pytest.approx(3 / 20000)


if __name__ == "__main__":
    print("batch  window  from storage  between epochs  neighbours apart")
    for batch in (1, 16, 64):
        for window in (1, 64, 256, 1024):
            stored, between, neighbours = displacement(Order(SHARDS, batch, lanes_of(batch), 0, "all", window), 12)
            print(f"{batch:5}  {window:6}  {stored:12.2f}  {between:14.2f}  {neighbours:16.2f}")
