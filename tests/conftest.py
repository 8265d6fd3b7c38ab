"""Tests run on one torch thread: they are small, and threads of several processes would fight for two cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from i2i_core.orchestration.sharding import shard_glyphs

os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A labelled data set: 60 characters in twelve styles, 16 px, grey."""
    out = str(tmp_path_factory.mktemp("data") / "labelled")
    shard_glyphs(out, "labelled", 16, characters=60)
    return out


@pytest.fixture(scope="session")
def paired(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A paired data set: outline and filled glyphs of 60 characters, 16 px, colour."""
    out = str(tmp_path_factory.mktemp("data") / "paired")
    shard_glyphs(out, "paired", 16, characters=60)
    return out


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return str(tmp_path / "runs")
