"""Name the folders that mean a split."""

from __future__ import annotations

import re

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Folder names that mean a split."""
DOMAIN_FOLDER = re.compile(rf"({'|'.join(SPLITS)})_?([AB])/")
"""Matches the folder of a domain of a split, such as trainA/."""


def is_split(name: str) -> bool:
    """Tell whether a folder of that name means a split."""
    return name.lower() in SPLITS
