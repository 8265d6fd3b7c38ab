"""Make seeds and permutations that depend on their arguments alone."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_from(*parts: object) -> int:
    """Hash the parts into a 63-bit seed, which depends on every part and on nothing else."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def permutation(n: int, *seed: object) -> np.ndarray:
    """Permute range(n) by a seed, alike on every machine and numpy release: sort the raw words of a Philox counter."""
    return np.argsort(np.random.Philox(key=seed_from(*seed)).random_raw(n), kind="stable")
