"""Describe the attributes of labelled data sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

LabelKind = Literal["attributes", "classes"]


@dataclass(frozen=True)
class LabelSet:
    """The labels of one of the data sets that a method is trained on, among those of all of them."""

    names: tuple[str, ...]
    """() where the method was built without names."""
    columns: tuple[int, ...]
    """Where they stand in the data's labels."""
    exclusive: bool
    """Classes, of which an image has one; else independent attributes."""
    start: int
    """Where they begin among the labels of all sets."""
    total: int
    """Labels of all sets together."""
    number: int
    """Which of the `sets` data sets."""
    sets: int

    @property
    def titles(self) -> tuple[str, ...]:
        return self.names or tuple(str(self.start + i) for i in range(len(self.columns)))

    def known(self, all_BL: Tensor) -> Tensor:
        """(B, A) the part of all sets' labels (or D's logits of them) that is this set's."""
        return all_BL[:, self.start : self.start + len(self.columns)]

    def vector(self, c_BA: Tensor) -> Tensor:
        """What G takes for labels of this set: [c_1, ..., c_M, m] (Eq. 7), where the labels of the other sets,
        which are not known, are zero and the mask m is one-hot over the M sets. Of one set: its labels alone."""
        if self.sets == 1:
            return c_BA
        out = c_BA.new_zeros(len(c_BA), self.total + self.sets)
        self.known(out).copy_(c_BA)
        out[:, self.total + self.number] = 1
        return out
