"""Histories of made images against the papers' rules on plain Python lists.

pytest tests/unit/test_history.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.methods.history import FakePool, History, RefinedHistory

from ..support.histories import PlainHistory, PlainPool

CPU = torch.device("cpu")
UPDATES = 14


KINDS: dict[str, tuple[Callable[[str, int], History], Callable[[str, int], PlainPool | PlainHistory]]] = {
    "cyclegan": (FakePool, PlainPool),
    "simgan": (RefinedHistory, PlainHistory),
}


def feed(size: int, updates: int = UPDATES, first: int = 0, seed: int = 0) -> Iterator[tuple[Tensor, Batch]]:
    """Batches with images that tell update and slot."""
    for t in range(first, first + updates):
        images = (torch.arange(size) + 100.0 * (t + 1))[:, None, None, None].expand(size, 2, 3, 4).double()
        yield images, Batch({"a": images}, size, 0, size, t * size, seed)


@pytest.mark.parametrize("capacity", [1, 2, 4, 7, 12, 1000])
@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_history_equals_plain_lists(kind: str, size: int, capacity: int) -> None:
    ours, plain = (make("h", capacity) for make in KINDS[kind])
    for images, batch in feed(size):
        torch.testing.assert_close(ours(images, batch), plain(images, batch), rtol=0, atol=0)
    state = ours.state()
    assert state is not None
    for slot in range(size):
        held = state["images"][slot][: state["filled"][slot]]
        expected = torch.stack(plain.lists[slot]) if plain.lists[slot] else held[:0]
        torch.testing.assert_close(held, expected, rtol=0, atol=0)
    assert plain.swaps or capacity > UPDATES * size / 2  # the test has seen what happens when it is full


def test_history_with_a_batch_of_one_is_the_papers_pool() -> None:
    """CycleGAN's pool as it is usually written: one list for all images."""
    ours, held, old = FakePool("pool", 5), [], 0
    for images, batch in feed(1, updates=40):
        (new,) = images
        expected = new
        if len(held) < 5:
            held.append(new)
        elif batch.draw("pool swap", kind="uniform").item() < 0.5:
            place = int(batch.draw("pool place", kind="uniform").item() * 5)
            expected, held[place] = held[place], new
            old += 1
        assert torch.equal(ours(images, batch)[0], expected)
    assert 10 <= old <= 25  # of 35, half


@pytest.mark.parametrize("size", [4, 5])
def test_history_gives_half_of_a_discriminators_batch(size: int) -> None:
    """Once every slot holds something: b/2 old ones, of an odd batch one more now and then; the others are new."""
    history, olds = RefinedHistory("h", 40), []
    for t, (images, batch) in enumerate(feed(size, updates=60)):
        given = history(images, batch)
        if t > 20:
            olds.append(int((given != images).flatten(1).any(1).sum()))
    assert set(olds) == {2} if size == 4 else set(olds) == {2, 3}
    assert size == 4 or 0.3 < sum(o == 3 for o in olds) / len(olds) < 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_history_uses_every_slot_and_every_place(kind: str) -> None:
    history, old, seen = KINDS[kind][0]("h", 9), set(), set()
    for images, batch in feed(3, updates=150):
        given = history(images, batch)[:, 0, 0, 0]
        state = history.state()
        assert state is not None
        old |= {slot for slot in range(3) if given[slot] != images[slot, 0, 0, 0]}
        fresh = (state["images"][:, :, 0, 0, 0] == images[:, :1, 0, 0]).nonzero().tolist()
        seen |= {tuple(place) for place in fresh}
    assert old == {0, 1, 2}
    assert seen == {(slot, place) for slot in range(3) for place in range(3)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("capacity", [3, 7, 20])
@pytest.mark.parametrize("cuts", [(0, 2, 5), (0, 1, 2, 3, 4, 5), (0, 4, 5)])
def test_history_of_a_batch_in_parts_gives_what_the_whole_gives(
    kind: str, capacity: int, cuts: tuple[int, ...]
) -> None:
    """Micro-batches share one history; workers have one each."""
    whole, together = KINDS[kind][0]("h", capacity), KINDS[kind][0]("h", capacity)
    apart = [KINDS[kind][0]("h", capacity) for _ in cuts[1:]]
    for images, batch in feed(5):
        expected = whole(images, batch)
        parts = [batch._cut(a, b) for a, b in pairwise(cuts)]
        torch.testing.assert_close(torch.cat([together(p["a"], p) for p in parts]), expected, rtol=0, atol=0)
        found = [history(p["a"], p) for history, p in zip(apart, parts, strict=True)]
        torch.testing.assert_close(torch.cat(found), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("capacity", [4, 13])
@pytest.mark.parametrize("numbers", [(1, 2, 3), (3, 1, 2), (2, 3, 1)])
def test_history_moves_images_with_their_slots_to_another_world_size(
    kind: str, capacity: int, numbers: tuple[int, ...]
) -> None:
    size, steps = 6, 5
    whole, states = KINDS[kind][0]("h", capacity), []
    for run, workers in enumerate(numbers):
        slots = [(rank * size // workers, (rank + 1) * size // workers) for rank in range(workers)]
        histories = [KINDS[kind][0]("h", capacity) for _ in range(workers)]
        for history, place in zip(histories, slots, strict=True):
            history.load(states, place, CPU)
        for images, batch in feed(size, steps, first=run * steps):
            parts = [batch._cut(*place) for place in slots]
            found = torch.cat([history(p["a"], p) for history, p in zip(histories, parts, strict=True)])
            torch.testing.assert_close(found, whole(images, batch), rtol=0, atol=0)
        states = [history.state() for history in reversed(histories)]  # their order says nothing
        for state, (start, stop) in zip(reversed(states), slots, strict=True):
            assert state is not None
            assert (state["first"], len(state["images"]), len(state["filled"])) == (start, stop - start, stop - start)


@pytest.mark.parametrize("kind", KINDS)
def test_history_that_never_began_has_no_state_and_loads_none(kind: str) -> None:
    history = KINDS[kind][0]("h", 5)
    assert history.state() is None
    history.load([None, None], (0, 3), CPU)
    assert history.state() is None
    history.load([], (0, 3), CPU)
    ((images, batch),) = feed(3, updates=1)
    assert torch.equal(history(images, batch), images)  # nothing is held yet


@pytest.mark.parametrize("kind", KINDS)
def test_history_without_capacity_gives_the_new_image(kind: str) -> None:
    history = KINDS[kind][0]("h", 0)
    for images, batch in feed(3):
        assert torch.equal(history(images, batch), images)
    assert history.state() is None


@pytest.mark.parametrize("capacity", [0, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_history_gives_and_holds_detached_copies(kind: str, capacity: int) -> None:
    history = KINDS[kind][0]("h", capacity)
    for images, batch in feed(3, updates=4):
        fake = images.clone().requires_grad_() * 1
        given = history(fake, batch)
        assert not given.requires_grad
        before = None if history.images is None else history.images.clone()
        fake.detach().fill_(-1)  # what was made may be overwritten
        assert before is None or torch.equal(before, history.images)


@pytest.mark.parametrize("kind", KINDS)
def test_history_takes_memory_for_its_capacity(kind: str) -> None:
    """No more than one image per slot above what was asked for, and in the images' own dtype."""
    history = KINDS[kind][0]("h", 7)
    for images, batch in feed(5):
        history(images.float(), batch)
    state = history.state()
    assert state is not None
    assert state["images"].shape == (5, 2, 2, 3, 4)
    assert state["images"].dtype == torch.float32
    assert state["filled"].sum() <= 7


def test_history_decides_apart_from_another() -> None:
    """CycleGAN's two pools are two histories: each has coins of its own."""
    one, two = FakePool("pool_x", 3), FakePool("pool_y", 3)
    differ = [not torch.equal(one(images, batch), two(images, batch)) for images, batch in feed(3, updates=30)]
    assert any(differ)
