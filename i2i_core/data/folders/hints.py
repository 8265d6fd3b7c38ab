"""Say which layouts would take a folder, each with what must be true for it: names alone do not tell what images show.

Every hint is a command's flags; following it makes a data set of what the condition says.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from i2i_core.data.folders import pairing
from i2i_core.data.folders.listing import stem
from i2i_core.data.folders.splits import DOMAIN_FOLDER, SPLITS, is_split

MOST = 3
"""Hints that a message gives."""
_SHOWN = 4
"""Folders that a hint names."""


class Listed(Protocol):
    """Describe a folder's listing."""

    @property
    def uri(self) -> str: ...
    @property
    def images(self) -> list[str]: ...


class Hint(NamedTuple):
    """Hold the flags that would take a folder, and what must be true for them to be right."""

    layout: str
    means: str
    flags: str

    def __str__(self) -> str:
        return f"If {self.means}: `{self.flags}`."


class Parts(NamedTuple):
    """Hold an image's split, the folder below that, and the rest of its path without ending."""

    split: str
    folder: str
    rest: str


def hints(listing: Listed, celeba: bool = False) -> list[Hint]:
    """List what a folder may be, the likeliest first.

    Args:
        listing: the folder.
        celeba: whether a list of attributes lies in it, as CelebA's does.
    """
    if not listing.images:
        return []
    found = [Hint("celeba", "its images are those of the list of attributes", "--layout celeba")] if celeba else []
    tops = {path.split("/")[0] if "/" in path else "" for path in listing.images}
    if domains := _domains(tops):
        return [*found, Hint("unpaired", f"{domains} are domains without pairs", "--layout unpaired")]
    parts = _parts(listing.images, tops)
    if parts is None:
        return found
    folders = {part.folder for part in parts}
    if "" not in folders:
        in_splits = all(is_split(top) for top in tops)
        found += _of_two(parts, sorted(folders), listing.uri, in_splits) if len(folders) == 2 else []
        if len(folders) > 1 and not celeba:
            named = ", ".join(sorted(folders)[:_SHOWN]) + (", ..." if len(folders) > _SHOWN else "")
            found.append(Hint("classes", f"each folder is a class ({named})", "--layout classes"))
        return found
    if folders == {""}:
        if words := pairing.told_apart([(part.split, part.rest) for part in parts]):
            found.append(_by_words(words, ("", "")))
        means = "each image holds A on its left half and B on its right (--stacked: one above the other)"
        found.append(Hint("ab", means, "--layout ab"))
    return found


def _domains(tops: Iterable[str]) -> str:
    """Name the folders where they are those of two domains, in every split; else nothing."""
    found: dict[str, set[str]] = defaultdict(set)
    for top in tops:
        match = DOMAIN_FOLDER.fullmatch(f"{top}/")
        if not match:
            return ""
        found[SPLITS[match[1]]].add(match[2])
    return " and ".join(sorted(tops)[:2]) if all(len(of) == 2 for of in found.values()) else ""


def _parts(images: Sequence[str], tops: Iterable[str]) -> list[Parts] | None:
    """Take the paths of images apart; None where some lie in folders of splits and others beside them."""
    splits = [is_split(top) for top in tops]
    if any(splits) and not all(splits):
        return None
    parts = []
    for path in images:
        split, rest = path.split("/", 1) if all(splits) else ("", path)
        folder, _, rest = rest.partition("/") if "/" in rest else ("", "", rest)
        parts.append(Parts(split, folder, stem(rest)))
    return parts


def _of_two(parts: Sequence[Parts], folders: Sequence[str], uri: str, in_splits: bool) -> Iterator[Hint]:
    """Give the hints for two folders, or for two in every folder of a split."""
    names = [{(part.split, part.rest) for part in parts if part.folder == folder} for folder in folders]
    a, b = folders
    if names[0] == names[1]:
        example = min(names[0])[1]
        yield Hint("pairs", f"{a}/{example} and {b}/{example} are a pair, and so on", "--layout pairs")
    elif words := pairing.told_apart_between(*names):
        yield _by_words(words, (f"{a}/", f"{b}/"))
    if not in_splits:
        yield two_domains(f"{uri.rstrip('/')}/{a}", f"{uri.rstrip('/')}/{b}", f"{a} and {b}")
    elif all(len({part.split for part in parts if part.folder == f}) == len({p.split for p in parts}) for f in folders):
        yield Hint("unpaired", f"{a} and {b} are two domains without pairs", "--layout unpaired")


def two_domains(a: str, b: str, named: str) -> Hint:
    """Give the hint that two folders are domains without pairs."""
    flags = f"--layout unpaired --input {shlex.quote(a)} --input-b {shlex.quote(b)}"
    return Hint("unpaired", f"{named} are two domains without pairs", flags)


def _by_words(words: pairing.Words, below: tuple[str, str]) -> Hint:
    a, b = words.patterns(below)
    shown = (a.replace("{key}", "x"), b.replace("{key}", "x"))
    flags = f"--layout pairs --pair-pattern {shlex.quote(a)} {shlex.quote(b)}"
    return Hint("pairs", f"{shown[0]} and {shown[1]} are a pair", flags)


def told_apart(listing: Listed) -> str:
    """Say which patterns make pairs of a folder's images; nothing where there are none."""
    found = [hint for hint in hints(listing) if "--pair-pattern" in hint.flags]
    return "".join(f" {hint}" for hint in found)


def of_two_folders(a: Listed, b: Listed) -> str:
    """Say what else two folders without a common name may be, in further sentences."""
    tops = [{path.split("/")[0] if "/" in path else "" for path in side.images} for side in (a, b)]
    both = [_parts(side.images, of) for side, of in zip((a, b), tops, strict=True)]
    if both[0] is None or both[1] is None:
        return ""
    names = [
        {(part.split, "/".join(filter(None, (part.folder, part.rest)))) for part in parts} for parts in both if parts
    ]
    where = f"--input {shlex.quote(a.uri)} --input-b {shlex.quote(b.uri)}"
    found = []
    if words := pairing.told_apart_between(names[0], names[1]):
        hint = _by_words(words, ("", ""))
        found.append(hint._replace(flags=f"{hint.flags} {where}"))
    if {part.split for part in both[0]} == {part.split for part in both[1]}:
        found.append(two_domains(a.uri, b.uri, "they"))
    return "".join(f" {hint}" for hint in found)


def advice(found: Sequence[Hint], asked: str) -> str:
    """Write the fix of a folder that a layout does not take."""
    others = [str(hint) for hint in found if hint.flags != f"--layout {asked}"]
    return " ".join(others[:MOST]) if others else "Name another folder, or lay it out so."
