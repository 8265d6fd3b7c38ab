"""What the bench of the step measures on a GPU alone: `pytest -m gpu`. Needs torch alone."""

from __future__ import annotations

import pytest
import torch

from ..bench import bare
from ..bench.bare import Bare, Case, Effort, Fast

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
CASE = Case("pix2pix", "demo", 8)
QUICK = Effort(rounds=2, seconds=0.0, warm_up=2)


def test_peak_memory_leaves_out_what_was_there_before() -> None:
    alone = bare.compare(CASE, "off", "cuda", QUICK)["plain"]["peak_bytes"]
    kept = torch.empty(2**28, dtype=torch.uint8, device="cuda")
    beside = bare.compare(CASE, "channels_last", "cuda", QUICK)
    held = sum(p.numel() * 3 * 4 for p in Bare.of(CASE, Fast(), "cuda").step.method.parameters())  # Adam has two more
    for side in ("plain", "fast"):
        assert held < beside[side]["peak_bytes"] < alone + kept.numel() / 2


def test_seconds_by_player_are_read_from_the_device() -> None:
    found = bare.compare(CASE, "off", "cuda", QUICK)["plain"]
    assert found["seconds_by_player"].keys() == {"G", "D"}
    assert all(seconds > 0 for seconds in found["seconds_by_player"].values())


def test_largest_batch_ends_by_memory() -> None:
    bare.free()
    held = torch.cuda.memory_reserved() + 2**29
    torch.cuda.set_per_process_memory_fraction(held / torch.cuda.get_device_properties(0).total_memory)
    try:
        found = bare.largest(CASE, "cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert found["ended_by"] == "memory"
    assert found["batch"] >= CASE.batch
