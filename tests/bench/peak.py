"""Measure what the machine can multiply, count what an update multiplies, and compare the two."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from .results import Values

SIDES = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of the matrices whose product is the peak."""
TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


class Nowhere:
    """Replace torch's tracker of the module that an operation belongs to: its hooks refuse `torch.autograd.grad` up to
    a leaf, as a gradient penalty needs it."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


def flops_of(work: Callable[[], object]) -> int:
    """Count the floating-point operations of products and convolutions, backward passes included: a multiplication and
    an addition are two."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = Nowhere()  # type: ignore[assignment]
    with counter:
        work()
    return counter.get_total_flops()


def product(side: int) -> int:
    """Give the operations in a product of two square matrices."""
    return 2 * side**3


def share(flops: float, seconds: float, peak: float) -> float:
    """Give the part of the peak (operations a second) that `flops` operations in `seconds` seconds are."""
    return flops / seconds / peak


def measure_peak(device: str, rounds: int = 10) -> Values:
    """Time the product of two square matrices in bf16 and fp32, under the flags that are set: operations a second, of
    the median round."""
    side, found = SIDES[device], {}
    for name, dtype in TYPES.items():
        a, b = (torch.randn(side, side, dtype=dtype, device=device) for _ in "ab")
        seconds = []
        for _ in range(3 + rounds):
            synchronize(device)
            start = time.perf_counter()
            torch.mm(a, b)
            synchronize(device)
            seconds.append(time.perf_counter() - start)
        found[name] = product(side) / statistics.median(seconds[3:])
    return {"side": side, **found}


def fastest(values: Values) -> float:
    """Give the peak that shares are taken of: the faster of the two types, operations a second."""
    return max(values[name] for name in TYPES)


def synchronize(device: str) -> None:
    """Wait until the device has finished its queued work."""
    if device == "cuda":
        torch.cuda.synchronize()
