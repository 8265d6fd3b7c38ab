"""What BicycleGAN and the three systems it is built from have in common (Zhu et al., NIPS 2017, arXiv:1711.11586).

a_BCHW input, b_BCHW one of its possible outputs, both in [-1, 1]; z_BZ a code, N(0, 1). `pix2pix_noise` goes z -> b,
`cvae_gan` b -> z -> b, `clr_gan` z -> b -> z, and `bicyclegan` both ways.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.methods.multimodal import EncodingConfig, MultimodalConfig
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
    paired_channels,
)
from i2i_core.methods.controls import Code
from i2i_core.methods.game import Game, Maps
from i2i_core.networks.encoder import Encoder
from i2i_core.networks.init import init_xavier
from i2i_core.networks.patchgan import MultiScale, two_scales
from i2i_core.networks.unet import UNet

Config = TypeVar("Config", bound=MultimodalConfig)


@dataclass(frozen=True)
class Drawn:
    """Hold the batch that an update's objectives are computed on: inputs a, true outputs b, and what G made."""

    a: Tensor
    b: Tensor
    fake: Tensor
    """G(a, z)."""
    other_a: Tensor | None
    """Inputs of other samples, for matching-aware discriminators."""
    alpha: Tensor | None
    """Places at which the gradient penalty is taken; None: there is no penalty."""


@dataclass(frozen=True)
class Said:
    """Hold a discriminator's outputs: for true images, for fakes, and for true ones beside a wrong input if any."""

    real: Maps
    fake: Maps
    wrong: Maps | None
    between: tuple[Tensor, Tensor]
    """The true and the fake images that it judged, for the penalty."""

    @property
    def made(self) -> list[Maps]:
        """Outputs for everything that counts as fake."""
        return [self.fake] if self.wrong is None else [self.fake, self.wrong]


class Multimodal(Method[Config]):
    """Share what the four systems of the paper have in common.

    G turns a and a code into one of a's outputs; each discriminator judges outputs at two scales.
    """

    needs = Needs({"a": "image", "b": "image"})
    inputs, outputs = {"a": "image"}, {"b": "image"}
    controls: ClassVar = {"z": Code()}
    generators = ("G",)
    any_size = True
    variance: ClassVar[bool] = True
    """True if the encoder also predicts the code's variance."""

    def __init__(self, config: Config, generator: torch.Generator, discriminators: Sequence[str] = ("D",)) -> None:
        super().__init__(config)
        k = config
        G = UNet(
            k.in_channels,
            k.out_channels,
            k.g_base,
            k.g_downs,
            k.norm,
            dropout=k.dropout,
            dropout_at="after_innermost",
            upsample=k.upsample,
            z_dim=k.z_dim,
            z_at=k.z_at,
        )
        self.networks = nn.ModuleDict({"G": G})
        if isinstance(k, EncodingConfig):
            self.networks["E"] = Encoder(k.out_channels, k.z_dim, k.e_base, k.blocks, k.norm, self.variance)
        self.game = Game(k)
        self.players = {"generators": Player(tuple(self.networks), self.game.move(k.lr))}
        for name in discriminators:
            self.networks[name] = self._discriminator()
        clip = self.game.after_move(*(self.networks[name] for name in discriminators))
        self.players = {**self.players, "discriminators": Player(tuple(discriminators), self.game.move(k.lr), clip)}
        for network in self.networks.values():
            init_xavier(network, generator)

    def _discriminator(self) -> MultiScale:
        k = self.config
        channels = k.out_channels + (k.in_channels if k.conditional_d else 0)
        return two_scales(channels, k.d_base, k.d_layers, k.norm)

    @staticmethod
    def fit(config: Any, schema: Schema, direction: Direction) -> Any:
        """Take the channels of both sides from the data."""
        a, b = paired_channels(schema, direction)
        return replace(config, in_channels=a, out_channels=b)

    def seen(self, a: Tensor, b: Tensor) -> Tensor:
        """Give what a discriminator judges: the output alone, or beside its input."""
        return torch.cat([a, b], dim=1) if self.config.conditional_d else b

    def draw(self, batches: Iterator[Batch]) -> Any:
        """Take a fresh batch with its noise, and what G makes of it: what the objectives are computed on."""
        raise TypeError("a system defines draw")

    def generators_loss(self, drawn: Any) -> Objective:
        """Compute the system's objective for G, and E where it has one; marked with the player it moves."""
        raise TypeError("a system defines generators_loss")

    def channels(self) -> Mapping[str, int]:
        """Give the channels of both sides."""
        return {"a": self.config.in_channels, "b": self.config.out_channels}

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Move the generators on a batch; then the discriminators on it, n_critic times, on fresh ones after that."""
        drawn = self.draw(batches)
        yield "generators", *self.generators_loss(drawn)
        for move in range(self.config.n_critic):
            if move:
                with torch.no_grad():
                    drawn = self.draw(batches)
            yield "discriminators", *self.discriminators_loss(drawn)

    @moves("discriminators")
    def discriminators_loss(self, drawn: Drawn) -> Objective:
        """-L_GAN of the one discriminator, not halved."""
        said = self.judged("D", drawn.a, drawn.b, drawn.a, drawn.fake, drawn.other_a)
        l_real, l_fake = self.game.real(said.real), self.game.made(said.fake, said.wrong)
        gp = self.game.penalty(self.networks["D"], *said.between, drawn.alpha)
        loss = l_real + l_fake + self.config.lambda_gp * gp
        terms = {"real": l_real, "fake": l_fake} | ({} if drawn.alpha is None else {"gp": gp})
        return loss, terms, self.game.scores([said.real], said.made)

    def judged(self, D: str, a: Tensor, b: Tensor, fake_a: Tensor, fake: Tensor, wrong_a: Tensor | None) -> Said:
        """Ask a discriminator about the true output b of a, the made one of fake_a, and b beside a wrong input."""
        real, made = self.seen(a, b), self.seen(fake_a, fake.detach())
        wrongs = [] if wrong_a is None else [self.seen(wrong_a, b)]
        of_real, of_made, *of_wrong = self.each(D, real, made, *wrongs)
        return Said(of_real, of_made, of_wrong[0] if of_wrong else None, (real, made))

    def code_of(self, b: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log variance of E(b), and z drawn from it by the noise eps (reparameterised, sec. 3.2)."""
        mean, log_variance = self.networks["E"](b)
        return mean, log_variance, mean + eps * (log_variance / 2).exp()

    @property
    def code_length(self) -> int:
        """Give |z|."""
        return self.config.z_dim

    @property
    def least_encoded(self) -> int:
        """Give what E halves to one pixel."""
        E = self.networks["E"]
        assert isinstance(E, Encoder)
        return E.least

    def encode(self, images: Tensor, direction: Direction = "AtoB") -> Tensor:
        """Give the mean of E(b), (n, Z)."""
        with self.translating("E"):
            mean, _ = self.networks["E"](images)
        return mean

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        """G(a, z)."""
        return self.networks["G"]

    def preview(self, batch: Batch) -> dict[str, Column]:
        """Show input, truth, the output for the truth's own code where there is an encoder, and three drawn codes."""
        a, b = batch["a"], batch["b"]
        columns: dict[str, Column] = {"source a": "a", "truth b": "b"}
        if self.encodes:
            columns["translation G(a, E(b))"] = self.image_from(a, keys=batch.keys, z=self.encode(b))
        for i in range(3):
            columns[f"translation G(a, z{i})"] = self.image_from(a, keys=batch.keys, z=self.draw_codes(batch.keys, i))
        return columns
