"""Declare the options and presets of the first GAN; see methods/gan.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from i2i_core.config.methods.checks import MOST_RATE, WIDEST, check_size
from i2i_core.config.methods.from_noise import FromNoiseConfig
from i2i_core.config.sections import register
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, check_below, setting, size_setting
from i2i_core.sizes import Size


@dataclass(frozen=True)
class GANConfig(FromNoiseConfig):
    """Choose the first GAN's own hyper-parameters."""

    image_size: Size = size_setting(28)
    """Size of training images in pixels: a number for squares, or WIDTHxHEIGHT. Both networks have weights for each
    pixel."""
    prior: Literal["normal", "uniform"] = setting("uniform")
    """Distribution of each number of a code: N(0, 1), or evenly from -1 to 1."""
    g_noise: Literal["shared", "own"] = setting("own")
    """Codes of G's move: shared takes D's last fakes; own draws others (Alg. 1)."""
    optimiser: Literal["adam", "rmsprop", "sgd"] = setting("sgd")
    """Optimiser of both players. The momentum of sgd is --beta1."""
    g_units: int = setting(1200, most=WIDEST)
    """Units of each of G's two hidden layers."""
    d_units: int = setting(240, most=WIDEST)
    """Maxout units of each of D's two hidden layers."""
    pieces: int = setting(5, most=100)
    """Linear functions of which each maxout unit is the largest."""
    input_dropout: float = setting(0.2)
    """Share of the pixels that is dropped before D."""
    dropout: float = setting(0.5)
    """Share of D's hidden units that is dropped."""
    lr: float = setting(0.1, most=MOST_RATE)
    """Learning rate of both players."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.image_size)
        check_at_least(self, 1, "g_units", "d_units", "pieces")
        check_below(self, 1, "input_dropout", "dropout")


DECAY: dict[str, Any] = {
    "training.batch": 100,
    "training.lr_schedule": "steps",
    "training.lr_step": 100,
    "data.flip": False,
    "data.crop": "center",
    "evaluation.metrics": ("efficientnet_frechet",),
    "monitoring.log_every": 50_000,
    "monitoring.grid_every": 500_000,
    "monitoring.checkpoint_every": 1_000_000,
}
FALLS = {**DECAY, "training.lr_step_factor": 1 / 1.000004, "training.epochs": 250.0}
PAPER = Preset(
    """Goodfellow et al., "Generative Adversarial Networks" (NIPS 2014, arXiv:1406.2661), Alg. 1 with k = 1, on MNIST:
    z 100 uniform; G 1200-1200 ReLU and a sigmoid; D two layers of 240 maxout units of 5 pieces, dropout; SGD 0.1 with
    momentum 0.5, batch 100, G by the log D trick, other codes for G's move. The article leaves figures to its program.

    Data: MNIST as files, `shard.py --layout images`. Command: `train.py --method gan --preset paper --data URI`. The
    article has log-likelihoods by Parzen windows, which are not among the metrics here; not measured here.""",
    FALLS,
)
REFERENCE = Preset(
    """The article's program: as `paper`, whose figures are the program's, but both players move on the same codes. The
    rate is divided by 1.000004 after each move. There, the momentum rises from 0.5 to 0.7 over 250 epochs (0.5 here),
    and G's last biases begin at the pixels' means (at 0 here).

    Data and command as for `paper`, with `--preset reference`.""",
    {**FALLS, "hyper.g_noise": "shared"},
)
SMALL: dict[str, Any] = {
    "hyper.image_size": 32,
    "hyper.optimiser": "adam",
    "hyper.lr": 5e-4,
    "hyper.z_dim": 32,
    "training.batch": 64,
    "training.images": 300_000,
    "training.ema_halflife": 5_000,
    "data.flip": False,
    "data.crop": "none",
    "data.loaders": 0,
    "evaluation.metrics": ("efficientnet_frechet",),
    "monitoring.evaluate_samples": 0,
    "monitoring.log_every": 10_000,
    "monitoring.grid_every": 50_000,
    "monitoring.checkpoint_every": 50_000,
}
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in digits: 32 px, 512 and 128 units, Adam 5e-4, batch 64, averaged
    generator. Command: `make demo METHOD=gan`. Score: not measured yet.""",
    {**SMALL, "hyper.g_units": 512, "hyper.d_units": 128},
    {"glyphs": "classes"},
)

register("gan", GANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
