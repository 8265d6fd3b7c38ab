"""Read flags into dataclasses, and end programs with an exit code that says how they went."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Annotated, Any, NoReturn, TypeVar

import tyro
from tyro.conf import HelptextFromCommentsOff, OmitArgPrefixes, OmitSubcommandPrefixes, Suppress
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, StructConstructorSpec, StructTypeInfo

from i2i_core.errors import ConfigError, RunError, Stopped, UserError
from i2i_core.flags import ALL, HELP, flags_of, flowing, page
from i2i_core.settings import AUTO

Groups = Mapping[str, Sequence[str]]
Options = TypeVar("Options")
PASSED_ON = HelptextFromCommentsOff
"""Marks a dataclass that our rule hands on to tyro's own. Comments beside fields are no help texts."""
OURS = {
    "--batch": "Give --batch N: the global batch, over all workers together.",
    "--gpu": "Give --gpu, and --workers N for N of them.",
    "--data": "Give --data FOLDER_OR_URL: a data set that shard.py made.",
    "--input": "Give --input FOLDER_OR_URL.",
    "--storage": "Give --storage FOLDER_OR_URL, where runs are kept; --name NAME is the run's own folder there.",
    "--out": "Give --out FOLDER_OR_URL.",
    "--fast": "Give --fast bf16; or leave it out: auto takes bf16 where it is faster.",
    "--loaders": "Give --loaders N for processes that read and decode; --workers N is how many train.",
    "--images": "Give --images N: progress is counted in images, of which an update takes a batch or several.",
    "--epochs": "Give --epochs N.",
    "--init-from": "Give --init-from RUN_OR_CHECKPOINT to begin with its networks; the same command resumes a run.",
    "--image-size": "Give --image-size N.",
    "--samples": "Give --samples N.",
    "--lr": "Give --lr RATE.",
    "--g-lr": "Give --g-lr RATE and --d-lr RATE.",
}
"""The fix for a flag of another program, by our flag."""
ELSEWHERE = {
    "--batch": ("batch-size", "bs", "train-batch-size", "global-batch"),
    "--gpu": ("gpus", "gpu-ids", "num-gpus", "n-gpus", "device", "cuda"),
    "--data": ("dataset", "dataroot", "data-dir", "data-path", "dataset-path", "train-data"),
    "--input": ("data", "dataset", "dataroot", "data-dir", "images-dir", "source", "input-dir"),
    "--out": ("output", "output-dir", "out-dir", "results-dir"),
    "--storage": ("output", "output-dir", "out-dir", "checkpoints-dir", "log-dir", "save-dir", "run-dir", "out"),
    "--fast": ("precision", "amp", "fp16", "bf16", "mixed-precision", "compile"),
    "--loaders": ("num-workers", "num-threads", "dataloader-workers"),
    "--images": ("iterations", "iters", "steps", "max-steps", "num-iters"),
    "--epochs": ("n-epochs", "num-epochs", "max-epochs", "niter"),
    "--init-from": ("checkpoint", "pretrained", "load", "resume", "resume-from", "continue-train", "load-network"),
    "--image-size": ("crop-size", "resolution", "img-size", "size"),
    "--samples": ("trials", "num-trials", "n-trials"),
    "--lr": ("learning-rate",),
    "--g-lr": ("learning-rate", "lr"),
}
"""The names that other programs give to a flag of ours."""
NUMBER_OR_AUTO = PrimitiveConstructorSpec(
    nargs=1,
    metavar="INT|auto",
    instance_from_str=lambda given: AUTO if given == ["auto"] else int(given[0]),
    is_instance=lambda value: isinstance(value, int),
    str_from_instance=lambda value: [str(value)],
)
"""Reads a number that may be `auto`."""


def main(run: Callable[[], int | None]) -> NoReturn:
    """Run a program, print one message for an expected error, and exit.

    The exit code is 0 when `run` is done, 2 for wrong input, 130 when Ctrl-C ended the program at once, and 1 for
    anything else: also for a run that somebody stopped, which has saved what it needs to go on. A UserError, a RunError
    and a place without permission print no traceback.
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

    Unknown flags and values of a wrong type exit with code 2. Help exits with 0, also if its reader closes the pipe
    early (`| head`).

    Args:
        options: gives the type, and the defaults.
        about: heads the help; none given: the dataclass's docstring.
        common: the flags that `--help` shows, by group; `--help-all` shows every flag. None: both show every flag.

    Raises:
        UserError: as the dataclasses raise it; a flag that other programs have, with the name that it has here.
    """
    flags = flags_of(options)
    if not {*HELP, ALL} & {*arguments}:
        _check_familiar(arguments, {flag.name for flag in flags}, program)
    with _quiet_pipe():
        if common and {*HELP} & {*arguments}:
            print(page(program, about, flags, common))
            sys.exit(0)
        return _read(options, program, [HELP[-1] if each == ALL else each for each in arguments], about)


def _check_familiar(arguments: Sequence[str], known: set[str], program: str) -> None:
    """Refuse a flag that only other programs have. Raises ConfigError, which names our flag."""
    for given in (argument.partition("=")[0] for argument in arguments if argument.startswith("--")):
        name = given[2:].replace("_", "-")
        if f"--{name}" not in known:
            for ours, names in ELSEWHERE.items():
                if name in names and ours in known:
                    raise ConfigError(given, f"a flag that {program} has not", ours, OURS[ours])


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


def _read(options: Options, program: str, arguments: Sequence[str], about: str) -> Options:
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
            fields=tuple(
                replace(f, type=_marked(f.type, noted[f.name]), helptext=partial(_flowing, f.helptext))
                for f in found.fields
            ),
        )

    return registry


def _flowing(text: str | Callable[[], str | None] | None) -> str | None:
    """Join a help text's lines, which tyro leaves apart where they are indented; None where there is none."""
    return flowing(text() if callable(text) else text) or None


def _marked(kind: Any, noted: Mapping[str, Any]) -> Any:
    if noted.get("derived"):
        return Annotated[kind, Suppress]
    if noted.get("auto"):
        return Annotated[kind, NUMBER_OR_AUTO]
    return Annotated[kind, tyro.conf.arg(name=noted["name"])] if noted.get("name") else kind
