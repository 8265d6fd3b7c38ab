"""Name the classes of the streets' label maps, with the colours that Cityscapes gives them."""

from __future__ import annotations

CLASSES: dict[str, tuple[int, int, int]] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "car": (0, 0, 142),
}
"""Colour of each class, in the order of their ids."""
NAMES = tuple(CLASSES)
ID = {name: i for i, name in enumerate(NAMES)}
COUNTED = ("traffic light", "traffic sign", "person", "car")
"""Classes whose objects have ids and boxes of their own; of the others the instance map holds 0."""
