"""Choose what a sweep tries next and keep what became of each trial: an Optuna study that outlives its processes.

Nothing here knows Ray. The study is a file `study.log` (Optuna's JournalStorage) in the sweep's folder.
"""

from __future__ import annotations

import atexit
import inspect
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypedDict
from uuid import uuid4

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from i2i_core import strict
from i2i_core.config.run import TrainConfig
from i2i_core.errors import ConfigError, DataError, RunError, UserError, nearest
from i2i_core.randomness import seed_from
from i2i_core.runs.listing import TRIALS
from i2i_core.search.space import Space, configured, first_values, suggest
from i2i_core.settings import MOST_SHOWN, typed
from i2i_core.storage.folder import Folder
from i2i_core.storage.leftovers import TemporaryFolder
from i2i_core.storage.retry import AT_START, StorageError, patient_for
from i2i_core.training.preparing import prepare
from i2i_core.training.resuming import length_of

logger = logging.getLogger(__name__)

STUDY = "study.log"
"""Optuna's study: every trial with its values and intermediate metrics."""
NAME = "sweep"
"""Name of the study in that file."""
DRIVER = "driver.json"
"""The process that has the sweep, so that a second one does not take it up."""
REFUSALS = 100
"""Combinations that the configuration may refuse in a row before the sweep ends."""
REHEARSED = 12
"""Trials of a rehearsal: more than the ten that samplers draw at random at first."""

FINISHED, STOPPED_EARLY, FAILED, REFUSED = "finished", "stopped early", "failed", "refused"
"""Outcomes of a trial, its attribute `outcome`. Optuna's state of the first is COMPLETE; the others are PRUNED, with a
`reason`."""

SAMPLERS = {
    name.removesuffix("Sampler").lower(): getattr(optuna.samplers, name)
    for name in optuna.samplers.__all__
    if name.endswith("Sampler") and not name.startswith("Base")
}

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class SearchedMetric:
    """Name a metric that a sweep searches for, and whether lower or higher is better."""

    metric: str
    direction: Literal["lower", "higher"]

    @property
    def title(self) -> str:
        """Name the metric and its direction: `l1 (lower is better)`."""
        return f"{self.metric} ({self.direction} is better)"

    @property
    def sign(self) -> int:
        """Give the factor that makes a smaller value the better one: 1 or -1."""
        return 1 if self.direction == "lower" else -1


def completed(study: optuna.Study, objectives: Sequence[SearchedMetric]) -> list[FrozenTrial]:
    """List the trials that ran to their end, the best of the first objective first."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(done, key=lambda trial: (objectives[0].sign * trial.values[0], trial.number))


def best_trials(study: optuna.Study, objectives: Sequence[SearchedMetric]) -> list[FrozenTrial]:
    """List the best of the trials that ran to their end: one or, with several objectives, the Pareto front, the best of
    the first objective first. The list is empty while no trial has ended."""
    ordered = completed(study, objectives)
    if len(objectives) == 1:
        return ordered[:1]
    front = {trial.number for trial in study.best_trials}
    return [trial for trial in ordered if trial.number in front]


def sampler_of(name: str, seed: int) -> BaseSampler:
    """Make an Optuna sampler by the name of its class, with or without `Sampler`.

    Raises:
        ConfigError: there is none of that name, or it takes more than a seed.
    """
    kind = SAMPLERS.get(name.removesuffix("Sampler").lower())
    if kind is None:
        raise ConfigError("--sampler", repr(name), "a sampler of Optuna", nearest(name.lower(), SAMPLERS))
    extra = {"multivariate": True, "group": True, "constant_liar": True} if kind is optuna.samplers.TPESampler else {}
    taken = inspect.signature(kind).parameters.values()
    needs = [p.name for p in taken if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    if needs or "seed" not in [p.name for p in taken]:
        found = f"{name}, which needs {', '.join(needs) or 'no seed'}"
        raise ConfigError("--sampler", found, "one that needs nothing but a seed", "Use tpe, or bruteforce for a grid.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return kind(seed=seed % 2**32, **extra)


def rehearse(name: str, space: Space, objectives: Sequence[SearchedMetric]) -> None:
    """Run a few trials with made-up values in memory, to find out whether the sampler can search the space.

    Raises:
        ConfigError: no such sampler, or it cannot search this space for these objectives.
    """
    sampler = sampler_of(name, 0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(directions=_directions(objectives), sampler=sampler)
            for number in range(REHEARSED):
                trial = study.ask()
                suggest(space, trial)
                _tell(study, sampler, trial.number, [float(number + i) for i in range(len(objectives))])
    except Exception as error:  # each sampler has its own kinds
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        expected = "a sampler that takes this space and these objectives"
        missing = isinstance(error, ImportError)
        fix = "Install what it needs, or use tpe." if missing else "Use tpe, which takes any."
        raise ConfigError("--sampler", f"{name}, which says: {line}", expected, fix) from None


def _directions(objectives: Sequence[SearchedMetric]) -> list[str]:
    return ["minimize" if o.direction == "lower" else "maximize" for o in objectives]


def _tell(study: optuna.Study, sampler: BaseSampler, number: int, values: list[float] | None) -> None:
    """Tell Optuna that a trial is COMPLETE with these values, or PRUNED. A random sampler stands in meanwhile: samplers
    for grids stop Optuna's own loop here, which is not running."""
    study.sampler = RandomSampler()
    study.tell(number, values, state=TrialState.PRUNED if values is None else None)
    study.sampler = sampler


@dataclass(frozen=True)
class NextTrial:
    """Describe a trial to run.

    Attributes:
        config: the trial's prepared configuration, with a folder of its own.
        length: images of the whole run.
        known: images seen at the last evaluation that the study holds; -1: none.
    """

    number: int
    config: TrainConfig
    length: int
    known: int


@dataclass(frozen=True)
class Counts:
    """Count trials by their outcome; refused ones were never run."""

    running: int = 0
    finished: int = 0
    stopped: int = 0
    failed: int = 0
    refused: int = 0

    @property
    def done(self) -> int:
        """Count the trials that count towards a sweep's samples and have ended."""
        return self.finished + self.stopped + self.failed


class Search:
    """Choose the values of a sweep's trials (`ask`), and keep what became of each (`report`, `finish`, `stop_early`,
    `fail`) in the sweep's folder.

    A new Search over the same folder takes the sweep over from any earlier process, and continues with all that is kept
    there. Trial 0 has the paper's values; then come the base's, the space's guesses, and what the sampler draws, from
    the seed, the trial's number and the trials known by then. A trial that an earlier process left running comes first,
    with its values.

    Args:
        sweep: the sweep's folder.
        space: what is searched.
        base: the configuration that trials vary; not prepared, so that each trial derives from the data what depends
            on it.
        objectives: the metrics to search for.
        sampler: name of an Optuna sampler.
        samples: the number of trials; those that the configuration refuses do not count.
    """

    def __init__(
        self,
        sweep: Folder,
        space: Space,
        base: TrainConfig,
        objectives: Sequence[SearchedMetric],
        sampler: str,
        samples: int,
    ) -> None:
        self.sweep, self.space, self.base, self.objectives = sweep, space, base, list(objectives)
        self.sampler, self.samples, self.seed = sampler, samples, base.training.seed
        self.driver = uuid4().hex
        sweep.write_json(DRIVER, {"driver": self.driver})
        self.place = _place(sweep)
        _mend(self.place)
        with _reading(self.place, sweep):
            self.study = optuna.create_study(
                study_name=NAME,
                storage=_storage(self.place),
                directions=_directions(objectives),
                sampler=RandomSampler(),
                pruner=optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
            _check(self.study)
        for values in first_values(space, base)[:samples]:
            self.study.enqueue_trial(dict(values), skip_if_exists=True)
        self.left = [trial.number for trial in self._in_state(TrialState.RUNNING)]
        """Numbers of trials that an earlier process left running and `ask` has not given again."""
        self._handed: dict[int, Trial] = {}
        self._publish()

    def ask(self) -> NextTrial | None:
        """Give the next trial; None when there have been `samples` of them.

        Raises:
            RunError: another process has taken the sweep over, or the configuration refuses whatever is drawn.
            UserError: data or weights that were there are gone. The trial comes again at the next call.
        """
        self._check_ours()
        for _ in range(REFUSALS):
            if not self.left and self.begun >= self.samples:
                return None
            trial = self._next()
            values = suggest(self.space, trial)
            try:
                config = prepare(self._config(trial.number, values))
            except UserError as error:
                self._check_base(trial.number)
                self._end(trial.number, REFUSED, f"{error.where}: found {error.found}; expected {error.expected}")
                continue
            if "run" not in trial.user_attrs:
                trial.set_user_attr("run", f"{config.launch.storage}/{config.run_name}")
            self._handed[trial.number] = trial
            self._publish()
            known = max((images for images, _ in evaluations(trial.user_attrs)), default=-1)
            return NextTrial(trial.number, config, length_of(config), known)
        reasons = sorted({str(t.user_attrs["reason"]) for t in self._in_state(TrialState.PRUNED)[-REFUSALS:]})
        raise RunError(
            f"the configuration refused {REFUSALS} combinations of --space one after the other, for instance: "
            f"{reasons[0]}.\n  Narrow the space."
        )

    def _next(self) -> Trial:
        """Take a trial that was left running, or a new one."""
        begun = [t for t in self._trials() if t.state != TrialState.WAITING]
        if self.left:
            number = self.left.pop(0)
            self.study.sampler = sampler_of(self.sampler, seed_from(self.seed, "sweep", number))
            return self._trial(number)
        self.study.sampler = sampler_of(self.sampler, seed_from(self.seed, "sweep", len(begun)))
        return self.study.ask()

    def _trial(self, number: int) -> Trial:
        """Take up a trial of an earlier process. A trial's id is private to Optuna; read in 5.0.0."""
        return Trial(self.study, self._trials()[number]._trial_id)

    def _check_base(self, number: int) -> None:
        """Raise UserError where the base is refused too: then the trial's values are not the reason."""
        try:
            prepare(self.base)
        except UserError:
            self.left.insert(0, number)
            raise

    def _config(self, number: int, values: Mapping[str, Any]) -> TrainConfig:
        place = replace(self.base.launch, storage=f"{self.sweep.url}/{TRIALS}", name=f"{number:04d}")
        return replace(configured(self.base, values), launch=place)

    def run_of(self, number: int) -> Folder:
        """Open the folder of a trial's run."""
        return self.sweep.sub(f"{TRIALS}/{number:04d}")

    def report(self, number: int, images: int, metrics: Mapping[str, float]) -> bool:
        """Note an evaluation of a running trial; False where the study holds it already, or the trial has ended."""
        if self._has_ended(number):
            return False
        self._check_ours_if_possible()
        trial = self._handed[number]
        known = evaluations(trial.user_attrs)
        if any(images <= at for at, _ in known):
            return False
        trial.set_user_attr("evaluations", [*known, [images, dict(metrics)]])
        trial.set_user_attr("images", images)
        value = metrics.get(self.objectives[0].metric, math.nan)
        if len(self.objectives) == 1 and math.isfinite(value):  # Optuna keeps them of single objectives only
            trial.report(value, images)
        return True

    def finish(self, number: int, images: int, metrics: Mapping[str, float]) -> None:
        """Note that the trial ran to its end, or that it failed where a value is not finite."""
        self.report(number, images, metrics)
        values = [metrics.get(o.metric, math.nan) for o in self.objectives]
        for objective, value in zip(self.objectives, values, strict=True):
            if not math.isfinite(value):
                self.fail(number, f"{objective.metric} is {value} after {images:,} images")
                return
        self._end(number, FINISHED, "", values)

    def stop_early(self, number: int) -> None:
        """Note that the trial was ended because others were better at the same number of images."""
        if self._has_ended(number):
            return
        images, metrics = evaluations(self._handed[number].user_attrs)[-1]
        first = self.objectives[0]
        others = [
            (first.sign * known[first.metric], known[first.metric], trial.number)
            for trial in self._trials()
            for at, known in evaluations(trial.user_attrs)
            if trial.number != number and at == images and first.metric in known
        ]
        best = ""
        if others:
            _, value, other = min(others)
            best = f", of which trial {other} had {value:.4g} then ({first.direction} is better)"
        found = f"{first.metric} {metrics[first.metric]:.4g} after {images:,} images"
        self._end(number, STOPPED_EARLY, f"{found}: others were better{best}")

    def fail(self, number: int, reason: str) -> None:
        """Note that the trial's run could not go on."""
        self._end(number, FAILED, reason)

    def _end(self, number: int, outcome: str, reason: str, values: list[float] | None = None) -> None:
        """Note the end of a trial once. A later call for the same trial does nothing: Tune may run one again, and
        report its end again."""
        if self._has_ended(number):
            return
        self._check_ours_if_possible()
        trial = self._handed.get(number) or self._trial(number)
        trial.set_user_attr("reason", reason)  # also where it is empty: a process that died may have left another
        trial.set_user_attr("outcome", outcome)
        _tell(self.study, self.study.sampler, number, values)
        self._handed.pop(number, None)
        self._publish()

    def _has_ended(self, number: int) -> bool:
        return self._trials()[number].state.is_finished()

    def curve(self, number: int) -> list[tuple[int, float]]:
        """List (images, value of the first objective) of a trial, in order."""
        metric = self.objectives[0].metric
        return [(n, m[metric]) for n, m in evaluations(self._trials()[number].user_attrs) if metric in m]

    def values(self, number: int) -> dict[str, Any]:
        """Look up what a trial tries, by dotted key."""
        return dict(self._trials()[number].params)

    def described(self, number: int) -> str:
        """Describe in a line what became of a trial."""
        trial = self._trials()[number]
        if trial.state != TrialState.COMPLETE:
            return f"{trial.user_attrs['outcome']}: {trial.user_attrs['reason']}"
        metrics = zip(self.objectives, trial.values, strict=True)
        return f"{FINISHED}: " + ", ".join(f"{o.metric} {value:.4g}" for o, value in metrics)

    @property
    def ended(self) -> list[int]:
        """List the numbers of the trials that were run and have ended."""
        ended = self._in_state(TrialState.COMPLETE, TrialState.PRUNED)
        return [t.number for t in ended if t.user_attrs.get("outcome") != REFUSED]

    @property
    def begun(self) -> int:
        """Count the trials that were run, are running, or were left running by a process that died."""
        counts = self.counts()
        return counts.done + counts.running

    def counts(self) -> Counts:
        """Count the trials of the study by outcome."""
        outcomes = [t.user_attrs.get("outcome") for t in self._in_state(TrialState.COMPLETE, TrialState.PRUNED)]
        running = len(self._in_state(TrialState.RUNNING))
        return Counts(running, *map(outcomes.count, (FINISHED, STOPPED_EARLY, FAILED, REFUSED)))

    def reasons(self) -> list[str]:
        """Say why trials failed: a line for each."""
        ended = self._in_state(TrialState.PRUNED)
        failed = [t for t in ended if t.user_attrs.get("outcome") == FAILED]
        return [f"trial {t.number}: {t.user_attrs['reason']}" for t in failed]

    def best(self) -> FrozenTrial | None:
        """Give the first of `best_trials`, if a trial ran to its end."""
        return next(iter(best_trials(self.study, self.objectives)), None)

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _in_state(self, *states: TrialState) -> list[FrozenTrial]:
        return [trial for trial in self._trials() if trial.state in states]

    def _check_ours(self) -> None:
        """Raise RunError when a later process has begun to write to the sweep."""
        try:
            driver: dict[str, str] = self.sweep.read_json(DRIVER, dict[str, str]) or {}
        except DataError as error:  # a process that begins anew writes it again
            raise RunError(f"{error}") from None
        if driver.get("driver") != self.driver:
            raise RunError(f"{self.sweep.url} has been taken over by another tune.py, which goes on with it")

    def _check_ours_if_possible(self) -> None:
        """Check as `_check_ours`; do nothing where storage does not answer: then the study is a local file."""
        with suppress(StorageError), patient_for(AT_START):
            self._check_ours()

    def publish(self) -> None:
        """Copy the study to the sweep's folder, where that is not a local one.

        Raises:
            RunError: another process has taken the sweep over, or storage does not answer.
        """
        if not self.sweep.local:
            self._check_ours()
            self.sweep.write(STUDY, self.place.read_bytes())

    def _publish(self) -> None:
        """Publish the study; warn where storage fails, and leave it to the next call."""
        try:
            self.publish()
        except StorageError as error:
            logger.warning(f"the sweep's study is not saved yet: {error}")


def evaluations(user_attrs: Mapping[str, Any]) -> list[list[Any]]:
    """List [images, {metric: value}] of each evaluation of a trial, in order."""
    pairs = typed(list[list[Any]], user_attrs.get("evaluations", []), "evaluations")
    for pair in pairs:
        typed(list[int], pair[:1], "evaluations: images")
        typed(list[dict[str, float]], pair[1:], "evaluations: metrics")
        if len(pair) != 2:
            raise ValueError(f"an evaluation of {len(pair)} parts")
    return pairs


def study_of(sweep: Folder) -> optuna.Study:
    """Open the study of a sweep, to read. Raises FileNotFoundError when there is none."""
    if not sweep.exists(STUDY):
        raise FileNotFoundError(sweep.at(STUDY))
    place = _place(sweep)
    with _reading(place, sweep):
        study = optuna.load_study(study_name=NAME, storage=_storage(place))
        _check(study)
    return study


@contextmanager
def _reading(place: Path, sweep: Folder) -> Iterator[None]:
    """Read a study's file inside the block. Raises DataError where it is not what Optuna and a sweep wrote."""
    where, fix = sweep.at(STUDY), "Put back the file as it was written, or give another --name to start a new sweep."
    lines = place.read_bytes().splitlines() if place.exists() else []
    for number, line in enumerate(lines, 1):
        strict.read(line, dict[str, Any], f"{where}, line {number}", fix, finite=False)
    try:
        yield
    except OSError:  # of the disk
        raise
    except Exception as error:  # Optuna has a kind for each line that it cannot follow
        found = f"lines that are no study ({type(error).__name__}: {error})"[:MOST_SHOWN]
        raise DataError(where, found, "a file as it was written", fix) from None


def _check(study: optuna.Study) -> None:
    """Check what a sweep reads of its trials. Raises ConfigError or ValueError."""
    for trial in study.get_trials(deepcopy=False):
        typed(_Noted, trial.user_attrs, f"trial {trial.number}")
        evaluations(trial.user_attrs)
        if trial.state == TrialState.PRUNED and not trial.user_attrs.keys() >= {"outcome", "reason"}:
            raise ValueError(f"trial {trial.number} has ended, and why is not there")
        if trial.state == TrialState.COMPLETE and len(trial.values) != len(study.directions):
            raise ValueError(f"trial {trial.number} has {len(trial.values)} values")


class _Noted(TypedDict, total=False):
    outcome: str
    reason: str
    run: str
    images: int


def _storage(place: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(place)))


def _place(sweep: Folder) -> Path:
    """Name the study's local file, which Optuna can append to; fetch it from remote storage."""
    if sweep.local:
        place = Path(sweep.path(STUDY))
        place.parent.mkdir(parents=True, exist_ok=True)
    else:
        folder = TemporaryFolder("sweep")
        atexit.register(folder.cleanup)
        place = Path(folder.name, STUDY)
        if sweep.exists(STUDY):
            place.write_bytes(sweep.read(STUDY))
    return place


def _mend(place: Path) -> None:
    """Remove a last line that a process that died did not write whole."""
    if place.exists():
        os.truncate(place, place.read_bytes().rfind(b"\n") + 1)
