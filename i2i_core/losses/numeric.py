"""Prepare tensors for a loss: enough precision, and shapes that agree."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def upcast(x: Tensor) -> Tensor:
    """Convert to at least float32: bf16, half and integers become float32, float64 stays (bf16 sums lose terms)."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_same_shape(a: Tensor, b: Tensor) -> None:
    """Raise ValueError where the shapes differ; broadcasting would give a finite, wrong loss."""
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {tuple(a.shape)} and {tuple(b.shape)}")


def as_written() -> AbstractContextManager[object]:
    """Run compiled functions uncompiled inside the block."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled; importing it takes seconds
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


def mean(x: Tensor) -> Tensor:
    """Compute E[x] over samples and positions, in at least float32."""
    return upcast(x).mean()
