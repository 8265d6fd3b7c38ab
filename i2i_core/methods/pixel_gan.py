"""Pixel loss + GAN: SimGAN's objective between two domains of images, as in the tables of CycleGAN, which calls it
SimGAN (Zhu et al., ICCV 2017, arXiv:1703.10593, sec. 5.1.2; Shrivastava et al., CVPR 2017, arXiv:1612.07828, Eq. 1).

a_BCHW images of domain A, b_BCHW images of domain B, both in [-1, 1]. SimGAN proper is simgan.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from i2i_core.config.methods.pixel_gan import PixelGANConfig
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import Objective, moves
from i2i_core.methods.unpaired import OneWay
from i2i_core.registry import implements


@implements("pixel_gan")
class PixelLossGAN(OneWay[PixelGANConfig]):
    """Train G to make images of B that differ little from its inputs, pixel by pixel."""

    @moves("G")
    def generator_loss(self, a: Tensor, fake: Tensor) -> Objective:
        """L_GAN(G) + lambda ||G(a) - a||_1 (CycleGAN, sec. 5.1.2)."""
        k = self.config
        l_gan = self.game.generator(self.networks["D"](fake))
        l_l1 = l1(fake, a) if k.lambda_l1 else torch.zeros_like(l_gan)
        return l_gan + k.lambda_l1 * l_l1, {"gan": l_gan} | ({"l1": l_l1} if k.lambda_l1 else {})
