"""Which samples are measured, what a family of metrics is, and how what every worker found becomes one number.

A split is cut into chunks of CHUNK samples in the order of its index; chunks are dealt to workers
in turn. What is computed from a chunk depends on the chunk alone, so the number of workers changes nothing.
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
"""Per metric, one number for each sample (or image made of it) that it applies to."""


@dataclass(frozen=True)
class Measured:
    """The mean of a metric, and over how many images."""

    value: float
    count: int


@dataclass(frozen=True)
class Metric:
    """Which way a metric is better, and what it is, in words."""

    better: Literal["lower", "higher"]
    definition: str


@dataclass(frozen=True)
class Asked:
    """What is to be measured: a method on a split of a data set."""

    method: Method[Any]
    data: DataSet
    split: str
    image_size: Size
    """Pixels that images are resized to; 0: as they are stored."""
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    judging: EvaluationConfig = EvaluationConfig()  # noqa: RUF009 - frozen
    device: torch.device = torch.device("cpu")  # noqa: RUF009
    """Where the networks that judge are kept."""
    most: int = 0
    """Only the first so many samples; 0: all."""
    classifier: Classifier | None = None
    """Judges translations of labelled or unpaired data; none: that of `judging`, if it names one."""
    resizing: Resizing = Resizing()
    """How images come to that size: as in the training of the method."""
    frames: int = 0
    """Of a sequence; 0: as many as the method's own."""
    frame_stride: int = 1
    """Rows from each frame of a sequence to the next."""


Retarget = Callable[[Batch], tuple[Tensor, Tensor]]
"""Of a chunk of n labelled samples: (n,) which can be translated to another label, and (n, A) the labels."""


class Outputs:
    """One chunk, and what a method makes of it: everything once, when it is first asked for.

    Images are (n, C, H, W) in [-1, 1] on the method's device.

    Args:
        target: of labelled data, what its samples are translated to.
    """

    def __init__(self, method: Method[Any], batch: Batch, target: Retarget | None = None) -> None:
        self.method, self.batch, self._target = method, batch, target
        self._variants: list[Tensor] = []

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the samples; of sequences, of each frame of them, KEY+0, KEY+1, ..."""
        frames = self.frames
        return self.batch.keys if frames == 1 else tuple(f"{k}+{t}" for k in self.batch.keys for t in range(frames))

    @property
    def frames(self) -> int:
        """Of each sequence; 1 of samples that stand alone."""
        return 1 if self.method.needs.frames == 1 else next(iter(self.batch.fields.values())).shape[1]

    @property
    def row(self) -> int:
        """The chunk's first row of the split."""
        return self.batch.images

    def _field(self, name: str) -> Tensor | None:
        """A field on the method's device; of sequences (n, T, ...)."""
        x = self.batch.fields.get(name)
        if x is None:
            return None
        weight = next(self.method.parameters())
        return x.to(weight) if x.is_floating_point() else x.to(weight.device)

    def single(self, x: Tensor) -> Tensor:
        """Frames as if they were samples, (n T, ...)."""
        return x if self.frames == 1 else x.flatten(0, 1)

    def _each(self, x: Tensor | None) -> Tensor | None:
        return None if x is None else self.single(x)

    @cached_property
    def inputs(self) -> dict[str, Tensor] | None:
        """What images are made from, by name, of sequences (n, T, ...); None in chunks of the target domain of unpaired
        data."""
        if self.real is None and not self.method.inputs:
            return None  # as many are made as there are real ones to compare with
        found = {name: self._field(name) for name in self.method.inputs}
        given = {name: x for name, x in found.items() if x is not None}
        return given if len(given) == len(found) else None

    @cached_property
    def source(self) -> Tensor | None:
        """The one image that another is made from, where that is all that goes in."""
        name = image_input(self.method)
        return self._each(self.inputs[name]) if name and self.inputs else None

    @cached_property
    def translated(self) -> tuple[Tensor, Tensor]:
        """Of labelled data: (n,) which samples have another label to go to, and (n, A) that label."""
        assert self._target is not None
        return self._target(self.batch)

    @cached_property
    def made(self) -> Tensor | None:
        """What the method makes of the inputs; of labelled data, of those that have another label to go to."""
        if self.inputs is None:
            return None
        return self.make(chosen=None if self._target is None else self.translated[0])

    def make(
        self, controls: Mapping[str, Tensor] | None = None, chosen: Tensor | None = None, of: Tensor | None = None
    ) -> Tensor:
        """Make images of the chunk's inputs, (n, C, H, W); examples are those that come with the samples.

        Args:
            controls: by name; a code that is not among them is drawn by each input's key.
            chosen: (n,) of which inputs; None: all.
            of: images to take in place of the one input, of those that are chosen.
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
        """What the samples say of controls: examples, and the labels that they are translated to."""
        told: dict[str, Tensor] = {}
        if examples := self.method.control(Examples):
            told[self.method.named(Examples)] = given(self._field(examples.field))
        if (labels := self.method.named(Labels)) and self._target:
            told[labels] = self.translated[1]
        return told

    def back(self, made_BCHW: Tensor) -> Tensor:
        """Make images of the source domain of those of the target, (n, C, H, W), of two-way methods; of sequences frame
        by frame, as in `make`."""
        ((taken, _), *_), ((name, _), *_) = (side.items() for side in sides(self.method, "BtoA"))
        if self.frames == 1:
            return self.method.image_from(made_BCHW, "BtoA", keys=self.keys).float()
        frames = {taken: made_BCHW.unflatten(0, (-1, self.frames))}
        return given(self._each(self.method.along(frames, keys=self.batch.keys, direction="BtoA")[name])).float()

    @cached_property
    def truth(self) -> Tensor | None:
        """What the method should make of the inputs, where a sample has it."""
        return self.real if knows_truth(self.method) else None

    @cached_property
    def real(self) -> Tensor | None:
        """Real images of the side that `made` imitates: truths of pairs, the images of labelled data; those of the
        target domain of unpaired data come in chunks of their own."""
        return self._each(self._field(next(iter(self.method.outputs))))

    def variants(self, count: int) -> list[Tensor]:
        """`count` outputs of each input, of methods with codes: codes drawn by the input's key."""
        for i in range(len(self._variants), count):
            self._variants.append(self.make({self.method.named(Code): self.method.draw_codes(self.batch.keys, i)}))
        return self._variants[:count]


class Workers(Protocol):
    """Those that measure together."""

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...
    def to_leader(self, value: Any) -> list[Any] | None:
        """Every worker's value, on rank 0; None on the others."""

    def from_leader(self, value: Any) -> Any:
        """Rank 0's value, on every worker."""


class Family:
    """Metrics that share work on a chunk.

    Attributes:
        metrics: all that it may give, by name; `NAME/PART` goes by NAME.
    """

    metrics: Mapping[str, Metric]

    @property
    def judges(self) -> Sequence[str]:
        """What a run can be judged by, of what it gives; of a metric with parts the part, where there is no whole."""
        return list(self.metrics)

    def facts(self) -> dict[str, Any]:
        """What the definitions leave open: networks and their files' checksums, sizes, subsets, seeds."""
        return {}

    def chunk(self, outputs: Outputs) -> Any:
        """What is found in one chunk, by this chunk alone: something to pickle; None: nothing."""
        raise TypeError("a family defines chunk")

    def result(self, parts: Sequence[Any]) -> dict[str, Measured]:
        """The metrics, from what was found in all chunks, in their order, whoever found it."""
        raise TypeError("a family defines result")

    def pictures(self, parts: Sequence[Any]) -> dict[str, bytes]:
        """PNG files that show what was found, by name."""
        return {}


def given(x: Tensor | None) -> Tensor:
    """Of a chunk, what chunks of its kind have."""
    assert x is not None
    return x


Place = tuple[int, int]
"""Of a chunk: of unpaired data 0 for the source domain and 1 for the target, else 0; and its number there."""


def chunks(asked: Asked, rank: int = 0, world: int = 1) -> Iterator[tuple[Place, Batch]]:
    """A worker's chunks, each with its place: unaugmented, on the CPU at [-1, 1].

    Of unpaired data, all samples of each domain, apart: `a` alone, then `b` alone.

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
    """One mean per metric over all chunks, exactly rounded."""
    merged: Values = {}
    for values in parts:
        for name, numbers in values.items():
            merged.setdefault(name, []).extend(numbers)
    return {name: Measured(math.fsum(v) / len(v), len(v)) for name, v in merged.items() if v}


def side_of(asked: Asked) -> str:
    """The field or domain that made images imitate."""
    made = next(iter(asked.method.outputs))
    if asked.method.needs.domains == 2:
        return asked.data.manifest.domains[made.startswith("b") == (asked.direction == "AtoB")]
    return asked.method.needs.stored(made, asked.direction)


def check_truth(asked: Asked, metrics: str, expected: str) -> None:
    """Raises DataError unless the truth is known of what the method makes of the data."""
    if lack := asked.method.needs.lacks(asked.data.manifest):
        raise DataError(f"data {asked.data.uri}", lack.found, lack.expected, lack.fix)
    if not knows_truth(asked.method):
        found, fix = f"a method that reads {asked.method.needs.described}", f"Leave `{metrics}` out of --metrics."
        raise DataError(f"data {asked.data.uri}", found, expected, fix)


def check_channels(asked: Asked, metrics: str) -> None:
    """Raises DataError unless the images that are to be made are grey or RGB."""
    fields = asked.data.manifest.fields
    channels = fields[side_of(asked) if asked.method.needs.domains == 1 else "image"].channels
    if channels not in (1, 3):
        fix = f"Leave {metrics} out."
        raise DataError(f"data {asked.data.uri}", f"images of {channels} channels", f"grey or RGB for {metrics}", fix)
