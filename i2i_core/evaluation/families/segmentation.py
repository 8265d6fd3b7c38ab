"""Compare labels with what is seen in photos: the FCN-score of pix2pix (section 4; CycleGAN section 5.1.1) from labels,
as images or as a label map, to photos; and the same scores from photos to label images, where no network is needed.

x_BCHW images in [-1, 1]; classes_BHW numbers of classes, K where a pixel is of no class that counts;
confusion (K, K + 1) counts pixels by true class and by the class seen, the last column for no class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor

from i2i_core.batch import scaled
from i2i_core.data.reading.reader import Reader
from i2i_core.data.reading.stream import decoded
from i2i_core.errors import ConfigError, DataError
from i2i_core.evaluation.judges.palettes import Palette, read_palette
from i2i_core.evaluation.samples import (
    Asked,
    Family,
    Measured,
    Metric,
    Outputs,
    beside,
    check_truth,
    given,
    no_idle,
    side_of,
)
from i2i_core.methods.base import image_input
from i2i_core.pretrained.segmentation import Segmenter, read_network

SAMPLED = 8
"""Pairs that are read to tell label images from photos."""
NEAR = 24
"""Distance in 8-bit RGB within which a pixel lies near a colour of the palette; JPEG moves pixels by less."""
MOSTLY = 0.8
"""Least share of pixels near colours of the palette for images to be taken for label images."""
SCORES = (
    "pixel_accuracy: share of pixels that are seen as the true class; class_accuracy: that share of each class, mean "
    "over classes; class_iou: intersection over union of each class, mean over classes. Of all pixels of the split "
    "together, without those of ignored classes; over the classes that occur in the truth"
)


METRICS = {
    **beside(
        "fcn",
        Metric(
            "higher",
            "from labels to photos: what a segmentation network sees in the photos made, against the label images they "
            f"were made of; from photos to labels: the label images made, against the true ones. {SCORES}",
        ),
    ),
    "fcn_real": Metric(
        "higher", f"from labels to photos: what the network sees in the real photos, against their labels. {SCORES}"
    ),
    "fcn_iou": Metric(
        "higher", "class_iou of `fcn` before the mean: of each class that occurs in the truth", "see fcn_nothing"
    ),
    "fcn_pixels": Metric(
        "higher", "pixels that `fcn` is over: those of the true label images whose class counts", "none: it is a count"
    ),
}


@dataclass(frozen=True)
class LabelScores(Family):
    """Compute the family `fcn`: the classes of label images against those seen in the images made.

    Args:
        labels: the data set's field that holds labels.
        classes: names of the classes that count.
        palette: the colours of label images; None: the field is a label map, which holds numbers of classes.
        segmenter: the network that reads photos made of labels; None: label images are made of photos.
    """

    metrics = METRICS

    labels: str
    classes: tuple[str, ...]
    palette: Palette | None = None
    segmenter: Segmenter | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    """Facts about the network, for the JSON."""
    no_idle: str = ""
    """Why the untouched inputs are not scored; empty: they are."""

    @property
    def judges(self) -> list[str]:
        return [f"fcn/{part}" for part in ("pixel_accuracy", "class_accuracy", "class_iou")]

    def absent(self) -> dict[str, str]:
        absent = {"fcn_nothing": self.no_idle} if self.no_idle else {}
        if self.segmenter is None:
            absent["fcn_real"] = "label images are made, and the true ones are right by definition"
        return absent

    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"labels": self.labels}
        if self.palette:
            facts |= {"palette": self.palette.name, "palette_sha256": self.palette.sha256 or None}
        facts["classes"] = list(self.classes)
        if self.palette:
            facts["ignored"] = list(self.palette.ignored)
        return {**facts, "network": dict(self.about) or None}

    def chunk(self, outputs: Outputs) -> tuple[int, dict[str, np.ndarray]]:
        """Give the number of images, and a confusion matrix by metric."""
        made, truth, inputs = outputs.made, outputs.truth, outputs.inputs
        assert made is not None
        assert truth is not None
        assert inputs is not None
        if self.segmenter is None:
            classes = {"fcn": self._classes(made)}
            if not self.no_idle:
                classes["fcn_nothing"] = self._classes(given(outputs.source))
            return len(made), {name: self._confusion(truth, seen) for name, seen in classes.items()}
        seen = {"fcn": self.segmenter(made), "fcn_real": self.segmenter(truth)}
        if not self.no_idle:
            seen["fcn_nothing"] = self.segmenter(given(outputs.source))
        labels = outputs.single(inputs[self.labels]) if self.palette is None else given(outputs.source)
        return len(made), {name: self._confusion(labels, classes) for name, classes in seen.items()}

    def _classes(self, labels_BCHW: Tensor) -> np.ndarray:
        if self.palette is not None:
            return self.palette.nearest(labels_BCHW)[0]
        ids, k = labels_BCHW[:, 0].cpu().numpy(), len(self.classes)
        return np.where((ids >= 0) & (ids < k), ids, k)

    def _confusion(self, labels_BCHW: Tensor, seen_BHW: np.ndarray) -> np.ndarray:
        true = self._classes(labels_BCHW)
        if true.shape != seen_BHW.shape:
            height, width = seen_BHW.shape[1:]
            expected = f"{true.shape[1]}x{true.shape[2]}, as the label image has"
            raise DataError("fcn", f"a photo of {height}x{width} px", expected, "Shard the pairs with --size.")
        return confusion(true, seen_BHW, len(self.classes))

    def result(self, parts: Sequence[tuple[int, dict[str, np.ndarray]]]) -> dict[str, Measured]:
        images = sum(n for n, _ in parts)
        measured: dict[str, Measured] = {}
        for name in ("fcn", "fcn_nothing", "fcn_real"):
            counted = [found[name] for _, found in parts if name in found]
            total = sum(counted[1:], counted[0]) if counted else np.zeros((0, 1), np.int64)
            if total.sum():
                measured |= {f"{name}/{score}": Measured(v, images) for score, v in scores(total).items()}
            if total.sum() and name == "fcn":
                measured |= {f"fcn_iou/{c}": Measured(v, images) for c, v in ious(total, self.classes).items()}
                measured["fcn_pixels"] = Measured(int(total.sum()), images)
        return measured


def confusion(true_BHW: np.ndarray, seen_BHW: np.ndarray, k: int) -> np.ndarray:
    """Count pixels by true class and class seen, (K, K + 1), among pixels whose true class counts."""
    counts = true_BHW < k
    pairs = true_BHW[counts].astype(np.int64) * (k + 1) + seen_BHW[counts]
    return np.bincount(pairs, minlength=k * (k + 1)).reshape(k, k + 1)


def _of_each(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count for every class, (K,) each: pixels seen rightly, pixels of the class, pixels of it or seen as it."""
    right, true, seen = table.diagonal(), table.sum(1), table[:, :-1].sum(0)
    return right, true, true + seen - right


def scores(table: np.ndarray) -> dict[str, float]:
    """Compute the three scores of a confusion matrix over the classes that occur in the truth; at least one must."""
    right, true, either = (each[table.sum(1) > 0].tolist() for each in _of_each(table))
    return {
        "pixel_accuracy": sum(right) / sum(true),
        "class_accuracy": math.fsum(r / t for r, t in zip(right, true, strict=True)) / len(true),
        "class_iou": math.fsum(r / e for r, e in zip(right, either, strict=True)) / len(true),
    }


def ious(table: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Compute the intersection over union of each class that occurs in the truth."""
    each = zip(names, *(n.tolist() for n in _of_each(table)), strict=True)
    return {name: right / either for name, right, true, either in each if true}


# ---------------------------------------------------------------- what is asked for


def check(asked: Asked) -> None:
    """Raise DataError for samples with neither a label map nor an image that goes in."""
    check_truth(asked, "fcn", "one whose truths are known, of labels and photos")
    if not _label_map(asked) and not image_input(asked.method):
        found = f"a method that reads {asked.method.needs.described}"
        expected = "one that reads a label map, or label images"
        raise DataError(f"data {asked.data.uri}", found, expected, "Leave `fcn` out of --metrics.")


def _label_map(asked: Asked) -> str:
    """Name the label map that the method reads; empty: none."""
    return next((name for name, role in asked.method.inputs.items() if role == "classes"), "")


def build(asked: Asked) -> LabelScores:
    """Make the family for a split whose samples have a label map, or are pairs of a label image and a photo.

    Raises:
        DataError: neither, or photos that are not in colour.
        ConfigError: no palette, no network, or one that does not fit; a side of labels that cannot be told.
    """
    judging = asked.judging
    check(asked)
    if map_name := _label_map(asked):
        return _of_map(asked, map_name)
    palette = read_palette(judging.palette)
    labels = label_side(asked, palette)
    photo: Literal["a", "b"] = "b" if labels == "a" else "a"
    if (labels == "b") == (asked.direction == "AtoB"):
        if judging.segmentation:
            found, fix = "a network, where label images are made", "Leave it out: they are compared by their colours."
            raise ConfigError("--segmentation", found, "none", fix)
        return LabelScores(labels, palette.names, palette, no_idle=no_idle(asked, (3,)))
    segmenter, about = _reader_of_photos(asked, photo)
    seen = segmenter(_numbers(about["classes"], palette))
    return LabelScores(labels, palette.names, palette, seen, about, no_idle(asked, (3,)))


def _of_map(asked: Asked, name: str) -> LabelScores:
    """Make the family for samples with a label map, whose classes the network must have."""
    field = asked.data.manifest.fields[name]
    segmenter, about = _reader_of_photos(asked, side_of(asked))
    if about["classes"] != field.classes:
        fix = "Name a network that was trained on the classes of the data set, in their order."
        found = f"a network of {about['classes']} classes"
        raise ConfigError("--segmentation", found, f"{field.classes}, as the label map has", fix)
    names = field.names or tuple(f"class {i}" for i in range(field.classes))
    return LabelScores(name, names, None, segmenter(np.arange(field.classes)), about, no_idle(asked))


def _reader_of_photos(asked: Asked, photo: str) -> tuple[Callable[[np.ndarray], Segmenter], dict[str, Any]]:
    """Read the network that reads photos: give what makes it, from the class of each of its outputs, and its facts.

    Args:
        photo: the data set's field that holds photos.
    """
    judging = asked.judging
    if not judging.segmentation:
        fix = "Train one on the real photos, or take one of torchvision.models.segmentation, and name its state file."
        raise ConfigError("--segmentation", "nothing", "a network that reads the photos made of labels, for `fcn`", fix)
    if (channels := asked.data.manifest.fields[photo].channels) != 3:
        fix = "Shard the photos again with `--channels 3`."
        raise DataError(f"data {asked.data.uri}", f"photos of {channels} channels", "3, for the network", fix)
    network, about = read_network(judging.segmentation)
    resized = f"to a height of {judging.segmentation_height}, bilinear, antialiased"
    about |= {"normalisation": "ImageNet", "resized": resized if judging.segmentation_height else "not"}
    return lambda numbers: Segmenter(network, numbers, judging.segmentation_height).to(asked.device), about


def _numbers(classes: int, palette: Palette) -> np.ndarray:
    """Find the class of each output of a network: of the classes that count, or of all that the palette lists."""
    if classes == len(palette.names):
        return np.arange(classes)
    if classes == len(palette.classes):
        return palette.numbers
    counted, every = len(palette.names), len(palette.classes)
    expected = f"{counted}, one for each class of the palette that counts"
    expected += f", or {every}, with the ignored ones in their places" if every > counted else ""
    fix = "Name the palette of the network's own classes, in their order: --palette FILE.json."
    raise ConfigError("--segmentation", f"a network of {classes} classes", expected, fix)


def label_side(asked: Asked, palette: Palette) -> Literal["a", "b"]:
    """Find the side of the pairs that holds label images: --label-side; with `auto` the one side of which at least
    MOSTLY of the pixels lie within NEAR of a colour of the palette, in SAMPLED pairs from all over the split.

    Raises:
        ConfigError: both sides look like label images, or neither; or the side named is not in colour.
    """
    side, fields = asked.judging.label_side, asked.data.manifest.fields
    if side != "auto":
        if fields[side].channels != 3:
            found = f"{side}, of {fields[side].channels} channels"
            raise ConfigError("--label-side", found, "a side in colour, 3 channels", "Name the other side.")
        return side
    share = {"a": near_share(asked, palette, "a"), "b": near_share(asked, palette, "b")}
    if (share["a"] >= MOSTLY) == (share["b"] >= MOSTLY):
        neither = "neither" if share["a"] < MOSTLY else "both"
        found = f"{neither}: {share['a']:.0%} of pixels of a and {share['b']:.0%} of b near colours of {palette.name}"
        fix = "Say which side holds the label images: --label-side a, or b; or name their colours with --palette."
        raise ConfigError("--label-side auto", found, f"one side with at least {MOSTLY:.0%}", fix)
    return "a" if share["a"] >= MOSTLY else "b"


def near_share(asked: Asked, palette: Palette, side: Literal["a", "b"]) -> float:
    """Measure the share of a side's stored pixels that lie near colours of the palette; 0 unless it is in colour."""
    image, column = asked.data.manifest.fields[side], list(asked.data.manifest.fields).index(side)
    if image.channels != 3:
        return 0.0
    reader = Reader(asked.data, asked.split, "all")
    n = len(reader.rows)
    near = pixels = 0
    for row in sorted({i * n // SAMPLED for i in range(SAMPLED)}):
        try:
            x = scaled(decoded(reader.read([row], column)[0], image))
        except ValueError:  # unreadable samples are left out of evaluations
            continue
        distance = palette.nearest(x[None])[1]
        near, pixels = near + int((distance <= NEAR**2).sum()), pixels + distance.size
    return near / pixels if pixels else 0.0
