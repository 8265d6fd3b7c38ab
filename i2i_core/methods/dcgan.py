"""DCGAN: images of noise by convolutions (Radford et al., ICLR 2016, arXiv:1511.06434), and as a critic WGAN (Arjovsky
et al., ICML 2017, arXiv:1701.07875) and WGAN-GP (Gulrajani et al., NIPS 2017, arXiv:1704.00028), which are presets.

x_BCHW images in [-1, 1]; z_BZ codes. Objective and update: methods/from_noise.py.
"""

from __future__ import annotations

import torch
from torch import nn

from i2i_core.config.methods.dcgan import DCGANConfig
from i2i_core.methods.from_noise import FromNoise
from i2i_core.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from i2i_core.networks.init import init_default, init_normal
from i2i_core.networks.mlp import MLPDiscriminator, MLPGenerator
from i2i_core.registry import implements
from i2i_core.sizes import sides


@implements("dcgan")
class DCGAN(FromNoise[DCGANConfig]):
    """Train G: z -> x on images alone; D, or a critic, tells real images from made ones."""

    def __init__(self, config: DCGANConfig, generator: torch.Generator) -> None:
        networks = generator_of(config), discriminator_of(config)
        for network, kind in zip(networks, (config.generator, config.discriminator), strict=True):
            (init_normal if kind == "dcgan" else init_default)(network, generator)
        super().__init__(config, *networks)


def generator_of(k: DCGANConfig) -> nn.Module:
    """Build G."""
    if k.generator == "mlp":
        return MLPGenerator(k.z_dim, (k.channels, *sides(k.image_size)))
    return DCGANGenerator(k.image_size, k.channels, k.z_dim, k.g_base, k.kernel, k.g_norm, k.biases)


def discriminator_of(k: DCGANConfig) -> nn.Module:
    """Build D."""
    if k.discriminator == "mlp":
        return MLPDiscriminator((k.channels, *sides(k.image_size)))
    return DCGANDiscriminator(k.image_size, k.channels, k.d_base, k.kernel, k.d_norm, k.biases)
