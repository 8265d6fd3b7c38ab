"""Whose a run is, and how it stands: what the launches of one run tell each other through its folder.

attempts/000001.json   one for each launch that had the run, in order; the last one has it. None is ever changed
status.json            how the run stands, by the launch that has it: running, finished, stopped or failed, and why
stop                   asks the run to save and stop; if there is anything in it, the launch named

A launch takes its number by making a file that is not there yet (`Folder.create`), so that of several at once one has
it. Writing what must not be there takes no lock that a dead process could hold.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from i2i_core.errors import RunError, TakenOverError
from i2i_core.runs.folder import RunFolder
from i2i_core.storage.folder import lives, machine, unwritable
from i2i_core.storage.retry import FULL

logger = logging.getLogger(__name__)

MOMENT = 5.0
"""Seconds before its own beginning in which a launch that another began is one of the same moment: it is not taken
over. Three, and what the clock of object storage leaves out."""

_here: set[str] = set()
"""Attempts of this process that have not ended."""


@dataclass(frozen=True)
class Attempt:
    """One launch of a run, as its file says."""

    attempt: str
    machine: str = ""
    host: str = "?"
    process: int = 0
    begun: str = "?"

    @property
    def described(self) -> str:
        return f"{self.host}, process {self.process}, since {self.begun}"

    @property
    def gone(self) -> bool:
        """Whether its process has certainly ended; nobody can tell of another machine's."""
        if self.machine != machine():
            return False
        return self.attempt not in _here if self.process == os.getpid() else not lives(self.process)


def holder(run: RunFolder) -> Attempt | None:
    """The attempt that has the run; None where none was ever made."""
    for name in reversed(run.names(run.ATTEMPTS)):
        if name.endswith(".json") and (found := _read(run, name)):
            return found
    return None


def _read(run: RunFolder, name: str) -> Attempt | None:
    """What a file says; None while it is being written, where that takes more than a moment."""
    try:
        return Attempt(**run.read_json(f"{run.ATTEMPTS}/{name}"))
    except (ValueError, TypeError):
        return None


def check_holder(run: RunFolder, attempt: str) -> None:
    """Raises TakenOverError when another attempt has the run."""
    found = holder(run)
    if found and found.attempt != attempt:
        raise TakenOverError(f"{run.url}: another launch of this run has taken it over ({found.described})")


def is_over_for(run: RunFolder, attempt: str) -> bool:
    """Whether this launch of the run has ended, or another has taken it over."""
    if not attempt:
        return False
    found, status = holder(run), run.status()
    if found and found.attempt != attempt:
        return True
    if status.get("attempt", attempt) == attempt:
        return bool(status and status.get("state") != "running")
    return found is None  # else it is the word of an earlier launch


def record(run: RunFolder, attempt: str, **status: Any) -> None:
    """How this launch of the run stands or ended, unless another has taken it over.

    Raises:
        OSError, StorageError: it cannot be written. On a full disk the room of the last one is used.
    """
    if is_over_for(run, attempt):
        return
    data = (json.dumps({**status, "attempt": attempt}, indent=1) + "\n").encode()
    try:
        run.guarded(partial(check_holder, run, attempt)).write(run.STATUS, data)
    except TakenOverError:
        return
    except OSError as error:
        if error.errno not in FULL:
            raise
        try:
            run.write_over(run.STATUS, data)
        except OSError:
            raise error from None


def check_claim(run: RunFolder, since: float) -> None:
    """Raises RunError when `claim` would now: a launch finds it before it starts a cluster."""
    _next(run, since)


def claim(run: RunFolder, attempt: str, since: float) -> None:
    """Make the run this attempt's: no other's, of those that began at the same moment.

    An attempt is taken over when it was made more than MOMENT before this launch began, or before this launch began
    at all and has ended. So of launches that begin together the first to claim stays; a launch that stood still
    meanwhile takes nothing over; and the same command, typed again, goes on at once from one that was killed.

    Args:
        since: when this launch began, by the storage's clock.

    Raises:
        RunError: another launch has it.
    """
    while True:
        path = f"{run.ATTEMPTS}/{_next(run, since):06d}.json"
        begun = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        mine = Attempt(attempt, machine(), socket.gethostname(), os.getpid(), begun)
        run.create(path, json.dumps(asdict(mine)).encode())
        found = holder(run)  # also where the file was there: after an answer that was lost it is our own
        if found and found.attempt == attempt:
            return


def _next(run: RunFolder, since: float) -> int:
    """The number of the attempt that takes the run over from the last one. Raises RunError as `claim`."""
    names = [name for name in run.names(run.ATTEMPTS) if name.endswith(".json")]
    if not names:
        return 1
    last = names[-1]
    found, made = _read(run, last) or Attempt(""), run.modified(f"{run.ATTEMPTS}/{last}")
    status = run.status()
    ended = status.get("attempt") == found.attempt and status.get("state") != "running"
    if made > since - MOMENT and not (made < since and (ended or found.gone)):
        raise RunError(
            f"{run.url}: another launch of this run began at the same moment and has it ({found.described}); this one "
            f"ends.\n  Leave it to that one. Or end that one (a file `{run.STOP}` in the run's folder has it save and "
            "stop), and run the same command again."
        )
    return int(last.split(".")[0]) + 1


@contextmanager
def held(run: RunFolder, attempt: str, since: float) -> Iterator[None]:
    """The run is this attempt's, as by `claim`, until this process is done with it."""
    _here.add(attempt)
    try:
        claim(run, attempt, since)
        yield
    finally:
        _here.discard(attempt)


def begin(run: RunFolder, attempt: str, config: bytes) -> None:
    """The run's folder as an attempt that has it leaves it to its workers.

    Args:
        config: what config.json is to be.

    Raises:
        TakenOverError: another launch has the run by now.
        RunError: the folder cannot be written.
    """
    mine = run.guarded(partial(check_holder, run, attempt))
    try:
        if run.status().get("state") == "running":
            logger.info(f"{run.url} was not ended: this launch takes it over from whatever may still be running")
        mine.write_json(run.STATUS, {"state": "running", "attempt": attempt})
        run.remove(run.STOP)
        run.remove_left()
        mine.write(run.CONFIG, config)
    except OSError as error:
        raise unwritable(run, error) from None
