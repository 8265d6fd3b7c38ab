"""Log how a run goes, look for signs of divergence, and pass everything on to the boards."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from i2i_core.config.flat import flat
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
    """Hold the time, images and pauses of the last log, and the seconds that the step has waited for data since."""

    time: float
    images: int
    paused: float = 0.0
    waited: float = 0.0


class Pace:
    """Add up the seconds of training, and those for which grids, evaluations and checkpoints held training up.

    The first log is left out: it holds the first grid, and whatever is done for the first time.

    Attributes:
        per_update: images of the last update; 0 before the first.
        told: true once a person was told where the run ends.
    """

    def __init__(self) -> None:
        self.logs, self.trained, self.paused = 0, 0.0, 0.0
        self.per_update, self.told = 0, False

    def add(self, trained: float, paused: float) -> None:
        """Add the seconds between two logs."""
        self.logs += 1
        if self.logs > 1:
            self.trained += trained
            self.paused += paused

    def end(self, images: int, length: int) -> int:
        """Count the images after which a run ends, with a whole update; those to come are as long as the last one."""
        left = max(0, length - images)
        return images + (-(-left // self.per_update) * self.per_update if self.per_update else left)

    @property
    def pauses(self) -> float:
        """Seconds of standing still for each second of training."""
        return self.paused / self.trained if self.trained else 0.0


class Monitor:
    """Log a run's progress, diagnose it, and show it on the boards. What no log has shown yet is a part of the run's
    state.

    All ranks log together and reach the same diagnosis; rank 0 writes it.

    Args:
        config: the run's configuration.
        step: makes the run's updates.
        run: the run's folder.
        measured: takes every scalar; called by a thread of rank 0 alone.

    Attributes:
        diagnosis: looks for signs of divergence.
        busy: measures how busy the processor and the GPU are.
        pace: how long training stood still so far.
        spread: on rank 0, how much the images made since the last log differ.
        since: the last log.
        sent: the last log's numbers, until the next log reads them.
        tracker: on rank 0, writes to the boards.
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
        """Log a line on rank 0. All ranks have the same one."""
        if self.step.world.leads:
            logger.log(level, line)

    def tell_in_turn(self, line: str) -> None:
        """Log a line on rank 0 behind what was shown before: progress, which a thread writes."""
        self.later(partial(self.tell, line))

    def begin(self, images: int, metric: str = "") -> None:
        """Measure speed from now on, and show the run's configuration.

        Args:
            images: trained on so far.
            metric: what the best checkpoint is chosen by, as the boards name it; "" where nothing chooses it.
        """
        self.since = Since(time.monotonic(), images)
        if tracker := self.tracker:
            tracker.later(lambda: tracker.describe(images, flat(self.config), metric))

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

    def show(self, speed: Mapping[str, float], images: int, length: int) -> None:
        """Log and show the numbers that were sent last, once they have arrived. Say once that the run ends with a
        whole update, where its length is none.

        Args:
            speed: what `send` returned.
            images: that the run has had.
            length: images that were asked for.
        """
        end = self.pace.end(images, length)
        if end != length and not self.pace.told:
            self.pace.told = True
            self.tell(
                f"an update takes {self.pace.per_update:,} images: the run ends after {end:,}, with the update that "
                f"passes {length:,}"
            )
        if not (self.tracker and self.sent):
            return
        tracker, sent, frames, pauses = self.tracker, self.sent, self.step.frames, self.pace.pauses
        rates = {f"{player}/lr": lr for player, lr in self.step.learning_rates().items()}

        def write() -> None:
            log, rate = sent.read(), speed["speed/images_per_second"]
            logger.info(progress_line(log.images, end, rate, log.speed[WAIT], log.terms, frames, pauses))
            tracker.scalars(log.images, {**log.terms, **speed, **log.speed, **rates})

        tracker.later(write)

    def diagnose(self) -> None:
        """Diagnose the last log, which has arrived by now, so that nothing waits for the device."""
        sent, self.sent = self.sent, None
        if sent is None:
            return
        log = sent.read()
        changes = self.diagnosis.read(log)
        for change in changes:
            if change.began:
                what = "a sign of trouble" if change.mild else "the run diverges"
                self.tell(f"{what}: {change.text}", logging.WARNING)
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
        """Show numbers; a thread does it soon."""
        if tracker := self.tracker:
            tracker.later(lambda: tracker.scalars(images, values))

    def later(self, job: Callable[[], None]) -> None:
        """Run a job on rank 0, in the tracker's thread, after what was shown before."""
        if self.tracker:
            self.tracker.later(job)

    def flush(self) -> None:
        """Copy what was shown so far to the run's folder; a thread does it soon."""
        if self.tracker:
            self.tracker.flush()

    def close(self, finished: bool) -> None:
        """Show what is left, and close the boards.

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
