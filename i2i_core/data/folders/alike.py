"""Refuse names of classes or attributes that a person would take for one."""

from __future__ import annotations

from collections.abc import Iterable

from i2i_core.errors import DataError
from i2i_core.names import alike, normal


def check_apart(names: Iterable[str], where: str, what: str, fix: str = "") -> None:
    """Check that names differ in more than case, spaces around them, and how their accents are written.

    Args:
        names: of classes or attributes.
        where: names the input in the message.
        what: `class` or `attribute`.
        fix: what to do; empty: what helps with the folders of classes, or with columns of attributes.

    Raises:
        DataError: two that do not.
    """
    two = alike(names)
    if not two:
        return
    shown = [repr(name) for name in two]
    if normal(two[0]) == normal(two[1]):  # they look the same
        shown = [f"{name!r} ({name!a})" for name in two]
    if not fix and what == "attribute":
        fix = "Name those that you want with --attributes, or rename one of the two."
    fix = fix or "If they are one class, give both folders the same name; else rename one of them."
    raise DataError(where, " and ".join(shown), f"each {what} with a name that differs in more than case", fix)
