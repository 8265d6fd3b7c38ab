"""Measure a checkpoint on a split of a data set, in this process or on many Ray workers, with equal bits either way;
and train the classifier that judges it."""

from __future__ import annotations

import glob
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

import torch
from tqdm import tqdm

from i2i_core import logs
from i2i_core.checkpoints.trained import Trained
from i2i_core.config.evaluation import AtTestOptions, EvaluationConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.errors import DataError, ResourceError
from i2i_core.evaluation.cache import cache
from i2i_core.evaluation.judges.classifier import (
    EPOCHS,
    SEEN,
    Classifier,
    Network,
    Unfinished,
    cut_of,
    has_classifier,
    judged_size,
    load_classifier,
    remove_abandoned,
    save_classifier,
    train_classifier,
)
from i2i_core.evaluation.samples import CHUNK, Asked
from i2i_core.evaluation.suite import Result, Suite
from i2i_core.orchestration import pool
from i2i_core.sizes import Resizing, Size
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import sha256

logger = logging.getLogger(__name__)

TITLES: dict[Network, str] = {"resnet18": "a ResNet-18", "small": "a small network"}
SLICES = 8
"""Number of parts that a worker's share of the chunks is cut into."""


@dataclass(frozen=True)
class EvaluationJob:
    """Say what to measure; every worker gets a copy.

    Attributes:
        checkpoint: URL of the checkpoint.
        data, split: the data set's URL, and the split to measure on.
        judging: metrics, and the files of the networks that judge.
        most: number of samples, the first of the split; 0: all.
        classifier: judges translations; None: that of `judging`, if it names one.
        shards_at: further places of the data set's shards.
        at_test: how batch norm and dropout work when images are made.
    """

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
        """Make the suite for a loaded checkpoint, on its device. Raise UserError as `Suite`, and for options that have
        no effect on the checkpoint's networks."""
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


def check_kind(trained: Trained, data: DataSet) -> None:
    """Raise DataError where a data set is not of the kind that the checkpoint's method reads."""
    if lack := trained.method.needs.lacks(data.manifest):
        expected = f"{lack.expected}, which {trained.config.method} reads"
        raise DataError(f"data {data.uri}", lack.found, expected, lack.fix)


def _check_channels(trained: Trained, data: DataSet) -> None:
    """Raise DataError where images have other channels than those that the checkpoint was trained on."""
    needs, direction = trained.method.needs, trained.config.data.direction
    for name, channels in trained.method.channels().items():
        field = needs.field(data.manifest, name, direction)
        if field is not None and field.role == "image" and field.channels != channels:
            found, expected = (
                f"field {name} of {field.channels} channels",
                f"{channels}, as the checkpoint was trained on",
            )
            raise DataError(f"data {data.uri}", found, expected, f"Shard it again with `--channels {channels}`.")


@dataclass(frozen=True)
class Measurer:
    """Measure parts of a split on one worker."""

    suite: Suite

    def run(self, part: tuple[int, int]) -> list[Any]:
        """Measure the chunks of one part: (its number, how many parts there are)."""
        return self.suite.parts(*part)


@dataclass(frozen=True)
class Measurement:
    """Hold a result, the suite that measured it, and PNG files that show it, by name."""

    suite: Suite
    result: Result
    pictures: dict[str, bytes]


def measure(work: EvaluationJob, trained: Trained, where: pool.Where, progress: Callable[[int], None]) -> Measurement:
    """Measure all chunks, in this process or on the workers.

    Args:
        work: what to measure.
        trained: the checkpoint, on the device that measures if there is but one worker.
        where: this process or Ray workers, and which devices.
        progress: called with the number of samples as they are done.

    Raises:
        UserError: checkpoint, data, metrics, files or workers do not fit.
        RunError: a worker was lost.
    """
    suite, slices, parts = work.suite(trained), SLICES * where.workers, []
    on = f"on {suite.asked.device.type}" if where.here else f"by {where.workers} workers"
    logger.info(f"measures {', '.join(suite.families)} on the split {work.split}, {on}")
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
    network: Network,
    image_size: Size,
    resizing: Resizing,
    cpu: bool,
    shards_at: tuple[str, ...] = (),
) -> Classifier:
    """Load the classifier of the data's real images that is kept at the path, or train one and keep it there.

    A training that was interrupted goes on: from where SIGINT or SIGTERM stopped it, else from where it was last kept.

    Args:
        path: of the classifier; empty: a file of the user's cache, named by the data, the network and the size.
        image_size, resizing: pixels of the images of the run to judge, and how they come to that size.
        cpu: whether a GPU is not to be used.

    Returns:
        The classifier, on the CPU.

    Raises:
        Stopped: a signal stopped the training; the training is kept.
    """
    data = DataSet(uri, shards_at)
    if not path:
        path = _cached(data, network, image_size, resizing)
        remove_abandoned(cache("classifiers"))
    if has_classifier(path) and (kept := load_classifier(path)).fits(data, image_size, network, resizing):
        logger.info(f"classifier of this data: {path}")
        return kept
    device = torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")
    return _trained(data, path, network, image_size, resizing, device)


def _trained(
    data: DataSet, path: str, network: Network, image_size: Size, resizing: Resizing, device: torch.device
) -> Classifier:
    """Train a classifier, or finish a training that the path keeps, and save it. Raise Stopped as `classifier_of`."""
    from i2i_core.orchestration.launch import stopping_on_signal  # late: it imports Ray

    samples = sum(shards.samples for shards in data.manifest.splits.get("train", {}).values())
    seen, stop = min(SEEN, EPOCHS * samples), Event()
    logger.info(
        f"classifier: trains {TITLES[network]} on {samples:,} real images of train, {seen:,} images in all "
        f"({seen / max(1, samples):.1f} passes)"
    )
    logger.info(f"classifier: reads the images; {path} keeps the training, also where it is interrupted")
    unfinished = Unfinished(path, stop.is_set)
    with stopping_on_signal("the classifier's training", stop.set), progress("classifier", seen, "images") as done:
        trained = train_classifier(
            data,
            image_size=image_size,
            device=device,
            unfinished=unfinished,
            progress=done,
            seen=seen,
            network=network,
            resizing=resizing,
        )
    save_classifier(trained, path)
    unfinished.remove()
    return trained.cpu()


def _cached(data: DataSet, network: Network, image_size: Size, resizing: Resizing) -> str:
    """Name the classifier's file in the user's cache."""
    wanted = (
        data.manifest.fingerprint,
        network,
        judged_size(image_size, network),
        resizing,
        *cut_of(image_size, resizing),
    )
    return f"{cache('classifiers')}/{sha256(repr(wanted).encode())[:16]}.safetensors"


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show how far work has come, its rate and the time left: a bar on a terminal, else lines of the log.

    Yields:
        A function to call with the number of units that were done since the last call. The first call starts the
        clock: its units are taken for done before.
    """
    if not sys.stderr.isatty():
        yield logs.ProgressLines(what, total, unit, logger.info)
        return
    bars: list[tqdm[Any]] = []

    def show(n: int) -> None:
        if bars:
            bars[0].update(n)
        else:
            bars.append(tqdm(total=total, initial=n, unit=f" {unit}", desc=what, smoothing=0, mininterval=2))

    try:
        yield show
    finally:
        for bar in bars:
            bar.close()


def beside(out: str, name: str) -> str:
    """Name the file of a picture: `FILE.json` -> `FILE-NAME.png`."""
    return f"{out.removesuffix('.json')}-{name}.png"


def check_out(out: str) -> None:
    """Check that the file can be written, and remove what killed programs left of it and its pictures. Raise
    ResourceError when it cannot."""
    folder, name = _place(out)
    write(f"{folder.url}/.{name}.probe", b"")
    folder.remove(f".{name}.probe")
    folder.remove_left([f".*{glob.escape(name.removesuffix('.json'))}*.writing"])


def write(out: str, content: bytes) -> None:
    """Write a file. Raise ResourceError when that fails."""
    try:
        folder, name = _place(out)
        folder.write(name, content)
    except OSError as error:
        raise ResourceError("--out", f"{out} ({error})", "a file that can be written", "Name another.") from None


def _place(out: str) -> tuple[Folder, str]:
    folder, _, name = out.rpartition("/")
    return Folder(folder or "."), name
