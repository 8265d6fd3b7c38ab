"""Replace layers of a network that exporters cannot take for any batch by ones that compute the same.

x_BCHW features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i_core.methods.at_test import FixedDropout, FixedNorm
from i2i_core.networks.layers import InstanceNorm2d


class Normalised(nn.Module):
    """Normalise each channel of each image (B, C, H, W) by its own mean and variance (Ulyanov et al. 2016, Eq. 4).

    The operations hold for any batch: torch's own function is exported for the batch of the example alone.

    Args:
        weight, bias: (C,) scale and shift; None leaves them out.
        eps: added to the variance.
    """

    def __init__(self, weight: Tensor | None, bias: Tensor | None, eps: float) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = weight, bias, eps

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x = x_BCHW.float()  # sums of a whole image do not fit half precision
        var, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
        x = (x - mean) * torch.rsqrt(var + self.eps)
        if self.weight is not None:
            x = x * self.weight[:, None, None]
        if self.bias is not None:
            x = x + self.bias[:, None, None]
        return x.to(x_BCHW.dtype)


class Dropped(nn.Module):
    """Drop values of (B, C, H, W) with probability p and scale the others by 1 / (1 - p) (Srivastava et al. 2014).

    It compares uniform numbers, as programs that run ONNX take its own Dropout out, for the noise of training.

    Args:
        dropout: the layer to stand for; of channels, it drops them whole.
    """

    def __init__(self, dropout: FixedDropout) -> None:
        super().__init__()
        self.p, self.of_channels = dropout.p, dropout.of_channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        keep = torch.rand_like(x_BCHW[:, :, :1, :1] if self.of_channels else x_BCHW) >= self.p
        return x_BCHW * keep.to(x_BCHW.dtype) / (1 - self.p)


def exportable(network: nn.Module) -> nn.Module:
    """Replace what exporters cannot take for any batch by modules that compute the same; changes the network."""
    for parent in list(network.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, InstanceNorm2d):
                setattr(parent, name, Normalised(module.weight, module.bias, module.eps))
            elif isinstance(module, FixedNorm) and module.alone:
                setattr(parent, name, Normalised(module.norm.weight, module.norm.bias, module.norm.eps))
            elif isinstance(module, FixedDropout):
                setattr(parent, name, Dropped(module))
    return network
