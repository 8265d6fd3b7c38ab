"""Cut the line of an epoch into lanes, rounds and windows, and deal slots to workers.

A global batch has B slots. Slot j owns k lanes, those that are j modulo B; each *round* takes one sample from each of
them. All C = B k lanes have spans that differ by at most one. docs/stream.md has the picture.
"""

from __future__ import annotations

from i2i_core.errors import ResourceError

LANES = 64
"""Lanes of a global batch, or a few more, where there is enough to read: as many samples come from far apart."""
ROOM = 20_000_000_000
"""Bytes of remote shards that the lanes of a run may ask of a node: what a cache of the default size holds. It does not
follow `--cache-gb`, which may differ from launch to launch, as the order may not."""


def lanes_of(batch: int, wanted: int = 0, lane_bytes: float = 0, room: float = ROOM) -> int:
    """Return how many lanes a global batch may have: a multiple of the batch.

    Args:
        batch: B.
        wanted: `--lanes`, which takes the place of the rule; 0: about `LANES`, as far as `room` allows.
        lane_bytes: bytes of the shards that one lane reads from at a time.
        room: bytes that all lanes together may ask for; each slot has one lane, whatever it holds.

    Raises:
        ResourceError: the wanted number is no multiple of the batch.
    """
    if wanted % batch:
        near = sorted({max(1, wanted // batch) * batch, -(-wanted // batch) * batch})
        fix = f"Give --lanes {' or --lanes '.join(map(str, near))}, or leave --lanes out."
        raise ResourceError("--lanes", str(wanted), f"a multiple of the batch, {batch}", fix)
    if wanted:
        return wanted
    per_slot = -(-LANES // batch)
    if lane_bytes:
        per_slot = min(per_slot, int(room // (lane_bytes * batch)))
    return batch * max(1, per_slot)


def lane_bytes(shard_bytes: int, shards: int, samples: int, window: int, room: float = ROOM) -> float:
    """Estimate the bytes of the shards that a lane reads from at a time: its window's, and those at its ends.

    Args:
        shard_bytes: of all shards together.
        shards: how many they are.
        samples: how many samples they hold.
        window: samples that a lane shuffles among.
        room: bytes that a run may ask of a node; a data set that fits whole asks for nothing that counts.
    """
    return 0 if shard_bytes <= room else shard_bytes * min(1, window / samples + 2 / shards)


def slots_of(batch: int, rank: int, world: int) -> tuple[int, int]:
    """Return a worker's first slot and the one after its last; each worker gets neighbouring slots, as evenly as
    possible.

    Raises:
        ResourceError: more workers than slots.
    """
    if world > batch:
        found, fix = f"{world} workers for a global batch of {batch}", f"Use --workers {batch}, or --batch {world}."
        raise ResourceError("--workers", found, f"at most {batch} workers, one for each sample of it", fix)
    return rank * batch // world, (rank + 1) * batch // world


class Cut:
    """Cut the line of an epoch into lanes, rounds and windows, the same way for all epochs of one length.

    Args:
        units: how many units an epoch counts; fewer than B are repeated until one batch is full.
        batch: B.
        lanes: the largest number of lanes, a multiple of B.
        window: units that a lane shuffles among.

    Attributes:
        laps: how often the units are repeated in an epoch; 1 unless there are fewer than B.
        batches: global batches in an epoch, which is also how many samples each slot reads.
        per_slot: k, the lanes of a slot: no more than it takes for each lane to be a single window, as more lanes would
            not shuffle better.
        span: units of a lane; the first `longer` lanes of every slot have one more.
        windows: how many windows a lane has; their lengths differ by at most one.
    """

    def __init__(self, units: int, batch: int, lanes: int, window: int) -> None:
        self.batch, self.laps = batch, -(-batch // units)
        self.batches = self.laps * units // batch
        self.per_slot = min(lanes // batch, -(-self.batches // window))
        self.span, self.longer = divmod(self.batches, self.per_slot)
        self.rounds = self.span + (self.longer > 0)
        self.windows = -(-self.rounds // window)

    def span_of(self, lane: int) -> int:
        """Return how many units a lane has."""
        return self.span + (lane // self.batch < self.longer)

    def begin_of(self, lane: int) -> int:
        """Return the place on the line where a lane begins: every slot's first lanes stand before every slot's next."""
        before, slot = divmod(lane, self.batch)
        return (before * self.span + min(before, self.longer)) * self.batch + slot * self.span_of(lane)

    def turns(self, round: int) -> int:
        """Return how many of a slot's lanes a round visits: all; in an uneven last round the longer ones alone."""
        return self.per_slot if round < self.span else self.longer

    def window_of(self, round: int) -> int:
        """Return the window, the same in all lanes, that a round falls in."""
        return ((round + 1) * self.windows - 1) // self.rounds

    def edge(self, window: int) -> int:
        """Return the round that a window begins with."""
        return window * self.rounds // self.windows

    def stretch(self, lane: int, window: int) -> tuple[int, int]:
        """Return where a window of a lane begins and ends on the line."""
        begin = self.begin_of(lane)
        return begin + self.edge(window), begin + min(self.edge(window + 1), self.span_of(lane))
