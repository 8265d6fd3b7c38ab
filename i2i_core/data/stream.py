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
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from heapq import merge
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
from i2i_core.data.manifest import WHOLE, DataSet, Field, Shard
from i2i_core.data.places import check_folders
from i2i_core.data.staging import Cache, Need, Stager, no_shard, other_bytes
from i2i_core.data.transforms import Augment, Resizing, Size
from i2i_core.errors import ConfigError, DataError, ResourceError, RunError, UserError
from i2i_core.settings import check_at_least, check_choice, setting
from i2i_core.storage import is_local

MOST_LANES = 64


@dataclass(frozen=True)
class DataConfig:
    """What is read, and what is done to an image before the networks see it."""

    uri: str = setting("", resume="free", name="data")
    """Data set: a folder or URL with manifest.json. None given: the built-in glyphs."""
    also: tuple[str, ...] = setting((), resume="free")
    """Further labelled data sets with attributes of their own, trained on side by side: batches come from each in
    turn (StarGAN)."""
    shards_at: tuple[str, ...] = setting((), resume="free")
    """Folders or URLs outside a data set's own where its shards may lie too, of the same protocol and host: for data
    sets that you trust to read there (docs/data.md)."""
    fingerprint: str = setting("", derived=True)
    """Checksum of the contents of the data set, or of all of them; filled in by the driver."""
    split: str = setting("train")
    """Split to train on."""
    direction: Literal["AtoB", "BtoA"] = setting("AtoB")
    """Which side of a pair, or which domain, is the input."""
    load_size: int = setting(0)
    """Resize to this many pixels before the crop; 0: straight to the image size."""
    fit: Literal["square", "shorter"] = setting("square")
    """square: stretch images to the load size, whatever their shape; shorter: bring the shorter side to it, keep the
    shape, and let the crop cut the training size out of the rest. Evaluations and grids follow, with the middle."""
    resample: Literal["bicubic", "bilinear"] = setting("bicubic")
    """Filter of the resizing, antialiased. Images that are stored at the load size are not resized."""
    crop: Literal["random", "center", "none"] = setting("random")
    """How the training size is cut from the loaded size."""
    flip: bool = setting(True)
    """Mirror half of the samples left to right."""
    window: int = setting(1024)
    """Samples a lane shuffles among."""
    lanes: int = setting(0)
    """Lanes of the global batch, at most which many workers; 0: the largest divisor of the batch up to 64."""
    loaders: int = setting(-1, resume="free")
    """Loader processes per worker; 0: a thread of the worker itself; -1: by the CPUs of its node, up to 8 beside a GPU
    and none where CPUs do the arithmetic."""
    cache: str = setting("", resume="free")
    """Of remote data: folder of each node, on a local disk, where shards are kept whole while they are needed and as
    long as there is room; none given: one in the temporary folder."""
    cache_gb: float = setting(20.0, resume="free")
    """What the folder may hold, 10^9 bytes, for all runs of the node together; 0: no cache, samples are read one by
    one."""
    most_bad: int = setting(100, resume="free")
    """Stop the run when more samples than this cannot be used; each counts once."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "load_size", "lanes", "most_bad", "cache_gb")
        check_at_least(self, -1, "loaders")
        check_at_least(self, 1, "window")
        check_choice(self, "crop", ("random", "center", "none"))
        check_folders(self.shards_at)
        check_choice(self, "fit", ("square", "shorter"))
        check_choice(self, "resample", ("bicubic", "bilinear"))
        if self.fit == "shorter" and self.crop == "none":
            fix = "Give --crop random or --crop center, or --fit square."
            expected = "a crop: the longer side of an image must be cut to the training size"
            raise ConfigError("--fit", "shorter with --crop none", expected, fix)
        if self.also and not self.uri:
            fix = "Give the first data set with --data, the others with --also."
            raise ConfigError("--also", f"{' '.join(self.also)} without --data", "data sets beside another", fix)

    @property
    def resizing(self) -> Resizing:
        """How images come to their size."""
        return Resizing(self.fit, self.resample)

    @property
    def cache_bytes(self) -> int:
        return int(self.cache_gb * 1e9)

    @property
    def uris(self) -> tuple[str, ...]:
        """Every data set of the run: its number is its place here."""
        return (self.uri, *self.also)

    def open(self) -> list[DataSet]:
        """Open every data set of the run. Raises as `DataSet`."""
        return [DataSet(uri, self.shards_at) for uri in self.uris]

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
        self._remember()

    def _remember(self) -> None:
        self._line = lru_cache(maxsize=4)(self._lay)
        self._shuffled = lru_cache(maxsize=4 * self.lanes)(self._shuffle)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_line", "_shuffled")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._remember()

    def _lay(self, lap: int) -> tuple[np.ndarray, np.ndarray, int]:
        """One lap's shards: their numbers in order, where each begins, and where the line starts."""
        shards = permutation(len(self.counts), *self.key, "shards", lap)
        begins = np.concatenate([[0], np.cumsum(self.counts[shards])[:-1]])
        return shards, begins, seed_from(*self.key, "start", lap) % self.rows

    def _shuffle(self, epoch: int, lane: int, window: int) -> np.ndarray:
        size = min(self.window, self.span - window * self.window)
        return permutation(size, *self.key, "window", epoch, lane, window)

    def _rows(self, epoch: int, positions: np.ndarray) -> np.ndarray:
        """The rows at positions of the epoch's line."""
        laps, along = np.divmod(positions, self.rows)
        rows = np.empty_like(along)
        for lap in set(laps.tolist()):
            shards, begins, start = self._line(epoch * self.laps + lap)
            here = (along[laps == lap] + start) % self.rows
            at = np.searchsorted(begins, here, side="right") - 1
            rows[laps == lap] = self.first_row[shards[at]] + here - begins[at]
        return rows

    def _row(self, epoch: int, position: int) -> int:
        return int(self._rows(epoch, np.array([position]))[0])

    def locate_all(self, t: int, start: int, stop: int) -> tuple[int, np.ndarray]:
        """The epoch of global batch number t, and the rows of its slots start to stop."""
        epoch, index = divmod(t, self.batches)
        lanes, within = np.divmod(np.arange(start, stop), self.per_lane)
        windows, at = np.divmod(index * self.per_lane + within, self.window)
        places = zip(lanes.tolist(), windows.tolist(), at.tolist(), strict=True)
        along = [self._shuffled(epoch, lane, window)[i] for lane, window, i in places]
        return epoch, self._rows(epoch, lanes * self.span + windows * self.window + along)

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

    def needs(self, first: int, lanes: range) -> Iterator[tuple[int, int, int]]:
        """(t, last t, shard) of every shard that some lanes read, window by window from the one of global batch `first`
        on, without end; t rises."""
        epoch, index = divmod(first, self.batches)
        while True:
            for begin in range(index * self.per_lane // self.window * self.window, self.span, self.window):
                end = min(begin + self.window, self.span)
                start = epoch * self.batches
                t, last = max(first, start + begin // self.per_lane), start + (end - 1) // self.per_lane
                for lane in lanes:
                    for shard in self._shards(epoch, lane * self.span + begin, lane * self.span + end):
                        yield t, last, shard
            epoch, index = epoch + 1, 0

    def _shards(self, epoch: int, position: int, end: int) -> Iterator[int]:
        """Numbers of the shards on a stretch of the epoch's line."""
        while position < end:
            lap, along = divmod(position, self.rows)
            shards, begins, start = self._line(epoch * self.laps + lap)
            on_line = (along + start) % self.rows
            at = int(np.searchsorted(begins, on_line, side="right")) - 1
            yield int(shards[at])
            left = int(begins[at]) + int(self.counts[shards[at]]) - on_line
            position += min(left, self.rows - along)


class Reader:
    """Members of shards by shard set, row and field: indexed reads, no tar scanned.

    Shards that are on this node, the data set's own or staged, are read at their offsets. Of others the bytes are
    asked for by ranges, many at once: while a reader begins, so that it begins at once, and later where a shard is
    not being fetched already.
    """

    OPEN = 256
    BEGINNING = 4
    """Reads that do not wait for a shard under way."""

    def __init__(self, data: DataSet, split: str, domain: str, cache: Cache | None = None) -> None:
        self.data, self.cache = data, cache
        self.set, self.index = data.shard_set(split, domain), data.index(split, domain)
        self.ends = np.cumsum([shard.samples for shard in self.set.shards])
        self.local, self.reads = is_local(data.fs), 0
        self._files: OrderedDict[str, int] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}  # descriptors stay with their process

    def read(self, rows: Sequence[int], field: int) -> list[bytes]:
        """The bytes of one field of each row.

        Raises:
            DataError: a shard that is no longer there, or other than the manifest says.
            StorageError: the storage does not answer.
        """
        shards = [self.set.shards[i] for i in np.searchsorted(self.ends, rows, side="right")]
        starts, sizes = self.index.offset[rows, field].tolist(), self.index.size[rows, field].tolist()
        self.reads += 1
        out, far = [b""] * len(shards), []
        for i, shard in enumerate(shards):
            file = self._file(shard)  # open until the next is asked for
            if file is None:
                far.append(i)
            else:
                out[i] = os.pread(file, sizes[i], starts[i])
        if far:
            ends = [starts[i] + sizes[i] for i in far]
            paths = [self.data.path(shards[i].name) for i in far]
            got = self.data.fs.cat_ranges(paths, [starts[i] for i in far], ends, on_error="return")
            for i, data in zip(far, got, strict=True):
                if isinstance(data, FileNotFoundError):
                    raise no_shard(self.data, shards[i]) from None
                if isinstance(data, EOFError):
                    raise other_bytes(self.data, shards[i]) from None
                if isinstance(data, Exception):
                    raise data
                out[i] = data
        for i, data in enumerate(out):
            if len(data) != sizes[i]:
                raise other_bytes(self.data, shards[i])
        return out

    def _file(self, shard: Shard) -> int | None:
        """A descriptor of a shard that is on this node."""
        if shard.name not in self._files:
            file = self._open(shard)
            if file is None:
                return None
            self._close(*(name for name, number in self._files.items() if not os.fstat(number).st_nlink))
            if len(self._files) >= self.OPEN:
                self._close(next(iter(self._files)))
            self._files[shard.name] = file
        self._files.move_to_end(shard.name)
        return self._files[shard.name]

    def _open(self, shard: Shard) -> int | None:
        if self.local:
            try:
                return os.open(self.data.path(shard.name), os.O_RDONLY)
            except FileNotFoundError:
                raise no_shard(self.data, shard) from None
        if self.cache is None:
            return None
        if self.reads > self.BEGINNING:
            self.cache.wait(shard)
        try:
            return os.open(self.cache.path(shard), os.O_RDONLY)
        except FileNotFoundError:
            return None

    def _close(self, *names: str) -> None:
        """Files that were removed from the cache among them: they take room as long as they are open."""
        for name in names:
            os.close(self._files.pop(name))

    def __del__(self) -> None:
        self._close(*self.__dict__.get("_files", ()))

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
    @abstractmethod
    def cache(self) -> Cache | None:
        """Where remote shards are staged."""

    @abstractmethod
    def needs(self, first: int, slots: tuple[int, int]) -> Iterator[Need]:
        """The remote shards that a worker reads from global batch `first` on, in the order of the batches, without
        end."""

    @property
    def images_per_epoch(self) -> int:
        return self.batches_per_epoch * self.batch

    def batches(self, first: int, slots: tuple[int, int], loaders: int) -> Iterator[Batch]:
        """This worker's slots of global batches first, first + 1, ... without end, as they were read
        by `loaders` processes (0: this one)."""
        kwargs: dict[str, Any] = {"prefetch_factor": 4, "persistent_workers": True} if loaders else {}
        kwargs |= {"num_workers": loaders, "pin_memory": torch.cuda.is_available(), "collate_fn": _as_is}
        numbers = _From(first)
        loaded = iter(DataLoader(_Parts(self, slots), batch_size=None, sampler=numbers, **kwargs))
        cache = self.cache  # its threads begin after the loaders, which are forked
        numbers.stager = Stager(cache, self.needs(first, slots)) if cache else None
        return _closing(loaded, numbers)


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
        self.augment = Augment(image_size, config.load_size, config.crop, config.flip, self.own_seed, config.resizing)
        self.kind = data.manifest.kind
        self._cache = None if is_local(data.fs) or not config.cache_gb else Cache(config.cache, config.cache_bytes)
        self.sources = [self._source(data, domain, names) for domain, names in self._plan(data).items()]
        self.batches_per_epoch = max(source.order.batches for source in self.sources)
        self.labels = torch.from_numpy(self.sources[0].reader.index.labels)

    @property
    def cache(self) -> Cache | None:
        return self._cache

    def needs(self, first: int, slots: tuple[int, int]) -> Iterator[Need]:
        """As `Numbered.needs`."""
        return merge(*(self._needs(source, first, slots) for source in self.sources), key=lambda need: need.t)

    def _needs(self, source: Source, first: int, slots: tuple[int, int]) -> Iterator[Need]:
        order, reader = source.order, source.reader
        lanes = range(slots[0] // order.per_lane, slots[1] // order.per_lane)
        return (Need(t, last, reader.data, reader.set.shards[n]) for t, last, n in order.needs(first, lanes))

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
        reader = Reader(data, k.split, domain, self._cache)
        order = Order([s.samples for s in reader.set.shards], self.batch, self.lanes, self.own_seed, domain, k.window)
        columns, fields = list(data.manifest.fields), data.manifest.fields
        return Source(reader, order, tuple((to, columns.index(of), fields[of]) for to, of in names.items()))

    def read(self, t: int, start: int, stop: int) -> Batch:
        """Slots start to stop of global batch t, images as stored values on the CPU.

        A sample that cannot be decoded is replaced by the next good one of its window, of labelled data by the next
        of those with its label, or with the label that differs least, and named in `bad`. Storage errors are not
        caught: an order must not depend on the weather.

        Raises:
            DataError: no sample of a window can be decoded.
        """
        fields: dict[str, Tensor] = {}
        bad: list[Bad] = []
        keys: list[str] = []
        for source in self.sources:
            epoch, rows = source.order.locate_all(t, start, stop)
            samples = (
                self._replace(source, t, start + i, bad) if isinstance(sample, Bad) else sample
                for i, sample in enumerate(self._decode(source, epoch, rows.tolist()))
            )
            fields |= stacked(samples, stop - start)
            keys = keys or [source.reader.key(row) for row in rows]
        return Batch(
            fields, self.batch, start, stop, t * self.batch, self.seed, self._whole(t), tuple(keys), tuple(bad)
        )

    def _whole(self, t: int) -> dict[str, Tensor]:
        """The labels that the index lists for all B slots: every worker knows them without asking."""
        if self.kind != "labelled":
            return {}
        return {"labels": self.labels[self.sources[0].order.locate_all(t, 0, self.batch)[1]]}

    def _decode(self, source: Source, epoch: int, rows: Sequence[int]) -> Iterator[dict[str, np.ndarray] | Bad]:
        members = {name: source.reader.read(rows, column) for name, column, _ in source.members}
        keys = [source.reader.key(row) for row in rows]
        words = self.augment.words((epoch, key, row) for key, row in zip(keys, rows, strict=True))
        for i, drawn in enumerate(words):
            try:
                images = {name: pixels(members[name][i], field) for name, _, field in source.members}
                sample = self.augment(images, drawn)
            except ValueError as error:
                yield Bad(keys[i], str(error))
            else:
                yield sample

    def _replace(self, source: Source, t: int, slot: int, bad: list[Bad]) -> dict[str, np.ndarray]:
        tried: list[Bad] = []
        for epoch, row in self._instead(source, t, slot):
            sample = next(self._decode(source, epoch, [row]))
            if not isinstance(sample, Bad):
                bad += [replace(b, key=self._named(source, b.key), instead=source.reader.key(row)) for b in tried]
                return sample
            tried.append(sample)
        raise DataError(
            f"data, around sample {tried[-1].key}",
            f"{len(tried)} samples in a row that cannot be used ({tried[-1].cause})",
            "images",
            "Shard the images again; `--bad skip` leaves unreadable ones out.",
        )

    def _instead(self, source: Source, t: int, slot: int) -> Iterable[tuple[int, int]]:
        """What is taken for a slot: its own sample, then the others of its window. Labels come from the index, where
        every worker reads them, so a sample must be replaced by one of its label."""
        candidates = source.order.candidates(t, slot)
        if self.kind != "labelled":
            return candidates
        rows = list(candidates)
        labels = self.labels[[row for _, row in rows]]
        differ = (labels != labels[0]).sum(1).tolist()
        return [rows[i] for i in sorted(range(len(rows)), key=differ.__getitem__)]

    def _named(self, source: Source, key: str) -> str:
        """A sample's key, unmistakable where two domains may have the same."""
        return f"{key} of domain {source.order.key[1]}" if self.kind == "unpaired" else key

    def rows(self, rows: range) -> Batch:
        """Rows of the index as one batch of stored values; unreadable ones are left out and named in `bad`."""
        read = [list(self._decode(source, 0, rows)) for source in self.sources]
        good = [i for i in range(len(rows)) if not any(isinstance(samples[i], Bad) for samples in read)]
        fields: dict[str, Tensor] = {}
        for samples in read:
            fields |= stacked((samples[i] for i in good), len(good))  # type: ignore[misc]
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

    @property
    def cache(self) -> Cache | None:
        return next((stream.cache for stream in self.streams if stream.cache), None)

    def needs(self, first: int, slots: tuple[int, int]) -> Iterator[Need]:
        """As `Numbered.needs`."""
        return merge(*(self._needs(n, first, slots) for n in range(len(self.streams))), key=lambda need: need.t)

    def _needs(self, number: int, first: int, slots: tuple[int, int]) -> Iterator[Need]:
        sets, stream = len(self.streams), self.streams[number]
        if stream.cache:
            for need in stream.needs(max(0, -((number - first) // sets)), slots):
                yield replace(need, t=need.t * sets + number, last=need.last * sets + number)

    def read(self, t: int, start: int, stop: int) -> Batch:
        """As `Stream.read`; of several sets, `bad` names the set with each sample."""
        turn, number = divmod(t, len(self.streams))
        batch = self.streams[number].read(turn, start, stop)
        if len(self.streams) == 1:
            return batch
        bad = tuple(replace(b, key=f"{b.key} of {self.uris[number]}") for b in batch.bad)
        return replace(batch, images=t * self.batch, source=number, bad=bad)


def _as_is(batch: Any) -> Any:
    return batch


class _Parts(Dataset[Batch | Exception]):
    """One worker's part of every global batch, by batch number; or why there is none, where a person is to be told:
    torch would put it in an error of its own."""

    def __init__(self, stream: Numbered, slots: tuple[int, int]) -> None:
        self.stream, self.slots = stream, slots

    def __getitem__(self, t: int) -> Batch | Exception:
        try:
            return self.stream.read(t, *self.slots)
        except (UserError, RunError) as error:
            return error


class _From(Sampler[int]):
    """first, first + 1, ...; tells the stager what is asked for."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.stager: Stager | None = None

    def __iter__(self) -> Iterator[int]:
        for t in count(self.first):
            if self.stager:
                self.stager.at(t)
            yield t


def _closing(batches: Iterator[Batch | Exception], numbers: _From) -> Iterator[Batch]:
    try:
        for batch in batches:
            if isinstance(batch, Exception):
                try:
                    raise batch
                finally:  # what is raised holds this frame, which must hold neither it nor the loaders
                    del batch, batches
            yield batch
    finally:
        if numbers.stager:
            numbers.stager.close()


def pixels(data: bytes, field: Field) -> np.ndarray:
    """An image as (H, W, C) of its stored dtype.

    Raises:
        ValueError: it cannot be decoded, or is not what the manifest says.
    """
    image = decode(data, field.extension)
    h, w, c = image.shape
    if c != field.channels or image.dtype != field.dtype:
        raise ValueError(f"{c} channels of {image.dtype} where the manifest says {field.channels} of {field.dtype}")
    if field.height and (h, w) != (field.height, field.width):
        raise ValueError(f"{h}x{w} pixels where the manifest says {field.height}x{field.width}")
    return image


def decoded(data: bytes, field: Field) -> Tensor:
    """An image as (C, H, W) of its stored dtype.

    Raises:
        ValueError: as `pixels`.
    """
    return torch.from_numpy(np.ascontiguousarray(pixels(data, field).transpose(2, 0, 1)))


def stacked(samples: Iterable[dict[str, np.ndarray]], n: int) -> dict[str, Tensor]:
    """The fields of n samples, (H, W, C) each, as (n, C, H, W): copied one by one, still in the processor's cache."""
    fields: dict[str, np.ndarray] = {}
    for i, sample in enumerate(samples):
        for name, image in sample.items():
            x_CHW = image.transpose(2, 0, 1)
            if i == 0:
                fields[name] = np.empty((n, *x_CHW.shape), x_CHW.dtype)
            np.concatenate([x_CHW[None]], out=fields[name][i : i + 1])  # unlike an assignment, refuses another shape
    return {name: torch.from_numpy(x_BCHW) for name, x_BCHW in fields.items()}


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
    side: Literal["a", "b", ""] = "",
    resizing: Resizing = Resizing(),  # noqa: B008 - frozen
) -> Iterator[Batch]:
    """Every sample of a split once (or the first `most`), in the order of the index, unaugmented, in chunks of
    `size` at [-1, 1] on the CPU; `images` is the first one's row. Unreadable samples are left out and named in
    `bad`; a chunk of nothing else is passed over.

    Unpaired data gives both domains side by side, up to the shorter.

    Args:
        image_size: pixels that images are resized to; 0: as they are stored.
        resizing: how; where it keeps the shape, the middle is cut out.
        side: of unpaired data, all images of that domain alone.
        rank, world: chunks are dealt to workers in turn; these are rank's.

    Raises:
        DataError: no such split.
    """
    stream = unaugmented(data, split, image_size, direction, resizing)
    if side:
        stream.sources = [source for source in stream.sources if source.members[0][0] == side]
    n = min(len(source.reader.index.keys) for source in stream.sources)
    n = min(n, most) if most else n
    for start in range(rank * size, n, world * size):
        chunk = stream.rows(range(start, min(start + size, n)))
        if chunk.keys:
            yield chunk.to(torch.device("cpu"))


def unaugmented(
    data: DataSet, split: str, image_size: Size, direction: Literal["AtoB", "BtoA"], resizing: Resizing
) -> Stream:
    """A stream whose `rows` are what metrics and grids see: brought to their size, and nothing else."""
    fit, resample = resizing.fit, resizing.resample
    config = DataConfig(
        split=split, direction=direction, crop="center", flip=False, cache_gb=0, fit=fit, resample=resample
    )
    return Stream(data, config, image_size, 1, 0)


class Ahead:
    """A source of batches moved to the device by a thread, `depth` ahead of the step.

    `waited` is the number of seconds the step has waited for data. An error in the source is raised
    where the batch would have come.
    """

    LEAVE = 5.0
    """Seconds that closing waits for the thread."""

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
            raise StopIteration
        except BaseException as error:  # handed over to the consumer, whatever it is
            self.queue.put(error)
        finally:
            if isinstance(self.source, Generator):
                self.source.close()

    def __iter__(self) -> Ahead:
        return self

    def __next__(self) -> Batch:
        item = self.queue.get()
        if isinstance(item, BaseException):
            self.queue.put(item)  # for who asks again
            raise item
        return item

    def close(self) -> None:
        """Ends the thread and its source; batches not taken are dropped. A thread that is still waiting for storage is
        left behind, and ends when that has an end."""
        self.stopped.set()
        for _ in range(int(self.LEAVE / 0.05)):
            while not self.queue.empty():
                self.queue.get_nowait()
            self.thread.join(timeout=0.05)
            if not self.thread.is_alive():
                break
