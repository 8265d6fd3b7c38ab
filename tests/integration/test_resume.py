"""Interrupted and resumed equals uninterrupted, bit for bit; and what a resumed run refuses.

pytest tests/integration/test_resume.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from i2i_core.config import TrainConfig
from i2i_core.data.batch import Batch
from i2i_core.errors import CheckpointError, ConfigError
from i2i_core.methods import METHODS
from i2i_core.orchestration.launch import check_same_run
from i2i_core.training import checkpoint
from i2i_core.storage import Folder

from ..distributed.harness import SMALL
from .runs import assert_equal, config_of, loop_of, state_of

KINDS = {name: METHODS[name].method.needs.kind for name in SMALL}
"""Every method, and the fixture with the data it reads."""


class KilledError(Exception):
    """What the tests interrupt a run with."""


def run_until(config: TrainConfig, images: int) -> None:
    """Trains, and is cut off at the first batch past `images`, in the middle of an update: later than the last
    checkpoint."""
    loop = loop_of(config)
    timed = loop._timed

    def cut(batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in timed(batches):
            if batch.images >= images:
                raise KilledError
            yield batch

    loop._timed = cut  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        loop.train()


@pytest.mark.parametrize("method", KINDS)
def test_resumed_equals_uninterrupted(method: str, storage: str, request: pytest.FixtureRequest) -> None:
    """Networks with running statistics, dropout, EMA, both optimisers, filled histories, schedule and position."""
    data = request.getfixturevalue(KINDS[method])
    whole = loop_of(config_of(method, data, f"{storage}/whole", training__lr_schedule="linear"))
    whole.train()
    config = config_of(method, data, f"{storage}/cut", training__lr_schedule="linear")
    run_until(config, 60)
    said: list[str] = []
    resumed = loop_of(config, said)
    assert 0 < resumed.progress.images < 60, said
    for name, pool in resumed.method.pools.items():
        assert pool.filled is not None, f"history {name} came back empty"
        assert pool.filled.any(), f"history {name} came back empty"
    resumed.train()
    assert_equal(state_of(whole), state_of(resumed))


def test_a_longer_run_goes_on_from_a_shorter_one(labelled: str, storage: str) -> None:
    whole = loop_of(config_of("stargan", labelled, f"{storage}/whole"))
    whole.train()
    loop_of(config_of("stargan", labelled, f"{storage}/parts", training__images=48)).train()
    rest = loop_of(config_of("stargan", labelled, f"{storage}/parts"))
    assert rest.progress.images == 48
    rest.train()
    assert_equal(state_of(whole), state_of(rest))


def test_a_field_that_must_match_is_refused_with_both_values(labelled: str, storage: str) -> None:
    config = config_of("stargan", labelled, storage)
    run = Folder(f"{storage}/run")
    run.write("config.json", config.dumps().encode())
    check_same_run(config_of("stargan", labelled, storage, launch__workers="3", output__log_every=7), run)
    check_same_run(config_of("stargan", labelled, storage, training__images=500), run)
    with pytest.raises(ConfigError) as caught:
        other = config_of("stargan", labelled, storage, hyper__lambda_rec=5.0, training__batch=12)
        check_same_run(other, run)
    message = str(caught.value)
    assert "hyper.lambda_rec: saved 10.0, given 5.0" in message
    assert "training.batch: saved 6, given 12" in message


def test_an_altered_checkpoint_is_named_and_the_one_before_is_used(
    labelled: str, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of("stargan", labelled, storage, output__keep_last=3)
    loop_of(config).train()
    run = Folder(f"{storage}/run")
    newest, before = checkpoint.complete(run)[-1], checkpoint.complete(run)[-2]
    path = Path(run.root, "checkpoints", newest, "state.pt")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert checkpoint.latest(run) == before
    assert "state.pt" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match=r"state\.pt"):
        checkpoint.load_trained(run.at(f"checkpoints/{newest}"), torch.device("cpu"))


def test_a_folder_without_checksums_is_no_checkpoint(labelled: str, storage: str) -> None:
    """As a crash leaves it that comes before the last file."""
    config = config_of("stargan", labelled, storage, output__keep_last=3)
    loop_of(config).train()
    run = Folder(f"{storage}/run")
    newest, before = checkpoint.complete(run)[-1], checkpoint.complete(run)[-2]
    Path(run.root, "checkpoints", newest, "checksums.json").unlink()
    assert checkpoint.latest(run) == before
    assert loop_of(config).progress.images == checkpoint.images_of(before)


def test_the_last_n_and_the_best_are_kept(labelled: str, storage: str) -> None:
    config = config_of(
        "stargan", labelled, storage,
        output__checkpoint_every=12, output__evaluate_every=24, output__keep_last=2, training__images=120,
    )  # fmt: skip
    loop_of(config).train()
    run = Folder(f"{storage}/run")
    best = run.read_json("best.json")
    kept = checkpoint.complete(run)
    assert best["metric"] == "there_and_back"
    assert set(kept) == {best["checkpoint"], *(checkpoint.name_at(i) for i in (108, 120))}


def test_a_checkpoint_round_trip_gives_the_same_images(paired: str, storage: str) -> None:
    """From the checkpoint alone: averaged generator, and the mode it is meant to run in."""
    loop = loop_of(config_of("pix2pix", paired, storage))
    loop.train()
    trained = checkpoint.load_trained(f"{storage}/run", torch.device("cpu"))
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    with loop.step.averaged():
        expected = loop.method.translate(x, keys=["one", "two"])
    assert torch.equal(trained.method.translate(x, keys=["one", "two"]), expected)
    assert not torch.equal(loop.method.translate(x, keys=["one", "two"]), expected), "the average is not the last"


def test_init_from_starts_from_trained_networks(labelled: str, storage: str) -> None:
    first = loop_of(config_of("stargan", labelled, storage))
    first.train()
    second = loop_of(config_of("stargan", labelled, f"{storage}/second", training__init_from=f"{storage}/run"))
    weights = {k: v for k, v in state_of(first).items() if k.startswith("networks.")}
    assert_equal(weights, {k: v for k, v in state_of(second).items() if k.startswith("networks.")})
    assert second.progress.images == 0
    with pytest.raises(CheckpointError):
        config_of("stargan", labelled, storage, training__init_from=f"{storage}/run", hyper__g_base=8)
