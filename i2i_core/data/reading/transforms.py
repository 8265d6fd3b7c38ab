"""Resize, crop and flip, seeded by where a sample stands: (seed, epoch, index of the sample).

Images are (H, W, C) arrays of their stored dtype, before and after; crops and flips are views.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from i2i_core.randomness import seed_from
from i2i_core.sizes import Resizing, Size, fitted, sides


@dataclass(frozen=True)
class Augment:
    """The same resize, crop and flip for every image of a sample, so that pairs stay aligned.

    Args:
        size: pixels that come out; 0: images as they are.
        load_size: pixels of the height before the crop, the width in proportion to `size`; 0: `size`.
        crop: where `size` is cut from what was loaded: anywhere, the middle, or nowhere (resized to `size`).
        flip: mirror half of the samples.
        seed: of the run.
        resizing: whether an image is stretched to the load size or covers it with its shape kept, and the filter.
    """

    size: Size
    load_size: int
    crop: Literal["random", "center", "none"]
    flip: bool
    seed: int
    resizing: Resizing = Resizing()

    def words(self, places: Iterable[tuple[object, ...]]) -> Iterator[list[int]]:
        """What each sample draws: the first words of the Philox counter that its place, (epoch, key, row), is the
        key of. One generator is given one key after the other, as making one asks the system for entropy."""
        philox = np.random.Philox(key=0)
        fresh = philox.state
        for place in places:
            fresh["state"]["key"][0] = seed_from(self.seed, "augment", *place)
            philox.state = fresh
            yield philox.random_raw(3).tolist()

    def __call__(self, images: dict[str, np.ndarray], words: list[int]) -> dict[str, np.ndarray]:
        """The images of one sample, with the words it drew."""
        return {name: self._one(image, words) for name, image in images.items()}

    def _one(self, image: np.ndarray, words: list[int]) -> np.ndarray:
        if self.size:
            height, width = sides(self.size)
            load = height if self.crop == "none" else max(self.load_size, height)
            rows, columns = image.shape[:2]
            box = fitted(rows, columns, (load, round(load * width / height)), self.resizing.fit)
            image = _interpolated(image, box, self.resizing)
            image = crop(image, self.size, words if self.crop == "random" else None)
        return image[:, ::-1] if self.flip and words[2] & 1 else image


def _interpolated(image: np.ndarray, size: tuple[int, int], resizing: Resizing) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    x_CHW = torch.from_numpy(np.require(image, requirements="W")).permute(2, 0, 1)
    return interpolated(x_CHW, size, resizing).permute(1, 2, 0).numpy()


def resized(image: Tensor, size: Size, resizing: Resizing = Resizing()) -> Tensor:
    """(C, height, width): resized as `resizing` says, and the middle cut out where that leaves something over."""
    height, width = sides(size)
    box = fitted(image.shape[-2], image.shape[-1], (height, width), resizing.fit)
    x_CHW = interpolated(image, box, resizing)
    top, left = (x_CHW.shape[-2] - height) // 2, (x_CHW.shape[-1] - width) // 2
    return x_CHW[..., top : top + height, left : left + width]


def interpolated(image: Tensor, size: tuple[int, int], resizing: Resizing) -> Tensor:
    """(C, height, width) on the CPU, antialiased, in the image's own dtype and range."""
    if image.shape[-2:] == size:
        return image
    x = image if image.dtype == torch.uint8 else image.float()  # uint8 has a kernel of its own
    out = F.interpolate(x[None], size, mode=resizing.resample, antialias=True, align_corners=False)[0]
    if image.dtype == torch.uint16:
        out = out.round_().clamp_(0, torch.iinfo(image.dtype).max)
    return out.to(image.dtype)


def crop(image: np.ndarray, size: Size, words: list[int] | None) -> np.ndarray:
    """(height, width, C) cut at the place the two first random words name, or from the middle."""
    height, width = sides(size)
    rows, columns = image.shape[0] - height, image.shape[1] - width
    top, left = (words[0] % (rows + 1), words[1] % (columns + 1)) if words else (rows // 2, columns // 2)
    return image[top : top + height, left : left + width]
