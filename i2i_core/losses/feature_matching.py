"""Compare images by the discriminators' features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from i2i_core.losses.reconstruction import l1


def feature_matching(
    real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]], layer_weights: Sequence[float] = ()
) -> Tensor:
    """Compute the feature matching loss of pix2pixHD (Wang et al. 2018, Eq. 4). Real images get no gradient.

    It is the sum over discriminators k and layers i of w_i E[1 / N_i ||D_k^i(real) - D_k^i(fake)||_1].

    A mean over discriminators, or the 4 / (layers + 1) of pix2pixHD's program, is a constant of the caller's.

    Args:
        real, fake: of each discriminator (n, C_i, H_i, W_i) of each layer, as `networks.patchgan.with_features` gives.
        layer_weights: w_i, one a layer; none: 1.

    Raises:
        ValueError: not as many discriminators, layers or weights here as there, none at all, or layers of two shapes.
    """
    terms = []
    for of_real, of_fake in zip(real, fake, strict=True):
        weights = layer_weights or [1.0] * len(of_real)
        terms += [w * l1(b, a.detach()) for w, a, b in zip(weights, of_real, of_fake, strict=True)]
    if not terms:
        raise ValueError("no layers to compare")
    return torch.stack(terms).sum()
