"""What only shows on a GPU: `pytest -m gpu`. Needs torch alone, neither Ray nor webdataset.

The same updates on CPU and GPU agree; bf16 stays finite; a healthy update never stops the host.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from i2i_core.config.training import TrainingConfig
from i2i_core.errors import NonFiniteError
from i2i_core.methods.base import Progress
from i2i_core.training.step import Step

from ..support.methods import ALONE, SMALL, Case, batches, poisoned, small

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
CUDA = torch.device("cuda")


def stepped(case: Case, device: torch.device, updates: int) -> tuple[Any, Step]:
    method = small(case).to(device)
    step, progress = Step(method, TrainingConfig(**case.training), ALONE, lambda images: 1.0), Progress()
    feed = (batch.to(device, case.dtype) for batch in batches(method, case, ALONE))
    for _ in range(updates):
        step(feed, progress)
    return method, step


@pytest.mark.parametrize("name", SMALL)
def test_gpu_agrees_with_cpu(name: str) -> None:
    """float64, so that a difference is a mistake and not rounding."""
    case = Case(name)
    here, there = stepped(case, torch.device("cpu"), 3)[0], stepped(case, CUDA, 3)[0]
    for key, weight in here.networks.state_dict().items():
        torch.testing.assert_close(there.networks.state_dict()[key].cpu(), weight, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", SMALL)
def test_bf16_stays_finite(name: str) -> None:
    method, step = stepped(Case(name, dtype=torch.float32, training={"precision": "bf16"}), CUDA, 50)
    step.watch.settle()
    assert all(torch.isfinite(p).all() for p in method.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_a_healthy_update_never_stops_the_host(name: str) -> None:
    case = Case(name, dtype=torch.float32)
    method = small(case).to(CUDA)
    step, progress = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress()
    made = [batch.to(CUDA) for batch, _ in zip(batches(method, case, ALONE), range(24), strict=False)]
    feed = iter(made)
    step(feed, progress)
    step(feed, progress)
    step.watch.settle()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")  # any operation that waits for the device raises
    try:
        step(feed, progress)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", SMALL)
def test_a_non_finite_move_is_suppressed_on_the_device(name: str) -> None:
    case = Case(name, dtype=torch.float32)
    method = small(case).to(CUDA)
    step, progress = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress()
    feed = (batch.to(CUDA) for batch in batches(method, case, ALONE))
    step(feed, progress)
    before = {k: v.clone() for k, v in method.networks.state_dict().items()}
    player = next(iter(method.players))
    poisoned(method, player, at=0)
    with pytest.raises(NonFiniteError):
        for _ in range(5):
            step(feed, progress)
    mine = {id(p) for p in method.parameters_of(player)}
    assert all(torch.equal(p, before[n]) for n, p in method.networks.named_parameters() if id(p) in mine)
