"""List the runs of a storage: how each stands, how much room it takes, and which of its checkpoints may go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from i2i_core import strict
from i2i_core.errors import counted
from i2i_core.runs.attempts import stands
from i2i_core.runs.folder import CheckpointFolder, RunFolder, images_of
from i2i_core.storage.folder import Folder

TRIALS = "trials"
"""Folder of trials, each a whole run in a folder of its number."""
AT_ONCE = 16
"""Runs that are looked at at the same time: object storage takes a while for each answer."""


@dataclass(frozen=True)
class Size:
    """Count the bytes of a folder's files, and tell when the newest was written (seconds since 1970; 0: no file)."""

    bytes: int = 0
    written: float = 0.0


@dataclass(frozen=True)
class ListedRun:
    """Describe a run for a table.

    Attributes:
        name: its path in the storage.
        data: last part of its data set's place, and how many more data sets it has.
        state: as `attempts.stands` tells it.
        images: trained on, as its last whole checkpoint says or its end.
        best_by, best: the metric that it has its best checkpoint by, and the value; None where none was measured.
        whole: names of its whole checkpoints, oldest first.
        damage: what cannot be read or was left half written; "" where nothing is.
    """

    name: str
    method: str
    data: str
    state: str
    images: int
    best_by: str
    best: float | None
    size: Size
    whole: Sequence[str]
    damage: str = ""


def names_of_runs(storage: Folder) -> list[str]:
    """List the runs of a storage, and the trials of its sweeps, by their paths in it; no link is followed."""
    found = []
    for name in _folders(storage, ""):
        inside = storage.names(name)
        if _is_run(inside):
            found.append(name)
        if TRIALS in inside:
            found += [trial for trial in _folders(storage, f"{name}/{TRIALS}") if _is_run(storage.names(trial))]
    return found


def _is_run(names: Sequence[str]) -> bool:
    return RunFolder.CONFIG in names or RunFolder.ATTEMPTS in names


def _folders(storage: Folder, path: str) -> Iterator[str]:
    for name in storage.names(path):
        inside = f"{path}/{name}".lstrip("/")
        if not (storage.local and (os.path.islink(storage.path(inside)) or not os.path.isdir(storage.path(inside)))):
            yield inside


def sizes(folder: Folder, path: str = "") -> dict[str, Size]:
    """Measure every file of a folder, by its path there. Links are neither followed nor counted."""
    where = folder.path(path).rstrip("/")
    if folder.local:
        return dict(_local_sizes(where))
    found = folder.fs.find(where, detail=True)
    return {name[len(where) + 1 :]: Size(int(entry.get("size") or 0), _seconds(entry)) for name, entry in found.items()}


def _local_sizes(where: str) -> Iterator[tuple[str, Size]]:
    for place, _, names in os.walk(where):
        for name in names:
            path = os.path.join(place, name)
            try:
                found = os.lstat(path)
            except FileNotFoundError:  # removed meanwhile
                continue
            if not os.path.islink(path):
                yield os.path.relpath(path, where), Size(found.st_size, found.st_mtime)


def _seconds(entry: Mapping[str, Any]) -> float:
    """Read when a file was written from what its storage says of it; 0 where it does not say."""
    when = next((entry[key] for key in ("LastModified", "mtime", "updated", "last_modified") if entry.get(key)), 0.0)
    return when.timestamp() if isinstance(when, datetime) else float(when)


def summed(files: Mapping[str, Size]) -> Size:
    """Put the sizes of files together."""
    return Size(sum(file.bytes for file in files.values()), max((file.written for file in files.values()), default=0.0))


def listed(storage: Folder) -> list[ListedRun]:
    """Describe every run of a storage, in the order of their names."""
    with ThreadPoolExecutor(AT_ONCE) as several:
        return list(several.map(lambda name: described(storage, name), names_of_runs(storage)))


def described(storage: Folder, name: str) -> ListedRun:
    """Describe one run. What is damaged in it is said in the description, and raises nothing."""
    run = RunFolder(storage.at(name))
    files, state, status, best = sizes(run), stands(run), run.status(), run.best()
    parts = {name.split("/")[1] for name in files if name.startswith(f"{run.CHECKPOINTS}/")}
    checkpoints = [each for each in run.names_of_checkpoints() if each in parts]  # some servers list what was removed
    whole = [each for each in checkpoints if run.in_checkpoint(each, CheckpointFolder.CHECKSUMS) in files]
    (method, data), damage = _trained(run), []
    if not method:
        damage.append(f"{run.CONFIG} cannot be read")
    if run.STATUS in files and not status:
        damage.append(f"{run.STATUS} cannot be read")
    if run.BEST in files and not best:
        damage.append(f"{run.BEST} names no whole checkpoint")
    if state != "running" and (half := len(checkpoints) - len(whole)):
        damage.append(f"{counted(half, 'checkpoint')} half written")
    ended = status.get("images")
    images = ended if isinstance(ended, int) else images_of(whole[-1]) if whole else 0
    by, value = (best["metric"], best.get("value")) if best else ("?", None)
    return ListedRun(name, method or "?", data, state, images, by, value, summed(files), whole, "; ".join(damage))


def _trained(run: RunFolder) -> tuple[str, str]:
    """Read which method a run trains, and on which data; "" where its configuration does not say."""
    try:
        config = strict.loads(run.read(run.CONFIG), finite=False)
        method = str(config["method"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return "", ""
    data = config.get("data")
    uri, also = (data.get("uri"), data.get("also")) if isinstance(data, dict) else ("", ())
    name = uri.rstrip("/").rpartition("/")[2] if isinstance(uri, str) else ""
    return method, f"{name} +{len(also)}" if also and isinstance(also, list | tuple) else name
