"""Minimise functions of several independent vectors side by side: L-BFGS with a strong Wolfe line search.

Nocedal & Wright, "Numerical Optimization" (2nd edition, 2006): Alg. 7.4 (two loops), 7.20 (scale of the first matrix),
3.7 (strong Wolfe conditions); the line search halves an interval, as Lewis & Overton 2013, Alg. 4.6.

Rows are problems of their own: each has a direction, a step and a history, and none sees another.

z_RZ rows; f_R their values; g_RZ their gradients.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]
"""z_RZ -> f_R; the value of a row depends on that row alone."""
C1, C2 = 1e-4, 0.9
"""Constants of the strong Wolfe conditions: of the decrease, and of the slope."""
HISTORY = 10
"""Pairs of differences that are kept."""
MOST_TRIALS = 20
"""Most steps that a line search tries."""
FLAT = 1e-20
"""The largest slope of a row whose minimum is found."""


def minimised(f: Function, z_RZ: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Give the best z found for each row, and f there.

    A row stops early where its gradient is flat, or where no step lowers its value.

    Args:
        f: the function; it is differentiated here.
        z_RZ: where to start.
        iterations: the most, of which each takes a few evaluations of f.
    """
    z, (value, g) = z_RZ.detach(), _valued(f, z_RZ.detach())
    going = value.isfinite() & g.isfinite().all(1)
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    for k in range(iterations):
        d = -_preconditioned(g, pairs)
        d = torch.where(going[:, None], d, torch.zeros_like(d))
        slope = (g * d).sum(1)
        going = going & (slope < -FLAT)
        if not going.any():
            break
        norm = g.abs().sum(1)
        first = (1 / norm.clamp(min=1e-12)).clamp(max=1.0) if k == 0 else torch.ones_like(norm)
        step, found, new_g = _searched(f, z, d, value, slope, first, going)
        moved = going & (step > 0)
        s = torch.where(moved[:, None], step[:, None] * d, torch.zeros_like(d))
        y = torch.where(moved[:, None], new_g - g, torch.zeros_like(g))
        z, value = z + s, torch.where(moved, found, value)
        g = torch.where(moved[:, None], new_g, g)
        curved = (s * y).sum(1)
        pairs = [*pairs[-(HISTORY - 1) :], (s, y, torch.where(curved > 1e-12, curved, torch.zeros_like(curved)))]
        going = moved
    return z, value


def _valued(f: Function, z: Tensor) -> tuple[Tensor, Tensor]:
    """Compute f and its gradient."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = f(z)
        (g,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), g


def _preconditioned(g: Tensor, pairs: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Multiply each row's gradient by its approximate inverse Hessian (Alg. 7.4); a pair without curvature is passed
    over."""
    q, weights = g, []
    for s, y, curved in reversed(pairs):
        rho = torch.where(curved > 0, 1 / curved.clamp(min=1e-300 if g.dtype == torch.float64 else 1e-30), 0.0)
        a = rho * (s * q).sum(1)
        q = q - a[:, None] * y
        weights.append((rho, a))
    scale = torch.ones_like(g[:, 0])
    for _, y, curved in pairs:  # the latest pair with curvature decides (7.20)
        scale = torch.where(curved > 0, curved / (y * y).sum(1).clamp(min=1e-30), scale)
    r = scale[:, None] * q
    for (s, y, _), (rho, a) in zip(pairs, reversed(weights), strict=True):
        b = rho * (y * r).sum(1)
        r = r + s * (a - b)[:, None]
    return r


def _searched(
    f: Function, z: Tensor, d: Tensor, value: Tensor, slope: Tensor, first: Tensor, going: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Find for each row a step t with f(z + t d) <= f(z) + C1 t f' and |f'(z + t d)| <= C2 |f'(z)| (3.7).

    Where the trials are used up, the step is the best one that meets the first condition; 0 where none does.

    Returns:
        The steps, and f and its gradient there.
    """
    low, high, t = torch.zeros_like(first), torch.full_like(first, torch.inf), first
    best, best_value, best_g = torch.zeros_like(first), value, torch.zeros_like(z)
    open_ = going.clone()
    for _ in range(MOST_TRIALS):
        found, g = _valued(f, z + t[:, None] * d)
        rises = (g * d).sum(1)
        lower = found.isfinite() & g.isfinite().all(1) & (found <= value + C1 * t * slope)
        better = open_ & lower & ((found <= best_value) | (best == 0))
        best, best_value = torch.where(better, t, best), torch.where(better, found, best_value)
        best_g = torch.where(better[:, None], g, best_g)
        done = lower & (rises.abs() <= -C2 * slope)
        # A point that ends the search is the one to take, even where an earlier one was lower.
        ends = open_ & done
        best, best_value = torch.where(ends, t, best), torch.where(ends, found, best_value)
        best_g = torch.where(ends[:, None], g, best_g)
        open_ = open_ & ~done
        if not open_.any():
            break
        over = ~lower | (rises > 0)
        high, low = torch.where(over, t, high), torch.where(over, low, t)
        middle = torch.where(high.isinf(), 2 * low, (low + high) / 2)
        t = torch.where(open_, middle, t)
    return best, best_value, best_g
