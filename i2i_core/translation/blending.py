"""Run a network over an image tile by tile, each with its own statistics, and blend tiles where they overlap.

x_1CTT a tile.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from i2i_core.randomness import seed_from
from i2i_core.translation.exact import Put, Read
from i2i_core.translation.tiled_layers import Span

SHARE = 4
"""Tiles overlap by at least one part in so many of their side."""
BLOCK = 16
"""Side of the squares of places that dropout is drawn for together."""


def starts(side: int, tile: int) -> list[int]:
    """Place tiles evenly from end to end of a side, so that neighbours overlap by a quarter or more."""
    if side <= tile:
        return [0]
    count = -(-(side - tile) // (tile - tile // SHARE)) + 1
    return [round(k * (side - tile) / (count - 1)) for k in range(count)]


def weights(side: int, tile: int) -> list[Tensor]:
    """Weigh the pixels of each tile, float64; the weights of every pixel of the side sum to 1.

    A tile fades in and out along a quarter of its side, as a squared sine, but not where the image ends.
    """
    places, ramp = starts(side, tile), max(1, tile // SHARE)
    rise = torch.sin((torch.arange(ramp, dtype=torch.float64) + 0.5) * (math.pi / 2 / ramp)) ** 2
    raw, total = list[Tensor](), torch.zeros(max(side, tile), dtype=torch.float64)
    for k, start in enumerate(places):
        weight = torch.ones(tile, dtype=torch.float64)
        if k:
            weight[:ramp] *= rise
        if k < len(places) - 1:
            weight[-ramp:] *= rise.flip(0)
        raw.append(weight)
        total[start : start + tile] += weight
    return [weight / total[start : start + tile] for weight, start in zip(raw, places, strict=True)]


Make = Callable[[Tensor, int, int], Tensor]
"""Makes a tile (1, C, T, T') of one, which has its top left corner at this row and column."""


def blend(read: Read, make: Make, put: Put, size: tuple[int, int], tile: tuple[int, int]) -> None:
    """Translate an image in tiles that overlap. Rows that are done are given on at once: a band of tiles is held.

    Args:
        read: gives parts of the image.
        make: runs the network on a tile.
        put: takes the output, some whole rows at a time.
        size: (height, width) of the image, not smaller than the tile.
        tile: (height, width) of a tile.

    Raises:
        ValueError: the network makes another size than it takes.
    """
    (height, width), (tall, wide) = size, tile
    tops, of_rows = starts(height, tall), weights(height, tall)
    lefts, of_columns = starts(width, wide), weights(width, wide)
    band: Tensor | None = None
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            made = make(read(Span(top, top + tall), Span(left, left + wide)), top, left).float().cpu()
            if made.shape[-2:] != (tall, wide):
                raise ValueError(f"a tile of {wide} x {tall} came back as {made.shape[-1]} x {made.shape[-2]}")
            band = torch.zeros(1, made.shape[1], tall, width) if band is None else band
            weight = (of_rows[row][:, None] * of_columns[column]).float()
            band[..., left : left + wide] += made * weight
        assert band is not None, "there is a tile"
        below = tops[row + 1] if row + 1 < len(tops) else height
        finished = below - top
        put(Span(top, below), Span(0, width), band[:, :, :finished])
        band = torch.cat([band[:, :, finished:], torch.zeros_like(band[:, :, :finished])], dim=2)


class PlacedMasks:
    """Draw dropout's masks for a tile by place in the image, so that tiles which overlap drop the same values.

    Where a layer's cells do not begin where the tile does, those of the nearest place are taken.

    Args:
        key: the image's name.
        corner: row and column of the tile's top left corner.
        tile: (height, width) of the tile.
    """

    def __init__(self, key: object, corner: tuple[int, int], tile: tuple[int, int]) -> None:
        self.key, self.corner, self.tile, self.layers = key, corner, tile, 0

    def apply(self, dropout: nn.modules.dropout._DropoutNd, x_1CHW: Tensor) -> Tensor:
        """Drop values (for `nn.Dropout2d` and its like: channels); scale the others by 1 / (1 - p)."""
        keep, channels, sides = 1 - dropout.p, x_1CHW.shape[1], x_1CHW.shape[2:]
        layer, self.layers = self.layers, self.layers + 1
        if not isinstance(dropout, nn.Dropout):
            drawn = self._drawn((channels, 1, 1), keep, layer)
        else:
            first = [
                math.floor(at * side / whole + 0.5)
                for at, side, whole in zip(self.corner, sides, self.tile, strict=True)
            ]
            blocks = [range(at // BLOCK, (at + side - 1) // BLOCK + 1) for at, side in zip(first, sides, strict=True)]
            rows, columns = blocks
            square = (channels, BLOCK, BLOCK)
            lines = [torch.cat([self._drawn(square, keep, layer, i, j) for j in columns], dim=2) for i in rows]
            top, left = first[0] - rows.start * BLOCK, first[1] - columns.start * BLOCK
            drawn = torch.cat(lines, dim=1)[:, top : top + sides[0], left : left + sides[1]]
        return x_1CHW * drawn.div(keep or 1).to(x_1CHW)

    def _drawn(self, shape: tuple[int, ...], keep: float, *place: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed_from("noise", self.key, *place))
        return torch.empty(shape).bernoulli_(keep, generator=generator)
