"""Measure two domains without pairs: whether translations look like the other domain and keep what they were made of.

x_BCHW images of the source domain, y_BCHW of the target, in [-1, 1]; distances are in [0, 1] units, per image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from i2i_core.batch import scaled
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.reader import Reader
from i2i_core.data.reading.stream import decoded
from i2i_core.data.reading.transforms import resized
from i2i_core.evaluation.families.paired import l1
from i2i_core.evaluation.judges.classifier import Classifier
from i2i_core.evaluation.samples import Metric, Outputs, Values, given
from i2i_core.sizes import Resizing, Size
from i2i_core.translation.inputs import identity, why_no_identities

METRICS = {
    "cycle": Metric(
        "lower",
        "mean |F(G(x)) - x|, values in [0, 1], there and back from the source domain; mean over images",
        nothing="0 by definition: the image itself comes back",
    ),
    "change": Metric(
        "lower", "mean |G(x) - x|, values in [0, 1]; mean over images", nothing="0 by definition: nothing is changed"
    ),
    "in_target": Metric(
        "higher",
        "share of translations that a classifier of real images of both domains takes for the domain they "
        "were made for; `there` from source to target, `back` the other way",
    ),
    "in_target_nothing": Metric("higher", "in_target of the untouched inputs: what doing nothing scores"),
    "in_target_real": Metric(
        "higher", "in_target of real images of the domain: what the classifier makes of the truth"
    ),
    "twin": Metric(
        "lower",
        "mean |G(x) - y|, values in [0, 1], where the split has a target image y of the same identity (what stands "
        "before the first `-` of its key) as x; mean over images",
    ),
    "twin_nothing": Metric("lower", "twin of the untouched inputs: what doing nothing scores"),
}


class Twins:
    """Find the twin of a source image: the image of the target domain with the same identity. If a key there has no
    identity, or two have the same, no image has a twin.

    Args:
        image_size: pixels that images are resized to; 0: as they are stored.
        resizing: how images are resized.

    Attributes:
        why: why no image has a twin; "" where some may have one.
    """

    def __init__(self, data: DataSet, split: str, domain: str, image_size: Size, resizing: Resizing) -> None:
        self.reader, self.image_size, self.resizing = Reader(data, split, domain), image_size, resizing
        self.field = data.manifest.fields_in(domain)["image"]
        keys = self.reader.rows.keys()
        self.why = why_no_identities(keys)
        self.rows = {} if self.why else {identity(key): row for row, key in enumerate(keys)}

    def of(self, keys: tuple[str, ...]) -> tuple[list[int], list[Tensor]]:
        """Read the twins of sources: the places of those that have a readable one, and these, (C, H, W) in [-1, 1]."""
        having, images = [], []
        for i, key in enumerate(keys):
            if identity(key) in self.rows:
                try:
                    x = decoded(self.reader.read([self.rows[identity(key)]], 0)[0], self.field)
                except ValueError:
                    continue
                having.append(i)
                images.append(scaled(resized(x, self.image_size, self.resizing) if self.image_size else x))
        return having, images


def measure(
    outputs: Outputs,
    twins: Twins,
    domains: tuple[str, str],
    classifier: Classifier | None,
) -> Values:
    """Measure METRICS on one chunk of either domain; `in_target` only with a classifier.

    Args:
        domains: names of the source and of the target domain.
    """
    method, (source, target) = outputs.method, domains
    seen = _Seen(classifier)
    x, made = outputs.source, outputs.made
    if x is None or made is None:
        y = given(outputs.real)
        seen.add("in_target_real/there", y, target)
        if method.two_way:
            seen.add("in_target_nothing/back", y, source)
            seen.add("in_target/back", outputs.back(y), source)
        return seen.values
    values = {"change": l1(made, x)}
    having, images = twins.of(outputs.keys)
    if having:
        truth = torch.stack(images)
        values |= {"twin": l1(made[having], truth), "twin_nothing": l1(x[having], truth)}
    seen.add("in_target_nothing/there", x, target)
    seen.add("in_target/there", made, target)
    if method.two_way:
        values["cycle"] = l1(outputs.back(made), x)
        seen.add("in_target_real/back", x, source)
    return values | seen.values


class _Seen:
    """Collect what a classifier, if there is one, takes images for."""

    def __init__(self, classifier: Classifier | None) -> None:
        self.classifier, self.values = classifier, Values()

    def add(self, name: str, images: Tensor, domain: str) -> None:
        if self.classifier is not None:
            column = self.classifier.columns([domain])
            self.values[name] = self.classifier.judge(images)[:, column].double().flatten().tolist()
