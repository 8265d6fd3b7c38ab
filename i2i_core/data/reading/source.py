"""Decode and augment the samples of one shard set, in its own order.

n_X counts; rows_n positions in the shard set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch

from i2i_core.batch import Bad
from i2i_core.data.format.roles import check_sample, value_of
from i2i_core.data.reading.collate import Columns, Sample, check_alike, collated
from i2i_core.data.reading.order import Order
from i2i_core.data.reading.reader import Reader
from i2i_core.data.reading.relations import Balanced, Companions, Related, named_again
from i2i_core.data.reading.starts import OneByOne
from i2i_core.data.reading.transforms import Augment
from i2i_core.errors import DataError
from i2i_core.fields import Field, field_on

Mate = tuple[int, Sample]
"""A companion: its row, and what it holds."""


@dataclass(frozen=True)
class Source:
    """Read one shard set in its own order, and name the batch fields that its members become."""

    reader: Reader
    order: Order | Balanced
    members: tuple[tuple[str, int, Field], ...]
    """(batch field, column of the index, what the manifest says of it)."""
    augment: Augment
    one_by_one: OneByOne
    companions: Companions | None = None
    again: bool = False
    """True for the second source of its domain (`Needs(again=True)`)."""

    @property
    def labels(self) -> str:
        """Name the attributes of its samples as a batch has them."""
        return field_on("again", "labels") if self.again else "labels"

    @property
    def fields(self) -> dict[str, Field]:
        """Give what the manifest says of each batch field."""
        return {name: field for name, _, field in self.members}

    def decode(self, epoch: int, rows_NT: np.ndarray) -> Iterator[list[Sample] | Bad]:
        """Give the frames of each sequence, all of which share one draw, or the first of them that is bad."""
        rows, fields, frames = rows_NT.ravel().tolist(), self.fields, rows_NT.shape[1]
        members = {name: self.reader.read(rows, column) for name, column, _ in self.members}
        keys = self.reader.rows.keys(rows)
        words = self.augment.words((epoch, keys[i], rows[i]) for i in range(0, len(rows), frames))
        for start, drawn in zip(range(0, len(rows), frames), words, strict=True):
            sequence: list[Sample] = []
            try:
                for i in range(start, start + frames):
                    values = {name: value_of(members[name][i], field) for name, field in fields.items()}
                    check_sample(values, fields)
                    sample = self.augment(values, drawn, fields)
                    if sequence:
                        check_alike(sequence[0], sample)
                    sequence.append(sample)
            except ValueError as error:
                yield Bad(keys[i], str(error))
            else:
                yield sequence

    def related(self, companions: Companions, t: int, slot: int, bad: list[Bad]) -> tuple[str, Sample, list[Mate]]:
        """Give a slot's key, sample and companions. What cannot be used is named in `bad`, with what takes its place:
        something of the same class where the window has it."""
        first, lacking = companions.locate(t, slot)
        tried = [Bad(self.reader.key(one.row), one.lacking) for one in lacking]
        for related in chain([first], self._others(companions, t, slot, first)):
            own = self._sample(related.epoch, related.row)
            mates = [] if isinstance(own, Bad) else self.mates(companions.wanted, related, bad)
            if not isinstance(own, Bad) and len(mates) == companions.wanted:
                bad += [replace(one, instead=self.reader.key(related.row)) for one in tried]
                return self.reader.key(first.row), own, mates
            lacks = f"{len(mates)} companions that can be used, where {companions.wanted} are needed"
            tried.append(own if isinstance(own, Bad) else Bad(self.reader.key(related.row), lacks))
        raise none_usable(tried)

    def _others(self, companions: Companions, t: int, slot: int, first: Related) -> Iterator[Related]:
        """Give what may take a sample's place: what has companions, first of its own class."""
        others = [one for one in companions.candidates(t, slot) if not one.lacking and one.row != first.row]
        yield from sorted(others, key=lambda one: one.of_class != first.of_class)

    def mates(self, wanted: int, related: Related, bad: list[Bad]) -> list[Mate]:
        """Give the companions of a sample, as many as can be used; one that cannot leaves its place to another of its
        class."""
        mates: list[Mate] = []
        waiting = list(related.companions)
        while waiting and len(mates) < wanted:
            row, tried = waiting.pop(0), list[Bad]()
            while isinstance(mate := self._sample(related.epoch, row), Bad):
                tried.append(mate)
                if not waiting:
                    bad += tried
                    return mates
                classes = self.reader.classes(np.array([row, *waiting]))
                row = waiting.pop(int(np.argmax(classes[1:] == classes[0])))
            bad += [replace(one, instead=self.reader.key(row)) for one in tried]
            mates.append((row, mate))
        return mates

    def _sample(self, epoch: int, row: int) -> Sample | Bad:
        """Give a sample that stands alone."""
        found = next(self.decode(epoch, np.array([[row]])))
        return found if isinstance(found, Bad) else found[0]


def none_usable(tried: Sequence[Bad]) -> DataError:
    """Say that nothing of a window can be used."""
    return DataError(
        f"data, around sample {tried[-1].key}",
        f"{len(tried)} samples in a row that cannot be used ({tried[-1].cause})",
        "images",
        "Shard the images again; `--bad skip` leaves unreadable ones out.",
    )


def second_of(source: Source) -> Source:
    """Give the same domain as a second source, in an order of its own."""
    order, names = source.order, [field_on("again", name) for name in source.fields]
    columns = [column for _, column, _ in source.members]
    fields = [replace(of, frame=of.frame and field_on("again", of.frame)) for of in source.fields.values()]
    if isinstance(order, Balanced):
        other: Order | Balanced = Balanced(named_again(order.order, 1), order.classes, order.counts)
    else:
        other = named_again(order, 1)
    members = tuple(zip(names, columns, fields, strict=True))
    return replace(source, order=other, members=members, companions=None, again=True)


def companions_of(source: Source, mates: Sequence[Sequence[Mate]], wanted: int) -> Columns:
    """Put the companions of samples into columns, with the attributes of those that were read (n, K, A)."""
    samples = [[sample for _, sample in some] for some in mates]
    columns = on_side("companions", collated(samples, (len(mates), wanted), source.fields, grouped=True))
    labels = source.reader.rows.labels([row for some in mates for row, _ in some])
    name = field_on("companions", "labels")
    columns.fields.setdefault(name, torch.from_numpy(labels.reshape(len(mates), wanted, -1)))
    columns.roles.setdefault(name, "classes")
    return columns


def on_side(side: str, columns: Columns) -> Columns:
    """Rename the columns of related samples as a batch has them."""
    return Columns(*({field_on(side, name): x for name, x in of.items()} for of in vars(columns).values()))
