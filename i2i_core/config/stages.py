"""Say in which stages a run trains: what moves, on images of which size, for how long.

A stage is written as one text, `epochs=60 size=256 frozen=G.trunk`; docs/adding_a_method.md has the words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from i2i_core.errors import ConfigError, nearest
from i2i_core.sizes import Size, sides

FRESH = "fresh"
"""The word without a value."""


@dataclass(frozen=True)
class Stage:
    """Hold what a stage's text says; what it leaves out is 0 or empty.

    Attributes:
        epochs: length in passes over the data, by the stage's own frames.
        images: length in images; a stage has one of the two, the last one neither.
        size: pixels of training images: a square's side, or height and width.
        load: pixels of the height before the crop; 0: as it is loaded without stages, in proportion to the size.
        frames: of a sequence.
        players: which of them move; none: all.
        frozen: networks, or beginnings of parameters' names, that do not move.
        lr: what learning rates are multiplied by besides.
        fresh: whether optimisers begin anew, and the learning rate's schedule runs over this stage alone.
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
        """Tell whether a parameter of this name, `NETWORK.LAYER.TENSOR`, does not move."""
        return any(f"{name}.".startswith(f"{part}.") for part in self.frozen)


def where(number: int, of: int) -> str:
    """Name a stage in messages; the first is number 0."""
    return f"--stages: stage {number + 1} of {of}"


def said_size(size: Size) -> str:
    """A size as a stage's text has it."""
    return str(size) if isinstance(size, int) else "x".join(map(str, size))


def parsed(texts: Sequence[str]) -> tuple[Stage, ...]:
    """Read the stages of a run.

    Raises:
        ConfigError: an unknown word or value, a word that stands twice, or lengths that are missing, two, or the last
            stage's.
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


def _whole(least: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not value.isascii() or not value.isdigit() or int(value) < least:
            raise ValueError(f"a whole number of {least} or more")
        return int(value)

    return read


def _positive(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError("a number above 0")
    return number


def _size(value: str) -> Size:
    found = value.split("x")
    if len(found) > 2 or not all(side.isascii() and side.isdigit() and int(side) for side in found):
        raise ValueError("pixels of a square's side, or HEIGHTxWIDTH")
    height, width = int(found[0]), int(found[-1])
    return height if height == width else (height, width)


def _names(value: str) -> tuple[str, ...]:
    names = tuple(value.split(","))
    if not all(names) or len({*names}) < len(names):
        raise ValueError("names with commas between them, each once")
    return names


READ: dict[str, Callable[[str], Any]] = {
    "epochs": _positive,
    "images": _whole(1),
    "size": _size,
    "load": _whole(1),
    "frames": _whole(2),
    "players": _names,
    "frozen": _names,
    "lr": _positive,
    FRESH: lambda value: True,
}
"""Read the value of each word so."""
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
    """Fill in what stages leave out, by what a run without any has. Of none, make the one that lasts all the run.

    Args:
        size: pixels of training images; 0: as they are stored.
        load_size: pixels of the height before the crop; 0: the size.
        frames: of a sequence.
    """
    made = []
    for stage in stages or (Stage(),):
        of = stage.size or size
        load = stage.load or (round(load_size * sides(of)[0] / sides(size)[0]) if stage.size else load_size)
        made.append(replace(stage, size=of, load=load, frames=stage.frames or frames))
    return tuple(made)
