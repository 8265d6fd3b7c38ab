"""A method outside of the tree: pix2pix whose outputs are also to be as bright on the whole as the truth.

PYTHONPATH=tests/support/outside python pipelines/train.py --method brightgan:BrightGAN --preset small
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from i2i_core.config.methods.pix2pix import Pix2PixConfig
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import Objective, moves
from i2i_core.methods.pix2pix import Pix2Pix
from i2i_core.registry import Preset
from i2i_core.settings import setting

SMALL = {
    "hyper.image_size": 16,
    "hyper.g_base": 4,
    "hyper.d_base": 4,
    "hyper.receptive_field": 16,
    "training.batch": 4,
    "training.images": 48,
}


@dataclass(frozen=True)
class BrightConfig(Pix2PixConfig):
    lambda_bright: float = setting(10.0)
    """Weight of the brightness term."""


class BrightGAN(Pix2Pix):
    Config = BrightConfig
    presets: ClassVar = {"small": Preset("Seconds on one CPU core. Command: `train.py --preset small`.", SMALL)}

    @moves("G")
    def generator_loss(self, a: Tensor, b: Tensor, fake_b: Tensor) -> Objective:
        l_pix2pix, terms = super().generator_loss(a, b, fake_b)
        l_bright = l1(fake_b.mean((1, 2, 3)), b.mean((1, 2, 3)))
        loss = l_pix2pix + self.config.lambda_bright * l_bright
        return loss, {**terms, "bright": l_bright}
