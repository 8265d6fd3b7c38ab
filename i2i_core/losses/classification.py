"""Compute StarGAN's domain classification loss (Choi et al. 2018, Eq. 2 on real images, Eq. 3 on fakes).

Shapes: B batch, A attributes or classes.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

from i2i_core.losses.numeric import check_same_shape, upcast


def attribute_bce(logits_BA: Tensor, labels_BA: Tensor) -> Tensor:
    """Compute the binary cross entropy, summed over attributes, mean over samples; labels in [0, 1] (CelebA).

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(logits_BA, labels_BA)
    logits, labels = upcast(logits_BA), upcast(labels_BA)
    return -(labels * logsigmoid(logits) + (1 - labels) * logsigmoid(-logits)).sum(dim=1).mean()


def class_cross_entropy(logits_BA: Tensor, onehot_BA: Tensor) -> Tensor:
    """Compute the cross entropy of exclusive classes, mean over samples (RaFD).

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(logits_BA, onehot_BA)
    return -(upcast(onehot_BA) * log_softmax(upcast(logits_BA), dim=1)).sum(dim=1).mean()
