"""Map the colours of label images to classes.

x_BCHW label images in [-1, 1], 3 channels; a class is its number among those that count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from i2i_core import strict
from i2i_core.errors import ConfigError
from i2i_core.images.sheet import to_array
from i2i_core.settings import from_dict, shown
from i2i_core.storage.near import corrected
from i2i_core.storage.paths import sha256
from i2i_core.storage.remote import storage_of

CITYSCAPES = {
    "road": (128, 64, 128), "sidewalk": (244, 35, 232), "building": (70, 70, 70), "wall": (102, 102, 156),
    "fence": (190, 153, 153), "pole": (153, 153, 153), "traffic light": (250, 170, 30), "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35), "terrain": (152, 251, 152), "sky": (70, 130, 180), "person": (220, 20, 60),
    "rider": (255, 0, 0), "car": (0, 0, 142), "truck": (0, 0, 70), "bus": (0, 60, 100), "train": (0, 80, 100),
    "motorcycle": (0, 0, 230), "bicycle": (119, 11, 32),
}  # fmt: skip
"""The 19 classes that Cityscapes trains and scores, by their train ids."""
CITYSCAPES_VOID = {
    "unlabeled": (0, 0, 0), "dynamic": (111, 74, 0), "ground": (81, 0, 81), "parking": (250, 170, 160),
    "rail track": (230, 150, 140), "guard rail": (180, 165, 180), "bridge": (150, 100, 100), "tunnel": (150, 120, 90),
    "caravan": (0, 0, 90), "trailer": (0, 0, 110),
}  # fmt: skip
"""Classes that Cityscapes does not score. Pole groups and licence plates, not scored either, have the colours of poles
and cars, and so are taken for them."""
FORM = '{"classes": [{"name": "road", "color": [128, 64, 128], "ignore": false}, ...]}'


@dataclass(frozen=True)
class Colour:
    """Name a class of label images and its colour."""

    name: str
    color: tuple[int, ...]
    """Red, green, blue, 0 to 255."""
    ignore: bool = False
    """True: pixels of the class are not scored."""


@dataclass(frozen=True)
class Palette:
    """Give label images their classes by the nearest colour."""

    classes: tuple[Colour, ...]
    """Classes, at least two of which count; no name and no colour twice."""
    name: str = ""
    sha256: str = ""
    """Checksum of the file that the palette was read from; empty: built in."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name the classes that count, in their order."""
        return tuple(c.name for c in self.classes if not c.ignore)

    @property
    def ignored(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes if c.ignore)

    @property
    def numbers(self) -> np.ndarray:
        """Number `classes` among those that count; every class that does not count has the number after the last."""
        counts = np.array([not c.ignore for c in self.classes])
        return np.where(counts, np.cumsum(counts) - 1, counts.sum())

    def nearest(self, x_BCHW: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Find the class of the nearest colour, (B, H, W), and the squared distance to that colour.

        An ignored class is the number of classes that count. Of two colours as near the first is taken. Values are
        rounded to 8 bits before; all numbers are whole, and exact in float32.
        """
        colours = np.array([c.color for c in self.classes], np.float32)
        found = [_nearest(to_array(x).astype(np.float32), colours) for x in x_BCHW]
        which, distance = (np.stack(each) for each in zip(*found, strict=True))
        return self.numbers[which], distance


def _nearest(image: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the number of the nearest colour and the squared distance, (H, W) each, for an image (H, W, 3)."""
    distance = np.square(image).sum(-1, keepdims=True) - 2 * (image @ colours.T) + np.square(colours).sum(-1)
    which = distance.argmin(-1)
    return which, np.take_along_axis(distance, which[..., None], -1)[..., 0]


def cityscapes() -> Palette:
    """Give the palette of Cityscapes' label images: 19 classes that count, then void ones."""
    counted = (Colour(name, color) for name, color in CITYSCAPES.items())
    void = (Colour(name, color, ignore=True) for name, color in CITYSCAPES_VOID.items())
    return Palette((*counted, *void), "cityscapes")


def read_palette(name: str) -> Palette:
    """Read a palette: `cityscapes`, or a JSON file of the form FORM.

    Raises:
        ConfigError: no such file, or one of another form.
    """
    if name == "cityscapes":
        return cityscapes()
    fs, path = storage_of(name)
    where, fix = f"--palette {name}", f"Write {FORM}, or name `cityscapes`."
    if not fs.isfile(path):
        raise ConfigError("--palette", f"no file {name}", "`cityscapes` or a JSON file", corrected(name, fix))
    data = fs.cat_file(path)
    try:
        values = strict.loads(data)
    except ValueError as error:
        raise ConfigError(where, f"text that is not JSON ({error})", "classes and their colours", fix) from None
    if not isinstance(values, dict) or values.keys() != {"classes"} or not isinstance(values["classes"], list):
        raise ConfigError(where, "JSON of another form", 'an object with the one key "classes", a list', fix)
    classes = tuple(_colour(value, f"{where}: classes[{i}]", fix) for i, value in enumerate(values["classes"]))
    palette = Palette(classes, name, sha256(data))
    for what, all_of_it in (("name", [c.name for c in classes]), ("color", [c.color for c in classes])):
        if twice := [each for i, each in enumerate(all_of_it) if each in all_of_it[:i]]:
            raise ConfigError(where, f"{what} {shown(twice[0])} twice", f"each {what} once", "Change one of them.")
    if len(palette.names) < 2:
        found = f"{len(palette.names)} classes that are not ignored"
        raise ConfigError(where, found, "at least 2", "Name the classes that are to be told apart.")
    return palette


def _colour(value: object, where: str, fix: str) -> Colour:
    if not isinstance(value, dict) or not {"name", "color"} <= value.keys():
        raise ConfigError(where, shown(value), "an object with name and color", fix)
    colour = from_dict(Colour, value, where)
    if len(colour.color) != 3 or not all(0 <= c <= 255 for c in colour.color):
        raise ConfigError(f"{where}.color", shown(list(colour.color)), "three whole numbers from 0 to 255", fix)
    return colour
