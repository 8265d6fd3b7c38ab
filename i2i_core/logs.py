"""Log what a run does: records of the standard `logging`, each with the run and the rank that it comes from.

Modules log to `logging.getLogger(__name__)`. Nothing is set up when they are imported: a program that uses them from
Python decides what it shows, as with any library. Our own programs and their workers call `show`.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO, get_args

Level = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)
PACKAGE = __name__.partition(".")[0]
"""The logger above those of all modules here."""


class Origin(logging.Filter):
    """Note in each record which run and which of its workers it comes from, as `record.run` and `record.rank`.

    Args:
        run: its name; "" where the process works for no run.
        rank: of the worker; None for a process that is none.
    """

    def __init__(self, run: str = "", rank: int | None = None) -> None:
        super().__init__()
        self.run, self.rank = run, rank

    def filter(self, record: Any) -> bool:
        record.run, record.rank = self.run, self.rank
        return True


class Line(logging.Formatter):
    """Write a record as `2026-11-28 03:00:12 RUN[RANK] WARNING: message`, without what it has none of."""

    def format(self, record: Any) -> str:
        rank = "" if record.rank is None else f"[{record.rank}]"
        return " ".join(filter(None, [self.formatTime(record, "%Y-%m-%d %H:%M:%S"), record.run + rank, worded(record)]))


class Screen(logging.StreamHandler[TextIO]):
    """Write to what `sys.stdout` is at the time. Not by `print`, which Ray Train doubles in its workers: once for its
    own log, once for the driver."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


def worded(record: logging.LogRecord) -> str:
    """Give a record's message, with its level before it where that is not `info`."""
    message = record.getMessage()
    return message if record.levelno == logging.INFO else f"{record.levelname}: {message}"


def show(level: Level = "info", run: str = "", rank: int | None = None) -> None:
    """Write this package's records to the screen from now on, and no longer where an earlier call had them written.

    Args:
        level: the least that is shown.
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


def shown() -> Level:
    """Give the level that `show` was called with, for other processes to show the same."""
    least = logging.getLogger(PACKAGE).getEffectiveLevel()
    return next((level for level in LEVELS if least <= getattr(logging, level.upper())), "error")
