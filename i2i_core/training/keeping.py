"""Resume a run from its latest checkpoint, and save new ones."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from i2i_core.checkpoints import checkpoint, starting
from i2i_core.checkpoints.checkpoint import Saved, Snapshot, named_tensors
from i2i_core.checkpoints.writer import Writer
from i2i_core.config.run import TrainConfig
from i2i_core.runs.folder import CheckpointFolder, RunFolder
from i2i_core.training.monitoring.monitor import Monitor
from i2i_core.training.resuming import check_order
from i2i_core.training.state import RunState
from i2i_core.training.step import Step
from i2i_core.training.together import by_leader


class Keeper:
    """Resume and save one rank's part of a run. Rank 0 alone reads and writes storage.

    Args:
        config: the run's configuration.
        run: the run's folder.
        step: moves the run's networks.
        state: the run's state.
        monitor: logs what was resumed.
        writer: writes rank 0's checkpoints in a thread.
    """

    def __init__(
        self, config: TrainConfig, run: RunFolder, step: Step, state: RunState, monitor: Monitor, writer: Writer
    ) -> None:
        self.config, self.run, self.step, self.state, self.monitor = config, run, step, state, monitor
        self.writer = writer
        self.kept: tuple[int, dict[str, Any] | None] = (-1, None)
        """Images and best checkpoint of the newest state that was given to the writer."""

    def begin(self) -> None:
        """Resume from the latest whole checkpoint, if there is one; else begin from `--init-from`; else anew.

        Rank 0 reads storage, once. All ranks call this together.

        Raises:
            CheckpointError: a checkpoint cannot be used; on every rank.
        """
        training, method = self.config.training, self.step.method
        if saved := by_leader(self.step.world, self.run, self._latest):
            self._resume(saved)
        elif training.init_from:
            read = partial(starting.read, training.init_from, training.init_parts, self.config.method, method)
            self.monitor.tell(by_leader(self.step.world, self.run, read).fill(method, self.step.ema))

    def _latest(self) -> Saved | None:
        """Read the checkpoint to resume from, and remove what is later than it."""
        saved = checkpoint.latest(self.run)
        if saved:
            check_order(saved.config(), self.run.url)
            self.run.discard_after(saved.images)
        return saved

    def _resume(self, saved: Saved) -> None:
        saved.fill(self.step.method, self.step.ema)
        self.state.load_state_dict(saved.state(), saved.at(CheckpointFolder.STATE))
        self.state.evaluations.metrics = saved.metrics()
        self.kept = self._now
        self.monitor.tell(f"resumed from {saved.url}")

    @property
    def _now(self) -> tuple[int, dict[str, Any] | None]:
        return self.state.progress.images, self.state.best.found

    def name_best(self) -> None:
        """Write which checkpoint is the best: a crash may have come between a checkpoint and the note of its name."""
        if self.step.world.leads and self.state.best.found:
            self.writer.put(None, self.state.best.found)

    def save(self) -> None:
        """Copy a checkpoint of this moment, which a thread writes while training goes on. All ranks call this together.

        Raises:
            NonFiniteError, RunError: as `snapshot`; on every rank.
        """
        start, kept, now = time.monotonic(), self.kept, self._now
        if kept == now:
            return
        snapshot = None if kept[0] == now[0] else self.snapshot()
        self.kept = now
        if self.step.world.leads:
            self.writer.put(snapshot, self.state.best.found)
            self.monitor.scalars(now[0], {"checkpoint/stall_seconds": time.monotonic() - start})
            self.monitor.flush()

    def snapshot(self) -> Snapshot | None:
        """Read every flag, then copy what a checkpoint of this moment holds. All ranks call this together; rank 0 gets
        the copy, the others None.

        Raises:
            NonFiniteError: a move was not finite.
            RunError: too many unusable samples.
        """
        self.step.watch.settle()
        self.monitor.diagnose()
        self.state.bad_samples.agree()
        state = self.state.state_dict()
        if not self.step.world.leads:
            return None
        memory, progress = self.writer.memories.take(), self.state.progress
        with memory.filling():
            tensors, aliases = named_tensors(self.step.method.networks, self.step.ema, memory)
            copied = memory.copy(state, "state")
        metrics, norm_batches = self.state.evaluations.metrics, state["norm_batches"]
        return Snapshot(
            progress.images, self.config, tensors, aliases, copied, metrics, norm_batches, progress.stage, memory
        )

    def forget(self) -> None:
        """Have the next `save` write a checkpoint, even where one of this moment is on its way."""
        self.kept = (-1, None)

    def settle(self) -> None:
        """Wait until the last checkpoint is written. All ranks call this together.

        Raises:
            RunError: it cannot be written; on every rank.
        """
        by_leader(self.step.world, self.run, self.writer.wait)

    def close(self) -> None:
        """Wait for the last checkpoint, where an error ends the run."""
        self.writer.close()
