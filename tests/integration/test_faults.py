"""A run goes on after whatever kills it, and ends as if nothing had happened.

pytest tests/integration/test_faults.py -m slow         tests/chaos.py and tests/nodes.py; on s3:// see test_job.py
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.processes import ROOT, Run, past, strange_lines
from ..support.runs import latest

pytestmark = pytest.mark.ray


def _module(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


@pytest.mark.slow
def test_run_that_is_given_notice_saves_at_once_and_prints_our_lines_alone(labelled: str, tmp_path: Path) -> None:
    """One worker of two is killed, and Ray starts both again. Then SIGTERM: exit code 1, and a checkpoint of where it
    stopped, which is seldom one that was due."""
    run = Run("run", labelled, str(tmp_path), ["--images", "20000", "--checkpoint-every", "400", "--workers", "2"])
    try:
        run.type()
        run.when(past(600))
        assert run.kill("worker", random.Random(0))
        run.when(past(900, "resumed from"))
        assert run.kill("notice", random.Random(0))
        assert run.driver
        assert run.driver.wait(timeout=600) == 1
    finally:
        run.clean()
    stopped = re.search(r"stopped after ([\d,]+) of 20,000 images, as asked\. Everything is saved", run.text())
    assert stopped
    assert "failed:" not in run.text().split("resumed from")[-1]
    assert run.folder.read_json("status.json")["state"] == "stopped"
    assert not strange_lines(run.text()), "every line is one of ours, and comes once"
    assert re.search(r"run WARNING: lost .*worker \d \(", run.text())
    assert latest(run.folder).images == int(stopped[1].replace(",", ""))


@pytest.mark.slow
def test_notice_to_the_whole_process_group_saves_and_says_so(labelled: str, tmp_path: Path) -> None:
    """As `timeout` gives it: Ray's own processes end by it, and still the last words are ours."""
    run = Run("run", labelled, str(tmp_path), ["--images", "20000", "--checkpoint-every", "400", "--workers", "1"])
    try:
        driver = run.type(process_group=0)
        run.when(past(600))
        os.killpg(driver.pid, signal.SIGTERM)
        assert driver.wait(timeout=600) == 1
    finally:
        run.clean()
    assert not strange_lines(run.text())
    assert "the signal reached Ray's own processes too" in run.text()
    stopped = re.search(r"stopped after ([\d,]+) of 20,000 images, as asked\. Everything is saved", run.text())
    assert stopped, run.text()[-3000:]
    assert latest(run.folder).images == int(stopped[1].replace(",", ""))


@pytest.mark.slow
def test_chaos_of_processes_killed_at_random_moments() -> None:
    _module("tests.chaos", "--kills", "6", "--seed", "0")


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["replaced", "elastic", "scaled"])
def test_nodes_that_go_and_come_change_no_weight(scene: str) -> None:
    _module("tests.nodes", scene)
