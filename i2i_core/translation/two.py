"""Tell images that hold A and B side by side from images of one side, and choose the half to translate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from i2i_core.config.data import DataConfig
from i2i_core.config.translation import TranslateOptions
from i2i_core.errors import ConfigError, DataError
from i2i_core.methods.base import Direction, Method, sides
from i2i_core.sizes import written
from i2i_core.translation.inputs import Files, Inputs
from i2i_core.translation.loading import Half, Loading, holds_two

OTHER: dict[Half, Half] = {"left": "right", "right": "left", "top": "bottom", "bottom": "top", "": ""}
"""The half beside each."""


def side_taken(method: Method[Any] | type[Method[Any]], direction: Direction, way: Direction) -> str:
    """Name the side of a pair that images are made from, `a` or `b`; empty for methods that know no sides."""
    taken = next(iter(sides(method, way)[0]), "")
    if method.needs.domains == 2:
        return "a" if taken.startswith("a") == (direction == "AtoB") else "b"
    stored = method.needs.stored(taken, direction)
    return stored if stored in ("a", "b") else ""


def with_halves(
    loading: Loading,
    options: TranslateOptions,
    inputs: Inputs,
    method: Method[Any],
    data: DataConfig,
    way: Direction,
    first: tuple[int, int] | None,
) -> Loading:
    """Choose the half that --ab takes; without it, refuse images like those that training's pairs were cut from.

    Args:
        data: of the run.
        first: (height, width) of the first image; None: not known.

    Raises:
        ConfigError: --ab for what has no halves.
        DataError: the first image holds A and B, and neither --ab nor --whole is given.
    """
    side = side_taken(method, data.direction, way)
    if options.ab:
        if not isinstance(inputs, Files):
            expected = "images in files: in a data set, A and B are two fields already"
            raise ConfigError("--ab", "an --input that is no image", expected, "Leave --ab out.")
        if not side:
            expected = "none: this method knows no sides A and B"
            raise ConfigError("--ab", "images that hold two", expected, "Leave --ab out.")
        column = data.ab == "column" or (not data.ab and first is not None and first[0] > first[1])
        halves: tuple[Half, Half] = ("top", "bottom") if column else ("left", "right")
        return replace(loading, half=halves[side == "b"])
    if options.whole or not data.ab or not side or not isinstance(inputs, Files):
        return loading
    both = (data.ab_size[0], data.ab_size[1])
    if first is not None and holds_two(first, both):
        how = "one above the other" if data.ab == "column" else "side by side"
        found = f"{written(first)} pixels (width x height): A and B {how}, as in the images of the run's data"
        fix = f"Give --ab, which takes the {side.upper()} half of each; or --whole, if they hold one image each."
        raise DataError(f"--input {inputs.paths[0]}", found, f"images of {side.upper()} alone", fix)
    return replace(loading, ab=both)
