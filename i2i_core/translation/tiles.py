"""Translate images in tiles, in the memory of a tile: with the result of the whole image (`exact`), or blended where
tiles overlap (`blend`). docs/tiles.md says which generator can do which.

x_HWC an image with its values as they are stored.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.dropout import _DropoutNd

from i2i_core.batch import scaled
from i2i_core.config.translation import TILE_NORMS, TileNorm
from i2i_core.errors import ConfigError
from i2i_core.images.sheet import to_array
from i2i_core.images.strips import strips
from i2i_core.methods.at_test import run_by
from i2i_core.methods.base import Direction, Method, Values, sides
from i2i_core.methods.controls import Examples
from i2i_core.settings import shown
from i2i_core.sizes import MOST_SIDE
from i2i_core.tensors import repeatable
from i2i_core.translation.blending import PlacedMasks, blend, starts
from i2i_core.translation.chains import Chain, NoChainError, chain_of
from i2i_core.translation.exact import Exact, Put, Read, fastest
from i2i_core.translation.padding import Padding, reflected
from i2i_core.translation.signatures import Signature, sides_taken
from i2i_core.translation.tiled_layers import Span

logger = logging.getLogger(__name__)

MOST_DIFFERENCE = 1e-4
"""Largest difference of an exact output from that of the whole image, of values from -1 to 1."""
LEAST = 8
"""Smallest side of a tile, in pixels."""
SAID_EVERY = 60.0
"""Seconds between two lines of the log about one image."""


@dataclass(frozen=True)
class Tiling:
    """Say how images are cut into tiles: their side in pixels, and whose statistics norms use.

    Args:
        flags: true if the values came by flags, as messages then name them.
    """

    tile: int
    norm: TileNorm = "exact"
    flags: bool = True

    def __post_init__(self) -> None:
        name, norm = self.names
        if not isinstance(self.tile, int) or isinstance(self.tile, bool) or not 1 <= self.tile <= MOST_SIDE:
            expected = f"a whole number of pixels, from 1 to {MOST_SIDE}"
            raise ConfigError(name, shown(self.tile), expected, f"Give {name} 512, say.")
        if self.norm not in TILE_NORMS:
            raise ConfigError(norm, shown(self.norm), " or ".join(TILE_NORMS), f"Give {norm} one of them.")

    @property
    def names(self) -> tuple[str, str]:
        """The names of both, as the user wrote them."""
        return ("--tile", "--tile-norm") if self.flags else ("tile", "tile_norm")


class Tiler:
    """Translate images in tiles with one method, in one direction.

    Raises:
        ConfigError: the method, its network or this size of tile does not allow it; says what does.
    """

    def __init__(self, method: Method[Any], way: Direction, tiling: Tiling) -> None:
        self.method, self.tiling, self.module = method, tiling, method.module(way)
        self.tile = tiling.tile
        _check_method(method, way, tiling)
        taken, made = sides(method, way)
        (self.taken,), (self.made,) = taken, made
        self.channels = method.channels()[self.made]
        signature = Signature.of(method, way)
        with method.translating(self.module):
            self.padding: Padding = sides_taken(self._run, signature)
        self.halo = 0
        self._said: tuple[int, ...] = ()
        if tiling.norm == "exact":
            self._check_exact(signature)
        else:
            self._check_blend(signature)

    def translate(self, x_HWC: np.ndarray, controls: Values, key: str, dtype: str = "", extra: int = 0) -> np.ndarray:
        """Translate an image.

        Args:
            x_HWC: uint8, uint16, or floats in [-1, 1].
            controls: by name, each (1, ...), as `Method.translate` takes them.
            key: the image's name, which seeds codes and dropout.
            dtype: type of the output; empty: the image's.
            extra: further channels to leave room for behind those that are made.

        Returns:
            (H, W, C + extra), of the image's size.

        Raises:
            ValueError: a network's own, of what it was given.
        """
        height, width = x_HWC.shape[:2]
        out = np.empty((height, width, self.channels + extra), dtype or x_HWC.dtype)

        def put(rows: Span, columns: Span, y_1CHW: Tensor) -> None:
            place = out[rows.start : rows.stop, columns.start : columns.stop, : self.channels]
            y_CHW = y_1CHW[0, :, : place.shape[0], : place.shape[1]]
            for some in strips(place):  # conversion takes several copies
                place[some] = to_array(y_CHW[:, some], str(out.dtype))

        told = self.method.ordered_controls(controls, [key])
        with self.method.translating(self.module, keys=[key]), repeatable():
            size = (self.padding.side(height), self.padding.side(width)) if self.padding.factor else (height, width)
            if max(size) <= self.tile and self.padding.factor:
                whole = Span(0, size[0]), Span(0, size[1])
                put(*whole, self.module(self._reader(x_HWC)(*whole), *told))
            elif self.tiling.norm == "exact":
                self._exact(x_HWC, size, told, put, key)
            else:
                self._blend(x_HWC, size, told, put, key)
        return out

    def _run(self, *given: Tensor) -> Any:
        """Run the network on the device where it is."""
        return self.module(*(x.to(next(self.method.parameters())) for x in given))

    def _reader(self, x_HWC: np.ndarray) -> Read:
        """Give parts of an image as the network takes them; beyond its last row and column it is reflected."""
        weight = next(self.method.parameters())

        def read(rows: Span, columns: Span) -> Tensor:
            part = _part(_part(x_HWC, rows, 0), columns, 1)
            x = torch.from_numpy(np.ascontiguousarray(part.transpose(2, 0, 1)))
            return scaled(x)[None].to(weight)

        return read

    # ---- exact ----

    def chain(self, told: Sequence[Tensor]) -> Chain:
        """Break the network into its layers. Raises NoChainError where they are not known."""
        return chain_of(self.module, told, self.method.at_test)

    def _exact(self, x_HWC: np.ndarray, size: tuple[int, int], told: Sequence[Tensor], put: Put, key: str) -> None:
        exact, read = Exact(self.chain(told), self.tile, size), self._reader(x_HWC)
        what = f"exact, {len(exact.ends)} passes over {exact.tiles} tiles with a halo of up to {self.halo} pixels"
        self._say(x_HWC.shape[:2], what, lambda: exact.seconds(read))
        exact.run(read, put, _Pace(key, len(exact.ends)))

    def _check_exact(self, signature: Signature) -> None:
        """Check that the network can be run exactly, by tiles of this side, and is."""
        name, norm = self.tiling.names
        blends = f"blend, in which each tile has its own statistics ({norm} blend)"
        fix = f"Give {norm} blend."
        weight, side = next(self.method.parameters()), self._side(16)
        x, *told = (x.to(weight) for x in signature.example(1, side, side))
        try:
            chain = self.chain(told)
        except NoChainError as error:
            found = f"exact, for a network with {error}, which cannot be run part by part"
            raise ConfigError(norm, found, blends, fix) from None
        if not self.padding.factor or chain.sides(64 * self._side(1), 0)[-1] != 64 * self._side(1):
            found = "exact, for a network that makes another size than it takes, or takes one size only"
            raise ConfigError(norm, found, blends, fix)
        self._check_multiple()
        self.halo = chain.halo()
        if self.tile < (least := self._side(self.halo)):
            expected = f"at least {least}: an output pixel is made of pixels up to {self.halo} away"
            raise ConfigError(name, str(self.tile), expected, f"Give {name} {least} or more, or {norm} blend.")
        made: list[Tensor] = []
        with self.method.translating(self.module):
            Exact(chain, max(x.shape), (x.shape[2], x.shape[3])).run(
                lambda rows, columns: x[..., rows.start : rows.stop, columns.start : columns.stop],
                lambda rows, columns, y: made.append(y),
            )
            difference = float((made[0] - self.module(x, *told)).abs().max())
        if not difference <= MOST_DIFFERENCE:
            found = f"exact, for a network whose layers one by one make another image (by {difference:.2g})"
            raise ConfigError(norm, found, blends, fix)

    def _side(self, least: int) -> int:
        """Give the smallest side from `least` on that the network takes."""
        return self.padding.side(least) if self.padding.factor else least

    def _check_multiple(self) -> None:
        """Check that the network takes the tile's side."""
        name, padding = self.tiling.names[0], self.padding
        least = max(self._side(1), self._side(LEAST))
        if self.tile >= least and self.tile % padding.factor == 0:
            return
        below = self.tile // padding.factor * padding.factor
        near = dict.fromkeys(max(least, side) for side in (below, below + padding.factor))
        expected = f"a multiple of {padding.factor}, at least {least}, which the network takes"
        raise ConfigError(name, str(self.tile), expected, f"Give {name} {' or '.join(map(str, near))}.")

    # ---- blend ----

    def _blend(self, x_HWC: np.ndarray, size: tuple[int, int], told: Sequence[Tensor], put: Put, key: str) -> None:
        factor = self.padding.factor
        tall, wide = (min(self.tile, side) if factor else self.tile for side in size)
        height, width = x_HWC.shape[:2]
        grid = max(height, tall), max(width, wide)
        read = self._reader(x_HWC)
        drops = [m for m in self.module.modules() if isinstance(m, _DropoutNd) and self.method.at_test.dropout]

        def make(x_1CTT: Tensor, top: int, left: int) -> Tensor:
            masks = PlacedMasks(key, (top, left), (tall, wide))
            with run_by((drop, partial(masks.apply, drop)) for drop in drops):
                made: Tensor = self.module(x_1CTT, *told)
            return made

        def timed() -> float:
            return count * fastest(lambda: make(read(Span(0, tall), Span(0, wide)), 0, 0))

        count = len(starts(grid[0], tall)) * len(starts(grid[1], wide))
        self._say(x_HWC.shape[:2], f"blend, {count} tiles that overlap by a quarter or more", timed)
        blend(read, make, put, grid, (tall, wide))

    def _check_blend(self, signature: Signature) -> None:
        """Check that the network takes a tile, and gives it back in its size."""
        name, side = self.tiling.names[0], self.tile
        if self.padding.factor:
            self._check_multiple()
            side = self._side(LEAST)
        try:
            with self.method.translating(self.module):
                made = self._run(*signature.example(1, side, side))
        except (RuntimeError, ValueError) as error:
            found = f"{self.tile}, which the network does not take ({str(error).partition(chr(10))[0]})"
            fix = f"Give {name} the size that the run was trained at."
            raise ConfigError(name, found, "a side that it takes", fix) from None
        if made.shape[-2:] != (side, side):
            found = "a network that makes another size than it takes"
            raise ConfigError(name, found, "one that keeps it", f"Leave {name} out.")

    # ---- what is said ----

    def _say(self, size: tuple[int, int], what: str, seconds: Callable[[], float]) -> None:
        """Log the cost for images of a size, before the first of them."""
        if size != self._said:
            self._said = size
            taken = _duration(seconds())
            logger.info(f"images of {size[1]} x {size[0]}: {what}; about {taken} each, as one tile took")


class _Pace:
    """Log how many passes are done, now and then."""

    def __init__(self, key: str, passes: int) -> None:
        self.key, self.passes, self.done, self.last = key, passes, 0, time.monotonic()

    def __call__(self) -> None:
        self.done += 1
        if time.monotonic() - self.last >= SAID_EVERY and self.done < self.passes:
            self.last = time.monotonic()
            logger.info(f"{self.key}: {self.done} of {self.passes} passes done")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _part(x: np.ndarray, span: Span, axis: int) -> np.ndarray:
    """Cut a span out; beyond the end the array is reflected."""
    have = x.shape[axis]
    if span.stop <= have:
        return x[span.start : span.stop] if axis == 0 else x[:, span.start : span.stop]
    return np.take(x, reflected(have, span.stop)[span.start :].numpy(), axis)


def _check_method(method: Method[Any], way: Direction, tiling: Tiling) -> None:
    """Check that the method makes one image of one image alone. Raises ConfigError where it does not."""
    name, (taken, made) = tiling.names[0], sides(method, way)
    if list(taken.values()) != ["image"]:
        found = f"a method that takes {', '.join(f'{n} ({r})' for n, r in taken.items()) or 'no image'}"
    elif method.memory:
        found = "a method with a memory, which goes from frame to frame as a whole"
    elif len(made) > 1:
        found = f"a method that makes {len(made)} images at once"
    elif method.control(Examples):
        found = "a method that looks at example images beside each image"
    elif method.optimises:
        found = "a method that makes a whole image by a search for its code"
    else:
        return
    raise ConfigError(name, found, "a method that makes one image of one image", f"Leave {name} out.")


def reduced(x_HWC: np.ndarray, most: int) -> Tensor:
    """Show stored values small, (C, h, w) in [-1, 1]: averaged by a whole factor until no side is above `most`."""
    factor = -(-max(x_HWC.shape[:2]) // most)
    rows, columns = (max(1, side // factor) for side in x_HWC.shape[:2])
    lines = [
        torch.from_numpy(np.ascontiguousarray(x_HWC[k * factor : (k + 1) * factor, : columns * factor]))
        for k in range(rows)
    ]
    means = [scaled(line).reshape(-1, columns, line.shape[1] // columns, line.shape[2]).mean((0, 2)) for line in lines]
    return torch.stack(means).permute(2, 0, 1)
