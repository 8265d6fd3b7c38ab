"""pix2pix: image-to-image translation from pairs (Isola et al., CVPR 2017, arXiv:1611.07004).

a_BCHW input and b_BCHW true output, both in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.methods.pix2pix import Pix2PixConfig
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
from i2i_core.networks.patchgan import patch_discriminator
from i2i_core.networks.unet import UNet
from i2i_core.registry import implements


@implements("pix2pix")
class Pix2Pix(Method[Pix2PixConfig]):
    """Train G: a -> b on pairs; D sees the input too, and tells true outputs from made ones patch by patch."""

    needs = Needs({"a": "image", "b": "image"})
    inputs, outputs = {"a": "image"}, {"b": "image"}
    generators = ("G",)
    any_size = True
    dropout_is_noise = True  # "at both training and test time" (sec. 2.1)

    def __init__(self, config: Pix2PixConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        k = config
        G = UNet(
            k.in_channels,
            k.out_channels,
            base=k.g_base,
            downs=k.g_downs,
            norm=k.norm,
            dropout=k.dropout,
            dropout_at=k.dropout_at,
            skips=k.generator == "unet",
            upsample=k.upsample,
        )
        self.networks = nn.ModuleDict({"G": G})
        self.game = Game(k)
        self.players = {"G": Player(("G",), self.game.move(k.lr))}
        if k.objective != "L1":
            seen = k.out_channels + (k.in_channels if "cGAN" in k.terms else 0)
            self.networks["D"] = patch_discriminator(k.receptive_field, seen, k.d_base, k.norm)
            clip = self.game.after_move(self.networks["D"])
            self.players = {"D": Player(("D",), self.game.move(k.lr), clip), **self.players}
        for network in self.networks.values():
            init_normal(network, generator)

    @staticmethod
    def fit(config: Pix2PixConfig, schema: Schema, direction: Direction) -> Pix2PixConfig:
        """Take the channels of both sides from the data."""
        a, b = paired_channels(schema, direction)
        return replace(config, in_channels=a, out_channels=b)

    def seen_by_D(self, a: Tensor, b: Tensor) -> Tensor:
        """Give what D judges: input and output together (cGAN), or the output alone (GAN)."""
        return torch.cat([a, b], dim=1) if "cGAN" in self.config.terms else b

    def channels(self) -> Mapping[str, int]:
        """Give the channels of both sides."""
        return {"a": self.config.in_channels, "b": self.config.out_channels}

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Make a fake and move D on it, n_critic times with a fresh batch each; then move G on the last (sec. 3.3)."""
        for _ in range(self.config.n_critic if "D" in self.players else 1):
            batch = next(batches)
            a, b = batch["a"], batch["b"]
            fake_b = self.networks["G"](a)
            if "D" in self.players:
                other_a = next(batches)["a"] if self.config.matching_aware else None
                yield "D", *self.discriminator_loss(a, b, fake_b.detach(), other_a, self.game.alpha(batch))
        yield "G", *self.generator_loss(a, b, fake_b)

    @moves("D")
    def discriminator_loss(
        self, a: Tensor, b: Tensor, fake_b: Tensor, other_a: Tensor | None, alpha: Tensor | None
    ) -> Objective:
        """-L_cGAN(G, D) / 2 (Eq. 1; halved, sec. 3.3). Real and made go through D apart where it has batch norm."""
        real, fake = self.seen_by_D(a, b), self.seen_by_D(a, fake_b)
        wrongs = [] if other_a is None else [self.seen_by_D(other_a, b)]
        right, made, *others = self.each("D", real, fake, *wrongs)
        wrong = others[0] if others else None
        l_real, l_fake = self.game.real(right), self.game.made(made, wrong)
        gp = self.game.penalty(self.networks["D"], real, fake, alpha)
        loss = (l_real + l_fake + self.config.lambda_gp * gp) / 2
        terms = {"real": l_real, "fake": l_fake} | ({} if alpha is None else {"gp": gp})
        return loss, terms, self.game.scores([right], [made] if wrong is None else [made, wrong])

    @moves("G")
    def generator_loss(self, a: Tensor, b: Tensor, fake_b: Tensor) -> Objective:
        """Eq. 4: L_cGAN(G, D) + lambda L_L1(G), or the terms of it that `objective` names."""
        if self.config.objective == "L1":
            l_l1 = l1(fake_b, b)
            return l_l1, {"l1": l_l1}
        l_gan = self.game.generator(self.networks["D"](self.seen_by_D(a, fake_b)))
        if "L1" not in self.config.terms:
            return l_gan, {"gan": l_gan}
        l_l1 = l1(fake_b, b)
        loss = l_gan + self.config.lambda_l1 * l_l1
        return loss, {"gan": l_gan, "l1": l_l1}

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        """Give G; its noise is dropout, seeded by each image's key."""
        return self.networks["G"]

    def preview(self, batch: Batch) -> dict[str, Column]:
        """Show input, output and truth."""
        return {
            "source a": "a",
            "translation G(a)": self.image_from(batch["a"], keys=batch.keys),
            "truth b": "b",
        }
