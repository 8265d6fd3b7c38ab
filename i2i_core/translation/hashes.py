"""Hold sets of texts that may be millions, at eight bytes each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def hashes(texts: Iterable[str]) -> np.ndarray:
    """Give a number of 64 bits for each text, the same in every process. Two of a million texts share one with a
    probability of 3e-8."""
    found = (hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(found), "<u8")


class Hashes:
    """Hold a set of such numbers, sorted, in few arrays of which each is more than twice as long as the next."""

    def __init__(self) -> None:
        self.runs: list[np.ndarray] = []

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    def has(self, values: np.ndarray) -> np.ndarray:
        """Tell of each number whether it is held, as an array of bool."""
        found = np.zeros(len(values), bool)
        for run in self.runs:
            at = np.searchsorted(run, values)
            found |= run[np.minimum(at, len(run) - 1)] == values
        return found

    def add(self, values: np.ndarray) -> None:
        """Add numbers that are not held."""
        if not len(values):
            return
        self.runs.append(np.sort(values))
        while len(self.runs) > 1 and len(self.runs[-2]) <= 2 * len(self.runs[-1]):
            last = self.runs.pop()
            self.runs[-1] = np.concatenate([self.runs[-1], last])
            self.runs[-1].sort()
