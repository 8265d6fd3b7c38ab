"""A checkpoint that is ready to use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from i2i_core.checkpoints.checkpoint import (
    CHECKPOINTS,
    CHECKSUMS,
    complete,
    images_of,
    load_networks,
    norm_batches_in,
    read_best,
    read_config,
    verify,
)
from i2i_core.checkpoints.norm_batches import NormBatches
from i2i_core.config.evaluation import AtTestOptions
from i2i_core.config.run import TrainConfig
from i2i_core.errors import CheckpointError
from i2i_core.methods import at_test, build_from
from i2i_core.methods.at_test import AtTest
from i2i_core.methods.base import Method
from i2i_core.storage.folder import Folder
from i2i_core.storage.retry import AT_START, patient_for


@dataclass(frozen=True)
class Trained:
    """A method as a checkpoint left it, ready to make images: averaged generators where it has them."""

    method: Method[Any]
    config: TrainConfig
    images: int
    url: str
    norm_batches: NormBatches

    def at_test(self, asked: AtTestOptions) -> AtTest:
        """How its networks make images, as asked and else as its run has it. Raises ConfigError as `chosen`."""
        method = self.method
        return at_test.chosen(method.makers, method.dropout_is_noise, self.norm_batches, asked, self.config.at_test)


def find(uri: str) -> Folder:
    """The checkpoint that a user means: the folder itself, or a run's best, else its latest.

    Raises:
        CheckpointError: there is none.
    """
    folder = Folder(uri)
    if folder.exists(CHECKSUMS):
        return folder
    best, whole = read_best(folder), complete(folder)
    if not whole:
        found = "a folder without checkpoints" if folder.exists("") else "nothing at that place"
        raise CheckpointError(uri, found, "a run, or one of its checkpoints", "Name a folder that train.py printed.")
    name = best["checkpoint"] if best else whole[-1]
    return folder.sub(f"{CHECKPOINTS}/{name}")


@patient_for(AT_START)
def load_trained(uri: str, device: torch.device) -> Trained:
    """A checkpoint, verified, as a method on the device.

    Raises:
        CheckpointError: none there, or damaged.
    """
    folder = find(uri)
    verify(folder)
    config = read_config(folder)
    method = build_from(config.method, config.hyper)
    saved, images = load_networks(folder, method, None, averaged=True), images_of(folder.url)
    together = norm_batches_in(folder, method, saved, images)
    trained = Trained(method.to(device), config, images, folder.url, together)
    method.at_test = trained.at_test(AtTestOptions())
    return trained
