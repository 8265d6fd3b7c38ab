"""Buffers that a forward advances: running statistics, spectral norm's vectors.

They advance once per pass of the global batch, whatever the number of parts that share it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm


def measured(networks: nn.Module, alike: Collection[nn.Module] = ()) -> list[Tensor]:
    """List the buffers that depend on the part of the batch that went through, each once.

    Spectral norm's vectors follow from the weights alone: every part and every worker has the same, bit for bit, and
    a mean of them would add rounding.

    Args:
        alike: modules besides whose buffers all parts have alike.
    """
    modules = (m for m in networks.modules() if not isinstance(m, _SpectralNorm) and m not in alike)
    found = dict.fromkeys(b for m in modules for b in m.buffers(recurse=False))
    return [b for b in found if b.is_floating_point()]


class Passes:
    """The buffers of networks over the parts of an update's moves.

    Every part of a move begins from the buffers that the move began with. After its last part, those that depend on
    the part are the mean over the parts by their shares, which is one advance with the mean statistics; the others
    (spectral norm's vectors, counts of batches) are those that the last part ended with, as did every other.

    They are written past autograd's count of versions: a graph of an earlier move that is still to be gone through
    backwards does not read running statistics that it was not normalised by.

    Args:
        networks: of the method.
        shares: of each part, together 1. With one part nothing is kept and nothing is done.
    """

    def __init__(self, networks: nn.Module, shares: Sequence[float]) -> None:
        self.shares = shares
        several = len(shares) > 1
        self.buffers = [b.data for b in networks.buffers()] if several else []
        self.measured = [b.data for b in measured(networks)] if several else []
        self.before: list[Tensor] = []
        self.began: list[Tensor] = []
        self.means: list[Tensor] = []

    def begin(self, m: int) -> None:
        """Begin part m of a move; parts come in order."""
        if not self.buffers:
            return
        if m:
            torch._foreach_copy_(self.buffers, self.before)
            return
        self.before = [b.clone() for b in self.buffers]
        self.began = [b.clone() for b in self.measured]
        self.means = [b.clone() for b in self.measured]

    def end(self, m: int) -> None:
        """End part m of a move."""
        if not self.measured:
            return
        for mean, began, now in zip(self.means, self.began, self.measured, strict=True):
            mean.add_(now - began, alpha=self.shares[m])  # so that what no forward changes stays the same bit for bit
        if m == len(self.shares) - 1:
            torch._foreach_copy_(self.measured, self.means)
