"""The papers' histories of made images, on plain Python lists."""

from __future__ import annotations

import torch
from torch import Tensor

from i2i_core.batch import Batch


class PlainPool:
    """CycleGAN sec. 4: while there is room, the new image is kept and given; then, on heads, a random old one is given
    and the new one takes its place. A list per slot of the batch; the slots share the capacity."""

    def __init__(self, name: str, capacity: int) -> None:
        self.name, self.capacity = name, capacity
        self.lists: dict[int, list[Tensor]] = {}
        self.swaps = 0

    def __call__(self, fakes: Tensor, batch: Batch) -> Tensor:
        coins, places = (batch.draw(f"{self.name} {what}", kind="uniform").tolist() for what in ("swap", "place"))
        given = []
        for slot, new in enumerate(fakes.detach().clone()):
            held, room = self.lists.setdefault(slot, []), share(self.capacity, batch.size, slot)
            if len(held) < room:
                held.append(new)
                given.append(new)
            elif room and coins[slot] < 0.5:
                place = int(places[slot] * room)
                given.append(held[place])
                held[place] = new
                self.swaps += 1
            else:
                given.append(new)
        return torch.stack(given)


class PlainHistory:
    """SimGAN sec. 2.3: half of what D sees comes from the history, half is new; the new half goes into the history,
    over random old ones where it is full. A list per slot; the odd one of the batch goes by a coin."""

    def __init__(self, name: str, capacity: int) -> None:
        self.name, self.capacity = name, capacity
        self.lists: dict[int, list[Tensor]] = {}
        self.swaps = 0

    def __call__(self, fakes: Tensor, batch: Batch) -> Tensor:
        order = batch.permutation(f"{self.name} half").tolist()
        coin, take, put = (
            batch.draw(f"{self.name} {what}", kind="uniform").tolist() for what in ("middle", "take", "place")
        )
        from_history = set(order[: batch.size // 2])
        if batch.size % 2:
            middle = order[batch.size // 2]
            from_history |= {middle} if coin[middle] < 0.5 else set()
        given = []
        for slot, new in enumerate(fakes.detach().clone()):
            held, room = self.lists.setdefault(slot, []), share(self.capacity, batch.size, slot)
            if slot in from_history:
                given.append(held[int(take[slot] * len(held))] if held else new)
                continue
            given.append(new)
            if len(held) < room:
                held.append(new)
            elif room:
                held[int(put[slot] * room)] = new
                self.swaps += 1
        return torch.stack(given)


def share(capacity: int, size: int, slot: int) -> int:
    """The images that a slot may keep: K / B, and one more for each of the first K mod B."""
    return capacity // size + (1 if slot < capacity % size else 0)
