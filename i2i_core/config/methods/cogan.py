"""Declare the options and presets of CoGAN as a translator; see methods/cogan.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from i2i_core.config.methods.checks import MOST_MOVES, MOST_RATE, WIDEST, check_pyramid
from i2i_core.config.methods.game import GameConfig, check_critic_norm
from i2i_core.config.methods.unpaired import WEIGHTS
from i2i_core.config.sections import register
from i2i_core.errors import ConfigError
from i2i_core.fields import MOST_CHANNELS
from i2i_core.networks.shapes import GeneratorNorm
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, check_choice, check_positive, setting, size_setting
from i2i_core.sizes import Size, said

DIGITS = 28
"""Side of the images of the networks for digits."""
MOST_STARTS, MOST_ITERATIONS = 1000, 100_000


@dataclass(frozen=True)
class CoGANConfig(GameConfig):
    """Choose CoGAN's hyper-parameters."""

    image_size: Size = size_setting(128)
    """Size of training images in pixels: a number for squares, or WIDTHxHEIGHT; the shorter side is a power of two from
    8 on. G halves its channels with each doubling: with 256 px give --g-base 16."""
    in_channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Channels of domain A; taken from the data."""
    out_channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Channels of domain B; taken from the data."""
    architecture: Literal["photos", "digits"] = setting("photos")
    """Networks of the authors' program for photos, of any size and width; or for digits of 28 px, of fixed widths."""
    z_dim: int = setting(100, most=WIDEST)
    """Numbers in a code z, which both domains' images of a pair share."""
    prior: Literal["normal", "uniform"] = setting("uniform")
    """Distribution of each number of a code: N(0, 1), or evenly from -1 to 1."""
    g_base: int = setting(32, most=WIDEST)
    """Channels of G's last layer before the image; each layer before it has twice as many."""
    d_base: int = setting(32, most=WIDEST)
    """Channels of D's first layer; each layer after it has twice as many, up to 32 times."""
    g_norm: GeneratorNorm = setting("batch")
    """Norm of the generators: batch, or none."""
    d_norm: GeneratorNorm = setting("batch")
    """Norm of the discriminators: batch, or none."""
    dropout: bool = setting(True)
    """Drop 0.1 to 0.5 of the values behind the layers that the discriminators share."""
    d_batch: Literal["apart", "mixed"] = setting("apart")
    """Real and made images go through D one after the other; or mixed, in one batch, whose statistics D's batch norm
    then shares (the authors' program)."""
    n_critic: int = setting(1, most=MOST_MOVES)
    """Moves of D per move of G, each on a fresh batch."""
    lr: float = setting(2e-4, most=MOST_RATE)
    """Learning rate of both players."""
    weight_decay: float = setting(1e-4)
    """Weight of the squared weights in each player's loss, over 2; biases, norms and slopes are left alone."""
    starts: int = setting(10, resume="free", most=MOST_STARTS)
    """Codes from which the search for an image's code begins, drawn by the image's name; the best end is taken. More
    come nearer and take longer, one after another."""
    iterations: int = setting(200, resume="free", most=MOST_ITERATIONS)
    """Most iterations of L-BFGS from each of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ("in_channels", "out_channels", "z_dim", "g_base", "d_base", "n_critic", "starts", "iterations")
        check_at_least(self, 1, *names)
        check_at_least(self, 0, "weight_decay")
        check_positive(self, "lr")
        for name in ("g_norm", "d_norm"):
            check_choice(self, name, get_args(GeneratorNorm))
        check_choice(self, "prior", ("normal", "uniform"))
        check_choice(self, "d_batch", ("apart", "mixed"))
        check_choice(self, "architecture", ("photos", "digits"))
        if self.architecture == "photos":
            check_pyramid(self.image_size)
            check_critic_norm(self, self.d_norm, "--d-norm", "none")
        elif self.image_size != DIGITS:
            fix = f"Give --image-size {DIGITS}, or --architecture photos."
            raise ConfigError("--image-size", said(self.image_size), f"{DIGITS} with --architecture digits", fix)


LONG: dict[str, Any] = {
    "training.batch": 128,
    "training.images": 12_800_000,
    "training.batch_norm": "global",
    "data.load_size": 132,
    "data.crop": "random",
    "data.flip": True,
    "monitoring.log_every": 50_000,
    "monitoring.grid_every": 500_000,
    "monitoring.checkpoint_every": 500_000,
}
PAPER = Preset(
    """Liu & Tuzel, "Coupled Generative Adversarial Networks" (NIPS 2016, arXiv:1606.07536), as CycleGAN's tables
    have it for Cityscapes at 128 px: the networks of the authors' program for photos, coupled: all but G's last two
    layers and D's first two are shared. z 100 uniform, Adam 2e-4 with betas (0.5, 0.999), weight decay 1e-4, batch
    128, 100,000 updates; D, then G on other codes. Real and made images go through D apart.

    Data: Cityscapes labels and photos (2,975 train, 500 val), `shard.py --layout unpaired`. Command: `train.py
    --method cogan --preset paper --data URI`. An image is translated by a search for its code: squared distance,
    L-BFGS, 10 starts of 200 iterations, which are ours, as neither article nor program says; minutes an image on a
    CPU. Expected (CycleGAN's tables 2 and 3; pixel, class, IoU): labels -> photo .40 .10 .06, photo -> labels .45
    .11 .08; not measured here. As the authors released neither these networks coupled nor the search, the couple
    follows the article's supplement. Differs from `reference`: D's batches.""",
    LONG,
)
REFERENCE = Preset(
    """The authors' program for photos (its one component, coupled): as `paper`, but real and made images go through
    D in one batch, whose statistics its batch norm shares.

    Data and command as for `paper`, with `--preset reference`.""",
    {**LONG, "hyper.d_batch": "mixed"},
)
DIGIT = Preset(
    """The authors' program for digits: 28 px, z 100 from N(0, 1), batch 64 of each domain, weight decay 5e-4, 5,000
    updates, weights by Glorot's rule.

    Data: MNIST in two halves, of which the second is drawn as edges, `shard.py --layout unpaired --channels 1`.
    Command: `train.py --method cogan --preset digits --data URI`. That program's weight decay is of all parameters;
    here it leaves biases alone, as its program for photos does. Not measured here.""",
    {
        "hyper.architecture": "digits",
        "hyper.image_size": 28,
        "hyper.prior": "normal",
        "hyper.weight_decay": 5e-4,
        "training.batch": 64,
        "training.images": 320_000,
        "training.batch_norm": "global",
        "data.crop": "center",
        "data.flip": False,
    },
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs of CycleGAN's demo, regular to bold: 32 px, a quarter of the
    channels, batch 32; a search of 4 starts and 60 iterations. Command: `make demo METHOD=cogan`. Score: not
    measured yet.""",
    {
        "hyper.image_size": 32,
        "hyper.g_base": 16,
        "hyper.d_base": 8,
        "hyper.z_dim": 32,
        "hyper.starts": 4,
        "hyper.iterations": 60,
        "training.batch": 32,
        "training.images": 60_000,
        "training.batch_norm": "global",
        "training.ema_halflife": 1_000,
        "data.flip": False,
        "data.crop": "none",
        "data.loaders": 0,
        "monitoring.evaluate_samples": 0,
        "monitoring.grid_every": 20_000,
        "monitoring.checkpoint_every": 20_000,
    },
    WEIGHTS,
)

register("cogan", CoGANConfig, {"paper": PAPER, "reference": REFERENCE, "digits": DIGIT, "demo": DEMO})
