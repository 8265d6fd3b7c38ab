"""Keep the methods by name.

Importing `i2i_core.config.methods` registers those of this tree, without torch; `i2i_core.config.outside` imports and
registers one from elsewhere at its first use.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from i2i_core.errors import ConfigError, nearest


@dataclass(frozen=True)
class Preset:
    """Hold a named set of values.

    Attributes:
        doc: text with the command, the data, the expected time and score, and where paper and authors' code differ.
        values: values by dotted key (`hyper.lambda_rec`, `training.batch`, `data.load_size`).
    """

    doc: str
    values: Mapping[str, Any]
    glyphs: Mapping[str, Any] = field(default_factory=dict)
    """Options of the built-in data that the preset trains on without --data (`data.worlds.glyphs.GlyphOptions`)."""

    def section(self, name: str) -> dict[str, Any]:
        """Return the values of one section, by field name."""
        return {key.split(".", 1)[1]: value for key, value in self.values.items() if key.startswith(f"{name}.")}


Class = TypeVar("Class", bound=type[Any])
_CLASSES: dict[str, type[Any]] = {}
"""Classes of the methods whose modules have been imported, by name."""


@dataclass(frozen=True)
class Entry:
    """Hold a registered method: its name, its section of the configuration, and its presets."""

    name: str
    config: type[Any]
    presets: Mapping[str, Preset]

    @property
    def first_preset(self) -> str:
        """Name the default preset: `reference`, or the first of a method without it."""
        return "reference" if "reference" in self.presets else next(iter(self.presets))

    @property
    def method(self) -> type[Any]:
        """Return the class that `i2i_core/methods/NAME.py` marks with `@implements(NAME)`, or an outside method's.

        The first access imports torch. Raises ValueError if the file marks no class.
        """
        if self.name not in _CLASSES:
            importlib.import_module(f"i2i_core.methods.{self.name}")
        if self.name not in _CLASSES:
            raise ValueError(f'i2i_core/methods/{self.name}.py marks no class with @implements("{self.name}")')
        return _CLASSES[self.name]

    def preset(self, name: str) -> Preset:
        """Return the preset of that name. Raises ConfigError, which gives the nearest names, if there is none."""
        if name not in self.presets:
            raise ConfigError("--preset", repr(name), "a preset of this method", nearest(name, self.presets))
        return self.presets[name]


METHODS: dict[str, Entry] = {}
FINDERS: list[Callable[[str], bool]] = []
"""Functions that try to register an unknown method, one after the other; each returns whether it has."""


def implements(name: str) -> Callable[[Class], Class]:
    """Mark a class as the method of that name."""

    def decorate(method: Class) -> Class:
        _CLASSES[name] = method
        return method

    return decorate


def entry(name: str) -> Entry:
    """Return the method of that name; import it if it lies outside of this tree.

    Raises:
        ConfigError: there is no such method (the message gives the nearest names), or an outside one cannot be imported
            or lacks something.
    """
    if name not in METHODS and not any(find(name) for find in FINDERS):
        raise ConfigError("--method", repr(name), "a method", nearest(name, METHODS))
    return METHODS[name]
