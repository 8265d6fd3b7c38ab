"""Wrong input to train.py: exit code 2 and one message, before any worker starts.

pytest tests/integration/test_train_cli.py
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from i2i_core import cli
from i2i_core.config.run import TrainConfig
from i2i_core.storage.folder import Folder
from pipelines import train

Captured = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@pytest.fixture
def copy(labelled: str, tmp_path: Path) -> Path:
    """The labelled data set, to be damaged."""
    return Path(shutil.copytree(labelled, tmp_path / "copy"))


def message(arguments: list[str], monkeypatch: Patch, capsys: Captured) -> str:
    """What `train.py ARGUMENTS` prints as its error; asserts the exit code and that it is no traceback."""
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main(train.run)
    said = capsys.readouterr()
    assert ended.value.code == 2, said
    assert "Traceback" not in said.err + said.out
    return said.err + said.out


SMALL = ["--method", "stargan", "--preset", "demo", "--image-size", "16", "--d-layers", "3"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--method"),
        (["--method", "cyclegna"], "expected a method"),
        (["--method", "stargen"], "Did you mean stargan?"),
        (["--method", "stargan", "--preset", "papr"], "Did you mean paper"),
        ([*SMALL, "--lambda-rce", "1"], "lambda-rec"),
        ([*SMALL, "--lambda-rec", "-1"], "--lambda-rec: found -1.0; expected a number >= 0"),
        ([*SMALL, "--n-critic", "0"], "--n-critic"),
        ([*SMALL, "--n-critic", "two"], "n-critic"),
        (["--method", "pix2pix", "--image-size", "250"], "--image-size"),
        ([*SMALL, "--data", "nowhere/at/all"], "nothing at that place"),
        ([*SMALL, "--config", "nowhere.json"], "no file nowhere.json"),
        ([*SMALL, "--name", "../x"], "--name: found '../x', a path; expected one name"),
    ],
)
def test_train_refuses_wrong_flags(arguments: list[str], said: str, monkeypatch: Patch, capsys: Captured) -> None:
    assert said in message(arguments, monkeypatch, capsys)


def test_train_refuses_stages_before_it_makes_built_in_data(monkeypatch: Patch, capsys: Captured) -> None:
    monkeypatch.setattr("i2i_core.orchestration.sharding.builtin_data", lambda *_: pytest.fail("made"))
    stages = ["--stages", "images=8", "size=48"]
    said = message(["--method", "pix2pix", "--preset", "demo", *stages], monkeypatch, capsys)
    assert "--stages: stage 2 of 2: found size=48" in said


def test_starting_point_reads_a_configuration_from_a_url(s3: str) -> None:
    """As `tune.py` leaves the best one of a sweep."""
    config = TrainConfig.of("stargan", "demo", {"hyper.lambda_rec": 7.0})
    Folder(s3).write("best.json", config.dumps().encode())
    assert train.starting_point(["--config", f"{s3}/best.json"]) == config


def test_train_refuses_a_folder_without_a_manifest(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    said = message([*SMALL, "--data", str(tmp_path)], monkeypatch, capsys)
    assert "without manifest.json" in said
    assert "shard.py" in said


def test_train_refuses_a_newer_manifest(copy: Path, monkeypatch: Patch, capsys: Captured) -> None:
    manifest = copy / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": 99}))
    assert "version 99" in message([*SMALL, "--data", str(copy)], monkeypatch, capsys)


def test_train_refuses_data_of_another_kind(paired: str, monkeypatch: Patch, capsys: Captured) -> None:
    said = message([*SMALL, "--data", paired], monkeypatch, capsys)
    assert "found paired samples; expected labelled ones" in said
    assert "pix2pix" in said


def test_train_refuses_an_unknown_attribute(labelled: str, monkeypatch: Patch, capsys: Captured) -> None:
    said = message([*SMALL, "--data", labelled, "--attributes", "blod"], monkeypatch, capsys)
    assert "Did you mean bold" in said


def test_train_refuses_a_missing_and_a_truncated_shard(copy: Path, monkeypatch: Patch, capsys: Captured) -> None:
    shard = next(copy.glob("train-*.tar"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-512])
    said = message([*SMALL, "--data", str(copy)], monkeypatch, capsys)
    assert shard.name in said
    assert f"{len(whole) - 512} bytes" in said
    shard.unlink()
    assert "no such shard" in message([*SMALL, "--data", str(copy)], monkeypatch, capsys)


def test_train_refuses_an_altered_index(copy: Path, monkeypatch: Patch, capsys: Captured) -> None:
    index = next(copy.glob("index/train*.npz"))
    index.write_bytes(index.read_bytes()[:-1] + b"x")
    assert index.name in message([*SMALL, "--data", str(copy)], monkeypatch, capsys)


def test_train_refuses_more_workers_than_the_batch_has_room_for(
    labelled: str, monkeypatch: Patch, capsys: Captured
) -> None:
    said = message([*SMALL, "--data", labelled, "--batch", "4", "--workers", "5"], monkeypatch, capsys)
    assert "5 workers for a global batch of 4" in said
    assert "--batch 5" in said


def test_train_refuses_storage_that_cannot_be_written(
    labelled: str, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    (tmp_path / "file").write_text("in the way")
    said = message([*SMALL, "--data", labelled, "--storage", str(tmp_path / "file")], monkeypatch, capsys)
    assert "--storage" in said


def test_train_refuses_a_checkpoint_that_is_none(
    labelled: str, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    said = message([*SMALL, "--data", labelled, "--init-from", str(tmp_path)], monkeypatch, capsys)
    assert "without checkpoints" in said


def test_train_checks_and_starts_nothing_in_a_dry_run(
    labelled: str, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    storage = tmp_path / "my runs"
    monkeypatch.setattr(sys, "argv", ["train.py", *SMALL, "--data", labelled, "--storage", str(storage), "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        cli.main(train.run)
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert '"c_dim": 4' in said
    (command,) = (line.partition(": ")[2] for line in said.splitlines() if line.startswith("watch with: "))
    assert shlex.split(command) == ["tensorboard", "--logdir", str(storage)], "as it stands in the line, to be copied"
    assert not storage.exists()
