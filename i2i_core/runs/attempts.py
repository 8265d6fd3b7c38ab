"""Decide which launch owns a run, and record the run's status, through files in the run's folder.

attempts/000001.json   one file for each launch that owned the run, in order; the last one owns it. None is ever changed
status.json            the status that the owner wrote: running, finished, stopped or failed, and why
stop                   asks the run to save and stop; a file with a launch's name in it asks that launch alone

A launch takes the next number by creating a file that must not exist yet (`Folder.create`), so that one of several
concurrent launches wins. This needs no lock, which a dead process could hold for ever.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from i2i_core.credentials import redacted
from i2i_core.errors import RunError, TakenOverError
from i2i_core.program import program_name
from i2i_core.runs.folder import RunFolder, Status
from i2i_core.storage.folder import lives, machine, unwritable
from i2i_core.storage.retry import FULL

logger = logging.getLogger(__name__)

MOMENT = 5.0
"""Seconds within which two launches count as begun at the same moment: neither then takes over from the other. Three
seconds, and what the clocks of object storage may round off."""

_NAME = re.compile(r"[0-9]{6,18}\.json")

_here: set[str] = set()
"""Attempts of this process that are still running."""


@dataclass(frozen=True)
class Attempt:
    """Describe one launch of a run, as its file in `attempts/` does.

    Attributes:
        attempt: the launch's unique name.
        machine: identifies the machine across restarts of the launch.
        host: the machine's host name, for messages.
        process: process id of the driver.
        begun: date and time, for messages.
        program: name of the program, with its commit.
    """

    attempt: str
    machine: str = ""
    host: str = "?"
    process: int = 0
    begun: str = "?"
    program: str = ""

    @property
    def described(self) -> str:
        """The launch in words, for messages."""
        return f"{self.host}, process {self.process}, since {self.begun}"

    @property
    def gone(self) -> bool:
        """True if the launch's process has certainly ended; always false for a process of another machine."""
        if self.machine != machine():
            return False
        return self.attempt not in _here if self.process == os.getpid() else not lives(self.process)


def holder(run: RunFolder) -> Attempt | None:
    """Find the attempt that owns the run; None where there was no attempt yet."""
    for name in reversed(_names(run)):
        if found := _read(run, name):
            return found
    return None


def launches(run: RunFolder) -> list[Attempt]:
    """Read the launches of the run in their order, without those whose files are damaged."""
    return [found for name in _names(run) if (found := _read(run, name))]


def _names(run: RunFolder) -> list[str]:
    """List the files of attempts in their order, and nothing else that may lie among them."""
    names = [name for name in run.names(run.ATTEMPTS) if _NAME.fullmatch(name)]
    return sorted(names, key=_number)


def _number(name: str) -> int:
    return int(name.removesuffix(".json"))


def _read(run: RunFolder, name: str) -> Attempt | None:
    """Read an attempt's file; None while another process is still writing it, or where it is damaged."""
    found: Attempt | None = run.noted(f"{run.ATTEMPTS}/{name}", Attempt)
    return found


def stands(run: RunFolder) -> str:
    """Tell how a run stands: `running` while its launch may live, `killed` where that launch ended on this machine and
    could not say how, else the state that it wrote."""
    found, status = holder(run), run.status()
    if found is None:
        return str(status.get("state", "not begun"))
    if _has_ended(found, status):
        return str(status.get("state"))
    return "killed" if found.gone else "running"


def _has_ended(found: Attempt, status: Status) -> bool:
    """Tell whether the launch wrote into the status that it has ended."""
    return status.get("attempt") == found.attempt and status.get("state") != "running"


def check_holder(run: RunFolder, attempt: str) -> None:
    """Check that this attempt owns the run. Raises TakenOverError when another one does."""
    found = holder(run)
    if found and found.attempt != attempt:
        raise TakenOverError(f"{run.url}: another launch of this run has taken it over ({found.described})")


def is_over_for(run: RunFolder, attempt: str) -> bool:
    """Tell if this launch of the run has ended, or another one has taken the run over."""
    if not attempt:
        return False
    found, status = holder(run), run.status()
    if found and found.attempt != attempt:
        return True
    if status.get("attempt", attempt) == attempt:
        return bool(status and status.get("state") != "running")
    return found is None  # else an earlier launch wrote the status


def record(run: RunFolder, attempt: str, **status: Any) -> None:
    """Write the status of this launch, unless it has ended or another launch has taken the run over.

    On a full disk the status is written over the bytes of the old one.

    Raises:
        OSError, StorageError: the status cannot be written.
    """
    if is_over_for(run, attempt):
        return
    shown = {key: redacted(value) if isinstance(value, str) else value for key, value in status.items()}
    data = (json.dumps({**shown, "attempt": attempt}, indent=1) + "\n").encode()
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
    """Check that `claim` would succeed now, before a cluster is started. Raises RunError as `claim`."""
    _next(run, since)


def claim(run: RunFolder, attempt: str, since: float) -> None:
    """Make this attempt the run's owner, and the only one among launches that began at the same moment.

    An earlier attempt is taken over if it was made more than MOMENT seconds before this launch began, or if it was made
    before this launch began and has ended. So of launches that begin together the first to claim stays; a launch that
    was suspended meanwhile takes nothing over; and the same command, typed again, resumes at once after a kill.

    Args:
        since: when this launch began, in seconds of the storage's clock.

    Raises:
        RunError: another launch owns the run.
    """
    while True:
        path = f"{run.ATTEMPTS}/{_next(run, since):06d}.json"
        begun = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        mine = Attempt(attempt, machine(), socket.gethostname(), os.getpid(), begun, program_name())
        run.create(path, json.dumps(asdict(mine)).encode())
        found = holder(run)  # also where the file was there: after an answer that was lost it is our own
        if found and found.attempt == attempt:
            return


def _next(run: RunFolder, since: float) -> int:
    """Choose the number of the attempt that takes over from the last one. Raises RunError as `claim`."""
    names = _names(run)
    if not names:
        return 1
    last = names[-1]
    found, made = _read(run, last) or Attempt(""), run.modified(f"{run.ATTEMPTS}/{last}")
    ended = _has_ended(found, run.status())
    if made > since - MOMENT and not (made < since and (ended or found.gone)):
        raise RunError(
            f"{run.url}: another launch of this run began at the same moment and has it ({found.described}); this one "
            f"ends.\n  Leave it to that one. Or end that one (a file `{run.STOP}` in the run's folder has it save and "
            "stop), and run the same command again."
        )
    return _number(last) + 1


@contextmanager
def held(run: RunFolder, attempt: str, since: float) -> Iterator[None]:
    """Claim the run as `claim` does, and hold it for this attempt until the end of the block."""
    _here.add(attempt)
    try:
        claim(run, attempt, since)
        yield
    finally:
        _here.discard(attempt)


def begin(run: RunFolder, attempt: str, config: bytes) -> None:
    """Prepare the run's folder for the workers: status `running`, no stop file, this launch's configuration.

    Args:
        config: content of config.json.

    Raises:
        TakenOverError: another launch has taken the run over meanwhile.
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
