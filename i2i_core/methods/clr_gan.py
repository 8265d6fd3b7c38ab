"""cLR-GAN, the other half of BicycleGAN: z -> b -> z (Zhu et al., NIPS 2017, arXiv:1711.11586, sec. 3.3).

a_BCHW input, b_BCHW output, z_BZ the code that G was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import Objective, moves
from i2i_core.methods.multimodal import AUTHORS, COLOURS, SCRIPTS, TINY, Drawn, EncodingConfig, Multimodal
from i2i_core.registry import Preset, register
from i2i_core.settings import check_at_least, setting


@dataclass(frozen=True)
class CLRGANConfig(EncodingConfig):
    """cLR-GAN's own hyper-parameters."""

    lambda_latent: float = setting(0.5)
    """Weight of the latent regression (Eq. 9, lambda_latent)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "lambda_latent")


PAPER = Preset(
    """The article: 256 px, least squares, lambda_latent 0.5, |z| = 8 at every layer of G.

    Data: edges2shoes, facades, `shard.py --layout ab`. Command: `train.py --method clr_gan --preset paper --data URI`.
    Expected: realistic outputs of little diversity (article, sec. 5); not measured here.""",
    {**AUTHORS, "training.lr_schedule": "constant"},
)
REFERENCE = Preset(
    """As the authors' program trains: the learning rate is kept for half of the epochs and falls to 0, and G has
    dropout (see `bicyclegan`). E learns from the latent regression, since nothing else here would teach it. Data and
    command as for `paper`.""",
    SCRIPTS,
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs: 32 px, 16 channels, batch 8, discriminators that see the input
    (no term here compares with b). Command: `make demo METHOD=clr_gan`. Score: docs/methods.md, which is measured.""",
    {**TINY, "hyper.e_base": 16, "hyper.e_blocks": 2, "hyper.conditional_d": True},
    COLOURS,
)


@dataclass(frozen=True)
class Coded(Drawn):
    """With the code that G was given."""

    z: Tensor


@register("clr_gan", CLRGANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
class CLRGAN(Multimodal[CLRGANConfig]):
    """G makes an output from a and z, and E finds z again in it."""

    encodes = True
    variance = False

    def draw(self, batches: Iterator[Batch]) -> Coded:
        """One batch, and its code z ~ N(0, 1)."""
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
