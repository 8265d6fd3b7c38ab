"""List the sections of a run's configuration, and register methods, each of which has one of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from i2i_core.config.data import DataConfig
from i2i_core.config.evaluation import AtTestOptions, EvaluationConfig
from i2i_core.config.launch import LaunchConfig
from i2i_core.config.monitoring import MonitoringConfig
from i2i_core.config.training import TrainingConfig
from i2i_core.registry import METHODS, Entry, Preset
from i2i_core.settings import flag_of

SECTIONS: dict[str, type[Any]] = {
    "data": DataConfig,
    "training": TrainingConfig,
    "monitoring": MonitoringConfig,
    "evaluation": EvaluationConfig,
    "at_test": AtTestOptions,
    "launch": LaunchConfig,
}
"""The sections that every run has besides `hyper`, its method's own."""


def register(name: str, config: type[Any], presets: Mapping[str, Preset]) -> None:
    """Put a method into `METHODS`, with its section `hyper` and its presets.

    The method's class, in `i2i_core/methods/NAME.py`, is imported at its first use (`registry.implements`).

    Raises:
        ValueError: another method has the name, or a field of the section has another section's flag.
    """
    if name in METHODS:
        raise ValueError(f"two methods are called {name!r}: {METHODS[name].config.__name__} and {config.__name__}")
    taken = {flag: f"{kind.__name__}.{field}" for kind in SECTIONS.values() for flag, field in _flags(kind).items()}
    for flag, field in _flags(config).items():
        if flag in taken:
            raise ValueError(f"{config.__name__}.{field} has the flag of {taken[flag]}, {flag}: give it another name")
    METHODS[name] = Entry(name, config, presets)


def _flags(section: type[Any]) -> dict[str, str]:
    """Return the names of a section's fields by flag, without the derived fields, which have no flag."""
    return {flag_of(field): field.name for field in fields(section) if not field.metadata.get("derived")}
