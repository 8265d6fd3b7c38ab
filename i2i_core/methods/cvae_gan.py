"""cVAE-GAN, one half of BicycleGAN: b -> z -> b (Zhu et al., NIPS 2017, arXiv:1711.11586, sec. 3.2).

a_BCHW input, b_BCHW output, z_BZ the code of b.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.config.methods.cvae_gan import CVAEGANConfig
from i2i_core.losses.kl import kl_normal
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import Objective, moves
from i2i_core.methods.controls import Code
from i2i_core.methods.multimodal import Drawn, Multimodal
from i2i_core.registry import implements


@dataclass(frozen=True)
class Encoded(Drawn):
    """Hold a batch with the code that E reads off b."""

    mean: Tensor
    log_variance: Tensor
    size: int
    """B, the size of the global batch."""


@implements("cvae_gan")
class CVAEGAN(Multimodal[CVAEGANConfig]):
    """Train E to read a code off b, and G to make b again from a and that code."""

    controls: ClassVar = {"z": Code(encoded=True)}

    def draw(self, batches: Iterator[Batch]) -> Encoded:
        """One batch, and the code drawn from E(b)."""
        batch = next(batches)
        a, b = batch["a"], batch["b"]
        mean, log_variance, z = self.code_of(b, batch.draw("eps", self.config.z_dim))
        fake = self.networks["G"](a, z)
        other_a = next(batches)["a"] if self.config.matching_aware else None
        return Encoded(a, b, fake, other_a, self.game.alpha(batch), mean, log_variance, batch.size)

    @moves("generators")
    def generators_loss(self, drawn: Encoded) -> Objective:
        """Eq. 7: L_GAN^VAE + lambda L_1^VAE + lambda_KL L_KL, the KL term summed over the batch (authors' code)."""
        k = self.config
        l_gan = self.game.generator(self.networks["D"](self.seen(drawn.a, drawn.fake)))
        l_1_image = l1(drawn.fake, drawn.b)
        l_kl = drawn.size * kl_normal(drawn.mean, drawn.log_variance)
        loss = l_gan + k.lambda_l1 * l_1_image + k.lambda_kl * l_kl
        return loss, {"gan": l_gan, "l1": l_1_image, "kl": l_kl}
