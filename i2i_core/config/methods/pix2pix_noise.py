"""Declare the options and presets of pix2pix+noise; see methods/pix2pix_noise.py."""

from __future__ import annotations

from dataclasses import dataclass

from i2i_core.config.methods.multimodal import AUTHORS, COLOURS, SCRIPTS, TINY, MultimodalConfig
from i2i_core.config.sections import register
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, setting


@dataclass(frozen=True)
class Pix2PixNoiseConfig(MultimodalConfig):
    """Choose pix2pix+noise's own hyper-parameters."""

    lambda_l1: float = setting(10.0)
    """Weight of the L1 term (Eq. 3)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "lambda_l1")


PAPER = Preset(
    """The article: 256 px, least squares, lambda 10, |z| = 8 at every layer of G, one discriminator of two scales.

    Data: edges2shoes, facades, `shard.py --layout ab`. Command: `train.py --method pix2pix_noise --preset paper --data
    URI`. Expected: hardly any diversity (article, sec. 5); not measured here.""",
    {**AUTHORS, "training.lr_schedule": "constant"},
)
REFERENCE = Preset(
    """The training of the authors' program for its other systems: the learning rate stays for half of the epochs and
    then falls to 0, and G has dropout (see `bicyclegan`). The authors released no program for this baseline by itself.
    Data and command as for `paper`.""",
    SCRIPTS,
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs: 32 px, 16 channels, batch 8, and pix2pix's own lambda of 100,
    at which G learns to ignore z (at 10 it half does on these glyphs: a diversity of 0.12). Command: `make demo
    METHOD=pix2pix_noise`. Score, and the mode collapse: docs/methods.md, which is measured.""",
    {**TINY, "hyper.lambda_l1": 100.0},
    COLOURS,
)

register("pix2pix_noise", Pix2PixNoiseConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
