"""`--batch auto` is the largest batch that fits, and a number before anything reads it.

pytest tests/unit/test_fitting_batch.py
"""

from __future__ import annotations

import json
import pickle

import pytest
import torch

from i2i_core.cli import parse
from i2i_core.config.run import TrainConfig
from i2i_core.config.training import TrainingConfig
from i2i_core.errors import ConfigError, ResourceError
from i2i_core.methods import METHODS
from i2i_core.settings import AUTO, Auto, from_dict, to_dict
from i2i_core.training import fitting_batch
from i2i_core.training.fitting_batch import (
    COPIES,
    SHARE_OF_HOST,
    Kept,
    Trial,
    bytes_of_updates,
    fits_on_gpu,
    fitting,
    largest,
)
from i2i_core.training.node import Memory
from i2i_core.training.preparing import prepare

from ..support.methods import SMALL
from ..support.runs import config_of

CPU = torch.device("cpu")


@pytest.mark.parametrize("most", [1, 2, 7, 8, 100])
def test_largest_is_the_limit_or_the_most(most: int) -> None:
    """For every limit there is; nothing above the most is tried, and nothing twice."""
    for limit in range(110):
        tried: list[int] = []

        def fits(n: int, limit: int = limit, tried: list[int] = tried) -> bool:
            tried.append(n)
            return n <= limit

        assert largest(fits, most) == min(limit, most)
        assert max(tried) <= most
        assert len(tried) == len({*tried}) <= 2 * most.bit_length()


# ---------------------------------------------------------------- what autograd keeps


def test_kept_counts_bytes_at_one_time() -> None:
    """x² keeps x, 800 bytes; of two graphs, both where the first is still there, and of one storage once."""
    x, y = (torch.ones(100, dtype=torch.float64, requires_grad=True) * 2 for _ in range(2))

    def in_turn() -> None:
        for one in (x, y):
            (one**2).sum()

    def together() -> None:
        _graphs = [(one**2).sum() for one in (x, y)]

    def thrice() -> None:
        _graphs = [(x**2).sum() for _ in range(3)]

    assert [Kept().of(run) for run in (in_turn, together, thrice)] == [800, 1600, 800]


def test_kept_leaves_parameters_out() -> None:
    layer, x = torch.nn.Linear(10, 10).double(), torch.rand(5, 10, dtype=torch.float64)
    assert Kept().of(lambda: layer(x).sum() and None) == x.numel() * 8


# ---------------------------------------------------------------- made-up updates


@pytest.fixture(scope="module")
def trial(paired: str, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return Trial(config_of("pix2pix", paired, str(tmp_path_factory.mktemp("runs")), training__batch=2), CPU, 2)


def test_trial_batches_are_copies_for_one_worker(trial: Trial) -> None:
    first, second = (batch for batch, _ in zip(trial._batches(3), range(2), strict=False))
    assert (first.size, first.start, first.stop, second.images - first.images) == (6, 0, 3, 6)
    for x in first.fields.values():
        assert len(x) == 3
        assert torch.equal(x[0], x[2])
    assert torch.equal(first["a"][:1], trial.sample["a"])


@pytest.mark.parametrize("method", SMALL)
def test_trial_updates_every_method(method: str, storage: str, request: pytest.FixtureRequest) -> None:
    data = request.getfixturevalue(METHODS[method].method.needs.kind)
    needed = bytes_of_updates(Trial(config_of(method, data, storage), CPU, 2))
    assert 0 < needed(1) < needed(2) < needed(100)


def test_bytes_of_updates_equal_what_a_larger_update_keeps(trial: Trial) -> None:
    kept = Kept().of(lambda: trial.update(12))
    parameters = sum(p.numel() * p.element_size() for p in trial.build().networks.parameters())
    assert bytes_of_updates(trial)(12) == pytest.approx(kept + COPIES * parameters, rel=0.02)


def test_fits_on_gpu_tells_what_does_not_fit_from_what_is_wrong(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Allocations that cannot succeed above five samples; then another error."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    right, error = trial.update, RuntimeError("a fault")

    def update(n: int, times: int = 1) -> None:
        if n > 5:
            torch.empty(2**60, dtype=torch.uint8)
        right(n, times)

    monkeypatch.setattr(trial, "update", update)
    assert largest(lambda n: fits_on_gpu(trial, n), 16) == 5

    def wrong(n: int, times: int = 1) -> None:
        raise error

    monkeypatch.setattr(trial, "update", wrong)
    with pytest.raises(RuntimeError) as raised:
        fits_on_gpu(trial, 1)
    assert raised.value is error


def of_memory(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    monkeypatch.setattr(fitting_batch, "memory_of", lambda device: Memory(2**40, int(free)))


def test_fitting_takes_a_worker_share_of_the_host(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = bytes_of_updates(trial)
    of_memory(monkeypatch, 3 * needed(10) / SHARE_OF_HOST + 9)
    assert fitting(trial.config, CPU, workers=2, on_node=3) == 10
    assert fitting(trial.config, CPU, workers=2, on_node=3, most=4) == 4
    of_memory(monkeypatch, needed(1) / SHARE_OF_HOST - 9)
    with pytest.raises(ResourceError, match="--batch: found auto, and an update of one sample does not fit"):
        fitting(trial.config, CPU, workers=2, on_node=1)


def test_fitting_looks_at_every_stage(unpaired: str, storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second stage's images have four times the pixels of the first's, and the third's again fewer."""
    stages = ("images=12 size=8", "images=12 size=16", "size=8")
    config = config_of("cyclegan", unpaired, storage, training__stages=stages, training__batch=1)
    small, large, _ = (bytes_of_updates(Trial(config, CPU, 1, number)) for number in range(3))
    assert large(8) > 2 * small(8)
    of_memory(monkeypatch, large(8) / SHARE_OF_HOST + 9)
    assert fitting(config, CPU, workers=1, on_node=1) == 8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_fitting_on_a_gpu_is_the_most_that_fits(paired: str, storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In half a GiB of it: what is found fits, twice as many do not, and all of the memory is free again."""
    config = config_of("pix2pix", paired, storage, training__batch=1, hyper__image_size=64, hyper__g_base=32)
    device, total = torch.device("cuda"), torch.cuda.mem_get_info()[1]
    monkeypatch.setattr(fitting_batch, "SHARE_OF_GPU", 2**29 / total)
    found = fitting(config, device, workers=1, on_node=1, most=2**16)
    assert 1 < found < 2**15
    trial = Trial(config, device, 1)
    torch.cuda.set_per_process_memory_fraction(2**29 / total)
    try:
        assert fits_on_gpu(trial, found)
        assert not fits_on_gpu(trial, 2 * found)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert torch.cuda.memory_reserved() < 2**29


# ---------------------------------------------------------------- a number before anything reads it


def test_batch_takes_auto_on_the_command_line_and_in_files() -> None:
    start = TrainConfig.of("pix2pix", "demo")
    assert isinstance(parse(start, "train.py", ["--batch", "auto"]).training.batch, Auto)
    assert parse(start, "train.py", ["--batch", "12"]).training.batch == 12
    text = json.dumps({"version": 2, "method": "pix2pix", "preset": "demo", "training": {"batch": "auto"}})
    filled = TrainConfig.filled(text, "mine.json")
    assert isinstance(filled.training.batch, Auto)
    assert json.loads(filled.dumps())["training"]["batch"] == "auto"
    assert isinstance(TrainConfig.loads(filled.dumps(), "saved").training.batch, Auto)
    assert isinstance(pickle.loads(pickle.dumps(filled)).training.batch, Auto)
    assert str(AUTO) == repr(AUTO) == "auto"


@pytest.mark.parametrize("batch", ["0", "-1", "many"])
def test_batch_refuses_other_values(batch: str) -> None:
    with pytest.raises((ConfigError, SystemExit)):
        parse(TrainConfig.of("pix2pix", "demo"), "train.py", ["--batch", batch])


def test_settings_refuse_auto_where_it_means_nothing() -> None:
    with pytest.raises(ConfigError, match=r"training\.seed"):
        from_dict(TrainingConfig, {"seed": "auto"}, "training")
    with pytest.raises(ConfigError, match="--batch"):
        from_dict(TrainingConfig, {"batch": 0}, "training")
    assert to_dict(TrainingConfig(batch=AUTO))["batch"] == "auto"


def test_prepare_refuses_auto(paired: str) -> None:
    config = TrainConfig.of("pix2pix", "demo", {"data.uri": paired, "training.batch": "auto"})
    with pytest.raises(ConfigError, match="--batch: found auto; expected a number by now"):
        prepare(config)


def test_run_name_does_not_depend_on_what_fits() -> None:
    auto, again, number = (TrainConfig.of("pix2pix", "demo", {"training.batch": b}) for b in ("auto", "auto", 8))
    assert auto.run_name == again.run_name != number.run_name
