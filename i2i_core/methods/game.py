"""Give every method the same choice of adversarial game: its terms, and how a critic is kept Lipschitz.

A method's section of the configuration begins with `GameConfig`; its objectives take the terms from a `Game`, so that
`minimax`, `nonsaturating`, `lsgan`, `wgan`, `wgan-gp` and `hinge` work with every method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.methods.game import GameConfig
from i2i_core.losses.adversarial import adversarial
from i2i_core.losses.numeric import upcast
from i2i_core.losses.penalties import gradient_penalty
from i2i_core.methods.base import Optimiser

Maps = Tensor | Sequence[Tensor]
"""A discriminator's output for a batch: one map of logits, or one per scale."""
Kind = Literal["real", "fake"]


class Targets(nn.Module):
    """Draw the targets that D's loss has for each image: from an interval, and flipped now and then.

    It has no weights. It is a module so that the step runs it as it runs other layers that draw.
    """

    def __init__(self, config: GameConfig, most: float) -> None:
        super().__init__()
        self.config, self.most = config, most

    def forward(self, kind: Kind, logits: Tensor, uniform: Callable[[Tensor, int], Tensor] | None = None) -> Tensor:
        """Give the targets t (n,) of images of a kind: t ~ U(lower end, upper end), and with the probability
        `label_flip` that of the other kind.

        Args:
            logits: D's output, (n, ...).
            uniform: draws so many times n numbers from U(0, 1), (count, n).

        Raises:
            ValueError: there is nothing to draw by, outside a step.
        """
        if uniform is None:
            raise ValueError("targets that are drawn, outside a step")
        place_n, coin_n = uniform(logits, 2)
        other: Kind = "fake" if kind == "real" else "real"
        flipped = coin_n < self.config.label_flip
        return torch.where(flipped, self._between(other, place_n), self._between(kind, place_n)).clamp(max=self.most)

    def _between(self, kind: Kind, place_n: Tensor) -> Tensor:
        start, end = getattr(self.config, f"{kind}_target"), getattr(self.config, f"{kind}_target_to")
        return start + ((end or start) - start) * place_n


class Game:
    """Compute the adversarial terms that a configuration chooses. Maps of several scales are summed over scales.

    Attributes:
        terms: the terms.
        critics: the discriminators that play, which `after_move` has been told.
        targets: draws D's targets where they are no fixed numbers; else None.
    """

    def __init__(self, config: GameConfig) -> None:
        k = self.config = config
        self.terms = adversarial(k.adversarial, k.real_target)
        self.critics: tuple[nn.Module, ...] = ()
        drawn = k.real_target_to or k.fake_target or k.fake_target_to or k.label_flip
        self.targets = Targets(k, self.terms.most_target) if drawn else None

    def move(self, lr: float, weight_decay: float = 0.0) -> Optimiser:
        """Give a player's optimiser at this learning rate."""
        k = self.config
        return Optimiser(lr, (k.beta1, k.beta2), weight_decay, k.optimiser)

    def real(self, maps: Maps) -> Tensor:
        """Compute what D minimises on real images."""
        return self._told("real", maps, self.terms.real)

    def fake(self, maps: Maps) -> Tensor:
        """Compute what D minimises on fakes."""
        return self._told("fake", maps, self.terms.fake)

    def _told(self, kind: Kind, maps: Maps, term: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute a term of D. Where targets are drawn, all scales and positions of an image have the same one."""
        if self.targets is None:
            return _over_scales(term, maps)
        t_n = self.targets(kind, _scales(maps)[0])
        return _over_scales(lambda x: self.terms.towards(x, t_n.view(-1, *[1] * (x.dim() - 1))), maps)

    def scores(self, real: Sequence[Maps], fake: Sequence[Maps]) -> dict[str, Tensor]:
        """Compute how well discriminators tell real from fake, to be logged.

        `right_real` and `right_fake` are the shares of logits on the right side of the border, for real images and
        fakes. For critics, which have no border, `gap` is their mean on real images minus that on fakes: the distance
        that they estimate (Arjovsky et al. 2017, Eq. 2).

        Args:
            real: each discriminator's output for real images.
            fake: each discriminator's output for fakes.
        """
        found = {
            kind: torch.stack([self._score(kind, one) for maps in of for one in _scales(maps)]).mean()
            for kind, of in (("real", real), ("fake", fake))
        }
        if self.terms.border is None:
            return {"gap": found["real"] - found["fake"]}
        return {f"right_{kind}": share for kind, share in found.items()}

    def _score(self, kind: str, logits: Tensor) -> Tensor:
        border = self.terms.border
        found = logits.detach() if border is None else (logits.detach() > border) == (kind == "real")
        return found.float().mean()

    def made(self, fake: Maps, wrong: Maps | None) -> Tensor:
        """Compute what D minimises on fakes; matching-aware: half of it on true outputs beside a wrong input.

        Reed et al. 2016, Alg. 1.
        """
        l_fake = self.fake(fake)
        return l_fake if wrong is None else (l_fake + self.fake(wrong)) / 2

    def generator(self, maps: Maps) -> Tensor:
        """Compute what G minimises on its fakes."""
        return _over_scales(self.terms.generator, maps)

    def turned(self, maps: Maps) -> Tensor:
        """Compute what a generator minimises whose images D should take for real, and which aims at fake (BiGAN).

        It is `generator` with both ends exchanged: of logits mirrored at D's border.
        """
        border = self.terms.border or 0.0
        return _over_scales(lambda logits: self.terms.generator(2 * border - upcast(logits)), maps)

    def alpha(self, batch: Batch, name: str = "alpha") -> Tensor | None:
        """Draw the place between real and fake at which each sample's penalty is taken, (n, 1, 1, 1).

        None where there is no penalty.
        """
        if self.config.adversarial != "wgan-gp":
            return None
        return batch.draw(name, 1, 1, 1, kind="uniform")

    def penalty(self, critic: Callable[[Tensor], Maps], x: Tensor, fake: Tensor, alpha: Tensor | None) -> Tensor:
        """Compute the gradient penalty, with logits summed over positions and scales; 0 where alpha is None."""
        if alpha is None:
            return torch.zeros((), device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        return gradient_penalty(lambda x_hat: _summed(critic(x_hat)), x, fake, alpha)

    def after_move(self, *critics: nn.Module) -> Callable[[Tensor], None] | None:
        """Note that these discriminators play, and give the function that runs after each of their moves.

        Under `wgan` it clips their weights, unless the move was suppressed; None for other terms.
        """
        self.critics = (*self.critics, *critics)
        if self.config.adversarial != "wgan":
            return None
        largest = self.config.clip

        @torch.no_grad()
        def clip(suppressed: Tensor) -> None:
            for p in (p for critic in critics for p in critic.parameters()):
                p.copy_(torch.where(suppressed > 0, p, p.clamp(-largest, largest)))

        return clip


def _scales(maps: Maps) -> Sequence[Tensor]:
    return [maps] if isinstance(maps, Tensor) else maps


def _over_scales(term: Callable[[Tensor], Tensor], maps: Maps) -> Tensor:
    return term(maps) if isinstance(maps, Tensor) else torch.stack([term(one) for one in maps]).sum()


def _summed(maps: Maps) -> Tensor:
    """(B,) logits summed over positions and scales."""
    return torch.stack([one.flatten(1).sum(dim=1) for one in _scales(maps)]).sum(dim=0)
