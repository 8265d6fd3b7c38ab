"""Flatten a configuration for people to read."""

from __future__ import annotations

from typing import Any

from i2i_core.config.run import TrainConfig
from i2i_core.credentials import redacted
from i2i_core.names import printable
from i2i_core.settings import to_dict


def flat(config: TrainConfig) -> dict[str, Any]:
    """Flatten a configuration to dotted keys, fit to be shown: without users and passwords in addresses."""
    found: dict[str, Any] = {}

    def told(value: Any) -> Any:
        if isinstance(value, list):
            return [told(inner) for inner in value]
        return printable(redacted(value)) if isinstance(value, str) else value

    def add(key: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                add(f"{key}.{name}" if key else name, inner)
        else:
            found[key] = told(value)

    add("", to_dict(config))
    return found
