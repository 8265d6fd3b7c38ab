"""First weights, from a generator of one's own: the global random state is neither read nor moved.

Everything is drawn on the CPU in float32 and copied, in the order of `module.modules()`, so a seed gives the
same weights on every device and in every dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor, nn

Net = TypeVar("Net", bound=nn.Module)
Initialiser = Callable[[nn.Module, Generator], None]

_WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear)
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def build(make: Callable[[], Net], initialise: Initialiser, generator: Generator) -> Net:
    """make(), initialised from the generator.

    PyTorch's constructors draw weights from the global CPU state before `initialise` replaces them; that state
    is put back afterwards. The network is built on the CPU whatever the default device is, save "meta", where
    there are no weights to draw and only the shapes are wanted.

    Args:
        make: a constructor without arguments, for example `lambda: UNet(3, 3)`.
        initialise: `init_normal` or `init_default`.
        generator: a CPU generator; it is advanced.
    """
    if torch.get_default_device().type == "meta":
        return make()
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        network = make()
    initialise(network, generator)
    return network


@torch.no_grad()
def init_normal(module: nn.Module, generator: Generator, gain: float = 0.02) -> None:
    """Weights ~ N(0, gain), norm scales ~ N(1, gain), biases and norm shifts 0 (DCGAN sec. 4; pix2pix sec. 6.2).

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
def init_default(module: nn.Module, generator: Generator) -> None:
    """PyTorch's own initialisation, redrawn: what a paper's code has when it sets none (StarGAN).

    Weights and biases ~ U(-1/sqrt(fan_in), 1/sqrt(fan_in)), which for weights is He et al. 2015 with
    a = sqrt(5); norm scales 1, shifts 0. As in PyTorch, the fan_in of a transposed convolution is counted on
    the second dimension of its weight, which is its output channels.

    Raises:
        TypeError: a layer holds parameters this rule does not cover.
    """
    for layer in _layers_with_parameters(module):
        if isinstance(layer, _NORMS):
            layer.reset_parameters()  # constants, no draw
            continue
        bound = 1.0 / math.sqrt(layer.weight[0].numel())
        for parameter in (layer.weight, layer.bias):
            if parameter is not None:
                parameter.copy_(_empty(parameter).uniform_(-bound, bound, generator=generator))


def _layers_with_parameters(module: nn.Module) -> list[Any]:
    layers = [m for m in module.modules() if next(m.parameters(recurse=False), None) is not None]
    for layer in layers:
        if not isinstance(layer, _WEIGHTED + _NORMS):
            # Passing it over would leave weights that no seed reproduces.
            raise TypeError(f"{type(layer).__name__} has parameters and no rule in {__name__}; add one")
    return layers


def _empty(parameter: Tensor) -> Tensor:
    return torch.empty(parameter.shape, dtype=torch.float32, device="cpu")
