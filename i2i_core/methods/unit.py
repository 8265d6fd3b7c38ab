"""UNIT: translation through a latent space that two domains share (Liu et al., NIPS 2017, arXiv:1703.00848).

x1_BCHW images of domain A (the paper's X1), x2_BCHW images of domain B (its X2), both in [-1, 1]; latent codes
z = mu + N(0, 1) of shape (B, 4 base, H / 4, W / 4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.methods.unit import UNITConfig
from i2i_core.fields import Schema
from i2i_core.losses.kl import kl_unit_variance
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
    equal_channels,
    moves,
)
from i2i_core.methods.game import Game
from i2i_core.methods.perceptual import Layers, Perceptual, with_checksum
from i2i_core.networks import vae
from i2i_core.networks.init import init_kaiming, init_normal
from i2i_core.networks.shapes import Upsample
from i2i_core.registry import implements

LAYERS: Layers = {"vgg16": {"relu5_3": 1.0}, "vgg19": {"relu5_3": 1.0}, "efficientnet_lite0": {"block10": 1.0}}
"""Layers by which a translation and its source are compared, at 1/16 of their sides."""


class Noise(NamedTuple):
    """Hold the noise N(0, 1) of four codes: of both domains' images, and of their translations."""

    x1: Tensor
    x2: Tensor
    x12: Tensor
    x21: Tensor


class Made(NamedTuple):
    """Hold the means of the codes of x1 and x2, and the images made of them: x21 is x2 translated to domain 1."""

    mu1: Tensor
    mu2: Tensor
    x11: Tensor
    x22: Tensor
    x12: Tensor
    x21: Tensor


@implements("unit")
class UNIT(Method[UNITConfig]):
    """Train encoders E1, E2, generators G1, G2 and discriminators D1, D2 that share a latent space.

    In the paper's networks the last layer of both encoders is one and the same module, and so is the first layer of
    both generators.
    """

    needs = Needs({"image": "image"}, domains=2)
    inputs, outputs = {"a": "image"}, {"b": "image"}
    generators = ("E1", "E2", "G1", "G2")
    two_way = True
    any_size = True

    def __init__(self, config: UNITConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        k = config
        self.networks = nn.ModuleDict(_paper_networks(k) if k.architecture == "paper" else _later_networks(k))
        coders = nn.ModuleDict({name: self.networks[name] for name in self.generators})
        (init_normal if k.architecture == "paper" else init_kaiming)(coders, generator)
        init_normal(self.networks["D1"], generator)
        init_normal(self.networks["D2"], generator)
        self.game = Game(k)
        self.perceptual = Perceptual(k, LAYERS, distance="l2", normalised=True)
        clip = self.game.after_move(self.networks["D1"], self.networks["D2"])
        self.players = {
            "discriminators": Player(("D1", "D2"), self.game.move(k.lr, k.weight_decay), clip),
            "generators": Player(self.generators, self.game.move(k.lr, k.weight_decay)),
        }

    @staticmethod
    def fit(config: UNITConfig, schema: Schema, direction: Direction) -> UNITConfig:
        """Take the channels, the same in both domains, from the data. Raises DataError where they differ."""
        return replace(config, channels=equal_channels(schema, "unit"))

    @classmethod
    def with_files(cls, config: UNITConfig) -> UNITConfig:
        """Note the checksum of the perceptual network."""
        return with_checksum(config, LAYERS)

    def attach(self) -> None:
        """Read the perceptual network, where it counts."""
        self.perceptual.read(next(self.parameters()))

    def noise(self, batch: Batch, name: str = "z") -> Noise:
        """Draw the batch's noise of that name; every code has one shape, a quarter of the images'."""
        height, width = batch["a"].shape[-2:]
        shape = (4 * self.config.g_base, height // 4, width // 4)
        return Noise(*(batch.draw(f"{name}_{code}", *shape) for code in Noise._fields))

    def channels(self) -> Mapping[str, int]:
        """Give the channels of both domains."""
        return {"a": self.config.channels, "b": self.config.channels}

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Make n_critic moves of the discriminators, each on a fresh batch; then move the generators on the last batch,
        on its noise or on their own (`g_noise`)."""
        shared = self.config.g_noise == "shared"
        for _ in range(self.config.n_critic):
            batch = next(batches)
            x1, x2, noise = batch["a"], batch["b"], self.noise(batch)
            with torch.set_grad_enabled(shared):  # the generators' move goes back through what it shares
                made = self.made(x1, x2, noise)
            alpha = self.game.alpha(batch)
            yield "discriminators", *self.discriminators_loss(x1, x2, made.x21.detach(), made.x12.detach(), alpha)
        if not shared:
            noise = self.noise(batch, "generators_z")
            made = self.made(x1, x2, noise)
        yield "generators", *self.generators_loss(x1, x2, made, noise)

    def made(self, x1: Tensor, x2: Tensor, noise: Noise) -> Made:
        """Encode both images, and generate both in both domains."""
        E1, E2, G1, G2 = (self.networks[name] for name in self.generators)
        mu1, mu2 = E1(x1), E2(x2)
        z1, z2 = mu1 + noise.x1, mu2 + noise.x2
        if self.joins("G1") and self.joins("G2"):
            (x11, x21), (x22, x12) = self.each("G1", z1, z2), self.each("G2", z2, z1)
            return Made(mu1, mu2, x11, x22, x12, x21)
        return Made(mu1, mu2, x11=G1(z1), x22=G2(z2), x12=G2(z1), x21=G1(z2))

    @moves("discriminators")
    def discriminators_loss(self, x1: Tensor, x2: Tensor, x21: Tensor, x12: Tensor, alpha: Tensor | None) -> Objective:
        """-lambda_0 L_GAN of both domains (Eq. 4)."""
        k, D1, D2 = self.config, self.networks["D1"], self.networks["D2"]
        real, fake = zip(self.each("D1", x1, x21), self.each("D2", x2, x12), strict=True)
        l_1, l_2 = (self.game.real(r) + self.game.fake(f) for r, f in zip(real, fake, strict=True))
        gp = self.game.penalty(D1, x1, x21, alpha) + self.game.penalty(D2, x2, x12, alpha)
        loss = k.lambda_gan * (l_1 + l_2 + k.lambda_gp * gp)
        return loss, {"D1": l_1, "D2": l_2} | ({} if alpha is None else {"gp": gp}), self.game.scores(real, fake)

    @moves("generators")
    def generators_loss(self, x1: Tensor, x2: Tensor, made: Made, noise: Noise) -> Objective:
        """Eq. 2: L_VAE (Eq. 3) + L_GAN (Eq. 4) + L_CC (Eq. 5) of both domains; and the later program's optional
        distance of a translation from its source, as a network sees them without the domain's statistics."""
        k, (E1, E2, G1, G2) = self.config, (self.networks[name] for name in self.generators)
        mu12, mu21 = E2(made.x12), E1(made.x21)
        x121, x212 = G1(mu12 + noise.x12), G2(mu21 + noise.x21)
        l_rec = l1(made.x11, x1) + l1(made.x22, x2)
        l_kl = self.kl(made.mu1, noise.x1) + self.kl(made.mu2, noise.x2)
        l_gan = self.game.generator(self.networks["D1"](made.x21)) + self.game.generator(self.networks["D2"](made.x12))
        l_cyc = l1(x121, x1) + l1(x212, x2)
        l_cyc_kl = self.kl(mu12, noise.x12) + self.kl(mu21, noise.x21)
        l_perceptual = self.perceptual(made.x12, x1) + self.perceptual(made.x21, x2)
        loss = (
            k.lambda_gan * l_gan
            + k.lambda_rec * l_rec
            + k.lambda_kl * l_kl
            + k.lambda_cyc * l_cyc
            + k.lambda_cyc_kl * l_cyc_kl
            + k.lambda_perceptual * l_perceptual
        )
        terms = {"gan": l_gan, "rec": l_rec, "kl": l_kl, "cyc": l_cyc, "cyc_kl": l_cyc_kl}
        return loss, terms | ({"perceptual": l_perceptual} if k.lambda_perceptual else {})

    def kl(self, mu: Tensor, noise: Tensor) -> Tensor:
        """Compute a code's distance from N(0, 1): of its mean, or of the code with its noise (`kl_of`)."""
        return kl_unit_variance(mu if self.config.kl_of == "mean" else mu + noise)

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        """Give G2(E1(x1)), from the mean of the code; in direction BtoA, G1(E2(x2))."""
        encoder, generator = ("E1", "G2") if direction == "AtoB" else ("E2", "G1")
        return nn.Sequential(self.networks[encoder], self.networks[generator])

    def preview(self, batch: Batch) -> dict[str, Column]:
        """Show both ways, and there and back."""
        x1, x2 = batch["a"], batch["b"]
        there, back = self.image_from(x1), self.image_from(x2, "BtoA")
        x121, x212 = self.image_from(there, "BtoA"), self.image_from(back)
        return {
            "source x1": "a",
            "translation x12": there,
            "back x121": x121,
            "source x2": "b",
            "translation x21": back,
            "back x212": x212,
        }


def _paper_networks(k: UNITConfig) -> dict[str, nn.Module]:
    up: Upsample = k.upsample or "transposed"
    blocks, layers = k.blocks or 3, k.d_layers or 6
    encoding, generating = vae.shared_block(k.g_base), vae.shared_block(k.g_base)
    return {
        **{f"E{i}": vae.Encoder(vae.paper_encoder(k.channels, k.g_base, blocks), encoding) for i in (1, 2)},
        **{f"G{i}": vae.Generator(generating, vae.paper_generator(k.channels, k.g_base, blocks, up)) for i in (1, 2)},
        **{f"D{i}": vae.paper_discriminator(k.channels, k.d_base, layers) for i in (1, 2)},
    }


def _later_networks(k: UNITConfig) -> dict[str, nn.Module]:
    up: Upsample = k.upsample or "resize"
    blocks, layers = k.blocks or 4, k.d_layers or 4
    return {
        **{f"E{i}": vae.Encoder(vae.later_encoder(k.channels, k.g_base, blocks), nn.Identity()) for i in (1, 2)},
        **{
            f"G{i}": vae.Generator(nn.Identity(), vae.later_generator(k.channels, k.g_base, blocks, up)) for i in (1, 2)
        },
        **{f"D{i}": vae.later_discriminator(k.channels, k.d_base, layers, k.d_scales) for i in (1, 2)},
    }
