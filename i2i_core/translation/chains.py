"""Break a network into layers in the order in which they run, and run them on a part of an image.

x_1CHW a part of the map of one image; sides, the whole map's height and width. A part is two spans, of rows and of
columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from i2i_core.methods.at_test import AtTest
from i2i_core.networks.layers import InstanceNorm2d, ResidualBlock, SampleNorm, with_label_planes
from i2i_core.networks.refiner import Refiner, RefinerBlock
from i2i_core.networks.resnet import ResNetGenerator
from i2i_core.networks.stargan import StarGANGenerator
from i2i_core.networks.vae import Encoder, Generator
from i2i_core.translation.tiled_layers import (
    Add,
    Convolution,
    EachPixel,
    Enlarged,
    Keep,
    Layer,
    Moments,
    Norm,
    Padded,
    Part,
    Span,
    Transposed,
    Window,
    moments_of,
)


class NoChainError(ValueError):
    """Report a network whose layers, or their order, are not known."""


@dataclass(frozen=True)
class Chain:
    """Run layers one after another, on a part of an image.

    Maps are numbered: map k is what layer k reads, and map 0 the image.
    """

    layers: tuple[Layer, ...]

    @property
    def norms(self) -> list[int]:
        """List the layers that normalise by statistics of a whole map, in order."""
        return [k for k, layer in enumerate(self.layers) if isinstance(layer, Norm)]

    def sides(self, side: int, axis: int) -> list[int]:
        """Give the side of every map, for an image of this side."""
        found = [side]
        for layer in self.layers:
            found.append(layer.side(found[-1], axis))
        return found

    def spans(self, made: Span, sides: Sequence[int], axis: int, end: int) -> list[Span]:
        """Give the span of every map up to map `end` that a span of that one is made of."""
        found, kept = [made], list[Span | None]()
        for k in reversed(range(end)):
            layer, span = self.layers[k], found[-1]
            if isinstance(layer, Add):
                kept.append(span)
            elif isinstance(layer, Keep):
                also = kept.pop() if kept else None  # None: its sum lies behind the end
                span = span.over(also) if also else span
            else:
                span = layer.reads(span, sides[k], axis)
            found.append(span)
        return found[::-1]

    def halo(self) -> int:
        """Compute how far beyond a tile the image is read, in pixels: the most on any side, of a tile amid an image."""
        side = 1 << 24
        far = 0
        for axis in (0, 1):
            sides = self.sides(side, axis)
            made = Span(sides[-1] // 2, sides[-1] // 2 + 1024)
            for shift in range(0, 64):  # strides: a tile that begins elsewhere in a cell may read another pixel more
                moved = Span(made.start + shift, made.stop + shift)
                read = self.spans(moved, sides, axis, len(self.layers))[0]
                far = max(far, moved.start - read.start, read.stop - moved.stop)
        return far

    def run(
        self,
        x_1CHW: Tensor,
        spans: tuple[Sequence[Span], Sequence[Span]],
        sides: tuple[Sequence[int], Sequence[int]],
        moments: Mapping[int, Moments] | None,
    ) -> Tensor:
        """Make a part of a map.

        Args:
            x_1CHW: the part of the image that it is made of; it is not changed.
            spans: of rows and of columns, of every map up to the one that is made.
            sides: of rows and of columns, of every map.
            moments: of the maps that the norms before it read, by the norm's number; None: each part's own, for a
                measurement of time.
        """
        x, kept = x_1CHW, list[tuple[Tensor, Part]]()
        for k, (read, made) in enumerate(_steps(spans)):
            layer = self.layers[k]
            if isinstance(layer, Norm):
                x = layer.normalised(x, moments_of(x) if moments is None else moments[k])
            elif isinstance(layer, Keep):
                kept.append((x, read))
                x = _within(x, read, made)
            elif isinstance(layer, Add):
                before, had = kept.pop()
                x = x + _within(before, had, made)
            else:
                x = layer.run(x, read, made, (sides[0][k], sides[1][k]))
        return x

    def work(self, spans: tuple[Sequence[Span], Sequence[Span]]) -> int:
        """Count the multiplications that `run` makes."""
        return sum(layer.work(*step) for layer, step in zip(self.layers, _steps(spans), strict=False))


def _steps(spans: tuple[Sequence[Span], Sequence[Span]]) -> list[tuple[Part, Part]]:
    """List the parts that each layer reads and makes."""
    rows, columns = spans
    return [((rows[k], columns[k]), (rows[k + 1], columns[k + 1])) for k in range(len(rows) - 1)]


def _within(x_1CHW: Tensor, has: Part, wanted: Part) -> Tensor:
    """Cut a part out of a part that holds it."""
    for axis in (0, 1):
        x_1CHW = x_1CHW.narrow(2 + axis, wanted[axis].start - has[axis].start, wanted[axis].stop - wanted[axis].start)
    return x_1CHW


# ---- networks ----

_PIXELWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus),
    *(nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Identity),
)


def chain_of(network: nn.Module, told: Sequence[Tensor], at_test: AtTest) -> Chain:
    """Break a network into its layers.

    Args:
        told: controls that it takes besides the image, each (1, ...).
        at_test: how batch norm and dropout run.

    Raises:
        NoChainError: naming the layer that is not known, or cannot be run on a part of its map.
    """
    if isinstance(network, StarGANGenerator):
        return Chain((EachPixel(partial(_with_planes, told[0])), *_layers(network.net, at_test)))
    if told:
        raise NoChainError(f"{type(network).__name__}, which takes a control in a way that is not known")
    return Chain(tuple(_layers(network, at_test)))


def _with_planes(c_1A: Tensor, x_1CHW: Tensor) -> Tensor:
    return with_label_planes(x_1CHW, c_1A)


def _layers(module: nn.Module, at_test: AtTest) -> Iterator[Layer]:
    if isinstance(module, ResNetGenerator | Refiner):
        yield from _layers(module.net, at_test)
    elif isinstance(module, Encoder):
        yield from _in_turn((module.own, module.shared), at_test)
    elif isinstance(module, Generator):
        yield from _in_turn((module.shared, module.own), at_test)
    elif isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        yield from _in_turn(module, at_test)
    elif isinstance(module, ResidualBlock):
        yield from (Keep(), *_layers(module.body, at_test), Add())
    elif isinstance(module, RefinerBlock):
        first, second = (_convolution(conv) for conv in (module.first, module.second))
        yield from (Keep(), first, EachPixel(torch.relu), second, Add(), EachPixel(torch.relu))
    else:
        yield _layer(module, at_test)


def _in_turn(modules: Any, at_test: AtTest) -> Iterator[Layer]:
    for module in modules:
        yield from _layers(module, at_test)


def _layer(module: nn.Module, at_test: AtTest) -> Layer:
    """Describe a module that is one layer."""
    if isinstance(module, _PIXELWISE):
        return EachPixel(module)
    if isinstance(module, _DropoutNd):
        if at_test.dropout:
            raise NoChainError("dropout, whose draws are those of a whole image")
        return EachPixel(nn.Identity())
    if isinstance(module, SampleNorm):
        return Norm(module, together=True)
    if isinstance(module, InstanceNorm2d) or (isinstance(module, nn.InstanceNorm2d) and not module.track_running_stats):
        return Norm(module, together=False)
    if isinstance(module, _BatchNorm):
        return Norm(module, together=False) if at_test.norm == "image" else EachPixel(partial(_running, module))
    if isinstance(module, nn.Conv2d):
        return _convolution(module)
    if isinstance(module, nn.ReflectionPad2d | nn.ZeroPad2d):
        left, right, top, bottom = module.padding
        reflects = isinstance(module, nn.ReflectionPad2d)
        return Padded((Window(1, 1, top, bottom, reflects), Window(1, 1, left, right, reflects)))
    if isinstance(module, nn.ConvTranspose2d) and (layer := Transposed(module)).covers:
        return layer
    if isinstance(module, nn.PixelShuffle):
        return Enlarged(module.upscale_factor, shuffles=True)
    if isinstance(module, nn.Upsample) and module.mode == "nearest" and module.scale_factor in (2, 3, 4, 8):
        return Enlarged(int(module.scale_factor), shuffles=False)
    raise NoChainError(type(module).__name__)


def _convolution(module: nn.Conv2d) -> Convolution:
    if isinstance(module.padding, str) or module.padding_mode not in ("zeros", "reflect"):
        raise NoChainError(f"a convolution whose padding is {module.padding!r} in mode {module.padding_mode}")

    def window(axis: int) -> Window:
        reach, both = module.dilation[axis] * (module.kernel_size[axis] - 1) + 1, int(module.padding[axis])
        return Window(reach, module.stride[axis], both, both, module.padding_mode == "reflect")

    return Convolution(module, (window(0), window(1)))


def _running(norm: _BatchNorm, x_1CHW: Tensor) -> Tensor:
    return batch_norm(x_1CHW, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)
