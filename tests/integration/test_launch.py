"""What a launch of a run and its workers tell each other through the run's folder.

pytest tests/integration/test_launch.py
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from i2i_core.errors import ConfigError, DataError, RunError, Stopped
from i2i_core.orchestration.launch import _outcome, _reason, check_run, stopping_on_signal
from i2i_core.orchestration.sharding import shard_glyphs
from i2i_core.orchestration.worker import is_over_for, record, train
from i2i_core.runs.folder import RunFolder, images_of
from i2i_core.training.preparing import has_finished
from i2i_core.training.sync import World

from ..support.runs import config_of, loop_of

CPU = torch.device("cpu")


def launched(run: RunFolder, attempt: str) -> None:
    run.write_json(RunFolder.STATUS, {"state": "running", "attempt": attempt})


def test_worker_records_the_end_of_a_run_and_one_started_again_finds_it(labelled: str, storage: str) -> None:
    config = config_of("stargan", labelled, storage)
    run = RunFolder(f"{storage}/run")
    launched(run, "one")
    run.write("config.json", config.dumps().encode())
    assert train(config, World(), CPU, "one")["there_and_back"] > 0
    assert run.read_json(RunFolder.STATUS)["state"] == "finished"
    assert has_finished(config, config, run)
    assert train(config, World(), CPU, "one") == {}, "over"
    assert not has_finished(config_of("stargan", labelled, storage, training__images=200), config, run)


def test_launch_that_was_taken_over_records_nothing(storage: str) -> None:
    run = RunFolder(f"{storage}/run")
    launched(run, "second")
    record(run, "first", state="failed", error="late")
    assert run.read_json(RunFolder.STATUS) == {"state": "running", "attempt": "second"}
    assert is_over_for(run, "first")
    assert not is_over_for(run, "second")


@pytest.mark.parametrize(("written", "stops"), [(b"", True), (b"mine", True), (b"another", False)])
def test_stop_file_stops_the_run_that_it_names(
    written: bytes, stops: bool, labelled: str, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("i2i_core.orchestration.worker.LOOKS_EVERY", 0.01)
    config = config_of("stargan", labelled, storage, training__images=600)
    run = RunFolder(f"{storage}/run")
    launched(run, "mine")
    run.write(RunFolder.STOP, written)
    train(config, World(), CPU, "mine")
    status = run.read_json(RunFolder.STATUS)
    assert status["state"] == ("stopped" if stops else "finished")
    if stops:
        with pytest.raises(
            Stopped, match=r"run: stopped after [\d]+ of 600 images, as asked. Everything is saved: the same"
        ):
            _outcome(run)
        run.remove(RunFolder.STOP)
        launched(run, "mine")
        train(config, World(), CPU, "mine")
        assert run.read_json(RunFolder.STATUS)["images"] == 600
    assert _outcome(run).images == 600


def test_outcome_of_a_run_that_failed_is_no_stop(storage: str) -> None:
    run = RunFolder(f"{storage}/run")
    run.write_json(RunFolder.STATUS, {"state": "failed", "attempt": "one", "error": "no room"})
    with pytest.raises(RunError, match="run: no room") as caught:
        _outcome(run)
    assert not isinstance(caught.value, Stopped)
    launched(run, "two")
    with pytest.raises(RunError, match="taken it over"):
        _outcome(run)


def test_signal_asks_to_stop_once_and_then_acts_as_before(storage: str) -> None:
    run = RunFolder(f"{storage}/run")
    before = signal.default_int_handler  # a shell's background jobs are born deaf to Ctrl-C
    signal.signal(signal.SIGINT, before)
    with stopping_on_signal("the run", lambda: run.write(RunFolder.STOP, b"mine")) as asked:
        os.kill(os.getpid(), signal.SIGINT)
        asked.join()
        assert run.read(RunFolder.STOP) == b"mine"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_worker_refuses_other_data_than_at_launch(storage: str, tmp_path: Path) -> None:
    """A data set that was made anew at the same place, between a crash and Ray's restart."""
    shard_glyphs(str(tmp_path / "data"), "labelled", 16, characters=30)
    config = config_of("stargan", str(tmp_path / "data"), storage)
    (tmp_path / "data").rename(tmp_path / "old")
    shard_glyphs(str(tmp_path / "data"), "labelled", 16, characters=31)
    with pytest.raises(DataError, match="other data"):
        loop_of(config)


def test_reason_of_an_error_without_words_is_its_name() -> None:
    assert _reason(ValueError()) == "ValueError"
    assert _reason(ValueError("first\nlast")) == "last"


def test_check_run_refuses_a_length_that_the_run_has_passed(labelled: str, storage: str) -> None:
    config = config_of("stargan", labelled, storage, training__images=48)
    launched(RunFolder(f"{storage}/run"), "one")
    RunFolder(f"{storage}/run").write("config.json", config.dumps().encode())
    train(config, World(), CPU, "one")
    check_run(config)
    check_run(config.with_section("training", images=96))
    with pytest.raises(ConfigError, match=r"--images: found a length of 24 images; expected at least the \d+ that "):
        check_run(config.with_section("training", images=24))


def test_check_run_takes_the_length_that_the_last_update_has_passed(labelled: str, storage: str) -> None:
    """The same command once more: of 50 images in updates of 24 the run has seen 72."""
    config = config_of("stargan", labelled, storage, training__images=50)
    launched(RunFolder(f"{storage}/run"), "one")
    RunFolder(f"{storage}/run").write("config.json", config.dumps().encode())
    train(config, World(), CPU, "one")
    assert images_of(RunFolder(f"{storage}/run").whole_checkpoints()[-1]) > 50
    check_run(config)
    with pytest.raises(ConfigError, match="--images"):
        check_run(config.with_section("training", images=49))


@pytest.mark.parametrize(("state", "key"), [("stopped", "reason"), ("failed", "error"), ("stopped", "error")])
def test_outcome_says_why_a_run_ended(state: str, key: str, storage: str) -> None:
    """Earlier releases wrote why a run was stopped as `error`."""
    run = RunFolder(f"{storage}/run")
    run.write_json(RunFolder.STATUS, {"state": state, "attempt": "one", key: "somebody wished so"})
    with pytest.raises(RunError, match=r"run: somebody wished so$"):
        _outcome(run)
