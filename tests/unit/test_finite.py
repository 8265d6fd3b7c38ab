"""A non-finite loss or gradient stops the run before it has moved a weight.

pytest tests/unit/test_finite.py
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from i2i_core.errors import NonFiniteError
from i2i_core.methods.base import Optimiser, Progress
from i2i_core.training.config import TrainingConfig
from i2i_core.training.optim import make_optimiser, move
from i2i_core.training.step import Step

from ..distributed.harness import ALONE, SMALL, Case, batches, small


def poisoned(method: Any, objective: str, at: int) -> dict[str, Tensor]:
    """Makes the at-th call of an objective give NaN; fills the result with the weights of that moment."""
    calls, then = iter(range(1_000)), {}
    right = getattr(method, objective)

    def wrong(*args: Any) -> Any:
        loss, terms = right(*args)
        if next(calls) != at:
            return loss, terms
        then.update({k: v.clone() for k, v in method.networks.state_dict().items()})
        return loss * float("nan"), {**terms, "broken": loss.detach() * float("nan")}

    setattr(method, objective, wrong)
    return then


@pytest.mark.parametrize("player", ["D", "G"])
@pytest.mark.parametrize("name", SMALL)
def test_no_weight_moves_from_the_bad_move_on_and_the_message_says_which(name: str, player: str) -> None:
    case = Case(name)
    method = small(case)
    then = poisoned(method, {"D": "discriminator_loss", "G": "generator_loss"}[player], at=2)
    step, progress = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress()
    feed = batches(method, case, ALONE)
    with pytest.raises(NonFiniteError) as caught:
        for _ in range(10):
            step(feed, progress)
    now = method.networks.state_dict()
    assert then
    assert all(torch.equal(now[k], then[k]) for k in now)
    # StarGAN here: two batches of 7 an update, D on each, G on the second
    images = {("stargan", "D"): 14, ("stargan", "G"): 35}.get((name, player), 14)
    assert f"player {player} after {images} images: term broken = nan on worker 0" in str(caught.value)


def test_nothing_is_saved_while_a_flag_is_unread() -> None:
    case = Case("stargan")
    method = small(case)
    poisoned(method, "generator_loss", at=0)
    step = Step(method, TrainingConfig(), ALONE, lambda images: 1.0)
    step(batches(method, case, ALONE), Progress())
    with pytest.raises(NonFiniteError):
        step.watch.settle()


@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
def test_a_suppressed_move_leaves_weights_alone(kind: Any) -> None:
    weight = torch.nn.Parameter(torch.randn(4))
    optimiser = make_optimiser([weight], Optimiser(0.1, kind=kind))
    weight.grad = torch.ones(4)
    move(optimiser, 0.1, torch.tensor(0.0))
    before = weight.detach().clone()
    weight.grad = torch.full((4,), float("nan"))
    move(optimiser, 0.1, torch.tensor(1.0))
    assert torch.equal(weight, before)
    weight.grad = torch.ones(4)
    move(optimiser, 0.1, torch.tensor(0.0))
    assert not torch.equal(weight, before)


def test_a_finite_run_is_not_stopped() -> None:
    case = Case("stargan")
    method = small(case)
    step, progress = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress()
    feed = batches(method, case, ALONE)
    for _ in range(3):
        step(feed, progress)
    step.watch.settle()
    assert progress.moves == {"D": 6, "G": 3}
