"""Small runs of the real loop, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from i2i_core.config import TrainConfig
from i2i_core.data.batch import Batch
from i2i_core.orchestration.launch import prepare
from i2i_core.training.loop import Loop
from i2i_core.training.sync import World

from .methods import SMALL

EXACT = ("channels", "c_dim", "norm", "dropout")
"""What `SMALL` sets for exact comparisons, and the data or the preset decides here."""


def config_of(method: str, data: str, storage: str, **values: Any) -> TrainConfig:
    """A prepared configuration of a small method; `values` by dotted key with `__` for the dot."""
    small = {f"hyper.{k}": v for k, v in SMALL[method].items() if k not in EXACT}
    defaults: dict[str, Any] = {
        "data.uri": data,
        "data.loaders": 0,
        "training.batch": 6,
        "training.images": 96,
        "training.lr_schedule": "constant",
        "training.ema_halflife": 50,
        "output.evaluate_samples": 32,
        "output.grid_every": 0,
        "output.checkpoint_every": 36,
        "launch.storage": storage,
        "launch.name": "run",
    }
    over = {key.replace("__", "."): value for key, value in values.items()}
    return prepare(TrainConfig.of(method, "demo", {**small, **defaults, **over}))


def loop_of(config: TrainConfig, said: list[str] | None = None) -> Loop:
    lines = said if said is not None else []
    return Loop(config, World(), torch.device("cpu"), say=lines.append)


def state_of(loop: Loop) -> dict[str, Any]:
    """Everything a checkpoint would hold, flat."""
    flat: dict[str, Any] = {f"networks.{k}": v for k, v in loop.method.networks.state_dict().items()}
    flat |= {f"ema.{k}": v for k, v in (loop.step.ema.state_dict() if loop.step.ema else {}).items()}
    for player, state in loop.step.state_dict().items():
        for i, moments in state["state"].items():
            flat |= {f"{player}.{i}.{k}": v for k, v in moments.items()}
    for name, pool in loop.method.pools.items():
        flat |= {f"pools.{name}.{k}": v for k, v in (pool.state() or {}).items()}
    flat["diagnosis"] = loop.diagnosis.state_dict()
    return flat | {"images": loop.progress.images, "moves": dict(loop.progress.moves)}


def assert_equal(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Bit for bit."""
    assert a.keys() == b.keys()
    for name in a:
        same = torch.equal(a[name], b[name]) if isinstance(a[name], torch.Tensor) else a[name] == b[name]
        assert same, name


class KilledError(Exception):
    """What the tests interrupt a run with."""


def run_until(config: TrainConfig, images: int) -> None:
    """Trains, and is cut off at the first batch past `images`, in the middle of an update: later than the last
    checkpoint."""
    loop = loop_of(config)
    timed = loop._timed

    def cut(batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in timed(batches):
            if batch.images >= images:
                raise KilledError
            yield batch

    loop._timed = cut  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        loop.train()
