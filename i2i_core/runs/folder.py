"""Name every file of a run's folder.

config.json           what was asked for
status.json           how the run stands, by the launch that has it
stop                  asks the run to save and stop; if there is anything in it, the launch named
attempts/             a file for each launch that had the run (attempts.py)
checkpoints/NAME/     checkpoints (checkpoints/checkpoint.py); without checksums.json a folder is none
best.json             which checkpoint is the best, by which metric
evaluations.json      every evaluation so far, a list of {images, metrics}
last_evaluation.json  the last one in full, by data set: each metric's definition, and what it was measured with
speed.json            where the time of its last start went: seconds and share by part
grids/                pictures of fixed samples
events.out.tfevents.* TensorBoard's event files, which it shows under the folder's name (in tensorboard/ of older runs)
trackers/             the ids that the run has elsewhere
"""

from __future__ import annotations

import re
from typing import Any

from i2i_core.config.run import TrainConfig
from i2i_core.storage.folder import Folder


def name_at(images: int) -> str:
    """Name the checkpoint that is made after so many images."""
    return f"images-{images:012d}"


def images_of(name: str) -> int:
    """Tell after how many images a checkpoint was made, by its name or its folder's."""
    return int(name.rsplit("-", 1)[-1])


class CheckpointFolder(Folder):
    """A checkpoint's folder."""

    CONFIG, NETWORKS, STATE, METRICS = "config.json", "networks.safetensors", "state.pt", "metrics.json"
    FILES = (CONFIG, NETWORKS, STATE, METRICS)
    CHECKSUMS = "checksums.json"
    """Written last."""

    @property
    def whole(self) -> bool:
        """Whether everything of it was written."""
        return self.exists(self.CHECKSUMS)


class RunFolder(Folder):
    """A run's folder."""

    CONFIG, STATUS, STOP, ATTEMPTS = "config.json", "status.json", "stop", "attempts"
    CHECKPOINTS, BEST = "checkpoints", "best.json"
    EVALUATIONS, LAST_EVALUATION, SPEED = "evaluations.json", "last_evaluation.json", "speed.json"
    GRIDS, EVENTS, TRACKERS = "grids", "tensorboard", "trackers"

    @classmethod
    def of(cls, config: TrainConfig) -> RunFolder:
        """Name the folder of a configuration's run."""
        return cls(f"{config.launch.storage}/{config.run_name}")

    # ---- how it stands ----

    def status(self) -> dict[str, Any]:
        """Read how the run stands; nothing where that is not there, or torn."""
        try:
            found = self.read_json(self.STATUS)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def ask_to_stop(self, attempt: str = "") -> None:
        """Ask the run to save and stop; of a launch's name, that launch alone."""
        self.write(self.STOP, attempt.encode())

    def asks_to_stop(self, attempt: str) -> bool:
        """Tell if a launch is asked to. Raises FileNotFoundError where nobody asks anything."""
        return self.read(self.STOP).decode() in ("", attempt)

    def evaluations(self) -> list[dict[str, Any]]:
        """Read every evaluation so far."""
        found: list[dict[str, Any]] | None = self.read_json(self.EVALUATIONS)
        return found or []

    @classmethod
    def grid(cls, images: int) -> str:
        """Name the grid that is drawn after so many images."""
        return f"{cls.GRIDS}/{name_at(images)}.png"

    # ---- its checkpoints ----

    @classmethod
    def in_checkpoint(cls, name: str, file: str = "") -> str:
        """Name a file of a checkpoint, or its folder, by the path in the run's."""
        return f"{cls.CHECKPOINTS}/{name}/{file}".rstrip("/")

    def checkpoint(self, name: str) -> CheckpointFolder:
        """Open the folder of a checkpoint."""
        return CheckpointFolder(self.at(self.in_checkpoint(name)))

    def names_of_checkpoints(self) -> list[str]:
        """Names of everything that is a checkpoint or was meant to become one, oldest first."""
        return [name for name in self.names(self.CHECKPOINTS) if re.fullmatch(r"images-\d+", name)]

    def is_whole(self, name: str) -> bool:
        """Tell if everything of a checkpoint was written."""
        return self.exists(self.in_checkpoint(name, CheckpointFolder.CHECKSUMS))

    def whole_checkpoints(self) -> list[str]:
        """Names of whole checkpoints, oldest first."""
        return [name for name in self.names_of_checkpoints() if self.is_whole(name)]

    def remove_checkpoint(self, name: str) -> None:
        """Remove a checkpoint, or what there is of it."""
        self.remove(self.in_checkpoint(name))

    def discard_after(self, images: int) -> None:
        """Remove what is later than where a run goes on from, as far as the guard lets it: damaged checkpoints, and
        halves of some."""
        for name in self.names_of_checkpoints():
            if images_of(name) > images:
                self._check()
                self.remove_checkpoint(name)

    def best(self) -> dict[str, Any] | None:
        """Read which checkpoint is best, by which metric; None where that is not known, or it is not there."""
        try:
            best = self.read_json(self.BEST)
            return best if best and self.is_whole(best["checkpoint"]) else None
        except (ValueError, TypeError, KeyError):  # not what we wrote
            return None
