"""Find the checkpoints of runs that are no longer needed, and remove them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from i2i_core import strict
from i2i_core.checkpoints.checkpoint import read
from i2i_core.errors import CheckpointError, ConfigError, RunError
from i2i_core.runs.attempts import holder, stands
from i2i_core.runs.folder import RunFolder
from i2i_core.runs.listing import Size, sizes, summed
from i2i_core.storage.folder import Folder

DAY = 24 * 3600.0


@dataclass(frozen=True)
class Pruning:
    """Say what may go of a run.

    Attributes:
        name: the run's path in its storage.
        going: checkpoints that may be removed, and what each takes.
        spared: checkpoints that would go by their age and place, with what keeps each.
        alone: why the whole run is left alone; "" where it is not.
    """

    name: str
    going: Mapping[str, Size] = field(default_factory=dict)
    spared: Mapping[str, str] = field(default_factory=dict)
    alone: str = ""


def plan(
    storage: Folder, names: Sequence[str], every_run: Sequence[str], keep_last: int, older_than: float = 0.0
) -> list[Pruning]:
    """Choose the checkpoints that may go: neither a run's best, nor among its last `keep_last` whole ones, nor named by
    the configuration of a run of the storage. Nothing of a run that may be running goes.

    Args:
        names: runs to look at, of `every_run`, all that the storage holds.
        older_than: seconds since a checkpoint was last written to, below which it stays.

    Raises:
        ConfigError: a run's configuration cannot be read, so that nobody knows which checkpoints it names.
    """
    named, now = named_by_runs(storage, every_run), time.time()
    return [_plan(RunFolder(storage.at(name)), name, named, keep_last, now - older_than) for name in names]


def _plan(run: RunFolder, name: str, named: Mapping[str, str], keep_last: int, before: float) -> Pruning:
    if alone := _left_alone(run):
        return Pruning(name, alone=alone)
    going: dict[str, Size] = {}
    spared: dict[str, str] = {}
    for each in run.old_checkpoints(keep_last):
        size = summed(sizes(run.checkpoint(each)))
        if by := named.get(_place(run.checkpoint(each))):
            spared[each] = f"the configuration of {by} names it"
        elif run.local and os.path.islink(run.path(run.in_checkpoint(each))):
            spared[each] = "it is a link"
        elif size.written <= before and (run.local or size.written):  # some servers list what was removed
            going[each] = size
    return Pruning(name, going, spared)


def _left_alone(run: RunFolder) -> str:
    """Say why no checkpoint of a run may go; "" where some may."""
    if stands(run) == "running":
        found = holder(run)
        who = f" ({found.described})" if found else ""
        return f"it may be running{who}; if it is not, the same command that trained it takes it over"
    if run.exists(run.BEST) and not run.best():
        return f"{run.BEST} names no whole checkpoint, so the best is unknown; without that file the last ones stay"
    if run.local and os.path.islink(run.path(run.CHECKPOINTS)):
        return f"{run.CHECKPOINTS} is a link"
    return ""


def named_by_runs(storage: Folder, names: Sequence[str]) -> dict[str, str]:
    """Find the checkpoints that configurations name, for `--init-from` or as a file of theirs.

    Returns:
        By the place of the checkpoint, the name of a run whose configuration names it.

    Raises:
        ConfigError: a configuration cannot be read.
    """
    found: dict[str, str] = {}
    for name in names:
        path = f"{name}/{RunFolder.CONFIG}"
        try:
            config = strict.loads(storage.read(path), finite=False)
        except FileNotFoundError:  # a launch that has not got so far
            continue
        except ValueError:
            fix = "Put the run's own file back (its checkpoints hold a copy), or move that run out of the storage."
            what = "no configuration, so nobody knows which checkpoints that run needs"
            raise ConfigError(storage.at(path), what, "a run's configuration", fix) from None
        for text in _texts(config):
            if inside := re.match(rf"(.*/{RunFolder.CHECKPOINTS}/images-\d+)(?:/|$)", text, re.DOTALL):
                found[_place(inside[1])] = name
    return found


def _place(folder: Folder | str) -> str:
    """Name a folder alike however it is written; one that nothing here can open, as it is."""
    try:
        at = Folder(folder) if isinstance(folder, str) else folder
    except ConfigError:
        return str(folder)
    return os.path.realpath(at.root) if at.local else at.absolute


def _texts(value: Any) -> Iterator[str]:
    """List every text in a JSON value, and each file of one such as `authors:G=FILE,D=FILE`."""
    if isinstance(value, str):
        yield value
        yield from (part.rpartition("=")[2] for part in value.removeprefix("authors:").split(","))
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(each)


def carry_out(storage: Folder, pruning: Pruning, keep_last: int) -> None:
    """Remove what may go of a run, the oldest checkpoint first; what was removed before is passed over.

    Raises:
        CheckpointError: the last whole checkpoint is damaged, so an older one may be needed. Nothing was removed.
        RunError: the run was launched meanwhile.
    """
    run = RunFolder(storage.at(pruning.name))
    if pruning.going and (whole := run.whole_checkpoints()):
        try:
            read(run.checkpoint(whole[-1]))
        except CheckpointError as error:
            fix = f"Remove {run.at(run.in_checkpoint(whole[-1]))}, and prune again: the one before it counts then."
            raise CheckpointError(error.where, error.found, error.expected, fix) from None
    for name in pruning.going:
        if alone := _left_alone(run):
            raise RunError(f"{run.url} is left alone from here on: {alone}")
        if name in run.old_checkpoints(keep_last):
            run.remove_checkpoint(name)
