"""Say when a run logs, draws, evaluates and saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from i2i_core.settings import check_at_least, setting


@dataclass(frozen=True)
class MonitoringConfig:
    """Say when the loop logs, draws, evaluates and saves, in images. All of it may change on resume."""

    log_every: int = setting(1_000, resume="free")
    """Images between progress lines and tracker scalars."""
    tracker: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = setting(("tensorboard",), resume="free")
    """Where scalars, grids and warnings go besides the log (docs/watching.md): files in the run's folder, Weights &
    Biases, MLflow; the last two by the extras of their names."""
    mlflow_uri: str = setting("", resume="free")
    """Tracking server or database of MLflow, https://SERVER or sqlite:///FILE; none: MLFLOW_TRACKING_URI."""
    stop_on_collapse: bool = setting(False, resume="free")
    """Save and stop, as failed, where a run is said to diverge (docs/watching.md); else that is a warning."""
    grid_every: int = setting(10_000, resume="free")
    """Images between grids of fixed samples; 0: none."""
    grid_rows: int = setting(8, resume="free")
    """Samples in a grid."""
    evaluate_every: int = setting(0, resume="free")
    """Images between evaluations on --evaluate-split; 0: only at the end."""
    evaluate_split: str = setting("val", resume="free")
    """Split that evaluations and grids read; where the data has none, the training split."""
    evaluate_samples: int = setting(256, resume="free")
    """Samples of an evaluation; 0: all."""
    best_metric: str = setting("", resume="free")
    """Metric that decides the best checkpoint; none given: the method's own, if it has one."""
    checkpoint_every: int = setting(50_000, resume="free")
    """Images between checkpoints; one is always written at the end."""
    keep_last: int = setting(2, resume="free")
    """Checkpoints kept besides the best."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "grid_every", "evaluate_every", "evaluate_samples")
        check_at_least(self, 1, "log_every", "grid_rows", "checkpoint_every", "keep_last")
