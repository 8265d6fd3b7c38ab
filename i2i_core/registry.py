"""The methods by name: `i2i_core.config.methods` puts ours here, without torch; others come when they are asked for
(`i2i_core.config.outside`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from i2i_core.errors import ConfigError, nearest


@dataclass(frozen=True)
class Preset:
    """A named set of values. `doc` gives the command, the data, the expected time and score, and
    where paper and authors' code part ways; `values` maps dotted keys (`hyper.lambda_rec`,
    `training.batch`, `data.load_size`) to values."""

    doc: str
    values: Mapping[str, Any]
    glyphs: Mapping[str, Any] = field(default_factory=dict)
    """Options of the built-in data that it is for, where no --data is given (`data.worlds.glyphs.GlyphOptions`)."""

    def section(self, name: str) -> dict[str, Any]:
        """Give the values of one section, by field name."""
        return {key.split(".", 1)[1]: value for key, value in self.values.items() if key.startswith(f"{name}.")}


Class = TypeVar("Class", bound=type[Any])
_CLASSES: dict[str, type[Any]] = {}
"""The classes of methods whose modules have been imported."""


@dataclass(frozen=True)
class Entry:
    """A method: its name, its configuration's class, its presets, and its class once that is asked for."""

    name: str
    config: type[Any]
    presets: Mapping[str, Preset]

    @property
    def first_preset(self) -> str:
        """Name the preset that counts where none is named: `reference`, or the first of a method without it."""
        return "reference" if "reference" in self.presets else next(iter(self.presets))

    @property
    def method(self) -> type[Any]:
        """The class that `i2i_core/methods/NAME.py` marks with `@implements(NAME)`, or the one that an outside method's
        name is of; the first look imports torch."""
        if self.name not in _CLASSES:
            importlib.import_module(f"i2i_core.methods.{self.name}")
        if self.name not in _CLASSES:
            raise ValueError(f'i2i_core/methods/{self.name}.py marks no class with @implements("{self.name}")')
        return _CLASSES[self.name]

    def preset(self, name: str) -> Preset:
        """Give the preset of that name. Raises ConfigError with the nearest names when there is no such preset."""
        if name not in self.presets:
            raise ConfigError("--preset", repr(name), "a preset of this method", nearest(name, self.presets))
        return self.presets[name]


METHODS: dict[str, Entry] = {}
FINDERS: list[Callable[[str], bool]] = []
"""Asked, one after the other, to register a method that is not among them: each tells whether it has."""


def implements(name: str) -> Callable[[Class], Class]:
    """Mark the class of the method of that name."""

    def decorate(method: Class) -> Class:
        _CLASSES[name] = method
        return method

    return decorate


def entry(name: str) -> Entry:
    """Give the method of that name; one outside of this tree is imported.

    Raises:
        ConfigError: there is none, with the nearest names; or one outside that cannot be imported, or lacks something.
    """
    if name not in METHODS and not any(find(name) for find in FINDERS):
        raise ConfigError("--method", repr(name), "a method", nearest(name, METHODS))
    return METHODS[name]
