"""What a job says of files that did not come with it.

pytest tests/unit/test_submitted.py
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from i2i_core import cli
from i2i_core.data.format.manifest import DataSet
from i2i_core.errors import ConfigError
from i2i_core.submitted import why_absent
from pipelines import train


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that Ray copies a submitted one to, and runs the program in."""
    place = tmp_path / "ray/session_1/runtime_resources/working_dir_files/_ray_pkg_0123"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    return place


def message(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What `train.py` says at its end."""
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit):
        cli.main(train.run)
    return capsys.readouterr().err


def test_why_absent_explains_a_file_that_did_not_come_with_the_job_and_what_it_advises_works(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--config", "my values.yaml", "--method", "unit", "--preset", "demo"]
    said = message(command, monkeypatch, capsys)
    assert said.splitlines()[-1] == (
        f"  This is a job: it runs on {socket.gethostname()}, in a copy of the folder that you submitted, where my "
        "values.yaml is not. Files of your own machine are not there, but for those of that folder which neither "
        ".rayignore nor .gitignore leaves out. Give a path that all nodes see, or a URL."
    )
    (copy / "my values.yaml").write_text("hyper: {lambda_x: 1}")
    said = message(command, monkeypatch, capsys)
    assert "lambda_x" in said
    assert "This is a job" not in said, "it came along: what is wrong is in it"


def test_why_absent_explains_data_of_another_machine(copy: Path, labelled: str) -> None:
    with pytest.raises(Exception, match="nothing at that place") as caught:
        DataSet(f"{copy}/elsewhere/data")
    assert f"{copy}/elsewhere/data is not" in why_absent(caught.value, [])  # type: ignore[arg-type]
    spaced = ConfigError("--config", "no file /home/me/a b.json", "a config.json", "Name one.")
    assert "/home/me/a b.json is not" in why_absent(spaced, ["--config=/home/me/a b.json"])
    for there in ("--data: s3://bucket/x", f"data {labelled}", "runs/x", "--norm: and/or"):
        assert not why_absent(ConfigError(there, "nothing", "something", "Do."), []), there


def test_why_absent_is_silent_outside_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not why_absent(ConfigError("--data", "nothing at /home/me/data", "data", "Make some."), [])
