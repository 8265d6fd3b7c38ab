"""The metrics of a method on a split of a data set: which there are, and all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from i2i_core.data.batch import Batch
from i2i_core.data.manifest import DataSet
from i2i_core.data.transforms import Size
from i2i_core.errors import ConfigError, DataError, nearest
from i2i_core.evaluation import attributes, multimodal, paired, unpaired
from i2i_core.evaluation.classifier import Classifier
from i2i_core.evaluation.samples import Gather, Measured, Values, chunks, means, repeatable
from i2i_core.methods.base import Method

DEFINITIONS = paired.DEFINITIONS | multimodal.DEFINITIONS | attributes.DEFINITIONS | unpaired.DEFINITIONS
"""What each metric is, in words. `accuracy/bold` is `accuracy` of one attribute."""


class _Directions(dict[str, Literal["lower", "higher"]]):
    """By metric; `accuracy/bold` goes by `accuracy`."""

    def __missing__(self, name: str) -> Literal["lower", "higher"]:
        base = name.split("/")[0]
        if base not in self:
            raise ConfigError("--best-metric", repr(name), "a metric", nearest(name, self))
        return self[base]


BETTER = _Directions(
    l1="lower",
    psnr="higher",
    l1_nothing="lower",
    psnr_nothing="higher",
    ssim="higher",
    ssim_nothing="higher",
    diversity="higher",
    l1_best="lower",
    l1_encoded="lower",
    latent="lower",
    there_and_back="lower",
    cycle="lower",
    change="lower",
    in_target="higher",
    in_target_nothing="higher",
    in_target_real="higher",
    twin="lower",
    twin_nothing="lower",
    accuracy="higher",
    accuracy_nothing="higher",
    accuracy_real="higher",
)
"""Whether lower or higher values of a metric are better. Raises ConfigError for a name that is none."""

DEFAULT_METRIC = {"paired": "l1", "labelled": "there_and_back", "unpaired": ""}
"""By kind of data, the metric that decides the best checkpoint. Of unpaired data none does: `cycle` is best where
nothing is changed, so the last checkpoint counts unless --best-metric names one."""


def measured_in_training(method: Method[Any]) -> list[str]:
    """The metrics that a run of the method can be judged by: of its kind of data, without a classifier."""
    kind = method.needs.kind
    if kind == "labelled":
        return ["there_and_back"]
    if kind == "unpaired":
        return ["change", "twin", *(["cycle"] if method.two_way else [])]
    encoded = ["l1_encoded", "latent"] if method.encodes else []
    return ["l1", "psnr", "ssim", *(["diversity", "l1_best", *encoded] if method.codes else [])]


def measure(
    method: Method[Any],
    data: DataSet,
    split: str,
    *,
    image_size: Size,
    direction: Literal["AtoB", "BtoA"] = "AtoB",
    rank: int = 0,
    world: int = 1,
    gather: Gather = lambda mine: [mine],
    most: int = 0,
    classifier: Classifier | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Measured]:
    """Every metric that a method of its kind has, with the number of images behind it.

    All workers get the same result, and the same whatever their number: bit for bit on equal hardware.

    Args:
        image_size: pixels that images are resized to; 0: as they are stored.
        rank, world: this worker among those that measure together; `gather` brings together what they found.
        most: only the first so many samples of the split; 0: all.
        classifier: judges translated images, where data is labelled or has two domains.
        progress: called with the number of samples after each chunk.

    Raises:
        DataError: the data has no such split, or is not of the method's kind or attributes.
    """
    on_chunk, parts = _measures(method, data, split, classifier, direction, image_size), []
    with repeatable():
        for number, batch in chunks(data, split, image_size, most=most, rank=rank, world=world, direction=direction):
            parts.append((number, on_chunk(batch)))
            if progress:
                progress(len(batch.keys))
    found = means(part for worker in gather(parts) for part in worker)
    return found | _overall(found)


def evaluate(method: Method[Any], data: DataSet, split: str, **options: Any) -> dict[str, float]:
    """The values of `measure`, which takes the same arguments."""
    return {name: found.value for name, found in measure(method, data, split, **options).items()}


def _measures(
    method: Method[Any],
    data: DataSet,
    split: str,
    classifier: Classifier | None,
    direction: Literal["AtoB", "BtoA"],
    image_size: Size,
) -> Callable[[Batch], Values]:
    """What is measured on each chunk."""
    kind = method.needs.kind
    if data.manifest.kind != kind:
        fix = "Name a data set of that kind."
        raise DataError(f"data {data.uri}", f"{data.manifest.kind} samples", f"{kind} ones for this method", fix)
    if kind == "paired" and method.codes:
        return lambda batch: paired.measure(method, batch) | multimodal.measure(method, batch)
    if kind == "paired":
        return partial(paired.measure, method)
    if kind == "labelled":
        labels = attributes.Labels.of(method, data, split)
        return lambda batch: attributes.measure(method, batch, labels, classifier)
    source, target = data.manifest.domains if direction == "AtoB" else data.manifest.domains[::-1]
    twins = unpaired.Twins(data, split, target, image_size)
    return lambda batch: unpaired.measure(method, batch, twins, (source, target), classifier)


def _overall(found: dict[str, Measured]) -> dict[str, Measured]:
    """`accuracy` from every `accuracy/ATTRIBUTE`, each image counted once for each attribute."""
    out: dict[str, Measured] = {}
    for base in sorted({name.split("/")[0] for name in found if "/" in name}):
        parts = [m for name, m in found.items() if name.startswith(f"{base}/")]
        count = sum(m.count for m in parts)
        out[base] = Measured(sum(m.value * m.count for m in parts) / count, count)
    return out
