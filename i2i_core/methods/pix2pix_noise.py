"""pix2pix+noise, the baseline of BicycleGAN: z -> b (Zhu et al., NIPS 2017, arXiv:1711.11586, sec. 3.1).

a_BCHW input, b_BCHW output, z_BZ the code. The paper finds that G learns to ignore z.
"""

from __future__ import annotations

from collections.abc import Iterator

from i2i_core.batch import Batch
from i2i_core.config.methods.pix2pix_noise import Pix2PixNoiseConfig
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import Objective, moves
from i2i_core.methods.multimodal import Drawn, Multimodal
from i2i_core.registry import implements


@implements("pix2pix_noise")
class Pix2PixNoise(Multimodal[Pix2PixNoiseConfig]):
    """Train pix2pix with a drawn code: G(a, z) is to be close to b whatever z is."""

    def draw(self, batches: Iterator[Batch]) -> Drawn:
        """Take a batch, draw its code z ~ N(0, 1), and make G(a, z)."""
        batch = next(batches)
        a, b = batch["a"], batch["b"]
        fake = self.networks["G"](a, batch.draw("z", self.config.z_dim))
        other_a = next(batches)["a"] if self.config.matching_aware else None
        return Drawn(a, b, fake, other_a, self.game.alpha(batch))

    @moves("generators")
    def generators_loss(self, drawn: Drawn) -> Objective:
        """Eq. 3: L_GAN(G, D) + lambda L_1^image(G)."""
        l_gan = self.game.generator(self.networks["D"](self.seen(drawn.a, drawn.fake)))
        l_1_image = l1(drawn.fake, drawn.b)
        loss = l_gan + self.config.lambda_l1 * l_1_image
        return loss, {"gan": l_gan, "l1": l_1_image}
