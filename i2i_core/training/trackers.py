"""Saying how a run goes without holding it up: everything is written by one background thread."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from queue import Queue
from threading import Thread

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from i2i_core.evaluation.sheet import contact_sheet, png_bytes
from i2i_core.storage import Folder, StorageError


class HostCopy:
    """Tensors on their way to the host; `wait()` gives them there. The device is not stopped."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = {name: t.detach().to("cpu", non_blocking=True) for name, t in tensors.items()}
        on_gpu = any(t.is_cuda for t in tensors.values())
        self.done = torch.cuda.Event() if on_gpu else None
        if self.done:
            self.done.record()

    def wait(self) -> dict[str, Tensor]:
        if self.done:
            self.done.synchronize()
        return self.tensors


class Tracker:
    """TensorBoard scalars and images, and grids as PNG, of one run.

    Args:
        run: the run's folder. Where it is not local, event files are kept in a temporary folder and copied to it by
            `flush`. A full disk, or storage that does not answer, is said and does not end the run.
        say: prints a line.
    """

    def __init__(self, run: Folder, say: Callable[[str], None]) -> None:
        self.run, self.say = run, say
        self.told = ""
        self.temporary = None if run.local else tempfile.TemporaryDirectory(prefix="tensorboard-")
        self.events = Path(self.temporary.name) if self.temporary else Path(run.root, "tensorboard")
        self.writer: SummaryWriter | None = None
        self.closing = False
        self.error: BaseException | None = None
        self.jobs: Queue[Callable[[], None] | None] = Queue()
        self.thread = Thread(target=self._work, name="tracker", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            if self.closing and self.told:  # what could not be written before is not waited for now
                continue
            try:
                job()
            except (OSError, StorageError) as error:
                self.writer = None  # after an error it writes nothing any more
                if str(error) != self.told:
                    self.told = str(error)
                    self.say(f"WARNING: {self.run.url}: scalars and grids are not written ({error}); training goes on")
            except BaseException as error:  # raised where the next thing is tracked
                self.error = error
            else:
                self.told = ""

    @property
    def board(self) -> SummaryWriter:
        """Of the thread's own."""
        self.writer = self.writer or SummaryWriter(str(self.events))
        return self.writer

    def later(self, job: Callable[[], None]) -> None:
        """Runs `job` in the thread, after what was given before. Raises what an earlier job raised."""
        if self.error:
            error, self.error = self.error, None
            raise error
        self.jobs.put(job)

    def scalars(self, images: int, values: dict[str, float]) -> None:
        """Called from within a job."""
        for name, value in values.items():
            self.board.add_scalar(name, value, images)

    def grid(self, images: int, columns: dict[str, Tensor]) -> None:
        """A grid of fixed samples, columns (n, C, H, W) in [-1, 1] by title."""
        copy = HostCopy(columns)

        def draw() -> None:
            sheet = contact_sheet(copy.wait())
            self.run.write(f"grids/images-{images:012d}.png", png_bytes(sheet))
            pixels = torch.frombuffer(bytearray(sheet.convert("RGB").tobytes()), dtype=torch.uint8)
            self.board.add_image("samples", pixels.view(sheet.height, sheet.width, 3), images, dataformats="HWC")

        self.later(draw)

    def flush(self) -> None:
        """Everything tracked so far reaches the run's folder, some time soon."""
        self.later(self._publish)

    def _publish(self) -> None:
        self.board.flush()
        if not self.run.local:
            for file in self.events.iterdir():
                self.run.write(f"tensorboard/{file.name}", file.read_bytes())

    def close(self) -> None:
        """Finishes every job. Raises what one of them raised."""
        self.closing = True
        self.jobs.put(self._publish)
        self.jobs.put(lambda: self.board.close())
        self.jobs.put(None)
        self.thread.join()
        if self.temporary:
            self.temporary.cleanup()
        if self.error:
            raise self.error


def clock(seconds: float) -> str:
    """1:02:03, or 2:03 under an hour."""
    minutes, s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{s:02d}" if hours else f"{minutes}:{s:02d}"


def progress_line(images: int, length: int, rate: float, waited: float, terms: dict[str, float]) -> str:
    """`12,800 / 100,000 images | 512 images/s | 2:51 left | data wait 1% | D/loss -3.21 G/loss 12.3`."""
    left = clock((length - images) / rate) if rate else "?"
    losses = " ".join(f"{name} {value:.3g}" for name, value in terms.items() if name.endswith("/loss"))
    return f"{images:,} / {length:,} images | {rate:,.0f} images/s | {left} left | data wait {waited:.0%} | {losses}"
