"""Estimate optical flow by RAFT (Teed & Deng 2020) with torchvision's weights.

It is not FlowNet2, which vid2vid's authors used.

x_BCHW are frames in [-1, 1], grey or RGB; flow_B2HW is in pixels, u to the right, then v down: what is at p in the
first frame is at p + flow(p) in the second.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i_core.pretrained.backbones import as_rgb, made
from i2i_core.pretrained.features import Frozen
from i2i_core.pretrained.weights import Published

FLAG = "--flow-weights"
RAFT = {
    "raft_small": Published(
        "RAFT's weights (small), as torchvision names them",
        "https://download.pytorch.org/models/raft_small_C_T_V2-01064c6d.pth",
        "01064c6d",
        FLAG,
    ),
    "raft_large": Published(
        "RAFT's weights (large), as torchvision names them",
        "https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth",
        "ff5fadd5",
        FLAG,
    ),
}
STRIDE = 8
"""RAFT computes at 1/8 of the frames' sides, which must be multiples of 8 px."""
SMALLEST = 128
"""Least pixels per side: RAFT's coarsest correlations have 1/64 of a side, in windows of two."""
UPDATES = 12
"""Refinement steps of the flow, as in torchvision."""


class Flow(Frozen):
    """Estimate the flow between two frames."""

    @torch.no_grad()
    def forward(self, x_BCHW: Tensor, y_BCHW: Tensor) -> Tensor:
        """Estimate flow_B2HW from x to y, in float32, without gradients.

        Frames with fewer than SMALLEST px a side are enlarged bilinearly, in proportion; then all frames are padded to
        multiples of STRIDE by repeating the border.

        Raises:
            ValueError: the shapes differ.
        """
        if x_BCHW.shape != y_BCHW.shape:
            raise ValueError(f"shapes differ: {tuple(x_BCHW.shape)} and {tuple(y_BCHW.shape)}")
        height, width = x_BCHW.shape[-2:]
        larger = enlarged(height, width)
        frames = [_fitted(as_rgb(x.to(self.weight)), larger) for x in (x_BCHW, y_BCHW)]
        left, _, top, _ = _border(*larger)
        with torch.autocast(x_BCHW.device.type, enabled=False):
            flow = self.network(*frames, num_flow_updates=UPDATES)[-1]
        flow = flow[..., top : top + larger[0], left : left + larger[1]]
        if larger == (height, width):
            return flow
        flow = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False)
        return flow * flow.new_tensor([width / larger[1], height / larger[0]])[:, None, None]


def enlarged(height: int, width: int) -> tuple[int, int]:
    """Compute the height and width that frames are enlarged to; unchanged if both are at least SMALLEST."""
    factor = max(1.0, SMALLEST / min(height, width))
    return round(height * factor), round(width * factor)


def _border(height: int, width: int) -> tuple[int, int, int, int]:
    """Compute the pixels to add at the left, right, top and bottom."""
    down, right = -height % STRIDE, -width % STRIDE
    return right // 2, right - right // 2, down // 2, down - down // 2


def _fitted(x_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    if x_BCHW.shape[-2:] != size:
        x_BCHW = F.interpolate(x_BCHW, size, mode="bilinear", align_corners=False)
    return F.pad(x_BCHW, _border(*size), mode="replicate")


def read_flow(name: Literal["raft_small", "raft_large"], given: str = "") -> Flow:
    """Read RAFT.

    Args:
        given: file of torchvision's tensors; none: the published one, fetched once.

    Raises:
        ConfigError: no weights, or a file of something else.
    """
    from torchvision import __version__  # late: seconds to import
    from torchvision.models import optical_flow

    network = made(getattr(optical_flow, name))
    weights = RAFT[name].read(given)
    weights.load(network, {key: key for key in network.state_dict() if not key.endswith(".num_batches_tracked")})
    facts: dict[str, Any] = {
        "network": f"RAFT {name} (Teed & Deng 2020) by torchvision {__version__}",
        **weights.facts,
        "updates": UPDATES,
        "resampling": f"none; frames with fewer than {SMALLEST} px a side are enlarged, bilinearly",
    }
    return Flow(network, facts)
