"""What workers sum and average, each by itself: buckets, strides, running statistics, the poison, draws.

pytest tests/distributed/test_sync.py
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from i2i_core import batch as batch_module
from i2i_core.config.training import TrainingConfig
from i2i_core.errors import NonFiniteError
from i2i_core.methods.base import Progress
from i2i_core.training import step as step_module
from i2i_core.training.optim import load_state
from i2i_core.training.step import Step
from i2i_core.training.sync import BUCKET_BYTES, GradientSum, World

from ..support.methods import ALONE, Case, assert_same, batches, poisoned, run, small, step_of_case, whole_batch
from ..support.workers import on_workers

FINE = Case("cyclegan", bucket_bytes=1024, training={"clip_grad": 0.5})
COARSE = Case("cyclegan", training={"clip_grad": 0.5})
BAD = [Case("cyclegan"), Case("cyclegan", fast=("channels_last", "passes", "bf16_sums"))]
NORMED = Case("pix2pix", hyper={"norm": "batch"})


class Found(NamedTuple):
    """What one worker found."""

    fine: dict[str, Tensor]
    coarse: dict[str, Tensor]
    buckets: tuple[int, int]
    statistics: list[tuple[float, dict[str, Tensor], dict[str, Tensor]]]
    """Of each update: the share of the batch, running statistics before they are averaged, and after."""
    poisoned: list[tuple[str, bool]]
    """Of each of BAD: what stopped it, and whether all weights are as before the bad move."""
    strided: dict[str, list[Tensor]]


def look(world: World) -> Found:
    parameters = small(COARSE).parameters_of("generators")
    counts = [len(GradientSum(parameters, world, most).buckets) for most in (1024, BUCKET_BYTES)]
    return Found(
        run(FINE, world),
        run(COARSE, world),
        (counts[0], counts[1]),
        statistics(world),
        [stopped(world, case) for case in BAD],
        strided(world),
    )


def statistics(world: World) -> list[tuple[float, dict[str, Tensor], dict[str, Tensor]]]:
    """Running statistics of two updates, before and after workers tell each other."""
    method, found = small(NORMED), []
    step = Step(method, TrainingConfig(), world, lambda images: 1.0)
    right = step_module.average_buffers

    def noted(networks: nn.Module, world: World, weight: float, alike: Collection[nn.Module]) -> None:
        before = floats(networks)
        right(networks, world, weight, alike)
        found.append((weight, before, floats(networks)))

    step_module.average_buffers = noted
    feed, progress = batches(method, NORMED, world), Progress()
    for _ in range(2):
        step(feed, progress)
    step_module.average_buffers = right
    return found


def floats(networks: nn.Module) -> dict[str, Tensor]:
    return {name: b.clone() for name, b in networks.named_buffers() if b.is_floating_point()}


def stopped(world: World, case: Case) -> tuple[str, bool]:
    """A loss that is NaN on the last worker alone, while every gradient is finite."""
    method = small(case)
    before = {name: tensor.clone() for name, tensor in method.networks.state_dict().items()}
    if world.rank == world.size - 1:
        poisoned(method, "generators", at=0, gradients=False)
    step = step_of_case(method, case, world)
    step(map(step.place, batches(method, case, world)), Progress())
    flags = world.gather(step.watch.stop.item())
    message = f"not heard by all: {flags}"
    if all(flags):  # else one would wait for the others
        with pytest.raises(NonFiniteError) as caught:
            step.watch.settle()
        message = str(caught.value)
    return message, all(torch.equal(before[k], v) for k, v in method.networks.state_dict().items())


LAYOUTS = ("contiguous", "strided")


def strided(world: World) -> dict[str, list[Tensor]]:
    """Parameters after three moves by Adam, fused and plain, contiguous and in other orders of memory."""
    return {
        f"{layout} {'fused' if fused else 'plain'}": moved(world, layout, fused)
        for layout in LAYOUTS
        for fused in (True, False)
    }


def made(layout: str) -> list[nn.Parameter]:
    """Weights of convolutions, of 3x3, 1x1 and of one channel, a bias and a matrix."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 4, 3, 3), (3, 6, 1, 1), (2, 1, 3, 3), (6,), (5, 7)]
    values = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]
    if layout == "strided":
        values[:3] = [value.contiguous(memory_format=torch.channels_last) for value in values[:3]]
        values[4] = values[4].t().contiguous().t()
        assert not values[0].is_contiguous()
        assert not values[4].is_contiguous()
    return [nn.Parameter(value) for value in values]


def moved(world: World, layout: str, fused: bool) -> list[Tensor]:
    parameters = made(layout)
    optimiser = torch.optim.Adam(parameters, 0.1, fused=fused)
    gradients = GradientSum(parameters, world, bucket_bytes=512)
    for t in range(3):
        move_once(parameters, optimiser, gradients, world, t)
    return [p.detach().contiguous() for p in parameters]


def move_once(
    parameters: list[nn.Parameter], optimiser: torch.optim.Optimizer, gradients: GradientSum, world: World, t: int
) -> None:
    """One move on a loss that is a sum over six parts, of which each worker has its own."""
    optimiser.zero_grad(set_to_none=True)
    gradients.listen(torch.zeros((), dtype=torch.float64), 0)
    generator = torch.Generator().manual_seed(1 + t)
    parts = [[torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters] for _ in range(6)]
    mine = parts[world.rank :: world.size]
    loss = torch.stack([((p - x) ** 2).sum() for part in mine for p, x in zip(parameters, part, strict=True)]).sum()
    loss.backward()
    for p, gradient in zip(parameters, gradients.finish(), strict=True):
        assert gradient is p.grad
        assert gradient.stride() == p.stride()
    optimiser.step()


@pytest.fixture(scope="module")
def two() -> list[Found]:
    return [Found(*found) for found in on_workers(2, look)]


@pytest.mark.processes
def test_gradient_sum_in_many_buckets_equals_one_bucket_and_one_process(two: list[Found]) -> None:
    alone = run(COARSE)
    for found in two:
        many, few = found.buckets
        assert many > 8
        assert few == 1
        assert_same(alone, found.fine)
        for name, tensor in found.coarse.items():
            assert torch.equal(tensor, found.fine[name]) or tensor.dim() == 0, name


@pytest.mark.processes
def test_average_buffers_weighs_workers_by_their_share(two: list[Found]) -> None:
    first, other = (found.statistics for found in two)
    assert len(first) == len(other) == 2
    for (w, mine, after), (v, theirs, after_there) in zip(first, other, strict=True):
        assert sorted((w, v)) == [3 / 7, 4 / 7]
        assert mine
        for name in mine:
            assert not torch.equal(mine[name], theirs[name]), "each has seen its part alone"
            assert torch.equal(after[name], after_there[name])
            assert torch.allclose(after[name], w * mine[name] + v * theirs[name], rtol=0, atol=1e-12)


@pytest.mark.processes
def test_gradient_sum_stops_all_workers_where_one_has_a_nan_loss(two: list[Found]) -> None:
    for message, unmoved in (one for found in two for one in found.poisoned):
        assert "non-finite move of player generators after 0 images" in message
        assert "on worker 1" in message
        assert "on worker 0" not in message
        assert unmoved
    assert two[0].poisoned == two[1].poisoned


@pytest.mark.processes
@pytest.mark.parametrize("adam", ["fused", "plain"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_sum_moves_the_right_elements_in_every_memory_order(two: list[Found], layout: str, adam: str) -> None:
    right = moved(ALONE, "contiguous", fused=False)
    for each in (strided(ALONE), *(found.strided for found in two)):
        for found, expected in zip(each[f"{layout} {adam}"], right, strict=True):
            assert torch.allclose(found, expected, rtol=0, atol=1e-12)


def test_load_state_lays_moments_out_as_their_parameters() -> None:
    """A run goes on in another order of memory than the one that it was saved in."""
    for before, after in (("contiguous", "strided"), ("strided", "contiguous")):
        whole, first, rest = made(before), made(before), made(after)
        adam = partial(torch.optim.Adam, lr=0.1, fused=True)
        optimisers = [adam(parameters) for parameters in (whole, first, rest)]
        for t in range(2):
            move_once(whole, optimisers[0], GradientSum(whole, ALONE), ALONE, t)
        move_once(first, optimisers[1], GradientSum(first, ALONE), ALONE, 0)
        with torch.no_grad():
            for p, value in zip(rest, first, strict=True):
                p.copy_(value)
        load_state(optimisers[2], optimisers[1].state_dict())
        move_once(rest, optimisers[2], GradientSum(rest, ALONE), ALONE, 1)
        for p, expected in zip(rest, whole, strict=True):
            assert torch.allclose(p, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_draw_on_the_device_is_the_same_for_any_number_of_workers(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more numbers than are drawn on the host; which path a draw takes is the global batch's to decide."""
    whole = whole_batch(small(Case("pix2pix")), 7, 3)
    on_host = whole.draw("z", 5, kind=kind)
    devices = noted_devices(monkeypatch)
    for most, path in ((7 * 5, "host"), (7 * 5 - 1, "device")):
        monkeypatch.setattr(batch_module, "ON_HOST", most)
        for cuts in ([(0, 7)], [(0, 4), (4, 7)], [(0, 3), (3, 5), (5, 7)]):
            parts = [whole._cut(start, stop).draw("z", 5, kind=kind) for start, stop in cuts]
            assert torch.equal(torch.cat(parts), on_host)  # the device is the host here, and its generator the same
        assert {type(device) for device in devices} == {str if path == "host" else torch.device}
        devices.clear()


def noted_devices(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Where generators are made: "cpu" by name, or the batch's own device."""
    devices: list[Any] = []
    right = batch_module.Batch._generator

    def generator(self: batch_module.Batch, name: str, device: torch.device | str = "cpu") -> torch.Generator:
        devices.append(device)
        return right(self, name, device)

    monkeypatch.setattr(batch_module.Batch, "_generator", generator)
    return devices
