"""A disk that fills and stays full, a storage that turns read-only or goes: the run ends once, with one message.

The filesystems are real: small ones in a mount namespace. pytest tests/integration/test_full_disk.py
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from i2i_core.checkpoints.writer import MOST_WITHOUT_ROOM
from i2i_core.errors import ResourceError, RunError, UnrecordedError
from i2i_core.orchestration.launch import check_storage
from i2i_core.orchestration.worker import train
from i2i_core.runs.folder import RunFolder, name_at
from i2i_core.storage.retry import PATIENCE, StorageError
from i2i_core.training.sync import World

from ..support.full_disk import AT, NAMESPACE, SCENES, no_namespace
from ..support.processes import ROOT, SMALL
from ..support.runs import config_of, loop_of

CPU = torch.device("cpu")


needs_namespace = pytest.mark.skipif(bool(no_namespace()), reason=f"no mount namespace here: {no_namespace()}")


@pytest.fixture(scope="module")
def scenes(labelled: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each scene of tests/support/full_disk.py; its standard error is `stderr`."""
    command = [
        *NAMESPACE,
        sys.executable,
        "-m",
        "tests.support.full_disk",
        labelled,
        str(tmp_path_factory.mktemp("fs")),
    ]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "stderr": done.stderr}


@needs_namespace
@pytest.mark.processes
@pytest.mark.xdist_group("scenes")
@pytest.mark.parametrize("scene", SCENES)
def test_run_on_a_storage_out_of_order_ends_once_and_goes_on_when_it_is_repaired(
    scene: str, scenes: dict[str, Any]
) -> None:
    found = scenes[scene]
    checkpoints = MOST_WITHOUT_ROOM if scene in ("full", "no_names_left") else 1
    assert found["images"] <= AT + 12 * checkpoints + 24, "it trained on for nothing"
    assert not found["raised"].startswith("RAW")
    assert "Traceback" not in scenes["stderr"]
    assert found["left"] == []
    scalars = [line for line in found["said"] if "scalars and grids are not written" in line]
    assert len(scalars) <= 1, "said once"
    again = found["again"]
    assert again["raised"] == ""
    assert again["status"]["state"] == "finished"
    assert again["equal"], "as if nothing had happened"


@needs_namespace
@pytest.mark.processes
@pytest.mark.xdist_group("scenes")
@pytest.mark.parametrize("scene", ["full", "no_names_left"])
def test_full_disk_is_waited_for_and_then_recorded(scene: str, scenes: dict[str, Any]) -> None:
    """In the room that status.json has: there is no other."""
    found = scenes[scene]
    assert found["raised"] == ""
    assert found["whole"] == [name_at(12)]
    assert found["status"]["state"] == "failed"
    error = found["status"]["error"]
    for part in (f"{MOST_WITHOUT_ROOM} checkpoints in a row had no room", name_at(12), "No space left", "same command"):
        assert part in error
    waited = [line for line in found["said"] if "tries again at the next checkpoint" in line]
    assert len(waited) == MOST_WITHOUT_ROOM - 1


@needs_namespace
@pytest.mark.processes
@pytest.mark.xdist_group("scenes")
def test_read_only_storage_ends_the_run_with_what_its_status_could_not_take(scenes: dict[str, Any]) -> None:
    found = scenes["read_only"]
    assert "images-000000000024 could not be written (Read-only file system)" in found["raised"]
    assert f"last whole checkpoint is {name_at(12)}" in found["raised"]
    assert f"{RunFolder.STATUS} could not be written" in found["raised"]
    assert found["status"] == {"state": "running", "attempt": "first"}, "which the next launch takes over"


@needs_namespace
@pytest.mark.processes
@pytest.mark.xdist_group("scenes")
@pytest.mark.parametrize("scene", ["run_deleted", "unmounted"])
def test_storage_that_is_gone_is_not_made_again(scene: str, scenes: dict[str, Any]) -> None:
    """Under a mount point lies another disk."""
    found = scenes[scene]
    assert "is not there any more: it was removed, replaced or unmounted" in found["raised"]
    assert not found["there"]


def test_run_whose_folder_is_deleted_between_launch_and_workers_does_not_begin_anew(
    labelled: str, storage: str
) -> None:
    with pytest.raises(UnrecordedError, match="is not there any more, or not on this node"):
        train(config_of("stargan", labelled, storage), World(), CPU, "one", launched=True)
    assert not Path(storage, "run").exists()


def test_launch_refuses_a_storage_that_cannot_take_a_checkpoint(storage: str) -> None:
    run = RunFolder(f"{storage}/run")
    run.write("checkpoints", b"a file in the way")
    with pytest.raises(ResourceError, match=r"where writing fails .*checkpoints"):
        check_storage(run)
    run.remove("checkpoints")
    assert check_storage(run) > 0
    assert run.names("checkpoints") == []


def test_storage_that_does_not_answer_ends_the_run_and_is_recorded(
    labelled: str, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer's thread meets it; the run stops at the next update, and says so in its status, which answers."""
    monkeypatch.setenv(PATIENCE, "1")
    config = config_of("stargan", labelled, storage, monitoring__checkpoint_every=12)

    class Silent(RunFolder):
        def write(self, path: str, data: bytes) -> None:
            if path.startswith(RunFolder.CHECKPOINTS):
                raise StorageError(f"{path} has not answered for 1 s")
            super().write(path, data)

    loop = loop_of(config, run=Silent(f"{storage}/run"))
    monkeypatch.setattr("i2i_core.orchestration.worker.Loop", lambda *args, **named: loop)
    assert train(config, World(), CPU, "one") == {}
    status = loop.run.read_json(RunFolder.STATUS)
    assert status["state"] == "failed"
    assert "has not answered for 1 s" in status["error"]
    assert loop.progress.images < 96


def test_run_ends_with_its_reason_where_its_status_cannot_be_written(labelled: str, storage: str) -> None:
    """A folder in the place of status.json: even a root cannot write there."""
    Path(storage, "run", RunFolder.STATUS).mkdir(parents=True)
    with pytest.raises(
        RunError, match=r"finished after 96 images\n  Its status.json could not be written \(Is a directory\)"
    ):
        train(config_of("stargan", labelled, storage), World(), CPU, "one")


ON_RAY = """
set -u
mount -t tmpfs -o size=24m tmpfs "$HOME_OF_RUN"
train() {
  "$PYTHON" pipelines/train.py --method stargan --data "$DATA" --storage "$HOME_OF_RUN/s" --name run $FLAGS >>"$1" 2>&1
}
train "$LOGS/first" & P=$!
until ls "$HOME_OF_RUN"/s/run/checkpoints/*/checksums.json >/dev/null 2>&1; do kill -0 $P || break; sleep 0.1; done
if [ "$SCENE" = full ]; then head -c 30m /dev/zero >"$HOME_OF_RUN/fill" 2>/dev/null
else mount -o remount,ro "$HOME_OF_RUN"; fi
wait $P; echo "exit $?" >>"$LOGS/first"
cp "$HOME_OF_RUN/s/run/status.json" "$LOGS/status.json"
if [ "$SCENE" = full ]; then rm "$HOME_OF_RUN/fill"; else mount -o remount,rw "$HOME_OF_RUN"; fi
train "$LOGS/second"; echo "exit $?" >>"$LOGS/second"
"""
"""Two launches on Ray, the first of which loses its storage for good after its first checkpoint."""


@needs_namespace
@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(
    ("scene", "why"), [("full", "No space left on device"), ("read_only", "Read-only file system")]
)
def test_run_on_ray_trains_nothing_again_on_a_storage_out_of_order(
    scene: str, why: str, labelled: str, tmp_path: Path
) -> None:
    home, logs = tmp_path / "home", tmp_path / "logs"
    home.mkdir()
    logs.mkdir()
    flags = [*SMALL, "--images", "2400", "--checkpoint-every", "40", "--patience", "1"]
    own = {"HOME_OF_RUN": home, "LOGS": logs, "DATA": labelled, "PYTHON": sys.executable, "SCENE": scene}
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {k: str(v) for k, v in own.items()}
    environment |= {"FLAGS": " ".join(flags), "PYTHONPATH": str(ROOT)}
    subprocess.run([*NAMESPACE, "bash", "-c", ON_RAY], cwd=ROOT, env=environment, check=False)
    first, second = (logs / "first").read_text(), (logs / "second").read_text()
    assert first.endswith("exit 1\n"), first[-3000:]
    assert first.count("failed: ") == 1
    failed = first[first.index("failed: ") :]
    assert why in failed
    assert "Traceback" not in first
    assert len(re.findall(r"of 2,400 images, [\d,]+ an epoch", first)) == 1, "the workers began once"
    assert json.loads((logs / "status.json").read_text())["state"] == ("failed" if scene == "full" else "running")
    assert second.endswith("exit 0\n"), second[-3000:]
    assert "resumed from" in second
