"""Read JSON from files that may hold anything: the plain values that were written, or one error that names the file.

Every file that a program of this project wrote as JSON is read here. `loads` bounds what a text may hold, so that no
reader needs bounds of its own; `read` also checks types.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from i2i_core.errors import ConfigError, DataError, UserError
from i2i_core.settings import MOST_SHOWN, typed

MOST_BYTES = 64 << 20
"""Bytes of a JSON file: the longest, a manifest of some 300,000 shards, has fewer."""
MOST_DEPTH = 32
"""Lists and objects in one another."""
MOST_NUMBER = 1 << 64
"""Bounds a whole number, and one below zero."""
TOO_DEEP = f"more than {MOST_DEPTH} lists in one another"


def read(
    data: bytes | str,
    hint: Any,
    where: str,
    fix: str,
    error: type[UserError] = DataError,
    most: int = MOST_BYTES,
    finite: bool = True,
) -> Any:
    """Read JSON whose values have the types of `hint`, which `settings.typed` explains.

    Args:
        where: the file's name, with which messages begin.
        fix: says what to do about a file that cannot be read.
        error: the kind of error to raise.
        most, finite: as for `loads`.

    Raises:
        UserError: of that kind, for a text that is not such JSON.
    """
    try:
        return typed(hint, loads(data, most, finite), where)
    except ValueError as wrong:
        raise error(where, f"text that is not JSON ({wrong})", "a file as it was written", fix) from None
    except ConfigError as wrong:
        raise error(wrong.where, wrong.found, wrong.expected, fix) from None


def loads(data: bytes | str, most: int = MOST_BYTES, finite: bool = True) -> Any:
    """Parse JSON: UTF-8, each name once, numbers that 64 bits hold, nothing nested deeper than MOST_DEPTH.

    Args:
        most: bytes that the text may have.
        finite: refuse NaN and Infinity, which JSON lacks and Python writes.

    Raises:
        ValueError: anything else; its text says what is wrong in a few words.
    """
    if len(data) > most:
        raise ValueError(f"{len(data):,} bytes, over the limit of {most:,}")
    try:
        text = data if isinstance(data, str) else data.decode()
        values = json.loads(text, object_pairs_hook=once)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.object[error.start]:#x} at {error.start:,}, not UTF-8") from None
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except ValueError as error:
        raise ValueError(str(error)[:MOST_SHOWN]) from None
    check(values, finite)
    return values


def once(pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Make a dictionary of pairs. Raise ValueError for a repeated name, or for one that is no string."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        if not isinstance(name, str):
            raise ValueError(f"{repr(name)[:MOST_SHOWN]} as a name; write it in quotes")
        if name in made:
            raise ValueError(f"twice {name[:MOST_SHOWN]!r}")
        made[name] = value
    return made


def check(values: Any, finite: bool = True) -> None:
    """Raise ValueError for plain values that `loads` refuses: nested too deep, numbers too large or not finite."""
    level = [values]
    for _ in range(MOST_DEPTH + 1):
        level = [inner for one in level for inner in _inside(one, finite)]
    if level:
        raise ValueError(TOO_DEEP)


def _inside(value: Any, finite: bool) -> Iterable[Any]:
    """Give what a list or an object holds; of a number check its size."""
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list):
        return value
    if isinstance(value, int) and not -MOST_NUMBER <= value <= MOST_NUMBER:
        raise ValueError(f"a number of {value.bit_length()} bits")
    if isinstance(value, float) and finite and not math.isfinite(value):
        raise ValueError(f"{value}, not a finite number")
    return ()
