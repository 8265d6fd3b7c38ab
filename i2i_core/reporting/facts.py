"""Collect what a run's folder says of the run: how it stands, its configuration, numbers, grids and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from i2i_core.config.flat import flat
from i2i_core.config.run import TrainConfig
from i2i_core.errors import CheckpointError, ConfigError
from i2i_core.reporting.scalars import Events, read_events
from i2i_core.runs.attempts import launches, stands
from i2i_core.runs.folder import Best, Evaluation, RunFolder, why_ended

IDENTITY = ("launch.name", "launch.storage", "data.fingerprint", "data.order")
"""Keys of a configuration that no person chooses, or in which any two runs differ."""


class Metric(TypedDict):
    """Describe a metric of last_evaluation.json."""

    value: float
    images: int
    better: str
    definition: str


class LastEvaluation(TypedDict, total=False):
    """Describe what last_evaluation.json says of one data set."""

    images: int
    split: str
    metrics: dict[str, Metric]
    warnings: list[str]
    not_measured: dict[str, str]


class Speed(TypedDict):
    """Describe speed.json."""

    seconds: dict[str, float]
    share: dict[str, float]
    images: int
    from_images: int
    workers: int
    device: str


@dataclass(frozen=True)
class RunFacts:
    """Hold what is known of a run.

    Attributes:
        run: its folder.
        config: its configuration.
        state: how it stands, as `attempts.stands` tells it.
        reason: why it was stopped or failed; empty otherwise.
        launches: of the run so far.
        program: name of the program that the last launch ran; empty where that is not known.
        images: trained on at its last evaluation or end.
        best: the best checkpoint and its metric; None where none was measured.
        evaluations: all so far.
        last: the last evaluation in full, by data set.
        speed: seconds and share of the last launch's time, by part; None where it is not known.
        grids: paths of its grids, by images.
        samples: path of the picture of best, median and worst samples; empty where there is none.
        events: its curves and warnings.
    """

    run: RunFolder
    config: TrainConfig
    state: str
    reason: str
    launches: int
    program: str
    images: int
    best: Best | None
    evaluations: Sequence[Evaluation]
    last: Mapping[str, LastEvaluation]
    speed: Speed | None
    grids: Mapping[int, str]
    samples: str
    events: Events

    @property
    def name(self) -> str:
        """The run's name."""
        return self.config.run_name

    @classmethod
    def of(cls, url: str) -> RunFacts:
        """Read a run's folder. A small file that is damaged or missing leaves its part empty.

        Raises:
            CheckpointError: there is no run, or its configuration cannot be used.
        """
        run = RunFolder(url)
        config = _config(run)
        status, made = run.status(), launches(run)
        evaluations = run.evaluations()
        reached = [evaluation["images"] for evaluation in evaluations]
        samples = run.SAMPLES if run.exists(run.SAMPLES) else ""
        return cls(
            run,
            config,
            stands(run),
            why_ended(status, "") if status.get("state") in ("stopped", "failed") else "",
            len(made),
            made[-1].program if made else "",
            max([*reached, status.get("images", 0)]),
            run.best(),
            evaluations,
            run.noted(run.LAST_EVALUATION, dict[str, LastEvaluation]) or {},
            run.noted(run.SPEED, Speed),
            run.grids(),
            samples,
            read_events(run),
        )

    def beside_preset(self) -> list[tuple[str, Any, Any]]:
        """List the values that are not the preset's: key, the preset's value, the run's value."""
        preset = flat(TrainConfig.of(self.config.method, self.config.preset))
        own = flat(self.config)
        return [
            (key, preset.get(key, ""), value)
            for key, value in own.items()
            if key not in IDENTITY and value != preset.get(key)
        ]


def _config(run: RunFolder) -> TrainConfig:
    """Read a run's configuration. Raises CheckpointError."""
    try:
        data = run.read(run.CONFIG)
    except FileNotFoundError:
        found = "a folder without config.json" if run.exists("") else "nothing at that place"
        raise CheckpointError(run.url, found, "a run", "Name a folder that train.py printed.") from None
    try:
        return TrainConfig.loads(data, run.at(run.CONFIG))
    except ConfigError as error:
        raise CheckpointError(error.where, error.found, error.expected, error.fix) from None


def differences(runs: Sequence[RunFacts]) -> list[tuple[str, list[Any]]]:
    """List the keys in which configurations differ, with the value of each run; empty text where it has no such key."""
    every = [flat(facts.config) for facts in runs]
    keys = dict.fromkeys(key for one in every for key in one if key not in IDENTITY)
    found = [(key, [one.get(key, "") for one in every]) for key in keys]
    return [(key, values) for key, values in found if any(value != values[0] for value in values)]
