"""Advance the buffers that a forward pass changes (running statistics, spectral norm's vectors) once for each pass of
the global batch, however many parts share it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm


def measured(networks: nn.Module, alike: Collection[nn.Module] = ()) -> list[Tensor]:
    """List the buffers that depend on which part of the batch went through, each once.

    Spectral norm's vectors follow from the weights alone: every part and every rank has the same bits, to which a mean
    would add rounding.

    Args:
        networks: the method's networks.
        alike: further modules whose buffers are the same for all parts.
    """
    modules = (m for m in networks.modules() if not isinstance(m, _SpectralNorm) and m not in alike)
    found = dict.fromkeys(b for m in modules for b in m.buffers(recurse=False))
    return [b for b in found if b.is_floating_point()]


class Passes:
    """Reset and average the buffers of networks over the micro-batches of a move.

    Every part of a move begins with the buffers that the move began with. After its last part, buffers that depend on
    the part become the mean over the parts, weighted by their shares: one advance with the mean statistics. The others
    (spectral norm's vectors, counts of batches) are the same after every part, and keep the last one's values.

    Buffers are written past autograd's count of versions: a graph of an earlier move whose backward is still to come
    does not read running statistics that it was not normalised by.

    Args:
        networks: the method's networks.
        shares: each part's share, which add up to 1. With one part nothing is kept and nothing is done.
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
