"""Copy this file for a new method: pairs, one generator, one discriminator (see docs/adding_a_method.md).

a_BCHW input and b_BCHW true output, both in [-1, 1]. Say here which paper this is, and what its symbols are.
This one is pix2pix's objective with CycleGAN's generator; it is complete and trains. What can be set, and the
presets, are in config/methods/template.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.methods.template import TemplateConfig
from i2i_core.fields import Schema
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import (
    Column,
    Direction,
    Method,
    Move,
    Needs,
    Objective,
    Player,
    Progress,
    moves,
    paired_channels,
)
from i2i_core.methods.game import Game
from i2i_core.networks.init import init_normal
from i2i_core.networks.patchgan import PatchGAN
from i2i_core.networks.resnet import ResNetGenerator
from i2i_core.registry import implements


# The name is the one that config/methods/template.py registers.
@implements("template")
class Template(Method[TemplateConfig]):
    """Train G: a -> b on pairs; D tells true outputs from made ones."""

    needs = Needs({"a": "image", "b": "image"})  # the fields of a sample, by their roles
    inputs, outputs = {"a": "image"}, {"b": "image"}  # what images are made from; what they should look like
    generators = ("G",)  # what EMA follows and `translate` uses
    any_size = True  # the networks take images of any size that the configuration does not refuse

    def __init__(self, config: TemplateConfig, generator: torch.Generator) -> None:
        """Build the networks, named as in the paper, and the players: which networks one optimiser updates."""
        super().__init__(config)
        k = config
        self.networks = nn.ModuleDict(
            {
                "G": ResNetGenerator(k.in_channels, k.out_channels, k.base, k.blocks),
                "D": PatchGAN(k.out_channels, k.base, k.d_layers, "instance"),
            }
        )
        for network in self.networks.values():
            init_normal(network, generator)  # draws from `generator` alone: a seed gives the weights
        self.game = Game(k)
        self.players = {
            "G": Player(("G",), self.game.move(k.lr)),
            "D": Player(("D",), self.game.move(k.lr), self.game.after_move(self.networks["D"])),
        }

    @staticmethod
    def fit(config: TemplateConfig, schema: Schema, direction: Direction) -> TemplateConfig:
        """Fill in what only the data knows."""
        a, b = paired_channels(schema, direction)
        return replace(config, in_channels=a, out_channels=b)

    def channels(self) -> Mapping[str, int]:
        """Give the channels of every image that goes in or comes out."""
        return {"a": self.config.in_channels, "b": self.config.out_channels}

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Make one update of the paper's algorithm.

        Each yield is a move: the player, its loss, and the terms to log. Take as many fresh batches as the algorithm
        does; draw noise with `batch.draw(name, *shape)`, never from torch's global state; keep draws and histories
        here, outside the objectives.
        """
        batch = next(batches)
        a, b = batch["a"], batch["b"]
        fake = self.networks["G"](a)
        yield "G", *self.generator_loss(b, fake)
        yield "D", *self.discriminator_loss(b, fake.detach(), self.game.alpha(batch))

    @moves("G")  # freezes everyone else's parameters while the objective is computed
    def generator_loss(self, b: Tensor, fake: Tensor) -> Objective:
        """Write the total as the paper writes it, with the equation's number: L_GAN(G, D) + lambda L_L1(G).

        Take means over samples, so that the parts of a batch add up to the whole on any number of workers.
        """
        l_gan = self.game.generator(self.networks["D"](fake))
        l_l1 = l1(fake, b)
        loss = l_gan + self.config.lambda_l1 * l_l1
        return loss, {"gan": l_gan, "l1": l_l1}

    @moves("D")
    def discriminator_loss(self, b: Tensor, fake: Tensor, alpha: Tensor | None) -> Objective:
        """-L_GAN(G, D)."""
        real, made = self.each("D", b, fake)
        l_real, l_fake = self.game.real(real), self.game.fake(made)
        gp = self.game.penalty(self.networks["D"], b, fake, alpha)
        loss = l_real + l_fake + self.config.lambda_gp * gp
        terms = {"real": l_real, "fake": l_fake} | ({} if alpha is None else {"gp": gp})
        return loss, terms, self.game.scores([real], [made])

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        """Give the network that makes the outputs of the inputs: what translate.py and the evaluation run."""
        return self.networks["G"]

    def preview(self, batch: Batch) -> dict[str, Column]:
        """Make the columns of a grid, by title: images, or names of fields."""
        return {"source a": "a", "translation G(a)": self.image_from(batch["a"]), "truth b": "b"}
