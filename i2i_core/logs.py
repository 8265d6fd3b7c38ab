"""Log what a run does: records of the standard `logging`, each with the run and the rank that it comes from.

Modules log to `logging.getLogger(__name__)`. An import sets nothing up: a program that uses the modules from Python
decides what it shows, as with any library. Our own programs and their workers call `show`.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO, get_args

Level = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)
PACKAGE = __name__.partition(".")[0]
"""The logger above those of all modules here."""
TALKATIVE = ("botocore", "aiobotocore")
"""Loggers of libraries whose information, on where they found credentials, is shown to nobody."""


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
    record has none, and the level `info` always."""

    def format(self, record: Any) -> str:
        rank = "" if record.rank is None else f"[{record.rank}]"
        line = " ".join(filter(None, [self.formatTime(record, "%Y-%m-%d %H:%M:%S"), record.run + rank, worded(record)]))
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


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
    message = record.getMessage()
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
