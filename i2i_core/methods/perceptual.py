"""The perceptual term of a method: a frozen network that an objective looks through, and the distance between what it
sees. A method's section of the configuration begins with `PerceptualConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i_core.config.methods.perceptual import AnyConfig, PerceptualConfig, located
from i2i_core.errors import ConfigError
from i2i_core.losses.perceptual import Distance, perceptual
from i2i_core.settings import flag

if TYPE_CHECKING:
    from i2i_core.pretrained.features import Features

FLAG = flag("perceptual_weights")
Layers = Mapping[str, Mapping[str, float]]
"""For each network, the weights of the layers that are compared, by name."""


class Perceptual:
    """Compute the perceptual term of a configuration: the distance of two images in a frozen network's features.

    Args:
        layers, distance, normalised: layers that are compared, and how (`losses.perceptual`).
        side: pixels of the square that images are resized to before, bilinear; 0: as they are.

    Attributes:
        features: the network; None until `read` has read it.
    """

    def __init__(
        self,
        config: PerceptualConfig,
        layers: Layers,
        *,
        distance: Distance = "l1",
        normalised: bool = False,
        side: int = 0,
    ) -> None:
        self.config, self.layers = config, layers[config.perceptual]
        self.distance, self.normalised, self.side = distance, normalised, side
        self.features: Features | None = None

    def read(self, like: Tensor) -> None:
        """Read the network, where the term counts, to where a tensor is; in its precision, or float32 if that is more.

        Raises:
            ConfigError: its weights are not there, or not those that the run began with.
        """
        k = self.config
        if not k.lambda_perceptual:
            return
        features = _features(k, self.layers)
        if k.perceptual_sha256 not in ("", found := features.facts["sha256"]):
            fix = f"Name the file that the run began with: {FLAG} FILE."
            raise ConfigError(FLAG, f"weights of sha256 {found}", f"{k.perceptual_sha256}, as at launch", fix)
        self.features = features.to(like.device, torch.promote_types(like.dtype, torch.float32))

    def __call__(self, x_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """Compute the distance of images from their targets, which get no gradient; 0 where the term does not count."""
        if not self.config.lambda_perceptual:
            return torch.zeros((), device=x_BCHW.device)
        weights, how = [*self.layers.values()], self.distance
        return perceptual(self.seen, x_BCHW, target_BCHW, weights, distance=how, normalised=self.normalised)

    def seen(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Give the features of images, resized to `side`."""
        assert self.features is not None, "Method.attach comes before the first update"
        if self.side:
            x_BCHW = F.interpolate(x_BCHW.to(self.features.weight), (self.side, self.side), mode="bilinear")
        return self.features(x_BCHW)


def with_checksum(config: AnyConfig, layers: Layers) -> AnyConfig:
    """Read the network once, where the term counts, and note the checksum of its weights.

    Raises:
        ConfigError: they are not there, or are something else.
    """
    if not config.lambda_perceptual:
        return replace(config, perceptual_sha256="")
    config = located(config)
    return replace(config, perceptual_sha256=_features(config, layers[config.perceptual]).facts["sha256"])


def _features(k: PerceptualConfig, layers: Mapping[str, float]) -> Features:
    from i2i_core.pretrained.features import read_features  # late: it reads files, which methods otherwise do not

    return read_features(k.perceptual, [*layers], k.perceptual_weights, k.perceptual_input)
