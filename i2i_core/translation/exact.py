"""Run a chain of layers over an image tile by tile, with the result of the whole image.

What a tile's pixels are made of is read beyond its edges, and padding is where the image ends. Layers that normalise by
statistics of a whole map get them from a pass of their own over all tiles, up to that layer: the statistics of the
layers before it are known by then. So a network of n such layers takes n + 1 passes, and the memory of a tile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from torch import Tensor

from i2i_core.translation.chains import Chain
from i2i_core.translation.tiled_layers import Moments, Span, moments_of

Read = Callable[[Span, Span], Tensor]
"""Gives rows and columns of the image, (1, C, h, w)."""
Put = Callable[[Span, Span, Tensor], None]
"""Takes rows and columns of the output, (1, C, h, w)."""
Plan = list[list[Span]]
"""By tile, the span of every map that it is made of."""


@dataclass
class Exact:
    """Run a chain over images of one size.

    Args:
        chain: the network.
        tile: side of a tile, in pixels of the image.
        size: (height, width) of the image, as the network takes it.
    """

    chain: Chain
    tile: int
    size: tuple[int, int]
    sides: tuple[list[int], list[int]] = field(init=False)
    ends: list[int] = field(init=False)
    """Numbers of the maps that the passes end at: those that norms read, then the output."""

    def __post_init__(self) -> None:
        self.sides = self.chain.sides(self.size[0], 0), self.chain.sides(self.size[1], 1)
        self.ends = [*self.chain.norms, len(self.chain.layers)]

    def plans(self, end: int) -> tuple[Plan, Plan]:
        """Plan the tiles of map `end`: of its rows and of its columns."""
        rows, columns = (
            [
                self.chain.spans(made, self.sides[axis], axis, end)
                for made in cut(self.sides[axis][end], -(-self.tile * self.sides[axis][end] // self.size[axis]))
            ]
            for axis in (0, 1)
        )
        return rows, columns

    def run(self, read: Read, put: Put, done: Callable[[], object] = lambda: None) -> None:
        """Translate an image.

        Args:
            read: gives parts of the image.
            put: takes the tiles of the output.
            done: called after each pass.
        """
        moments: dict[int, Moments] = {}
        for end in self.ends:
            for (rows, columns), x in self._made(end, read, moments):
                if end == self.ends[-1]:
                    put(rows, columns, x)
                else:
                    found = moments_of(x)
                    moments[end] = moments[end].merged(found) if end in moments else found
            done()

    def _made(self, end: int, read: Read, moments: dict[int, Moments]) -> Iterator[tuple[tuple[Span, Span], Tensor]]:
        """Make map `end`, tile by tile."""
        of_rows, of_columns = self.plans(end)
        known = {k: moments[k] for k in self.chain.norms if k < end}
        for rows in of_rows:
            for columns in of_columns:
                x = read(rows[0], columns[0])
                yield (rows[-1], columns[-1]), self.chain.run(x, (rows, columns), self.sides, known)

    @property
    def tiles(self) -> int:
        """Count the tiles of a pass."""
        rows, columns = self.plans(self.ends[-1])
        return len(rows) * len(columns)

    def seconds(self, read: Read) -> float:
        """Estimate how long `run` takes: time a tile in the middle, and scale by the multiplications of all passes."""
        rows, columns = (_middle(plan) for plan in self.plans(self.ends[-1]))
        taken = fastest(lambda: self.chain.run(read(rows[0], columns[0]), (rows, columns), self.sides, None))
        whole = max(1, self.chain.work((rows, columns)))
        total = 0
        for end in self.ends:
            of_rows, of_columns = self.plans(end)
            total += len(of_rows) * len(of_columns) * self.chain.work((_middle(of_rows), _middle(of_columns)))
        return taken * total / whole


def fastest(work: Callable[[], object], times: int = 2) -> float:
    """Time work, in seconds: the shortest of some times, as the first one prepares what the others find."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def cut(side: int, tile: int) -> list[Span]:
    """Cut a side into tiles; the last may be smaller."""
    return [Span(start, min(start + tile, side)) for start in range(0, side, tile)]


def _middle(plan: Plan) -> list[Span]:
    return plan[(len(plan) - 1) // 2]
