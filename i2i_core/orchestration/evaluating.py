"""A checkpoint measured on a split of a data set, in this process or on many Ray workers: same bits either way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from i2i_core.data.manifest import DataSet
from i2i_core.evaluation.classifier import Classifier
from i2i_core.evaluation.judging import Judging
from i2i_core.evaluation.samples import CHUNK, Asked
from i2i_core.evaluation.suite import Result, Suite
from i2i_core.orchestration import pool
from i2i_core.training.checkpoint import Trained

SLICES = 8
"""Parts that a worker's share of the chunks comes in."""


@dataclass(frozen=True)
class Job:
    """What every worker knows."""

    checkpoint: str
    data: str
    split: str
    judging: Judging
    most: int = 0
    classifier: Classifier | None = None

    def worker(self, trained: Trained) -> Measurer:
        return Measurer(self.suite(trained))

    def suite(self, trained: Trained) -> Suite:
        """What was asked for, on the device where the checkpoint is. Raises UserError as `Suite`."""
        config, device = trained.config, trained.method.device
        classifier = self.classifier.to(device) if self.classifier else None
        return Suite(
            Asked(
                trained.method,
                DataSet(self.data),
                self.split,
                config.image_size,
                config.data.direction,
                self.judging,
                device,
                self.most,
                classifier,
            )
        )


@dataclass(frozen=True)
class Measurer:
    """One worker that measures."""

    suite: Suite

    def run(self, part: tuple[int, int]) -> list[Any]:
        """What is found in one part, of so many, of the chunks."""
        return self.suite.parts(*part)


def measure(job: Job, trained: Trained, where: pool.Where, progress: Callable[[int], None]) -> tuple[Suite, Result]:
    """Everything measured, and the suite that did it.

    Args:
        trained: on the device that works if there is but one worker.
        progress: called with a number of samples as they are done.

    Raises:
        UserError: checkpoint, data, metrics, files or workers do not fit.
        RunError: a worker was lost.
    """
    suite = job.suite(trained)
    if where.workers == 1:
        return suite, suite.result(suite.parts(progress=progress))
    slices, parts = SLICES * where.workers, []
    for found in pool.over([(n, slices) for n in range(slices)], Measurer.run, job, trained, where):
        parts += found
        progress(CHUNK * len(found))
    return suite, suite.result(parts)
