"""Write a run's scalars, pictures and warnings to its boards from background threads, without holding training up."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from i2i_core.background import Background, Job
from i2i_core.credentials import redacted
from i2i_core.errors import TakenOverError
from i2i_core.images.sheet import contact_sheet, png_bytes
from i2i_core.logs import clock
from i2i_core.names import printable, printable_text
from i2i_core.runs.folder import RunFolder
from i2i_core.storage.retry import StorageError
from i2i_core.training.monitoring.boards import Board, TensorBoard, short
from i2i_core.training.monitoring.readings import HostCopy

logger = logging.getLogger(__name__)

LEAVE = 60.0
"""Seconds that the end of a run waits for Weights & Biases and MLflow to take what is left."""
AGAIN = 600.0
"""Seconds until a lasting error is logged again."""
MOST_WAITING = 1000
"""The most entries that wait for a service that is away; further ones are dropped."""

ShowScalars = Callable[[Mapping[str, float]], None]


class Line(Background):
    """Run jobs in a background thread, and forgive some of their errors.

    Args:
        name: the thread's name.
        forgiven: errors that are logged, once in AGAIN seconds, and otherwise ignored.
        warning: words such an error.
    """

    def __init__(self, name: str, forgiven: tuple[type[Exception], ...], warning: Callable[[Exception], str]) -> None:
        super().__init__(name)
        self.forgiven, self.warning = forgiven, warning
        self.failing = False
        self.told = -math.inf

    def add(self, job: Job) -> None:
        super().add(partial(self._forgiving, job))

    def _forgiving(self, job: Job) -> None:
        if self.ending.is_set() and self.failing:  # what could not be written before is not waited for now
            return
        try:
            job()
        except self.forgiven as error:
            self.failing = True
            if time.monotonic() - self.told > AGAIN:  # on a full disk, one thing in some still finds room
                self.told = time.monotonic()
                logger.warning(self.warning(error))
        else:
            self.failing = False

    def end(self, *last: Job, within: float | None = None) -> bool:
        """Run what is left and then the last jobs. Return whether that took at most `within` seconds."""
        self.ending.set()
        for job in last:
            self.add(job)
        return self.close(within)


class Tracker:
    """Show one run's scalars, pictures and warnings on TensorBoard and other boards, and write its grids as PNG.

    Args:
        run: the run's folder. A full disk, storage that does not answer, or another launch that has taken the run over,
            is logged here and does not end the run; checkpoints do that.
        tensorboard: whether event files are written.
        others: further boards by name, each with its own thread. Their errors are logged and do not end the run.
        measured: takes all scalars, in the tracker's thread.
    """

    def __init__(
        self,
        run: RunFolder,
        tensorboard: bool = True,
        others: Mapping[str, Board] | None = None,
        measured: ShowScalars = lambda values: None,
    ) -> None:
        self.run, self.measured = run, measured
        self.board = TensorBoard(run) if tensorboard else None
        self.line = Line("tracker", (OSError, StorageError, TakenOverError), self._warning)
        self.others = {name: (board, self._line_of(name)) for name, board in (others or {}).items()}

    def _warning(self, error: Exception) -> str:
        return redacted(f"{self.run.url}: scalars and grids are not written ({error}); training goes on")

    def _line_of(self, name: str) -> Line:
        def warning(error: Exception) -> str:
            return f"{name} does not take what is logged ({short(error)}); training goes on"

        return Line(name, (Exception,), warning)

    def later(self, job: Job) -> None:
        """Run `job` in the thread, after what was given before. Raise what an earlier job raised."""
        self.line.put(job)

    def _show(self, show: Callable[[Board], None]) -> None:
        """Show something on every board. Call this within a job."""
        for board, line in self.others.values():
            if len(line.jobs) < MOST_WAITING:
                line.put(lambda board=board: show(board))  # type: ignore[misc]
        if self.board:
            show(self.board)

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        """Show scalars. Call this within a job."""
        self.measured(values)
        named = {printable(name): value for name, value in values.items()}
        self._show(lambda board: board.scalars(images, named))

    def describe(self, images: int, parameters: Mapping[str, Any], metric: str) -> None:
        """Show a run's configuration on TensorBoard; other boards have it from the start. Call this within a job.

        Args:
            images: trained on so far.
            parameters: by dotted name.
            metric: what TensorBoard lists beside the hyper-parameters; "" for none.
        """
        if self.board:
            self.board.describe(images, parameters, metric)

    def text(self, images: int, title: str, text: str) -> None:
        """Show a text. Call this within a job."""
        self._show(lambda board: board.text(images, title, printable_text(text)))

    def grid(self, images: int, columns: dict[str, Tensor]) -> None:
        """Write and show a grid of fixed samples: columns (n, C, H, W) in [-1, 1] by title."""
        copy = HostCopy(columns)

        def draw() -> None:
            sheet = contact_sheet(copy.wait())
            self.run.write(self.run.grid(images), png_bytes(sheet))
            pixels = np.array(sheet.convert("RGB"))
            self._show(lambda board: board.picture(images, pixels))

        self.later(draw)

    def flush(self) -> None:
        """Copy everything tracked so far to the run's folder; the thread does it soon."""
        if self.board and not self.run.local:
            self.later(self.board.flush)

    def close(self, finished: bool = True) -> None:
        """Finish every job. Raise what one of them raised.

        Args:
            finished: whether the run came to its end.
        """
        last: Sequence[Job] = ()
        if self.board:
            board = self.board
            last = (board.flush, lambda: board.close(finished))
        self.line.end(*last)
        for name, (other, line) in self.others.items():
            if not line.end(lambda other=other: other.close(finished), within=LEAVE):  # type: ignore[misc]
                logger.warning(f"{name} has not taken all that was logged within {LEAVE:g} s; not waiting longer")
        if self.board:
            self.board.forget()
        self.line.check()


def progress_line(
    images: int,
    length: int,
    rate: float,
    waited: float,
    terms: dict[str, float],
    frames: int = 1,
    pauses: float = 0.0,
) -> str:
    """Word a log: `12,800 / 100,000 images | 512 images/s | 2:51 left | data wait 1% | D/loss -3.21 G/loss 12.3`; for
    sequences `12,800 / 100,000 sequences of 3 frames | 512 sequences/s, 1,536 frames/s | ...`.

    Args:
        images: trained on so far.
        length: images that the run will have had at its end.
        rate: images a second, while training does not stand still.
        waited: the share of training time that waits for data.
        terms: terms by `player/term`, of which the losses are shown.
        frames: frames of a sample.
        pauses: seconds of standing still for each second of training, which the time left allows for.
    """
    left = clock((length - images) / rate * (1 + pauses)) if rate else "?"
    losses = " ".join(f"{name} {value:.3g}" for name, value in terms.items() if name.endswith("/loss"))
    what, speed = "images", f"{rate:,.0f} images/s"
    if frames > 1:
        what, speed = f"sequences of {frames} frames", f"{rate:,.0f} sequences/s, {rate * frames:,.0f} frames/s"
    return f"{images:,} / {length:,} {what} | {speed} | {left} left | data wait {waited:.0%} | {losses}"
