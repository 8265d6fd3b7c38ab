"""Load a checkpoint, ready to make images."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch

from i2i_core.checkpoints.checkpoint import Saved, read, read_config
from i2i_core.checkpoints.norm_batches import NormBatches
from i2i_core.config.evaluation import AtTestOptions
from i2i_core.config.run import TrainConfig
from i2i_core.config.stages import Stage
from i2i_core.errors import CheckpointError
from i2i_core.methods import at_test, build_from
from i2i_core.methods.at_test import AtTest
from i2i_core.methods.base import Method
from i2i_core.runs.attempts import launches
from i2i_core.runs.folder import CheckpointFolder, RunFolder, images_of
from i2i_core.storage.near import corrected
from i2i_core.storage.retry import AT_START, patient_for

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """Hold a method loaded from a checkpoint, ready to make images: with averaged generators where the run has them.

    Attributes:
        method: the networks, on their device.
        config: the run's configuration.
        images: images that the run had seen.
        url: the checkpoint's folder.
        norm_batches: images seen, by how many of them shared a normalisation.
        identity: checksum of the whole checkpoint.
        program: name of the program that trained it last, with its commit; empty where its run does not say.
    """

    method: Method[Any]
    config: TrainConfig
    images: int
    url: str
    norm_batches: NormBatches
    identity: str
    program: str = ""

    @property
    def stage(self) -> Stage:
        """Stage of the run's last update: it has the size of the training images, and the length of sequences."""
        return self.config.stages(self.method.needs.frames)[self.method.stage]

    def at_test(self, asked: AtTestOptions) -> AtTest:
        """Choose how the networks make images: as asked, else as the run has it. Raises ConfigError as `chosen`."""
        method = self.method
        return at_test.chosen(method.makers, method.dropout_is_noise, self.norm_batches, asked, self.config.at_test)


def find(uri: str) -> CheckpointFolder:
    """Find the checkpoint at a place: the place itself, or a run's best checkpoint, else its last. The log says which.

    A run that is measured at its end only, and has gone on since, has a best checkpoint that was compared with nothing
    later: its last one counts.

    Raises:
        CheckpointError: no checkpoint is there.
    """
    if (folder := CheckpointFolder(uri)).whole:
        return folder
    run = RunFolder(uri)
    best, whole = run.best(), run.whole_checkpoints()
    if not whole:
        found = "a folder without checkpoints" if run.exists("") else "nothing at that place"
        fix = corrected(uri, "Name a folder that train.py printed.")
        raise CheckpointError(uri, found, "a run, or one of its checkpoints", fix)
    taken, last = best["checkpoint"] if best else whole[-1], whole[-1]
    why = f"the best of the run by {best['metric']}" if best else "the last of the run"
    if taken != last:
        if _measured_until(run) < images_of(last) and not read_config(run.checkpoint(last)).monitoring.evaluate_every:
            why = f"the last of the run: it was not measured, nor was any since {taken}"
            taken = last
        else:
            why += f"; the last is {last}"
    logger.info(f"checkpoint {taken}, {why}")
    return run.checkpoint(taken)


def _measured_until(run: RunFolder) -> int:
    """Give the images before a run's last evaluation; 0 where there is none, or its file is not what we wrote."""
    return max((seen["images"] for seen in run.evaluations()), default=0)


def _program(url: str) -> str:
    """Name the program of a run's last launch, by the place of a checkpoint of it; empty for one that lies alone."""
    run, slash, _ = url.rpartition(f"/{RunFolder.CHECKPOINTS}/")
    made = launches(RunFolder(run)) if slash else []
    return made[-1].program if made else ""


@patient_for(AT_START)
def load_trained(uri: str, device: torch.device) -> Trained:
    """Load a checkpoint onto a device, verified; `uri` is a checkpoint or a run (see `find`).

    Raises:
        CheckpointError: no checkpoint is there, or it is damaged.
    """
    return of_saved(read(find(uri)), device)


def of_saved(saved: Saved, device: torch.device) -> Trained:
    """Build the method of a checkpoint that was read, on a device. Raises CheckpointError."""
    config = saved.config()
    with torch.device("meta"):
        like = build_from(config.method, config.hyper)
    saved.fill(like, None, averaged=True)  # networks larger than the file's would take memory for nothing
    method = build_from(config.method, config.hyper)
    together = saved.fill(method, None, averaged=True)
    about = saved.about
    program = about.trained_by if about else _program(saved.url)
    trained = Trained(method.to(device), config, saved.images, saved.url, together, saved.identity, program)
    method.stage = saved.stage
    method.at_test = trained.at_test(AtTestOptions())
    return trained
