"""Compute adversarial terms on logits: what D minimises on real and on fake images, and what G minimises on fakes.

D(x) below is the discriminator's output; where it must be a probability, D(x) = sigmoid(logit). Every term is
the mean over samples and positions of a logit tensor of any shape, (B, 1, h, w) or (B, 1). D's loss is
`real(...) + fake(...)`; a method that halves it, as pix2pix does, does so itself.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from i2i_core.losses.formulations import WITH_TARGET, is_target
from i2i_core.losses.numeric import upcast


@dataclasses.dataclass(frozen=True)
class Adversarial(ABC):
    """Define one formulation of the adversarial game: the losses of D and of G on logits.

    Args:
        real_target: target of D on real images; below 1 it is one-sided label smoothing (Salimans et al. 2016,
            sec. 3.4). Fakes keep the target 0, and G always aims at 1. Terms without a target ignore it.
    """

    real_target: float = 1.0
    border: ClassVar[float | None] = 0.0
    """Logit above which D takes an image for real; None for a critic, which only compares."""
    most_target: ClassVar[float] = 1.0
    """The largest target that has a meaning: that of a cross entropy is a probability."""

    @abstractmethod
    def real(self, logits: Tensor) -> Tensor:
        """Compute what D minimises on real images."""

    @abstractmethod
    def fake(self, logits: Tensor) -> Tensor:
        """Compute what D minimises on fakes (detached ones)."""

    @abstractmethod
    def generator(self, logits: Tensor) -> Tensor:
        """Compute what G minimises on its fakes."""

    def towards(self, logits: Tensor, target: Tensor | float) -> Tensor:
        """Compute what D minimises on images that it should give a target: 1 for real ones, 0 for made ones.

        Args:
            target: a number, or one that broadcasts to the logits.

        Raises:
            ValueError: these terms have no target.
        """
        raise ValueError(f"a target for {type(self).__name__}, which has none")


class NonSaturating(Adversarial):
    """Compute the terms of Goodfellow et al. 2014: D by Eq. 1, G by the log D trick at the end of sec. 3."""

    def towards(self, logits: Tensor, target: Tensor | float) -> Tensor:
        """-E[t log D(x) + (1 - t) log(1 - D(x))], t the target."""
        logits, t = upcast(logits), target
        return -(t * logsigmoid(logits) + (1 - t) * logsigmoid(-logits)).mean()

    def real(self, logits: Tensor) -> Tensor:
        """-E[t log D(x) + (1 - t) log(1 - D(x))], t the real target."""
        return self.towards(logits, self.real_target)

    def fake(self, logits: Tensor) -> Tensor:
        """-E[log(1 - D(G(z)))]."""
        return -logsigmoid(-upcast(logits)).mean()

    def generator(self, logits: Tensor) -> Tensor:
        """-E[log D(G(z))]."""
        return -logsigmoid(upcast(logits)).mean()


class Minimax(NonSaturating):
    """Compute Goodfellow et al. 2014, Eq. 1, for both players. G's gradient vanishes where D is sure of its fakes."""

    def generator(self, logits: Tensor) -> Tensor:
        """E[log(1 - D(G(z)))]."""
        return logsigmoid(-upcast(logits)).mean()


class LSGAN(Adversarial):
    """Compute Mao et al. 2017, Eq. 2 with a = 0, b = c = 1 (Eq. 9), without its factor 1/2, as CycleGAN writes it."""

    border, most_target = 0.5, math.inf

    def towards(self, logits: Tensor, target: Tensor | float) -> Tensor:
        """E[(D(x) - t)^2], t the target."""
        return (upcast(logits) - target).square().mean()

    def real(self, logits: Tensor) -> Tensor:
        """E[(D(x) - t)^2], t the real target."""
        return self.towards(logits, self.real_target)

    def fake(self, logits: Tensor) -> Tensor:
        """E[D(G(z))^2]."""
        return upcast(logits).square().mean()

    def generator(self, logits: Tensor) -> Tensor:
        """E[(D(G(z)) - 1)^2]."""
        return (upcast(logits) - 1).square().mean()


class WGAN(Adversarial):
    """Compute the terms of Arjovsky et al. 2017, Eq. 2 and Alg. 1.

    The method keeps the critic Lipschitz: by clipped weights, or by `penalties.gradient_penalty` (Gulrajani et al.
    2017, Eq. 3).
    """

    border = None

    def real(self, logits: Tensor) -> Tensor:
        """-E[D(x)]."""
        return -upcast(logits).mean()

    def fake(self, logits: Tensor) -> Tensor:
        """E[D(G(z))]."""
        return upcast(logits).mean()

    def generator(self, logits: Tensor) -> Tensor:
        """-E[D(G(z))]."""
        return -upcast(logits).mean()


class Hinge(Adversarial):
    """Compute the hinge terms of Lim & Ye 2017; Miyato et al. 2018, Eq. 16 and 17."""

    def real(self, logits: Tensor) -> Tensor:
        """E[max(0, 1 - D(x))]."""
        return (1 - upcast(logits)).relu().mean()

    def fake(self, logits: Tensor) -> Tensor:
        """E[max(0, 1 + D(G(z)))]."""
        return (1 + upcast(logits)).relu().mean()

    def generator(self, logits: Tensor) -> Tensor:
        """-E[D(G(z))]."""
        return -upcast(logits).mean()


ADVERSARIAL: dict[str, Adversarial] = {
    "minimax": Minimax(),
    "nonsaturating": NonSaturating(),
    "lsgan": LSGAN(),
    "wgan": WGAN(),
    "wgan-gp": WGAN(),  # the same terms; the method adds the penalty
    "hinge": Hinge(),
}


def adversarial(name: str, real_target: float = 1.0) -> Adversarial:
    """Give the named terms, with one-sided label smoothing if real_target < 1.

    Raises:
        ValueError: the name is unknown, the target is not in (0.5, 1], or these terms have no target to smooth.
    """
    if name not in ADVERSARIAL:
        raise ValueError(f"adversarial terms {name!r}, not one of {', '.join(ADVERSARIAL)}")
    if not is_target(real_target):
        raise ValueError(f"a real_target of {real_target!r}, not above 0.5 and up to 1")
    if real_target != 1.0 and name not in WITH_TARGET:
        raise ValueError(f"a real_target of {real_target!r} with {name}, which has no target for real images")
    return dataclasses.replace(ADVERSARIAL[name], real_target=real_target)
