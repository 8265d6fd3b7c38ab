"""Record a whole update once and launch it again as one, instead of a kernel at a time (CUDA graphs).

At a batch of one, most of an update is the host's launching of kernels. A recorded update is launched at once: it goes
over the same memory again, so everything that differs from update to update lies in buffers that are filled before:
the fields of its batches, its draws, its learning rates. It runs no Python, so what an update reads of the progress
must be in the method's `phase`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.methods.base import Method, Progress
from i2i_core.training.finite import Values

EAGER = 3
"""Updates of each kind that are made as they are written before one is recorded: they make what lasts (optimisers'
moments, histories), and let libraries choose their kernels."""

Key = tuple[Hashable, ...]
Make = Callable[[Batch], Tensor]


class Recorder(Protocol):
    """Records what a device is told to do."""

    def record(self, work: Callable[[], None]) -> None:
        """Do the work, and record it."""

    def again(self) -> None:
        """Do the same on the same memory."""


class CudaGraph:
    """Records as a CUDA graph, in the stream that is current."""

    def __init__(self) -> None:
        self.graph = torch.cuda.CUDAGraph()

    def record(self, work: Callable[[], None]) -> None:
        """Record the work, which does not do it, and launch it."""
        # Other threads (the one that reads ahead) allocate and copy meanwhile: none of the recording's business.
        with torch.cuda.graph(self.graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
            work()
        self.graph.replay()

    def again(self) -> None:
        """Launch it."""
        self.graph.replay()


@dataclass
class Draws:
    """What an update draws: noted in one update, and filled in again for every other.

    Keys begin with the number of the batch in the update, and the first and last slot of the part that draws.
    """

    noted: dict[Key, Make] = field(default_factory=dict)
    buffers: dict[Key, Tensor] = field(default_factory=dict)

    def note(self, key: Key, make: Make, batch: Batch) -> Tensor:
        """Draw, and note how that is done."""
        self.noted[key] = make
        drawn = make(batch)
        self.buffers[key] = drawn.clone()
        return drawn

    def fill(self, parts: dict[tuple[int, int, int], Batch]) -> None:
        """Draw everything for other batches.

        Args:
            parts: by number of the batch and first and last slot.
        """
        for key, make in self.noted.items():
            self.buffers[key].copy_(make(parts[key[:3]]), non_blocking=True)  # type: ignore[index]


@dataclass(frozen=True)
class Noted(Batch):
    """A batch of an update whose draws are noted; of a recorded one, those that were filled in."""

    number: int = 0
    draws: Draws = field(default_factory=Draws, compare=False)
    filled: bool = False

    def drawn(self, key: Key, make: Make) -> Tensor:
        """Give what is drawn under a key that says all that `make` goes by, besides the batch."""
        key = (self.number, self.start, self.stop, *key)
        if not self.filled:
            return self.draws.note(key, make, self)
        return self.draws.buffers[key]


class Read:
    """A progress that notes what of it is read."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._names = progress, set[str]()

    def __getattr__(self, name: str) -> Any:
        self._names.add(name)
        return getattr(self._progress, name)

    @property
    def moving(self) -> set[str]:
        """Name what was read that is another in every update."""
        return self._names & {"images", "moves"}


@dataclass(frozen=True)
class Planned:
    """A move that an update makes.

    Attributes:
        player: who moves.
        past: images between the first batch of the update and the move's.
        names: of its terms.
    """

    player: str
    past: int
    names: tuple[str, ...]

    @property
    def summed(self) -> tuple[str, ...]:
        """Name what is added up of it."""
        return (*self.names, "grad_norm")


@dataclass(frozen=True)
class MadeMove(Planned):
    """A move of a recorded update.

    Attributes:
        values: whether it was bad, its gradient's norm, and its terms, as `Judged` has them: filled by every launch.
        sums: what its terms are added to.
    """

    values: Values
    sums: Any


@dataclass
class Recording:
    """An update that can be launched.

    Attributes:
        batches: those that it reads, in memory of its own.
        draws: what it draws.
        rates: learning rates of its moves, (moves,).
        plan: the moves that it makes, in order.
        moves: the same with what every launch fills; empty until it is recorded.
    """

    batches: list[Noted]
    draws: Draws
    rates: Tensor
    plan: list[Planned]
    recorder: Recorder
    moves: list[MadeMove] = field(default_factory=list)

    def fits(self, batches: list[Batch]) -> bool:
        """Tell if batches have the shapes that were recorded."""
        return [signature(batch) for batch in batches] == [signature(batch) for batch in self.batches]

    def fill(self, batches: list[Batch], cut: Callable[[Batch], list[Batch]]) -> None:
        """Bring batches, and what is drawn for them, into the recording's memory.

        Args:
            cut: gives the parts of a batch that go through one after the other.
        """
        parts: dict[tuple[int, int, int], Batch] = {}
        for number, (own, batch) in enumerate(zip(self.batches, batches, strict=True)):
            for kept, given in ((own.fields, batch.fields), (own.whole, batch.whole)):
                for name, tensor in kept.items():
                    tensor.copy_(given[name], non_blocking=True)
            parts |= {(number, part.start, part.stop): part for part in (batch, *cut(batch))}
        self.draws.fill(parts)

    def at(self, batches: list[Batch]) -> list[Batch]:
        """Give the batches that it reads, at the place of others in the run."""
        return [replace(own, images=batch.images) for own, batch in zip(self.batches, batches, strict=True)]


def signature(batch: Batch) -> Key:
    """Say what two batches must have alike for one recording to serve both."""
    tensors = [(name, tuple(x.shape), x.dtype, x.stride()) for name, x in (*batch.fields.items(), *batch.whole.items())]
    return (batch.size, batch.start, batch.stop, batch.source, bool(batch.texts or batch.boxes), *tensors)


def noted(batches: Iterator[Batch], draws: Draws, taken: list[Batch]) -> Iterator[Batch]:
    """Give batches whose draws are noted, and list those that were taken."""
    for number, batch in enumerate(batches):
        taken.append(batch)
        yield _as_noted(batch, number, draws, filled=False)


def kept(batches: list[Batch], draws: Draws) -> list[Noted]:
    """Copy batches into memory that stays, with draws that are filled in."""
    copies = (batch._map(lambda x: x.clone()) for batch in batches)
    return [_as_noted(batch, number, draws, filled=True) for number, batch in enumerate(copies)]


def _as_noted(batch: Batch, number: int, draws: Draws, filled: bool) -> Noted:
    values = {f.name: getattr(batch, f.name) for f in fields(Batch)}
    return Noted(**values, number=number, draws=draws, filled=filled)


def refusal(method: Method[Any], batches: list[Batch], read: Read) -> str:
    """Say why an update cannot be recorded; empty: it can."""
    if any(batch.texts or batch.boxes for batch in batches):
        return "its batches hold what is no tensor"
    if read.moving and type(method).phase is Method.phase:
        return f"its update reads progress.{' and '.join(sorted(read.moving))}, and the method has no `phase`"
    return ""
