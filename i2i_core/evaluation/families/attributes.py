"""Measure how well labelled images take on other labels: there and back again, and by what a classifier sees.

A method that was trained on several data sets is measured on the attributes of the set that the data belongs to.

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
        nothing="0 by definition: the image itself comes back",
    ),
    "accuracy": Metric(
        "higher",
        "share of images made with one attribute switched on (classes: of another class) in which the "
        "classifier sees every attribute as the target has it; of all attributes together. An attribute is "
        "switched on in images that lack it, where the label that results occurs in the split. Of images made of "
        "noise, each for the label of a sample: share that the classifier takes for their class, or sees with and "
        "without an attribute as their label has it",
    ),
    "accuracy_nothing": Metric("higher", "accuracy of the untouched inputs: what doing nothing scores"),
    "accuracy_real": Metric(
        "higher",
        "accuracy of real images whose label is such a target: what the classifier makes of the truth; beside images "
        "made of noise, that of the samples whose labels these have",
    ),
}
"""`NAME/ATTRIBUTE` is NAME of one attribute; in a run on several data sets `NAME/DATA SET` is NAME on one of them."""
OF_NOISE = {name: METRICS[name] for name in ("accuracy", "accuracy_real")}
"""Metrics of methods that make images of labels and noise."""


def has(manifest: Manifest, known: LabelSet) -> bool:
    """Tell whether a data set has all attributes of a label set."""
    return all(name in manifest.attributes for name in known.names)


def known_labels(method: Method[Any], manifest: Manifest, flag: str = "--data") -> LabelSet:
    """Find the label set of the method that a data set has; of several the first that fits.

    Args:
        flag: the flag that named the data set, for the message.

    Raises:
        DataError: the data set lacks an attribute of each.
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
    """Find the columns of a label set's attributes in the labels of a data set that has them."""
    return tuple(manifest.attributes.index(name) for name in known.names) or known.columns


def over_sets(found: Mapping[str, Mapping[str, Measured]]) -> dict[str, float]:
    """Combine what was measured on each of a run's data sets. One set's values stay as they are; of several sets each
    metric is the mean over all images, with `METRIC/DATA SET` for each set.

    Args:
        found: metrics by the name of the data set.
    """
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
    """Choose the labels that the samples of a split are translated to, among the labels that occur in the split."""

    known: LabelSet
    columns: tuple[int, ...]
    """The columns of the attributes in the data set's labels."""
    occurring: Tensor
    """(K, A) the distinct labels of the split, sorted."""

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
        """Translate images x of a chunk to labels c, (n, A).

        Args:
            chosen: (n,) mask of the chunk's samples that x are; None: all.
        """
        return outputs.make({outputs.method.named(Labels): self.known.vector(c)}, chosen, x)

    def own(self, batch: Batch) -> Tensor:
        """Give the samples' own labels, (n, A)."""
        return batch["labels"][:, list(self.columns)]

    def target(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give (n,) the mask of samples that have another label to go to, and (n, ...) that label as the method's
        control."""
        possible, target = self.others(self.own(batch), batch.keys)
        return possible, self.known.vector(target)

    def kept(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give (n,) a mask of all samples, and (n, ...) their own labels as the method's control."""
        own = self.own(batch)
        return torch.ones(len(own), dtype=torch.bool), self.known.vector(own)

    def occurs(self, c_BA: Tensor) -> Tensor:
        """Tell for each label, (B,), whether it occurs in the split."""
        return (c_BA[:, None] == self.occurring).all(-1).any(-1)

    def switched_on(self, c_BA: Tensor, attribute: int) -> tuple[Tensor, Tensor]:
        """Switch an attribute on: (B,) the mask of samples that lack it and whose new label occurs, (B, A) the new
        labels."""
        target = torch.zeros_like(c_BA) if self.known.exclusive else c_BA.clone()
        target[:, attribute] = 1
        return (c_BA[:, attribute] == 0) & self.occurs(target), target

    def is_target(self, c_BA: Tensor, attribute: int) -> Tensor:
        """Tell for each label, (B,), whether switching the attribute on in some label of the split leads to it."""
        possible, targets = self.switched_on(self.occurring, attribute)
        return (c_BA[:, None] == targets[possible]).all(-1).any(-1)

    def others(self, c_BA: Tensor, keys: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """Draw another label for each sample by its key: (B,) whether there is one, (B, A) the label."""
        choices = [self.occurring[(self.occurring != c).any(-1)] for c in c_BA]
        drawn = [
            o[seed_from("other", k) % len(o)] if len(o) else c for o, c, k in zip(choices, c_BA, keys, strict=True)
        ]
        return torch.tensor([len(o) > 0 for o in choices], dtype=torch.bool), torch.stack(drawn)


def measure(outputs: Outputs, labels: SplitLabels, classifier: Classifier | None) -> Values:
    """Measure METRICS on one chunk; without a classifier only `there_and_back`."""
    x, made = given(outputs.source), given(outputs.made)
    c, (possible, _) = labels.own(outputs.batch), outputs.translated
    back = labels.given(outputs, made, c[possible], possible) if len(made) else made
    values = {"there_and_back": l1(back, x[possible.to(x.device)])}
    if classifier is not None:
        columns = classifier.columns(labels.names)
        for attribute in range(len(labels.names)):
            values |= _accuracy(outputs, x, c, labels, attribute, classifier, columns)
    return values


def measure_made(outputs: Outputs, labels: SplitLabels, classifier: Classifier) -> Values:
    """Measure OF_NOISE on one chunk: images made for the samples' labels beside the samples."""
    c, values = labels.own(outputs.batch).bool(), Values()
    columns = classifier.columns(labels.names)
    for name, images in (("accuracy", given(outputs.made)), ("accuracy_real", given(outputs.real))):
        seen = classifier.judge(images)[:, columns].cpu().bool() == c
        for attribute, title in enumerate(labels.names):
            right = seen.all(-1)[c[:, attribute]] if labels.known.exclusive else seen[:, attribute]
            values[f"{name}/{title}"] = right.double().tolist()
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
