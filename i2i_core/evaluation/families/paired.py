"""Measure the distance to the truth, where every input has one.

x_BCHW inputs, y_BCHW truths and made images, all in [-1, 1]; metrics are in [0, 1] units, per image.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from i2i_core.evaluation.samples import NOTHING, Metric, Outputs, Values, beside, given

CEILING = 100.0
"""Upper bound of PSNR in dB; equal images have no finite PSNR."""
WINDOW, SIGMA = 11, 1.5
"""Pixels per side of SSIM's Gaussian window, and its standard deviation."""
C1, C2 = 0.01**2, 0.03**2
"""SSIM's (K1 L)^2 and (K2 L)^2 for values in a range of L = 1."""

METRICS = {
    "l1": Metric(
        "lower", "mean |G(a) - b| over the pixels and channels of an image, values in [0, 1]; mean over images"
    ),
    "psnr": Metric(
        "higher",
        "10 log10(1 / mean (G(a) - b)^2) in dB, of each image, values in [0, 1], "
        f"at most {CEILING:g}; mean over images",
    ),
    "ssim": Metric(
        "higher",
        "structural similarity of each image, values in [0, 1], Gaussian window of 11 pixels and sigma 1.5, "
        "K1 0.01, K2 0.03 (Wang et al. 2004); mean over images",
    ),
}
METRICS |= {f"{name}{NOTHING}": beside(name, metric)[f"{name}{NOTHING}"] for name, metric in METRICS.items()}


def unit(x_BCHW: Tensor) -> np.ndarray:
    """Map images from [-1, 1] to [0, 1], float64 on the host."""
    return (x_BCHW.detach().double().cpu().numpy() + 1) / 2


def l1(made_BCHW: Tensor, true_BCHW: Tensor) -> list[float]:
    """Compute the mean absolute difference of each image, in [0, 1] units."""
    return np.abs(unit(made_BCHW) - unit(true_BCHW)).mean(axis=(1, 2, 3)).tolist()


def psnr(made_BCHW: Tensor, true_BCHW: Tensor) -> list[float]:
    """Compute the peak signal-to-noise ratio of each image in dB: 10 log10(1 / MSE), MSE in [0, 1] units."""
    mse = np.square(unit(made_BCHW) - unit(true_BCHW)).mean(axis=(1, 2, 3))
    return (-10 * np.log10(np.maximum(mse, 10 ** (-CEILING / 10)))).tolist()


def ssim(made_BCHW: Tensor, true_BCHW: Tensor) -> list[float]:
    """Compute the structural similarity of each image, 1 for equal ones (Wang et al. 2004, Eq. 13): the mean over
    channels and over a window around every pixel, of an image that is reflected at its edges."""
    x, y = (torch.from_numpy(unit(images)) for images in (made_BCHW, true_BCHW))
    down, across = (_windows(side) for side in x.shape[-2:])

    def weighted(values: Tensor) -> Tensor:
        return down @ values @ across.T

    mu_x, mu_y = weighted(x), weighted(y)
    var_x, var_y = (weighted(v * v).sub_(mu * mu).clamp_(min=0) for v, mu in ((x, mu_x), (y, mu_y)))
    cov = weighted(x * y).sub_(mu_x * mu_y)
    alike = (2 * mu_x * mu_y + C1) * (2 * cov + C2) / ((mu_x**2 + mu_y**2 + C1) * (var_x + var_y + C2))
    return alike.flatten(1).mean(dim=1).tolist()


def _windows(side: int) -> Tensor:
    """Build the matrix (side, side), float64, whose rows hold the window's weights around each pixel of a side; a row
    sums to 1.

    A Gaussian in two dimensions is the product of two in one, so a window over an image is two products of matrices:
    20 to 45 times as fast on a CPU as a convolution in float64 by the window as a whole.
    """
    offsets = torch.arange(WINDOW) - WINDOW // 2
    weights = torch.exp(-(offsets.double() / SIGMA).square() / 2)
    period = max(1, 2 * (side - 1))
    places = (torch.arange(side)[:, None] + offsets) % period
    places = torch.minimum(places, period - places) % side
    rows = torch.zeros(side, side, dtype=torch.float64)
    return rows.scatter_add_(1, places, (weights / weights.sum()).expand(side, WINDOW))


def measure(outputs: Outputs) -> Values:
    """Measure METRICS on one chunk; those of doing nothing where input and truth have the same shape."""
    a, b, made = outputs.source, given(outputs.truth), given(outputs.made)
    values = {"l1": l1(made, b), "psnr": psnr(made, b), "ssim": ssim(made, b)}
    if a is not None and a.shape == b.shape:
        values |= {"l1_nothing": l1(a, b), "psnr_nothing": psnr(a, b), "ssim_nothing": ssim(a, b)}
    return values
