"""A small method that reads what its data has: a label map, and where they are there a vector, captions, points, boxes;
of sequences, frame by frame with a memory. `registered` makes it one of METHODS for a while."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from i2i_core import registry
from i2i_core.batch import Batch
from i2i_core.config.methods.game import GameConfig
from i2i_core.config.sections import register
from i2i_core.data.folders.declared import FieldOptions
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format.shards import ShardOptions, plan
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.fields import Schema
from i2i_core.images.codec import ImageOptions
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import Direction, Method, Move, Needs, Objective, Player, Progress, moves
from i2i_core.methods.game import Game
from i2i_core.networks.init import init_normal
from i2i_core.orchestration.sharding import make
from i2i_core.registry import METHODS, Preset, implements
from i2i_core.settings import setting
from i2i_core.tensors import one_hot

NAME = "scenes"
WORDS = 16
COLOURS = np.array([[230, 20, 20], [20, 230, 20], [20, 20, 230]], np.uint8)


@dataclass(frozen=True)
class SceneConfig(GameConfig):
    image_size: int = setting(16)
    classes: int = setting(3, derived=True)
    channels: int = setting(3, derived=True)
    lr: float = setting(1e-2)


class Scenes(Method[SceneConfig]):
    """G makes the image of a label map, moved by all else that a sample has; L1 alone."""

    needs = Needs({"labels": "classes", "image": "image", "code?": "vector", "captions?": "text"})
    generators = ("G",)

    def __init__(self, config: SceneConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        k = config
        self.networks = nn.ModuleDict({"G": nn.Conv2d(k.classes + 2 * k.channels + WORDS, k.channels, 3, padding=1)})
        init_normal(self.networks["G"], generator)
        self.game = Game(k)
        self.players = {"G": Player(("G",), self.game.move(k.lr))}

    @staticmethod
    def fit(config: SceneConfig, schema: Schema, direction: Direction) -> SceneConfig:
        labels, image = schema.fields["labels"], schema.fields["image"]
        return replace(config, classes=labels.classes, channels=image.channels)

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        batch = next(batches)
        yield "G", *self.loss(batch, self.told(batch))

    @moves("G")
    def loss(self, batch: Batch, told: Tensor) -> Objective:
        """The mean over frames; what was made of a frame is an input of the next, and nothing is before the first."""
        labels, image = batch["labels"], batch["image"]
        if image.ndim == 4:
            labels, image = labels[:, None], image[:, None]
        made = torch.zeros_like(image[:, 0])
        terms = []
        for frame in range(image.shape[1]):
            made = self.make(labels[:, frame], made, told)
            terms.append(l1(made, image[:, frame]))
        loss = torch.stack(terms).mean()
        return loss, {"l1": loss}

    def told(self, batch: Batch) -> Tensor:
        """(n, WORDS): the vector, and how often each number is the length of a caption's word, modulo."""
        found = torch.zeros(batch.stop - batch.start, WORDS, dtype=batch.like.dtype)
        if "code" in batch.fields:
            code = batch["code"].flatten(1)[:, :WORDS]
            found[:, : code.shape[1]] += code
        for row, captions in enumerate(batch.texts.get("captions", ())):
            for word in " ".join(captions).split():
                found[row, len(word) % WORDS] += 1
        return found

    def make(self, labels: Tensor, before: Tensor, told: Tensor) -> Tensor:
        n, _, height, width = labels.shape
        ids = labels.clamp(0, self.config.classes - 1)
        planes = told[:, :, None, None].expand(n, WORDS, height, width)
        maps = one_hot(ids, self.config.classes).to(before)
        return torch.tanh(self.networks["G"](torch.cat([maps, before, before.flip(3), planes], dim=1)))

    def translate(self, x: Tensor, *, keys: Sequence[str] | None = None, **control: Any) -> Tensor:
        with self.translating(keys=keys):
            return self.make(x, x.new_zeros(len(x), self.config.channels, *x.shape[2:]), x.new_zeros(len(x), WORDS))

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Of sequences a column for each frame."""
        labels, image = (x if batch["image"].ndim == 5 else x[:, None] for x in (batch["labels"], batch["image"]))
        made, columns = torch.zeros_like(image[:, 0]), {}
        with self.translating():
            for frame in range(image.shape[1]):
                made = self.make(labels[:, frame], made, self.told(batch))
                columns |= {f"made {frame}": made, f"true {frame}": image[:, frame]}
        return columns


class Videos(Scenes):
    """The same of three frames of a clip."""

    needs = Needs({"labels": "classes", "image": "image"}, frames=3)


class Styles(Scenes):
    """G gives an image without its colour that of two others of its class, and another image of any class too."""

    needs = Needs({"image": "image"}, attributes=True, again=True, companions=2)

    def __init__(self, config: SceneConfig, generator: torch.Generator) -> None:
        super().__init__(config, generator)
        self.networks["G"] = nn.Conv2d(1 + config.channels, config.channels, 1)
        init_normal(self.networks["G"], generator)

    @staticmethod
    def fit(config: SceneConfig, schema: Schema, direction: Direction) -> SceneConfig:
        return replace(config, classes=len(schema.attributes), channels=schema.fields["image"].channels)

    @moves("G")
    def loss(self, batch: Batch, told: Tensor) -> Objective:
        own = l1(self.coloured(batch["image"], batch["companions"]), batch["image"])
        other = self.coloured(batch["again"], batch["companions"])
        colour = l1(other.mean((2, 3)), batch["companions"].mean((1, 3, 4)))
        loss = own + colour
        return loss, {"own": own, "colour": colour}

    def coloured(self, image: Tensor, companions: Tensor) -> Tensor:
        colour = companions.mean((1, 3, 4))[:, :, None, None].expand(*image.shape)
        return torch.tanh(self.networks["G"](torch.cat([image.mean(1, keepdim=True), colour], dim=1)))

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        with self.translating():
            return {"image": batch["image"], "made": self.coloured(batch["image"], batch["companions"])}


@contextmanager
def registered(kind: type[Scenes] = Scenes) -> Iterator[str]:
    """Make it a method, by name."""
    module = types.ModuleType(f"i2i_core.methods.{NAME}")
    sys.modules[module.__name__] = module
    register(NAME, SceneConfig, {"demo": Preset("A few numbers.", {"training.images": 48, "training.batch": 4})})
    implements(NAME)(kind)
    try:
        yield NAME
    finally:
        del METHODS[NAME], sys.modules[module.__name__], registry._CLASSES[NAME]


def shard(folder: Path, fields: tuple[str, ...], **more: Any) -> str:
    """Make a data set of a folder's fields, and give its place."""
    layout = LayoutOptions(layout="fields", input=str(folder), split=(1, 0, 0))
    goal, options = ShardOptions(out=str(folder / "out"), shard_samples=16), FieldOptions(field=fields, **more)
    make(plan(find(layout, None, options), layout, GlyphOptions(), ImageOptions(), goal), goal, 0)
    return goal.out


def clips(folder: Path, rng: np.random.Generator) -> str:
    """Make a data set of eight clips of six frames, label maps and their images, each frame the one before it moved."""
    for clip in range(8):
        for name in ("labels", "image"):
            (folder / name / f"c{clip}").mkdir(parents=True)
        first = rng.integers(0, 3, (16, 16), dtype=np.uint8)
        for frame in range(6):
            ids = np.roll(first, frame, axis=1)
            Image.fromarray(ids).save(folder / f"labels/c{clip}/{frame}.png")
            Image.fromarray(COLOURS[ids]).save(folder / f"image/c{clip}/{frame}.png")
    fields = ("image=image/{clip}/{frame}.png", "labels:classes=labels/{clip}/{frame}.png")
    return shard(folder, fields, classes=("labels=3",))
