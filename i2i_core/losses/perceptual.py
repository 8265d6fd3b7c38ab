"""Compare images by a trained network's features (Johnson et al. 2016, sec. 3.2; Gatys et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from i2i_core.losses.numeric import check_same_shape, upcast
from i2i_core.tensors import instance_norm

Distance = Literal["l1", "l2"]


def perceptual(
    features: Callable[[Tensor], Sequence[Tensor]],
    x_BCHW: Tensor,
    target_BCHW: Tensor,
    weights: Sequence[float],
    *,
    distance: Distance = "l1",
    normalised: bool = False,
) -> Tensor:
    """Compute the sum over layers l of w_l E|phi_l(x) - phi_l(target)|; `l2`: of the square.

    Johnson et al. 2016, Eq. 2. E is the mean over samples, channels and positions. The target gets no gradient.

    Args:
        features: phi: images -> (n, C_l, H_l, W_l) of each layer.
        weights: w_l, one a layer.
        normalised: take from every map of a sample its mean and divide by its deviation before they are compared
            (MUNIT, Huang et al. 2018, sec. 5.1: what is compared then depends less on the domain).

    Raises:
        ValueError: images of two shapes; not as many weights as layers; or, `normalised`, maps of one position.
    """
    check_same_shape(x_BCHW, target_BCHW)
    with torch.no_grad():
        targets = features(target_BCHW)
    total = torch.zeros((), device=x_BCHW.device)
    for weight, one, other in zip(weights, features(x_BCHW), targets, strict=True):
        a, b = upcast(one), upcast(other)
        if normalised:
            a, b = instance_norm(a), instance_norm(b)
        total = total + weight * ((a - b).abs() if distance == "l1" else (a - b).square()).mean()
    return total
