"""Run one training worker. Ray Train calls `train_worker` on each; everything it needs is in the configuration."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch

from i2i_core import BEGAN, logs
from i2i_core.background import Background
from i2i_core.checkpoints.checkpoint import PUT_BACK
from i2i_core.config.run import TrainConfig
from i2i_core.errors import RunError, Stopped, UnrecordedError, UserError, WorkerError
from i2i_core.orchestration.ray_compat import being_drained, silence_train
from i2i_core.runs.attempts import is_over_for, record
from i2i_core.runs.folder import RunFolder
from i2i_core.storage.retry import AT_START, PATIENCE, StorageError, patient_for
from i2i_core.training.loop import Loop
from i2i_core.training.node import Node
from i2i_core.training.sync import World
from i2i_core.training.timing import Spent
from i2i_core.training.together import by_leader

logger = logging.getLogger(__name__)

LOOKS_EVERY = 2.0
"""Seconds between looks for a request to stop, and for a node that is being drained."""


def train_worker(values: dict[str, Any]) -> str:
    """Train on this worker: Ray Train's `train_loop_per_worker`.

    Args:
        values: `config`, a TrainConfig as JSON, and `attempt`, the name of the launch.

    Returns:
        Why the run ended, where its folder could not take that note; else "". The driver gets rank 0's.
    """
    import ray.train
    import ray.train.torch

    from i2i_core.orchestration.restarts import is_of_another_process

    context = ray.train.get_context()
    config = TrainConfig.loads(values["config"], "the driver's configuration", from_driver=True)
    world = World(context.get_world_rank(), context.get_world_size())
    logs.show(config.launch.log_level, config.run_name, world.rank)
    silence_train()
    device, node = ray.train.torch.get_device(), this_node()
    threads = node.threads(config.launch.cpus_per_worker, config.data.loaders, device.type == "cuda")
    torch.set_num_threads(threads)
    gauges = Gauges(config.run_name) if world.leads else None
    metrics, untold = dict[str, float](), ""
    try:
        metrics = train(config, world, device, values["attempt"], being_drained, gauges, node, launched=True)
    except UnrecordedError as error:  # to raise it would have Ray train again
        untold = str(error)
    except (RunError, UserError):  # recorded, and the driver prints it
        raise
    except Exception as error:
        if not is_of_another_process(error):
            logger.exception("this worker failed")
        raise
    ray.train.report(metrics)
    return untold


def this_node() -> Node:
    """Return the node of this Ray worker."""
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
    launched: bool = False,
) -> dict[str, float]:
    """Train a run from where its folder says it is to its end, and record the outcome in `status.json`.

    A RunError, which all ranks meet together, ends the run and is not raised: workers that were started again would
    only meet it again. A UserError or a WorkerError, which one rank meets alone, is recorded and raised; workers that
    are then started again find the record, and end. After any other error they resume the run.

    Args:
        config: the prepared configuration.
        world: this rank among its peers.
        device: where the networks go.
        attempt: the name of the launch; another launch of the same run takes the run over.
        drained: returns whether a worker's node is about to go.
        gauges: shows what is logged as Ray's metrics.
        node: as `Loop` takes it.
        launched: whether a launch has made the run's folder, which must then be there.

    Returns:
        The last evaluation's metrics; none where the run had ended before.

    Raises:
        UnrecordedError: the run has ended, and its folder cannot take the reason; on rank 0 alone, after all ended.
    """
    os.environ[PATIENCE] = str(config.launch.patience)
    folder = RunFolder.of(config)
    try:
        if _is_over(folder, attempt, world, launched):
            return {}
        measured = gauges.show if gauges else lambda values: None
        spent = Spent(BEGAN if launched else None)
        loop = Loop(config, world, device, lambda: not is_over_for(folder, attempt), measured, node, spent=spent)
        if gauges:
            gauges.players = tuple(loop.method.players)
        with _watching(loop, folder, attempt, drained):
            metrics = loop.train()
    except RunError as error:
        if isinstance(error, WorkerError) and not error.together:
            _record_alone(folder, attempt, error)
            raise
        if world.leads:
            _record_end(folder, attempt, str(error), "stopped" if isinstance(error, Stopped) else "failed")
        return {}
    except UserError as error:
        _record_alone(folder, attempt, error)
        raise
    if world.leads:
        ending = f"finished after {loop.progress.images:,} images"
        _record_end(folder, attempt, ending, "finished", images=loop.progress.images, metrics=metrics)
    return metrics


def _is_over(folder: RunFolder, attempt: str, world: World, launched: bool) -> bool:
    """Return whether the run has ended for this attempt. Raise RunError on all ranks where that cannot be known."""

    def look() -> bool:
        with patient_for(AT_START):
            over = is_over_for(folder, attempt)
            if launched and not folder.exists(folder.STATUS):
                raise RunError(f"{folder.url} is not there any more, or not on this node: {PUT_BACK}")
            return over

    return by_leader(world, folder, look)


def _record_alone(folder: RunFolder, attempt: str, error: Exception) -> None:
    with suppress(OSError, StorageError), patient_for(AT_START):
        record(folder, attempt, state="failed", error=str(error))


def _record_end(folder: RunFolder, attempt: str, ending: str, state: str, **more: Any) -> None:
    """Record how the run ended, for all ranks. Raise UnrecordedError where its folder cannot take that."""
    told = more if state == "finished" else {"reason" if state == "stopped" else "error": ending}
    folder.kept = bool(attempt)  # one that is gone is not made again
    try:
        with patient_for(AT_START):
            record(folder, attempt, state=state, **told)
            if state == "stopped":
                folder.remove(folder.STOP)
    except (OSError, StorageError) as error:
        why = f"{error.strerror or error}" if isinstance(error, OSError) else str(error)
        raise UnrecordedError(f"{ending}\n  Its {folder.STATUS} could not be written ({why}).") from None


class Gauges:
    """Show what is logged as Ray's metrics: `D/grad_norm` is the gauge `i2i_grad_norm` with the tags `run` and `player`
    D; `speed/images_per_second` is `i2i_speed_images_per_second` without a player."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.players: tuple[str, ...] = ()
        self.gauges: dict[str, Any] = {}

    def show(self, values: Mapping[str, float]) -> None:
        """Set every gauge. One thread alone may call this."""
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


@contextmanager
def _watching(loop: Loop, folder: RunFolder, attempt: str, drained: Callable[[], bool]) -> Iterator[None]:
    """Have the loop save when a node is drained, and stop when the run's folder says so, inside the block."""
    watcher = Background("watch")

    def watch() -> None:
        saved, pause = False, 0.0  # looks at once: somebody may have asked while the workers started
        while not watcher.ending.wait(pause):
            pause = LOOKS_EVERY
            if drained() and not saved:
                logger.info("a node of this run is being drained: saving")
                loop.ask("save")
                saved = True
            with (
                suppress(OSError, StorageError),
                patient_for(AT_START),
            ):  # not there, or storage out of reach: looked for again
                if loop.world.leads and folder.asks_to_stop(attempt):
                    loop.ask("stop")
                    return

    watcher.put(watch)
    try:
        yield
    finally:
        watcher.close(within=0)
        if watcher.error:
            logger.warning(f"drains and the stop file were no longer watched ({watcher.error!r})")
