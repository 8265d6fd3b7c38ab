"""What only shows on a GPU: `pytest -m gpu`. Needs torch alone, neither Ray nor webdataset.

The same updates on CPU and GPU agree; bf16 stays finite; a healthy update never stops the host.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.utils.parametrizations import spectral_norm

from i2i_core.batch import Batch
from i2i_core.checkpoints.host_memory import HostMemory
from i2i_core.config.training import TrainingConfig
from i2i_core.errors import NonFiniteError
from i2i_core.methods.base import Progress
from i2i_core.networks.resnet import ResNetGenerator
from i2i_core.training.graphs import CudaGraph
from i2i_core.training.layers import Layers, Masks
from i2i_core.training.memory import asked_for, is_out_of_memory, memory_of
from i2i_core.training.step import Step

from ..support.layered import Layered, Made, parts, step_of
from ..support.methods import ALONE, SMALL, Case, batches, poisoned, small, step_of_case
from ..support.recorded import go, launched, stepping

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
CUDA = torch.device("cuda")


def stepped(case: Case, device: torch.device, updates: int) -> tuple[Any, Step]:
    method = small(case).to(device)
    step, progress = step_of_case(method, case), Progress()
    feed = (batch.to(device, case.dtype) for batch in batches(method, case, ALONE))
    for _ in range(updates):
        step(feed, progress)
    return method, step


def without_waiting(step: Step, feed: Iterator[Batch], progress: Progress) -> None:
    """Make one more update, in which any operation that waits for the device raises."""
    step.watch.settle()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(feed, progress)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", SMALL)
def test_gpu_agrees_with_cpu(name: str) -> None:
    """float64, so that a difference is a mistake and not rounding."""
    case = Case(name)
    here, there = stepped(case, torch.device("cpu"), 3)[0], stepped(case, CUDA, 3)[0]
    for key, weight in here.networks.state_dict().items():
        torch.testing.assert_close(there.networks.state_dict()[key].cpu(), weight, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", SMALL)
def test_bf16_stays_finite(name: str) -> None:
    method, step = stepped(Case(name, dtype=torch.float32, fast=("bf16",)), CUDA, 50)
    step.watch.settle()
    assert all(torch.isfinite(p).all() for p in method.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_step_of_a_healthy_update_never_stops_the_host(name: str) -> None:
    case = Case(name, dtype=torch.float32)
    method = small(case).to(CUDA)
    step, progress = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress()
    made = [batch.to(CUDA) for batch, _ in zip(batches(method, case, ALONE), range(24), strict=False)]
    feed = iter(made)
    step(feed, progress)
    step(feed, progress)
    without_waiting(step, feed, progress)


@pytest.mark.parametrize("name", SMALL)
def test_step_suppresses_a_non_finite_move_on_the_device(name: str) -> None:
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


def test_layers_of_every_kind_never_stop_the_host() -> None:
    made = Made(g_norm=True, spectral=True, dropout=0.3, both=True, dtype=torch.float32)
    method = Layered(made).to(CUDA)
    step, progress = step_of(made, method=method), Progress()
    feed = iter([batch.to(CUDA) for batch, _ in zip(parts(made, ALONE), range(8), strict=False)])
    step(feed, progress)
    step(feed, progress)
    without_waiting(step, feed, progress)


@pytest.mark.parametrize("name", SMALL)
def test_activations_computed_again_move_weights_alike(name: str) -> None:
    kept, again = (
        stepped(Case(name, training={"checkpoint_activations": checkpoint}), CUDA, 3)[0] for checkpoint in (False, True)
    )
    for key, weight in kept.networks.state_dict().items():
        torch.testing.assert_close(again.networks.state_dict()[key], weight, rtol=1e-9, atol=1e-9)


def test_activations_computed_again_take_less_memory() -> None:
    """The most that CycleGAN's generator takes besides its weights, for eight images of 256 px and their gradients."""
    network, x = ResNetGenerator().to(CUDA), torch.rand(8, 3, 256, 256, device=CUDA)
    batch = Batch({"a": x}, 8, 0, 8, 0, 0)
    most = {}
    for checkpoint in (False, True):
        with Layers(torch.nn.ModuleDict({"G": network}), None, autocast=False, checkpoint=checkpoint).running(batch, 0):
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            loss = network(x).mean()
        torch.autograd.grad(loss, list(network.parameters()))
        most[checkpoint] = torch.cuda.max_memory_allocated() - before
        del loss
    assert most[True] < 0.7 * most[False], most


def test_allocation_that_cannot_succeed_is_out_of_memory() -> None:
    with pytest.raises(torch.OutOfMemoryError) as raised:
        torch.empty(2**50, dtype=torch.uint8, device=CUDA)
    assert is_out_of_memory(raised.value)
    assert asked_for(raised.value) == "1048576.00 GiB"
    assert 0 < memory_of(CUDA).free <= memory_of(CUDA).total


@pytest.mark.parametrize("name", SMALL)
def test_recorded_updates_equal_written_ones_on_the_device(name: str) -> None:
    """In float64; fused Adam reads the learning rate of a recorded move in float32."""
    case = Case(name, batch=3, training={"ema_halflife": 20, "clip_grad": 1.0})
    written, recorded = stepping(case, None, CUDA), stepping(case, CudaGraph, CUDA)
    before, after = Progress(), Progress()
    go(written, case, before, 10)
    go(recorded, case, after, 10)
    assert recorded.recorded is not None
    assert launched(recorded), recorded.recorded.refused
    assert (before.images, before.moves) == (after.images, after.moves)
    expected = written.method.networks.state_dict()
    for key, weight in recorded.method.networks.state_dict().items():
        torch.testing.assert_close(weight, expected[key], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [("channels_last", "passes"), ("bf16", "channels_last", "passes")], ids="+".join)
@pytest.mark.parametrize("name", SMALL)
def test_recorded_updates_go_with_other_options_and_stay_finite(name: str, options: tuple[str, ...]) -> None:
    case = Case(name, batch=2, dtype=torch.float32, fast=options)
    step, progress = stepping(case, CudaGraph, CUDA), Progress()
    go(step, case, progress, 30)
    assert step.recorded is not None
    assert launched(step), step.recorded.refused
    assert all(torch.isfinite(p).all() for p in step.method.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_graphs_never_stop_the_host(name: str) -> None:
    case = Case(name, dtype=torch.float32)
    step, progress = stepping(case, CudaGraph, CUDA), Progress()
    made = [step.place(batch) for batch, _ in zip(batches(step.method, case, ALONE), range(40), strict=False)]
    feed = iter(made)
    for _ in range(5):
        step(feed, progress)
    assert launched(step)
    without_waiting(step, feed, progress)


def test_graphs_suppress_a_non_finite_move_on_the_device() -> None:
    case = Case("pix2pix", batch=2, dtype=torch.float32)
    step, progress = stepping(case, CudaGraph, CUDA), Progress()
    feed = map(step.place, batches(step.method, case, ALONE))
    for _ in range(8):
        step(feed, progress)
    weights = {name: p.clone() for name, p in step.method.named_parameters()}
    broken = next(feed)
    broken.fields["b"].fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="player D after 16 images: term real = nan"):
        for batch in itertools.chain([broken], feed):
            step(iter([batch]), progress)
    for name, p in step.method.named_parameters():
        assert torch.equal(p, weights[name]), name


@pytest.mark.parametrize("name", SMALL)
def test_options_change_nothing_but_rounding_on_the_device(name: str) -> None:
    case = Case(name, batch=2)
    plain, other = (stepping(replace(case, fast=fast), None, CUDA) for fast in ((), ("channels_last", "passes")))
    go(plain, case, Progress(), 3)
    go(other, case, Progress(), 3)
    expected = plain.method.networks.state_dict()
    for key, weight in other.method.networks.state_dict().items():
        if key.endswith("weight"):
            torch.testing.assert_close(weight, expected[key], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_compiled_networks_make_the_same_update_on_the_device(name: str) -> None:
    case = Case(name, batch=2, dtype=torch.float32)
    plain, other = (stepping(replace(case, fast=fast), None, CUDA) for fast in ((), ("compile",)))
    terms, own = go(plain, case, Progress(), 1), go(other, case, Progress(), 1)
    torch.testing.assert_close(own[0], terms[0], rtol=1e-2, atol=1e-3)


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
