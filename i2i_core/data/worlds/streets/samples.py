"""List the samples of the built-in streets, and draw the fields of each.

A source, `128x64/12/3/night`, names a size, a clip, a frame and a condition; `stage` at its end stands for a camera
that keeps before one person. A field of `FIELDS` says what is drawn of it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from i2i_core.data.worlds.streets.captions import LENGTH, captions, embedding
from i2i_core.data.worlds.streets.classes import CLASSES, NAMES
from i2i_core.data.worlds.streets.frames import Frame
from i2i_core.data.worlds.streets.light import CONDITIONS, Condition
from i2i_core.data.worlds.streets.people import MIRRORED, POINTS
from i2i_core.data.worlds.streets.truth import boxes, flow, key_points
from i2i_core.errors import ConfigError, nearest
from i2i_core.fields import Field
from i2i_core.settings import check_at_least, check_between, check_numbers, setting, size_setting
from i2i_core.sizes import Size, sides

Shown = Literal["labels", "twins", "weather", "video", "pose", "captions"]
Value = np.ndarray | tuple[str, ...]

_PIXELS: dict[str, Any] = {"extension": "png", "channels": 1, "dtype": "uint8", "height": 0, "width": 0}
_LISTED: dict[str, Any] = {"channels": 0, "dtype": "float32", "height": 0, "width": 0}
FIELDS: dict[str, Field] = {
    "image": Field(**{**_PIXELS, "channels": 3}),
    "labels": Field(**_PIXELS, role="classes", classes=len(NAMES), names=NAMES, palette=tuple(CLASSES.values())),
    "instances": Field(**{**_PIXELS, "dtype": "uint16"}, role="instances"),
    "depth": Field(**{**_PIXELS, "dtype": "uint16"}, role="map", low=0.0, high=655.35),
    "boxes": Field("json", **_LISTED, role="boxes", classes=len(NAMES), names=NAMES, frame="image"),
    "flow": Field(**{**_PIXELS, "extension": "npy", "channels": 2, "dtype": "float32"}, role="map", kind="flow"),
    "pose": Field(
        "npy", **_LISTED, role="vector", kind="points", shape=(len(POINTS), 3), pairs=MIRRORED, frame="image"
    ),
    "captions": Field("txt", 0, "str", 0, 0, role="text"),
    "embedding": Field("npy", **_LISTED, role="vector", shape=(LENGTH,)),
}
"""Fields that a frame can have."""
_OF: dict[str, tuple[str, ...]] = {
    "labels": ("boxes", "depth", "image", "instances", "labels"),
    "twins": ("a", "b"),
    "weather": ("image",),
    "video": ("boxes", "depth", "flow", "image", "instances", "labels"),
    "pose": ("image", "instances", "labels", "pose"),
    "captions": ("boxes", "captions", "embedding", "image", "labels"),
}
CLIPS = ("video", "pose")
"""What is a clip of frames each."""
FRAMES = 16


@dataclass(frozen=True)
class StreetOptions:
    """Choose what the built-in streets show, for --layout streets."""

    streets: Shown = "labels"
    """labels: images with label map, instances, boxes and depth; twins: pairs of one street in two conditions; weather:
    images of four classes, day, dusk, night and rain; video: clips with labels, instances, boxes, depth and flow; pose:
    clips of a walker or a dancer with 17 key points; captions: images with texts, an embedding of them, labels and
    boxes."""
    street_size: Size = size_setting((64, 128))
    """Size of an image, in pixels: WIDTHxHEIGHT, or the side of a square."""
    clips: int = setting(400, most=10_000_000)
    """Streets to draw; each gives one image or pair, or one clip of video and pose."""
    frames: int | None = setting(None, most=1_000_000)
    """Frames of each clip, for video and pose. Default: 16."""
    conditions: tuple[str, ...] = ()
    """Conditions that are drawn: day, dusk, night, rain; of twins the two sides. Streets take them in turn. Default:
    day and night of twins, all of weather and captions, else day."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 1, "clips")
        if self.frames is not None:
            check_between(self, 1, 1_000_000, "frames")
            if self.streets not in CLIPS:
                found = f"it beside --streets {self.streets}"
                raise ConfigError("--frames", found, "video or pose", "Leave it out; --clips says how many images.")
        height, width = sides(self.street_size)
        if not (MOST >= height >= LEAST and MOST >= width >= LEAST):
            found, fix = f"{width}x{height}", "For example --street-size 128x64."
            raise ConfigError("--street-size", found, f"sides of {LEAST} to {MOST} pixels", fix)
        for name in self.conditions:
            if name not in CONDITIONS:
                raise ConfigError("--conditions", repr(name), "conditions of the streets", nearest(name, CONDITIONS))
        if len({*self.conditions}) < len(self.conditions):
            raise ConfigError("--conditions", " ".join(self.conditions), "each once", "Leave the repeated one out.")
        if self.streets == "twins" and len(self.conditions) not in (0, 2):
            fix = "For example --conditions day night."
            raise ConfigError("--conditions", " ".join(self.conditions), "two, a pair's sides", fix)
        if self.streets == "weather" and len(self.conditions) == 1:
            fix = "Name two or more, or leave --conditions out."
            raise ConfigError("--conditions", self.conditions[0], "two or more, as they are the classes", fix)

    @property
    def shown(self) -> tuple[str, ...]:
        """Name the conditions that are drawn."""
        usual = {"twins": ("day", "night"), "weather": CONDITIONS, "captions": CONDITIONS}
        return self.conditions or usual.get(self.streets, ("day",))

    @property
    def length(self) -> int:
        """Count the frames of a clip; 1 of what are no clips."""
        return (self.frames or FRAMES) if self.streets in CLIPS else 1

    def as_json(self) -> dict[str, Any]:
        """Give the values as JSON has them."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**values, "street_size": list(sides(self.street_size)), "conditions": list(self.shown)}


LEAST, MOST = 8, 4096
"""Shortest and longest side of an image, in pixels."""


@dataclass(frozen=True)
class Sample:
    """Name a sample: its key, clip (of what is no clip, empty), its conditions by field, and its sources by field."""

    key: str
    clip: str
    condition: str
    sources: tuple[str, ...]


def names_of(options: StreetOptions) -> tuple[str, ...]:
    """Name the fields of the samples."""
    return _OF[options.streets]


def listed(options: StreetOptions) -> list[Sample]:
    """List the samples, in the order of clips and frames."""
    height, width = sides(options.street_size)
    stage = "/stage" if options.streets == "pose" else ""
    found = []
    for clip in range(options.clips):
        condition = options.shown[clip % len(options.shown)]
        for frame in range(options.length):
            key = f"street{clip:06d}/{frame:06d}" if options.streets in CLIPS else f"street{clip:06d}"
            shown = options.shown if options.streets == "twins" else (condition,) * len(_OF[options.streets])
            sources = tuple(f"{width}x{height}/{clip}/{frame}/{each}{stage}" for each in shown)
            found.append(Sample(key, key.partition("/")[0] if "/" in key else "", condition, sources))
    return found


def drawn(name: str, source: str, seed: int) -> Value:
    """Draw one field of a frame: images and maps (height, width, channels), boxes (N, 5), points (17, 3), texts."""
    size, clip, number, condition, *stage = source.split("/")
    width, height = size.split("x")
    frame = _frame(seed, int(clip), int(number), int(height), int(width), bool(stage))
    of: Condition = next(c for c in CONDITIONS if c == condition)
    match name:
        case "labels":
            return frame.labels[..., None]
        case "instances":
            return frame.instances[..., None]
        case "depth":
            return frame.depth[..., None]
        case "boxes":
            return boxes(frame.labels, frame.instances)
        case "flow":
            return flow(frame)
        case "pose":
            return key_points(frame)
        case "captions":
            return captions(frame, of)
        case "embedding":
            return embedding(captions(frame, of))
        case _:
            return frame.image(of)


@lru_cache(maxsize=1)  # the fields of a sample are asked for one after the other
def _frame(seed: int, clip: int, number: int, height: int, width: int, stage: bool) -> Frame:
    return Frame(seed, clip, number, height, width, stage)
