"""Treat names as data: file, class, attribute, metric and run names may come from anybody, and hold any character.

`printable` and `printable_text` are for what is shown on a screen, in a log, a picture, a table or a page; `no_part`
and `shortened` for what becomes the name of a file or folder; `listed` for names that a person lists.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

MOST_NAME = 240
"""Bytes in the name of a file or folder: file systems take 255, and a name may get an ending or a number."""
_QUOTED = re.compile(r'([+-]?)"((?:[^"]|"")*)"\s*(?=,|$)')
_WORD = re.compile(r"[^,]*")
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


def normal(name: str) -> str:
    """Give the one form (NFC) of a name whose accents may be written in two ways: macOS and keyboards differ."""
    return unicodedata.normalize("NFC", name)


def listed(text: str, known: Collection[str] = ()) -> list[str]:
    """Cut a list of names at its commas, except those of a known name and those in quotes.

    Spaces around a name do not count. A known name is given as it is known, whichever way its accents are written; with
    a sign before it, with that. What stands in quotes is taken as it is, with "" for a quote; a sign may stand before.
    """
    if text in known:
        return [text]
    text, found, at = normal(text), list[str](), 0
    signed = {f"{sign}{normal(name)}": f"{sign}{name}" for sign in "-+" for name in known}
    names = signed | {normal(name): name for name in known}
    longest = sorted(names, key=len, reverse=True)
    while at < len(text):
        at += len(text[at:]) - len(text[at:].lstrip())
        name = next((n for n in longest if text.startswith(n, at) and _ends(text, at + len(n))), None)
        if name is not None:
            found.append(names[name])
            at += len(name)
        elif match := _QUOTED.match(text, at):
            word = match[1] + match[2].replace('""', '"')
            found += [names.get(word, word)] if word else []
            at = match.end()
        else:
            match = _WORD.match(text, at)
            assert match
            found += [match[0].strip()] if match[0].strip() else []
            at = match.end()
        at = text.find(",", at) + 1 or len(text)
    return found


def _ends(text: str, at: int) -> bool:
    """Tell whether a name of a list may end there: at a comma, or at the end."""
    rest = text[at:].lstrip()
    return not rest or rest[0] == ","


def quoted(name: str) -> str:
    """Write a name as it stands in a list: in quotes where it holds what the list is made of."""
    plain = name and name == name.strip() and not {*',"'} & {*name} and name[0] not in "+-"
    return name if plain else '"' + name.replace('"', '""') + '"'


def alike(names: Iterable[str]) -> tuple[str, str] | None:
    """Find two names that differ in case, in how their accents are written, or in spaces around them alone."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(normal(normal(name).casefold()).strip(), name)
        if other != name:
            return other, name
    return None
