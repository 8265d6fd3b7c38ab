"""Record a whole update once as a CUDA graph, and launch it as one instead of a kernel at a time.

At a batch of one, most of an update is the host's launching of kernels. A recorded update goes over the same memory
each time, so everything that differs between updates is first copied into fixed buffers: the fields of the batches, the
draws, the learning rates. It runs no Python, so whatever an update reads of the progress must be in the method's
`phase`.
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
"""Updates of each kind that run eagerly before one is recorded: they allocate what lasts (optimisers' moments,
histories), and let libraries choose their kernels."""

Key = tuple[Hashable, ...]
Make = Callable[[Batch], Tensor]


class Recorder(Protocol):
    """Record the work of a device, and repeat it."""

    def record(self, work: Callable[[], None]) -> None:
        """Do the work, and record it."""

    def again(self) -> None:
        """Repeat the recorded work on the same memory."""


class CudaGraph:
    """Record work as a CUDA graph, in the current stream."""

    def __init__(self) -> None:
        self.graph = torch.cuda.CUDAGraph()

    def record(self, work: Callable[[], None]) -> None:
        """Record the work, and then launch it: recording alone does nothing."""
        # Other threads (the one that reads ahead) allocate and copy meanwhile: none of the recording's business.
        with torch.cuda.graph(self.graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
            work()
        self.graph.replay()

    def again(self) -> None:
        """Launch the recorded work."""
        self.graph.replay()


@dataclass
class Draws:
    """Note the random draws of one update, and draw them again into fixed buffers for every later one.

    Keys begin with the number of the batch in the update, and the first and last slot of the part that draws.
    """

    noted: dict[Key, Make] = field(default_factory=dict)
    buffers: dict[Key, Tensor] = field(default_factory=dict)

    def note(self, key: Key, make: Make, batch: Batch) -> Tensor:
        """Draw, and note the function that draws."""
        self.noted[key] = make
        drawn = make(batch)
        self.buffers[key] = drawn.clone()
        return drawn

    def fill(self, parts: dict[tuple[int, int, int], Batch]) -> None:
        """Draw everything again for other batches.

        Args:
            parts: the parts of the batches, by number of the batch and first and last slot.
        """
        for key, make in self.noted.items():
            self.buffers[key].copy_(make(parts[key[:3]]), non_blocking=True)  # type: ignore[index]


@dataclass(frozen=True)
class Noted(Batch):
    """A batch that notes its draws; in a recorded update (`filled`), one that returns the draws filled in."""

    number: int = 0
    draws: Draws = field(default_factory=Draws, compare=False)
    filled: bool = False

    def drawn(self, key: Key, make: Make) -> Tensor:
        """Return what is drawn under a key, which holds everything that `make` depends on besides the batch."""
        key = (self.number, self.start, self.stop, *key)
        if not self.filled:
            return self.draws.note(key, make, self)
        return self.draws.buffers[key]


class Read:
    """Stand in for a progress, and note which of its attributes are read."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._names = progress, set[str]()

    def __getattr__(self, name: str) -> Any:
        self._names.add(name)
        return getattr(self._progress, name)

    @property
    def moving(self) -> set[str]:
        """The attributes that were read and differ in every update."""
        return self._names & {"images", "moves"}


@dataclass(frozen=True)
class Planned:
    """Describe a move of an update before it is recorded.

    Attributes:
        player: the player that moves.
        past: images between the update's first batch and the move's.
        names: the names of its terms.
    """

    player: str
    past: int
    names: tuple[str, ...]

    @property
    def summed(self) -> tuple[str, ...]:
        """The names of what is added up over moves."""
        return (*self.names, "grad_norm")


@dataclass(frozen=True)
class MadeMove(Planned):
    """Describe a move of a recorded update.

    Attributes:
        values: whether the move was bad, its gradient's norm and its terms, as `Judged` has them; every launch fills
            them.
        sums: the sums that its terms are added to.
    """

    values: Values
    sums: Any


@dataclass
class Recording:
    """Hold an update that can be launched, with the fixed memory that it reads.

    Attributes:
        batches: the batches that it reads, in memory of their own.
        draws: its random draws.
        rates: the learning rates of its moves, (moves,).
        plan: its moves, in order.
        recorder: records and repeats it.
        moves: its moves with the values that every launch fills; empty until it is recorded.
    """

    batches: list[Noted]
    draws: Draws
    rates: Tensor
    plan: list[Planned]
    recorder: Recorder
    moves: list[MadeMove] = field(default_factory=list)

    def fits(self, batches: list[Batch]) -> bool:
        """Return whether batches have the recorded shapes."""
        return [signature(batch) for batch in batches] == [signature(batch) for batch in self.batches]

    def fill(self, batches: list[Batch], cut: Callable[[Batch], list[Batch]]) -> None:
        """Copy batches, and the draws for them, into the recording's memory.

        Args:
            batches: the batches of the next launch.
            cut: splits a batch into micro-batches.
        """
        parts: dict[tuple[int, int, int], Batch] = {}
        for number, (own, batch) in enumerate(zip(self.batches, batches, strict=True)):
            for kept, given in ((own.fields, batch.fields), (own.whole, batch.whole)):
                for name, tensor in kept.items():
                    tensor.copy_(given[name], non_blocking=True)
            parts |= {(number, part.start, part.stop): part for part in (batch, *cut(batch))}
        self.draws.fill(parts)

    def at(self, batches: list[Batch]) -> list[Batch]:
        """Return the recording's batches, at the positions of others in the run."""
        return [replace(own, images=batch.images) for own, batch in zip(self.batches, batches, strict=True)]


def signature(batch: Batch) -> Key:
    """Return what two batches must have in common for one recording to serve both."""
    tensors = [(name, tuple(x.shape), x.dtype, x.stride()) for name, x in (*batch.fields.items(), *batch.whole.items())]
    return (batch.size, batch.start, batch.stop, batch.source, bool(batch.texts or batch.boxes), *tensors)


def noted(batches: Iterator[Batch], draws: Draws, taken: list[Batch]) -> Iterator[Batch]:
    """Yield batches that note their draws, and append each to `taken`."""
    for number, batch in enumerate(batches):
        taken.append(batch)
        yield _as_noted(batch, number, draws, filled=False)


def kept(batches: list[Batch], draws: Draws) -> list[Noted]:
    """Copy batches into memory that stays, as batches whose draws are filled in."""
    copies = (batch._map(lambda x: x.clone()) for batch in batches)
    return [_as_noted(batch, number, draws, filled=True) for number, batch in enumerate(copies)]


def _as_noted(batch: Batch, number: int, draws: Draws, filled: bool) -> Noted:
    values = {f.name: getattr(batch, f.name) for f in fields(Batch)}
    return Noted(**values, number=number, draws=draws, filled=filled)


def refusal(method: Method[Any], batches: list[Batch], read: Read) -> str:
    """Word why an update cannot be recorded; "" where it can."""
    if any(batch.texts or batch.boxes for batch in batches):
        return "its batches hold what is no tensor"
    if read.moving and type(method).phase is Method.phase:
        return f"its update reads progress.{' and '.join(sorted(read.moving))}, and the method has no `phase`"
    return ""
