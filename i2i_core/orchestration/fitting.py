"""Replace `--batch auto` by a number before a run or a sweep starts: the largest batch that fits every worker."""

from __future__ import annotations

import json
import logging
from typing import Any, Literal

import ray
import torch

from i2i_core import logs
from i2i_core.config.run import TrainConfig
from i2i_core.data.reading.stream import open_sets
from i2i_core.methods import build_from
from i2i_core.orchestration.cluster import connect, wait_for
from i2i_core.orchestration.launch import check_cluster, needed, use_gpu
from i2i_core.orchestration.pool import called, told
from i2i_core.orchestration.worker import this_node
from i2i_core.runs.folder import RunFolder
from i2i_core.settings import AUTO, Auto
from i2i_core.storage.folder import Folder
from i2i_core.storage.retry import AT_START, patient_for
from i2i_core.training.fitting_batch import MOST, fitting
from i2i_core.training.preparing import prepare
from i2i_core.training.staged import stream_of

logger = logging.getLogger(__name__)


def with_number(config: TrainConfig, of: Literal["", "sweep-"] = "", file: str = RunFolder.CONFIG) -> TrainConfig:
    """Replace `--batch auto` by a number. A configuration that has a number is returned as it is.

    A run or sweep that has begun keeps its number. An automatic name does not depend on what fits.

    Args:
        config: the configuration as given, not prepared.
        of: the beginning of a sweep's name; "" for a run.
        file: a file that their folder has once they have begun.

    Raises:
        UserError: as `prepare`; or the cluster cannot hold the workers, or not one sample fits.
        RunError: Ray did not start, or a worker was lost.
    """
    if not isinstance(config.training.batch, Auto):
        return config
    least, most = config.launch.worker_range
    trial = prepare(config.with_section("training", batch=most))
    named = trial.with_section("training", batch=AUTO).with_section("launch", name=config.launch.name)
    name = named.launch.name or of + named.run_name
    batch = _begun(f"{trial.launch.storage}/{name}", file)
    if batch:
        logger.info(f"--batch auto: {batch}, which {name} began with")
    else:
        batch = _measured(trial, least, is_sweep=bool(of))
    return config.with_section("training", batch=batch).with_section("launch", name=name)


@patient_for(AT_START)
def _begun(url: str, file: str) -> int:
    """Return the batch of a run or a sweep that has begun; 0 where none has."""
    folder = Folder(url)
    fix = "Put back the file as it was written, or give another --name."
    values = folder.read_json(file, dict[str, Any], fix, finite=False)
    if values is None:
        return 0
    return TrainConfig.loads(json.dumps(values.get("base", values)), f"{url}/{file}").training.batch


def _measured(trial: TrainConfig, workers: int, is_sweep: bool) -> int:
    """Measure on every worker what fits, and return the least of that times the number of workers."""
    connect(quiet=is_sweep)
    gpu = use_gpu(trial)
    check_cluster(trial, gpu)
    wait_for(*needed(trial, gpu))
    per_worker = max(1, min(MOST, samples(trial) // workers))
    takes = {"num_cpus": trial.launch.cpus_per_worker, "num_gpus": int(gpu)}
    # A process that has used a GPU keeps some of its memory: it ends with its one task.
    task = ray.remote(**takes, max_calls=1, scheduling_strategy="SPREAD")(called).options(name="fitting batch")
    given = (trial.dumps(), gpu, workers, is_sweep, per_worker)
    with told():
        parts: list[int] = ray.get([task.remote(logs.shown(), fitting_here, *given) for _ in range(workers)])
    found = min(parts)
    how = "tried on each" if gpu else "an estimate, by what two small updates keep and the memory that is free"
    why = "" if found < per_worker else ", the most that is tried" if found == MOST else ", all the samples there are"
    logger.info(f"--batch auto: {found * workers}, {found} for each of {workers} workers ({how}{why})")
    return found * workers


def samples(config: TrainConfig) -> int:
    """Count the training samples of a prepared run: an epoch's, in batches of one."""
    with torch.device("meta"):
        needs = build_from(config.method, config.hyper).needs
    return stream_of(config.with_section("training", batch=1), open_sets(config.data), needs).batches_in(0)


def fitting_here(config: str, gpu: bool, workers: int, is_sweep: bool, most: int) -> int:
    """Find how many samples fit on this Ray worker, for a single run or where trials of a sweep share the host."""
    trial = TrainConfig.loads(config, "the driver's configuration", from_driver=True)
    cpus = trial.launch.cpus_per_worker
    torch.set_num_threads(cpus)
    room = max(1, this_node().cpus // cpus)
    device = torch.device("cuda" if gpu else "cpu")
    return fitting(trial, device, workers, room if is_sweep else min(workers, room), most)
