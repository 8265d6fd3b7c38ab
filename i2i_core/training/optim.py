"""Build torch's optimisers so that a flag on the device can suppress a move without stopping the host."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from i2i_core.methods.base import Optimiser


def make_optimiser(parameters: list[nn.Parameter], how: Optimiser, recorded: bool = False) -> torch.optim.Optimizer:
    """Build Adam, RMSProp or SGD over parameters.

    Adam and SGD are the fused ones: under their `found_inf` flag they change neither weights nor state.

    Args:
        parameters: one player's.
        how: kind, learning rate and the rest.
        recorded: whether its moves are recorded as CUDA graphs.
    """
    groups: Any = parameters
    if how.decays == "weights":
        kept = [p for p in parameters if p.dim() < 2]
        groups = [{"params": [p for p in parameters if p.dim() > 1]}, {"params": kept, "weight_decay": 0.0}]
    if how.kind == "adam":
        return torch.optim.Adam(
            groups, how.lr, how.betas, weight_decay=how.weight_decay, fused=True, capturable=recorded
        )
    if how.kind == "sgd":
        return torch.optim.SGD(groups, how.lr, how.betas[0], weight_decay=how.weight_decay, fused=True)
    return torch.optim.RMSprop(groups, how.lr, weight_decay=how.weight_decay, capturable=recorded)


def state_of(optimiser: torch.optim.Optimizer, lr: float) -> dict[str, Any]:
    """Return an optimiser's state in a form that any optimiser of its kind can load, recorded or not.

    Args:
        optimiser: the optimiser.
        lr: the learning rate of its last move.
    """
    state = optimiser.state_dict()
    groups = [
        {**group, "lr": lr} | ({"capturable": False} if "capturable" in group else {})
        for group in state["param_groups"]
    ]
    return {**state, "param_groups": groups}


def load_state(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a saved state, and lay it out in memory as the parameters are.

    A fused optimiser goes through a parameter, its gradient and its moments as they lie in memory, and the run that
    saved them may have had another memory format.
    """
    recorded = [group.get("capturable") for group in optimiser.param_groups]
    optimiser.load_state_dict(state)
    for group, capturable in zip(optimiser.param_groups, recorded, strict=True):
        if capturable is not None:
            group["capturable"] = capturable
    for p, held in optimiser.state.items():
        for name, moment in held.items():
            if isinstance(moment, Tensor) and moment.shape == p.shape and moment.stride() != p.stride():
                held[name] = torch.empty_like(p, dtype=moment.dtype, requires_grad=False).copy_(moment)


def move(optimiser: torch.optim.Optimizer, lr: float | Tensor, suppress: Tensor) -> None:
    """Make one move, unless `suppress` is nonzero.

    Args:
        optimiser: the optimiser.
        lr: the learning rate, a number or a scalar on the device.
        suppress: a float32 scalar on the device.
    """
    for group in optimiser.param_groups:
        group["lr"] = lr
    if isinstance(optimiser, torch.optim.Adam | torch.optim.SGD):
        optimiser.found_inf = suppress  # type: ignore[union-attr]
        optimiser.step()
        return
    # RMSProp has no such flag: it moves, and where it must not have, the weights are put back. (No state is saved
    # once a move was suppressed, so what it remembers of the gradients does not matter.)
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    before = [p.detach().clone() for p in parameters]
    optimiser.step()
    with torch.no_grad():
        for p, old in zip(parameters, before, strict=True):
            p.copy_(torch.where(suppress > 0, old, p))
