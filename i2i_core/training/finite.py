"""Stop a run at the first non-finite loss or gradient, before it has moved a weight.

A flag on the device suppresses the bad move and every later one. The host reads the flag one update later, so a
healthy run never waits for it. All ranks see the same flag, because it is computed from summed gradients. Requests to
save or to stop travel with the gradients too, and are read together with the flag.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from i2i_core.errors import NonFiniteError
from i2i_core.training.sync import World

Values = tuple[Tensor, Tensor, Tensor]
"""A move on the device: whether it was bad (), its gradient's norm (), and its terms (T,)."""


def copied(values: Values) -> Values:
    """Copy values that the next launch of a recorded update will overwrite."""
    bad, norm, terms = values
    return bad.clone(), norm.clone(), terms.clone()


@dataclass
class Judged:
    """Keep one move's player, images, names of terms and values until the host has read the flag."""

    player: str
    images: int
    names: tuple[str, ...]
    values: Values


class FiniteWatch:
    """Watch the gradient norm of every move for NaN and infinity: suppress the move on the device, and raise one update
    later on the host.

    `judge` sets the device flag `stop` where a norm is not finite; optimisers make no move while it is set. `note`
    keeps what each move was, `end_of_update` reads the flag of the update before and raises NonFiniteError, which names
    player, term and rank. `settle` reads the flag of the last update too, before a checkpoint. All ranks raise
    together: naming the term takes a collective.

    Attributes:
        stop: float32 scalar on the device, nonzero once any move was not finite.
        wishes: float32 scalar on the device, the sum of all ranks' requests in this update.
        read: the sum of the requests that the host has read and `take` has not returned yet.
    """

    def __init__(self, device: torch.device, world: World) -> None:
        self.world = world
        self.stop, self.wishes = torch.zeros((), device=device), torch.zeros((), device=device)
        self.read = 0.0
        self.moves: list[Judged] = []
        self.unread: list[Judged] = []
        self.host = torch.zeros(2, pin_memory=device.type == "cuda")
        self.copied = torch.cuda.Event() if device.type == "cuda" else None

    def judge(self, norm: Tensor, terms: Tensor, wishes: Tensor) -> Values:
        """Set `stop` where the norm of a move's summed gradient is not finite, and add the requests that came with the
        gradient. Return the values for `note`. All of it happens on the device."""
        bad = (~torch.isfinite(norm)).float()
        torch.maximum(self.stop, bad, out=self.stop)
        self.wishes += wishes
        return bad, norm, terms

    def note(self, player: str, images: int, names: tuple[str, ...], values: Values) -> None:
        """Keep a move until its flag is read, for the message of NonFiniteError."""
        self.moves.append(Judged(player, images, names, values))

    def end_of_update(self) -> None:
        """Read the flag and the requests of the update before, and start the copy of this update's to the host.

        Raises:
            NonFiniteError: a move of the update before was not finite; raised on every rank.
        """
        self._read()
        self.unread, self.moves = self.moves, []
        self.host.copy_(torch.stack([self.stop, self.wishes]), non_blocking=True)
        self.wishes.zero_()
        if self.copied:
            self.copied.record()

    def settle(self) -> None:
        """Read the flag of the last update too. Call this before a checkpoint and at the end. Raises as
        `end_of_update`."""
        self._read()
        self.unread = []

    def take(self) -> float:
        """Return the requests that were read since the last call, summed over ranks: the same on every rank."""
        wishes, self.read = self.read, 0.0
        return wishes

    def _read(self) -> None:
        if not self.unread:
            return
        if self.copied:
            self.copied.synchronize()
        stop, wishes = self.host.tolist()
        self.read += wishes
        if stop:
            raise NonFiniteError(self._explain(next(m for m in self.unread if m.values[0].item())))

    def _explain(self, move: Judged) -> str:
        _, norm, terms = move.values
        mine = dict(zip(move.names, terms.tolist(), strict=True))
        named = [
            f"term {name} = {value} on worker {rank}"
            for rank, terms in enumerate(self.world.gather(mine))
            for name, value in terms.items()
            if value - value != 0  # NaN and both infinities
        ]
        what = "; ".join(named) or f"gradient norm {norm.item()}, all its terms finite: {mine}"
        return (
            f"non-finite move of player {move.player} after {move.images} images: {what}. "
            "No weight was moved by it. The last checkpoint is whole; continue from it with a lower learning "
            "rate, with --clip-grad, or in fp32 (--fast off)."
        )
