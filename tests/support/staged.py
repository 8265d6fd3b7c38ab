"""A small method that trains coarse to fine, as pix2pixHD does: `registered` makes it one of METHODS for a while."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i_core import registry
from i2i_core.batch import Batch
from i2i_core.config.methods.checks import check_multiple
from i2i_core.config.methods.game import GameConfig
from i2i_core.config.sections import register
from i2i_core.fields import Schema
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import Direction, Method, Move, Needs, Objective, Player, Progress, moves, paired_channels
from i2i_core.methods.game import Game
from i2i_core.methods.history import FakePool
from i2i_core.networks.init import init_normal
from i2i_core.registry import METHODS, Preset, implements
from i2i_core.settings import setting

from .scenes import Function

NAME = "coarse_to_fine"
STAGES = ("images=24 size=8 frozen=G2", "images=18 frozen=G1 lr=0.5 fresh", "size=24 fresh")
"""G1 at half size, G2 with G1 as it is, and both, at a size that is larger still."""


@dataclass(frozen=True)
class CoarseConfig(GameConfig):
    image_size: int = setting(16)
    channels: int = setting(3, derived=True)
    lr: float = setting(1e-2)
    pool: int = setting(6)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_multiple(self.image_size, 4, "the enhancer")


class CoarseToFine(Method[CoarseConfig]):
    """G1 makes an image; from stage 1 on G2 makes it from the input and what G1 makes of the halved one."""

    needs = Needs({"a": "image", "b": "image"})
    inputs, outputs = {"a": "image"}, {"b": "image"}
    generators = ("G1", "G2")
    any_size = True

    def __init__(self, config: CoarseConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        c = config.channels
        self.networks = nn.ModuleDict(
            {
                "G1": nn.Sequential(nn.Conv2d(c, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, c, 3, padding=1)),
                "G2": nn.Conv2d(2 * c, c, 3, padding=1),
                "D": nn.Conv2d(c, 1, 4, 2, 1),
            }
        )
        for network in self.networks.values():
            init_normal(network, generator)
        self.game = Game(config)
        self.players = {
            "G": Player(("G1", "G2"), self.game.move(config.lr)),
            "D": Player(("D",), self.game.move(config.lr, 1e-3)),
        }
        self.pools = {"fakes": FakePool("fakes", config.pool)}
        self.schedule = {"noise": lambda images: 0.5 * max(0.0, 1 - images / 48), "weight": lambda images: 1 + images}

    @staticmethod
    def fit(config: CoarseConfig, schema: Schema, direction: Direction) -> CoarseConfig:
        return replace(config, channels=paired_channels(schema, direction)[0])

    def channels(self) -> Mapping[str, int]:
        return {"a": self.config.channels, "b": self.config.channels}

    def make(self, a: Tensor, stage: int) -> Tensor:
        G1, G2 = self.networks["G1"], self.networks["G2"]
        if stage == 0:
            return torch.tanh(G1(a))
        coarse = F.interpolate(torch.tanh(G1(F.avg_pool2d(a, 2))), scale_factor=2)
        return torch.tanh(G2(torch.cat([a, coarse], dim=1)))

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        batch = next(batches)
        a, b = batch["a"], batch["b"]
        a = a + progress.value("noise") * batch.draw("noise", *a.shape[1:])
        fake = self.make(a, progress.stage)
        if "D" in progress.players:
            yield "D", *self.d_loss(b, self.pools["fakes"](fake, batch))
        yield "G", *self.g_loss(b, fake)

    @moves("D")
    def d_loss(self, b: Tensor, fake: Tensor) -> Objective:
        D = self.networks["D"]
        real, made = self.game.real(D(b)), self.game.fake(D(fake))
        return real + made, {"real": real, "made": made}

    @moves("G")
    def g_loss(self, b: Tensor, fake: Tensor) -> Objective:
        gan, distance = self.game.generator(self.networks["D"](fake)), l1(fake, b)
        return gan + 10 * distance, {"gan": gan, "l1": distance}

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        return Function(partial(self.make, stage=self.stage))


@contextmanager
def registered() -> Iterator[str]:
    """Make it a method, by name, where it is none yet."""
    if NAME in METHODS:
        yield NAME
        return
    module = types.ModuleType(f"i2i_core.methods.{NAME}")
    sys.modules[module.__name__] = module
    register(NAME, CoarseConfig, {"demo": Preset("A few numbers.", {"training.images": 66, "training.batch": 6})})
    implements(NAME)(CoarseToFine)
    try:
        yield NAME
    finally:
        del METHODS[NAME], sys.modules[module.__name__], registry._CLASSES[NAME]
