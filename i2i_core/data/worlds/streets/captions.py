"""Say in words what a frame shows, and nothing that its label map does not bear out; no caption names a side."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from i2i_core.data.worlds.streets.classes import NAMES
from i2i_core.data.worlds.streets.frames import Frame
from i2i_core.data.worlds.streets.light import Condition
from i2i_core.data.worlds.streets.truth import counts

LENGTH = 32
"""Numbers in the embedding of a sample's captions."""
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WHEN: dict[Condition, str] = {
    "day": "on a bright day", "dusk": "at dusk", "night": "at night", "rain": "in the rain",
}  # fmt: skip
PLURALS = {"person": "people"}
ARTICLES = {"vegetation": "green", "building": "houses", "road": "road", "sky": "sky"}


def number(count: int, name: str) -> str:
    """Say how many there are of something."""
    word = NUMBERS[count] if count < len(NUMBERS) else "many"
    return f"{word} {name if count == 1 else PLURALS.get(name, name + 's')}"


def captions(frame: Frame, condition: Condition) -> tuple[str, ...]:
    """Write three captions: what is counted, what fills the picture, and what stands by the road."""
    found, labels = counts(frame), frame.labels
    share = np.bincount(labels.reshape(-1), minlength=len(NAMES))
    most = NAMES[int(np.argmax(share))]
    trees = "with trees" if share[NAMES.index("vegetation")] else "without a tree"
    return (
        f"a street {WHEN[condition]} with {number(found['car'], 'car')} and {number(found['person'], 'person')}",
        f"a street {WHEN[condition]}, {trees}, where most of the picture is {ARTICLES.get(most, most)}",
        f"{number(found['traffic light'], 'traffic light')} and {number(found['traffic sign'], 'traffic sign')} "
        f"by the road {WHEN[condition]}",
    )


def embedding(texts: Sequence[str]) -> np.ndarray:
    """Turn texts into LENGTH numbers of length 1, (LENGTH,) float32: each word adds 1 or -1 to each, by its hash."""
    total = np.zeros(LENGTH, np.int64)
    for word in " ".join(texts).replace(",", "").split():
        bits = int.from_bytes(hashlib.sha256(word.encode()).digest()[: LENGTH // 8], "little")
        total += np.array([1 if bits >> i & 1 else -1 for i in range(LENGTH)])
    square = sum(int(x) * int(x) for x in total)
    return (total / math.sqrt(max(square, 1))).astype(np.float32)
