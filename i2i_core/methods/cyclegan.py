"""CycleGAN: translation between two domains without pairs (Zhu et al., ICCV 2017, arXiv:1703.10593).

x_BCHW images of domain A (the paper's X), y_BCHW images of domain B (its Y), both in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.errors import ConfigError
from i2i_core.fields import Schema
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import (
    Direction,
    Method,
    Move,
    Needs,
    Objective,
    Player,
    Progress,
    moves,
    same_channels,
)
from i2i_core.methods.game import Game, GameConfig, check_critic_norm
from i2i_core.methods.history import FakePool
from i2i_core.networks.init import init_normal
from i2i_core.networks.layers import Upsample, check_multiple
from i2i_core.networks.patchgan import check_patch_size, patch_discriminator
from i2i_core.networks.resnet import ResNetGenerator
from i2i_core.registry import Preset, register
from i2i_core.settings import check_at_least, check_choice, check_positive, setting


@dataclass(frozen=True)
class CycleGANConfig(GameConfig):
    """CycleGAN's own hyper-parameters."""

    adversarial: Literal["minimax", "nonsaturating", "lsgan", "wgan", "wgan-gp", "hinge"] = setting("lsgan")
    """The adversarial terms; the paper's are least squares (sec. 4)."""
    image_size: int = setting(256)
    """Height and width of training images, pixels; a multiple of 4."""
    in_channels: int = setting(3, derived=True)
    """Channels of domain A; taken from the data."""
    out_channels: int = setting(3, derived=True)
    """Channels of domain B; taken from the data."""
    lambda_gan: float = setting(1.0)
    """Weight of the adversarial terms of G and F; 0: cycle alone, without discriminators (sec. 5.1.4)."""
    lambda_cyc: float = setting(10.0)
    """Weight of the cycle-consistency terms (Eq. 3); 0: GAN alone."""
    cycles: Literal["both", "forward", "backward"] = setting("both")
    """Which cycles count: x -> G(x) -> F(G(x)), y -> F(y) -> G(F(y)), or both (sec. 5.1.4)."""
    lambda_id: float = setting(0.5)
    """Weight of the identity terms, times lambda_cyc (sec. 5.2): 0.5 is an effective weight of 5; 0: none."""
    pool_size: int = setting(50)
    """Made images kept per domain, that the discriminators see again (sec. 4); 0: none. Over all slots of the batch."""
    n_critic: int = setting(1)
    """Moves of the discriminators per move of the generators; after the first, each on a fresh batch."""
    g_base: int = setting(64)
    """Channels of the generators' first layer."""
    d_base: int = setting(64)
    """Channels of the discriminators' first layer."""
    blocks: int = setting(0)
    """Residual blocks of the generators; 0: 9 from 256 px on, 6 below."""
    upsample: Upsample = setting("transposed")
    """How the generators double the image; `resize` and `shuffle` have no checkerboard built in."""
    receptive_field: Literal[1, 16, 70, 286] = setting(70)
    """Pixels that one output of a discriminator sees."""
    norm: Literal["instance", "batch"] = setting("instance")
    """Normalisation in all networks."""
    lr: float = setting(2e-4)
    """Learning rate of both players."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "in_channels", "out_channels", "g_base", "d_base", "n_critic")
        check_at_least(self, 0, "lambda_gan", "lambda_cyc", "lambda_id", "pool_size", "blocks")
        check_positive(self, "lr")
        check_choice(self, "cycles", ("both", "forward", "backward"))
        check_choice(self, "receptive_field", (1, 16, 70, 286))
        check_multiple(self.image_size, 4, "the ResNet generator")
        check_critic_norm(self, self.norm)
        if self.in_channels != self.out_channels and self.lambda_id * self.lambda_cyc:
            found = f"{self.lambda_id}, with {self.in_channels} and {self.out_channels} channels"
            fix = "Give --lambda-id 0, or domains of the same number of channels."
            raise ConfigError("--lambda-id", found, "0: G(y) needs images that both sides can be", fix)
        if self.lambda_gan:
            check_patch_size(self.image_size, self.receptive_field)
        elif not self.lambda_cyc:
            found = "0, with --lambda-cyc 0"
            raise ConfigError("--lambda-gan", found, "at least one of them above 0", "Nothing would be learnt.")

    @property
    def g_blocks(self) -> int:
        return self.blocks or (9 if self.image_size >= 256 else 6)


SHARED = {
    "training.batch": 1,
    "training.epochs": 200.0,
    "training.lr_schedule": "epochs",
    "data.load_size": 286,
    "data.crop": "random",
    "data.flip": True,
}
PAPER = Preset(
    """The article: 256 px crops of 286, batch 1, Adam 2e-4 for 100 epochs and to 0 over another 100, least squares,
    lambda 10, pools of 50, 9 blocks, no identity term (the paper has it for paintings to photographs alone).

    Data: horse2zebra and its like, `shard.py --layout unpaired`. Command: `train.py --method cyclegan --preset paper
    --data URI`. Expected for Cityscapes label -> photo (article, table 2): FCN-score .52 per pixel, .17 per class, .11
    IoU; not measured here. Differs from `reference`: no identity term.""",
    {**SHARED, "hyper.lambda_id": 0.0},
)
REFERENCE = Preset(
    """The authors' PyTorch program: as `paper`, with the identity term on (0.5 times lambda: weight 5). The learning
    rate falls as it did up to July 2020; since then that program is one epoch ahead, and its last epoch is at 0.

    Data and command as for `paper`, with `--preset reference`.""",
    SHARED,
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs (regular <-> bold, no character in both): 32 px, 12 channels,
    2 blocks, batch 8, receptive field 16, learning rate 1e-3, averaged generators. Command: `make demo
    METHOD=cyclegan`. Score: docs/methods.md, which is measured.""",
    {
        "hyper.image_size": 32,
        "hyper.g_base": 12,
        "hyper.d_base": 16,
        "hyper.blocks": 2,
        "hyper.receptive_field": 16,
        "hyper.lr": 1e-3,
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


@register("cyclegan", CycleGANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
class CycleGAN(Method[CycleGANConfig]):
    """G turns x into y and F turns y into x; D_Y and D_X tell true from made."""

    needs = Needs("unpaired", ("a", "b"))
    generators = ("G", "F")
    two_way = True

    def __init__(self, config: CycleGANConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        k = config

        def resnet(inputs: int, outputs: int) -> nn.Module:
            return ResNetGenerator(inputs, outputs, k.g_base, k.g_blocks, k.norm, k.upsample)

        self.networks = nn.ModuleDict(
            {"G": resnet(k.in_channels, k.out_channels), "F": resnet(k.out_channels, k.in_channels)}
        )
        self.game = Game(k)
        self.players = {"generators": Player(("G", "F"), k.move(k.lr))}
        if k.lambda_gan:
            self.networks["D_X"] = patch_discriminator(k.receptive_field, k.in_channels, k.d_base, k.norm)
            self.networks["D_Y"] = patch_discriminator(k.receptive_field, k.out_channels, k.d_base, k.norm)
            clip = self.game.after_move(self.networks["D_X"], self.networks["D_Y"])
            self.players = {**self.players, "discriminators": Player(("D_X", "D_Y"), k.move(k.lr), clip)}
            self.pools = {"x": FakePool("pool_x", k.pool_size), "y": FakePool("pool_y", k.pool_size)}
        for network in self.networks.values():
            init_normal(network, generator)

    @staticmethod
    def fit(config: CycleGANConfig, schema: Schema, direction: Direction) -> CycleGANConfig:
        """The channels, the same in both domains, from the data."""
        channels = same_channels(schema, "the data")
        return replace(config, in_channels=channels, out_channels=channels)

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """The generators on a batch; then the discriminators on it and on pooled fakes (sec. 4), n_critic times."""
        batch = next(batches)
        x, y = batch["a"], batch["b"]
        fake_y, fake_x = self.networks["G"](x), self.networks["F"](y)
        yield "generators", *self.generators_loss(x, y, fake_y, fake_x)
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

    @moves("generators")
    def generators_loss(self, x: Tensor, y: Tensor, fake_y: Tensor, fake_x: Tensor) -> Objective:
        """Eq. 3, L_GAN(G) + L_GAN(F) + lambda L_cyc, and + lambda_id lambda L_identity (sec. 5.2)."""
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
            l_id = l1(G(y), y) + l1(F(x), x)
            terms = {**terms, "id": l_id}
        loss = k.lambda_gan * l_gan + k.lambda_cyc * l_cyc + k.lambda_id * k.lambda_cyc * l_id
        return loss, terms

    @moves("discriminators")
    def discriminators_loss(
        self, x: Tensor, y: Tensor, fake_x: Tensor, fake_y: Tensor, alpha: Tensor | None
    ) -> Objective:
        """-L_GAN of each discriminator, halved (sec. 4; 7.1)."""
        D_X, D_Y = self.networks["D_X"], self.networks["D_Y"]
        l_x = self.game.real(D_X(x)) + self.game.fake(D_X(fake_x))
        l_y = self.game.real(D_Y(y)) + self.game.fake(D_Y(fake_y))
        gp = self.game.penalty(D_X, x, fake_x, alpha) + self.game.penalty(D_Y, y, fake_y, alpha)
        loss = (l_x + l_y + self.config.lambda_gp * gp) / 2
        return loss, {"D_X": l_x, "D_Y": l_y} | ({} if alpha is None else {"gp": gp})

    def translate(self, x: Tensor, *, keys: Sequence[str] | None = None, **control: Any) -> Tensor:
        """G(x). Deterministic: `keys` is not used."""
        with self.translating():
            return self.networks["G"](x)

    def back(self, y: Tensor) -> Tensor:
        """F(y)."""
        with self.translating():
            return self.networks["F"](y)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Both ways, and there and back."""
        x, y = batch["a"], batch["b"]
        there, back = self.translate(x), self.back(y)
        return {
            "x": x,
            "G(x)": there,
            "F(G(x))": self.back(there),
            "y": y,
            "F(y)": back,
            "G(F(y))": self.translate(back),
        }
