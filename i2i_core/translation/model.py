"""Use a checkpoint from Python: `load` it, and translate tensors, arrays and PIL images, or take its network.

x_BCHW images in [-1, 1].
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from i2i_core.batch import scaled
from i2i_core.checkpoints.trained import Trained, load_trained
from i2i_core.config.evaluation import AtTestOptions
from i2i_core.config.translation import TileNorm
from i2i_core.errors import ConfigError, DataError, counted
from i2i_core.images.codec import Picture
from i2i_core.images.sheet import to_array
from i2i_core.methods.at_test import fixed
from i2i_core.methods.base import Direction, Method, Values, sides
from i2i_core.methods.controls import Code, Examples, Labels
from i2i_core.networks.shapes import SizeError
from i2i_core.sharing import hub
from i2i_core.storage.paths import absolute
from i2i_core.tensors import repeatable
from i2i_core.translation.loading import converted
from i2i_core.translation.padding import at_any_size, cropped
from i2i_core.translation.targets import parse_target_of
from i2i_core.translation.tiles import Tiler, Tiling

Picturable: TypeAlias = Tensor | np.ndarray | Image.Image
"""An image: a tensor (C, H, W) in [-1, 1]; an array (H, W, C) or (H, W) of uint8, uint16, or float32 in [-1, 1]; or
PIL's."""


def load(
    place: str | os.PathLike[str], device: str | torch.device = "cpu", at_test: AtTestOptions | None = None
) -> Model:
    """Load a run's best checkpoint, else its last; or one checkpoint.

    Args:
        place: folder or URL of the run or checkpoint.
        device: device for the networks.
        at_test: how batch norm and dropout run; None: as the run has it.

    Raises:
        CheckpointError: no checkpoint is there, or it is damaged.
        ConfigError: an option has no effect on these networks.
    """
    trained = load_trained(absolute(os.fspath(place), "the checkpoint"), torch.device(device))
    trained.method.at_test = trained.at_test(at_test or AtTestOptions())
    return Model(trained)


def from_pretrained(
    place: str | os.PathLike[str],
    revision: str = "",
    device: str | torch.device = "cpu",
    at_test: AtTestOptions | None = None,
) -> Model:
    """Load a generator that was shared: a repository of the Hugging Face hub, or a folder.

    Its files are data alone, and nothing in them runs. What the hub's cache has is not fetched again.

    Args:
        place: `OWNER/NAME` on the hub, or a folder or URL, as for `load`.
        revision: branch, tag or commit of the repository; empty: its main branch.
        device, at_test: as for `load`.

    Raises:
        ResourceError: the hub's package is not there: the extra `share`.
        ConfigError, RunError: there is no such repository, or the hub does not answer.
        CheckpointError: no generator is there, or it is damaged.
    """
    place = os.fspath(place)
    if name := hub.repository(place):
        place = hub.download(name, hub.NEEDED, revision)
    return load(place, device, at_test)


class Model:
    """Make images with a loaded checkpoint.

    Attributes:
        trained: the checkpoint: method, run's configuration, place, images seen.
        method: the method with its networks, in evaluation mode.
    """

    def __init__(self, trained: Trained) -> None:
        self.trained = trained
        self.method: Method[Any] = trained.method.eval()

    def translate(
        self,
        images: Picturable | Sequence[Picturable],
        direction: Direction = "AtoB",
        *,
        keys: Sequence[str] | None = None,
        tile: int = 0,
        tile_norm: TileNorm = "exact",
        **controls: Any,
    ) -> Any:
        """Translate images with a method that makes one image of one image.

        Args:
            images: a batch (n, C, H, W) in [-1, 1], one image, or several images of any sizes.
            direction: `BtoA` goes back, with methods that translate both ways.
            keys: names that seed noise and codes, as the images' names do in translate.py; None: 0, 1, ...
            tile: pixels of the side of tiles that images go through in, one by one, in the memory of a tile; 0: whole.
            tile_norm: statistics of norms in tiles: `exact`, of the whole image; `blend`, each tile's own.
            controls: by the method's names: target labels as words (`target="bold,serif"`) or a tensor (n, A); a code
                as a tensor (n, Z); examples as images.

        Returns:
            The kind that was given: a batch for a batch, else an image or a list of images, of the first image's kind;
            arrays and PIL images with the bit depth of the input.

        Raises:
            DataError: the networks cannot take the images; those of sizes that they cannot take are padded for them.
            ConfigError: the method does not have such a control, does not know a label, or cannot go in such tiles.
            ValueError: the method needs a control that is missing, or does not have the direction.
        """
        if direction == "BtoA" and not self.method.two_way:
            raise ConfigError("direction", "BtoA", "AtoB: this method goes one way", "Leave direction out.")
        (taken,), (made, *_) = self._sides(direction)
        if tile or tile_norm != "exact":
            return self._in_tiles(images, direction, Tiling(tile, tile_norm, flags=False), keys, controls)
        if isinstance(images, Tensor) and images.ndim == 4:
            told = self._told(controls, len(images))
            return self._made(taken, made, self._batch(images, taken), direction, keys, told)
        given = _listed(images)
        names = [str(i) for i in range(len(given))] if keys is None else list(keys)
        told, found = self._told(controls, len(given)), dict[int, Picturable]()
        for same in _by_size(given):
            batch = self._batch([given[i] for i in same], taken)
            own = {name: value[same] for name, value in told.items()}
            outputs = self._made(taken, made, batch, direction, [names[i] for i in same], own)
            found |= {i: _as(given[0], x) for i, x in zip(same, outputs, strict=True)}
        return found[0] if isinstance(images, Picturable) else [found[i] for i in range(len(given))]

    def _in_tiles(
        self,
        images: Picturable | Sequence[Picturable],
        direction: Direction,
        tiling: Tiling,
        keys: Sequence[str] | None,
        controls: Mapping[str, Any],
    ) -> Any:
        """Translate images in tiles, one after another."""
        tiler = Tiler(self.method, direction, tiling)
        batched = isinstance(images, Tensor) and images.ndim == 4
        given = list(images) if batched else _listed(images)
        told, found = self._told(controls, len(given)), list[Picturable]()
        for i, image in enumerate(given):
            channels = self.method.channels()[tiler.taken]
            if isinstance(image, Tensor):
                self._batch(image[None], tiler.taken)  # checks its channels
                x_HWC = image.detach().float().cpu().permute(1, 2, 0).numpy()
            else:
                x_HWC = converted(_picture(image), channels, f"image {i}")
            each = {name: value[i : i + 1] for name, value in told.items()}
            key = str(i) if keys is None else keys[i]
            made = tiler.translate(x_HWC, each, key, _kind(image, tiler.channels))
            y = torch.from_numpy(made).permute(2, 0, 1).contiguous() if isinstance(image, Tensor) else None
            found.append(_as_array(image, made) if y is None else y.to(self.method.device))
        if batched:
            return torch.stack(found)  # type: ignore[arg-type]
        return found[0] if isinstance(images, Picturable) else found

    def generate(self, count: int, *, keys: Sequence[str] | None = None, **controls: Any) -> Tensor:
        """Make images (n, C, H, W) of codes, with a method that takes no image.

        Args:
            keys: names that seed the codes; None: 0, 1, ...
            controls: as in `translate`.

        Raises:
            ConfigError: the method takes images.
        """
        if self.method.inputs:
            raise ConfigError("generate", f"a method that takes {', '.join(self.method.inputs)}", "none", "Translate.")
        keys = [str(i) for i in range(count)] if keys is None else keys
        with repeatable():
            made = self.method.translate({}, self._told(controls, len(keys)), keys=keys)
        return made[next(iter(self.method.outputs))].float()

    def encode(self, images: Picturable | Sequence[Picturable], direction: Direction = "AtoB") -> Tensor:
        """Read codes (n, Z) off images of the kind that a direction makes. Raises ConfigError if the method cannot."""
        if not self.method.encodes:
            raise ConfigError("encode", "a method that reads no code off an image", "one that does", "Draw codes.")
        _, (made, *_) = self._sides(direction)
        return self.method.encode(self._batch(images, made), direction)

    def network(self, direction: Direction = "AtoB") -> nn.Module:
        """Give an independent network that makes the same images as `translate`, for export.

        It takes tensors in the order of the method's inputs and controls. Batch norm and dropout run in it as the
        checkpoint runs them; dropout that is the method's noise is drawn from torch's global random state, because the
        network knows no keys.

        Raises:
            ConfigError: no network makes the method's images.
        """
        if self.method.optimises:
            found = "a method that makes images by a search for their codes"
            raise ConfigError("network", found, "one whose images a network makes", "Call `translate`.")
        return fixed(self.method.module(direction), self.method.at_test)

    def _sides(self, direction: Direction) -> tuple[Mapping[str, str], Mapping[str, str]]:
        taken, made = sides(self.method, direction)
        if len(taken) != 1 or next(iter(taken.values())) != "image":
            found = f"a method that takes {', '.join(f'{n} ({r})' for n, r in taken.items()) or 'no image'}"
            fix = "Call `model.method.translate(inputs, controls)`, or `generate` where there are no inputs."
            raise ConfigError("translate", found, "one that makes an image of an image", fix)
        return taken, made

    def _made(
        self,
        taken: str,
        made: str,
        x_BCHW: Tensor,
        direction: Direction,
        keys: Sequence[str] | None,
        told: Values,
    ) -> Tensor:
        inputs, roles = {taken: x_BCHW.to(next(self.method.parameters()))}, {taken: "image"}

        def make(given: Values, controls: Values) -> dict[str, Tensor]:
            return self.method.translate(given, controls, direction, keys=keys)

        try:
            with repeatable():
                found, padding = at_any_size(make, inputs, roles, told)
        except SizeError as error:
            found_size = f"{x_BCHW.shape[3]} x {x_BCHW.shape[2]} pixels (width x height)"
            raise DataError("images", found_size, error.expected, f"Resize them to {error.listed}.") from None
        return cropped(found[made], inputs, roles, padding).float()

    def _told(self, controls: Mapping[str, Any], n: int) -> dict[str, Tensor]:
        """Convert controls to tensors as the method takes them, each (n, ...)."""
        told: dict[str, Tensor] = {}
        for name, value in controls.items():
            if name not in self.method.controls:
                has = ", ".join(self.method.controls) or "none"
                raise ConfigError(name, "a control of that name", f"those of this method: {has}", "Leave it out.")
            if isinstance(value, str) and name == self.method.named(Labels):
                target = parse_target_of(value, self.method.label_sets)
                if target.edit:
                    fix = "Name all that is to be on, without signs."
                    raise ConfigError(name, repr(value), "labels, not a change of an image's own", fix)
                value = torch.from_numpy(target.vector(None)).expand(n, -1)
            elif name == self.method.named(Examples) and not (isinstance(value, Tensor) and value.ndim == 5):
                examples = self._batch(value, next(iter(self.method.outputs)))
                value = examples.expand(n, *examples.shape)
            if len(value) != n:
                raise ConfigError(name, counted(len(value), "row"), f"{n}, one for each image", "Give as many.")
            told[name] = value
        for name, control in self.method.controls.items():
            if name not in told and not isinstance(control, Code):  # a code is drawn
                first = self.method.label_sets[0].names[:1] if isinstance(control, Labels) else ()
                example = f"{name}={first[0]!r}" if first else f"{name}=IMAGES"
                raise ConfigError(name, "nothing", "what the outputs are to show", f"Give {example}.")
        return told

    def _batch(self, images: Picturable | Sequence[Picturable], name: str) -> Tensor:
        """Stack images to (n, C, H, W), with the channels of an input or output of the method, on its device."""
        if not (isinstance(images, Tensor) and images.ndim == 4):
            given = _alike([images] if isinstance(images, Picturable) else list(images))
            images = torch.stack([self._tensor(image, name, f"image {i}") for i, image in enumerate(given)])
        channels = self.method.channels()[name]
        if images.shape[1] != channels:
            fix = "Tensors are taken as they are; PIL images and arrays are converted."
            raise DataError("images", f"tensors of {counted(images.shape[1], 'channel')}", f"{channels}", fix)
        return images.to(next(self.method.parameters()))

    def _tensor(self, image: Picturable, name: str, where: str) -> Tensor:
        """Convert an image to (C, H, W) in [-1, 1], with the channels that the method has there."""
        if isinstance(image, Tensor):
            return image
        picture = _picture(image)
        pixels = converted(picture, self.method.channels()[name], where)
        return scaled(torch.from_numpy(np.require(pixels.transpose(2, 0, 1), requirements=("C", "W"))))


def _picture(image: np.ndarray | Image.Image) -> Picture:
    alpha = isinstance(image, Image.Image) and image.has_transparency_data
    if isinstance(image, Image.Image):
        plain = image.mode in ("L", "LA", "RGB", "RGBA", "I;16")
        image = np.asarray(image if plain else image.convert("RGBA" if alpha else "RGB"))
    if image.dtype.name not in ("uint8", "uint16", "float32"):
        fix = "Give pixels as PIL has them (uint8), or float32 scaled to [-1, 1]."
        raise ConfigError("translate", f"an array of {image.dtype}", "uint8, uint16, or float32 in [-1, 1]", fix)
    pixels = image[..., None] if image.ndim == 2 else image
    return Picture(pixels, alpha and pixels.shape[2] in (2, 4))


def _alike(images: Sequence[Picturable]) -> Sequence[Picturable]:
    """Check that there are images, all of one size, and return them. Raises DataError."""
    sizes = {_size(image) for image in images}
    if len(sizes) != 1:
        found = ", ".join(f"{width} x {height}" for height, width in sorted(sizes)) or "none"
        raise DataError("images", found, "some of one size", "Translate them one by one, or resize them.")
    return images


def _by_size(images: Sequence[Picturable]) -> list[list[int]]:
    """List the positions of the images of each size. Raises DataError where there is no image."""
    groups: dict[tuple[int, int], list[int]] = {}
    for i, image in enumerate(images):
        groups.setdefault(_size(image), []).append(i)
    if not groups:
        raise DataError("images", "none", "an image, or several", "Give some.")
    return list(groups.values())


def _size(image: Picturable) -> tuple[int, int]:
    if isinstance(image, Image.Image):
        return image.height, image.width
    height, width = image.shape[-2:] if isinstance(image, Tensor) else image.shape[:2]
    return int(height), int(width)


def _listed(images: Picturable | Sequence[Picturable]) -> list[Picturable]:
    """List what was given. Raises ConfigError for what is no image."""
    given = [images] if isinstance(images, Picturable | str | os.PathLike) else list(images)
    if other := next((type(one).__name__ for one in given if not isinstance(one, Picturable)), ""):
        expected, fix = "PIL images, arrays or tensors", "Open files with PIL first."
        raise ConfigError("translate", f"a {other}", expected, fix)
    return given


def _as(given: Picturable, x_CHW: Tensor) -> Picturable:
    """Convert a made image to the kind that was given."""
    return x_CHW if isinstance(given, Tensor) else _as_array(given, to_array(x_CHW, _kind(given, len(x_CHW))))


def _kind(given: Picturable, channels: int) -> str:
    """Name the type of an output's values for an image of the kind that was given."""
    if isinstance(given, Tensor):
        return "float32"
    if isinstance(given, np.ndarray):
        return str(given.dtype)
    return "uint16" if given.mode == "I;16" and channels == 1 else "uint8"


def _as_array(given: np.ndarray | Image.Image, made_HWC: np.ndarray) -> Picturable:
    """Convert made values to an array or PIL image, as was given."""
    grey = made_HWC.shape[2] == 1
    if isinstance(given, np.ndarray):
        return made_HWC[..., 0] if given.ndim == 2 and grey else made_HWC
    return Image.fromarray(made_HWC[..., 0] if grey else made_HWC)
