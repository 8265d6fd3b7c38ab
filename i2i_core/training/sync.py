"""Exchange values between ranks: summed gradients, averaged running statistics, gathered objects."""

from __future__ import annotations

import pickle
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
import torch.distributed as dist

# The functions of this module take the process group of the moment they are defined as a default argument, and keep it
# alive for good. An optimiser imports it; so it is imported here, before there is any group. A group that outlives
# `destroy_process_group` keeps gloo's threads, and one that waits for Python while the interpreter is being finalised
# aborts the process ("terminate called without an active exception").
import torch.distributed.nn.functional
from torch import Tensor, nn

from i2i_core.training.buffers import measured

BUCKET_BYTES = 25 * 2**20
PIECE_BYTES = 64 * 2**20
"""The largest piece of a value that rank 0 sends at once."""


def _default() -> None:
    """Name the process group that all workers have joined, as torch.distributed does."""


@dataclass(frozen=True)
class World:
    """Identify this rank in a world of `size` ranks, and run collectives over them. One rank needs no process group."""

    rank: int = 0
    size: int = 1
    group: Callable[[], dist.ProcessGroup | None] = field(default=_default, compare=False)
    """The function that returns the process group of the sums. torch.distributed alone keeps the group alive."""

    def apart(self) -> World:
        """Return the same ranks in a process group of their own, whose sums keep an order of their own and wait for no
        sum of another group. All ranks call this together."""
        if self.size == 1:
            return self
        return replace(self, group=weakref.ref(cast(dist.ProcessGroup, dist.new_group())))

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def sum_(self, x: Tensor) -> Tensor:
        """Sum x over ranks, in place."""
        if self.size > 1:
            dist.all_reduce(x, group=self.group())
        return x

    def summed(self, x: Tensor) -> Tensor:
        """Return x summed over ranks, with gradients: each rank's x gets the sum of all ranks' gradients."""
        if self.size == 1:
            return x
        total: Tensor = _Sum.apply(x, self)
        return total

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's value, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def to_leader(self, value: Any) -> list[Any] | None:
        """Return every rank's value, by rank, on rank 0, and None on the others."""
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.leads else None
        dist.gather_object(value, values)
        return values

    def from_leader(self, value: Any) -> Any:
        """Return rank 0's value on every rank. Large values go in pieces, which may pass through a GPU's memory."""
        if self.size == 1:
            return value
        data = pickle.dumps(value) if self.leads else b""
        length, whole = self._broadcast(len(data)), bytearray()
        for start in range(0, length, PIECE_BYTES):
            whole += self._broadcast(data[start : start + PIECE_BYTES])
        return value if self.leads else pickle.loads(whole)

    def _broadcast(self, value: Any) -> Any:
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]


class _Sum(torch.autograd.Function):
    """Sum over ranks, differentiable to any order: the gradient of a sum is a sum too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, world: World) -> Tensor:
        ctx.world = world
        return world.sum_(x.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradient, ctx.world), None


@contextmanager
def process_group(rank: int, size: int, meet: str) -> Iterator[World]:
    """Join `size` processes of one machine in a gloo process group, and end it in order.

    All ranks leave together, and no thread of the group is left when the block ends. Where the block raises, the
    others may be in the middle of a collective that will never end: the group is left as it is, and the process is
    expected to exit. (Under Ray Train the group is Ray's, which kills its workers and finalises no interpreter.)

    Args:
        meet: a file that does not exist yet, by which the processes find each other.
    """
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=size)
    yield World(rank, size)
    dist.barrier()
    dist.destroy_process_group()


class GradientSum:
    """All-reduce one player's gradients over ranks, in buckets that are sent while backward still runs.

    `listen` announces the last backward of a move. A bucket is sent once all its gradients have arrived and the buckets
    before it are sent, so that all ranks send in the same order. `finish` waits for every bucket and sets the
    parameters' `.grad`. Each rank's loss must be weighted by the rank's share of the global batch: the sum is then the
    gradient of the mean over the global batch. A single rank sends nothing; `finish` only fills in missing gradients.

    A parameter without a gradient counts as one with a zero gradient, in a world of any size. A summed gradient has
    the strides of its parameter, since a fused optimiser goes through both as they lie in memory.

    Args:
        parameters: one player's, each dense in memory, in any order of dimensions.
        world: this rank among its peers.
        bucket_bytes: the most bytes in a bucket; a gradient larger than that has a bucket of its own.
        dtype: the type that gradients are sent in; None for their own.

    Attributes:
        wishes: after `finish`, the sum of every rank's `wish`, a scalar on the device. It is sent as one more number of
            the first bucket, and so needs no collective of its own.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        world: World,
        bucket_bytes: int = BUCKET_BYTES,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.parameters, self.world, self.dtype = list(parameters), world, dtype
        self.buckets = _buckets(self.parameters, bucket_bytes) if world.size > 1 else []
        self.bucket_of = {p: i for i, bucket in enumerate(self.buckets) for p in bucket}
        self.listening = False
        if world.size > 1:
            for p in self.parameters:
                p.register_post_accumulate_grad_hook(self._arrived)

    def listen(self, poison: Tensor, wish: float) -> None:
        """Send buckets as they fill from now on: the next backward is the last of this move.

        Args:
            poison: a scalar, 0 where this rank's loss is finite and NaN where it is not. It is added to one gradient,
                so that every rank sees a NaN.
            wish: a small whole number, summed over ranks.
        """
        self.poison = poison
        first = self.parameters[0]
        self.wishes = torch.full((), wish, dtype=first.dtype, device=first.device)  # a copy would stop the host
        self.missing = [len(bucket) for bucket in self.buckets]
        self.flying: list[tuple[Tensor, Any]] = []
        self.listening = True

    def _arrived(self, parameter: nn.Parameter) -> None:
        if self.listening:
            self.missing[self.bucket_of[parameter]] -= 1
            while len(self.flying) < len(self.buckets) and not self.missing[len(self.flying)]:
                self._send()

    def _send(self) -> None:
        bucket = self.buckets[len(self.flying)]  # always in the same order, on every worker
        parts = [_flat(p) for p in bucket]
        if not self.flying:
            parts.append(self.wishes.to(parts[0].dtype)[None])
        flat = torch.cat(parts) if self.dtype is None else torch.cat(parts).to(self.dtype)
        if not self.flying:
            flat[0] += self.poison
        self.flying.append((flat, dist.all_reduce(flat, async_op=True)))

    def finish(self) -> list[Tensor]:
        """Wait for every bucket, and return the summed gradients, which are then the parameters' `.grad`."""
        self.listening = False
        while self.world.size > 1 and len(self.flying) < len(self.buckets):
            self._send()
        if self.world.size > 1:
            for bucket, (flat, work) in zip(self.buckets, self.flying, strict=True):
                work.wait()
                sizes = [p.numel() for p in bucket]
                for p, gradient in zip(bucket, flat[: sum(sizes)].to(bucket[0].dtype).split(sizes), strict=True):
                    p.grad = gradient.as_strided(p.size(), p.stride())
            self.wishes = self.flying[0][0][-1].to(self.parameters[0].dtype)
            self.flying = []
        for p in self.parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        return [p.grad for p in self.parameters if p.grad is not None]


def _flat(p: nn.Parameter) -> Tensor:
    """Return a parameter's gradient, (n,), in the order in which the parameter lies in memory; zeros for none."""
    gradient = torch.zeros_like(p) if p.grad is None else p.grad
    if gradient.stride() != p.stride():
        gradient = torch.empty_like(p).copy_(gradient)
    return gradient.as_strided((p.numel(),), (1,))


def _buckets(parameters: list[nn.Parameter], most: int) -> list[list[nn.Parameter]]:
    """Group parameters in the order in which their gradients come, last first, cut at `most` bytes and by dtype."""
    buckets: list[list[nn.Parameter]] = []
    room = 0
    for p in reversed(parameters):
        size = p.numel() * p.element_size()
        if not buckets or size > room or buckets[-1][0].dtype != p.dtype:
            buckets.append([])
            room = most
        buckets[-1].append(p)
        room -= size
    return buckets


def average_buffers(
    networks: nn.Module, world: World, weight: float, alike: Collection[nn.Module] = frozenset()
) -> None:
    """Average running statistics over ranks in place, each weighted by its rank's share of the batch.

    Args:
        weight: this rank's share.
        alike: modules whose buffers are the same on all ranks, besides those that `measured` leaves out.
    """
    buffers = measured(networks, alike) if world.size > 1 else []
    if not buffers:
        return
    flat = world.sum_(torch.cat([b.reshape(-1) for b in buffers]) * weight)
    for b, mean in zip(buffers, flat.split([b.numel() for b in buffers]), strict=True):
        b.copy_(mean.view_as(b))
