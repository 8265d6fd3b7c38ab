"""Define the errors that reach a person, and the form of their messages.

A `UserError` is wrong input: entry points print its message without a traceback and exit with code 2. A `RunError` ends
a run whose input was right and which cannot go on: entry points print it and exit with code 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from i2i_core.names import printable, printable_text


class UserError(Exception):
    """Report wrong input: where it is, what was found, what was expected, and what to do.

    Args:
        where: the field, flag or file that is wrong, as the user wrote it.
        found: the value that stands there.
        expected: the values that may stand there.
        fix: one sentence that says what to type or change.
    """

    def __init__(self, where: str, found: str, expected: str, fix: str) -> None:
        super().__init__(where, found, expected, fix)
        self.where, self.found, self.expected, self.fix = where, found, expected, fix

    def __str__(self) -> str:
        where, expected = printable(self.where), printable(self.expected)
        return f"{where}: found {printable_text(self.found)}; expected {expected}.\n  {printable_text(self.fix)}"


class ConfigError(UserError):
    """Report a value that a field of the configuration cannot have."""


class DataError(UserError):
    """Report a data set that is missing, damaged, or of another kind than the method reads."""


class CheckpointError(UserError):
    """Report a checkpoint that is missing, damaged, or of another method or configuration."""


class ResourceError(UserError):
    """Report a request that the cluster, the batch or the storage cannot hold."""


class RunError(Exception):
    """End a run whose input was right and which cannot go on. The message says why, and what state the run leaves."""


class Stopped(RunError):  # noqa: N818
    """End a run that somebody stopped, after it has saved what it needs to go on."""


class WorkerError(RunError):
    """Report a failure that one worker meets alone. The others wait for that worker, so the launch must end them.

    Attributes:
        together: true once every worker raises the error.
    """

    together = False


class TakenOverError(WorkerError):
    """End a launch of a run that another launch has taken over."""


class UnrecordedError(RunError):
    """Carry the reason why a run ended when the run's folder could not store it."""


class NonFiniteError(RunError):
    """Report a loss or gradient that was NaN or infinite. No weight has moved by it."""


def counted(number: int, one: str) -> str:
    """Write a number with its noun: `1 image`, `2,000 images`."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


NEARLY = 0.15
"""Largest difference of difflib's ratio between the nearest name and others that are named beside it."""


def nearly(name: str, names: Iterable[str], least: float = 0.6) -> list[str]:
    """List the names that are most like a name, at most three; none is less alike than `least`."""
    found = difflib.get_close_matches(name, sorted(names), n=3, cutoff=least)
    alike = {each: difflib.SequenceMatcher(None, each, name).ratio() for each in found}
    return [each for each in found if alike[each] >= alike[found[0]] - NEARLY]


def nearest(name: str, names: Iterable[str]) -> str:
    """Write the fix for an unknown name: the closest known names, or all of them."""
    known = sorted(map(printable, names))
    if close := nearly(name, known, 0.5):
        return "Did you mean " + " or ".join(close) + "?"
    return "Known: " + ", ".join(known) + "."
