"""Any number of workers, and any cut into micro-batches, make the same moves.

pytest tests/distributed/test_step.py
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from i2i_core.config.training import TrainingConfig
from i2i_core.errors import NonFiniteError
from i2i_core.methods.base import Progress
from i2i_core.training.step import Step, Wish
from i2i_core.training.sync import World

from ..support.methods import ALONE, SMALL, Case, assert_same, batches, poisoned, run, run_on, small, step_of_case
from ..support.workers import on_workers

FORMS = {
    "stargan on two sets": Case("stargan", hyper={"c_dim": 5, "sizes": (2, 3), "kinds": ("attributes", "classes")}),
    "unit with noise anew": Case("unit", hyper={"g_noise": "own", "kl_of": "code", "n_critic": 2}),
    "wgan's bursts": Case("dcgan", hyper={"burst": 3, "burst_until": 1, "burst_every": 2, "g_noise": "own"}),
    "wgan's program": Case("dcgan", hyper={"adversarial": "wgan", "optimiser": "rmsprop", "clip_at": "before"}),
    "dropout": Case("bicyclegan", hyper={"dropout": 0.5, "image_size": 64}),
}
"""Updates that take another course than their method's usual one."""
if importlib.util.find_spec("efficientnet_lite_pytorch"):  # not on a machine with torch and nothing else
    SEES = {"lambda_perceptual": 5.0, "perceptual": "efficientnet_lite0", "image_size": 32}
    FORMS["unit with a perceptual term"] = Case("unit", hyper=SEES)
    FORMS["feature_gan with its term"] = Case("feature_gan", hyper={**SEES, "perceptual_size": 48})
CASES = [
    case
    for method in SMALL
    for case in (
        Case(method, training={"ema_halflife": 20, "clip_grad": 0.5}),
        Case(method, training={"micro_batch": 2}),
        Case(method, fast=("channels_last", "passes")),
    )
] + [
    Case("cyclegan", hyper={"adversarial": "wgan-gp", "n_critic": 2}),
    Case("bicyclegan", hyper={"adversarial": "wgan", "optimiser": "rmsprop", "clip": 0.05}),
    Case("pix2pix", hyper={"matching_aware": True, "adversarial": "hinge", "n_critic": 2}),
    *FORMS.values(),
    Case("stargan", hyper={"image_size": (16, 32)}),
    Case("bicyclegan", hyper={"image_size": (32, 16)}),
    Case("pix2pix", hyper={"image_size": 32, "norm": "batch", "dropout": 0.5}, training={"batch_norm": "global"}),
    Case("dcgan", hyper={"g_norm": "batch", "d_norm": "batch"}, training={"batch_norm": "global"}),
    Case("dcgan", hyper={"g_norm": "batch", "d_norm": "batch", "kernel": 5}, training={"batch_norm": "global"}),
]


@pytest.fixture(scope="module")
def one() -> list[dict[str, Tensor]]:
    return [run(case) for case in CASES]


@pytest.mark.processes
@pytest.mark.parametrize("size", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_step_of_several_workers_agrees_with_one_process(size: int, one: list[dict[str, Tensor]]) -> None:
    """A global batch of 7 over 2 (4 + 3) and 3 (3 + 2 + 2) workers: every rank's weights, penalty included."""
    for results in run_on(size, CASES):
        for alone, together in zip(one, results, strict=True):
            assert_same(alone, together)


def test_fast_options_change_the_order_of_sums_alone(one: list[dict[str, Tensor]]) -> None:
    for case, found in zip(CASES, one, strict=True):
        if case.fast:
            assert_same(run(replace(case, fast=())), found)


@pytest.mark.processes
@pytest.mark.parametrize("options", [("bf16_sums",), ("bf16", "channels_last", "bf16_sums")])
def test_gradient_sum_in_bf16_moves_all_workers_alike(options: tuple[str, ...]) -> None:
    """Rounded alike everywhere: the workers have the same weights, bit for bit, near those of sums in float32."""
    cases = [Case(name, dtype=torch.float32, updates=2, fast=options) for name in ("stargan", "pix2pix")]
    as_they_are = [replace(case, fast=options[:-1]) for case in cases]
    (*ours, apart, other), (*theirs, _, _) = run_on(2, cases + as_they_are)
    for case, first, second, exact in zip(cases, ours, theirs, (apart, other), strict=True):
        assert any(not torch.equal(first[name], exact[name]) for name in first), "nothing was rounded"
        alone = run(replace(case, fast=()))
        for name in alone:
            assert torch.equal(first[name], second[name]), name
            assert name.partition("/")[2] or torch.allclose(first[name], alone[name], atol=3e-3), name


@pytest.mark.slow
@pytest.mark.processes
def test_gradient_sum_in_kilobyte_buckets_equals_25_megabytes_with_every_option() -> None:
    cases = [
        Case(name, bucket_bytes=size, fast=("channels_last", "passes")) for name in SMALL for size in (1024, 25 << 20)
    ]
    for results in run_on(2, cases):
        for small_buckets, large in zip(results[::2], results[1::2], strict=True):
            assert_same(small_buckets, large)


WITH_HISTORY = [name for name in SMALL if small(Case(name)).pools]


@pytest.mark.slow
@pytest.mark.processes
def test_histories_and_terms_go_on_when_the_number_of_workers_changes(tmp_path: Path) -> None:
    """Three updates on 2 workers, then three on 2, on 3 and on 1: as six by one process, terms included."""
    first = [Case(name, save=str(tmp_path / f"{name}.pt")) for name in WITH_HISTORY]
    then = [Case(name, resume=str(tmp_path / f"{name}.pt")) for name in WITH_HISTORY]
    run_on(2, first)
    assert {"cyclegan", "simgan"} <= set(WITH_HISTORY)
    whole = [run(Case(name, updates=6)) for name in WITH_HISTORY]
    assert any("loss" in name for name in whole[0])
    for results in [*run_on(3, then), *run_on(2, then), [run(case) for case in then]]:
        for alone, resumed in zip(whole, results, strict=True):
            assert_same(alone, resumed)


@pytest.mark.parametrize("method", SMALL)
def test_step_accumulates_uneven_parts_as_the_whole_batch(method: str) -> None:
    whole = run(Case(method))
    for most in (1, 3, 4):  # 7 = 1+1+1+1+1+1+1 = 3+3+1 = 4+3
        assert_same(whole, run(Case(method, training={"micro_batch": most})))


@pytest.mark.parametrize("form", FORMS)
def test_step_accumulates_every_form_of_an_update(form: str) -> None:
    whole = run(FORMS[form])
    for most in (1, 3, 4):
        assert_same(whole, run(replace(FORMS[form], training={"micro_batch": most})))


@pytest.mark.parametrize("form", FORMS)
def test_step_goes_on_from_a_saved_state_in_every_form_of_an_update(form: str, tmp_path: Path) -> None:
    """Two updates, then two by another step from what it saved: bit for bit as four."""
    file, whole = str(tmp_path / "state.pt"), run(replace(FORMS[form], updates=4))
    run(replace(FORMS[form], updates=2, save=file))
    resumed = run(replace(FORMS[form], updates=2, resume=file))
    assert whole.keys() == resumed.keys()
    for name in whole:
        assert torch.equal(whole[name], resumed[name]), name


@pytest.mark.parametrize("method", SMALL)
def test_step_moves_every_player(method: str) -> None:
    before, after = run(Case(method, updates=0)), run(Case(method))
    for name in before:
        if name.endswith("weight"):
            assert not torch.equal(before[name], after[name]), f"{name} did not move"


ASKING = [
    Case("stargan"),  # two moves of D before one of G
    Case("cyclegan", training={"micro_batch": 2}),
    Case("simgan"),  # the players that move differ from update to update
    Case("pix2pix", dtype=torch.float32),
    Case("pix2pix", dtype=torch.float32, fast=("bf16_sums",)),
]
ASKED: dict[int, list[tuple[int, Wish]]] = {
    1: [(1, "save")],
    3: [(0, "save"), (1, "save")],
    5: [(0, "stop"), (1, "save")],
}
"""Before which update, which rank is asked for what."""
HEARD = [None, None, "save", None, "save", None, "stop", None]


def asked(case: Case, world: World) -> list[Wish | None]:
    """What this worker hears after each of eight updates."""
    method = small(case)
    step, progress = step_of_case(method, case, world), Progress()
    feed, heard = batches(method, case, world), []
    for update in range(8):
        for rank, what in ASKED.get(update, []):
            if rank % world.size == world.rank:
                step.ask(what)
        step(feed, progress)
        heard.append(step.asked)
    return heard


def asked_in_a_bad_update(world: World) -> float:
    """What is read of the wishes of an update whose first move is suppressed."""
    case = Case("cyclegan")
    method = small(case)
    if world.rank == world.size - 1:
        poisoned(method, "generators", at=0)
    step, feed = Step(method, TrainingConfig(), world, lambda images: 1.0), batches(method, case, world)
    step.ask("save")
    step(feed, Progress())
    with pytest.raises(NonFiniteError):
        step.watch.settle()
    return step.watch.take()


def asking(world: World) -> tuple[list[list[Wish | None]], float]:
    return [asked(case, world) for case in ASKING], asked_in_a_bad_update(world)


@pytest.mark.processes
def test_wish_of_one_worker_reaches_all_after_the_same_update() -> None:
    for heard, bad in on_workers(2, asking):
        assert heard == [HEARD] * len(ASKING)
        assert bad == 2


@pytest.mark.parametrize("case", ASKING, ids=lambda case: case.method)
def test_wish_of_a_single_worker_is_heard(case: Case) -> None:
    assert asked(case, ALONE) == HEARD
    assert asked_in_a_bad_update(ALONE) == 1


def test_wish_read_before_a_checkpoint_is_heard_after_it() -> None:
    case = Case("stargan")
    method = small(case)
    step, feed = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), batches(method, case, ALONE)
    step.ask("stop")
    step(feed, Progress())
    step.watch.settle()
    assert step.asked is None
    step(feed, Progress())
    assert step.asked == "stop"
    step(feed, Progress())
    assert step.asked is None, "a wish is told once"


def test_world_of_one_needs_no_process_group() -> None:
    assert not torch.distributed.is_initialized()
    assert World().sum_(torch.ones(1)).item() == 1
