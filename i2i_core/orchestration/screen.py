"""Show what processes of Ray print: our own lines and those of a method's author, once each, and none of Ray's own.

Ray prints every line of every process of a job, its helpers' and its own included, behind a coloured prefix. What a
person needs to know of Ray is logged by this package instead.
"""

from __future__ import annotations

import logging
import re
import sys

from i2i_core.orchestration.ray_compat import Printed

logger = logging.getLogger(__name__)

HELPERS = ("TrainController", "PreemptionWatcher", "PlacementGroupCleaner", "SynchronizationActor", "JobSupervisor")
"""Actors that run Ray's code alone: their standard error is kept in Ray's logs, and not shown."""
RAYS_OWN = re.compile(
    r"\[\d{4}-\d\d-\d\d [\d:,]+ [A-Z] \d+ \d+\] "  # of its C++
    r"|\d{4}-\d\d-\d\d [\d:,]+\s(DEBUG|INFO|WARNING|ERROR) \S+:\d+ -- "  # of its Python
)
"""The beginning of a line of Ray's own logs."""
OUT_OF_MEMORY = "(OOM)"
"""In what Ray says when it has killed workers because a machine was short of memory."""


class Screen:
    """Print what arrives from other processes of the job on this one's standard output and error.

    A line of standard error that was printed before is left out: every worker warns of the same things.
    """

    def __init__(self) -> None:
        self.warned: set[str] = set()

    def show(self, printed: Printed) -> None:
        """Print the lines that are not Ray's own. Log what its autoscaler does, and that it killed for memory."""
        match printed.source:
            case "autoscaler":
                for line in printed.lines:
                    logger.info(f"the cluster's autoscaler: {line}")
            case "raylet":
                for line in printed.lines:
                    if OUT_OF_MEMORY in line:
                        logger.warning(f"Ray ended workers, as a machine was short of memory: {line.splitlines()[0]}")
            case _:
                self._print(printed)

    def _print(self, printed: Printed) -> None:
        if not printed.is_error:
            for line in printed.lines:
                print(line, file=sys.stdout, flush=True)
        elif printed.source.removeprefix("_") not in HELPERS:
            for line in printed.lines:
                if not RAYS_OWN.match(line) and line not in self.warned:
                    self.warned.add(line)
                    print(line, file=sys.stderr, flush=True)
