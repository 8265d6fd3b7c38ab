"""Histories of made images, which keep a discriminator from forgetting (SimGAN sec. 2.3; CycleGAN sec. 4).

A history is held by slot of the global batch: slot s of B has its own share of the capacity, K / B images, the first
K mod B slots one more. What happens in a slot depends on that slot's images and on draws made for the global batch,
so histories are the same for any number of workers: a worker holds the images of its own slots, and when the number
of workers changes, images move with their slots. With a batch of one this is the papers' pool. Where K < B, the last
slots have no history and always give the new image.

Images stay on the device; decisions are tensors there too, and no host waits for them.

Shapes: n slots of this part of the batch, S slots this worker has met, K capacity of a slot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from i2i_core.batch import Batch


class History(ABC):
    """Made images of earlier updates.

    Args:
        name: of its random draws.
        capacity: images in all slots together; 0: none are kept.
    """

    def __init__(self, name: str, capacity: int) -> None:
        self.name, self.capacity = name, capacity
        self.first = 0
        self.images: Tensor | None = None
        """(S, K, C, H, W), from slot `first` on."""
        self.filled: Tensor | None = None
        """(S,) how many images each slot holds."""

    def __call__(self, fake_BCHW: Tensor, batch: Batch) -> Tensor:
        """Images for D to judge, one for each of `fake_BCHW`; afterwards some of those are held."""
        fake = fake_BCHW.detach()
        if not self.capacity:
            return fake
        self._reach(fake, batch)
        assert self.images is not None
        assert self.filled is not None
        here = slice(batch.start - self.first, batch.stop - self.first)
        slots = torch.arange(batch.start, batch.stop, device=fake.device)
        room = self.capacity // batch.size + (slots < self.capacity % batch.size)
        return self._exchange(fake, batch, self.images[here], self.filled[here], room)

    @abstractmethod
    def _exchange(self, fake: Tensor, batch: Batch, images: Tensor, filled: Tensor, room: Tensor) -> Tensor:
        """Choose what D judges, and change `images` (n, K, C, H, W) and `filled` (n,) in place.

        Args:
            room: (n,) how many images each slot can hold.
        """

    def _reach(self, fake: Tensor, batch: Batch) -> None:
        """Room for this part's slots. They come in order, so only the first update finds any missing; so does the first
        with images of another size, which begins anew."""
        if self.images is None or self.filled is None or self.images.shape[2:] != fake.shape[1:]:
            self.first = batch.start
            deep = -(-self.capacity // batch.size)
            self.images = fake.new_zeros(0, deep, *fake.shape[1:])
            self.filled = torch.zeros(0, dtype=torch.long, device=fake.device)
        missing = batch.stop - self.first - len(self.images)
        if missing > 0:
            self.images = torch.cat([self.images, self.images.new_zeros(missing, *self.images.shape[1:])])
            self.filled = torch.cat([self.filled, self.filled.new_zeros(missing)])

    def state(self) -> dict[str, Any] | None:
        """Give what this worker's slots hold; None before the first update."""
        if self.images is None:
            return None
        return {"first": self.first, "images": self.images, "filled": self.filled}

    def load(self, states: list[dict[str, Any] | None], slots: tuple[int, int], device: torch.device) -> None:
        """Take up what the workers of a saved run held, however many they were.

        Args:
            states: of all of them, as `state` gave them.
            slots: first and past-the-last slot of this worker.
        """
        held = sorted((state for state in states if state), key=lambda state: state["first"])
        if not held:
            return
        start, stop = (slot - held[0]["first"] for slot in slots)
        self.first = slots[0]
        self.images = torch.cat([state["images"] for state in held])[start:stop].to(device)
        self.filled = torch.cat([state["filled"] for state in held])[start:stop].to(device)


class FakePool(History):
    """CycleGAN's pool (sec. 4, after Shrivastava et al.): while a slot's share is not full, the new image is stored
    and given back; once full, with probability 1/2 a random stored one is given and the new one takes its place,
    else the new one is given."""

    def _exchange(self, fake: Tensor, batch: Batch, images: Tensor, filled: Tensor, room: Tensor) -> Tensor:
        full = filled >= room
        swap = full & (room > 0) & (batch.draw(f"{self.name} swap", kind="uniform") < 0.5)
        place = torch.where(full, _place(batch, f"{self.name} place", room), filled)
        rows = torch.arange(len(fake), device=fake.device)
        held = images[rows, place]
        stores = (swap | ~full)[:, None, None, None]
        images[rows, place] = torch.where(stores, fake, held)
        filled += ~full
        return torch.where(swap[:, None, None, None], held, fake)


class RefinedHistory(History):
    """SimGAN's buffer of refined images (sec. 2.3, Fig. 4): half of the batch, b/2 of the global batch drawn anew
    each time, is given from what is stored, and the other half, which D sees as the refiner makes it now, is stored
    in random places. Until something is stored in a slot, its new image is given. Of an odd batch, the one in the
    middle is drawn from the history with probability 1/2."""

    def _exchange(self, fake: Tensor, batch: Batch, images: Tensor, filled: Tensor, room: Tensor) -> Tensor:
        rank = torch.empty(batch.size, dtype=torch.long, device=fake.device)
        rank[batch.permutation(f"{self.name} half")] = torch.arange(batch.size, device=fake.device)
        rank = batch.part(rank)
        middle = (rank * 2 + 1 == batch.size) & (batch.draw(f"{self.name} middle", kind="uniform") < 0.5)
        old = (rank < batch.size // 2) | middle
        rows = torch.arange(len(fake), device=fake.device)
        held = images[rows, _place(batch, f"{self.name} take", filled)]
        out = torch.where((old & (filled > 0))[:, None, None, None], held, fake)

        full, stores = filled >= room, ~old & (room > 0)
        place = torch.where(full, _place(batch, f"{self.name} place", room), filled)
        images[rows, place] = torch.where(stores[:, None, None, None], fake, images[rows, place])
        filled += stores & ~full
        return out


def _place(batch: Batch, name: str, count: Tensor) -> Tensor:
    """(n,) a random place among the first `count` (n,) of each slot; 0 where there is none."""
    drawn = batch.draw(name, kind="uniform").double() * count
    return drawn.long().clamp(max=(count - 1).clamp(min=0))
