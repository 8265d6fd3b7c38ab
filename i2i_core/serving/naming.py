"""Name the models that are served after the folders of their runs."""

from __future__ import annotations

from collections.abc import Sequence

from i2i_core.names import printable
from i2i_core.runs.folder import RunFolder

MOST_NAME = 80


def names_of(places: Sequence[str]) -> list[str]:
    """Name models by the folders of their runs, of which nothing but the last part shows; the second of a name is
    called NAME-2."""
    taken: list[str] = []
    for place in places:
        parts = [part for part in place.rstrip("/").split("/") if part]
        if len(parts) > 2 and parts[-2] == RunFolder.CHECKPOINTS:
            parts = parts[:-2]
        first = printable(parts[-1])[:MOST_NAME] if parts else "model"
        name, number = first, 1
        while name in taken:
            number += 1
            name = f"{first}-{number}"
        taken.append(name)
    return taken
