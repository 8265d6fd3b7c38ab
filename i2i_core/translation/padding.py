"""Bring images of any size through networks that take only some: pad them, run the networks, crop what they made.

A network says by `SizeError` which sides it takes. Images that it takes as they are go through untouched.

x_HW the last two axes of a tensor; what is padded is added at the right and at the bottom, so that coordinates, which
count from the top left corner, stay true.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from i2i_core.fields import PIXELS
from i2i_core.methods.base import Values
from i2i_core.networks.shapes import SizeError


@dataclass(frozen=True)
class Padding:
    """Say which sides the networks take: multiples of `factor`, at least `least`."""

    factor: int = 1
    least: int = 1

    def also(self, error: SizeError) -> Padding:
        """Add what a network asks for; the same again where that is known already, or where it says no factor."""
        if not error.factor:
            return self
        return Padding(math.lcm(self.factor, error.factor), max(self.least, error.least))

    def side(self, side: int) -> int:
        """Give the smallest side that the networks take, not below this one."""
        return -(-max(side, self.least) // self.factor) * self.factor

    def padded(self, x_HW: Tensor) -> Tensor:
        """Reflect an image about its last row and column as far as it takes; of a small one, to and fro."""
        for axis in (-2, -1):
            have, wanted = x_HW.shape[axis], self.side(x_HW.shape[axis])
            if wanted > have:
                x_HW = x_HW.index_select(axis, reflected(have, wanted).to(x_HW.device))
        return x_HW


def reflected(have: int, wanted: int) -> Tensor:
    """List the rows of a reflected image, `wanted` of them: 0, 1, ..., have - 1, have - 2, ..., 0, 1, ..."""
    period = max(1, 2 * (have - 1))
    at = torch.arange(wanted) % period
    return torch.minimum(at, period - at)


def at_any_size(
    make: Callable[[Values, Values], Mapping[str, Tensor]],
    inputs: Values,
    roles: Mapping[str, str],
    controls: Values,
    padding: Padding = Padding(),
) -> tuple[Mapping[str, Tensor], Padding]:
    """Make images of inputs of any size; what is made has the size that it would have without the padding.

    Args:
        make: makes them of inputs and controls; raises SizeError for a side that a network does not take.
        inputs: by name, those of `roles` on a grid of pixels (n, ..., H, W).
        controls: by name; images among them, (n, K, C, H, W), are padded too.
        padding: what is known of the networks; of the frames of a clip, what the one before found.

    Returns:
        What `make` gives (a memory stays padded, as the next frame will be), and what is now known.

    Raises:
        SizeError: padding does not help.
    """
    grids = {name for name in inputs if roles[name] in PIXELS}
    while True:
        given = {name: padding.padded(x) if name in grids else x for name, x in inputs.items()}
        told = {name: padding.padded(x) if x.ndim == 5 else x for name, x in controls.items()}
        try:
            return make(given, told), padding
        except SizeError as error:
            wider = padding.also(error)
            if wider == padding:
                raise
            padding = wider


def cropped(made: Tensor, inputs: Values, roles: Mapping[str, str], padding: Padding) -> Tensor:
    """Cut what padding added off an image (n, C, H, W) that was made of the inputs, in proportion where its size is
    another than theirs."""
    first = next((x for name, x in inputs.items() if roles[name] in PIXELS), None)
    if first is None:
        return made
    kept = []
    for axis in (-2, -1):
        have = first.shape[axis]
        kept.append(round(made.shape[axis] * have / padding.side(have)))
    return made[..., : kept[0], : kept[1]]
