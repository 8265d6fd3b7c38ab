"""Run a sweep: many runs of one method, each with other values, on Ray Tune.

A trial is a small process that calls `launch`, so it is a whole run of Ray Train with workers, checkpoints and a folder
of its own. `search.study` keeps which values a trial gets and what became of it; Tune places trials and ASHA ends
hopeless ones. A resumed sweep reads the sweep's folder and nothing else: Tune's own notes are removed.

Three places hold what a trial measured, and each is made from the one before: its run's `evaluations.json`, which its
workers write; the results that the trial reports to Tune, from which ASHA decides; the study, which the sweep's process
writes (`Telling`). The trial looks at its run every LOOKS_EVERY seconds for what the study does not hold yet. Ray's own
way from a run to its trial, `ray.tune.integration.ray_train.TuneReportCallback`, was tried and loses what is reported
just before a worker dies: docs/sweeps.md.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from threading import Thread
from types import SimpleNamespace
from typing import Any, Literal, TypedDict
from uuid import uuid4

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from i2i_core import logs
from i2i_core.config.evaluation import AtTestOptions, EvaluationConfig
from i2i_core.config.run import TrainConfig
from i2i_core.config.sweep import SweepConfig
from i2i_core.data.reading.stream import open_sets
from i2i_core.errors import ConfigError, ResourceError, RunError, Stopped, UserError
from i2i_core.evaluation.suite import BETTER, Suite, default_metric
from i2i_core.methods import build_from
from i2i_core.orchestration.cluster import ANY, capacity, connect
from i2i_core.orchestration.launch import check_cluster, check_storage, launch, stopping_on_signal, use_gpu
from i2i_core.orchestration.ray_compat import ON_THE_HEAD, QUIET_TUNE
from i2i_core.runs.attempts import holder
from i2i_core.runs.folder import RunFolder
from i2i_core.search.report import Report, write_report
from i2i_core.search.space import Space, check_space, load_space
from i2i_core.search.study import FINISHED, Search, SearchedMetric, rehearse
from i2i_core.search.time_left import TimeLeft
from i2i_core.settings import difference, differences, from_dict, to_dict
from i2i_core.storage.folder import Folder
from i2i_core.storage.leftovers import TemporaryFolder
from i2i_core.storage.retry import AT_START, StorageError, patient_for
from i2i_core.training.measuring import check_judge, suites
from i2i_core.training.preparing import automatic_name, prepare, with_fit_of
from i2i_core.training.resuming import check_order, length_of

DISTANCE = "efficientnet_frechet"
"""The metric to advise where no image has a truth: it needs real images and a package, no file."""

logger = logging.getLogger(__name__)

SWEEP = "sweep.json"
"""File with the space and the metrics of a sweep, which a resumed sweep must agree with."""
STOPPED = "stopped"
"""Outcome of a trial whose sweep was stopped: the study keeps the trial as running."""
PAPER = 0
"""Number of the trial with the paper's values."""
LOOKS_EVERY = 2.0
"""Seconds between two reads of a run's evaluations by its trial."""
LOOKS = 9
"""Evaluations of a trial where --evaluate-every is 0: so many that early stopping can compare, and no more."""
TELLS_EVERY = 60.0
"""Seconds without a log line after which the sweep logs its progress."""
COMPARABLE = (
    *("training.images", "training.epochs", "training.fast"),
    *("monitoring.evaluate_every", "monitoring.evaluate_split", "monitoring.evaluate_samples"),
    *(f"evaluation.{field.name}" for field in fields(EvaluationConfig) if field.name != "statistics"),
    *(f"at_test.{field.name}" for field in fields(AtTestOptions)),
)
"""Fields that a resumed run may change and a resumed sweep may not: its trials could not be compared."""


class _Saved(TypedDict):
    """Describe sweep.json."""

    sweep: dict[str, Any]
    space: Any
    base: dict[str, Any]


@dataclass(frozen=True)
class SweepPlan:
    """Hold a sweep that has passed every check that needs no cluster.

    Attributes:
        base: the configuration that trials vary, not prepared; `launch.name` is empty.
        folder: the sweep's folder.
        length: images of a run with the base's values.
        grace: images before a trial may be ended early.
    """

    base: TrainConfig
    settings: SweepConfig
    space: Space
    objectives: tuple[SearchedMetric, ...]
    folder: Folder
    length: int
    grace: int

    @property
    def saved(self) -> dict[str, Any]:
        """Give the values that a resumed sweep must agree with, as JSON values."""
        return {"sweep": to_dict(self.settings), "space": self.space.plain(), "base": json.loads(self.base.dumps())}


def plan(base: TrainConfig, settings: SweepConfig) -> SweepPlan:
    """Make every check that can be made before Ray starts.

    Raises:
        UserError: the base configuration, the space, a metric or the sampler cannot be used.
    """
    prepared = prepare(base)
    name = base.launch.name or automatic_name(prepared.with_section("launch", name=""), "sweep-", SWEEP)
    prepared = with_fit_of(prepared, Folder(f"{prepared.launch.storage}/{name}"), SWEEP)
    base = replace(base, launch=replace(base.launch, storage=prepared.launch.storage, name=""))
    data = {key: getattr(prepared.data, key) for key in ("uri", "also", "shards_at", "fingerprint", "order", "fit")}
    base = base.with_section("data", **data)
    base = base.with_section("training", init_from=prepared.training.init_from)
    space = load_space(settings.space or base.method)
    check_space(space, base, base.method)
    objectives = _objectives(prepared, settings, space)
    rehearse(settings.sampler, space, objectives)
    length = length_of(prepared)
    if settings.early_stop and not base.monitoring.evaluate_every:
        base = base.with_section("monitoring", evaluate_every=max(1, length // LOOKS))
        every = base.monitoring.evaluate_every
        logger.info(f"trials are evaluated every {every:,} images, so that the worse ones can be stopped early")
    grace = _grace(base, settings, length) if settings.early_stop else length
    return SweepPlan(base, settings, space, objectives, Folder(f"{base.launch.storage}/{name}"), length, grace)


def _objectives(base: TrainConfig, settings: SweepConfig, space: Space) -> tuple[SearchedMetric, ...]:
    with torch.device("meta"):
        method = build_from(base.method, base.hyper)
    sets = open_sets(base.data)
    measured = suites(base, sets, method, torch.device("cpu"))
    default = default_metric(method)
    metrics = settings.metric or space.metrics or ((default,) if default else ())
    if not measured:
        fix = "Search another method."
        raise ConfigError("--method", base.method, "one whose outputs are measured, to search by what they are", fix)
    if not metrics:
        known = next(iter(measured.values())).judges
        raise ConfigError("--metric", "none", f"what to search for: {', '.join(known)}", "Give --metric NAME.")
    if not settings.metric:
        _check_measured(space, metrics, next(iter(measured.values())))
    for number, metric in enumerate(metrics):
        check_judge(measured, metric, "--metric")
        if metric in metrics[:number]:
            raise ConfigError("--metric", f"{metric} twice", "each metric once", "Remove one.")
    return tuple(SearchedMetric(metric, BETTER[metric]) for metric in metrics)


def _check_measured(space: Space, metrics: Sequence[str], suite: Suite) -> None:
    """Refuse a space whose own metric this data does not allow, as `twin` where no image is there in both domains."""
    known = suite.judges
    if missing := [metric for metric in metrics if metric not in known]:
        found = f"none, and {space.file or 'the space'} searches {missing[0]}, which cannot be measured on this data"
        if why := suite.absent.get(missing[0]):
            found += f" ({why})"
        fix = (
            f"Give --metrics {DISTANCE} --metric {DISTANCE} (how far outputs are, taken together, from real images), "
            "or another of them. docs/evaluation.md says what each rewards."
        )
        raise ConfigError("--metric", found, f"a metric that this run measures: {', '.join(known)}", fix)


def _grace(base: TrainConfig, settings: SweepConfig, length: int) -> int:
    every = base.monitoring.evaluate_every
    if not 0 < every < length:
        expected = f"evaluations before the end of a run, which has {length:,} images"
        fix = f"Give --evaluate-every {max(1, length // LOOKS)}, say, or --no-early-stop."
        raise ConfigError("--evaluate-every", str(every), expected, fix)
    grace = settings.grace or every
    if grace >= length:
        fix = "Give a smaller --grace, or --no-early-stop."
        raise ConfigError("--grace", f"{grace:,}", f"less than a run's {length:,} images", fix)
    return grace


def check_same_sweep(plan: SweepPlan, resume: bool) -> None:
    """Check that the folder holds the same sweep if this one resumes, and no sweep if this one begins.

    Raises:
        CheckpointError: the folder's runs began with another order of samples.
        ConfigError: the check fails; the message lists every saved and given value that differs.
    """
    where, fix = plan.folder.url, "Put back the file as it was written, or give another --name to start a new sweep."
    saved: _Saved | None = plan.folder.read_json(SWEEP, _Saved, fix, finite=False)
    if saved is None:
        if resume:
            raise ConfigError("--resume", f"no sweep in {where}", "one to go on with", "Leave --resume out to begin.")
        return
    if not resume:
        fix = "Add --resume to go on with it, or to see the result of a finished one; or give another --name."
        raise ConfigError(where, "a sweep of this name", "a new name, or --resume", fix)
    before = TrainConfig.loads(json.dumps(saved["base"]), f"{where}/{SWEEP}")
    check_order(before, where, "Or begin another sweep: give another --name.")
    lines = differences(before, plan.base)
    lines += differences(from_dict(SweepConfig, saved["sweep"], f"{where}/{SWEEP}: sweep"), plan.settings)
    for key in COMPARABLE:
        section, _, name = key.partition(".")
        old, new = (getattr(getattr(config, section), name) for config in (before, plan.base))
        if old != new:
            lines.append(f"{key}: {difference(old, new)}")
    lines += _changed(saved["space"], plan.saved["space"], "space")
    if lines:
        listed = "\n    ".join(lines)
        fix = "Give the saved values to go on with that sweep, or another --name to start a new one"
        raise ConfigError(where, f"a sweep with another configuration:\n    {listed}", "the same, to resume it", fix)


def _changed(saved: Any, given: Any, where: str) -> list[str]:
    """List the differences between JSON values, a line for each."""
    if isinstance(saved, dict) and isinstance(given, dict):
        keys = sorted({*saved, *given} - {"why"})
        return [line for key in keys for line in _changed(saved.get(key), given.get(key), f"{where}.{key}")]
    plain = [list(value) if isinstance(value, tuple) else value for value in (saved, given)]
    return [] if plain[0] == plain[1] else [f"{where}: {difference(saved, given)}"]


def _ask_to_stop(sweep: Folder) -> None:
    """Ask every trial to save and end."""
    sweep.write(RunFolder.STOP, b"")
    logger.info("trials see this within two seconds; Ray's own end takes up to half a minute after them")


def run_sweep(plan: SweepPlan, resume: bool = False) -> tuple[Search, Report]:
    """Run a sweep, or resume it, until it has had the planned number of trials, and write its report.

    Raises:
        UserError: the folder holds another sweep, or the cluster cannot hold a trial.
        Stopped: a signal stopped the sweep; it is saved, and goes on with `resume`.
        RunError: no trial came to its end.
    """
    with patient_for(AT_START):
        check_same_sweep(plan, resume)
        check_storage(plan.folder)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # `Telling` says what matters
    os.environ.update(QUIET_TUNE)
    connect(quiet=True)
    concurrent = _concurrent(plan)
    plan.folder.write_json(SWEEP, plan.saved)
    plan.folder.remove(RunFolder.STOP)
    plan.folder.remove_left()
    search = Search(plan.folder, plan.space, plan.base, plan.objectives, plan.settings.sampler, plan.settings.samples)
    before = search.counts()
    logger.info(
        f"sweep {plan.folder.url}: {plan.settings.samples} trials of {plan.length:,} images, {concurrent} at a time"
        + (f"; {before.done} are done, {before.running} go on" if resume else "")
    )
    telling = Telling(search, plan)
    if before.done < plan.settings.samples:
        with stopping_on_signal("every trial", partial(_ask_to_stop, plan.folder)):
            _fit(plan, search, telling, concurrent, plan.settings.samples - before.done)
    search.publish()
    report, counts = write_report(search.study, plan.objectives, plan.base, plan.space, plan.folder), search.counts()
    if telling.stopped or counts.done < plan.settings.samples:
        raise Stopped(
            f"stopped after {counts.done} of {plan.settings.samples} trials. Everything is saved: "
            "the same command with --resume goes on."
        )
    if search.best() is None:
        listed = "\n    ".join(search.reasons())
        raise RunError(f"no trial came to its end:\n    {listed}")
    return search, report


def _concurrent(plan: SweepPlan) -> int:
    """Compute the number of trials that run at once."""
    launch_config = plan.base.launch
    gpu, (least, most) = use_gpu(plan.base), launch_config.worker_range
    check_cluster(plan.base, gpu)
    kind: Literal["CPU", "GPU"] = "GPU" if gpu else "CPU"
    has = int(ray.cluster_resources().get(kind, 0))
    if capacity()[kind] >= ANY and not plan.settings.concurrent:
        fix = "Give --concurrent N: so many at once, of --workers each."
        raise ResourceError("--concurrent", "nothing, on a cluster that grows", "how many trials may run at once", fix)
    each = 1 if gpu else launch_config.cpus_per_worker
    if not plan.settings.concurrent:
        return min(plan.settings.samples, max(1, has // (most * each)))
    if plan.settings.concurrent * least * each > capacity()[kind]:
        found = f"{plan.settings.concurrent}, which need {plan.settings.concurrent * least * each} {kind}s"
        fix = f"Give --concurrent {has // (least * each)}, or leave it out."
        raise ResourceError("--concurrent", found, f"at most what the cluster has, {has} {kind}s", fix)
    return plan.settings.concurrent


def _fit(plan: SweepPlan, search: Search, telling: Telling, concurrent: int, samples: int) -> None:
    """Run Ray Tune over what is left of the sweep. Raise RunError when it cannot go on."""
    notes, name = TemporaryFolder("ray"), uuid4().hex
    asking = Asking(search, telling)
    scheduler = Asha.over(search, plan) if plan.settings.early_stop else FIFOScheduler()
    tuner = tune.Tuner(
        tune.with_resources(partial(run_trial, plan.folder.url), {"CPU": 0, ON_THE_HEAD: 0.0001}),
        tune_config=tune.TuneConfig(
            search_alg=asking,
            scheduler=scheduler,
            num_samples=samples,
            max_concurrent_trials=concurrent,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=notes.name,
            verbose=0,
            callbacks=[telling],
            failure_config=tune.FailureConfig(max_failures=plan.base.launch.max_failures),
        ),
    )
    problems: list[str] = []

    def fit() -> None:
        try:
            tuner.fit()
        except Exception as error:
            problems.append((str(error).strip().splitlines() or [type(error).__name__])[0])

    thread = Thread(target=fit, name="tune", daemon=True)  # where Ray leaves signals alone
    thread.start()
    while thread.is_alive():
        thread.join(timeout=0.5)
        telling.now_and_then()
    notes.cleanup()
    if problems or asking.problems:
        reason, done = "; ".join([*problems, *asking.problems]), search.counts().done
        raise RunError(f"{reason}\n  {done} trials are done; the same command with --resume goes on.")


def _trial_name(trial: Any) -> str:
    return f"trial-{trial.config['number']:04d}-{trial.trial_id}"


def run_trial(sweep_url: str, given: dict[str, Any]) -> None:
    """Run a trial for Tune, and report each evaluation that the study does not hold yet.

    The last report holds the trial's outcome together with the evaluation at the end of the run, so that ASHA never
    ends a trial that has come to its end.
    """
    config = TrainConfig.loads(given["config"], "the sweep's configuration", from_driver=True)
    logs.show(config.launch.log_level, config.run_name)
    run, sweep = RunFolder.of(config), Folder(sweep_url)
    known, ended = given["known"], dict[str, Any]()

    def work() -> None:
        try:
            reached = launch(config)
            ended.update(outcome=FINISHED, images=reached.images, metrics=reached.metrics)
        except Exception as error:  # whatever it is, other trials go on
            reason = str(error).removeprefix(f"{run.url}: ") if isinstance(error, RunError | UserError) else repr(error)
            ended.update(outcome="failed", reason=reason.splitlines()[0])

    if sweep.exists(RunFolder.STOP):
        tune.report({"outcome": STOPPED})
        return
    thread = Thread(target=work, name="launch", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(timeout=LOOKS_EVERY)
        with suppress(OSError, StorageError), patient_for(AT_START):  # looked for again
            if sweep.exists(RunFolder.STOP):
                run.ask_to_stop()
            for images, metrics in _evaluations(run):
                if known < images < given["length"]:
                    tune.report({"images": images, "metrics": metrics})
                    known = images
    if sweep.exists(RunFolder.STOP) and run.status().get("state") == "stopped":
        ended = {"outcome": STOPPED}
    tune.report(ended)


def _evaluations(run: RunFolder) -> list[tuple[int, dict[str, float]]]:
    return [(found["images"], found["metrics"]) for found in run.evaluations()]


class Asking(Searcher):
    """Give Tune the next trial of the study."""

    def __init__(self, search: Search, telling: Telling) -> None:
        super().__init__()
        self.search, self.telling = search, telling
        self.problems: list[str] = []

    def suggest(self, trial_id: str) -> Any:
        """Give the next trial's configuration; FINISHED when there is none."""
        if self.telling.stopped or self.problems:
            return Searcher.FINISHED
        try:
            asked = self.search.ask()
        except (UserError, RunError) as error:
            self.problems.append(str(error))
            return Searcher.FINISHED
        if asked is None:
            return Searcher.FINISHED
        return {
            "number": asked.number,
            "config": asked.config.dumps(),
            "length": asked.length,
            "known": asked.known,
        }

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Do nothing: `Telling` gets the trial's end, with the trial."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study is a file already."""


class Asha(ASHAScheduler):
    """Stop hopeless trials by Ray's ASHA, with images for time.

    The scheduler remembers the trials of earlier launches, takes no result twice, and never stops the trial with the
    paper's values, which the others are compared with.
    """

    judged: str
    """Key of the metric in a result."""

    @classmethod
    def over(cls, search: Search, plan: SweepPlan) -> Asha:
        objective = plan.objectives[0]
        judged = f"metrics/{objective.metric}"
        asha = cls(
            time_attr="images",
            metric=judged,
            mode="min" if objective.direction == "lower" else "max",
            max_t=max(plan.grace, plan.length - 1),  # no rung at the end
            grace_period=plan.grace,
            reduction_factor=plan.settings.reduction,
            stop_last_trials=False,
        )
        asha.judged = judged
        for number in search.ended:
            asha._replay(SimpleNamespace(trial_id=f"earlier-{number}"), search.curve(number))
        asha._running = {number: search.curve(number) for number in search.left}
        return asha

    def _replay(self, trial: Any, curve: list[tuple[int, float]]) -> None:
        super().on_trial_add(None, trial)
        for images, value in curve:
            super().on_trial_result(None, trial, {"images": images, self.judged: value})

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._replay(trial, self._running.pop(trial.config["number"], []))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if result.get("images", 0) <= trial.last_result.get("images", -1):
            return str(TrialScheduler.CONTINUE)
        decision = str(super().on_trial_result(tune_controller, trial, result))
        return str(TrialScheduler.CONTINUE) if trial.config["number"] == PAPER else decision


class Telling(tune.Callback):
    """Pass what trials report on to the study, and log the sweep's progress."""

    def __init__(self, search: Search, plan: SweepPlan) -> None:
        self.search, self.plan = search, plan
        self.stopped = False
        self.said = time.monotonic()
        self.time = TimeLeft()
        self.best = -1
        """Number of the trial that was last said to be the best."""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number, known = trial.config["number"], max(0, trial.config["known"])
        self.time.begin(number, known / trial.config["length"])
        going_on = f" goes on after {known:,} images" if known else " begins"
        self._say(f"trial {number}{going_on}: {shown(self.search.values(number))}")

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "metrics" in result and "outcome" not in result:
            self.search.report(trial.config["number"], result["images"], result["metrics"])
            self.time.measured(trial.config["number"], result["images"] / trial.config["length"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number, last = trial.config["number"], trial.last_result
        outcome = last.get("outcome")
        if outcome == STOPPED:
            self.stopped = True
            return
        if outcome == FINISHED:
            self.search.finish(number, last["images"], last["metrics"])
        elif outcome or "metrics" not in last:
            self.search.fail(number, last.get("reason", "it ended and did not say why"))
        else:
            self.search.stop_early(number)
            self._close(number)
        self._tell_end(number)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._say(f"trial {trial.config['number']}: its process was lost; it goes on from its last checkpoint")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = trial.config["number"]
        self.search.fail(number, f"its process was lost {trial.num_failures} times")
        self._tell_end(number)

    def _close(self, number: int) -> None:
        """Write into the folder of a run that Tune ended that it has stopped; workers that are left end by it."""
        with suppress(OSError, StorageError), patient_for(AT_START):
            run = RunFolder(self.search.run_of(number).url)
            launch = {"attempt": found.attempt} if (found := holder(run)) else {}
            run.write_json(RunFolder.STATUS, {"state": "stopped", "reason": "others were better", **launch})

    def _tell_end(self, number: int) -> None:
        self.time.end(number)
        self._say(f"trial {number} {self.search.described(number)}")
        self._say(self._where())

    def now_and_then(self) -> None:
        """Log the sweep's progress if TELLS_EVERY seconds have passed since the last line."""
        if time.monotonic() - self.said > TELLS_EVERY:
            self._say(self._where())

    def _say(self, line: str) -> None:
        self.said = time.monotonic()
        logger.info(line)

    def _where(self) -> str:
        counts, best = self.search.counts(), self.search.best()
        parts = [
            f"{counts.done} of {self.plan.settings.samples} trials done",
            f"({counts.finished} finished, {counts.stopped} stopped early, {counts.failed} failed)",
        ]
        line = " ".join(parts) + f", {counts.running} running"
        if shares := self.time.shares():
            listed = ", ".join(f"trial {number} {share:.0%}" for number, share in shares.items())
            line += f" (done when measured last: {listed})"
        if best is not None and best.number != self.best:
            self.best = best.number  # said once
            metrics = zip(self.plan.objectives, best.values, strict=True)
            values = ", ".join(f"{o.metric} {value:.4g}" for o, value in metrics)
            line += f"; best: trial {best.number}, {values}, with {shown(best.params)}"
        return line + self._left(counts.done)

    def _left(self, done: int) -> str:
        seconds = self.time.left(self.plan.settings.samples - done - len(self.time.running))
        if self.stopped or not seconds:
            return ""
        return f"; about {seconds / 60:.0f} min left" if seconds > 90 else f"; about {seconds:.0f} s left"


def shown(values: dict[str, Any]) -> str:
    """Put the values of a trial into a line."""
    return ", ".join(
        f"{k.partition('.')[2]} {v:.4g}" if isinstance(v, float) else f"{k.partition('.')[2]} {v}"
        for k, v in values.items()
    )
