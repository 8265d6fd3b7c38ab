"""Describe the attributes of labelled data sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

LabelKind = Literal["attributes", "classes"]


@dataclass(frozen=True)
class LabelSet:
    """Locate the labels of one data set among the labels of all data sets that a method is trained on."""

    names: tuple[str, ...]
    """Names of the labels; () if the method was built without names."""
    columns: tuple[int, ...]
    """Columns of these labels in the data set's own label vector."""
    exclusive: bool
    """True for classes, of which an image has exactly one; false for independent attributes."""
    start: int
    """Index of the first of these labels among the labels of all data sets."""
    total: int
    """Number of labels of all data sets together."""
    number: int
    """Index of this data set."""
    sets: int
    """Number of data sets."""

    @property
    def titles(self) -> tuple[str, ...]:
        """Return the labels' names, or their indices if they have none."""
        return self.names or tuple(str(self.start + i) for i in range(len(self.columns)))

    def known(self, all_BL: Tensor) -> Tensor:
        """Select this data set's part, (B, A), of the labels of all data sets, or of D's logits: (B, total)."""
        return all_BL[:, self.start : self.start + len(self.columns)]

    def vector(self, c_BA: Tensor) -> Tensor:
        """Build the label vector that G takes: [c_1, ..., c_M, m] (StarGAN, Eq. 7), (B, total + M).

        The labels of the other data sets are unknown and zero, and the mask m is one-hot over the M data sets. With a
        single data set, the vector is `c_BA` itself.
        """
        if self.sets == 1:
            return c_BA
        out = c_BA.new_zeros(len(c_BA), self.total + self.sets)
        self.known(out).copy_(c_BA)
        out[:, self.total + self.number] = 1
        return out
