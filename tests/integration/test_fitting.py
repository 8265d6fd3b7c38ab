"""`--batch auto` on Ray: a run and a sweep have a number, and keep it.

pytest tests/integration/test_fitting.py
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from i2i_core.config.run import TrainConfig
from i2i_core.config.sweep import SweepConfig
from i2i_core.orchestration import fitting
from i2i_core.orchestration.fitting import with_number
from i2i_core.orchestration.sweep import SWEEP, plan
from i2i_core.runs.folder import RunFolder
from i2i_core.training.preparing import prepare

from ..support.data import ROOT

SMALL = {"hyper.image_size": 16, "hyper.g_base": 4, "hyper.d_base": 4, "hyper.receptive_field": 16}


def config(uri: str, storage: str, **values: Any) -> TrainConfig:
    given = {"data.uri": uri, "launch.storage": storage, "launch.workers": "2:3", "training.batch": "auto", **values}
    return TrainConfig.of("pix2pix", "demo", {**SMALL, **given})


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the next measurement find so many."""
    return lambda found: monkeypatch.setattr(fitting, "_measured", lambda *args, **kwargs: found)


def test_auto_batch_of_a_run_stays_what_it_began_with(
    paired: str, storage: str, measured: Callable[[int], None]
) -> None:
    """Whatever fits later; and its name is that of the same command."""
    measured(12)
    first = prepare(with_number(config(paired, storage)))
    assert first.training.batch == 12
    measured(20)
    fresh = with_number(config(paired, storage))
    assert (fresh.training.batch, fresh.run_name) == (20, first.run_name)
    RunFolder.of(first).write(RunFolder.CONFIG, first.dumps().encode())
    again = prepare(with_number(config(paired, storage)))
    assert again == first
    named = with_number(config(paired, storage, **{"launch.name": "other"}))
    assert (named.training.batch, named.run_name) == (20, "other")


def test_auto_batch_of_a_sweep_stays_what_it_began_with(
    paired: str, storage: str, measured: Callable[[int], None]
) -> None:
    base = config(paired, storage, **{"monitoring.evaluate_every": 100, "training.images": 1000})
    measured(12)
    first = plan(with_number(base, "sweep-", SWEEP), SweepConfig())
    assert first.base.training.batch == 12
    assert Path(first.folder.root).name.startswith("sweep-pix2pix-demo-")
    first.folder.write_json(SWEEP, first.saved)
    measured(20)
    again = plan(with_number(base, "sweep-", SWEEP), SweepConfig())
    assert (again.saved, again.folder.url) == (first.saved, first.folder.url)


def test_with_number_gives_a_configuration_with_a_number_back(paired: str, storage: str) -> None:
    given = config(paired, storage, **{"training.batch": 4})
    assert with_number(given) is given


def typed(program: str, *flags: str) -> str:
    """What a command of `pipelines/` says, of the small method with `--batch auto`."""
    small = [f"--{name.partition('.')[2].replace('_', '-')}={value}" for name, value in SMALL.items()]
    command = [sys.executable, f"pipelines/{program}.py", "--method", "pix2pix", "--preset", "demo", *small]
    command += ["--cpu", "--loaders", "0", "--batch", "auto", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.ray
def test_auto_batch_of_a_sweep_is_found_before_its_trials(paired: str, tmp_path: Path) -> None:
    said = typed("tune", "--data", paired, "--storage", str(tmp_path), "--evaluate-every", "100", "--dry-run")
    assert "--batch auto: 256, 256 for each of 1 workers (an estimate, by what two small updates keep" in said
    assert "hyper.lambda_l1:" in said


@pytest.mark.slow
@pytest.mark.ray
def test_auto_batch_of_two_workers_is_what_fits(paired: str, tmp_path: Path) -> None:
    """An epoch has 648 samples, so that each of two workers may have the most that is tried, 256."""
    command = ["train", "--data", paired, "--storage", str(tmp_path), "--workers", "2", "--grid-every", "0"]
    command += ["--images", "1024", "--evaluate-samples", "16"]
    said = typed(*command)
    found = re.search(
        r"--batch auto: (\d+), (\d+) for each of 2 workers \(an estimate, by what two small updates", said
    )
    assert found, said
    assert found.groups() == ("512", "256")
    (run,) = tmp_path.iterdir()
    assert json.loads((run / "config.json").read_text())["training"]["batch"] == 512
    assert "batches of 512 over 2 workers" in said
    said = typed(*command)
    assert f"--batch auto: 512, which {run.name} began with" in said
    assert "finished before, after 1,024 images" in said
