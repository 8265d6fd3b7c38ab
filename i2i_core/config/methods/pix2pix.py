"""Declare the options and presets of pix2pix; see methods/pix2pix.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from i2i_core.config.methods.checks import MOST_HALVINGS, MOST_MOVES, MOST_RATE, WIDEST, check_patch_size, check_unet
from i2i_core.config.methods.game import GameConfig, check_critic_norm
from i2i_core.config.sections import register
from i2i_core.errors import ConfigError
from i2i_core.fields import MOST_CHANNELS
from i2i_core.networks.shapes import STRIDED_LAYERS, DropoutAt, ReceptiveField, Upsample, downs_for
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, check_between, check_choice, check_positive, setting, size_setting
from i2i_core.sizes import Size


@dataclass(frozen=True)
class Pix2PixConfig(GameConfig):
    """Choose pix2pix's own hyper-parameters."""

    image_size: Size = size_setting(256)
    """Size of training images in pixels: a number for squares, or WIDTHxHEIGHT; multiples of 2^downs. More shows finer
    detail and takes more memory and time."""
    in_channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Channels of a; taken from the data."""
    out_channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Channels of b; taken from the data."""
    objective: Literal["L1+cGAN", "L1+GAN", "cGAN", "GAN", "L1"] = setting("L1+cGAN")
    """Terms of the objective (sec. 4.2): D of cGAN sees input and output, D of GAN the output alone."""
    matching_aware: bool = setting(False)
    """Show D true outputs beside other images' inputs too, as made ones (Reed et al. 2016, Alg. 1); for cGAN
    objectives. Each move then reads one more batch, for the other inputs."""
    n_critic: int = setting(1, most=MOST_MOVES)
    """Moves of D per move of G, each on a fresh batch."""
    lambda_l1: float = setting(100.0)
    """Weight of the L1 term (Eq. 4)."""
    generator: Literal["unet", "encoder_decoder"] = setting("unet")
    """Network of G: a U-Net, or the same without skip connections (sec. 4.3)."""
    downs: int = setting(0, most=MOST_HALVINGS)
    """Stride-2 layers of G; 0 goes down to 1x1 at this image size, with at most 8 layers."""
    upsample: Upsample = setting("transposed")
    """Layer with which G doubles the image; resize and shuffle avoid the checkerboard pattern of transposed."""
    norm: Literal["batch", "instance"] = setting("batch")
    """Normalisation layers in G and D."""
    dropout: float = setting(0.5)
    """Probability of dropout in G: the only noise z (sec. 2.1)."""
    dropout_at: DropoutAt = setting("innermost")
    """The three up-blocks with dropout: the innermost (paper), or those after the innermost one (authors' code)."""
    receptive_field: ReceptiveField = setting(70)
    """Side in pixels of the patch that one output of D sees (sec. 4.4): PixelGAN, two PatchGANs, ImageGAN."""
    g_base: int = setting(64, most=WIDEST)
    """Channels of G's first layer (ngf)."""
    d_base: int = setting(64, most=WIDEST)
    """Channels of D's first layer (ndf)."""
    lr: float = setting(2e-4, most=MOST_RATE)
    """Learning rate of both players."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "in_channels", "out_channels", "g_base", "d_base", "n_critic")
        check_at_least(self, 0, "lambda_l1", "downs")
        check_positive(self, "lr")
        check_between(self, 0, 1, "dropout")
        check_choice(self, "dropout_at", ("innermost", "after_innermost"))
        check_choice(self, "receptive_field", tuple(STRIDED_LAYERS))
        check_unet(self.image_size, self.g_downs)
        if self.objective != "L1":
            check_patch_size(self.image_size, self.receptive_field)
            check_critic_norm(self, self.norm)
        if self.matching_aware and "cGAN" not in self.terms:
            fix = "Give --objective L1+cGAN, or leave --matching-aware out."
            found = f"--objective {self.objective}, whose discriminator does not see the input"
            raise ConfigError("--matching-aware", found, "a cGAN: there is no condition to match", fix)

    @property
    def of_size(self) -> dict[str, Any]:
        """Return the stride-2 layers of G, which follow from the image size."""
        return {"downs": self.g_downs}

    @property
    def g_downs(self) -> int:
        """Return the stride-2 layers of G."""
        return downs_for(self.image_size, self.downs)

    @property
    def terms(self) -> list[str]:
        """Name the objective's terms."""
        return self.objective.split("+")


SHARED = {
    "training.batch": 1,
    "training.epochs": 200.0,
    "data.load_size": 286,
    "data.fit": "square",
    "data.crop": "random",
    "data.flip": True,
}
PAPER = Preset(
    """The article: 256 px crops of images stretched to 286 px (`--fit square`), batch 1, 200 epochs, Adam 2e-4 kept
    constant, lambda 100, dropout in the three innermost up-blocks, dropout on at test time.

    Data: facades, Cityscapes, maps (`shard.py --layout ab`). Command: `train.py --method pix2pix --preset paper
    --data URI`. Expected for Cityscapes label -> photo (article, table 1): FCN-score .66 per pixel, .23 per class,
    .17 IoU; not measured here.
    Differs from `reference`: no learning-rate decay (the first release had none), dropout one block deeper.""",
    {**SHARED, "hyper.dropout_at": "innermost", "training.lr_schedule": "constant"},
)
REFERENCE = Preset(
    """The authors' PyTorch program: as `paper`, but the learning rate stays for 100 epochs and falls to 0 over another
    100, epoch by epoch, and the three up-blocks after the innermost have dropout. (The rate falls as in that program
    up to July 2020; since then it is one epoch ahead, and 0 in the last epoch.)

    Data and command as for `paper`, with `--preset reference`.""",
    {**SHARED, "hyper.dropout_at": "after_innermost", "training.lr_schedule": "epochs"},
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs (outline -> filled and coloured): 64 px, a quarter of the
    channels, batch 8, D of receptive field 16, learning rate 8e-4. Command: `make demo METHOD=pix2pix`, which trains
    it for 9,000 images. Score: see the README, which is measured.""",
    {
        "hyper.image_size": 64,
        "hyper.g_base": 16,
        "hyper.d_base": 16,
        "hyper.receptive_field": 16,
        "hyper.lr": 8e-4,
        "training.batch": 8,
        "training.images": 9_000,
        "training.lr_schedule": "linear",
        "data.flip": False,
        "data.crop": "none",
        "data.loaders": 0,
        "monitoring.grid_every": 3_000,
        "monitoring.checkpoint_every": 3_000,
    },
    {"white_paper": True},
)

register("pix2pix", Pix2PixConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
