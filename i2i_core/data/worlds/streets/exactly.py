"""Compute what does not depend on the CPU: hashes of integers, sines, and tables of noise.

A street must be the same, byte for byte, on every machine. Sums, products, quotients, square roots, comparisons and
roundings of IEEE numbers are; sines, powers, exponentials and numpy's sums over an axis depend on the vector
instructions and the library of a machine. So this package uses the former alone, one operation at a time, and numbers
drawn here.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

SIDE = 128
"""Rows and columns of the tile of noise, which repeats."""
LEVELS = 6
"""Blurred copies of the tile, each half as fine as the one before."""
_TAU = 6.283185307179586


class Draws:
    """Draw numbers by name: the same names give the same number, and no draw depends on another one."""

    def __init__(self, *names: object) -> None:
        self.salt = " ".join(map(str, names))

    def unit(self, name: object) -> float:
        """Draw a number from 0 to 1."""
        digest = hashlib.sha256(f"{self.salt} {name}".encode()).digest()
        return int.from_bytes(digest[:6], "little") / (1 << 48)

    def between(self, name: object, low: float, high: float) -> float:
        """Draw a number from a range."""
        return low + (high - low) * self.unit(name)

    def whole(self, name: object, count: int) -> int:
        """Draw a whole number below `count`."""
        return int(self.unit(name) * count)

    def of(self, *names: object) -> Draws:
        """Give draws of their own to a part of something."""
        return Draws(self.salt, *names)


def sine(turns: float) -> float:
    """Compute the sine of an angle in turns by its series, to 1e-12."""
    x = turns - float(round(turns))
    if abs(x) > 0.25:
        x = (0.5 if x > 0 else -0.5) - x
    angle = x * _TAU
    square, term, total = angle * angle, angle, angle
    for n in (6.0, 20.0, 42.0, 72.0, 110.0, 156.0, 210.0):
        term = -term * square / n
        total = total + term
    return total


def cosine(turns: float) -> float:
    """Compute the cosine of an angle in turns."""
    return sine(turns + 0.25)


def scrambled(x: np.ndarray) -> np.ndarray:
    """Hash whole numbers: uint32 of any shape to uint32."""
    x = np.atleast_1d(x).astype(np.uint32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    out: np.ndarray = x ^ (x >> np.uint32(16))
    return out


@cache
def chances() -> np.ndarray:
    """List 4096 numbers from 0 to 1 at random, float32, to be looked up by a hash."""
    return (scrambled(np.arange(4096) + 77) >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)


@cache
def noise_pyramid() -> np.ndarray:
    """Make the tile of noise and its blurred copies, (LEVELS * SIDE * SIDE,) float32 about 0 and within -1 and 1."""
    total, weight = np.zeros((SIDE, SIDE)), 1.0
    for octave in range(5):
        n = 8 << octave
        total = total + weight * _enlarged(_white(n, octave))
        weight *= 0.62
    levels = [total * 1.15]
    for _ in range(LEVELS - 1):
        levels.append(_halved(levels[-1]))
    full = [np.repeat(np.repeat(x, SIDE // len(x), 0), SIDE // len(x), 1) for x in levels]
    return np.clip(np.stack(full), -1, 1).astype(np.float32).reshape(-1)


def _white(n: int, salt: int) -> np.ndarray:
    return (scrambled(np.arange(n * n) + 7919 * (salt + 1)) >> np.uint32(8)).reshape(n, n) / float(1 << 23) - 1.0


def _enlarged(x: np.ndarray) -> np.ndarray:
    """Enlarge a tile to SIDE, with straight lines between its values."""
    while len(x) < SIDE:
        for axis in (0, 1):
            between = (x + np.roll(x, -1, axis)) * 0.5
            x = np.stack([x, between], axis + 1).reshape([2 * n if i == axis else n for i, n in enumerate(x.shape)])
    return x


def _halved(x: np.ndarray) -> np.ndarray:
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) * 0.25


def noise(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Look up noise at (u, v), in texels; `footprint` is how many texels a pixel covers."""
    level = np.clip(np.frexp(footprint)[1], 0, LEVELS - 1)
    at = ((level << 7) + (v.astype(np.int32) & (SIDE - 1))) << 7
    return noise_pyramid()[at + (u.astype(np.int32) & (SIDE - 1))]


def chance(*parts: np.ndarray | int) -> np.ndarray:
    """Give a random number from 0 to 1 for each tuple of whole numbers."""
    total = np.zeros((), np.uint32)
    for part, factor in zip(parts, (73856093, 19349663, 83492791, 50331653), strict=False):
        total = (total ^ (np.asarray(part).astype(np.int64).astype(np.uint32) * np.uint32(factor))).astype(np.uint32)
    return chances()[scrambled(np.asarray(total)) & np.uint32(4095)]


def one_chance(*parts: int) -> float:
    """Give the random number of one tuple of whole numbers."""
    return float(chance(*parts)[0])
