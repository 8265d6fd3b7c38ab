"""Help several rooms with tensors: copies on the host, repeatable algorithms, channels and edges of ids."""

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


def one_hot(ids_B1HW: Tensor, classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Spread a label map over channels, (n, K, H, W): 1 at each pixel's class. Ids outside of the classes (one that is
    ignored) are 0 in every channel.

    Args:
        ids_B1HW: int64, on any device; nothing is checked there that would stop the host.
        classes: K.
    """
    n, _, height, width = ids_B1HW.shape
    known = (ids_B1HW >= 0) & (ids_B1HW < classes)
    out = torch.zeros(n, classes, height, width, dtype=dtype, device=ids_B1HW.device)
    return out.scatter_(1, ids_B1HW.clamp(0, classes - 1), known.to(dtype))


def edges(ids_B1HW: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw the edges of instances, (n, 1, H, W): 1 where a pixel's id differs from one of its four neighbours'
    (pix2pixHD, section 3.3)."""
    out = torch.zeros_like(ids_B1HW, dtype=torch.bool)
    across = ids_B1HW[..., :, 1:] != ids_B1HW[..., :, :-1]
    down = ids_B1HW[..., 1:, :] != ids_B1HW[..., :-1, :]
    out[..., :, 1:] |= across
    out[..., :, :-1] |= across
    out[..., 1:, :] |= down
    out[..., :-1, :] |= down
    return out.to(dtype)
