"""Log what a run does: records of the standard `logging`, each with the run and the rank that it comes from.

Modules log to `logging.getLogger(__name__)`. An import sets nothing up: a program that uses the modules from Python
decides what it shows, as with any library. Our own programs and their workers call `show`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any, Literal, TextIO, get_args

from i2i_core.credentials import redacted
from i2i_core.names import printable, printable_text

Level = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)
PACKAGE = __name__.partition(".")[0]
"""The logger above those of all modules here."""
TALKATIVE = ("botocore", "aiobotocore")
"""Loggers of libraries whose information, on where they found credentials, is shown to nobody."""

EVERY = 10.0
"""Seconds between two lines of progress."""


class Origin(logging.Filter):
    """Set `record.run` and `record.rank` of each record: the run and the worker that it comes from.

    Args:
        run: the run's name; "" in a process that works for no run.
        rank: the worker's rank; None in a process that is no worker.
    """

    def __init__(self, run: str = "", rank: int | None = None) -> None:
        super().__init__()
        self.run, self.rank = run, rank

    def filter(self, record: Any) -> bool:
        record.run, record.rank = self.run, self.rank
        return True


class Line(logging.Formatter):
    """Format a record as `2026-11-28 03:00:12 RUN[RANK] WARNING: message`. Run, rank or level are left out where the
    record has none, and the level `info` always.

    Names in messages are data: nothing in one steers a terminal, and none begins a line of its own.
    Credentials never show.
    """

    def format(self, record: Any) -> str:
        rank = "" if record.rank is None else f"[{record.rank}]"
        words = [self.formatTime(record, "%Y-%m-%d %H:%M:%S"), printable(record.run) + rank, worded(record)]
        traced = self.formatException(record.exc_info).split("\n") if record.exc_info else []
        return redacted("\n".join([" ".join(filter(None, words)), *(f"  {printable(line)}" for line in traced)]))


class Screen(logging.StreamHandler[TextIO]):
    """Write records to whatever `sys.stdout` is when each is written. `print` is not used: in a worker of Ray Train it
    writes twice, once to Ray Train's own log."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


def worded(record: logging.LogRecord) -> str:
    """Give a record's message, preceded by its level unless that is `info`."""
    message = printable_text(record.getMessage())
    return message if record.levelno == logging.INFO else f"{record.levelname}: {message}"


def show(level: Level = "info", run: str = "", rank: int | None = None) -> None:
    """Write this package's records to the screen from now on. A second call replaces the first.

    Args:
        level: the least level that is shown.
        run, rank: as `Origin` has them.
    """
    logger = logging.getLogger(PACKAGE)
    for handler in [handler for handler in logger.handlers if isinstance(handler, Screen)]:
        logger.removeHandler(handler)
    screen = Screen()
    screen.setFormatter(Line())
    screen.addFilter(Origin(run, rank))
    logger.addHandler(screen)
    logger.setLevel(level.upper())
    logger.propagate = False  # a second copy of each line, where Ray or a library shows those of the root
    for name in TALKATIVE:
        logging.getLogger(name).setLevel("WARNING")


def shown() -> Level:
    """Give the level that `show` was last called with, so that another process can show the same."""
    least = logging.getLogger(PACKAGE).getEffectiveLevel()
    return next((level for level in LEVELS if least <= getattr(logging, level.upper())), "error")


def clock(seconds: float) -> str:
    """Format seconds as 1:02:03, or as 2:03 under an hour."""
    minutes, s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{s:02d}" if hours else f"{minutes}:{s:02d}"


class ProgressLines:
    """Tell how far work has come, its rate and the time left, at most once in EVERY seconds and not at its end.

    Args:
        what: the work: "classifier".
        total: units of all of it.
        unit: their name in the plural: "images".
        say: takes each line.
        now: gives seconds.
    """

    def __init__(
        self, what: str, total: int, unit: str, say: Callable[[str], Any], now: Callable[[], float] = time.monotonic
    ) -> None:
        self.what, self.total, self.unit, self.say, self.now = what, total, unit, say, now
        self.before = self.done = -1
        self.began = self.said = 0.0

    def __call__(self, n: int) -> None:
        """Count units that are done; those of the first call were done before."""
        now = self.now()
        if self.before < 0:
            self.before = self.done = n
            self.began = self.said = now
            return
        self.done += n
        if now - self.said >= EVERY and self.done < self.total:
            self.said, rate = now, (self.done - self.before) / max(now - self.began, 1e-9)
            so_far = f"{self.what}: {self.done:,} / {self.total:,} {self.unit}"
            speed = f"{rate:,.{1 if rate < 10 else 0}f} {self.unit}/s"
            self.say(f"{so_far} | {speed} | {clock((self.total - self.done) / rate)} left")
