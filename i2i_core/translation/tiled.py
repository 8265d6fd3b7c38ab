"""Do a translation job in tiles, an image at a time, on one worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from torch import Tensor

from i2i_core.batch import Bad
from i2i_core.checkpoints.trained import Trained
from i2i_core.errors import ConfigError, DataError
from i2i_core.images import large_png
from i2i_core.images.codec import encode, storage
from i2i_core.images.sheet import MOST_CELL, to_array
from i2i_core.methods.base import Method
from i2i_core.translation.inputs import Counted
from i2i_core.translation.loading import File, Loading, Stored, as_tensor, stored
from i2i_core.translation.said import FAR, ratio
from i2i_core.translation.tiles import Tiler, Tiling, reduced
from i2i_core.translation.translator import (
    UNREADABLE,
    Done,
    Image,
    Row,
    TranslationJob,
    Translator,
    cause_of,
    enough_memory,
    row_of,
)


@dataclass(frozen=True)
class TiledJob(TranslationJob):
    """Hold a translation job that is done in tiles."""

    tiling: Tiling = Tiling(512)  # noqa: RUF009 - frozen

    def worker(self, trained: Trained) -> TiledTranslator:
        """Make the worker that does this job with a loaded checkpoint."""
        trained.method.at_test = trained.at_test(self.at_test)
        return TiledTranslator(self, trained)


def in_tiles(job: TranslationJob, method: Method[Any], tiling: Tiling) -> TiledJob:
    """Have a job done in tiles. Raises ConfigError where it cannot be."""
    name = tiling.names[0]
    if isinstance(job.inputs, Counted):
        fix = f"Leave {name} out."
        raise ConfigError(name, "a method that takes no image", "one that makes images of images", fix)
    if job.codes is not None and job.codes.of_truth:
        fix = f"Name an image with --like, or leave {name} out."
        raise ConfigError(name, "--like truth beside it, whose truths are read whole", "codes of another kind", fix)
    Tiler(method, job.way, tiling)
    return TiledJob(**{field.name: getattr(job, field.name) for field in fields(job)}, tiling=tiling)


class TiledTranslator(Translator):
    """Translate chunks of a job's inputs in tiles: memory holds an image and its output as they are stored, and the
    tile that is being made."""

    job: TiledJob

    def __init__(self, job: TiledJob, trained: Trained) -> None:
        super().__init__(job, trained)
        self.tiler = Tiler(self.method, job.way, job.tiling)

    def run(self, chunk: Sequence[int]) -> Done:
        """Translate and write some images, one after another.

        Raises:
            DataError: an image of a number of channels that the networks cannot take.
        """
        bad, rows, far, laid = list[Bad](), dict[int, Row](), list[tuple[int, int, int]](), list[int]()
        self.outputs = {}
        for i in chunk:
            try:
                found = self._stored(self.job.inputs.fetch(i, self.tiler.taken), self.job.loading, i)
            except UNREADABLE as error:
                bad.append(Bad(self.job.inputs.names[i], cause_of(error)))
                continue
            except DataError as error:
                bad.append(self.refused(i, error))
                continue
            height, width = found.pixels.shape[:2]
            try:
                row = self._translated(i, found)
            except ValueError as error:  # a network's own, of what it was given
                why = f"{width} x {height} pixels (width x height): {error}"
                bad.append(Bad(self.job.inputs.names[i], why))
                continue
            if row is not None:
                rows[i] = row
            if ratio((height, width), self.trained_at) >= FAR:
                far.append((i, height, width))
            laid += [i] * found.laid
        return Done(len(chunk) - len(bad), tuple(bad), rows, tuple(far), tuple(laid))

    def _stored(self, file: File, loading: Loading, i: int) -> Stored:
        return stored(file, self.channels[self.tiler.taken], loading, f"image {self.job.inputs.names[i]}")

    def _translated(self, i: int, found: Stored) -> Row | None:
        """Make and write the outputs of an image; give its row of the contact sheet, where it has one."""
        image = Image(i, {}, str(found.pixels.dtype))
        name, shows, made = self.job.inputs.names[i], i in self.job.shown, list[Tensor]()
        for number, controls in enumerate(self._controls([image], [name])):
            dtype, extra = self._dtype(image), found.alpha is not None
            with enough_memory(f"--tile below {self.job.tiling.tile}"):
                y = self.tiler.translate(found.pixels, controls, name, dtype, int(extra))
            if shows:
                made.append(reduced(y[..., : y.shape[2] - extra], MOST_CELL))
            if found.alpha is not None:
                same = found.alpha.dtype == y.dtype
                y[..., -1:] = found.alpha if same else to_array(as_tensor(found.alpha), dtype)
            self._write_array(i, number, y)
        if not shows:
            return None
        return row_of(self.job, i, {self.tiler.taken: reduced(found.pixels, MOST_CELL)}, made, self._small)

    def _small(self, file: File, loading: Loading, name: str) -> Tensor:
        return reduced(stored(file, 0, loading, name).pixels, MOST_CELL)

    def _write_array(self, i: int, output: int, y_HWC: np.ndarray) -> None:
        kind = storage(y_HWC, "png")
        data = large_png.write(y_HWC) if kind == "png" and y_HWC.dtype == np.uint8 else encode(y_HWC, kind)
        self.write_file(i, output, data, kind)
