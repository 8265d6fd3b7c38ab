"""Declare the options and presets of cLR-GAN; see methods/clr_gan.py."""

from __future__ import annotations

from dataclasses import dataclass

from i2i_core.config.methods.multimodal import AUTHORS, COLOURS, SCRIPTS, TINY, EncodingConfig
from i2i_core.config.sections import register
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, setting


@dataclass(frozen=True)
class CLRGANConfig(EncodingConfig):
    """Choose cLR-GAN's own hyper-parameters."""

    lambda_latent: float = setting(0.5)
    """Weight of the latent regression (Eq. 9, lambda_latent)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "lambda_latent")


PAPER = Preset(
    """The article: 256 px, least squares, lambda_latent 0.5, |z| = 8 at every layer of G.

    Data: edges2shoes, facades, `shard.py --layout ab`. Command: `train.py --method clr_gan --preset paper --data URI`.
    Expected: realistic outputs of little diversity (article, sec. 5); not measured here.""",
    {**AUTHORS, "training.lr_schedule": "constant"},
)
REFERENCE = Preset(
    """The authors' program: the learning rate stays for half of the epochs and then falls to 0, and G has dropout (see
    `bicyclegan`). E learns from the latent regression, since no other term here would teach it. Data and command as for
    `paper`.""",
    SCRIPTS,
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs: 32 px, 16 channels, batch 8, discriminators that see the input
    (no term here compares with b). Command: `make demo METHOD=clr_gan`. Score: docs/methods.md, which is measured.""",
    {**TINY, "hyper.e_base": 16, "hyper.e_blocks": 2, "hyper.conditional_d": True},
    COLOURS,
)

register("clr_gan", CLRGANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
