"""Runs in stages: sizes, frames, and what moves change on the way; interrupted and resumed equals uninterrupted, bit
for bit, inside of every stage and across every boundary.

pytest tests/integration/test_stages.py
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from i2i_core.batch import Batch, join
from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.evaluation import EvaluationConfig
from i2i_core.config.run import TrainConfig
from i2i_core.config.stages import Stage
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.lanes import slots_of
from i2i_core.data.reading.stream import Alternating
from i2i_core.errors import ConfigError, DataError
from i2i_core.orchestration.evaluating import EvaluationJob
from i2i_core.orchestration.launch import check_run
from i2i_core.runs.folder import RunFolder, name_at
from i2i_core.training.loop import Loop
from i2i_core.training.preparing import prepare
from i2i_core.training.staged import stream_of
from i2i_core.training.sync import World

from ..support import scene_data, scenes, staged
from ..support.runs import compare_resumed, config_of, latest, loop_of, prompt, state_of
from ..support.staged import STAGES
from ..support.workers import on_workers

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def method() -> Iterator[str]:
    """The coarse-to-fine method is one of METHODS."""
    with staged.registered() as name:
        yield name


def config_at(data: str, storage: str, **values: Any) -> TrainConfig:
    """66 images in batches of 6: stages of 4, 3 and 4 updates, with everything between them."""
    given = {
        "data.uri": data, "data.load_size": 20, "data.loaders": 0,
        "training.stages": STAGES, "training.ema_halflife": 30, "training.clip_grad": 5.0,
        "training.lr_schedule": "linear", "training.lr_decay_from": 0.3,
        "launch.storage": storage, "launch.name": "run",
        "monitoring.checkpoint_every": 1, "monitoring.keep_last": 99, "monitoring.log_every": 12,
        "monitoring.grid_every": 12, "monitoring.grid_rows": 3,
        "monitoring.evaluate_every": 12, "monitoring.evaluate_samples": 6,
    }  # fmt: skip
    over = {key.replace("__", "."): value for key, value in values.items()}
    return prepare(TrainConfig.of(staged.NAME, "demo", {**given, **over}))


def test_stages_resume_from_every_checkpoint_equals_the_run_left_alone(paired: str, storage: str) -> None:
    whole, starts = compare_resumed(lambda at: config_at(paired, at), storage, World())
    assert starts == [*range(6, 66, 6)], "inside of stages, at the boundaries 24 and 42, and one update after them"
    assert [whole[images].get("progress.stage", 0) for images in (24, 30, 42, 48)] == [0, 1, 1, 2]


def test_stages_resume_of_updates_of_several_batches_equals_the_run_left_alone(labelled: str, storage: str) -> None:
    """StarGAN's updates take two batches; stages end in the middle of one, and D moves alone at first."""

    def config(at: str) -> TrainConfig:
        stages = ("images=18 players=D lr=0.5", "images=20 frozen=G.net.0,D.trunk.0.bias fresh", "")
        more = {"monitoring__checkpoint_every": 1, "monitoring__keep_last": 99, "monitoring__log_every": 24}
        more |= {"monitoring__evaluate_every": 24, "monitoring__evaluate_samples": 6, "training__images": 84}
        return config_of("stargan", labelled, at, training__stages=stages, training__lr_schedule="linear", **more)

    whole, starts = compare_resumed(config, storage, World())
    assert starts == [*range(12, 84, 12)]
    assert [whole[images].get("progress.stage", 0) for images in (24, 36, 48, 60)] == [0, 1, 1, 2]
    assert whole[24].get("progress.moves.G", 0) == 0
    assert whole[84]["progress.moves.G"] > 0


def test_stages_add_parts_of_a_batch_up_to_the_whole(paired: str, storage: str) -> None:
    """Histories, frozen parts and sizes are the same for --micro-batch."""
    weights = []
    for micro in (0, 2):
        loop = loop_of(config_at(paired, f"{storage}/{micro}", training__micro_batch=micro, training__fast=("off",)))
        loop.train()
        weights.append({name: p.detach() for name, p in loop.method.named_parameters()})
    for name, p in weights[0].items():
        torch.testing.assert_close(weights[1][name], p, rtol=1e-3, atol=1e-5)


def resumed_on_two(world: World, data: str, storage: str) -> list[int]:
    with staged.registered():
        return compare_resumed(lambda at: config_at(data, at), storage, world)[1]


@pytest.mark.slow
@pytest.mark.processes
def test_stages_resume_on_two_workers_equals_the_run_left_alone(paired: str, storage: str) -> None:
    assert on_workers(2, resumed_on_two, paired, storage) == [[*range(6, 66, 6)]] * 2


def trained(world: World, data: str, storage: str) -> dict[str, Tensor]:
    with staged.registered():
        loop = Loop(config_at(data, storage, monitoring__grid_every=0), world, CPU)
        values: list[float] = []
        right = loop.method.update

        def update(batches: Any, progress: Any) -> Any:
            values.append(float(progress.value("noise")))
            return right(batches, progress)

        loop.method.update = update
        loop.train()
        assert loop.state.seen.state_dict() > 0
        weights = {name: p.detach() for name, p in loop.method.named_parameters()}
        return weights | {"values": torch.tensor(values), "seen": torch.tensor(loop.state.seen.state_dict())}


@pytest.mark.slow
@pytest.mark.processes
def test_stages_on_two_workers_equal_one(paired: str, tmp_path: Path) -> None:
    """In weights, in the values that change as the run goes on, and in what was seen."""
    alone = trained(World(), paired, str(tmp_path / "one"))
    first, second = on_workers(2, trained, paired, str(tmp_path / "two"))
    assert torch.equal(first["values"], alone["values"])
    assert alone["values"].tolist() == pytest.approx([max(0.0, 0.5 * (1 - 6 * t / 48)) for t in range(11)])
    assert torch.equal(first["seen"], alone["seen"])
    for name, p in alone.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], p, rtol=1e-3, atol=1e-5)


def test_stages_values_of_a_resumed_run_are_those_of_the_run_left_alone(paired: str, storage: str) -> None:
    """The first update of a resumed run has its value, and not that of the beginning."""
    loop = prompt(loop_of(config_at(paired, storage)))
    loop.train()
    RunFolder(f"{storage}/run").discard_after(30)
    resumed = loop_of(config_at(paired, storage))
    assert resumed.progress.images == 30
    held = resumed.step.values["noise"]
    resumed.step(map(resumed.step.place, resumed.read(5)), resumed.progress)
    assert float(held) == float(resumed.progress.value("noise")) == pytest.approx(0.5 * (1 - 30 / 48))
    assert resumed.progress.value("noise") is held


# ---------------------------------------------------------------- what is read


def played(config: TrainConfig, world: int, loaders: int, first: int, n: int) -> list[Batch]:
    """Global batches, as workers and loader processes read them."""
    method = staged.CoarseToFine if config.method == staged.NAME else scenes.Videos
    stream, batch = stream_of(config, [DataSet(uri) for uri in config.data.uris], method.needs), config.training.batch
    parts = [islice(stream.batches(first, slots_of(batch, r, world), loaders), n) for r in range(world)]
    return [join(together) for together in zip(*parts, strict=True)]


def test_stages_sizes_follow_the_global_batch_and_the_order_does_not(paired: str, storage: str) -> None:
    config = config_at(paired, storage)
    batches = played(config, 1, 0, 0, 9)
    assert [batch["a"].shape[-1] for batch in batches] == [8] * 4 + [16] * 3 + [24] * 2
    plain = played(config.with_section("training", stages=()), 1, 0, 0, 9)
    assert [batch.keys for batch in batches] == [batch.keys for batch in plain]
    for batch, other in zip(batches[4:7], plain[4:7], strict=True):
        assert torch.equal(batch["a"], other["a"]), (
            "a stage of the run's own size reads what a run without stages reads"
        )


@pytest.mark.processes  # loaders
@pytest.mark.parametrize(("world", "loaders", "first"), [(2, 0, 0), (1, 2, 0), (2, 2, 3), (3, 0, 7)])
def test_stages_read_the_same_for_any_number_of_workers_and_loaders(
    world: int, loaders: int, first: int, paired: str, storage: str
) -> None:
    """Loader processes read ahead across a boundary."""
    config = config_at(paired, storage)
    one, many = played(config, 1, 0, first, 6), played(config, world, loaders, first, 6)
    for a, b in zip(one, many, strict=True):
        assert a.keys == b.keys
        assert torch.equal(a["a"], b["a"])
        assert torch.equal(a["b"], b["b"])


def test_stages_of_several_data_sets_change_at_one_global_batch(labelled: str, storage: str) -> None:
    """The sets come in turn; the boundary, after 5 batches, falls between two of one turn."""
    config = config_of("stargan", labelled, storage)
    stages = (Stage(images=30, size=16, frames=1), Stage(size=32, frames=1))
    stream = Alternating([DataSet(labelled)] * 2, config.data, 16, 6, 0, None, stages)
    assert stream.ends == (5,)
    assert [stream.read(t, 0, 6)["image"].shape[-1] for t in range(8)] == [16] * 5 + [32] * 3


# ---------------------------------------------------------------- what comes of it


@pytest.fixture
def ended(paired: str, storage: str, said: list[str]) -> Loop:
    loop = prompt(loop_of(config_at(paired, storage)))
    loop.train()
    return loop


LINES = (
    "stage 1 of 3: images 0 to 24; 8 px; moving G, D; frozen G2 (165 parameters); learning rate G 0.01, D 0.01",
    "stage 2 of 3: images 24 to 42; 16 px; moving G, D; frozen G1 (333 parameters); learning rate G 0.005, D 0.005; "
    "optimisers and schedule begin anew",
    "stage 3 of 3: images 42 to 66; 24 px; moving G, D; learning rate G 0.01, D 0.01; optimisers and schedule begin "
    "anew",
)


def test_stages_are_listed_and_logged_where_each_begins(ended: Loop, said: list[str]) -> None:
    lines = [line for line in said if "stage " in line]
    begun = [f"{images} images: {line}" for images, line in zip((24, 42), LINES[1:], strict=True)]
    assert lines == [*LINES, *begun]


def test_stages_of_one_last_all_the_run(paired: str, storage: str, said: list[str]) -> None:
    loop = loop_of(config_at(paired, storage, training__stages=("size=8 frozen=G2",), training__images=18))
    before = loop.method.networks["G2"].weight.clone()
    loop.train()
    assert torch.equal(loop.method.networks["G2"].weight, before)
    assert any(line.startswith("stage 1 of 1: images 0 to 18; 8 px; moving G, D; frozen G2") for line in said)
    assert load_trained(loop.run.url, CPU).stage.size == 8


def test_stages_set_the_size_of_grids_and_evaluations(paired: str, storage: str) -> None:
    """At a boundary those of the stage that ends there, whose networks made them."""
    loop, met = loop_of(config_at(paired, storage)), []
    right = loop.method.make

    def make(a: Tensor, stage: int) -> Tensor:
        if not loop.method.training or not torch.is_grad_enabled():
            met.append((loop.progress.images, a.shape[-1], stage))
        return right(a, stage)

    loop.method.make = make
    loop.train()
    sizes = {(images, size, stage) for images, size, stage in met}
    assert sizes == {
        (0, 8, 0), (12, 8, 0), (24, 8, 0), (36, 16, 1), (48, 24, 2), (60, 24, 2), (66, 24, 2)
    }  # fmt: skip


def test_stages_of_sizes_have_the_best_checkpoint_of_the_last_size(
    paired: str, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values of another size are not compared with, however good they were."""
    values = iter([0.1, 0.2, 0.9, 0.8, 0.95, 0.7])
    monkeypatch.setattr("i2i_core.training.measuring.over_sets", lambda results: {"l1": next(values)})
    loop = prompt(loop_of(config_at(paired, storage, monitoring__best_metric="l1")))
    found = []
    right = loop.state.best.judge
    loop.state.best.judge = lambda *a: found.append(right(*a)) or found[-1]  # type: ignore[func-returns-value, method-assign]
    loop.train()
    assert found == [True, False, True, True, False, True]  # 12 and 24; 36; 48, 60 and 66
    best = RunFolder(f"{storage}/run").best()
    assert best
    assert best["checkpoint"] == name_at(66)
    assert best["size"] == [24, 24]


def test_stages_of_one_size_name_no_size_of_the_best(paired: str, storage: str) -> None:
    loop = loop_of(config_at(paired, storage, training__stages=("images=24 frozen=G2", "")))
    loop.train()
    assert loop.state.best.found
    assert "size" not in loop.state.best.found


def test_stages_empty_histories_where_the_size_changes(ended: Loop, paired: str, tmp_path: Path) -> None:
    (state,) = state_of(ended)["histories.fakes.0.images"][None]
    assert state.shape[-2:] == (24, 24)
    loop = loop_of(config_at(paired, str(tmp_path)))
    pool, filled = loop.method.pools["fakes"], []
    feed = map(loop.step.place, loop.read(0))
    for _ in range(11):
        loop.step(feed, loop.progress)
        assert pool.images is not None
        assert pool.filled is not None
        filled.append((pool.images.shape[-1], int(pool.filled.sum())))
    assert filled == [(8, 6)] * 4 + [(16, 6)] * 3 + [(24, 6)] * 4
    assert (pool.images.flatten(1).abs().sum(1) > 0).all()


def test_stages_checkpoint_makes_images_as_its_stage_does(ended: Loop) -> None:
    """Of the first stage by G1 alone."""
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    for images, stage, size in ((24, 0, 8), (30, 1, 16), (66, 2, 24)):
        found = load_trained(f"{ended.run.url}/checkpoints/{name_at(images)}", CPU)
        assert (found.method.stage, found.stage.size) == (stage, size)
        assert torch.equal(found.method.image_from(x), found.method.make(x, stage).detach())
        suite = EvaluationJob(found.url, ended.config.data.uri, "val", EvaluationConfig()).suite(found)
        assert suite.asked.image_size == size


def test_stages_keep_parts_that_begin_from_another_run(ended: Loop, paired: str, tmp_path: Path) -> None:
    begun = {"training__init_from": ended.run.url, "training__init_parts": ("G1.0", "D")}
    stages = ("images=24 frozen=G1.0,D.weight lr=2", "fresh")
    loop = loop_of(config_at(paired, str(tmp_path), training__stages=stages, **begun))
    first, last = ended.method.networks["G1"][0].weight, ended.method.networks["G1"][2].weight
    mine = loop.method.networks["G1"]
    assert torch.equal(mine[0].weight, first)
    assert not torch.equal(mine[2].weight, last)
    before = mine[2].weight.clone()
    feed = map(loop.step.place, loop.read(0))
    for _ in range(4):
        loop.step(feed, loop.progress)
    assert torch.equal(mine[0].weight, first), "frozen"
    assert torch.equal(loop.method.networks["D"].weight, ended.method.networks["D"].weight)
    assert not torch.equal(mine[2].weight, before), "not frozen"
    loop.step(feed, loop.progress)
    assert not torch.equal(mine[0].weight, first), "and no longer"


# ---------------------------------------------------------------- what is refused


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "player": (("images=6 players=G1", ""), "stage 1 of 2: found players=G1; expected players of this method: G, D"),
    "part": (("images=6 frozen=G1.1", ""), "stage 1 of 2: found frozen=G1.1; expected a network.*G1.0"),
    "network": (("images=6 frozen=G3", ""), "found frozen=G3; expected a network .G1, G2, D.*Did you mean G"),
    "nothing left": (("images=6 frozen=G1,G2", ""), "expected something of player G that moves.*players=D"),
    "all": (("images=6 frozen=G1,G2,D", ""), "expected something of player G"),
    "size": (("images=6", "size=18"), r"stage 2 of 2: found size=18 \(--image-size 18\); expected a multiple of 4"),
    "another size": (("images=6", "size=18"), r"Give size=16 or 20"),
    "oblong": (("images=6 size=8x16", ""), "found size=8x16 .*expected a square's side"),
    "load": (("images=6 size=16 load=12", ""), "found load=12; expected the stage's size, 16, or more"),
    "frames": (("images=6 frames=2", ""), "found frames=2; expected none: --method coarse_to_fine reads no sequences"),
    "too long": (("images=66", ""), r"stage 2 of 2: found 66 images in the stages before it; expected fewer than.*66"),
    "epochs too long": (("epochs=9", ""), "stage 2 of 2: found .* images in the stages before it"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_stages_that_cannot_be_are_refused_before_anything_starts(case: str, paired: str, storage: str) -> None:
    stages, words = WRONG[case]
    with pytest.raises(ConfigError, match=f"(?s){words}"):
        config_at(paired, storage, training__stages=stages)
    assert not Path(storage).exists()


def test_stages_of_sizes_are_refused_for_networks_made_for_one(labelled: str, storage: str) -> None:
    with pytest.raises(ConfigError, match=r"found size=32; expected 16: the networks of --method stargan are made for"):
        config_of("stargan", labelled, storage, training__stages=("images=12 size=32", ""))
    config_of("stargan", labelled, storage, training__stages=("images=12 size=16 players=D", ""))


@pytest.mark.parametrize(
    ("method", "kind", "size"),
    [
        ("pix2pix", "paired", 32), ("cyclegan", "unpaired", 24), ("simgan", "unpaired", 20),
        ("bigan", "unpaired", 24), ("pixel_gan", "unpaired", 24),
        ("unit", "unpaired", 32), ("bicyclegan", "paired", 32), ("pix2pix_noise", "paired", 32),
    ],
)  # fmt: skip
def test_stages_of_two_sizes_train_methods_of_any_size(
    method: str, kind: str, size: int, storage: str, request: pytest.FixtureRequest
) -> None:
    """The same networks, from the size that they were made for to another."""
    over = {"training__images": 48, "monitoring__evaluate_every": 24, "monitoring__evaluate_samples": 4}
    stages = (f"images=24 size={size}", "")
    loop = loop_of(config_of(method, request.getfixturevalue(kind), storage, training__stages=stages, **over))
    loop.train()
    assert loop.progress.stage == 1
    assert all(torch.isfinite(p).all() for p in loop.method.parameters())


def test_stages_warn_of_another_length_that_changes_the_learning_rate(paired: str, storage: str) -> None:
    """A fresh stage that has ended its fall does not rise with the run's length; the last one does."""
    loop = prompt(loop_of(config_at(paired, storage)))
    loop.train()
    run = RunFolder(f"{storage}/run")
    run.write("config.json", loop.config.dumps().encode())
    run.discard_after(36)
    assert latest(run).images == 36
    assert check_run(config_at(paired, storage, training__images=300)) == ""
    loop_of(config_at(paired, storage)).train()
    with pytest.raises(ConfigError, match="whose learning rate would rise"):
        check_run(config_at(paired, storage, training__images=300))
    with pytest.raises(ConfigError, match="stages: saved"):
        check_run(config_at(paired, storage, training__stages=("images=30", "")))


# ---------------------------------------------------------------- sequences


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> str:
    return scene_data.clips(tmp_path_factory.mktemp("clips"), np.random.default_rng(0))


def config_of_clips(data: str, storage: str, **values: Any) -> TrainConfig:
    """Batches of 4 sequences. Of two frames there are 40 starts, 10 batches an epoch; of four there are 24, 6."""
    given = {
        "data.uri": data, "data.load_size": 20, "data.loaders": 0, "training.images": 0, "training.epochs": 2.5,
        "training.stages": ("epochs=1 frames=2", "frames=4 size=8"), "training.lr_schedule": "linear",
        "launch.storage": storage, "launch.name": "run", "monitoring.checkpoint_every": 12,
        "monitoring.keep_last": 99, "monitoring.grid_every": 20, "monitoring.log_every": 8,
    }  # fmt: skip
    over = {key.replace("__", "."): value for key, value in values.items()}
    return prepare(TrainConfig.of("scenes", "demo", {**given, **over}))


@pytest.fixture
def videos(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with scenes.registered(AnySize):
        yield


class AnySize(scenes.Videos):
    """A convolution of frames of any size."""

    any_size = True


def test_stages_frames_follow_the_global_batch(clips: str, storage: str, videos: None) -> None:
    config = config_of_clips(clips, storage)
    batches = played(config, 1, 0, 0, 20)
    assert [tuple(batch["image"].shape[1::2]) for batch in batches] == [(2, 16)] * 10 + [(4, 8)] * 10
    for first, last in ((0, 10), (10, 16)):
        keys = [key for batch in batches[first:last] for key in batch.keys]
        assert len({*keys}) == len(keys) == 4 * (last - first), "an epoch of each has every start once"
    loop = loop_of(config)
    assert loop.length == 40 + 36, "one epoch of 40 and a half and one of 24"


def test_stages_change_frames_where_they_end_and_nowhere_else(clips: str, storage: str, videos: None) -> None:
    """After 20 images, in the middle of an epoch; after one and a half epochs of four frames, 9 batches. An end where
    frames stay as they are cuts no epoch short."""
    stages = ("images=18 frames=2", "images=4 frames=4 size=8", "epochs=1.5 frames=4", "frames=3")
    config = config_of_clips(clips, storage, training__stages=stages, training__epochs=9.0)
    batches = played(config, 1, 0, 0, 17)
    assert [batch["image"].shape[1] for batch in batches] == [2] * 5 + [4] * 10 + [3] * 2
    keys = [key for batch in batches[5:11] for key in batch.keys]
    assert len({*keys}) == len(keys) == 24, "the epoch of six batches goes on over the end of the second stage"


@pytest.mark.processes  # loaders
@pytest.mark.parametrize(("world", "loaders", "first"), [(2, 0, 7), (1, 2, 6), (2, 2, 9)])
def test_stages_frames_do_not_depend_on_workers_or_loaders(
    world: int, loaders: int, first: int, clips: str, storage: str, videos: None
) -> None:
    config = config_of_clips(clips, storage)
    for a, b in zip(played(config, 1, 0, first, 5), played(config, world, loaders, first, 5), strict=True):
        assert a.keys == b.keys
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["labels"], b["labels"])


@pytest.mark.slow
def test_stages_of_sequences_resume_as_if_the_run_had_never_stopped(
    clips: str, storage: str, videos: None, said: list[str]
) -> None:
    _, starts = compare_resumed(lambda at: config_of_clips(clips, at, monitoring__checkpoint_every=1), storage, World())
    assert starts == [*range(4, 76, 4)]
    assert any("of 76 sequences of 2 frames, 40 an epoch" in line for line in said)
    assert any("40 images: stage 2 of 2: images 40 to 76; 8 px; 4 frames; moving G" in line for line in said)
    assert any("24 / 76 sequences of 2 frames" in line for line in said)
    assert any("76 / 76 sequences of 4 frames" in line for line in said)


def test_stages_refuse_clips_that_are_too_short_before_anything_starts(clips: str, storage: str, videos: None) -> None:
    with pytest.raises(DataError, match="8 clips, all shorter than 7 rows"):
        config_of_clips(clips, storage, training__stages=("epochs=1 frames=2", "frames=7"))
