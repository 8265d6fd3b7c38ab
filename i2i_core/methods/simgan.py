"""SimGAN: refining synthetic images with unlabelled real ones (Shrivastava et al., CVPR 2017, arXiv:1612.07828).

x_BCHW synthetic images (domain A), y_BCHW real ones (domain B), both in [-1, 1]. The refined images keep the
annotations of the synthetic ones: `translate.py --shards` writes them as a data set. No program of the authors
was released.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.fields import Schema
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import Direction, Method, Move, Needs, Objective, Player, Progress, moves, same_channels
from i2i_core.methods.game import Game, GameConfig
from i2i_core.methods.history import RefinedHistory
from i2i_core.networks.init import init_default
from i2i_core.networks.refiner import LocalDiscriminator, Refiner, check_refiner
from i2i_core.registry import Preset, register
from i2i_core.settings import check_at_least, check_choice, check_positive, setting


@dataclass(frozen=True)
class SimGANConfig(GameConfig):
    """SimGAN's own hyper-parameters."""

    image_size: int = setting(35)
    """Height of training images, pixels."""
    image_width: int = setting(55)
    """Width of training images, pixels; 0: the height."""
    channels: int = setting(1, derived=True)
    """Image channels; taken from the data."""
    lambda_reg: float = setting(1e-4)
    """Weight of the self-regularisation, a sum over pixels (Eq. 4). The article gives none; 1e-4 is a guess that the
    re-implementation mjdietzx/SimGAN made and others took over."""
    psi: Literal["identity", "mean", "gradient"] = setting("identity")
    """What refining must keep (sec. 2.1): the pixels, the mean of the channels, or differences of neighbours."""
    history_size: int = setting(51_200)
    """Refined images kept, from which half of each of D's batches is drawn (sec. 2.3); 0: none."""
    k_g: int = setting(2)
    """Moves of the refiner in a round, each on a fresh batch (Alg. 1, K_g): 2 in the article's first version, 50 in
    later ones."""
    k_d: int = setting(1)
    """Moves of the discriminator in a round, each on a fresh batch (Alg. 1, K_d)."""
    warmup_r: int = setting(1_000)
    """First moves of the refiner, on the self-regularisation alone (sec. 3.1)."""
    warmup_d: int = setting(200)
    """Then moves of the discriminator alone (sec. 3.1)."""
    form: Literal["eyes", "hands"] = setting("eyes")
    """The discriminator for eye gaze or for hand pose."""
    first_kernel: int = setting(3)
    """Side of the refiner's first convolution: 3 for eyes, 7 for hands."""
    blocks: int = setting(4)
    """Residual blocks of the refiner: 4 for eyes, 10 for hands."""
    r_base: int = setting(64)
    """Channels of the refiner."""
    d_base: int = setting(96)
    """Channels of the discriminator's first layer."""
    lr: float = setting(1e-3)
    """Learning rate of both players."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "image_size", "channels", "k_g", "k_d", "blocks", "r_base", "d_base", "first_kernel")
        check_at_least(self, 0, "image_width", "lambda_reg", "history_size", "warmup_r", "warmup_d")
        check_positive(self, "lr")
        check_choice(self, "psi", ("identity", "mean", "gradient"))
        check_choice(self, "form", ("eyes", "hands"))
        check_refiner(self.first_kernel, self.d_base)


EYES = {
    "training.batch": 512,
    "training.images": 15_000_000,
    "training.lr_schedule": "constant",
    "data.flip": False,
    "data.crop": "none",
    "monitoring.log_every": 51_200,
    "monitoring.grid_every": 1_000_000,
    "monitoring.checkpoint_every": 2_000_000,
}
PAPER = Preset(
    """The article in its first version (arXiv v1, 2016), eye gaze: 55x35 grey images, batch 512, learning rate 1e-3,
    the refiner alone for 1,000 moves and the discriminator alone for 200, then K_g = 2 and K_d = 1.

    Data: UnityEyes and MPIIGaze, `shard.py --layout unpaired --channels 1`, synthetic first. Command: `train.py
    --method simgan --preset paper --data URI`. Expected (article): a gaze estimator
    trained on refined images errs less than one trained on synthetic ones; not measured here. The article names no
    lambda: 1e-4, for sums over pixels, is that of a re-implementation (mjdietzx/SimGAN), which calls it a guess. It
    names no optimiser (Adam here), no size of the history (a hundred batches here) and no length (15 million images
    here: 9,365 rounds). Differs from `reference`: there K_g is that of the article's later versions.""",
    EYES,
)
PAPER_HANDS = Preset(
    """The article, hand pose: 224x224 depth images, a 7x7 first convolution, 10 blocks, the coarser discriminator, the
    refiner alone for 500 moves (by a re-implementation's account), a batch of 32 (the article names none). The rest,
    and the command, as for `paper`. Data: NYU hand pose. Not measured here.""",
    {
        **EYES,
        "hyper.image_size": 224,
        "hyper.image_width": 0,
        "hyper.form": "hands",
        "hyper.first_kernel": 7,
        "hyper.blocks": 10,
        "hyper.history_size": 3_200,
        "hyper.warmup_r": 500,
        "training.batch": 32,
        "training.images": 1_000_000,
        "monitoring.log_every": 3_200,
        "monitoring.grid_every": 50_000,
        "monitoring.checkpoint_every": 100_000,
    },
)
REFERENCE = Preset(
    """No program of the authors was released. This is the article in its later versions, as those who wrote them down
    quote it: K_g = 50 refiner moves to each of the discriminator, where the first version has 2. Data and command as
    for `paper`, with `--preset reference`.""",
    {**EYES, "hyper.k_g": 50, "training.images": 260_000_000, "monitoring.checkpoint_every": 20_000_000},
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs (clean drawings -> scanned ones): 32 px, 24 channels, 2 blocks,
    batch 16, short warm-ups, averaged refiner. Command: `make demo METHOD=simgan`. Score: docs/methods.md, which is
    measured.""",
    {
        "hyper.image_size": 32,
        "hyper.image_width": 0,
        "hyper.r_base": 24,
        "hyper.d_base": 48,
        "hyper.blocks": 2,
        "hyper.lambda_reg": 0.02,
        "hyper.history_size": 1_600,
        "hyper.warmup_r": 60,
        "hyper.warmup_d": 40,
        "training.batch": 16,
        "training.images": 20_000,
        "training.lr_schedule": "linear",
        "training.ema_halflife": 1_000,
        "data.flip": False,
        "data.crop": "none",
        "data.loaders": 0,
        "monitoring.grid_every": 5_000,
        "monitoring.checkpoint_every": 5_000,
    },
    {"faces": ("sans-regular", "sans-regular"), "scanned": True},
)


@register("simgan", SimGANConfig, {"paper": PAPER, "paper_hands": PAPER_HANDS, "reference": REFERENCE, "demo": DEMO})
class SimGAN(Method[SimGANConfig]):
    """R makes synthetic images look real and keeps what they show; D judges every local patch."""

    needs = Needs("unpaired", ("a", "b"))
    generators = ("R",)

    def __init__(self, config: SimGANConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        k = config
        self.networks = nn.ModuleDict(
            {
                "R": Refiner(k.channels, k.r_base, k.first_kernel, k.blocks),
                "D": LocalDiscriminator(k.channels, k.form, k.d_base),
            }
        )
        for network in self.networks.values():
            init_default(network, generator)
        self.game = Game(k)
        self.players = {
            "R": Player(("R",), k.move(k.lr)),
            "D": Player(("D",), k.move(k.lr), self.game.after_move(self.networks["D"])),
        }
        self.pools = {"refined": RefinedHistory("refined", k.history_size)}

    @staticmethod
    def fit(config: SimGANConfig, schema: Schema, direction: Direction) -> SimGANConfig:
        """The channels, the same in both domains, from the data."""
        return replace(config, channels=same_channels(schema, "the data"))

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Alg. 1: K_g moves of R, then K_d of D, each on a fresh batch. Before that, R alone keeps what it is given,
        then D alone learns to tell refined from real (sec. 3.1); there an update is one move."""
        k = self.config
        if progress.moves.get("R", 0) < k.warmup_r:
            yield "R", *self.regularisation(next(batches)["a"])
            return
        alone = progress.moves.get("D", 0) < k.warmup_d
        for _ in range(0 if alone else k.k_g):
            yield "R", *self.refiner_loss(next(batches)["a"])
        for _ in range(1 if alone else k.k_d):
            batch = next(batches)
            with torch.no_grad():
                refined = self.networks["R"](batch["a"])
            refined = self.pools["refined"](refined, batch)
            yield "D", *self.discriminator_loss(refined, batch["b"], self.game.alpha(batch))

    @moves("R")
    def regularisation(self, x: Tensor) -> Objective:
        """lambda ||psi(R(x)) - psi(x)||_1 alone (sec. 3.1)."""
        l_reg = self.kept(self.networks["R"](x), x)
        return self.config.lambda_reg * l_reg, {"reg": l_reg}

    @moves("R")
    def refiner_loss(self, x: Tensor) -> Objective:
        """Eq. 1, L_R = l_real + lambda l_reg: Eq. 5's local adversarial loss summed over patches (sec. 2.2), and the
        self-regularisation of Eq. 4 summed over pixels; means over samples."""
        refined = self.networks["R"](x)
        l_real = _summed(self.game.generator, self.networks["D"](refined))
        l_reg = self.kept(refined, x)
        loss = l_real + self.config.lambda_reg * l_reg
        return loss, {"real": l_real, "reg": l_reg}

    @moves("D")
    def discriminator_loss(self, refined: Tensor, y: Tensor, alpha: Tensor | None) -> Objective:
        """Eq. 2: cross entropies of refined and of real patches, summed over patches; means over samples."""
        D = self.networks["D"]
        l_refined = _summed(self.game.fake, D(refined))
        l_real = _summed(self.game.real, D(y))
        gp = self.game.penalty(D, y, refined, alpha)
        loss = l_refined + l_real + self.config.lambda_gp * gp
        return loss, {"refined": l_refined, "real": l_real} | ({} if alpha is None else {"gp": gp})

    def kept(self, refined: Tensor, x: Tensor) -> Tensor:
        """||psi(R(x)) - psi(x)||_1 (Eq. 4), summed over pixels, mean over samples."""
        after, before = self.psi(refined), self.psi(x)
        return sum(a[0].numel() * l1(a, b) for a, b in zip(after, before, strict=True))  # type: ignore[return-value]

    def psi(self, x: Tensor) -> list[Tensor]:
        """The features that refining must keep."""
        if self.config.psi == "mean":
            return [x.mean(dim=1, keepdim=True)]
        if self.config.psi == "gradient":
            return [x.diff(dim=-1), x.diff(dim=-2)]
        return [x]

    def translate(self, x: Tensor, *, keys: Sequence[str] | None = None, **control: Any) -> Tensor:
        """R(x). Deterministic: `keys` is not used."""
        with self.translating():
            return self.networks["R"](x)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Synthetic, refined, and some real images."""
        return {"synthetic": batch["a"], "refined": self.translate(batch["a"]), "real": batch["b"]}


def _summed(term: Any, logits_B1hw: Tensor) -> Tensor:
    """A term that is a mean over patches, as the sum over patches."""
    return logits_B1hw[0].numel() * term(logits_B1hw)
