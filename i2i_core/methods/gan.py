"""The first GAN: images of noise by linear layers and maxout (Goodfellow et al., NIPS 2014, arXiv:1406.2661).

x_BCHW images in [-1, 1]; z_BZ codes. Objective and update: methods/from_noise.py.
"""

from __future__ import annotations

import torch

from i2i_core.config.methods.gan import GANConfig
from i2i_core.methods.from_noise import FromNoise
from i2i_core.networks.init import init_uniform
from i2i_core.networks.mlp import GANDiscriminator, GANGenerator
from i2i_core.registry import implements
from i2i_core.sizes import sides

G_BOUND, D_BOUND = 0.05, 0.005
"""Largest first weights of the authors' program."""


@implements("gan")
class GAN(FromNoise[GANConfig]):
    """Train G: z -> x on images alone; D tells real images from made ones."""

    def __init__(self, config: GANConfig, generator: torch.Generator) -> None:
        k, shape = config, (config.channels, *sides(config.image_size))
        G = GANGenerator(k.z_dim, shape, k.g_units)
        D = GANDiscriminator(shape, k.d_units, k.pieces, k.input_dropout, k.dropout)
        init_uniform(G, generator, G_BOUND)
        init_uniform(D, generator, D_BOUND)
        super().__init__(config, G, D)
