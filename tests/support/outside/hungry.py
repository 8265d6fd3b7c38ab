"""A method outside of the tree: pix2pix that asks for 2^60 bytes in the second update, where its part is not the first.

PYTHONPATH=tests/support/outside python pipelines/train.py --method hungry:HungryGAN --preset small --workers 2
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch

from i2i_core.batch import Batch
from i2i_core.config.methods.pix2pix import Pix2PixConfig
from i2i_core.methods.base import Move, Progress
from i2i_core.methods.pix2pix import Pix2Pix
from i2i_core.registry import Preset

SMALL = {
    "hyper.image_size": 16,
    "hyper.g_base": 4,
    "hyper.d_base": 4,
    "hyper.receptive_field": 16,
    "training.batch": 8,
    "training.images": 48,
}


class HungryGAN(Pix2Pix):
    Config = Pix2PixConfig
    presets: ClassVar = {"small": Preset("Seconds on one CPU core. Command: `train.py --preset small`.", SMALL)}

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        batch = next(batches)
        if batch.start > 0 and batch.images > 0:
            torch.empty(2**60, dtype=torch.uint8)
        yield from super().update(iter([batch]), progress)
