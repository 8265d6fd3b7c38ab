"""Check, before anything starts, whether a run can be resumed, and how another length changes its learning rate."""

from __future__ import annotations

import shlex

import torch

from i2i_core.checkpoints import checkpoint
from i2i_core.config.run import TrainConfig
from i2i_core.config.training import TrainingConfig
from i2i_core.data.reading import order
from i2i_core.data.reading.stream import Alternating, open_sets
from i2i_core.errors import CheckpointError, ConfigError
from i2i_core.methods import build_from
from i2i_core.registry import entry
from i2i_core.runs.folder import RunFolder, images_of
from i2i_core.training.staged import stages_of, stream_of

LR_MAY_RISE = "--lr-may-rise"
BY_LENGTH = ("linear", "epochs")
"""Schedules whose learning rate depends on the run's length."""


AS_IT_IS = "translate.py and evaluate.py take the run as it is."


def begin_with(flags: str) -> str:
    """Advise to begin another run from a run's networks, with the flags that take them."""
    return f"Or begin another run from its networks: {flags} --name ANOTHER."


def check_order(saved: TrainConfig, url: str, instead: str = "") -> None:
    """Refuse to go on with a run that began with another order of samples.

    Args:
        saved: its configuration.
        url: its folder.
        instead: what else can be done; none given: begin another run from its networks.

    Raises:
        CheckpointError: it did.
    """
    if (begun := saved.data.order) == order.VERSION:
        return
    instead = instead or f"{begin_with(f'--init-from {shlex.quote(url)}')} {AS_IT_IS}"
    raise CheckpointError(
        url,
        f"a run whose samples come in order {begun}, that of another release",
        f"order {order.VERSION}, that of this release: the rest of the run would have some samples twice, others never",
        f"Finish it with the release that it began with. {instead}",
    )


def length_of(config: TrainConfig) -> int:
    """Count the images of a prepared run."""
    return config.training.images or stages_of(config.training, stream_to_count(config)).length


def stream_to_count(config: TrainConfig) -> Alternating:
    """Open the stream of a prepared run, to count its images."""
    return stream_of(config, open_sets(config.data), entry(config.method).method.needs)


def rate_change(config: TrainConfig, run: RunFolder, may_rise: bool = False) -> str:
    """Word how the learning rate changes where a run is resumed with another length; "" where it does not.

    Args:
        config: the prepared configuration that the run is launched with.
        run: its folder.
        may_rise: whether `--lr-may-rise` is given.

    Raises:
        ConfigError: the rate rises, and `may_rise` is false.
    """
    whole = run.whole_checkpoints()
    if not whole or not run.exists(run.CONFIG) or config.training.lr_schedule not in BY_LENGTH:
        return ""
    saved, given = checkpoint.read_config(run).training, config.training
    if (saved.images, saved.epochs) == (given.images, given.epochs):
        return ""
    images, stream = images_of(whole[-1]), stream_to_count(config)
    both = [stages_of(training, stream) for training in (saved, given)]
    now, then = (stages.lr(images, stages.at(images)) for stages in both)
    if now == then or images >= both[1].length:
        return ""
    rates = _rates(config, now, then)
    if then > now and not may_rise:
        found = (
            f"a longer run than {_length(saved)}, whose learning rate would rise where it goes on, after {images:,} "
            f"images:\n    {rates}\n  (--lr-schedule {given.lr_schedule} spreads its fall over the whole run)"
        )
        fix = (
            f"Add {LR_MAY_RISE} to go on with the higher rate. Or begin another run from these networks, with a length "
            f"and a schedule of its own: --init-from {shlex.quote(run.url)} --name ANOTHER. docs/recovery.md compares "
            "them."
        )
        raise ConfigError(_length(given), found, f"{_length(saved)}, or {LR_MAY_RISE}", fix)
    way = "rises" if then > now else "falls"
    return (
        f"{run.url} goes on after {images:,} images with {_length(given)} in place of {_length(saved)}: "
        f"the learning rate {way} there: {rates}"
    )


def _length(training: TrainingConfig) -> str:
    return f"--images {training.images}" if training.images else f"--epochs {training.epochs:g}"


def _rates(config: TrainConfig, now: float, then: float) -> str:
    """Word each player's learning rate before and after."""
    with torch.device("meta"):
        method = build_from(config.method, config.hyper)
    lrs = {name: player.optimiser.lr for name, player in method.players.items()}
    return ", ".join(f"{name} {now * lr:.3g} -> {then * lr:.3g}" for name, lr in lrs.items())
