"""Declare the options and presets of SimGAN; see methods/simgan.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from i2i_core.config.methods.checks import DEEPEST, MOST_KEPT, MOST_MOVES, MOST_RATE, WIDEST, check_size
from i2i_core.config.methods.game import GameConfig
from i2i_core.config.sections import register
from i2i_core.errors import ConfigError
from i2i_core.fields import MOST_CHANNELS
from i2i_core.networks.shapes import Local
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, check_choice, check_positive, setting, size_setting
from i2i_core.sizes import Size, sides


@dataclass(frozen=True)
class SimGANConfig(GameConfig):
    """Choose SimGAN's own hyper-parameters."""

    image_size: Size = size_setting((35, 55))
    """Size of training images in pixels: a number for squares, or WIDTHxHEIGHT. More shows finer detail and takes more
    memory and time."""
    channels: int = setting(1, derived=True, most=MOST_CHANNELS)
    """Image channels; taken from the data."""
    lambda_reg: float = setting(1e-4)
    """Weight of the self-regularisation, a sum over pixels (Eq. 4). The article gives no value; 1e-4 is a guess of the
    re-implementation mjdietzx/SimGAN, which others took over."""
    psi: Literal["identity", "mean", "gradient"] = setting("identity")
    """Feature that refining must keep (sec. 2.1): the pixels, the mean of the channels, or differences of
    neighbours."""
    history_size: int = setting(51_200, most=MOST_KEPT)
    """Size of the history of refined images, from which half of each of D's batches comes (sec. 2.3); 0 keeps none."""
    k_g: int = setting(2, most=MOST_MOVES)
    """Moves of the refiner per round, each on a fresh batch (Alg. 1, K_g): 2 in the article's first version, 50 in
    later ones."""
    k_d: int = setting(1, most=MOST_MOVES)
    """Moves of the discriminator per round, each on a fresh batch (Alg. 1, K_d)."""
    warmup_r: int = setting(1_000)
    """Warm-up moves of the refiner, on the self-regularisation alone, before anything else (sec. 3.1)."""
    warmup_d: int = setting(200)
    """Warm-up moves of the discriminator alone, after those of the refiner (sec. 3.1)."""
    form: Local = setting("eyes")
    """Discriminator: that for eye gaze, or the coarser one for hand pose."""
    first_kernel: int = setting(3, most=255)
    """Side of the refiner's first convolution: 3 for eyes, 7 for hands."""
    blocks: int = setting(4, most=DEEPEST)
    """Residual blocks of the refiner: 4 for eyes, 10 for hands."""
    r_base: int = setting(64, most=WIDEST)
    """Channels of the refiner."""
    d_base: int = setting(96, most=WIDEST)
    """Channels of the discriminator's first layer."""
    lr: float = setting(1e-3, most=MOST_RATE)
    """Learning rate of both players."""

    @property
    def sides_before(self) -> dict[str, tuple[int, int]]:
        """Return height and width as earlier releases had them: each with its default; 0 was the width of a square."""
        height, width = sides(self.image_size)
        return {"image_size": (height, 35), "image_width": (0 if height == width else width, 55)}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.image_size)
        check_at_least(self, 1, "channels", "k_g", "k_d", "blocks", "r_base", "d_base", "first_kernel")
        check_at_least(self, 0, "lambda_reg", "history_size", "warmup_r", "warmup_d")
        check_positive(self, "lr")
        check_choice(self, "psi", ("identity", "mean", "gradient"))
        check_choice(self, "form", ("eyes", "hands"))
        if self.first_kernel % 2 == 0:
            found, fix = str(self.first_kernel), "Give --first-kernel 3, or 7."
            raise ConfigError("--first-kernel", found, "an odd number", fix)
        if self.d_base < 3:
            raise ConfigError("--d-base", str(self.d_base), "a number >= 3", "Give --d-base 96, as in the paper.")


EYES = {
    "training.batch": 512,
    "training.images": 15_000_000,
    "training.lr_schedule": "constant",
    "data.flip": False,
    "data.crop": "none",
    "monitoring.log_every": 51_200,
    "monitoring.grid_every": 1_000_000,
    "monitoring.checkpoint_every": 2_000_000,
}
PAPER = Preset(
    """The article in its first version (arXiv v1, 2016), eye gaze: 55x35 grey images, batch 512, learning rate 1e-3,
    the refiner alone for 1,000 moves and the discriminator alone for 200, then K_g = 2 and K_d = 1.

    Data: UnityEyes and MPIIGaze, `shard.py --layout unpaired --channels 1`, synthetic first. Command: `train.py
    --method simgan --preset paper --data URI`. Expected (article): a gaze estimator
    trained on refined images errs less than one trained on synthetic ones; not measured here. The article names no
    lambda: 1e-4, for sums over pixels, is that of a re-implementation (mjdietzx/SimGAN), which calls it a guess. It
    names no optimiser (Adam here), no size of the history (a hundred batches here) and no length (15 million images
    here: 9,365 rounds). Differs from `reference`: there K_g is that of the article's later versions.""",
    EYES,
)
PAPER_HANDS = Preset(
    """The article, hand pose: 224x224 depth images, a 7x7 first convolution, 10 blocks, the coarser discriminator, the
    refiner alone for 500 moves (by a re-implementation's account), a batch of 32 (the article names none). The other
    values and the command are those of `paper`. Data: NYU hand pose. Not measured here.""",
    {
        **EYES,
        "hyper.image_size": 224,
        "hyper.form": "hands",
        "hyper.first_kernel": 7,
        "hyper.blocks": 10,
        "hyper.history_size": 3_200,
        "hyper.warmup_r": 500,
        "training.batch": 32,
        "training.images": 1_000_000,
        "monitoring.log_every": 3_200,
        "monitoring.grid_every": 50_000,
        "monitoring.checkpoint_every": 100_000,
    },
)
REFERENCE = Preset(
    """The article in its later versions, as others quote them; the authors released no program. K_g is 50 refiner moves
    per move of the discriminator, where the first version has 2. Data and command as for `paper`, with `--preset
    reference`.""",
    {**EYES, "hyper.k_g": 50, "training.images": 260_000_000, "monitoring.checkpoint_every": 20_000_000},
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs (clean drawings -> scanned ones): 32 px, 24 channels, 2 blocks,
    batch 16, short warm-ups, averaged refiner. Command: `make demo METHOD=simgan`. Score: docs/methods.md, which is
    measured.""",
    {
        "hyper.image_size": 32,
        "hyper.r_base": 24,
        "hyper.d_base": 48,
        "hyper.blocks": 2,
        "hyper.lambda_reg": 0.02,
        "hyper.history_size": 1_600,
        "hyper.warmup_r": 60,
        "hyper.warmup_d": 40,
        "training.batch": 16,
        "training.images": 20_000,
        "training.lr_schedule": "linear",
        "training.ema_halflife": 1_000,
        "data.flip": False,
        "data.crop": "none",
        "data.loaders": 0,
        "monitoring.grid_every": 5_000,
        "monitoring.checkpoint_every": 5_000,
    },
    {"faces": ("sans-regular", "sans-regular"), "scanned": True},
)

register("simgan", SimGANConfig, {"paper": PAPER, "paper_hands": PAPER_HANDS, "reference": REFERENCE, "demo": DEMO})
