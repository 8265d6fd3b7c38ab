"""A method that lies outside of the tree trains, resumes, translates, is measured and searched by its name.

pytest tests/integration/test_outside_method.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.run import TrainConfig
from i2i_core.errors import ConfigError, UserError
from i2i_core.methods import METHODS, build_method
from i2i_core.registry import _CLASSES, entry
from i2i_core.training.preparing import prepare

from ..support.data import ROOT
from ..support.runs import assert_equal, loop_of, run_until, state_of

OUTSIDE = ROOT / "tests/support/outside"
NAME = "brightgan:BrightGAN"
SPACE = f"""
from i2i_core.search.space import Space, log_uniform
SPACE = Space(method="{NAME}", parameters={{"hyper.lambda_bright": log_uniform(1, 100, "10 is the default")}},
              metrics=("l1",))
"""


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package is on the path, as PYTHONPATH puts it there; no trace of it is left."""
    monkeypatch.syspath_prepend(str(OUTSIDE))
    before = set(METHODS)
    yield
    for name in set(METHODS) - before:
        del METHODS[name], _CLASSES[name]
    sys.modules.pop("brightgan", None)


def config(uri: str, storage: Path) -> TrainConfig:
    values = {"data.uri": uri, "data.loaders": 0, "launch.storage": str(storage), "launch.name": "run"}
    values |= {"monitoring.checkpoint_every": 16, "monitoring.keep_last": 9, "monitoring.evaluate_every": 24}
    return prepare(TrainConfig.of(NAME, "small", values))


@pytest.mark.usefixtures("importable")
def test_outside_method_is_built_by_its_name_with_options_of_its_own() -> None:
    method = build_method(NAME, preset="small", lambda_bright=3)
    assert type(method).__name__ == "BrightGAN"
    assert method.config.lambda_bright == 3
    assert method.needs.kind == "paired"
    assert TrainConfig.of(NAME, "small").run_name.startswith("brightgan-BrightGAN-small-")


@pytest.mark.usefixtures("importable")
def test_outside_method_resumes_as_if_it_had_never_stopped(paired: str, tmp_path: Path) -> None:
    whole = loop_of(config(paired, tmp_path / "whole"))
    whole.train()
    run_until(config(paired, tmp_path / "cut"), 24)
    resumed = loop_of(config(paired, tmp_path / "cut"))
    assert resumed.progress.images == 24
    resumed.train()
    assert_equal(state_of(whole), state_of(resumed))
    made = load_trained(resumed.run.url, torch.device("cpu")).method
    assert type(made).__name__ == "BrightGAN"


@pytest.fixture
def stranger(paired: str, tmp_path: Path) -> Iterator[Path]:
    """A checkpoint, in a process that has imported nothing for it."""
    loop_of(config(paired, tmp_path)).train()
    del METHODS[NAME], _CLASSES[NAME], sys.modules["brightgan"]
    yield next((tmp_path / "run/checkpoints").iterdir())
    assert "brightgan" not in sys.modules or NAME in METHODS


ASKED = {
    "a checkpoint": lambda run, _: load_trained(str(run), torch.device("cpu")),
    "a configuration": lambda run, _: TrainConfig.loads((run / "config.json").read_text(), "config.json"),
    "--config": lambda run, _: TrainConfig.filled((run / "config.json").read_text(), "config.json"),
    "--init-from": lambda run, data: prepare(
        TrainConfig.of("pix2pix", "demo", {"data.uri": data, "training.init_from": str(run)})
    ),
}


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize("what", ASKED)
def test_outside_method_that_only_a_file_names_is_not_imported(what: str, stranger: Path, paired: str) -> None:
    with pytest.raises(UserError, match=r"(?s)config.json: method: found 'brightgan:BrightGAN'.*I2I_METHODS=brightgan"):
        ASKED[what](stranger, paired)
    assert "brightgan" not in sys.modules


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize("names", [NAME, f"other.place:Class,{NAME}"])
def test_outside_method_is_imported_where_the_advice_is_followed(
    names: str, stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("I2I_METHODS", names)
    assert type(load_trained(str(stranger), torch.device("cpu")).method).__name__ == "BrightGAN"


@pytest.mark.usefixtures("importable")
def test_outside_method_on_the_command_line_may_stand_in_the_file_too(stranger: Path) -> None:
    filled = TrainConfig.filled((stranger / "config.json").read_text(), "config.json", NAME)
    assert filled.method == NAME
    assert type(load_trained(str(stranger), torch.device("cpu")).method).__name__ == "BrightGAN"


@pytest.mark.usefixtures("importable")
def test_outside_method_is_named_by_an_entry_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As that of an installed package: its metadata lies beside it."""
    about = tmp_path / "brightgan-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: brightgan\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[i2i.methods]\nbright = {NAME}\n")
    with pytest.raises(ConfigError, match="found 'bright'; expected a method"):
        entry("bright")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert entry("bright").method.__name__ == "BrightGAN"
    assert TrainConfig.of("bright", "small").method == "bright"


LACKING = {
    "nothing.of:It": "a class that is not there",
    "brightgan:No": "a class that is not there",
    ":It": "a class that is not there",
    "brightgan:": "a class that is not there",
    "brightgan:BrightConfig": "which lacks a subclass of .* and Config, .* and presets",
    "i2i_core.methods.pix2pix:Pix2Pix": "which lacks Config, the dataclass of its options and presets",
    "torch.nn:Module": "which lacks a subclass of",
}


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize("name", LACKING)
def test_outside_method_that_is_none_is_one_message(name: str) -> None:
    with pytest.raises(ConfigError, match=LACKING[name]):
        entry(name)
    assert name not in METHODS


@pytest.mark.usefixtures("importable")
def test_outside_method_whose_module_fails_is_one_message_with_the_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("import torch\n\nRATE = 1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"ZeroDivisionError: division by zero \(.*broken\.py, line 3\)"):
        TrainConfig.of("broken:It", "small")


@pytest.mark.usefixtures("importable")
def test_outside_method_flag_of_another_section_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (OUTSIDE / "brightgan.py").read_text().replace("lambda_bright", "batch")
    (tmp_path / "clashing.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"has the flag of TrainingConfig\.batch"):
        entry("clashing:BrightGAN")


def program(name: str, *arguments: object) -> str:
    command = [sys.executable, str(ROOT / f"pipelines/{name}.py"), *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{OUTSIDE}", "I2I_METHODS": NAME}
    done = subprocess.run(command, cwd=OUTSIDE, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.processes
def test_outside_method_flags_are_listed_and_refused_like_ours(paired: str, tmp_path: Path) -> None:
    assert "--lambda-bright" in program("train", "--method", NAME, "--help")
    said = program(
        "train", "--method", NAME, "--preset", "small", "--data", paired, "--dry-run", "--lambda-bright", "2"
    )
    values = json.loads(said[said.index("\n{") :])
    assert (values["method"], values["preset"], values["hyper"]["lambda_bright"]) == (NAME, "small", 2)


@pytest.mark.ray
@pytest.mark.slow
def test_outside_method_runs_in_every_program(paired: str, tmp_path: Path) -> None:
    """Two workers on Ray, then what is made of the checkpoint, and a search."""
    how = ("--method", NAME, "--preset", "small", "--data", paired, "--cpu")
    said = program("train", *how, "--workers", 2, "--storage", tmp_path, "--name", "run")
    assert "finished after 48 images" in said
    run = tmp_path / "run"
    program("translate", run, "--input", paired, "--split", "val", "--most", 3, "--out", tmp_path / "out", "--cpu")
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
    assert "l1" in program("evaluate", run, "--data", paired, "--split", "val", "--cpu")
    (tmp_path / "space.py").write_text(SPACE)
    searched = ("--space", tmp_path / "space.py", "--samples", 2, "--evaluate-every", 24, "--storage", tmp_path)
    assert "best trial's run" in program("tune", *how, *searched, "--name", "sweep")
