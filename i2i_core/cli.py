"""What every entry point shares: flags from configuration sections, and honest exit codes."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import tyro

from i2i_core.errors import RunError, Stopped, UserError
from i2i_core.settings import field_docs


def main(run: Callable[[], int | None]) -> NoReturn:
    """Exits with 0 when `run` is done, 2 when the user's input was wrong, 1 for anything else: also for a run that was
    asked to stop, which has saved what it takes to go on; 130 where Ctrl-C ended it at once.

    These print one message and no traceback; so do a RunError and a place that may not be read or written.
    """
    try:
        code = run() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        code = 2
    except PermissionError as error:
        fix = "Check its permissions; of object storage also the credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID, ...)."
        print(f"error: {error.filename}: {error.strerror}.\n  {fix}", file=sys.stderr, flush=True)
        code = 2
    except Stopped as error:  # says so itself
        print(error, file=sys.stderr, flush=True)
        code = 1
    except RunError as error:
        print(f"failed: {error}", file=sys.stderr, flush=True)
        code = 1
    except KeyboardInterrupt:
        said = "interrupted: what was saved is kept, and the same command goes on from it"
        print(said, file=sys.stderr, flush=True)
        code = 130
    sys.exit(code)


def flags(title: str, sections: dict[str, Any], own: Sequence[tuple[str, Any, Any, str]] = ()) -> type[Any]:
    """A dataclass whose fields are the flags of the given sections and `own` ones.

    Args:
        title: the class's docstring, which heads `--help`.
        sections: name -> a section with the defaults to show.
        own: (name, type, default, help) of flags that belong to no section.
    """
    fields: list[Any] = [
        (name, Annotated[hint, tyro.conf.arg(help=text)], dataclasses.field(default=default))
        for name, hint, default, text in own
    ]
    for name, section in sections.items():
        group = _flag_group(name, section)
        shown = tyro.conf.arg(name="", help=section.__doc__)
        fields.append((name, Annotated[group, shown], dataclasses.field(default=group())))
    made = dataclasses.make_dataclass("Flags", fields, frozen=True)
    made.__doc__ = title
    return made


def _flag_group(name: str, section: Any) -> type[Any]:
    hints, docs = typing.get_type_hints(type(section)), field_docs(type(section))
    fields: list[Any] = []
    for f in dataclasses.fields(section):
        if f.metadata.get("derived"):
            continue
        arg = tyro.conf.arg(name=f.metadata.get("name") or None, help=docs.get(f.name, ""))
        fields.append((f.name, Annotated[hints[f.name], arg], dataclasses.field(default=getattr(section, f.name))))
    made = dataclasses.make_dataclass(name, fields, frozen=True)
    made.__doc__ = type(section).__doc__
    return made


def early(arguments: Sequence[str], *names: str) -> dict[str, str]:
    """Read a few flags before the others are known: those that are given, by name without the dashes.

    `parse` says what is wrong with them.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for name in names:
        first.add_argument(f"--{name}", nargs="?", const="")
    given, _ = first.parse_known_args(arguments)
    return vars(given)


def with_flags(section: Any, group: Any) -> Any:
    """The section with the values that were parsed. Raises ConfigError as the section does."""
    given = {f.name: getattr(group, f.name) for f in dataclasses.fields(group)}
    return dataclasses.replace(section, **given)


def parse(flags_type: type[Any], program: str, arguments: Sequence[str]) -> Any:
    """Flags from the command line; unknown ones and values of a wrong type exit with code 2."""
    return tyro.cli(
        flags_type,
        prog=program,
        args=list(arguments),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
    )
