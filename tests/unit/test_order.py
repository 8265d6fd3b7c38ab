"""The order of samples is a pure function of manifest, seed, batch and position.

pytest tests/unit/test_order.py
python -m tests.unit.test_order    prints how well it shuffles
"""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise, takewhile
from typing import Any

import numpy as np
import pytest

from i2i_core.config.data import DataConfig
from i2i_core.data.reading.lanes import LANES, ROOM, Cut, lane_bytes, lanes_of, slots_of
from i2i_core.data.reading.order import VERSION, Order, Stage
from i2i_core.data.reading.relations import Balanced, Companions, Relation, named_again
from i2i_core.data.reading.starts import Frames
from i2i_core.errors import ConfigError, DataError, ResourceError
from i2i_core.randomness import permutation

from ..support.plain_order import PlainOrder

CASES = [*range(40), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(40, 240))]
"""Random cases by seed."""


@dataclass
class Case:
    """A set of shards, a batch and all else that an order is made of, drawn by a seed."""

    seed: int

    @cached_property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, 7])

    @cached_property
    def clips(self) -> list[list[int]]:
        """Lengths of the clips of each shard; of samples that stand alone all are 1."""
        shards = {
            0: lambda: self.rng.integers(0, 4, 30),  # many tiny, some without a sample
            1: lambda: self.rng.integers(1, 90, self.rng.integers(1, 5)),  # few, uneven
            2: lambda: np.array([1, 80]),  # one tiny beside a large one
            3: lambda: np.array([1]),
        }[int(self.rng.choice(4, p=[0.35, 0.4, 0.15, 0.1]))]()
        shards[0] = max(shards[0], 1)
        if not self.in_clips:
            return [[1] * n for n in shards.tolist()]
        return [self.cut_up(n) for n in shards.tolist()]

    def cut_up(self, n: int) -> list[int]:
        lengths: list[int] = []
        while sum(lengths) < n:
            lengths.append(min(int(self.rng.integers(1, 15)), n - sum(lengths)))
        return lengths

    @cached_property
    def in_clips(self) -> bool:
        return self.seed % 2 == 1

    @cached_property
    def unit(self) -> str:
        return ("start", "clip")[self.seed % 4 == 3]

    @cached_property
    def batch(self) -> int:
        return int(self.rng.choice([1, 1, 2, 3, 5, 8, 17, 32]))

    @cached_property
    def lanes(self) -> int:
        return self.batch * int(self.rng.choice([1, 2, 3, 7, 64]))

    @cached_property
    def window(self) -> int:
        return int(self.rng.choice([1, 2, 5, 12, 1024]))

    @cached_property
    def stages(self) -> list[tuple[int, int, int]]:
        """(frames, stride, epochs) of stages that some clip is long enough for."""
        if not self.in_clips:
            return [(1, 1, 1)]
        longest = max(length for clips in self.clips for length in clips)
        drawn = [tuple(self.rng.integers(1, 5, 3).tolist()) for _ in range(6)]
        return [(f, s, min(e, 2)) for f, s, e in drawn if (f - 1) * s < longest][:3] or [(1, 1, 1)]

    @cached_property
    def counts(self) -> list[int]:
        return list(map(sum, self.clips))

    def order(self, **other: Any) -> Order:
        """A new order, which has not seen what came before."""
        stages = [Stage(Frames(frames, stride), epochs) for frames, stride, epochs in self.stages]
        values = {"clips": self.clips if self.in_clips else None, "stages": stages, "unit": self.unit, **other}
        return Order(self.counts, self.batch, self.lanes, self.seed, "all", self.window, **values)

    @cached_property
    def plain(self) -> PlainOrder:
        return PlainOrder(self.clips, self.batch, self.lanes, self.seed, "all", self.window, self.stages, self.unit)

    @cached_property
    def clip_of(self) -> np.ndarray:
        """The clip of each row, numbered through."""
        lengths = [length for clips in self.clips for length in clips]
        return np.repeat(np.arange(len(lengths)), lengths)

    @cached_property
    def shard_of(self) -> np.ndarray:
        """The shard of each row."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def epochs(self, order: Order) -> range:
        """Epochs of every stage, and one more of the last; no more than are soon played."""
        return range(min(sum(epochs for *_, epochs in self.stages) + 1, 5))


def whole_epoch(order: Order, epoch: int) -> list[list[int]]:
    """The first rows of every global batch of an epoch."""
    first = order.first_of(epoch)
    return [order.locate_all(t, 0, order.batch)[1].tolist() for t in range(first, order.first_of(epoch + 1))]


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


# ---- for all shards, clips, batches, lanes, windows and schedules ----


@pytest.mark.parametrize("seed", CASES)
def test_order_is_the_one_that_is_written_out_in_full(seed: int) -> None:
    case = Case(seed)
    order = case.order()
    last = order.first_of(case.epochs(order)[-1] + 1)
    for t, (slots, frames, stride) in enumerate(case.plain.play(last)):
        epoch, rows = order.locate_all(t, 0, case.batch)
        assert rows.tolist() == [slot.row for slot in slots]
        assert {slot.epoch for slot in slots} == {epoch} == {order.epoch_at(t).number}
        assert (order.frames_at(t).number, order.frames_at(t).stride) == (frames, stride)
        for i in case.rng.choice(case.batch, min(3, case.batch), replace=False):
            assert [row for _, row in order.candidates(t, i)] == list(slots[i].window)
            assert order.around(t, i).lane == slots[i].lane


@pytest.mark.parametrize("seed", CASES)
def test_order_uses_each_start_at_most_once_an_epoch_and_leaves_out_less_than_a_batch(seed: int) -> None:
    case = Case(seed)
    order = case.order()
    for epoch in case.epochs(order):
        stage = order.epoch_at(order.first_of(epoch)).stage
        sequence, cut = order.starts[stage].frames, order.cuts[stage]
        ends = np.cumsum([length for clips in case.clips for length in clips])
        can = {row for row in range(sum(case.counts)) if row + sequence.reach < ends[case.clip_of[row]]}
        rows = flat(whole_epoch(order, epoch))
        used = Counter(case.clip_of[rows].tolist() if case.unit == "clip" else rows)
        units = len(set(case.clip_of[list(can)].tolist())) if case.unit == "clip" else len(can)
        assert set(rows) <= can, "a sequence crosses the end of a clip"
        assert max(used.values()) <= cut.laps
        assert (cut.laps == 1) == (units >= case.batch)
        assert 0 <= cut.laps * units - len(rows) < case.batch


@pytest.mark.parametrize("seed", CASES)
def test_order_gives_sequences_of_consecutive_rows_of_one_clip(seed: int) -> None:
    case = Case(seed)
    order = case.order()
    for epoch in case.epochs(order):
        t = order.first_of(epoch)
        rows = order.frame_rows(t, order.locate_all(t, 0, case.batch)[1])
        sequence = order.frames_at(t)
        assert rows.shape == (case.batch, sequence.number)
        assert (np.diff(rows, axis=1) == sequence.stride).all()
        assert (case.clip_of[rows] == case.clip_of[rows[:, :1]]).all()


@pytest.mark.parametrize("seed", CASES)
def test_order_does_not_depend_on_workers_loaders_or_where_reading_began(seed: int) -> None:
    """Parts of workers, each read by loaders that take batches in turn, side by side are the whole batch; an order
    that never saw what came before agrees."""
    case = Case(seed)
    order = case.order()
    last = min(order.first_of(case.epochs(order)[-1] + 1), 150)
    world, loaders = int(case.rng.integers(1, case.batch + 1)), int(case.rng.integers(1, 4))
    first = int(case.rng.integers(0, last))
    workers = [[case.order() for _ in range(loaders)] for _ in range(world)]
    for t in range(first, last):
        parts = [
            loader[t % loaders].locate_all(t, *slots_of(case.batch, rank, world))[1]
            for rank, loader in enumerate(workers)
        ]
        assert np.concatenate(parts).tolist() == order.locate_all(t, 0, case.batch)[1].tolist()


@pytest.mark.parametrize("seed", CASES)
def test_order_replaces_a_sample_by_others_of_its_lane_s_window(seed: int) -> None:
    """Which are those of the other slots that read from it, and windows are disjoint."""
    case = Case(seed)
    order = case.order()
    epoch = int(case.rng.choice(case.epochs(order)))
    first, last = order.first_of(epoch), order.first_of(epoch + 1)
    readers: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    members: dict[tuple[int, int], list[int]] = {}
    for t in range(first, last):
        for slot in range(case.batch):
            around = order.around(t, slot)
            assert around.lane % case.batch == slot, "a slot reads its own lanes"
            assert [row for _, row in order.candidates(t, slot)] == around.in_turn
            assert around.in_turn[0] == order.locate(t, slot)[1]
            assert len(around.rows) <= case.window
            readers[around.lane, around.window].append(around.in_turn[0])
            members[around.lane, around.window] = sorted(around.rows.tolist())
    assert {key: sorted(rows) for key, rows in readers.items()} == members


@pytest.mark.parametrize("seed", CASES)
def test_order_announces_every_shard_before_it_is_read(seed: int) -> None:
    """To staging: also those of what replaces a bad sample, and of its companions."""
    case = Case(seed)
    order = case.order()
    world = int(case.rng.integers(1, case.batch + 1))
    start, stop = slots_of(case.batch, int(case.rng.integers(0, world)), world)
    end = order.first_of(case.epochs(order)[-1] + 1)
    first = int(case.rng.integers(0, end))
    last = min(end + 1, first + 60)
    announced = list(takewhile(lambda need: need[0] < last, order.needs(first, start, stop)))
    assert [t for t, _, _ in announced] == sorted(t for t, _, _ in announced)
    assert len(set(announced)) == len(announced)
    companions = Companions(order, lambda rows: rows % 2, 1)
    for t in range(first, last):
        there = {shard for begin, until, shard in announced if begin <= t <= until}
        for slot in range(start, stop):
            related = list(companions.candidates(t, slot))
            read = {row for _, row in order.candidates(t, slot)}
            read |= {row for each in related for row in each.companions}
            assert set(case.shard_of[order.frame_rows(t, np.array(list(read)))].ravel().tolist()) <= there


@pytest.mark.parametrize("seed", CASES)
def test_order_asks_for_few_shards_at_a_time(seed: int) -> None:
    """Of a worker's lanes each lies on the shards that its window touches."""
    case = Case(seed)
    if case.in_clips or 0 in case.counts:
        case.clips = [[1] * 10 for _ in range(40)]
    case.in_clips, case.unit, case.stages = False, "start", [(1, 1, 1)]
    case.counts = list(map(sum, case.clips))
    order = case.order()
    world = int(case.rng.integers(1, case.batch + 1))
    start, stop = slots_of(case.batch, 0, world)
    per_lane = case.window / min(case.counts) + 2 * order.cuts[0].laps
    at_once = Counter(t for t, _, _ in takewhile(lambda need: need[0] < order.batches, order.needs(0, start, stop)))
    assert max(at_once.values()) <= (stop - start) * order.cuts[0].per_slot * per_lane


@pytest.mark.parametrize("seed", CASES)
def test_order_has_shards_read_by_one_worker_but_for_those_that_ends_divide(seed: int) -> None:
    """Each byte is read by one worker in an epoch, and each end of a stretch of a worker's lanes divides at most one
    shard; so does the place where the line begins. A set that is laid end to end with itself is read again."""
    case = Case(seed)
    order = case.order()
    world = int(case.rng.integers(1, case.batch + 1))
    readers: defaultdict[int, set[int]] = defaultdict(set)
    for batch in whole_epoch(order, 0):
        for rank in range(world):
            for row in batch[slice(*slots_of(case.batch, rank, world))]:
                readers[int(case.shard_of[row])].add(rank)
    cut = order.cuts[0]
    if cut.laps == 1 and case.unit == "start":
        assert sum(len(ranks) for ranks in readers.values()) <= len(readers) + world * cut.per_slot


@pytest.mark.parametrize("seed", CASES)
def test_order_says_the_epoch_of_every_batch(seed: int) -> None:
    case = Case(seed)
    order = case.order()
    for epoch in case.epochs(order):
        first, after = order.first_of(epoch), order.first_of(epoch + 1)
        found = [order.epoch_at(t) for t in range(first, after)]
        assert set(found) == {found[0]}
        assert (found[0].number, found[0].first, found[0].last) == (epoch, first, after - 1)
        assert order.epoch_at(after).number == epoch + 1


@pytest.mark.parametrize("seed", CASES)
def test_companions_have_the_relation(seed: int) -> None:
    case = Case(seed)
    order = case.order()
    classes = case.rng.integers(0, int(case.rng.integers(1, 5)), sum(case.counts))
    wanted = int(case.rng.integers(1, 4))
    relation: Relation = case.rng.choice(["same", "other"])
    companions = Companions(order, lambda rows: classes[rows], wanted, relation)
    for t in case.rng.integers(0, order.first_of(case.epochs(order)[-1] + 1), 12).tolist():
        slot = int(case.rng.integers(0, case.batch))
        window, near = order.around(t, slot).in_turn, order.near(t, slot).tolist()
        assert set(near) >= set(window)
        every = list(companions.candidates(t, slot))
        assert [each.row for each in every] == list(dict.fromkeys(window)), "in the order of replacement"
        for each in every:
            mates = {
                row for row in near if row != each.row and (classes[row] == classes[each.row]) == (relation == "same")
            }
            assert set(each.companions) == mates
            assert len(each.companions) == len(mates), "each once"
            assert bool(each.lacking) == (len(mates) < wanted)
        if all(each.lacking for each in every):
            with pytest.raises(DataError, match="--shard-samples"):
                companions.locate(t, slot)
        else:
            found, passed = companions.locate(t, slot)
            assert [*passed, found] == every[: len(passed) + 1]
            assert not found.lacking
            assert all(each.lacking for each in passed)


@pytest.mark.parametrize("seed", CASES)
def test_balanced_draws_from_the_slot_s_own_window_and_keeps_the_length(seed: int) -> None:
    case = Case(seed)
    order = case.order()
    classes = case.rng.integers(0, 3, sum(case.counts)) ** 2 // 2
    balanced = Balanced(order, lambda rows: classes[rows], np.bincount(classes, minlength=3).tolist())
    again = Balanced(case.order(), lambda rows: classes[rows], np.bincount(classes, minlength=3).tolist())
    for t in case.rng.integers(0, order.first_of(case.epochs(order)[-1] + 1), 12).tolist():
        slot = int(case.rng.integers(0, case.batch))
        around, plain = balanced.around(t, slot), order.around(t, slot)
        assert (around.lane, around.window, around.at) == (plain.lane, plain.window, plain.at)
        assert around.rows.tolist() == again.around(t, slot).rows.tolist()
        assert len(around.rows) == len(plain.rows)
        times = Counter(around.rows.tolist())
        for one in set(classes[plain.rows].tolist()):
            rows = plain.rows[classes[plain.rows] == one].tolist()
            each = [times[row] / rows.count(row) for row in rows]
            assert max(each) - min(each) <= 1, "samples of a class come equally often"
        taken = [row for _, row in balanced.candidates(t, slot)]
        assert taken[0] == around.in_turn[0]
        assert sorted(taken) == sorted(set(plain.rows.tolist())), "what may replace it: all of the window, each once"


# ---- relations ----


def test_balanced_brings_each_class_equally_often() -> None:
    """Of a class with 4 in 100, one with 16 and one with 80, a third each over some epochs, to within 1%."""
    rng = np.random.default_rng(0)
    classes = rng.choice(3, 20_000, p=[0.04, 0.16, 0.8])
    order = Order([1000] * 20, 8, lanes_of(8), 0, "all", 256)
    balanced = Balanced(order, lambda rows: classes[rows], np.bincount(classes).tolist())
    seen = np.bincount([classes[balanced.around(t, slot).row] for t in range(2 * order.batches) for slot in range(8)])
    assert seen.sum() == 2 * order.batches * 8
    assert np.allclose(seen / seen.sum(), 1 / 3, rtol=0.01)


def test_balanced_makes_up_for_windows_without_a_class() -> None:
    """Of 20,000 samples, 40 are of a class; a window of 250 has one of them 4 times in 10."""
    classes = np.zeros(20_000, int)
    classes[np.random.default_rng(0).choice(20_000, 40, replace=False)] = 1
    order = Order([1000] * 20, 1, 1, 0, "all", 250)
    balanced = Balanced(order, lambda rows: classes[rows], [19_960, 40])
    chance = 1 - (1 - 40 / 20_000) ** 250
    share = (1 / chance) / (1 + 1 / chance)
    found = 0
    for t in range(0, order.batches, 250):
        windows = [classes[each.around(t, 0).rows] for each in (balanced, order)]
        assert abs(windows[0].mean() - share * windows[1].any()) < 1 / 250
        found += windows[1].any()
    assert 20 < found < 45


def test_companions_of_balanced_samples_are_found_in_whole_shards() -> None:
    """Also those that the balance leaves out, and no sample is its own companion where it is repeated."""
    classes = np.array([0] * 60 + [1] * 4)
    order = Order([64], 1, 1, 0, "all", 64)
    balanced = Balanced(order, lambda rows: classes[rows], [60, 4])
    companions = Companions(balanced, lambda rows: classes[rows], 3)
    found = [companions.locate(t, 0)[0] for t in range(64)]
    assert [each.row for each in found] == [balanced.around(t, 0).row for t in range(64)]
    assert sum(each.row >= 60 for each in found) == 32
    for each in found:
        assert set(each.companions) == set(range(60, 64) if each.row >= 60 else range(60)) - {each.row}


def test_companions_are_drawn_anew_for_each_place() -> None:
    order = Order([64], 1, 1, 0, "all", 64)
    companions = Companions(order, lambda rows: rows * 0, 1)
    first = [companions.locate(t, 0)[0].companions[0] for t in range(64)]
    assert len(set(first)) > 32


def test_order_of_a_domain_named_twice_knows_nothing_of_the_first() -> None:
    order = Order([32] * 32, 16, 64, 0, "A", 1024)
    again = named_again(order, 1)
    assert again.key != order.key
    assert flat(whole_epoch(order, 0)) != flat(whole_epoch(again, 0))
    assert flat(whole_epoch(again, 0)) != flat(whole_epoch(named_again(order, 2), 0))
    assert flat(whole_epoch(order, 0)) == flat(whole_epoch(Order([32] * 32, 16, 64, 0, "A", 1024), 0))


@pytest.mark.parametrize("twice", [False, True], ids=["two domains", "one domain twice"])
def test_orders_of_two_domains_do_not_go_together(twice: bool) -> None:
    """Over 40 seeds the places of the same row in one order and in the other are not correlated, and one row in a set's
    number meets its namesake: one, in the mean, of two random orders."""

    def places(order: Order) -> np.ndarray:
        return np.argsort(flat(whole_epoch(order, 0)))

    both = []
    for seed in range(40):
        a, b = (Order([32] * 32, 16, 64, seed, domain, 1024) for domain in "AB")
        both.append((places(a), places(named_again(a, 1) if twice else b)))
    together = np.array([np.corrcoef(a, b)[0, 1] for a, b in both])
    assert abs(together.mean()) < 3 * together.std() / len(both) ** 0.5
    assert together.std() < 0.1
    assert 0.5 < np.mean([(a == b).sum() for a, b in both]) < 1.5


# ---- schedules and clips ----

CLIPS = [[30, 2, 9], [5, 40], [1, 1, 1, 25]]


def frames_of(*stages: tuple[int, int, int], batch: int = 4, **values: Any) -> Order:
    listed = [Stage(Frames(frames, stride), epochs) for frames, stride, epochs in stages]
    return Order(list(map(sum, CLIPS)), batch, 64, 0, "all", 1024, clips=CLIPS, stages=listed, **values)


def test_order_changes_the_sequence_at_the_end_of_an_epoch() -> None:
    """Frames 3, then 6 with a stride of 2; clips that are too short are counted, and give no start."""
    order = frames_of((3, 1, 2), (6, 2, 1))
    starts = [28 + 7 + 3 + 38 + 23, 20 + 30 + 15]
    assert [each.total for each in order.starts] == starts
    assert [each.too_short for each in order.starts] == [4, 6]
    assert order.batches == starts[0] // 4
    turn = 2 * (starts[0] // 4)
    assert [order.frames_at(t).number for t in (0, turn - 1, turn, turn + 1000)] == [3, 3, 6, 6]
    assert [order.first_of(epoch) for epoch in range(5)] == [0, turn // 2, turn, turn + 16, turn + 32]
    assert [order.epoch_at(t).number for t in (0, turn - 1, turn, turn + 15, turn + 16)] == [0, 1, 2, 2, 3]


def test_order_of_a_longer_domain_ends_the_stages_of_a_shorter_one() -> None:
    """The two have the same sequences at every batch; an epoch that the end of a stage falls in is cut short."""
    longer = frames_of((2, 1, 1), (5, 1, 1), batch=2)
    shorter = Order([20], 2, 64, 0, "B", 1024, clips=[[20]], stages=longer_stages(longer), ends=longer.ends)
    assert shorter.batches < longer.batches
    for t in range(longer.first_of(3)):
        assert shorter.frames_at(t) == longer.frames_at(t)
    epochs = [shorter.epoch_at(t) for t in range(longer.first_of(3))]
    assert [e.number for e in epochs] == sorted(e.number for e in epochs)
    assert all(b.number - a.number in (0, 1) for a, b in pairwise(epochs))
    cut = shorter.epoch_at(longer.ends[0] - 1)
    assert cut.last == longer.ends[0] - 1
    assert cut.batches < shorter.batches
    needed = list(takewhile(lambda need: need[0] < longer.first_of(3), shorter.needs(0, 0, 2)))
    assert all(last <= shorter.epoch_at(t).last for t, last, _ in needed)
    assert {shorter.epoch_at(t).number for t, _, _ in needed} == {e.number for e in epochs}


def longer_stages(order: Order) -> list[Stage]:
    return [Stage(starts.frames) for starts in order.starts]


def test_order_refuses_a_stage_that_ends_where_it_begins() -> None:
    with pytest.raises(ConfigError, match="stage 1"):
        frames_of((1, 1, 0), (2, 1, 1))


def test_order_draws_one_start_of_each_clip_anew_each_epoch() -> None:
    order = frames_of((3, 1, 1), unit="clip", batch=1)
    assert order.batches == 5
    epochs = [sorted(flat(whole_epoch(order, epoch))) for epoch in range(200)]
    clip_of = np.repeat(np.arange(9), [length for clips in CLIPS for length in clips])
    assert {tuple(clip_of[rows].tolist()) for rows in epochs} == {(0, 2, 3, 4, 8)}
    assert len({rows[3] for rows in epochs}) == 38, "every start of a clip, in time"


@pytest.mark.parametrize(
    ("clips", "frames", "says"),
    [
        (None, 2, "90 clips, all shorter than 2 rows; expected a clip that holds 2 frames"),
        ([[30], [29], [30]], 1, "shard 1: found clips of 29 rows in a shard of 30"),
        ([[30], [30, 0], [30]], 1, "shard 1: found"),
    ],
)
def test_starts_refuse_clips_that_hold_no_sequence_or_do_not_fit(clips: Any, frames: int, says: str) -> None:
    with pytest.raises(DataError, match=says):
        Order([30, 30, 30], 4, 64, 0, "all", 8, clips=clips, stages=[Stage(Frames(frames))])


@pytest.mark.parametrize("name", ["number", "stride"])
def test_frames_refuse_nothing(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: found 0"):
        Frames(**{name: 0})


# ---- lanes and slots ----


@pytest.mark.parametrize(
    ("batch", "lanes"), [(1, 64), (2, 64), (3, 66), (16, 64), (48, 96), (64, 64), (65, 65), (256, 256)]
)
def test_lanes_are_as_many_times_the_batch_as_reach_64(batch: int, lanes: int) -> None:
    assert lanes_of(batch) == lanes
    assert lanes_of(batch, 2 * batch) == 2 * batch


@pytest.mark.parametrize(("batch", "wanted", "fix"), [(16, 8, "--lanes 16,"), (6, 20, "--lanes 18 or --lanes 24,")])
def test_lanes_that_are_no_multiple_of_the_batch_are_refused(batch: int, wanted: int, fix: str) -> None:
    with pytest.raises(
        ResourceError, match=f"--lanes: found {wanted}; expected a multiple of the batch, {batch}"
    ) as caught:
        lanes_of(batch, wanted)
    assert fix in str(caught.value)


def test_lanes_are_no_more_than_shards_have_room_for() -> None:
    """A set that fits whole, or the lanes of the batch itself, are not held back."""
    small = lane_bytes(10**9, 100, 100_000, 1024)
    assert (small, lanes_of(1, 0, small)) == (0, LANES)
    large = lane_bytes(10**12, 1000, 1_000_000, 1024)  # shards of 1 GB, of 1000 samples
    assert large == pytest.approx(3.024e9)
    assert [lanes_of(batch, 0, large) for batch in (1, 2, 5, 64)] == [6, 6, 5, 64]
    assert lanes_of(1, 0, large) * large <= ROOM
    assert lanes_of(1, 32, large) == 32, "as asked for"


def test_cut_has_no_more_lanes_than_spans_of_one_window_take() -> None:
    assert Cut(1000, 1, 64, 1024).per_slot == 1
    assert Cut(2000, 1, 64, 1024).per_slot == 2
    assert Cut(20_000, 16, 64, 1024).per_slot == 2
    assert Cut(20_000, 1, 64, 1024).per_slot == 20
    assert Cut(10**6, 1, 64, 1024).per_slot == 64


@pytest.mark.parametrize("seed", range(30))
def test_cut_leaves_no_gap_on_the_line(seed: int) -> None:
    rng = np.random.default_rng(seed)
    batch = int(rng.integers(1, 20))
    cut = Cut(int(rng.integers(1, 500)), batch, batch * int(rng.integers(1, 30)), int(rng.integers(1, 40)))
    lanes = range(batch * cut.per_slot)
    spans = [cut.span_of(lane) for lane in lanes]
    assert max(spans) - min(spans) <= 1
    assert [cut.begin_of(lane) for lane in lanes] == [sum(spans[:lane]) for lane in lanes]
    assert sum(spans) == cut.batches * batch
    for lane in lanes:
        stretches = [cut.stretch(lane, window) for window in range(cut.windows)]
        assert [a for a, _ in stretches] == [cut.begin_of(lane), *(b for _, b in stretches[:-1])]
        assert stretches[-1][1] == cut.begin_of(lane) + spans[lane]
    assert [cut.window_of(r) for r in range(cut.rounds)] == [
        next(w for w in range(cut.windows) if r < cut.edge(w + 1)) for r in range(cut.rounds)
    ]


@pytest.mark.parametrize("batch", [1, 7, 16, 64, 100])
def test_slots_are_dealt_to_workers_without_gap_or_overlap(batch: int) -> None:
    for world in range(1, batch + 1):
        parts = [slots_of(batch, rank, world) for rank in range(world)]
        assert [slot for part in parts for slot in range(*part)] == list(range(batch))
        sizes = {stop - start for start, stop in parts}
        assert min(sizes) > 0
        assert max(sizes) - min(sizes) <= 1, "slots are dealt as evenly as they go"


def test_slots_of_more_workers_than_samples_are_refused() -> None:
    with pytest.raises(ResourceError, match="Use --workers 7, or --batch 9") as caught:
        slots_of(7, 0, 9)
    assert "at most 7 workers" in str(caught.value)
    assert slots_of(9, 8, 9) == (8, 9)


# ---- what is true of any order ----


def test_order_differs_by_epoch_and_by_seed() -> None:
    order, other = (Order([30, 30, 30], 10, 70, seed, "all", 1024) for seed in (0, 1))
    assert flat(whole_epoch(order, 0)) != flat(whole_epoch(order, 1))
    assert flat(whole_epoch(order, 0)) != flat(whole_epoch(other, 0))


def test_order_brings_every_sample_within_a_few_epochs() -> None:
    """What an epoch leaves out is not always the same tail, even of a single shard."""
    order = Order([19], 8, 64, 0, "all", 1024)
    assert set().union(*(flat(whole_epoch(order, e)) for e in range(8))) == set(range(19))


def test_order_is_what_it_was() -> None:
    """Golden: a change here silently reorders every run ever started. Raise VERSION, and record what it is."""
    assert permutation(8, 0, "all", "shards", 0).tolist() == [4, 2, 3, 0, 1, 7, 6, 5]
    assert VERSION == 2
    order = Order([5, 9, 3, 8], 2, 6, 0, "all", 5)
    assert order.cuts[0].per_slot == 3
    assert flat(whole_epoch(order, 0)) == GOLDEN


GOLDEN = [10, 3, 18, 21, 24, 14, 17, 5, 1, 23, 11, 15, 8, 13, 19, 6, 0, 22, 16, 4, 9, 20, 2, 12]


def test_order_has_workers_share_few_shards() -> None:
    """Eight workers open 20 shards 27 times in an epoch, and not 160 times."""
    order = Order([50] * 20, 16, lanes_of(16), 0, "all", 1024)
    opened = {
        (rank, row // 50)
        for batch in whole_epoch(order, 0)
        for rank in range(8)
        for row in batch[slice(*slots_of(16, rank, 8))]
    }
    assert 20 < len(opened) <= 20 + 8


@pytest.mark.parametrize("samples", [10**6, 10**8, 10**9])
def test_order_takes_memory_and_time_by_shards_alone(samples: int) -> None:
    """10^5 shards, whatever they hold: made in less than a second of CPU, in a few megabytes."""
    counts = np.full(100_000, samples // 100_000)
    tracemalloc.start()
    begun = time.process_time()
    order = Order(counts, 64, lanes_of(64), 0, "all", 1024)
    made = time.process_time() - begun
    for t in (0, order.batches // 2, 3 * order.batches):
        order.locate_all(t, 0, 64)
        list(order.candidates(t, 7))
        list(islice(order.needs(t, 0, 8), 100))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made < 1
    assert most < 30e6


def test_order_asks_for_clips_shard_by_shard() -> None:
    """They may be read when they are needed: none is kept for all shards."""

    asked = []

    class Read(list[list[int]]):
        def __getitem__(self, shard: Any) -> Any:
            asked.append(shard)
            return super().__getitem__(shard)

    clips = Read([[10, 10]] * 50)
    order = Order([20] * 50, 2, 64, 0, "all", 8, clips=clips, stages=[Stage(Frames(4))])
    assert asked == list(range(50)), "once each, to count their starts"
    asked.clear()
    order.locate(0, 0)
    assert 1 <= len(set(asked)) <= 3, "those that the window lies on"


# ---- how well it shuffles ----

SHARDS = {"one shard": [20_000], "20 shards": [1000] * 20}


@dataclass
class Shuffled:
    """How well an order shuffles: the first three over what a full shuffle of n has, n / 3 in the mean.

    Attributes:
        stored: |place in an epoch - place in storage|.
        between: |place in an epoch - place in the next|.
        neighbours: |place - place of the next sample in storage|.
        lag: correlation of the mean place in storage of a batch with that of the next.
    """

    stored: float
    between: float
    neighbours: float
    lag: float


def shuffled(order: Order, epochs: int = 4) -> Shuffled:
    n = order.batches * order.batch
    places = np.full((epochs, int(order.counts.sum())), np.nan)
    lags = []
    for epoch in range(epochs):
        rows = np.array(whole_epoch(order, epoch))
        places[epoch, rows.ravel()] = np.arange(n)
        means = rows.mean(axis=1)
        lags.append(np.corrcoef(means[:-1], means[1:])[0, 1])
    moves = (places - np.arange(places.shape[1]), np.diff(places, axis=0), np.diff(places, axis=1))
    return Shuffled(*(float(np.nanmean(np.abs(move)) / (n / 3)) for move in moves), lag=float(np.mean(lags)))


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("batch", [1, 16])
def test_order_of_small_batches_shuffles_as_that_of_64(batch: int, shards: str) -> None:
    """And that as a full shuffle does, with the default window."""
    small, full = (shuffled(Order(SHARDS[shards], b, lanes_of(b), 0, "all", DataConfig().window)) for b in (batch, 64))
    for name in ("stored", "between", "neighbours"):
        assert getattr(small, name) == pytest.approx(getattr(full, name), rel=0.05)
        assert 0.93 < getattr(small, name) < 1.07
    per_slot = {1: 20, 16: 2}[batch]
    assert -1 / per_slot - 0.03 < small.lag < 0.03, "below zero: what follows comes from another lane"
    assert abs(full.lag) < 0.1


def test_order_shuffles_as_well_as_the_docs_say() -> None:
    class Still(Order):
        def locate_all(self, t: int, start: int, stop: int) -> tuple[int, np.ndarray]:
            return 0, np.arange(start, stop) + t % self.batches * self.batch

    found = shuffled(Still([1000] * 20, 16, 16, 0, "all", 1024))
    assert (found.stored, found.between) == (0, 0)
    assert found.neighbours == pytest.approx(3 / 20000)
    assert found.lag == pytest.approx(1)


if __name__ == "__main__":
    print("shards     batch  window  lanes  from storage  between epochs  neighbours  lag 1")
    for name, counts in SHARDS.items():
        for batch in (1, 16, 64):
            for window in (1, 64, 256, 1024):
                order = Order(counts, batch, lanes_of(batch), 0, "all", window)
                found = shuffled(order, 12)
                lanes = batch * order.cuts[0].per_slot
                print(
                    f"{name:10} {batch:5}  {window:6}  {lanes:5}  {found.stored:12.2f}  {found.between:14.2f}  "
                    f"{found.neighbours:10.2f}  {found.lag:5.2f}",
                    flush=True,
                )
