"""Name the adversarial terms, and which have a target: no torch, so that configurations ask here too."""

from __future__ import annotations

import typing
from typing import Literal

Formulation = Literal["minimax", "nonsaturating", "lsgan", "wgan", "wgan-gp", "hinge"]
FORMULATIONS: tuple[Formulation, ...] = typing.get_args(Formulation)
WITH_TARGET: tuple[Formulation, ...] = ("minimax", "nonsaturating", "lsgan")
"""Terms with a target for D on real images, which label smoothing lowers; a critic and a margin have none."""


MOST_TARGET = 2.0
"""The largest target that D's targets on real images are drawn up to."""


def is_target(real_target: float) -> bool:
    """Tell if a value can be D's target on real images: 1, or less with one-sided label smoothing."""
    return 0.5 < real_target <= 1.0
