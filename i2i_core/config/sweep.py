"""Say what a sweep searches, beside the configuration that its trials have in common."""

from __future__ import annotations

from dataclasses import dataclass

from i2i_core.settings import check_at_least, setting


@dataclass(frozen=True)
class SweepConfig:
    """Say what is searched, for what, how long."""

    space: str = setting("", resume="free")
    """What to vary: a space of tune_spaces/, or a path to one. None given: the method's name."""
    metric: tuple[str, ...] = setting(())
    """What to search for; several: trials that no other beats in all of them. None given: the space's."""
    samples: int = setting(20, resume="free")
    """Trials in all, a resumed sweep's earlier ones included."""
    sampler: str = setting("tpe")
    """Sampler of Optuna: tpe, random, gp, nsgaii, qmc, ... Seeded by --seed."""
    concurrent: int = setting(0, resume="free")
    """Most trials at once; 0: as many as the cluster holds now."""
    early_stop: bool = setting(True)
    """End trials early that are worse than others after as many images (ASHA)."""
    grace: int = setting(0)
    """Images before a trial may be ended early; 0: --evaluate-every."""
    reduction: float = setting(3.0)
    """ASHA's reduction factor: keep 1 in this many trials at each rung; rungs lie this many times the images apart."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "samples")
        check_at_least(self, 0, "concurrent", "grace")
        check_at_least(self, 1.1, "reduction")
