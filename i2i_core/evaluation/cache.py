"""Name the user's folder for what can be computed again: features of real images, classifiers."""

from __future__ import annotations

import os
from pathlib import Path


def cache(kind: str) -> str:
    """Name the folder of one kind of files: `$XDG_CACHE_HOME/i2i/KIND`, else `~/.cache/i2i/KIND`."""
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "i2i" / kind)
