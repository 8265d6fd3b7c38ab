"""Read the stages of a run: what moves, on images of which size, for how long.

A stage is one text, `epochs=60 size=256 frozen=G.trunk`; docs/adding_a_method.md lists the words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from i2i_core.errors import ConfigError, nearest
from i2i_core.settings import MOST_REAL, MOST_WHOLE
from i2i_core.sizes import MOST_SIDE, Size, parsed_size, sides

FRESH = "fresh"
"""The word without a value."""
MOST_DIGITS = 18
"""Digits of a number; Python refuses to read thousands of them."""
MOST_FRAMES = 10_000


@dataclass(frozen=True)
class Stage:
    """Hold the values of one stage; a value that its text leaves out is 0 or empty.

    Attributes:
        epochs: length in epochs, counted with the stage's own number of frames.
        images: length in images. A stage has one of the two lengths; the last stage has neither.
        size: size of training images in pixels: the side of a square, or (height, width).
        load: height in pixels before the crop; 0 is the run's own, in proportion to the size.
        frames: length of a sequence.
        players: the players that move; () for all.
        frozen: networks, or beginnings of parameters' names, that do not move.
        lr: factor of the learning rates.
        fresh: true if optimisers start anew and the learning-rate schedule runs over this stage alone.
    """

    epochs: float = 0.0
    images: int = 0
    size: Size = 0
    load: int = 0
    frames: int = 0
    players: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    lr: float = 1.0
    fresh: bool = False

    def freezes(self, name: str) -> bool:
        """Return whether the stage freezes the parameter of this name, `NETWORK.LAYER.TENSOR`."""
        return any(f"{name}.".startswith(f"{part}.") for part in self.frozen)


def where(number: int, of: int) -> str:
    """Name a stage for messages; the first one has the number 0."""
    return f"--stages: stage {number + 1} of {of}"


def turned(text: str) -> str:
    """Write the text of a stage anew whose size is `HEIGHTxWIDTH`, as earlier releases read it."""
    return re.sub(r"(?<!\S)size=(\d+)x(\d+)(?!\S)", r"size=\2x\1", text)


def parsed(texts: Sequence[str]) -> tuple[Stage, ...]:
    """Read the stages of a run.

    Raises:
        ConfigError: a word or value is unknown, a word is repeated, a stage has no length or two, or the last stage
            has one.
    """
    stages = []
    for number, text in enumerate(texts):
        at, last = where(number, len(texts)), number == len(texts) - 1
        stage = _parsed(text, at)
        if stage.epochs and stage.images:
            found = f"epochs={stage.epochs:g} and images={stage.images}"
            raise ConfigError(at, found, "one length", "Give epochs=E or images=N, not both.")
        if last and (stage.epochs or stage.images):
            expected = "none: the last stage goes on to the end of the run"
            fix = "Leave it out, or add a stage after it; --images or --epochs say how long the run is."
            raise ConfigError(at, f"a length in {text!r}", expected, fix)
        if not last and not (stage.epochs or stage.images):
            raise ConfigError(at, f"no length in {text!r}", "a length", "Add epochs=E or images=N.")
        stages.append(stage)
    return tuple(stages)


def _parsed(text: str, at: str) -> Stage:
    values: dict[str, Any] = {}
    for word in text.split():
        key, _, value = word.partition("=")
        if key not in READ or (key == FRESH) != (word == FRESH):
            expected = f"KEY=VALUE, without spaces, of {', '.join(k for k in READ if k != FRESH)}; or the word {FRESH}"
            near = nearest(key, READ) if key not in READ else f"Write {_example(key)}."
            raise ConfigError(at, repr(word), expected, near)
        if key in values:
            raise ConfigError(at, f"{key} twice in {text!r}", "each key once", "Leave one of them out.")
        try:
            values[key] = READ[key](value)
        except ValueError as error:
            raise ConfigError(at, repr(word), str(error), f"Write {_example(key)}.") from None
    return Stage(**values)


def _example(key: str) -> str:
    return f"{key}={EXAMPLES[key]}" if key in EXAMPLES else key


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not value.isascii() or not value.isdigit() or len(value) > MOST_DIGITS or not least <= int(value) <= most:
            raise ValueError(f"a whole number from {least} to {most:,}")
        return int(value)

    return read


def _positive(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number <= MOST_REAL:
        raise ValueError(f"a number above 0, up to {MOST_REAL:,.0f}")
    return number


def _size(value: str) -> Size:
    try:
        size = parsed_size(value)
    except ValueError:
        size = 0
    if not 1 <= min(sides(size)) <= max(sides(size)) <= MOST_SIDE:
        raise ValueError(f"pixels of a square's side, or WIDTHxHEIGHT, up to {MOST_SIDE:,}")
    return size


def _names(value: str) -> tuple[str, ...]:
    names = tuple(value.split(","))
    if not all(names) or len({*names}) < len(names):
        raise ValueError("names with commas between them, each once")
    return names


READ: dict[str, Callable[[str], Any]] = {
    "epochs": _positive,
    "images": _whole(1, MOST_WHOLE),
    "size": _size,
    "load": _whole(1, MOST_SIDE),
    "frames": _whole(2, MOST_FRAMES),
    "players": _names,
    "frozen": _names,
    "lr": _positive,
    FRESH: lambda value: True,
}
"""Functions that read the value of each word."""
EXAMPLES = {
    "epochs": "60",
    "images": "20000",
    "size": "256",
    "load": "286",
    "frames": "4",
    "players": "G,D",
    "frozen": "G.trunk",
    "lr": "0.5",
}


def filled(stages: Sequence[Stage], size: Size, load_size: int, frames: int) -> tuple[Stage, ...]:
    """Fill in the values that stages leave out with the run's own. Without stages, make one that lasts all the run.

    Args:
        size: size of training images in pixels; 0 is the stored size.
        load_size: height in pixels before the crop; 0 is the size.
        frames: length of a sequence.
    """
    made = []
    for stage in stages or (Stage(),):
        of = stage.size or size
        load = stage.load or (round(load_size * sides(of)[0] / sides(size)[0]) if stage.size else load_size)
        made.append(replace(stage, size=of, load=load, frames=stage.frames or frames))
    return tuple(made)
