"""Name every file of a run's folder.

config.json           the run's configuration
status.json           running, finished, stopped or failed, written by the launch that owns the run
stop                  asks the run to save and stop; a file with a launch's name in it asks that launch alone
attempts/             one file for each launch that owned the run (attempts.py)
checkpoints/NAME/     checkpoints (checkpoints/checkpoint.py); a folder without checksums.json is incomplete
best.json             the best checkpoint, and the metric that it is the best by
evaluations.json      every evaluation so far, a list of {images, metrics}
last_evaluation.json  the last evaluation in full, by data set: each metric's definition, and what measured it
speed.json            the time of the last launch by part: seconds and share
grids/                pictures of fixed samples
samples.png           the best, median and worst samples of the evaluation at the end
report.html           all of this on one page, written at the end of each launch
events.out.tfevents.* TensorBoard's event files, which it shows under the folder's name (in tensorboard/ of older runs)
trackers/             the run's ids at Weights & Biases and MLflow
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypedDict

from i2i_core.config.run import TrainConfig
from i2i_core.errors import DataError
from i2i_core.storage.folder import Folder

logger = logging.getLogger(__name__)

GOES_ON = "It is passed over, and written again when there is something to write."
NAME = re.compile(r"images-[0-9]+")
"""Names of checkpoints' folders."""


class Status(TypedDict, total=False):
    """Describe status.json: how the run stands, and what the launch that wrote it was."""

    state: str
    attempt: str
    error: str
    reason: str
    images: int
    metrics: dict[str, float]


class Evaluation(TypedDict):
    """Describe an entry of evaluations.json."""

    images: int
    metrics: dict[str, float]


class _NamedBest(TypedDict):
    checkpoint: str
    metric: str


class Best(_NamedBest, total=False):
    """Describe best.json: what the checkpoint is the best by, and for images of what size."""

    value: float
    size: list[int]


def name_at(images: int) -> str:
    """Name the checkpoint that is made after so many images."""
    return f"images-{images:012d}"


def images_of(name: str) -> int:
    """Tell after how many images a checkpoint was made, by its name or its folder's."""
    return int(name.rsplit("-", 1)[-1])


class CheckpointFolder(Folder):
    """Name the files of a checkpoint's folder, and tell if all of them were written."""

    CONFIG, NETWORKS, STATE, METRICS = "config.json", "networks.safetensors", "state.pt", "metrics.json"
    FILES = (CONFIG, NETWORKS, STATE, METRICS)
    ABOUT = "i2i.json"
    SHARED = (CONFIG, NETWORKS, METRICS, ABOUT)
    """Files of a generator that was shared: no run goes on from it."""
    CHECKSUMS = "checksums.json"
    """Written last: without it a checkpoint is incomplete."""
    SHARED_WHOLE = (*SHARED, CHECKSUMS)

    @property
    def whole(self) -> bool:
        """True if every file of the checkpoint was written."""
        return self.exists(self.CHECKSUMS)


def why_ended(status: Mapping[str, Any], unknown: str) -> str:
    """Read why a run ended: `reason` where somebody stopped it, `error` where it failed, or `unknown`.

    Earlier releases wrote both as `error`.
    """
    return str(status.get("reason") or status.get("error") or unknown)


class RunFolder(Folder):
    """Name the files of a run's folder, and read and write the small ones: status, stop file, best checkpoint."""

    CONFIG, STATUS, STOP, ATTEMPTS = "config.json", "status.json", "stop", "attempts"
    CHECKPOINTS, BEST = "checkpoints", "best.json"
    EVALUATIONS, LAST_EVALUATION, SPEED = "evaluations.json", "last_evaluation.json", "speed.json"
    GRIDS, EVENTS, TRACKERS = "grids", "tensorboard", "trackers"
    SAMPLES, REPORT = "samples.png", "report.html"

    @classmethod
    def of(cls, config: TrainConfig) -> RunFolder:
        """Name the folder of a configuration's run."""
        return cls(f"{config.launch.storage}/{config.run_name}")

    # ---- how it stands ----

    def status(self) -> Status:
        """Read the run's status; empty where the file is missing, half written or damaged."""
        found: Status | None = self.noted(self.STATUS, Status)
        return found if found and "state" in found else {}

    def noted(self, path: str, hint: Any) -> Any:
        """Read a small file of the run; None where it is missing. So it is where it is damaged, with one warning: no
        run waits for a person because of it."""
        try:
            return self.read_json(path, hint, GOES_ON, finite=False)
        except DataError as error:
            _warn(str(error))
            return None

    def ask_to_stop(self, attempt: str = "") -> None:
        """Ask the run to save and stop; with the name of a launch, ask that launch alone."""
        self.write(self.STOP, attempt.encode())

    def asks_to_stop(self, attempt: str) -> bool:
        """Tell if the stop file asks this launch to stop. Raises FileNotFoundError where there is no stop file."""
        return self.read(self.STOP).strip() in (b"", attempt.encode())

    def evaluations(self) -> list[Evaluation]:
        """Read every evaluation so far; none where the file is missing or damaged."""
        return self.noted(self.EVALUATIONS, list[Evaluation]) or []

    @classmethod
    def grid(cls, images: int) -> str:
        """Name the grid that is drawn after so many images."""
        return f"{cls.GRIDS}/{name_at(images)}.png"

    def grids(self) -> dict[int, str]:
        """List the paths of the grids by the images after which they were drawn, in their order."""
        names = [name for name in self.names(self.GRIDS) if NAME.fullmatch(name.removesuffix(".png"))]
        found = {images_of(name.removesuffix(".png")): f"{self.GRIDS}/{name}" for name in names}
        return dict(sorted(found.items()))

    # ---- its checkpoints ----

    @classmethod
    def in_checkpoint(cls, name: str, file: str = "") -> str:
        """Name a checkpoint's folder, or a file in it, by its path in the run's folder."""
        return f"{cls.CHECKPOINTS}/{name}/{file}".rstrip("/")

    def checkpoint(self, name: str) -> CheckpointFolder:
        """Open the folder of a checkpoint."""
        return CheckpointFolder(self.at(self.in_checkpoint(name)))

    def names_of_checkpoints(self) -> list[str]:
        """List the names of all checkpoints, complete or not, oldest first."""
        return [name for name in self.names(self.CHECKPOINTS) if NAME.fullmatch(name)]

    def is_whole(self, name: str) -> bool:
        """Tell if every file of a checkpoint was written."""
        return self.exists(self.in_checkpoint(name, CheckpointFolder.CHECKSUMS))

    def whole_checkpoints(self) -> list[str]:
        """List the names of complete checkpoints, oldest first."""
        return [name for name in self.names_of_checkpoints() if self.is_whole(name)]

    def remove_checkpoint(self, name: str) -> None:
        """Remove a checkpoint, or what there is of it; first what makes it whole, so that half of one is not taken for
        one."""
        self.remove(self.in_checkpoint(name, CheckpointFolder.CHECKSUMS), self.in_checkpoint(name))

    def old_checkpoints(self, keep_last: int, until: int | None = None) -> list[str]:
        """List the checkpoints that are no longer kept: neither the best, nor among the last `keep_last` whole ones.

        Those are older, or half written by a launch that crashed.

        Args:
            until: leave out checkpoints of more images; None: none.
        """
        names = [name for name in self.names_of_checkpoints() if until is None or images_of(name) <= until]
        whole, best = [name for name in names if self.is_whole(name)], self.best()
        keep = {*whole[-keep_last:], *(name for name in whole if best and name == best["checkpoint"])}
        return [name for name in names if name not in keep]

    def discard_after(self, images: int) -> None:
        """Remove checkpoints later than the one that a run resumes from: they are damaged or half written.

        Stops as soon as the folder's guard finds that another launch owns the run.
        """
        for name in self.names_of_checkpoints():
            if images_of(name) > images:
                self._check()
                self.remove_checkpoint(name)

    def best(self) -> Best | None:
        """Read the best checkpoint and its metric; None where that is unknown, or the checkpoint is gone."""
        best: Best | None = self.noted(self.BEST, Best)
        return best if best and NAME.fullmatch(best["checkpoint"]) and self.is_whole(best["checkpoint"]) else None


@cache
def _warn(text: str) -> None:
    """Log a warning, each text once in a process: a file may be read again and again."""
    logger.warning(text)
