"""Measure many outputs of one input: how much codes change, and how near the nearest output is to the truth.

a_BCHW inputs, b_BCHW truths in [-1, 1]; z_BZ codes; metrics are in [0, 1] units, per image.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from i2i_core.evaluation.families.paired import l1
from i2i_core.evaluation.samples import Metric, Outputs, Values
from i2i_core.methods.base import Method, knows_truth
from i2i_core.methods.controls import Code

INPUTS = 100
"""Inputs that get many outputs: the first of the split (BicycleGAN sec. 5.1)."""
SAMPLES = 20
"""Outputs of each of those inputs."""

METRICS = {
    "diversity": Metric(
        "higher",
        f"mean |G(a, z) - G(a, z')| over the {SAMPLES - 1} consecutive pairs of {SAMPLES} outputs of an "
        "input, codes drawn by its key, values in [0, 1]; "
        f"mean over the first {INPUTS} inputs (BicycleGAN's protocol, with pixels in place of LPIPS)",
        nothing="0 by definition: an input has one image, itself",
    ),
    "l1_best": Metric(
        "lower", f"the least l1 among those {SAMPLES} outputs; mean over the first {INPUTS} inputs", "see l1_nothing"
    ),
    "l1_encoded": Metric(
        "lower", "mean |G(a, E(b)) - b|, with the mean of E; values in [0, 1]; mean over images", "see l1_nothing"
    ),
    "latent": Metric(
        "lower",
        "mean |E(G(a, z)) - z|, with the mean of E and a code drawn by the input's key; mean over images (0.8 "
        "is what codes that have nothing to do with each other score against 0)",
        nothing="none: the input knows no code",
    ),
}


def varied(outputs: Outputs) -> int:
    """Count the chunk's inputs that are among the first INPUTS of the split."""
    return max(0, min(len(outputs.keys), INPUTS - outputs.row))


def measure(outputs: Outputs) -> Values:
    """Measure METRICS on one chunk; nothing in chunks of a target domain."""
    method, b, values = outputs.method, outputs.truth, Values()
    if outputs.inputs is None:
        return values
    if method.encodes:
        code, z = method.named(Code), method.draw_codes(outputs.batch.keys)
        values["latent"] = (method.encode(outputs.make({code: z})) - z).abs().mean(dim=1).tolist()
        if b is not None:
            values["l1_encoded"] = l1(outputs.make({code: method.encode(b)}), b)
    if first := varied(outputs):
        made = [x[:first] for x in outputs.variants(SAMPLES)]
        values["diversity"] = np.mean([l1(x, y) for x, y in pairwise(made)], axis=0).tolist()
        if b is not None:
            values["l1_best"] = np.min([l1(x, b[:first]) for x in made], axis=0).tolist()
    return values


def metrics_of(method: Method[Any] | type[Method[Any]]) -> list[str]:
    """Name the metrics of METRICS that a method has: none without codes."""
    if not method.codes:
        return []
    truth = knows_truth(method)
    encoded = ["l1_encoded"] * truth + ["latent"] if method.encodes else []
    return ["diversity", *(["l1_best"] if truth else []), *encoded]
