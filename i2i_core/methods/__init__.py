"""Hold the methods, one file per paper. `METHODS` lists them; `build_method` makes one.

A method's options and presets are in `i2i_core/config/methods/`.
"""

from __future__ import annotations

from typing import Any

import torch

import i2i_core.config.methods  # noqa: F401  fills METHODS
from i2i_core.methods.base import Method
from i2i_core.methods.options import with_options
from i2i_core.randomness import seed_from
from i2i_core.registry import METHODS, entry
from i2i_core.settings import from_dict

__all__ = ["METHODS", "build_method", "entry"]


def build_method(name: str, preset: str = "reference", *, seed: int = 0, **overrides: Any) -> Method[Any]:
    """Build a method with freshly initialised networks.

    Args:
        name: one of `METHODS`.
        preset: preset that gives the hyper-parameters.
        seed: seed of the initial weights; global random state is neither read nor changed.
        overrides: other values for fields of the method's configuration, as `image_size=256`.

    Raises:
        ConfigError: an unknown name, preset or field, or a value out of range.
    """
    found = entry(name)
    values = {**found.preset(preset).section("hyper"), **overrides}
    return build_from(name, from_dict(found.config, values, name), seed=seed)


def build_from(name: str, config: Any, *, seed: int = 0) -> Method[Any]:
    """Build the method `name` from its configuration."""
    with torch.random.fork_rng(devices=[]):  # PyTorch's constructors draw weights that a method then replaces,
        torch.default_generator.manual_seed(seed_from("constructors", seed))  # and spectral norm's first vectors
        method: Method[Any] = entry(name).method(config, torch.Generator().manual_seed(seed_from("init", seed)))
        with_options(method, name, torch.Generator().manual_seed(seed_from("options", seed)))
    return method
