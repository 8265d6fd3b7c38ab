"""Check a configuration before a run starts anything, and fill in what only the data knows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from i2i_core import strict
from i2i_core.checkpoints import authors, checkpoint, starting
from i2i_core.config.data import DataConfig
from i2i_core.config.evaluation import located
from i2i_core.config.monitoring import MonitoringConfig
from i2i_core.config.run import FIT_BEFORE, READ, TrainConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.two_sides import cut_from
from i2i_core.data.reading import order
from i2i_core.data.reading.lanes import slots_of
from i2i_core.data.reading.stream import open_sets, unaugmented
from i2i_core.errors import ConfigError, DataError, nearest
from i2i_core.fields import Needs
from i2i_core.methods import METHODS, at_test, build_from
from i2i_core.methods.base import Method, check_declared, check_parameters
from i2i_core.registry import entry
from i2i_core.runs.folder import RunFolder
from i2i_core.settings import Auto, differences, flags_of_saved
from i2i_core.sizes import FITS, Fit
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import absolute
from i2i_core.storage.retry import AT_START, patient_for
from i2i_core.training import enlarging, first_cut
from i2i_core.training.measuring import check_judge, evaluation_split, suites, trained_on
from i2i_core.training.monitoring import boards
from i2i_core.training.recomputing import blocks_of
from i2i_core.training.resuming import AS_IT_IS, begin_with, check_order
from i2i_core.training.staged import check_moves, check_stages, stages_of, stream_of

logger = logging.getLogger(__name__)


@patient_for(AT_START)
def prepare(config: TrainConfig) -> TrainConfig:
    """Make the configuration's paths absolute, fill in what only the data knows, and check all of it.

    Raises:
        DataError: the data is missing, damaged, or of the wrong kind for the method.
        ConfigError, ResourceError: values that do not go together.
        CheckpointError: `--init-from` is not a checkpoint, or authors' weights, of this method and sizes.
    """
    if isinstance(config.training.batch, Auto):
        expected, fix = "a number by now", "Give --batch N; train.py and tune.py put one in its place before this."
        raise ConfigError("--batch", "auto", expected, fix)
    config = config.with_section("launch", storage=absolute(config.launch.storage, "--storage"))
    also = tuple(absolute(uri, "--also") for uri in config.data.also)
    apart = tuple(absolute(at, "--shards-at") for at in config.data.shards_at)
    config = config.with_section("data", uri=absolute(config.data.uri, "--data"), also=also, shards_at=apart)
    config = config.with_section("training", init_from=authors.located(config.training.init_from))
    config = replace(config, monitoring=boards.checked(config.monitoring), evaluation=located(config.evaluation))
    method = entry(config.method).method
    if also and not method.several:
        fit = ", ".join(name for name, other in METHODS.items() if other.method.several)
        fix = f"Leave --also out; methods that take several: {fit}."
        raise ConfigError("--also", " ".join(also), f"nothing: --method {config.method} takes one data set", fix)
    sets = open_sets(config.data)
    for number, data in enumerate(sets):
        _check_kind(config, data, method, "--also" if number else "--data")
        _check_evaluated(config, data)
        data.check_shards(config.data.split)
    first, *others = [data.manifest for data in sets]
    hyper = method.with_files(method.fit(config.hyper, first, config.data.direction, *others))
    slots_of(config.training.batch, 0, config.launch.worker_range[1])
    fingerprint = "+".join(data.manifest.fingerprint for data in sets)
    ab, ab_size = cut_from(first, hyper.size)
    config = config.with_section("data", fingerprint=fingerprint, order=order.VERSION, ab=ab, ab_size=ab_size)
    config = replace(config, hyper=hyper)
    check_stages(config)
    stages_of(config.training, stream_of(config, sets, method.needs))
    if not config.launch.name and (name := automatic_name(config)) != config.run_name:
        config = config.with_section("launch", name=name)
    config = with_fit_of(config, RunFolder.of(config), RunFolder.CONFIG)
    _check_networks(config, sets)
    return config


def _check_kind(config: TrainConfig, data: DataSet, method: Any, flag: str) -> None:
    if method.needs.attributes and config.data.direction != "AtoB":
        found, expected = config.data.direction, f"none: --method {config.method} goes from any label to any other"
        raise ConfigError("--direction", found, expected, "Leave --direction out.")
    if lack := method.needs.lacks(data.manifest):
        fit = [name for name, other in METHODS.items() if not other.method.needs.lacks(data.manifest)]
        raise DataError(
            f"{flag} {data.uri}",
            lack.found,
            f"{lack.expected}, which --method {config.method} reads",
            f"{lack.fix} Methods that read this one: {', '.join(fit) or 'none'}.",
        )


def _check_evaluated(config: TrainConfig, data: DataSet) -> None:
    """Refuse a split that a flag names and the data lacks. Without the default split, training's is measured."""
    wanted, splits = config.monitoring.evaluate_split, data.manifest.splits
    if wanted not in splits and wanted != MonitoringConfig.evaluate_split:
        expected = f"a split of {data.uri}: {', '.join(splits)}"
        raise ConfigError("--evaluate-split", repr(wanted), expected, nearest(wanted, splits))
    for flag, split in (("--split", config.data.split), ("--evaluate-split", wanted)):
        if lacking := [name for name in data.manifest.domains if name not in splits.get(split, data.manifest.domains)]:
            whole = [name for name, sets in splits.items() if {*sets} == {*data.manifest.domains}]
            instead = f"Give {flag} {whole[0]}, or shard" if whole else "Shard"
            fix = f"{instead} the images again so that both sides have some there (--split, --group-by)."
            found = f"{split}, in which {data.uri} has nothing of domain {' and '.join(lacking)}"
            raise DataError(flag, found, "a split with samples of both domains", fix)


@patient_for(AT_START)
def warn(config: TrainConfig) -> None:
    """Log warnings that a person should read before a prepared run starts."""
    sets = open_sets(config.data)
    if enlarged := enlarging.caution(config, sets):
        logger.warning(enlarged)
    if cut := first_cut.of(config, sets):
        logger.log(cut.level, cut.words)
    batch, split = config.training.batch, config.data.split
    for data in sets:
        least = min(data.shard_set(split, domain).samples for domain in data.manifest.domains)
        if least < batch:
            logger.warning(
                f"--batch {batch:,} is more than the {least:,} samples of split {split} in {data.uri}: every batch "
                f"repeats some. Give --batch {least} or less."
            )
    if target := getattr(config.hyper, "fake_target_to", 0.0) or getattr(config.hyper, "fake_target", 0.0):
        logger.warning(
            f"a target of up to {target:g} for made images: D's optimum is then higher where G makes many images "
            "already, which holds G there (Salimans et al. 2016, sec. 3.4). --fake-target 0 smooths the real side only."
        )
    split, wanted = evaluation_split(config, sets), config.monitoring.evaluate_split
    if split == wanted:
        return
    without = [data for data in sets if wanted not in data.manifest.splits]
    missing = "; ".join(f"{data.uri} has no split {wanted!r}" for data in without)
    others = sorted(set.intersection(*(set(data.manifest.splits) for data in sets)) - {split})
    instead = f"give --evaluate-split {others[0]}, which then chooses the best checkpoint; or " if others else ""
    folders = "valA and valB folders" if len(sets[0].manifest.domains) == 2 else "a val folder"
    logger.warning(
        f"{missing}. {trained_on(split)}\n  To measure on others: {instead}shard the images again, with some "
        f"in {folders} or, where they lie in no split folders, with `--split 0.9 0.05 0.05` (docs/data.md)."
    )


def _check_networks(config: TrainConfig, sets: Sequence[DataSet]) -> None:
    """Build the networks without memory, and their metrics, to find here what they cannot take."""
    with torch.device("meta"):
        method = build_from(config.method, config.hyper)
    at_test.chosen(method.makers, method.dropout_is_noise, {}, config.at_test)
    if method.couples and config.training.micro_batch:
        found, fix = str(config.training.micro_batch), "Leave --micro-batch out, or spread the batch over more workers."
        raise ConfigError("--micro-batch", found, f"none: an objective of {config.method} is of the whole batch", fix)
    if method.extras.comparing and config.training.batch == 1:
        expected = "a batch of 2 or more, or --minibatch-features 0: an image is compared with the others of its batch"
        fix = "Give --batch 2 or more, or leave --minibatch-features out."
        raise ConfigError("--batch", "1, with --minibatch-features", expected, fix)
    check_parameters(method)
    check_declared(method)
    _check_batch_norm(config, method)
    check_blocks(config, method)
    check_clips(config, sets, method.needs)
    stages = config.stages(method.needs.frames)
    for number, stage in enumerate(stages):
        check_moves(stage, method, number, len(stages))
    for stage in {(stage.size, stage.frames): stage for stage in stages}.values():
        measured = suites(config, sets, method, torch.device("cpu"), stage)
    if best := config.monitoring.best_metric:
        check_judge(measured, best, "--best-metric")
    training = config.training
    if training.init_from and not RunFolder.of(config).whole_checkpoints():  # once it has begun, a run needs it no more
        starting.read(training.init_from, training.init_parts, config.method, method)


def check_clips(config: TrainConfig, sets: Sequence[DataSet], needs: Needs) -> None:
    """Refuse clips for evaluation that are too short for the sequences of a stage. Raises DataError."""
    split, data = evaluation_split(config, sets), config.data
    for stage in config.stages(needs.frames) if needs.frames > 1 else ():
        for one in sets:
            try:
                of = (stage.size, data.direction, data.resizing, needs.of_frames(stage.frames), data.frame_stride)
                unaugmented(one, split, *of)
            except DataError as error:
                where = f"split {split!r} of {one.uri}, which the run is measured on"
                raise DataError(where, error.found, error.expected, error.fix) from None


def _check_batch_norm(config: TrainConfig, method: Method[Any]) -> None:
    """Refuse batch norm over the whole batch in networks without batch norm, and with micro-batches."""
    if config.training.batch_norm == "worker":
        return
    if not at_test.has_batch_norm(method.networks.values()):
        expected, fix = "worker: the networks have no batch norm", "Give --batch-norm worker."
        raise ConfigError("--batch-norm", config.training.batch_norm, expected, fix)
    if config.training.micro_batch:
        found, expected = str(config.training.micro_batch), "none: --batch-norm global is of the whole batch"
        fix = "Leave --micro-batch out, or spread the batch over more workers; or give --batch-norm worker."
        raise ConfigError("--micro-batch", found, expected, fix)


def check_blocks(config: TrainConfig, method: Method[Any]) -> None:
    """Refuse `--checkpoint-activations` where no network has blocks. Raises ConfigError."""
    if config.training.checkpoint_activations and not blocks_of(method.networks):
        expected = f"nothing: no network of {config.method} says which blocks it is made of"
        fix = "Leave --checkpoint-activations out, or give the networks `blocks_to_checkpoint`."
        raise ConfigError("--checkpoint-activations", "given", expected, fix)


def automatic_name(config: TrainConfig, of: str = "", file: str = RunFolder.CONFIG) -> str:
    """Name a run that was given no name: as an earlier release did, where that folder exists, else by today's rule.

    Args:
        config: the prepared configuration.
        of: what the name begins with: `sweep-` for a sweep.
        file: a file that such a folder has.
    """
    before = config.with_section("data", lanes=_lanes_of_order_1(config))
    if Folder(f"{config.launch.storage}/{of}{before.run_name}").exists(file):
        return f"{of}{before.run_name}"
    for name in (before.name_of_version_1, before.name_with_precision, before.name_with_fit, config.name_with_fit):
        if name != config.run_name and _is_earlier(Folder(f"{config.launch.storage}/{of}{name}"), file):
            return f"{of}{name}"
    return f"{of}{config.run_name}"


def with_fit_of(config: TrainConfig, begun: Folder, file: str) -> TrainConfig:
    """Take the fit of a run or sweep that began with an earlier release, whose default was another, and say so.

    Args:
        begun: its folder.
        file: the file in it that has its configuration.
    """
    if config.data.fit != DataConfig.fit or not begun.exists(file) or not _is_earlier(begun, file):
        return config
    saved = _saved(begun, file) or {"data": {"fit": DataConfig.fit}}
    fit: Fit = saved["data"].get("fit", FIT_BEFORE)
    if fit == config.data.fit or fit not in FITS:
        return config
    logger.info(f"{begun.url} began with --fit {fit}, the default of its release, and goes on with it")
    return config.with_section("data", fit=fit)


def _is_earlier(begun: Folder, file: str) -> bool:
    """Tell whether there is a run or sweep that an earlier release began, or one whose file cannot be read."""
    return begun.exists(file) and _saved(begun, file).get("version", 1) in READ[:-1]


def _saved(begun: Folder, file: str) -> dict[str, Any]:
    """Read the configuration of a run or sweep as it is saved; empty where it is damaged, which its reader will say."""
    try:
        values = strict.loads(begun.read(file), finite=False)
        values = values.get("base", values)
        return values if isinstance(values["data"], dict) else {}
    except (ValueError, RecursionError, KeyError, AttributeError, TypeError):
        return {}


def _lanes_of_order_1(config: TrainConfig) -> int:
    """Return the lanes that releases with the first order of samples filled in, which were part of a run's name."""
    batch = config.training.batch
    return config.data.lanes or max(d for d in range(1, min(batch, 64) + 1) if batch % d == 0)


def _with_lanes_of_order_1(config: TrainConfig, saved: TrainConfig) -> TrainConfig:
    """Fill in the lanes as releases with the first order did. Where they follow from a batch that has changed, and
    nobody asks for a number of them, they are the saved ones: the batch alone differs."""
    followed = not config.data.lanes and saved.data.lanes == _lanes_of_order_1(saved.with_section("data", lanes=0))
    return config.with_section("data", lanes=saved.data.lanes if followed else _lanes_of_order_1(config))


def has_finished(config: TrainConfig, saved: TrainConfig, run: RunFolder) -> bool:
    """Return whether a run has finished, at the length that the configuration asks for."""
    was = saved.training
    asked = replace(config.training, fast=was.fast, checkpoint_activations=was.checkpoint_activations)
    return run.status().get("state") == "finished" and was == asked


def check_same_run(config: TrainConfig, run: RunFolder) -> None:
    """Refuse to go on with an existing run of the same name whose configuration differs in a field that must match.

    Raises:
        CheckpointError: the run began with another order of samples.
        ConfigError: fields differ; the message has each with its saved value and today's.
    """
    if not run.exists(run.CONFIG):
        return
    saved = checkpoint.read_config(run)
    if run.whole_checkpoints() and not has_finished(config, saved, run):
        check_order(saved, run.url, f"{_start_from(saved, config, run) or ANEW} {AS_IT_IS}")
    if saved.data.order == 1:
        config = _with_lanes_of_order_1(config, saved)
    if saved.method != config.method:
        found = f"a run of {saved.method}, and --method {config.method} given"
        fix = f"Give another --name to start a new run, or --method {saved.method} to resume this one."
        raise ConfigError(run.url, found, "one method in all of a run", fix)
    if lines := differences(saved, config):
        flags = flags_of_saved(saved, config)
        saved_values = " ".join(flags) if flags and len(flags) == len(lines) else "the saved values"
        raise ConfigError(
            run.url,
            "a run with another configuration:\n    " + "\n    ".join(lines),
            "the same values, to resume it",
            f"Give {saved_values} to go on with that run. {_start_from(saved, config, run) or ANEW}",
        )


ANEW = "Or give another --name to start a new one."


def _start_from(saved: TrainConfig, config: TrainConfig, run: RunFolder) -> str:
    """Advise to begin another run from a run's networks; "" where it has none yet, or none that fit."""
    if saved.method != config.method or not run.whole_checkpoints():
        return ""
    flags = starting.flags_to_start(run.url, config.method, saved.hyper, config.hyper)
    return begin_with(flags) if flags else ""
