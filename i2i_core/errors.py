"""The errors that reach a person, and the words they arrive in.

Everything a user can get wrong raises a `UserError`: entry points print its message without a
traceback and exit with code 2. A `RunError` is a run that was asked for correctly and could not
go on; entry points print it and exit with code 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong input. The message says where, what was found, what was expected, and what to do.

    Args:
        where: the field, flag or file that is wrong, as the user wrote it.
        found: what stands there.
        expected: what may stand there.
        fix: one sentence: what to type or change.
    """

    def __init__(self, where: str, found: str, expected: str, fix: str) -> None:
        super().__init__(where, found, expected, fix)
        self.where, self.found, self.expected, self.fix = where, found, expected, fix

    def __str__(self) -> str:
        return f"{self.where}: found {self.found}; expected {self.expected}.\n  {self.fix}"


class ConfigError(UserError):
    """A field of the configuration has a value it cannot have."""


class DataError(UserError):
    """A data set is missing, damaged, or not what the method reads."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, or of another method or configuration."""


class ResourceError(UserError):
    """The cluster, the batch or the storage cannot hold what was asked for."""


class RunError(Exception):
    """A correct run that cannot go on; the message says why and what state it leaves."""


class Stopped(RunError):  # noqa: N818
    """A run that was asked to stop, and has saved what it takes to go on."""


class WorkerError(RunError):
    """What one worker meets alone: the others wait for it, and must be ended from without.

    Attributes:
        together: set once all workers raise it alike.
    """

    together = False


class TakenOverError(WorkerError):
    """The same run was launched again, and this launch of it is no longer wanted."""


class UnrecordedError(RunError):
    """Why a run ended, where its folder could not take it."""


class NonFiniteError(RunError):
    """A loss or gradient was NaN or infinite; no weight was moved by it."""


def nearest(name: str, names: Iterable[str]) -> str:
    """The fix for an unknown name: the closest known ones, or all of them."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return "Did you mean " + " or ".join(close) + "?"
    return "Known: " + ", ".join(known) + "."
