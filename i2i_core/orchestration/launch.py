"""From a configuration to a run on Ray Train: every check that can be made before a worker starts, then `fit`."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Thread, current_thread, main_thread
from typing import Any, Literal
from uuid import uuid4

import torch
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from i2i_core.config import TrainConfig
from i2i_core.data.manifest import DataSet
from i2i_core.data.stream import lanes_of, slots_of
from i2i_core.errors import ConfigError, DataError, ResourceError, RunError, Stopped, UserError, nearest
from i2i_core.evaluation.judging import located
from i2i_core.methods import METHODS, at_test, build_from
from i2i_core.orchestration.attempts import STOP, begin, check_claim, held, holder, record, status_of
from i2i_core.orchestration.cluster import connect, on_loopback, room, wait_for
from i2i_core.orchestration.rendezvous import LoopbackConfig
from i2i_core.orchestration.resuming import rate_change
from i2i_core.orchestration.worker import train_worker
from i2i_core.paths import absolute
from i2i_core.registry import entry
from i2i_core.settings import differences
from i2i_core.storage import AT_START, PATIENCE, Folder, StorageError, patient_for
from i2i_core.training import authors, boards, checkpoint, starting
from i2i_core.training.config import OutputConfig
from i2i_core.training.loop import check_judge, evaluation_split, suites, trained_on

PROBE = 4096
"""Bytes that are written to see whether a folder takes them: a full disk takes an empty file."""


@dataclass(frozen=True)
class Outcome:
    """Where a run is and what it measured."""

    run: Folder
    images: int
    metrics: dict[str, float]


@patient_for(AT_START)
def prepare(config: TrainConfig) -> TrainConfig:
    """The configuration with paths made absolute and what only the data knows filled in.

    Raises:
        DataError: the data is not there, damaged, or of the wrong kind for the method.
        ConfigError, ResourceError: values that do not go together.
        CheckpointError: `--init-from` is not a checkpoint, or authors' weights, of this method and sizes.
    """
    config = config.with_section("launch", storage=absolute(config.launch.storage, "--storage"))
    also = tuple(absolute(uri, "--also") for uri in config.data.also)
    apart = tuple(absolute(at, "--shards-at") for at in config.data.shards_at)
    config = config.with_section("data", uri=absolute(config.data.uri, "--data"), also=also, shards_at=apart)
    config = config.with_section("training", init_from=authors.located(config.training.init_from))
    config = replace(config, output=boards.checked(located(config.output)))
    method = entry(config.method).method
    if also and not method.several:
        fit = ", ".join(name for name, other in METHODS.items() if other.method.several)
        fix = f"Leave --also out; methods that take several: {fit}."
        raise ConfigError("--also", " ".join(also), f"nothing: --method {config.method} takes one data set", fix)
    sets = config.data.open()
    for number, data in enumerate(sets):
        _check_kind(config, data, method, "--also" if number else "--data")
        _check_evaluated(config, data)
        data.shard_set(config.data.split, data.manifest.domains[0])
        data.check_shards(config.data.split)
        for domain in data.manifest.domains:
            data.index(config.data.split, domain)
    first, *others = [data.manifest for data in sets]
    hyper = method.fit(config.hyper, first, config.data.direction, *others)
    lanes = lanes_of(config.training.batch, config.data.lanes)
    slots_of(config.training.batch, lanes, 0, config.launch.worker_range[1])
    fingerprint = "+".join(data.manifest.fingerprint for data in sets)
    config = config.with_section("data", fingerprint=fingerprint, lanes=lanes)
    config = TrainConfig(
        config.method, config.preset, hyper, config.data, config.training, config.output, config.launch
    )
    _check_networks(config, sets)
    return config


def _check_kind(config: TrainConfig, data: DataSet, method: Any, flag: str) -> None:
    wanted = method.needs.kind
    if wanted == "labelled" and config.data.direction != "AtoB":
        found, expected = config.data.direction, f"none: --method {config.method} goes from any label to any other"
        raise ConfigError("--direction", found, expected, "Leave --direction out.")
    if data.manifest.kind != wanted:
        fit = [name for name, other in METHODS.items() if other.method.needs.kind == data.manifest.kind]
        raise DataError(
            f"{flag} {data.uri}",
            f"{data.manifest.kind} samples",
            f"{wanted} ones, which --method {config.method} reads",
            f"Name another data set; methods that read this one: {', '.join(fit) or 'none'}.",
        )


def _check_evaluated(config: TrainConfig, data: DataSet) -> None:
    """Refuse a split that was asked for by name and is not there; without the default one, training's is measured."""
    wanted, splits = config.output.evaluate_split, data.manifest.splits
    if wanted not in splits and wanted != OutputConfig.evaluate_split:
        expected = f"a split of {data.uri}: {', '.join(splits)}"
        raise ConfigError("--evaluate-split", repr(wanted), expected, nearest(wanted, splits))


@patient_for(AT_START)
def cautions(config: TrainConfig) -> list[str]:
    """List what a person should know before a prepared run starts, a line each."""
    sets = config.data.open()
    split, wanted = evaluation_split(config, sets), config.output.evaluate_split
    if split == wanted:
        return []
    without = [data for data in sets if wanted not in data.manifest.splits]
    missing = "; ".join(f"{data.uri} has no split {wanted!r}" for data in without)
    others = sorted(set.intersection(*(set(data.manifest.splits) for data in sets)) - {split})
    instead = f"give --evaluate-split {others[0]}, which then chooses the best checkpoint; or " if others else ""
    folders = "valA and valB folders" if sets[0].manifest.kind == "unpaired" else "a val folder"
    return [
        f"WARNING: {missing}. {trained_on(split)}\n  To measure on others: {instead}shard the images again, with some "
        f"in {folders} or, where they lie in no split folders, with `--split 0.9 0.05 0.05` (docs/data.md)."
    ]


def _check_networks(config: TrainConfig, sets: Sequence[DataSet]) -> None:
    """Builds the networks without memory, and what measures them, so that what they cannot take is found here."""
    with torch.device("meta"):
        method = build_from(config.method, config.hyper)
    at_test.chosen(method.makers, method.dropout_is_noise, {}, config.output)
    measured = suites(config, sets, method, torch.device("cpu"))
    if best := config.output.best_metric:
        check_judge(measured, best, "--best-metric")
    training = config.training
    if training.init_from and not checkpoint.complete(_folder(config)):  # once it has begun, a run needs it no more
        starting.read(training.init_from, training.init_parts, config.method, method)


def _folder(config: TrainConfig) -> Folder:
    return Folder(f"{config.launch.storage}/{config.run_name}")


def check_same_run(config: TrainConfig, run: Folder) -> None:
    """A run of that name that exists already must be this one.

    Raises:
        ConfigError: fields that must match differ, each with its saved and its given value.
    """
    if not run.exists("config.json"):
        return
    lines = differences(checkpoint.read_config(run), config)
    if lines:
        raise ConfigError(
            run.url,
            "a run with another configuration:\n    " + "\n    ".join(lines),
            "the same values, to resume it",
            "Give the saved values to go on with that run, or another --name to start a new one",
        )


def check_storage(run: Folder) -> float:
    """The time by the storage's clock. Raises ResourceError when the run's folder cannot be written."""
    probe = f"{checkpoint.CHECKPOINTS}/.probe-{uuid4().hex}"
    try:
        run.write(probe, bytes(PROBE))
        return run.modified(probe)
    except Exception as error:  # each filesystem has its own kinds
        found, fix = f"{run.url}, where writing fails ({error})", "Name another, or make it writable, with room."
        raise ResourceError("--storage", found, "a place that can be written", fix) from None
    finally:
        with suppress(Exception):
            run.remove(probe)


def use_gpu(config: TrainConfig) -> bool:
    """What was asked for; else whether the cluster has GPUs, or can have some."""
    return config.launch.gpu or (not config.launch.cpu and room()["GPU"] > 0)


def needed(config: TrainConfig, gpu: bool) -> tuple[Literal["CPU", "GPU"], int]:
    """What the fewest workers asked for take."""
    least, _ = config.launch.worker_range
    return ("GPU", least) if gpu else ("CPU", least * config.launch.cpus_per_worker)


def check_cluster(config: TrainConfig, gpu: bool) -> None:
    """Raises ResourceError when the cluster can never hold the fewest workers asked for."""
    (kind, amount), (least, _) = needed(config, gpu), config.launch.worker_range
    if (held := room()[kind]) < amount:
        fit = held if gpu else held // config.launch.cpus_per_worker
        raise ResourceError(
            "--workers",
            f"{least}, which need {amount} {kind}s",
            f"at most what the cluster has or can grow to, {held} {kind}s",
            f"Use --workers {fit}, or a larger cluster." if fit else "Use --cpu, or a cluster that has them.",
        )


@patient_for(AT_START)
def check_run(config: TrainConfig, lr_may_rise: bool = False) -> str:
    """Check that the run of that name, if there is one, can go on with a prepared configuration.

    Returns:
        How its learning rate changes where it goes on with another length; "" where it does not.

    Raises:
        ConfigError: fields that must match differ, or the rate would rise and nobody has agreed to that.
    """
    run = _folder(config)
    check_same_run(config, run)
    return rate_change(config, run, lr_may_rise)


def launch(config: TrainConfig, lr_may_rise: bool = False, began: float | None = None) -> Outcome:
    """Runs a prepared configuration to its end, resuming what its folder holds. A finished run is not run again.

    A run's folder holds config.json, status.json (running, finished, stopped or failed, and with what result),
    attempts/, checkpoints/, best.json, grids/ and tensorboard/.

    Args:
        config: the run.
        lr_may_rise: whether its learning rate may rise where it goes on with a larger length than before.
        began: `time.monotonic()` of when the program began, where that was before this call. Of launches that begin at
            the same moment one alone has the run.

    Raises:
        UserError: storage, cluster or an earlier run of that name do not fit.
        Stopped: it was asked to stop; it is saved, and the same call goes on from there.
        RunError: the run failed, and what it reached is kept: the same call goes on from there. Or another launch has
            it.
    """
    began = time.monotonic() if began is None else began
    run = _folder(config)
    with patient_for(AT_START):
        if said := check_run(config, lr_may_rise):
            print(said, flush=True)
        since = check_storage(run) - (time.monotonic() - began)
        if _finished(config, run):
            return _outcome(run)
        check_claim(run, since)
    os.environ[PATIENCE] = str(config.launch.patience)
    connect()
    gpu = use_gpu(config)
    check_cluster(config, gpu)
    wait_for(*needed(config, gpu))
    attempt = uuid4().hex
    with held(run, attempt, since):
        begin(run, attempt, config.dumps().encode(), partial(print, flush=True))
        with stopping_on_signal("the run", lambda: _ask_to_stop(run, attempt)):
            untold = _fit(config, run, gpu, attempt)
    if untold:
        raise RunError(untold)
    return _outcome(run, attempt)


def _ask_to_stop(run: Folder, attempt: str) -> None:
    try:
        run.write(STOP, attempt.encode())
    except (OSError, StorageError) as error:
        print(f"{run.at(STOP)} could not be written ({error}): another signal ends the run at once", flush=True)


def _outcome(run: Folder, attempt: str = "") -> Outcome:
    """Read what a run that has ended left. Raise Stopped or RunError where it did not come to its end.

    Args:
        attempt: whose end it is, where another launch may have taken the run over.
    """
    try:
        status, has = status_of(run), holder(run)
    except (OSError, StorageError) as error:
        fix = "The same command goes on from its last checkpoint."
        raise RunError(f"{run.url}: its workers have ended, and why cannot be read ({error}).\n  {fix}") from None
    if attempt and has and has.attempt != attempt:
        raise RunError(f"{run.url}: another launch of this run has taken it over ({has.described}); this one ends")
    if status.get("state") == "finished":
        return Outcome(run, status["images"], status["metrics"])
    reason = status.get("error", "another launch of this run has taken it over, or its workers ended early")
    raise (Stopped if status.get("state") == "stopped" else RunError)(f"{run.url}: {reason}")


def _finished(config: TrainConfig, run: Folder) -> bool:
    """Whether the run is as long as it is asked to be."""
    return status_of(run).get("state") == "finished" and checkpoint.read_config(run).training == config.training


@contextmanager
def stopping_on_signal(who: str, stop: Callable[[], None]) -> Iterator[Thread]:
    """The first SIGTERM or SIGINT has those who it is told to stop do so; the next one acts as it did before.

    Args:
        who: "the run", say; named on the screen.
        stop: asks them, in a thread; which is given.
    """
    asking = Thread(target=stop, name="stop", daemon=True)
    if current_thread() is not main_thread():  # a sweep's trial: signals are the sweep's
        yield asking
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, frame: Any) -> None:
        for each, handler in before.items():
            signal.signal(each, handler)
        print(f"{signal.Signals(number).name}: {who} saves and stops; another one ends it at once", flush=True)
        asking.start()

    for number in before:
        signal.signal(number, ask)
    try:
        yield asking
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fit(config: TrainConfig, run: Folder, gpu: bool, attempt: str) -> str:
    """Ray Train over the run; gives why it ended where the run's folder could not take that. Checkpoints are ours
    (`training/checkpoint.py`), so Ray's own notes can be kept on each node and forgotten."""
    least, most = config.launch.worker_range
    notes = Path(tempfile.gettempdir(), f"i2i-ray-{os.getuid()}")
    rendezvous = LoopbackConfig if on_loopback() else TorchConfig
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"config": config.dumps(), "attempt": attempt},
        torch_config=rendezvous(
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
            storage_path=str(notes),
            failure_config=FailureConfig(max_failures=config.launch.max_failures),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
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
    shutil.rmtree(notes / attempt, ignore_errors=True)
    if failed:
        reason = _reason(failed[0])
        with suppress(OSError, StorageError), patient_for(AT_START):
            record(run, attempt, state="failed", error=reason)
        raise RunError(f"{run.url}: {reason}\n  The same command goes on from its last checkpoint.")
    return "".join(untold)


def _reason(error: Exception) -> str:
    """What a worker said, where Ray's error holds it; else Ray's last line."""
    for failure in getattr(error, "worker_failures", {}).values():
        cause = getattr(failure, "cause", None) or failure.__cause__ or failure
        if isinstance(cause, RunError | UserError):
            return str(cause)
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
