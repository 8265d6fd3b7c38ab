"""pix2pix: image-to-image translation from pairs (Isola et al., CVPR 2017, arXiv:1611.07004).

a_BCHW input and b_BCHW true output, both in [-1, 1].
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
    paired_channels,
)
from i2i_core.methods.game import Game, GameConfig, check_critic_norm
from i2i_core.networks.init import init_normal
from i2i_core.networks.layers import Upsample
from i2i_core.networks.patchgan import check_patch_size, patch_discriminator
from i2i_core.networks.unet import UNet, check_unet_size, downs_for
from i2i_core.registry import Preset, register
from i2i_core.settings import check_at_least, check_between, check_choice, check_positive, setting


@dataclass(frozen=True)
class Pix2PixConfig(GameConfig):
    """pix2pix's own hyper-parameters."""

    image_size: int = setting(256)
    """Height and width of training images, pixels; a multiple of 2^downs."""
    in_channels: int = setting(3, derived=True)
    """Channels of a; taken from the data."""
    out_channels: int = setting(3, derived=True)
    """Channels of b; taken from the data."""
    objective: Literal["L1+cGAN", "L1+GAN", "cGAN", "GAN", "L1"] = setting("L1+cGAN")
    """Which terms (sec. 4.2): cGAN's D sees the input too, GAN's sees the output alone."""
    matching_aware: bool = setting(False)
    """Count a true output beside another image's input as made (Reed et al. 2016, Alg. 1); for cGAN objectives. The
    other input is that of one more batch."""
    n_critic: int = setting(1)
    """Moves of D, each on a fresh batch, per move of G."""
    lambda_l1: float = setting(100.0)
    """Weight of the L1 term (Eq. 4)."""
    generator: Literal["unet", "encoder_decoder"] = setting("unet")
    """U-Net, or the same without its skips (sec. 4.3)."""
    downs: int = setting(0)
    """Stride-2 layers of G; 0: down to 1x1 at this image size, at most 8."""
    upsample: Upsample = setting("transposed")
    """How G doubles the image; `resize` and `shuffle` have no checkerboard built in."""
    norm: Literal["batch", "instance"] = setting("batch")
    """Normalisation in G and D."""
    dropout: float = setting(0.5)
    """Probability of dropout in G: the only noise z (sec. 2.1)."""
    dropout_at: Literal["innermost", "after_innermost"] = setting("innermost")
    """Which three up-blocks have dropout: the innermost (paper) or those after it (authors' code)."""
    receptive_field: Literal[1, 16, 70, 286] = setting(70)
    """Pixels that one output of D sees (sec. 4.4): PixelGAN, two PatchGANs, ImageGAN."""
    g_base: int = setting(64)
    """Channels of G's first layer (ngf)."""
    d_base: int = setting(64)
    """Channels of D's first layer (ndf)."""
    lr: float = setting(2e-4)
    """Learning rate of both players."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "in_channels", "out_channels", "g_base", "d_base", "n_critic")
        check_at_least(self, 0, "lambda_l1", "downs")
        check_positive(self, "lr")
        check_between(self, 0, 1, "dropout")
        check_choice(self, "receptive_field", (1, 16, 70, 286))
        check_unet_size(self.image_size, self.g_downs)
        if self.objective != "L1":
            check_patch_size(self.image_size, self.receptive_field)
            check_critic_norm(self, self.norm)
        if self.matching_aware and "cGAN" not in self.terms:
            fix = "Give --objective L1+cGAN, or leave --matching-aware out."
            found = f"--objective {self.objective}, whose discriminator does not see the input"
            raise ConfigError("--matching-aware", found, "a cGAN: there is no condition to match", fix)

    @property
    def g_downs(self) -> int:
        """Stride-2 layers of G."""
        return downs_for(self.image_size, self.downs)

    @property
    def terms(self) -> list[str]:
        return self.objective.split("+")


SHARED = {
    "training.batch": 1,
    "training.epochs": 200.0,
    "data.load_size": 286,
    "data.crop": "random",
    "data.flip": True,
}
PAPER = Preset(
    """The article: 256 px crops of 286, batch 1, 200 epochs, Adam 2e-4 kept constant, lambda 100, dropout in
    the three innermost up-blocks, noise on at test time.

    Data: facades, Cityscapes, maps (`shard.py --layout ab`). Command: `train.py --method pix2pix --preset paper
    --data URI`. Expected for Cityscapes label -> photo (article, table 1): FCN-score .66 per pixel, .23 per class,
    .17 IoU; not measured here.
    Differs from `reference`: no learning-rate decay (the first release had none), dropout one block deeper.""",
    {**SHARED, "hyper.dropout_at": "innermost", "training.lr_schedule": "constant"},
)
REFERENCE = Preset(
    """The authors' PyTorch program: as `paper`, but the learning rate is kept for 100 epochs and brought to 0
    epoch by epoch over another 100 (as it did up to July 2020; since then that program is one epoch ahead, and its
    last epoch is at 0), and the three dropouts stand after the innermost up-block.

    Data and command as for `paper`, with `--preset reference`.""",
    {**SHARED, "hyper.dropout_at": "after_innermost", "training.lr_schedule": "epochs"},
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs (outline -> filled and coloured): 64 px, a quarter of the
    channels, batch 8, D of receptive field 16, learning rate 8e-4. Command: `make demo METHOD=pix2pix`, which trains
    it for 9,000 images. Score: see the README, which is measured.""",
    {
        "hyper.image_size": 64,
        "hyper.g_base": 16,
        "hyper.d_base": 16,
        "hyper.receptive_field": 16,
        "hyper.lr": 8e-4,
        "training.batch": 8,
        "training.images": 9_000,
        "training.lr_schedule": "linear",
        "data.flip": False,
        "data.crop": "none",
        "data.loaders": 0,
        "monitoring.grid_every": 3_000,
        "monitoring.checkpoint_every": 3_000,
    },
    {"white_paper": True},
)


@register("pix2pix", Pix2PixConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
class Pix2Pix(Method[Pix2PixConfig]):
    """G turns a into b; D tells true from made outputs patch by patch, seeing the input as well."""

    needs = Needs("paired", ("a", "b"))
    generators = ("G",)
    dropout_is_noise = True  # "at both training and test time" (sec. 2.1)

    def __init__(self, config: Pix2PixConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        k = config
        G = UNet(
            k.in_channels,
            k.out_channels,
            base=k.g_base,
            downs=k.g_downs,
            norm=k.norm,
            dropout=k.dropout,
            dropout_at=k.dropout_at,
            skips=k.generator == "unet",
            upsample=k.upsample,
        )
        self.networks = nn.ModuleDict({"G": G})
        self.game = Game(k)
        self.players = {"G": Player(("G",), k.move(k.lr))}
        if k.objective != "L1":
            seen = k.out_channels + (k.in_channels if "cGAN" in k.terms else 0)
            self.networks["D"] = patch_discriminator(k.receptive_field, seen, k.d_base, k.norm)
            clip = self.game.after_move(self.networks["D"])
            self.players = {"D": Player(("D",), k.move(k.lr), clip), **self.players}
        for network in self.networks.values():
            init_normal(network, generator)

    @staticmethod
    def fit(config: Pix2PixConfig, schema: Schema, direction: Direction) -> Pix2PixConfig:
        """The channels of both sides from the data."""
        a, b = paired_channels(schema, direction)
        return replace(config, in_channels=a, out_channels=b)

    def seen_by_D(self, a: Tensor, b: Tensor) -> Tensor:
        """What D judges: input and output together (cGAN), or the output alone (GAN)."""
        return torch.cat([a, b], dim=1) if "cGAN" in self.config.terms else b

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """One fake; a move of D on it, n_critic times with a fresh batch each; then one of G on the last (sec. 3.3)."""
        for _ in range(self.config.n_critic if "D" in self.players else 1):
            batch = next(batches)
            a, b = batch["a"], batch["b"]
            fake_b = self.networks["G"](a)
            if "D" in self.players:
                other_a = next(batches)["a"] if self.config.matching_aware else None
                yield "D", *self.discriminator_loss(a, b, fake_b.detach(), other_a, self.game.alpha(batch))
        yield "G", *self.generator_loss(a, b, fake_b)

    @moves("D")
    def discriminator_loss(
        self, a: Tensor, b: Tensor, fake_b: Tensor, other_a: Tensor | None, alpha: Tensor | None
    ) -> Objective:
        """-L_cGAN(G, D) / 2 (Eq. 1; halved, sec. 3.3). Real and made go through D apart: it may have batch norm."""
        D = self.networks["D"]
        real, fake = self.seen_by_D(a, b), self.seen_by_D(a, fake_b)
        wrong = None if other_a is None else self.seen_by_D(other_a, b)
        l_real, l_fake = self.game.real(D(real)), self.game.made(D, fake, wrong)
        gp = self.game.penalty(D, real, fake, alpha)
        loss = (l_real + l_fake + self.config.lambda_gp * gp) / 2
        return loss, {"real": l_real, "fake": l_fake} | ({} if alpha is None else {"gp": gp})

    @moves("G")
    def generator_loss(self, a: Tensor, b: Tensor, fake_b: Tensor) -> Objective:
        """Eq. 4: L_cGAN(G, D) + lambda L_L1(G), or the terms of it that `objective` names."""
        if self.config.objective == "L1":
            l_l1 = l1(fake_b, b)
            return l_l1, {"l1": l_l1}
        l_gan = self.game.generator(self.networks["D"](self.seen_by_D(a, fake_b)))
        if "L1" not in self.config.terms:
            return l_gan, {"gan": l_gan}
        l_l1 = l1(fake_b, b)
        loss = l_gan + self.config.lambda_l1 * l_l1
        return loss, {"gan": l_gan, "l1": l_l1}

    def translate(self, x: Tensor, *, keys: Sequence[str] | None = None, **control: Any) -> Tensor:
        """Make outputs (n, C, H, W) of inputs x, with dropout seeded by each image's key."""
        with self.translating(keys=keys):
            return self.networks["G"](x)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Input, output and truth."""
        return {"a": batch["a"], "G(a)": self.translate(batch["a"], keys=batch.keys), "b": batch["b"]}
