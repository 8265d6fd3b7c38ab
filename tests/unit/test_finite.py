"""A non-finite loss or gradient stops the run before it has moved a weight.

pytest tests/unit/test_finite.py
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from i2i_core.config.training import TrainingConfig
from i2i_core.errors import NonFiniteError
from i2i_core.methods.base import Optimiser, Progress
from i2i_core.training.optim import make_optimiser, move
from i2i_core.training.step import Step

from ..support.methods import ALONE, SMALL, Case, batches, poisoned, small

PLAYERS = [(name, player) for name in SMALL for player in small(Case(name)).players]


@pytest.mark.parametrize(("name", "player"), PLAYERS)
def test_finite_watch_lets_no_weight_move_after_a_bad_move_and_names_it(name: str, player: str) -> None:
    case = Case(name)
    method = small(case)
    then = poisoned(method, player, at=2)
    step, progress = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress()
    feed = batches(method, case, ALONE)
    with pytest.raises(NonFiniteError) as caught:
        for _ in range(10):
            step(feed, progress)
    now = method.networks.state_dict()
    assert then.weights
    assert all(torch.equal(now[k], then.weights[k]) for k in now)
    assert f"player {player} after {then.images} images: term broken = nan on worker 0" in str(caught.value)


def test_finite_watch_reads_every_flag_before_a_save() -> None:
    case = Case("stargan")
    method = small(case)
    poisoned(method, "G", at=0)
    step = Step(method, TrainingConfig(), ALONE, lambda images: 1.0)
    step(batches(method, case, ALONE), Progress())
    with pytest.raises(NonFiniteError):
        step.watch.settle()


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
def test_optimiser_leaves_weights_alone_in_a_suppressed_move(kind: Any, decay: float) -> None:
    weight = torch.nn.Parameter(torch.randn(4))
    optimiser = make_optimiser([weight], Optimiser(0.1, weight_decay=decay, kind=kind))
    weight.grad = torch.ones(4)
    move(optimiser, 0.1, torch.tensor(0.0))
    before = weight.detach().clone()
    weight.grad = torch.full((4,), float("nan"))
    move(optimiser, 0.1, torch.tensor(1.0))
    assert torch.equal(weight, before)
    if kind == "adam":  # RMSProp remembers the bad gradient; the run ends before that matters
        weight.grad = torch.ones(4)
        move(optimiser, 0.1, torch.tensor(0.0))
        assert not torch.equal(weight, before)
        assert weight.isfinite().all()


def test_finite_watch_lets_a_finite_run_go_on() -> None:
    case = Case("stargan")
    method = small(case)
    step, progress = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress()
    feed = batches(method, case, ALONE)
    for _ in range(3):
        step(feed, progress)
    step.watch.settle()
    assert progress.moves == {"D": 6, "G": 3}


def test_clipping_leaves_critics_alone_after_a_suppressed_move() -> None:
    case = Case("cyclegan", hyper={"adversarial": "wgan", "optimiser": "rmsprop", "clip": 1e-3})
    method = small(case)
    poisoned(method, "discriminators", at=0)
    before = {k: v.clone() for k, v in method.networks["D_X"].state_dict().items()}
    step, feed = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), batches(method, case, ALONE)
    step(feed, Progress())
    assert all(torch.equal(v, before[k]) for k, v in method.networks["D_X"].state_dict().items())
    assert max(v.abs().max() for v in before.values()) > 1e-3
