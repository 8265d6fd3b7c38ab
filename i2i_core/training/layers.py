"""Replace the forwards of layers that look beyond one sample: dropout and noise by slot, batch norm and minibatch
discrimination over all ranks, and blocks whose activations are not kept.

The forwards are replaced inside the step's segments alone; grids and evaluations run the layers as `at_test` says.
x_NCL: a layer's input, flattened behind its channels or not; N is its samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.parametrizations import _SpectralNorm

from i2i_core.batch import ON_HOST, Batch
from i2i_core.methods.at_test import run_by
from i2i_core.methods.base import INPUT_NOISE, Extras
from i2i_core.randomness import seed_from
from i2i_core.training.recomputing import Block, Forwards, blocks_of
from i2i_core.training.sync import World

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class Layers:
    """Find the layers of a method's networks that need a special forward in training, and run them by it in a block.

    Args:
        networks: the method's networks.
        world: all ranks in a process group of their own, over whom batch norm takes its statistics; None to take them
            over each part of the batch.
        autocast: whether segments run in bf16.
        compiled: whether the networks are compiled. Replaced forwards are not.
        checkpoint: whether blocks keep only their inputs (`--checkpoint-activations`).
        extras: layers of the game's options.
        values: present values of the method's schedule.

    Attributes:
        alike: the modules whose buffers are the same on all ranks, because each sees the whole batch.

    Raises:
        ValueError: a kind of dropout that has no masks by slot.
    """

    def __init__(
        self,
        networks: nn.Module,
        world: World | None,
        *,
        autocast: bool,
        compiled: bool = False,
        checkpoint: bool = False,
        extras: Extras = Extras(),  # noqa: B008  it is frozen
        values: Mapping[str, Tensor] | None = None,
    ) -> None:
        named = [(name, module) for name, module in networks.named_modules()]
        self.extras, self.values = extras, values or {}
        self.names = {module: name for name, module in named}
        self.world = world
        self.dropouts = [(name, module) for name, module in named if isinstance(module, _DropoutNd)]
        self.norms = [module for _, module in named if world and isinstance(module, _BatchNorm)]
        self.spectral = [module for _, module in named if autocast and isinstance(module, _SpectralNorm)]
        self.alike = frozenset[nn.Module](self.norms)
        for name, layer in self.dropouts:
            if not isinstance(layer, DROPOUTS):
                kinds = ", ".join(kind.__name__ for kind in DROPOUTS)
                raise ValueError(f"{name} is {type(layer).__name__}, which has no masks by slot; expected {kinds}")
        self.masks: Masks | None = None
        """Dropout's masks of the segment that runs."""
        self.forwards = self._forwards(self._masks)
        """Modules, each with its forward inside a segment."""
        whole = {network: network.forward for network in networks.children()}
        if compiled:
            self.forwards = [(module, torch.compiler.disable(forward)) for module, forward in self.forwards]
            whole = {network: torch.compile(forward) for network, forward in whole.items()}
            self.forwards += list(whole.items())
        for blocks in blocks_of(networks) if checkpoint else ():
            self.forwards.append((blocks.module, partial(blocks.forward, self._forwards_again)))
        self.forwards += [
            (network, partial(self._with_noisy_input, network, whole[network])) for network in extras.noisy_inputs
        ]
        if extras.targets is not None:
            drawn = partial(type(extras.targets).forward, extras.targets, uniform=self._uniform)
            self.forwards.append((extras.targets, drawn))

    @contextmanager
    def running(self, part: Batch, *seed: object) -> Iterator[None]:
        """Run the layers by their special forwards inside the block, and restore them after it.

        Args:
            part: the part of the global batch that passes through.
            seed: the seed of dropout's masks, the same for every part of the batch; see `Masks`.
        """
        self.masks = Masks(part, seed)
        with run_by(self.forwards):
            yield

    def _forwards(self, masks: Callable[[], Masks]) -> Forwards:
        """List the layers with their special forwards, which draw by what `masks` gives."""

        def dropped(name: str, layer: _DropoutNd, x_NCL: Tensor) -> Tensor:
            return masks().apply(name, layer, x_NCL)

        def noisy(name: str, layer: nn.Module, x_NCL: Tensor) -> Tensor:
            y_NCL: Tensor = type(layer).forward(layer, x_NCL)
            return y_NCL + self.extras.layer_noise * masks().noise(name, y_NCL) if layer.training else y_NCL

        found: Forwards = [(layer, partial(dropped, name, layer)) for name, layer in self.dropouts]
        found += [(layer, partial(noisy, self.names[layer], layer)) for layer in self.extras.noisy_layers]
        found += [(layer, partial(self._compared, layer)) for layer in self.extras.comparing]
        found += [(norm, partial(normalised_by_all, norm, self.world)) for norm in self.norms if self.world]
        return found + [(spectral, partial(in_full_precision, spectral)) for spectral in self.spectral]

    def _forwards_again(self, block: Block) -> Callable[[], Forwards]:
        """Return what gives a block's forwards when it is computed again: masks go on from where they are now."""
        now = self._masks().copy() if block.drops or self.extras.noisy_layers else self._masks()

        def again() -> Forwards:
            masks = now.copy()
            return self._forwards(lambda: masks)

        return again

    def _masks(self) -> Masks:
        assert self.masks, "a segment runs"
        return self.masks

    def _compared(self, layer: nn.Module, h_NCL: Tensor) -> Tensor:
        """Have a layer compare the samples of the whole batch."""
        part = self._masks().part
        logits: Tensor = type(layer).forward(layer, h_NCL, part.gathered, part.stop - part.start)
        return logits

    def _with_noisy_input(self, network: nn.Module, forward: Callable[..., Any], x_NCL: Tensor, *others: Any) -> Any:
        """Run a network on its first input with noise, whose deviation is a value of the schedule."""
        return forward(x_NCL + self.values[INPUT_NOISE] * self._masks().noise(self.names[network], x_NCL), *others)

    def _uniform(self, x_NCL: Tensor, count: int) -> Tensor:
        return self._masks().uniform(x_NCL, count)


class Masks:
    """Draw dropout's masks and noise for the global batch, layer after layer, and cut them to the slots of a part.

    So neither the world size nor the number of micro-batches changes a mask. Each part draws all masks of the batch.
    For a part that is the whole batch, the masks are those of `F.dropout` on the CPU with a generator of this seed.

    Args:
        part: a part of the batch.
        seed: the values that the seed is made of; functions among them are called with the batch.
    """

    def __init__(self, part: Batch, seed: tuple[object, ...]) -> None:
        self.part, self.seed = part, seed
        self.calls = 0
        self.drawn: dict[str, int] = {}
        """By layer, how many draws of noise it has had."""
        self.generators: dict[tuple[int, torch.device], torch.Generator] = {}
        """Generators, by the images before the batch and the device."""

    def copy(self) -> Masks:
        """Copy the masks, so that the copy draws what these will draw."""
        copied = Masks(self.part, self.seed)
        copied.calls, copied.drawn = self.calls, dict(self.drawn)
        for (images, device), generator in self.generators.items():
            copied.generators[images, device] = torch.Generator(device)
            copied.generators[images, device].set_state(generator.get_state())
        return copied

    def apply(self, name: str, layer: _DropoutNd, x_NCL: Tensor) -> Tensor:
        """Drop values, or channels for `nn.Dropout2d` and its like, and scale the others by 1 / (1 - p).

        Raises:
            ValueError: the input's samples are not those of the part, once or several times over.
        """
        if not layer.training or layer.p == 0:
            return x_NCL
        factor = self._factor(name, layer, x_NCL) if layer.p < 1 else x_NCL.new_zeros(())
        return x_NCL.mul_(factor) if layer.inplace else x_NCL * factor

    def _factor(self, name: str, layer: _DropoutNd, x_NCL: Tensor) -> Tensor:
        """Return the factor of each value, (N, C, ...): 0 or 1 / (1 - p)."""
        flat = isinstance(layer, nn.Dropout1d) and x_NCL.dim() == 2
        times = 0 if flat else self._times(x_NCL)
        if not times:
            n, found = self.part.stop - self.part.start, f"{type(layer).__name__} {name} of an input"
            raise ValueError(f"{found} {tuple(x_NCL.shape)}, {_expected(n)}")
        sides = x_NCL.shape[1:] if isinstance(layer, nn.Dropout) else (*x_NCL.shape[1:2], *[1] * (x_NCL.dim() - 2))
        shape, dtype, device = (times * self.part.size, *sides), x_NCL.dtype, x_NCL.device

        def make(batch: Batch) -> Tensor:
            drawn = torch.empty(shape, dtype=dtype, device=device)
            drawn.bernoulli_(1 - layer.p, generator=self._generator(batch, device))
            return self._cut(drawn) / (1 - layer.p)

        self.calls += 1
        return self.part.drawn(("mask", *self._fixed_seed, self.calls), make)

    def _times(self, x_NCL: Tensor) -> int:
        """Count how many times over the input has the part's samples; 0 where it has others."""
        N, n = len(x_NCL) if x_NCL.dim() else 0, self.part.stop - self.part.start
        return 0 if N % n else N // n

    def _cut(self, drawn: Tensor) -> Tensor:
        """Cut what is drawn for the batch, once or several times over, to the slots of the part."""
        part = self.part
        if part.stop - part.start == part.size:
            return drawn
        return drawn.unflatten(0, (-1, part.size))[:, part.start : part.stop].flatten(0, 1)

    @property
    def _fixed_seed(self) -> tuple[Any, ...]:
        return tuple(one for one in self.seed if not callable(one))

    def noise(self, name: str, x_NCL: Tensor) -> Tensor:
        """Draw noise N(0, 1) in the shape of a layer's values.

        Each call of each layer has a generator of its own, so that it does not matter what else is drawn.

        Raises:
            ValueError: the samples are not those of the part, once or several times over.
        """
        return self._own(name, x_NCL, tuple(x_NCL.shape[1:]), x_NCL.dtype, torch.randn)

    def uniform(self, x_NCL: Tensor, count: int) -> Tensor:
        """Draw numbers from U(0, 1) for each sample of x, (count, N).

        Raises:
            ValueError: as `noise`.
        """
        dtype = torch.promote_types(x_NCL.dtype, torch.float32)
        return self._own("targets", x_NCL, (count,), dtype, torch.rand).T

    def _own(
        self, name: str, x_NCL: Tensor, sides: tuple[int, ...], dtype: torch.dtype, draw: Callable[..., Tensor]
    ) -> Tensor:
        """Draw (N, *sides) by a generator that nothing else draws by. Small draws are made on the host, and are the
        same for every device."""
        times = self._times(x_NCL)
        if not times:
            n = self.part.stop - self.part.start
            raise ValueError(f"noise of {name} for values {tuple(x_NCL.shape)}, {_expected(n)}")
        shape, nth = (times * self.part.size, *sides), self.drawn.get(name, 0)
        self.drawn[name] = nth + 1
        device = torch.device("cpu") if math.prod(shape) <= ON_HOST else x_NCL.device

        def make(batch: Batch) -> Tensor:
            generator = torch.Generator(device).manual_seed(self._seed_of(batch, "noise", name, nth))
            drawn = self._cut(draw(shape, dtype=dtype, device=device, generator=generator))
            return drawn if device == x_NCL.device else batch._placed(drawn, x_NCL).to(dtype)

        return self.part.drawn(("noise", name, nth, *self._fixed_seed), make)

    def _seed_of(self, batch: Batch, *what: object) -> int:
        return seed_from("layers", *(one(batch) if callable(one) else one for one in self.seed), *what)

    def _generator(self, batch: Batch, device: torch.device) -> torch.Generator:
        at = (batch.images, device)
        if at not in self.generators:
            self.generators = {at: torch.Generator(device).manual_seed(self._seed_of(batch))}
        return self.generators[at]


def _expected(n: int) -> str:
    return f"in a part of {n} samples; expected ({n}, ...), or several such one after another"


def in_full_precision(spectral: _SpectralNorm, weight: Tensor) -> Tensor:
    """Divide a weight by its spectral norm outside autocast: in bf16 the norm has two to three digits."""
    with torch.autocast(weight.device.type, enabled=False):
        normalised: Tensor = type(spectral).forward(spectral, weight)
    return normalised


def normalised_by_all(norm: _BatchNorm, world: World, x_NCL: Tensor) -> Tensor:
    """Normalise by the mean and variance of all ranks' inputs together, and advance the running statistics.

    Statistics are computed in fp32 at least. Gradients of every order go to all ranks' inputs.

    Raises:
        ValueError: the input has another number of dimensions than the norm takes.
    """
    if not norm.training:
        evaluated: Tensor = type(norm).forward(norm, x_NCL)
        return evaluated
    norm._check_input_dim(x_NCL)
    with torch.autocast(x_NCL.device.type, enabled=False):
        x = x_NCL.float() if x_NCL.dtype in (torch.float16, torch.bfloat16) else x_NCL
        mean_C, variance_C, count = moments(x, world)
        note(norm, mean_C.detach(), variance_C.detach() * (count / (count - 1)))
        scale_C = torch.rsqrt(variance_C + norm.eps)
        if norm.weight is not None:
            scale_C = scale_C * norm.weight
        sides = [1] * (x.dim() - 2)
        y = (x - mean_C.view(-1, *sides)) * scale_C.view(-1, *sides)
        if norm.bias is not None:
            y = y + norm.bias.view(-1, *sides)
    return y.to(x_NCL.dtype)


def moments(x_NCL: Tensor, world: World) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and biased variance of each channel over all ranks, both (C,), and the count of values, ().

    One sum carries each rank's own mean and variance in a row of its own. The formula of Chan et al. (1979) combines
    them: a variance far smaller than its mean is not lost, and every rank computes the same bits.
    """
    C = x_NCL.shape[1]
    own_C, mean_C = torch.var_mean(x_NCL, [d for d in range(x_NCL.dim()) if d != 1], correction=0)
    count = mean_C.new_full((1,), x_NCL.numel() // C)
    row = torch.cat([count, mean_C, own_C])
    rows_WD = world.summed(torch.stack([row if r == world.rank else torch.zeros_like(row) for r in range(world.size)]))
    counts_W1, means_WC, owns_WC = rows_WD.split([1, C, C], 1)
    total = counts_W1.sum().detach()
    shares_W1 = counts_W1.detach() / total
    mean_C = (shares_W1 * means_WC).sum(0)
    return mean_C, (shares_W1 * (owns_WC + (means_WC - mean_C) ** 2)).sum(0), total


@torch.no_grad()
def note(norm: _BatchNorm, mean_C: Tensor, variance_C: Tensor) -> None:
    """Advance the norm's running statistics, if it keeps any, by those of one batch."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    kept: float | Tensor = 1 - (1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum)
    norm.running_mean.mul_(kept).add_(mean_C * (1 - kept))
    norm.running_var.mul_(kept).add_(variance_C * (1 - kept))
