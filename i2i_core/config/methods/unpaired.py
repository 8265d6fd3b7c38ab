"""Declare CycleGAN's networks and recipe, for it and for the systems its tables compare it with; see
methods/unpaired.py."""

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
from i2i_core.errors import ConfigError
from i2i_core.fields import MOST_CHANNELS
from i2i_core.losses.formulations import Formulation
from i2i_core.networks.shapes import STRIDED_LAYERS, ReceptiveField, Upsample
from i2i_core.settings import check_at_least, check_choice, check_positive, flag, setting, size_setting
from i2i_core.sizes import Size, sides


@dataclass(frozen=True)
class UnpairedConfig(GameConfig):
    """Choose the networks, the game and the history of CycleGAN, as all systems have them."""

    adversarial: Formulation = setting("lsgan")
    """Adversarial terms; the paper has least squares, lsgan (sec. 4)."""
    image_size: Size = size_setting(256)
    """Size of training images in pixels: a number for squares, or WIDTHxHEIGHT; multiples of 4. More shows finer detail
    and takes more memory and time."""
    in_channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Channels of domain A; taken from the data."""
    out_channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Channels of domain B; taken from the data."""
    pool_size: int = setting(50, most=MOST_KEPT)
    """Size of each pool of earlier made images, which the discriminators see again (sec. 4); 0 keeps none. One pool
    serves the whole batch."""
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
    """Learning rate of all players."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "in_channels", "out_channels", "g_base", "d_base", "n_critic")
        check_at_least(self, 0, "pool_size", "blocks")
        check_positive(self, "lr")
        check_choice(self, "receptive_field", tuple(STRIDED_LAYERS))
        check_multiple(self.image_size, 4, "the ResNet generator")
        check_critic_norm(self, self.norm)
        if self.plays:
            check_patch_size(self.image_size, self.receptive_field)

    @property
    def plays(self) -> bool:
        """Return whether there is a discriminator."""
        return True

    @property
    def of_size(self) -> dict[str, Any]:
        """Return the residual blocks of the generators, which follow from the image size."""
        return {"blocks": self.g_blocks}

    @property
    def g_blocks(self) -> int:
        """Return the residual blocks of the generators."""
        return self.blocks or (9 if min(sides(self.image_size)) >= 256 else 6)


@dataclass(frozen=True)
class ComparedConfig(UnpairedConfig):
    """Choose what the compared systems have besides."""

    halve_d: bool = setting(True)
    """Halve the discriminator's objective, as the article says (sec. 7.1); the authors' program halves the value that
    it prints and not the gradient. Adam and RMSProp hardly see such a factor; --clip-grad does."""


def check_comparable(config: UnpairedConfig, field: str, needs: str) -> None:
    """Refuse a term that compares images of both domains where these differ in their channels.

    Args:
        field: the weight of the term; the flag to set to 0.
        needs: the images that the term needs, in words.

    Raises:
        ConfigError: the weight is not 0, and the domains have different numbers of channels.
    """
    if config.in_channels != config.out_channels:
        found = f"{getattr(config, field)}, with {config.in_channels} and {config.out_channels} channels"
        fix = f"Give {flag(field)} 0, or domains of the same number of channels."
        raise ConfigError(flag(field), found, f"0: {needs}", fix)


RECIPE: dict[str, Any] = {
    "training.batch": 1,
    "training.epochs": 200.0,
    "training.lr_schedule": "epochs",
    "data.load_size": 286,
    "data.fit": "square",
    "data.crop": "random",
    "data.flip": True,
}
"""Values of the training in the article and in the authors' program."""

AT_128: dict[str, Any] = {**RECIPE, "hyper.image_size": 128, "data.load_size": 143}
"""The same at the size of tables 2 to 5, 128 px; images are enlarged before the crop as they are for 256 px."""

TINY: dict[str, Any] = {
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
}
"""Values of the demos: glyphs of 32 pixels."""

WEIGHTS: dict[str, Any] = {"faces": ("sans-regular", "sans-bold")}
"""Options of the demos' built-in data: regular and bold, no character in both."""
