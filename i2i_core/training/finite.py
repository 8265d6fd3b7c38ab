"""Stops a run at the first non-finite loss or gradient, before it has moved a weight.

A flag computed on the device suppresses the move and every later one. The host reads it one update
later, so that a healthy run never waits for it; all workers see the same flag, since it comes from
gradients that are already summed. What workers wish (to save, to stop) comes the same way and is read with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from i2i_core.errors import NonFiniteError
from i2i_core.training.sync import World

Values = tuple[Tensor, Tensor, Tensor]
"""Of a move, on the device: whether it was bad, its gradient's norm, and its terms (T,)."""


def copied(values: Values) -> Values:
    """Copy what the next launch of a recorded update will fill again."""
    bad, norm, terms = values
    return bad.clone(), norm.clone(), terms.clone()


@dataclass
class Judged:
    """One move: what it was, and how it went."""

    player: str
    images: int
    names: tuple[str, ...]
    values: Values


class FiniteWatch:
    """The flag and what it was computed from.

    Attributes:
        stop: float32 scalar on the device; not 0 once any move was not finite.
        wishes: float32 scalar on the device; the workers' wishes of this update, summed.
        read: the sum of those that were read and not yet taken.
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
        """Raise `stop` where the norm of a move's summed gradient is not finite; add the wishes that came with it; give
        the values for `note`. All on the device."""
        bad = (~torch.isfinite(norm)).float()
        torch.maximum(self.stop, bad, out=self.stop)
        self.wishes += wishes
        return bad, norm, terms

    def note(self, player: str, images: int, names: tuple[str, ...], values: Values) -> None:
        """Keep what a move was, for a message."""
        self.moves.append(Judged(player, images, names, values))

    def end_of_update(self) -> None:
        """Reads the flag and the wishes of the update before, and sends for this one's.

        Raises:
            NonFiniteError: on every worker alike.
        """
        self._read()
        self.unread, self.moves = self.moves, []
        self.host.copy_(torch.stack([self.stop, self.wishes]), non_blocking=True)
        self.wishes.zero_()
        if self.copied:
            self.copied.record()

    def settle(self) -> None:
        """Reads every flag that is still unread (before a checkpoint, at the end). Raises as `end_of_update`."""
        self._read()
        self.unread = []

    def take(self) -> float:
        """The wishes read since the last time, summed over workers: the same on every worker."""
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
