"""A run whose data and checkpoints lie on storage that fails, vanishes for a while, or for good.

pytest tests/storage/test_run_in_weather.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from i2i_core.config.run import TrainConfig
from i2i_core.orchestration.sharding import shard_glyphs
from i2i_core.storage.retry import PATIENCE, StorageError

from ..support.logs import collected
from ..support.runs import assert_equal, config_of, latest, loop_of, prompt, state_of
from ..support.weather import Weather

IMAGES = 240
VALUES = {"training__images": IMAGES, "monitoring__checkpoint_every": 24, "monitoring__log_every": 12}


@pytest.fixture
def far(s3: str, weather: Weather, tmp_path: Path) -> TrainConfig:
    """A run from and to a bucket, in a cache of its own. (The proxy is up and fair.)"""
    shard_glyphs(f"{s3}/data", "labelled", 16, characters=60)
    return config_of("stargan", f"{s3}/data", f"{s3}/runs", data__cache=str(tmp_path / "cache"), **VALUES)


@pytest.fixture(scope="module")
def calm(labelled: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The end of the same run on local files."""
    loop = loop_of(config_of("stargan", labelled, str(tmp_path_factory.mktemp("calm")), **VALUES))
    loop.train()
    return state_of(loop)


@pytest.mark.slow
def test_run_ends_as_on_local_files_whatever_the_weather(
    far: TrainConfig, weather: Weather, calm: dict[str, Any]
) -> None:
    with weather.random_faults(0, 0.2):
        loop = loop_of(far)
        loop.train()
    assert_equal(calm, state_of(loop))


def test_run_waits_for_storage_that_vanishes_and_goes_on(
    far: TrainConfig, weather: Weather, calm: dict[str, Any]
) -> None:
    """It goes in the middle of the run, and comes back once the run has said that it is gone."""

    def then(line: str) -> None:
        if line.startswith("60 / "):
            weather.gone()
        if "does not answer" in line:
            weather.back()

    with collected(then) as said:
        loop = loop_of(far)
        loop.train()
    assert any("does not answer" in line for line in said), said
    assert any("answers again" in line for line in said), said
    assert_equal(calm, state_of(loop))


@pytest.mark.slow
def test_run_ends_where_storage_vanishes_for_good_and_resumes(
    far: TrainConfig, weather: Weather, calm: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATIENCE, "1")

    def then(line: str) -> None:
        if line.startswith("120 / "):
            weather.gone()

    with collected(then), pytest.raises(StorageError, match=r"s3://.* has not answered for 1 s"):
        prompt(loop_of(far)).train()
    weather.back()
    monkeypatch.setenv(PATIENCE, "60")
    loop = loop_of(far)
    assert 0 < loop.progress.images < IMAGES
    loop.train()
    assert latest(loop.run).images == IMAGES
    assert_equal(calm, state_of(loop))
