"""Write checkpoints from a thread of its own, and keep those that are wanted."""

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
from i2i_core.runs.folder import RunFolder, images_of
from i2i_core.storage.retry import FULL, StorageError, patience

logger = logging.getLogger(__name__)

MOST_WITHOUT_ROOM = 5
"""Checkpoints in a row that a full disk may keep from being written, where that takes longer than `patience`, before
the run ends."""


class Writer:
    """Writes checkpoints in a thread, and prunes what is no longer kept.

    One is being written and at most one waits, so that the step is held up for the copy to the host and not for the
    storage. A newer one takes the place of the one that waits, unless that is the best.

    A full disk is waited for, up to MOST_WITHOUT_ROOM checkpoints in a row and `patience`. After any other error of
    storage, and when another launch has the run, nothing is written any more: `stop` is called, and `wait` raises why.

    Args:
        run: the run's folder.
        keep_last: how many checkpoints are kept besides the best.
        ours: whether the run is still this launch's to write.
        stop: called once, in the thread, when the run cannot go on.

    Attributes:
        memories: what snapshots are copied into; a snapshot's is lent again when it is written or left out.
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
        """Whether `wait` has said so."""
        self.lost = ""
        """Why the newest checkpoint could not be written."""
        self.without_room: list[float] = []
        """When the newest checkpoints met a full disk, one after the other."""

    def put(self, snapshot: Snapshot | None, best: dict[str, Any] | None) -> None:
        """Writes a checkpoint some time soon, and which one is the best after it; None: only that.

        Raises what went wrong with an earlier one, but for storage: see `wait`.
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
        """An error of storage that another try does not help against, in words. (A launch that has taken the run over
        may have removed what was being written.)"""
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
        """Removes what was half written. The run goes on: there may be room the next time.

        Raises:
            RunError: there was none for as many times as there may be.
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
        """Keeps the best and the last n whole ones up to this. What else there is up to this was pushed out, or is the
        rest of an attempt that crashed."""
        whole = [name for name in self.run.whole_checkpoints() if images_of(name) <= images]
        best = self.run.best()
        keep = {*whole[-self.keep_last :], *(name for name in whole if best and name == best["checkpoint"])}
        for name in self.run.names_of_checkpoints():
            if name not in keep and images_of(name) <= images:
                self._check()
                self.run.remove_checkpoint(name)

    def wait(self) -> None:
        """Until what was put is written.

        Raises:
            RunError: there is no room for the newest checkpoint; storage takes none any more.
            TakenOverError: another launch has the run.
            StorageError: storage has not answered for as long as it may.
        Raises what else went wrong while it was written.
        """
        self.join()
        self.background.check()
        if self.ended:
            self.raised = True
            raise self.ended
        if self.lost:
            raise RunError(f"{self.lost}, and run the same command to go on from it.")

    def close(self) -> None:
        """As `wait`, where something else ends the run: says what would be raised."""
        self.background.close()
        error = self.background.error or (None if self.raised else self.ended)
        if error:
            logger.warning(f"the newest checkpoint could not be written: {error}")

    def join(self) -> None:
        """Wait until nothing is being written and nothing waits."""
        self.background.wait()
