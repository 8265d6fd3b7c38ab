"""Declare the options that methods which make images of noise share; see methods/from_noise.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from i2i_core.config.methods.checks import MOST_MOVES, MOST_RATE, WIDEST
from i2i_core.config.methods.game import GameConfig
from i2i_core.errors import ConfigError
from i2i_core.fields import MOST_CHANNELS
from i2i_core.settings import check_at_least, check_choice, check_positive, setting, size_setting
from i2i_core.sizes import Size


@dataclass(frozen=True)
class FromNoiseConfig(GameConfig):
    """Choose codes, the critic's moves and the rate of a method that makes images of noise."""

    image_size: Size = size_setting(64)
    """Size of training images in pixels: a number for squares, or WIDTHxHEIGHT. More shows finer detail and takes more
    memory and time."""
    channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Image channels; taken from the data."""
    z_dim: int = setting(100, most=WIDEST)
    """Numbers in a code z."""
    prior: Literal["normal", "uniform"] = setting("normal")
    """Distribution of each number of a code: N(0, 1), or evenly from -1 to 1."""
    g_noise: Literal["shared", "own"] = setting("shared")
    """Codes of G's move: shared takes D's last fakes; own draws others (Goodfellow et al. 2014, Alg. 1; WGAN, Alg.
    1)."""
    n_critic: int = setting(1, most=MOST_MOVES)
    """Moves of D per move of G, each on a fresh batch."""
    burst: int = setting(0, most=MOST_MOVES)
    """Moves of D per move of G in a burst, which brings a critic near its optimum: while G has made fewer than
    --burst-until moves, and at every --burst-every th. 0: no bursts; 100 in WGAN's program."""
    burst_until: int = setting(25)
    """Moves of G before which each is preceded by a burst."""
    burst_every: int = setting(500)
    """A burst precedes G's next move whenever the number of its moves is a multiple of this; 0: at no other time."""
    clip_at: Literal["after", "before"] = setting("after")
    """Time at which the weights of a critic under --adversarial wgan are clipped: after each of its moves, or before,
    so that G moves against a critic that has moved once more since (WGAN's program)."""
    lr: float = setting(2e-4, most=MOST_RATE)
    """Learning rate of both players."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "channels", "z_dim", "n_critic")
        check_at_least(self, 0, "burst", "burst_until", "burst_every")
        check_positive(self, "lr")
        check_choice(self, "prior", ("normal", "uniform"))
        check_choice(self, "g_noise", ("shared", "own"))
        check_choice(self, "clip_at", ("after", "before"))
        if self.clip_at == "before" and self.adversarial != "wgan":
            found, expected = f"before, with --adversarial {self.adversarial}", "wgan, whose critic is clipped"
            raise ConfigError("--clip-at", found, expected, "Leave --clip-at out, or give --adversarial wgan.")
