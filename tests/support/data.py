"""Images, tars and data sets that tests make by hand."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format import shards, webdatasets
from i2i_core.data.format.manifest import DataSet, Manifest
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.images.codec import ImageOptions, decode, encode
from i2i_core.orchestration.sharding import index_webdataset, make

ROOT = Path(__file__).parents[2]


rng = np.random.default_rng(0)


def noise(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def put(path: Path, x_HWC: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(x_HWC, "npy" if path.suffix == ".npy" else "png"))


def shard(
    layout: str,
    source: Path | str,
    out: Path | str,
    images: ImageOptions | None = None,
    workers: int = 0,
    goal: dict[str, Any] | None = None,
    **options: Any,
) -> Manifest:
    where = LayoutOptions(layout=layout, input=str(source), **options)  # type: ignore[arg-type]
    to = shards.ShardOptions(out=str(out), **(goal or {}))
    plan = shards.plan(find(where), where, GlyphOptions(), images or ImageOptions(), to)
    return make(plan, to, workers)[0]


def sums(folder: Path | str) -> dict[str, str]:
    """sha256 of every file, by its path."""
    files = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def sample(
    uri: Path | str, key: str, split: str = "train", domain: str = "all", shards_at: tuple[str, ...] = ()
) -> list[np.ndarray]:
    """The images of a sample, read where the index says."""
    data = DataSet(str(uri), shards_at)
    index, fields = data.index(split, domain), list(data.manifest.fields.values())
    row = list(index.keys).index(key.encode())
    ends = np.cumsum([s.samples for s in data.shard_set(split, domain).shards])
    name = data.shard_set(split, domain).shards[int(np.searchsorted(ends, row, side="right"))].name
    whole = data.fs.cat_file(data.path(name))
    cuts = zip(index.offset[row], index.size[row], fields, strict=True)
    return [decode(whole[o : o + n], field.extension) for o, n, field in cuts]


def write_tar(path: Path, samples: dict[str, dict[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for key, members in samples.items():
            for member, data in members.items():
                info = tarfile.TarInfo(f"{key}.{member}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def png(channels: int = 3) -> bytes:
    return encode(noise(4, 5, channels), "png")


def index(uri: Path, **options: Any) -> Manifest:
    goal = shards.ShardOptions(**{k: options.pop(k) for k in ("out", "bad", "overwrite") if k in options})
    attributes = options.pop("attributes", ())
    return index_webdataset(webdatasets.IndexOptions(index=str(uri), **options), goal, attributes, 0)[0]


def annotated_glyphs(out: Path, characters: int = 40) -> str:
    """An unpaired data set of 16 px with KEY.json, 8 samples a shard."""
    layout = LayoutOptions(layout="glyphs", annotations=("json",))
    glyph = GlyphOptions(glyphs="unpaired", size=16, characters=characters)
    goal = shards.ShardOptions(out=str(out), shard_samples=8)
    make(shards.plan(find(layout, glyph), layout, glyph, ImageOptions(), goal), goal, 0)
    return str(out)
