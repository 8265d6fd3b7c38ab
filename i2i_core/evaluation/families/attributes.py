"""How well labelled images take on other labels: there and back again, and what a classifier sees.

A method trained on several data sets is measured on the attributes of the one that the data belongs to.

x_BCHW images in [-1, 1]; c_BA labels, 0 or 1, of the method's attributes (of that set) in its order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.data.format.manifest import DataSet, Manifest
from i2i_core.errors import DataError, nearest
from i2i_core.evaluation.families.paired import l1
from i2i_core.evaluation.judges.classifier import Classifier
from i2i_core.evaluation.samples import Measured, Metric, Outputs, Values, given
from i2i_core.labels import LabelSet
from i2i_core.methods.base import Method
from i2i_core.methods.controls import Labels
from i2i_core.randomness import seed_from

METRICS = {
    "there_and_back": Metric(
        "lower",
        "mean |G(G(x, c'), c) - x|, values in [0, 1], where c is the label of x, and c' another label "
        "that occurs in the split, drawn by the sample's key; mean over images",
    ),
    "accuracy": Metric(
        "higher",
        "share of images made with one attribute switched on (classes: of another class) in which the "
        "classifier sees every attribute as the target has it; of all attributes together. An attribute is "
        "switched on in images that lack it, where the label that results occurs in the split",
    ),
    "accuracy_nothing": Metric("higher", "the same of the sources: what doing nothing scores"),
    "accuracy_real": Metric(
        "higher",
        "the same of real images whose label is such a target: what the classifier makes of the truth",
    ),
}
"""`NAME/ATTRIBUTE` is NAME of one attribute; in a run on several data sets `NAME/DATA SET` is NAME on one of them."""


def has(manifest: Manifest, known: LabelSet) -> bool:
    """Whether a data set has the attributes of a label set."""
    return all(name in manifest.attributes for name in known.names)


def known_labels(method: Method[Any], manifest: Manifest, flag: str = "--data") -> LabelSet:
    """The labels, of those a method was trained on, that a data set has; of several data sets the first that fits.

    Args:
        flag: that named the data set.

    Raises:
        DataError: the data set lacks one of them.
    """
    sets = method.label_sets
    for known in sets:
        if has(manifest, known):
            return known
    found = f"attributes {' '.join(manifest.attributes)}"
    if len(sets) > 1:
        expected = "those of a data set that it was trained on: " + "; or ".join(" ".join(s.names) for s in sets)
        raise DataError(flag, found, expected, "Use a data set with these attributes.")
    name = next(name for name in sets[0].names if name not in manifest.attributes)
    fix = f"Use a data set with these attributes. {nearest(name, manifest.attributes)}"
    raise DataError(flag, found, f"{name!r} among them", fix)


def columns_in(manifest: Manifest, known: LabelSet) -> tuple[int, ...]:
    """Where the attributes of a label set stand in the labels of a data set that has them."""
    return tuple(manifest.attributes.index(name) for name in known.names) or known.columns


def over_sets(found: Mapping[str, Mapping[str, Measured]]) -> dict[str, float]:
    """The values of what was measured on each of a run's data sets, by its name: of one as they are; of several the
    mean over the images of all of them, and `METRIC/DATA SET` for each."""
    parts: dict[str, list[Measured]] = {}
    for measured in found.values():
        for name, m in measured.items():
            parts.setdefault(name, []).append(m)
    values = {
        name: sum(m.value * m.count for m in ms) / sum(m.count for m in ms) if len(ms) > 1 else ms[0].value
        for name, ms in parts.items()
    }
    if len(found) > 1:
        values |= {f"{name}/{of}": m.value for of, measured in found.items() for name, m in measured.items()}
    return values


@dataclass(frozen=True)
class SplitLabels:
    """The labels of a split as a method sees them."""

    known: LabelSet
    columns: tuple[int, ...]
    """Where they stand in the data set's."""
    occurring: Tensor
    """(K, A) the labels that occur, sorted."""

    @staticmethod
    def of(method: Method[Any], data: DataSet, split: str) -> SplitLabels:
        known = known_labels(method, data.manifest)
        columns = columns_in(data.manifest, known)
        labels = torch.from_numpy(data.rows(split).labels())[:, list(columns)]
        return SplitLabels(known, columns, torch.unique(labels, dim=0))

    @property
    def names(self) -> tuple[str, ...]:
        return self.known.titles

    def given(self, outputs: Outputs, x: Tensor, c: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Make images x of a chunk look as labelled c, (n, A).

        Args:
            chosen: (n,) which of the chunk's samples they are; None: all.
        """
        return outputs.make({outputs.method.named(Labels): self.known.vector(c)}, chosen, x)

    def own(self, batch: Batch) -> Tensor:
        """(n, A) labels of a chunk."""
        return batch["labels"][:, list(self.columns)]

    def target(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(n,) which samples have another label to go to, and (n, ...) that one, as the method is told it."""
        possible, target = self.others(self.own(batch), batch.keys)
        return possible, self.known.vector(target)

    def kept(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(n,) that all samples can be made with their own labels, and (n, ...) these, as the method is told them."""
        own = self.own(batch)
        return torch.ones(len(own), dtype=torch.bool), self.known.vector(own)

    def occurs(self, c_BA: Tensor) -> Tensor:
        """(B,) whether each label occurs in the split."""
        return (c_BA[:, None] == self.occurring).all(-1).any(-1)

    def switched_on(self, c_BA: Tensor, attribute: int) -> tuple[Tensor, Tensor]:
        """(B,) which samples can be given the attribute, and (B, A) the labels they then have."""
        target = torch.zeros_like(c_BA) if self.known.exclusive else c_BA.clone()
        target[:, attribute] = 1
        return (c_BA[:, attribute] == 0) & self.occurs(target), target

    def is_target(self, c_BA: Tensor, attribute: int) -> Tensor:
        """(B,) which labels come about when the attribute is switched on in some label that occurs."""
        possible, targets = self.switched_on(self.occurring, attribute)
        return (c_BA[:, None] == targets[possible]).all(-1).any(-1)

    def others(self, c_BA: Tensor, keys: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """(B,) whether another label than the sample's occurs, and (B, A) one of those, drawn by its key."""
        choices = [self.occurring[(self.occurring != c).any(-1)] for c in c_BA]
        drawn = [
            o[seed_from("other", k) % len(o)] if len(o) else c for o, c, k in zip(choices, c_BA, keys, strict=True)
        ]
        return torch.tensor([len(o) > 0 for o in choices], dtype=torch.bool), torch.stack(drawn)


def measure(outputs: Outputs, labels: SplitLabels, classifier: Classifier | None) -> Values:
    """METRICS on one chunk; without a classifier `there_and_back` alone."""
    x, made = given(outputs.source), given(outputs.made)
    c, (possible, _) = labels.own(outputs.batch), outputs.translated
    back = labels.given(outputs, made, c[possible], possible) if len(made) else made
    values = {"there_and_back": l1(back, x[possible.to(x.device)])}
    if classifier is not None:
        columns = classifier.columns(labels.names)
        for attribute in range(len(labels.names)):
            values |= _accuracy(outputs, x, c, labels, attribute, classifier, columns)
    return values


def _accuracy(
    outputs: Outputs,
    x: Tensor,
    c: Tensor,
    labels: SplitLabels,
    attribute: int,
    classifier: Classifier,
    columns: list[int],
) -> Values:
    def right(images: Tensor, wanted: Tensor) -> list[float]:
        if not len(images):
            return []
        seen = classifier.judge(images)[:, columns].cpu()
        return (seen == wanted.bool()).all(-1).double().tolist()

    possible, target = labels.switched_on(c, attribute)
    real = labels.is_target(c, attribute)
    source, target = x[possible.to(x.device)], target[possible]
    made = labels.given(outputs, source, target, possible) if len(source) else source
    found = {
        "accuracy": right(made, target),
        "accuracy_nothing": right(source, target),
        "accuracy_real": right(x[real.to(x.device)], c[real]),
    }
    return {f"{name}/{labels.names[attribute]}": v for name, v in found.items()}
