"""UNIT: translation through a latent space that two domains share (Liu et al., NIPS 2017, arXiv:1703.00848).

x1_BCHW images of domain A (the paper's X1), x2_BCHW images of domain B (its X2), both in [-1, 1]; latent codes
z = mu + N(0, 1) of shape (B, 4 base, H / 4, W / 4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.fields import Schema
from i2i_core.losses.kl import kl_unit_variance
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import Direction, Method, Move, Needs, Objective, Player, Progress, moves, same_channels
from i2i_core.methods.game import Game, GameConfig
from i2i_core.networks import vae
from i2i_core.networks.init import init_kaiming, init_normal
from i2i_core.networks.layers import Upsample, check_multiple
from i2i_core.registry import Preset, register
from i2i_core.settings import check_at_least, check_choice, check_positive, setting


@dataclass(frozen=True)
class UNITConfig(GameConfig):
    """UNIT's own hyper-parameters."""

    image_size: int = setting(256)
    """Height and width of training images, pixels; a multiple of 4."""
    channels: int = setting(3, derived=True)
    """Channels of both domains; taken from the data."""
    architecture: Literal["paper", "later"] = setting("paper")
    """The paper's networks, with tied layers; or those of the authors' later program, without."""
    lambda_gan: float = setting(10.0)
    """Weight of the adversarial terms (Eq. 4, lambda_0)."""
    lambda_rec: float = setting(100.0)
    """Weight of the reconstruction within a domain (Eq. 3, lambda_2)."""
    lambda_kl: float = setting(0.1)
    """Weight of the codes' distance from N(0, 1) (Eq. 3, lambda_1)."""
    kl_of: Literal["mean", "code"] = setting("mean")
    """What that distance squares, of images and of translations: the codes' mean (the article; the authors' later
    program), or the codes with their noise (the authors' first program)."""
    g_noise: Literal["shared", "own"] = setting("shared")
    """Noise of the codes in the generators' move: that of the discriminators' move on the same batch, so that both see
    the same fakes; or its own, which makes new fakes (the authors' later program)."""
    lambda_cyc: float = setting(100.0)
    """Weight of the reconstruction after there and back (Eq. 5, lambda_4)."""
    lambda_cyc_kl: float = setting(0.1)
    """Weight of the distance from N(0, 1) of the translations' codes (Eq. 5, lambda_3)."""
    n_critic: int = setting(1)
    """Moves of the discriminators, each on a fresh batch, per move of the generators."""
    g_base: int = setting(64)
    """Channels of the encoders' first layer."""
    d_base: int = setting(64)
    """Channels of the discriminators' first layer."""
    blocks: int = setting(0)
    """Residual blocks of a domain's own encoder and generator; 0: 3 in the paper's networks, 4 in the later ones."""
    d_layers: int = setting(0)
    """Stride-2 convolutions of a discriminator; 0: 6 in the paper's networks, 4 in the later ones."""
    d_scales: int = setting(3)
    """Scales of a later discriminator."""
    upsample: Literal["", "transposed", "resize", "shuffle"] = setting("")
    """How the generators double the image; none named: as the architecture does (transposed, resize)."""
    lr: float = setting(1e-4)
    """Learning rate of both players."""
    weight_decay: float = setting(1e-4)
    """L2 weight decay of both players."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "channels", "n_critic", "g_base", "d_base", "d_scales")
        check_at_least(self, 0, "lambda_gan", "lambda_rec", "lambda_kl", "lambda_cyc", "lambda_cyc_kl")
        check_at_least(self, 0, "blocks", "d_layers", "weight_decay")
        check_positive(self, "lr")
        check_choice(self, "architecture", ("paper", "later"))
        check_choice(self, "kl_of", ("mean", "code"))
        check_choice(self, "g_noise", ("shared", "own"))
        check_multiple(self.image_size, 4, "UNIT's encoder")
        if self.architecture == "later":  # reflect padding needs two pixels, at the coarsest scale and layer
            check_multiple(self.image_size, 2 ** (self.d_scales - 1 + (self.d_layers or 4)), "UNIT's discriminator")


SQUARES = {"training.batch": 1, "data.load_size": 286, "data.crop": "random", "data.flip": True}
ARTICLE = {**SQUARES, "training.images": 500_000, "training.lr_schedule": "constant"}
PAPER = Preset(
    """The article: tied layers, GAN 10, reconstruction 100, KL 0.1, cycle 100, cycle KL 0.1, Adam 1e-4 with weight
    decay 1e-4, batch 1, 500,000 iterations.

    Data: `shard.py --layout unpaired`. Command: `train.py --method unit --preset paper --data URI`. No score was
    measured here. The article's KL term is half the sum of mu^2 over the code; ours is the mean of mu^2, which is the
    scale that the programs' weights are for. Differs from `reference_2017`: the KL terms are of the mean of the code.
    Differs from `reference`: networks, weights, schedule, data, and one draw of noise serves both players.""",
    ARTICLE,
)
REFERENCE_2017 = Preset(
    """The authors' first program (2017): as `paper`, but the KL terms square the code with its noise in it, where the
    article has the mean of the code. (The gradient is the same on average, and noisier.)

    Data and command as for `paper`, with `--preset reference_2017`. One draw of noise serves both players, as in
    `paper`; whether that program draws again for the generators was not checked (`--g-noise own` does).""",
    {**ARTICLE, "hyper.kl_of": "code"},
)
REFERENCE = Preset(
    """The authors' later program: no tied layers, one autoencoder per domain with its own norm in the decoder, three
    scales of least-squares discriminators, GAN 1, reconstruction 10, KL 0.01, cycle 10, cycle KL 0.01, a learning rate
    halved every 100,000 of 1,000,000 iterations. The generators move on noise of their own, and so on other fakes than
    the discriminators have just seen. The shorter side of an image is resized to the image size (256), bilinear, and
    the square that is trained on cut out of it anywhere: shapes are kept. (Its optional loss on VGG features is off
    there too.)

    Data and command as for `paper`, with `--preset reference`; shard without --load-size, or with `--fit shorter
    --resample bilinear`, lest the shape is gone before training.""",
    {
        "training.batch": 1,
        "data.load_size": 0,
        "data.fit": "shorter",
        "data.resample": "bilinear",
        "data.crop": "random",
        "data.flip": True,
        "hyper.architecture": "later",
        "hyper.adversarial": "lsgan",
        "hyper.lambda_gan": 1.0,
        "hyper.lambda_rec": 10.0,
        "hyper.lambda_kl": 0.01,
        "hyper.lambda_cyc": 10.0,
        "hyper.lambda_cyc_kl": 0.01,
        "hyper.g_noise": "own",
        "training.images": 1_000_000,
        "training.lr_schedule": "steps",
        "training.lr_step": 100_000,
        "training.lr_step_factor": 0.5,
    },
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs (regular <-> bold, no character in both): the paper's tied
    networks at 32 px, 12 channels, 1 block, batch 8, learning rate 1e-3, averaged generators. Command: `make demo
    METHOD=unit`. Score: docs/methods.md, which is measured.""",
    {
        "hyper.image_size": 32,
        "hyper.g_base": 12,
        "hyper.d_base": 16,
        "hyper.blocks": 1,
        "hyper.d_layers": 3,
        "hyper.lr": 1e-3,
        "hyper.weight_decay": 0.0,
        "training.batch": 8,
        "training.images": 6_000,
        "training.lr_schedule": "linear",
        "training.ema_halflife": 500,
        "data.flip": False,
        "data.crop": "none",
        "data.loaders": 0,
        "monitoring.grid_every": 2_000,
        "monitoring.checkpoint_every": 2_000,
    },
    {"faces": ("sans-regular", "sans-bold")},
)


class Noise(NamedTuple):
    """N(0, 1) for four codes: of both domains' images, and of their translations."""

    x1: Tensor
    x2: Tensor
    x12: Tensor
    x21: Tensor


class Made(NamedTuple):
    """Means of the codes of x1 and x2, and what becomes of them: x21 is x2 in domain 1."""

    mu1: Tensor
    mu2: Tensor
    x11: Tensor
    x22: Tensor
    x12: Tensor
    x21: Tensor


PRESETS = {"paper": PAPER, "reference_2017": REFERENCE_2017, "reference": REFERENCE, "demo": DEMO}


@register("unit", UNITConfig, PRESETS)
class UNIT(Method[UNITConfig]):
    """E1, E2 encode, G1, G2 generate, D1, D2 judge. In the paper's networks the last layer of the encoders is one
    and the same module, and so is the first of the generators."""

    needs = Needs("unpaired", ("a", "b"))
    generators = ("E1", "E2", "G1", "G2")
    two_way = True

    def __init__(self, config: UNITConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        k = config
        self.networks = nn.ModuleDict(_paper_networks(k) if k.architecture == "paper" else _later_networks(k))
        coders = nn.ModuleDict({name: self.networks[name] for name in self.generators})
        (init_normal if k.architecture == "paper" else init_kaiming)(coders, generator)
        init_normal(self.networks["D1"], generator)
        init_normal(self.networks["D2"], generator)
        self.game = Game(k)
        clip = self.game.after_move(self.networks["D1"], self.networks["D2"])
        self.players = {
            "discriminators": Player(("D1", "D2"), k.move(k.lr, k.weight_decay), clip),
            "generators": Player(self.generators, k.move(k.lr, k.weight_decay)),
        }

    @staticmethod
    def fit(config: UNITConfig, schema: Schema, direction: Direction) -> UNITConfig:
        """The channels, the same in both domains, from the data."""
        return replace(config, channels=same_channels(schema, "the data"))

    def noise(self, batch: Batch, name: str = "z") -> Noise:
        """The batch's noise of that name; every code has one shape."""
        side = self.config.image_size // 4
        shape = (4 * self.config.g_base, side, side)
        return Noise(*(batch.draw(f"{name}_{code}", *shape) for code in Noise._fields))

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
        """Codes of both images, and their images in both domains."""
        E1, E2, G1, G2 = (self.networks[name] for name in self.generators)
        mu1, mu2 = E1(x1), E2(x2)
        z1, z2 = mu1 + noise.x1, mu2 + noise.x2
        return Made(mu1, mu2, x11=G1(z1), x22=G2(z2), x12=G2(z1), x21=G1(z2))

    @moves("discriminators")
    def discriminators_loss(self, x1: Tensor, x2: Tensor, x21: Tensor, x12: Tensor, alpha: Tensor | None) -> Objective:
        """-lambda_0 L_GAN of both domains (Eq. 4)."""
        k, D1, D2 = self.config, self.networks["D1"], self.networks["D2"]
        l_1 = self.game.real(D1(x1)) + self.game.fake(D1(x21))
        l_2 = self.game.real(D2(x2)) + self.game.fake(D2(x12))
        gp = self.game.penalty(D1, x1, x21, alpha) + self.game.penalty(D2, x2, x12, alpha)
        loss = k.lambda_gan * (l_1 + l_2 + k.lambda_gp * gp)
        return loss, {"D1": l_1, "D2": l_2} | ({} if alpha is None else {"gp": gp})

    @moves("generators")
    def generators_loss(self, x1: Tensor, x2: Tensor, made: Made, noise: Noise) -> Objective:
        """Eq. 2: L_VAE (Eq. 3) + L_GAN (Eq. 4) + L_CC (Eq. 5) of both domains."""
        k, (E1, E2, G1, G2) = self.config, (self.networks[name] for name in self.generators)
        mu12, mu21 = E2(made.x12), E1(made.x21)
        x121, x212 = G1(mu12 + noise.x12), G2(mu21 + noise.x21)
        l_rec = l1(made.x11, x1) + l1(made.x22, x2)
        l_kl = self.kl(made.mu1, noise.x1) + self.kl(made.mu2, noise.x2)
        l_gan = self.game.generator(self.networks["D1"](made.x21)) + self.game.generator(self.networks["D2"](made.x12))
        l_cyc = l1(x121, x1) + l1(x212, x2)
        l_cyc_kl = self.kl(mu12, noise.x12) + self.kl(mu21, noise.x21)
        loss = (
            k.lambda_gan * l_gan
            + k.lambda_rec * l_rec
            + k.lambda_kl * l_kl
            + k.lambda_cyc * l_cyc
            + k.lambda_cyc_kl * l_cyc_kl
        )
        return loss, {"gan": l_gan, "rec": l_rec, "kl": l_kl, "cyc": l_cyc, "cyc_kl": l_cyc_kl}

    def kl(self, mu: Tensor, noise: Tensor) -> Tensor:
        """A code's distance from N(0, 1): of its mean, or of the code with its noise (`kl_of`)."""
        return kl_unit_variance(mu if self.config.kl_of == "mean" else mu + noise)

    def translate(self, x: Tensor, *, keys: Sequence[str] | None = None, **control: Any) -> Tensor:
        """G2(E1(x)), from the mean of the code. Deterministic: `keys` is not used."""
        with self.translating():
            return self.networks["G2"](self.networks["E1"](x))

    def back(self, y: Tensor) -> Tensor:
        """G1(E2(y)), from the mean of the code."""
        with self.translating():
            return self.networks["G1"](self.networks["E2"](y))

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Both ways, and there and back."""
        x1, x2 = batch["a"], batch["b"]
        there, back = self.translate(x1), self.back(x2)
        return {"x1": x1, "x12": there, "x121": self.back(there), "x2": x2, "x21": back, "x212": self.translate(back)}


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
