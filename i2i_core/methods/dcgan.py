"""DCGAN: images from noise (Radford et al., ICLR 2016, arXiv:1511.06434), and as a critic WGAN (Arjovsky et al., ICML
2017, arXiv:1701.07875) and WGAN-GP (Gulrajani et al., NIPS 2017, arXiv:1704.00028), which are presets.

x_BCHW images in [-1, 1]; z_BZ codes, each number N(0, 1) or uniform in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.methods.dcgan import DCGANConfig
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
    moves,
)
from i2i_core.methods.controls import Code
from i2i_core.methods.game import Game
from i2i_core.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from i2i_core.networks.init import init_default, init_normal
from i2i_core.networks.mlp import MLPDiscriminator, MLPGenerator
from i2i_core.registry import implements
from i2i_core.sizes import sides

SHOWN = 4
"""Images of a row of the grid that are made of codes."""


@implements("dcgan")
class DCGAN(Method[DCGANConfig]):
    """Train G: z -> x on images alone; D tells real images from made ones."""

    needs = Needs({"image": "image"})
    outputs: ClassVar = {"image": "image"}
    controls: ClassVar = {"z": Code()}
    generators = ("G",)

    def __init__(self, config: DCGANConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        k = config
        self.networks = nn.ModuleDict({"G": generator_of(k), "D": discriminator_of(k)})
        for network, kind in zip(self.networks.values(), (k.generator, k.discriminator), strict=True):
            (init_normal if kind == "dcgan" else init_default)(network, generator)
        self.game = Game(k)
        self.clip = self.game.after_move(self.networks["D"])
        self.last_of_D = False
        """True while the next move of D is the last one before G's."""
        after_D, after_G = self.clip, None
        if self.clip and k.clip_at == "before":
            self.clip(torch.zeros(()))
            after_D, after_G = self._unless_last, self.clip
        self.players = {
            "D": Player(("D",), self.game.move(k.lr), after_D),
            "G": Player(("G",), self.game.move(k.lr), after_G),
        }

    def _unless_last(self, suppressed: Tensor) -> None:
        """Clip D for its next move. Where that is G's turn, D stays as it moved, and is clipped after G."""
        if self.clip and not self.last_of_D:
            self.clip(suppressed)

    @staticmethod
    def fit(config: DCGANConfig, schema: Schema, direction: Direction) -> DCGANConfig:
        """Take the channels from the data."""
        return replace(config, channels=schema.fields["image"].channels)

    def channels(self) -> Mapping[str, int]:
        """Give the channels of the image."""
        return {"image": self.config.channels}

    @property
    def code_length(self) -> int:
        """Give |z|."""
        return self.config.z_dim

    @property
    def prior(self) -> Literal["normal", "uniform"]:
        """Give the distribution of codes."""
        return self.config.prior

    def noise(self, batch: Batch, name: str) -> Tensor:
        """Draw z ~ p(z), (n, Z)."""
        if self.config.prior == "normal":
            return batch.draw(name, self.config.z_dim)
        return 2 * batch.draw(name, self.config.z_dim, kind="uniform") - 1

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Move D on fresh batches, then G once: on D's last fakes (DCGAN), or on others (WGAN, Alg. 1)."""
        G, own, critic_moves = self.networks["G"], self.config.g_noise == "own", self.critic_moves(progress)
        for left in reversed(range(critic_moves)):
            batch = next(batches)
            with torch.set_grad_enabled(not (left or own)):
                fake = G(self.noise(batch, "z"))
            self.last_of_D = not left
            yield "D", *self.discriminator_loss(batch["image"], fake.detach(), self.game.alpha(batch))
        if own:
            fake = G(self.noise(batch, "z_G"))
        yield "G", *self.generator_loss(fake)

    def critic_moves(self, progress: Progress) -> int:
        """Count D's moves before G's next one: `burst` while a critic is to come near its optimum, else n_critic."""
        return self.config.burst if self.phase(progress) else self.config.n_critic

    def phase(self, progress: Progress) -> bool:
        """Tell if a burst of D's moves comes next."""
        k, made = self.config, progress.moves.get("G", 0)
        return bool(k.burst) and (made < k.burst_until or bool(k.burst_every and made % k.burst_every == 0))

    @moves("D")
    def discriminator_loss(self, x: Tensor, fake: Tensor, alpha: Tensor | None) -> Objective:
        """-E[log D(x)] - E[log(1 - D(G(z)))], not halved (Goodfellow et al. 2014, Eq. 1); real and made go through D
        apart where it has batch norm.

        For a critic f, E[f(G(z))] - E[f(x)] (WGAN, Alg. 1), plus lambda E[(||grad f(x_hat)|| - 1)^2] (WGAN-GP, Eq. 3).
        """
        real, made = self.each("D", x, fake)
        l_real, l_fake = self.game.real(real), self.game.fake(made)
        gp = self.game.penalty(self.networks["D"], x, fake, alpha)
        loss = l_real + l_fake + self.config.lambda_gp * gp
        terms = {"real": l_real, "fake": l_fake} | ({} if alpha is None else {"gp": gp})
        return loss, terms, self.game.scores([real], [made])

    @moves("G")
    def generator_loss(self, fake: Tensor) -> Objective:
        """-E[log D(G(z))], or -E[f(G(z))] of a critic."""
        l_gan = self.game.generator(self.networks["D"](fake))
        return l_gan, {"gan": l_gan}

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        """Give G(z)."""
        return self.networks["G"]

    def preview(self, batch: Batch) -> dict[str, Column]:
        """Show images of drawn codes beside real ones."""
        made = (self.translate({}, {"z": self.draw_codes(batch.keys, i)}, keys=batch.keys) for i in range(SHOWN))
        columns: dict[str, Column] = {f"made G(z{i})": one["image"] for i, one in enumerate(made)}
        return columns | {"real x": "image"}


def generator_of(k: DCGANConfig) -> nn.Module:
    """Build G."""
    if k.generator == "mlp":
        return MLPGenerator(k.z_dim, (k.channels, *sides(k.image_size)))
    return DCGANGenerator(k.image_size, k.channels, k.z_dim, k.g_base, k.kernel, k.g_norm, k.biases)


def discriminator_of(k: DCGANConfig) -> nn.Module:
    """Build D."""
    if k.discriminator == "mlp":
        return MLPDiscriminator((k.channels, *sides(k.image_size)))
    return DCGANDiscriminator(k.image_size, k.channels, k.d_base, k.kernel, k.d_norm, k.biases)
