"""CycleGAN: translation between two domains without pairs (Zhu et al., ICCV 2017, arXiv:1703.10593).

x_BCHW images of domain A (the paper's X), y_BCHW images of domain B (its Y), both in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.methods.cyclegan import CycleGANConfig
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import Column, Direction, Move, Objective, Player, Progress, moves
from i2i_core.methods.history import FakePool
from i2i_core.methods.unpaired import Unpaired
from i2i_core.registry import implements


@implements("cyclegan")
class CycleGAN(Unpaired[CycleGANConfig]):
    """Train G: x -> y and F: y -> x without pairs; D_Y and D_X tell true images from made ones."""

    generators = ("G", "F")
    two_way = True

    def __init__(self, config: CycleGANConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        k = config
        self.networks["G"] = self.resnet(k.in_channels, k.out_channels)
        self.networks["F"] = self.resnet(k.out_channels, k.in_channels)
        self.players = {"generators": Player(("G", "F"), self.game.move(k.lr))}
        if k.lambda_gan:
            self.networks["D_X"], self.networks["D_Y"] = self.judge(k.in_channels), self.judge(k.out_channels)
            self.players = {**self.players, "discriminators": self.discriminator_player("D_X", "D_Y")}
            self.pools = {"x": FakePool("pool_x", k.pool_size), "y": FakePool("pool_y", k.pool_size)}
        self.initialise(generator)

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Move the generators on a batch, the discriminators on it and on pooled fakes (sec. 4), n_critic times."""
        batch = next(batches)
        x, y = batch["a"], batch["b"]
        (fake_y, *same_y), (fake_x, *same_x) = self.made("G", x, y), self.made("F", y, x)
        yield "generators", *self.generators_loss(x, y, fake_y, fake_x, [*same_y, *same_x])
        if "discriminators" not in self.players:
            return
        for move in range(self.config.n_critic):
            if move:
                batch = next(batches)
                x, y = batch["a"], batch["b"]
                with torch.no_grad():
                    fake_y, fake_x = self.networks["G"](x), self.networks["F"](y)
            pooled_y, pooled_x = self.pools["y"](fake_y, batch), self.pools["x"](fake_x, batch)
            alpha = self.game.alpha(batch)
            yield "discriminators", *self.discriminators_loss(x, y, pooled_x, pooled_y, alpha)

    def made(self, network: str, source: Tensor, own: Tensor) -> list[Tensor]:
        """Translate `source`; where the identity term counts and passes are joined, also `own`, in the same call.

        `own` is an image of the network's target domain.
        """
        k = self.config
        both = self.joins(network) and k.lambda_id and k.lambda_cyc
        return self.each(network, source, *([own] if both else []))

    @moves("generators")
    def generators_loss(
        self, x: Tensor, y: Tensor, fake_y: Tensor, fake_x: Tensor, same: Sequence[Tensor] = ()
    ) -> Objective:
        """Eq. 3, L_GAN(G) + L_GAN(F) + lambda L_cyc, and + lambda_id lambda L_identity (sec. 5.2).

        Args:
            same: G(y) and F(x), where they were made with the fakes.
        """
        k, G, F = self.config, self.networks["G"], self.networks["F"]
        l_gan = l_cyc = l_id = torch.zeros((), device=x.device, dtype=x.dtype)
        terms = {}
        if k.lambda_gan:
            l_g = self.game.generator(self.networks["D_Y"](fake_y))
            l_f = self.game.generator(self.networks["D_X"](fake_x))
            l_gan, terms = l_g + l_f, {"gan_G": l_g, "gan_F": l_f}
        if k.lambda_cyc:
            l_forward = l1(F(fake_y), x) if k.cycles != "backward" else l_cyc
            l_backward = l1(G(fake_x), y) if k.cycles != "forward" else l_cyc
            l_cyc, terms = l_forward + l_backward, {**terms, "cyc_x": l_forward, "cyc_y": l_backward}
        if k.lambda_id and k.lambda_cyc:
            same_y, same_x = same or (G(y), F(x))
            l_id = l1(same_y, y) + l1(same_x, x)
            terms = {**terms, "id": l_id}
        loss = k.lambda_gan * l_gan + k.lambda_cyc * l_cyc + k.lambda_id * k.lambda_cyc * l_id
        return loss, terms

    @moves("discriminators")
    def discriminators_loss(
        self, x: Tensor, y: Tensor, fake_x: Tensor, fake_y: Tensor, alpha: Tensor | None
    ) -> Objective:
        """-L_GAN of each discriminator, halved (sec. 4; 7.1)."""
        D_X, D_Y = self.networks["D_X"], self.networks["D_Y"]
        real, fake = zip(self.each("D_X", x, fake_x), self.each("D_Y", y, fake_y), strict=True)
        l_x, l_y = (self.game.real(r) + self.game.fake(f) for r, f in zip(real, fake, strict=True))
        gp = self.game.penalty(D_X, x, fake_x, alpha) + self.game.penalty(D_Y, y, fake_y, alpha)
        loss = (l_x + l_y + self.config.lambda_gp * gp) / 2
        return loss, {"D_X": l_x, "D_Y": l_y} | ({} if alpha is None else {"gp": gp}), self.game.scores(real, fake)

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        """Give G; in direction BtoA, F."""
        return self.networks["G" if direction == "AtoB" else "F"]

    def preview(self, batch: Batch) -> dict[str, Column]:
        """Show both ways, and there and back."""
        x, y = batch["a"], batch["b"]
        there, back = self.image_from(x), self.image_from(y, "BtoA")
        return {
            "source x": "a",
            "translation G(x)": there,
            "back F(G(x))": self.image_from(there, "BtoA"),
            "source y": "b",
            "translation F(y)": back,
            "back G(F(y))": self.image_from(back),
        }
