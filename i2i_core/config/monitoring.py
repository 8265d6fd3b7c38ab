"""Declare when a run logs, draws, evaluates and saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from i2i_core.settings import check_at_least, check_numbers, setting


@dataclass(frozen=True)
class MonitoringConfig:
    """Choose when the loop logs, draws, evaluates and saves, in images. A resumed run may change every value."""

    log_every: int = setting(1_000, resume="free")
    """Images between progress lines and tracker scalars."""
    tracker: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = setting(("tensorboard",), resume="free")
    """Trackers that get scalars, grids and warnings: TensorBoard files in the run's folder, Weights & Biases, MLflow
    (docs/watching.md). wandb and mlflow need the extra of that name."""
    mlflow_uri: str = setting("", resume="free")
    """Tracking server or database of MLflow, https://SERVER or sqlite:///FILE. Without it, MLFLOW_TRACKING_URI
    counts."""
    stop_on_collapse: bool = setting(False, resume="free")
    """Save and stop, as failed, when the diagnosis finds that the run diverges (docs/watching.md). Without it, the run
    warns and trains on."""
    grid_every: int = setting(10_000, resume="free")
    """Images between pictures of fixed samples in the run's grids/; 0 draws none."""
    grid_rows: int = setting(8, resume="free", most=1_000)
    """Samples in such a picture."""
    evaluate_every: int = setting(0, resume="free")
    """Images between evaluations on --evaluate-split; 0 evaluates at the end only."""
    evaluate_split: str = setting("val", resume="free")
    """Split that evaluations and grids read. Data without that split: the training split."""
    evaluate_samples: int = setting(256, resume="free")
    """Samples in an evaluation; 0 takes the whole split."""
    best_metric: str = setting("", resume="free")
    """Metric that decides the best checkpoint. Without it, the method's own metric decides, if it has one."""
    checkpoint_every: int = setting(50_000, resume="free")
    """Images between checkpoints; the run writes one more at its end."""
    keep_last: int = setting(2, resume="free", most=1_000_000)
    """Newest checkpoints to keep besides the best."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 0, "grid_every", "evaluate_every", "evaluate_samples")
        check_at_least(self, 1, "log_every", "grid_rows", "checkpoint_every", "keep_last")
