"""List runs: `python pipelines/runs.py [STORAGE]`; free their room: `python pipelines/runs.py prune STORAGE`.

Without STORAGE it is the folder in which train.py puts runs. The list has a line for each run of the storage and each
trial of its sweeps: method, data, state, images, the metric of the best checkpoint, the room that the run takes, its
whole checkpoints, and how long ago it was last written to. `runs.py prune` removes old checkpoints; `runs.py prune
--help` shows its flags.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

try:
    import tyro
except ModuleNotFoundError as missing:  # another Python than `make setup` installed into
    sys.exit(f"error: {missing}. Run `make setup` once, and `source .venv/bin/activate` in every new shell.")

from i2i_core.cli import clear, main, parse, say
from i2i_core.config.common import PRUNE, RUNS
from i2i_core.config.launch import LaunchConfig
from i2i_core.errors import CheckpointError, ConfigError, RunError, counted, nearest
from i2i_core.names import printable
from i2i_core.settings import check_at_least, check_numbers, setting
from i2i_core.sizes import said_bytes
from i2i_core.storage.folder import Folder
from i2i_core.storage.near import corrected
from i2i_core.storage.paths import absolute

if TYPE_CHECKING:
    from i2i_core.checkpoints.pruning import Pruning
    from i2i_core.runs.listing import ListedRun

PROGRAM = "runs.py"
ABOUT_PRUNE = """
Show which old checkpoints could be removed, and with --yes remove them.

These always stay: a run's best checkpoint, its last whole one, everything of a run that may be running, and what the
configuration of a run of this storage names (--init-from, a classifier). Runs of other storages are not looked at.
"""
COLUMNS = ("run", "method", "data", "state", "images", "best", "disk", "checkpoints", "age")

Sort = Literal["name", "state", "images", "best", "disk", "age"]


@dataclass(frozen=True)
class ListOptions:
    """Say which runs to list, and in which order."""

    storage: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STORAGE")] = LaunchConfig.storage
    """Folder or URL that holds the runs: --storage of train.py."""
    sort: Sort = "name"
    """Order of the list. images, disk: the most first; age: the newest first; best: by metric and value."""
    follow: float = setting(0.0, most=86_400)
    """Seconds after which the list is made again, until Ctrl-C; 0 makes it once."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 0, "follow")


@dataclass(frozen=True)
class PruneOptions:
    """Say of which runs which checkpoints are no longer needed."""

    storage: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STORAGE")] = ""
    """Folder or URL that holds the runs: --storage of train.py."""
    run: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN")] = ()
    """Names of runs, as the list has them; none: all of them, the trials of sweeps too."""
    keep_last: int = 1
    """Newest whole checkpoints of a run to keep besides the best."""
    older_than: float = 0.0
    """Days since a checkpoint was written, below which it stays."""
    yes: bool = False
    """Remove the checkpoints. Without --yes they are only shown."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "keep_last")
        check_at_least(self, 0, "older_than")


def run() -> int:
    arguments = sys.argv[1:]
    if arguments[:1] == ["prune"]:
        return prune(parse(PruneOptions(), f"{PROGRAM} prune", arguments[1:], ABOUT_PRUNE, PRUNE))
    options = parse(ListOptions(), PROGRAM, arguments, __doc__ or "", RUNS)
    if options.storage == ListOptions.storage and not Folder(os.path.abspath(options.storage)).names():
        others = f"other folders: {PROGRAM} STORAGE"
        say(f"no runs in {options.storage}, where train.py puts them without --storage; {others}")
        return 0
    storage = _storage(options.storage, PROGRAM)
    with suppress(KeyboardInterrupt) if options.follow else nullcontext():
        while True:
            lines = _list(storage, options)
            if options.follow:
                clear()
            say(*lines)
            if not options.follow:
                break
            time.sleep(options.follow)
    return 0


def _list(storage: Folder, options: ListOptions) -> list[str]:
    """Give the lines of the list as it stands now."""
    from i2i_core.runs.listing import listed

    runs = listed(storage)
    keys: dict[str, Callable[[ListedRun], Any]] = {
        "name": lambda run: run.name,
        "state": lambda run: run.state,
        "images": lambda run: -run.images,
        "best": lambda run: (run.best is None, run.best_by, run.best),
        "disk": lambda run: -run.size.bytes,
        "age": lambda run: -run.size.written,
    }
    if not runs:
        return [f"no runs in {options.storage}"]
    return table(sorted(runs, key=keys[options.sort]), time.time()).split("\n")


def _storage(given: str, program: str) -> Folder:
    if not given:
        raise ConfigError("STORAGE", "nothing", f"{program} STORAGE", "Name the folder or URL that holds the runs.")
    storage = Folder(absolute(given, "STORAGE"))
    if not storage.names():
        fix = "Name the folder that train.py was given as --storage: it holds a folder for each run."
        raise ConfigError(
            "STORAGE", f"{given}, which is empty or not there", "a folder of runs", corrected(storage.url, fix)
        )
    if storage.exists("config.json"):
        raise ConfigError("STORAGE", f"{given}, a run", "the folder that holds it", "Name the folder above it.")
    return storage


def table(runs: Sequence[ListedRun], now: float) -> str:
    """Put runs into text, a line for each, with their sum; then what is damaged."""
    rows: list[tuple[str, ...]] = [COLUMNS]
    for each in runs:
        best = f"{each.best_by} {each.best:.4g}" if each.best is not None else ""
        room, many = said_bytes(each.size.bytes), str(len(each.whole))
        age = said_age(now - each.size.written) if each.size.written else ""
        images = f"{each.images:,}"
        cells = (each.name, each.method, each.data, each.state, images, best, room, many, age)
        rows.append(tuple(map(printable, cells)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = (0, 1, 2, 3, 5)
    lines = [
        "  ".join(
            f"{text:<{w}}" if i in left else f"{text:>{w}}" for i, (text, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    total = said_bytes(sum(each.size.bytes for each in runs))
    damaged = [f"damaged: {printable(each.name)}: {each.damage}" for each in runs if each.damage]
    return "\n".join([*(line.rstrip() for line in lines), f"{counted(len(runs), 'run')}, {total}", *damaged])


def said_age(seconds: float) -> str:
    """Say a time in its largest unit: `3 d`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def prune(options: PruneOptions) -> int:
    """Show what may go, and remove it where the options say so. Return the exit code."""
    storage = _storage(options.storage, f"{PROGRAM} prune")
    from i2i_core.checkpoints.pruning import DAY, plan
    from i2i_core.runs.listing import names_of_runs

    every = names_of_runs(storage)
    asked = [name.strip("/") for name in options.run]
    if unknown := [name for name in asked if name not in every]:
        raise ConfigError("RUN", unknown[0], f"a run of {storage.url}", nearest(unknown[0], every))
    prunings = plan(storage, asked or every, every, options.keep_last, options.older_than * DAY)
    failed = False
    for each in prunings:
        say(*(list(lines_of(each)) or [f"{each.name}: nothing to remove"]))
        failed |= options.yes and not _carried_out(storage, each, options.keep_last)
    going = [size.bytes for each in prunings for size in each.going.values()]
    sum_of = f"{counted(len(going), 'checkpoint')}, {said_bytes(sum(going))}"
    say(f"{sum_of}{'' if options.yes else ': nothing was removed; the same command with --yes removes them'}")
    return int(failed)


def lines_of(pruning: Pruning) -> list[str]:
    """Say what may go of a run and what keeps the rest, a line for each checkpoint."""
    name = pruning.name
    if pruning.alone:
        return [f"{name}: left alone: {pruning.alone}"]
    going = [f"{name}/{each}: {said_bytes(size.bytes)}" for each, size in pruning.going.items()]
    return [*going, *(f"{name}/{each}: kept: {why}" for each, why in pruning.spared.items())]


def _carried_out(storage: Folder, pruning: Pruning, keep_last: int) -> bool:
    """Remove what may go of a run. Print why, and return False, where not all of it could."""
    from i2i_core.checkpoints.pruning import carry_out

    try:
        carry_out(storage, pruning, keep_last)
    except (CheckpointError, RunError, OSError) as error:
        say(f"{pruning.name}: not all was removed: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    main(run)
