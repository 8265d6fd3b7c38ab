"""The methods by name: `i2i_core.config.methods` puts ours here, without torch; others come when they are asked for.

A method outside of this tree is named `package.module:Class`, or by an entry point of the group `i2i.methods` of an
installed package. Its class says besides what every method says: `Config`, its section of the configuration, and
`presets`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from importlib.metadata import entry_points
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


GROUP = "i2i.methods"
"""Entry points by which an installed package names its methods."""
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
    if name not in METHODS:
        place = name if ":" in name else next((p.value for p in entry_points(group=GROUP, name=name)), "")
        if not place:
            raise ConfigError("--method", repr(name), "a method", nearest(name, METHODS))
        _register_outside(name, place)
    return METHODS[name]


def _register_outside(name: str, place: str) -> None:
    """Import the class at `package.module:Class` and register it under a name. Raises ConfigError."""
    from i2i_core.config.sections import register

    module, _, called = place.partition(":")
    where, fix = f"--method {name}", "Put the folder of its package on PYTHONPATH, or install it."
    try:
        method: Any = importlib.import_module(module)
        for part in called.split("."):
            method = getattr(method, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(where, f"a class that is not there ({error})", "package.module:Class", fix) from None
    config, presets = getattr(method, "Config", None), getattr(method, "presets", None)
    lacks = []
    if not (isinstance(method, type) and hasattr(method, "update") and hasattr(method, "needs")):
        lacks.append("a subclass of i2i_core.methods.base.Method")
    if not (isinstance(config, type) and is_dataclass(config)):
        lacks.append("Config, the dataclass of its options")
    if not (isinstance(presets, Mapping) and presets and all(isinstance(p, Preset) for p in presets.values())):
        lacks.append("presets, a Preset by each name")
    if lacks:
        fix = "See docs/adding_a_method.md, A method of your own."
        raise ConfigError(where, f"{place}, which lacks {' and '.join(lacks)}", "a class with all of it", fix)
    try:
        register(name, config, presets)  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(where, str(error), "options with flags of their own", "Rename the field.") from None
    _CLASSES[name] = method
