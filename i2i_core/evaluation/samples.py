"""Define what an evaluation consists of: the samples of a split in chunks, what a method makes of a chunk, and families
of metrics, which turn all chunks into numbers.

A split is cut into chunks of CHUNK samples in the order of its index, and ranks take chunks in turn. What a family
computes from a chunk depends on that chunk alone, so that the world size changes no bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.config.evaluation import EvaluationConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.stream import in_order
from i2i_core.errors import DataError
from i2i_core.methods.base import Method, image_input, knows_truth, sides
from i2i_core.methods.controls import Code, Examples, Labels
from i2i_core.sizes import Resizing, Size

if TYPE_CHECKING:
    from i2i_core.evaluation.judges.classifier import Classifier

CHUNK = 32

Values = dict[str, list[float]]
"""By metric, one number for each sample (or image made of it) that the metric applies to."""


@dataclass(frozen=True)
class Measured:
    """Hold the value of a metric and the number of images that it is the mean over."""

    value: float
    count: int


NOTHING = "_nothing"
"""Ends the name of what the untouched inputs score: `l1_nothing` stands beside `l1`."""
REAL = "_real"
"""Ends the name of what real images score: `accuracy_real` stands beside `accuracy`."""


@dataclass(frozen=True)
class Metric:
    """Define a metric: which way is better, and how it is computed."""

    better: Literal["lower", "higher"]
    definition: str
    nothing: str = ""
    """The score of doing nothing by definition, or why it has none; empty: `NAME_nothing` is measured, where the
    metric has one."""


def suffixed(name: str, suffix: str) -> str:
    """Name a metric's companion, of its part if it has one: accuracy/bold, NOTHING -> accuracy_nothing/bold."""
    base, slash, part = name.partition("/")
    return f"{base}{suffix}{slash}{part}"


def beside(name: str, metric: Metric) -> dict[str, Metric]:
    """Give a metric by its name, and the same of the untouched inputs as `NAME_nothing`."""
    idle = Metric(metric.better, f"{name} of the untouched inputs: what doing nothing scores")
    return {name: metric, f"{name}{NOTHING}": idle}


@dataclass(frozen=True)
class Asked:
    """Say what to measure: a method on a split of a data set, how images are read, and what judges them."""

    method: Method[Any]
    data: DataSet
    split: str
    image_size: Size
    """Pixels that images are resized to; 0: images stay as they are stored."""
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    judging: EvaluationConfig = EvaluationConfig()  # noqa: RUF009 - frozen
    device: torch.device = torch.device("cpu")  # noqa: RUF009
    """Device of the networks that judge."""
    most: int = 0
    """Number of samples to measure, the first of the split; 0: all."""
    classifier: Classifier | None = None
    """Judges translations of labelled or unpaired data; None: the file that `judging` names, if it names one."""
    resizing: Resizing = Resizing()
    """Resizing of images to `image_size`: that of the method's training."""
    frames: int = 0
    """Frames of a sequence; 0: the method's own number."""
    frame_stride: int = 1
    """Rows of the data set from one frame of a sequence to the next."""


Retarget = Callable[[Batch], tuple[Tensor, Tensor]]
"""A function of a chunk of n labelled samples: it gives (n,) the mask of those that have another label to go to, and
(n, A) that label."""


class Outputs:
    """Make images of one chunk with a method, and keep them: each is computed once, when a family first needs it.

    Images are (n, C, H, W) in [-1, 1] on the method's device; frames of sequences count as samples.

    Args:
        target: chooses the labels that labelled samples are translated to; None: the data has no labels.
    """

    def __init__(self, method: Method[Any], batch: Batch, target: Retarget | None = None) -> None:
        self.method, self.batch, self._target = method, batch, target
        self._variants: list[Tensor] = []

    @property
    def keys(self) -> tuple[str, ...]:
        """Give the keys of the samples; of sequences a key for each frame: KEY+0, KEY+1, ..."""
        frames = self.frames
        return self.batch.keys if frames == 1 else tuple(f"{k}+{t}" for k in self.batch.keys for t in range(frames))

    @property
    def frames(self) -> int:
        """Count the frames of a sequence; 1 for samples that stand alone."""
        return 1 if self.method.needs.frames == 1 else next(iter(self.batch.fields.values())).shape[1]

    @property
    def row(self) -> int:
        """Give the row of the split at which the chunk begins."""
        return self.batch.images

    def _field(self, name: str) -> Tensor | None:
        """Give a field of the chunk on the method's device, of sequences (n, T, ...); None where it has none."""
        x = self.batch.fields.get(name)
        if x is None:
            return None
        weight = next(self.method.parameters())
        return x.to(weight) if x.is_floating_point() else x.to(weight.device)

    def single(self, x: Tensor) -> Tensor:
        """Flatten sequences (n, T, ...) to frames (n T, ...); leave samples that stand alone as they are."""
        return x if self.frames == 1 else x.flatten(0, 1)

    def _each(self, x: Tensor | None) -> Tensor | None:
        return None if x is None else self.single(x)

    @cached_property
    def inputs(self) -> dict[str, Tensor] | None:
        """Give the inputs of the method by name, of sequences (n, T, ...); None in chunks of the target domain of
        unpaired data."""
        if self.real is None and not self.method.inputs:
            return None  # as many are made as there are real ones to compare with
        found = {name: self._field(name) for name in self.method.inputs}
        given = {name: x for name, x in found.items() if x is not None}
        return given if len(given) == len(found) else None

    @cached_property
    def source(self) -> Tensor | None:
        """Give the input images, where one image is all that goes in; else None."""
        name = image_input(self.method)
        return self._each(self.inputs[name]) if name and self.inputs else None

    @property
    def chosen(self) -> Tensor | None:
        """(n,) mask of the samples that `made` is made of; None: all."""
        return None if self._target is None else self.translated[0]

    @cached_property
    def translated(self) -> tuple[Tensor, Tensor]:
        """Give, for labelled data, (n,) the mask of samples that have another label to go to, and (n, A) that label."""
        assert self._target is not None
        return self._target(self.batch)

    @cached_property
    def made(self) -> Tensor | None:
        """Give what the method makes of the inputs; of labelled data, of those that have another label to go to."""
        if self.inputs is None:
            return None
        return self.make(chosen=self.chosen)

    def make(
        self, controls: Mapping[str, Tensor] | None = None, chosen: Tensor | None = None, of: Tensor | None = None
    ) -> Tensor:
        """Make images of the chunk's inputs, (n, C, H, W). Examples come from the samples themselves.

        Args:
            controls: values of the method's controls by name; a code that is missing is drawn by each input's key.
            chosen: (n,) mask of the inputs to make images of; None: all.
            of: images that replace the chosen input images.
        """
        assert self.inputs is not None, "of chunks that have inputs"
        own, keys, inputs = self._own(), self.batch.keys, self.inputs
        if chosen is not None:
            keys = tuple(key for key, is_one in zip(keys, chosen.tolist(), strict=True) if is_one)
            inputs = {name: x[chosen.to(x.device)] for name, x in inputs.items()}
            own = {name: x[chosen.to(x.device)] for name, x in own.items()}
        if of is not None:
            inputs = {image_input(self.method): of}
        if not keys:
            return given(self.source)[:0]
        (name, *_) = self.method.outputs
        told = own | dict(controls or {})
        if self.frames > 1:
            return given(self._each(self.method.along(inputs, told, keys=keys)[name])).float()
        return self.method.translate(inputs, told, keys=keys)[name].float()

    def _own(self) -> dict[str, Tensor]:
        """Give the controls that the samples bring: examples, and the labels that they are translated to."""
        told: dict[str, Tensor] = {}
        if examples := self.method.control(Examples):
            told[self.method.named(Examples)] = given(self._field(examples.field))
        if (labels := self.method.named(Labels)) and self._target:
            told[labels] = self.translated[1]
        return told

    def back(self, made_BCHW: Tensor) -> Tensor:
        """Translate images of the target domain back to the source domain, (n, C, H, W), with a two-way method;
        sequences frame by frame, as in `make`."""
        ((taken, _), *_), ((name, _), *_) = (side.items() for side in sides(self.method, "BtoA"))
        if self.frames == 1:
            return self.method.image_from(made_BCHW, "BtoA", keys=self.keys).float()
        frames = {taken: made_BCHW.unflatten(0, (-1, self.frames))}
        return given(self._each(self.method.along(frames, keys=self.batch.keys, direction="BtoA")[name])).float()

    @cached_property
    def truth(self) -> Tensor | None:
        """Give the images that the method should make, where the samples hold them; else None."""
        return self.real if knows_truth(self.method) else None

    @cached_property
    def real(self) -> Tensor | None:
        """Give the real images that `made` imitates: the truths of pairs, the images of labelled data. Those of the
        target domain of unpaired data come in chunks of their own."""
        return self._each(self._field(next(iter(self.method.outputs))))

    def variants(self, count: int) -> list[Tensor]:
        """Make `count` outputs of each input with codes drawn by the input's key."""
        for i in range(len(self._variants), count):
            self._variants.append(self.make({self.method.named(Code): self.method.draw_codes(self.batch.keys, i)}))
        return self._variants[:count]


class Workers(Protocol):
    """Connect the ranks that measure one split together."""

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...
    def to_leader(self, value: Any) -> list[Any] | None:
        """Gather the values of all ranks on rank 0; None on the others."""

    def from_leader(self, value: Any) -> Any:
        """Broadcast the value of rank 0."""


class Family:
    """Compute metrics that share work on a chunk, such as one network's features: `chunk` for each chunk on any rank,
    then `result` once from what all chunks gave.

    Attributes:
        metrics: every metric that the family may give, by name; `NAME/PART` goes by NAME.
    """

    metrics: Mapping[str, Metric]

    @property
    def judges(self) -> Sequence[str]:
        """Name the metrics that can decide a run's best checkpoint: not those of doing nothing. A metric without a
        value of its own is named by its parts."""
        return list(self.metrics)

    def absent(self) -> dict[str, str]:
        """Give the reason for each metric of the family that cannot be measured here, by name."""
        return {}

    def facts(self) -> dict[str, Any]:
        """Give what the definitions leave open: networks and their files' checksums, sizes, subsets, seeds."""
        return {}

    def chunk(self, outputs: Outputs) -> Any:
        """Compute what one chunk adds, from that chunk alone: a value that can be pickled; None: nothing."""
        raise TypeError("a family defines chunk")

    def result(self, parts: Sequence[Any]) -> dict[str, Measured]:
        """Compute the metrics from the values of all chunks, in the order of the chunks."""
        raise TypeError("a family defines result")

    def pictures(self, parts: Sequence[Any]) -> dict[str, bytes]:
        """Draw PNG files that show the result, by name."""
        return {}


def given(x: Tensor | None) -> Tensor:
    """Give a tensor that chunks of this kind always have. Fail where a chunk lacks it."""
    assert x is not None
    return x


Place = tuple[int, int]
"""The place of a chunk: the domain (0: source, or no domains; 1: target), and its number there."""


def chunks(asked: Asked, rank: int = 0, world: int = 1) -> Iterator[tuple[Place, Batch]]:
    """Read the chunks of a rank, each with its place: not augmented, on the CPU, in [-1, 1].

    Unpaired data give all samples of each domain apart: `a` alone, then `b` alone.

    Raises:
        DataError: no such split.
    """
    sides: tuple[Literal["a", "b", ""], ...] = ("a", "b") if asked.method.needs.domains == 2 else ("",)
    for number, side in enumerate(sides):
        found = in_order(
            asked.data,
            asked.split,
            asked.image_size,
            most=asked.most,
            size=CHUNK,
            rank=rank,
            world=world,
            direction=asked.direction,
            side=side,
            resizing=asked.resizing,
            needs=asked.method.needs.of_frames(asked.frames),
            frame_stride=asked.frame_stride,
        )
        yield from (((number, chunk.images // CHUNK), chunk) for chunk in found)


def means(parts: Iterable[Values]) -> dict[str, Measured]:
    """Average each metric over all chunks, exactly rounded."""
    merged: Values = {}
    for values in parts:
        for name, numbers in values.items():
            merged.setdefault(name, []).extend(numbers)
    return {name: Measured(math.fsum(v) / len(v), len(v)) for name, v in merged.items() if v}


def side_of(asked: Asked) -> str:
    """Name the field or domain of the real images that made ones imitate."""
    made = next(iter(asked.method.outputs))
    if asked.method.needs.domains == 2:
        return asked.data.manifest.domains[made.startswith("b") == (asked.direction == "AtoB")]
    return asked.method.needs.stored(made, asked.direction)


def source_of(asked: Asked) -> str:
    """Name the field or domain that holds the input images; empty where no single image goes in."""
    name, needs = image_input(asked.method), asked.method.needs
    if not name or needs.domains == 1:
        return needs.stored(name, asked.direction) if name else ""
    first, second = asked.data.manifest.domains
    return first if side_of(asked) == second else second


def channels_of(asked: Asked, side: str) -> int:
    """Count the channels of the images of a field or domain."""
    if asked.method.needs.domains == 2:
        return asked.data.manifest.fields_in(side)["image"].channels
    return asked.data.manifest.fields[side].channels


def no_idle(asked: Asked, least: Sequence[int] = ()) -> str:
    """Give the reason why doing nothing cannot be measured; empty where it can be.

    Args:
        least: numbers of channels that inputs may have; none given: those of the images they are compared with.
    """
    source = source_of(asked)
    if not source:
        return f"no single image goes in: the method reads {asked.method.needs.described}"
    channels, wanted = channels_of(asked, source), least or (channels_of(asked, side_of(asked)),)
    if channels not in wanted:
        return f"the inputs have {channels} channels; expected {' or '.join(map(str, wanted))}"
    return ""


def check_truth(asked: Asked, metrics: str, expected: str) -> None:
    """Raise DataError unless the data holds the truth of what the method makes.

    Args:
        metrics: names the family in the message.
        expected: what the message says a method must be.
    """
    if lack := asked.method.needs.lacks(asked.data.manifest):
        raise DataError(f"data {asked.data.uri}", lack.found, lack.expected, lack.fix)
    if not knows_truth(asked.method):
        found, fix = f"a method that reads {asked.method.needs.described}", f"Leave `{metrics}` out of --metrics."
        raise DataError(f"data {asked.data.uri}", found, expected, fix)


def check_channels(asked: Asked, metrics: str) -> None:
    """Raise DataError unless the images to be made are grey or RGB."""
    channels = channels_of(asked, side_of(asked))
    if channels not in (1, 3):
        fix = f"Leave {metrics} out."
        raise DataError(f"data {asked.data.uri}", f"images of {channels} channels", f"grey or RGB for {metrics}", fix)
