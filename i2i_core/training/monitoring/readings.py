"""Gather every rank's numbers for a log in one sum, and copy them to the host while training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from i2i_core.training.monitoring.utilisation import CPU, GPU
from i2i_core.training.step import Step
from i2i_core.training.sync import World


class HostCopy:
    """Copy tensors to the host without stopping the device. `wait()` returns them as they were when the copy began, on
    a CPU too."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = {name: t.detach().to("cpu", non_blocking=True, copy=True) for name, t in tensors.items()}
        on_gpu = any(t.is_cuda for t in tensors.values())
        self.done = torch.cuda.Event() if on_gpu else None
        if self.done:
            self.done.record()

    def wait(self) -> dict[str, Tensor]:
        if self.done:
            self.done.synchronize()
        return self.tensors


@dataclass(frozen=True)
class Reading:
    """Hold the numbers of one log, which are the same on every rank."""

    images: int
    terms: dict[str, float]
    """`player/term`: means over the global batch and over the moves since the log before."""
    speed: dict[str, float]
    """Numbers that are no part of the objectives: waiting, seconds of a move, memory, utilisation."""
    weighted: dict[str, float]
    """`player/term`: what the term adds to the player's loss, without its sign."""
    spread: float | None
    """The difference among made images, relative to that among real ones; None where none were made since."""


@dataclass(frozen=True)
class Sent:
    """Hold a reading that is on its way to the host."""

    images: int
    names: list[str]
    own: list[str]
    """The names of each rank's own numbers."""
    influences: list[str]
    workers: int
    copy: HostCopy

    def read(self) -> Reading:
        """Wait for the numbers, and return the reading."""
        numbers = iter(self.copy.wait()["numbers"].tolist())
        terms = {name: next(numbers) for name in self.names}
        each = [{name: next(numbers) for name in self.own} for _ in range(self.workers)]
        weighted = {name: abs(next(numbers) * terms[name]) for name in self.influences}
        spread = next(numbers)
        speed = {name: _over_workers(name, [one[name] for one in each]) for name in self.own}
        speed = {name: value for name, value in speed.items() if value}
        waits = [one[WAIT] for one in each]
        speed |= {WAIT: sum(waits) / self.workers} | ({f"{WAIT}_worst": max(waits)} if self.workers > 1 else {})
        return Reading(self.images, terms, speed, weighted, None if spread < 0 else spread)


WAIT, MEMORY = "speed/data_wait_share", "memory/gpu_gb"


def _over_workers(name: str, values: list[float]) -> float:
    """Give the mean of what tells how busy workers are; of anything else the largest."""
    return sum(values) / len(values) if name in (CPU, GPU) else max(values)


def send(
    step: Step,
    world: World,
    images: int,
    waited: float,
    spread: Tensor | None,
    busy: Mapping[str, float] | None = None,
) -> Sent:
    """Sum all ranks' numbers since the last log in one collective. Every rank calls this at the same time.

    Args:
        waited: the share of training time that this rank waited for data.
        spread: of what rank 0 made since the last log, a scalar on the device.
        busy: as `Utilisation.read` gives it; the same names on every rank.
    """
    gpu = step.device.type == "cuda"
    seconds = step.stopwatch.read()
    own = {WAIT: waited, **(busy or {})} | {
        f"{player}/move_seconds": seconds.get(player, 0.0) for player in step.movers
    }
    if gpu:
        own[MEMORY] = torch.cuda.max_memory_allocated(step.device) / 1e9
        torch.cuda.reset_peak_memory_stats(step.device)
    slots = torch.zeros(world.size, len(own))
    slots[world.rank] = torch.tensor(list(own.values()))
    slots = slots.flatten()
    influence = {player: step.influence[player] for player in step.movers if player in step.influence}
    influences = [f"{player}/{name}" for player, (names, _) in influence.items() for name in names]
    made = torch.full((), -1.0, device=step.device) if spread is None else spread
    first = torch.cat([*(weights for _, weights in influence.values()), made[None]])
    names, numbers = step.read_terms(
        (slots.pin_memory() if gpu else slots).to(step.device, non_blocking=True),
        first if world.leads else torch.zeros_like(first),
    )
    return Sent(images, names, list(own), influences, world.size, HostCopy({"numbers": numbers}))


def spread_of(made: list[Tensor], real: list[Tensor]) -> Tensor | None:
    """Divide how much made images differ from sample to sample by how much real ones do: the standard deviation over
    samples, averaged over pixels, each of the column that varies least.

    Args:
        made: columns of images (n, C, H, W).
        real: images of the batch.

    Returns:
        A scalar on the device, -1 where the real images are all alike; None where there is nothing to compare.
    """
    if not made or not real or len(made[0]) < 2:
        return None
    of_real = torch.stack([_deviation(x) for x in real]).min()
    of_made = torch.stack([_deviation(x) for x in made]).min()
    return torch.where(of_real > ALIKE, of_made / of_real.clamp(min=ALIKE), torch.full_like(of_real, -1.0))


ALIKE = 1e-3
"""Real images that differ by less than this, where black and white differ by 2, are all alike."""


def _deviation(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.float().std(dim=0).mean()
