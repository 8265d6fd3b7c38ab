"""Evaluate a run while it trains, and draw its grids, on its evaluation split."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.config.run import TrainConfig
from i2i_core.config.stages import Stage
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.stream import in_order
from i2i_core.errors import ConfigError, nearest
from i2i_core.evaluation import extremes
from i2i_core.evaluation.families.attributes import over_sets
from i2i_core.evaluation.report import described, warnings
from i2i_core.evaluation.samples import Asked
from i2i_core.evaluation.suite import BETTER, Result, Suite, basic_metrics, default_metric
from i2i_core.fields import PIXELS, Field, Needs
from i2i_core.images.previews import shown
from i2i_core.images.sheet import png_bytes, stacked
from i2i_core.logs import ProgressLines
from i2i_core.methods import at_test
from i2i_core.methods.base import Column, Method
from i2i_core.runs.folder import RunFolder
from i2i_core.sizes import Size
from i2i_core.training.monitoring.monitor import Monitor
from i2i_core.training.monitoring.readings import spread_of
from i2i_core.training.stages import Stages
from i2i_core.training.state import RunState
from i2i_core.training.step import Step

logger = logging.getLogger(__name__)


class Evaluator:
    """Draw a run's grids and evaluate it, with its averaged generators.

    Args:
        config: the run's configuration.
        sets: the run's data sets.
        step: moves the run's networks.
        state: the run's state, which keeps the evaluations.
        monitor: logs and shows the results.
        run: the run's folder.
        stages: the run's stages. Images have the size and the frames of the last update's stage.
    """

    def __init__(
        self,
        config: TrainConfig,
        sets: Sequence[DataSet],
        step: Step,
        state: RunState,
        monitor: Monitor,
        run: RunFolder,
        stages: Stages,
    ) -> None:
        self.config, self.sets, self.step, self.state, self.monitor, self.run = config, sets, step, state, monitor, run
        self.method, self.stages = step.method, stages
        self.split = evaluation_split(config, sets)
        self.measured = self.stage
        self.suites = suites(config, sets, step.method, step.device, self.measured)
        self.results: Mapping[str, Result] = {}
        """Results of the last evaluation, by data set."""
        self.warned: set[str] = set()
        """The warnings about metrics that were logged."""
        self.samples: tuple[tuple[Size, int], list[Batch]] | None = None
        """The samples of the grids, with their size and frames."""

    @property
    def stage(self) -> Stage:
        """The stage of the last update."""
        return self.stages[self.state.progress.stage]

    def _keep_up(self) -> None:
        """Set the suites up for the size and frames of the present stage."""
        before, self.measured = self.measured, self.stage
        if (before.size, before.frames) != (self.measured.size, self.measured.frames):
            self.suites = suites(self.config, self.sets, self.method, self.step.device, self.measured)

    @property
    def at_test(self) -> at_test.AtTest:
        """How generators run in grids and evaluations: as the flags say, else as the run has trained so far."""
        method = self.method
        return at_test.chosen(
            method.makers, method.dropout_is_noise, self.state.norm_batches.expected, self.config.at_test
        )

    def draw(self) -> None:
        """Draw a grid."""
        if self.monitor.tracker and (columns := self._made()):
            self.monitor.tracker.grid(self.state.progress.images, columns)

    def _made(self) -> dict[str, Tensor]:
        """Translate the fixed samples, and return columns by title; none where no sample of a data set can be read."""
        direction, placed = self.config.data.direction, self._samples()
        if not placed:  # the evaluation says so
            return {}
        self.method.at_test = self.at_test
        with self.step.averaged():
            grids = [self.method.preview(batch) for batch in placed]
        settle = at_test.batches_to_settle(self.method.makers, self.method.at_test) * self.config.training.batch
        if self.state.progress.images >= settle:  # untrained networks make the same of everything
            made = ([x for x in grid.values() if isinstance(x, Tensor)] for grid in grids)
            found = [spread_of(images, batch.pictures) for images, batch in zip(made, placed, strict=True)]
            spreads = [spread for spread in found if spread is not None]
            self.monitor.spread = torch.stack(spreads).min() if spreads else None
        drawn = [
            dict(_drawn(grid, batch, data.manifest.fields, self.method.needs, direction))
            for grid, batch, data in zip(grids, placed, self.sets, strict=True)
        ]
        return {title: torch.cat([columns[title] for columns in drawn]) for title in drawn[0]}

    def _samples(self) -> list[Batch]:
        """Return the fixed samples, a batch on the device for each data set, at the present stage's size and frames.
        They are read once for each size and number of frames, so that the next grid does not wait for storage. The
        list is empty where no sample of a data set can be read."""
        rows, d, stage = self.config.monitoring.grid_rows, self.config.data, self.stage
        if self.samples and self.samples[0] == (stage.size, stage.frames):
            return self.samples[1]
        needs = self.method.needs.of_frames(stage.frames)
        how: dict[str, Any] = {"direction": d.direction, "resizing": d.resizing, "needs": needs}
        how["frame_stride"] = d.frame_stride
        read = (in_order(data, self.split, stage.size, most=rows, size=rows, **how) for data in self.sets)
        found = [next(batches, None) for batches in read]
        if not all(found):
            return []
        placed = [replace(self.step.place(sample), source=i) for i, sample in enumerate(found) if sample]
        self.samples = ((stage.size, stage.frames), placed)
        return placed

    def evaluate(self) -> bool:
        """Evaluate on all ranks together, and return whether the run is better than ever before."""
        if not self.suites:
            return False
        self._keep_up()
        images, start = self.state.progress.images, time.monotonic()
        self.method.at_test = self.at_test
        with self.step.averaged():
            results = {
                name: suite.together(self.step.world, self._progress(suite)) for name, suite in self.suites.items()
            }
        self.results = results
        metrics = over_sets({name: result.metrics for name, result in results.items()})
        self.state.evaluations.add(images, metrics)
        named = {f"{self.split}/{name}": value for name, value in metrics.items()}
        shown = (f"{name} {value:.4g}" for name, value in named.items())
        self.monitor.tell_in_turn("  ".join([f"{images:,} images:", *shown]))
        if self.monitor.tracker:
            if not self.config.monitoring.grid_every:
                self._made()
            self.monitor.scalars(images, named | {"speed/evaluation_seconds": time.monotonic() - start})
            self._report(images, results)
        name = self._judge
        value = metrics.get(name)
        if value is None or math.isnan(value):  # nothing in the split that it could be measured on
            return False
        return self.state.best.judge(name, value, images, self.stage.size if self.stages.changes_size else None)

    @property
    def _judge(self) -> str:
        """The metric that the best checkpoint is chosen by; "" where none chooses it."""
        return self.config.monitoring.best_metric or default_metric(self.method)

    @property
    def chosen_by(self) -> str:
        """The metric that the best checkpoint is chosen by, as boards name it; "" where none chooses it."""
        return f"{self.split}/{self._judge}" if self.suites and self._judge else ""

    def _progress(self, suite: Suite) -> Callable[[int], None]:
        """Return what takes the number of samples of each chunk that this rank has measured, and logs progress."""
        asked, size = suite.asked, self.step.world.size
        there = asked.data.shard_set(self.split, asked.data.manifest.domains[0]).samples
        whole = min(asked.most, there) if asked.most else there
        lines = ProgressLines("evaluating", whole, "samples", self.monitor.tell_in_turn)
        lines(0)  # starts its clock
        return lambda samples: lines(samples * size)

    def draw_samples(self) -> None:
        """Draw the best, the median and the worst samples of the last evaluation, on rank 0. They are no part of the
        run: where they cannot be drawn, the log says so."""
        if not self.monitor.tracker:
            return
        self.method.at_test = self.at_test
        try:
            with self.step.averaged():
                sheets = [
                    extremes.sheet(suite, extremes.chosen(result.ranked, BETTER[suite.basic.ranking]))
                    for suite, result in zip(self.suites.values(), self.results.values(), strict=False)
                    if result.ranked
                ]
        except Exception as error:  # of data that has become unreadable, of memory
            logger.warning(f"the best, median and worst samples are not drawn ({type(error).__name__}: {error})")
            return
        if sheets:
            self.monitor.later(lambda: self.run.write(RunFolder.SAMPLES, png_bytes(stacked(sheets))))

    def _report(self, images: int, results: Mapping[str, Result]) -> None:
        """Write all evaluations and the last in full, and log each warning once."""
        about: dict[str, Any] = {"images": images, "split": self.split}
        if self.split == self.config.data.split:
            about["warning"] = trained_on(self.split)
        so_far = self.state.evaluations.entries
        whole = {name: described(self.suites[name], result, about) for name, result in results.items()}
        self.monitor.later(lambda: self.run.write_json(RunFolder.EVALUATIONS, so_far))
        self.monitor.later(lambda: self.run.write_json(RunFolder.LAST_EVALUATION, whole))
        for warning in {w: None for one in whole.values() for w in warnings(one)}:
            if warning not in self.warned:
                self.monitor.tell(warning, logging.WARNING)
            self.warned.add(warning)


def check_judge(measured: Mapping[str, Suite], name: str, flag: str) -> None:
    """Refuse a metric that these suites cannot judge a run by. A run on several data sets also has `METRIC/DATA SET`.

    Raises:
        ConfigError: it does, naming the flag.
    """
    if not measured:
        raise ConfigError(flag, repr(name), "nothing: what this method makes is not measured", "Leave it out.")
    known = next(iter(measured.values())).judges
    exact = known if len(measured) == 1 else [*known, *(f"{one}/{of}" for of in measured for one in known)]
    if name not in exact:
        expected = f"a metric that this run measures: {', '.join(known)}"
        why = next(iter(measured.values())).absent.get(name, "")
        found = f"{name!r}, which cannot be measured ({why})" if why else repr(name)
        raise ConfigError(flag, found, expected, nearest(name, exact))


def _drawn(
    grid: Mapping[str, Column], batch: Batch, fields: Mapping[str, Field], needs: Needs, direction: str
) -> Iterator[tuple[str, Tensor]]:
    """Give the columns of a grid as images (n, C, H, W), by title; of sequences one for each frame.

    Args:
        grid: as `Method.preview` gives it.
        batch: which it is of.
        fields: what the data set says of them.
        needs, direction: of the method and its run, by which fields have their names in a batch.
    """
    for title, column in grid.items():
        x = batch[column] if isinstance(column, str) else column
        field = fields.get(needs.stored(column, direction)) if isinstance(column, str) else None
        length = 4 if field is None or field.role in PIXELS else 1 + max(1, len(field.shape))
        frames = x.unbind(1) if x.ndim > length else (x,)
        for t, images in enumerate(frames):
            if field is not None and field.role != "image":
                images = torch.stack([shown(one, field) for one in images]).to(x.device)
            yield (title if len(frames) == 1 else f"{title} {t}"), images


def evaluation_split(config: TrainConfig, sets: Sequence[DataSet]) -> str:
    """Return the split that a run is evaluated on: `--evaluate-split` where all its data sets have it, else the split
    that it trains on."""
    wanted = config.monitoring.evaluate_split
    return wanted if all(wanted in data.manifest.splits for data in sets) else config.data.split


def trained_on(split: str) -> str:
    """Word what it means that a run is evaluated on the split that it trains on."""
    return (
        f"Metrics, grids and the best checkpoint go by the split {split!r}, which the run also trains on: they show "
        "how well it knows these images, not what it makes of others."
    )


def suites(
    config: TrainConfig, sets: Sequence[DataSet], method: Method[Any], device: torch.device, stage: Stage | None = None
) -> dict[str, Suite]:
    """Build the suite of metrics for each of a run's data sets, by name. A method about whose images nothing is known
    gets none.

    Args:
        config: the run's configuration.
        sets: the run's data sets.
        method: the method, on its device.
        device: where the judging networks go.
        stage: the stage that gives size and frames; None for a run without stages.

    Raises:
        ConfigError, DataError: metrics, files or data that do not fit.
    """
    if not basic_metrics(method) and not config.evaluation.metrics:
        return {}
    split = evaluation_split(config, sets)
    return {
        name: Suite(
            Asked(
                method,
                data,
                split,
                stage.size if stage else config.image_size,
                config.data.direction,
                config.evaluation,
                device,
                most=config.monitoring.evaluate_samples,
                resizing=config.data.resizing,
                frames=stage.frames if stage else 0,
                frame_stride=config.data.frame_stride,
            )
        )
        for name, data in zip(config.data.names, sets, strict=True)
    }
