"""BicycleGAN: one input, many outputs (Zhu et al., NIPS 2017, arXiv:1711.11586).

a_BCHW input, b_BCHW output, z_BZ a code. Two batches make an update: the first is encoded (b -> z -> b), and its
inputs are also given drawn codes (z -> b -> z); the second brings the true outputs that D2 compares those with. The
authors' program cuts one batch in two for it, so that a batch of 1 here is a batch of 2 there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import functional_call

from i2i_core.batch import Batch
from i2i_core.config.methods.bicyclegan import BicycleGANConfig
from i2i_core.losses.kl import kl_normal
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import Objective, moves
from i2i_core.methods.controls import Code
from i2i_core.methods.multimodal import Drawn, Multimodal
from i2i_core.registry import implements


@dataclass(frozen=True)
class Both(Drawn):
    """Hold both batches of an update: of the first also the code of b and the fake of a drawn code.

    `fake` is G(a, E(b)); `other_a` is the second batch's input, for D.
    """

    mean: Tensor
    log_variance: Tensor
    z: Tensor
    fake_random: Tensor
    """G(a, z)."""
    a_random: Tensor
    b_random: Tensor
    size: int
    """B, the size of the global batch."""


@implements("bicyclegan")
class BicycleGAN(Multimodal[BicycleGANConfig]):
    """Train cVAE-GAN and cLR-GAN together, with one G and one E.

    D judges images made from encoded codes, D2 images made from drawn ones.
    """

    controls: ClassVar = {"z": Code(encoded=True)}

    def __init__(self, config: BicycleGANConfig, generator: torch.Generator) -> None:
        super().__init__(config, generator, discriminators=("D", "D2"))

    def draw(self, batches: Iterator[Batch]) -> Both:
        """Take two batches; of the first, the code drawn from E(b) and another, z ~ N(0, 1)."""
        batch, other = next(batches), next(batches)
        a, b, z = batch["a"], batch["b"], batch.draw("z", self.config.z_dim)
        mean, log_variance, z_encoded = self.code_of(b, batch.draw("eps", self.config.z_dim))
        fake, fake_random = self.networks["G"](a, z_encoded), self.networks["G"](a, z)
        other_a = other["a"] if self.config.matching_aware else None
        return Both(
            a, b, fake, other_a, self.game.alpha(batch),
            mean, log_variance, z, fake_random, other["a"], other["b"], batch.size,
        )  # fmt: skip

    @moves("generators")
    def generators_loss(self, drawn: Both) -> Objective:
        """Eq. 10: L_GAN^VAE + lambda L_1^VAE + L_GAN + lambda_latent L_1^latent + lambda_KL L_KL.

        The latent regression compares the mean of E with z (no sample) and passes through E without moving it; the
        KL term is summed over the batch (authors' code).
        """
        k = self.config
        l_gan_vae = self.game.generator(self.networks["D"](self.seen(drawn.a, drawn.fake)))
        l_gan = self.game.generator(self.networks["D2"](self.seen(drawn.a, drawn.fake_random)))
        l_1_vae = l1(drawn.fake, drawn.b)
        l_1_latent = l1(self.mean_through(drawn.fake_random), drawn.z)
        l_kl = drawn.size * kl_normal(drawn.mean, drawn.log_variance)
        loss = l_gan_vae + k.lambda_l1 * l_1_vae + l_gan + k.lambda_latent * l_1_latent + k.lambda_kl * l_kl
        return loss, {"gan_vae": l_gan_vae, "l1": l_1_vae, "gan": l_gan, "latent": l_1_latent, "kl": l_kl}

    def mean_through(self, b: Tensor) -> Tensor:
        """Give the mean of E(b), whose gradient reaches b and not E."""
        E = self.networks["E"]
        held = {name: parameter.detach() for name, parameter in E.named_parameters()}
        mean, _ = functional_call(E, held, (b,))
        return mean

    @moves("discriminators")
    def discriminators_loss(self, drawn: Both) -> Objective:
        """-L_GAN^VAE of D and -L_GAN of D2, not halved (authors' code)."""
        D, D2, wrong_a = self.networks["D"], self.networks["D2"], drawn.a if self.config.matching_aware else None
        one = self.judged("D", drawn.a, drawn.b, drawn.a, drawn.fake, drawn.other_a)
        two = self.judged("D2", drawn.a_random, drawn.b_random, drawn.a, drawn.fake_random, wrong_a)
        l_real, l_fake = self.game.real(one.real), self.game.made(one.fake, one.wrong)
        l_real_2, l_fake_2 = self.game.real(two.real), self.game.made(two.fake, two.wrong)
        gp = self.game.penalty(D, *one.between, drawn.alpha) + self.game.penalty(D2, *two.between, drawn.alpha)
        loss = l_real + l_fake + l_real_2 + l_fake_2 + self.config.lambda_gp * gp
        terms = {"D_real": l_real, "D_fake": l_fake, "D2_real": l_real_2, "D2_fake": l_fake_2}
        terms |= {} if drawn.alpha is None else {"gp": gp}
        return loss, terms, self.game.scores([one.real, two.real], [*one.made, *two.made])
