"""List the flags of a program, with their help texts and defaults, and write the short page of help."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from fnmatch import fnmatchcase
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import tyro

from i2i_core.settings import flag_of
from i2i_core.sizes import Size, said

ALL = "--help-all"
"""The flag that shows every flag; `--help` shows those that people use."""
HELP = ("-h", "--help")
WIDTH = 100
"""Most columns of the page; fewer on a narrower screen."""
COLUMN = 26
"""Column where help texts begin."""
SIZE = "INT|WxH"
"""Form of a size: a square's side, or width and height."""
KINDS: dict[Any, str] = {str: "STR", int: "INT", float: "FLOAT", Path: "PATH"}


@dataclass(frozen=True)
class Flag:
    """Describe one flag of a program.

    Attributes:
        name: with its dashes; of a positional argument, the word that stands for it.
        section: name of the field that holds its section; "" for the program's own flags.
        kind: the form of its value, as `INT` or `{AtoB,BtoA}`; "" for a switch.
        default: its default as it would be typed; "" where the default is nothing.
        owner, field: the dataclass and its field that the flag sets.
    """

    name: str
    section: str
    kind: str
    default: str
    owner: type[Any]
    field: str

    @property
    def text(self) -> str:
        """Read the help text, without the default: the string below the field."""
        return texts_of(self.owner).get(self.field, "")  # type: ignore[arg-type]  # classes are hashable

    @property
    def typed(self) -> str:
        """Write the flag with the form of its value; a switch that is on by default with what switches it off."""
        if not self.name.startswith("--"):
            return f"{self.name} ..." if self.kind.endswith("...") else self.name
        name = f"--[no-]{self.name[2:]}" if self.default == "on" else self.name
        return f"{name} {self.kind}".strip()


def documented(body: Sequence[ast.stmt]) -> dict[str, str]:
    """Read the strings that stand below assignments, by the assigned name, each as one line."""
    found: dict[str, str] = {}
    for statement, after in pairwise(body):
        if isinstance(statement, ast.AnnAssign):
            targets: list[ast.expr] = [statement.target]
        elif isinstance(statement, ast.Assign):
            targets = statement.targets
        else:
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            found |= {name.id: flowing(after.value.value) for name in targets if isinstance(name, ast.Name)}
    return found


def flowing(text: str | None) -> str:
    """Join the lines of a text."""
    return " ".join((text or "").split())


@cache
def texts_of(kind: type[Any]) -> dict[str, str]:
    """Read the help texts of a dataclass's fields, its bases' included."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if is_dataclass(each):
            with suppress(OSError):  # a class that was typed at a prompt has no source, and no help texts
                tree = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
                assert isinstance(tree, ast.ClassDef)
                found |= documented(tree.body)
    return found


def flags_of(options: Any, section: str = "") -> list[Flag]:
    """List the flags of an options dataclass, in the order of its fields; its sections' flags follow its own."""
    hints = typing.get_type_hints(type(options), include_extras=True)
    own: list[Flag] = []
    inner: list[Flag] = []
    for field in fields(options):
        value, hint = getattr(options, field.name), hints[field.name]
        if is_dataclass(value):
            inner += flags_of(value, field.name)
        elif not field.metadata.get("derived"):
            place = typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()
            name = field.name.upper() if tyro.conf.Positional in place else flag_of(field)
            kind = "INT|auto" if field.metadata.get("auto") else _kind(hint)
            default = said(value) if field.metadata.get("size") else typed_value(value)
            own.append(Flag(name, section, kind, default, type(options), field.name))
    return [*own, *inner]


def _kind(hint: Any) -> str:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _kind(inside[0])
    if hint == Size:
        return SIZE
    if origin is Literal:
        return f"{{{','.join(map(str, inside))}}}"
    if origin is tuple:
        each = [_kind(kind) for kind in inside if kind is not Ellipsis]
        return f"{each[0]} ..." if Ellipsis in inside else " ".join(each)
    if origin in (types.UnionType, typing.Union):
        return "|".join(_kind(kind) for kind in inside if kind is not type(None))
    return "" if hint is bool else KINDS.get(hint, "VALUE")


def typed_value(value: Any) -> str:
    """Write a value as it would be typed; nothing for an empty one, and for a switch that is off."""
    if isinstance(value, bool):
        return "on" if value else ""
    if isinstance(value, tuple):
        return " ".join(map(typed_value, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def by_section(flags: Sequence[Flag]) -> dict[str, list[Flag]]:
    """Group flags by the section that they set, in their order."""
    groups: dict[str, list[Flag]] = {}
    for flag in flags:
        groups.setdefault(flag.section, []).append(flag)
    return groups


def page(program: str, about: str, flags: Sequence[Flag], common: Mapping[str, Sequence[str]]) -> str:
    """Write the page of `--help`: what the program does, and the flags that people use, in groups.

    Args:
        common: by the title of a group, names of flags without dashes; `lambda-*` stands for all that begin so. Flags
            that this program does not have are left out.
    """
    groups = {
        title: [flag for name in names for flag in flags if fnmatchcase(flag.name.lstrip("-"), name)]
        for title, names in common.items()
    }
    return f"{_listed(program, about, groups, flags)}\n\nAll {len(flags)} flags: the same command with {ALL}."


def whole_page(program: str, about: str, flags: Sequence[Flag]) -> str:
    """Write the page of `--help-all`: what the program does, and every flag, by the section that it sets."""
    groups = {_title(section, shown): shown for section, shown in by_section(flags).items()}
    return _listed(program, about, groups, flags)


def _title(section: str, shown: Sequence[Flag]) -> str:
    about = re.split(r"[.:]\s", f"{flowing(inspect.getdoc(shown[0].owner))} ", maxsplit=1)[0]
    return f"{section.replace('_', ' ')} ({about[0].lower()}{about[1:]})" if section else "of the program itself"


def _listed(program: str, about: str, groups: Mapping[str, Sequence[Flag]], flags: Sequence[Flag]) -> str:
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    places = [flag.typed for flag in flags if not flag.name.startswith("--")]
    lines = [" ".join(["usage:", program, *places, "[FLAGS]"]), "", *_wrapped(about, width)]
    for title, shown in groups.items():
        if shown:
            lines += [
                "",
                *textwrap.wrap(f"{title}:", width),
                *(line for flag in shown for line in _described(flag, width)),
            ]
    return "\n".join(lines)


def _described(flag: Flag, width: int) -> Iterator[str]:
    default = f" (default: {flag.default})" if flag.default else ""
    head, room = f"  {flag.typed}", width - COLUMN
    lines = textwrap.wrap(flag.text + default, room, break_on_hyphens=False, break_long_words=False) or [""]
    if len(head) + 2 > COLUMN:
        yield head
        head = ""
    yield f"{head:<{COLUMN}}{lines[0]}".rstrip()
    yield from (" " * COLUMN + line for line in lines[1:])


def _wrapped(about: str, width: int) -> list[str]:
    """Break the paragraphs of a text anew; those that are indented stay as they are."""
    lines: list[str] = []
    for paragraph in about.strip().split("\n\n"):
        kept = paragraph.startswith(" ")
        wrapped = textwrap.wrap(paragraph, width, break_on_hyphens=False, break_long_words=False)
        lines += ["", *(paragraph.splitlines() if kept else wrapped)]
    return lines[1:]
