"""Define the kinds of input: healthy ones, how they are damaged, and what reads them in the project."""

from __future__ import annotations

import json
import random
import shutil
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
import yaml

import pipelines.train
import pipelines.tune
from i2i_core.checkpoints.checkpoint import Names, read
from i2i_core.checkpoints.trained import load_trained
from i2i_core.cli import parse
from i2i_core.config.data import DataConfig
from i2i_core.config.run import TrainConfig
from i2i_core.data.folders.layouts import LayoutOptions
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.shards import ShardOptions
from i2i_core.data.format.webdatasets import IndexOptions
from i2i_core.data.reading.stream import Stream
from i2i_core.errors import UserError
from i2i_core.images.codec import ImageOptions
from i2i_core.images.video import Clip
from i2i_core.images.video_writer import Writer
from i2i_core.orchestration.sharding import rewrite_webdataset
from i2i_core.registry import METHODS
from i2i_core.runs.folder import CheckpointFolder, RunFolder
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import sha256
from pipelines.evaluate import EvaluateOptions
from pipelines.shard import MakeOptions
from pipelines.translate import Command

from ..support import films, fuzz_images
from ..support.data import annotated_glyphs, index, noise, png, put, shard, write_tar
from ..support.pictures import samples
from ..support.translating import untrained
from .damage import damage

LINE = b"\n"


class Kind(ABC):
    """Make healthy inputs of a kind, damage them, and read the damaged ones.

    An input is a first line, which says how the rest is read, and the rest.

    Args:
        folder: an empty folder for what reading takes.
    """

    allowed: ClassVar[tuple[type[BaseException], ...]] = ()
    """Errors that reading may raise besides those of i2i_core.errors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.healthy = self.make()

    @abstractmethod
    def make(self) -> list[tuple[str, bytes]]:
        """Make the healthy inputs: the first line, and the rest."""

    @abstractmethod
    def read(self, how: str, data: bytes) -> object:
        """Read an input as the project does."""

    def case(self, seed: int, number: int) -> bytes:
        """Make a damaged input."""
        r = random.Random(f"{seed}-{number}")
        how, data = r.choice(self.healthy)
        return how.encode() + LINE + self.damaged(how, data, r, [data for _, data in self.healthy])

    def damaged(self, how: str, data: bytes, r: random.Random, others: list[bytes]) -> bytes:
        """Damage the part of an input below its first line."""
        return damage(data, r, others)

    def run(self, case: bytes) -> object:
        """Read an input."""
        how, _, data = case.partition(LINE)
        return self.read(how.decode(), data)


class Images(Kind):
    """Images of every format, decoded for the eye and exactly."""

    def make(self) -> list[tuple[str, bytes]]:
        return list(samples().values())

    def damaged(self, how: str, data: bytes, r: random.Random, others: list[bytes]) -> bytes:
        is_png = data.startswith(fuzz_images.SIGNATURE) and r.random() < 0.7
        return (fuzz_images.damaged_png if is_png else fuzz_images.damaged)(data, r, others)

    def read(self, how: str, data: bytes) -> None:
        for came in (fuzz_images.one(how, data), fuzz_images.exactly(how, data)):
            assert came in ("array", "ValueError"), came


class Videos(Kind):
    """A video, read and written again with its sound."""

    def make(self) -> list[tuple[str, bytes]]:
        of = {f"whole.{ending}": {} for ending in films.CONTAINERS}
        of["parts.mp4"] = {"muxer": {"movflags": "frag_keyframe+empty_moov"}}
        made = [films.film(self.folder / name, 6, size=(144, 176), **more) for name, more in of.items()]
        return [(path.suffix[1:], path.read_bytes()) for path in made]

    def read(self, how: str, data: bytes) -> None:
        path = self.folder / f"read.{how}"
        path.write_bytes(data)
        with suppress(ValueError), closing(Clip(str(path))) as clip:
            writer = Writer(str(self.folder / "out.mp4"), clip.size, clip)
            try:
                for frame in clip.frames(30, writer.sound):
                    writer.add(frame.pixels, frame.pts, frame.duration)
                writer.close()
                assert all(clip.flaws)
            finally:
                writer.discard()


class Tars(Kind):
    """A tar of somebody's, which gets an index and is streamed."""

    def make(self) -> list[tuple[str, bytes]]:
        made = []
        for name, members in (
            ("labelled", {str(i): {"json": b'{"bold": 1, "serif": 0}', "png": png()} for i in range(4)}),
            ("classes", {str(i): {"cls": str(i % 2).encode(), "png": png()} for i in range(4)}),
            ("pairs", {str(i): {"a.png": png(), "b.png": png(1), "txt": b"words"} for i in range(4)}),
            ("names", {str(i): {"cls": b"cat" if i % 2 else b"dog", "jpg": png()} for i in range(4)}),
            ("entries", {str(i): {"json": b'{"label": %d, "caption": "x"}' % i, "png": png()} for i in range(4)}),
        ):
            write_tar(self.folder / f"{name}.tar", members)
            made.append((name, (self.folder / f"{name}.tar").read_bytes()))
        return made

    def read(self, how: str, data: bytes) -> None:
        at = self.folder / "tar"
        at.mkdir(exist_ok=True)
        for name in at.rglob("*"):
            if name.is_file():
                name.unlink()
        (at / "train-000000.tar").write_bytes(data)
        again = self.folder / "again"
        shutil.rmtree(again, ignore_errors=True)
        goal = ShardOptions(out=str(again), bad="skip")
        for make in (
            lambda: index(at, bad="skip", overwrite=True),
            lambda: rewrite_webdataset(IndexOptions(str(at)), LayoutOptions(), ImageOptions(channels=3), goal, 0),
        ):
            with suppress(UserError):
                make()
        for found in (at, again):
            if (found / "manifest.json").exists():
                stream = Stream(DataSet(str(found)), DataConfig(crop="none", flip=False), 8, 2, 0)
                stream.read(0, 0, 2)


class Manifests(Kind):
    """The manifest of a data set whose shards are healthy."""

    def make(self) -> list[tuple[str, bytes]]:
        for name in ("trainA/1", "trainB/1", "trainB/2"):
            put(self.folder / "images" / f"{name}.png", noise(4, 4, 3))
        shard("unpaired", self.folder / "images", self.folder / "data")
        return [("unpaired", (self.folder / "data" / "manifest.json").read_bytes())]

    def read(self, how: str, data: bytes) -> None:
        (self.folder / "data" / "manifest.json").write_bytes(data)
        found = DataSet(str(self.folder / "data"))
        found.manifest.describe()
        for split, domains in found.manifest.splits.items():
            found.check_shards(split)
            for domain in domains:
                found.rows(split, domain)


class Checkpoints(Kind):
    """A file of a checkpoint, beside healthy ones and under checksums that are right."""

    def make(self) -> list[tuple[str, bytes]]:
        data = annotated_glyphs(self.folder / "data")
        run = RunFolder(untrained("unit", data, self.folder))
        self.checkpoint = run.checkpoint(run.whole_checkpoints()[-1])
        self.files = read(self.checkpoint).files
        return [(name, data) for name, data in self.files.items() if len(data) < 1 << 17] + [
            (Names.CHECKSUMS, Folder(self.checkpoint.url).read(Names.CHECKSUMS))
        ]

    def damaged(self, how: str, data: bytes, r: random.Random, others: list[bytes]) -> bytes:
        if how != Names.NETWORKS or r.random() < 0.3:
            return damage(data, r, others)
        (size,) = struct.unpack_from("<Q", data)
        header = damage(data[8 : 8 + size], r, others)
        return struct.pack("<Q", len(header)) + header + data[8 + size :]

    def read(self, how: str, data: bytes) -> None:
        files = {**self.files, how: data} if how != Names.CHECKSUMS else self.files
        at = Path(self.checkpoint.url.removeprefix("file://"))
        for name, content in files.items():
            (at / name).write_bytes(content)
        sums = json.dumps({name: sha256(content) for name, content in files.items()}).encode()
        (at / Names.CHECKSUMS).write_bytes(data if how == Names.CHECKSUMS else sums)
        saved = read(CheckpointFolder(self.checkpoint.url))
        saved.state()
        saved.metrics()
        load_trained(self.checkpoint.url, torch.device("cpu"))


class Configs(Kind):
    """A configuration of train.py --config, in JSON or YAML."""

    def make(self) -> list[tuple[str, bytes]]:
        made = [TrainConfig.of(method, "demo").dumps() for method in METHODS]
        small = {"method": "unit", "preset": "demo", "training": {"lr_schedule": "linear", "stages": ["images=5", ""]}}
        plain = [yaml.safe_dump(value) for value in (small, json.loads(made[0]))]
        return [*(("config.json", text.encode()) for text in made), *(("config.yaml", text.encode()) for text in plain)]

    def read(self, how: str, data: bytes) -> None:
        text = data.decode(errors="replace")
        config = TrainConfig.filled(text, how)
        assert TrainConfig.loads(config.dumps(), "again") == config
        config.run_name  # noqa: B018  is made of its values


class Requests(Kind):
    """Command lines of the programs, a word a line, up to where they read a file."""

    def make(self) -> list[tuple[str, bytes]]:
        lines = {
            "train": (
                "--method unit --preset demo --batch auto --lr 1e-3 --workers 1:2 --no-flip --images 100 --seed 3",
                "--method stargan --epochs 2.5 --attributes bold serif --fast bf16 compile --image-size 64 --name a-b",
                "--method simgan --stages images=5 lr=0.5 --metrics fid kid --tracker wandb --cache-gb 0 --clip-grad 1",
            ),
            "tune": ("--method unit --samples 3 --metric l1 ssim --no-early-stop --reduction 4 --space unit",),
            "shard": (
                "--layout pairs --input a --out b --split 0.8 0.1 0.1 --channels 1 --load-size 64 --workers auto",
                "--layout fields --field image=a/{key}.png --classes labels=35 --range depth=0:80 --background #fff",
                "--index a --member a=x.jpg b=y.jpg --keys last-dot --rewrite --out b --layout none --list x.csv",
            ),
            "translate": ("a/run --input b --out c --samples 3 --target=-serif --batch 4 --size 64 --no-back --gpu",),
            "evaluate": ("a/run --data b --most 3 --kid-subsets 4 --workers 2 --label-side a --lpips-network vgg",),
        }
        return [(program, "\n".join(line.split()).encode()) for program, some in lines.items() for line in some]

    def read(self, how: str, data: bytes) -> None:
        words = data.decode(errors="surrogateescape").split("\n")
        words = [word.replace("\0", "") for word in words if "--config" not in word]  # which would be read
        readers: dict[str, Callable[[list[str]], Any]] = {
            "train": pipelines.train.configure,
            "tune": pipelines.tune.configure,
            "shard": partial(parse, MakeOptions(), "shard.py"),
            "translate": partial(parse, Command(), "translate.py"),
            "evaluate": partial(parse, EvaluateOptions(), "evaluate.py"),
        }
        try:
            readers[how](words)
        except SystemExit as ended:
            if ended.code:  # 0: the page of help
                raise


KINDS: dict[str, type[Kind]] = {
    "images": Images,
    "videos": Videos,
    "tars": Tars,
    "manifests": Manifests,
    "checkpoints": Checkpoints,
    "configs": Configs,
    "requests": Requests,
}
