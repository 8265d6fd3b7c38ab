"""Hold one rank's part of a global batch, and the facts that every rank knows of the whole batch.

This is pure torch: networks, methods and the training step import it without Ray or webdataset.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from i2i_core.fields import IDS, Role
from i2i_core.randomness import seed_from

ON_HOST = 2**16
"""Numbers in the largest draw that is made on the host: more would keep a fast device waiting."""


@dataclass(frozen=True)
class Bad:
    """Name a sample that could not be used, and the one that took its place: from the same window, or for a companion
    from the same shards."""

    key: str
    cause: str
    instead: str = ""
    """The sample that took its place."""


@dataclass(frozen=True)
class Batch:
    """Hold slots `start` to `stop` of global batch number `images // size`.

    Random numbers are a function of (seed, images, name). They are drawn for the global batch and then cut to this
    part, so a draw does not depend on how many ranks or micro-batches share the batch.
    """

    fields: dict[str, Tensor]
    """Fields that are tensors: images, maps and ids (n, C, H, W), vectors (n, ...); of sequences of T frames
    (n, T, ...), of K companions (n, K, ...), with attributes `companions.labels` (n, K, A). On the host as stored;
    `to` moves them to a device as their roles have it: images in [-1, 1], ids as int64, other numbers as they are."""
    size: int
    """B, the global batch."""
    start: int
    stop: int
    images: int
    """Samples of the run before this batch."""
    seed: int
    whole: dict[str, Tensor] = field(default_factory=dict)
    """Small tensors that every rank has for all B slots, in slot order: `labels` and `again.labels` (B, A)."""
    keys: tuple[str, ...] = ()
    bad: tuple[Bad, ...] = ()
    source: int = 0
    """The number of the data set that all samples come from. `labels` are of that set's attributes."""
    roles: dict[str, Role] = field(default_factory=dict)
    """The roles of those `fields` that are no images."""
    texts: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """The captions of each sample of this part; of sequences or companions, a tuple of those of each."""
    boxes: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """The boxes of each sample of this part, (N, 5): left, top, right, bottom, class; of sequences or
    companions, a tuple of those of each."""

    summed: Callable[[Tensor], Tensor] | None = field(default=None, compare=False)
    """The function that sums a tensor over the parts of all ranks, with gradients. None where there is one part, and in
    a micro-batch, whose other parts do not run at the same time."""

    def mean(self, x: Tensor) -> Tensor:
        """Take the mean of x (n, ...) over the global batch, (...): the same on every rank, with gradients to all.

        Objectives that are not linear in a mean over the batch need it. Any other loss is a mean over samples, whose
        parts add up without it. A method that calls it sets `couples = True`.

        Raises:
            ValueError: this is a micro-batch, whose other parts do not run at the same time.
        """
        return self._over_parts(x.sum(0) / self.size, "a mean over")

    def gathered(self, x: Tensor) -> Tensor:
        """Gather x (n, ...) of every part to that of the global batch, (B, ...), in the order of its slots.

        It is the same on every rank, with gradients to all, and needs `couples = True` as `mean` does.

        Raises:
            ValueError: this is a micro-batch, whose other parts do not run at the same time.
        """
        before, after = x.new_zeros(self.start, *x.shape[1:]), x.new_zeros(self.size - self.stop, *x.shape[1:])
        return self._over_parts(torch.cat([before, x, after]), "all of")

    def _over_parts(self, of_part: Tensor, what: str) -> Tensor:
        """Sum what each part has."""
        if self.stop - self.start == self.size:
            return of_part
        if self.summed is None:
            raise ValueError(f"{what} {self.size} samples, of which this part has {self.stop - self.start}")
        return self.summed(of_part)

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor field of this part, (n, ...), or a fact of the whole batch cut to this part."""
        return self.fields[name] if name in self.fields else self.part(self.whole[name])

    @property
    def weight(self) -> float:
        """This part's share n / B in the mean over the global batch."""
        return (self.stop - self.start) / self.size

    @property
    def like(self) -> Tensor:
        """A tensor whose device and dtype draws have."""
        floats = (x for name, x in self.fields.items() if self.roles.get(name) not in IDS)
        found = next(floats, None)
        if found is None:
            devices = (x.device for x in (*self.fields.values(), *self.whole.values()))
            return torch.empty(0, device=next(devices, torch.device("cpu")))
        return found

    @property
    def pictures(self) -> list[Tensor]:
        """List the fields that are images."""
        return [x for name, x in self.fields.items() if name not in self.roles]

    def part(self, whole: Tensor) -> Tensor:
        """Cut a (B, ...) tensor to this part's slots: (n, ...)."""
        return whole[self.start : self.stop]

    def _generator(self, name: str, device: torch.device | str = "cpu") -> torch.Generator:
        return torch.Generator(device).manual_seed(seed_from(self.seed, self.images, name))

    def _placed(self, x: Tensor, like: Tensor) -> Tensor:
        """Copy x to the device and dtype of `like`, without stopping the host."""
        return (x.pin_memory() if like.is_cuda else x).to(like, non_blocking=True)

    def drawn(self, key: tuple[Hashable, ...], make: Callable[[Batch], Tensor]) -> Tensor:
        """Return what `make` draws for this part. Every draw of an update goes through this method, so that a recorded
        update can replace its draws.

        Args:
            key: identifies the draw among all draws of this batch in the update.
            make: draws for a batch.
        """
        return make(self)

    def draw(self, name: str, *shape: int, kind: Literal["normal", "uniform"] = "normal") -> Tensor:
        """Draw noise for this part, (n, *shape), from N(0, 1) or U[0, 1). The same name gives the same noise.

        Draws are made on the host and are the same for every device. Draws of more than ON_HOST numbers are made on the
        device, and are the same for every device of one kind.
        """
        return self.drawn((name, *shape, kind), lambda batch: batch._draw(name, shape, kind))

    def _draw(self, name: str, shape: tuple[int, ...], kind: Literal["normal", "uniform"]) -> Tensor:
        make = torch.randn if kind == "normal" else torch.rand
        device = "cpu" if self.size * math.prod(shape) <= ON_HOST else self.like.device
        whole = make(self.size, *shape, generator=self._generator(name, device), device=device)
        return self._placed(self.part(whole), self.like)

    def permutation(self, name: str) -> Tensor:
        """Draw a permutation of all B slots, (B,), the same on every rank."""
        return self.drawn((name, "permutation"), lambda batch: batch._permutation(name))

    def _permutation(self, name: str) -> Tensor:
        order = torch.randperm(self.size, generator=self._generator(name))
        return self._placed(order, torch.empty(0, dtype=order.dtype, device=self.like.device))

    def split(self, most: int) -> list[Batch]:
        """Split this part into consecutive micro-batches of at most `most` samples; 0 gives one."""
        n = self.stop - self.start
        step = most or n
        parts = [self._cut(a, min(a + step, n)) for a in range(0, n, step)]
        return parts if len(parts) == 1 else [replace(part, summed=None) for part in parts]

    def _cut(self, a: int, b: int) -> Batch:
        return replace(
            self,
            fields={k: v[a:b] for k, v in self.fields.items()},
            texts={k: v[a:b] for k, v in self.texts.items()},
            boxes={k: v[a:b] for k, v in self.boxes.items()},
            start=self.start + a,
            stop=self.start + b,
            keys=self.keys[a:b],
            bad=self.bad if a == 0 else (),
        )

    def pin_memory(self) -> Batch:
        """Copy the tensors to page-locked memory. torch's DataLoader calls this."""
        return self._map(lambda v: v.pin_memory())

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Batch:
        """Copy the batch to a device: images scaled to [-1, 1] and other fields as `dtype`, ids as int64."""
        moved = self._map(lambda v: v.to(device, non_blocking=True))
        return replace(
            moved, fields={k: as_used(v, self.roles.get(k, "image"), dtype) for k, v in moved.fields.items()}
        )

    def laid_out(self, order: torch.memory_format) -> Batch:
        """Lay images and maps, (n, C, H, W), out in memory in this format."""
        fields = {k: v.contiguous(memory_format=order) if v.ndim == 4 else v for k, v in self.fields.items()}
        return replace(self, fields=fields)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            fields={k: function(v) for k, v in self.fields.items()},
            boxes={k: _each(v, function) for k, v in self.boxes.items()},
            whole={k: function(v) for k, v in self.whole.items()},
        )


def _each(boxes: tuple[Any, ...], function: Callable[[Tensor], Tensor]) -> tuple[Any, ...]:
    return tuple(_each(one, function) if isinstance(one, tuple) else function(one) for one in boxes)


def as_used(x: Tensor, role: Role, dtype: torch.dtype = torch.float32) -> Tensor:
    """Convert a field's stored values to what networks use, by the field's role."""
    if role == "image":
        return scaled(x, dtype)
    return x.long() if role in IDS else x.to(dtype)


def scaled(image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scale stored values to [-1, 1]: uint8 and uint16 by their range. Floats stay as they are."""
    if image.dtype == torch.uint8:
        return image.to(dtype).div_(127.5).sub_(1)
    if image.dtype == torch.uint16:
        return image.to(dtype).div_(32767.5).sub_(1)
    return image.to(dtype)


def join(batches: Iterable[Batch]) -> Batch:
    """Join consecutive parts of one global batch to one part; the inverse of `split`."""
    parts = list(batches)
    return replace(
        parts[0],
        fields={k: torch.cat([p.fields[k] for p in parts]) for k in parts[0].fields},
        texts={k: tuple(text for p in parts for text in p.texts[k]) for k in parts[0].texts},
        boxes={k: tuple(some for p in parts for some in p.boxes[k]) for k in parts[0].boxes},
        stop=parts[-1].stop,
        keys=tuple(k for p in parts for k in p.keys),
        bad=tuple(b for p in parts for b in p.bad),
    )
