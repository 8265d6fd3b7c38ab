"""The best, the median and the worst samples of a split, for the eye."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.data.reading.stream import unaugmented
from i2i_core.evaluation.families.attributes import SplitLabels
from i2i_core.evaluation.samples import Asked, Outputs
from i2i_core.evaluation.suite import Suite
from i2i_core.images.sheet import contact_sheet
from i2i_core.translation.targets import NONE

Ranked = Sequence[tuple[str, float]]
"""Keys of samples, each with its value."""
EACH = 4
"""Samples of a kind on a sheet."""


def chosen(ranked: Ranked, better: Literal["lower", "higher"], count: int = EACH) -> dict[str, list[tuple[str, float]]]:
    """The `count` `best`, `median` and `worst` samples, each from better to worse; of equal ones by key. Of fewer than
    3 * count the three share them, so that none is there twice. What is not a number is worst."""

    def place(pair: tuple[str, float]) -> tuple[bool, float, str]:
        key, value = pair
        return math.isnan(value), value if better == "lower" else -value, key

    ordered, n = sorted(ranked, key=place), len(ranked)
    best = min(count, -(-n // 3))
    worst = min(count, -(-(n - best) // 2))
    median = min(count, n - best - worst)
    middle = max(best, min((n - median) // 2, n - worst - median))
    return {
        "best": ordered[:best],
        "median": ordered[middle : middle + median],
        "worst": ordered[n - worst :],
    }


def sheet(suite: Suite, shown: Mapping[str, Ranked]) -> Image.Image:
    """What the method makes of the chosen samples, made again: a row for each with its value and key; columns source,
    translation, truth (of pairs), and there and back (of two-way methods and of labels). Samples that cannot be read
    any more are left out."""
    labels = None
    if suite.asked.method.needs.attributes:
        labels = SplitLabels.of(suite.asked.method, suite.asked.data, suite.asked.split)
    kinds = {key: (kind, value) for kind, ranked in shown.items() for key, value in ranked}
    rows: list[str] = []
    columns: dict[str, list[Tensor | None]] = {}
    with torch.no_grad():
        for batch in batches_of(suite.asked, list(kinds)):
            (key,), outputs = batch.keys, suite.outputs(batch)
            kind, value = kinds[key]
            rows.append("\n".join([f"{kind} {value:#.4g}", key, *([_target(outputs, labels)] if labels else [])]))
            for title, x in _images(outputs, labels).items():
                columns.setdefault(title, []).append(x)
    return contact_sheet(columns, rows=rows)


def batches_of(asked: Asked, keys: Sequence[str]) -> Iterator[Batch]:
    """Samples with these keys, one by one, as `samples.chunks` gives them; of unpaired data of the source domain."""
    needs = asked.method.needs
    stream = unaugmented(asked.data, asked.split, asked.image_size, asked.direction, asked.resizing, needs)
    stream.sources = stream.sources[:1]
    row_of = {key: row for row, key in enumerate(stream.sources[0].reader.rows.keys())}
    for key in keys:
        batch = stream.rows(range(row_of[key], row_of[key] + 1))
        if batch.keys:
            yield batch.to(torch.device("cpu"))


def _target(outputs: Outputs, labels: SplitLabels) -> str:
    """What a labelled sample is translated to, in words."""
    possible, target = outputs.translated
    on = [name for name, c in zip(labels.names, labels.known.known(target)[0].tolist(), strict=True) if c]
    return "to " + (", ".join(on) or NONE) if possible[0] else "no other label"


def _images(outputs: Outputs, labels: SplitLabels | None) -> dict[str, Tensor | None]:
    """Columns of one sample; None where it has no image: labelled, and without another label to go to."""
    method, source, made = outputs.method, outputs.source, outputs.made
    assert source is not None
    assert made is not None
    there = made[0] if len(made) else None
    found: dict[str, Tensor | None] = {"source": source[0], "translation": there}
    if outputs.truth is not None:
        found["truth"] = outputs.truth[0]
    if labels:
        own = labels.known.vector(labels.own(outputs.batch))
        found["back"] = None if there is None else method.translate(made, target=own)[0].float()
    elif method.two_way:
        found["back"] = method.back(made)[0].float()
    return found
