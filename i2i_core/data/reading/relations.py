"""Relate samples to each other, by pure functions on top of an order.

A domain may be named twice, each time in an order of its own. A sample may have companions of its own or of another
class, found in the shards that the window of its lane lies on, which staging brings anyway. Classes may come equally
often, within each window. Classes are read from the indexes, which every worker can read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from i2i_core.data.reading.order import Around, Order
from i2i_core.errors import DataError
from i2i_core.fields import Relation
from i2i_core.randomness import permutation, seed_from

Classes = Callable[[np.ndarray], np.ndarray]
"""The class, as a number from 0, of each of some rows."""
AROUND = 512
"""Rows before and after one among which its companions are drawn where there is no order."""
_KEPT = 256
"""Windows that are kept at hand."""
_ROWS_KEPT = 1 << 23
"""Rows whose classes are kept at hand."""


class Candidates(Protocol):
    """Give the samples of an order, balanced or not, slot by slot."""

    key: tuple[int, str]

    def around(self, t: int, slot: int) -> Around: ...
    def near(self, t: int, slot: int) -> np.ndarray: ...
    def candidates(self, t: int, slot: int) -> Iterator[tuple[int, int]]: ...


def named_again(order: Order, number: int) -> Order:
    """Return another order of the same domain, independent of the first one.

    Args:
        order: that of the domain where it is named first.
        number: how often it was named before.
    """
    other = copy(order)
    seed, domain = order.key
    other.key = (seed, f"{domain} again {number}")
    return other


class Balanced:
    """Balance the classes of an order, so that each comes equally often in expectation: a window repeats samples of
    rare classes, and leaves out as many of frequent ones. An epoch keeps its length.

    The classes in a window have equal shares of its places, except that a class too rare to be in every window has a
    larger share, to make up for the windows without it. In a window the samples of one class come equally often, to
    within one.

    Args:
        order: the order to balance.
        classes: the class of each of some rows.
        counts: samples of each class, in the whole set.
    """

    def __init__(self, order: Order, classes: Classes, counts: Sequence[int]) -> None:
        self.order, self.classes, self.key = order, classes, order.key
        self.counts, self.shares = counts, np.asarray(counts, np.float64) / sum(counts)
        self._remember()

    def _remember(self) -> None:
        self._drawn = lru_cache(maxsize=_KEPT)(self._draw)

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

    def batches_in(self, stage: int) -> int:
        """As `Order.batches_in`."""
        return self.order.batches_in(stage)

    def end_at(self, ends: Sequence[int]) -> None:
        """As `Order.end_at`."""
        self.order.end_at(ends)

    def locate_all(self, t: int, start: int, stop: int) -> tuple[int, np.ndarray]:
        """As `Order.locate_all`."""
        found = [self.around(t, slot) for slot in range(start, stop)]
        return found[0].epoch, np.array([each.row for each in found], np.int64)

    def frame_rows(self, t: int, rows: np.ndarray) -> np.ndarray:
        """As `Order.frame_rows`."""
        return self.order.frame_rows(t, rows)

    def near(self, t: int, slot: int) -> np.ndarray:
        """As `Order.near`."""
        return self.order.near(t, slot)

    def needs(self, first: int, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """As `Order.needs`: the same shards."""
        return self.order.needs(first, start, stop)

    def _draw(self, epoch: int, lane: int, window: int, rows: bytes) -> np.ndarray:
        """Repeat or leave out the rows of a window, so that the classes that it has come to their shares."""
        of_window = np.frombuffer(rows, np.int64)
        classes, n = self.classes(of_window), len(of_window)
        if not self.shares[classes].all():
            found = "samples of a class of which the manifest counts none"
            raise DataError("data", found, "as many as it says", "Shard the data set again.")
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
    """Hold a sample and its companions, by their rows.

    Attributes:
        epoch: the number of the epoch.
        row: the sample's.
        companions: rows of all that may be its companions, in a seeded order: where one of the first cannot be
            decoded, another stands in for it.
        of_class: the sample's class.
        lacking: why it cannot be used; "" where it has as many as the method asks for.
    """

    epoch: int
    row: int
    companions: tuple[int, ...]
    of_class: int
    lacking: str = ""


class Companions:
    """Find the companions of samples: others of the same class, or of another one, in the shards that the window of
    their lane lies on.

    A sample without enough companions is replaced, as one that cannot be decoded is, by the next of its window that has
    enough; where none has, `locate` raises DataError.

    Args:
        order: the order of the samples.
        classes: the class of each of some rows.
        wanted: how many companions a sample has.
        relation: `same`, of the sample's class; `other`, of another class.
    """

    def __init__(self, order: Candidates, classes: Classes, wanted: int, relation: Relation = "same") -> None:
        self.order, self.classes, self.wanted, self.relation = order, classes, wanted, relation
        self._windows: OrderedDict[tuple[int, int, int], np.ndarray] = OrderedDict()
        self._held = 0
        self._located: tuple[int, dict[int, tuple[Related, list[Related]]]] = (-1, {})

    def candidates(self, t: int, slot: int) -> Iterator[Related]:
        """Give the slot's own sample with its companions, then the others of its window, each once, with theirs."""
        rows, classes = self._window(t, slot)
        for epoch, row in dict.fromkeys(self.order.candidates(t, slot)):
            yield self._related(epoch, row, rows, classes, t, slot, row)

    def _related(self, epoch: int, row: int, rows: np.ndarray, classes: np.ndarray, *seed: object) -> Related:
        """Return a row with its companions among some rows, sorted, of these classes."""
        own = int(classes[np.searchsorted(rows, row)])
        mates = rows[((classes == own) == (self.relation == "same")) & (rows != row)]
        mixed = permutation(len(mates), *self.order.key, "companions", self.relation, *seed)
        return Related(epoch, row, tuple(mates[mixed].tolist()), own, self._lacking(len(mates)))

    def _window(self, t: int, slot: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows among which a slot's companions are, sorted, and their classes."""
        around, rows = self.order.around(t, slot), self.order.near(t, slot)
        window = around.epoch, around.lane, around.window
        if window not in self._windows:
            self._windows[window] = self.classes(rows).astype(np.int32)
            self._held += len(rows)
            while self._held > _ROWS_KEPT and len(self._windows) > 1:
                self._held -= len(self._windows.popitem(last=False)[1])
        return rows, self._windows[window]

    def around_row(self, row: int, rows: int) -> Related:
        """Give a row with its companions, outside of any order: among the AROUND rows before and after it.

        Args:
            row: of the set.
            rows: how many the set has.
        """
        near = np.arange(max(0, row - AROUND), min(rows, row + AROUND + 1))
        return self._related(0, row, near, self.classes(near), "row", row)

    def _lacking(self, found: int) -> str:
        if found >= self.wanted:
            return ""
        of = "its class" if self.relation == "same" else "another class"
        return f"{found} of {of} in the shards about it, where {self.wanted} are needed"

    def locate(self, t: int, slot: int) -> tuple[Related, list[Related]]:
        """Return the sample that a slot of global batch number t reads, and the samples that it replaces.

        Raises:
            DataError: no sample of the window has as many companions as the method asks for.
        """
        of, found = self._located  # a batch asks twice: for its labels, and for what it reads
        if of != t:
            found = {}
            self._located = t, found
        if slot not in found:
            found[slot] = self._locate(t, slot)
        return found[slot]

    def _locate(self, t: int, slot: int) -> tuple[Related, list[Related]]:
        passed: list[Related] = []
        for related in self.candidates(t, slot):
            if not related.lacking:
                return related, passed
            passed.append(related)
        of = "of the same class" if self.relation == "same" else "of another class"
        raise DataError(
            f"data, around row {passed[0].row}",
            f"a window of {len(passed)} samples, none of which has {self.wanted} {of} in its shards",
            f"{self.wanted} companions {of}",
            "Shard the data set with more --shard-samples, or let the method ask for fewer companions.",
        )
