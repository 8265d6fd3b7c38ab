"""Paired data made by hand, methods that are functions, and a family measured by any number of workers."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from i2i_core.data.format.manifest import DataSet
from i2i_core.evaluation.samples import Asked, Family, Measured, Outputs, chunks
from i2i_core.fields import Field
from i2i_core.methods.base import Direction, Method, Needs
from i2i_core.methods.controls import Labels
from tests.support.data import write_whole

from .scenes import Function


def write_pairs(folder: Path, a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> DataSet:
    """A paired data set of one shard from images (H, W, C) of 8 bits: split `test`, keys 0000, 0001, ..."""
    folder.mkdir(parents=True)
    keys = [f"{i:04d}" for i in range(len(a))]
    with tarfile.open(folder / "all.tar", "w") as tar:
        for key, pair in zip(keys, zip(a, b, strict=True), strict=True):
            for side, image in zip("ab", pair, strict=True):
                out = io.BytesIO()
                Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(out, "PNG")
                member = tarfile.TarInfo(f"{key}.{side}.png")
                member.size = out.tell()
                tar.addfile(member, io.BytesIO(out.getvalue()))
    fields = {side: Field("png", x[0].shape[2], "uint8", *x[0].shape[:2]) for side, x in (("a", a), ("b", b))}
    return write_whole(folder, keys, fields)


class Pairs(Method[None]):
    """A paired method that makes images by a function of (x, keys)."""

    needs = Needs({"a": "image", "b": "image"})
    inputs, outputs = {"a": "image"}, {"b": "image"}
    generators = ()

    def __init__(self, function: Callable[[Tensor, Sequence[str]], Tensor]) -> None:
        super().__init__(None)
        self.function, self.weight = function, nn.Parameter(torch.zeros(()))

    def translate(self, inputs: Any, *told: Any, keys: Sequence[str] | None = None, **more: Any) -> dict[str, Tensor]:
        assert keys is not None
        return {"b": self.function(inputs["a"], keys)}


class Paired(Method[Any]):
    """A method that makes images by a function of x."""

    needs = Needs({"a": "image", "b": "image"})
    inputs, outputs = {"a": "image"}, {"b": "image"}
    generators = ()

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__(None)
        self.function, self.weight = function, nn.Parameter(torch.zeros(()))

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        return Function(lambda x, *told: self.function(x))


class Labelled(Paired):
    needs = Needs({"image": "image"}, attributes=True)
    inputs, outputs = {"image": "image"}, {"image": "image"}
    controls: ClassVar = {"target": Labels()}


def range_of(images: Sequence[np.ndarray]) -> Tensor:
    """Images (H, W, C) of 8 bits as (n, C, H, W) in [-1, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1


def maker(images: Sequence[np.ndarray]) -> Pairs:
    """A method that makes these images, by key."""
    return Pairs(lambda x, keys: range_of([images[int(key)] for key in keys]))


def parts_of(family: Family, asked: Asked, world: int = 1) -> list[Any]:
    """What a family finds in all chunks, in their order, `world` workers having each looked at theirs."""
    found = [
        (place, family.chunk(Outputs(asked.method, batch)))
        for rank in reversed(range(world))
        for place, batch in chunks(asked, rank, world)
    ]
    return [part for _, part in sorted(found, key=lambda pair: pair[0])]


def measured(build: Callable[[Asked], Family], asked: Asked, world: int = 1) -> dict[str, Measured]:
    """A family's metrics."""
    family = build(asked)
    return family.result(parts_of(family, asked, world))
