"""Declare the options of a perceptual term, for methods that have one beside the game; see methods/perceptual.py."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from i2i_core.config.methods.game import GameConfig
from i2i_core.settings import check_at_least, check_choice, flag, setting
from i2i_core.storage.paths import absolute

NETWORKS = ("vgg16", "vgg19", "efficientnet_lite0")
CONVENTIONS = ("imagenet", "caffe", "plain")


@dataclass(frozen=True)
class PerceptualConfig(GameConfig):
    """Choose the game, and a distance between images in the features of a trained network."""

    lambda_perceptual: float = setting(0.0)
    """Weight of the perceptual term, a distance between features of a network trained on ImageNet; 0 leaves it out and
    reads no network."""
    perceptual: Literal["vgg16", "vgg19", "efficientnet_lite0"] = setting("vgg16")
    """Network of the perceptual term. The weights of efficientnet_lite0 come as a package."""
    perceptual_input: Literal["imagenet", "caffe", "plain"] = setting("imagenet")
    """Form of the images that a VGG gets, which must be that of its training: imagenet for torchvision's weights; caffe
    (BGR from 0 to 255, minus means) for the VGG authors' weights; plain for values in [-1, 1]."""
    perceptual_weights: str = setting("", resume="free")
    """File of the VGG's weights, named as in torchvision. Without it, torchvision's weights are fetched once."""
    perceptual_sha256: str = setting("", derived=True)
    """Checksum of the weights in use."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "lambda_perceptual")
        check_choice(self, "perceptual", NETWORKS)
        check_choice(self, "perceptual_input", CONVENTIONS)


AnyConfig = TypeVar("AnyConfig", bound=PerceptualConfig)


def located(config: AnyConfig) -> AnyConfig:
    """Make the path of the weights absolute, since workers have folders of their own. Raise ConfigError as
    `absolute`."""
    name = "perceptual_weights"
    return replace(config, perceptual_weights=absolute(config.perceptual_weights, flag(name)))
