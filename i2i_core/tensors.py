"""Help several rooms with tensors: copies on the host, repeatable algorithms."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor


def host_copy(value: Any) -> Any:
    """Copy a nested state to host memory. No tensor of the copy shares memory with the state, on a CPU either."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {k: host_copy(v) for k, v in value.items()}
    return type(value)(host_copy(v) for v in value) if isinstance(value, list | tuple) else value


def repeatable() -> AbstractContextManager[None]:
    """cuDNN held to algorithms that give the same bits each time."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
