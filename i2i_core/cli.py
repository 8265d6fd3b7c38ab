"""Flags from dataclasses, and honest exit codes: what every entry point shares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Annotated, Any, NoReturn, TypeVar

import tyro
from tyro.conf import HelptextFromCommentsOff, OmitArgPrefixes, OmitSubcommandPrefixes, Suppress
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, StructConstructorSpec, StructTypeInfo

from i2i_core.errors import RunError, Stopped, UserError
from i2i_core.settings import AUTO

Options = TypeVar("Options")
PASSED_ON = HelptextFromCommentsOff
"""Marks a dataclass that our rule passes on to tyro's own. Comments beside fields are no help texts."""
NUMBER_OR_AUTO = PrimitiveConstructorSpec(
    nargs=1,
    metavar="INT|auto",
    instance_from_str=lambda given: AUTO if given == ["auto"] else int(given[0]),
    is_instance=lambda value: isinstance(value, int),
    str_from_instance=lambda value: [str(value)],
)
"""How a number is read that may be `auto`."""


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


def early(arguments: Sequence[str], *names: str) -> dict[str, str]:
    """Read a few flags before the others are known: those that are given, by name without the dashes.

    `parse` says what is wrong with them.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for name in names:
        first.add_argument(f"--{name}", nargs="?", const="")
    given, _ = first.parse_known_args(arguments)
    return vars(given)


def asks_for_help(arguments: Sequence[str], *names: str) -> bool:
    """Tell whether `--help` is asked for and none of the flags is given that say of what."""
    return bool({"-h", "--help"} & {*arguments}) and not early(arguments, *names)


def parse(options: Options, program: str, arguments: Sequence[str], about: str = "") -> Options:
    """Read flags over the values of a dataclass whose sections are dataclasses too: one flag for each of their fields.

    Unknown flags and values of a wrong type exit with code 2.

    Args:
        options: gives the type, and the defaults.
        about: heads `--help`; none given: the dataclass's docstring.

    Raises:
        UserError: as the dataclasses do.
    """
    return tyro.cli(
        type(options),
        prog=program,
        description=about or None,
        args=list(arguments),
        default=options,
        config=(OmitArgPrefixes, OmitSubcommandPrefixes),
        registry=_registry(),
    )


def _registry() -> ConstructorRegistry:
    """Make tyro heed what `setting` says of a field: the name of its flag, or that the data fills it in."""
    registry = ConstructorRegistry()

    @registry.struct_rule
    def section(info: StructTypeInfo) -> StructConstructorSpec | None:
        if not is_dataclass(info.type) or PASSED_ON in info.markers:
            return None
        found = ConstructorRegistry.get_struct_spec(replace(info, markers=(*info.markers, PASSED_ON)))
        assert isinstance(found, StructConstructorSpec)
        noted = {field.name: field.metadata for field in fields(info.type)}
        return replace(
            found,
            fields=tuple(
                replace(f, type=_marked(f.type, noted[f.name]), helptext=partial(_flowing, f.helptext))
                for f in found.fields
            ),
        )

    return registry


def _flowing(text: str | Callable[[], str | None] | None) -> str | None:
    """Join a help text's lines, which tyro leaves apart where they are indented; None where there is none."""
    return " ".join(((text() if callable(text) else text) or "").split()) or None


def _marked(kind: Any, noted: Mapping[str, Any]) -> Any:
    if noted.get("derived"):
        return Annotated[kind, Suppress]
    if noted.get("auto"):
        return Annotated[kind, NUMBER_OR_AUTO]
    return Annotated[kind, tyro.conf.arg(name=noted["name"])] if noted.get("name") else kind
