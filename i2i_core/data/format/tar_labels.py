"""Read what people write as labels of samples: numbers and names of classes, and objects of attributes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_CLASSES = 10_000
"""Classes that samples may have where they are not named."""
MOST_NAME = 80
"""Characters of the name of a class."""
CLASS_ENTRIES = ("label", "class", "cls", "category", "class_name", "label_name", "class_id", "label_id", "target")
"""Entries of a json that hold a class."""


class Other(str):
    """Name a value that can be no label, for messages."""


@dataclass(frozen=True)
class Unread:
    """Say why something holds no label."""

    cause: str


def label_in(member: str, data: bytes, entry: str = "") -> Any:
    """Read what a member holds: a number, the name of a class, or an object of such; or give an Unread.

    Args:
        member: its name; a json has to be JSON, others may be plain text.
        data: its bytes.
        entry: of a json, the entry that holds the label.
    """
    is_json = member.rpartition(".")[2] == "json"
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        return Unread(f"text that is not JSON ({error})") if is_json else _in_text(data)
    if entry:
        value = value.get(entry) if isinstance(value, dict) else None
        return Unread(f"no {entry}") if value is None else _flat(value)
    return _flat(value)


def _in_text(data: bytes) -> Any:
    """Read the number or the name of a class that a text holds."""
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        return Unread("bytes that are not JSON, nor text")
    if not text or len(text) > MOST_NAME or not text.isprintable():
        found = f"a text of {len(text)} characters" if text else "an empty text"
        return Unread(f"{found}, which is not JSON, nor the name of a class")
    return int(text) if text.isascii() and text.isdecimal() else text


def _flat(value: Any) -> Any:
    """Reduce a JSON value to what may be labels: a number, a name, or an object of these; of others the type's name."""
    if isinstance(value, dict):
        return {key: _brief(v) for key, v in value.items()}
    return _brief(value)


def _brief(value: Any) -> Any:
    if isinstance(value, str):
        is_name = 0 < len(value) <= MOST_NAME and value.isprintable()
        return value if is_name else Other(value[:MOST_NAME])
    return value if isinstance(value, int | float) else Other(type(value).__name__)


def is_bit(value: Any) -> bool:
    """Tell whether a value says of an attribute that a sample has it or not."""
    return isinstance(value, int | float) and value in (0, 1)


def is_class(value: Any) -> bool:
    """Tell whether a value is the number of a class."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_name(value: Any) -> bool:
    """Tell whether a value is the name of a class."""
    return isinstance(value, str) and not isinstance(value, Other)


@dataclass(frozen=True)
class LabelColumns:
    """Say how the labels of samples are read."""

    names: tuple[str, ...]
    exclusive: bool
    fits: list[bool]
    """True if each sample has such a label."""
    expected: str
    entry: str = ""
    """Entry of objects that holds the class."""
    by_name: bool = False
    """True if samples hold names of classes rather than their numbers."""

    def row(self, value: Any) -> list[int]:
        """Give 0 or 1 for each attribute of a label that fits."""
        if not self.exclusive:
            return [int(value[name]) for name in self.names]
        value = value[self.entry] if self.entry else value
        return [int((name if self.by_name else i) == value) for i, name in enumerate(self.names)]


def read_labels(values: Sequence[Any], attributes: tuple[str, ...]) -> LabelColumns:
    """Read the attributes of json objects, or classes by number or name, whichever more samples have.

    Attributes that are not named are those of the first object, if every sample has them; else of the commonest.
    """
    objects = [value for value in values if isinstance(value, dict)]
    entry = "" if len(objects) * 2 <= sum(value is not None for value in values) else _class_entry(objects, attributes)
    of = [value.get(entry) if isinstance(value, dict) else None for value in values] if entry else values
    numbers, named = [value for value in of if is_class(value)], [value for value in of if is_name(value)]
    if entry or max(len(numbers), len(named)) > len(objects):
        return _classes(of, numbers, named, attributes, entry)
    forms = [tuple(key for key, value in o.items() if is_bit(value)) for o in objects]
    choices = [attributes] if attributes else [*forms[:1], *(form for form, _ in Counter(forms).most_common(1))]
    fits = [False] * len(values)
    for names in choices:
        fits = [isinstance(v, dict) and bool(names) and all(is_bit(v.get(name)) for name in names) for v in values]
        if all(fits):
            break
    else:
        names = choices[-1] if choices else ()
    expected = f"an object with {', '.join(names) or 'attributes'} of 0 or 1, or a class number"
    return LabelColumns(names, False, fits, expected)


def _class_entry(objects: Sequence[dict[str, Any]], attributes: tuple[str, ...]) -> str:
    """Name the entry that holds a class in most objects, some of which is neither 0 nor 1; empty where none does."""
    if attributes and all(name in objects[0] for name in attributes):
        return ""
    for entry in CLASS_ENTRIES:
        values = [o[entry] for o in objects if entry in o]
        usable = [value for value in values if is_class(value) or is_name(value)]
        if len(usable) * 2 > len(objects) and not all(is_bit(value) for value in usable):
            return entry
    return ""


def _classes(
    values: Sequence[Any], numbers: Sequence[Any], named: Sequence[Any], attributes: tuple[str, ...], entry: str
) -> LabelColumns:
    if len(named) > len(numbers):
        names = attributes or tuple(sorted({*named}))
        known = {*names} if len(names) <= MOST_CLASSES else set[str]()
        expected = f"one of the classes {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"
        if not known:
            expected = f"a class that many samples share, of {MOST_CLASSES:,} at most"
        return LabelColumns(names, True, [is_name(v) and v in known for v in values], expected, entry, by_name=True)
    of = [value for value in numbers if value < MOST_CLASSES]
    names = attributes or tuple(f"class_{i}" for i in range(max(of, default=-1) + 1))
    fits = [is_class(value) and value < len(names) for value in values]
    return LabelColumns(names, True, fits, f"a class number from 0 to {len(names) - 1}", entry)
