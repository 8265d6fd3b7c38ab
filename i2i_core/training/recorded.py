"""Make updates by launching recorded CUDA graphs, wherever that gives the same result; see `graphs`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.methods.base import Progress
from i2i_core.training import graphs
from i2i_core.training.finite import copied
from i2i_core.training.graphs import EAGER, CudaGraph, Draws, MadeMove, Planned, Read, Recorder, Recording

if TYPE_CHECKING:
    from i2i_core.training.step import Step

logger = logging.getLogger(__name__)


class Recorded:
    """Record updates of a step and launch the recordings, one for each kind of update: each stage and phase.

    Some updates run eagerly: the first few of a kind; one after every log, which finds the weights of terms in the
    losses; and any whose batches have other shapes.

    Args:
        step: makes the updates.
        recorder: builds a recorder.

    Attributes:
        recording: whether an update is being recorded, so that the device's work now is repeated later.
        refused: why nothing is recorded; "" while something may be.
    """

    def __init__(self, step: Step, recorder: Callable[[], Recorder] = CudaGraph) -> None:
        self.step, self.recorder = step, recorder
        self.recordings: dict[Hashable, Recording] = {}
        self.eager: dict[Hashable, int] = {}
        """The number of updates of each kind that ran eagerly before one was recorded."""
        self.recording = False
        self.refused = ""
        self.rates: Iterator[Tensor] = iter(())
        """The learning rates of the recording's moves that are still to come."""
        self.stream = torch.cuda.Stream(step.device) if step.device.type == "cuda" else None

    def update(self, batches: Iterator[Batch], progress: Progress) -> None:
        """Make one update, as `Step.update` does."""
        kind = (progress.stage, progress.players, self.step.method.phase(progress))
        found = self.recordings.get(kind)
        with self._apart():
            batches = self._in_order(batches)
            if self.refused:
                self.step.update(batches, progress)
            elif found is None:
                self._towards(kind, batches, progress)
            elif not self._in_force(found):
                self.step.update(batches, progress)
            else:
                self._by(kind, found, batches, progress)

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Work in a separate stream, which a recording needs, in order with the current one."""
        if self.stream is None:
            yield
            return
        outer = torch.cuda.current_stream(self.step.device)
        self.stream.wait_stream(outer)
        with torch.cuda.stream(self.stream):
            yield
        outer.wait_stream(self.stream)

    def _in_order(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield batches once they have arrived: another thread copies them in the default stream. Hold their memory
        until this stream has used it."""
        for batch in batches:
            if self.stream is not None:
                self.stream.wait_stream(torch.cuda.default_stream(self.step.device))
                for x in (*batch.fields.values(), *batch.whole.values()):
                    x.record_stream(self.stream)
            yield batch

    def _in_force(self, found: Recording) -> bool:
        """Return whether the recording may be launched: terms' weights since the last log are known, and its moves add
        terms to the sums that logs read."""
        step = self.step
        known = all(move.player in step.influence for move in found.plan)
        named = all(move.player in step.sums and step.sums[move.player].names == move.summed for move in found.plan)
        return known and named and all(step.sums[move.player] is move.sums for move in found.moves)

    def _towards(self, kind: Hashable, batches: Iterator[Batch], progress: Progress) -> None:
        """Make an update eagerly. The last one before a recording notes what it reads and draws."""
        step = self.step
        done = self.eager[kind] = self.eager.get(kind, 0) + 1
        if done < EAGER:
            step.update(batches, progress)
            return
        draws, taken, told = Draws(), list[Batch](), Read(progress)
        step.update(graphs.noted(batches, draws, taken), progress, told)
        self.refused = graphs.refusal(step.method, taken, told)
        if self.refused:
            logger.info(f"no CUDA graphs: {self.refused}")
            return
        plan = [Planned(move.player, move.images - taken[0].images, move.names) for move in step.watch.moves]
        precise = torch.float32 if step.device.type == "cuda" else torch.float64  # as fused Adam reads it
        rates = torch.zeros(len(plan), dtype=precise, device=step.device)
        self.recordings[kind] = Recording(graphs.kept(taken, draws), draws, rates, plan, self.recorder())

    def _by(self, kind: Hashable, found: Recording, batches: Iterator[Batch], progress: Progress) -> None:
        """Make an update by a recording, where its batches have the recorded shapes."""
        taken = list(islice(batches, len(found.batches)))
        if not found.fits(taken):
            self.step.update(chain(taken, batches), progress)
            return
        found.fill(taken, lambda batch: batch.split(self.step.config.micro_batch))
        self._set_rates(found, taken[0].images)
        if found.moves:
            self._again(found, taken, progress)
        else:
            self._record(kind, found, taken, progress)
        if wish := self.step.wish():
            self.step.watch.wishes += wish

    def _set_rates(self, found: Recording, images: int) -> None:
        movers = self.step.movers
        of_moves = []
        for move in found.plan:
            mover = movers[move.player]
            mover.lr = mover.player.optimiser.lr * self.step.lr_factor(images + move.past)
            of_moves.append(mover.lr)
        rates = torch.tensor(of_moves, dtype=found.rates.dtype, pin_memory=found.rates.is_cuda)
        found.rates.copy_(rates, non_blocking=True)

    def _record(self, kind: Hashable, found: Recording, taken: list[Batch], progress: Progress) -> None:
        """Make the update and record it. Where that fails, make it eagerly and record nothing any more."""
        step, images, counts = self.step, progress.images, dict(progress.moves)
        self.recording, self.rates = True, iter(found.rates)
        try:
            found.recorder.record(lambda: step.update(iter(found.at(taken)), progress))
        except RuntimeError as error:
            self.recording, self.refused = False, str(error)
            logger.warning(f"no CUDA graphs: an update cannot be recorded: {error}")
            progress.images, progress.moves = images, counts
            step.watch.moves.clear()
            self.recordings.clear()
            step.update(iter(taken), progress)
            return
        finally:
            self.recording = False
        found.moves = [
            MadeMove(one.player, one.images - taken[0].images, one.names, one.values, step.sums[one.player])
            for one in step.watch.moves
        ]
        for one in step.watch.moves:
            one.values = copied(one.values)

    def _again(self, found: Recording, taken: list[Batch], progress: Progress) -> None:
        """Launch the recording, and do the counting that Python does in an eager update."""
        step = self.step
        found.recorder.again()
        for move in found.moves:
            step.watch.note(move.player, taken[0].images + move.past, move.names, copied(move.values))
            progress.moves[move.player] = progress.moves.get(move.player, 0) + 1
            move.sums.moves += 1
        progress.images = taken[-1].images + taken[-1].size

    def rate(self) -> Tensor:
        """Return the learning rate of the recording's next move, a scalar on the device."""
        return next(self.rates)
