"""Keep only what goes into a network's blocks, and compute the rest again when gradients come back (Chen et al. 2016).

A network says which parts of it are made of blocks by `blocks_to_checkpoint`, the names of its submodules: each
module of a ModuleList is a block; a Sequential is cut before each of its convolutions and residual blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.checkpoint import checkpoint

from i2i_core.methods.at_test import run_by

Forwards = list[tuple[nn.Module, Callable[..., Tensor]]]
"""Modules, each with the forward that it runs by."""


class Block:
    """Run layers of which autograd keeps only the input, and computes the rest again in backward.

    Attributes:
        layers: the layers, in order.
        forward: runs all of them.
        drops: whether any of them is dropout.
    """

    def __init__(self, layers: list[nn.Module], forward: Callable[..., Tensor]) -> None:
        self.layers, self.forward = layers, forward
        self.drops = any(isinstance(module, _DropoutNd) for layer in layers for module in layer.modules())

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters of all layers, as they are now."""
        return [p for layer in self.layers for p in layer.parameters()]

    @property
    def buffers(self) -> list[Tensor]:
        """The buffers of all layers, past autograd's count of versions."""
        return [b.data for layer in self.layers for b in layer.buffers()]

    def kept(self, forwards: Callable[[], Forwards], *inputs: Tensor) -> Tensor:
        """Run the block and have autograd keep its inputs alone.

        The block may draw nothing from torch's global random state, which is not restored for the second pass.

        Args:
            forwards: returns what the layers run by; called each time the block is computed again.
            inputs: the block's inputs.
        """
        if not torch.is_grad_enabled():
            return self.forward(*inputs)
        standing = Standing(self, forwards)
        out: Tensor = checkpoint(
            self.forward,
            *inputs,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=lambda: (nullcontext(), standing),
        )
        return out


@dataclass(frozen=True)
class Blocks:
    """Run a module block by block."""

    module: nn.Module
    blocks: list[Block]

    def forward(self, forwards_of: Callable[[Block], Callable[[], Forwards]], *inputs: Tensor) -> Tensor:
        """Run the module. `forwards_of` is called with each block in turn, and returns what `Block.kept` takes."""
        for block in self.blocks:
            inputs = (block.kept(forwards_of(block), *inputs),)
        return inputs[0]


def blocks_of(networks: nn.Module) -> list[Blocks]:
    """List the modules of networks that run block by block, each once."""
    found: dict[nn.Module, Blocks] = {}
    for network in networks.modules():
        for name in getattr(network, "blocks_to_checkpoint", ()):
            part = network.get_submodule(name)
            if isinstance(part, nn.ModuleList):
                found |= {one: Blocks(one, [_whole(one)]) for one in part if not isinstance(one, _ConvNd)}
            elif isinstance(part, nn.Sequential):
                found[part] = Blocks(part, [Block(run, partial(_through, run)) for run in _runs(part)])
            else:
                found[part] = Blocks(part, [_whole(part)])
    return [blocks for blocks in found.values() if blocks.blocks]


def _whole(module: nn.Module) -> Block:
    return Block([module], partial(type(module).forward, module))


def _runs(stack: nn.Sequential) -> list[list[nn.Module]]:
    """Cut a stack before each convolution, with the upsampling before it, and before each module of several layers."""
    runs: list[list[nn.Module]] = []
    before: nn.Module | None = None
    for layer in stack:
        is_first = isinstance(layer, _ConvNd | nn.Linear | nn.Upsample) or any(True for _ in layer.children())
        if not runs or (is_first and not isinstance(before, nn.Upsample)):
            runs.append([])
        runs[-1].append(layer)
        before = layer
    return runs


def _through(layers: list[nn.Module], x_BCHW: Tensor) -> Tensor:
    for layer in layers:
        x_BCHW = layer(x_BCHW)
    return x_BCHW


class Standing:
    """Note a block's buffers and frozen parameters; as a context manager, restore them for another pass.

    So the buffers do not advance a second time, and the same parameters are frozen as in the first pass: else autograd
    would keep other tensors.

    Args:
        block: the block.
        forwards: returns what the block's layers run by.
    """

    def __init__(self, block: Block, forwards: Callable[[], Forwards]) -> None:
        self.forwards = forwards
        self.grads = [(p, p.requires_grad) for p in block.parameters]
        self.buffers = [(b, b.clone()) for b in block.buffers]
        self.entered = ExitStack()

    def __enter__(self) -> None:
        with ExitStack() as entered:
            entered.enter_context(run_by(self.forwards()))
            for b, before in self.buffers:
                entered.callback(b.copy_, b.clone())
                b.copy_(before)
            for p, had_grad in self.grads:
                entered.callback(p.requires_grad_, p.requires_grad)
                p.requires_grad_(had_grad)
            self.entered = entered.pop_all()

    def __exit__(self, *raised: object) -> None:
        self.entered.close()
