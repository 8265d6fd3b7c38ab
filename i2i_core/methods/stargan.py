"""StarGAN: one generator for many domains (Choi et al., CVPR 2018, arXiv:1711.09020).

x_BCHW images in [-1, 1]; c_BA labels, 0 or 1 per attribute.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from i2i_core.data.batch import Batch
from i2i_core.data.manifest import Manifest
from i2i_core.errors import ConfigError, DataError, nearest
from i2i_core.losses.classification import attribute_bce, class_cross_entropy
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
from i2i_core.methods.game import Game, GameConfig
from i2i_core.networks.init import init_default
from i2i_core.networks.layers import Upsample
from i2i_core.networks.stargan import StarGANDiscriminator, StarGANGenerator
from i2i_core.registry import Preset, register
from i2i_core.settings import check_at_least, check_positive, setting


@dataclass(frozen=True)
class StarGANConfig(GameConfig):
    """StarGAN's own hyper-parameters."""

    adversarial: Literal["minimax", "nonsaturating", "lsgan", "wgan", "wgan-gp", "hinge"] = setting("wgan-gp")
    """The adversarial terms; the paper's are WGAN's with gradient penalty (Eq. 8)."""
    image_size: int = setting(128)
    """Height and width of training images, pixels; a multiple of 2^d_layers."""
    channels: int = setting(3, derived=True)
    """Image channels; taken from the data."""
    attributes: tuple[str, ...] = setting(())
    """Which of the data's attributes to translate between; none named: all."""
    c_dim: int = setting(5, derived=True)
    """Number of attributes; taken from the data."""
    labels: Literal["attributes", "classes"] = setting("attributes", derived=True)
    """Independent attributes (CelebA) or one class each (RaFD); taken from the data."""
    columns: tuple[int, ...] = setting((), derived=True)
    """Where the chosen attributes stand in the data's labels; taken from the data."""
    g_base: int = setting(64)
    """Channels of G's first layer."""
    d_base: int = setting(64)
    """Channels of D's first layer."""
    blocks: int = setting(6)
    """Residual blocks of G."""
    d_layers: int = setting(6)
    """Stride-2 convolutions of D."""
    upsample: Upsample = setting("transposed")
    """How G doubles the image; `resize` and `shuffle` have no checkerboard built in."""
    lambda_cls: float = setting(1.0)
    """Weight of the domain classification losses (Eq. 5, 6)."""
    lambda_rec: float = setting(10.0)
    """Weight of the reconstruction loss (Eq. 4)."""
    lambda_id: float = setting(0.0)
    """Weight of an identity term ||G(x, c) - x||_1 (CycleGAN, sec. 5.2), which the paper does not have: reconstruction
    alone is content with any code that can be undone, and small networks find one that trades glyph for glyph."""
    n_critic: int = setting(5)
    """Discriminator moves, each on a fresh batch, per generator move."""
    g_lr: float = setting(1e-4)
    """Learning rate of G."""
    d_lr: float = setting(1e-4)
    """Learning rate of D."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "image_size", "channels", "c_dim", "g_base", "d_base", "blocks", "d_layers", "n_critic")
        check_at_least(self, 0, "lambda_cls", "lambda_rec", "lambda_id")
        check_positive(self, "g_lr", "d_lr")
        if len(set(self.attributes)) < len(self.attributes):
            raise ConfigError("--attributes", " ".join(self.attributes), "each name once", "Remove the repeated name.")


PAPER = Preset(
    """The article: 128 px, batch 16, Adam 1e-4 kept for the first half of 20 epochs and brought to 0 over
    the second, 5 critic moves per generator move, lambda_cls 1, lambda_rec 10, lambda_gp 10.

    Data: CelebA, `shard.py --layout celeba --center-crop 178 --load-size 128 --attributes Black_Hair Blond_Hair
    Brown_Hair Male Young`. Command: `train.py --method stargan --preset paper --data URI`. The authors give
    about a day on one GPU of 2017; not measured here.
    Differs from `reference`: there, the learning rate hardly falls.""",
    {
        "training.batch": 16,
        "training.epochs": 20.0,
        "training.lr_schedule": "linear",
        "data.flip": True,
        "data.crop": "none",
    },
)
REFERENCE = Preset(
    """The authors' program: as `paper`, but 200,000 critic moves (3.2 million images), and a decay that
    takes 1e-3 of what it meant to take, so that the learning rate ends at 0.999 of its start. Its instance norm
    also keeps running statistics that it never uses; ours has none.

    Data and command as for `paper`, with `--preset reference`.""",
    {
        "training.batch": 16,
        "training.images": 3_200_000,
        "training.lr_schedule": "linear",
        "training.lr_final": 0.999,
        "data.flip": True,
        "data.crop": "none",
    },
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs: 32 px, 24 channels, 2 residual blocks, batch 16, 2 critic
    moves per generator move, learning rate 5e-4, an identity term, averaged generator. Command: `make demo`, which
    trains it for 11,000 images. Score: see the README, which is measured.""",
    {
        "hyper.image_size": 32,
        "hyper.g_base": 24,
        "hyper.d_base": 24,
        "hyper.d_layers": 4,
        "hyper.lambda_id": 10.0,
        "hyper.blocks": 2,
        "hyper.n_critic": 2,
        "hyper.g_lr": 5e-4,
        "hyper.d_lr": 5e-4,
        "training.batch": 16,
        "training.images": 11_000,
        "training.lr_schedule": "linear",
        "training.ema_halflife": 500,
        "data.flip": False,
        "data.crop": "none",
        "data.loaders": 0,
        "output.grid_every": 2_500,
        "output.checkpoint_every": 2_500,
    },
)


@register("stargan", StarGANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
class StarGAN(Method[StarGANConfig]):
    """G(x, c) makes x look as labelled c; D tells real from made, and which label an image has."""

    needs = Needs("labelled", ("image",))
    generators = ("G",)

    def __init__(self, config: StarGANConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        k = config
        self.networks = nn.ModuleDict(
            {
                "G": StarGANGenerator(k.channels, k.c_dim, k.g_base, k.blocks, k.upsample),
                "D": StarGANDiscriminator(k.image_size, k.channels, k.c_dim, k.d_base, k.d_layers),
            }
        )
        for network in self.networks.values():
            init_default(network, generator)
        self.game = Game(k)
        clip = self.game.after_move(self.networks["D"])
        self.players = {"D": Player(("D",), k.move(k.d_lr), clip), "G": Player(("G",), k.move(k.g_lr))}
        self.classification = attribute_bce if k.labels == "attributes" else class_cross_entropy

    @staticmethod
    def fit(config: StarGANConfig, manifest: Manifest, direction: Direction) -> StarGANConfig:
        """Channels, attributes and kind of label from the data.

        Raises:
            DataError: an attribute that the data does not have.
        """
        for name in config.attributes:
            if name not in manifest.attributes:
                raise DataError(
                    "--attributes", repr(name), "an attribute of the data", nearest(name, manifest.attributes)
                )
        chosen = config.attributes or manifest.attributes
        return replace(
            config,
            channels=same_channels(manifest, "the data"),
            attributes=chosen,
            c_dim=len(chosen),
            columns=tuple(manifest.attributes.index(name) for name in chosen),
            labels="classes" if manifest.exclusive else "attributes",
        )

    def labels(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The batch's own labels and target labels, both (n, A): the targets are the whole batch's
        labels permuted."""
        columns = list(self.config.columns) or slice(None)
        c = batch.whole["labels"][:, columns].to(batch.like)
        return batch.part(c), batch.part(c[batch.permutation("target")])

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """n_critic moves of D, each on a fresh batch, then one of G on the last (sec. 5)."""
        G = self.networks["G"]
        for _ in range(self.config.n_critic):
            batch = next(batches)
            x = batch["image"]
            c, c_target = self.labels(batch)
            with torch.no_grad():
                fake = G(x, c_target)
            yield "D", *self.discriminator_loss(x, c, fake, self.game.alpha(batch))
        yield "G", *self.generator_loss(x, c, c_target)

    @moves("D")
    def discriminator_loss(self, x: Tensor, c: Tensor, fake: Tensor, alpha: Tensor | None) -> Objective:
        """Eq. 6: L_D = -L_adv + lambda_cls L_cls^r, with L_adv of Eq. 8 (WGAN-GP) or what `adversarial` names."""
        k, D = self.config, self.networks["D"]
        source, logits = D(x)
        l_real, l_fake = self.game.real(source), self.game.fake(D(fake)[0])
        gp = self.game.penalty(lambda x_hat: D(x_hat)[0], x, fake, alpha)
        l_cls_r = self.classification(logits, c)
        l_adv = -(l_real + l_fake) - k.lambda_gp * gp
        loss = -l_adv + k.lambda_cls * l_cls_r
        terms = {"real": l_real, "fake": l_fake, "cls_real": l_cls_r}
        return loss, terms if alpha is None else {**terms, "gp": gp}

    @moves("G")
    def generator_loss(self, x: Tensor, c: Tensor, c_target: Tensor) -> Objective:
        """Eq. 7: L_G = L_adv + lambda_cls L_cls^f + lambda_rec L_rec (Eq. 4, 5; L_adv's part that G moves);
        and + lambda_id L_id where that is asked for."""
        k, G, D = self.config, self.networks["G"], self.networks["D"]
        fake = G(x, c_target)
        source, logits = D(fake)
        l_adv = self.game.generator(source)
        l_cls_f = self.classification(logits, c_target)
        l_rec = l1(G(fake, c), x)
        loss = l_adv + k.lambda_cls * l_cls_f + k.lambda_rec * l_rec
        terms = {"adv": l_adv, "cls_fake": l_cls_f, "rec": l_rec}
        if k.lambda_id:
            l_id = l1(G(x, c), x)
            loss, terms = loss + k.lambda_id * l_id, {**terms, "id": l_id}
        return loss, terms

    def translate(self, x: Tensor, *, keys: Sequence[str] | None = None, **control: Any) -> Tensor:
        """x with the attributes of `target`, a (n, A) tensor of 0 and 1. Deterministic: `keys` is not used."""
        with self.translating():
            return self.networks["G"](x, control["target"].to(x))

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """The source, then one column per attribute: switched over, or set where classes exclude each other."""
        x, (c, _) = batch["image"], self.labels(batch)
        columns = {"source": x}
        for i, name in enumerate(self.config.attributes or map(str, range(self.config.c_dim))):
            target = c.clone() if self.config.labels == "attributes" else torch.zeros_like(c)
            target[:, i] = 1 - target[:, i]
            columns[name] = self.translate(x, target=target)
        return columns
