"""Run layers on a part of a map: what each reads of the map before it, and what it makes of that.

A layer treats rows and columns alike and apart, so that sizes and spans are said of one axis: 0 rows, 1 columns.

x_1CHW a part of the map of one image; sides, the whole map's height and width. A part is two spans, of rows and of
columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, conv_transpose2d, pad


class Span(NamedTuple):
    """Mark the rows or columns from `start` up to `stop`, itself not included."""

    start: int
    stop: int

    def over(self, other: Span) -> Span:
        """Span both."""
        return Span(min(self.start, other.start), max(self.stop, other.stop))


Part = tuple[Span, Span]
"""Rows and columns of a map."""


@dataclass(frozen=True)
class Moments:
    """Hold count, means (C,) and sums of squared deviations (C,) of a map's channels, in float64."""

    count: int
    means: Tensor
    squares: Tensor

    def merged(self, other: Moments) -> Moments:
        """Add the values of another part of the map (Chan et al. 1983, Eq. 2.1)."""
        count = self.count + other.count
        delta = other.means - self.means
        means = self.means + delta * (other.count / count)
        return Moments(count, means, self.squares + other.squares + delta**2 * (self.count * other.count / count))

    def together(self) -> tuple[Tensor, Tensor]:
        """Give the mean and the unbiased standard deviation of all channels together."""
        mean = self.means.mean()
        squares = self.squares.sum() + self.count * ((self.means - mean) ** 2).sum()
        return mean, (squares / (self.count * len(self.means) - 1)).sqrt()


AT_A_TIME = 1 << 22
"""Values that are summed at a time: their copy in float64 takes 32 MiB."""


def moments_of(x_1CHW: Tensor) -> Moments:
    """Sum a part of a map, in float64."""
    channels, found = x_1CHW[0], list[tuple[Tensor, Tensor]]()
    count = channels[0].numel()
    for some in channels.split(max(1, AT_A_TIME // count)):
        x = some.flatten(1).double()
        mean = x.mean(1)
        found.append((mean, x.sub_(mean[:, None]).square_().sum(1)))
    means, squares = zip(*found, strict=True)
    return Moments(count, torch.cat(means).cpu(), torch.cat(squares).cpu())


class Layer:
    """Run a layer on a part of a map. Base class: a layer that makes each pixel of the pixel in its place."""

    def side(self, side: int, axis: int) -> int:
        """Give the side of the map that it makes of a map of this side."""
        return side

    def reads(self, made: Span, side: int, axis: int) -> Span:
        """Give the span that it reads of a map of this side, to make a span of its own."""
        return made

    def run(self, x_1CHW: Tensor, read: Part, made: Part, sides: Sequence[int]) -> Tensor:
        """Make a part of its map of the part that it reads, of a map of these sides."""
        raise TypeError("a layer defines run")

    def work(self, read: Part, made: Part) -> int:
        """Count its multiplications."""
        return 0


@dataclass(frozen=True)
class EachPixel(Layer):
    """Apply a function to each pixel."""

    function: Any

    def run(self, x_1CHW: Tensor, read: Part, made: Part, sides: Sequence[int]) -> Tensor:
        return self.function(x_1CHW)


@dataclass(frozen=True)
class Keep(Layer):
    """Keep the map for the next `Add` that is still without one."""


@dataclass(frozen=True)
class Add(Layer):
    """Add the map that was kept last."""


@dataclass(frozen=True)
class Norm(Layer):
    """Normalise by statistics of the whole map: of each channel, or of all together (`SampleNorm`)."""

    module: Any
    together: bool

    def normalised(self, x_1CHW: Tensor, moments: Moments) -> Tensor:
        """Normalise a part of a map whose moments are these."""
        n = self.module
        if self.together:
            mean, std = (one.to(x_1CHW) for one in moments.together())
            x = (x_1CHW - mean).div_(std + 1e-5)
            return x.mul_(n.weight[:, None, None]).add_(n.bias[:, None, None])
        mean, variance = moments.means.to(x_1CHW), (moments.squares / moments.count).to(x_1CHW)
        return batch_norm(x_1CHW, mean, variance, n.weight, n.bias, False, 0.0, n.eps)


@dataclass(frozen=True)
class Window:
    """Describe a window that moves along an axis of a padded map.

    Attributes:
        reach: pixels from its first to behind its last.
        stride: pixels that it moves for each output.
        before, after: padding at both ends.
        reflects: true if padding mirrors the map; false: it is zeros.
    """

    reach: int
    stride: int
    before: int
    after: int
    reflects: bool

    def side(self, side: int) -> int:
        """Count its places."""
        return (side + self.before + self.after - self.reach) // self.stride + 1

    def over(self, made: Span) -> Span:
        """Give the span that it covers at some of its places; padding lies below 0 and beyond the side."""
        first = made.start * self.stride - self.before
        return Span(first, first + (made.stop - 1 - made.start) * self.stride + self.reach)

    def reads(self, made: Span, side: int) -> Span:
        """Give the span of the map that it covers, or that is mirrored where it covers padding."""
        over = self.over(made)
        start, stop = max(over.start, 0), min(over.stop, side)
        if self.reflects and over.start < 0:
            stop = max(stop, 1 - over.start)
        if self.reflects and over.stop > side:
            start = min(start, 2 * side - 1 - over.stop)
        return Span(start, stop)


def _covered(x_1CHW: Tensor, windows: tuple[Window, Window], read: Part, made: Part, sides: Sequence[int]) -> Tensor:
    """Pad a part of a map where the windows leave the map, and cut it to what they cover."""
    edges, cuts = list[int](), list[Span]()
    for window, has, makes, side in zip(windows, read, made, sides, strict=True):
        over = window.over(makes)
        before, after = max(0, -over.start), max(0, over.stop - side)
        edges = [before, after, *edges]  # the last axis comes first
        first = over.start - has.start + before
        cuts.append(Span(first, first + over.stop - over.start))
    if any(edges):
        x_1CHW = pad(x_1CHW, edges, mode="reflect" if windows[0].reflects else "constant")
    rows, columns = cuts
    return x_1CHW[..., rows.start : rows.stop, columns.start : columns.stop]


@dataclass(frozen=True)
class Convolution(Layer):
    """Run an `nn.Conv2d`."""

    module: nn.Conv2d
    windows: tuple[Window, Window]

    def side(self, side: int, axis: int) -> int:
        return self.windows[axis].side(side)

    def reads(self, made: Span, side: int, axis: int) -> Span:
        return self.windows[axis].reads(made, side)

    def run(self, x_1CHW: Tensor, read: Part, made: Part, sides: Sequence[int]) -> Tensor:
        m = self.module
        x = _covered(x_1CHW, self.windows, read, made, sides)
        return conv2d(x, m.weight, m.bias, m.stride, 0, m.dilation, m.groups)

    def work(self, read: Part, made: Part) -> int:
        return self.module.weight.numel() * _area(made)


@dataclass(frozen=True)
class Padded(Layer):
    """Run a layer that pads, as `nn.ReflectionPad2d`."""

    windows: tuple[Window, Window]

    def side(self, side: int, axis: int) -> int:
        return self.windows[axis].side(side)

    def reads(self, made: Span, side: int, axis: int) -> Span:
        return self.windows[axis].reads(made, side)

    def run(self, x_1CHW: Tensor, read: Part, made: Part, sides: Sequence[int]) -> Tensor:
        return _covered(x_1CHW, self.windows, read, made, sides)


@dataclass(frozen=True)
class Transposed(Layer):
    """Run an `nn.ConvTranspose2d`: input i adds to the outputs from i * stride - padding on, as many as its reach."""

    module: nn.ConvTranspose2d

    def _axis(self, axis: int) -> tuple[int, int, int]:
        m = self.module
        reach = m.dilation[axis] * (m.kernel_size[axis] - 1) + 1
        return reach, m.stride[axis], m.padding[axis]  # type: ignore[return-value]

    @property
    def covers(self) -> bool:
        """Tell whether each of its outputs lies within the reach of an input."""
        extra = self.module.output_padding
        return all(
            reach >= stride and extra[i] <= cut for i, (reach, stride, cut) in enumerate(map(self._axis, (0, 1)))
        )

    def side(self, side: int, axis: int) -> int:
        reach, stride, padding = self._axis(axis)
        return (side - 1) * stride - 2 * padding + reach + self.module.output_padding[axis]

    def reads(self, made: Span, side: int, axis: int) -> Span:
        reach, stride, padding = self._axis(axis)
        first, last = -(-(made.start + padding - reach + 1) // stride), (made.stop - 1 + padding) // stride
        return Span(max(0, min(first, side - 1)), min(side, max(last + 1, 1)))

    def run(self, x_1CHW: Tensor, read: Part, made: Part, sides: Sequence[int]) -> Tensor:
        m = self.module
        whole = conv_transpose2d(x_1CHW, m.weight, m.bias, m.stride, 0, 0, m.groups, m.dilation)
        for axis in (0, 1):
            _, stride, padding = self._axis(axis)
            first = made[axis].start + padding - read[axis].start * stride
            whole = whole.narrow(2 + axis, first, made[axis].stop - made[axis].start)
        return whole

    def work(self, read: Part, made: Part) -> int:
        return self.module.weight.numel() * _area(read)


@dataclass(frozen=True)
class Enlarged(Layer):
    """Lay each pixel out as `factor` x `factor` of them: nearest neighbour, or pixel shuffle."""

    factor: int
    shuffles: bool

    def side(self, side: int, axis: int) -> int:
        return side * self.factor

    def reads(self, made: Span, side: int, axis: int) -> Span:
        return Span(made.start // self.factor, (made.stop - 1) // self.factor + 1)

    def run(self, x_1CHW: Tensor, read: Part, made: Part, sides: Sequence[int]) -> Tensor:
        if self.shuffles:
            x = torch.pixel_shuffle(x_1CHW, self.factor)
        else:
            x = x_1CHW.repeat_interleave(self.factor, -2).repeat_interleave(self.factor, -1)
        for axis in (0, 1):
            first = made[axis].start - read[axis].start * self.factor
            x = x.narrow(2 + axis, first, made[axis].stop - made[axis].start)
        return x


def _area(part: Part) -> int:
    rows, columns = part
    return (rows.stop - rows.start) * (columns.stop - columns.start)
