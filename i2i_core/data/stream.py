"""What comes next: a pure function of (manifest, seed, global batch size, batch number).

A *lane* is a fixed share of the slots of every global batch. Each epoch the shards are permuted
and laid end to end (beginning at a seeded point), the line is cut into as many equal spans as
there are lanes, and each lane's span is shuffled in windows. Lanes are dealt to workers, so the
order knows nothing of how many workers, loader processes or restarts there are. docs/stream.md
has the picture.

n_X counts; slots_n slot numbers; rows_n positions in the shard set's index.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from queue import Queue
from threading import Event, Thread
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from i2i_core.data.batch import Bad, Batch, seed_from
from i2i_core.data.images import decode
from i2i_core.data.manifest import WHOLE, DataSet, Field
from i2i_core.data.transforms import Augment, Size
from i2i_core.errors import ConfigError, DataError, ResourceError
from i2i_core.settings import check_at_least, check_choice, setting

MOST_LANES = 64


@dataclass(frozen=True)
class DataConfig:
    """What is read, and what is done to an image before the networks see it."""

    uri: str = setting("", resume="free", name="data")
    """Data set: a folder or URL with manifest.json. None given: the built-in glyphs."""
    also: tuple[str, ...] = setting((), resume="free")
    """Further labelled data sets with attributes of their own, trained on side by side: batches come from each in
    turn (StarGAN)."""
    fingerprint: str = setting("", derived=True)
    """Checksum of the contents of the data set, or of all of them; filled in by the driver."""
    split: str = setting("train")
    """Split to train on."""
    direction: Literal["AtoB", "BtoA"] = setting("AtoB")
    """Which side of a pair, or which domain, is the input."""
    load_size: int = setting(0)
    """Resize to this many pixels before the crop; 0: straight to the image size."""
    crop: Literal["random", "center", "none"] = setting("random")
    """How the training size is cut from the loaded size."""
    flip: bool = setting(True)
    """Mirror half of the samples left to right."""
    window: int = setting(1024)
    """Samples a lane shuffles among."""
    lanes: int = setting(0)
    """Lanes of the global batch, at most which many workers; 0: the largest divisor of the batch up to 64."""
    loaders: int = setting(2, resume="free")
    """Loader processes per worker; 0: a thread of the worker itself."""
    most_bad: int = setting(100, resume="free")
    """Stop the run after this many unusable samples."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "load_size", "lanes", "loaders", "most_bad")
        check_at_least(self, 1, "window")
        check_choice(self, "crop", ("random", "center", "none"))
        if self.also and not self.uri:
            fix = "Give the first data set with --data, the others with --also."
            raise ConfigError("--also", f"{' '.join(self.also)} without --data", "data sets beside another", fix)

    @property
    def uris(self) -> tuple[str, ...]:
        """Every data set of the run: its number is its place here."""
        return (self.uri, *self.also)

    @property
    def names(self) -> tuple[str, ...]:
        """A short name for each of `uris`: its last part, with a number where two have the same."""
        last = [uri.rstrip("/").rsplit("/", 1)[-1] for uri in self.uris]
        return tuple(f"{name}-{n}" if last.count(name) > 1 else name for n, name in enumerate(last))


def lanes_of(batch: int, wanted: int = 0) -> int:
    """The lanes of a global batch: the largest divisor up to 64, or the number wanted.

    Raises:
        ResourceError: the wanted number does not divide the batch.
    """
    if wanted and batch % wanted:
        raise ResourceError(
            "--lanes", str(wanted), f"a divisor of the batch, {batch}", "Leave --lanes out, or change --batch."
        )
    return wanted or max(d for d in range(1, min(batch, MOST_LANES) + 1) if batch % d == 0)


def slots_of(batch: int, lanes: int, rank: int, world: int) -> tuple[int, int]:
    """First and past-the-last slot of one worker: lanes dealt in order, as evenly as they go.

    Raises:
        ResourceError: more workers than lanes.
    """
    if world > lanes:
        fitting = next(b for b in count(max(batch, world)) if lanes_of(b) >= world)
        raise ResourceError(
            "--workers",
            f"{world} workers for a global batch of {batch} ({lanes} lanes)",
            f"at most {lanes} workers",
            f"Use --workers {lanes}, or a larger batch: --batch {fitting}.",
        )
    per_lane = batch // lanes
    return rank * lanes // world * per_lane, (rank + 1) * lanes // world * per_lane


def permutation(n: int, *seed: object) -> np.ndarray:
    """A permutation of range(n), the same for the same seed on every machine and numpy release:
    the order of the raw words of a Philox counter."""
    return np.argsort(np.random.Philox(key=seed_from(*seed)).random_raw(n), kind="stable")


class Order:
    """Which row of a shard set stands in which slot of which global batch.

    Args:
        counts: samples per shard.
        batch: B, the global batch. A set smaller than B is laid end to end with itself, each time
            in a new order, until it holds one batch.
        lanes: a divisor of B.
        seed: of the run; `domain` makes two sets of one run independent.
        window: samples a lane shuffles among.
    """

    def __init__(self, counts: Sequence[int], batch: int, lanes: int, seed: int, domain: str, window: int) -> None:
        self.counts, self.batch, self.lanes, self.window = np.asarray(counts), batch, lanes, window
        self.key = (seed, domain)
        self.rows = int(self.counts.sum())
        self.laps = -(-batch // self.rows)
        self.batches = self.laps * self.rows // batch
        """Global batches in an epoch."""
        self.per_lane = batch // lanes
        self.span = self.batches * self.per_lane
        self.first_row = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        self._line = lru_cache(maxsize=4)(self._lay)
        self._shuffled = lru_cache(maxsize=4 * lanes)(self._shuffle)

    def _lay(self, lap: int) -> tuple[np.ndarray, np.ndarray, int]:
        """One lap's shards: their numbers in order, where each begins, and where the line starts."""
        shards = permutation(len(self.counts), *self.key, "shards", lap)
        begins = np.concatenate([[0], np.cumsum(self.counts[shards])[:-1]])
        return shards, begins, seed_from(*self.key, "start", lap) % self.rows

    def _shuffle(self, epoch: int, lane: int, window: int) -> np.ndarray:
        size = min(self.window, self.span - window * self.window)
        return permutation(size, *self.key, "window", epoch, lane, window)

    def _row(self, epoch: int, position: int) -> int:
        """The row at a position of the epoch's line."""
        lap, along = divmod(position, self.rows)
        shards, begins, start = self._line(epoch * self.laps + lap)
        along = (along + start) % self.rows
        at = int(np.searchsorted(begins, along, side="right")) - 1
        return int(self.first_row[shards[at]] + along - begins[at])

    def locate(self, t: int, slot: int) -> tuple[int, int]:
        """(epoch, row) of a slot of global batch number t."""
        return next(self.candidates(t, slot))

    def candidates(self, t: int, slot: int) -> Iterator[tuple[int, int]]:
        """The slot's own (epoch, row), then the others of its window: what may replace it, in order."""
        epoch, index = divmod(t, self.batches)
        lane, within = divmod(slot, self.per_lane)
        window, at = divmod(index * self.per_lane + within, self.window)
        order = self._shuffled(epoch, lane, window)
        base = lane * self.span + window * self.window
        for step in range(len(order)):
            yield epoch, self._row(epoch, base + int(order[(at + step) % len(order)]))


class Reader:
    """Members of shards by shard set, row and field: indexed reads, no tar scanned.

    Local shards are read at their offset; remote ones by ranges, many at once.
    """

    OPEN = 128

    def __init__(self, data: DataSet, split: str, domain: str) -> None:
        self.data = data
        self.set, self.index = data.shard_set(split, domain), data.index(split, domain)
        self.ends = np.cumsum([shard.samples for shard in self.set.shards])
        self.local = "file" in ([data.fs.protocol] if isinstance(data.fs.protocol, str) else data.fs.protocol)
        self._files: OrderedDict[str, int] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}  # descriptors stay with their process

    def read(self, rows: Sequence[int], field: int) -> list[bytes]:
        """The bytes of one field of each row."""
        paths = [self.data.path(self.set.shards[int(np.searchsorted(self.ends, r, side="right"))].name) for r in rows]
        starts = [int(self.index.offset[r, field]) for r in rows]
        sizes = [int(self.index.size[r, field]) for r in rows]
        if self.local:
            return [os.pread(self._open(p), n, s) for p, s, n in zip(paths, starts, sizes, strict=True)]
        ends = [s + n for s, n in zip(starts, sizes, strict=True)]
        return list(self.data.fs.cat_ranges(paths, starts, ends, on_error="raise"))

    def _open(self, path: str) -> int:
        if path not in self._files:
            if len(self._files) >= self.OPEN:
                os.close(self._files.popitem(last=False)[1])
            self._files[path] = os.open(path, os.O_RDONLY)
        self._files.move_to_end(path)
        return self._files[path]

    def key(self, row: int) -> str:
        return self.index.keys[row].decode()


@dataclass(frozen=True)
class Source:
    """One shard set in its own order, and which batch fields its members become."""

    reader: Reader
    order: Order
    members: tuple[tuple[str, int, Field], ...]
    """(batch field, column of the index, what the manifest says of it)."""


class Numbered(ABC):
    """Global batches by number."""

    batch: int
    lanes: int
    batches_per_epoch: int

    @abstractmethod
    def read(self, t: int, start: int, stop: int) -> Batch:
        """Slots start to stop of global batch t, images as stored values on the CPU."""

    @property
    def images_per_epoch(self) -> int:
        return self.batches_per_epoch * self.batch

    def batches(self, first: int, slots: tuple[int, int], loaders: int) -> Iterator[Batch]:
        """This worker's slots of global batches first, first + 1, ... without end, as they were read
        by `loaders` processes (0: this one)."""
        kwargs: dict[str, Any] = {"prefetch_factor": 4, "persistent_workers": True} if loaders else {}
        kwargs |= {"num_workers": loaders, "pin_memory": torch.cuda.is_available(), "collate_fn": _as_is}
        return iter(DataLoader(_Parts(self, slots), batch_size=None, sampler=_From(first), **kwargs))


class Stream(Numbered):
    """Global batches of a data set.

    Args:
        data: the data set, opened.
        config: what to read and how to augment.
        image_size: pixels of what comes out; 0: images as they are stored.
        batch: B.
        seed: of the run.
        number: the data set's place among those of the run; each has an order and augmentation of its own.

    Raises:
        DataError: no such split, an index that does not fit.
    """

    def __init__(
        self, data: DataSet, config: DataConfig, image_size: Size, batch: int, seed: int, number: int = 0
    ) -> None:
        self.config, self.batch, self.seed = config, batch, seed
        self.lanes = lanes_of(batch, config.lanes)
        self.own_seed = seed_from(seed, "data set", number) if number else seed
        self.augment = Augment(image_size, config.load_size, config.crop, config.flip, self.own_seed)
        self.kind = data.manifest.kind
        self.sources = [self._source(data, domain, names) for domain, names in self._plan(data).items()]
        self.batches_per_epoch = max(source.order.batches for source in self.sources)
        self.labels = torch.from_numpy(self.sources[0].reader.index.labels)

    def _plan(self, data: DataSet) -> dict[str, dict[str, str]]:
        """domain -> {batch field: manifest field}, with `direction` applied."""
        domains = data.manifest.domains
        swap = self.config.direction == "BtoA"
        if self.kind == "paired":
            return {WHOLE: {"a": "b", "b": "a"} if swap else {"a": "a", "b": "b"}}
        if self.kind == "unpaired":
            a, b = domains[::-1] if swap else domains
            return {a: {"a": "image"}, b: {"b": "image"}}
        return {WHOLE: {"image": "image"}}

    def _source(self, data: DataSet, domain: str, names: dict[str, str]) -> Source:
        k = self.config
        reader = Reader(data, k.split, domain)
        order = Order([s.samples for s in reader.set.shards], self.batch, self.lanes, self.own_seed, domain, k.window)
        columns, fields = list(data.manifest.fields), data.manifest.fields
        return Source(reader, order, tuple((to, columns.index(of), fields[of]) for to, of in names.items()))

    def read(self, t: int, start: int, stop: int) -> Batch:
        """Slots start to stop of global batch t, images as stored values on the CPU.

        A sample that cannot be decoded is replaced by the next good one of its window and named in
        `bad`. Storage errors are not caught: an order must not depend on the weather.

        Raises:
            DataError: no sample of a window can be decoded.
        """
        fields: dict[str, Tensor] = {}
        bad: list[Bad] = []
        keys: list[str] = []
        for source in self.sources:
            places = [source.order.locate(t, slot) for slot in range(start, stop)]
            samples = self._decode(source, places)
            for i, slot in enumerate(range(start, stop)):
                if isinstance(samples[i], Bad):
                    samples[i] = self._replace(source, t, slot, bad)
            for name, _, _ in source.members:
                fields[name] = torch.stack([sample[name] for sample in samples])  # type: ignore[index]
            keys = keys or [source.reader.key(row) for _, row in places]
        return Batch(
            fields, self.batch, start, stop, t * self.batch, self.seed, self._whole(t), tuple(keys), tuple(bad)
        )

    def _whole(self, t: int) -> dict[str, Tensor]:
        """The labels that the index lists for all B slots: every worker knows them without asking."""
        if self.kind != "labelled":
            return {}
        rows = [self.sources[0].order.locate(t, slot)[1] for slot in range(self.batch)]
        return {"labels": self.labels[rows]}

    def _decode(self, source: Source, places: list[tuple[int, int]]) -> list[dict[str, Tensor] | Bad]:
        rows = [row for _, row in places]
        members = {name: source.reader.read(rows, column) for name, column, _ in source.members}
        out: list[dict[str, Tensor] | Bad] = []
        for i, (epoch, row) in enumerate(places):
            try:
                images = {name: decoded(members[name][i], field) for name, _, field in source.members}
                out.append(self.augment(images, (epoch, source.reader.key(row), row)))
            except ValueError as error:
                out.append(Bad(source.reader.key(row), str(error)))
        return out

    def _replace(self, source: Source, t: int, slot: int, bad: list[Bad]) -> dict[str, Tensor]:
        for place in source.order.candidates(t, slot):
            sample = self._decode(source, [place])[0]
            if not isinstance(sample, Bad):
                return sample
            bad.append(sample)
        raise DataError(
            f"data, around sample {bad[-1].key}",
            f"{len(bad)} samples in a row that cannot be used ({bad[-1].cause})",
            "images",
            "Shard the images again; `--bad skip` leaves unreadable ones out.",
        )

    def rows(self, rows: range) -> Batch:
        """Rows of the index as one batch of stored values; unreadable ones are left out and named in `bad`."""
        read = [self._decode(source, [(0, row) for row in rows]) for source in self.sources]
        good = [i for i in range(len(rows)) if not any(isinstance(samples[i], Bad) for samples in read)]
        fields = {
            name: torch.stack([read[s][i][name] for i in good])  # type: ignore[index]
            for s, source in enumerate(self.sources)
            for name, _, _ in source.members
            if good
        }
        bad = tuple(sample for samples in read for sample in samples if isinstance(sample, Bad))
        keys = tuple(self.sources[0].reader.key(rows[i]) for i in good)
        whole = {"labels": self.labels[[rows[i] for i in good]]} if self.kind == "labelled" else {}
        return Batch(fields, len(good), 0, len(good), rows.start, 0, whole, keys, bad)


class Alternating(Numbered):
    """Global batches of several data sets in turn: number t is number t // M of set t mod M, each in its own order.
    Of one data set: its own.

    An epoch ends when the longest set is through; shorter ones begin anew meanwhile.

    Args: as `Stream`, with the data sets in the order of their numbers.

    Raises:
        DataError: no such split, an index that does not fit.
    """

    def __init__(self, sets: Sequence[DataSet], config: DataConfig, image_size: Size, batch: int, seed: int) -> None:
        self.uris = [data.uri for data in sets]
        self.streams = [Stream(data, config, image_size, batch, seed, number) for number, data in enumerate(sets)]
        self.batch, self.lanes = batch, self.streams[0].lanes
        self.batches_per_epoch = len(sets) * max(stream.batches_per_epoch for stream in self.streams)

    def read(self, t: int, start: int, stop: int) -> Batch:
        """As `Stream.read`; of several sets, `bad` names the set with each sample."""
        turn, number = divmod(t, len(self.streams))
        batch = self.streams[number].read(turn, start, stop)
        if len(self.streams) == 1:
            return batch
        bad = tuple(Bad(f"{b.key} of {self.uris[number]}", b.cause) for b in batch.bad)
        return replace(batch, images=t * self.batch, source=number, bad=bad)


def _as_is(batch: Any) -> Any:
    return batch


class _Parts(Dataset[Batch]):
    """One worker's part of every global batch, by batch number."""

    def __init__(self, stream: Numbered, slots: tuple[int, int]) -> None:
        self.stream, self.slots = stream, slots

    def __getitem__(self, t: int) -> Batch:
        return self.stream.read(t, *self.slots)


class _From(Sampler[int]):
    """first, first + 1, ..."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        return count(self.first)


def decoded(data: bytes, field: Field) -> Tensor:
    """An image as (C, H, W) of its stored dtype.

    Raises:
        ValueError: it cannot be decoded, or is not what the manifest says.
    """
    image = decode(data, field.extension)
    h, w, c = image.shape
    if c != field.channels or str(image.dtype) != field.dtype:
        raise ValueError(f"{c} channels of {image.dtype} where the manifest says {field.channels} of {field.dtype}")
    if field.height and (h, w) != (field.height, field.width):
        raise ValueError(f"{h}x{w} pixels where the manifest says {field.height}x{field.width}")
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def in_order(
    data: DataSet,
    split: str,
    image_size: Size,
    *,
    most: int = 0,
    size: int = 32,
    rank: int = 0,
    world: int = 1,
    direction: Literal["AtoB", "BtoA"] = "AtoB",
) -> Iterator[Batch]:
    """Every sample of a split once (or the first `most`), in the order of the index, unaugmented, in chunks of
    `size` at [-1, 1] on the CPU; `images` is the first one's row. Unreadable samples are left out and named in
    `bad`; a chunk of nothing else is passed over.

    Unpaired data gives both domains side by side, up to the shorter.

    Args:
        image_size: pixels that images are resized to; 0: as they are stored.
        rank, world: chunks are dealt to workers in turn; these are rank's.

    Raises:
        DataError: no such split.
    """
    stream = Stream(data, DataConfig(split=split, direction=direction, crop="center", flip=False), image_size, 1, 0)
    n = min(len(source.reader.index.keys) for source in stream.sources)
    n = min(n, most) if most else n
    for start in range(rank * size, n, world * size):
        chunk = stream.rows(range(start, min(start + size, n)))
        if chunk.keys:
            yield chunk.to(torch.device("cpu"))


class Ahead:
    """A source of batches moved to the device by a thread, `depth` ahead of the step.

    `waited` is the number of seconds the step has waited for data. An error in the source is raised
    where the batch would have come.
    """

    def __init__(self, source: Iterator[Batch], place: Callable[[Batch], Batch], depth: int = 2) -> None:
        self.source, self.place = source, place
        self.queue: Queue[Batch | BaseException] = Queue(maxsize=depth)
        self.stopped = Event()
        self.thread = Thread(target=self._fill, name="data-ahead", daemon=True)
        self.thread.start()

    def _fill(self) -> None:
        try:
            for batch in self.source:
                if self.stopped.is_set():
                    return
                self.queue.put(self.place(batch))
                if self.stopped.is_set():
                    return
        except BaseException as error:  # handed over to the consumer, whatever it is
            self.queue.put(error)

    def __iter__(self) -> Ahead:
        return self

    def __next__(self) -> Batch:
        item = self.queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Ends the thread; batches not taken are dropped."""
        self.stopped.set()
        while self.thread.is_alive():
            while not self.queue.empty():
                self.queue.get_nowait()
            self.thread.join(timeout=0.05)
