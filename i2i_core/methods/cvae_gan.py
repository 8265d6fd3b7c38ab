"""cVAE-GAN, one half of BicycleGAN: b -> z -> b (Zhu et al., NIPS 2017, arXiv:1711.11586, sec. 3.2).

a_BCHW input, b_BCHW output, z_BZ the code of b.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.losses.kl import kl_normal
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import Objective, moves
from i2i_core.methods.multimodal import AUTHORS, COLOURS, SCRIPTS, TINY, Drawn, EncodingConfig, Multimodal
from i2i_core.registry import Preset, register
from i2i_core.settings import check_at_least, setting


@dataclass(frozen=True)
class CVAEGANConfig(EncodingConfig):
    """cVAE-GAN's own hyper-parameters."""

    lambda_l1: float = setting(10.0)
    """Weight of the L1 term (Eq. 7, lambda)."""
    lambda_kl: float = setting(0.01)
    """Weight of the codes' distance from N(0, 1), a sum over code and batch (Eq. 7, lambda_KL)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "lambda_l1", "lambda_kl")


PAPER = Preset(
    """The article: 256 px, least squares, lambda 10, lambda_KL 0.01, |z| = 8 at every layer of G.

    Data: edges2shoes, facades, `shard.py --layout ab`. Command: `train.py --method cvae_gan --preset paper --data URI`.
    Expected: diverse outputs from encoded codes, less realistic ones from drawn codes (article, sec. 5); not measured
    here.""",
    {**AUTHORS, "training.lr_schedule": "constant"},
)
REFERENCE = Preset(
    """As the authors' program trains: the learning rate is kept for half of the epochs and falls to 0; the KL term is a
    sum over the batch as well; G has dropout (see `bicyclegan`). Data and command as for `paper`.""",
    SCRIPTS,
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs: 32 px, 16 channels, batch 8, lambda_KL by that smaller (it
    weighs a sum over the batch). Command: `make demo
    METHOD=cvae_gan`. Score: docs/methods.md, which is measured.""",
    {**TINY, "hyper.e_base": 16, "hyper.e_blocks": 2, "hyper.lambda_kl": 0.00125},
    COLOURS,
)


@dataclass(frozen=True)
class Encoded(Drawn):
    """With the code that b was given."""

    mean: Tensor
    log_variance: Tensor
    size: int
    """B, the global batch."""


@register("cvae_gan", CVAEGANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
class CVAEGAN(Multimodal[CVAEGANConfig]):
    """E reads the code off b, and G makes b again from a and the code."""

    encodes = True

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
