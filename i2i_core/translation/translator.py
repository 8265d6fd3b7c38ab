"""Translate images on one worker: a checkpoint on a device, images in groups of one shape, outputs to a folder.

Images of one size go through the networks together, always in groups of one shape (the last group is filled up by
repeating images), so that outputs depend neither on --batch nor on the number of workers.

x_CHW one image in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from i2i_core.batch import Bad
from i2i_core.checkpoints.trained import Trained
from i2i_core.config.evaluation import AtTestOptions
from i2i_core.data.reading.transforms import interpolated
from i2i_core.errors import DataError
from i2i_core.images.previews import shown
from i2i_core.images.sheet import to_bytes
from i2i_core.methods.base import Direction, Values, sides
from i2i_core.methods.controls import Code, Examples, Labels
from i2i_core.networks.shapes import SizeError
from i2i_core.sizes import Resizing
from i2i_core.storage.remote import storage_of
from i2i_core.tensors import repeatable
from i2i_core.translation.codes import Codes, check_encodable
from i2i_core.translation.inputs import Counted, Files, Inputs, Split, load_inputs
from i2i_core.translation.loading import File, Loading, loaded
from i2i_core.translation.padding import Padding, at_any_size, cropped
from i2i_core.translation.said import FAR, ratio
from i2i_core.translation.targets import Target
from i2i_core.translation.two import OTHER

GROUP = 8
"""Images of up to GROUP_PIXELS that go through the networks together; larger images go alone."""
GROUP_PIXELS = 256 * 256
MOST_COLUMNS = 6
"""Most outputs of one input that the contact sheet shows."""
UNREADABLE = (FileNotFoundError, IsADirectoryError, PermissionError, ValueError)


@dataclass(frozen=True)
class TranslationJob:
    """Hold everything that a worker needs to translate: checkpoint, inputs, outputs' place, target and codes."""

    checkpoint: str
    inputs: Inputs
    out: str
    target: Target | None
    columns: tuple[int, ...]
    """Columns of the target's attributes in the data set's labels; () where the data set does not have them."""
    loading: Loading
    """How the inputs are read."""
    shown: frozenset[int]
    """Positions of the images on the contact sheet."""
    codes: Codes | None = None
    """Codes of the outputs; None: one output, as the method makes it by itself."""
    examples: Tensor | None = None
    """(K, C, H, W) example images, for methods that take them."""
    way: Direction = "AtoB"
    made: tuple[str, ...] = ("",)
    """Names of the method's outputs for one input; with several, each is a file."""
    at_test: AtTestOptions = AtTestOptions()  # noqa: RUF009 - frozen

    def worker(self, trained: Trained) -> Translator:
        """Make the worker that does this job with a loaded checkpoint."""
        trained.method.at_test = trained.at_test(self.at_test)
        return Translator(self, trained)

    def label(self, i: int) -> np.ndarray:
        """Give the target vector (A,) of an image, as the method takes it."""
        assert self.target is not None, "only asked for by methods that have targets"
        return self.target.vector(self._own(i))

    def _own(self, i: int) -> np.ndarray | None:
        """Give the image's own label (A,); None where the input does not know it."""
        return self.inputs.labels[i, list(self.columns)] if isinstance(self.inputs, Split) and self.columns else None

    def whole_label(self, i: int) -> np.ndarray | None:
        """Give a sample's whole label with the target's attributes in it; None where there are no labels."""
        if self.target is None or not isinstance(self.inputs, Split) or not self.columns:
            return None
        label = self.inputs.labels[i].copy()
        if self.inputs.data.manifest.exclusive:  # of all classes one, also where the method knows only some
            label[:] = 0
        label[list(self.columns)] = self.target.label(self._own(i))
        return label

    @property
    def titles(self) -> tuple[str, ...]:
        """Titles of an image's outputs on the contact sheet."""
        if self.codes is not None:
            each = self.codes.titles
        else:
            what = "made" if isinstance(self.inputs, Counted) else "translation"
            each = (f"{what} {self.target.title}" if self.target else what,)
        return each if len(self.made) == 1 else tuple(f"{title}: {name}" for title in each for name in self.made)

    def name(self, i: int, output: int) -> str:
        """Name an output's file, without its ending."""
        number, which = divmod(output, len(self.made))
        numbered = self.codes is not None and self.codes.numbered
        name = f"{self.inputs.names[i]}-{number}" if numbered else self.inputs.names[i]
        return name if len(self.made) == 1 else f"{name}-{self.made[which]}"


@dataclass(frozen=True)
class Image:
    """Hold one loaded input.

    Attributes:
        i: its position among the inputs.
        inputs: its values by name, as a batch has them, without the first axis.
        dtype: type that its image is stored as.
        truth: the true output, where the code is read off it.
        alpha: its transparency (1, H, W), where the outputs get it.
        laid: true if it has transparent pixels, which were laid over the background.
    """

    i: int
    inputs: dict[str, Tensor]
    dtype: str
    truth: Tensor | None = None
    alpha: Tensor | None = None
    laid: bool = False

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of everything that goes through the networks."""
        return tuple(tuple(x.shape) for x in (*self.inputs.values(), *([] if self.truth is None else [self.truth])))


Row = dict[str, Tensor | None]
"""A row of the contact sheet: images by title (source, outputs, truth)."""


@dataclass(frozen=True)
class Done:
    """Report one chunk: how many images were written, which could not be read, and rows for the contact sheet."""

    written: int
    bad: tuple[Bad, ...]
    rows: dict[int, Row]
    far: tuple[tuple[int, int, int], ...] = ()
    """Position, height and width of the images whose size is far from training's."""
    laid: tuple[int, ...] = ()
    """Positions of the images whose transparent pixels were laid over the background."""


class Translator:
    """Translate chunks of a job's inputs with a checkpoint on a device, and write the outputs."""

    def __init__(self, job: TranslationJob, trained: Trained) -> None:
        self.job, self.method = job, trained.method.eval()
        self.taken, _ = sides(self.method, job.way)
        self.trained_at = trained.stage.size
        self.channels = self.method.channels()
        self.fs, root = storage_of(job.out)
        self.root = str(root)
        self.outputs: dict[int, list[tuple[str, int]]] = {}
        """Paths below the folder of the outputs, and their bytes, by position; of the last chunk."""
        self.refuses: frozenset[int] | None = None
        """Positions of images of which DataError is raised where the networks cannot take their channels; others are
        left out. None: all."""

    def run(self, chunk: Sequence[int]) -> Done:
        """Translate and write some images; for methods with a memory, the frames of a clip in order.

        Raises:
            DataError: an image of a number of channels that the networks cannot take, or frames of two sizes.
        """
        images, bad = self.load(chunk)
        self.outputs = {}
        rows: dict[int, Row] = {}
        for image, made in self.translated(images, self.job.inputs.names[chunk[0]] if chunk else ""):
            if isinstance(made, Bad):
                bad[image.i] = made
                continue
            for output, y in enumerate(made):
                self._write(image, output, y)
            if image.i in self.job.shown:
                rows[image.i] = row_of(self.job, image.i, image.inputs, made)
        laid = tuple(image.i for image in images if image.laid)
        return Done(len(chunk) - len(bad), tuple(bad.values()), rows, tuple(self._far(images)), laid)

    def load(self, chunk: Sequence[int]) -> tuple[list[Image], dict[int, Bad]]:
        """Load the images that can be read; give for the others, by position, why they cannot."""
        images, bad = [], {}
        for i in chunk:
            try:
                images.append(self._load(i))
            except UNREADABLE as error:
                bad[i] = Bad(self.job.inputs.names[i], cause_of(error))
            except DataError as error:
                bad[i] = self.refused(i, error)
        return images, bad

    def refused(self, i: int, error: DataError) -> Bad:
        """Word why an image is left out whose channels the networks cannot take; raise the error where it is one of
        `refuses`."""
        if self.refuses is None or i in self.refuses:
            raise error
        return Bad(self.job.inputs.names[i], f"{error.found}; expected {error.expected}")

    def _far(self, images: Sequence[Image]) -> Iterator[tuple[int, int, int]]:
        for image in images:
            size = next((x.shape[-2:] for x in image.inputs.values() if x.ndim == 3), None)
            if size is not None and ratio(size, self.trained_at) >= FAR:
                yield image.i, size[0], size[1]

    def _load(self, i: int) -> Image:
        name, truth = self.job.inputs.names[i], None
        found = load_inputs(self.job.inputs, i, self.taken, self.channels, self.job.loading)
        if self.job.codes is not None and self.job.codes.of_truth:
            file = self.job.inputs.truth(i, None)
            assert file is not None, "only asked for where the truth is known"
            truth = loaded(file, self.channels[self.job.made[0]], self.job.loading, f"the truth of {name}").x
            check_encodable(self.method, truth, f"the truth of {name}")
        return Image(i, found.values, found.dtype, truth, found.alpha, found.laid)

    def translated(self, images: Iterable[Image], clip: str = "") -> Iterator[tuple[Image, list[Tensor] | Bad]]:
        """Yield every image with its outputs, or why it has none; images of one size go through the networks together.

        Args:
            images: for methods with a memory, the frames of a clip, of which one is held at a time.
            clip: for methods with a memory, the name of the first frame; it seeds the codes of all frames.

        Raises:
            DataError: frames of two sizes in one clip.
        """
        if self.method.memory:
            yield from self._along(images, clip)
            return
        for group in grouped([*images]):
            try:
                outputs = self._outputs(group)
            except ValueError as error:  # a network's own, of what it was given
                yield from ((image, self._refused(image, error)) for image in group)
            else:
                yield from ((image, [made[k] for made in outputs]) for k, image in enumerate(group))

    def _refused(self, image: Image, error: ValueError) -> Bad:
        """Word why the networks do not take an image."""
        sizes = [f"{x.shape[-1]} x {x.shape[-2]}" for x in image.inputs.values() if x.ndim == 3]
        why = f"expected {error.expected}" if isinstance(error, SizeError) else str(error)
        return Bad(self.job.inputs.names[image.i], f"{', '.join(sizes)} pixels (width x height): {why}; see --size")

    def _along(self, images: Iterable[Image], clip: str) -> Iterator[tuple[Image, list[Tensor] | Bad]]:
        """Yield the frames of a clip with their outputs, each made with the memory of the frame before it.

        All frames have the same codes.
        """
        memories: list[dict[str, Tensor] | None] = []
        padding, frames = Padding(), iter(images)
        first: tuple[tuple[int, ...], ...] = ()
        for frame in frames:
            first = first or frame.shapes
            if frame.shapes != first:
                sizes = [" and ".join(map(str, shapes)) for shapes in (frame.shapes, first)]
                height, width = next(shape[-2:] for shape in first if len(shape) == 3)
                where = f"frame {self.job.inputs.names[frame.i]}"
                raise DataError(
                    where, sizes[0], f"{sizes[1]}, as the first of its clip has", f"Give --size {width}x{height}."
                )
            batch, keys = self._placed([frame]), [clip]
            made = []
            try:
                for number, controls in enumerate(self._controls([frame], keys)):
                    memories += [None] * (number == len(memories))
                    found, padding = self._translate(batch, controls, keys, memories[number], padding)
                    memories[number] = {name: found[name] for name in self.method.memory}
                    made += [self._cropped(found[name], batch, padding)[0] for name in self.job.made]
            except ValueError as error:  # its size is that of all frames
                yield from ((one, self._refused(one, error)) for one in chain([frame], frames))
                return
            yield frame, made

    def _outputs(self, images: Sequence[Image]) -> list[Tensor]:
        """Make the outputs of a group, a batch for each output. The networks always see a full group."""
        full = [images[k % len(images)] for k in range(group_of(images[0]))]
        batch, keys = self._placed(full), [self.job.inputs.names[image.i] for image in full]
        outputs = []
        for controls in self._controls(full, keys):
            found, padding = self._translate(batch, controls, keys)
            outputs += [self._cropped(found[name], batch, padding)[: len(images)] for name in self.job.made]
        return outputs

    def _placed(self, images: Sequence[Image]) -> dict[str, Tensor]:
        """Stack images to a batch on the device."""
        weight, batch = next(self.method.parameters()), {}
        for name in self.taken:
            x = torch.stack([image.inputs[name] for image in images])
            batch[name] = x.to(weight) if x.is_floating_point() else x.to(weight.device)
        return batch

    def _translate(
        self,
        batch: dict[str, Tensor],
        controls: dict[str, Tensor],
        keys: Sequence[str],
        memory: dict[str, Tensor] | None = None,
        padding: Padding = Padding(),  # noqa: B008 - frozen
    ) -> tuple[Mapping[str, Tensor], Padding]:
        def make(inputs: Values, told: Values) -> dict[str, Tensor]:
            return self.method.translate(inputs, told, self.job.way, keys=keys, memory=memory)

        with enough_memory("--longer-side N"), repeatable():
            return at_any_size(make, batch, self.taken, controls, padding)

    def _cropped(self, made: Tensor, batch: dict[str, Tensor], padding: Padding) -> Tensor:
        return cropped(made, batch, self.taken, padding).float().cpu()

    def _controls(self, full: Sequence[Image], keys: Sequence[str]) -> list[dict[str, Tensor]]:
        """Give the method's controls (labels, codes, examples), for each output."""
        told: dict[str, Tensor] = {}
        if self.job.target is not None:
            told[self.method.named(Labels)] = torch.from_numpy(np.stack([self.job.label(image.i) for image in full]))
        if self.job.examples is not None:
            told[self.method.named(Examples)] = self.job.examples.expand(len(full), *self.job.examples.shape)
        if self.job.codes is None:
            return [told]
        truths = [image.truth for image in full if image.truth is not None]
        truth = torch.stack(truths).to(next(self.method.parameters())) if truths else None
        return [{**told, self.method.named(Code): z} for z in self.job.codes.of(self.method, keys, truth)]

    def _write(self, image: Image, output: int, made: Tensor) -> None:
        if image.alpha is not None:
            made = torch.cat([made, interpolated(image.alpha, (made.shape[-2], made.shape[-1]), Resizing())])
        self.write_file(image.i, output, *to_bytes(made, self._dtype(image)))

    def write_file(self, i: int, output: int, data: bytes, ending: str) -> None:
        """Write an output of an image."""
        name = f"{self.job.name(i, output)}.{ending}"
        path = f"{self.root}/{name}"
        self.fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        self.fs.pipe_file(path, data)
        self.outputs.setdefault(i, []).append((name, len(data)))

    def _dtype(self, image: Image) -> str:
        """Choose the outputs' type: the truth's where there is one, else the input's."""
        inputs = self.job.inputs
        return inputs.dtype if isinstance(inputs, Split) else image.dtype


@contextmanager
def enough_memory(fix: str) -> Iterator[None]:
    """Raise ValueError with this advice where the memory does not suffice inside the block."""
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)):
            raise
        raise ValueError(f"the networks need more memory for it than there is ({fix})") from None


def _shown(file: File, loading: Loading, name: str) -> Tensor:
    return loaded(file, 0, loading, name).x


def row_of(
    job: TranslationJob,
    i: int,
    inputs: Mapping[str, Tensor],
    made: Sequence[Tensor],
    show: Callable[[File, Loading, str], Tensor] = _shown,
) -> Row:
    """Make an image's row of the contact sheet; of many outputs it shows a few, evenly chosen.

    Args:
        show: reads the truth, of this name.
    """
    count = len(job.titles)
    picked = [round(k) for k in np.linspace(0, count - 1, min(count, MOST_COLUMNS))]
    return {**_sources(job, inputs), **{job.titles[k]: made[k] for k in picked}, "truth": _truth(job, i, show)}


def _sources(job: TranslationJob, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Show the inputs as images: `source` for a single one, else each by its name."""
    if not isinstance(job.inputs, Split):
        return dict(zip(("source",), inputs.values(), strict=False))
    fields = {name: job.inputs.field(at) for name, at in job.inputs.columns.items()}
    return {"source" if len(inputs) == 1 else name: shown(x, fields[name]) for name, x in inputs.items()}


def _truth(job: TranslationJob, i: int, show: Callable[[File, Loading, str], Tensor]) -> Tensor | None:
    try:
        name, loading = job.inputs.names[i], job.loading
        if loading.half and isinstance(job.inputs, Files):  # beside an input lies what it should look like
            return show(job.inputs.fetch(i), replace(loading, half=OTHER[loading.half]), name)
        file = job.inputs.truth(i, job.whole_label(i))
        return None if file is None else show(file, loading, name)
    except UNREADABLE:
        return None  # an empty cell


def cause_of(error: Exception) -> str:
    """Word why an image cannot be read."""
    return "no such file" if isinstance(error, FileNotFoundError) else str(error)


def group_of(image: Image) -> int:
    """Choose how many inputs of that size go through the networks together."""
    pixels = max((math.prod(x.shape[1:]) for x in image.inputs.values() if x.ndim == 3), default=0)
    return GROUP if pixels <= GROUP_PIXELS else 1


def grouped(images: Sequence[Image]) -> Iterator[list[Image]]:
    """Collect images of one size into groups that go through the networks together."""
    by_size: dict[tuple[tuple[int, ...], ...], list[Image]] = {}
    for image in images:
        by_size.setdefault(image.shapes, []).append(image)
    for same in by_size.values():
        size = group_of(same[0])
        yield from (same[k : k + size] for k in range(0, len(same), size))
