"""Keep generated images of earlier updates, and show the discriminator some of them again (SimGAN sec. 2.3; CycleGAN
sec. 4).

A slot is a position in the global batch. Each of the B slots has its own share of the capacity K: K / B images, and the
first K mod B slots one more. What happens in a slot depends only on that slot's images and on draws made for the global
batch, so a history is the same for any number of workers: a worker holds the images of its own slots, and when the
world size changes, the images move with their slots. With a batch of one this is the papers' pool. Where K < B, the
last slots hold nothing and always return the new image.

Images and decisions are tensors on the device; the host never waits for them.

Shapes: n slots of this part of the batch, S slots that this worker has met, K capacity of a slot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from i2i_core.batch import Batch


class History(ABC):
    """Keep generated images of earlier updates, and mix them into what the discriminator sees.

    Call a history with the generator's new images: it returns as many images, some of them old ones, and stores some of
    the new ones; subclasses decide which. Checkpoints keep it (`state`, `load`). Where the image size changes, it
    begins anew.

    Args:
        name: tells the history's random draws from those of the method's other histories.
        capacity: images in all slots together; 0 keeps none, and every call returns the new images.
    """

    def __init__(self, name: str, capacity: int) -> None:
        self.name, self.capacity = name, capacity
        self.first = 0
        self.images: Tensor | None = None
        """(S, K, C, H, W), from slot `first` on."""
        self.filled: Tensor | None = None
        """(S,) number of images that each slot holds."""

    def __call__(self, fake_BCHW: Tensor, batch: Batch) -> Tensor:
        """Return the images for D to judge, one for each of `fake_BCHW`, and store some of the new ones.

        Args:
            fake_BCHW: the generator's images for this part of the batch; no gradient flows through the result.
            batch: tells the slots, and makes the random draws.
        """
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
        """Choose the images that D judges, and update `images` (n, K, C, H, W) and `filled` (n,) in place.

        Args:
            room: (n,) capacity of each slot.
        """

    def _reach(self, fake: Tensor, batch: Batch) -> None:
        """Allocate this part's slots where they are missing: in the first update, and when the image size changes.

        With images of another size the history begins anew.
        """
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
        """Give the content of this worker's slots, for a checkpoint; None before the first update."""
        if self.images is None:
            return None
        return {"first": self.first, "images": self.images, "filled": self.filled}

    def load(self, states: list[dict[str, Any] | None], slots: tuple[int, int], device: torch.device) -> None:
        """Restore this worker's slots from the states of a saved run's workers, however many those were.

        Args:
            states: what `state` gave on each of them.
            slots: this worker's first slot, and the one after its last.
            device: device for the images.
        """
        held = sorted((state for state in states if state), key=lambda state: state["first"])
        if not held:
            return
        start, stop = (slot - held[0]["first"] for slot in slots)
        self.first = slots[0]
        self.images = torch.cat([state["images"] for state in held])[start:stop].to(device)
        self.filled = torch.cat([state["filled"] for state in held])[start:stop].to(device)


class FakePool(History):
    """Keep CycleGAN's image pool (sec. 4, after Shrivastava et al.).

    While a slot's share is not full, the new image is stored and returned. Once full, with probability 1/2 a random
    stored image is returned and the new one takes its place; else the new image is returned.
    """

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
    """Keep SimGAN's buffer of refined images (sec. 2.3, Fig. 4).

    Half of the global batch, b/2 samples chosen anew each time, is returned from the buffer; the other half is returned
    as the refiner makes it now, and stored in random places. A slot that holds nothing yet returns its new image. In an
    odd batch the sample in the middle comes from the buffer with probability 1/2.
    """

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
    """Draw a random place (n,) among the first `count` (n,) of each slot; 0 where there is none."""
    drawn = batch.draw(name, kind="uniform").double() * count
    return drawn.long().clamp(max=(count - 1).clamp(min=0))
