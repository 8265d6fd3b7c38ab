"""The small pieces that several networks are made of: norms, the residual block, labels as planes.

Shapes: B batch, C channels, H height, W width, A attributes (length of a label vector).
"""

from __future__ import annotations

import typing
from typing import Literal

import torch
from torch import Tensor, nn

from i2i_core.errors import ConfigError, nearest

Norm = Literal["batch", "instance", "instance_affine", "none"]
Padding = Literal["zeros", "reflect"]

NORMS: tuple[str, ...] = typing.get_args(Norm)


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """The named norm over `channels`. Instance norms use the instance's statistics in eval mode too.

    "none" is an Identity, not an absence, so a network's parameter names do not depend on its norm.

    Raises:
        ConfigError: the norm is unknown.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=False, track_running_stats=False)
    if norm == "instance_affine":
        return nn.InstanceNorm2d(channels, affine=True, track_running_stats=False)
    if norm == "none":
        return nn.Identity()
    raise ConfigError("--norm", repr(norm), "one of " + ", ".join(NORMS), nearest(str(norm), NORMS))


def uses_bias(norm: Norm) -> bool:
    """Whether a convolution followed by this norm has a bias: not where the norm has a shift of its own."""
    return norm in ("instance", "none")


class ResidualBlock(nn.Module):
    """x + norm(conv3(relu(norm(conv3(x))))), channels kept (He et al. 2016, without the last ReLU).

    StarGAN: norm="instance_affine", padding="zeros". Johnson et al. and CycleGAN: "instance", "reflect".
    """

    def __init__(self, channels: int, norm: Norm, padding: Padding = "zeros") -> None:
        super().__init__()

        def conv() -> nn.Module:
            return nn.Conv2d(channels, channels, 3, padding=1, padding_mode=padding, bias=uses_bias(norm))

        self.body = nn.Sequential(
            conv(), norm_layer(norm, channels), nn.ReLU(inplace=True), conv(), norm_layer(norm, channels)
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.body(x_BCHW)


def with_label_planes(x_BCHW: Tensor, c_BA: Tensor) -> Tensor:
    """The image with one constant plane per entry of its label, (B, C + A, H, W) (StarGAN Fig. 3)."""
    height, width = x_BCHW.shape[-2:]
    planes_BAHW = c_BA.to(x_BCHW.dtype)[:, :, None, None].expand(-1, -1, height, width)
    return torch.cat([x_BCHW, planes_BAHW], dim=1)


def check_multiple(size: int, factor: int, network: str) -> None:
    """Refuses an image side that the network's strides do not divide.

    Raises:
        ConfigError: naming --image-size and the nearest sides the network can take.
    """
    if size > 0 and size % factor == 0:
        return
    below = max(size, 0) // factor * factor
    sizes = [str(s) for s in (below, below + factor) if s > 0]
    raise ConfigError(
        "--image-size",
        str(size),
        f"a multiple of {factor} ({network} halves the image {factor.bit_length() - 1} times)",
        f"Give --image-size {' or '.join(sizes)}.",
    )
