"""Launch a prepared configuration on Ray Train: make the last checks, which need the cluster, then run `fit`."""

from __future__ import annotations

import logging
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from threading import Event, Thread, current_thread, main_thread
from typing import Any, Literal
from uuid import uuid4

import ray
import torch
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from i2i_core.checkpoints import checkpoint
from i2i_core.config.run import TrainConfig
from i2i_core.errors import ConfigError, ResourceError, RunError, Stopped, UserError
from i2i_core.orchestration import ray_compat
from i2i_core.orchestration.cluster import capacity, connect, dashboard, wait_for
from i2i_core.orchestration.rendezvous import OneAddressConfig
from i2i_core.orchestration.restarts import Restarts, cause_of
from i2i_core.orchestration.worker import train_worker
from i2i_core.reporting.page import write_report
from i2i_core.runs.attempts import begin, check_claim, held, holder, record
from i2i_core.runs.folder import RunFolder, Status, images_of, why_ended
from i2i_core.storage.folder import Folder
from i2i_core.storage.leftovers import OLD, TemporaryFolder
from i2i_core.storage.retry import AT_START, PATIENCE, StorageError, patient_for
from i2i_core.training.fast import check_possible
from i2i_core.training.preparing import check_same_run, has_finished
from i2i_core.training.resuming import length_of, rate_change

logger = logging.getLogger(__name__)

LOOKS_EVERY = 1.0
"""Seconds between two looks at whether Ray answers, once a run was asked to stop."""
SAVES_WITHIN = 45
"""Seconds that workers have to save without Ray, which ends the driver a minute after its own end."""
PROBE = 4096
"""Bytes of the file that shows whether a folder can be written: a full disk takes an empty file."""


@dataclass(frozen=True)
class Reached:
    """Hold a finished run's folder, length and metrics.

    Attributes:
        again: whether it had finished before this launch, which then did nothing.
    """

    run: RunFolder
    images: int
    metrics: dict[str, float]
    again: bool = False


def check_storage(run: Folder) -> float:
    """Write and remove a file in the run's folder, and give the time by the storage's clock.

    Raises:
        ResourceError: the folder cannot be written.
    """
    probe = RunFolder.in_checkpoint(f".probe-{uuid4().hex}")
    try:
        run.write(probe, bytes(PROBE))
        now = run.modified(probe)
        _remove_old_probes(run, now)
        return now
    except Exception as error:  # each filesystem has its own kinds
        found, fix = f"{run.url}, where writing fails ({error})", "Name another, or make it writable, with room."
        raise ResourceError("--storage", found, "a place that can be written", fix) from None
    finally:
        with suppress(Exception):
            run.remove(probe)


def _remove_old_probes(run: Folder, now: float) -> None:
    """Remove the probes that killed launches left, once they are old by the storage's clock."""
    for name in run.names(RunFolder.CHECKPOINTS):
        probe = RunFolder.in_checkpoint(name)
        with suppress(OSError):  # another launch has just removed it, or it is another user's
            if re.fullmatch(r"\.probe-[0-9a-f]{32}", name) and now - run.modified(probe) > OLD:
                run.remove(probe)


def use_gpu(config: TrainConfig) -> bool:
    """Return whether the run uses GPUs: as its flags say, else where the cluster has some or can grow to."""
    return config.launch.gpu or (not config.launch.cpu and capacity()["GPU"] > 0)


def needed(config: TrainConfig, gpu: bool) -> tuple[Literal["CPU", "GPU"], int]:
    """Return the resource, and how much of it the smallest world size takes."""
    least, _ = config.launch.worker_range
    return ("GPU", least) if gpu else ("CPU", least * config.launch.cpus_per_worker)


def check_cluster(config: TrainConfig, gpu: bool) -> None:
    """Check that the cluster can hold the smallest world size, and that the options of `--fast` are possible.

    Raises:
        ResourceError: the cluster never can.
        ConfigError: an option is impossible.
    """
    (kind, amount), (least, most) = needed(config, gpu), config.launch.worker_range
    device, training = torch.device("cuda" if gpu else "cpu"), config.training
    check_possible(training.fast, device, most, training.checkpoint_activations)
    has = capacity()[kind]
    if gpu:
        _check_gpu(bool(has))
    if has < amount:
        fit = has if gpu else has // config.launch.cpus_per_worker
        raise ResourceError(
            "--workers",
            f"{least}, which need {amount} {kind}s",
            f"at most what the cluster has or can grow to, {has} {kind}s",
            f"Use --workers {fit}, or a larger cluster." if fit else "Use --cpu, or a cluster that has them.",
        )


def _check_gpu(there: bool) -> None:
    if not there:
        fix = "Leave --gpu out to train on CPUs, or join a cluster with GPUs (RAY_ADDRESS)."
        raise ResourceError("--gpu", "no GPU on this machine or in the cluster", "a GPU for each worker", fix)


@patient_for(AT_START)
def check_run(config: TrainConfig, lr_may_rise: bool = False) -> str:
    """Check that an existing run of the same name can be resumed with a prepared configuration.

    Args:
        config: the prepared configuration.
        lr_may_rise: whether `--lr-may-rise` is given.

    Returns:
        How the learning rate changes where the run is resumed with another length; "" where it does not.

    Raises:
        ConfigError: fields that must match differ, or the rate would rise and `lr_may_rise` is false.
    """
    run = RunFolder.of(config)
    check_same_run(config, run)
    _check_longer(config, run)
    return rate_change(config, run, lr_may_rise)


def _check_longer(config: TrainConfig, run: RunFolder) -> None:
    """Refuse a length that the run has passed already; its own it passes with its last update. Raises ConfigError."""
    names = run.whole_checkpoints()
    if names and (reached := images_of(names[-1])) > (length := length_of(config)):
        was, given = checkpoint.read_config(run).training, config.training
        if (was.images, was.epochs) == (given.images, given.epochs):
            return
        found, fix = f"a length of {length:,} images", "Give more, or another --name for a shorter run."
        raise ConfigError("--images", found, f"at least the {reached:,} that {run.url} has been trained on", fix)


def launch(config: TrainConfig, lr_may_rise: bool = False, began: float | None = None) -> Reached:
    """Run a prepared configuration to its end, resuming from the run's folder. A finished run is not run again.

    A run's folder holds config.json, status.json (running, finished, stopped or failed, and with what result),
    attempts/, checkpoints/, best.json, grids/, TensorBoard's event files, and report.html, which shows all of it.

    Args:
        config: the prepared configuration.
        lr_may_rise: whether the learning rate may rise where the run is resumed with a larger length than before.
        began: `time.monotonic()` at the start of the program; None for now. Of launches that begin at the same moment
            one alone has the run.

    Raises:
        UserError: storage, cluster or an earlier run of the same name do not fit.
        Stopped: somebody asked the run to stop. It is saved, and the same call resumes it.
        RunError: the run failed, or another launch has it. Its checkpoints are kept, and the same call resumes it.
    """
    began = time.monotonic() if began is None else began
    run = RunFolder.of(config)
    with patient_for(AT_START):
        if said := check_run(config, lr_may_rise):
            logger.info(said)
        since = check_storage(run) - (time.monotonic() - began)
        if run.exists(run.CONFIG) and has_finished(config, checkpoint.read_config(run), run):
            return replace(_outcome(run), again=True)
        check_claim(run, since)
    os.environ[PATIENCE] = str(config.launch.patience)
    if config.launch.gpu and not os.environ.get("RAY_ADDRESS") and not ray.is_initialized():
        _check_gpu(torch.cuda.is_available())  # before a cluster is started here
    connect()
    logger.info(f"watch the cluster: {dashboard()}")
    gpu = use_gpu(config)
    check_cluster(config, gpu)
    wait_for(*needed(config, gpu))
    least, most = config.launch.worker_range
    many = f"{least}" if least == most else f"{least} to {most}"
    workers = f"{many} worker{'' if most == 1 else 's'} on {'GPUs' if gpu else 'CPUs'}"
    logger.info(f"starting {workers}: seconds, on a slow or busy machine a minute")
    attempt = uuid4().hex
    with held(run, attempt, since):
        begin(run, attempt, config.dumps().encode())
        ended = Event()
        with stopping_on_signal("the run", lambda: _stop(run, attempt, ended)):
            try:
                untold = _fit(config, run, gpu, attempt)
            except RunError:
                _report(run)
                raise
            finally:
                ended.set()
    if untold:
        raise RunError(untold)
    _report(run)
    return _outcome(run, attempt)


def _report(run: RunFolder) -> None:
    """Write the run's report, however the run has ended."""
    with patient_for(AT_START):
        write_report(run.url)


def _stop(run: RunFolder, attempt: str, ended: Event) -> None:
    """Ask the run to save and stop. Where the signal went to Ray's processes too, wait for the end in Ray's place.

    `timeout` and service managers signal a whole process group. Ray's own processes then end, the workers save, and the
    driver, which waits for Ray, would be ended by Ray after a minute, without a word of how the run stands.

    Args:
        run: the run's folder.
        attempt: the name of the launch.
        ended: set when Ray Train has returned.
    """
    try:
        run.ask_to_stop(attempt)
    except (OSError, StorageError) as error:
        logger.warning(f"{run.at(run.STOP)} could not be written ({error}): another signal ends the run at once")
    address = ray.get_runtime_context().gcs_address
    while ray_compat.answers(address):
        if ended.wait(LOOKS_EVERY):
            return
    logger.info("the signal reached Ray's own processes too: the workers save and end without them")
    status: Status = {}
    for _ in range(SAVES_WITHIN):
        with suppress(OSError, StorageError):
            status = run.status()
        if status.get("state", "running") != "running" or ended.wait(1.0):
            break
    if not ended.is_set():
        fix = "the same command goes on from the last checkpoint"
        said = why_ended(status, fix) if status.get("state") == "stopped" else f"its workers were ended; {fix}"
        logger.info(f"{run.url}: {said}")
        os._exit(1)  # the main thread waits for Ray


def _outcome(run: RunFolder, attempt: str = "") -> Reached:
    """Read how a run has ended. Raise Stopped or RunError where it did not come to its end.

    Args:
        run: the run's folder.
        attempt: the launch that ended, where another may have taken the run over.
    """
    try:
        status, has = run.status(), holder(run)
    except (OSError, StorageError) as error:
        fix = "The same command goes on from its last checkpoint."
        raise RunError(f"{run.url}: its workers have ended, and why cannot be read ({error}).\n  {fix}") from None
    if attempt and has and has.attempt != attempt:
        raise RunError(f"{run.url}: another launch of this run has taken it over ({has.described}); this one ends")
    if status.get("state") == "finished" and status.keys() >= {"images", "metrics"}:
        return Reached(run, status["images"], status["metrics"])
    reason = why_ended(status, "another launch of this run has taken it over, or its workers ended early")
    raise (Stopped if status.get("state") == "stopped" else RunError)(f"{run.url}: {reason}")


@contextmanager
def stopping_on_signal(who: str, stop: Callable[[], None]) -> Iterator[Thread]:
    """Call `stop` in a thread at the first SIGTERM or SIGINT inside the block; the next signal acts as before.

    Args:
        who: what stops, for the log: "the run".
        stop: requests the stop. The block gets its thread.
    """
    asking = Thread(target=stop, name="stop", daemon=True)
    if current_thread() is not main_thread():  # a sweep's trial: signals are the sweep's
        yield asking
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, frame: Any) -> None:
        for each, handler in before.items():
            signal.signal(each, handler)
        logger.info(f"{signal.Signals(number).name}: {who} saves and stops; another one ends it at once")
        asking.start()

    for number in before:
        signal.signal(number, ask)
    try:
        yield asking
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fit(config: TrainConfig, run: RunFolder, gpu: bool, attempt: str) -> str:
    """Run Ray Train, and return why the run ended where the run's folder could not take that note; else "".

    Checkpoints are ours (`checkpoints/checkpoint.py`), so Ray's own notes are kept on each node and then removed.
    """
    notes = TemporaryFolder("ray")
    trainer = _trainer(config, gpu, attempt, notes.name)
    failed: list[Exception] = []
    untold: list[str] = []

    def fit() -> None:
        try:
            untold.append(trainer.fit().return_value or "")
        except Exception as error:  # told by the main thread
            failed.append(error)

    # In a thread, where Ray leaves signals alone.
    thread = Thread(target=fit, name="fit", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(timeout=0.5)
    notes.cleanup()
    if failed:
        reason = _reason(failed[0])
        with suppress(OSError, StorageError), patient_for(AT_START):
            record(run, attempt, state="failed", error=reason)
        raise RunError(f"{run.url}: {reason}\n  The same command goes on from its last checkpoint.")
    return "".join(untold)


def _trainer(config: TrainConfig, gpu: bool, attempt: str, notes: str) -> TorchTrainer:
    """Build Ray Train's trainer of a run, which keeps its own notes in a folder of the node."""
    least, most = config.launch.worker_range
    return TorchTrainer(
        train_worker,
        train_loop_config={"config": config.dumps(), "attempt": attempt},
        torch_config=OneAddressConfig(
            backend="nccl" if gpu else "gloo",
            timeout_s=int(1800 + 2 * config.launch.patience),  # workers wait for one that waits for storage
        ),
        scaling_config=ScalingConfig(
            num_workers=most if least == most else (least, most),
            use_gpu=gpu,
            elastic_resize_monitor_interval_s=config.launch.resize_every,
            resources_per_worker={"CPU": config.launch.cpus_per_worker, **({"GPU": 1} if gpu else {})},
        ),
        run_config=RunConfig(
            name=attempt,
            storage_path=notes,
            failure_config=FailureConfig(max_failures=config.launch.max_failures),
            logging_config=LoggingConfig(log_level="CRITICAL"),
            callbacks=[Restarts(config.run_name, config.launch.log_level, config.launch.max_failures)],
        ),
    )


def _reason(error: Exception) -> str:
    """Return a worker's message, where Ray's error holds one; else the last line of Ray's."""
    for failure in getattr(error, "worker_failures", {}).values():
        cause = cause_of(failure)
        if isinstance(cause, RunError | UserError):
            return str(cause)
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
