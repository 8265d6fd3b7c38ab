"""Feature loss + GAN: SimGAN's objective in the features of a trained network, from the tables of CycleGAN (Zhu et al.,
ICCV 2017, arXiv:1703.10593, sec. 5.1.2).

a_BCHW images of domain A, b_BCHW images of domain B, both in [-1, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

from i2i_core.config.methods.feature_gan import FeatureGANConfig
from i2i_core.errors import ConfigError
from i2i_core.methods.base import Objective, moves
from i2i_core.methods.perceptual import FLAG, Layers, Perceptual, with_checksum
from i2i_core.methods.unpaired import OneWay
from i2i_core.registry import implements

LAYERS: Layers = {"vgg16": {"relu4_2": 1.0}, "vgg19": {"relu4_2": 1.0}, "efficientnet_lite0": {"block4": 1.0}}
"""Layers by which output and input are compared, at 1/8 of their sides."""


@implements("feature_gan")
class FeatureLossGAN(OneWay[FeatureGANConfig]):
    """Train G to make images of B that differ little from its inputs, as a trained network sees them."""

    def __init__(self, config: FeatureGANConfig, generator: torch.Generator) -> None:
        super().__init__(config, generator)
        self.perceptual = Perceptual(config, LAYERS, side=config.perceptual_size)

    @classmethod
    def with_files(cls, config: FeatureGANConfig) -> FeatureGANConfig:
        """Note the checksum of the perceptual network.

        Raises:
            ConfigError: there is no such file, or it is something else; or none is given for a VGG that is to see
                images as its authors' weights do, which are no file that is fetched.
        """
        k = config
        theirs = k.perceptual != "efficientnet_lite0" and k.perceptual_input == "caffe"
        if k.lambda_perceptual and theirs and not k.perceptual_weights:
            expected = f"a file of {k.perceptual} trained on such images, with torchvision's names"
            fix = (
                f"Give {FLAG} FILE; or --perceptual-input imagenet, for torchvision's own weights, which are fetched; "
                "or --perceptual efficientnet_lite0, whose weights come as a package."
            )
            raise ConfigError(FLAG, "none, with --perceptual-input caffe", expected, fix)
        return with_checksum(config, LAYERS)

    def attach(self) -> None:
        """Read the perceptual network, where it counts."""
        self.perceptual.read(next(self.parameters()))

    @moves("G")
    def generator_loss(self, a: Tensor, fake: Tensor) -> Objective:
        """L_GAN(G) + lambda ||phi(G(a)) - phi(a)||_1, a mean over features (CycleGAN, sec. 5.1.2)."""
        k = self.config
        l_gan = self.game.generator(self.networks["D"](fake))
        l_features = self.perceptual(fake, a)
        loss = l_gan + k.lambda_perceptual * l_features
        return loss, {"gan": l_gan} | ({"features": l_features} if k.lambda_perceptual else {})
