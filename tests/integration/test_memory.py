"""A worker that runs out of memory ends the whole run, once, with a message that says what would fit.

pytest tests/integration/test_memory.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from i2i_core.runs.folder import RunFolder

from ..support.data import ROOT


@pytest.mark.ray
@pytest.mark.slow
def test_memory_that_a_second_worker_lacks_ends_a_run_with_one_message(paired: str, tmp_path: Path) -> None:
    """Rank 1 alone asks for 2^60 bytes, in the second update; rank 0 waits for its gradients by then."""
    command = [sys.executable, "pipelines/train.py", "--method", "hungry:HungryGAN", "--preset", "small", "--cpu"]
    command += ["--data", paired, "--storage", str(tmp_path), "--name", "run", "--workers", "2", "--loaders", "0"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests/support/outside")])
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert said.count("an update of 4 samples of 16 px (this worker's of --batch 8), which asked for 1.00 EiB") == 1
    assert "Give --micro-batch 2; or more --workers" in said
    status = RunFolder(f"{tmp_path}/run").status()
    assert status["state"] == "failed"
    assert status["error"].startswith("memory: found an update of 4 samples")
