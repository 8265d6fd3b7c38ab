"""What a run says of its progress, and how busy its machine is.

pytest tests/unit/test_progress.py
"""

from __future__ import annotations

import time

import pytest
import torch

from i2i_core.training.monitoring.monitor import Pace
from i2i_core.training.monitoring.trackers import progress_line
from i2i_core.training.monitoring.utilisation import CPU, GPU, Utilisation


def test_progress_line_has_rate_and_time_left() -> None:
    line = progress_line(12_800, 100_000, 512, 0.01, {"D/loss": -3.21, "D/real": 1, "G/loss": 12.3})
    assert line == "12,800 / 100,000 images | 512 images/s | 2:50 left | data wait 1% | D/loss -3.21 G/loss 12.3"
    assert "| 4:15 left |" in progress_line(12_800, 100_000, 512, 0.0, {}, pauses=0.5), "half as long again for pauses"
    assert "| 0:00 left |" in progress_line(100_000, 100_000, 512, 0.0, {}, pauses=0.5)
    frames = progress_line(10, 20, 5, 0.0, {}, frames=3)
    assert frames.startswith("10 / 20 sequences of 3 frames | 5 sequences/s, 15 frames/s | 0:02 left")


def test_pace_leaves_out_the_first_log() -> None:
    pace = Pace()
    pace.add(10, 50)
    assert pace.pauses == 0
    pace.add(10, 5)
    pace.add(10, 0)
    assert pace.pauses == 0.25


def test_utilisation_counts_the_cores_that_this_process_keeps_busy() -> None:
    utilisation = Utilisation(torch.device("cpu"), says=True)
    began = time.process_time()
    while time.process_time() - began < 0.05:
        pass
    found = utilisation.read()
    assert set(found) == {CPU}
    assert found[CPU] > 0


def test_utilisation_of_a_gpu_without_nvml_is_said_once(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(device: torch.device) -> int:
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")

    monkeypatch.setattr(torch.cuda, "utilization", absent)
    utilisation = Utilisation(torch.device("cuda"), says=True)
    assert [utilisation.read()[GPU] for _ in range(2)] == [0, 0]
    (line,) = said
    assert line.startswith("GPU utilisation is not shown (nvidia-ml-py does not seem to be installed)")
