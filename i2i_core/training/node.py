"""What a worker has of its node."""

from __future__ import annotations

import os
from dataclasses import dataclass

MOST_LOADERS = 8


@dataclass(frozen=True)
class Node:
    """A node's CPUs and GPUs, as its cluster counts them."""

    cpus: int
    gpus: int = 0

    @staticmethod
    def of_process() -> Node:
        """As far as this process may use it; GPUs are not counted."""
        return Node(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

    def loaders(self, asked: int, on_gpu: bool) -> int:
        """Loader processes of one worker: what is asked for; -1: where a GPU does the arithmetic, the CPUs that there
        are for each GPU, but one, at most MOST_LOADERS; where CPUs do it none, for there is none to spare."""
        if asked >= 0:
            return asked
        return min(MOST_LOADERS, max(0, self._share - 1)) if on_gpu else 0

    def threads(self, cpus_per_worker: int, asked: int, on_gpu: bool) -> int:
        """Threads of one worker's arithmetic on CPUs: the CPUs it holds; beside a GPU what its loaders leave."""
        return max(cpus_per_worker, self._share - self.loaders(asked, on_gpu)) if on_gpu else cpus_per_worker

    @property
    def _share(self) -> int:
        return self.cpus // max(1, self.gpus)
