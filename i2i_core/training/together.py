"""Have rank 0 alone do something in a run's folder, for all workers: what it finds reaches all, and so do errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from i2i_core.errors import RunError, UserError, WorkerError
from i2i_core.storage.folder import Folder, unwritable
from i2i_core.training.sync import World

Found = TypeVar("Found")


def by_leader(world: World, folder: Folder, call: Callable[[], Found]) -> Found:
    """Call something on rank 0, and give every worker what it returned. All workers call this together.

    Raises:
        RunError, UserError: what the call raised, on every worker alike; a RunError where the folder's storage is out
            of order.
    """
    found: Found | None = None
    failed: RunError | UserError | None = None
    if world.leads:
        try:
            found = call()
        except (RunError, UserError) as error:
            failed = error
        except OSError as error:
            failed = unwritable(folder, error)
    found, failed = world.from_leader((found, failed))
    if isinstance(failed, WorkerError):
        failed.together = True
    if failed:
        raise failed
    return found
