"""Conditional GAN: images of noise and labels by linear layers and maxout (Mirza & Osindero 2014, arXiv:1411.1784).

x_BCHW images in [-1, 1]; y_BA labels, 0 or 1; z_BZ codes. Objective and update: methods/from_noise.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.config.methods.cgan import CGANConfig
from i2i_core.errors import DataError
from i2i_core.fields import Schema
from i2i_core.labels import LabelSet
from i2i_core.methods.base import Direction, Needs
from i2i_core.methods.controls import Code, Labels
from i2i_core.methods.from_noise import FromNoise
from i2i_core.methods.gan import D_BOUND, G_BOUND
from i2i_core.networks.init import init_uniform
from i2i_core.networks.mlp import ConditionalDiscriminator, ConditionalGenerator
from i2i_core.registry import implements
from i2i_core.sizes import sides


@implements("cgan")
class CGAN(FromNoise[CGANConfig]):
    """Train G: (y, z) -> x on labelled images; D is told the label too, and tells real images from made ones."""

    needs = Needs({"image": "image"}, attributes=True)
    controls: ClassVar = {"target": Labels(), "z": Code()}

    def __init__(self, config: CGANConfig, generator: torch.Generator) -> None:
        k, shape = config, (config.channels, *sides(config.image_size))
        G = ConditionalGenerator(k.c_dim, k.z_dim, shape, k.g_units, k.dropout)
        D = ConditionalDiscriminator(k.c_dim, shape, k.d_units, k.dropout)
        init_uniform(G, generator, G_BOUND)
        init_uniform(D, generator, D_BOUND)
        super().__init__(config, G, D)

    @staticmethod
    def fit(config: CGANConfig, schema: Schema, direction: Direction) -> CGANConfig:
        """Take channels and labels from the data.

        Raises:
            DataError: there is one class alone.
        """
        if schema.exclusive and len(schema.attributes) < 2:
            fix = "Shard a folder for each class (--layout classes), two at least; or train dcgan, which takes none."
            raise DataError("--data", f"one class, {schema.attributes[0]}", "two classes or more", fix)
        return replace(
            config,
            channels=schema.fields["image"].channels,
            attributes=tuple(schema.attributes),
            c_dim=len(schema.attributes),
            labels="classes" if schema.exclusive else "attributes",
        )

    @property
    def label_sets(self) -> tuple[LabelSet, ...]:
        """Give the labels of the data."""
        return (self.config.label_set,)

    def told(self, batch: Batch) -> tuple[Tensor, ...]:
        """Give the labels y of the batch's own images, for real images and fakes alike (sec. 3.2)."""
        return (self.own_labels(batch),)
