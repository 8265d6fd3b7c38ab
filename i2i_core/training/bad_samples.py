"""Name samples that cannot be used, count each once for all ranks, and end a run that has too many."""

from __future__ import annotations

import logging
import re
from collections import Counter
from typing import Any

import torch

from i2i_core.batch import Batch
from i2i_core.errors import RunError
from i2i_core.training.sync import World

logger = logging.getLogger(__name__)

MOST_NAMED = 20


class BadSamples:
    """Collect the samples that could not be used. This is a part of the run's state.

    Args:
        world: this rank among its peers.
        device: where the group's collectives take their tensors.
        most: the number of such samples beyond which the run ends.

    Attributes:
        known: all ranks' samples by key, with the cause and the sample that took its place.
        met: the samples that this rank met since ranks last agreed, with the images before them, the cause and the
            sample that took their place.
    """

    def __init__(self, world: World, device: torch.device, most: int) -> None:
        self.world, self.device, self.most = world, device, most
        self.known: dict[str, list[str]] = {}
        self.met: dict[str, tuple[int, str, str]] = {}

    def note(self, batch: Batch) -> None:
        """Note the samples that were replaced in a batch."""
        for bad in batch.bad:
            if bad.key not in self.known:
                met = (batch.images, bad.cause, bad.instead)
                self.met[bad.key] = min(met, self.met.get(bad.key, met))

    def agree(self) -> None:
        """Log the samples that any rank met for the first time, in an order that all ranks share. All ranks call this
        together.

        Raises:
            RunError: there are more than allowed; raised on every rank.
        """
        if not self._any():
            return
        found: dict[str, tuple[int, str, str]] = {}
        for theirs in self.world.gather(self.met):
            for key, met in theirs.items():
                found[key] = min(met, found.get(key, met))
        self.met = {}
        for key, (_, cause, instead) in sorted(found.items(), key=lambda item: (item[1][0], item[0])):
            self.known[key] = [cause, instead]
            if self.world.leads:
                logger.warning(f"sample {key} cannot be used ({cause}); {instead} takes its place")
        if len(self.known) > self.most:
            raise RunError(self._too_many())

    def _any(self) -> bool:
        """Return whether any rank met one since ranks last agreed."""
        mine = torch.tensor(float(bool(self.met)), device=self.device)
        return bool(self.world.sum_(mine).item())

    def _too_many(self) -> str:
        named = "\n  ".join(f"{key}: {cause}" for key, (cause, _) in [*self.known.items()][:MOST_NAMED])
        more = f"\n  and {len(self.known) - MOST_NAMED} more" if len(self.known) > MOST_NAMED else ""
        return (
            f"{len(self.known)} unusable samples, more than --most-bad {self.most} ({self.causes()}):\n"
            f"  {named}{more}\n"
            "Shard the images again with `--bad skip`, or raise --most-bad; then run the same command to go on."
        )

    def causes(self) -> str:
        """Count the samples by cause, in words."""
        counts = Counter(kind_of(cause) for cause, _ in self.known.values())
        return "; ".join(f"{n} x {cause}" for cause, n in counts.most_common())

    def state_dict(self) -> list[list[str]]:
        return [[key, *why] for key, why in self.known.items()]

    def load_state_dict(self, state: list[Any]) -> None:
        self.known = {key: [cause, instead] for key, cause, instead in state}


def kind_of(cause: str) -> str:
    """Replace what differs from sample to sample in a cause: `28x30 pixels where ...` -> `N pixels where ...`."""
    return re.sub(r"-?\b\d[\d.]*(x\d+)?\b", "N", cause.partition(" (")[0])
