"""Let a discriminator compare the images of a batch with each other.

Salimans et al., "Improved Techniques for Training GANs", NIPS 2016 (arXiv:1606.03498), sec. 3.2.

Shapes: B global batch, n samples of a part of it, A features before the last layer, F nearnesses, K numbers in each
row of M; H, W a map's sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from i2i_core.networks.layers import with_label_planes

NUMBERS = 5
"""K, as in the authors' program."""
STD = 0.02
"""Deviation of the first weights by which a last layer reads the nearnesses."""


class MinibatchDiscrimination(nn.Module):
    """Judge features (n, A) or (n, A, H, W) beside F numbers that say how near a sample is to the others of its batch.

    Args:
        last: the layer that gives the logits, whose place this takes.
        nearnesses: F.
        generator: draws the first weights; those of `last` are kept.

    Raises:
        TypeError: `last` is neither a plain convolution nor a linear layer.
    """

    def __init__(self, last: nn.Module, nearnesses: int, generator: Generator) -> None:
        super().__init__()
        self.last, features = _widened(last, nearnesses)
        self.nearnesses = nearnesses
        weight = self.last.weight
        self.T = nn.Parameter(torch.empty(features, nearnesses * NUMBERS, device=weight.device, dtype=weight.dtype))
        if not weight.is_meta:
            with torch.no_grad():
                self.T.copy_(torch.empty(self.T.shape).normal_(0, 1 / math.sqrt(features), generator=generator))
                new = weight[:, features:]
                new.copy_(torch.empty(new.shape).normal_(0, STD, generator=generator))

    def forward(
        self, h_nA: Tensor, whole: Callable[[Tensor], Tensor] = lambda rows: rows, n: int | None = None
    ) -> Tensor:
        """Give logits, (n, ...). Without `whole`, the input is the batch.

        Args:
            h_nA: features of one part of a batch, or of several batches' parts one after another.
            whole: gathers the rows of one part to those of the batch, (B, ...).
            n: samples of a part; None: all.
        """
        with torch.autocast(h_nA.device.type, enabled=False):
            f_nA = h_nA if h_nA.dim() == 2 else h_nA.flatten(2).mean(2)
            f_nA = f_nA.to(torch.promote_types(f_nA.dtype, torch.float32))
            rows = (f_nA @ self.T.to(f_nA.dtype)).unflatten(1, (self.nearnesses, NUMBERS))
            o_nF = torch.cat([nearness(part, whole(part)) for part in rows.split(n or len(rows))])
        seen = torch.cat([h_nA, o_nF.to(h_nA.dtype)], 1) if h_nA.dim() == 2 else with_label_planes(h_nA, o_nF)
        logits: Tensor = self.last(seen)
        return logits


def nearness(M_nFK: Tensor, others_BFK: Tensor) -> Tensor:
    """Compute o(x_i)_b = mean over j != i of exp(-||M_i,b - M_j,b||_1), (n, F) (Salimans et al. 2016, sec. 3.2).

    The article sums over j; the mean does not depend on the size of the batch.

    Args:
        others_BFK: M of the whole batch, the samples of M_nFK among them.
    """
    distance_nBF = (M_nFK[:, None] - others_BFK[None]).abs().sum(3)
    return ((-distance_nBF).exp().sum(1) - 1) / (len(others_BFK) - 1)  # a sample's nearness to itself is 1


def _widened(last: nn.Module, more: int) -> tuple[nn.Conv2d | nn.Linear, int]:
    """Copy a layer so that it reads more channels behind its own; give also how many it has of its own."""
    wide: nn.Conv2d | nn.Linear
    if type(last) is nn.Linear:
        features = last.in_features
        wide = nn.Linear(features + more, last.out_features, bias=last.bias is not None)
    elif type(last) is nn.Conv2d and last.groups == 1:
        features = last.in_channels
        size: Any = last.kernel_size  # typed as a tuple of any length, which the layer does not take
        forms: dict[str, Any] = {"stride": last.stride, "padding": last.padding, "dilation": last.dilation}
        forms |= {"bias": last.bias is not None, "padding_mode": last.padding_mode}
        wide = nn.Conv2d(features + more, last.out_channels, size, **forms)
    else:
        raise TypeError(f"a last layer of type {type(last).__name__}, expected a plain Conv2d or Linear")
    if not last.weight.is_meta:
        wide.to(last.weight)
        with torch.no_grad():
            wide.weight[:, :features] = last.weight
            if last.bias is not None and wide.bias is not None:
                wide.bias.copy_(last.bias)
    return wide, features


def with_minibatch_discrimination(D: nn.Module, nearnesses: int, generator: Generator) -> None:
    """Put minibatch discrimination before the logits of a discriminator, or of each of its scales.

    The layer that gives the logits is the one that the network's `logits_from` names, else its last one with weights.

    Raises:
        TypeError: that layer is neither a plain convolution nor a linear layer.
    """
    for network in getattr(D, "scales", [D]):
        name = (
            getattr(network, "logits_from", "")
            or [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)][-1]
        )
        parent, _, child = name.rpartition(".")
        new = MinibatchDiscrimination(network.get_submodule(name), nearnesses, generator)
        setattr(network.get_submodule(parent), child, new)
