"""Launches of one run at the same moment, all of them whole: one has the run, and its result is that of a run alone.

pytest tests/integration/test_launches.py -m slow; the claim by itself, hundreds of times: tests/unit/test_attempts.py
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from i2i_core.runs.folder import RunFolder

from ..support.processes import ROOT, SMALL, differences, state_of

IMAGES = 120
CHILD = """
import sys
from uuid import uuid4
import torch
from i2i_core.errors import RunError
from i2i_core.runs.attempts import begin, held
from i2i_core.orchestration.worker import train
from i2i_core.runs.folder import RunFolder
from i2i_core.training.sync import World
from tests.support.launching import clock_of
from tests.support.runs import config_of

data, storage, images = sys.argv[1:]
torch.set_num_threads(1)
over = {"monitoring__checkpoint_every": 6, "monitoring__keep_last": 1, "monitoring__log_every": 600}
config = config_of("stargan", data, storage, training__images=int(images), **over)
run, attempt = RunFolder(f"{storage}/run"), uuid4().hex
print("ready", flush=True)
sys.stdin.readline()
since = clock_of(run)
try:
    with held(run, attempt, since):
        begin(run, attempt, config.dumps().encode())
        metrics = train(config, World(), torch.device("cpu"), attempt)
    status = run.status()
    print("WON" if status["attempt"] == attempt and status["state"] == "finished" else "TAKEN OVER")
except RunError as error:
    print("SAID", str(error).splitlines()[0])
"""


def started(data: str, storage: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, data, storage, str(IMAGES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()


def ready(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdout
        while (line := process.stdout.readline()) != "ready\n":
            assert line, "it ended"


def last_line(process: subprocess.Popen[str]) -> str:
    """What it said at its end."""
    return process.communicate()[0].splitlines()[-1]


@pytest.fixture(scope="module")
def alone(labelled: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The same run, launched once."""
    storage = str(tmp_path_factory.mktemp("alone"))
    process = started(labelled, storage)
    ready([process])
    go(process)
    assert last_line(process) == "WON"
    return RunFolder(f"{storage}/run")


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize(("many", "seed"), [(2, 0), (3, 1), (6, 2)])
def test_launch_that_wins_a_race_runs_to_its_end_as_if_alone(
    many: int, seed: int, labelled: str, storage: str, alone: RunFolder
) -> None:
    chance = random.Random(seed)
    processes = [started(labelled, storage) for _ in range(many)]
    ready(processes)
    for process in processes:
        go(process)
        time.sleep(chance.choice([0, 0, 0.05, 0.5]))  # between launches of a moment
    told = [last_line(process) for process in processes]
    assert told.count("WON") == 1, told
    assert sum("another launch of this run began at the same moment" in line for line in told) == many - 1, told
    run = RunFolder(f"{storage}/run")
    assert differences(state_of(alone), state_of(run)) == []
    assert not list(Path(run.root).rglob("*.writing"))


@pytest.mark.slow
@pytest.mark.processes
def test_launch_that_stands_still_and_goes_on_later_writes_over_nothing(
    labelled: str, storage: str, alone: RunFolder
) -> None:
    """The first is stopped in the middle of its run, and a later launch takes it over and finishes."""
    first, second = started(labelled, storage), started(labelled, storage)
    ready([first, second])
    go(first)
    run = RunFolder(f"{storage}/run")
    while not run.names("checkpoints"):
        time.sleep(0.01)  # until it trains
    first.send_signal(signal.SIGSTOP)
    attempt = Path(run.path("attempts/000001.json"))
    os.utime(attempt, (time.time() - 60,) * 2)  # as if it had begun a minute ago
    go(second)
    assert last_line(second) == "WON"
    before = {place: place.read_bytes() for place in Path(run.root).rglob("*") if place.is_file()}
    first.send_signal(signal.SIGCONT)
    assert last_line(first) == "TAKEN OVER"
    after = {place: place.read_bytes() for place in Path(run.root).rglob("*") if place.is_file()}
    ours = {place: data for place, data in after.items() if not place.name.startswith("events.")}  # a file of its own
    assert {place: before.get(place) for place in ours} == ours
    assert before.keys() <= after.keys()
    assert differences(state_of(alone), state_of(run)) == []


@pytest.mark.slow
@pytest.mark.ray
def test_launch_on_ray_is_one_of_three_that_has_the_run(labelled: str, tmp_path: Path) -> None:
    command = [sys.executable, "pipelines/train.py", "--method", "stargan", "--data", labelled, "--name", "run"]
    command += ["--storage", str(tmp_path), *SMALL, "--images", "240", "--checkpoint-every", "48"]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"PYTHONPATH": str(ROOT)}
    logs = [tmp_path / f"{number}.log" for number in range(3)]
    processes = []
    for log in logs:
        with log.open("wb") as out:
            processes.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out))
        time.sleep(1)
    codes = [process.wait() for process in processes]
    texts = [log.read_text() for log in logs]
    assert sorted(codes) == [0, 1, 1], texts
    for code, text in zip(codes, texts, strict=True):
        assert "Traceback" not in text
        if code:
            assert len(re.findall("^failed: .*another launch of this run began at the same moment", text, re.M)) == 1
    assert RunFolder(f"{tmp_path}/run").names("attempts") == ["000001.json"]
