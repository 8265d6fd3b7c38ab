"""What the program logs, as a list of lines without times: `WARNING: the run diverges: ...`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from i2i_core.logs import PACKAGE, Level, worded


class Lines(logging.Handler):
    def __init__(self, then: Callable[[str], object]) -> None:
        super().__init__()
        self.then = then

    def emit(self, record: logging.LogRecord) -> None:
        self.then(worded(record))


@contextmanager
def collected(then: Callable[[str], object] = lambda line: None, level: Level = "info") -> Iterator[list[str]]:
    """Collect what is logged from now on, by any thread of this process.

    Args:
        then: called with each line, by the thread that logs it.
        level: the least that is collected.
    """
    logger, lines = logging.getLogger(PACKAGE), list[str]()
    handler, before = Lines(lambda line: (lines.append(line), then(line))), logger.level
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
