"""Read files of tensors, copy tensors to the host, hold cuDNN to repeatable algorithms, normalise instances, and draw
maps of ids."""

from __future__ import annotations

import io
import zipfile
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from i2i_core.settings import MOST_SHOWN


def loaded(data: bytes) -> Any:
    """Read what `torch.save` wrote, without executing anything in it.

    Raises:
        ValueError: it cannot be read; or its parts are compressed, as torch never writes them: inflated they could be a
            thousand times as large.
    """
    try:
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as parts:
                if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
                    raise ValueError("a compressed file")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch, pickle and zipfile have many kinds each
        raise ValueError(_first_line(error)) from None


def _first_line(error: Exception) -> str:
    """Word an error of torch without what it advises, which is not safe."""
    line = str(error).partition("\n")[0]
    if not line or line.startswith("Weights only load failed"):
        return f"what torch cannot load as weights alone ({type(error).__name__})"
    return line[:MOST_SHOWN]


def tensors_of(data: bytes) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file by name. Raises ValueError where it is none."""
    from safetensors.torch import load  # late: a step on a machine with torch alone reads no file

    try:
        found: dict[str, Tensor] = load(data)
    except Exception as error:  # its own kind, and torch's for types and shapes
        raise ValueError(_first_line(error)) from None
    return found


def host_copy(value: Any) -> Any:
    """Copy a nested state to host memory. The copy shares no memory with the state, on a CPU either."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {k: host_copy(v) for k, v in value.items()}
    return type(value)(host_copy(v) for v in value) if isinstance(value, list | tuple) else value


def repeatable() -> AbstractContextManager[None]:
    """Hold cuDNN to algorithms that give the same bits each time, inside the returned context."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)


def instance_norm(
    x_BCHW: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalise each channel of each image by its own mean and variance (Ulyanov et al. 2016, Eq. 4).

    The result is that of torch's function, in every memory layout. On a CPU, torch 2.11 and 2.14 compute a wrong
    gradient for a single image whose gradient arrives channels last; here a single image goes through batch norm.
    Several images with channels last go through group norm, which takes 0.77 to 0.98 of the time there.

    Args:
        weight, bias: (C,) scale and shift; None leaves them out.

    Raises:
        ValueError: an image has a single value per channel.
    """
    if len(x_BCHW) == 1:
        return functional.batch_norm(x_BCHW, None, None, weight, bias, True, 0.0, eps)
    channels_last = x_BCHW.is_contiguous(memory_format=torch.channels_last) and not x_BCHW.is_contiguous()
    if x_BCHW.is_cuda or not channels_last:
        return functional.instance_norm(x_BCHW, weight=weight, bias=bias, eps=eps)
    normed = functional.group_norm(x_BCHW.contiguous(), x_BCHW.shape[1], weight, bias, eps)
    return normed.contiguous(memory_format=torch.channels_last)


def one_hot(ids_B1HW: Tensor, classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Spread a label map over channels, (n, K, H, W): 1 at each pixel's class.

    A pixel whose id is no class (an ignored one) is 0 in every channel.

    Args:
        ids_B1HW: int64, on any device. The values stay unchecked, since a check would make the host wait for a GPU.
        classes: the number of classes, K.
    """
    n, _, height, width = ids_B1HW.shape
    known = (ids_B1HW >= 0) & (ids_B1HW < classes)
    out = torch.zeros(n, classes, height, width, dtype=dtype, device=ids_B1HW.device)
    return out.scatter_(1, ids_B1HW.clamp(0, classes - 1), known.to(dtype))


def edges(ids_B1HW: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw the edges of instances, (n, 1, H, W): 1 where a pixel's id differs from a neighbour's (pix2pixHD, sec. 3.3).

    A pixel has four neighbours: left, right, above and below.
    """
    out = torch.zeros_like(ids_B1HW, dtype=torch.bool)
    across = ids_B1HW[..., :, 1:] != ids_B1HW[..., :, :-1]
    down = ids_B1HW[..., 1:, :] != ids_B1HW[..., :-1, :]
    out[..., :, 1:] |= across
    out[..., :, :-1] |= across
    out[..., 1:, :] |= down
    out[..., :-1, :] |= down
    return out.to(dtype)
