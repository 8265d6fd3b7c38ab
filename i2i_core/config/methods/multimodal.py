"""The options and presets that BicycleGAN and the three systems it is built from share; see methods/multimodal.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from i2i_core.config.methods.checks import check_two_scales, check_unet
from i2i_core.config.methods.game import GameConfig, check_critic_norm
from i2i_core.errors import ConfigError
from i2i_core.losses.formulations import Formulation
from i2i_core.networks.shapes import NoiseAt, Upsample, downs_for
from i2i_core.settings import check_at_least, check_between, check_choice, check_positive, setting


@dataclass(frozen=True)
class MultimodalConfig(GameConfig):
    """Networks and terms that the four systems share."""

    adversarial: Formulation = setting("lsgan")
    """The adversarial terms; the paper's are least squares (sec. 4)."""
    image_size: int = setting(256)
    """Height and width of training images, pixels; a multiple of 2^downs."""
    in_channels: int = setting(3, derived=True)
    """Channels of a; taken from the data."""
    out_channels: int = setting(3, derived=True)
    """Channels of b; taken from the data."""
    z_dim: int = setting(8)
    """Length of the code z (sec. 4)."""
    z_at: NoiseAt = setting("all")
    """Where G reads z: beside its input, or beside the input of every down-block (Fig. 3)."""
    conditional_d: bool = setting(False)
    """Whether the discriminators see a as well; the authors' do not."""
    matching_aware: bool = setting(False)
    """Count a true output beside another image's input as made (Reed et al. 2016, Alg. 1); for discriminators that see
    a. The other input is that of one more batch."""
    n_critic: int = setting(1)
    """Moves of the discriminators per move of the generators; after the first, each on fresh batches."""
    g_base: int = setting(64)
    """Channels of G's first layer."""
    d_base: int = setting(64)
    """Channels of the discriminators' first layer; the second scale has half."""
    d_layers: int = setting(3)
    """Stride-2 layers of the discriminators: 3 for 256 px, 2 for 128."""
    downs: int = setting(0)
    """Stride-2 layers of G; 0: down to 1x1 at this image size, at most 8."""
    upsample: Upsample = setting("transposed")
    """How G doubles the image; `resize` and `shuffle` have no checkerboard built in."""
    norm: Literal["instance", "batch"] = setting("instance")
    """Normalisation in all networks."""
    dropout: float = setting(0.0)
    """Probability of dropout in the up-blocks of G after the innermost, at most three, while it trains; images are made
    without it (but for --test-dropout on). The authors' training scripts switch it on (0.5)."""
    lr: float = setting(2e-4)
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
        return {"downs": self.g_downs}

    @property
    def g_downs(self) -> int:
        """Stride-2 layers of G."""
        return downs_for(self.image_size, self.downs)


@dataclass(frozen=True)
class EncodingConfig(MultimodalConfig):
    """Of the systems with an encoder."""

    e_base: int = setting(64)
    """Channels of the encoder's first layer."""
    e_blocks: int = setting(0)
    """Residual blocks of the encoder, each of which halves the image; 0: down to 8x8 (4 at 256 px), at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "e_base")
        check_at_least(self, 0, "e_blocks")
        if self.image_size < 2 ** (self.blocks + 1):
            fix = f"Give --e-blocks {max(1, self.image_size.bit_length() - 2)} or less."
            raise ConfigError("--e-blocks", str(self.blocks), f"an image left of {self.image_size} px", fix)

    @property
    def of_size(self) -> dict[str, Any]:
        return {**super().of_size, "e_blocks": self.blocks}

    @property
    def blocks(self) -> int:
        return self.e_blocks or max(1, self.image_size.bit_length() - 5)


AUTHORS: dict[str, Any] = {
    "training.batch": 1,
    "training.epochs": 60.0,
    "training.lr_schedule": "epochs",
    "data.load_size": 286,
    "data.crop": "random",
    "data.flip": True,
}
"""Training as the authors' program does it."""

SCRIPTS: dict[str, Any] = {**AUTHORS, "hyper.dropout": 0.5}
"""The same with what all of their training scripts ask for."""

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
"""The demos: 32 px glyphs, black on white -> white on a colour that the input does not tell; resize and convolution,
since transposed ones weave a pattern into the colour."""

COLOURS: dict[str, Any] = {
    "variant": "colour",
    "white_paper": True,
    "styles": ("sans-regular", "sans-bold", "serif-regular", "serif-bold"),
}
"""The demos' data."""
