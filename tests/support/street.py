"""A small data set of every role, as docs/data.md has it, and clips of frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 24, 32
NAMES = ("road", "house", "sky")


def street(folder: Path, samples: int = 20, seed: int = 0) -> dict[str, dict[str, object]]:
    """Write it; give the values of each sample by key and field."""
    rng = np.random.default_rng(seed)
    for name in ("images", "labels", "inst", "depth", "objects", "captions"):
        (folder / name).mkdir(parents=True)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    made: dict[str, dict[str, object]] = {}
    for i in range(samples):
        key = f"{i:04d}"
        x0, y0 = rng.integers(0, 16), rng.integers(0, 12)
        made[key] = {
            "image": rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
            "labels": rng.choice(np.array([0, 1, 2, 255], np.uint8), SIZE),
            "inst": rng.integers(0, 65536, SIZE, dtype=np.uint16),
            "depth": rng.integers(0, 65536, SIZE, dtype=np.uint16),
            "objects": [[int(x0), int(y0), int(x0) + 9, int(y0) + 8, int(rng.integers(3))]][: i % 3],
            "captions": [f"house {i}", "seen from the left"],
        }
        write_sample(folder, key, made[key])
    return made


def write_sample(folder: Path, key: str, values: dict[str, object]) -> None:
    Image.fromarray(values["image"]).save(folder / f"images/{key}.png")
    Image.fromarray(values["labels"]).save(folder / f"labels/{key}_ids.png")
    Image.fromarray(values["inst"]).save(folder / f"inst/{key}.png")
    Image.fromarray(values["depth"]).save(folder / f"depth/{key}.png")
    (folder / f"objects/{key}.json").write_text(json.dumps(values["objects"]))
    (folder / f"captions/{key}.txt").write_text("\n".join(values["captions"]))  # type: ignore[arg-type]


def videos(folder: Path, lengths: tuple[int, ...], points: int = 2) -> None:
    """Write clips c0, c1, ... whose frames have their number in every pixel, and key points."""
    for clip, length in enumerate(lengths):
        for name in ("frames", "pose"):
            (folder / name / f"c{clip}").mkdir(parents=True)
        for frame in range(length):
            Image.fromarray(np.full((*SIZE, 3), (clip, frame, 0), np.uint8)).save(
                folder / f"frames/c{clip}/{frame}.png"
            )
            np.save(folder / f"pose/c{clip}/{frame}.npy", np.full((points, 2), frame, np.float32))
