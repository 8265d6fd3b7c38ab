"""Do many units of work in this process or on many Ray workers: functions alone (`each`), or with a checkpoint
(`over`).

Each worker does one unit at a time. Results come in the order in which they are done.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch

from i2i_core import logs
from i2i_core.errors import ResourceError, RunError, UserError
from i2i_core.registry import entry

if TYPE_CHECKING:
    from i2i_core.checkpoints.trained import Trained

logger = logging.getLogger(__name__)

Unit = TypeVar("Unit")
Answer = TypeVar("Answer")
Task = Callable[[Any, Unit], Answer]
"""Function of a worker and a unit; Ray finds it by its name in a module."""
TRIES = 4
"""Times that a unit is tried where the worker that has it is lost."""
ENDS_WITHIN = 60
"""Seconds that cancelled functions get to end, so that none still writes."""


class Work(Protocol):
    """Describe work with a checkpoint: every Ray worker gets a copy, loads the checkpoint, and makes its `worker`."""

    @property
    def checkpoint(self) -> str:
        """Place of the checkpoint that workers load."""

    def worker(self, trained: Trained) -> Any:
        """Make a worker that works with the checkpoint, on the device where it is."""


@dataclass(frozen=True)
class Where:
    """Say where work is done. 1 worker: in this process, or for a job of a cluster on one Ray worker, as the cluster's
    head takes no work; more: on so many Ray workers. `gpu`: one GPU for each; neither `gpu` nor `cpu`: a GPU where
    there is one."""

    workers: int
    gpu: bool
    cpu: bool

    @property
    def here(self) -> bool:
        """Tell whether this process does the work."""
        return self.workers == 1 and not os.environ.get("RAY_ADDRESS")

    def check(self) -> None:
        """Check that this process has the GPU it is to use. Raises ResourceError when it has none."""
        if self.here and self.gpu and not torch.cuda.is_available():
            raise ResourceError("--gpu", "no GPU that torch can use", "one", "Leave --gpu out, or use --cpu.")

    @property
    def device(self) -> torch.device:
        """Device of this process, where it does the work."""
        return torch.device("cuda" if self.here and not self.cpu and torch.cuda.is_available() else "cpu")


def each(units: Sequence[tuple[Any, ...]], task: Callable[..., Answer], workers: int) -> Generator[Answer, None, None]:
    """Call a function with every tuple of arguments, and yield the results as they come. Calls of a lost worker are
    retried.

    Args:
        workers: 0: in this process, in order; -1: as many as the cluster has CPUs.

    Raises:
        UserError: as the function raised it.
        RunError: a worker was lost, and those that tried again.
    """
    if workers == 0 or not units:
        yield from (task(*unit) for unit in units)
        return
    from i2i_core.orchestration.cluster import capacity, connect  # late: work in this process does without Ray

    import ray  # isort: skip

    connect()
    remote = ray.remote(num_cpus=1, max_retries=TRIES - 1)(called).options(name=task.__name__)

    def cancel(flying: Sequence[Any]) -> None:
        for late in flying:
            ray.cancel(late)
        if flying:  # none may still write when the caller goes on
            ray.wait(flying, num_returns=len(flying), timeout=ENDS_WITHIN)

    most = workers if workers > 0 else max(1, capacity()["CPU"])
    yield from _flow(units, repeat(lambda unit: remote.remote(logs.shown(), task, *unit), most), cancel)


def over(
    units: Iterable[Unit],
    task: Task[Unit, Answer],
    work: Work,
    trained: Trained,
    where: Where,
    tries: int = 1,
    held: int = 1,
) -> Generator[Answer, None, None]:
    """Do a task with every unit on workers that have loaded a checkpoint, and yield the results as they come.

    Args:
        tries: times that a unit is tried where the worker that has it is lost. Another worker takes its place as soon
            as the cluster has room for one.
        held: units that a worker has: the one that it does, and others, so that it waits for none. More than 1 for
            short ones.

    Raises:
        UserError, RunError: as the task raised it.
        UserError: more workers or GPUs than there are.
        RunError: a worker was lost.
    """
    if where.here:
        where.check()
        trained.method.to(where.device)
        worker = work.worker(trained)
        yield from (task(worker, unit) for unit in units)
        return
    takes = _takes(where)
    import ray

    kind, shared, level = ray.remote(**takes)(_Actor), ray.put(work), logs.shown()
    given = (shared, bool(takes["num_gpus"]), level, trained.config.method)
    waiting = iter(units)
    first = [*islice(waiting, where.workers)]
    yield from _Crew(lambda: kind.remote(*given), task, chain(first, waiting), tries, held).work(len(first))


def once(task: Callable[..., Answer], where: Where, *arguments: Any) -> Answer:
    """Call a function where the work is done: here, or on one of the cluster's nodes. Raises as `over`."""
    if where.here:
        where.check()
        return task(*arguments)
    takes = _takes(replace(where, workers=1))
    import ray

    with told():
        return ray.get(ray.remote(**takes)(called).options(name=task.__name__).remote(logs.shown(), task, *arguments))


def _takes(where: Where) -> dict[str, int]:
    """Compute what every worker takes of the cluster. Raises ResourceError when there is less than all of them take."""
    from i2i_core.orchestration.cluster import capacity, connect  # late: in this process it goes without

    connect()
    has = capacity()
    gpu = where.gpu or (not where.cpu and has["GPU"] > 0)
    kind = "GPU" if gpu else "CPU"
    if (held := has[kind]) < where.workers:
        fix = f"Use --workers {held}." if held else "Use --cpu."
        raise ResourceError("--workers", str(where.workers), f"at most the cluster's {held} {kind}s", fix)
    return {"num_cpus": int(not gpu), "num_gpus": int(gpu)}


def _flow(
    units: Iterable[Unit], lanes: Iterable[Callable[[Unit], Any]], end: Callable[[Sequence[Any]], Any]
) -> Iterator[Any]:
    """Keep every worker busy with one unit, until there are no more, and yield the results as they come.

    Args:
        lanes: one for each worker: sends a unit to that worker, and returns Ray's reference to the result.
        end: called with the references that are still pending, also after an error or where the caller stops early.
    """
    import ray

    waiting = iter(units)
    flying = {lane(unit): lane for lane, unit in zip(lanes, waiting, strict=False)}
    try:
        with told():
            while flying:
                (ready,), _ = ray.wait(list(flying), num_returns=1)
                lane = flying.pop(ready)
                made = ray.get(ready)
                flying |= {lane(unit): lane for unit in islice(waiting, 1)}
                yield made
    finally:
        end(list(flying))


class _Crew:
    """Keep actors busy, and replace those that are lost.

    Args:
        hire: makes an actor.
        task: done with every unit.
        units: to be done.
        tries: times that a unit is tried where its actor is lost.
        held: units that an actor has.
    """

    def __init__(
        self, hire: Callable[[], Any], task: Task[Any, Any], units: Iterator[Any], tries: int, held: int
    ) -> None:
        self.hire, self.task, self.tries, self.held = hire, task, tries, held
        self.units = ((unit, 1) for unit in units)
        self.again: deque[tuple[Any, int]] = deque()
        self.flying: dict[Any, tuple[Any, tuple[Any, int] | None]] = {}
        """By Ray's reference to a result: the actor, and the unit with its tries; None: the actor has just been hired.
        """
        self.idle: list[Any] = []
        """Actors that could have a unit more, each as often as it could."""
        self.lost: set[Any] = set()

    def work(self, actors: int) -> Generator[Any, None, None]:
        """Yield the results as they come."""
        import ray

        try:
            with told():
                for actor in [self.hire() for _ in range(actors)] * self.held:
                    self._busy(actor)
                while self.again or any(given for _, given in self.flying.values()):
                    (ready,), _ = ray.wait(list(self.flying), num_returns=1)
                    actor, given = self.flying.pop(ready)
                    try:
                        made = ray.get(ready)
                    except ray.exceptions.RayActorError:
                        if not given or given[1] >= self.tries:
                            raise
                        self._replace(actor, *given)
                        continue
                    for _ in range(1 if given else self.held):
                        self._busy(actor)
                    if given:
                        yield made
        finally:
            for actor in {*self.idle, *(actor for actor, _ in self.flying.values())}:
                ray.kill(actor)

    def _busy(self, actor: Any) -> None:
        """Give an actor the next unit, if there is one."""
        given = self.again.popleft() if self.again else next(self.units, None)
        if given:
            self.flying[actor.run.remote(self.task, given[0])] = actor, given
        else:
            self.idle.append(actor)

    def _replace(self, actor: Any, unit: Any, tries: int) -> None:
        """Hire another for an actor that was lost, and give what it had to the next that is free."""
        self.again.append((unit, tries + 1))
        if actor not in self.lost:
            logger.warning("a worker was lost; others get what it had")
            self.lost.add(actor)
            self.idle = [other for other in self.idle if other != actor]
            new = self.hire()
            self.flying[new.ready.remote()] = new, None
        if self.idle:
            self._busy(self.idle.pop())


@contextmanager
def told() -> Iterator[None]:
    """Raise a worker's UserError or RunError in this process as it is, and RunError where a worker was lost."""
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError | RunError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise RunError(f"a worker was lost ({str(error).splitlines()[0]}); run the same command again") from error


def called(level: logs.Level, task: Callable[..., Answer], *arguments: Any) -> Answer:
    """Call a function on a worker of Ray, whose log is then this process's too."""
    logs.show(level)
    return task(*arguments)


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Compute on a CPU as on a Ray worker, with one thread: sums of several threads have other last digits."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Actor:
    """Hold what `Work.worker` makes, as a Ray actor."""

    def __init__(self, work: Work, gpu: bool, level: logs.Level, method: str) -> None:
        logs.show(level)
        if not gpu:
            torch.set_num_threads(1)
        self.work, self.device, self.method = work, torch.device("cuda" if gpu else "cpu"), method

    @cached_property
    def worker(self) -> Any:
        """Made by the first task: what an actor's own constructor raises does not arrive."""
        from i2i_core.checkpoints.trained import load_trained  # late: what needs no checkpoint does without

        entry(self.method)  # the driver has imported it, or knows it: the checkpoint's file may name it here too
        return self.work.worker(load_trained(self.work.checkpoint, self.device))

    def ready(self) -> None:
        """Answer, so that the driver knows that the actor has begun."""

    def run(self, task: Task[Any, Any], unit: Any) -> Any:
        return task(self.worker, unit)
