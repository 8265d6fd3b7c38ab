"""Updates whose activations are computed again are those whose activations are kept, in less memory.

pytest tests/unit/test_recomputing.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from i2i_core.batch import Batch
from i2i_core.config.run import TrainConfig
from i2i_core.config.training import TrainingConfig
from i2i_core.errors import ConfigError
from i2i_core.networks.resnet import ResNetGenerator
from i2i_core.networks.unet import UNet
from i2i_core.training.layers import Layers
from i2i_core.training.preparing import check_blocks
from i2i_core.training.recomputing import blocks_of
from i2i_core.training.step import Step

from ..support.layered import Layered, Made
from ..support.methods import ALONE, SMALL, Case, run, run_on, small

NORMS = {"norm": "batch", "dropout": 0.5, "image_size": 32}
CASES = {method: Case(method, updates=2) for method in SMALL} | {
    "unit, later": Case("unit", updates=2, hyper={"architecture": "later", "g_noise": "own"}),
    "batch norm and dropout": Case("pix2pix", hyper=NORMS),
    "in micro-batches": Case("pix2pix", hyper=NORMS, training={"micro_batch": 2, "ema_halflife": 20}),
    "global batch norm": Case("pix2pix", hyper=NORMS, training={"batch_norm": "global"}),
    "codes and dropout": Case("bicyclegan", hyper={"dropout": 0.5, "image_size": 64}),
    "penalty": Case("cyclegan", hyper={"adversarial": "wgan-gp", "n_critic": 2}),
    "bf16": Case("cyclegan", fast=("bf16",), dtype=torch.float32),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_recomputed_updates_equal_kept_ones(case: Case) -> None:
    """Bit for bit: weights, buffers, averages, terms."""
    kept = run(case)
    recomputed = run(replace(case, training={**case.training, "checkpoint_activations": True}))
    assert kept.keys() == recomputed.keys()
    assert not [name for name in kept if not torch.equal(kept[name], recomputed[name])]


@pytest.mark.processes
def test_recomputed_updates_of_workers_equal_kept_ones() -> None:
    """Two, whose batch norm takes sums over both in the middle of a block, also when it is computed again."""
    kept = [CASES["global batch norm"], CASES["in micro-batches"]]
    recomputed = [replace(case, training={**case.training, "checkpoint_activations": True}) for case in kept]
    for found in run_on(2, kept + recomputed):
        for before, after in zip(found[:2], found[2:], strict=True):
            assert not [name for name in before if not torch.equal(before[name], after[name])]


@pytest.mark.parametrize("method", SMALL)
def test_blocks_are_in_every_method_and_in_no_critic(method: str) -> None:
    made = small(Case(method))
    assert blocks_of(made.networks)
    critics = {name: network for name, network in made.networks.items() if name.startswith("D")}
    assert critics
    assert not blocks_of(nn.ModuleDict(critics))


def saved_bytes(forward: Callable[[], Tensor]) -> int:
    """Bytes that autograd keeps for the backward of a forward, each storage counted once, parameters left out."""
    kept: dict[int, Tensor] = {}

    def pack(x: Tensor) -> Tensor:
        if not isinstance(x, nn.Parameter):
            kept[x.untyped_storage().data_ptr()] = x
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = forward()
    assert out.requires_grad
    return sum(x.untyped_storage().nbytes() for x in kept.values())


def part(x: Tensor) -> Batch:
    return Batch({"a": x}, len(x), 0, len(x), 0, 0)


@pytest.mark.parametrize(
    ("network", "share"),
    [(lambda: ResNetGenerator(base=4), 0.4), (lambda: UNet(3, 3, base=4, downs=6), 0.6)],
    ids=["ResNet", "U-Net"],
)
def test_recomputed_networks_keep_less(network: Callable[[], nn.Module], share: float) -> None:
    x = torch.rand(2, 3, 64, 64)
    made, found = network(), {}
    for checkpoint in (False, True):
        with Layers(nn.ModuleDict({"G": made}), None, autocast=False, checkpoint=checkpoint).running(part(x), 0):
            found[checkpoint] = saved_bytes(lambda: made(x))
    assert found[True] < share * found[False], found


class Stacked(nn.Module):
    """Blocks with all that a forward advances or draws."""

    blocks_to_checkpoint = ("net",)

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            spectral_norm(nn.Conv2d(1, 3, 3, padding=1)),
            nn.BatchNorm2d(3),
            nn.ReLU(inplace=True),
            nn.Dropout(0.3),
            spectral_norm(nn.Conv2d(3, 3, 3, padding=1)),
            nn.Dropout2d(0.3),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(3, 1, 3, padding=1),
            nn.Linear(16, 16),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.net(x_BCHW)
        return out


def advanced(checkpoint: bool, use: Callable[[Stacked, Tensor], Tensor]) -> dict[str, Tensor]:
    """The state and gradients after a use of blocks, whose last layer is frozen while they run and not afterwards."""
    torch.manual_seed(0)
    network, x = Stacked().double(), torch.rand(4, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    layers = Layers(nn.ModuleDict({"G": network}), None, autocast=False, checkpoint=checkpoint)
    last = list(network.net[-1].parameters())
    with layers.running(part(x), 7):
        for p in last:
            p.requires_grad_(False)
        loss = use(network, x)
        for p in last:
            p.requires_grad_(True)
    moving = [p for p in network.parameters() if p not in set(last)]
    loss.backward(inputs=[*moving, x])
    assert all(p.grad is None and p.requires_grad for p in last)
    grads = {f"grad {i}": p.grad for i, p in enumerate([*moving, x]) if p.grad is not None}
    return {"loss": loss.detach(), **network.state_dict(), **grads}


def penalised(network: Stacked, x: Tensor) -> Tensor:
    """A loss of two passes and of a gradient."""
    (gradient,) = torch.autograd.grad(network(x).square().sum(), x, create_graph=True)
    return gradient.square().mean() + network(x).mean()


@pytest.mark.parametrize("use", [lambda network, x: network(x).square().mean(), penalised], ids=["once", "penalised"])
def test_blocks_advance_once_and_draw_once(use: Callable[[Stacked, Tensor], Tensor]) -> None:
    """Spectral norm's vectors, running statistics and masks, of gradients and of gradients' gradients."""
    kept, recomputed = advanced(False, use), advanced(True, use)
    assert kept.keys() == recomputed.keys()
    assert not [name for name in kept if not torch.equal(kept[name], recomputed[name])]


def test_blocks_are_what_a_network_says() -> None:
    """A run of layers begins at a convolution, or at the upsampling before it."""
    (net,) = blocks_of(Stacked())
    assert [[type(layer).__name__.removeprefix("Parametrized") for layer in b.layers] for b in net.blocks] == [
        ["Conv2d", "BatchNorm2d", "ReLU", "Dropout"],
        ["Conv2d", "Dropout2d"],
        ["Upsample", "Conv2d"],
        ["Linear"],
    ]
    assert [block.drops for block in net.blocks] == [True, True, False, False]


def test_check_blocks_refuses_networks_without_any() -> None:
    config = TrainConfig.of("cyclegan", "demo", {"training.checkpoint_activations": True})
    check_blocks(config, small(Case("cyclegan")))
    with pytest.raises(ConfigError, match="--checkpoint-activations: found given; expected nothing: no network of"):
        check_blocks(config, Layered(Made()))


def test_step_recomputes_where_it_is_told_to() -> None:
    def step(**training: Any) -> Step:
        return Step(small(Case("cyclegan")), TrainingConfig(**training), ALONE, lambda images: 1.0)

    assert step(checkpoint_activations=True).layers.forwards
    assert not step().layers.forwards
