"""A small method whose layers look beyond one sample: batch norm, dropout, spectral norm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from i2i_core.batch import Batch
from i2i_core.config.training import TrainingConfig
from i2i_core.data.reading.lanes import slots_of
from i2i_core.losses.penalties import gradient_penalty
from i2i_core.methods.base import Method, Move, Needs, Optimiser, Player, Progress
from i2i_core.training.step import Step
from i2i_core.training.sync import World

from .methods import ALONE


@dataclass(frozen=True)
class Made:
    """What the method is made of, and how it trains."""

    batch: int = 7
    updates: int = 3
    g_norm: bool = False
    d_norm: bool = False
    spectral: bool = False
    dropout: float = 0.0
    penalty: bool = False
    both: bool = False
    """Whether D sees true and made images in one batch."""
    training: dict[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float64


class Layered(Method[Made]):
    """A critic with two moves on fresh batches, then one of G on the last of them."""

    needs = Needs({"a": "image", "b": "image"})
    generators = ("G",)

    def __init__(self, made: Made) -> None:
        super().__init__(made)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.networks = nn.ModuleDict({"G": generator(made), "D": critic(made)}).to(made.dtype)
        self.players = {name: Player((name,), Optimiser(1e-2)) for name in ("D", "G")}

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        G, D = self.networks["G"], self.networks["D"]
        for _ in range(2):
            batch = next(batches)
            fake = G(batch["a"])  # its graph is kept over a move of D
            yield "D", self.critic_loss(batch, fake.detach()), {}
        l_made = -D(fake).mean()
        yield "G", l_made + ((fake - batch["b"]) ** 2).mean(), {"made": l_made}

    def critic_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        D = self.networks["D"]
        real, made = D(torch.cat([batch["b"], fake])).chunk(2) if self.config.both else (D(batch["b"]), D(fake))
        loss = torch.relu(1 - real).mean() + torch.relu(1 + made).mean()
        if self.config.penalty:
            t = batch.draw("t", 1, 1, 1, kind="uniform")
            loss = loss + 10 * gradient_penalty(D, batch["b"], fake, t)
        return loss


def generator(made: Made) -> nn.Module:
    norm = [nn.BatchNorm2d(6)] if made.g_norm else []
    drops = [nn.Dropout(made.dropout), nn.Dropout2d(made.dropout)] if made.dropout else []
    first = nn.Conv2d(3, 6, 3, padding=1, bias=not made.g_norm)
    return nn.Sequential(first, *norm, nn.Tanh(), *drops, nn.Conv2d(6, 3, 3, padding=1), nn.Tanh())


def critic(made: Made) -> nn.Module:
    norm = [nn.BatchNorm2d(8)] if made.d_norm else []
    drops = [nn.Dropout(made.dropout)] if made.dropout else []
    layers = [nn.Conv2d(3, 8, 3, 2, bias=not made.d_norm), nn.Linear(8 * 9, 1)]
    first, last = (spectral_norm(layer) if made.spectral else layer for layer in layers)
    return nn.Sequential(first, *norm, nn.Tanh(), *drops, nn.Flatten(), last)


def whole(made: Made, t: int) -> Batch:
    """Global batch t, the same in every process."""
    random = torch.Generator().manual_seed(t)
    fields = {name: torch.randn(made.batch, 3, 8, 8, generator=random, dtype=torch.float64) for name in "ab"}
    return Batch({k: v.to(made.dtype) for k, v in fields.items()}, made.batch, 0, made.batch, t * made.batch, 0)


def parts(made: Made, world: World, t: int = 0) -> Iterator[Batch]:
    """This worker's part of batch t and of those that follow."""
    while True:
        yield whole(made, t)._cut(*slots_of(made.batch, world.rank, world.size))
        t += 1


def step_of(made: Made, world: World = ALONE, method: Layered | None = None) -> Step:
    return Step(method or Layered(made), TrainingConfig(**made.training), world, lambda images: 1.0)


def state_after(made: Made, world: World = ALONE) -> dict[str, Tensor]:
    """Weights, buffers and averaged ones after the updates."""
    step, progress, feed = step_of(made, world), Progress(), parts(made, world)
    for _ in range(made.updates):
        step(feed, progress)
    step.watch.settle()
    found = {name: tensor.detach().clone() for name, tensor in step.method.networks.state_dict().items()}
    return found | {f"ema.{name}": t.clone() for name, t in (step.ema.state_dict() if step.ema else {}).items()}
