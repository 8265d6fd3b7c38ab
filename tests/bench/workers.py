"""Time the step on one worker and on several, at a fixed global and at a fixed local batch.

Communication exposed is the time of an update less that of the same update on the same part of the batch with its sums
left out, in alternating rounds that all workers begin together; rank 0's, medians. On a CPU workers are processes of
one thread in a gloo group, on GPUs one process a GPU in an NCCL group.
"""

from __future__ import annotations

import pickle
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from i2i_core.config.training import TrainingConfig
from i2i_core.data.reading.lanes import slots_of
from i2i_core.methods import build_method
from i2i_core.training.step import Step
from i2i_core.training.sync import World

from ..support.methods import whole_batch
from ..support.workers import on_workers
from .bare import CPU, GPU, ROUNDED, Bare, Case, Effort, Same
from .results import Key, Results, Values

NAMES = ("pix2pix", "cyclegan")
"""The methods that are timed: one of many weights, one of many convolutions."""
BASE = 16
"""On GPUs: the fixed global batch, and the batch of each worker where that is fixed."""


def bench(results: Results) -> None:
    """Measure 1 worker, 2, and on GPUs as many as there are; nothing where there is one GPU."""
    device, gpus = results.about["device"], results.about["gpus"]
    if device == "cuda" and gpus < 2:
        return
    effort = GPU if gpus else CPU
    for name in NAMES:
        own = Case.of(name, "reference" if gpus else "demo")
        base = BASE if gpus else own.batch
        for size in sorted({1, 2, gpus or 2}):
            batches = {"global": base, "local": base * size} if size > 1 else {"global": base}
            for fixed, batch in batches.items():
                key: Key = {"bench": "workers", "method": name, "preset": own.preset, "workers": size, "fixed": fixed}
                results.measure(key, partial(together, size, device, replace(own, batch=batch), effort))


def together(size: int, device: str, case: Case, effort: Effort) -> Values:
    """Measure a case on `size` workers; return what rank 0 found."""
    spread = on_gpus if device == "cuda" else on_workers
    found: Values = spread(size, timed, case, device, effort)[0]
    return found


def timed(world: World, case: Case, device: str, effort: Effort) -> Values:
    """Time this worker's part of updates, with the sums over workers and without."""
    sides = sides_of(world, case, device)
    lengths = {name: side.warm_up(effort.warm_up, count=False) for name, side in sides.items()}
    updates = world.from_leader(effort.updates(max(lengths.values())))
    for _ in range(effort.rounds):
        for side in sides.values():
            dist.barrier()
            side.rounds.append(side.update(updates))
    summed, apart = (statistics.median(sides[name].rounds) for name in ("summed", "apart"))
    served = sides["summed"].feed.taken / sides["summed"].updates * case.batch
    return {
        "batch": case.batch,
        "images_per_second": served / summed,
        "seconds": summed,
        "seconds_without_sums": apart,
        "exposed": summed - apart,
        "rounds": {name: side.rounds for name, side in sides.items()},
    }


def sides_of(world: World, case: Case, device: str) -> dict[str, Bare]:
    """Build a worker's step twice: with its sums over workers, and without."""
    return {"summed": part_of(world, world, case, device), "apart": part_of(world, World(), case, device)}


def part_of(world: World, summing: World, case: Case, device: str) -> Bare:
    """Build the step of this worker's part of a batch, which sums its gradients over the workers of `summing`."""
    method = build_method(case.method, case.preset, **ROUNDED.get(case.method, {})).to(torch.device(device))
    method.attach()
    step = Step(method, TrainingConfig(batch=case.batch), summing, lambda images: 1.0)
    part = whole_batch(method, case.batch, 0)._cut(*slots_of(case.batch, world.rank, world.size))
    return Bare(step, Same(step.place(part)))


def on_gpus(size: int, work: Callable[..., Any], *args: Any) -> list[Any]:
    """Call `work(world, *args)` in `size` processes, each with a GPU of its own; return their results by rank."""
    with tempfile.TemporaryDirectory(prefix="workers-") as folder:
        mp.start_processes(_on_gpu, (size, folder, work, args), nprocs=size, start_method="spawn")
        return [pickle.loads(Path(folder, str(rank)).read_bytes()) for rank in range(size)]


def _on_gpu(rank: int, size: int, folder: str, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.cuda.set_device(rank)
    meet, device = f"file://{folder}/meet", torch.device("cuda", rank)
    dist.init_process_group("nccl", init_method=meet, rank=rank, world_size=size, device_id=device)
    Path(folder, str(rank)).write_bytes(pickle.dumps(work(World(rank, size), *args)))
    dist.barrier()
    dist.destroy_process_group()
