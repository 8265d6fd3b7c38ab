"""Share a node's CPUs among the workers on it, and measure its memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_LOADERS = 8


@dataclass(frozen=True)
class Memory:
    """Hold the bytes of a host or a device: all, and those that are free now."""

    total: int
    free: int


def host_memory(root: Path = Path("/")) -> Memory:
    """Measure the memory of this process's host, or of its container where the container may use less.

    Args:
        root: the folder of /proc and /sys.
    """
    meminfo = root / "proc/meminfo"
    if not meminfo.is_file():  # macOS
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Memory(total, total)
    lines = (line.split() for line in meminfo.read_text().splitlines())
    found = {name.rstrip(":"): int(value) * 1024 for name, value, *_ in lines}
    every = [Memory(found["MemTotal"], found["MemAvailable"]), *_limits(root)]
    return Memory(min(one.total for one in every), max(0, min(one.free for one in every)))


def _limits(root: Path) -> Iterator[Memory]:
    """Yield the memory that each control group of this process allows, of versions 1 and 2.

    The page cache is given back on demand, and counts as free.
    """
    cgroups = root / "proc/self/cgroup"
    for line in cgroups.read_text().splitlines() if cgroups.is_file() else ():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        base = root / "sys/fs/cgroup" / controllers
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        limit, used, cached = names if controllers else ("memory.max", "memory.current", "inactive_file")
        own = base / path.strip("/")
        for group in (own, *own.parents):  # a container may see its own group as the root
            if (group / limit).is_file() and (most := (group / limit).read_text().strip()) != "max":
                stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
                held = int((group / used).read_text()) - int(stat.get(cached, 0))
                yield Memory(int(most), int(most) - held)
            if group == base:
                break


@dataclass(frozen=True)
class Node:
    """Divide a node's CPUs among its workers. Both numbers are as the cluster counts them."""

    cpus: int
    gpus: int = 0

    @staticmethod
    def of_process() -> Node:
        """Count the CPUs that this process may use. GPUs are not counted."""
        return Node(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

    def loaders(self, asked: int, on_gpu: bool) -> int:
        """Return the number of loader processes of one worker: `asked`, or for -1 one fewer than the CPUs for each GPU,
        at most MOST_LOADERS, and none where CPUs train, which leave none to spare."""
        if asked >= 0:
            return asked
        return min(MOST_LOADERS, max(0, self._share - 1)) if on_gpu else 0

    def threads(self, cpus_per_worker: int, asked: int, on_gpu: bool) -> int:
        """Return the number of threads of one worker: the CPUs that it holds; beside a GPU those that loaders leave."""
        return max(cpus_per_worker, self._share - self.loaders(asked, on_gpu)) if on_gpu else cpus_per_worker

    @property
    def _share(self) -> int:
        return self.cpus // max(1, self.gpus)
