"""What a checkpoint is used for, over many units of work, in this process or on Ray workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, TypeVar

import torch

from i2i_core.checkpoints.trained import Trained, load_trained
from i2i_core.errors import ResourceError, RunError, UserError

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
    """1 worker: this process, but for a job of a cluster, whose head works for nobody; else as many on Ray. `gpu`: one
    for each; neither gpu nor cpu: where there is one."""

    workers: int
    gpu: bool
    cpu: bool

    @property
    def here(self) -> bool:
        """Whether this process does the work."""
        return self.workers == 1 and not os.environ.get("RAY_ADDRESS")

    def check(self) -> None:
        """Raises ResourceError when this process is to use a GPU and has none."""
        if self.here and self.gpu and not torch.cuda.is_available():
            raise ResourceError("--gpu", "no GPU that torch can use", "one", "Leave --gpu out, or use --cpu.")

    @property
    def device(self) -> torch.device:
        """Of this process, where it does the work."""
        return torch.device("cuda" if self.here and not self.cpu and torch.cuda.is_available() else "cpu")


def over(units: Sequence[Unit], task: Task[Unit, Result], job: Job, trained: Trained, where: Where) -> Iterator[Result]:
    """What the task makes of every unit, as it comes.

    Raises:
        UserError: as the task raised it, or for more workers or GPUs than there are.
        RunError: a worker was lost.
    """
    if where.here:
        where.check()
        trained.method.to(where.device)
        worker = job.worker(trained)
        yield from (task(worker, unit) for unit in units)
    else:
        yield from _on_ray(units, task, job, where)


def once(task: Callable[..., Result], where: Where, *arguments: Any) -> Result:
    """What a function gives that is called where the work is done: here, or on one of the cluster's nodes. Raises as
    `over`."""
    if where.here:
        where.check()
        return task(*arguments)
    import ray

    with _told():
        return ray.get(ray.remote(**_each(replace(where, workers=1)))(task).remote(*arguments))


def _each(where: Where) -> dict[str, int]:
    """What every worker takes of the cluster. Raises ResourceError when there is less than all of them take."""
    from i2i_core.orchestration.cluster import connect, room  # late: in this process it goes without

    connect()
    has = room()
    gpu = where.gpu or (not where.cpu and has["GPU"] > 0)
    kind = "GPU" if gpu else "CPU"
    if (held := has[kind]) < where.workers:
        fix = f"Use --workers {held}." if held else "Use --cpu."
        raise ResourceError("--workers", str(where.workers), f"at most the cluster's {held} {kind}s", fix)
    return {"num_cpus": int(not gpu), "num_gpus": int(gpu)}


@contextmanager
def _told() -> Iterator[None]:
    """What a worker raised that a user can mend is raised here."""
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise RunError(f"a worker was lost ({str(error).splitlines()[0]}); run the same command again") from error


def _on_ray(units: Sequence[Unit], task: Task[Unit, Result], job: Job, where: Where) -> Iterator[Result]:
    import ray
    from ray.util import ActorPool

    each = _each(where)
    actor, shared = ray.remote(**each)(_Actor), ray.put(job)
    actors = [actor.remote(shared, bool(each["num_gpus"])) for _ in range(min(where.workers, len(units)))]
    try:
        with _told():
            yield from ActorPool(actors).map_unordered(lambda worker, unit: worker.run.remote(task, unit), units)
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
        self.job, self.device = job, torch.device("cuda" if gpu else "cpu")

    @cached_property
    def worker(self) -> Any:
        """Made by the first task: what an actor's own constructor raises does not arrive."""
        return self.job.worker(load_trained(self.job.checkpoint, self.device))

    def run(self, task: Task[Any, Any], unit: Any) -> Any:
        return task(self.worker, unit)
