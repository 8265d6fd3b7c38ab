"""Measure how far latent codes are from the standard normal distribution.

Shapes: B batch, Z length of a code.
"""

from __future__ import annotations

from torch import Tensor

from i2i_core.losses.numeric import check_same_shape, mean, upcast


def kl_normal(mean_BZ: Tensor, log_variance_BZ: Tensor) -> Tensor:
    """Compute D_KL(N(mean, variance) || N(0, 1)), summed over the code, mean over samples.

    BicycleGAN Eq. 4; Kingma & Welling 2014, appendix B.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(mean_BZ, log_variance_BZ)
    mu, log_variance = upcast(mean_BZ), upcast(log_variance_BZ)
    return -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).sum(dim=1).mean()


def kl_unit_variance(mu: Tensor) -> Tensor:
    """Compute the mean of mu^2 over samples and entries: per entry, D_KL(N(mu, 1) || N(0, 1)) up to the factor 1/2.

    UNIT, NIPS 2017, Eq. 2; its authors' first program passes mu + N(0, 1) in place of mu.
    """
    return mean(upcast(mu).square())
