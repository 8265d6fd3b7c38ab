"""The adversarial game that every method plays: which terms, how a critic is kept Lipschitz, how often it moves.

A method's section of the configuration begins with `GameConfig`; its objectives ask a `Game` for the terms, so that
`minimax`, `nonsaturating`, `lsgan`, `wgan`, `wgan-gp` and `hinge` fit every method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.errors import ConfigError
from i2i_core.losses.adversarial import ADVERSARIAL, adversarial
from i2i_core.losses.penalties import gradient_penalty
from i2i_core.methods.base import Optimiser
from i2i_core.settings import check_at_least, check_between, check_choice, check_positive, setting

Maps = Tensor | Sequence[Tensor]
"""What a discriminator says of a batch: one map of logits, or one per scale."""


@dataclass(frozen=True)
class GameConfig:
    """How generators and discriminators are set against each other."""

    adversarial: Literal["minimax", "nonsaturating", "lsgan", "wgan", "wgan-gp", "hinge"] = setting("nonsaturating")
    """The adversarial terms (Goodfellow et al. 2014; Mao et al. 2017; Arjovsky et al. 2017; Gulrajani et al. 2017)."""
    real_target: float = setting(1.0)
    """One-sided label smoothing: what D is asked for on real images, 0.9 say (Salimans et al. 2016)."""
    lambda_gp: float = setting(10.0)
    """Weight of the gradient penalty of `wgan-gp` (Gulrajani et al. 2017, Eq. 3)."""
    clip: float = setting(0.01)
    """Largest weight of the critic under `wgan`, clipped after each of its moves (Arjovsky et al. 2017, Alg. 1)."""
    optimiser: Literal["adam", "rmsprop"] = setting("adam")
    """How players move; `wgan` asks for rmsprop at a learning rate of 5e-5 (Arjovsky et al. 2017, sec. 4.3)."""
    beta1: float = setting(0.5)
    """Adam beta 1."""
    beta2: float = setting(0.999)
    """Adam beta 2."""

    def __post_init__(self) -> None:
        check_choice(self, "adversarial", tuple(ADVERSARIAL))
        adversarial(self.adversarial, self.real_target)
        check_at_least(self, 0, "lambda_gp")
        check_positive(self, "clip")
        check_choice(self, "optimiser", ("adam", "rmsprop"))
        check_between(self, 0, 1, "beta1", "beta2")

    def move(self, lr: float, weight_decay: float = 0.0) -> Optimiser:
        """A player's optimiser at this learning rate."""
        return Optimiser(lr, (self.beta1, self.beta2), weight_decay, self.optimiser)


class Game:
    """The terms of a configuration. Maps of several scales count as the sum of the scales."""

    def __init__(self, config: GameConfig) -> None:
        self.config = config
        self.terms = adversarial(config.adversarial, config.real_target)
        self.judged: dict[str, list[Tensor]] = {}

    def real(self, maps: Maps) -> Tensor:
        """What D minimises on real images."""
        self._note("real", maps)
        return _over_scales(self.terms.real, maps)

    def fake(self, maps: Maps) -> Tensor:
        """What D minimises on fakes."""
        self._note("fake", maps)
        return _over_scales(self.terms.fake, maps)

    def _note(self, kind: Literal["real", "fake"], maps: Maps) -> None:
        border, scales = self.terms.border, [maps] if isinstance(maps, Tensor) else maps
        for logits in scales:
            found = logits.detach() if border is None else (logits.detach() > border) == (kind == "real")
            self.judged.setdefault(kind, []).append(found.float().mean())

    def scores(self) -> dict[str, Tensor]:
        """How D judged since this was last asked: the share of its logits on the right side of the border,
        `right_real` of real images and `right_fake` of fakes. Of a critic, which has no border, `gap`: its mean on
        real images less that on fakes, the distance that it sees (Arjovsky et al. 2017, Eq. 2)."""
        means = {kind: torch.stack(found).mean() for kind, found in self.judged.items()}
        self.judged = {}
        if self.terms.border is None:
            return {"gap": means["real"] - means["fake"]} if len(means) == 2 else {}
        return {f"right_{kind}": share for kind, share in means.items()}

    def made(self, D: Callable[[Tensor], Maps], fake: Tensor, wrong: Tensor | None) -> Tensor:
        """What D minimises on what counts as made: fakes; matching-aware, half of it on true outputs beside a wrong
        input (Reed et al. 2016, Alg. 1)."""
        l_fake = self.fake(D(fake))
        return l_fake if wrong is None else (l_fake + self.fake(D(wrong))) / 2

    def generator(self, maps: Maps) -> Tensor:
        """What G minimises on its fakes."""
        return _over_scales(self.terms.generator, maps)

    def alpha(self, batch: Batch, name: str = "alpha") -> Tensor | None:
        """(n, 1, 1, 1) where between real and made each sample's penalty is taken; None where there is no penalty."""
        if self.config.adversarial != "wgan-gp":
            return None
        return batch.draw(name, 1, 1, 1, kind="uniform")

    def penalty(self, critic: Callable[[Tensor], Maps], x: Tensor, fake: Tensor, alpha: Tensor | None) -> Tensor:
        """The gradient penalty, with the logits of all positions and scales summed; 0 where there is none."""
        if alpha is None:
            return torch.zeros((), device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        return gradient_penalty(lambda x_hat: _summed(critic(x_hat)), x, fake, alpha)

    def after_move(self, *critics: nn.Module) -> Callable[[Tensor], None] | None:
        """What follows a move of these critics: under `wgan`, their weights are clipped, unless it was suppressed."""
        if self.config.adversarial != "wgan":
            return None
        largest = self.config.clip

        @torch.no_grad()
        def clip(suppressed: Tensor) -> None:
            for p in (p for critic in critics for p in critic.parameters()):
                p.copy_(torch.where(suppressed > 0, p, p.clamp(-largest, largest)))

        return clip


def _over_scales(term: Callable[[Tensor], Tensor], maps: Maps) -> Tensor:
    return term(maps) if isinstance(maps, Tensor) else torch.stack([term(one) for one in maps]).sum()


def _summed(maps: Maps) -> Tensor:
    """(B,) logits summed over positions and scales."""
    scales = [maps] if isinstance(maps, Tensor) else maps
    return torch.stack([one.flatten(1).sum(dim=1) for one in scales]).sum(dim=0)


def check_critic_norm(config: GameConfig, norm: str, flag: str = "--norm") -> None:
    """Refuses a gradient penalty through batch norm.

    Raises:
        ConfigError: the penalty is one per sample, and batch norm makes each sample's logit depend on the others.
    """
    if config.adversarial == "wgan-gp" and norm == "batch":
        raise ConfigError(
            "--adversarial",
            f"wgan-gp with {flag} batch",
            "a discriminator without batch norm: the penalty is on each sample's own gradient, and batch norm mixes "
            "the samples (Gulrajani et al. 2017, sec. 4)",
            f"Give {flag} instance, or --adversarial wgan.",
        )
