"""What a checkpoint is used for, over many units of work, in this process or on Ray workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch

from i2i_core.errors import ResourceError, RunError, UserError
from i2i_core.training.checkpoint import Trained, load_trained

Unit = TypeVar("Unit")
Result = TypeVar("Result")
Task = Callable[[Any, Unit], Result]
"""Called with a worker and a unit; Ray finds it by its name in a module."""


class Job(Protocol):
    """What every worker knows."""

    @property
    def checkpoint(self) -> str: ...

    def worker(self, trained: Trained) -> Any:
        """One that works with the checkpoint, on the device where it is."""


@dataclass(frozen=True)
class Where:
    """1 worker: this process; more: as many on Ray. `gpu`: one for each; neither gpu nor cpu: where there is one."""

    workers: int
    gpu: bool
    cpu: bool


def over(units: Sequence[Unit], task: Task[Unit, Result], job: Job, trained: Trained, where: Where) -> Iterator[Result]:
    """What the task makes of every unit, as it comes.

    Raises:
        UserError: as the task raised it, or for more workers or GPUs than there are.
        RunError: a worker was lost.
    """
    if where.workers > 1:
        yield from _on_ray(units, task, job, where.workers, where.gpu, where.cpu)
        return
    has = torch.cuda.is_available()
    if where.gpu and not has:
        raise ResourceError("--gpu", "no GPU that torch can use", "one", "Leave --gpu out, or use --cpu.")
    trained.method.to("cuda" if has and not where.cpu else "cpu")
    worker = job.worker(trained)
    yield from (task(worker, unit) for unit in units)


def _on_ray(
    units: Sequence[Unit], task: Task[Unit, Result], job: Job, workers: int, gpu: bool, cpu: bool
) -> Iterator[Result]:
    import ray  # late: in this process it goes without
    from ray.util import ActorPool

    from i2i_core.orchestration.cluster import connect, room

    connect()
    has = room()
    gpu = gpu or (not cpu and has["GPU"] > 0)
    kind = "GPU" if gpu else "CPU"
    held = has[kind]
    if held < workers:
        fix = f"Use --workers {held}." if held else "Use --cpu."
        raise ResourceError("--workers", str(workers), f"at most the cluster's {held} {kind}s", fix)
    actor, shared = ray.remote(num_cpus=0 if gpu else 1, num_gpus=int(gpu))(_Actor), ray.put(job)
    actors = [actor.remote(shared, gpu) for _ in range(min(workers, len(units)))]
    try:
        yield from ActorPool(actors).map_unordered(lambda worker, unit: worker.run.remote(task, unit), units)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise RunError(f"a worker was lost ({str(error).splitlines()[0]}); run the same command again") from error
    finally:
        for handle in actors:
            ray.kill(handle)


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """On a CPU, arithmetic as on a Ray worker: sums of several threads have other last digits."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Actor:
    """A worker of a job that lives on a Ray worker."""

    def __init__(self, job: Job, gpu: bool) -> None:
        if not gpu:
            torch.set_num_threads(1)
        self.worker = job.worker(load_trained(job.checkpoint, torch.device("cuda" if gpu else "cpu")))

    def run(self, task: Task[Any, Any], unit: Any) -> Any:
        return task(self.worker, unit)
