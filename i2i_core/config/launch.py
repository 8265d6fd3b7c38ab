"""Say where a run happens."""

from __future__ import annotations

from dataclasses import dataclass

from i2i_core.errors import ConfigError
from i2i_core.logs import Level
from i2i_core.settings import check_at_least, setting


@dataclass(frozen=True)
class LaunchConfig:
    """Say where a run happens. Nothing here changes what it computes."""

    workers: str = setting("1", resume="free")
    """Training workers: N, or MIN:MAX for an elastic run."""
    gpu: bool = setting(False, resume="free")
    """One GPU per worker (nccl). Neither --gpu nor --cpu: GPUs if the cluster has any."""
    cpu: bool = setting(False, resume="free")
    """CPU only (gloo)."""
    cpus_per_worker: int = setting(1, resume="free")
    """CPUs, and torch threads, of a worker."""
    storage: str = setting("runs", resume="free")
    """Where runs are kept: a folder that all nodes see, or an fsspec URL."""
    name: str = setting("", resume="free")
    """Name of the run, a folder in the storage; none given: made of method, preset, data and what must
    match on resume (docs/recovery.md)."""
    max_failures: int = setting(3, resume="free")
    """Restarts from the last checkpoint after a worker failed; those after a node was taken away are not counted."""
    resize_every: float = setting(60.0, resume="free")
    """Of an elastic run: seconds between looks whether the cluster has room for more workers."""
    patience: float = setting(600.0, resume="free")
    """Seconds that storage may go without answering before the run ends."""
    log_level: Level = setting("info", resume="free")
    """The least that is logged; debug: also checkpoints, shards and tries of storage as they come."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "cpus_per_worker")
        check_at_least(self, 0, "max_failures", "patience", "resize_every")
        if self.gpu and self.cpu:
            raise ConfigError("--gpu --cpu", "both", "one of them, or neither", "Remove one.")
        least, most = self.worker_range
        if not 1 <= least <= most:
            raise ConfigError("--workers", self.workers, "N >= 1, or MIN:MAX with MIN <= MAX", "Give --workers 2, say.")

    @property
    def worker_range(self) -> tuple[int, int]:
        """Fewest and most workers."""
        try:
            least, _, most = self.workers.partition(":")
            return int(least), int(most or least)
        except ValueError:
            fix = "Give --workers 4, or --workers 2:8."
            raise ConfigError("--workers", repr(self.workers), "a number, or MIN:MAX", fix) from None
