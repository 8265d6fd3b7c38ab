"""BiGAN/ALI as a translator: Donahue et al. and Dumoulin et al., ICLR 2017 (arXiv:1605.09782, 1606.00704), from
images to images as in the tables of CycleGAN (Zhu et al., ICCV 2017, arXiv:1703.10593, sec. 5.1.2).

a_BCHW images of domain A, b_BCHW images of domain B, both in [-1, 1]; ab_BCHW pairs, A's channels before B's.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.methods.bigan import BiGANConfig
from i2i_core.methods.base import Column, Direction, Move, Objective, Player, Progress, moves
from i2i_core.methods.history import FakePool
from i2i_core.methods.unpaired import Unpaired, told_apart
from i2i_core.registry import implements


@implements("bigan")
class BiGAN(Unpaired[BiGANConfig]):
    """Train G: a -> b and E: b -> a so that D cannot tell the pairs (a, G(a)) from the pairs (E(b), b).

    No pair is a true one, and nothing else ties an output to its input.
    """

    generators = ("G", "E")
    two_way = True

    def __init__(self, config: BiGANConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        k = config
        self.networks["G"] = self.resnet(k.in_channels, k.out_channels)
        self.networks["E"] = self.resnet(k.out_channels, k.in_channels)
        self.networks["D"] = self.judge(k.in_channels + k.out_channels)
        self.players = {
            "D": self.discriminator_player("D"),
            "G": Player(("G",), self.game.move(k.lr)),
            "E": Player(("E",), self.game.move(k.lr)),
        }
        self.pools = {"G": FakePool("pairs of G", k.pool_size), "E": FakePool("pairs of E", k.pool_size)}
        self.initialise(generator)

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Make both pairs; move D on what the pools give, n_critic times with a fresh batch each; then move G and E on
        the last batch, each with the new D."""
        for _ in range(self.config.n_critic):
            batch = next(batches)
            of_G = torch.cat([batch["a"], self.networks["G"](batch["a"])], dim=1)
            of_E = torch.cat([self.networks["E"](batch["b"]), batch["b"]], dim=1)
            pooled = self.pools["G"](of_G, batch), self.pools["E"](of_E, batch)
            yield "D", *self.discriminator_loss(*pooled, self.game.alpha(batch))
        yield "G", *self.generator_loss(of_G)
        yield "E", *self.encoder_loss(of_E)

    @moves("D")
    def discriminator_loss(self, of_G: Tensor, of_E: Tensor, alpha: Tensor | None) -> Objective:
        """-V(D, E, G) (BiGAN, sec. 3; ALI, sec. 2): D calls (a, G(a)) real and (E(b), b) fake."""
        return told_apart(self, of_G, of_E, alpha)

    @moves("G")
    def generator_loss(self, of_G: Tensor) -> Objective:
        """Make D call (a, G(a)) fake."""
        l_gan = self.game.turned(self.networks["D"](of_G))
        return l_gan, {"gan": l_gan}

    @moves("E")
    def encoder_loss(self, of_E: Tensor) -> Objective:
        """Make D call (E(b), b) real."""
        l_gan = self.game.generator(self.networks["D"](of_E))
        return l_gan, {"gan": l_gan}

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        """Give G; in direction BtoA, E."""
        return self.networks["G" if direction == "AtoB" else "E"]

    def preview(self, batch: Batch) -> dict[str, Column]:
        """Show both ways, and there and back, which no term asks for."""
        there, back = self.image_from(batch["a"]), self.image_from(batch["b"], "BtoA")
        return {
            "source a": "a",
            "translation G(a)": there,
            "back E(G(a))": self.image_from(there, "BtoA"),
            "source b": "b",
            "translation E(b)": back,
            "back G(E(b))": self.image_from(back),
        }
