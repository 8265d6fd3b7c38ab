"""What one training worker does. Ray Train calls `train_worker` on each; everything is in the config."""

from __future__ import annotations

import sys
from typing import Any

import torch

from i2i_core.config import TrainConfig
from i2i_core.errors import RunError, UserError
from i2i_core.storage import Folder
from i2i_core.training.loop import Loop
from i2i_core.training.sync import World

STATUS = "status.json"


def train_worker(values: dict[str, Any]) -> None:
    """Ray Train's `train_loop_per_worker`: `values["config"]` is a TrainConfig as JSON."""
    import ray.train
    import ray.train.torch

    context = ray.train.get_context()
    config = TrainConfig.loads(values["config"], "the driver's configuration")
    world = World(context.get_world_rank(), context.get_world_size())
    torch.set_num_threads(config.launch.cpus_per_worker)
    ray.train.report(train(config, world, ray.train.torch.get_device()))


def train(config: TrainConfig, world: World, device: torch.device) -> dict[str, float]:
    """A run from where its folder says it is to its end; its outcome is left in `status.json`.

    A RunError that all workers meet together ends the run in state `failed` and is not raised: to start
    the workers again would only repeat it. Anything else is recorded and raised.
    """
    folder = Folder(f"{config.launch.storage}/{config.run_name}")
    try:
        loop = Loop(config, world, device, say=_say)
        metrics = loop.train()
    except RunError as error:
        _record(folder, {"state": "failed", "error": str(error)}, world.leads)
        return {"failed": 1.0}
    except Exception as error:
        kind = "wrong input" if isinstance(error, UserError) else type(error).__name__
        _record(folder, {"state": "failed", "error": str(error), "kind": kind}, True)
        raise
    _record(folder, {"state": "finished", "images": loop.progress.images, "metrics": metrics}, world.leads)
    return metrics


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")  # not print, which Ray Train doubles: once for its log, once for the driver
    sys.stdout.flush()


def _record(folder: Folder, status: dict[str, Any], mine: bool) -> None:
    if mine:
        folder.write_json(STATUS, status)
