"""Turn shards into global batches: `order` decides which sample stands in which slot, `reader` gets its bytes, `source`
decodes and augments it, and a `Stream` puts a rank's part of the batch together.

n_X counts; slots_n slot numbers; rows_n positions in the shard set.
"""

from __future__ import annotations

import os
import sys
import tempfile
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import merge
from itertools import count, islice
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from i2i_core.batch import Bad, Batch
from i2i_core.config.data import DataConfig
from i2i_core.config.stages import Stage, filled
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.roles import value_of
from i2i_core.data.format.table import label_counts
from i2i_core.data.reading.collate import Columns, Sample, collated
from i2i_core.data.reading.lanes import ROOM, lane_bytes, lanes_of
from i2i_core.data.reading.order import Order
from i2i_core.data.reading.order import Stage as StageOfOrder
from i2i_core.data.reading.reader import Reader
from i2i_core.data.reading.relations import Balanced, Companions
from i2i_core.data.reading.source import Mate, Source, companions_of, none_usable, second_of
from i2i_core.data.reading.staging import Cache, Need, Stager
from i2i_core.data.reading.starts import Frames, LookedUp, OneByOne
from i2i_core.data.reading.transforms import Augment
from i2i_core.errors import ConfigError, DataError, ResourceError, RunError, UserError
from i2i_core.fields import Field, Needs, field_on
from i2i_core.randomness import seed_from
from i2i_core.sizes import Resizing, Size
from i2i_core.storage.remote import is_local

MOST_SOCKET = 103 if sys.platform == "darwin" else 107
"""Bytes in the path of a socket."""


class Numbered(ABC):
    """Give global batches by number."""

    batch: int
    batches_per_epoch: int

    @abstractmethod
    def read(self, t: int, start: int, stop: int) -> Batch:
        """Read slots start to stop of global batch t, images as stored values on the CPU."""

    @property
    @abstractmethod
    def cache(self) -> Cache | None:
        """Cache of remote shards; None where none is used."""

    @abstractmethod
    def needs(self, first: int, slots: tuple[int, int]) -> Iterator[Need]:
        """List the remote shards that a rank reads from global batch `first` on, in the order of the batches, without
        end."""

    @property
    def images_per_epoch(self) -> int:
        """Images of an epoch of the first stage."""
        return self.batches_per_epoch * self.batch

    def batches(self, first: int, slots: tuple[int, int], loaders: int) -> Iterator[Batch]:
        """Read this rank's slots of global batches first, first + 1, ... without end, by `loaders` processes (0: this
        one).

        Raises:
            ResourceError: loaders cannot hand batches over, as the temporary folder's name is too long.
        """
        if loaders:
            _check_sockets()
        kwargs: dict[str, Any] = {"prefetch_factor": 4, "persistent_workers": True} if loaders else {}
        kwargs |= {"num_workers": loaders, "pin_memory": torch.cuda.is_available(), "collate_fn": _as_is}
        numbers = _From(first)
        loaded = iter(DataLoader(_Parts(self, slots), batch_size=None, sampler=numbers, **kwargs))
        cache = self.cache  # its threads begin after the loaders, which are forked
        numbers.stager = Stager(cache, self.needs(first, slots)) if cache else None
        return _closing(loaded, numbers)


def _check_sockets() -> None:
    """Check that loaders can make sockets in the temporary folder, through which tensors go from process to process.

    Where they cannot, torch drops each batch with a trace, and the reader would wait for ever. Raises ResourceError.
    """
    folder = tempfile.gettempdir()
    room = MOST_SOCKET - len("/pymp-12345678/listener-12345678")
    if torch.multiprocessing.get_sharing_strategy() == "file_descriptor" and len(os.fsencode(folder)) > room:
        fix = "Name a shorter folder for temporary files, such as TMPDIR=/tmp, or give --loaders 0."
        raise ResourceError("TMPDIR", f"{folder}, of {len(os.fsencode(folder))} bytes", f"at most {room}", fix)


class Stream(Numbered):
    """Read the global batches of a data set, any part of any batch: decoded, augmented, collated.

    Args:
        data: the data set, opened.
        config: what to read and how to augment.
        image_size: pixels of what comes out; 0: images as they are stored.
        batch: B.
        seed: of the run.
        number: the data set's place among those of the run; each has an order and augmentation of its own.
        needs: what is read of a sample; None: all of its fields.
        stages: of the run, filled in; none: one, of images of `image_size`. `end_at` says when they end.

    Raises:
        DataError: no such split; an index that does not fit, where one is read at once (version 1, clips).
        ConfigError: samples would be mirrored, and a field may not be; classes are to be balanced, and there are none;
            a stride of samples that stand alone.
    """

    def __init__(
        self,
        data: DataSet,
        config: DataConfig,
        image_size: Size,
        batch: int,
        seed: int,
        number: int = 0,
        needs: Needs | None = None,
        stages: Sequence[Stage] = (),
    ) -> None:
        self.reads = needs.reads(data.manifest) if needs else frozenset(data.manifest.fields)
        self.stages = tuple(stages) or filled((), image_size, config.load_size, needs.frames if needs else 1)
        self.ends: tuple[int, ...] = ()
        """The global batches at which stages end."""
        self.frames = Frames(self.stages[0].frames, config.frame_stride)
        if self.frames.stride > 1 and self.frames.number == 1:
            expected = "1: samples stand alone, no frame follows another"
            raise ConfigError("--frame-stride", str(config.frame_stride), expected, "Leave --frame-stride out.")
        _check_flip(data, config, self.reads)
        self.config, self.batch, self.seed = config, batch, seed
        self.own_seed = seed_from(seed, "data set", number) if number else seed
        self.augments = [self._augment(stage) for stage in self.stages]
        self.again = bool(needs and needs.again)
        self._cache = None if is_local(data.fs) or not config.cache_gb else Cache(config.cache, config.cache_bytes)
        self.sources = [self._source(data, domain, names) for domain, names in self._plan(data).items()]
        if needs and needs.companions:
            (own,) = self.sources
            with_them = Companions(own.order, own.reader.classes, needs.companions, needs.relation)
            self.sources = [replace(own, companions=with_them)]
        if self.again:
            self.sources.append(second_of(self.sources[0]))
        self.batches_per_epoch = self.batches_in(0)

    def _augment(self, stage: Stage) -> Augment:
        k = self.config
        return Augment(stage.size, stage.load, k.crop, k.flip, self.own_seed, k.resizing)

    @property
    def _kinds(self) -> list[int]:
        """List the stages at which the number of frames changes, the first among them: those between are one stage of
        an order, so an epoch goes on over an end where only something else changes."""
        frames = [stage.frames for stage in self.stages]
        return [i for i in range(len(frames)) if i == 0 or frames[i] != frames[i - 1]]

    def batches_in(self, stage: int) -> int:
        """Return the global batches in an epoch of a stage: as many as the longest domain has."""
        kind = bisect_right(self._kinds, stage) - 1
        return max(source.order.batches_in(kind) for source in self.sources)

    def end_at(self, ends: Sequence[int]) -> None:
        """Have all stages but the last end at these global batches. To be called before anything is read.

        Raises:
            ConfigError: one with frames of its own ends before it begins.
        """
        self.ends = tuple(ends)
        for source in self.sources:
            source.order.end_at([ends[first - 1] for first in self._kinds[1:]])

    def _sources_at(self, t: int) -> list[Source]:
        """Give the sources as they read global batch number t."""
        if not self.ends:
            return self.sources
        augment = self.augments[bisect_right(self.ends, t)]
        return [replace(source, augment=augment) for source in self.sources]

    @property
    def cache(self) -> Cache | None:
        """Cache of remote shards; None where none is used."""
        return self._cache

    def needs(self, first: int, slots: tuple[int, int]) -> Iterator[Need]:
        """List the remote shards that a rank reads, as `Numbered.needs` does."""
        return merge(*(self._needs(source, first, slots) for source in self.sources), key=lambda need: need.t)

    def _needs(self, source: Source, first: int, slots: tuple[int, int]) -> Iterator[Need]:
        reader = source.reader
        return (Need(t, last, reader.data, reader.set.shards[n]) for t, last, n in source.order.needs(first, *slots))

    def _plan(self, data: DataSet) -> dict[str, dict[str, str]]:
        """domain -> {batch field: manifest field}, with `direction` applied."""
        domains, names = data.manifest.domains, [name for name in data.manifest.fields if name in self.reads]
        swap = self.config.direction == "BtoA"
        if len(domains) == 2:
            sides = zip("ab", domains[::-1] if swap else domains, strict=True)
            return {of: {field_on(side, name): name for name in names} for side, of in sides}
        other = {"a": "b", "b": "a"} if swap and {"a", "b"} <= set(names) else {}
        return {domains[0]: {name: other.get(name, name) for name in names}}

    def _source(self, data: DataSet, domain: str, names: dict[str, str]) -> Source:
        k = self.config
        reader = Reader(data, k.split, domain, self._cache)
        shards, lanes = reader.set.shards, self._lanes(data, reader)
        clips = None
        if max(stage.frames for stage in self.stages) > 1 and reader.set.clips:
            clips = LookedUp(reader.set.clips.number, reader.set.clips.shortest, reader.rows.clip_lengths)
        orders = 2 if self.again else 1
        reader.rows.keep(orders * lanes * (k.window + reader.set.samples // len(shards)))
        stages = [StageOfOrder(Frames(self.stages[i].frames, k.frame_stride)) for i in self._kinds]
        order: Order | Balanced
        order = Order(shards.samples, self.batch, lanes, self.own_seed, domain, k.window, clips=clips, stages=stages)
        if k.balance:
            _check_classes(data)
            counts = label_counts(reader.set, reader.rows)
            order = Balanced(order, reader.classes, counts)
        one_by_one = OneByOne(self.frames, shards.samples, clips)
        fields, called = data.manifest.fields_in(domain), {of: to for to, of in names.items()}
        columns = list(fields)
        members = [(columns.index(of), replace(fields[of], frame=called.get(fields[of].frame, ""))) for of in called]
        of_fields = tuple((to, *one) for to, one in zip(names, members, strict=True))
        return Source(reader, order, of_fields, self.augments[0], one_by_one)

    def _lanes(self, data: DataSet, reader: Reader) -> int:
        """Return how many lanes an order may have: all orders of the run have equal shares of the room on a node.

        They are the same for data that is near, whose order is the same.
        """
        shards = reader.set.shards
        room = ROOM / (len(data.manifest.domains) * max(1, len(self.config.uris)))
        held = lane_bytes(sum(shards.bytes), len(shards), reader.set.samples, self.config.window, room)
        return lanes_of(self.batch, self.config.lanes, held, room)

    def read(self, t: int, start: int, stop: int) -> Batch:
        """Read slots start to stop of global batch t, images as stored values on the CPU.

        A sample that cannot be decoded is replaced by the next good one of its window, of labelled data by the next
        of those with its label, or with the label that differs least, and named in `bad`; so is a sequence, for its
        first bad frame. Storage errors are not caught: an order must not depend on the weather.

        Raises:
            DataError: no sample of a window can be used, or has its companions; an index that is missing, altered or
                does not fit.
        """
        columns = Columns()
        bad: list[Bad] = []
        keys: list[str] = []
        for source in self._sources_at(t):
            if source.companions:
                keys = self._read_related(source, source.companions, t, start, stop, columns, bad)
                continue
            epoch, rows = source.order.locate_all(t, start, stop)
            sequences = source.order.frame_rows(t, rows)
            samples = (
                self._replace(source, t, start + i, bad) if isinstance(sample, Bad) else sample
                for i, sample in enumerate(source.decode(epoch, sequences))
            )
            columns.add(collated(samples, sequences.shape, source.fields))
            keys = keys or source.reader.rows.keys(rows)
        whole = self._whole(t)
        return Batch(
            columns.fields, self.batch, start, stop, t * self.batch, self.seed, whole, tuple(keys), tuple(bad),
            roles=columns.roles, texts=columns.texts, boxes=columns.boxes,
        )  # fmt: skip

    def _read_related(
        self, source: Source, companions: Companions, t: int, start: int, stop: int, columns: Columns, bad: list[Bad]
    ) -> list[str]:
        """Add samples of slots start to stop and their companions to the columns; give the samples' keys."""
        firsts, k = [companions.locate(t, slot) for slot in range(start, stop)], companions.wanted
        wanted = [(first.row, *first.companions[:k]) for first, _ in firsts]
        read = source.decode(firsts[0][0].epoch, np.array(wanted).reshape(-1, 1))  # all that is needed, at once
        every = []
        for slot, (rows, (_, lacking)) in enumerate(zip(wanted, firsts, strict=True), start):
            samples = list(islice(read, k + 1))
            good = [sample[0] for sample in samples if not isinstance(sample, Bad)]
            if len(good) <= k:
                every.append(source.related(companions, t, slot, bad))
                continue
            key = source.reader.key(rows[0])
            bad += [Bad(source.reader.key(one.row), one.lacking, key) for one in lacking]
            every.append((key, good[0], list(zip(rows[1:], good[1:], strict=True))))
        keys, owns, mates = zip(*every, strict=True)
        columns.add(collated(([own] for own in owns), (stop - start, 1), source.fields))
        columns.add(companions_of(source, mates, companions.wanted))
        return list(keys)

    @property
    def _labelled(self) -> bool:
        """Tell whether the index says what a sample shows. Of two domains, nothing does for both."""
        one_domain = len({source.reader.domain for source in self.sources}) == 1
        return one_domain and self.sources[0].reader.rows.attributes > 0

    def _labels(self, rows: Sequence[int] | np.ndarray) -> Tensor:
        return torch.from_numpy(self.sources[0].reader.rows.labels(rows))

    def _whole(self, t: int) -> dict[str, Tensor]:
        """Give the labels that the index lists for all B slots: every rank knows them without communication."""
        if not self._labelled:
            return {}
        whole: dict[str, Tensor] = {}
        for source in self.sources:
            if source.companions:
                related = [source.companions.locate(t, slot)[0] for slot in range(self.batch)]
                whole[source.labels] = self._labels([one.row for one in related])
            else:
                whole[source.labels] = self._labels(source.order.locate_all(t, 0, self.batch)[1])
        return whole

    def _replace(self, source: Source, t: int, slot: int, bad: list[Bad]) -> list[Sample]:
        tried: list[Bad] = []
        for epoch, row in self._instead(source, t, slot):
            sample = next(source.decode(epoch, source.order.frame_rows(t, np.array([row]))))
            if not isinstance(sample, Bad):
                bad += [replace(b, key=self._named(source, b.key), instead=source.reader.key(row)) for b in tried]
                return sample
            tried.append(sample)
        raise none_usable(tried)

    def _instead(self, source: Source, t: int, slot: int) -> Iterable[tuple[int, int]]:
        """Give (epoch, row) of what a slot may read: its own sample, then the others of its window. Labels come from
        the index, where every rank reads them, so a sample is replaced by one of its label."""
        candidates = source.order.candidates(t, slot)
        if not self._labelled:
            return candidates
        rows = list(candidates)
        labels = self._labels([row for _, row in rows])
        differ = (labels != labels[0]).sum(1).tolist()
        return [rows[i] for i in sorted(range(len(rows)), key=differ.__getitem__)]

    def _named(self, source: Source, key: str) -> str:
        """Give a sample's key, with its domain where two domains may have the same."""
        return f"{key} of domain {source.reader.domain}" if len(source.reader.data.manifest.domains) > 1 else key

    def in_order(self, most: int = 0) -> int:
        """Count the samples, or sequences, that `rows` gives: as many as each domain has, at most `most` of them (0:
        all)."""
        found = []
        for source in self.sources:
            n = len(source.reader.rows)
            most_here = min(n, most) if most else n
            found.append(most_here if self.frames.number == 1 else source.one_by_one.count(most_here))
        return min(found)

    def rows(self, rows: range) -> Batch:
        """Give rows of the shard set as one batch of stored values; unreadable ones are left out and named in `bad`.

        Of sequences these are numbers of sequences, one after the other. A domain's second samples are those half of
        the set away; companions are drawn from the rows around.
        """
        read, bad = [self._decoded_rows(source, rows) for source in self.sources], list[Bad]()
        mates = self._mates_of_rows(rows, bad)
        bad += [one for of_source in read for one in of_source if isinstance(one, Bad)]
        bad += [one for one in mates if isinstance(one, Bad)]
        usable_rows = {i for i, one in enumerate(mates) if not isinstance(one, Bad)}
        for of_source in read:
            usable_rows -= {i for i, one in enumerate(of_source) if isinstance(one, Bad)}
        good = sorted(usable_rows)
        columns = Columns()
        for source, samples in zip(self.sources, read, strict=True):
            usable = (sample for i in good if not isinstance(sample := samples[i], Bad))
            columns.add(collated(usable, (len(good), self.frames.number), source.fields))
        own = self.sources[0]
        if own.companions:
            of_good = [some for i in good if not isinstance(some := mates[i], Bad)]
            columns.add(companions_of(own, of_good, own.companions.wanted))
        used = [rows[i] for i in good]
        keys = tuple(own.reader.rows.keys(self._first_rows(own, used)))
        whole = {source.labels: self._labels(self._first_rows(source, used)) for source in self.sources}
        return Batch(
            columns.fields, len(good), 0, len(good), rows.start, 0, whole if self._labelled else {}, keys, tuple(bad),
            roles=columns.roles, texts=columns.texts, boxes=columns.boxes,
        )  # fmt: skip

    def _first_rows(self, source: Source, rows: Sequence[int]) -> np.ndarray:
        """Give the rows, of sequences the first ones, that stand for these in a source."""
        if self.frames.number > 1:
            return source.one_by_one.first_rows(rows)
        n = len(source.reader.rows)
        return (np.array(rows, np.int64) + (n // 2 if source.again else 0)) % n

    def _decoded_rows(self, source: Source, rows: range) -> list[list[Sample] | Bad]:
        first = self._first_rows(source, rows)
        return list(source.decode(0, first[:, None] + self.frames.stride * np.arange(self.frames.number)))

    def _mates_of_rows(self, rows: range, bad: list[Bad]) -> list[list[Mate] | Bad]:
        """Give the companions of each row, if there are any, or why there are not."""
        source, companions = self.sources[0], self.sources[0].companions
        if companions is None:
            return [[] for _ in rows]
        found: list[list[Mate] | Bad] = []
        for row in rows:
            related = companions.around_row(row, len(source.reader.rows))
            mates = [] if related.lacking else source.mates(companions.wanted, related, bad)
            cause = related.lacking or f"{len(mates)} companions that can be used"
            found.append(mates if len(mates) == companions.wanted else Bad(source.reader.key(row), cause))
        return found


class Alternating(Numbered):
    """Read the global batches of several data sets in turn: number t is number t // M of set t mod M, each in its own
    order. With one data set they are that set's.

    An epoch ends when the longest set is through; shorter ones begin anew meanwhile.

    Args: as `Stream`, with the data sets in the order of their numbers.

    Attributes:
        stages: of the run, one at least.
        ends: the global batches at which all stages but the last end.

    Raises:
        DataError: as `Stream`, and where a class is too small for the companions that the method asks for.
    """

    def __init__(
        self,
        sets: Sequence[DataSet],
        config: DataConfig,
        image_size: Size,
        batch: int,
        seed: int,
        needs: Needs | None = None,
        stages: Sequence[Stage] = (),
    ) -> None:
        self.uris = [data.uri for data in sets]
        self.streams = [Stream(data, config, image_size, batch, seed, n, needs, stages) for n, data in enumerate(sets)]
        for stream in self.streams:
            _check_companions(stream)
        self.batch = batch
        self.batches_per_epoch = self.batches_in(0)
        self.stages = self.streams[0].stages
        self.ends = self._ends(self.stages[:-1])
        for n, stream in enumerate(self.streams):
            stream.end_at([-((n - end) // len(sets)) for end in self.ends])

    def batches_in(self, stage: int) -> int:
        """Return the global batches in an epoch of a stage."""
        return len(self.streams) * max(stream.batches_in(stage) for stream in self.streams)

    def _ends(self, stages: Sequence[Stage]) -> tuple[int, ...]:
        ends, end = [], 0
        for number, stage in enumerate(stages):
            epochs = max(1, round(stage.epochs * self.batches_in(number)))
            end += -(-stage.images // self.batch) if stage.images else epochs
            ends.append(end)
        return tuple(ends)

    @property
    def cache(self) -> Cache | None:
        """Cache of remote shards; None where none is used."""
        return next((stream.cache for stream in self.streams if stream.cache), None)

    def needs(self, first: int, slots: tuple[int, int]) -> Iterator[Need]:
        """List the remote shards that a rank reads, as `Numbered.needs` does."""
        return merge(*(self._needs(n, first, slots) for n in range(len(self.streams))), key=lambda need: need.t)

    def _needs(self, number: int, first: int, slots: tuple[int, int]) -> Iterator[Need]:
        sets, stream = len(self.streams), self.streams[number]
        if stream.cache:
            for need in stream.needs(max(0, -((number - first) // sets)), slots):
                yield replace(need, t=need.t * sets + number, last=need.last * sets + number)

    def read(self, t: int, start: int, stop: int) -> Batch:
        """Read a part of a batch as `Stream.read` does; of several sets, `bad` names the set with each sample."""
        turn, number = divmod(t, len(self.streams))
        batch = self.streams[number].read(turn, start, stop)
        if len(self.streams) == 1:
            return batch
        bad = tuple(replace(b, key=f"{b.key} of {self.uris[number]}") for b in batch.bad)
        return replace(batch, images=t * self.batch, source=number, bad=bad)


def _as_is(batch: Any) -> Any:
    return batch


class _Parts(Dataset[Batch | Exception]):
    """Give one rank's part of every global batch by number, or the error that a person has to see: torch would wrap it
    in one of its own."""

    def __init__(self, stream: Numbered, slots: tuple[int, int]) -> None:
        self.stream, self.slots = stream, slots

    def __getitem__(self, t: int) -> Batch | Exception:
        try:
            return self.stream.read(t, *self.slots)
        except (UserError, RunError) as error:
            return error


class _From(Sampler[int]):
    """Count first, first + 1, ..., and tell the stager each number that the loaders ask for."""

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


def decoded(data: bytes, field: Field) -> Tensor:
    """Decode an image to (C, H, W) of its stored dtype.

    Raises:
        ValueError: it cannot be decoded, or is not what the manifest says.
    """
    image = value_of(data, field)
    assert isinstance(image, np.ndarray)
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _check_classes(data: DataSet) -> None:
    """Check that every sample has one class. Raises ConfigError where samples have none, or several."""
    manifest = data.manifest
    if not manifest.exclusive:
        has = f"attributes {', '.join(manifest.attributes)}" if manifest.attributes else "no labels"
        fix = "Leave --balance out, or shard a folder for each class (--layout classes)."
        raise ConfigError("--balance", f"{data.uri} with {has}", "a class for each sample", fix)


def _check_companions(stream: Stream) -> None:
    """Check that classes are large enough. Raises DataError where a sample cannot have the companions that the method
    asks for."""
    source, companions = stream.sources[0], stream.sources[0].companions
    if companions is None:
        return
    counts, same = label_counts(source.reader.set, source.reader.rows), companions.relation == "same"
    for name, own in zip(source.reader.data.manifest.attributes, counts, strict=True):
        found, most = (f"{own} samples of class {name}", own - 1) if same else ("", sum(counts) - own)
        if own and most < companions.wanted:
            expected = f"{companions.wanted + same} or more: of each sample {companions.wanted} others are read with it"
            fix = "Add samples, or shard the data set without that class."
            where = f"data {source.reader.data.uri}"
            raise DataError(where, found or f"{most} samples that are not of class {name}", expected, fix)


def _check_flip(data: DataSet, config: DataConfig, reads: Collection[str]) -> None:
    """Check that samples may be mirrored. Raises ConfigError where a field that is read forbids it."""
    sided = [name for name in sorted(reads) if not data.manifest.fields[name].flip]
    if config.flip and sided:
        found = f"on, with {' and '.join(sided)}, which would then be wrong of the mirrored picture"
        raise ConfigError("--flip", found, "samples as they are", "Give --no-flip.")


def open_sets(config: DataConfig) -> list[DataSet]:
    """Open every data set of a run. Raises as `DataSet`."""
    return [DataSet(uri, config.shards_at) for uri in config.uris]


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
    resizing: Resizing = Resizing(),
    needs: Needs | None = None,
    frame_stride: int = 1,
) -> Iterator[Batch]:
    """Read every sample of a split once (or the first `most`), in the order of the index, unaugmented, in chunks of
    `size` at [-1, 1] on the CPU; `images` is the first one's row. Unreadable samples are left out and named in `bad`; a
    chunk of nothing else is passed over. For a method that reads frames these are sequences, one after the other.

    Unpaired data gives both domains side by side, up to the shorter.

    Args:
        image_size: pixels that images are resized to; 0: as they are stored.
        resizing: how; where it keeps the shape, the middle is cut out.
        side: of unpaired data, all images of that domain alone.
        needs: what is read of a sample; None: all of its fields.
        frame_stride: rows from each frame of a sequence to the next.
        rank, world: chunks are dealt to workers in turn; these are rank's.

    Raises:
        DataError: no such split.
    """
    stream = unaugmented(data, split, image_size, direction, resizing, needs, frame_stride)
    if side:
        stream.sources = [source for source in stream.sources if side in source.fields]
    n = stream.in_order(most)
    for start in range(rank * size, n, world * size):
        chunk = stream.rows(range(start, min(start + size, n)))
        if chunk.keys:
            yield chunk.to(torch.device("cpu"))


def unaugmented(
    data: DataSet,
    split: str,
    image_size: Size,
    direction: Literal["AtoB", "BtoA"],
    resizing: Resizing,
    needs: Needs | None = None,
    frame_stride: int = 1,
) -> Stream:
    """Open a stream whose `rows` are what metrics and grids see: brought to their size, and nothing else."""
    fit, resample = resizing.fit, resizing.resample
    config = DataConfig(
        split=split, direction=direction, crop="center", flip=False, cache_gb=0, fit=fit, resample=resample,
        frame_stride=frame_stride,
    )  # fmt: skip
    return Stream(data, config, image_size, 1, 0, needs=needs)
