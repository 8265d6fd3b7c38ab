"""Move images along optical flow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(x_BCHW: Tensor, flow_B2HW: Tensor) -> Tensor:
    """Warp images by a flow: the result (n, C, H, W) has at pixel p what x has at p + flow(p).

    Interpolation is bilinear; beyond the border its pixels are repeated.

    With the flow from frame 1 to frame 2, warp(frame 2, flow) is frame 1 where both see the same. Gradients go to both.

    Args:
        flow_B2HW: pixels to the right, then pixels down.

    Raises:
        ValueError: the flow is not (n, 2, H, W).
    """
    n, _, height, width = x_BCHW.shape
    if flow_B2HW.shape != (n, 2, height, width):
        raise ValueError(f"a flow of shape {tuple(flow_B2HW.shape)}, not {(n, 2, height, width)}")
    # Places are computed in at least float32: bf16 cannot tell neighbouring pixels apart beyond 256.
    flow = flow_B2HW.to(torch.promote_types(flow_B2HW.dtype, torch.float32))
    across = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    down = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    grid = torch.stack([(2 * across + 1) / width - 1, (2 * down + 1) / height - 1], dim=-1)
    moved = F.grid_sample(x_BCHW.to(grid.dtype), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.to(x_BCHW.dtype)
