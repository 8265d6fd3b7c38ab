"""Samples that cannot be used are named once, counted once, and stop a run that has too many of them.

pytest tests/unit/test_bad_samples.py
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i_core.batch import Bad, Batch
from i2i_core.config.run import TrainConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.errors import RunError
from i2i_core.orchestration.sharding import shard_glyphs
from i2i_core.training.bad_samples import BadSamples, kind_of
from i2i_core.training.loop import Loop
from i2i_core.training.sync import World
from tests.support.data import whole_index

from ..support.logs import collected
from ..support.runs import assert_equal, config_of, loop_of, run_until, state_of
from ..support.workers import on_workers


def png(size: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((size, size), np.uint8)).save(out, "png")
    return out.getvalue()


def spoil(uri: str, domain: str, spoiled: dict[int, bytes]) -> list[str]:
    """Overwrites the first bytes of rows; gives their keys."""
    data = DataSet(uri)
    index, shard = whole_index(data, "train", domain), Path(uri, data.shard_set("train", domain).shards[0].name)
    shard.chmod(0o644)
    with shard.open("r+b") as tar:
        for row, start in spoiled.items():
            tar.seek(int(index.offset[row, 0]))
            tar.write(start)
    return [index.keys[row] for row in spoiled]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """A labelled data set of 72 samples, of which four cannot be used, and their keys."""
    uri = str(tmp_path_factory.mktemp("data") / "broken")
    shard_glyphs(uri, "labelled", 16, characters=6)
    return uri, spoil(uri, "all", {1: bytes(30), 2: bytes(10), 3: png(9), 40: png(8)})


def config(uri: str, storage: str, **values: Any) -> TrainConfig:
    """Two epochs and a half: each sample comes twice or more."""
    return config_of("stargan", uri, storage, **{"training__images": 180, **values})


def named(said: list[str]) -> list[str]:
    return [line.split()[2] for line in said if line.startswith("WARNING: sample")]


def test_bad_samples_are_named_once_and_summed_up_by_cause(
    broken: tuple[str, list[str]], storage: str, said: list[str]
) -> None:
    uri, keys = broken
    said.clear()
    loop = loop_of(config(uri, storage, data__most_bad=4, monitoring__log_every=24))
    loop.train()
    assert sorted(named(said)) == sorted(keys)
    good = set(DataSet(uri).rows("train").keys()) - set(keys)
    for line in said:
        if line.startswith("WARNING: sample"):
            assert line.rsplit(" takes its place")[0].split()[-1] in good
    assert any(f"{keys[2]} cannot be used (9x9 pixels where the manifest says 16x16)" in line for line in said)
    assert "2 x cannot identify it as an image" in said[-1]
    assert "2 x N pixels where the manifest says N" in said[-1]
    assert said[-1].startswith("4 samples could not be used")


def test_bad_samples_beyond_the_limit_stop_the_run_and_are_listed(broken: tuple[str, list[str]], storage: str) -> None:
    uri, keys = broken
    with pytest.raises(RunError) as caught:
        loop_of(config(uri, storage, data__most_bad=3)).train()
    message = str(caught.value)
    assert "4 unusable samples, more than --most-bad 3 (2 x " in message
    assert all(f"\n  {key}: " in message for key in keys)
    assert "raise --most-bad" in message


def test_bad_samples_in_a_long_list_are_cut() -> None:
    samples = BadSamples(World(), torch.device("cpu"), 20)
    met = tuple(Bad(f"sample-{n:02d}", f"broken data stream (byte {n})", "another") for n in range(23))
    samples.note(Batch({}, 23, 0, 23, 0, 0, bad=met))
    with pytest.raises(RunError, match=r"23 unusable samples, .* \(23 x broken data stream\)") as caught:
        samples.agree()
    assert "sample-19" in str(caught.value)
    assert "sample-20" not in str(caught.value)
    assert "and 3 more" in str(caught.value)


def test_bad_samples_are_not_counted_again_by_a_resumed_run(
    broken: tuple[str, list[str]], storage: str, said: list[str]
) -> None:
    uri, keys = broken
    whole = loop_of(config(uri, f"{storage}/whole"))
    whole.train()
    cut = config(uri, f"{storage}/cut", data__most_bad=4)
    run_until(cut, 100)
    said.clear()
    resumed = loop_of(cut)
    assert set(resumed.state.bad_samples.known) == set(keys), "an epoch is over"
    resumed.train()
    assert named(said) == []
    assert resumed.state.bad_samples.known == whole.state.bad_samples.known
    assert said[-1].startswith("4 samples could not be used")
    assert_equal(state_of(whole), state_of(resumed))


def test_bad_samples_of_two_domains_may_have_one_key(tmp_path: Path, storage: str) -> None:
    uri = str(tmp_path / "unpaired")
    shard_glyphs(uri, "unpaired", 16, characters=30, faces=("sans-regular", "sans-bold"))
    keys = [f"{key} of domain {domain}" for domain in "AB" for key in spoil(uri, domain, {0: bytes(30)})]
    loop = loop_of(config_of("cyclegan", uri, storage, training__images=60))
    loop.train()
    assert sorted(loop.state.bad_samples.known) == sorted(keys)


def worker(world: World, made: TrainConfig) -> tuple[list[Any], list[str]]:
    with collected() as said:
        loop = Loop(made, world, torch.device("cpu"))
        loop.train()
    return list(loop.state.bad_samples.known.items()), named(said)


@pytest.mark.slow
@pytest.mark.processes
def test_bad_samples_are_the_same_for_any_number_of_workers(
    broken: tuple[str, list[str]], storage: str, said: list[str]
) -> None:
    uri, _ = broken
    said.clear()
    alone = loop_of(config(uri, f"{storage}/alone", training__images=78))
    alone.train()
    found = on_workers(2, worker, config(uri, f"{storage}/two", training__images=78))
    assert [items for items, _ in found] == [list(alone.state.bad_samples.known.items())] * 2
    assert [names for _, names in found] == [named(said), []]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("28x30 pixels where the manifest says 32x32", "9x9 pixels where the manifest says 32x32"),
        ("image file is truncated (12 bytes not processed)", "image file is truncated (7 bytes not processed)"),
        ("float values from -1.5 to 2; float images must", "float values from 0 to 17.25; float images must"),
        ("3 channels of uint8 where", "4 channels of uint8 where"),
    ],
)
def test_bad_samples_whose_causes_differ_in_numbers_have_one(one: str, other: str) -> None:
    assert kind_of(one) == kind_of(other)
    assert kind_of(one) != kind_of("cannot identify it as an image")
