"""Declare the options and presets of cVAE-GAN; see methods/cvae_gan.py."""

from __future__ import annotations

from dataclasses import dataclass

from i2i_core.config.methods.multimodal import AUTHORS, COLOURS, SCRIPTS, TINY, EncodingConfig
from i2i_core.config.sections import register
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, setting


@dataclass(frozen=True)
class CVAEGANConfig(EncodingConfig):
    """Choose cVAE-GAN's own hyper-parameters."""

    lambda_l1: float = setting(10.0)
    """Weight of the L1 term (Eq. 7, lambda)."""
    lambda_kl: float = setting(0.01)
    """Weight of the KL divergence of the codes from N(0, 1), a sum over code and batch (Eq. 7, lambda_KL); a larger
    batch needs a smaller weight."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "lambda_l1", "lambda_kl")


PAPER = Preset(
    """The article: 256 px, least squares, lambda 10, lambda_KL 0.01, |z| = 8 at every layer of G.

    Data: edges2shoes, facades, `shard.py --layout ab`. Command: `train.py --method cvae_gan --preset paper --data URI`.
    Expected: diverse outputs from encoded codes, less realistic ones from drawn codes (article, sec. 5); not measured
    here.""",
    {**AUTHORS, "training.lr_schedule": "constant"},
)
REFERENCE = Preset(
    """The authors' program: the learning rate stays for half of the epochs and then falls to 0; the KL term is a sum
    over the batch as well; G has dropout (see `bicyclegan`). Data and command as for `paper`.""",
    SCRIPTS,
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs: 32 px, 16 channels, batch 8, lambda_KL an eighth (it weighs
    a sum over the batch). Command: `make demo
    METHOD=cvae_gan`. Score: docs/methods.md, which is measured.""",
    {**TINY, "hyper.e_base": 16, "hyper.e_blocks": 2, "hyper.lambda_kl": 0.00125},
    COLOURS,
)

register("cvae_gan", CVAEGANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
