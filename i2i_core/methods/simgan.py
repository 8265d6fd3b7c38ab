"""SimGAN: refining synthetic images with unlabelled real ones (Shrivastava et al., CVPR 2017, arXiv:1612.07828).

x_BCHW synthetic images (domain A), y_BCHW real ones (domain B), both in [-1, 1]. The refined images keep the
annotations of the synthetic ones: `translate.py --shards` writes them as a data set. No program of the authors
was released.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.methods.simgan import SimGANConfig
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
    equal_channels,
    moves,
)
from i2i_core.methods.game import Game
from i2i_core.methods.history import RefinedHistory
from i2i_core.networks.init import init_default
from i2i_core.networks.refiner import LocalDiscriminator, Refiner
from i2i_core.registry import implements


@implements("simgan")
class SimGAN(Method[SimGANConfig]):
    """Train R to make synthetic images look real while keeping what they show; D judges every local patch."""

    needs = Needs({"image": "image"}, domains=2)
    inputs, outputs = {"a": "image"}, {"b": "image"}
    generators = ("R",)
    any_size = True

    def __init__(self, config: SimGANConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        k = config
        self.networks = nn.ModuleDict(
            {
                "R": Refiner(k.channels, k.r_base, k.first_kernel, k.blocks),
                "D": LocalDiscriminator(k.channels, k.form, k.d_base),
            }
        )
        for network in self.networks.values():
            init_default(network, generator)
        self.game = Game(k)
        self.players = {
            "R": Player(("R",), self.game.move(k.lr)),
            "D": Player(("D",), self.game.move(k.lr), self.game.after_move(self.networks["D"])),
        }
        self.pools = {"refined": RefinedHistory("refined", k.history_size)}

    @staticmethod
    def fit(config: SimGANConfig, schema: Schema, direction: Direction) -> SimGANConfig:
        """Take the channels, the same in both domains, from the data. Raises DataError where they differ."""
        return replace(config, channels=equal_channels(schema, "simgan"))

    def channels(self) -> Mapping[str, int]:
        """Give the channels of both domains."""
        return {"a": self.config.channels, "b": self.config.channels}

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Alg. 1: K_g moves of R, then K_d of D, each on a fresh batch. Before that, R alone keeps what it is given,
        then D alone learns to tell refined from real (sec. 3.1); there an update is one move."""
        k = self.config
        if progress.moves.get("R", 0) < k.warmup_r:
            yield "R", *self.regularisation(next(batches)["a"])
            return
        alone = progress.moves.get("D", 0) < k.warmup_d
        for _ in range(0 if alone else k.k_g):
            yield "R", *self.refiner_loss(next(batches)["a"])
        for _ in range(1 if alone else k.k_d):
            batch = next(batches)
            with torch.no_grad():
                refined = self.networks["R"](batch["a"])
            refined = self.pools["refined"](refined, batch)
            yield "D", *self.discriminator_loss(refined, batch["b"], self.game.alpha(batch))

    def phase(self, progress: Progress) -> tuple[bool, bool]:
        """Give whether R still trains alone, and whether D then does."""
        k = self.config
        return progress.moves.get("R", 0) < k.warmup_r, progress.moves.get("D", 0) < k.warmup_d

    @moves("R")
    def regularisation(self, x: Tensor) -> Objective:
        """lambda ||psi(R(x)) - psi(x)||_1 alone (sec. 3.1)."""
        l_reg = self.kept(self.networks["R"](x), x)
        return self.config.lambda_reg * l_reg, {"reg": l_reg}

    @moves("R")
    def refiner_loss(self, x: Tensor) -> Objective:
        """Eq. 1, L_R = l_real + lambda l_reg: Eq. 5's local adversarial loss summed over patches (sec. 2.2), and the
        self-regularisation of Eq. 4 summed over pixels; means over samples."""
        refined = self.networks["R"](x)
        l_real = _summed(self.game.generator, self.networks["D"](refined))
        l_reg = self.kept(refined, x)
        loss = l_real + self.config.lambda_reg * l_reg
        return loss, {"real": l_real, "reg": l_reg}

    @moves("D")
    def discriminator_loss(self, refined: Tensor, y: Tensor, alpha: Tensor | None) -> Objective:
        """Eq. 2: cross entropies of refined and of real patches, summed over patches; means over samples."""
        fake, real = self.each("D", refined, y)
        l_refined, l_real = _summed(self.game.fake, fake), _summed(self.game.real, real)
        gp = self.game.penalty(self.networks["D"], y, refined, alpha)
        loss = l_refined + l_real + self.config.lambda_gp * gp
        terms = {"refined": l_refined, "real": l_real} | ({} if alpha is None else {"gp": gp})
        return loss, terms, self.game.scores([real], [fake])

    def kept(self, refined: Tensor, x: Tensor) -> Tensor:
        """||psi(R(x)) - psi(x)||_1 (Eq. 4), summed over pixels, mean over samples."""
        after, before = self.psi(refined), self.psi(x)
        return sum(a[0].numel() * l1(a, b) for a, b in zip(after, before, strict=True))  # type: ignore[return-value]

    def psi(self, x: Tensor) -> list[Tensor]:
        """Give the features that refining must keep."""
        if self.config.psi == "mean":
            return [x.mean(dim=1, keepdim=True)]
        if self.config.psi == "gradient":
            return [x.diff(dim=-1), x.diff(dim=-2)]
        return [x]

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        """Give R."""
        return self.networks["R"]

    def preview(self, batch: Batch) -> dict[str, Column]:
        """Show synthetic images, refined ones, and some real ones."""
        return {"source x": "a", "translation R(x)": self.image_from(batch["a"]), "real y": "b"}


def _summed(term: Any, logits_B1hw: Tensor) -> Tensor:
    """Convert a term from the mean over patches to the sum over patches."""
    return logits_B1hw[0].numel() * term(logits_B1hw)
