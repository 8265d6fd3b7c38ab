"""Word what did not fit into memory, and which options would make it fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from i2i_core.config.run import TrainConfig
from i2i_core.config.stages import Stage
from i2i_core.errors import ResourceError
from i2i_core.methods.base import Method
from i2i_core.sizes import said, said_bytes
from i2i_core.training.fast import AS_WRITTEN, Choice, Fast
from i2i_core.training.node import Memory, host_memory
from i2i_core.training.recomputing import blocks_of

Doing = Literal["an update", "a grid", "an evaluation"]
SIGNS = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""Texts of torch's and CUDA's RuntimeErrors that mean that memory is short, besides `torch.OutOfMemoryError`."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory is short, the device's or the host's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def asked_for(error: BaseException) -> str:
    """Read from an error how much memory was asked for, "2.00 GiB"; "" where it does not say."""
    found = re.search(r"allocate ([\d.]+) ?(bytes|[KMGTPE]iB)", str(error))
    if not found:
        return ""
    return said_bytes(int(found[1])) if found[2] == "bytes" else f"{found[1]} {found[2]}"


def memory_of(device: torch.device) -> Memory:
    """Measure a GPU's memory, or the host's."""
    if device.type != "cuda":
        return host_memory()
    free, total = torch.cuda.mem_get_info(device)
    return Memory(total, free)


@dataclass(frozen=True)
class Held:
    """Describe what a worker holds in memory, and raise a helpful error where something does not fit.

    Attributes:
        config: the run's configuration.
        method: the method.
        device: where the networks are.
        part: this rank's samples of the global batch.
        choice: the options of `--fast` that are on, and why others are off.
    """

    config: TrainConfig
    method: Method[Any]
    device: torch.device
    part: int
    choice: Choice = Choice(Fast())  # noqa: RUF009  it is frozen

    @contextmanager
    def during(self, doing: Doing, stage: Stage) -> Iterator[None]:
        """Raise ResourceError where the work inside the block does not fit into memory.

        Args:
            doing: what the work is.
            stage: its stage, for size and frames.
        """
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            found, helps = self.found(doing, stage, asked_for(error)), self.helps(doing)
            where = "GPU memory" if self.device.type == "cuda" else "memory"
            raise ResourceError(where, found, "what fits", f"Give {'; or '.join(helps)}.") from None

    @property
    def at_once(self) -> int:
        """Samples that pass through the networks together in an update."""
        return min(self.config.training.micro_batch or self.part, self.part)

    def found(self, doing: Doing, stage: Stage, asked: str) -> str:
        """Word what was done, how large it is, and how much memory there is."""
        size, training = said(stage.size), self.config.training
        frames = f", {stage.frames} frames each" if stage.frames > 1 else ""
        if doing == "an update":
            many = f" with {self.at_once} at once" if self.at_once < self.part else ""
            what = f"an update of {self.part} samples of {size} px{frames} (this worker's of --batch {training.batch})"
            what += many
        elif doing == "a grid":
            what = f"a grid of {self.config.monitoring.grid_rows} samples of {size} px{frames}"
        else:
            what = f"an evaluation at {size} px{frames}"
        more = f", which asked for {asked} more," if asked else ""
        total = said_bytes(memory_of(self.device).total)
        return f"{what}{more} on a {'GPU' if self.device.type == 'cuda' else 'host'} of {total}"

    def helps(self, doing: Doing) -> list[str]:
        """List the options that would make the work smaller and are not on, the least costly first."""
        config, helps = self.config, list[str]()
        if doing == "an update":
            helps = self._helps_update()
        elif doing == "a grid" and config.monitoring.grid_rows > 1:
            helps = [f"--grid-rows {config.monitoring.grid_rows // 2}"]
        elif doing == "an evaluation" and config.evaluation.metrics:
            helps = [f"fewer --metrics than {' '.join(config.evaluation.metrics)}"]
        return [*helps, "a smaller --image-size, as a new run"]

    def _helps_update(self) -> list[str]:
        training, helps = self.config.training, list[str]()
        if self.at_once > 1 and not self.method.couples and training.batch_norm == "worker":
            helps.append(f"--micro-batch {self.at_once // 2}")
        if self.at_once > 1:
            helps.append("more --workers, or as a new run a smaller --batch")
        on = self.choice.fast.names
        if "bf16" not in (*on, *self.choice.why_not):
            helps.append(f"--fast {' '.join([*on, 'bf16'])}")
        if not training.checkpoint_activations and blocks_of(self.method.networks):
            others = [name for name in on if name not in AS_WRITTEN]
            besides = f" --fast {' '.join(others) or 'off'}" if len(others) < len(on) else ""
            helps.append(f"--checkpoint-activations{besides}")
        return helps
