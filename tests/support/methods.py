"""Updates of a small method, by one process or by several, on the same global batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.config.training import TrainingConfig
from i2i_core.data.reading.lanes import slots_of
from i2i_core.methods import build_method
from i2i_core.methods.base import Method, Move, Progress
from i2i_core.sizes import sides
from i2i_core.training.fast import Fast
from i2i_core.training.step import Step
from i2i_core.training.sync import BUCKET_BYTES, GradientSum, World

from .table import TABLE
from .workers import on_workers

ALONE = World()
SMALL = {name: row.small for name, row in TABLE.items()}


@dataclass(frozen=True)
class Case:
    """One way of making the same updates."""

    method: str
    batch: int = 7
    updates: int = 3
    training: dict[str, Any] = field(default_factory=dict)
    hyper: dict[str, Any] = field(default_factory=dict)
    fast: tuple[str, ...] = ()
    rounded: bool = False
    """Whether the first weights are off by one rounding."""
    dtype: torch.dtype = torch.float64
    save: str = ""
    """File for the state after the last update."""
    resume: str = ""
    """File with the state to go on from."""
    bucket_bytes: int = BUCKET_BYTES


def small(case: Case) -> Method[Any]:
    method = build_method(case.method, seed=1, **{**SMALL[case.method], **case.hyper}).to(case.dtype)
    method.attach()
    if case.rounded:
        with torch.no_grad():
            for p in method.parameters():
                p.mul_(1 + torch.finfo(p.dtype).eps)
    return method


def whole_batch(method: Method[Any], batch: int, t: int) -> Batch:
    """Global batch t of random images and labels, the same in every process."""
    generator = torch.Generator().manual_seed(100 + t)
    k = method.config
    height, width = sides(k.image_size)
    both = getattr(k, "channels", 0)
    channels = {"image": both, "a": getattr(k, "in_channels", both), "b": getattr(k, "out_channels", both)}
    fields = {
        name: torch.rand(batch, channels[name], height, width, generator=generator, dtype=torch.float64) * 2 - 1
        for name in method.needs.in_batch
    }
    sizes = getattr(k, "sizes", ()) or (getattr(k, "c_dim", 1),)  # of several data sets in turn
    source = t % len(sizes)
    labels = torch.randint(0, 2, (batch, sizes[source]), generator=generator, dtype=torch.uint8)
    if len(sizes) > 1 and k.kinds[source] == "classes":
        labels = torch.eye(sizes[source], dtype=torch.uint8)[labels.argmax(1)]
    return Batch(fields, batch, 0, batch, t * batch, 5, {"labels": labels}, source=source)


def batches(method: Method[Any], case: Case, world: World, first: int = 0) -> Iterator[Batch]:
    """This worker's part of batch first, first + 1, ..."""
    start, stop = slots_of(case.batch, world.rank, world.size)
    t = first
    while True:
        yield whole_batch(method, case.batch, t)._cut(start, stop).to(torch.device("cpu"), case.dtype)
        t += 1


def step_of_case(method: Method[Any], case: Case, world: World = ALONE) -> Step:
    return Step(method, TrainingConfig(**case.training), world, lambda images: 1.0, fast=Fast.named(*case.fast))


def run(case: Case, world: World = ALONE) -> dict[str, Tensor]:
    """Weights, averaged weights and mean terms after the case's updates."""
    method = small(case)
    step = step_of_case(method, case, world)
    for mover in step.movers.values():
        mover.gradients = GradientSum(mover.parameters, world, case.bucket_bytes, mover.gradients.dtype)
    progress, start = Progress(), 0
    if case.resume:
        saved = torch.load(case.resume, weights_only=True)
        method.networks.load_state_dict(saved["networks"])
        step.load_state_dict(saved["optimisers"])
        step.load_unread(saved["unread"])
        step.load_pools(saved["pools"], slots_of(case.batch, world.rank, world.size))
        progress, start = Progress(saved["images"], saved["moves"]), saved["images"] // case.batch
    feed = map(step.place, batches(method, case, world, start))
    for _ in range(case.updates):
        step(feed, progress)
    step.watch.settle()
    pools, unread = step.pools(), step.unread()
    if case.save and world.leads:
        networks, optimisers = method.networks.state_dict(), step.state_dict()
        saved = {"networks": networks, "optimisers": optimisers, "pools": pools, "unread": unread}
        torch.save({**saved, "images": progress.images, "moves": progress.moves}, case.save)
    names, values = step.read_terms()
    out = {name: tensor.detach().clone() for name, tensor in method.networks.state_dict().items()}
    out |= {f"ema.{name}": tensor.clone() for name, tensor in (step.ema.state_dict() if step.ema else {}).items()}
    return out | dict(zip(names, values.double(), strict=True))


@dataclass
class Poison:
    """The moment of the bad move: the weights before it, and the images served before its batch."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    images: int = -1


def poisoned(method: Any, player: str, at: int, gradients: bool = True) -> Poison:
    """Make the at-th move of a player NaN: its loss, and its gradients too unless told otherwise."""
    right, poison, moves = method.update, Poison(), iter(range(1_000))

    def wrong(batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        last = Poison()

        def noted() -> Iterator[Batch]:
            for batch in batches:
                last.images = batch.images
                yield batch

        for mover, loss, terms, *scores in right(noted(), progress):
            if mover == player and next(moves) == at:
                poison.weights = {k: v.clone() for k, v in method.networks.state_dict().items()}
                poison.images = last.images
                nan = loss * float("nan") if gradients else loss + float("nan")
                yield mover, nan, {**terms, "broken": nan.detach()}
            else:
                yield mover, loss, terms, *scores

    method.update = wrong
    return poison


def run_all(world: World, cases: list[Case]) -> list[dict[str, Tensor]]:
    return [run(case, world) for case in cases]


def run_on(size: int, cases: list[Case]) -> list[list[dict[str, Tensor]]]:
    """The cases on `size` processes; results by rank, then by case."""
    return on_workers(size, run_all, cases)


def assert_same(mine: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert mine.keys() == other.keys()
    for name in mine:
        tolerance = 1e-8 if mine[name].dim() else 1e-5  # means of terms are kept in float32
        error = (other[name] - mine[name]).abs().max()
        assert error <= tolerance * max(1.0, mine[name].abs().max()), f"{name}: {error}"
