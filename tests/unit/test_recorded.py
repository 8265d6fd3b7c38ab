"""Recorded updates equal those that are made as they are written. On a GPU: tests/gpu."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.errors import NonFiniteError
from i2i_core.methods.base import Method, Move, Progress
from i2i_core.training.graphs import EAGER

from ..support.methods import ALONE, SMALL, Case, batches
from ..support.recorded import go, launched, same, state_of, stepping
from ..support.tape import Tape

EVERYTHING = {"ema_halflife": 20, "clip_grad": 1.0}


@pytest.mark.parametrize("name", SMALL)
def test_recorded_updates_equal_written_ones_bit_for_bit(name: str) -> None:
    """Weights, moments, histories, averages, draws, a learning rate that falls, and the logs' terms."""
    case = Case(name, batch=3, training=EVERYTHING)
    written, recorded = stepping(case, None), stepping(case, Tape)
    before, after = Progress(), Progress()
    terms, own = go(written, case, before, 10), go(recorded, case, after, 10)
    assert launched(recorded)
    expected, found = state_of(written, before), state_of(recorded, after)
    assert not [key for key in expected if not same(found[key], expected[key])]
    assert same(own, terms)


FORMS = {
    "dropout": Case("bicyclegan", hyper={"dropout": 0.5, "image_size": 64}, batch=2),
    "phases": Case("simgan", hyper={"warmup_r": 5, "warmup_d": 5}, batch=2),
    "other options": Case("unit", batch=2, fast=("channels_last", "passes")),
}
LONG_FORMS = {
    "micro-batches": Case("cyclegan", batch=3, training={"micro_batch": 2}),
    "two data sets": Case("stargan", hyper={"c_dim": 5, "sizes": (2, 3), "kinds": ("attributes", "classes")}, batch=2),
    "fresh batches": Case("cyclegan", hyper={"adversarial": "wgan-gp", "n_critic": 2}, batch=2),
}


@pytest.mark.parametrize(
    "case",
    [*FORMS.values(), *(pytest.param(case, marks=pytest.mark.slow) for case in LONG_FORMS.values())],
    ids=[*FORMS, *LONG_FORMS],
)
def test_recorded_covers_every_form_of_an_update(case: Case) -> None:
    written, recorded = stepping(case, None), stepping(case, Tape)
    before, after = Progress(), Progress()
    terms, own = go(written, case, before, 18), go(recorded, case, after, 18)
    assert launched(recorded)
    expected, found = state_of(written, before), state_of(recorded, after)
    assert not [key for key in expected if not same(found[key], expected[key])]
    assert same(own, terms)


def test_recorded_state_is_taken_up_by_a_written_run() -> None:
    case = Case("cyclegan", batch=2)
    whole, first, second = stepping(case, Tape), stepping(case, Tape), stepping(case, Tape)
    through, before = Progress(), Progress()
    go(whole, case, through, 14)
    go(first, case, before, 7)
    second.method.load_state_dict(copy.deepcopy(first.method.state_dict()))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.load_pools(first.pools(), (0, 2))
    after = Progress(before.images, dict(before.moves))
    go(second, case, after, 7)
    assert launched(second)
    expected, found = state_of(whole, through), state_of(second, after)
    assert not [key for key in expected if not same(found[key], expected[key])]


def test_recorded_writes_out_a_batch_of_another_shape() -> None:
    case = Case("pix2pix", batch=3)
    ends = []
    for recorder in (None, Tape):
        step, progress = stepping(case, recorder), Progress()
        whole = batches(step.method, case, ALONE)
        feed = (batch._cut(0, 2) if batch.images == 18 else batch for batch in whole)
        for _ in range(9):
            step(feed, progress)
        step.watch.settle()
        ends.append(state_of(step, progress))
    assert not [key for key in ends[0] if not same(ends[1][key], ends[0][key])]


class Counting:
    """A method's update that counts how often Python runs it."""

    def __init__(self, method: Method[object]) -> None:
        self.update, self.runs, self.reads = method.update, 0, False
        method.update = self  # type: ignore[method-assign, assignment]

    def __call__(self, feed: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        self.runs += 1
        return self.update(feed, Progress(progress.images) if self.reads else progress)


def test_recorded_update_runs_no_python_of_the_method() -> None:
    case = Case("pix2pix", batch=2)
    step, progress = stepping(case, Tape), Progress()
    counting = Counting(step.method)
    for _ in range(20):
        step(batches(step.method, case, ALONE, progress.images // 2), progress)
    assert counting.runs == EAGER + 1
    step.read_terms()
    step(batches(step.method, case, ALONE), progress)
    assert counting.runs == EAGER + 2, "after a log, the terms' influence is found"


def test_recorded_refuses_an_update_that_reads_the_progress(caplog: pytest.LogCaptureFixture) -> None:
    case = Case("pix2pix", batch=2)
    step, progress = stepping(case, Tape), Progress()
    Counting(step.method).reads = True
    with caplog.at_level("INFO"):
        go(step, case, progress, 8)
    assert not launched(step)
    assert "no CUDA graphs: its update reads progress.images, and the method has no `phase`" in caplog.text


@pytest.mark.parametrize("in_turn", [True, False], ids=["in turn", "in one update"])
def test_recorded_logs_are_right_where_terms_change_their_names(in_turn: bool) -> None:
    """R moves by two objectives, in turn or one after the other in every update."""
    case = Case("simgan", batch=2)

    def logged(recorder: type[Tape] | None) -> Tensor:
        step, progress = stepping(case, recorder), Progress()
        method: Any = step.method

        def update(feed: Iterator[Batch], told: Progress) -> Iterator[Move]:
            x, first = next(feed)["a"], told.moves.get("R", 0) % 2 == 0
            if first or not in_turn:
                yield "R", *method.regularisation(x)
            if not first or not in_turn:
                yield "R", *method.refiner_loss(x)

        method.update, method.phase = update, lambda told: told.moves.get("R", 0) % 2 * in_turn
        feed = batches(method, case, ALONE)
        for _ in range(12):
            step(feed, progress)
        return step.read_terms()[1]

    assert torch.equal(logged(Tape), logged(None))


class Failing(Tape):
    def record(self, work: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")


def test_recorded_goes_on_as_written_where_a_recording_fails(caplog: pytest.LogCaptureFixture) -> None:
    case = Case("cyclegan", batch=2)
    written, failing = stepping(case, None), stepping(case, Failing)
    before, after = Progress(), Progress()
    go(written, case, before, 8)
    go(failing, case, after, 8)
    assert "an update cannot be recorded: operation not permitted" in caplog.text
    expected, found = state_of(written, before), state_of(failing, after)
    assert not [key for key in expected if not same(found[key], expected[key])]


def test_recorded_updates_hear_wishes() -> None:
    case = Case("pix2pix", batch=2)
    step, progress = stepping(case, Tape), Progress()
    heard, feed = [], batches(step.method, case, ALONE)
    for number in range(12):
        if number in (EAGER, 8):  # of the update that is recorded, and of one that is launched
            step.ask("save")
        if number == 10:
            step.ask("stop")
        step(feed, progress)
        heard.append(step.asked)
    assert [number for number, asked in enumerate(heard) if asked == "save"] == [EAGER + 1, 9]
    assert heard[11] == "stop"


def test_recorded_move_that_is_not_finite_is_suppressed_and_named() -> None:
    case = Case("pix2pix", batch=2)
    step, progress = stepping(case, Tape), Progress()
    feed = batches(step.method, case, ALONE)
    for _ in range(8):
        step(feed, progress)
    weights = {name: p.clone() for name, p in step.method.named_parameters()}
    broken = next(feed)
    broken.fields["b"][:] = float("nan")
    with pytest.raises(NonFiniteError, match=r"player D after 16 images: term real = nan on worker 0"):
        for batch in chain([broken], feed):
            step(iter([batch]), progress)
    for name, p in step.method.named_parameters():
        assert torch.equal(p, weights[name]), name


def test_recording_keeps_no_number_of_the_first_update() -> None:
    """Two recordings of one run, begun at other updates, make the same of a later one."""
    case = Case("unit", batch=1)
    ends: list[dict[str, Tensor]] = []
    for beginning in (EAGER + 1, EAGER + 3):
        step, progress = stepping(replace(case, batch=1), Tape), Progress()
        feed = batches(step.method, case, ALONE)
        assert step.recorded is not None
        step.recorded.eager = {(0, tuple(step.movers), ()): EAGER - beginning}
        for _ in range(10):
            step(feed, progress)
        assert launched(step)
        ends.append(dict(step.method.networks.state_dict()))
    assert same(*ends)
