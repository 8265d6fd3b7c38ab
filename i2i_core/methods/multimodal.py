"""What BicycleGAN and the three systems it is built from have in common (Zhu et al., NIPS 2017, arXiv:1711.11586).

a_BCHW input, b_BCHW one of its possible outputs, both in [-1, 1]; z_BZ a code, N(0, 1). `pix2pix_noise` goes z -> b,
`cvae_gan` b -> z -> b, `clr_gan` z -> b -> z, and `bicyclegan` both ways.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.errors import ConfigError
from i2i_core.fields import Schema
from i2i_core.methods.base import Direction, Method, Move, Needs, Objective, Player, Progress, moves, paired_channels
from i2i_core.methods.game import Game, GameConfig, check_critic_norm
from i2i_core.networks.encoder import Encoder
from i2i_core.networks.init import init_xavier
from i2i_core.networks.layers import Upsample
from i2i_core.networks.patchgan import MultiScale, check_two_scales, two_scales
from i2i_core.networks.unet import NoiseAt, UNet, check_unet_size, downs_for
from i2i_core.randomness import seed_from
from i2i_core.settings import check_at_least, check_between, check_choice, check_positive, setting


@dataclass(frozen=True)
class MultimodalConfig(GameConfig):
    """Networks and terms that the four systems share."""

    adversarial: Literal["minimax", "nonsaturating", "lsgan", "wgan", "wgan-gp", "hinge"] = setting("lsgan")
    """The adversarial terms; the paper's are least squares (sec. 4)."""
    image_size: int = setting(256)
    """Height and width of training images, pixels; a multiple of 2^downs."""
    in_channels: int = setting(3, derived=True)
    """Channels of a; taken from the data."""
    out_channels: int = setting(3, derived=True)
    """Channels of b; taken from the data."""
    z_dim: int = setting(8)
    """Length of the code z (sec. 4)."""
    z_at: NoiseAt = setting("all")
    """Where G reads z: beside its input, or beside the input of every down-block (Fig. 3)."""
    conditional_d: bool = setting(False)
    """Whether the discriminators see a as well; the authors' do not."""
    matching_aware: bool = setting(False)
    """Count a true output beside another image's input as made (Reed et al. 2016, Alg. 1); for discriminators that see
    a. The other input is that of one more batch."""
    n_critic: int = setting(1)
    """Moves of the discriminators per move of the generators; after the first, each on fresh batches."""
    g_base: int = setting(64)
    """Channels of G's first layer."""
    d_base: int = setting(64)
    """Channels of the discriminators' first layer; the second scale has half."""
    d_layers: int = setting(3)
    """Stride-2 layers of the discriminators: 3 for 256 px, 2 for 128."""
    downs: int = setting(0)
    """Stride-2 layers of G; 0: down to 1x1 at this image size, at most 8."""
    upsample: Upsample = setting("transposed")
    """How G doubles the image; `resize` and `shuffle` have no checkerboard built in."""
    norm: Literal["instance", "batch"] = setting("instance")
    """Normalisation in all networks."""
    dropout: float = setting(0.0)
    """Probability of dropout in the up-blocks of G after the innermost, at most three, while it trains; images are made
    without it (but for --test-dropout on). The authors' training scripts switch it on (0.5)."""
    lr: float = setting(2e-4)
    """Learning rate of both players."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "in_channels", "out_channels", "z_dim", "g_base", "n_critic", "d_layers")
        check_at_least(self, 2, "d_base")
        check_at_least(self, 0, "downs")
        check_positive(self, "lr")
        check_between(self, 0, 1, "dropout")
        check_choice(self, "z_at", ("input", "all"))
        check_choice(self, "norm", ("instance", "batch"))
        check_unet_size(self.image_size, self.g_downs)
        check_two_scales(self.image_size, self.d_layers)
        check_critic_norm(self, self.norm)
        if self.matching_aware and not self.conditional_d:
            fix = "Give --conditional-d as well, or leave --matching-aware out."
            found = "discriminators that do not see the input"
            raise ConfigError("--matching-aware", found, "--conditional-d: there is no condition to match", fix)

    @property
    def g_downs(self) -> int:
        """Stride-2 layers of G."""
        return downs_for(self.image_size, self.downs)


@dataclass(frozen=True)
class EncodingConfig(MultimodalConfig):
    """Of the systems with an encoder."""

    e_base: int = setting(64)
    """Channels of the encoder's first layer."""
    e_blocks: int = setting(0)
    """Residual blocks of the encoder, each of which halves the image; 0: down to 8x8 (4 at 256 px), at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "e_base")
        check_at_least(self, 0, "e_blocks")
        if self.image_size < 2 ** (self.blocks + 1):
            fix = f"Give --e-blocks {max(1, self.image_size.bit_length() - 2)} or less."
            raise ConfigError("--e-blocks", str(self.blocks), f"an image left of {self.image_size} px", fix)

    @property
    def blocks(self) -> int:
        return self.e_blocks or max(1, self.image_size.bit_length() - 5)


Config = TypeVar("Config", bound=MultimodalConfig)

AUTHORS: dict[str, Any] = {
    "training.batch": 1,
    "training.epochs": 60.0,
    "training.lr_schedule": "epochs",
    "data.load_size": 286,
    "data.crop": "random",
    "data.flip": True,
}
"""Training as the authors' program does it."""

SCRIPTS: dict[str, Any] = {**AUTHORS, "hyper.dropout": 0.5}
"""The same with what all of their training scripts ask for."""

TINY: dict[str, Any] = {
    "hyper.image_size": 32,
    "hyper.g_base": 16,
    "hyper.d_base": 8,
    "hyper.d_layers": 2,
    "hyper.upsample": "resize",
    "hyper.lr": 1e-3,
    "training.batch": 8,
    "training.images": 10_000,
    "training.lr_schedule": "linear",
    "training.ema_halflife": 500,
    "data.flip": False,
    "data.crop": "none",
    "data.loaders": 0,
    "monitoring.grid_every": 2_500,
    "monitoring.checkpoint_every": 2_500,
}
"""The demos: 32 px glyphs, black on white -> white on a colour that the input does not tell; resize and convolution,
since transposed ones weave a pattern into the colour."""

COLOURS: dict[str, Any] = {
    "variant": "colour",
    "white_paper": True,
    "styles": ("sans-regular", "sans-bold", "serif-regular", "serif-bold"),
}
"""The demos' data."""


@dataclass(frozen=True)
class Drawn:
    """What an update of any of the four systems is computed on."""

    a: Tensor
    b: Tensor
    fake: Tensor
    """G(a, z)."""
    other_a: Tensor | None
    """Inputs of other images, for matching-aware discriminators."""
    alpha: Tensor | None
    """Where the gradient penalty is taken; None: there is none."""


class Multimodal(Method[Config]):
    """G turns a and a code into one of a's outputs; each discriminator judges outputs at two scales."""

    needs = Needs("paired", ("a", "b"))
    generators = ("G",)
    codes = True
    variance: ClassVar[bool] = True
    """Whether the encoder says how sure it is of a code."""

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
        self.players = {"generators": Player(tuple(self.networks), k.move(k.lr))}
        for name in discriminators:
            self.networks[name] = self._discriminator()
        clip = self.game.after_move(*(self.networks[name] for name in discriminators))
        self.players = {**self.players, "discriminators": Player(tuple(discriminators), k.move(k.lr), clip)}
        for network in self.networks.values():
            init_xavier(network, generator)

    def _discriminator(self) -> MultiScale:
        k = self.config
        channels = k.out_channels + (k.in_channels if k.conditional_d else 0)
        return two_scales(channels, k.d_base, k.d_layers, k.norm)

    @staticmethod
    def fit(config: Any, schema: Schema, direction: Direction) -> Any:
        """The channels of both sides from the data."""
        a, b = paired_channels(schema, direction)
        return replace(config, in_channels=a, out_channels=b)

    def seen(self, a: Tensor, b: Tensor) -> Tensor:
        """What a discriminator judges: the output alone, or beside its input."""
        return torch.cat([a, b], dim=1) if self.config.conditional_d else b

    def draw(self, batches: Iterator[Batch]) -> Any:
        """A fresh batch with its noise, and what G makes of it: what the objectives are computed on."""
        raise TypeError("a system defines draw")

    def generators_loss(self, drawn: Any) -> Objective:
        """The system's objective for G, and E where it has one; marked with the player it moves."""
        raise TypeError("a system defines generators_loss")

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """The generators on a batch; then the discriminators on it, n_critic times, on fresh ones after that."""
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
        l_real, l_fake, gp = self.judged(
            self.networks["D"], drawn.a, drawn.b, drawn.a, drawn.fake, drawn.other_a, drawn.alpha
        )
        loss = l_real + l_fake + self.config.lambda_gp * gp
        return loss, {"real": l_real, "fake": l_fake} | ({} if drawn.alpha is None else {"gp": gp})

    def judged(
        self,
        D: nn.Module,
        a: Tensor,
        b: Tensor,
        fake_a: Tensor,
        fake: Tensor,
        wrong_a: Tensor | None,
        alpha: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """D's terms: on the true output b of a; on the made one of fake_a, with b beside the wrong input, half each,
        where that is asked for; and the gradient penalty."""
        real, made = self.seen(a, b), self.seen(fake_a, fake.detach())
        wrong = None if wrong_a is None else self.seen(wrong_a, b)
        l_real, l_fake = self.game.real(D(real)), self.game.made(D, made, wrong)
        return l_real, l_fake, self.game.penalty(D, real, made, alpha)

    def code_of(self, b: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log variance of E(b), and z drawn from it by the noise eps (reparameterised, sec. 3.2)."""
        mean, log_variance = self.networks["E"](b)
        return mean, log_variance, mean + eps * (log_variance / 2).exp()

    def draw_codes(self, keys: Sequence[str], sample: int = 0) -> Tensor:
        """(n, Z) codes from N(0, 1), on the networks' device; the same key and sample give the same code."""
        drawn = [
            torch.randn(self.config.z_dim, generator=torch.Generator().manual_seed(seed_from("code", key, sample)))
            for key in keys
        ]
        return torch.stack(drawn).to(next(self.parameters()))

    def encode(self, b: Tensor) -> Tensor:
        """(n, Z) the mean of E(b)."""
        with self.translating("E"):
            mean, _ = self.networks["E"](b)
        return mean

    def translate(self, x: Tensor, *, keys: Sequence[str] | None = None, **control: Any) -> Tensor:
        """G(x, z): with the codes `z` (n, Z), else with one drawn from each image's key."""
        z = control.get("z")
        if z is None:
            z = self.draw_codes(list(map(str, range(len(x)))) if keys is None else keys)
        with self.translating(keys=keys):
            return self.networks["G"](x, z.to(x))

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Input, truth, the truth's own code where there is an encoder, and three drawn codes."""
        a, b = batch["a"], batch["b"]
        columns = {"a": a, "b": b}
        if self.encodes:
            columns["G(a, E(b))"] = self.translate(a, keys=batch.keys, z=self.encode(b))
        for i in range(3):
            columns[f"G(a, z{i})"] = self.translate(a, keys=batch.keys, z=self.draw_codes(batch.keys, i))
        return columns
