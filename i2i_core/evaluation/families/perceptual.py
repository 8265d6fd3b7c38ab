"""Measure the distance between two images as networks see them: to the truth, and between outputs of one input.

x_BCHW images in [-1, 1], grey or RGB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i_core.errors import DataError
from i2i_core.evaluation.families.multimodal import INPUTS, SAMPLES, varied
from i2i_core.evaluation.samples import (
    Asked,
    Family,
    Measured,
    Metric,
    Outputs,
    Values,
    beside,
    check_channels,
    means,
    no_idle,
)
from i2i_core.methods.base import knows_truth
from i2i_core.pretrained.backbones import LAYERS, LPIPS, EfficientNet

_LAYERS = (
    f"mean over {len(LAYERS)} layers and over positions of the squared distance between feature vectors of length 1 "
    "(EfficientNet-lite0; not calibrated on people's judgements)"
)


def _metrics(one: str, name: str, best: str, diversity: str, what: str) -> dict[str, Metric]:
    """Give the metrics of a network: to the truth, the least of several, between several; and doing nothing."""
    pairs = f"the {SAMPLES - 1} consecutive pairs of {SAMPLES} outputs of an input, codes drawn by its key"
    inputs = f"mean over the first {INPUTS} inputs"
    to_truth = beside(one, Metric("lower", f"{what} between G(a) and b; mean over images"))
    return {
        one: to_truth[one],
        best: Metric(
            "lower",
            f"the least {name} to the truth among {SAMPLES} outputs of an input; {inputs}",
            f"see {one}_nothing",
        ),
        diversity: Metric(
            "higher", f"mean {name} over {pairs}; {inputs} (BicycleGAN's protocol). Read it beside {best}: noise is "
            "diverse too", "0 by definition: an input has one image, itself"
        ),
        **to_truth,
    }  # fmt: skip


METRICS = _metrics(
    "lpips",
    "lpips",
    "lpips_best",
    "lpips_diversity",
    "learned perceptual distance (Zhang et al. 2018, version 0.1, by torchmetrics)",
)
EFFICIENTNET = _metrics(
    "efficientnet_perceptual",
    "efficientnet_perceptual",
    "efficientnet_best",
    "efficientnet_diversity",
    _LAYERS,
)


def build_lpips(asked: Asked) -> Family:
    """Make the family of METRICS, with those metrics that the method has.

    Raises:
        DataError: no truths and no codes; images that are neither grey nor RGB.
        ConfigError: the network's weights are not there.
    """
    check_lpips(asked)
    network = LPIPS(asked.judging.lpips_network, asked.judging.lpips_weights, asked.device)
    return Perceptual(asked, METRICS, network.facts, network.seen, network.between)


def build_efficientnet(asked: Asked) -> Family:
    """Make the family of EFFICIENTNET, with those metrics that the method has. Raise as `build_lpips`."""
    check_efficientnet(asked)
    network = EfficientNet(asked.device)
    facts = {**network.facts, "layers": f"outputs of blocks {', '.join(map(str, LAYERS))}"}
    return Perceptual(asked, EFFICIENTNET, facts, network.layers, between_layers)


def check_lpips(asked: Asked) -> None:
    """Raise DataError without truths and codes, and for images that are neither grey nor RGB."""
    _check(asked, "lpips")


def check_efficientnet(asked: Asked) -> None:
    """Raise DataError as `check_lpips`."""
    _check(asked, "efficientnet_perceptual")


def _check(asked: Asked, metrics: str) -> None:
    """Raise DataError."""
    if not knows_truth(asked.method) and not asked.method.codes:
        kind, fix = asked.data.manifest.kind, f"Leave {metrics} out."
        raise DataError(f"data {asked.data.uri}", f"{kind} samples", f"pairs, whose truth is known, for {metrics}", fix)
    check_channels(asked, metrics)


def between_layers(x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    """Compute (n,) the mean over layers l and positions p of |x_lp / |x_lp| - y_lp / |y_lp||^2, from 0 to 4.

    Args:
        x, y: features of each layer, (n, C_l, H_l, W_l).
    """
    pairs = [(F.normalize(a.double(), dim=1), F.normalize(b.double(), dim=1)) for a, b in zip(x, y, strict=True)]
    return torch.stack([(a - b).square().sum(dim=1).mean(dim=(1, 2)) for a, b in pairs]).mean(dim=0)


class Perceptual(Family):
    """Compute distances between images by one network.

    Args:
        metrics: four: to the truth; the least of several outputs; between several outputs; of the untouched inputs.
        seen: gives what the network sees of images.
        between: gives (n,) the distances between two results of `seen`.
    """

    def __init__(
        self,
        asked: Asked,
        metrics: Mapping[str, Metric],
        facts: Mapping[str, Any],
        seen: Callable[[Tensor], Any],
        between: Callable[[Any, Any], Tensor],
    ) -> None:
        self._one, self._best, self._diversity, self._idle = metrics
        self.no_idle = no_idle(asked, (1, 3))
        has = {
            self._idle: knows_truth(asked.method),
            self._one: knows_truth(asked.method),
            self._diversity: asked.method.codes,
        }
        has[self._best] = all(has.values())
        self.metrics = {name: metric for name, metric in metrics.items() if has[name]}
        self._facts, self._seen, self._between = facts, seen, between

    @property
    def judges(self) -> list[str]:
        return [name for name in self.metrics if name != self._idle]

    def absent(self) -> dict[str, str]:
        return {self._idle: self.no_idle} if self.no_idle and self._idle in self.metrics else {}

    def facts(self) -> dict[str, Any]:
        return dict(self._facts)

    def chunk(self, outputs: Outputs) -> Values:
        values: Values = {}
        truth = None if outputs.truth is None else self._seen(outputs.truth)
        if truth is not None:
            assert outputs.made is not None
            values[self._one] = _numbers(self._between(self._seen(outputs.made), truth))
            values |= self._of_inputs(outputs, truth)
        if outputs.method.codes and (first := varied(outputs)):
            values |= self._several(outputs, first)
        return values

    def _of_inputs(self, outputs: Outputs, truth: Any) -> Values:
        """Measure the inputs as if the method had made them."""
        x, b = outputs.source, outputs.truth
        if x is None or b is None or self.no_idle or x.shape[-2:] != b.shape[-2:]:
            return {}
        return {self._idle: _numbers(self._between(self._seen(x), truth))}

    def _several(self, outputs: Outputs, first: int) -> Values:
        """Measure several outputs of each of the chunk's first inputs."""
        truth = None if outputs.truth is None else self._seen(outputs.truth[:first])
        apart, to_truth, before = [], [], None
        for made in outputs.variants(SAMPLES):
            seen = self._seen(made[:first])
            if before is not None:
                apart.append(self._between(before, seen).double())
            if truth is not None:
                to_truth.append(self._between(seen, truth).double())
            before = seen
        values = {self._diversity: _numbers(torch.stack(apart).mean(dim=0))}
        return values | ({self._best: _numbers(torch.stack(to_truth).amin(dim=0))} if to_truth else {})

    def result(self, parts: Sequence[Values]) -> dict[str, Measured]:
        return means(parts)


def _numbers(x: Tensor) -> list[float]:
    return x.double().cpu().tolist()
