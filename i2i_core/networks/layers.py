"""Define the layers that several networks share: norms, upsampling, the residual block, labels as planes.

Shapes: B batch, C channels, H height, W width, A attributes (length of a label vector).
"""

from __future__ import annotations

import typing

import torch
from torch import Tensor, nn

from i2i_core.networks.shapes import UPSAMPLES, Norm, Padding, Upsample
from i2i_core.tensors import instance_norm


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """Make the named norm over `channels`. Instance norms use the instance's statistics in eval mode too.

    "none" is an Identity, not an absence, so a network's parameter names do not depend on its norm.

    Raises:
        ValueError: the norm is unknown.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "instance":
        return InstanceNorm2d(channels)
    if norm == "instance_affine":
        return InstanceNorm2d(channels, affine=True)
    if norm == "none":
        return nn.Identity()
    raise ValueError(f"norm {norm!r}, not one of {', '.join(typing.get_args(Norm))}")


class InstanceNorm2d(nn.InstanceNorm2d):
    """Normalise each instance by its own statistics, correct in every memory layout (`tensors.instance_norm`)."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return instance_norm(x_BCHW, self.weight, self.bias, self.eps)


def uses_bias(norm: Norm) -> bool:
    """Tell if a convolution before this norm has a bias: not where the norm has its own shift."""
    return norm in ("instance", "none")


def up_layer(how: Upsample, inputs: int, outputs: int, kernel: int, bias: bool) -> nn.Module:
    """Make a layer that doubles an image: (B, inputs, H, W) -> (B, outputs, 2H, 2W), in one of three ways.

    "transposed": a transposed convolution of stride 2 (the papers'). "resize": nearest neighbour, then a 3x3
    convolution, whose kernel covers every output alike, so that no checkerboard is built in (Odena et al. 2016,
    "Deconvolution and checkerboard artifacts"). "shuffle": a 3x3 convolution to four times the channels, laid
    out as 2x2 pixels (Shi et al. 2016, sec. 2.2).

    Args:
        kernel: side of the transposed convolution, 3 or 4.

    Raises:
        ValueError: `how` is none of them.
    """
    if how == "transposed":
        return nn.ConvTranspose2d(inputs, outputs, kernel, 2, 1, output_padding=4 - kernel, bias=bias)
    if how == "resize":
        return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, 1, 1, bias=bias))
    if how == "shuffle":
        return nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 3, 1, 1, bias=bias), nn.PixelShuffle(2))
    raise ValueError(f"upsample {how!r}, not one of {', '.join(UPSAMPLES)}")


class ResidualBlock(nn.Module):
    """Compute x + norm(conv3(relu(norm(conv3(x))))) with unchanged channels (He et al. 2016, without the last ReLU).

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


class SampleNorm(nn.Module):
    """Normalise each sample over its channels and pixels: the layer norm of UNIT's later program.

    (x - mean) / (std + 1e-5) with the unbiased std, then a scale and a shift per channel. It differs from torch's layer
    norm: epsilon is outside the root, and the scale starts uniform in [0, 1).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x = x_BCHW.to(torch.promote_types(x_BCHW.dtype, torch.float32))  # statistics, under autocast too
        mean_B111 = x.mean(dim=(1, 2, 3), keepdim=True)
        std_B111 = x.flatten(1).std(dim=1)[:, None, None, None]
        x = (x - mean_B111) / (std_B111 + 1e-5)
        return (x * self.weight[:, None, None] + self.bias[:, None, None]).to(x_BCHW.dtype)


def with_label_planes(x_BCHW: Tensor, c_BA: Tensor) -> Tensor:
    """Append to the image one constant plane per entry of a label or code: (B, C + A, H, W) (StarGAN Fig. 3)."""
    height, width = x_BCHW.shape[-2:]
    planes_BAHW = c_BA.to(x_BCHW.dtype)[:, :, None, None].expand(-1, -1, height, width)
    return torch.cat([x_BCHW, planes_BAHW], dim=1)
