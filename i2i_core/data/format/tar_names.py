"""Say what the members of a sample in somebody's tar are, and name the tars that people write as patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from i2i_core.data.folders.splits import SPLITS
from i2i_core.data.format.tars import at_first_dot
from i2i_core.errors import ConfigError, DataError, counted
from i2i_core.fields import WHOLE
from i2i_core.images.codec import EXTENSIONS

LABELS = ("json", "cls")
MOST_TARS = 1_000_000
"""Names that a pattern of tars may stand for."""
_FIELDS = ("image", "a", "b", "labels")
_MEMBER = re.compile(r"[^\W.]\w*([.-]\w+)*")
_EXAMPLE = "For example --member a=input.jpg b=target.png, or --member 'image=jpg;png' labels=txt."


@dataclass(frozen=True)
class MemberNames:
    """Say which member of a sample is which field, and where its key ends."""

    fields: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Members of each field, in lower case: a sample's first one of them counts. Empty: by their names."""
    labels: tuple[str, ...] = ()
    """Members that hold labels; empty: json and cls."""
    entry: str = ""
    """Entry of a json that holds the class."""
    last_dot: bool = False
    """True if keys end at the last dot of a name."""

    @staticmethod
    def of(given: Sequence[str], keys: Literal["first-dot", "last-dot"] = "first-dot") -> MemberNames:
        """Read the values of `--member`. Raises ConfigError for one that is none."""
        found: dict[str, tuple[str, ...]] = {}
        entry = ""
        for one in given:
            name, _, members = one.partition("=")
            if name == "labels" and ":" in members:
                members, _, entry = members.partition(":")
            some = tuple(part.strip().lower().removeprefix(".") for part in re.split("[;,]", members))
            if name not in _FIELDS or name in found or not all(map(_MEMBER.fullmatch, some)):
                expected = f"{', '.join(_FIELDS)}, each once, as NAME=MEMBER or NAME=MEMBER;MEMBER"
                raise ConfigError("--member", repr(one), expected, _EXAMPLE)
            found[name] = some
        labels, fields = found.pop("labels", ()), tuple(sorted(found.items()))
        if found.keys() not in ({"a", "b"}, {"image"}, set()):
            raise ConfigError("--member", " ".join(sorted(found)), "a and b together, or image", _EXAMPLE)
        if entry and labels != ("json",):
            fix = "For example --member labels=json:species."
            raise ConfigError("--member", f"labels={';'.join(labels)}:{entry}", "an entry of json", fix)
        return MemberNames(fields, labels, entry, keys == "last-dot")

    def cut(self, name: str) -> tuple[str, str]:
        """Cut the name of a file in a tar into key and member; the member is empty where it has none."""
        if not self.last_dot:
            return at_first_dot(name)
        lower, known = name.lower(), [*(one for _, some in self.fields for one in some), *self.labels]
        ends = [member for member in known if lower.endswith(f".{member}")]
        if not ends and (pair := re.search(r"\.([ab]\.[^./]+)$", lower)):
            ends = [pair[1]] if pair[1].rpartition(".")[2] in EXTENSIONS else []
        if ends:
            at = max(map(len, ends))
            return name[: -at - 1], name[-at:]
        folder, slash, last = name.rpartition("/")
        stem, dot, member = last.rpartition(".")
        return (f"{folder}{slash}{stem}", member) if dot and stem else (name, "")

    def is_label(self, member: str) -> bool:
        """Tell whether a member holds labels."""
        return member.lower() in (self.labels or LABELS)

    def is_image(self, member: str) -> bool:
        """Tell whether a member is an image that is read."""
        member = member.lower()
        if self.fields:
            return any(member in some for _, some in self.fields)
        return member not in self.labels and member.rpartition(".")[2] in EXTENSIONS

    @property
    def said(self) -> list[object]:
        """List what differs from WebDataset's own way, for checksums; empty where nothing does."""
        return [] if self == MemberNames() else [self.fields, self.labels, self.entry, self.last_dot]


# ---- names of tars ----


def cut_pattern(uri: str) -> tuple[str, str]:
    """Cut what names tars into a folder and a pattern below it; the pattern is empty where a folder is named.

    Raises:
        DataError: a command, or a list of addresses, which WebDataset would read.
    """
    if uri.startswith(("pipe:", "exec:")):
        found, fix = "a command", "Name the folder or the URL that it reads: --index s3://bucket/folder."
        raise DataError(f"--index {uri}", found, "a folder, a URL, a tar or a pattern of tars", fix)
    if re.search(r"\.tar::", uri):
        fix = "Name their folder, or write {a,b} for the parts that differ: --index 'FOLDER/{train,val}-000.tar'."
        raise DataError(f"--index {uri}", "several addresses", "one folder or one pattern", fix)
    parts = uri.split("/")
    at = next((i for i, part in enumerate(parts) if re.search(r"[*?{\[]", part)), len(parts))
    if at == len(parts) and parts[-1].endswith(".tar"):
        at -= 1
    return "/".join(parts[:at]) or ("/" if uri.startswith("/") else "."), "/".join(parts[at:])


def expanded(pattern: str, where: str) -> list[str]:
    """Expand `{000..099}` and `{a,b}` in a pattern. Raises DataError where it stands for too many names."""
    names, total = [""], 1
    for text, braces in re.findall(r"([^{}]*)(?:\{([^{}]*)\})?", pattern):
        if not (text or braces):
            continue
        total *= _number(braces) if braces else 1
        if total > MOST_TARS:
            fix = "Name a folder, or a pattern of fewer tars."
            raise DataError(where, f"a pattern of {total:,} names", f"at most {MOST_TARS:,}", fix)
        some = [*_choices(braces)] if braces else [""]
        names = [f"{name}{text}{choice}" for name in names for choice in some]
    return names


_RANGE = re.compile(r"(\d{1,12})\.\.(\d{1,12})")


def _number(braces: str) -> int:
    """Count what braces stand for."""
    if numbers := _RANGE.fullmatch(braces):
        return max(0, int(numbers[2]) - int(numbers[1]) + 1)
    return braces.count(",") + 1


def _choices(braces: str) -> Iterator[str]:
    if not (numbers := _RANGE.fullmatch(braces)):
        yield from braces.split(",")
        return
    first, last = map(int, numbers.groups())
    width = len(numbers[1]) if numbers[1].startswith("0") or len(numbers[1]) == len(numbers[2]) else 0
    for number in range(first, last + 1):
        yield f"{number:0{width}d}"


def chosen(names: Iterable[str], pattern: str, where: str) -> list[str]:
    """List the names that a pattern means. Raises DataError where it means some that are not there, or none."""
    there = sorted(names)
    if not pattern:
        return there
    wanted, known = expanded(pattern, where), {*there}
    found: dict[str, None] = {}
    missing = []
    for one in wanted:
        if re.search(r"[*?\[]", one):
            looks = re.compile(_as_regex(one))
            some = [name for name in there if looks.fullmatch(name)]
        else:
            some = [one] if one in known else []
        found |= dict.fromkeys(some)
        missing += [] if some else [one]
    if missing:
        fix = "Fetch what is missing, or name those that are there."
        of = f"{len(missing):,} of the {counted(len(wanted), 'name')} that the pattern stands for"
        raise DataError(where, f"nothing under {of} ({missing[0]})", "tars under all of them", fix)
    return sorted(found)


def _as_regex(pattern: str) -> str:
    """Write a pattern of file names as a regular expression; `*` and `?` stay within a folder."""
    words = {"*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*|\?|\[[^\[\]/]+\])", pattern)
    return "".join(
        words.get(p) or (f"[{p[1:-1].replace('!', '^', 1)}]" if p[:1] == "[" else re.escape(p)) for p in parts
    )


def split_of(name: str, domains: Sequence[str]) -> tuple[str, str]:
    """Find (split, domain) in the words of a shard's name: `train-A-000.tar`, `trainA-0.tar`, `horse/val-3.tar`. The
    split is empty where no word says one."""
    words = [word.lower() for word in re.split(r"[^0-9A-Za-z]+", name)]
    glued = {f"{split}{domain.lower()}": (split, domain) for split in SPLITS for domain in domains}
    for word in words:
        if word in glued:
            split, domain = glued[word]
            return SPLITS[split], "AB"[list(domains).index(domain)]
    split = next((SPLITS[word] for word in words if word in SPLITS), "")
    domain = next(("AB"[i] for i, name in enumerate(domains) if name.lower() in words), WHOLE)
    return split, domain
