"""Declare the options of the adversarial game, which every method's options include."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_type_hints

from i2i_core.errors import ConfigError
from i2i_core.losses.formulations import FORMULATIONS, MOST_TARGET, WITH_TARGET, Formulation, is_target
from i2i_core.settings import (
    check_at_least,
    check_below,
    check_choice,
    check_numbers,
    check_positive,
    flag,
    setting,
)
from i2i_core.sizes import Size, said, sides, simplest

MOST_NEARNESSES = 1000
"""Most numbers of minibatch discrimination."""
OPTIMISERS = ("adam", "rmsprop", "sgd")
OF_DISCRIMINATORS: dict[str, Any] = {
    "real_target_to": 0.0,
    "fake_target": 0.0,
    "fake_target_to": 0.0,
    "label_flip": 0.0,
    "input_noise": 0.0,
    "d_optimiser": "same",
    "d_lr_factor": 1.0,
    "minibatch_features": 0,
}
"""Options that have no meaning without a discriminator, with the values that turn them off."""


@dataclass(frozen=True)
class GameConfig:
    """Choose how generators and discriminators play against each other."""

    adversarial: Formulation = setting("nonsaturating")
    """Adversarial terms (Goodfellow et al. 2014; Mao et al. 2017; Arjovsky et al. 2017; Gulrajani et al. 2017)."""
    real_target: float = setting(1.0)
    """Target of D on real images; below 1 this is one-sided label smoothing, such as 0.9 (Salimans et al. 2016)."""
    real_target_to: float = setting(0.0, most=MOST_TARGET)
    """Upper end of an interval that begins at --real-target, from which D's target is drawn anew for each real image,
    such as 0.7 to 1.2. A cross entropy takes a target above 1 for 1. 0: the target is --real-target."""
    fake_target: float = setting(0.0)
    """Target of D on made images. Above 0, D's optimum follows what G makes already (Salimans et al. 2016, sec. 3.4):
    the run warns."""
    fake_target_to: float = setting(0.0)
    """Upper end of an interval that begins at --fake-target, from which D's target is drawn anew for each made image,
    such as 0.3. 0: the target is --fake-target."""
    label_flip: float = setting(0.0)
    """Share of images that D takes for the other kind in its own loss, drawn anew each time, such as 0.05: noisy
    labels. G's loss is as ever."""
    input_noise: float = setting(0.0, most=100.0)
    """Standard deviation of Gaussian noise on all that discriminators see, real and made, in every player's moves;
    images span -1 to 1. It makes real and made images overlap early on, when D would win at once; try 0.1."""
    input_noise_until: int = setting(0)
    """Images over which --input-noise falls to 0, on a straight line. 0: it stays."""
    layer_noise: float = setting(0.0, most=100.0)
    """Standard deviation of Gaussian noise that is added after every hidden nonlinearity of the generators, in training
    alone."""
    minibatch_features: int = setting(0, most=MOST_NEARNESSES)
    """Minibatch discrimination: numbers, 100 in its authors' program, by which D sees how near an image is to the
    others of the batch, so that images which are all alike give themselves away (Salimans et al. 2016, sec. 3.2). 0:
    none."""
    lambda_gp: float = setting(10.0)
    """Weight of the gradient penalty (Gulrajani et al. 2017, Eq. 3); counts under --adversarial wgan-gp alone."""
    clip: float = setting(0.01)
    """Bound to which the critic's weights are clipped after each of its moves (Arjovsky et al. 2017, Alg. 1); counts
    under --adversarial wgan alone."""
    optimiser: Literal["adam", "rmsprop", "sgd"] = setting("adam")
    """Optimiser of all players. With --adversarial wgan take rmsprop and a learning rate of 5e-5 (Arjovsky et al. 2017,
    sec. 4.3). The momentum of sgd is --beta1."""
    beta1: float = setting(0.5)
    """Decay of Adam's first moment (beta 1), and momentum of sgd."""
    beta2: float = setting(0.999)
    """Decay of Adam's second moment (beta 2)."""
    d_optimiser: Literal["same", "adam", "rmsprop", "sgd"] = setting("same")
    """Optimiser of discriminators alone, such as sgd beside Adam for the generators; same: --optimiser."""
    d_lr_factor: float = setting(1.0, most=1e6)
    """Factor of the learning rate of discriminators alone: sgd needs a larger rate than Adam."""

    @property
    def size(self) -> Size:
        """Return the size of training images in pixels: the side of a square, or (height, width)."""
        return simplest(self.image_size)  # type: ignore[attr-defined]

    @property
    def sides_before(self) -> dict[str, tuple[int, int]]:
        """Return the options that earlier releases had in place of `image_size`, each with its value and default.

        Names of runs are made of them. Without any, they are made of `image_size` itself.
        """
        return {}

    @property
    def of_size(self) -> dict[str, Any]:
        """Return the values that follow from the image size if nobody gives them.

        The stages of a run may have images of several sizes; its networks keep one shape.
        """
        return {}

    def at_size(self, size: Size) -> Self:
        """Return the section with another image size and the same networks.

        Raises:
            ConfigError: the networks cannot take images of that size.
        """
        height, width = sides(size)
        values: dict[str, Any] = {**self.of_size, "image_size": simplest(size)}
        if hasattr(self, "image_width"):  # of a method from outside that has a flag for each side
            values |= {"image_size": height, "image_width": width}
        elif height != width and get_type_hints(type(self))["image_size"] is int:
            expected = "a square's side, which is what this method takes"
            raise ConfigError("--image-size", said(size), expected, f"Give --image-size {height}.")
        return replace(self, **values)

    def __post_init__(self) -> None:
        check_numbers(self)
        check_choice(self, "adversarial", FORMULATIONS)
        self._check_target()
        self._check_intervals()
        check_at_least(self, 0, "lambda_gp", "input_noise", "input_noise_until", "layer_noise", "minibatch_features")
        check_positive(self, "clip", "d_lr_factor")
        check_choice(self, "optimiser", OPTIMISERS)
        check_choice(self, "d_optimiser", ("same", *OPTIMISERS))
        check_below(self, 1, "beta1", "beta2")
        check_below(self, 0.5, "label_flip")
        self._check_options()

    def _check_target(self) -> None:
        """Raise ConfigError for a target that is out of range, or that the adversarial terms do not have."""
        target, terms = self.real_target, self.adversarial
        if not is_target(target):
            fix = "Give --real-target 0.9, or 1 for none."
            raise ConfigError("--real-target", repr(target), "a number above 0.5, up to 1", fix)
        if target != 1.0 and terms not in WITH_TARGET:
            found, expected = f"{target!r} with --adversarial {terms}", f"1.0, as {terms} has no target for real images"
            fix = f"Leave --real-target out, or choose --adversarial from {', '.join(WITH_TARGET)}."
            raise ConfigError("--real-target", found, expected, fix)

    def _check_intervals(self) -> None:
        """Raise ConfigError for targets and flips that the terms do not have, and for intervals without a length."""
        for name in ("real_target_to", "fake_target", "fake_target_to", "label_flip"):
            if (value := getattr(self, name)) and self.adversarial not in WITH_TARGET:
                found = f"{value!r} with --adversarial {self.adversarial}"
                fix = f"Leave {flag(name)} out, or choose --adversarial from {', '.join(WITH_TARGET)}."
                raise ConfigError(flag(name), found, f"0, as {self.adversarial} has no targets", fix)
        check_below(self, 0.5, "fake_target", "fake_target_to")
        for name in ("real_target", "fake_target"):
            start, end = getattr(self, name), getattr(self, f"{name}_to")
            if end and not end > start:
                fix = f"Give {flag(name)} the smaller number of the two, or leave {flag(name)}-to out."
                raise ConfigError(f"{flag(name)}-to", repr(end), f"a number above {flag(name)}, {start!r}", fix)

    def _check_options(self) -> None:
        """Raise ConfigError for options that need others, or that contradict them."""
        if self.input_noise_until and not self.input_noise:
            found, expected = f"{self.input_noise_until}, with --input-noise 0", "noise, which then falls"
            raise ConfigError("--input-noise-until", found, expected, "Give --input-noise 0.1, or leave it out.")
        if self.minibatch_features and self.adversarial == "wgan-gp":
            found = f"{self.minibatch_features}, with --adversarial wgan-gp"
            expected = "0: the penalty is on each sample's own gradient, and minibatch discrimination mixes the samples"
            fix = "Leave --minibatch-features out, or give --adversarial wgan."
            raise ConfigError("--minibatch-features", found, expected, fix)


def check_critic_norm(config: GameConfig, norm: str, flag: str = "--norm", other: str = "instance") -> None:
    """Refuse a gradient penalty through batch norm.

    Args:
        norm, flag: the discriminator's norm, and the flag that chooses it.
        other: a norm to advise in its place.

    Raises:
        ConfigError: the penalty is one per sample, and batch norm makes each sample's logit depend on the others.
    """
    if config.adversarial == "wgan-gp" and norm == "batch":
        raise ConfigError(
            "--adversarial",
            f"wgan-gp with {flag} batch",
            "a discriminator without batch norm: the penalty is on each sample's own gradient, and batch norm mixes "
            "the samples (Gulrajani et al. 2017, sec. 4)",
            f"Give {flag} {other}, or --adversarial wgan.",
        )
