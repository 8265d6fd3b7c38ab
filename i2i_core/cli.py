"""Read flags into dataclasses, and end programs with an exit code that says how they went."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass, replace
from inspect import cleandoc
from threading import current_thread, main_thread
from types import FrameType
from typing import Annotated, Any, NoReturn, TextIO, TypeVar

import tyro
from tyro.conf import HelptextFromCommentsOff, OmitArgPrefixes, OmitSubcommandPrefixes, Suppress
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, StructConstructorSpec, StructTypeInfo

from i2i_core.arguments import check
from i2i_core.credentials import redacted
from i2i_core.errors import RunError, Stopped, UserError
from i2i_core.flags import ALL, HELP, SIZE, flags_of, page, whole_page
from i2i_core.names import printable_text
from i2i_core.settings import AUTO
from i2i_core.sizes import parsed_size, said
from i2i_core.submitted import why_absent

Groups = Mapping[str, Sequence[str]]
Options = TypeVar("Options")
STDERR = 2
STOPPING = b"\nstopping: what was started has to end first; another Ctrl-C ends it at once\n"
"""Answer to Ctrl-C; a line of its own also behind a progress bar."""
PASSED_ON = HelptextFromCommentsOff
"""Marks a dataclass that our rule hands on to tyro's own. Comments beside fields are no help texts."""
NUMBER_OR_AUTO = PrimitiveConstructorSpec(
    nargs=1,
    metavar="INT|auto",
    instance_from_str=lambda given: AUTO if given == ["auto"] else int(given[0]),
    is_instance=lambda value: isinstance(value, int),
    str_from_instance=lambda value: [str(value)],
)
"""Reads a number that may be `auto`."""
SIZED = PrimitiveConstructorSpec(
    nargs=1,
    metavar=SIZE,
    instance_from_str=lambda given: parsed_size(given[0]),
    is_instance=lambda value: isinstance(value, int | tuple),
    str_from_instance=lambda value: [said(value)],
)
"""Reads a size."""


def main(run: Callable[[], int | None]) -> NoReturn:
    """Run a program, print one message for an expected error, and exit.

    The exit code is 0 when `run` is done, 2 for wrong input, 130 when Ctrl-C ended the program at once, and 1 for
    anything else: also for a run that somebody stopped, which has saved what it needs to go on. Ctrl-C is answered at
    once, whatever has to end before the program does. A UserError, a RunError and a place without permission print no
    traceback. Nothing that is printed holds credentials.
    """
    atexit.register(gc.freeze)  # the interpreter's last search for garbage takes a second beside torch and Ray
    code, said = 0, [""]
    try:
        with _answering_interrupts():
            code = run() or 0
    except UserError as error:
        code, said = 2, [f"error: {error}", *(f"  {why}" for why in filter(None, [why_absent(error)]))]
    except PermissionError as error:
        fix = "Check its permissions; of object storage also the credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID, ...)."
        code, said = 2, [f"error: {error.filename}: {error.strerror}.\n  {fix}"]
    except Stopped as error:  # says so itself
        code, said = 1, [str(error)]
    except RunError as error:
        code, said = 1, [f"failed: {error}"]
    except KeyboardInterrupt:
        code, said = 130, ["interrupted: what was saved is kept, and the same command goes on from it"]
    except Exception:  # a fault of ours, or of a library: libraries' messages may hold addresses
        code, said = 1, traceback.format_exc().rstrip().split("\n")
    if said != [""]:
        say(*said, file=sys.stderr)
    sys.exit(code)


@contextmanager
def _answering_interrupts() -> Iterator[None]:
    """Print a line as soon as Ctrl-C is pressed inside the block: workers and clusters take seconds to end. Python's
    own handler comes back with it, so that another Ctrl-C ends those seconds."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or current_thread() is not main_thread():
        yield
        return

    def answer(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.default_int_handler)
        with suppress(OSError):  # not through `print`, which the signal may have come into the middle of
            os.write(STDERR, STOPPING)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, answer)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def say(*lines: object, file: TextIO | None = None) -> None:
    """Print lines on standard output, or on another file. Names in them are data: nothing in one steers a terminal, and
    none begins a line of its own. Credentials never show."""
    print(*(printable_text(redacted(str(line))) for line in lines), sep="\n", file=file or sys.stdout, flush=True)


def clear() -> None:
    """Clear the terminal, where standard output is one."""
    if sys.stdout.isatty():
        sys.stdout.write("\x1b[H\x1b[J")


def early(arguments: Sequence[str], *names: str) -> dict[str, str]:
    """Read the values of a few flags before the others are known, by name without the dashes; absent ones are left out.

    Wrong values pass here; `parse` reports them.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for name in names:
        first.add_argument(f"--{name}", nargs="?", const="")
    given, _ = first.parse_known_args(arguments)
    return vars(given)


def asks_for_help(arguments: Sequence[str], *names: str) -> bool:
    """Tell if the arguments ask for help and give none of the named flags, which would choose its subject."""
    return bool({*HELP, ALL} & {*arguments}) and not early(arguments, *names)


def parse(
    options: Options, program: str, arguments: Sequence[str], about: str = "", common: Groups | None = None
) -> Options:
    """Read flags over the values of a dataclass whose sections are dataclasses too: one flag for each of their fields.

    Help exits with 0, also if its reader closes the pipe early (`| head`).

    Args:
        options: gives the type, and the defaults.
        about: heads the help; none given: the dataclass's docstring.
        common: the flags that `--help` shows, by group; `--help-all` shows every flag. None: both show every flag.

    Raises:
        UserError: as the dataclasses raise it; an unknown flag, or a value that its flag cannot take.
    """
    flags = flags_of(options)
    if asked := {*HELP, ALL} & {*arguments}:
        about = cleandoc(about or type(options).__doc__ or "")
        with _quiet_pipe():
            print(
                page(program, about, flags, common)
                if common and ALL not in asked
                else whole_page(program, about, flags)
            )
        sys.exit(0)
    check(arguments, flags, program)
    return _read(options, program, arguments)


def check_any(arguments: Sequence[str], program: str, *options: object) -> None:
    """Check arguments against the flags of several dataclasses together, where nobody knows yet which of them counts.

    Raises:
        ConfigError: none of them has such a flag, or a value is none that it takes.
    """
    check(arguments, list({flag.name: flag for each in options for flag in flags_of(each)}.values()), program)


@contextmanager
def _quiet_pipe() -> Iterator[None]:
    """Exit with 0 and print nothing if the reader of stdout closes the pipe inside the block."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be said at the exit
        sys.exit(0)


def _read(options: Options, program: str, arguments: Sequence[str]) -> Options:
    return tyro.cli(
        type(options),
        prog=program,
        args=list(arguments),
        default=options,
        config=(OmitArgPrefixes, OmitSubcommandPrefixes),
        registry=_registry(),
    )


def _registry() -> ConstructorRegistry:
    """Make tyro follow what `setting` records of a field: the name of its flag, or that the data fills it in."""
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
            fields=tuple(replace(f, type=_marked(f.type, noted[f.name])) for f in found.fields),
        )

    return registry


def _marked(kind: Any, noted: Mapping[str, Any]) -> Any:
    if noted.get("derived"):
        return Annotated[kind, Suppress]
    if noted.get("auto"):
        return Annotated[kind, NUMBER_OR_AUTO]
    if noted.get("size"):
        return Annotated[kind, SIZED]
    return Annotated[kind, tyro.conf.arg(name=noted["name"])] if noted.get("name") else kind
