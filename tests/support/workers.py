"""Work done by several processes in one process group."""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp

from i2i_core.training.sync import process_group

multiprocessing.set_forkserver_preload(["i2i_core.training.loop"])


def on_workers(size: int, work: Callable[..., Any], *args: Any) -> list[Any]:
    """Call `work(world, *args)` on each of `size` processes, and give what each returned, by rank.

    They are forks of one process that has imported torch and the loop, and no more: that import is most of what a
    process costs.
    """
    with tempfile.TemporaryDirectory(prefix="workers-") as folder:
        mp.start_processes(_worker, (size, folder, work, args), nprocs=size, start_method="forkserver")
        return [pickle.loads(Path(folder, str(rank)).read_bytes()) for rank in range(size)]


def _worker(rank: int, size: int, folder: str, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    with process_group(rank, size, f"{folder}/meet") as world:
        found = work(world, *args)
    left = [name for name in native_threads() if "gloo" in name]
    assert not left, f"{left} outlive their process group, and may abort the process at its end"
    Path(folder, str(rank)).write_bytes(pickle.dumps(found))


def native_threads() -> list[str]:
    """The names of this process's threads, those of C++ too; none where the system has no such list."""
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
