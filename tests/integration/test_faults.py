"""A run goes on after whatever kills it, on object storage as well, and ends as if nothing had happened.

pytest tests/integration/test_faults.py                 one run on s3://, killed and gone on with
pytest tests/integration/test_faults.py -m slow         the long forms: tests/chaos.py and tests/nodes.py
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from i2i_core.config import TrainConfig
from i2i_core.data.manifest import DataSet
from i2i_core.orchestration.sharding import shard_glyphs
from i2i_core.orchestration.translation import TranslateOptions, translate
from i2i_core.orchestration.worker import train
from i2i_core.storage import Folder
from i2i_core.training import checkpoint
from i2i_core.training.sync import World

from ..chaos import ROOT, Run, differences, past, state_of

IMAGES, EVERY = 960, 160  # epochs are of 216


def _undisturbed(rank: int, config: str, meet: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=2)
    train(TrainConfig.loads(config, "the test"), World(rank, 2), torch.device("cpu"))
    dist.destroy_process_group()


def test_shard_train_kill_resume_translate_all_on_s3(s3: str, tmp_path: Path) -> None:
    """All processes are killed at once. Ends as two processes do without Ray, on local files."""
    for place in (f"{s3}/data", str(tmp_path / "data")):
        shard_glyphs(place, "labelled", 16, characters=20)
    flags = ["--images", str(IMAGES), "--checkpoint-every", str(EVERY), "--workers", "2", "--loaders", "1"]
    flags += ["--log-every", "40"]
    run = Run("run", f"{s3}/data", f"{s3}/runs", [*flags, "--cache", str(tmp_path / "cache"), "--patience", "60"])
    try:
        run.type()
        run.when(lambda text: past(EVERY + 80)(text) and bool(checkpoint.complete(run.folder)))
        assert run.kill("everything", random.Random(0))
        assert run.driver
        run.driver.wait(timeout=60)
        assert run.type().wait(timeout=200) == 0, run.text()
    finally:
        run.clean()
    assert run.text().count("resumed from") == 1
    assert not any(secret in run.text() for secret in ("testsecret", "AWS_SECRET"))

    config = checkpoint.read_config(run.folder).with_section("data", uri=str(tmp_path / "data"), loaders=0)
    config = config.with_section("launch", storage=str(tmp_path / "runs"))
    mp.spawn(_undisturbed, (config.dumps(), str(tmp_path / "meet")), nprocs=2)
    assert not differences(state_of(Folder(str(tmp_path / "runs/run"))), state_of(run.folder))

    options = TranslateOptions(input=f"{s3}/data", split="test", out=f"{s3}/out", target="+bold", cpu=True)
    outcome = translate(run.folder.url, options)
    made = Folder(f"{s3}/out").names()
    assert outcome.written == DataSet(f"{s3}/data").shard_set("test").samples == len(made) - 1
    assert "contact_sheet.png" in made


def _module(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


@pytest.mark.slow
def test_a_run_that_is_given_notice_saves_at_once(labelled: str, tmp_path: Path) -> None:
    """One worker of two is killed, and Ray starts both again. Then SIGTERM: exit code 1, and a checkpoint between two
    that were due."""
    run = Run("run", labelled, str(tmp_path), ["--images", "20000", "--checkpoint-every", "400", "--workers", "2"])
    try:
        run.type()
        run.when(past(600))
        assert run.kill("worker", random.Random(0))
        run.when(past(900, "resumed from"))
        assert run.kill("notice", random.Random(0))
        assert run.driver
        assert run.driver.wait(timeout=60) == 1
    finally:
        run.clean()
    assert "as asked. Everything is saved" in run.text()
    assert checkpoint.images_of(str(checkpoint.latest(run.folder))) % 400


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_killed_at_random_moments() -> None:
    _module("tests.chaos", "--kills", "6", "--seed", "0")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("scene", ["lost", "drained", "elastic", "scaled"])
def test_nodes_that_go_and_come(scene: str) -> None:
    _module("tests.nodes", scene)
