"""Declare, check, save and read sections of the configuration.

A section is a frozen dataclass in `i2i_core/config/`, which imports no torch. `setting(...)` declares each field and
records whether a resumed run must agree with the saved value (`resume="match"`: loss weights, batch, seed) or may
change it (`resume="free"`: workers, logging, length). `__post_init__` checks the values with the helpers below, whose
errors name the field.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar

from i2i_core.errors import ConfigError, nearest
from i2i_core.sizes import MOST_SIDE, Size, parsed_size, said, simplest


class Auto(int):
    """Stand for a number that the program finds before a run starts: `auto` on the command line and in files."""

    def __new__(cls, value: int = 0) -> Auto:
        return super().__new__(cls, 0)

    def __repr__(self) -> str:
        return "auto"

    __str__ = __repr__


AUTO = Auto()
Resume = Literal["match", "free"]
Section = TypeVar("Section")
MOST_WHOLE = 10**12
"""Largest whole number of a field that states no other; it counts images, bytes, or seconds."""
MOST_REAL = 1e9
"""Largest real number of a field that states no other: a weight, a rate, or seconds."""
MOST_SEED = 2**63 - 1
MOST_PROCESSES = 10_000
"""Most workers, and CPUs of a worker."""
MOST_SHOWN, MOST_DIGITS = 200, 40
"""Characters of a wrong value, and digits of a number, that a message shows."""
MOST_COMPARED = 1000
"""Characters of each of two values that a message compares."""


def setting(
    default: Any,
    *,
    resume: Resume = "match",
    name: str = "",
    derived: bool = False,
    auto: bool = False,
    most: float | None = None,
    before: Any = None,
    size: bool = False,
) -> Any:
    """Declare a dataclass field with its default, its rule on resume, its flag, and its largest value.

    Args:
        resume: `match` if a resumed run must have the saved value, `free` if it may have another.
        name: the flag's name, if it is not the field's.
        derived: true for a field that the program fills in from the data; such a field has no flag.
        auto: true if the number may be AUTO, which `pipelines/` replace before anything else reads it.
        most: the largest number that the field takes (`check_numbers`); None: MOST_WHOLE or MOST_REAL.
        size: true for a field of type `Size`; see `size_setting`.
        before: the default of earlier releases, which a run's name leaves out in place of today's; None: the same.
    """
    noted = {"resume": resume, "name": name, "derived": derived, "auto": auto, "most": most, "size": size}
    if before is not None:
        noted["before"] = before
    return dataclasses.field(default=default, metadata=noted)


def size_setting(default: Size) -> Any:
    """Declare a field of type `Size`: a number for a square, `WIDTHxHEIGHT` on the command line and in files."""
    return setting(default, most=MOST_SIDE, size=True)


def unnamed(field: dataclasses.Field[Any]) -> Any:
    """Return the value of a field that a run's name leaves out: its default, or that of earlier releases."""
    return field.metadata.get("before", field.default)


def resume_rule(field: dataclasses.Field[Any]) -> Resume:
    """Return a field's rule on resume; `match` for a field that `setting` did not declare."""
    return field.metadata.get("resume", "match")


def flag(name: str) -> str:
    """Spell a field's name as on the command line: `lambda_rec` -> `--lambda-rec`."""
    return "--" + name.replace("_", "-")


def flag_of(field: dataclasses.Field[Any]) -> str:
    """Spell a section's field as on the command line, where it may have another name."""
    return flag(field.metadata.get("name") or field.name)


def check_numbers(section: Any) -> None:
    """Raise ConfigError for the first number of a section that is not finite, or above its largest value.

    Every section calls this before any other check, so that nothing is computed from, or made of, such a number.
    """
    for field in dataclasses.fields(section):
        values = getattr(section, field.name)
        for value in values if isinstance(values, tuple) else (values,):
            if isinstance(value, float) and not math.isfinite(value):
                fix = f"Give {flag_of(field)} a number."
                raise ConfigError(flag_of(field), repr(value), "a finite number", fix)
            if isinstance(value, int | float) and value > (most := most_of(field, value)):
                fix = f"Give {flag_of(field)} a value <= {most:,.12g}."
                raise ConfigError(flag_of(field), shown(value), f"a number of at most {most:,.12g}", fix)


def most_of(field: dataclasses.Field[Any], value: float = 0) -> float:
    """Return the largest number that a field takes; by default that of whole numbers or, for a float, of real ones."""
    most: float | None = field.metadata.get("most")
    return most if most is not None else MOST_REAL if isinstance(value, float) else MOST_WHOLE


def shown(value: Any) -> str:
    """Write a value for a message: of a long one the beginning, of a long number how many digits it has."""
    text = repr(value)
    if isinstance(value, int) and len(text) > MOST_DIGITS:
        return f"a number of {len(text.lstrip('-'))} digits"
    return cut(text)


def cut(text: str, most: int = MOST_SHOWN) -> str:
    """Shorten a text for a message to its first characters."""
    return text if len(text) <= most else f"{text[:most]}..."


def check_below(section: Any, limit: float, *names: str) -> None:
    """Raise ConfigError for the first of the named fields that is not from 0 up to `limit`, itself not included."""
    for name in names:
        value = getattr(section, name)
        if not 0 <= value < limit:
            expected = f"a number from 0 up to, and below, {limit}"
            raise ConfigError(flag(name), shown(value), expected, f"Give {flag(name)} a value in that range.")


def check_at_least(section: Any, minimum: float, *names: str) -> None:
    """Raise ConfigError for the first of the named fields that is below `minimum` or NaN."""
    for name in names:
        value = getattr(section, name)
        if not value >= minimum:
            raise ConfigError(
                flag(name), shown(value), f"a number >= {minimum}", f"Give {flag(name)} a value >= {minimum}."
            )


def check_between(section: Any, low: float, high: float, *names: str) -> None:
    """Raise ConfigError for the first of the named fields that lies outside [low, high]."""
    for name in names:
        value = getattr(section, name)
        if not low <= value <= high:
            raise ConfigError(
                flag(name), shown(value), f"a number from {low} to {high}", f"Give {flag(name)} a value in that range."
            )


def check_positive(section: Any, *names: str) -> None:
    """Raise ConfigError for the first of the named fields that is not above zero."""
    for name in names:
        value = getattr(section, name)
        if not value > 0:
            raise ConfigError(flag(name), shown(value), "a number > 0", f"Give {flag(name)} a value above zero.")


def check_choice(section: Any, name: str, choices: tuple[Any, ...]) -> None:
    """Raise ConfigError unless the field holds one of the choices."""
    value = getattr(section, name)
    if value not in choices:
        listed = ", ".join(map(str, choices))
        raise ConfigError(flag(name), repr(value), f"one of {listed}", nearest(str(value), map(str, choices)))


def to_dict(section: Any) -> dict[str, Any]:
    """Convert a section to plain JSON values; tuples become lists."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: _plain_of(f, plain(getattr(value, f.name))) for f in dataclasses.fields(value)}
        if isinstance(value, Auto):
            return "auto"
        if isinstance(value, tuple | list):
            return [plain(v) for v in value]
        if isinstance(value, Mapping):
            return {k: plain(v) for k, v in value.items()}
        return value

    return plain(section)


def _plain_of(field: dataclasses.Field[Any], value: Any) -> Any:
    """Write a size that is no square as a text."""
    return said(tuple(value)) if field.metadata.get("size") and isinstance(value, list | tuple) else value


def from_dict(kind: type[Section], values: Mapping[str, Any], where: str = "configuration") -> Section:
    """Build the section `kind` from plain values.

    Raises:
        ConfigError: a key that is unknown or missing, or a value of a wrong type, which the message names as
            `where.key`.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(where, shown(values), "values by name", f'Write {{"NAME": VALUE}} at {where}.')
    hints = typing.get_type_hints(kind)
    fields = {f.name: f.metadata for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ConfigError(
                f"{where}.{key[:MOST_SHOWN]}", "an unknown key", f"a field of {kind.__name__}", nearest(key, fields)
            )
    said = {key for key, value in values.items() if isinstance(value, Auto) or value == "auto"}
    autos = {key: AUTO for key in said if fields[key].get("auto")}
    taken = {key: typed(hints[key], value, f"{where}.{key}") for key, value in values.items() if key not in autos}
    _check_keys((f.name for f in dataclasses.fields(kind) if _is_required(f)), values, where)  # type: ignore[arg-type]
    return kind(**taken, **autos)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.init and field.default is field.default_factory is dataclasses.MISSING


def _check_keys(required: Iterable[str], values: Mapping[str, Any], where: str) -> None:
    if missing := [key for key in required if key not in values]:
        raise ConfigError(where, f"no {missing[0]!r}", f"a value for {missing[0]}", f"Add it at {where}.")


def typed(hint: Any, value: Any, where: str) -> Any:
    """Give a plain value as the type `hint` has it, or raise ConfigError, which names `where`.

    A hint is a plain type, a dataclass, a TypedDict (whose unknown keys are left out), or a tuple, a list, a union with
    None or a dictionary by name of them.
    """
    if hint is Any:
        return value
    if hint == Size:
        return _size(value, where)
    if typing.is_typeddict(hint) and isinstance(value, Mapping):
        hints = typing.get_type_hints(hint)
        _check_keys(sorted(hint.__required_keys__), value, where)
        return {key: typed(hints[key], value[key], f"{where}.{key}") for key in hints if key in value}
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType or origin is typing.Union:
        if value is None and type(None) in args:
            return None
        return typed(next(a for a in args if a is not type(None)), value, where)
    if origin in (tuple, list) and isinstance(value, list | tuple):
        return origin(typed(args[0], v, where) for v in value)
    if origin is dict and isinstance(value, Mapping):
        return {key: typed(args[1], v, f"{where}.{key}") for key, v in value.items()}
    if origin is Literal and value in args:
        return value
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_dict(typing.cast(type, hint), value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    is_plain = isinstance(hint, type) and not typing.is_typeddict(hint)
    if is_plain and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(
        where, f"{shown(value)} ({type(value).__name__})", _named(hint), f"Write a value of that kind at {where}."
    )


def _size(value: Any, where: str) -> Size:
    """Read a size: a number, `WIDTHxHEIGHT`, or a tuple of height and width, which only Python can write."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    is_tuple = isinstance(value, tuple) and len(value) == 2
    if is_tuple and all(isinstance(side, int) and not isinstance(side, bool) for side in value):
        return simplest(value)
    try:
        return parsed_size(value if isinstance(value, str) else "")
    except ValueError:
        expected = "pixels of a square's side, or WIDTHxHEIGHT"
        raise ConfigError(where, shown(value), expected, 'Write 256, or "512x256".') from None


def flags_of_saved(saved: Any, given: Any) -> list[str]:
    """List the flags that give the saved values of fields that must match on resume and do not, for a command line.

    Those that no flag gives are left out: `derived` fields, which follow from the data.
    """
    found: list[str] = []
    for field in dataclasses.fields(given):
        old, new = getattr(saved, field.name), getattr(given, field.name)
        if dataclasses.is_dataclass(new):
            found += flags_of_saved(old, new) if type(old) is type(new) else []
        elif resume_rule(field) == "match" and old != new and not field.metadata.get("derived"):
            found.append(_typed_as(flag_of(field), _plain_of(field, old)))
    return found


def _typed_as(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"--no-{name[2:]}"
    words = value if isinstance(value, list | tuple) else [value]
    return " ".join([name, *(shlex.quote(str(word)) for word in words)])


def difference(saved: Any, given: Any) -> str:
    """Write two values that differ. The one of today need not have been given: it may be a default, or the data's."""
    return f"saved {cut(repr(saved), MOST_COMPARED)}, now {cut(repr(given), MOST_COMPARED)}"


def _named(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def differences(saved: Any, given: Any, where: str = "") -> list[str]:
    """List the fields that must match on resume and do not, each as a line `key: saved X, now Y`."""
    lines: list[str] = []
    for field in dataclasses.fields(given):
        old, new = getattr(saved, field.name), getattr(given, field.name)
        key = f"{where}{field.name}"
        if dataclasses.is_dataclass(new) and type(old) is type(new):
            lines += differences(old, new, f"{key}.")
        elif dataclasses.is_dataclass(new):
            continue  # another method's section: the line of the method says it
        elif resume_rule(field) == "match" and old != new:
            read = " (of what the run reads)" if field.metadata.get("derived") else ""
            lines.append(f"{key}: {difference(_plain_of(field, old), _plain_of(field, new))}{read}")
    return lines
