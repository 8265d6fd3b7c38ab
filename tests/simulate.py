"""What a data set costs to open and to read, by how many samples it has: 10^6, 10^8 and 10^9 in 100,000 shards.

    python -m tests.simulate                 (make simulate)

The manifest is a real one, with a table of all shards. A filesystem that stands for a remote one answers for indexes
and shards: all shards of a case have the same index, made once, and every sample the same image. Each measurement is a
process of its own, as a training worker is: it opens the data set, begins at the start of an epoch or at 99% of it, and
reads batches by loader processes. Measured are the seconds to the first batch, and the most memory of the worker and
of a loader; of `--repeats` measurements, the shortest time and the median of memory. Exits with 1 where cases differ by
more than `--within`; times must differ by a tenth of a second as well.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import torch
from fsspec.spec import AbstractFileSystem
from PIL import Image

from i2i_core.config.data import DataConfig
from i2i_core.data.format.index import Index, NewIndex
from i2i_core.data.format.manifest import DataSet, Manifest
from i2i_core.data.format.table import IndexFiles, Shards, ShardSet
from i2i_core.data.reading.stream import Stream
from i2i_core.fields import Field
from i2i_core.storage.paths import sha256

ATTRIBUTES = 40
"""As CelebA has."""
SIZE = 16
MEMBER = 2048
"""Bytes that a sample takes in a shard, its header included."""
PROTOCOL = "simulated"


def picture() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


@cache
def index_of(samples: int) -> Index:
    """The index of a shard of so many samples, which all shards of a data set share."""
    made, image = NewIndex(), len(picture())
    bits = np.random.default_rng(1).integers(0, 2, (samples, ATTRIBUTES), np.uint8)
    for row, labels in enumerate(bits.tolist()):
        made.append(f"{row:010d}", [(MEMBER * row + 512, image)], labels)
    return made.done()


@cache
def bytes_of(samples: int) -> bytes:
    return index_of(samples).dumps()


class Simulated(AbstractFileSystem):  # type: ignore[misc]
    """Shards and indexes of `ROOT/SAMPLES/`, made when they are asked for; the manifest is a file of this machine."""

    protocol = PROTOCOL
    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.picture = picture()

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if path.endswith("manifest.json"):
            return {"name": path, "size": os.path.getsize(f"/{path}"), "type": "file"}
        raise FileNotFoundError(path)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        path = self._strip_protocol(path)
        if path.endswith("manifest.json"):
            return Path(f"/{path}").read_bytes()
        if not path.endswith(".npz"):
            return self.picture  # whoever asks for a range of a shard asks for a sample
        return bytes_of(int(Path(path).parts[-3]))[start:end]

    def cat_ranges(self, paths: list[str], starts: list[int], ends: list[int], **_: Any) -> list[bytes]:  # type: ignore[override]
        return [self.cat_file(*one) for one in zip(paths, starts, ends, strict=True)]


def write_manifest(folder: Path, shards: int, samples: int) -> None:
    index = index_of(samples)
    data, counts = index.dumps(), index.labels(ATTRIBUTES).sum(axis=0, dtype=int) * shards
    names = [f"train-{number:06d}" for number in range(shards)]
    table = Shards(
        tuple(f"{name}.tar" for name in names),
        (samples,) * shards,
        (MEMBER * samples + 1024,) * shards,
        tuple(sha256(name.encode()) for name in names),
    )
    files = IndexFiles(tuple(f"index/{name}.npz" for name in names), (len(data),) * shards, (sha256(data),) * shards)
    attributes = tuple(f"attribute_{number}" for number in range(ATTRIBUTES))
    splits = {"train": {"all": ShardSet(table, files, tuple(counts.tolist()))}}
    fields = {"image": Field("png", 3, "uint8", SIZE, SIZE)}
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(Manifest(fields, attributes, splits=splits).dumps())


def memory(process: int | str, what: str) -> float:
    """MiB that a process has now (VmRSS), or had at most (VmHWM)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def children() -> list[int]:
    return [int(n) for n in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def one(uri: str, at: float, batch: int, batches: int, loaders: int) -> dict[str, float]:
    """Open the data set and read some batches of an epoch, from a part of it on."""
    torch.set_num_threads(1)
    fsspec.register_implementation(PROTOCOL, Simulated, clobber=True)
    bytes_of(int(Path(uri).name))  # what stands for a storage is ready
    begin = time.perf_counter()
    data = DataSet(uri)
    opened = time.perf_counter() - begin
    stream = Stream(data, DataConfig(cache_gb=0, flip=False), SIZE, batch, 0)
    first = int(at * stream.batches_per_epoch)
    read = stream.batches(first, (0, batch), loaders)
    next(read)
    seconds, most = time.perf_counter() - begin, 0.0
    for _ in range(batches):
        next(read)
        most = max([most, *(memory(child, "VmHWM") for child in children())])
    return {"open": opened, "first": seconds, "worker": memory("self", "VmHWM"), "loader": most}


def measured(folder: Path, samples: int, options: argparse.Namespace) -> dict[str, float]:
    """The processes of a case: from the start of an epoch, and from 99% of it."""
    uri = f"{PROTOCOL}://{str(folder).removeprefix('/')}/{samples}"
    begun, resumed = ([run(uri, at, options) for _ in range(options.repeats)] for at in (0.0, 0.99))
    found = {name: min(each[name] for each in begun) for name in ("open", "first")}
    found |= {name: statistics.median(each[name] for each in begun) for name in ("worker", "loader")}
    found["resumed"] = min(each["first"] for each in resumed)
    return found | {"loader at 99%": statistics.median(each["loader"] for each in resumed)}


def run(uri: str, at: float, options: argparse.Namespace) -> dict[str, float]:
    """`one` in a process of its own."""
    command = [sys.executable, "-m", "tests.simulate", "--one", uri, "--at", str(at)]
    command += ["--batches", str(options.batches), "--batch", str(options.batch), "--loaders", str(options.loaders)]
    values: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=float, nargs="*", default=[1e6, 1e8, 1e9])
    parser.add_argument("--shards", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--loaders", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--within", type=float, default=0.1)
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    parser.add_argument("--at", type=float, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.at, options.batch, options.batches, options.loaders)))
        return
    rows = []
    print(f"{options.shards:,} shards, batch {options.batch}, {options.loaders} loaders; seconds, and MiB at most")
    print("| samples | manifest, MB | open | first batch | first at 99% | worker | loader | loader at 99% |")
    print("|---|---|---|---|---|---|---|---|")
    for total in options.samples:
        samples = int(total) // options.shards
        with tempfile.TemporaryDirectory() as folder:
            write_manifest(Path(folder, str(samples)), options.shards, samples)
            size = os.path.getsize(f"{folder}/{samples}/manifest.json") / 1e6
            row = measured(Path(folder), samples, options)
        rows.append(row)
        times = " | ".join(f"{row[name]:.2f}" for name in ("open", "first", "resumed"))
        sizes = " | ".join(f"{row[name]:.0f}" for name in ("worker", "loader", "loader at 99%"))
        print(f"| {total:,.0f} | {size:.1f} | {times} | {sizes} |", flush=True)
    apart = [name for name in rows[0] if spread(rows, name) > options.within]
    if apart:
        sys.exit(f"cases differ by more than {options.within:.0%} in: {', '.join(apart)}")


def spread(rows: list[dict[str, float]], name: str) -> float:
    values = [row[name] for row in rows]
    near = name in ("open", "first", "resumed") and max(values) - min(values) < 0.1
    return 0.0 if near else max(values) / min(values) - 1


if __name__ == "__main__":
    main()
