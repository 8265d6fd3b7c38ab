"""Treat names as data: file, class, attribute, metric and run names may come from anybody, and hold any character.

`printable` and `printable_text` are for what is shown on a screen, in a log, a picture, a table or a page; `no_part`
and `shortened` for what becomes the name of a file or folder.
"""

from __future__ import annotations

import re

MOST_NAME = 240
"""Bytes in the name of a file or folder: file systems take 255, and a name may get an ending or a number."""
_FURTHER_LINE = re.compile(r"\n(?= )")
"""Begins a further line of our own messages, which is indented."""


def printable(text: str) -> str:
    r"""Escape every character that a terminal may obey or hide, as `repr` does: `\x1b`, `\n`, `\u202e`, `\udcff`.

    Escapes control characters, new lines, marks of direction, characters without a shape and lone surrogates. Other
    text stays as it is, and so does text that was escaped before.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_text(text: str) -> str:
    """Escape a message as `printable` does, and keep its further lines, those that are indented."""
    return "\n".join(map(printable, _FURTHER_LINE.split(text)))


def shortened(text: str, most: int) -> str:
    """Cut a text to a number of bytes of UTF-8, between two characters."""
    return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore")


def no_part(name: str) -> str:
    """Say why a name cannot be one part of a path or URL, that of a file or folder; empty if it can."""
    if "/" in name or "\\" in name:
        return "a path"
    if name in (".", ".."):
        return "a path that leaves its folder"
    if not name.isprintable():
        return "characters that cannot be printed"
    if "::" in name:
        return "a chain of protocols"
    if not {*"*?["}.isdisjoint(name):  # what removes files on object storage takes them for patterns
        return "a wild card"
    if (size := len(name.encode())) > MOST_NAME:
        return f"{size} bytes"
    return "" if name.strip() == name and name else "a space at its beginning or end, or nothing"
