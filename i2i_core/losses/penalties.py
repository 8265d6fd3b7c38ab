"""Penalise the gradient of a critic.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from i2i_core.losses.numeric import as_written, check_same_shape, upcast


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], x_real_BCHW: Tensor, x_fake_BCHW: Tensor, alpha_B111: Tensor
) -> Tensor:
    """Compute E[(||grad D(x_hat)||_2 - 1)^2], x_hat = alpha x + (1 - alpha) G(z) (Gulrajani et al. 2017, Eq. 3).

    The result can be differentiated for the critic's weights; neither image gets a gradient.

    Args:
        critic: gives one scalar per sample, or a map of logits, whose positions are summed (StarGAN's authors' code
            does so). For the gradient of the mean, pass a critic that takes it:
            `lambda x: D(x).mean(dim=(1, 2, 3))`. It must not mix samples (no batch norm).
        alpha_B111: uniform in [0, 1), one per sample, drawn by the caller.

    Raises:
        ValueError: the images' shapes differ, or alpha is not (B, 1, 1, 1).
    """
    check_same_shape(x_real_BCHW, x_fake_BCHW)
    if alpha_B111.shape != (len(x_real_BCHW), 1, 1, 1):
        raise ValueError(f"alpha has shape {tuple(alpha_B111.shape)}, not ({len(x_real_BCHW)}, 1, 1, 1)")
    real, fake, alpha = (upcast(t.detach()) for t in (x_real_BCHW, x_fake_BCHW, alpha_B111))
    # The critic sees the images' own dtype, which its weights may share.
    x_hat = (alpha * real + (1 - alpha) * fake).to(x_real_BCHW.dtype).requires_grad_()
    exact = torch.autocast(x_hat.device.type, enabled=False)  # a gradient's norm in bf16 is off by per cents
    with as_written(), exact:  # and what is compiled can be differentiated once
        (gradient_BCHW,) = torch.autograd.grad(critic(x_hat).sum(), x_hat, create_graph=True)
    # vector_norm, not sqrt of a sum: its derivative at a zero gradient is 0, not NaN.
    norm_B = torch.linalg.vector_norm(upcast(gradient_BCHW).flatten(1), dim=1)
    return (norm_B - 1).square().mean()
