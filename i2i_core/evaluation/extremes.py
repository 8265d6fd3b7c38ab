"""Choose the best, the median and the worst samples of a split, and draw them."""

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
from i2i_core.evaluation.suite import Suite, basis
from i2i_core.fields import Field
from i2i_core.images.previews import shown
from i2i_core.images.sheet import contact_sheet
from i2i_core.methods.controls import Labels
from i2i_core.names import printable
from i2i_core.translation.targets import NONE

Ranked = Sequence[tuple[str, float]]
"""Keys of samples, each with the value of the metric that ranks them."""
EACH = 4
"""Samples of each kind (best, median, worst) on a sheet."""


def chosen(ranked: Ranked, better: Literal["lower", "higher"], count: int = EACH) -> dict[str, list[tuple[str, float]]]:
    """Choose the `count` `best`, `median` and `worst` samples, each kind from better to worse, equal ones by key.

    Of fewer than 3 * count samples each kind gets a share, and none is chosen twice. NaN is worst.
    """

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
    """Draw what the method makes of the chosen samples, made anew, with a row for each sample.

    Beside a row stand the metric that ranks them, the sample's value and its key. Columns: source, translation, truth
    (of pairs), and there and back (of two-way methods and of labels). Samples that have become unreadable are left out.
    """
    labels = None
    if suite.asked.method.control(Labels):
        labels = SplitLabels.of(suite.asked.method, suite.asked.data, suite.asked.split)
    kinds = {key: (kind, value) for kind, ranked in shown.items() for key, value in ranked}
    rows: list[str] = []
    columns: dict[str, list[Tensor | None]] = {}
    with torch.no_grad():
        for key, batch, frame in batches_of(suite.asked, list(kinds)):
            (kind, value), outputs = kinds[key], suite.outputs(batch)
            lines = [
                f"{kind} {value:#.4g}",
                f"by {suite.basic.ranking}",
                key,
                *([_target(outputs, labels)] if labels else []),
            ]
            rows.append("\n".join(map(printable, lines)))
            for title, x in _images(outputs, labels, fields_of(suite.asked), frame).items():
                columns.setdefault(title, []).append(x)
    return contact_sheet(columns, rows=rows)


def batches_of(asked: Asked, keys: Sequence[str]) -> Iterator[tuple[str, Batch, int]]:
    """Give each key with its sample, as `samples.chunks` gives it, of unpaired data of the source domain; of KEY+T the
    sequence that begins with the sample KEY, and T."""
    needs = asked.method.needs.of_frames(asked.frames)
    stream = unaugmented(
        asked.data, asked.split, asked.image_size, asked.direction, asked.resizing, needs, asked.frame_stride
    )
    stream.sources = stream.sources[:1]
    (source,), every = stream.sources, stream.sources[0].reader.rows.keys()
    if needs.frames > 1:
        every = [every[row] for row in source.one_by_one.first_rows(range(stream.in_order(0)))]
    row_of = {key: row for row, key in enumerate(every)}
    for key in keys:
        first, _, frame = key.rpartition("+") if needs.frames > 1 else (key, "", "0")
        batch = stream.rows(range(row_of[first], row_of[first] + 1))
        if batch.keys:
            yield key, batch.to(torch.device("cpu")), int(frame)


def fields_of(asked: Asked) -> dict[str, Field]:
    """Look up the data set's field of each input of the method, by the input's name."""
    needs, found = asked.method.needs, dict[str, Field]()
    for name in asked.method.inputs:
        field = needs.field(asked.data.manifest, name, asked.direction)
        assert field is not None, "checked by check_inputs"
        found[name] = field
    return found


def _target(outputs: Outputs, labels: SplitLabels) -> str:
    """Put the label that a sample is translated to into words."""
    possible, target = outputs.translated
    on = [name for name, c in zip(labels.names, labels.known.known(target)[0].tolist(), strict=True) if c]
    return "to " + (", ".join(on) or NONE) if possible[0] else "no other label"


def _images(
    outputs: Outputs, labels: SplitLabels | None, fields: Mapping[str, Field], frame: int
) -> dict[str, Tensor | None]:
    """Give the columns of one sample, or of a frame of one sequence; None where a labelled sample has no other label
    to go to, and so no image."""
    method, inputs, made = outputs.method, outputs.inputs, outputs.made
    assert inputs is not None
    assert made is not None
    there = made[frame] if len(made) else None
    alone, found = outputs.source is not None, dict[str, Tensor | None]()
    for name, x in inputs.items():
        found["source" if alone else name] = shown(x[0] if outputs.frames == 1 else x[0, frame], fields[name])
    found["translation"] = there
    if outputs.truth is not None:
        found["truth"] = outputs.truth[frame]
    if labels and basis(method) == "labels":
        found["back"] = None if there is None else labels.given(outputs, made, labels.own(outputs.batch))[0].float()
    elif method.two_way:
        found["back"] = outputs.back(made)[frame]
    return found
