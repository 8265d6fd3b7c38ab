"""Any number of workers, and any cut into micro-batches, make the same moves.

pytest tests/distributed/test_step.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from i2i_core.training.sync import World

from .harness import SMALL, Case, run, run_on, small

CASES = [
    case
    for method in SMALL
    for case in (
        Case(method, training={"ema_halflife": 20, "clip_grad": 0.5}),
        Case(method, training={"micro_batch": 2}),
    )
] + [
    Case("cyclegan", hyper={"adversarial": "wgan-gp", "n_critic": 2}),
    Case("bicyclegan", hyper={"adversarial": "wgan", "optimiser": "rmsprop", "clip": 0.05}),
    Case("stargan", hyper={"c_dim": 5, "sizes": (2, 3), "kinds": ("attributes", "classes")}),
    Case("pix2pix", hyper={"matching_aware": True, "adversarial": "hinge", "n_critic": 2}),
]


@pytest.fixture(scope="module")
def one() -> list[dict[str, Tensor]]:
    return [run(case) for case in CASES]


def assert_same(mine: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert mine.keys() == other.keys()
    for name in mine:
        tolerance = 1e-8 if mine[name].dim() else 1e-5  # means of terms are kept in float32
        error = (other[name] - mine[name]).abs().max()
        assert error <= tolerance * max(1.0, mine[name].abs().max()), f"{name}: {error}"


@pytest.mark.parametrize("size", [2, 3])
def test_workers_agree_with_one_process(size: int, one: list[dict[str, Tensor]], tmp_path: Path) -> None:
    """A global batch of 7 over 2 (4 + 3) and 3 (3 + 2 + 2) workers: every rank's weights, penalty included."""
    for results in run_on(size, CASES, tmp_path):
        for alone, together in zip(one, results, strict=True):
            assert_same(alone, together)


WITH_HISTORY = [name for name in SMALL if small(Case(name)).pools]


def test_histories_move_with_their_slots_when_the_number_of_workers_changes(tmp_path: Path) -> None:
    """Three updates on 2 workers, then three on 3 and on 1: as six by one process."""
    first = [Case(name, save=str(tmp_path / f"{name}.pt")) for name in WITH_HISTORY]
    then = [Case(name, resume=str(tmp_path / f"{name}.pt")) for name in WITH_HISTORY]
    run_on(2, first, tmp_path)
    assert {"cyclegan", "simgan"} <= set(WITH_HISTORY)
    whole = [weights(run(Case(name, updates=6))) for name in WITH_HISTORY]
    for results in [*run_on(3, then, tmp_path), [run(case) for case in then]]:
        for alone, resumed in zip(whole, results, strict=True):
            assert_same(alone, weights(resumed))


def weights(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the mean terms, which cover the updates since the start."""
    return {name: tensor for name, tensor in found.items() if tensor.dim()}


@pytest.mark.parametrize("method", SMALL)
def test_accumulation_over_uneven_parts_equals_the_whole_batch(method: str) -> None:
    whole = run(Case(method))
    for most in (1, 3, 4):  # 7 = 1+1+1+1+1+1+1 = 3+3+1 = 4+3
        assert_same(whole, run(Case(method, training={"micro_batch": most})))


@pytest.mark.parametrize("method", SMALL)
def test_updates_move_every_player(method: str) -> None:
    before, after = run(Case(method, updates=0)), run(Case(method))
    for name in before:
        if name.endswith("weight"):
            assert not torch.equal(before[name], after[name]), f"{name} did not move"


def test_one_worker_needs_no_process_group() -> None:
    assert not torch.distributed.is_initialized()
    assert World().sum_(torch.ones(1)).item() == 1
