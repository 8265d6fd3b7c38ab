"""Share what CycleGAN and the systems that its tables compare it with have in common (Zhu et al., ICCV 2017,
arXiv:1703.10593, sec. 5.1.2): data, networks, game and history.

a_BCHW images of domain A, b_BCHW images of domain B, both in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.methods.unpaired import ComparedConfig, UnpairedConfig
from i2i_core.fields import Schema
from i2i_core.methods.base import (
    Column,
    Direction,
    Method,
    Move,
    Needs,
    Objective,
    Player,
    Progress,
    domain_channels,
    moves,
)
from i2i_core.methods.game import Game
from i2i_core.methods.history import FakePool
from i2i_core.networks.init import init_normal
from i2i_core.networks.patchgan import patch_discriminator
from i2i_core.networks.resnet import ResNetGenerator

Config = TypeVar("Config", bound=UnpairedConfig)
Compared = TypeVar("Compared", bound=ComparedConfig)


class Unpaired(Method[Config]):
    """Share what all the systems have: two domains without pairs, and CycleGAN's networks."""

    needs = Needs({"image": "image"}, domains=2)
    inputs, outputs = {"a": "image"}, {"b": "image"}
    any_size = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.networks = nn.ModuleDict()
        self.game = Game(config)

    @staticmethod
    def fit(config: Any, schema: Schema, direction: Direction) -> Any:
        """Take the channels of each domain from the data."""
        a, b = domain_channels(schema, direction)
        return replace(config, in_channels=a, out_channels=b)

    def channels(self) -> Mapping[str, int]:
        """Give the channels of both domains."""
        return {"a": self.config.in_channels, "b": self.config.out_channels}

    def resnet(self, inputs: int, outputs: int) -> nn.Module:
        """Make a generator between images of these channels."""
        k = self.config
        return ResNetGenerator(inputs, outputs, k.g_base, k.g_blocks, k.norm, k.upsample)

    def judge(self, channels: int) -> nn.Module:
        """Make a discriminator of images of these channels."""
        k = self.config
        return patch_discriminator(k.receptive_field, channels, k.d_base, k.norm)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights of all networks, in their order."""
        for network in self.networks.values():
            init_normal(network, generator)

    def discriminator_player(self, *names: str) -> Player:
        """Give the player that moves these discriminators."""
        clip = self.game.after_move(*(self.networks[name] for name in names))
        return Player(names, self.game.move(self.config.lr), clip)


class OneWay(Unpaired[Compared]):
    """Share what SimGAN as a translator and Feature loss + GAN have: G: a -> b against D, tied to its input by a term
    of their own (`generator_loss`)."""

    generators = ("G",)

    def __init__(self, config: Compared, generator: torch.Generator) -> None:
        super().__init__(config)
        k = config
        self.networks["G"] = self.resnet(k.in_channels, k.out_channels)
        self.networks["D"] = self.judge(k.out_channels)
        self.players = {"D": self.discriminator_player("D"), "G": Player(("G",), self.game.move(k.lr))}
        self.pools = {"fake": FakePool("fake", k.pool_size)}
        self.initialise(generator)

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Move D on a batch and on pooled fakes, n_critic times with a fresh batch each; then move G on the last."""
        for _ in range(self.config.n_critic):
            batch = next(batches)
            fake = self.networks["G"](batch["a"])
            pooled = self.pools["fake"](fake, batch)
            yield "D", *self.discriminator_loss(batch["b"], pooled, self.game.alpha(batch))
        yield "G", *self.generator_loss(batch["a"], fake)

    def generator_loss(self, a: Tensor, fake: Tensor) -> Objective:
        """Compute the system's objective for G; marked with the player it moves."""
        raise TypeError("a system defines generator_loss")

    @moves("D")
    def discriminator_loss(self, b: Tensor, fake: Tensor, alpha: Tensor | None) -> Objective:
        """-L_GAN(G, D), halved unless `halve_d` is off."""
        return told_apart(self, b, fake, alpha)

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        """Give G."""
        return self.networks["G"]

    def preview(self, batch: Batch) -> dict[str, Column]:
        """Show inputs, outputs, and some real images of the target domain."""
        return {"source a": "a", "translation G(a)": self.image_from(batch["a"]), "real b": "b"}


def told_apart(method: Unpaired[Any], real: Tensor, fake: Tensor, alpha: Tensor | None) -> Objective:
    """Compute what D pays for telling one kind of images from another, halved unless `halve_d` is off."""
    k: ComparedConfig = method.config
    right, made = method.each("D", real, fake)
    l_real, l_fake = method.game.real(right), method.game.fake(made)
    gp = method.game.penalty(method.networks["D"], real, fake, alpha)
    loss = (l_real + l_fake + k.lambda_gp * gp) / (2 if k.halve_d else 1)
    terms = {"real": l_real, "fake": l_fake} | ({} if alpha is None else {"gp": gp})
    return loss, terms, method.game.scores([right], [made])
