"""Resize, crop and flip, seeded by where a sample stands: (seed, epoch, key, row).

Images are (H, W, C) arrays of their stored dtype, before and after; crops and flips are views. All fields of a sample
share one draw, and each follows it as its role asks (`images.placement`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from i2i_core.data.format.roles import Value, frame_of
from i2i_core.fields import PIXELS, Field
from i2i_core.images.placement import Placement, moves_with_a_picture
from i2i_core.randomness import seed_from
from i2i_core.sizes import Resizing, Size, fitted, sides


@dataclass(frozen=True)
class Augment:
    """Resize, crop and flip every field of a sample by the same draw, so that pairs stay aligned.

    Args:
        size: pixels that come out; 0: images as they are.
        load_size: pixels of the height before the crop, the width in proportion to `size`; 0: `size`.
        crop: where `size` is cut from what was loaded: anywhere, or the middle; none: resized to `size`, whatever the
            load size, and the middle of what has another shape.
        flip: mirror half of the samples.
        seed: of the run.
        resizing: how an image comes to the load size: stretched, or with its shape kept; and the filter.
    """

    size: Size
    load_size: int
    crop: Literal["random", "center", "none"]
    flip: bool
    seed: int
    resizing: Resizing = Resizing()

    def words(self, places: Iterable[tuple[object, ...]]) -> Iterator[list[int]]:
        """Draw the random words of each sample: the first of the Philox counter whose key is made of the seed and the
        sample's place, (epoch, key, row). One generator is re-keyed for all, as making one asks the system for
        entropy."""
        philox = np.random.Philox(key=0)
        fresh = philox.state
        for place in places:
            fresh["state"]["key"][0] = seed_from(self.seed, "augment", *place)
            philox.state = fresh
            yield philox.random_raw(3).tolist()

    def __call__(
        self, values: Mapping[str, Value], words: list[int], fields: Mapping[str, Field] | None = None
    ) -> dict[str, Value]:
        """Augment the fields of one sample, by one draw.

        Args:
            values: as `roles.value_of` gives them.
            words: what the sample drew.
            fields: what they are; None: images.
        """
        fields = fields or {}
        pictures = {
            name: (x.shape[0], x.shape[1])
            for name, x in values.items()
            if isinstance(x, np.ndarray) and (name not in fields or fields[name].role in PIXELS)
        }
        first = next(
            (size for name, size in pictures.items() if name not in fields or fields[name].role == "image"), None
        )
        first = first or next(iter(pictures.values()), None)
        placements = {
            name: self.placement(size, words, first if first and _same_shape(size, first) else size)
            for name, size in pictures.items()
        }
        return {name: self._one(name, value, placements, fields) for name, value in values.items()}

    def placement(self, shape: tuple[int, ...], words: list[int], like: tuple[int, int] | None = None) -> Placement:
        """Compute where a picture of (height, width, ...) goes.

        Args:
            like: (height, width) of the picture that decides, where another one lies over this one pixel for pixel, and
                may be coarser or finer; None: this one.
        """
        stored = size = loaded = (shape[0], shape[1])
        flipped = bool(self.flip and words[2] & 1)
        if not self.size:
            return Placement(stored, loaded, 0, 0, size, flipped)
        height, width = size = sides(self.size)
        load = height if self.crop == "none" else max(self.load_size, height)
        box, fit = (load, round(load * width / height)), self.resizing.fit
        loaded = fitted(*(like or stored), box, fit, size)
        inside = box if fit == "pad" else loaded  # what is cut from
        rows, columns = inside[0] - height, inside[1] - width
        top, left = rows // 2, columns // 2
        if self.crop == "random":
            top, left = words[0] % (rows + 1), words[1] % (columns + 1)
        top, left = top - (inside[0] - loaded[0]) // 2, left - (inside[1] - loaded[1]) // 2
        return Placement(stored, loaded, top, left, size, flipped)

    def _one(self, name: str, value: Value, placements: Mapping[str, Placement], fields: Mapping[str, Field]) -> Value:
        field = fields.get(name)
        if field is None or field.role == "image":
            assert isinstance(value, np.ndarray)
            place = placements[name]
            return place.cut(_interpolated(value, place.loaded, self.resizing), black(value.dtype, field))
        if not moves_with_a_picture(field):
            return value
        return placements[name if field.role in PIXELS else frame_of(name, fields)].other(value, field)


def black(dtype: np.dtype[Any] | torch.dtype, field: Field | None = None) -> float:
    """Return the stored value that comes into a batch as -1: 0, or of floats the low end of their range."""
    if dtype not in (np.float32, torch.float32):
        return 0.0
    return -1.0 if field is None or field.low is None else field.low


def _same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Tell whether two pictures have one aspect ratio, up to the rounding of the coarser one's sides."""
    return abs(a[0] * b[1] - a[1] * b[0]) <= max(*a, *b)


def _interpolated(image: np.ndarray, size: tuple[int, int], resizing: Resizing) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    x_CHW = torch.from_numpy(np.require(image, requirements="W")).permute(2, 0, 1)
    return interpolated(x_CHW, size, resizing).permute(1, 2, 0).numpy()


def resized(image: Tensor, size: Size, resizing: Resizing = Resizing()) -> Tensor:
    """Resize an image (C, height, width) as `resizing` says; cut out the middle where that leaves something over, and
    pad, black, where something is missing."""
    place = Augment(size, 0, "center", False, 0, resizing).placement(tuple(image.shape[-2:]), [0, 0, 0])
    x_CHW = interpolated(image, place.loaded, resizing)
    if place.top < 0 or place.left < 0:
        (height, width), (rows, columns) = place.size, place.loaded
        edges = (-place.left, width - columns + place.left, -place.top, height - rows + place.top)
        return F.pad(x_CHW, edges, value=black(image.dtype))
    return x_CHW[..., place.top : place.top + place.size[0], place.left : place.left + place.size[1]]


def interpolated(image: Tensor, size: tuple[int, int], resizing: Resizing) -> Tensor:
    """Resize an image (C, height, width) on the CPU, antialiased, in its own dtype and range."""
    if image.shape[-2:] == size:
        return image
    x = image if image.dtype == torch.uint8 else image.float()  # uint8 has a kernel of its own
    out = F.interpolate(x[None], size, mode=resizing.resample, antialias=True, align_corners=False)[0]
    if image.dtype == torch.uint16:
        out = out.round_().clamp_(0, torch.iinfo(image.dtype).max)
    return out.to(image.dtype)
