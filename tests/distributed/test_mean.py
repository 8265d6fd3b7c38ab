"""A loss that is not linear in a mean over the batch: any number of workers makes the same moves; micro-batches do not,
and are refused.

pytest tests/distributed/test_mean.py
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.training import TrainingConfig
from i2i_core.data.reading.lanes import slots_of
from i2i_core.errors import ConfigError
from i2i_core.methods import METHODS
from i2i_core.methods.base import Method, Move, Needs, Optimiser, Player, Progress
from i2i_core.training.preparing import prepare
from i2i_core.training.step import Step
from i2i_core.training.sync import World

from ..support.runs import config_of
from ..support.workers import on_workers

B = 7


class Coupled(Method[None]):
    """G's outputs y are brought to a mean of 1 and apart: (mean y - 1)^2 / var y, of the whole batch."""

    needs = Needs({"a": "image"})
    generators = ("G",)
    couples = True

    def __init__(self) -> None:
        super().__init__(None)
        torch.manual_seed(0)
        self.networks = nn.ModuleDict({"G": nn.Linear(12, 1).double()})
        self.players = {"G": Player(("G",), Optimiser(1e-2))}

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        batch = next(batches)
        y = self.networks["G"](batch["a"].flatten(1))[:, 0]
        mean = batch.mean(y)
        variance = batch.mean((y - mean) ** 2)
        yield "G", (mean - 1) ** 2 / variance, {"variance": variance}


def whole(t: int) -> Batch:
    a = torch.randn(B, 3, 2, 2, generator=torch.Generator().manual_seed(t), dtype=torch.float64)
    return Batch({"a": a}, B, 0, B, t * B, 0)


def moved(world: World, updates: int = 4) -> dict[str, Tensor]:
    """Weights and terms after some updates on this worker's part."""
    method, slots = Coupled(), slots_of(B, world.rank, world.size)
    step, progress = Step(method, TrainingConfig(), world, lambda images: 1.0), Progress()
    for t in range(updates):
        step(iter([whole(t)._cut(*slots)]), progress)
    names, values = step.read_terms()
    return {k: v.detach() for k, v in method.networks.state_dict().items()} | dict(zip(names, values, strict=True))


def test_mean_over_the_batch_and_its_gradient_equal_those_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [8.0, 0.0]], requires_grad=True)
    mean = Batch({}, 3, 0, 3, 0, 0).mean(x)
    assert mean.tolist() == [4.0, 2.0]
    (mean**2).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, torch.tensor([[8.0, 4.0]] * 3) / 3)


def test_mean_of_one_worker_moves_as_plain_torch_does() -> None:
    G = Coupled().networks["G"]
    adam = torch.optim.Adam(G.parameters(), 1e-2, (0.5, 0.999))
    for t in range(4):
        y = G(whole(t)["a"].flatten(1))[:, 0]
        adam.zero_grad()
        ((y.mean() - 1) ** 2 / y.var(unbiased=False)).backward()
        adam.step()
    found = moved(World())
    for name, value in G.state_dict().items():
        torch.testing.assert_close(found[f"G.{name}"], value, rtol=1e-12, atol=1e-12)


@pytest.mark.processes
@pytest.mark.parametrize("size", [2, 3])
def test_mean_over_uneven_parts_moves_workers_as_one(size: int) -> None:
    alone = moved(World())
    for found in on_workers(size, moved):
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            tolerance = 1e-5 if name.startswith("G/") else 1e-12  # terms travel as 32-bit numbers
            torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance)


def test_mean_over_the_batch_is_refused_to_a_micro_batch() -> None:
    one, two = whole(0).split(4)
    for part in (one, two):
        with pytest.raises(ValueError, match=r"a mean over 7 samples, of which this part has [34]"):
            part.mean(part["a"])
    step = Step(Coupled(), TrainingConfig(micro_batch=4), World(), lambda images: 1.0)
    with pytest.raises(ValueError, match="a mean over 7 samples"):
        step(iter([whole(0)]), Progress())


def test_prepare_refuses_micro_batches_of_a_coupled_objective(
    paired: str, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of("pix2pix", paired, storage, training__micro_batch=2)
    monkeypatch.setattr(METHODS["pix2pix"].method, "couples", True)
    with pytest.raises(ConfigError, match=r"--micro-batch: found 2; expected none: an objective of pix2pix is of the"):
        prepare(config)
