"""Collect the images of a study, by algorithm and key, all of one size and as PNG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image

from i2i_core.checkpoints.trained import Trained
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.reader import Reader
from i2i_core.errors import ConfigError, DataError
from i2i_core.images.sheet import png_bytes, to_image
from i2i_core.methods.base import Direction, sides
from i2i_core.methods.controls import Labels
from i2i_core.translation.inputs import Files, Split, open_images
from i2i_core.translation.loading import File, own
from i2i_core.translation.targets import parse_target_of

Pictures: TypeAlias = Mapping[str, Image.Image]
"""Images by key."""
SIDE = 256
"""Pixels of the longer side of images, at most: the articles show 256 x 256."""
ALSO = "Name another folder, or remove the image."


def of_folder(uri: str, flag: str, keys: Sequence[str] = (), most: int = 0, side: int = SIDE) -> dict[str, Image.Image]:
    """Read images of a folder; their keys are their paths in it, without an ending.

    Args:
        flag: the flag that names the folder, for messages.
        keys: keys to read, where the folder has them; none: the first `most`; 0: all.

    Raises:
        DataError: the folder is not there, has no images, or one of them cannot be read.
    """
    files, _ = open_images(uri, flag)
    wanted = set(keys)
    chosen = [i for i, name in enumerate(files.names) if not keys or name in wanted]
    return dict(_of_file(files, i, flag, side) for i in (chosen if keys or not most else chosen[:most]))


def _of_file(files: Files, i: int, flag: str, side: int) -> tuple[str, Image.Image]:
    return files.names[i], _picture(files.fetch(i), f"{flag} {files.paths[i]}", side)


def _picture(file: File, where: str, side: int) -> Image.Image:
    """Decode an image, and reduce it. Raises DataError."""
    try:
        return reduced(to_image(own(file, where).x), side)
    except (ValueError, OSError) as error:
        raise DataError(where, f"a file that cannot be read ({error})", "an image", ALSO) from None


def reduced(image: Image.Image, side: int) -> Image.Image:
    """Reduce an image whose longer side has more than so many pixels; it keeps its shape."""
    longer = max(image.size)
    if longer <= side:
        return image
    width, height = (max(1, round(pixels * side / longer)) for pixels in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class OfSplit:
    """Read real images, and inputs, of a split of the data set that a checkpoint translates.

    Attributes:
        trained: the checkpoint.
        uri: the data set.
        split: name of the split.
        way: direction in which images are made.
        target: labels of the outputs, as translate.py takes them; real images have the same.
    """

    trained: Trained
    uri: str
    split: str
    way: Direction = "AtoB"
    target: str = ""

    def _split(self) -> Split:
        method = self.trained.method
        return Split(DataSet(self.uri), self.split, method, self.trained.config.data.direction, self.way)

    def real(self, keys: Sequence[str] = (), most: int = 0, side: int = SIDE) -> dict[str, Image.Image]:
        """Read real images of the kind that the checkpoint makes; `keys` and `most` as in `of_folder`.

        Raises:
            DataError: the data set holds none, or one cannot be read.
        """
        split = self._split()
        if split.other < 0 or split.written.role != "image":
            fix = "Name a folder of real images with --real."
            raise DataError(f"--input {self.uri}", "no real images of the kind that is made", "some", fix)
        reader = Reader(split.data, self.split, split.shown_domain)
        names = [*reader.rows.keys(range(len(reader.rows)))]
        wanted = set(keys)
        chosen = [i for i in self._of_target(split, len(names)) if not keys or names[i] in wanted]
        found = {}
        for i in chosen if keys or not most else chosen[:most]:
            file = reader.read([i], split.other)[0], split.written.extension
            found[names[i]] = _picture(file, f"{self.uri}: {names[i]}", side)
        return found

    def _of_target(self, split: Split, count: int) -> Iterable[int]:
        """List the samples that have the target's labels; without a target, all."""
        method = self.trained.method
        if not self.target or not method.control(Labels) or not len(split.labels):
            return range(count)
        target = parse_target_of(self.target, method.label_sets)
        known = {name: k for k, name in enumerate(split.data.manifest.attributes)}
        if target.edit or not all(name in known for name in target.names):
            expected = "labels of the outputs, which the data set knows"
            raise ConfigError("--target", self.target, expected, "Name labels without signs, or give --real a folder.")
        columns = [known[name] for name in target.names]
        label = target.label(None)
        return [i for i in range(count) if (split.labels[i, columns] == label).all()]

    def sources(self, keys: Sequence[str], side: int = SIDE) -> dict[str, Image.Image]:
        """Read the inputs of these keys; none where the method takes no image."""
        taken, _ = sides(self.trained.method, self.way)
        name = next((name for name, role in taken.items() if role == "image"), "")
        if not name:
            return {}
        split, wanted = self._split(), set(keys)
        return {
            key: _picture(split.fetch(i, name), f"{self.uri}: {key}", side)
            for i, key in enumerate(split.names)
            if key in wanted
        }


def alike(groups: Sequence[Pictures], side: int = SIDE) -> list[dict[str, bytes]]:
    """Bring the images of all groups to one longer side, and encode them as PNG.

    A person could tell an algorithm by its images' size. The side is that of the smallest image, at most `side`.
    """
    every = [max(image.size) for group in groups for image in group.values()]
    least = min([side, *every])
    return [{key: png_bytes(reduced(image, least)) for key, image in group.items()} for group in groups]
