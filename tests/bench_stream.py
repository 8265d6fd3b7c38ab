"""Samples per second of our stream beside WebDataset and torchvision's ImageFolder, on the same images.

    python -m tests.bench_stream             local files
    python -m tests.bench_stream --s3        and from an S3 server of this machine (make bench-stream)

Each gives endless batches of uint8 (B, 3, H, W) and class numbers, shuffled, cropped at random and flipped, read by the
same number of loader processes with the same prefetching. Three sets of images: photos (JPEG) stored at the size they
are cropped from, photos resized before the crop, and glyphs (small PNG). The three readers take turns; the numbers are
medians over the rounds, with the lowest and the highest. Loaders 0: the consumer's own process and one thread. From S3,
ours begins every round with an empty cache, unless it is given one to keep.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import torch
import webdataset
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import datasets, transforms

from i2i_core.config.data import DataConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.webdatasets import IndexOptions
from i2i_core.data.reading.stream import Stream
from i2i_core.orchestration.sharding import index_webdataset

PREFETCH = 4
CLASSES = 2
SHARDS = 8
ENDLESS = 10**12


@dataclass(frozen=True)
class Images:
    """One set of images, stored as `stored`, and what is done to them: resized to `load`, `size` cut out of that."""

    name: str
    stored: int
    extension: str
    load: int
    size: int


@dataclass(frozen=True)
class Row:
    images: str
    place: str
    loaders: int
    samples_per_second: dict[str, list[float]]
    """Of each round."""


# ---- images ----


def photo(rng: np.random.Generator, size: int) -> bytes:
    """Smooth noise of several scales under a few shapes, as JPEG: about 25 KB at 256 px."""
    picture = np.zeros((size, size, 3), np.float32)
    for scale, weight in ((4, 90), (16, 50), (64, 30), (size, 16)):
        coarse = Image.fromarray(rng.integers(0, 256, (scale, scale, 3), dtype=np.uint8))
        picture += (np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.float32) / 127.5 - 1) * weight
    image = Image.fromarray(np.clip(picture + 128, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for x, y, r in rng.integers(size // 16, size, (6, 3)).tolist():
        draw.ellipse((x - r / 4, y - r / 4, x + r / 4, y + r / 4), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return encoded(image, "JPEG", quality=90)


def glyph(rng: np.random.Generator, size: int) -> bytes:
    """A letter in colour on paper, as PNG."""
    ink, paper = rng.integers(0, 120, 3).tolist(), rng.integers(180, 256, 3).tolist()
    image = Image.new("RGB", (size, size), tuple(paper))
    letter = chr(int(rng.integers(33, 127)))
    font = ImageFont.load_default(int(size * rng.uniform(0.5, 0.9)))
    ImageDraw.Draw(image).text((size / 2, size / 2), letter, fill=tuple(ink), font=font, anchor="mm")
    return encoded(image, "PNG")


def encoded(image: Image.Image, how: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, how, **options)
    return out.getvalue()


def make(folder: Path, n: int, extension: str, draw: Callable[[np.random.Generator], bytes]) -> float:
    """The same n images as `folder`/files/CLASS/KEY.EXT and as shards with our index in `folder`/shards; mean bytes."""
    rng, total = np.random.default_rng(0), 0
    (folder / "shards").mkdir(parents=True)
    for number in range(CLASSES):
        (folder / "files" / str(number)).mkdir(parents=True)
    for shard in range(SHARDS):
        with webdataset.TarWriter(str(folder / "shards" / f"train-{shard:06d}.tar")) as tar:
            for i in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
                data, label = draw(rng), i % CLASSES
                total += len(data)
                tar.write({"__key__": f"{i:06d}", extension: data, "cls": label})
                (folder / "files" / str(label) / f"{i:06d}.{extension}").write_bytes(data)
    index_webdataset(IndexOptions(index=str(folder / "shards")), workers=0)
    return total / n


# ---- readers: each an endless iterator of (images, labels) ----


def ours(uri: str, images: Images, loaders: int, given: argparse.Namespace) -> Iterator[tuple[Tensor, Tensor]]:
    with tempfile.TemporaryDirectory() as new:
        cache = given.cache or new
        config = DataConfig(uri=f"{uri}/shards", load_size=images.load, cache=cache, cache_gb=given.cache_gb)
        stream = Stream(DataSet(config.uri), config, images.size, given.batch, seed=0)
        with closing(stream.batches(0, (0, given.batch), loaders)) as parts:  # type: ignore[type-var]
            for part in parts:
                yield part["image"], part["labels"]


def transform(images: Images) -> transforms.Compose:
    steps: list[Any] = [transforms.RandomCrop(images.size), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
    if images.load != images.stored:
        steps.insert(0, transforms.Resize(images.load, transforms.InterpolationMode.BICUBIC))
    return transforms.Compose(steps)


def through_s3fs(url: str, mode: str = "rb", bufsize: int = 8192, **_: Any) -> Any:
    return fsspec.filesystem("s3").open(url, mode, cache_type="readahead", block_size=5 * 2**20)


def of_webdataset(uri: str, images: Images, loaders: int, given: argparse.Namespace) -> Iterator[tuple[Tensor, Tensor]]:
    urls = [f"{uri}/shards/train-{shard:06d}.tar" for shard in range(SHARDS)]
    data = (
        webdataset.WebDataset(urls, shardshuffle=SHARDS)
        .shuffle(1000)
        .decode("pil")
        .to_tuple(images.extension, "cls")
        .map_tuple(transform(images))
        .batched(given.batch)
        .repeat()
    )
    kwargs = {"prefetch_factor": PREFETCH} if loaders else {}
    yield from webdataset.WebLoader(data, batch_size=None, num_workers=loaders, **kwargs)


class Objects(Dataset[tuple[Tensor, int]]):
    """ImageFolder of an object store: one request per image."""

    def __init__(self, url: str, turn: Callable[[Image.Image], Tensor]) -> None:
        self.paths, self.turn = sorted(fsspec.filesystem("s3").find(url)), turn

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        data = fsspec.filesystem("s3").cat_file(self.paths[i])
        return self.turn(Image.open(io.BytesIO(data)).convert("RGB")), int(self.paths[i].split("/")[-2])


def of_torchvision(
    uri: str, images: Images, loaders: int, given: argparse.Namespace
) -> Iterator[tuple[Tensor, Tensor]]:
    folder, remote = f"{uri}/files", "://" in uri
    data = Objects(folder, transform(images)) if remote else datasets.ImageFolder(folder, transform(images))
    kwargs = {"prefetch_factor": PREFETCH} if loaders else {}
    sampler = RandomSampler(data, num_samples=ENDLESS)
    yield from DataLoader(data, given.batch, sampler=sampler, num_workers=loaders, **kwargs)  # type: ignore[arg-type]


READERS = {"ours": ours, "webdataset": of_webdataset, "imagefolder": of_torchvision}


# ---- measuring ----


def rate(batches: Iterator[tuple[Tensor, Tensor]], images: Images, warm: int, seconds: float) -> float:
    """Samples per second, what it takes to begin left out."""
    for _ in range(warm):
        pixels, labels = next(batches)
    assert (pixels.dtype, pixels.shape[1:]) == (torch.uint8, (3, images.size, images.size))
    assert len(labels) == len(pixels)
    taken, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        taken += len(next(batches)[0])
    return taken / (time.perf_counter() - start)


def measure(uri: str, place: str, images: Images, loaders: int, given: argparse.Namespace) -> Row:
    rates: dict[str, list[float]] = {name: [] for name in given.readers}
    for _ in range(given.rounds):
        for name in rates:
            batches = READERS[name](uri, images, loaders, given)
            rates[name].append(rate(batches, images, 2 + loaders, given.seconds))
            batches.close()  # type: ignore[attr-defined]  # ends its processes
    return Row(images.name, place, loaders, rates)


def shown(row: Row) -> str:
    cells = [f"{statistics.median(r):.0f} ({min(r):.0f}-{max(r):.0f})" for r in row.samples_per_second.values()]
    rounds = zip(*row.samples_per_second.values(), strict=True)
    times = f"{statistics.median(mine / max(others, default=mine) for mine, *others in rounds):.2f}"
    return f"| {row.images} | {row.place} | {row.loaders} | " + " | ".join([*cells, times]) + " |"


def main(given: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    size, small = given.size, given.size // 4
    sets = [
        Images("photos", size, "jpg", size, size * 7 // 8),
        Images("photos, resized", size, "jpg", size * 9 // 8, size),
        Images("glyphs", small, "png", small, small * 7 // 8),
    ]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        jpeg = make(folder / "jpg", given.images, "jpg", lambda rng: photo(rng, size))
        png = make(folder / "png", given.images, "png", lambda rng: glyph(rng, small))
        places = {"local": str(folder)}
        if given.s3:
            places["s3"] = uploaded(stack, folder)
        print(f"{given.images} images each, JPEG of {jpeg / 1e3:.1f} KB, PNG of {png / 1e3:.1f} KB", end="; ")
        print(f"batch {given.batch}, {os.cpu_count()} cores; samples/s, median of {given.rounds} (lowest-highest)")
        print(f"| images | from | loaders | {' | '.join(given.readers)} | ours / best other |")
        print("|---|---|---|" + "---|" * (len(given.readers) + 1))
        rows = []
        for place, uri in places.items():
            for images in sets if place == "local" else sets[::2]:  # storage does not resize
                for loaders in given.loaders:
                    rows.append(measure(f"{uri}/{images.extension}", place, images, loaders, given))
                    print(shown(rows[-1]), flush=True)
        print(json.dumps({"batch": given.batch, "rows": [asdict(row) for row in rows]}))


def uploaded(stack: ExitStack, folder: Path) -> str:
    """The folder in a bucket of an S3 server that runs until the stack is closed."""
    from .support.server import FOREIGN, S3Server

    server = stack.enter_context(S3Server(stack.enter_context(tempfile.TemporaryDirectory())))
    for name in FOREIGN:
        os.environ.pop(name, None)
    os.environ.update(server.env)
    webdataset.gopen_schemes["s3"] = through_s3fs
    fs = fsspec.filesystem("s3")
    fs.mkdir("bench")
    fs.put(f"{folder}/", "bench/", recursive=True)
    return "s3://bench"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="of each set")
    parser.add_argument("--size", type=int, default=256, help="pixels of the photos; glyphs have a quarter")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--loaders", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a round, after warming up")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--s3", action="store_true", help="also from an S3 server of this machine")
    parser.add_argument("--cache", help="folder where ours keeps shards between rounds, instead of a new one for each")
    parser.add_argument("--cache-gb", type=float, default=DataConfig.cache_gb, help="0: ours keeps no shards")
    main(parser.parse_args())
