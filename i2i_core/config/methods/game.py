"""Declare the options of the adversarial game, which every method's options include."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_type_hints

from i2i_core.errors import ConfigError
from i2i_core.losses.formulations import FORMULATIONS, WITH_TARGET, Formulation, is_target
from i2i_core.settings import check_at_least, check_below, check_choice, check_numbers, check_positive, setting
from i2i_core.sizes import Size, said, sides, simplest


@dataclass(frozen=True)
class GameConfig:
    """Choose how generators and discriminators play against each other."""

    adversarial: Formulation = setting("nonsaturating")
    """Adversarial terms (Goodfellow et al. 2014; Mao et al. 2017; Arjovsky et al. 2017; Gulrajani et al. 2017)."""
    real_target: float = setting(1.0)
    """Target of D on real images; below 1 this is one-sided label smoothing, such as 0.9 (Salimans et al. 2016)."""
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
        check_at_least(self, 0, "lambda_gp")
        check_positive(self, "clip")
        check_choice(self, "optimiser", ("adam", "rmsprop", "sgd"))
        check_below(self, 1, "beta1", "beta2")

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
