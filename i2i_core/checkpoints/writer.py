"""Write checkpoints in a background thread, and remove the ones that are no longer kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Condition
from typing import Any

from i2i_core.background import Background
from i2i_core.checkpoints.checkpoint import PUT_BACK, Snapshot, write
from i2i_core.checkpoints.host_memory import HostMemories
from i2i_core.errors import RunError, TakenOverError
from i2i_core.runs.folder import RunFolder
from i2i_core.storage.retry import FULL, StorageError, patience

logger = logging.getLogger(__name__)

MOST_WITHOUT_ROOM = 5
"""Checkpoints in a row that may fail on a full disk before the run ends; it also takes `patience` seconds of them."""


class Writer:
    """Write a run's checkpoints in a background thread, and remove all but the best and the last few.

    The writer holds at most two snapshots: one that it is writing and one that waits. A newer snapshot replaces the
    waiting one, which is then left out. So training pauses for the copy to host memory, and waits for storage in one
    case alone: where the waiting snapshot is the best so far, `put` blocks until the writer begins to write it.

    On a full disk the writer drops the checkpoint and training goes on; after MOST_WITHOUT_ROOM such checkpoints in a
    row, over at least `patience` seconds, the run ends. On any other storage error, or when another launch has taken
    the run over, the writer stops writing and calls `stop`; `wait` then raises the cause.

    Args:
        run: the run's folder.
        keep_last: checkpoints to keep besides the best.
        ours: tells if this launch may still write to the run.
        stop: called once, in the background thread, when the run cannot go on.

    Attributes:
        memories: host memory that snapshots are copied into; a snapshot's is reused once it is written or left out.
    """

    def __init__(
        self,
        run: RunFolder,
        keep_last: int,
        ours: Callable[[], bool] = lambda: True,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.run, self.keep_last, self.ours, self.stop = run, keep_last, ours, stop
        self.memories = HostMemories()
        self.waiting: tuple[Snapshot | None, dict[str, Any] | None] | None = None
        self.changed = Condition()
        self.background = Background("checkpoint")
        self.ended: RunError | None = None
        """Why the run cannot go on."""
        self.raised = False
        """True once `wait` has raised `ended`."""
        self.lost = ""
        """Why the newest checkpoint could not be written."""
        self.without_room: list[float] = []
        """Times (monotonic seconds) at which the newest checkpoints in a row met a full disk."""

    def put(self, snapshot: Snapshot | None, best: dict[str, Any] | None) -> None:
        """Queue a snapshot to be written, and after it the record of the best checkpoint.

        Args:
            snapshot: None writes the record alone.
            best: content of best.json; None leaves that file as it is.

        Raises what went wrong with an earlier snapshot, except for storage errors: `wait` raises those.
        """
        self.background.check()
        with self.changed:
            if snapshot is None:
                snapshot = self.waiting[0] if self.waiting else None
            else:
                self.changed.wait_for(lambda: not self._best_waits(best))
                if self.waiting and self.waiting[0]:
                    late = self.waiting[0].name
                    logger.info(f"checkpoint {late} is left out: the one before it is still being written")
                    self._release(self.waiting[0])
            if self.waiting is None:
                self.background.add(self._write_waiting)
            self.waiting = (snapshot, best)

    def _release(self, snapshot: Snapshot | None) -> None:
        if snapshot and snapshot.memory:
            self.memories.give_back(snapshot.memory)

    def _best_waits(self, best: dict[str, Any] | None) -> bool:
        snapshot = self.waiting[0] if self.waiting else None
        return bool(snapshot and best and best["checkpoint"] == snapshot.name)

    def _write_waiting(self) -> None:
        with self.changed:
            assert self.waiting, "it was put"
            (snapshot, best), self.waiting = self.waiting, None
            self.changed.notify_all()
        try:
            if not self.ended:
                self._write(snapshot, best)
        except RunError as error:
            self._end(error)
        except OSError as error:
            self._end(self._unwritable(snapshot, error))
        finally:
            self._release(snapshot)

    def _end(self, error: RunError) -> None:
        self.ended = error
        self.stop()

    def _unwritable(self, snapshot: Snapshot | None, error: OSError) -> RunError:
        """Describe a storage error that no retry helps against.

        A launch that has taken the run over may have removed what was being written: then the result says that.
        """
        try:
            self._check()
            if self.run.local and not self.run.exists(""):
                return RunError(f"{self.run.url} is not there any more: {PUT_BACK}.")
            last = self._last_whole()
        except TakenOverError as taken:
            return taken
        except (OSError, StorageError):
            last = "what there is cannot be read"
        what = self.run.at(RunFolder.in_checkpoint(snapshot.name) if snapshot else RunFolder.BEST)
        why = f"{what} could not be written ({error.strerror or error}); {last}"
        return RunError(f"{why}. Make that place writable, and run the same command to go on.")

    def _last_whole(self) -> str:
        whole = self.run.whole_checkpoints()
        return f"the last whole checkpoint is {whole[-1]}" if whole else "there is no whole checkpoint"

    def _write(self, snapshot: Snapshot | None, best: dict[str, Any] | None) -> None:
        self._check()
        try:
            if snapshot:
                start = time.monotonic()
                write(self.run, snapshot, self._check)
                logger.debug(f"checkpoint {snapshot.name} is written, in {time.monotonic() - start:.1f} s")
                self.lost = ""
                self.without_room.clear()
            if best and self.run.is_whole(best["checkpoint"]):
                self.run.write_json(RunFolder.BEST, best)
            if snapshot:
                self._check()
                self._prune(snapshot.images)
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._no_room(snapshot, error)

    def _check(self) -> None:
        if not self.ours():
            raise TakenOverError(f"{self.run.url}: another launch of this run has taken it over; this one ends")

    def _no_room(self, snapshot: Snapshot | None, error: OSError) -> None:
        """Remove a half-written checkpoint, and let the run go on: there may be room the next time.

        Raises:
            RunError: MOST_WITHOUT_ROOM checkpoints in a row met a full disk.
        """
        what = self.run.at(RunFolder.BEST)
        if snapshot and not self.run.is_whole(snapshot.name):
            self.run.remove_checkpoint(snapshot.name)
            what = self.run.at(RunFolder.in_checkpoint(snapshot.name))
        said = f"{what} could not be written ({error.strerror}); {self._last_whole()}. Make room there"
        if what.endswith(RunFolder.BEST):
            logger.warning(f"{said}: training goes on, and tries again at the next checkpoint.")
            return
        self.lost = said
        self.without_room.append(time.monotonic())
        many, seconds = len(self.without_room), self.without_room[-1] - self.without_room[0]
        if many >= MOST_WITHOUT_ROOM and seconds >= patience():
            said = f"{many} checkpoints in a row had no room, for {seconds:.0f} s: {said}"
            raise RunError(f"{said}, and run the same command to go on from it.")
        logger.warning(f"{said}: training goes on, and tries again at the next checkpoint.")

    def _prune(self, images: int) -> None:
        """Remove every checkpoint up to `images` but the best and the last `keep_last` whole ones."""
        for name in self.run.old_checkpoints(self.keep_last, images):
            self._check()
            self.run.remove_checkpoint(name)

    def wait(self) -> None:
        """Wait until every queued snapshot is written.

        Raises:
            RunError: the newest checkpoint found no room, or storage failed for good.
            TakenOverError: another launch has the run.
            StorageError: storage has not answered for `patience` seconds.
        Raises anything else that went wrong during the writing.
        """
        self.join()
        self.background.check()
        if self.ended:
            self.raised = True
            raise self.ended
        if self.lost:
            raise RunError(f"{self.lost}, and run the same command to go on from it.")

    def close(self) -> None:
        """Wait as `wait` does, but log its error and raise none: for a run that another error has ended."""
        self.background.close()
        error = self.background.error or (None if self.raised else self.ended)
        if error:
            logger.warning(f"the newest checkpoint could not be written: {error}")

    def join(self) -> None:
        """Wait until the queue is empty, and raise nothing."""
        self.background.wait()
