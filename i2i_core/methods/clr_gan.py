"""cLR-GAN, the other half of BicycleGAN: z -> b -> z (Zhu et al., NIPS 2017, arXiv:1711.11586, sec. 3.3).

a_BCHW input, b_BCHW output, z_BZ the code that G was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.config.methods.clr_gan import CLRGANConfig
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import Objective, moves
from i2i_core.methods.controls import Code
from i2i_core.methods.multimodal import Drawn, Multimodal
from i2i_core.registry import implements


@dataclass(frozen=True)
class Coded(Drawn):
    """Hold a batch with the code that G's images were made of."""

    z: Tensor


@implements("clr_gan")
class CLRGAN(Multimodal[CLRGANConfig]):
    """Train G to make an output from a and z so that E finds z again in it."""

    controls: ClassVar = {"z": Code(encoded=True)}
    variance = False

    def draw(self, batches: Iterator[Batch]) -> Coded:
        """Take a batch, draw its code z ~ N(0, 1), and make G(a, z)."""
        batch = next(batches)
        a, b, z = batch["a"], batch["b"], batch.draw("z", self.config.z_dim)
        fake = self.networks["G"](a, z)
        other_a = next(batches)["a"] if self.config.matching_aware else None
        return Coded(a, b, fake, other_a, self.game.alpha(batch), z)

    @moves("generators")
    def generators_loss(self, drawn: Coded) -> Objective:
        """Eq. 9: L_GAN + lambda_latent L_1^latent, on the mean of E (a point estimate, no sample); G and E move."""
        l_gan = self.game.generator(self.networks["D"](self.seen(drawn.a, drawn.fake)))
        mean, _ = self.networks["E"](drawn.fake)
        l_1_latent = l1(mean, drawn.z)
        loss = l_gan + self.config.lambda_latent * l_1_latent
        return loss, {"gan": l_gan, "latent": l_1_latent}
