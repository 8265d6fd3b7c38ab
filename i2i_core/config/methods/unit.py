"""Declare the options and presets of UNIT; see methods/unit.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from i2i_core.config.methods.checks import DEEPEST, MOST_HALVINGS, MOST_MOVES, MOST_RATE, WIDEST, check_multiple
from i2i_core.config.methods.perceptual import PerceptualConfig
from i2i_core.config.sections import register
from i2i_core.errors import ConfigError
from i2i_core.fields import MOST_CHANNELS
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, check_choice, check_positive, setting, size_setting
from i2i_core.sizes import Size, said, sides


@dataclass(frozen=True)
class UNITConfig(PerceptualConfig):
    """Choose UNIT's own hyper-parameters."""

    image_size: Size = size_setting(256)
    """Size of training images in pixels: a number for squares, or WIDTHxHEIGHT; multiples of 4. More shows finer detail
    and takes more memory and time."""
    channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Channels of both domains; taken from the data."""
    architecture: Literal["paper", "later"] = setting("paper")
    """Networks: those of the paper, with tied layers, or those of the authors' later program, without."""
    lambda_gan: float = setting(10.0)
    """Weight of the adversarial terms (Eq. 4, lambda_0)."""
    lambda_rec: float = setting(100.0)
    """Weight of the reconstruction within a domain (Eq. 3, lambda_2)."""
    lambda_kl: float = setting(0.1)
    """Weight of the KL divergence of the codes from N(0, 1) (Eq. 3, lambda_1)."""
    kl_of: Literal["mean", "code"] = setting("mean")
    """Codes that the KL terms square, of images and of translations: the codes' mean (the article and the authors'
    later program), or the codes with their noise (the authors' first program)."""
    g_noise: Literal["shared", "own"] = setting("shared")
    """Noise of the codes in the generators' move. shared takes that of the discriminators' move on the same batch, so
    that both see the same fakes; own draws anew, which makes new fakes (the authors' later program)."""
    lambda_cyc: float = setting(100.0)
    """Weight of the cycle-consistency terms, the reconstruction after there and back (Eq. 5, lambda_4)."""
    lambda_cyc_kl: float = setting(0.1)
    """Weight of the KL divergence of the translations' codes from N(0, 1) (Eq. 5, lambda_3)."""
    perceptual_input: Literal["imagenet", "caffe", "plain"] = setting("caffe")
    """Form of the images that a VGG gets, which must be that of its training: caffe (BGR from 0 to 255, minus means)
    for the VGG authors' weights, as in the authors' later program; imagenet for torchvision's weights; plain for values
    in [-1, 1]."""
    n_critic: int = setting(1, most=MOST_MOVES)
    """Moves of the discriminators per move of the generators, each on a fresh batch."""
    g_base: int = setting(64, most=WIDEST)
    """Channels of the encoders' first layer."""
    d_base: int = setting(64, most=WIDEST)
    """Channels of the discriminators' first layer."""
    blocks: int = setting(0, most=DEEPEST)
    """Residual blocks of a domain's own encoder and generator; 0 takes 3 in the paper's networks, 4 in the later
    ones."""
    d_layers: int = setting(0, most=MOST_HALVINGS)
    """Stride-2 convolutions of a discriminator; 0 takes 6 in the paper's networks, 4 in the later ones."""
    d_scales: int = setting(3, most=MOST_HALVINGS)
    """Scales of a discriminator of the later networks."""
    upsample: Literal["", "transposed", "resize", "shuffle"] = setting("")
    """Layer with which the generators double the image; without it, that of the architecture: transposed in the paper's
    networks, resize in the later ones."""
    lr: float = setting(1e-4, most=MOST_RATE)
    """Learning rate of both players."""
    weight_decay: float = setting(1e-4)
    """L2 weight decay of both players."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "channels", "n_critic", "g_base", "d_base", "d_scales")
        check_at_least(self, 0, "lambda_gan", "lambda_rec", "lambda_kl", "lambda_cyc", "lambda_cyc_kl")
        check_at_least(self, 0, "blocks", "d_layers", "weight_decay")
        check_positive(self, "lr")
        check_choice(self, "architecture", ("paper", "later"))
        check_choice(self, "kl_of", ("mean", "code"))
        check_choice(self, "g_noise", ("shared", "own"))
        check_multiple(self.image_size, 4, "UNIT's encoder")
        if (
            self.lambda_perceptual and min(sides(self.image_size)) < 32
        ):  # at 1/16 of a side there must be two positions at least
            found, fix = f"{said(self.image_size)} with --lambda-perceptual", "Give --image-size 32 or more."
            raise ConfigError("--image-size", found, "at least 32 px, which that term compares at 1/16", fix)
        if self.architecture == "later":  # reflect padding needs two pixels, at the coarsest scale and layer
            check_multiple(self.image_size, 2 ** (self.d_scales - 1 + (self.d_layers or 4)), "UNIT's discriminator")


CROPS = {"training.batch": 1, "data.load_size": 286, "data.crop": "random", "data.flip": True}
ARTICLE = {**CROPS, "training.images": 500_000, "training.lr_schedule": "constant"}
PAPER = Preset(
    """The article: tied layers, GAN 10, reconstruction 100, KL 0.1, cycle 100, cycle KL 0.1, Adam 1e-4 with weight
    decay 1e-4, batch 1, 500,000 iterations.

    Data: `shard.py --layout unpaired`. Command: `train.py --method unit --preset paper --data URI`. No score was
    measured here. The article's KL term is half the sum of mu^2 over the code; ours is the mean of mu^2, which is the
    scale that the programs' weights are for. Differs from `reference_2017`: the KL terms are of the mean of the code.
    Differs from `reference`: networks, weights, schedule, data, and one draw of noise serves both players.""",
    ARTICLE,
)
REFERENCE_2017 = Preset(
    """The authors' first program (2017): as `paper`, but the KL terms square the code with its noise in it, where the
    article has the mean of the code. (The gradient is the same on average, and noisier.)

    Data and command as for `paper`, with `--preset reference_2017`. One draw of noise serves both players, as in
    `paper`; whether that program draws again for the generators was not checked (`--g-noise own` does).""",
    {**ARTICLE, "hyper.kl_of": "code"},
)
REFERENCE = Preset(
    """The authors' later program: no tied layers, one autoencoder per domain with its own norm in the decoder, three
    scales of least-squares discriminators, GAN 1, reconstruction 10, KL 0.01, cycle 10, cycle KL 0.01, a learning rate
    halved every 100,000 of 1,000,000 iterations. The generators move on noise of their own, and so on other fakes than
    the discriminators have just seen. The shorter side of an image is resized to the image size (256), bilinear, and
    the square that is trained on cut out of it anywhere: shapes are kept. (Its optional loss on VGG features,
    `--lambda-perceptual`, is off there too.)

    Data and command as for `paper`, with `--preset reference`; shard without --load-size, or with `--resample
    bilinear`; images keep their shape until training.""",
    {
        "training.batch": 1,
        "data.load_size": 0,
        "data.fit": "shorter",
        "data.resample": "bilinear",
        "data.crop": "random",
        "data.flip": True,
        "hyper.architecture": "later",
        "hyper.adversarial": "lsgan",
        "hyper.lambda_gan": 1.0,
        "hyper.lambda_rec": 10.0,
        "hyper.lambda_kl": 0.01,
        "hyper.lambda_cyc": 10.0,
        "hyper.lambda_cyc_kl": 0.01,
        "hyper.g_noise": "own",
        "training.images": 1_000_000,
        "training.lr_schedule": "steps",
        "training.lr_step": 100_000,
        "training.lr_step_factor": 0.5,
    },
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs (regular <-> bold, no character in both): the paper's tied
    networks at 32 px, 12 channels, 1 block, batch 8, learning rate 1e-3, averaged generators. Command: `make demo
    METHOD=unit`. Score: docs/methods.md, which is measured.""",
    {
        "hyper.image_size": 32,
        "hyper.g_base": 12,
        "hyper.d_base": 16,
        "hyper.blocks": 1,
        "hyper.d_layers": 3,
        "hyper.lr": 1e-3,
        "hyper.weight_decay": 0.0,
        "training.batch": 8,
        "training.images": 6_000,
        "training.lr_schedule": "linear",
        "training.ema_halflife": 500,
        "data.flip": False,
        "data.crop": "none",
        "data.loaders": 0,
        "monitoring.grid_every": 2_000,
        "monitoring.checkpoint_every": 2_000,
    },
    {"faces": ("sans-regular", "sans-bold")},
)

register("unit", UNITConfig, {"paper": PAPER, "reference_2017": REFERENCE_2017, "reference": REFERENCE, "demo": DEMO})
