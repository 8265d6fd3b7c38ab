"""The methods by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from i2i_core.errors import ConfigError, nearest


@dataclass(frozen=True)
class Preset:
    """A named set of values. `doc` gives the command, the data, the expected time and score, and
    where paper and authors' code part ways; `values` maps dotted keys (`hyper.lambda_rec`,
    `training.batch`, `data.load_size`) to values."""

    doc: str
    values: Mapping[str, Any]
    glyphs: Mapping[str, Any] = field(default_factory=dict)
    """Options of the built-in data that it is for, where no --data is given (`data.glyphs.GlyphOptions`)."""

    def section(self, name: str) -> dict[str, Any]:
        """The values of one section, by field name."""
        return {key.split(".", 1)[1]: value for key, value in self.values.items() if key.startswith(f"{name}.")}


@dataclass(frozen=True)
class Entry:
    """A method: its class, its configuration's class, its presets."""

    method: type[Any]
    config: type[Any]
    presets: Mapping[str, Preset]

    def preset(self, name: str) -> Preset:
        """Raises ConfigError with the nearest names when there is no such preset."""
        if name not in self.presets:
            raise ConfigError("--preset", repr(name), "a preset of this method", nearest(name, self.presets))
        return self.presets[name]


METHODS: dict[str, Entry] = {}


def register(name: str, config: type[Any], presets: Mapping[str, Preset]) -> Any:
    """Class decorator: puts a method into `METHODS`."""

    def decorate(method: type[Any]) -> type[Any]:
        METHODS[name] = Entry(method, config, presets)
        return method

    return decorate


def entry(name: str) -> Entry:
    """The method of that name. Raises ConfigError with the nearest names when there is none."""
    if name not in METHODS:
        raise ConfigError("--method", repr(name), "a method", nearest(name, METHODS))
    return METHODS[name]
