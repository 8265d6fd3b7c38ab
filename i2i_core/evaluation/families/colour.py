"""Compare the colours of all made images with those of the truths, of paired data (pix2pix, figure 7): an output that
is the mean of many possible ones is greyer than each of them.

x_BCHW images of 3 channels in [-1, 1]; counts (3, BINS) pixels by rounded value of L, a and b.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from i2i_core.errors import DataError
from i2i_core.evaluation.samples import (
    Asked,
    Family,
    Measured,
    Metric,
    Outputs,
    beside,
    channels_of,
    check_truth,
    no_idle,
    side_of,
)
from i2i_core.images.sheet import to_array

CHANNELS = ("L", "a", "b")
BINS = 256
FIRST = (0, -128, -128)
"""Value of the first bin of each channel; the bins of L from 101 on stay empty."""
XYZ_OF_RGB = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""CIE XYZ, for D65, of linear sRGB (IEC 61966-2-1)."""
WHITE = (0.95047, 1.0, 1.08883)
"""XYZ of the white point D65."""
EPSILON, KAPPA = (6 / 29) ** 3, (29 / 3) ** 3
"""CIE's constants: below EPSILON a line of slope KAPPA replaces the cube root."""
INTERSECTION = (
    "L, a, b: shared part, sum of min(p, q), of the distributions p and q of that channel of CIE Lab (D65) over all "
    "pixels of the split, images rounded to 8 bits, bins of width 1 around whole values"
)

Counts = tuple[int, dict[str, np.ndarray]]
"""The number of images, and the histograms (3, BINS) of `made`, `truth` and `input`."""


def lab(rgb: np.ndarray) -> np.ndarray:
    """Convert 8-bit sRGB (..., 3) to CIE Lab, float64 (..., 3), L from 0 to 100."""
    value = np.arange(256) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    r, g, b = (linear[rgb[..., i]] for i in range(3))
    x, y, z = (_f((kr * r + kg * g + kb * b) / w) for (kr, kg, kb), w in zip(XYZ_OF_RGB, WHITE, strict=True))
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _f(t: np.ndarray) -> np.ndarray:
    return np.where(t > EPSILON, np.cbrt(t), (KAPPA * t + 16) / 116)


def histograms(x_BCHW: Tensor) -> np.ndarray:
    """Count pixels by the whole number nearest to their L, a and b, (3, BINS)."""
    counts = np.zeros((3, BINS), np.int64)
    for x in x_BCHW:
        values = np.rint(lab(to_array(x))).astype(np.int64).reshape(-1, 3) - FIRST
        counts += np.stack([np.bincount(channel, minlength=BINS) for channel in values.T])
    return counts


def intersection(one: np.ndarray, other: np.ndarray) -> float:
    """Compute the share that two histograms have in common: sum of min(p, q)."""
    return float(np.minimum(one / one.sum(), other / other.sum()).sum())


METRICS = beside("colour", Metric("higher", f"colours of the images made against those of the truths. {INTERSECTION}"))


@dataclass(frozen=True)
class Colours(Family):
    """Compute the family `colour`: histogram intersections in CIE Lab.

    Args:
        no_idle: why the inputs' histograms are not compared as well; empty: they are.
    """

    metrics = METRICS

    no_idle: str = ""

    @property
    def judges(self) -> list[str]:
        return [f"colour/{channel}" for channel in "Lab"]

    def absent(self) -> dict[str, str]:
        return {"colour_nothing": self.no_idle} if self.no_idle else {}

    def facts(self) -> dict[str, Any]:
        return {"space": "CIE Lab of sRGB, D65", "bins": "width 1 around whole values", "values": "rounded to 8 bits"}

    def chunk(self, outputs: Outputs) -> Counts:
        assert outputs.made is not None
        assert outputs.truth is not None
        images = {"made": outputs.made, "truth": outputs.truth}
        if not self.no_idle and outputs.source is not None:
            images["input"] = outputs.source
        return len(outputs.made), {name: histograms(x) for name, x in images.items()}

    def result(self, parts: Sequence[Counts]) -> dict[str, Measured]:
        images, counts = summed(parts)
        compared = {"colour": counts.get("made"), "colour_nothing": counts.get("input")}
        return {
            f"{name}/{channel}": Measured(intersection(count[i], counts["truth"][i]), images)
            for name, count in compared.items()
            if count is not None
            for i, channel in enumerate(CHANNELS)
        }

    def pictures(self, parts: Sequence[Counts]) -> dict[str, bytes]:
        return {"colour": plot(parts)} if parts else {}


def summed(parts: Sequence[Counts]) -> Counts:
    """Add up the histograms of several chunks."""
    counts: dict[str, np.ndarray] = {}
    for _, found in parts:
        for name, count in found.items():
            counts[name] = counts[name] + count if name in counts else count
    return sum(n for n, _ in parts), counts


def check(asked: Asked) -> None:
    """Raise DataError for data that is not paired, or whose truths are not in colour."""
    check_truth(asked, "colour", "one whose truths are known, which have colours to compare with")
    if (channels := channels_of(asked, side_of(asked))) != 3:
        fix = "Leave `colour` out of --metrics."
        raise DataError(f"data {asked.data.uri}", f"truths of {channels} channels", "3 channels, for `colour`", fix)


def build(asked: Asked) -> Colours:
    """Make the family for a split of paired data in colour. Raise DataError as `check`."""
    check(asked)
    return Colours(no_idle(asked))


# ---------------------------------------------------------------- the figure

LINES = {"truth": "#222222", "made": "#d1495b"}
AXES = ("L: dark to light", "a: green to red", "b: blue to yellow")


def plot(parts: Sequence[Counts]) -> bytes:
    """Draw the distributions of L, a and b in made images and in truths as a PNG: logarithms of the shares of pixels,
    as in figure 7 of pix2pix."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: seconds to import
    from matplotlib.figure import Figure

    images, counts = summed(parts)
    shares = {name: counts[name] / counts[name].sum(1, keepdims=True) for name in LINES}
    floor = min(share[share > 0].min() for share in shares.values()) / 2  # where there is no pixel
    figure = Figure(figsize=(12, 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for i, axis in enumerate(figure.subplots(1, 3, sharey=True)):
        values = np.arange(BINS) + FIRST[i]
        for name, colour in LINES.items():
            axis.plot(values, np.log10(np.maximum(shares[name][i], floor)), color=colour, linewidth=1.5, label=name)
        axis.set_title(f"{CHANNELS[i]}, intersection {intersection(*(counts[name][i] for name in LINES)):.3f}")
        axis.set_xlabel(AXES[i])
        axis.grid(color="#e0e0e0", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        seen = values[sum(shares[name][i] for name in LINES) > 0]
        low, high = (0, 100) if i == 0 else (min(-20, seen[0]), max(20, seen[-1]))
        axis.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
        axis.set_ylim(bottom=np.log10(floor))
        if i == 0:
            axis.set_ylabel("log10 of the share of pixels")
            figure.legend(*axis.get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)
    figure.suptitle(f"Colours of {images:,} images")
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
