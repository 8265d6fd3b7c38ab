"""Declare the options and presets of BicycleGAN; see methods/bicyclegan.py."""

from __future__ import annotations

from dataclasses import dataclass

from i2i_core.config.methods.multimodal import AUTHORS, COLOURS, SCRIPTS, TINY, EncodingConfig
from i2i_core.config.sections import register
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, setting


@dataclass(frozen=True)
class BicycleGANConfig(EncodingConfig):
    """Choose BicycleGAN's own hyper-parameters."""

    lambda_l1: float = setting(10.0)
    """Weight of the L1 term (Eq. 10, lambda)."""
    lambda_latent: float = setting(0.5)
    """Weight of the latent regression (Eq. 10, lambda_latent)."""
    lambda_kl: float = setting(0.01)
    """Weight of the KL divergence of the codes from N(0, 1), a sum over code and batch (Eq. 10, lambda_KL); a larger
    batch needs a smaller weight."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "lambda_l1", "lambda_latent", "lambda_kl")


PAPER = Preset(
    """The article: 256 px, least squares, lambda 10, lambda_latent 0.5, lambda_KL 0.01, |z| = 8 at every layer of G.

    Data: edges2shoes, facades, `shard.py --layout ab`. Command: `train.py --method bicyclegan --preset paper --data
    URI`. Expected (article, sec. 5): the most diverse of the four
    systems whose outputs stay realistic; not measured here. Differs from `reference`: the learning rate stays, and G
    has no dropout, which the article does not mention.""",
    {**AUTHORS, "training.lr_schedule": "constant"},
)
REFERENCE = Preset(
    """The authors' program: a batch of 2 cut in two (a batch of 1 here), the KL term summed over batch and code, a
    latent regression on the mean of E that moves G alone, and discriminator losses that are not halved. The learning
    rate stays for half of the epochs and then falls to 0. The three up-blocks after G's innermost have dropout of 0.5,
    which the program's default leaves out and all of its training scripts switch on (--use_dropout). Its test program
    puts the networks into evaluation mode, so that images are made without dropout, as here. Data and command as for
    `paper`, with `--preset reference`.""",
    SCRIPTS,
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs: 32 px, 16 channels, batch 8, lambda_KL an eighth (it weighs
    a sum over the batch). Command: `make demo
    METHOD=bicyclegan`. Score: docs/methods.md, which is measured.""",
    {**TINY, "hyper.e_base": 16, "hyper.e_blocks": 2, "hyper.lambda_kl": 0.00125},
    COLOURS,
)

register("bicyclegan", BicycleGANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
