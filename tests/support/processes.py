"""Runs of `train.py` in processes of their own, to be killed; and what their checkpoints hold.

Linux only: processes are found in /proc.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from i2i_core.checkpoints import checkpoint
from i2i_core.config.run import TrainConfig
from i2i_core.orchestration.worker import train
from i2i_core.runs.folder import RunFolder
from i2i_core.training.sync import World

from .workers import on_workers

ROOT = Path(__file__).parents[2]


MARK = "I2I_CHAOS"


VICTIMS = ("worker", "loader", "driver", "raylet", "everything", "notice")


SMALL = [
    *("--image-size", "16", "--g-base", "4", "--d-base", "4", "--d-layers", "3", "--blocks", "1", "--batch", "8"),
    *("--grid-every", "0", "--evaluate-samples", "16", "--log-every", "200", "--ema-halflife", "500", "--cpu"),
]


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    command: str


def with_environment(name: str, value: str) -> list[Process]:
    """Every process that was started with an environment variable of that value."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if f"{name}={value}".encode() not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):  # gone meanwhile, or another user's
            continue
        if state != "Z":
            found.append(Process(int(entry.name), int(parent), command))
    return found


def left_for_good(look: Callable[[], list[Process]], deadline: float = 60) -> list[Process]:
    """What has not ended by itself once a driver has: Ray's helpers end when they find their parents gone."""
    began = time.monotonic()
    while (found := look()) and time.monotonic() - began < deadline:
        time.sleep(0.1)  # between two looks
    return found


def victims(kind: str, processes: list[Process], driver: int) -> list[int]:
    """The processes of a kind, by number."""
    workers = {p.pid for p in processes if p.command.startswith("ray::") and "TrainWorker" in p.command}
    chosen = {
        "worker": [p.pid for p in processes if p.pid in workers and p.parent not in workers],
        "loader": [p.pid for p in processes if p.parent in workers and "TrainWorker" in p.command],
        "driver": [driver],
        "notice": [driver],
        "raylet": [p.pid for p in processes if "/raylet/raylet" in p.command.split(" ")[0]],
        "everything": [p.pid for p in processes],
    }
    return sorted(chosen[kind])


class Run:
    """`train.py` with one name, typed again as often as it takes.

    Args:
        flags: further flags.
        env: further environment.
    """

    def __init__(self, name: str, data: str, storage: str, flags: list[str], env: dict[str, str] | None = None) -> None:
        self.mark = f"{name}-{os.getpid()}-{time.monotonic_ns()}"
        self.command = [sys.executable, "pipelines/train.py", "--method", "stargan", "--data", data]
        self.command += ["--storage", storage, "--name", name, *SMALL, *flags]
        outside = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        own = {MARK: self.mark, "RAY_worker_niceness": "0", "PYTHONPATH": str(ROOT)}
        self.env = {**outside, **own, **(env or {})}
        self.folder = RunFolder(f"{storage}/{name}")
        self.log = Path(tempfile.mkstemp(prefix=f"{name}-", suffix=".log")[1])
        self.driver: subprocess.Popen[bytes] | None = None
        self.typed = 0

    def type(self, process_group: int | None = None) -> subprocess.Popen[bytes]:
        """Starts the driver; `process_group` 0 gives it, and what it starts, a process group of its own."""
        with self.log.open("ab") as log:
            self.driver = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=self.env, cwd=ROOT, process_group=process_group
            )
        self.typed += 1
        return self.driver

    def left(self) -> list[Process]:
        """The driver and all that came of it."""
        return with_environment(MARK, self.mark)

    def kill(self, kind: str, chance: random.Random) -> bool:
        """Kills one of a kind, or all; False when there was none."""
        assert self.driver
        found = victims(kind, self.left(), self.driver.pid)
        if not found:
            return False
        killed = False
        for pid in found if kind == "everything" else [chance.choice(found)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if kind == "notice" else signal.SIGKILL)
                killed = True
        return killed

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def when(self, seen: Callable[[str], bool], deadline: float = 300) -> None:
        """Returns when the log is as it is waited for.

        Raises:
            RuntimeError: the run ended before that, or it took too long.
        """
        began = time.monotonic()
        assert self.driver
        while not seen(self.text()):
            ended = self.driver.poll() is not None
            if (ended and not seen(self.text())) or time.monotonic() - began > deadline:
                raise RuntimeError(f"{'ended' if ended else 'still waiting'}:\n{self.text()[-6000:]}")
            time.sleep(0.1)  # between two looks

    def clean(self) -> None:
        """Kills what is left of it."""
        for process in self.left():
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


LAST_WORDS = (
    r"(Killed$|(run|finished (after|before)|checkpoints|grids|job|failed:) "
    r"|(watch|translate|evaluate|train longer) with: |report, with curves and grids: "
    r"|too short to judge by: |\S+: stopped after )"
)
OUR_LINES = re.compile(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d |  |$|{LAST_WORDS}")
"""How lines begin that a run prints: those that are logged, those that go on from a line, and what programs print."""


def strange_lines(text: str) -> list[str]:
    """List what a run has printed that is none of our lines, or that is logged twice."""
    lines = text.splitlines()
    logged = [line for line in lines if line[:2] == "20"]
    twice = [line for line, count in Counter(logged).items() if count > 1]
    return [line for line in lines if not OUR_LINES.match(line)] + twice


def past(images: int, after: str = "") -> Callable[[str], bool]:
    """Whether a progress line (behind the last `after`) tells of at least so many images."""

    def seen(text: str) -> bool:
        lines = [line for line in (text.rpartition(after)[2] if after else text).splitlines() if " images | " in line]
        counts = [int(line.split(" / ")[0].split()[-1].replace(",", "")) for line in lines]
        return bool(counts) and max(counts) >= images

    return seen


def _undisturbed(world: World, config: str) -> None:
    train(TrainConfig.loads(config, "a run's folder"), world, torch.device("cpu"))


def undisturbed(run: RunFolder, data: str, home: str, workers: int) -> RunFolder:
    """What a run would be if nobody had touched it: the same configuration in as many plain processes, without Ray,
    without loaders, on local files.

    Args:
        data: the same data, in a local folder.
        home: a folder for it.
    """
    config = checkpoint.read_config(run).with_section("data", uri=data, loaders=0, cache="")
    config = config.with_section("launch", storage=f"{home}/undisturbed")
    on_workers(workers, _undisturbed, config.dumps())
    return RunFolder(f"{config.launch.storage}/{config.run_name}")


def state_of(folder: RunFolder) -> dict[str, Any]:
    """Everything in a run's last checkpoint that the weights to come depend on, flat."""
    saved = checkpoint.latest(folder)
    assert saved, f"no checkpoint in {folder.url}"
    trained, moving, _ = saved.networks()
    aside = ("due", "norm_batches")  # how the run came to be
    state = {name: part for name, part in saved.state().items() if name not in aside}
    return {"networks": trained, "averaged": moving, **state}


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Where two states differ, bit for bit."""
    if isinstance(a, torch.Tensor):
        return [] if isinstance(b, torch.Tensor) and torch.equal(a, b) else [where]
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted({*a, *b}, key=str)
        return [d for key in keys for d in differences(a.get(key), b.get(key), f"{where}.{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{where}.{i}")]
    return [] if a == b else [where]
