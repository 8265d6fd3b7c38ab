"""Images, tars and data sets that tests make by hand."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format import shards, webdatasets
from i2i_core.data.format.index import NewIndex
from i2i_core.data.format.manifest import DataSet, Manifest
from i2i_core.data.format.table import Shard
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.fields import Field
from i2i_core.images.codec import ImageOptions, decode, encode
from i2i_core.orchestration.sharding import index_webdataset, make
from i2i_core.storage.folder import Folder

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
    index, fields = whole_index(data, split, domain), list(data.manifest.fields.values())
    row = index.keys.index(key)
    whole = data.fs.cat_file(data.path(index.shard[row]))
    cuts = zip(index.offset[row], index.size[row], fields, strict=True)
    return [decode(whole[o : o + n], field.extension) for o, n, field in cuts]


class Whole(NamedTuple):
    """The index of all rows of a shard set, as in `i2i_core.data.format.index`."""

    shard: list[str]
    keys: list[str]
    offset: np.ndarray
    size: np.ndarray
    labels: np.ndarray
    clip: list[int]
    """The number of the clip that each row is a frame of."""


def whole_index(data: DataSet, split: str, domain: str = "all") -> Whole:
    """Read all indexes of a shard set."""
    shards, rows = data.shard_set(split, domain).shards, data.rows(split, domain)
    each = [rows.shard(n) for n in range(len(shards))]
    lengths = [n for one in each if one.clips is not None for n in one.clips.tolist()]
    return Whole(
        [shard.name for shard in shards for _ in range(shard.samples)],
        rows.keys(),
        np.concatenate([one.offset for one in each]),
        np.concatenate([one.size for one in each]),
        rows.labels(),
        [number for number, n in enumerate(lengths) for _ in range(n)],
    )


def write_whole(
    folder: Path, keys: Sequence[str], fields: dict[str, Field], splits: Sequence[str] = ("test",), **more: Any
) -> DataSet:
    """Make `all.tar` in a folder, which has a member of each field for each key in turn, a data set of one shard.

    Args:
        more: `labels` of each sample, and values of the manifest.
    """
    labels = more.pop("labels", [()] * len(keys))
    with tarfile.open(folder / "all.tar") as tar:
        places = iter([(member.offset_data, member.size) for member in tar.getmembers()])
    rows = NewIndex()
    for key, label in zip(keys, labels, strict=True):
        rows.append(key, [next(places) for _ in fields], label)
    data = (folder / "all.tar").read_bytes()
    part = shards.FinishedShard(Shard("all.tar", len(keys), len(data), hashlib.sha256(data).hexdigest()))
    part = shards.indexed(Folder(str(folder)), "all.npz", part, rows.done(), len(labels[0]))
    sets = shards.tables_of({(split, "all"): [part] for split in splits})
    (folder / "manifest.json").write_text(Manifest(fields, splits=sets, **more).dumps())
    return DataSet(str(folder))


def as_version_1(folder: Path) -> Path:
    """Rewrite the manifest and the indexes of a data set of images alone as releases before this one did."""
    data = DataSet(str(folder))
    values = json.loads((folder / "manifest.json").read_text())
    values |= {"version": 1, "kind": data.manifest.kind}
    del values["clips"]
    for split, sets in values["splits"].items():
        for domain, columns in sets.items():
            index, out = whole_index(data, split, domain), io.BytesIO()
            name = f"{shards.set_name(split, domain)}.index.npz"
            keys = np.array([key.encode() for key in index.keys])
            np.savez(out, keys=keys, offset=index.offset, size=index.size, labels=index.labels)
            (folder / name).write_bytes(out.getvalue())
            table = columns["shards"]
            rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
            digest = hashlib.sha256(out.getvalue()).hexdigest()
            sets[domain] = {"index": name, "index_sha256": digest, "shards": rows}
    shutil.rmtree(folder / "index")
    (folder / "manifest.json").write_text(json.dumps(values))
    return folder


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
