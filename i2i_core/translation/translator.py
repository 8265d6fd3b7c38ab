"""One worker that translates: a checkpoint on a device, images in groups of one shape, outputs to a folder.

Images of one size go through the networks together, always in groups of one shape (the last is filled up by
repeating), so that neither the number of images at a time nor the number of workers reaches the arithmetic.

x_CHW one image in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i_core.batch import Bad
from i2i_core.checkpoints.trained import Trained
from i2i_core.config.evaluation import AtTestOptions
from i2i_core.errors import DataError
from i2i_core.images.sheet import to_bytes
from i2i_core.networks.shapes import SizeError
from i2i_core.storage.remote import storage_of
from i2i_core.tensors import repeatable
from i2i_core.translation.codes import Codes, check_encodable
from i2i_core.translation.inputs import Inputs, Split, loaded
from i2i_core.translation.targets import Target

GROUP = 8
"""Images that go through the networks together, up to GROUP_PIXELS each; larger ones go alone."""
GROUP_PIXELS = 256 * 256
MOST_COLUMNS = 6
"""Outputs of one input that the contact sheet shows."""
UNREADABLE = (FileNotFoundError, IsADirectoryError, PermissionError, ValueError)


@dataclass(frozen=True)
class TranslationJob:
    """What every worker knows."""

    checkpoint: str
    inputs: Inputs
    out: str
    target: Target | None
    columns: tuple[int, ...]
    """Where the target's attributes stand in the labels of the data set; () where it has none of them."""
    size: int
    shown: frozenset[int]
    """Images that come back for the contact sheet."""
    codes: Codes | None = None
    """Which codes the outputs have; None: one output, as the method makes it by itself."""
    back: bool = False
    """From B to A."""
    at_test: AtTestOptions = AtTestOptions()  # noqa: RUF009 - frozen

    def worker(self, trained: Trained) -> Translator:
        trained.method.at_test = trained.at_test(self.at_test)
        return Translator(self, trained)

    def label(self, i: int) -> np.ndarray:
        """(A,) the target of an image, as the method takes it."""
        assert self.target is not None, "only asked for by methods that have targets"
        return self.target.vector(self._own(i))

    def _own(self, i: int) -> np.ndarray | None:
        """(A,) the image's own label; None where the input does not know it."""
        return self.inputs.labels[i, list(self.columns)] if isinstance(self.inputs, Split) and self.columns else None

    def whole_label(self, i: int) -> np.ndarray | None:
        """The label of a data set's sample with the target's attributes in it; None where there are no labels."""
        if self.target is None or not isinstance(self.inputs, Split) or not self.columns:
            return None
        label = self.inputs.labels[i].copy()
        if self.inputs.data.manifest.exclusive:  # of all classes one, also where the method knows only some
            label[:] = 0
        label[list(self.columns)] = self.target.label(self._own(i))
        return label

    @property
    def titles(self) -> tuple[str, ...]:
        """Of the outputs of an image, for the contact sheet."""
        if self.codes is not None:
            return self.codes.titles
        return (f"translation {self.target.title}" if self.target else "translation",)

    def name(self, i: int, output: int) -> str:
        """Of an output, without an ending."""
        numbered = self.codes is not None and self.codes.numbered
        return f"{self.inputs.names[i]}-{output}" if numbered else self.inputs.names[i]


@dataclass(frozen=True)
class Image:
    """An input, decoded: its position, its values (C, H, W) in [-1, 1], and the dtype it was stored as."""

    i: int
    x: Tensor
    dtype: str
    truth: Tensor | None = None
    """Where its code is read off it."""


Row = dict[str, Tensor | None]
"""A row of the contact sheet by title: source, outputs, truth."""


@dataclass(frozen=True)
class Done:
    """What came of a chunk."""

    written: int
    bad: tuple[Bad, ...]
    rows: dict[int, Row]


class Translator:
    """A checkpoint on a device, and a place to write to."""

    def __init__(self, job: TranslationJob, trained: Trained) -> None:
        self.job, self.method = job, trained.method.eval()
        self.channels = self.method.channels()[1 if job.back else 0]
        self.fs, root = storage_of(job.out)
        self.root = str(root)

    def run(self, chunk: Sequence[int]) -> Done:
        """Translates and writes some images.

        Raises:
            DataError: an image of a size or number of channels that the networks cannot take.
        """
        images, bad = self.load(chunk)
        rows: dict[int, Row] = {}
        for image, made in self.translated(images):
            for output, y in enumerate(made):
                self._write(image, output, y)
            if image.i in self.job.shown:
                rows[image.i] = row_of(self.job, image.i, image.x, made)
        return Done(len(images), tuple(bad.values()), rows)

    def load(self, chunk: Sequence[int]) -> tuple[list[Image], dict[int, Bad]]:
        """The images that can be read, and why the others cannot, by their positions."""
        images, bad = [], {}
        for i in chunk:
            try:
                images.append(self._load(i))
            except UNREADABLE as error:
                bad[i] = Bad(self.job.inputs.names[i], _cause(error))
        return images, bad

    def _load(self, i: int) -> Image:
        name, truth = self.job.inputs.names[i], None
        x, dtype = loaded(self.job.inputs.fetch(i), self.channels, self.job.size, f"image {name}")
        if self.job.codes is not None and self.job.codes.of_truth:
            file = self.job.inputs.truth(i, None)
            assert file is not None, "only asked for of pairs"
            truth, _ = loaded(file, self.method.channels()[1], self.job.size, f"the truth of {name}")
            check_encodable(self.method, truth, f"the truth of {name}")
        return Image(i, x, dtype, truth)

    def translated(self, images: Sequence[Image]) -> Iterator[tuple[Image, list[Tensor]]]:
        """Every image with its outputs, those of one size together.

        Raises:
            DataError: an image of a size that the networks cannot take.
        """
        for group in grouped(images):
            outputs = self._outputs(group)
            yield from ((image, [made[k] for made in outputs]) for k, image in enumerate(group))

    def _outputs(self, images: Sequence[Image]) -> list[Tensor]:
        """The outputs of a group, a batch each; the networks see a full group whatever the number of images."""
        x = images[0].x
        full = [images[k % len(images)] for k in range(group_of(x))]
        keys = [self.job.inputs.names[image.i] for image in full]
        batch = torch.stack([image.x for image in full]).to(next(self.method.parameters()))
        try:
            with repeatable():
                if self.job.back:
                    return [self.method.back(batch)[: len(images)].float().cpu()]
                controls = self._controls(full, keys)
                made = (self.method.translate(batch, keys=keys, **control) for control in controls)
                return [y[: len(images)].float().cpu() for y in made]
        except SizeError as error:
            where, found = f"image {keys[0]}", f"{x.shape[2]} x {x.shape[1]} pixels (width x height)"
            raise DataError(where, found, error.expected, f"Give --size {error.listed}.") from None

    def _controls(self, full: Sequence[Image], keys: Sequence[str]) -> list[dict[str, Any]]:
        """What the method is told besides the images, for each output."""
        if self.job.target is not None:
            return [{"target": torch.from_numpy(np.stack([self.job.label(image.i) for image in full]))}]
        if self.job.codes is None:
            return [{}]
        truths = [image.truth for image in full if image.truth is not None]
        truth = torch.stack(truths).to(next(self.method.parameters())) if truths else None
        return [{"z": z} for z in self.job.codes.of(self.method, keys, truth)]

    def _write(self, image: Image, output: int, made: Tensor) -> None:
        data, ending = to_bytes(made, self._dtype(image))
        path = f"{self.root}/{self.job.name(image.i, output)}.{ending}"
        self.fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        self.fs.pipe_file(path, data)

    def _dtype(self, image: Image) -> str:
        """Of a pair, what the truth is stored as; else as the input."""
        inputs = self.job.inputs
        return inputs.written.dtype if isinstance(inputs, Split) else image.dtype


def row_of(job: TranslationJob, i: int, source: Tensor, made: Sequence[Tensor]) -> Row:
    """An image's row of the contact sheet: of many outputs, some that are spread over all."""
    count = len(job.titles)
    picked = [round(k) for k in np.linspace(0, count - 1, min(count, MOST_COLUMNS))]
    return {"source": source, **{job.titles[k]: made[k] for k in picked}, "truth": _truth(job, i)}


def _truth(job: TranslationJob, i: int) -> Tensor | None:
    try:
        file = job.inputs.truth(i, job.whole_label(i))
        return None if file is None else loaded(file, 0, job.size, job.inputs.names[i])[0]
    except UNREADABLE:
        return None  # an empty cell


def _cause(error: Exception) -> str:
    return "no such file" if isinstance(error, FileNotFoundError) else str(error)


def group_of(x_CHW: Tensor) -> int:
    """How many images of that size go through the networks together."""
    return GROUP if x_CHW.shape[1] * x_CHW.shape[2] <= GROUP_PIXELS else 1


def grouped(images: Sequence[Image]) -> Iterator[list[Image]]:
    """Images of one size together, in groups that go through the networks at once."""
    by_size: dict[tuple[Any, ...], list[Image]] = {}
    for image in images:
        truth = None if image.truth is None else tuple(image.truth.shape)
        by_size.setdefault((tuple(image.x.shape), truth), []).append(image)
    for same in by_size.values():
        size = group_of(same[0].x)
        yield from (same[k : k + size] for k in range(0, len(same), size))
