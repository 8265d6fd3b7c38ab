"""Runs whose updates are recorded, and what is compared of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from i2i_core.config.training import TrainingConfig
from i2i_core.methods.base import Progress
from i2i_core.training.fast import Fast
from i2i_core.training.graphs import Recorder
from i2i_core.training.recorded import Recorded
from i2i_core.training.step import Step

from .methods import ALONE, Case, batches, small


def falling(images: int) -> float:
    """A learning rate that is another at every move."""
    return 1 / (1 + images / 50)


def stepping(case: Case, recorder: Callable[[], Recorder] | None, device: torch.device | None = None) -> Step:
    """A step whose updates are recorded; None: made as they are written."""
    method = small(case).to(device or torch.device("cpu"))
    fast = Fast.named(*case.fast)
    step = Step(method, TrainingConfig(**case.training), ALONE, falling, fast=fast)
    step.recorded = Recorded(step, recorder) if recorder else None
    return step


def go(step: Step, case: Case, progress: Progress, updates: int) -> list[Tensor]:
    """Make updates, with a log after the sixth and the last; what the logs say."""
    feed = map(step.place, batches(step.method, case, ALONE, progress.images // case.batch))
    terms = []
    for number in range(updates):
        step(feed, progress)
        if number in (5, updates - 1):
            terms.append(step.read_terms()[1])
    step.watch.settle()
    return terms


def state_of(step: Step, progress: Progress) -> dict[str, Any]:
    found: dict[str, Any] = {**step.method.networks.state_dict()}
    found |= {f"pool {name}": pool.images for name, pool in step.method.pools.items()}
    found |= {f"ema {name}": x for name, x in (step.ema.state_dict() if step.ema else {}).items()}
    found["optimisers"], found["moves"], found["images"] = step.state_dict(), dict(progress.moves), progress.images
    return found | {"rates": step.learning_rates()}


def launched(step: Step) -> bool:
    """Whether any update was recorded."""
    return step.recorded is not None and any(one.moves for one in step.recorded.recordings.values())


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)
