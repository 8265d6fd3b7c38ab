"""What one training worker does. Ray Train calls `train_worker` on each; everything is in the config."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

import torch

from i2i_core.config import TrainConfig
from i2i_core.errors import RunError, Stopped, UserError, WorkerError
from i2i_core.storage import AT_START, PATIENCE, Folder, StorageError, patient_for
from i2i_core.training.loop import Loop
from i2i_core.training.node import Node
from i2i_core.training.sync import World

STATUS = "status.json"
STOP = "stop"
"""A file of this name in a run's folder asks the run to save and stop; if there is anything in it, the launch named."""
LOOKS_EVERY = 2.0
"""Seconds between looks for that file, and for a node being drained."""


def train_worker(values: dict[str, Any]) -> None:
    """Ray Train's `train_loop_per_worker`: `values["config"]` is a TrainConfig as JSON, `values["attempt"]` names the
    launch."""
    import ray.train
    import ray.train.torch

    context = ray.train.get_context()
    config = TrainConfig.loads(values["config"], "the driver's configuration")
    world = World(context.get_world_rank(), context.get_world_size())
    device, node = ray.train.torch.get_device(), this_node()
    threads = node.threads(config.launch.cpus_per_worker, config.data.loaders, device.type == "cuda")
    torch.set_num_threads(threads)
    gauges = Gauges(config.run_name) if world.leads else None
    ray.train.report(train(config, world, device, values["attempt"], being_drained, gauges, node))


def this_node() -> Node:
    """The node of this Ray worker."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    has: dict[str, float] = next((node["Resources"] for node in ray.nodes() if node["NodeID"] == here), {})
    return Node(int(has.get("CPU", 0)), int(has.get("GPU", 0)))


def train(
    config: TrainConfig,
    world: World,
    device: torch.device,
    attempt: str = "",
    drained: Callable[[], bool] = lambda: False,
    gauges: Gauges | None = None,
    node: Node | None = None,
) -> dict[str, float]:
    """A run from where its folder says it is to its end; its outcome is left in `status.json`.

    What all workers meet together, a RunError, ends the run and is not raised: to start the workers again would only
    repeat it. A UserError or a WorkerError, which others do not meet, is recorded and raised; the workers that are then
    started again find the record, and end. After anything else they go on.

    Args:
        attempt: names the launch; another launch of the same run takes it over.
        drained: whether a worker's node is about to go.
        gauges: shown what is logged.
        node: as `Loop` takes it.
    """
    os.environ[PATIENCE] = str(config.launch.patience)
    folder = Folder(f"{config.launch.storage}/{config.run_name}")
    with patient_for(AT_START):
        is_over = is_over_for(folder, attempt) if world.leads else None
    if world.from_leader(is_over):
        return {}
    try:
        measured = gauges.show if gauges else lambda values: None
        loop = Loop(config, world, device, _say, lambda: not is_over_for(folder, attempt), measured, node)
        if gauges:
            gauges.players = tuple(loop.method.players)
        with _watching(loop, folder, attempt, drained):
            metrics = loop.train()
    except (WorkerError, UserError) as error:
        with suppress(StorageError), patient_for(AT_START):
            record(folder, attempt, state="failed", error=str(error))
        raise
    except RunError as error:
        if world.leads:
            record(folder, attempt, state="stopped" if isinstance(error, Stopped) else "failed", error=str(error))
        return {}
    if world.leads:
        record(folder, attempt, state="finished", images=loop.progress.images, metrics=metrics)
    return metrics


class Gauges:
    """What is logged, as Ray's metrics: `D/grad_norm` is the gauge `i2i_grad_norm` with the tags `run` and `player` D,
    `speed/images_per_second` is `i2i_speed_images_per_second` of no player."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.players: tuple[str, ...] = ()
        self.gauges: dict[str, Any] = {}

    def show(self, values: Mapping[str, float]) -> None:
        """Sets every gauge; from one thread."""
        from ray.util.metrics import Gauge

        for name, value in values.items():
            parts = name.split("/")
            player = next((part for part in parts if part in self.players), "")
            if player:
                parts.remove(player)
            gauge = "i2i_" + re.sub(r"\W", "_", "_".join(parts), flags=re.ASCII)
            if gauge not in self.gauges:
                self.gauges[gauge] = Gauge(gauge, f"{name} of docs/watching.md", ("run", "player"))
            self.gauges[gauge].set(value, {"run": self.run, "player": player})


def record(folder: Folder, attempt: str, **status: Any) -> None:
    """How this launch of the run ended, unless another has taken it over."""
    if not is_over_for(folder, attempt):
        folder.write_json(STATUS, {**status, "attempt": attempt})


def is_over_for(folder: Folder, attempt: str) -> bool:
    """Whether this launch of the run has ended, or another has taken it over."""
    status = folder.read_json(STATUS)
    if not attempt or status is None:
        return False
    return bool(status["state"] != "running" or status["attempt"] != attempt)


@contextmanager
def _watching(loop: Loop, folder: Folder, attempt: str, drained: Callable[[], bool]) -> Iterator[None]:
    """Asks the loop to save when a node is drained, and to stop when the run's folder says so."""
    ended = Event()

    def watch() -> None:
        saved = False
        while not ended.wait(LOOKS_EVERY):
            if drained() and not saved:
                _say("a node of this run is being drained: saving")
                loop.ask("save")
                saved = True
            with (
                suppress(OSError, StorageError),
                patient_for(AT_START),
            ):  # not there, or storage out of reach: looked for again
                if loop.world.leads and folder.read(STOP).decode() in ("", attempt):
                    loop.ask("stop")
                    return

    Thread(target=watch, name="watch", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def being_drained() -> bool:
    """Whether Ray has told this worker that a node of its group is about to go.

    `ray.train.get_preemption_info` says the same, but makes all workers wait for each other.
    """
    from ray.train.v2._internal.execution.context import get_train_context

    return get_train_context().preemption_context.preemption_info is not None


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")  # not print, which Ray Train doubles: once for its log, once for the driver
    sys.stdout.flush()
