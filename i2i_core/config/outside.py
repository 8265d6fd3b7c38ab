"""Find methods outside of this tree.

`--method` names one as `package.module:Class`, or by an entry point of the group `i2i.methods` of an installed package.
Such a class has, besides what every method has, `Config`, its section of the configuration, and `presets`.
"""

from __future__ import annotations

import importlib
import os
import shlex
import traceback
from collections.abc import Mapping
from dataclasses import is_dataclass
from importlib.metadata import entry_points
from typing import Any

from i2i_core.config.sections import register
from i2i_core.errors import ConfigError
from i2i_core.registry import FINDERS, METHODS, Preset, implements
from i2i_core.settings import shown

GROUP = "i2i.methods"
"""Group of entry points in which an installed package names its methods."""
TRUSTED = "I2I_METHODS"
"""Environment variable with the methods outside of this tree that a file may name, apart by commas."""


def find(name: str) -> bool:
    """Register the method of that name if it lies outside of this tree, and return whether it does.

    Raises:
        ConfigError: the class cannot be imported, or lacks something.
    """
    place = name if ":" in name else next((point.value for point in entry_points(group=GROUP, name=name)), "")
    if place:
        _register(name, place)
    return bool(place)


def check_trusted(name: str, where: str) -> None:
    """Check that a method that a file names is none whose module somebody else chose.

    Importing a module runs it. So a checkpoint or a configuration file may name a method of this tree, one that an
    installed package declares, and of others those that this process has imported already (`--method` names one) and
    those in the environment variable I2I_METHODS.

    Args:
        name: the method.
        where: the file, for messages.

    Raises:
        ConfigError: the method is `package.module:Class`, and nobody but the file has named it.
    """
    if ":" not in name or name in METHODS or name in os.environ.get(TRUSTED, "").split(","):
        return
    found = f"{shown(name)}, a module that would be imported, which runs it"
    fix = f"If you trust it: export {TRUSTED}={shlex.quote(name)} (docs/security.md)."
    raise ConfigError(f"{where}: method", found, f"a method of this program, or one that {TRUSTED} names", fix)


def _register(name: str, place: str) -> None:
    """Import the class at `package.module:Class` and register it under a name. Raises ConfigError."""
    module, _, called = place.partition(":")
    where, fix = f"--method {name}", "Put the folder of its package on PYTHONPATH, or install it."
    try:
        method: Any = importlib.import_module(module)
        for part in called.split("."):
            method = getattr(method, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(where, f"a class that is not there ({error})", "package.module:Class", fix) from None
    except Exception as error:  # of the module's own lines
        at = traceback.extract_tb(error.__traceback__)[-1]
        found = f"{type(error).__name__}: {error} ({at.filename}, line {at.lineno})"
        raise ConfigError(where, found, "a module that can be imported", "Correct the line.") from None
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
    implements(name)(method)


FINDERS.append(find)
