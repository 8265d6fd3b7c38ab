"""Declare the options and presets that BicycleGAN and its three parent systems share; see methods/multimodal.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from i2i_core.config.methods.checks import MOST_HALVINGS, MOST_MOVES, MOST_RATE, WIDEST, check_two_scales, check_unet
from i2i_core.config.methods.game import GameConfig, check_critic_norm
from i2i_core.errors import ConfigError
from i2i_core.fields import MOST_CHANNELS
from i2i_core.losses.formulations import Formulation
from i2i_core.networks.shapes import NoiseAt, Upsample, downs_for
from i2i_core.settings import check_at_least, check_between, check_choice, check_positive, setting, size_setting
from i2i_core.sizes import Size, said, sides


@dataclass(frozen=True)
class MultimodalConfig(GameConfig):
    """Choose the networks and terms that the four systems share."""

    adversarial: Formulation = setting("lsgan")
    """Adversarial terms; the paper has least squares, lsgan (sec. 4)."""
    image_size: Size = size_setting(256)
    """Size of training images in pixels: a number for squares, or WIDTHxHEIGHT; multiples of 2^downs. More shows finer
    detail and takes more memory and time."""
    in_channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Channels of a; taken from the data."""
    out_channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Channels of b; taken from the data."""
    z_dim: int = setting(8, most=WIDEST)
    """Length of the code z (sec. 4)."""
    z_at: NoiseAt = setting("all")
    """Place where G reads z: beside its input, or beside the input of every down-block (Fig. 3)."""
    conditional_d: bool = setting(False)
    """Show the discriminators the input as well as the output; those of the authors see the output alone."""
    matching_aware: bool = setting(False)
    """Show the discriminators true outputs beside other images' inputs too, as made ones (Reed et al. 2016, Alg. 1);
    needs --conditional-d. Each move then reads one more batch, for the other inputs."""
    n_critic: int = setting(1, most=MOST_MOVES)
    """Moves of the discriminators per move of the generators; each after the first reads fresh batches."""
    g_base: int = setting(64, most=WIDEST)
    """Channels of G's first layer."""
    d_base: int = setting(64, most=WIDEST)
    """Channels of the discriminators' first layer; the second scale has half as many."""
    d_layers: int = setting(3, most=MOST_HALVINGS)
    """Stride-2 layers of the discriminators: 3 for 256 pixels, 2 for 128."""
    downs: int = setting(0, most=MOST_HALVINGS)
    """Stride-2 layers of G; 0 goes down to 1x1 at this image size, with at most 8 layers."""
    upsample: Upsample = setting("transposed")
    """Layer with which G doubles the image; resize and shuffle avoid the checkerboard pattern of transposed."""
    norm: Literal["instance", "batch"] = setting("instance")
    """Normalisation layers in all networks."""
    dropout: float = setting(0.0)
    """Probability of dropout, in training, in the up-blocks of G after the innermost, at most three. Images are made
    without dropout unless --test-dropout is on. The authors' training scripts set 0.5."""
    lr: float = setting(2e-4, most=MOST_RATE)
    """Learning rate of both players."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "in_channels", "out_channels", "z_dim", "g_base", "n_critic", "d_layers")
        check_at_least(self, 2, "d_base")
        check_at_least(self, 0, "downs")
        check_positive(self, "lr")
        check_between(self, 0, 1, "dropout")
        check_choice(self, "z_at", ("input", "all"))
        check_choice(self, "norm", ("instance", "batch"))
        check_unet(self.image_size, self.g_downs)
        check_two_scales(self.image_size, self.d_layers)
        check_critic_norm(self, self.norm)
        if self.matching_aware and not self.conditional_d:
            fix = "Give --conditional-d as well, or leave --matching-aware out."
            found = "discriminators that do not see the input"
            raise ConfigError("--matching-aware", found, "--conditional-d: there is no condition to match", fix)

    @property
    def of_size(self) -> dict[str, Any]:
        """Return the stride-2 layers of G, which follow from the image size."""
        return {"downs": self.g_downs}

    @property
    def g_downs(self) -> int:
        """Return the stride-2 layers of G."""
        return downs_for(self.image_size, self.downs)


@dataclass(frozen=True)
class EncodingConfig(MultimodalConfig):
    """Choose the encoder, for the systems that have one."""

    e_base: int = setting(64, most=WIDEST)
    """Channels of the encoder's first layer."""
    e_blocks: int = setting(0, most=MOST_HALVINGS)
    """Residual blocks of the encoder, each of which halves the image; 0 goes down to 8x8 (4 blocks at 256 pixels,
    always at least 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "e_base")
        check_at_least(self, 0, "e_blocks")
        if min(sides(self.image_size)) < 2 ** (self.blocks + 1):
            least = min(sides(self.image_size))
            fix = f"Give --e-blocks {max(1, least.bit_length() - 2)} or less."
            raise ConfigError("--e-blocks", str(self.blocks), f"an image left of {said(self.image_size)} px", fix)

    @property
    def of_size(self) -> dict[str, Any]:
        """Return the stride-2 layers of G and the encoder's residual blocks, which follow from the image size."""
        return {**super().of_size, "e_blocks": self.blocks}

    @property
    def blocks(self) -> int:
        """Return the residual blocks of the encoder."""
        return self.e_blocks or max(1, min(sides(self.image_size)).bit_length() - 5)


AUTHORS: dict[str, Any] = {
    "training.batch": 1,
    "training.epochs": 60.0,
    "training.lr_schedule": "epochs",
    "data.load_size": 286,
    "data.fit": "square",
    "data.crop": "random",
    "data.flip": True,
}
"""Values of the training in the authors' program."""

SCRIPTS: dict[str, Any] = {**AUTHORS, "hyper.dropout": 0.5}
"""The same, with the dropout that all of the authors' training scripts set."""

TINY: dict[str, Any] = {
    "hyper.image_size": 32,
    "hyper.g_base": 16,
    "hyper.d_base": 8,
    "hyper.d_layers": 2,
    "hyper.upsample": "resize",
    "hyper.lr": 1e-3,
    "training.batch": 8,
    "training.images": 10_000,
    "training.lr_schedule": "linear",
    "training.ema_halflife": 500,
    "data.flip": False,
    "data.crop": "none",
    "data.loaders": 0,
    "monitoring.grid_every": 2_500,
    "monitoring.checkpoint_every": 2_500,
}
"""Values of the demos: glyphs of 32 pixels, black on white -> white on a colour that the input does not tell; resizing
and convolution, since transposed convolutions weave a pattern into the colour."""

COLOURS: dict[str, Any] = {
    "variant": "colour",
    "white_paper": True,
    "styles": ("sans-regular", "sans-bold", "serif-regular", "serif-bold"),
}
"""Options of the demos' built-in data."""
