"""CoGAN: pairs of images of one code, from two sets without pairs (Liu & Tuzel, NIPS 2016, arXiv:1606.07536); as a
translator, as in the tables of CycleGAN (Zhu et al., ICCV 2017, arXiv:1703.10593, sec. 5.1.2).

x1_BCHW images of domain A (the paper's first), x2_BCHW images of domain B, both in [-1, 1]; z_BZ codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from i2i_core.batch import Batch
from i2i_core.config.methods.cogan import CoGANConfig
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
from i2i_core.methods.lbfgs import minimised
from i2i_core.networks import cogan
from i2i_core.networks.init import init_glorot, init_normal
from i2i_core.registry import implements
from i2i_core.sizes import sides

SHOWN = 2
"""Pairs of images of a row of the grid that are made of codes."""


class Search(nn.Module):
    """Translate images by the code that the source's generator makes most like them: (n, C, H, W) to the same size.

    z* = argmin_z ||g1(z) - x||^2, and then g2(z*) (Liu & Tuzel 2016, sec. 4; CycleGAN, sec. 5.1.2). Each image is a
    problem of its own, which its starts go through together: what is found depends on no other image. Images of another
    size than the generators' are brought to it, and what is made is brought back.

    Args:
        source, target: the generators g1 and g2.
        iterations: the most of L-BFGS.
        size: height and width of the generators' images.
    """

    def __init__(self, source: nn.Module, target: nn.Module, iterations: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.source, self.target, self.iterations, self.size = source, target, iterations, size

    def forward(self, x_nCHW: Tensor, starts_nSZ: Tensor) -> Tensor:
        """Translate images.

        Args:
            starts_nSZ: codes that each image's search begins with.
        """
        found: list[Tensor] = []
        for i, (x_CHW, starts_SZ) in enumerate(zip(x_nCHW, starts_nSZ, strict=True)):
            alike = (j for j in range(i) if torch.equal(x_nCHW[j], x_CHW) and torch.equal(starts_nSZ[j], starts_SZ))
            same = next(alike, None)
            found.append(self._made(x_CHW[None], starts_SZ) if same is None else found[same])
        return torch.cat(found)

    def _made(self, x_1CHW: Tensor, starts_SZ: Tensor) -> Tensor:
        """Search the code of one image, and give the target's image of it."""
        sought = _sized(x_1CHW, self.size)

        def distance(z_SZ: Tensor) -> Tensor:
            return (self.source(z_SZ) - sought).square().flatten(1).sum(1)

        z_SZ, distances_S = minimised(distance, starts_SZ, self.iterations)
        return _sized(self.target(z_SZ[distances_S.argmin()][None]), (x_1CHW.shape[-2], x_1CHW.shape[-1]))


def _sized(x_1CHW: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(x_1CHW.shape[-2:]) == size:
        return x_1CHW
    return interpolate(x_1CHW, size, mode="bilinear", antialias=True)


@implements("cogan")
class CoGAN(Method[CoGANConfig]):
    """Train G1, G2 to make a pair of images of one code; D1 and D2 each tell one domain's real images from made ones.

    The first layers of both generators are the same modules, and so are the last ones of both discriminators; nothing
    else ties the images of a pair.
    """

    needs = Needs({"image": "image"}, domains=2)
    inputs, outputs = {"a": "image"}, {"b": "image"}
    generators = ("G1", "G2")
    two_way = True
    optimises = True

    def __init__(self, config: CoGANConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        k, channels = config, (config.in_channels, config.out_channels)
        if k.architecture == "digits":
            G, D = cogan.digit_generators(channels, k.z_dim, k.g_norm), cogan.digit_discriminators(channels)
        else:
            G = cogan.coupled_generators(k.image_size, channels, k.z_dim, k.g_base, k.g_norm)
            D = cogan.coupled_discriminators(k.image_size, channels, k.d_base, k.d_norm, k.dropout)
        self.networks = nn.ModuleDict({"G1": G[0], "G2": G[1], "D1": D[0], "D2": D[1]})
        (init_glorot if k.architecture == "digits" else init_normal)(self.networks, generator)
        self.game = Game(k)
        optimiser = replace(self.game.move(k.lr, k.weight_decay), decays="weights")
        self.players = {
            "D": Player(("D1", "D2"), optimiser, self.game.after_move(*D)),
            "G": Player(("G1", "G2"), optimiser),
        }

    @staticmethod
    def fit(config: CoGANConfig, schema: Schema, direction: Direction) -> CoGANConfig:
        """Take the channels of each domain from the data."""
        a, b = domain_channels(schema, direction)
        return replace(config, in_channels=a, out_channels=b)

    def channels(self) -> Mapping[str, int]:
        """Give the channels of both domains."""
        return {"a": self.config.in_channels, "b": self.config.out_channels}

    @property
    def code_length(self) -> int:
        """Give |z|."""
        return self.config.z_dim

    @property
    def prior(self) -> Literal["normal", "uniform"]:
        """Give the distribution of codes."""
        return self.config.prior

    def pair(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Make the pair g1(z), g2(z); what they share is computed once."""
        G1, G2 = self.networks["G1"], self.networks["G2"]
        h = G1.shared(z)  # type: ignore[operator]
        return G1.own(h), G2.own(h)  # type: ignore[operator]

    def made(self, batch: Batch, name: str) -> tuple[Tensor, Tensor]:
        """Make the pairs of codes that are drawn by a name."""
        z = batch.draw(name, self.config.z_dim, kind=self.config.prior)
        return self.pair(2 * z - 1 if self.config.prior == "uniform" else z)

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Move D on a batch of each domain and on made pairs, n_critic times with a fresh batch each; then move G on
        pairs of other codes (sec. 3, and the authors' program)."""
        for _ in range(self.config.n_critic):
            batch = next(batches)
            with torch.no_grad():
                fake1, fake2 = self.made(batch, "z")
            yield "D", *self.discriminator_loss(batch["a"], batch["b"], fake1, fake2, self.game.alpha(batch))
        yield "G", *self.generator_loss(*self.made(batch, "z_G"))

    @moves("D")
    def discriminator_loss(
        self, x1: Tensor, x2: Tensor, fake1: Tensor, fake2: Tensor, alpha: Tensor | None
    ) -> Objective:
        """-V(f1, f2, g1, g2) (Eq. 3), with means over both domains' images: real and made added, not halved."""
        D1, D2 = self.networks["D1"], self.networks["D2"]
        judged1, judged2 = self.judged("D1", x1, fake1), self.judged("D2", x2, fake2)
        real, fake = zip(judged1, judged2, strict=True)
        l_real = (self.game.real(real[0]) + self.game.real(real[1])) / 2
        l_fake = (self.game.fake(fake[0]) + self.game.fake(fake[1])) / 2
        gp = (self.game.penalty(D1, x1, fake1, alpha) + self.game.penalty(D2, x2, fake2, alpha)) / 2
        loss = l_real + l_fake + self.config.lambda_gp * gp
        terms = {"real": l_real, "fake": l_fake} | ({} if alpha is None else {"gp": gp})
        return loss, terms, self.game.scores(real, fake)

    def judged(self, D: str, x: Tensor, fake: Tensor) -> list[Tensor]:
        """Ask a discriminator about real images and made ones: one after the other, or in one batch (`d_batch`)."""
        if self.config.d_batch == "mixed":
            return list(self.networks[D](torch.cat([x, fake])).chunk(2))
        return self.each(D, x, fake)

    @moves("G")
    def generator_loss(self, fake1: Tensor, fake2: Tensor) -> Objective:
        """Make D1 and D2 call the pair real; the mean over both."""
        l_gan1 = self.game.generator(self.networks["D1"](fake1))
        l_gan2 = self.game.generator(self.networks["D2"](fake2))
        return (l_gan1 + l_gan2) / 2, {"gan1": l_gan1, "gan2": l_gan2}

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        """Give the search for a code of G1, and G2 of it; in direction BtoA the other way round."""
        names = ("G1", "G2") if direction == "AtoB" else ("G2", "G1")
        source, target = (self.networks[name] for name in names)
        return Search(source, target, self.config.iterations, sides(self.config.image_size))

    def drawn_for(self, keys: Sequence[str]) -> list[Tensor]:
        """Draw the codes that each image's search begins with, (n, S, Z)."""
        return [torch.stack([self.draw_codes(keys, i) for i in range(self.config.starts)], dim=1)]

    def preview(self, batch: Batch) -> dict[str, Column]:
        """Show pairs of drawn codes, and both ways of the search."""
        columns: dict[str, Column] = {}
        for i in range(SHOWN):
            with self.translating():
                one, other = self.pair(self.draw_codes(batch.keys, i))
            columns |= {f"made g1(z{i})": one, f"made g2(z{i})": other}
        there, back = self.image_from(batch["a"], keys=batch.keys), self.image_from(batch["b"], "BtoA", keys=batch.keys)
        return columns | {"source x1": "a", "translation g2(z*)": there, "source x2": "b", "translation g1(z*)": back}
