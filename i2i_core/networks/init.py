"""Initialise weights from a given random generator; the global random state is neither read nor changed.

Everything is drawn on the CPU in float32 and copied, in the order of `module.modules()`, so a seed gives the
same weights on every device and in every dtype.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor, nn

from i2i_core.networks.layers import SampleNorm

_WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear)
SLOPE = 0.25
"""First slope of a PReLU, by every rule: He et al. 2015, and PyTorch."""
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, SampleNorm)


@torch.no_grad()
def init_normal(module: nn.Module, generator: Generator, gain: float = 0.02) -> None:
    """Draw weights ~ N(0, gain), norm scales ~ N(1, gain); biases and norm shifts 0 (DCGAN sec. 4; pix2pix sec. 6.2).

    Raises:
        TypeError: a layer holds parameters this rule does not cover.
    """
    for layer in _layers_with_parameters(module):
        mean = 1.0 if isinstance(layer, _NORMS) else 0.0
        if layer.weight is not None:
            layer.weight.copy_(_empty(layer.weight).normal_(mean, gain, generator=generator))
        if layer.bias is not None:
            layer.bias.zero_()


@torch.no_grad()
def init_xavier(module: nn.Module, generator: Generator, gain: float = 0.02) -> None:
    """Draw weights ~ N(0, gain^2 * 2 / (fan_in + fan_out)): BicycleGAN's code.

    This is Glorot & Bengio 2010, Eq. 12, times a gain. Norm scales ~ N(1, gain); biases and norm shifts 0.

    Raises:
        TypeError: a layer holds parameters this rule does not cover.
    """
    for layer in _layers_with_parameters(module):
        if isinstance(layer, _NORMS):
            layer.weight.copy_(_empty(layer.weight).normal_(1.0, gain, generator=generator))
        else:
            fans = layer.weight[0].numel() + layer.weight[:, 0].numel()
            std = gain * math.sqrt(2.0 / fans)
            layer.weight.copy_(_empty(layer.weight).normal_(0.0, std, generator=generator))
        if layer.bias is not None:
            layer.bias.zero_()


@torch.no_grad()
def init_glorot(module: nn.Module, generator: Generator, gain: float = math.sqrt(2), bias: float = 0.1) -> None:
    """Draw weights ~ U(-b, b), b = gain * sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, Eq. 16, times a gain).

    The defaults are CoGAN's program for digits. Norm scales 1, shifts 0; all biases are `bias`.

    Raises:
        TypeError: a layer holds parameters this rule does not cover.
    """
    for layer in _layers_with_parameters(module):
        if isinstance(layer, _NORMS):
            if layer.weight is not None:
                layer.weight.fill_(1.0)
            layer.bias.zero_()
            continue
        bound = gain * math.sqrt(6.0 / (layer.weight[0].numel() + layer.weight[:, 0].numel()))
        layer.weight.copy_(_empty(layer.weight).uniform_(-bound, bound, generator=generator))
        if layer.bias is not None:
            layer.bias.fill_(bias)


@torch.no_grad()
def init_kaiming(module: nn.Module, generator: Generator) -> None:
    """Draw weights ~ N(0, 2 / fan_in) (He et al. 2015, Eq. 10): the generators of UNIT's later program.

    Scales of `SampleNorm` ~ U(0, 1); biases and shifts 0.

    Raises:
        TypeError: a layer holds parameters this rule does not cover.
    """
    for layer in _layers_with_parameters(module):
        if isinstance(layer, _NORMS):
            layer.weight.copy_(_empty(layer.weight).uniform_(0.0, 1.0, generator=generator))
        else:
            std = math.sqrt(2.0 / layer.weight[0].numel())
            layer.weight.copy_(_empty(layer.weight).normal_(0.0, std, generator=generator))
        if layer.bias is not None:
            layer.bias.zero_()


@torch.no_grad()
def init_uniform(module: nn.Module, generator: Generator, bound: float) -> None:
    """Draw weights ~ U(-bound, bound); biases 0 (the program of Goodfellow et al. 2014). Of linear layers alone.

    Raises:
        TypeError: a layer holds parameters this rule does not cover.
    """
    for layer in _layers_with_parameters(module):
        if not isinstance(layer, nn.Linear):
            raise TypeError(f"{type(layer).__name__}, which is no linear layer")
        layer.weight.copy_(_empty(layer.weight).uniform_(-bound, bound, generator=generator))
        layer.bias.zero_()


@torch.no_grad()
def init_default(module: nn.Module, generator: Generator) -> None:
    """Draw weights by PyTorch's own rule, which applies where a paper's code sets none (StarGAN).

    Weights and biases ~ U(-1/sqrt(fan_in), 1/sqrt(fan_in)), which for weights is He et al. 2015 with
    a = sqrt(5); norm scales 1, shifts 0. As in PyTorch, the fan_in of a transposed convolution is counted on
    the second dimension of its weight, which is its output channels.

    Raises:
        TypeError: a layer holds parameters this rule does not cover.
    """
    for layer in _layers_with_parameters(module):
        if isinstance(layer, _NORMS):
            layer.weight.fill_(1.0)
            layer.bias.zero_()
            continue
        bound = 1.0 / math.sqrt(layer.weight[0].numel())
        for parameter in (layer.weight, layer.bias):
            if parameter is not None:
                parameter.copy_(_empty(parameter).uniform_(-bound, bound, generator=generator))


def _layers_with_parameters(module: nn.Module) -> list[Any]:
    layers = [m for m in module.modules() if next(m.parameters(recurse=False), None) is not None]
    for slopes in (m.weight for m in layers if isinstance(m, nn.PReLU) and not m.weight.is_meta):
        slopes.fill_(SLOPE)
    layers = [m for m in layers if not isinstance(m, nn.PReLU)]
    for layer in layers:
        if not isinstance(layer, _WEIGHTED + _NORMS):
            # Passing it over would leave weights that no seed reproduces.
            raise TypeError(f"{type(layer).__name__} has parameters and no rule in {__name__}; add one")
    return [layer for layer in layers if not next(layer.parameters(recurse=False)).is_meta]  # those hold no values


def _empty(parameter: Tensor) -> Tensor:
    return torch.empty(parameter.shape, dtype=torch.float32, device="cpu")
