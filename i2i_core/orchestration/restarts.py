"""Log, from the process that watches over a run's workers, that one of them was lost."""

from __future__ import annotations

import logging
from typing import Any

from ray.exceptions import RayActorError
from ray.train import UserCallback

from i2i_core import logs
from i2i_core.errors import RunError, UserError

logger = logging.getLogger(__name__)

COLLECTIVES = ("gloo", "NCCL")
"""In errors of a collective that another worker left."""
LOADER = "DataLoader worker (pid"
"""In torch's error of a data loader's process that is gone."""


class Restarts(UserCallback):
    """Log which workers a run lost, and that it goes back to its last checkpoint. Ray Train calls it in its controller.

    Args:
        run: the name of the run.
        level: the least level that is shown, as `logs.show` takes it.
        most: how often the run's workers may be started again after a failure of theirs.
    """

    def __init__(self, run: str, level: logs.Level, most: int) -> None:
        self.run, self.level, self.most = run, level, most

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Log the lost workers by rank. Leave what a run ends with by itself to the driver, which prints it."""
        causes = {rank: cause_of(error) for rank, error in sorted(worker_exceptions.items())}
        if any(isinstance(cause, RunError | UserError) for cause in causes.values()):
            return
        logs.show(self.level, self.run)
        lost = "; ".join(f"worker {rank} ({_said(cause)})" for rank, cause in causes.items())
        logger.warning(
            f"lost {lost}. All workers start again from the last checkpoint, up to {self.most} times (--max-failures)"
        )


def cause_of(error: BaseException) -> BaseException:
    """Give what a worker raised, where Ray's error holds it; else the error."""
    return getattr(error, "cause", None) or error.__cause__ or error


def is_of_another_process(error: BaseException) -> bool:
    """Return whether an error says that another process is gone, a worker or a data loader: its trace shows nothing.

    A data loader that is killed while it hands over a batch resets the connection; storage's errors have classes of
    their own.
    """
    return isinstance(error, ConnectionError | EOFError) or (
        isinstance(error, RuntimeError) and any(name in str(error) for name in (*COLLECTIVES, LOADER))
    )


def _said(cause: BaseException) -> str:
    """Word how a worker ended."""
    if isinstance(cause, RayActorError):
        return "its process is gone: killed, out of memory, or with its machine"
    if isinstance(cause, RuntimeError) and any(name in str(cause) for name in COLLECTIVES):
        return "another worker left a sum over all workers"
    if isinstance(cause, ConnectionError | EOFError):
        return "its data loader is gone"
    return f"{type(cause).__name__}: {(str(cause).strip().splitlines() or ['no message'])[-1]}"
