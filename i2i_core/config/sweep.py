"""Declare the options of a sweep, beside the configuration that its trials share."""

from __future__ import annotations

from dataclasses import dataclass

from i2i_core.settings import MOST_PROCESSES, check_at_least, check_numbers, setting


@dataclass(frozen=True)
class SweepConfig:
    """Choose what to search, by which metric, and how long."""

    space: str = setting("", resume="free")
    """Search space: a name in tune_spaces/, or the path of a file. Without it, the space of the method's name."""
    metric: tuple[str, ...] = setting(())
    """Metric to optimise. Several give the Pareto front: the trials that no other beats in every metric. Without it,
    the metrics that the space names."""
    samples: int = setting(20, resume="free", most=1_000_000)
    """Trials in total, including those that a resumed sweep has run before."""
    sampler: str = setting("tpe")
    """Optuna's sampler: tpe, random, gp, nsgaii, qmc, ...; --seed seeds it."""
    concurrent: int = setting(0, resume="free", most=MOST_PROCESSES)
    """Largest number of trials at once; 0 runs as many as the cluster has room for now."""
    early_stop: bool = setting(True)
    """Stop trials early that are worse than others after the same number of images (ASHA)."""
    grace: int = setting(0)
    """Images that every trial trains before it may be stopped early: ASHA's first rung. 0 takes --evaluate-every."""
    reduction: float = setting(3.0)
    """ASHA reduction factor: keep 1 in N trials at each rung; rungs are N times further apart."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 1, "samples")
        check_at_least(self, 0, "concurrent", "grace")
        check_at_least(self, 1.1, "reduction")
