"""A method that reads fields of several roles trains on them: on any number of workers, and resumed as if it had never
stopped.

pytest tests/integration/test_scenes.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i_core.batch import Batch
from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.evaluation import EvaluationConfig
from i2i_core.config.run import TrainConfig
from i2i_core.config.translation import TranslateOptions
from i2i_core.errors import ConfigError, DataError
from i2i_core.orchestration.evaluating import EvaluationJob
from i2i_core.orchestration.translating import translate
from i2i_core.training.loop import Loop
from i2i_core.training.preparing import prepare
from i2i_core.training.sync import World

from ..support import data
from ..support.runs import assert_equal, loop_of, run_until, state_of
from ..support.scenes import COLOURS, Scenes, Styles, Videos, clips, registered, shard
from ..support.workers import on_workers

CPU = torch.device("cpu")
KINDS = {"scenes": Scenes, "videos": Videos, "styles": Styles}
Made = dict[str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Label maps and their images, which are a colour for each class, brighter by the vector; clips of such; and images
    of one colour for each class."""
    rng = np.random.default_rng(0)
    scenes, videos, styles = (tmp_path_factory.mktemp(name) for name in KINDS)
    for name in ("labels", "image", "code", "captions"):
        (scenes / name).mkdir()
    for i in range(40):
        ids = rng.integers(0, 3, (16, 16), dtype=np.uint8)
        Image.fromarray(ids).save(scenes / f"labels/{i}.png")
        Image.fromarray(COLOURS[ids]).save(scenes / f"image/{i}.png")
        np.save(scenes / f"code/{i}.npy", rng.standard_normal(4).astype(np.float32))
        (scenes / f"captions/{i}.json").write_text(json.dumps([f"number {i}", "a scene"]))
    of_clips = clips(videos, rng)
    for name, colour in zip("abc", COLOURS, strict=True):
        for i in range(16):
            data.put(styles / f"train/{name}/{i}.png", (rng.uniform(0.2, 1, (16, 16, 1)) * colour).astype(np.uint8))
    data.shard("classes", styles, styles / "out", goal={"shard_samples": 16})
    fields = ("image=image/{key}.png", "labels:classes=labels/{key}.png")
    more = ("code:vector=code/{key}.npy", "captions:text=captions/{key}.json")
    return {
        "scenes": shard(scenes, (*fields, *more), classes=("labels=3",)),
        "videos": of_clips,
        "styles": str(styles / "out"),
    }


def config_on(uri: str, storage: str, **values: Any) -> TrainConfig:
    given = {
        "data.uri": uri,
        "data.load_size": 20,
        "launch.storage": storage,
        "launch.name": "run",
        "monitoring.checkpoint_every": 16,
        "monitoring.keep_last": 9,
        "monitoring.grid_every": 24,
        "monitoring.evaluate_every": 24,
        "monitoring.log_every": 8,
    }
    return prepare(TrainConfig.of("scenes", "demo", {**given, **{k.replace("__", "."): v for k, v in values.items()}}))


def loss_of(loop: Loop, batch: Batch) -> float:
    with torch.no_grad():
        return float(loop.method.loss(batch, loop.method.told(batch))[0])


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_and_shows_what_it_makes(kind: str, made: Made, tmp_path: Path) -> None:
    with registered(KINDS[kind]):
        loop = loop_of(config_on(made[kind], str(tmp_path), training__images=240))
        batch = loop.step.place(loop.stream.read(0, 0, 4))
        first = loss_of(loop, batch)
        loop.train()
        assert loss_of(loop, batch) < 0.5 * first
        assert loop.run.exists(loop.run.grid(240))
        assert not loop.run.evaluations(), "nothing is known of what it makes"


@pytest.mark.parametrize("kind", KINDS)
def test_it_resumes_as_if_it_had_never_stopped(kind: str, made: Made, tmp_path: Path) -> None:
    with registered(KINDS[kind]):
        whole = loop_of(config_on(made[kind], str(tmp_path / "whole")))
        whole.train()
        run_until(config_on(made[kind], str(tmp_path / "cut")), 24)
        resumed = loop_of(config_on(made[kind], str(tmp_path / "cut")))
        assert resumed.progress.images == 16
        resumed.train()
        assert_equal(state_of(whole), state_of(resumed))


def trained(world: World, kind: str, uri: str, storage: str) -> dict[str, Any]:
    with registered(KINDS[kind]):
        loop = Loop(config_on(uri, storage, monitoring__grid_every=0), world, CPU)
        loop.train()
        return {name: p.detach() for name, p in loop.method.named_parameters()}


@pytest.mark.processes
@pytest.mark.parametrize("kind", KINDS)
def test_workers_agree_with_one_process(kind: str, made: Made, tmp_path: Path) -> None:
    alone = trained(World(), kind, made[kind], str(tmp_path / "one"))
    first, second = on_workers(2, trained, kind, made[kind], str(tmp_path / "two"))
    for name, p in alone.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], p, rtol=1e-4, atol=1e-6)


def test_memory_begins_anew_with_each_sequence(made: Made, tmp_path: Path) -> None:
    """The loss of a sequence does not depend on what came before it."""
    with registered(Videos):
        loop = loop_of(config_on(made["videos"], str(tmp_path)))
        batch = loop.step.place(loop.stream.read(3, 0, 4))
        before = loss_of(loop, batch)
        loss_of(loop, loop.step.place(loop.stream.read(0, 0, 4)))
        assert loss_of(loop, batch) == before
        assert batch["image"].shape == (4, 3, 3, 16, 16)


def test_sequences_are_counted_and_frames_are_said_beside(made: Made, tmp_path: Path, said: list[str]) -> None:
    with registered(Videos):
        loop_of(config_on(made["videos"], str(tmp_path))).train()
    assert any("of 48 sequences of 3 frames, 32 an epoch" in line for line in said)
    found = [
        re.search(r"48 / 48 sequences of 3 frames \| ([\d,]+) sequences/s, ([\d,]+) frames/s", line) for line in said
    ]
    (last,) = filter(None, found)
    sequences, frames = (int(number.replace(",", "")) for number in last.groups())
    assert frames == pytest.approx(3 * sequences, abs=3)


def test_what_it_lacks_is_said_before_a_run_begins(made: Made, labelled: str, tmp_path: Path) -> None:
    with registered():
        with pytest.raises(
            DataError, match=r"found no field labels, but image \(image\).*a field labels of role classes"
        ):
            config_on(labelled, str(tmp_path))
        with pytest.raises(ConfigError, match="--best-metric: found 'l1'; expected nothing"):
            config_on(made["scenes"], str(tmp_path), monitoring__best_metric="l1")
    with registered(Videos), pytest.raises(DataError, match="found single samples; expected clips, of which 3 frames"):
        config_on(made["scenes"], str(tmp_path))
    with registered(Styles), pytest.raises(DataError, match="mono; expected a class for each"):
        config_on(labelled, str(tmp_path))


def test_what_only_images_of_images_have_is_refused_of_its_checkpoint(made: Made, tmp_path: Path) -> None:
    with registered():
        loop = loop_of(config_on(made["scenes"], str(tmp_path)))
        loop.train()
        options = TranslateOptions(input=made["scenes"], split="train", out=str(tmp_path / "out"), cpu=True)
        with pytest.raises(ConfigError, match=r"found a method that reads labels \(classes\), image \(image\), code"):
            translate(loop.run.url, options)
        trained = load_trained(loop.run.url, CPU)
        job = EvaluationJob(trained.url, made["scenes"], "train", EvaluationConfig())
        with pytest.raises(DataError, match="metrics: found a method that reads labels"):
            job.suite(trained)
