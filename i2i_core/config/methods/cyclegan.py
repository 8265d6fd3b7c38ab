"""Declare the options and presets of CycleGAN; see methods/cyclegan.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from i2i_core.config.methods.checks import (
    DEEPEST,
    MOST_KEPT,
    MOST_MOVES,
    MOST_RATE,
    WIDEST,
    check_multiple,
    check_patch_size,
)
from i2i_core.config.methods.game import GameConfig, check_critic_norm
from i2i_core.config.sections import register
from i2i_core.errors import ConfigError
from i2i_core.fields import MOST_CHANNELS
from i2i_core.losses.formulations import Formulation
from i2i_core.networks.shapes import STRIDED_LAYERS, ReceptiveField, Upsample
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, check_choice, check_positive, setting, size_setting
from i2i_core.sizes import Size, sides


@dataclass(frozen=True)
class CycleGANConfig(GameConfig):
    """Choose CycleGAN's own hyper-parameters."""

    adversarial: Formulation = setting("lsgan")
    """Adversarial terms; the paper has least squares, lsgan (sec. 4)."""
    image_size: Size = size_setting(256)
    """Size of training images in pixels: a number for squares, or WIDTHxHEIGHT; multiples of 4. More shows finer detail
    and takes more memory and time."""
    in_channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Channels of domain A; taken from the data."""
    out_channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Channels of domain B; taken from the data."""
    lambda_gan: float = setting(1.0)
    """Weight of the adversarial terms of G and F; 0 leaves the cycle terms alone, without discriminators (sec.
    5.1.4)."""
    lambda_cyc: float = setting(10.0)
    """Weight of the cycle-consistency terms (Eq. 3); 0 leaves the adversarial terms alone."""
    cycles: Literal["both", "forward", "backward"] = setting("both")
    """Cycles that count: forward, x -> G(x) -> F(G(x)); backward, y -> F(y) -> G(F(y)); or both (sec. 5.1.4)."""
    lambda_id: float = setting(0.5)
    """Weight of the identity terms, relative to lambda_cyc (sec. 5.2): 0.5 of 10 is a weight of 5. It keeps colours; 0
    leaves the terms out."""
    pool_size: int = setting(50, most=MOST_KEPT)
    """Size of each domain's pool of earlier made images, which the discriminators see again (sec. 4); 0 keeps none. One
    pool serves the whole batch."""
    n_critic: int = setting(1, most=MOST_MOVES)
    """Moves of the discriminators per move of the generators; each after the first reads a fresh batch."""
    g_base: int = setting(64, most=WIDEST)
    """Channels of the generators' first layer."""
    d_base: int = setting(64, most=WIDEST)
    """Channels of the discriminators' first layer."""
    blocks: int = setting(0, most=DEEPEST)
    """Residual blocks of the generators; 0 takes 9 from 256 pixels (of the shorter side) on, and 6 below."""
    upsample: Upsample = setting("transposed")
    """Layer with which the generators double the image; resize and shuffle avoid the checkerboard pattern of
    transposed."""
    receptive_field: ReceptiveField = setting(70)
    """Side in pixels of the patch that one output of a discriminator sees."""
    norm: Literal["instance", "batch"] = setting("instance")
    """Normalisation layers in all networks."""
    lr: float = setting(2e-4, most=MOST_RATE)
    """Learning rate of both players."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "in_channels", "out_channels", "g_base", "d_base", "n_critic")
        check_at_least(self, 0, "lambda_gan", "lambda_cyc", "lambda_id", "pool_size", "blocks")
        check_positive(self, "lr")
        check_choice(self, "cycles", ("both", "forward", "backward"))
        check_choice(self, "receptive_field", tuple(STRIDED_LAYERS))
        check_multiple(self.image_size, 4, "the ResNet generator")
        check_critic_norm(self, self.norm)
        if self.in_channels != self.out_channels and self.lambda_id * self.lambda_cyc:
            found = f"{self.lambda_id}, with {self.in_channels} and {self.out_channels} channels"
            fix = "Give --lambda-id 0, or domains of the same number of channels."
            raise ConfigError("--lambda-id", found, "0: G(y) needs images that both sides can be", fix)
        if self.lambda_gan:
            check_patch_size(self.image_size, self.receptive_field)
        elif not self.lambda_cyc:
            found = "0, with --lambda-cyc 0"
            raise ConfigError("--lambda-gan", found, "at least one of them above 0", "Nothing would be learnt.")

    @property
    def of_size(self) -> dict[str, Any]:
        """Return the residual blocks of the generators, which follow from the image size."""
        return {"blocks": self.g_blocks}

    @property
    def g_blocks(self) -> int:
        """Return the residual blocks of the generators."""
        return self.blocks or (9 if min(sides(self.image_size)) >= 256 else 6)


SHARED = {
    "training.batch": 1,
    "training.epochs": 200.0,
    "training.lr_schedule": "epochs",
    "data.load_size": 286,
    "data.fit": "square",
    "data.crop": "random",
    "data.flip": True,
}
PAPER = Preset(
    """The article: 256 px crops of images stretched to 286 px (`--fit square`), batch 1, Adam 2e-4 for 100 epochs and
    to 0 over another 100, least squares, lambda 10, pools of 50, 9 blocks, no identity term (the paper has it for
    paintings to photographs alone).

    Data: horse2zebra and its like, `shard.py --layout unpaired`. Command: `train.py --method cyclegan --preset paper
    --data URI`. Expected for Cityscapes label -> photo (article, table 2): FCN-score .52 per pixel, .17 per class, .11
    IoU; not measured here. Differs from `reference`: no identity term.""",
    {**SHARED, "hyper.lambda_id": 0.0},
)
REFERENCE = Preset(
    """The authors' PyTorch program: as `paper`, with the identity term on (0.5 times lambda: weight 5). The learning
    rate falls as it did up to July 2020; since then that program is one epoch ahead, and its last epoch is at 0.

    Data and command as for `paper`, with `--preset reference`.""",
    SHARED,
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs (regular <-> bold, no character in both): 32 px, 12 channels,
    2 blocks, batch 8, receptive field 16, learning rate 1e-3, averaged generators. Command: `make demo
    METHOD=cyclegan`. Score: docs/methods.md, which is measured.""",
    {
        "hyper.image_size": 32,
        "hyper.g_base": 12,
        "hyper.d_base": 16,
        "hyper.blocks": 2,
        "hyper.receptive_field": 16,
        "hyper.lr": 1e-3,
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

register("cyclegan", CycleGANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
