"""Recorded updates equal those that are made as they are written; on a GPU: tests/gpu."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from i2i_core.methods.base import Progress
from i2i_core.training.recorded import Recorded
from i2i_core.training.step import Step

from ..support.methods import SMALL, Case, batches, small, step_of_case
from ..support.tape import Tape


def with_tape(step: Step) -> Step:
    step.recorded = Recorded(step, Tape)
    return step


def state_of(step: Step, progress: Progress) -> dict[str, Any]:
    found: dict[str, Any] = {**step.method.networks.state_dict()}
    found |= {f"pool {name}": pool.images for name, pool in step.method.pools.items()}
    found |= {f"ema {name}": x for name, x in (step.ema.state_dict() if step.ema else {}).items()}
    found["optimisers"], found["moves"], found["images"] = step.state_dict(), dict(progress.moves), progress.images
    found["stop"] = step.watch.stop
    return found


def after(case: Case, updates: int, recorded: bool, log_at: int = 5) -> tuple[Step, dict[str, Any], list[Tensor]]:
    """The state after some updates, with a log in the middle; its terms."""
    method = small(case)
    step, progress = step_of_case(method, case), Progress()
    if recorded:
        with_tape(step)
    feed, terms = batches(method, case, step.world), []
    for number in range(updates):
        step(feed, progress)
        if number in (log_at, updates - 1):
            names, values = step.read_terms()
            terms.append(values)
            assert names
    step.watch.settle()
    return step, state_of(step, progress), terms


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)


@pytest.mark.parametrize("name", SMALL)
def test_recorded_updates_equal_written_ones_bit_for_bit(name: str) -> None:
    case = Case(name, batch=3, training={"ema_halflife": 20, "clip_grad": 1.0})
    _, expected, terms = after(case, 10, recorded=False)
    step, found, own = after(case, 10, recorded=True)
    assert step.recorded is not None
    assert not step.recorded.refused
    assert any(recording.moves for recording in step.recorded.recordings.values()), "nothing was recorded"
    wrong = [key for key in expected if not same(found[key], expected[key])]
    assert not wrong
    assert same(own, terms)
