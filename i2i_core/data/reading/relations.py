"""Relate samples to each other, by pure functions on top of an order.

A domain may be named twice, each time in an order of its own; a sample may have companions of its own or of another
class; classes may come equally often. All of it is found in the window of the slot's lane, whose shards staging knows,
and by the labels of the index, which every worker reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np

from i2i_core.data.reading.order import Around, Order
from i2i_core.errors import DataError
from i2i_core.randomness import permutation, seed_from

Classes = Callable[[np.ndarray], np.ndarray]
"""The class, as a number from 0, of each of some rows."""
Relation = Literal["same", "other"]


class Candidates(Protocol):
    """An order, or what stands on top of one."""

    key: tuple[int, str]

    def candidates(self, t: int, slot: int) -> Iterator[tuple[int, int]]: ...


def named_again(order: Order, number: int) -> Order:
    """Return another order of the same domain, which knows nothing of the first one.

    Args:
        order: that of the domain where it is named first.
        number: how often it was named before.
    """
    other = copy(order)
    seed, domain = order.key
    other.key = (seed, f"{domain} again {number}")
    return other


class Balanced:
    """An order in which every class comes equally often in expectation: windows repeat samples of rare classes, and
    leave out as many of frequent ones. An epoch is as long as before.

    The classes that a window has share its places equally, but for those that are rarer than windows: they have a
    larger share, for the windows that have none. Of each class the samples come equally often, to within one.

    Args:
        order: what it stands on.
        classes: the class of each of some rows.
        counts: samples of each class, in the whole set.
    """

    def __init__(self, order: Order, classes: Classes, counts: Sequence[int]) -> None:
        self.order, self.classes, self.key = order, classes, order.key
        self.shares = np.asarray(counts, np.float64) / sum(counts)
        self._remember()

    def _remember(self) -> None:
        self._drawn = lru_cache(maxsize=256)(self._draw)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_drawn"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._remember()

    def around(self, t: int, slot: int) -> Around:
        """Return the window of a lane that a slot of global batch number t reads from, balanced."""
        found = self.order.around(t, slot)
        return replace(found, rows=self._drawn(found.epoch, found.lane, found.window, found.rows.tobytes()))

    @property
    def batches(self) -> int:
        """Global batches in an epoch, as without balance."""
        return self.order.batches

    def locate_all(self, t: int, start: int, stop: int) -> tuple[int, np.ndarray]:
        """As `Order.locate_all`."""
        found = [self.around(t, slot) for slot in range(start, stop)]
        return found[0].epoch, np.array([each.row for each in found], np.int64)

    def frame_rows(self, t: int, rows: np.ndarray) -> np.ndarray:
        """As `Order.frame_rows`."""
        return self.order.frame_rows(t, rows)

    def needs(self, first: int, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """As `Order.needs`: the same shards."""
        return self.order.needs(first, start, stop)

    def _draw(self, epoch: int, lane: int, window: int, rows: bytes) -> np.ndarray:
        """Repeat or leave out the rows of a window, so that the classes that it has come to their shares."""
        of_window = np.frombuffer(rows, np.int64)
        classes, n = self.classes(of_window), len(of_window)
        by_class = np.argsort(classes, kind="stable")
        here = np.bincount(classes, minlength=len(self.shares))
        sums = np.cumsum(1 / (_chance(self.shares, n) * here)[classes[by_class]])
        seed = (*self.key, "balance", epoch, lane, window)
        points = (np.arange(n) + seed_from(*seed) / 2**63) * (sums[-1] / n)
        chosen = by_class[np.minimum(np.searchsorted(sums, points, side="right"), n - 1)]
        return of_window[chosen[permutation(n, *seed)]]

    def candidates(self, t: int, slot: int) -> Iterator[tuple[int, int]]:
        """Give the slot's own (epoch, row), then the others of its window, each once: first those that are drawn."""
        drawn, every = self.around(t, slot), self.order.around(t, slot)
        return ((drawn.epoch, row) for row in dict.fromkeys(drawn.in_turn + every.in_turn))


def _chance(shares: np.ndarray, n: int) -> np.ndarray:
    """Return how likely n samples have one of each class: 1 - (1 - share)^n, by products alone, which are the same on
    every machine."""
    without, factor = np.ones_like(shares), 1 - shares
    while n:
        without = without * factor if n & 1 else without
        factor, n = factor * factor, n >> 1
    return 1 - without


@dataclass(frozen=True)
class Related:
    """A sample and its companions.

    Attributes:
        epoch: the number of the epoch.
        row: the sample's.
        companions: rows of all that may be its companions, in a seeded order: where one of the first cannot be
            decoded, the next stands in for it.
        lacking: why it cannot be used; "" where it has as many as are asked for.
    """

    epoch: int
    row: int
    companions: tuple[int, ...]
    lacking: str = ""


class Companions:
    """The companions of samples: others of the same class, or of another one, found in the window of their lane.

    A sample without enough of them is replaced as one that cannot be decoded is: by the next of its window that has
    enough.

    Args:
        order: what samples come in.
        classes: the class of each of some rows.
        wanted: how many companions a sample has.
        relation: of which class they are.
    """

    def __init__(self, order: Candidates, classes: Classes, wanted: int, relation: Relation = "same") -> None:
        self.order, self.classes, self.wanted, self.relation = order, classes, wanted, relation

    def candidates(self, t: int, slot: int) -> Iterator[Related]:
        """Give the slot's own sample with its companions, then the others of its window, each once, with theirs."""
        found = dict.fromkeys(self.order.candidates(t, slot))
        rows = np.unique([row for _, row in found])
        classes = self.classes(rows)
        for epoch, row in found:
            own = classes[np.searchsorted(rows, row)]
            mates = rows[((classes == own) == (self.relation == "same")) & (rows != row)]
            mixed = permutation(len(mates), *self.order.key, "companions", self.relation, t, slot, row)
            yield Related(epoch, row, tuple(mates[mixed].tolist()), self._lacking(len(mates)))

    def _lacking(self, found: int) -> str:
        if found >= self.wanted:
            return ""
        of = "its class" if self.relation == "same" else "another class"
        return f"{found} of {of} in its window, where {self.wanted} are needed"

    def locate(self, t: int, slot: int) -> tuple[Related, list[Related]]:
        """Return what a slot of global batch number t reads, and the samples that it takes the place of.

        Raises:
            DataError: no sample of the window has as many companions as are asked for.
        """
        passed: list[Related] = []
        for related in self.candidates(t, slot):
            if not related.lacking:
                return related, passed
            passed.append(related)
        of = "of the same class" if self.relation == "same" else "of another class"
        raise DataError(
            f"data, around row {passed[0].row}",
            f"a window of {len(passed)} samples, none of which has {self.wanted} {of} beside it",
            f"{self.wanted} companions {of}",
            "Give a larger --window, fewer companions, or a smaller --batch, which leaves each slot more samples.",
        )
