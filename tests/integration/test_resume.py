"""Interrupted and resumed equals uninterrupted, bit for bit; and what a resumed run refuses.

pytest tests/integration/test_resume.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch

from i2i_core.batch import Batch
from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.run import TrainConfig
from i2i_core.data.reading import order
from i2i_core.errors import CheckpointError, ConfigError, ResourceError, Stopped
from i2i_core.methods import METHODS
from i2i_core.randomness import seed_from
from i2i_core.runs.folder import RunFolder, images_of, name_at
from i2i_core.training.loop import Loop, Through
from i2i_core.training.preparing import check_same_run
from i2i_core.training.step import Wish
from i2i_core.training.sync import World

from ..support import processes
from ..support.methods import SMALL
from ..support.processes import ROOT, differences
from ..support.runs import (
    assert_equal,
    compare_resumed,
    config_of,
    cut_after,
    latest,
    loop_of,
    prompt,
    run_until,
    state_of,
)
from ..support.workers import on_workers

KINDS = {name: METHODS[name].method.needs.kind for name in SMALL}
"""Every method, and the fixture with the data it reads."""


@pytest.mark.parametrize("what", ["save", "stop"])
def test_last_checkpoint_holds_what_comes_after_the_last_update(what: Wish, labelled: str, storage: str) -> None:
    """Also where that was asked for before."""
    whole = loop_of(config_of("stargan", labelled, f"{storage}/whole"))
    whole.train()
    config = config_of("stargan", labelled, f"{storage}/asked")
    loop = loop_of(config)
    if what == "stop":
        with pytest.raises(Stopped, match="after 96 of 96 images"):
            loop.train(asking(loop, 72, what))
        loop_of(config).train()
    else:
        loop.train(asking(loop, 72, what))
    last, other = (latest(each.run).state() for each in (loop, whole))
    assert [entry["images"] for entry in last["evaluations"]] == [96]
    assert last["evaluations"] == other["evaluations"]
    assert last["diagnosis"] == other["diagnosis"]


@pytest.mark.parametrize("method", ["pix2pix", "simgan"])
def test_resume_equals_uninterrupted(
    method: str, storage: str, request: pytest.FixtureRequest, said: list[str]
) -> None:
    """A run that died in the middle of an update goes on from the checkpoint before it."""
    data = request.getfixturevalue(KINDS[method])
    whole = loop_of(config_of(method, data, f"{storage}/whole", training__lr_schedule="linear"))
    whole.train()
    config = config_of(method, data, f"{storage}/cut", training__lr_schedule="linear")
    run_until(config, 60)
    said.clear()
    resumed = loop_of(config)
    assert 0 < resumed.progress.images < 60, said
    resumed.train()
    assert_equal(state_of(whole), state_of(resumed))


UPDATES = 5
PER_UPDATE = {"stargan": 12, "bicyclegan": 12, "simgan": 18}
"""Images of an update in batches; of other methods 6."""


def with_everything_between(method: str) -> dict[str, Any]:
    """A short run with a checkpoint after every update, and logs, grids and evaluations after some."""
    update = PER_UPDATE.get(method, 6)
    log_every = 12 if method == "simgan" else 2 * update  # R has moved in its warm-up, and D alone moves next
    return {
        "training__images": UPDATES * update, "training__lr_schedule": "linear",
        "monitoring__checkpoint_every": 1, "monitoring__keep_last": 99, "monitoring__log_every": log_every,
        "monitoring__grid_every": 3 * update, "monitoring__grid_rows": 3,
        "monitoring__evaluate_every": 4 * update, "monitoring__evaluate_samples": 6,
    }  # fmt: skip


def resumed_from_each(method: str, data: str, storage: str, world: World) -> int:
    """Compares runs resumed from every checkpoint with the run left alone; how many."""
    over = with_everything_between(method)
    whole, starts = compare_resumed(lambda at: config_of(method, data, at, **over), storage, world)
    filled = {name: held for name, held in whole.get(max(whole, default=0), {}).items() if name.endswith(".filled")}
    assert all(held.any() for held in filled.values()), "a history is empty"
    return len(starts)


LONG = ("cogan",)
"""Methods whose grids take long: a search for each image."""


@pytest.mark.parametrize("method", [pytest.param(one, marks=[pytest.mark.slow] * (one in LONG)) for one in KINDS])
def test_resume_from_every_checkpoint_equals_the_run_left_alone(
    method: str, storage: str, request: pytest.FixtureRequest
) -> None:
    """From before and after logs, grids, evaluations and warm-ups; with a writer so slow that training is over before
    it writes. Each later checkpoint and log of every resumed run is that of the run left alone: networks with running
    statistics, dropout, EMA, optimisers, filled histories, schedule, position, sums that no log has told yet."""
    assert resumed_from_each(method, request.getfixturevalue(KINDS[method]), storage, World()) >= UPDATES - 1


@pytest.mark.slow
@pytest.mark.processes
def test_resume_from_every_checkpoint_equals_the_run_left_alone_on_two_workers(unpaired: str, storage: str) -> None:
    """Histories and untold sums are of each worker."""
    assert on_workers(2, from_each_of_two, unpaired, storage) == [UPDATES - 1] * 2


def from_each_of_two(world: World, data: str, storage: str) -> int:
    return resumed_from_each("cyclegan", data, storage, world)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("method", ["simgan", "pix2pix_noise"])
def test_resume_through_ray_equals_the_run_left_alone(
    method: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Two workers, from the first of its checkpoints and from the middle one; those between may be left out."""
    over = with_everything_between(method) | {"launch__workers": "2", "launch__cpu": True}
    over["training__images"] *= 4
    config = config_of(method, request.getfixturevalue(KINDS[method]), str(tmp_path / "whole"), **over)
    through_ray(config, tmp_path)
    run = RunFolder(f"{tmp_path}/whole/run")
    names = run.whole_checkpoints()
    for name in {names[0], names[len(names) // 2]} - {names[-1]}:
        cut_after(run.root, f"{tmp_path}/{name}/run", images_of(name))
        Path(tmp_path, name, "run", RunFolder.STATUS).unlink()
        said = through_ray(config.with_section("launch", storage=str(tmp_path / name)), tmp_path)
        assert f"resumed from {tmp_path}/{name}/run/checkpoints/{name}" in said
        assert not differences(processes.state_of(run), processes.state_of(RunFolder(f"{tmp_path}/{name}/run")))


def through_ray(config: TrainConfig, folder: Path) -> str:
    file = folder / "config.json"
    file.write_text(config.dumps())
    command = [sys.executable, "pipelines/train.py", "--config", str(file)]
    env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def asking(loop: Loop, images: int, what: Wish) -> Through:
    """The loop is asked by another thread, in the middle of the update that begins at `images`."""

    def through(batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if batch.images == images:
                thread = Thread(target=loop.ask, args=(what,))
                thread.start()
                thread.join()
            yield batch

    return through


@pytest.mark.parametrize(("method", "micro"), [("stargan", 0), ("cyclegan", 4), ("simgan", 0)])
def test_stop_saves_and_the_resumed_run_ends_as_if_there_had_been_none(
    method: str, micro: int, storage: str, request: pytest.FixtureRequest
) -> None:
    data, over = (
        request.getfixturevalue(KINDS[method]),
        {"training__micro_batch": micro, "monitoring__checkpoint_every": 96},
    )
    whole = loop_of(config_of(method, data, f"{storage}/whole", **over))
    whole.train()
    config = config_of(method, data, f"{storage}/stopped", **over)
    stopped = loop_of(config)
    with pytest.raises(Stopped, match="the same command goes on") as caught:
        stopped.train(asking(stopped, 0, "stop"))
    images = stopped.progress.images
    assert 0 < images < 96
    assert f"after {images} of 96 images" in str(caught.value)
    assert stopped.run.whole_checkpoints() == [name_at(images)]
    assert stopped.keeper.writer.background.thread is None
    resumed = loop_of(config)
    assert_equal(state_of(stopped), state_of(resumed))
    resumed.train()
    assert_equal(state_of(whole), state_of(resumed))


def test_resume_does_what_a_stop_left_no_time_for(labelled: str, storage: str, said: list[str]) -> None:
    """The evaluation that was due where the run stopped, and the best checkpoint that comes of it."""
    config = config_of("stargan", labelled, storage, monitoring__evaluate_every=24, monitoring__checkpoint_every=96)
    said.clear()
    loop = loop_of(config)
    with pytest.raises(Stopped, match="after 24 of 96"):
        loop.train(asking(loop, 0, "stop"))
    assert not any("there_and_back" in line for line in said)
    assert not loop.run.exists(RunFolder.BEST)
    run_until(config, 30)
    assert loop.run.read_json(RunFolder.BEST)["checkpoint"] == name_at(24)


def test_resume_reports_every_evaluation_once(labelled: str, storage: str) -> None:
    over = {"monitoring__evaluate_every": 12, "monitoring__checkpoint_every": 24}
    whole = loop_of(config_of("stargan", labelled, f"{storage}/whole", **over))
    whole.train()
    told = whole.run.read_json(RunFolder.EVALUATIONS)
    assert [entry["images"] for entry in told] == [*range(12, 97, 12)]
    assert told[-1]["metrics"] == whole.state.evaluations.metrics
    config = config_of("stargan", labelled, f"{storage}/cut", **over)
    run_until(config, 60)
    again = loop_of(config)
    again.train()
    assert again.run.read_json(RunFolder.EVALUATIONS) == told


def test_save_on_request_lets_the_run_go_on(labelled: str, storage: str) -> None:
    whole = loop_of(config_of("stargan", labelled, f"{storage}/whole"))
    whole.train()
    loop = loop_of(
        config_of("stargan", labelled, f"{storage}/asked", monitoring__checkpoint_every=96, monitoring__keep_last=9)
    )
    loop.train(asking(loop, 0, "save"))
    assert loop.run.whole_checkpoints() == [name_at(24), name_at(96)]
    assert_equal(state_of(whole), state_of(loop))


def test_stop_may_be_asked_before_the_run_begins(labelled: str, storage: str) -> None:
    loop = loop_of(config_of("stargan", labelled, storage))
    loop.ask("stop")
    with pytest.raises(Stopped):
        loop.train()
    assert loop.progress.images == 24, "the wish travels with one update and is read after the next"


def test_resume_of_a_longer_run_goes_on_from_a_shorter_one(labelled: str, storage: str) -> None:
    whole = loop_of(config_of("stargan", labelled, f"{storage}/whole"))
    whole.train()
    loop_of(config_of("stargan", labelled, f"{storage}/parts", training__images=48)).train()
    rest = loop_of(config_of("stargan", labelled, f"{storage}/parts"))
    assert rest.progress.images == 48
    rest.train()
    # The shorter run logged, drew and evaluated at its end; that stays part of the record.
    record = ("diagnosis.", "evaluations.")
    states = [{k: v for k, v in state_of(run).items() if not k.startswith(record)} for run in (whole, rest)]
    assert_equal(*states)
    assert [entry["images"] for entry in rest.state.evaluations.entries] == [48, 96]
    assert rest.state.evaluations.entries[1:] == whole.state.evaluations.entries


def test_resume_refuses_a_field_that_must_match_with_both_values(labelled: str, storage: str) -> None:
    config = config_of("stargan", labelled, storage)
    run = RunFolder(f"{storage}/run")
    run.write("config.json", config.dumps().encode())
    check_same_run(config_of("stargan", labelled, storage, launch__workers="3", monitoring__log_every=7), run)
    check_same_run(config_of("stargan", labelled, storage, training__images=500), run)
    with pytest.raises(ConfigError) as caught:
        other = config_of("stargan", labelled, storage, hyper__lambda_rec=5.0, training__batch=12)
        check_same_run(other, run)
    message = str(caught.value)
    assert "hyper.lambda_rec: saved 10.0, now 5.0" in message
    assert "training.batch: saved 6, now 12" in message


def test_prepare_gives_todays_order_and_the_lanes_asked_for(labelled: str, storage: str) -> None:
    config = config_of("stargan", labelled, storage)
    assert (config.data.order, config.data.lanes) == (order.VERSION, 0)
    with pytest.raises(ResourceError, match="--lanes: found 4; expected a multiple of the batch, 6"):
        config_of("stargan", labelled, storage, data__lanes=4)
    with pytest.raises(ResourceError, match="--workers 6, or --batch 7"):
        config_of("stargan", labelled, storage, launch__workers="7")


def test_resume_names_an_altered_checkpoint_and_uses_the_one_before(
    labelled: str, storage: str, said: list[str]
) -> None:
    config = config_of("stargan", labelled, storage, monitoring__keep_last=3)
    prompt(loop_of(config)).train()
    run = RunFolder(f"{storage}/run")
    newest, before = run.whole_checkpoints()[-1], run.whole_checkpoints()[-2]
    path = Path(run.root, "checkpoints", newest, "state.pt")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert latest(run).name == before
    assert "state.pt" in said[-1]
    with pytest.raises(CheckpointError, match=r"state\.pt"):
        load_trained(run.at(f"checkpoints/{newest}"), torch.device("cpu"))


def test_checkpoint_without_checksums_is_none(labelled: str, storage: str) -> None:
    """As a crash leaves it that comes before the last file."""
    config = config_of("stargan", labelled, storage, monitoring__keep_last=3)
    prompt(loop_of(config)).train()
    run = RunFolder(f"{storage}/run")
    newest, before = run.whole_checkpoints()[-1], run.whole_checkpoints()[-2]
    Path(run.root, "checkpoints", newest, "checksums.json").unlink()
    assert latest(run).name == before
    assert loop_of(config).progress.images == images_of(before)


def test_checkpoints_kept_are_the_last_n_and_the_best(labelled: str, storage: str) -> None:
    config = config_of(
        "stargan", labelled, storage,
        monitoring__checkpoint_every=12, monitoring__evaluate_every=24, monitoring__keep_last=2, training__images=120,
    )  # fmt: skip
    prompt(loop_of(config)).train()
    run = RunFolder(f"{storage}/run")
    best = run.read_json("best.json")
    kept = run.whole_checkpoints()
    assert best["metric"] == "there_and_back"
    assert set(kept) == {best["checkpoint"], *(name_at(i) for i in (108, 120))}


def test_checkpoint_round_trip_gives_the_same_images(paired: str, storage: str) -> None:
    """From the checkpoint alone: averaged generator, and the mode it is meant to run in. Weights lie in one order."""
    loop = loop_of(config_of("pix2pix", paired, storage, training__fast=("off",)))
    loop.train()
    trained = load_trained(f"{storage}/run", torch.device("cpu"))
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    with loop.step.averaged():
        expected = loop.method.image_from(x, keys=["one", "two"])
    assert torch.equal(trained.method.image_from(x, keys=["one", "two"]), expected)
    assert not torch.equal(loop.method.image_from(x, keys=["one", "two"]), expected), "the average is not the last"


def test_init_from_starts_from_trained_networks(labelled: str, storage: str) -> None:
    first = loop_of(config_of("stargan", labelled, storage))
    first.train()
    second = loop_of(config_of("stargan", labelled, f"{storage}/second", training__init_from=f"{storage}/run"))
    weights = {k: v for k, v in state_of(first).items() if k.startswith("networks.")}
    assert_equal(weights, {k: v for k, v in state_of(second).items() if k.startswith("networks.")})
    assert second.progress.images == 0
    with pytest.raises(CheckpointError):
        config_of("stargan", labelled, f"{storage}/third", training__init_from=f"{storage}/run", hyper__g_base=8)


def test_init_from_is_not_needed_once_the_run_has_begun(labelled: str, storage: str) -> None:
    loop_of(config_of("stargan", labelled, storage)).train()
    begun = {"training__init_from": f"{storage}/run", "training__images": 48}
    loop_of(config_of("stargan", labelled, f"{storage}/second", **begun)).train()
    shutil.rmtree(f"{storage}/run")
    loop_of(config_of("stargan", labelled, f"{storage}/second", **begun | {"training__images": 60})).train()
    with pytest.raises(CheckpointError):
        config_of("stargan", labelled, f"{storage}/third", **begun)


def test_checksum_of_samples_is_the_sum_over_all_positions(labelled: str, storage: str) -> None:
    """After an interruption as well: each sample at its place once, none left out."""
    config = config_of("stargan", labelled, storage)
    run_until(config, 60)
    loop_of(config).train()
    run = RunFolder(f"{storage}/run")
    state = latest(run).state()
    stream = loop_of(config).stream
    batches = [stream.read(t, 0, stream.batch) for t in range(state["progress"]["images"] // stream.batch)]
    places = [(b.images + slot, key) for b in batches for slot, key in enumerate(b.keys)]
    assert len(places) == state["progress"]["images"] == 96
    assert state["seen"] == sum(seed_from(place, key) for place, key in places) % 2**63
