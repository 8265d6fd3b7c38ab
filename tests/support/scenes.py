"""A small method that reads what its data has: a label map, and where they are there a vector, captions, points, boxes;
of sequences, frame by frame with a memory. `registered` makes it one of METHODS for a while."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from i2i_core import registry
from i2i_core.batch import Batch
from i2i_core.config.methods.game import GameConfig
from i2i_core.config.sections import register
from i2i_core.fields import Schema
from i2i_core.labels import LabelSet
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import Direction, Method, Move, Needs, Objective, Player, Progress, Values, moves
from i2i_core.methods.controls import Code, Examples, Labels
from i2i_core.methods.game import Game
from i2i_core.networks.init import init_normal
from i2i_core.registry import METHODS, Preset, implements
from i2i_core.settings import setting
from i2i_core.tensors import one_hot

NAME = "scenes"
WORDS = 16


@dataclass(frozen=True)
class SceneConfig(GameConfig):
    image_size: int = setting(16)
    classes: int = setting(3, derived=True)
    channels: int = setting(3, derived=True)
    names: tuple[str, ...] = setting((), derived=True)
    lr: float = setting(1e-2)


class Function(nn.Module):
    """Makes images by a function."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: Tensor) -> Tensor:
        return self.function(*given)


class Scenes(Method[SceneConfig]):
    """G makes the image of a label map, moved by all else that a sample has; L1 alone."""

    Config = SceneConfig
    presets: ClassVar = {"demo": Preset("A few numbers.", {"training.images": 48, "training.batch": 4})}

    needs = Needs({"labels": "classes", "image": "image", "code?": "vector", "captions?": "text"})
    inputs, outputs = {"labels": "classes"}, {"image": "image"}
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

    def channels(self) -> Mapping[str, int]:
        return {"image": self.config.channels}

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        return Told(self)


class Told(nn.Module):
    """Makes a frame of its label map and of what was made before, if anything was."""

    def __init__(self, method: Scenes) -> None:
        super().__init__()
        self.make, self.channels, self.remembers = method.make, method.config.channels, bool(method.memory)

    def forward(self, labels: Tensor, before: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        n, _, height, width = labels.shape
        nothing = torch.zeros(n, self.channels, height, width, device=labels.device)
        made = self.make(labels, nothing if before is None else before, nothing.new_zeros(n, WORDS))
        return (made, made) if self.remembers else made


class Videos(Scenes):
    """The same of three frames of a clip."""

    needs = Needs({"labels": "classes", "image": "image"}, frames=3)
    memory = ("before",)

    def first_memory(self, inputs: Values) -> Values:
        n, _, height, width = inputs["labels"].shape
        return {"before": torch.zeros(n, self.config.channels, height, width, device=inputs["labels"].device)}


class Styles(Scenes):
    """G gives an image without its colour that of two others of its class, and another image of any class too."""

    needs = Needs({"image": "image"}, attributes=True, again=True, companions=2)
    inputs, outputs = {"image": "image"}, {"image": "image"}
    controls: ClassVar = {"like": Examples()}

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

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        return Function(self.coloured)


class Generated(Scenes):
    """G makes images of a code and of nothing else, which shall have the mean colour of true ones; L1."""

    needs = Needs({"image": "image"})
    inputs, outputs = {}, {"image": "image"}
    controls: ClassVar = {"z": Code(drawn="uniform")}

    def __init__(self, config: SceneConfig, generator: torch.Generator) -> None:
        super().__init__(config, generator)
        self.networks["G"] = nn.Sequential(
            nn.Linear(4, config.channels * config.image_size**2),
            nn.Unflatten(1, (config.channels, config.image_size, config.image_size)),
            nn.Tanh(),
        )
        init_normal(self.networks["G"], generator)

    @staticmethod
    def fit(config: SceneConfig, schema: Schema, direction: Direction) -> SceneConfig:
        return replace(config, channels=schema.fields["image"].channels)

    @property
    def code_length(self) -> int:
        return 4

    def told(self, batch: Batch) -> Tensor:
        return batch.draw("z", 4, kind="uniform") * 2 - 1

    @moves("G")
    def loss(self, batch: Batch, told: Tensor) -> Objective:
        loss = l1(self.networks["G"](told).mean((2, 3)), batch["image"].mean((2, 3)))
        return loss, {"l1": loss}

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        return self.networks["G"]


class Conditional(Generated):
    """G makes images of a class and a code."""

    needs = Needs({"image": "image"}, attributes=True)
    controls: ClassVar = {"label": Labels(), "z": Code()}

    def __init__(self, config: SceneConfig, generator: torch.Generator) -> None:
        super().__init__(config, generator)
        side, channels = config.image_size, config.channels
        layers = (nn.Linear(4 + config.classes, channels * side**2), nn.Unflatten(1, (channels, side, side)), nn.Tanh())
        self.networks["G"] = nn.Sequential(*layers)
        init_normal(self.networks["G"], generator)

    @staticmethod
    def fit(config: SceneConfig, schema: Schema, direction: Direction) -> SceneConfig:
        names, channels = schema.attributes, schema.fields["image"].channels
        return replace(config, names=names, classes=len(names), channels=channels)

    @property
    def label_sets(self) -> tuple[LabelSet, ...]:
        n = self.config.classes
        return (LabelSet(self.config.names, tuple(range(n)), True, 0, n, 0, 1),)

    @moves("G")
    def loss(self, batch: Batch, told: Tensor) -> Objective:
        made = self.module()(self.own_labels(batch), told)
        loss = (made - batch["image"]).mean((2, 3)).square().mean()
        return loss, {"l1": loss}

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        return Function(lambda label, z: self.networks["G"](torch.cat([label, z], dim=1)))


class Both(Generated):
    """One code, an image in each of two domains."""

    needs = Needs({"image": "image"}, domains=2)
    outputs: ClassVar = {"a": "image", "b": "image"}

    def channels(self) -> Mapping[str, int]:
        return {"a": self.config.channels, "b": self.config.channels}

    @moves("G")
    def loss(self, batch: Batch, told: Tensor) -> Objective:
        a, b = self.module()(told)
        loss = sum((x - batch[side]).mean((2, 3)).square().mean() for side, x in (("a", a), ("b", b)))
        return loss, {"l1": loss}

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        return Function(lambda z: (self.networks["G"](z), self.networks["G"](-z)))


class Tinted(Scenes):
    """G and F go between two domains, each with a code, which is the mean colour of an image; L1 to the other domain's
    mean image and to the code."""

    needs = Needs({"image": "image"}, domains=2)
    inputs, outputs = {"a": "image"}, {"b": "image"}
    controls: ClassVar = {"z": Code(encoded=True)}
    generators = ("G", "F")
    two_way = True

    def __init__(self, config: SceneConfig, generator: torch.Generator) -> None:
        super().__init__(config, generator)
        for name in self.generators:
            self.networks[name] = nn.Conv2d(2 * config.channels, config.channels, 1)
            init_normal(self.networks[name], generator)
        self.players = {"G": Player(("G", "F"), self.game.move(config.lr))}

    @staticmethod
    def fit(config: SceneConfig, schema: Schema, direction: Direction) -> SceneConfig:
        return replace(config, channels=schema.fields["image"].channels)

    @property
    def code_length(self) -> int:
        return self.config.channels

    @property
    def least_encoded(self) -> int:
        return 1

    def channels(self) -> Mapping[str, int]:
        return {"a": self.config.channels, "b": self.config.channels}

    def told(self, batch: Batch) -> Tensor:
        return batch.draw("z", self.code_length)

    def tinted(self, name: str, x: Tensor, z: Tensor) -> Tensor:
        planes = z[:, :, None, None].expand(*z.shape, *x.shape[2:])
        return torch.tanh(self.networks[name](torch.cat([x, planes], dim=1)))

    @moves("G")
    def loss(self, batch: Batch, told: Tensor) -> Objective:
        pairs = [("G", batch["a"], batch["b"]), ("F", batch["b"], batch["a"])]
        close = [l1(self.tinted(name, x, y.mean((2, 3))).mean((2, 3)), y.mean((2, 3))) for name, x, y in pairs]
        drawn = [l1(self.tinted(name, x, told).mean((2, 3)), told.tanh()) for name, x, _ in pairs]
        loss = sum(close) + sum(drawn)
        return loss, {"close": sum(close), "drawn": sum(drawn)}

    def encode(self, images: Tensor, direction: Direction = "AtoB") -> Tensor:
        return images.mean((2, 3)) + (1.0 if direction == "BtoA" else 0.0)

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        return Function(partial(self.tinted, "G" if direction == "AtoB" else "F"))


@contextmanager
def registered(kind: type[Scenes] = Scenes) -> Iterator[str]:
    """Make it a method, by name."""
    module = types.ModuleType(f"i2i_core.methods.{NAME}")
    sys.modules[module.__name__] = module
    register(NAME, SceneConfig, kind.presets)
    implements(NAME)(kind)
    try:
        yield NAME
    finally:
        del METHODS[NAME], sys.modules[module.__name__], registry._CLASSES[NAME]
