"""Load images as the networks take them: cut in two if they hold two, converted to their channels, resized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from i2i_core.batch import scaled
from i2i_core.data.reading.transforms import interpolated
from i2i_core.errors import DataError, counted
from i2i_core.fields import MOST_PIXELS
from i2i_core.images import large_png
from i2i_core.images.codec import ImageOptions, Picture, decode_picture, prepare
from i2i_core.sizes import MOST_SIDE, Resizing, Size, sides, written

File = tuple[bytes, str]
"""The bytes of an image file, and its name's ending (`png`)."""
Half = Literal["", "left", "right", "top", "bottom"]
"""Half of an image that holds A and B; empty: an image is one."""


@dataclass(frozen=True)
class Sizing:
    """Say what size images are brought to before the networks; of the first three at most one is given.

    Args:
        size: pixels of the shorter side, in an int; or (height, width), to which images are stretched; 0: neither.
        longer: pixels of the longer side; 0: not given.
        scale: number that both sides are multiplied with; 0: not given.
    """

    size: Size = 0
    longer: int = 0
    scale: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.size or self.longer or self.scale)

    @property
    def flag(self) -> str:
        """The flag that is given, with its value; empty where none is."""
        if self.size:
            return f"--size {self.size if isinstance(self.size, int) else written(self.size)}"
        return f"--longer-side {self.longer}" if self.longer else f"--scale {self.scale:g}" if self.scale else ""

    def of(self, height: int, width: int) -> tuple[int, int]:
        """Compute (height, width) of an image after the resizing. Raises ValueError where it would be too large."""
        if not self:
            return height, width
        if not isinstance(self.size, int):
            return self.size
        factor = self.size / min(height, width) if self.size else self.longer / max(height, width)
        factor = self.scale or factor
        found = max(1, round(height * factor)), max(1, round(width * factor))
        if max(found) > MOST_SIDE or found[0] * found[1] > MOST_PIXELS:
            raise ValueError(f"{self.flag} makes it {written(found)} pixels; at most {MOST_SIDE} a side are made")
        return found


@dataclass(frozen=True)
class Loading:
    """Say how the images to translate are read.

    Args:
        sizing: size that they are brought to.
        background: colour that transparent ones are laid over.
        keep_alpha: keep the transparency for the outputs.
        half: half of each image that is taken.
        ab: sizes (height, width) in proportion to which an image is taken for one that holds A and B, and not taken.
        large: read PNGs beyond the limits of what is decoded whole (`images/large_png.py`).
    """

    sizing: Sizing = Sizing()
    background: str = "white"
    keep_alpha: bool = False
    half: Half = ""
    ab: tuple[int, int] | None = None
    large: bool = False


AS_IT_IS = Loading()


class Loaded(NamedTuple):
    """Hold an image as the networks take it."""

    x: Tensor
    """(C, H, W) in [-1, 1]."""
    dtype: str
    """Type that it was stored as."""
    alpha: Tensor | None = None
    """(1, H, W) in [-1, 1], opaque at 1; None: it has none, or none is kept."""
    laid: bool = False
    """True if it has transparent pixels, which were laid over the background and are kept nowhere."""


class Stored(NamedTuple):
    """Hold an image in the channels and the size that the networks take, with its values as they are stored."""

    pixels: np.ndarray
    """(H, W, C) uint8, uint16, or float32 in [-1, 1]."""
    alpha: np.ndarray | None = None
    """(H, W, 1) of the same type; None: it has none, or none is kept."""
    laid: bool = False
    """True if it has transparent pixels, which were laid over the background and are kept nowhere."""


def stored(file: File, channels: int, loading: Loading, name: str) -> Stored:
    """Decode an image.

    Args:
        channels: channels to convert it to; 0: its own.
        name: the image's name, for messages.

    Raises:
        DataError: the image cannot be converted to so many channels.
        ValueError: it cannot be decoded or cut in two, would be too large, or has float values outside [-1, 1].
    """
    return as_stored(decoded(file, loading.large), channels, loading, name)


def as_stored(picture: Picture, channels: int, loading: Loading, name: str) -> Stored:
    """Convert a decoded image to the channels and the size that the networks take. Takes and raises what `stored`
    does."""
    if loading.ab and holds_two(picture.pixels.shape, loading.ab):
        height, width = picture.pixels.shape[:2]
        raise ValueError(f"{width} x {height} pixels (width x height): it holds A and B; see --ab and --whole")
    picture = halved(picture, loading.half) if loading.half else picture
    x = converted(picture, channels, name, loading.background) if channels else picture.pixels
    box = loading.sizing.of(*x.shape[:2])
    dropped = channels in (1, 3) and picture.alpha
    alpha = _fitted(picture.pixels[..., -1:], box) if dropped and loading.keep_alpha else None
    return Stored(_fitted(x, box), alpha, dropped and not loading.keep_alpha and picture.transparent)


def decoded(file: File, large: bool = False) -> Picture:
    """Decode an image whole; a `large` PNG that is beyond the limits for that, a few rows at a time."""
    if large and large_png.is_large(file[0]):
        pixels = large_png.read(file[0])
        return Picture(pixels, alpha=pixels.shape[2] in (2, 4))
    return decode_picture(*file)


def loaded(file: File, channels: int, loading: Loading, name: str) -> Loaded:
    """Decode an image to a tensor. Takes and raises what `stored` does."""
    return _as_tensors(stored(file, channels, loading, name))


def as_taken(picture: Picture, channels: int, loading: Loading, name: str) -> Loaded:
    """Convert a decoded image to a tensor. Takes and raises what `stored` does."""
    return _as_tensors(as_stored(picture, channels, loading, name))


def _as_tensors(found: Stored) -> Loaded:
    alpha = None if found.alpha is None else as_tensor(found.alpha)
    return Loaded(as_tensor(found.pixels), str(found.pixels.dtype), alpha, found.laid)


def as_tensor(x_HWC: np.ndarray) -> Tensor:
    """Convert stored values to (C, H, W) in [-1, 1]."""
    return scaled(torch.from_numpy(np.ascontiguousarray(x_HWC.transpose(2, 0, 1))))


def _fitted(x_HWC: np.ndarray, box: tuple[int, int]) -> np.ndarray:
    if x_HWC.shape[:2] == box:
        return x_HWC
    x_CHW = torch.from_numpy(np.ascontiguousarray(x_HWC.transpose(2, 0, 1)))
    return interpolated(x_CHW, box, Resizing()).permute(1, 2, 0).numpy()


def own(file: File, name: str) -> Loaded:
    """Decode an image as it is stored. Raises as `loaded`."""
    return loaded(file, 0, AS_IT_IS, name)


def holds_two(shape: tuple[int, ...], ab: Size) -> bool:
    """Tell whether an image (height, width, ...) has the proportions of those that hold A and B, to a hundredth."""
    height, width = sides(ab)
    return abs(shape[1] * height / (shape[0] * width) - 1) <= 0.01


def halved(picture: Picture, half: Half) -> Picture:
    """Cut half of an image out. Raises ValueError where it has no two equal halves."""
    axis = 1 if half in ("left", "right") else 0
    side = picture.pixels.shape[axis]
    if side % 2:
        raise ValueError(f"{side} pixels of {('height', 'width')[axis]}, which are not two equal halves (--ab)")
    kept = slice(None, side // 2) if half in ("left", "top") else slice(side // 2, None)
    return Picture(picture.pixels[:, kept] if axis else picture.pixels[kept], picture.alpha)


def converted(picture: Picture, channels: int, name: str, background: str = "white") -> np.ndarray:
    """Convert an image to that many channels: grey to RGB and back; transparency is laid over the background, or kept
    where the networks take it (2 or 4 channels), of opaque images as a channel that is opaque.

    Raises:
        DataError: there is no such conversion.
        ValueError: float values outside [-1, 1].
    """
    have = picture.pixels.shape[2]
    if channels in (2, 4) and have in (1, 2, 3, 4) and have != channels and (picture.alpha or have in (1, 3)):
        with_alpha = ImageOptions(keep_alpha=True, channels=3 if channels == 4 else 1)
        return prepare(picture, with_alpha)
    keep = picture.alpha and have == channels
    colours = have - 1 if picture.alpha and not keep else have
    if colours != channels and not {colours, channels} <= {1, 3}:
        fix = "Grey and RGB images are converted; others need a checkpoint trained on their kind."
        raise DataError(name, counted(have, "channel"), f"{channels}, which the checkpoint reads", fix)
    wanted: Any = channels if colours != channels else None
    return prepare(picture, ImageOptions(keep_alpha=keep, channels=wanted, background=background))
