"""What only shows on a GPU: `pytest -m gpu`. Needs torch alone, neither Ray nor webdataset.

The same updates on CPU and GPU agree; bf16 stays finite; a healthy update never stops the host.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.utils.parametrizations import spectral_norm

from i2i_core.batch import Batch
from i2i_core.checkpoints.host_memory import HostMemory
from i2i_core.config.training import TrainingConfig
from i2i_core.errors import NonFiniteError
from i2i_core.methods.base import Progress
from i2i_core.training.layers import Layers, Masks
from i2i_core.training.step import Step

from ..support.layered import Layered, Made, parts, step_of
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


def test_masks_of_dropout_on_the_device_are_cut_from_those_of_the_batch() -> None:
    x, layer = torch.randn(2, 7, 5, 4, device=CUDA), torch.nn.Dropout(0.4)
    state = torch.cuda.get_rng_state()
    expected = masks(0, 7).apply("G.0", layer, x.flatten(0, 1)).unflatten(0, (2, 7))
    assert 0.2 < (expected == 0).float().mean() < 0.6
    for start, stop in ((0, 3), (3, 7)):
        found = masks(start, stop).apply("G.0", layer, x[:, start:stop].flatten(0, 1))
        assert torch.equal(found.unflatten(0, (2, -1)), expected[:, start:stop])
    assert torch.equal(torch.cuda.get_rng_state(), state)


def masks(start: int, stop: int) -> Masks:
    return Masks(Batch({}, 7, start, stop, 0, 0), (0,))


def test_spectral_norm_is_found_in_full_precision_in_a_bf16_run() -> None:
    """Its vectors are those of a float32 run."""
    layer, alone = (spectral_norm(torch.nn.Linear(64, 64)).to(CUDA) for _ in range(2))
    alone.load_state_dict(layer.state_dict())
    x = torch.randn(2, 64, device=CUDA)
    with (
        Layers(layer, None, autocast=True).running(Batch({}, 2, 0, 2, 0, 0)),
        torch.autocast("cuda", torch.bfloat16),
    ):
        assert layer(x).dtype == torch.bfloat16
    alone(x)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(layer.state_dict()[name], value, rtol=1e-6, atol=1e-6)


def test_a_healthy_update_with_every_kind_of_layer_never_stops_the_host() -> None:
    made = Made(g_norm=True, spectral=True, dropout=0.3, both=True, dtype=torch.float32)
    method = Layered(made).to(CUDA)
    step, progress = step_of(made, method=method), Progress()
    feed = iter([batch.to(CUDA) for batch, _ in zip(parts(made, ALONE), range(8), strict=False)])
    step(feed, progress)
    step(feed, progress)
    step.watch.settle()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(feed, progress)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("room", [True, False])
def test_copy_for_a_checkpoint_holds_the_moment_and_does_not_stop_the_host(
    room: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room on the GPU for a second copy, too."""
    memory, x = HostMemory(), torch.randn(64, 512, 512, device=CUDA)

    def full(*args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError("no room")

    for _ in range(2):  # the first pins the memory
        expected = x.cpu()
        with monkeypatch.context() as patch:
            if not room:
                patch.setattr(torch.Tensor, "clone", full)
            torch.cuda.set_sync_debug_mode("error")
            try:
                with memory.filling():
                    copied = memory.copy({"x": x}, "state")
                x.add_(1)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        memory.wait()
        assert copied["x"].is_pinned()
        assert torch.equal(copied["x"], expected)
        assert torch.equal(x.cpu(), expected + 1)
