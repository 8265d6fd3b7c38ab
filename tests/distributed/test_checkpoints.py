"""A checkpoint is read once, whatever the number of workers, and one that cannot be used fails alike on all of them.

pytest tests/distributed/test_checkpoints.py
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from i2i_core.checkpoints import checkpoint
from i2i_core.config.run import TrainConfig
from i2i_core.errors import CheckpointError, ConfigError, RunError
from i2i_core.runs.folder import CheckpointFolder, RunFolder, name_at
from i2i_core.storage.folder import Folder
from i2i_core.training import sync
from i2i_core.training.loop import Loop
from i2i_core.training.sync import World
from i2i_core.training.together import by_leader

from ..support.runs import assert_equal, config_of, loop_of, prompt, put_state
from ..support.workers import on_workers

pytestmark = pytest.mark.processes

FILES = {*CheckpointFolder.FILES, CheckpointFolder.CHECKSUMS}


@pytest.fixture
def config(labelled: str, storage: str) -> TrainConfig:
    """A run with checkpoints at 24, 48 and 72 images."""
    over = {"training__images": 72, "monitoring__checkpoint_every": 24, "monitoring__keep_last": 9}
    config = config_of("stargan", labelled, storage, **over)
    prompt(loop_of(config)).train()
    return config


def reads(world: World, config: TrainConfig) -> tuple[Counter[str], int, str, dict[str, Any]]:
    """What a worker reads of checkpoints when a run goes on; where it does, or why not; and its networks."""
    read, found = Folder.read, Counter[str]()

    def counting(folder: Folder, path: str) -> bytes:
        place = Path(folder.path(path))
        if place.parts[-3] == RunFolder.CHECKPOINTS:
            found["/".join(place.parts[-2:])] += 1
        return read(folder, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "read", counting)
        patch.setattr(sync, "PIECE_BYTES", 10_000)
        try:
            loop = Loop(config, world, torch.device("cpu"))
        except CheckpointError as error:
            return found, -1, str(error), {}
    return found, loop.progress.images, "", dict(loop.method.networks.state_dict())


def of(images: int) -> Counter[str]:
    return Counter(f"{name_at(images)}/{name}" for name in FILES)


def test_checkpoint_is_read_once_by_two_workers(config: TrainConfig) -> None:
    (first, images, _, networks), (other, others_images, _, others) = on_workers(2, reads, config)
    assert first == of(72)
    assert other == {}
    assert images == others_images == 72
    assert_equal(networks, others)


def test_checkpoint_to_start_from_is_read_once_by_two_workers(config: TrainConfig, labelled: str) -> None:
    storage = config.launch.storage
    new = config_of("stargan", labelled, storage, launch__name="new", training__init_from=f"{storage}/run")
    (first, images, _, networks), (other, _, _, others) = on_workers(2, reads, new)
    assert first == of(72)
    assert other == {}
    assert images == 0
    assert_equal(networks, others)


def test_damaged_checkpoint_sends_two_workers_to_the_one_before(config: TrainConfig) -> None:
    place = Path(RunFolder.of(config).checkpoint(name_at(72)).path("networks.safetensors"))
    place.write_bytes(place.read_bytes()[:-1] + b"x")
    (_, images, _, networks), (other, others_images, _, others) = on_workers(2, reads, config)
    assert images == others_images == 48
    assert other == {}
    assert_equal(networks, others)


def test_checkpoint_that_lacks_a_part_fails_alike_on_two_workers(config: TrainConfig) -> None:
    folder = RunFolder.of(config).checkpoint(name_at(72))
    state = checkpoint.read(folder).state()
    del state["diagnosis"]
    put_state(folder, state)
    (_, _, said, _), (_, _, other, _) = on_workers(2, reads, config)
    assert "found a state without diagnosis" in said
    assert said == other


def failing(world: World, folder: str) -> list[str]:
    """How a worker learns what rank 0 alone meets."""
    said = []

    def disk() -> None:
        raise OSError(28, "No space left on device")

    def wrong() -> None:
        raise ConfigError("--x", "1", "2", "Fix it.")

    def ours() -> None:
        assert world.leads, "rank 0 alone does it"

    by_leader(world, Folder(folder), ours)
    for call in (disk, wrong):
        try:
            by_leader(world, Folder(folder), call)
        except (RunError, ConfigError) as error:
            said.append(f"{type(error).__name__} {error}")
    return said


def test_by_leader_raises_on_every_worker_what_rank_0_meets(storage: str) -> None:
    said, other = on_workers(2, failing, storage)
    assert said == other
    assert said[0].startswith("RunError")
    assert "No space left on device" in said[0]
    assert said[1].startswith("ConfigError --x")


def values(world: World) -> list[Any]:
    """What rank 0 has, on every worker: none, small, and in many pieces."""
    sync.PIECE_BYTES = 1000
    mine = [None, {"a": torch.arange(5)}, bytes(range(256)) * 30] if world.leads else [0, 0, 0]
    return [world.from_leader(value) for value in mine]


def test_from_leader_brings_a_value_to_every_worker_in_pieces() -> None:
    for none, small, large in on_workers(2, values):
        assert none is None
        assert torch.equal(small["a"], torch.arange(5))
        assert large == bytes(range(256)) * 30
