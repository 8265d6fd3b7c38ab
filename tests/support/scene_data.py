"""Data sets for the small methods of `scenes`, by their kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from i2i_core.data.folders.declared import FieldOptions
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format.shards import ShardOptions, plan
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.images.codec import ImageOptions
from i2i_core.orchestration.sharding import make

from . import data

CLIPS = ("image=image/{clip}/{frame}.png", "labels:classes=labels/{clip}/{frame}.png")
COLOURS = np.array([[230, 20, 20], [20, 230, 20], [20, 20, 230]], np.uint8)


def shard(folder: Path, fields: tuple[str, ...], samples: int = 16, out: str = "out", **more: Any) -> str:
    """Make a data set of a folder's fields, and give its place."""
    layout = LayoutOptions(layout="fields", input=str(folder), split=(1, 0, 0))
    goal, options = ShardOptions(out=str(folder / out), shard_samples=samples), FieldOptions(field=fields, **more)
    make(plan(find(layout, None, options), layout, GlyphOptions(), ImageOptions(), goal), goal, 0)
    return goal.out


def clips(folder: Path, rng: np.random.Generator) -> str:
    """Make a data set of eight clips of six frames, label maps and their images, each frame the one before it moved."""
    for clip in range(8):
        for name in ("labels", "image"):
            (folder / name / f"c{clip}").mkdir(parents=True)
        first = rng.integers(0, 3, (16, 16), dtype=np.uint8)
        for frame in range(6):
            ids = np.roll(first, frame, axis=1)
            Image.fromarray(ids).save(folder / f"labels/c{clip}/{frame}.png")
            Image.fromarray(COLOURS[ids]).save(folder / f"image/c{clip}/{frame}.png")
    return shard(folder, CLIPS, classes=("labels=3",))


def write_scenes(folder: Path) -> dict[str, str]:
    """Label maps and their images, which are a colour for each class, brighter by the vector; clips of such; and images
    of one colour for each class."""
    rng = np.random.default_rng(0)
    scenes, videos, styles, domains = (folder / name for name in ("scenes", "videos", "styles", "domains"))
    for name in ("labels", "image", "code", "captions"):
        (scenes / name).mkdir(parents=True)
    for i in range(40):
        ids = rng.integers(0, 3, (16, 16), dtype=np.uint8)
        Image.fromarray(ids).save(scenes / f"labels/{i}.png")
        Image.fromarray(COLOURS[ids]).save(scenes / f"image/{i}.png")
        np.save(scenes / f"code/{i}.npy", rng.standard_normal(4).astype(np.float32))
        (scenes / f"captions/{i}.json").write_text(json.dumps([f"number {i}", "a scene"]))
    of_clips = clips(videos, rng)
    for name, colour in zip("abc", COLOURS, strict=True):
        for i in range(16):
            data.put(styles / f"train/{name}/{i}.png", (rng.uniform(0.2, 1, (16, 16, 1)) * colour).astype(np.uint8))
        for i in range(20):
            bright = rng.uniform(0.2, 1, (16, 16, 1))
            data.put(domains / f"train{'AB'[i % 2]}/{i}.png", (bright * COLOURS[i % 2]).astype(np.uint8))
    data.shard("classes", styles, styles / "out", goal={"shard_samples": 16})
    data.shard("unpaired", domains, domains / "out", goal={"shard_samples": 16})
    fields = ("image=image/{key}.png", "labels:classes=labels/{key}.png")
    more = ("code:vector=code/{key}.npy", "captions:text=captions/{key}.json")
    return {
        "scenes": shard(scenes, (*fields, *more), classes=("labels=3",)),
        "videos": of_clips,
        "styles": str(styles / "out"),
        "generated": str(styles / "out"),
        "conditional": str(styles / "out"),
        "both": str(domains / "out"),
        "tinted": str(domains / "out"),
    }
