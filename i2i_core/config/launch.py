"""Declare where a run happens: workers, devices and storage."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from i2i_core.errors import ConfigError
from i2i_core.logs import Level
from i2i_core.names import MOST_NAME, no_part, shortened
from i2i_core.settings import MOST_PROCESSES, check_at_least, check_numbers, setting

MOST_SHOWN = 60
"""Bytes of a wrong name that a message shows."""


@dataclass(frozen=True)
class LaunchConfig:
    """Choose where a run happens. No value here changes what the run computes."""

    workers: str = setting("1", resume="free")
    """Number of training workers: N, or MIN:MAX for an elastic run, which grows and shrinks with the cluster."""
    gpu: bool = setting(False, resume="free")
    """Give each worker one GPU (nccl). Without --gpu and --cpu, workers get GPUs if the cluster has any."""
    cpu: bool = setting(False, resume="free")
    """Train on CPUs alone (gloo)."""
    cpus_per_worker: int = setting(1, resume="free", most=MOST_PROCESSES)
    """CPUs that a worker reserves, and torch threads that it runs. Beside a GPU it also runs threads on CPUs that
    loaders leave."""
    storage: str = setting("runs", resume="free")
    """Folder that all nodes see, or fsspec URL, in which each run has its own folder."""
    name: str = setting("", resume="free")
    """Name of the run: its one folder in the storage, at most 240 bytes, without slashes. The same name resumes the
    run. Without it, the name is made of method, preset, data and a hash of the values that must match on resume
    (docs/recovery.md)."""
    max_failures: int = setting(3, resume="free", most=1_000_000)
    """Restarts from the last checkpoint before the run gives up, after workers that failed. Restarts after the loss of
    a node do not count."""
    resize_every: float = setting(60.0, resume="free")
    """Seconds between an elastic run's checks for room for more workers."""
    patience: float = setting(600.0, resume="free")
    """Seconds that the run waits for storage that does not answer, before it ends."""
    log_level: Level = setting("info", resume="free")
    """Least severe messages to log; debug adds each checkpoint, shard and retry of storage."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 1, "cpus_per_worker")
        check_at_least(self, 0, "max_failures", "patience", "resize_every")
        if self.gpu and self.cpu:
            raise ConfigError("--gpu --cpu", "both", "one of them, or neither", "Remove one.")
        least, most = self.worker_range
        if not 1 <= least <= most <= MOST_PROCESSES:
            expected = f"N >= 1, or MIN:MAX with MIN <= MAX, up to {MOST_PROCESSES:,}"
            raise ConfigError("--workers", self.workers, expected, "Give --workers 2, say.")

    def check_name(self) -> None:
        """Check that the name of the run or sweep is one folder of the storage. Raises ConfigError.

        A saved configuration is not checked: a run of an earlier program may lie deeper.
        """
        if not self.name or not (wrong := no_part(self.name)):
            return
        above, _, last = self.name.strip("/").rpartition("/")
        expected = f"one name of at most {MOST_NAME} bytes, of characters that can be printed, none of them / \\ * ? ["
        fix = "Give --name horses, say."
        if above and not no_part(last) and ".." not in above.split("/"):
            fix = f"Give --storage {shlex.quote(f'{self.storage}/{above}')} --name {shlex.quote(last)}."
        raise ConfigError("--name", f"{shortened(self.name, MOST_SHOWN)!r}, {wrong}", expected, fix)

    @property
    def worker_range(self) -> tuple[int, int]:
        """Return the smallest and the largest number of workers."""
        try:
            least, _, most = self.workers.partition(":")
            return int(least), int(most or least)
        except ValueError:
            fix = "Give --workers 4, or --workers 2:8."
            raise ConfigError("--workers", repr(self.workers), "a number, or MIN:MAX", fix) from None
