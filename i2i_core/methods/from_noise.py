"""Share what methods that make images of noise have in common: codes, the order of the players' moves, the objective.

x_BCHW images in [-1, 1]; z_BZ codes, each number N(0, 1) or uniform in [-1, 1]; y_BA labels, where a method has any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.methods.from_noise import FromNoiseConfig
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

SHOWN = 4
"""Images of a row of the grid that are made of codes."""
Config = TypeVar("Config", bound=FromNoiseConfig)


class FromNoise(Method[Config]):
    """Share what methods that train G: z -> x on images alone have in common; D tells real images from made ones.

    G and D take labels y before z and after x, where a method has any: it then gives them by `told`.
    """

    needs = Needs({"image": "image"})
    outputs: Mapping[str, str] = {"image": "image"}
    controls: ClassVar = {"z": Code()}
    generators = ("G",)

    def __init__(self, config: Config, G: nn.Module, D: nn.Module) -> None:
        """Group networks whose first weights are drawn."""
        super().__init__(config)
        self.networks = nn.ModuleDict({"G": G, "D": D})
        self.game = Game(config)
        self.clip = self.game.after_move(D)
        self.last_of_D = False
        """True while the next move of D is the last one before G's."""
        after_D, after_G = self.clip, None
        if self.clip and config.clip_at == "before":
            self.clip(torch.zeros(()))
            after_D, after_G = self._clip_for_next, self.clip
        self.players = {
            "D": Player(("D",), self.game.move(config.lr), after_D),
            "G": Player(("G",), self.game.move(config.lr), after_G),
        }

    def _clip_for_next(self, suppressed: Tensor) -> None:
        """Clip D before its next move. Where G moves first, D is clipped after G."""
        if self.clip and not self.last_of_D:
            self.clip(suppressed)

    @staticmethod
    def fit(config: Any, schema: Schema, direction: Direction) -> Any:
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

    def told(self, batch: Batch) -> tuple[Tensor, ...]:
        """Give what G and D take besides codes and images: nothing, or labels (n, A)."""
        return ()

    def made(self, batch: Batch, name: str) -> Tensor:
        """Make images G(z) of codes z ~ p(z), which are drawn by a name."""
        uniform = self.config.prior == "uniform"
        z = batch.draw(name, self.config.z_dim, kind=self.config.prior)
        return self.networks["G"](*self.told(batch), 2 * z - 1 if uniform else z)

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Move D on fresh batches, then G once: on D's last fakes, or on others (Goodfellow et al. 2014, Alg. 1)."""
        own, critic_moves = self.config.g_noise == "own", self.critic_moves(progress)
        for left in reversed(range(critic_moves)):
            batch = next(batches)
            with torch.set_grad_enabled(not (left or own)):
                fake = self.made(batch, "z")
            self.last_of_D = not left
            alpha = self.game.alpha(batch)
            yield "D", *self.discriminator_loss(batch["image"], fake.detach(), alpha, *self.told(batch))
        if own:
            fake = self.made(batch, "z_G")
        yield "G", *self.generator_loss(fake, *self.told(batch))

    def critic_moves(self, progress: Progress) -> int:
        """Count D's moves before G's next one: `burst` while a critic is to come near its optimum, else n_critic."""
        return self.config.burst if self.phase(progress) else self.config.n_critic

    def phase(self, progress: Progress) -> bool:
        """Tell if a burst of D's moves comes next."""
        k, made = self.config, progress.moves.get("G", 0)
        return bool(k.burst) and (made < k.burst_until or bool(k.burst_every and made % k.burst_every == 0))

    @moves("D")
    def discriminator_loss(self, x: Tensor, fake: Tensor, alpha: Tensor | None, *y: Tensor) -> Objective:
        """-E[log D(x)] - E[log(1 - D(G(z)))], not halved (Goodfellow et al. 2014, Eq. 1); with labels, of D(x | y) and
        G(z | y) (Mirza & Osindero 2014, Eq. 2). Real and made go through D apart where it has batch norm.

        For a critic f, E[f(G(z))] - E[f(x)] (WGAN, Alg. 1), plus lambda E[(||grad f(x_hat)|| - 1)^2] (WGAN-GP, Eq. 3).
        """
        D = self.networks["D"]
        real, made = [D(x, *y), D(fake, *y)] if y else self.each("D", x, fake)
        l_real, l_fake = self.game.real(real), self.game.fake(made)
        gp = self.game.penalty(lambda x_hat: D(x_hat, *y), x, fake, alpha)
        loss = l_real + l_fake + self.config.lambda_gp * gp
        terms = {"real": l_real, "fake": l_fake} | ({} if alpha is None else {"gp": gp})
        return loss, terms, self.game.scores([real], [made])

    @moves("G")
    def generator_loss(self, fake: Tensor, *y: Tensor) -> Objective:
        """-E[log D(G(z))], or -E[f(G(z))] of a critic."""
        l_gan = self.game.generator(self.networks["D"](fake, *y))
        return l_gan, {"gan": l_gan}

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        """Give G(z), or G(y, z)."""
        return self.networks["G"]

    def preview(self, batch: Batch) -> dict[str, Column]:
        """Show images of drawn codes beside real ones, of the same labels where there are any."""
        columns: dict[str, Column] = {}
        for i in range(SHOWN):
            told = dict(zip([name for name in self.controls if name != "z"], self.told(batch), strict=True))
            made = self.translate({}, {**told, "z": self.draw_codes(batch.keys, i)}, keys=batch.keys)
            columns[f"made G(z{i})"] = made["image"]
        return columns | {"real x": "image"}
