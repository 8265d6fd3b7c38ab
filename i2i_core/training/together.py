"""Run a function on rank 0 alone, and share its result or its error with all ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from i2i_core.errors import RunError, UserError, WorkerError
from i2i_core.storage.folder import Folder, unwritable
from i2i_core.training.sync import World

Found = TypeVar("Found")


def by_leader(world: World, folder: Folder, call: Callable[[], Found]) -> Found:
    """Call a function on rank 0, and return its result on every rank. All ranks call this together.

    Args:
        world: this rank among its peers.
        folder: the folder that the function uses, named where its storage fails.
        call: the function.

    Raises:
        RunError, UserError: what the function raised, on every rank; a RunError where the folder's storage fails.
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
