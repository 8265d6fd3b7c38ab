"""A run that goes on with another length: what becomes of its learning rate is said before anything starts.

pytest tests/integration/test_rates.py
"""

from __future__ import annotations

from typing import Any

import pytest
import ray

from i2i_core.config.run import TrainConfig
from i2i_core.errors import ConfigError
from i2i_core.orchestration.launch import check_run, launch
from i2i_core.runs.folder import CheckpointFolder, RunFolder, name_at

from ..support.runs import config_of, loop_of


def begun(data: str, storage: str, images: int, **values: Any) -> TrainConfig:
    """A run of StarGAN's that has a checkpoint after so many images; its rates are 1e-3 for G and 2e-4 for D."""
    over = {"hyper__g_lr": 1e-3, "hyper__d_lr": 2e-4, "training__lr_schedule": "linear", **values}
    config = config_of("stargan", data, storage, **over)
    run = RunFolder(f"{storage}/run")
    run.write("config.json", config.dumps().encode())
    run.write_json(run.in_checkpoint(name_at(images), CheckpointFolder.CHECKSUMS), {})
    return config


def longer(config: TrainConfig, images: int = 0, epochs: float = 0.0) -> TrainConfig:
    return config.with_section("training", images=images, epochs=epochs)


# 96 images, of which the second half brings the rate down to 0, or to --lr-final; so do the last 96 of 192
RISES: dict[str, tuple[int, dict[str, Any], dict[str, Any], str]] = {
    "finished": (96, {}, {"images": 192}, "D 0 -> 0.0002, G 0 -> 0.001"),
    "half way down": (72, {}, {"images": 192}, "D 0.0001 -> 0.0002, G 0.0005 -> 0.001"),
    "a little longer": (96, {}, {"images": 120}, "D 0 -> 8e-05, G 0 -> 0.0004"),
    "not to 0": (96, {"training__lr_final": 0.1}, {"images": 192}, "D 2e-05 -> 0.0002, G 0.0001 -> 0.001"),
    "in passes": (96, {}, {"epochs": 1.0}, "D 0 -> 0.0002, G 0 -> 0.001"),
    "epoch by epoch": (
        1296, {"training__lr_schedule": "epochs", "training__images": 0, "training__epochs": 2.0}, {"epochs": 4.0},
        # after the second of 1 + 1 epochs 1 - 2 / 2, and of 2 + 2 epochs 1 - 1 / 3
        "D 0 -> 0.000133, G 0 -> 0.000667",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RISES)
def test_rate_that_would_rise_is_refused_with_numbers_until_somebody_agrees(
    case: str, labelled: str, storage: str
) -> None:
    images, values, length, rates = RISES[case]
    config = longer(begun(labelled, storage, images, **values), **length)
    with pytest.raises(ConfigError) as caught:
        launch(config)
    assert not ray.is_initialized(), "it is said before Ray starts"
    assert rates in caught.value.found
    assert f"after {images:,} images" in caught.value.found
    assert caught.value.where == (
        f"--images {length['images']}" if "images" in length else f"--epochs {length['epochs']:g}"
    )
    said = check_run(config, lr_may_rise=True)
    assert rates in said
    assert "rises" in said


@pytest.mark.parametrize(
    ("images", "values", "length"),
    [
        (96, {}, {"images": 96}),
        (48, {}, {"images": 192}),  # before the rate fell
        (96, {"training__lr_schedule": "constant"}, {"images": 192}),
        (96, {"training__lr_schedule": "steps", "training__lr_step": 24}, {"images": 192}),
    ],
)
def test_rate_that_stays_is_not_spoken_of(
    images: int, values: dict[str, Any], length: dict[str, Any], labelled: str, storage: str
) -> None:
    assert check_run(longer(begun(labelled, storage, images, **values), **length)) == ""


def test_rate_that_falls_is_said(labelled: str, storage: str) -> None:
    said = check_run(longer(begun(labelled, storage, 48), images=64))
    assert "falls there: D 0.0002 -> 0.0001, G 0.001 -> 0.0005" in said


def test_rate_of_a_run_that_has_not_begun_is_its_first(labelled: str, storage: str) -> None:
    config = config_of("stargan", labelled, storage, training__lr_schedule="linear")
    RunFolder(f"{storage}/run").write("config.json", config.dumps().encode())
    assert check_run(longer(config, images=500)) == ""


def test_rate_that_may_not_rise_leaves_another_run_from_the_same_networks(labelled: str, storage: str) -> None:
    """What the message advises: a finished run's networks, another name, a length and a schedule of its own."""
    config = config_of("stargan", labelled, storage, training__lr_schedule="linear")
    finished = loop_of(config)
    finished.train()
    finished.run.write("config.json", config.dumps().encode())
    with pytest.raises(ConfigError) as caught:
        check_run(longer(config, images=192))
    assert f"--init-from {finished.run.url} --name ANOTHER" in caught.value.fix
    other = {"training__init_from": finished.run.url, "launch__name": "another", "training__images": 12}
    second = config_of("stargan", labelled, storage, **other)
    assert check_run(second) == ""
    loop = loop_of(second)
    assert loop.step.learning_rates() == {"G": second.hyper.g_lr, "D": second.hyper.d_lr}
    loop.train()
