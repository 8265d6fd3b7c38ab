"""Say how a run goes: its log, what the logs are signs of, and everything that boards show."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from i2i_core.config.run import TrainConfig
from i2i_core.runs.folder import RunFolder
from i2i_core.tensors import host_copy
from i2i_core.training.monitoring import boards
from i2i_core.training.monitoring.diagnosis import Diagnosis
from i2i_core.training.monitoring.readings import WAIT, Sent, send
from i2i_core.training.monitoring.trackers import ShowScalars, Tracker, progress_line
from i2i_core.training.monitoring.utilisation import Utilisation
from i2i_core.training.step import Step

logger = logging.getLogger(__name__)


@dataclass
class Since:
    """When the last log was made, after how many images, and for how many seconds the step has waited since."""

    time: float
    images: int
    paused: float = 0.0
    waited: float = 0.0


class Pace:
    """Keep how long training stood still for grids, evaluations and checkpoints, beside how long it went on.

    The first log is left out: it holds the first grid, and whatever is done for the first time.
    """

    def __init__(self) -> None:
        self.logs, self.trained, self.paused = 0, 0.0, 0.0

    def add(self, trained: float, paused: float) -> None:
        """Add the seconds between two logs."""
        self.logs += 1
        if self.logs > 1:
            self.trained += trained
            self.paused += paused

    @property
    def pauses(self) -> float:
        """Seconds of standing still for each second of training."""
        return self.paused / self.trained if self.trained else 0.0


class Monitor:
    """One worker's side of what a run says of itself. A part of the run's state: what no log has told yet.

    All workers log together, and judge each log alike; rank 0 says it.

    Args:
        config: of the run.
        step: of the run.
        run: its folder.
        measured: given every scalar, by a thread; called on rank 0 only.

    Attributes:
        diagnosis: what the logs so far are signs of.
        spread: rank 0's, of what was made since the last log.
        since: the last log.
        sent: the same, while no one has looked at it yet.
        tracker: rank 0's way to the boards.
    """

    def __init__(self, config: TrainConfig, step: Step, run: RunFolder, measured: ShowScalars) -> None:
        self.step, self.config = step, config
        self.busy = Utilisation(step.device, step.world.leads)
        self.pace = Pace()
        self.diagnosis = Diagnosis(step.method)
        self.spread: Tensor | None = None
        self.since = Since(time.monotonic(), 0)
        self.sent: Sent | None = None
        self.tracker: Tracker | None = None
        if step.world.leads:
            names = config.monitoring.tracker
            others: dict[str, boards.Board] = {
                name: boards.EXTERNAL[name](run, config) for name in names if name in boards.EXTERNAL
            }
            self.tracker = Tracker(run, "tensorboard" in names, others, measured)

    def tell(self, line: str, level: int = logging.INFO) -> None:
        """Log what every worker has alike, on rank 0."""
        if self.step.world.leads:
            logger.log(level, line)

    def begin(self, images: int, metric: str = "") -> None:
        """Measure speed from now on, and show the run's configuration.

        Args:
            images: trained on so far.
            metric: what the best checkpoint is chosen by, as the boards name it; "" where nothing chooses it.
        """
        self.since = Since(time.monotonic(), images)
        if tracker := self.tracker:
            tracker.later(lambda: tracker.describe(images, boards.parameters(self.config), metric))

    def send(self, images: int, paused: float = 0.0) -> dict[str, float]:
        """Send each other what every rank has to tell since the last log, and give the speed. All ranks call this
        together.

        Args:
            images: trained on so far.
            paused: seconds of this start of the run in which training stood still for grids, evaluations and
                checkpoints. They count neither in the rate nor in the share of time that waits for data.
        """
        self.diagnose()
        since, now, pause = self.since, time.monotonic(), paused - self.since.paused
        seconds = max(now - since.time - pause, 1e-9)
        self.since = Since(now, images, paused)
        self.pace.add(seconds, pause)
        share, busy = min(since.waited / seconds, 1.0), self.busy.read()
        self.sent = send(self.step, self.step.world, images, share, self.spread, busy)
        self.spread = None
        rate = (images - since.images) / seconds
        of_worker = rate / self.step.world.size
        speed = {"speed/images_per_second": rate, "speed/images_per_second_per_worker": of_worker}
        frames = self.step.frames
        return speed | ({"speed/frames_per_second": rate * frames} if frames > 1 else {})

    def show(self, speed: Mapping[str, float], length: int) -> None:
        """Say and show the log that was sent last, once it has arrived.

        Args:
            speed: as `send` gave it.
            length: of the run, in images.
        """
        if not (self.tracker and self.sent):
            return
        tracker, sent, frames, pauses = self.tracker, self.sent, self.step.frames, self.pace.pauses
        rates = {f"{player}/lr": lr for player, lr in self.step.learning_rates().items()}

        def write() -> None:
            log, rate = sent.read(), speed["speed/images_per_second"]
            logger.info(progress_line(log.images, length, rate, log.speed[WAIT], log.terms, frames, pauses))
            tracker.scalars(log.images, {**log.terms, **speed, **log.speed, **rates})

        tracker.later(write)

    def diagnose(self) -> None:
        """Look at the last log, which has arrived by now: no one waits for the device."""
        sent, self.sent = self.sent, None
        if sent is None:
            return
        log = sent.read()
        changes = self.diagnosis.read(log)
        for change in changes:
            if change.began:
                self.tell(f"the run diverges: {change.text}", logging.WARNING)
            else:
                self.tell(change.text)
        if not (tracker := self.tracker):
            return
        signs = {f"diagnosis/{name}": float(sign.on) for name, sign in self.diagnosis.signs.items()}
        signs |= {} if log.spread is None else {"diagnosis/spread": log.spread}

        def write() -> None:
            tracker.scalars(log.images, signs)
            for change in changes:
                tracker.text(log.images, f"diagnosis/{change.name}", change.text)

        tracker.later(write)

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        """Show numbers, some time soon."""
        if tracker := self.tracker:
            tracker.later(lambda: tracker.scalars(images, values))

    def later(self, job: Callable[[], None]) -> None:
        """Do something in the order of what is shown, without waiting for it; on rank 0."""
        if self.tracker:
            self.tracker.later(job)

    def flush(self) -> None:
        """Bring what was shown so far to the run's folder, some time soon."""
        if self.tracker:
            self.tracker.flush()

    def close(self, finished: bool) -> None:
        """Show what is left.

        Args:
            finished: whether the run came to its end.
        """
        if self.tracker:
            self.tracker.close(finished)

    def state_dict(self) -> dict[str, Any]:
        unread = self.step.unread()
        return {} if unread is None else {**unread, "spread": host_copy(self.spread)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step.load_unread(state)
        self.spread = None if state["spread"] is None else state["spread"].to(self.step.device)
