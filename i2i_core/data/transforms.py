"""Resize, crop and flip, seeded by where a sample stands: (seed, epoch, index of the sample).

Images are (C, H, W) of their stored dtype, before and after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from i2i_core.data.batch import seed_from

Size = int | tuple[int, int]
"""Pixels of a square's side, or height and width."""


def sides(size: Size) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else size


@dataclass(frozen=True)
class Augment:
    """The same resize, crop and flip for every image of a sample, so that pairs stay aligned.

    Args:
        size: pixels that come out; 0: images as they are.
        load_size: pixels of the height before the crop, the width in proportion; 0: `size`.
        crop: where `size` is cut from `load_size`: anywhere, the middle, or nowhere (resized to `size`).
        flip: mirror half of the samples.
        seed: of the run.
    """

    size: Size
    load_size: int
    crop: Literal["random", "center", "none"]
    flip: bool
    seed: int

    def __call__(self, images: dict[str, Tensor], place: tuple[object, ...]) -> dict[str, Tensor]:
        """`place` is (epoch, key, row): what this sample's draws depend on."""
        words = np.random.Philox(key=seed_from(self.seed, "augment", *place)).random_raw(3).tolist()
        return {name: self._one(image, words) for name, image in images.items()}

    def _one(self, image: Tensor, words: list[int]) -> Tensor:
        if self.size:
            height, width = sides(self.size)
            load = height if self.crop == "none" else max(self.load_size, height)
            image = resized(image, (load, round(load * width / height)))
            image = crop(image, self.size, words if self.crop == "random" else None)
        return image.flip(-1) if self.flip and words[2] & 1 else image


def resized(image: Tensor, size: Size) -> Tensor:
    """(C, height, width), bicubic with antialiasing, in the image's own dtype and range."""
    if image.shape[-2:] == sides(size):
        return image
    out = F.interpolate(image[None].float(), sides(size), mode="bicubic", antialias=True, align_corners=False)[0]
    if image.dtype.is_floating_point:
        return out.to(image.dtype)
    top = torch.iinfo(image.dtype).max
    return out.round_().clamp_(0, top).to(image.dtype)


def crop(image: Tensor, size: Size, words: list[int] | None) -> Tensor:
    """(C, height, width) cut at the place the two first random words name, or from the middle."""
    height, width = sides(size)
    rows, columns = image.shape[-2] - height, image.shape[-1] - width
    top, left = (words[0] % (rows + 1), words[1] % (columns + 1)) if words else (rows // 2, columns // 2)
    return image[..., top : top + height, left : left + width]
