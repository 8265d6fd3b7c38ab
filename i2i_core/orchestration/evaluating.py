"""A checkpoint measured on a split of a data set, in this process or on many Ray workers: same bits either way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from tqdm import tqdm

from i2i_core.checkpoints.trained import Trained
from i2i_core.config.evaluation import AtTestOptions, EvaluationConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.errors import DataError, ResourceError
from i2i_core.evaluation.judges.classifier import (
    EPOCHS,
    SEEN,
    Classifier,
    has_classifier,
    load_classifier,
    save_classifier,
    train_classifier,
)
from i2i_core.evaluation.samples import CHUNK, Asked
from i2i_core.evaluation.suite import Result, Suite
from i2i_core.orchestration import pool
from i2i_core.sizes import Resizing, Size
from i2i_core.storage.folder import Folder

logger = logging.getLogger(__name__)

SLICES = 8
"""Parts that a worker's share of the chunks comes in."""


@dataclass(frozen=True)
class EvaluationJob:
    """What every worker knows."""

    checkpoint: str
    data: str
    split: str
    judging: EvaluationConfig
    most: int = 0
    classifier: Classifier | None = None
    shards_at: tuple[str, ...] = ()
    at_test: AtTestOptions = AtTestOptions()  # noqa: RUF009 - frozen

    def worker(self, trained: Trained) -> Measurer:
        return Measurer(self.suite(trained))

    def suite(self, trained: Trained) -> Suite:
        """Make what measures, on the device where the checkpoint is. Raises UserError as `Suite`, and for options that
        have no effect on the checkpoint's networks."""
        trained.method.at_test = trained.at_test(self.at_test)
        config, device = trained.config, trained.method.device
        data = DataSet(self.data, self.shards_at)
        _check_channels(trained, data)
        classifier = self.classifier.to(device) if self.classifier else None
        return Suite(
            Asked(
                trained.method,
                data,
                self.split,
                trained.stage.size,
                config.data.direction,
                self.judging,
                device,
                self.most,
                classifier,
                config.data.resizing,
                trained.stage.frames,
                config.data.frame_stride,
            )
        )


def _check_channels(trained: Trained, data: DataSet) -> None:
    """Raise DataError where images have other channels than those that the checkpoint was trained on."""
    needs, direction = trained.method.needs, trained.config.data.direction
    for name, channels in trained.method.channels().items():
        field = data.manifest.fields.get(needs.stored(name, direction))
        if field is not None and field.role == "image" and field.channels != channels:
            found, expected = (
                f"field {name} of {field.channels} channels",
                f"{channels}, as the checkpoint was trained on",
            )
            raise DataError(f"data {data.uri}", found, expected, f"Shard it again with `--channels {channels}`.")


@dataclass(frozen=True)
class Measurer:
    """One worker that measures."""

    suite: Suite

    def run(self, part: tuple[int, int]) -> list[Any]:
        """Measure one part, of so many, of the chunks."""
        return self.suite.parts(*part)


@dataclass(frozen=True)
class Measurement:
    """What was measured, the suite that did it, and PNG files that show it, by name."""

    suite: Suite
    result: Result
    pictures: dict[str, bytes]


def measure(work: EvaluationJob, trained: Trained, where: pool.Where, progress: Callable[[int], None]) -> Measurement:
    """Measure everything.

    Args:
        trained: on the device that works if there is but one worker.
        progress: called with a number of samples as they are done.

    Raises:
        UserError: checkpoint, data, metrics, files or workers do not fit.
        RunError: a worker was lost.
    """
    suite, slices, parts = work.suite(trained), SLICES * where.workers, []
    if where.here:
        with pool.one_thread(suite.asked.device):
            parts = suite.parts(progress=progress)
    else:
        for found in pool.over([(n, slices) for n in range(slices)], Measurer.run, work, trained, where):
            parts += found
            progress(CHUNK * len(found))
    return Measurement(suite, suite.result(parts), suite.pictures(parts))


def classifier_of(
    uri: str,
    path: str,
    network: Literal["resnet18", "small"],
    image_size: Size,
    resizing: Resizing,
    cpu: bool,
    shards_at: tuple[str, ...] = (),
) -> Classifier:
    """Give a classifier of the data's real images, on the CPU: the one that is kept at the path, if it fits, else one
    that is trained, on a GPU if there is one and it may be used, and kept.

    Args:
        image_size, resizing: pixels of the images of the run to judge, and how they come to that size.
    """
    data = DataSet(uri, shards_at)
    device = torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")
    if path and has_classifier(path) and (kept := load_classifier(path)).fits(data, image_size, network, resizing):
        logger.info(f"classifier of this data: {path}")
        return kept
    samples = sum(shards.samples for shards in data.manifest.splits.get("train", {}).values())
    seen = min(SEEN, EPOCHS * samples)
    with tqdm(total=seen, unit=" images", desc="classifier", smoothing=0, mininterval=2) as bar:
        trained = train_classifier(
            data,
            image_size=image_size,
            device=device,
            progress=bar.update,
            seen=seen,
            network=network,
            resizing=resizing,
        )
    if path:
        save_classifier(trained, path)
    return trained.cpu()


def beside(out: str, name: str) -> str:
    """Name the file of a picture: `FILE.json` -> `FILE-NAME.png`."""
    return f"{out.removesuffix('.json')}-{name}.png"


def check_out(out: str) -> None:
    """Check that the file can be written. Raises ResourceError when it cannot."""
    folder, name = _place(out)
    write(f"{folder.url}/.{name}.probe", b"")
    folder.remove(f".{name}.probe")


def write(out: str, content: bytes) -> None:
    """Write a file. Raises ResourceError when it cannot be."""
    try:
        folder, name = _place(out)
        folder.write(name, content)
    except OSError as error:
        raise ResourceError("--out", f"{out} ({error})", "a file that can be written", "Name another.") from None


def _place(out: str) -> tuple[Folder, str]:
    folder, _, name = out.rpartition("/")
    return Folder(folder or "."), name
