"""A run whose processes are killed at random moments must end as one that was left alone.

make chaos                                            8 kills
python -m tests.chaos --kills 20 --seed 7 --workers 2

Victims are a training worker, a loader process, the driver, the raylet of the node, and all processes of the run
together, each by SIGKILL; and the driver is given notice, by SIGTERM. Ray's own retry brings back workers and loaders;
after anything else the command is typed again. At the end networks, optimisers and progress are compared, bit for bit,
with those of plain processes that train the same without Ray.
Linux only: processes are found in /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from i2i_core.config import TrainConfig
from i2i_core.orchestration.sharding import shard_glyphs
from i2i_core.orchestration.worker import train
from i2i_core.storage import Folder
from i2i_core.training import checkpoint
from i2i_core.training.sync import World

ROOT = Path(__file__).parents[1]
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
        self.folder = Folder(f"{storage}/{name}")
        self.log = Path(tempfile.mkstemp(prefix=f"{name}-", suffix=".log")[1])
        self.driver: subprocess.Popen[bytes] | None = None
        self.typed = 0

    def type(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self.driver = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.env, cwd=ROOT)
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


def past(images: int, after: str = "") -> Callable[[str], bool]:
    """Whether a progress line (behind the last `after`) tells of at least so many images."""

    def seen(text: str) -> bool:
        lines = [line for line in (text.rpartition(after)[2] if after else text).splitlines() if " images | " in line]
        counts = [int(line.split(" / ")[0].split()[-1].replace(",", "")) for line in lines]
        return bool(counts) and max(counts) >= images

    return seen


def to_the_end(run: Run, kills: list[str], chance: random.Random, longest: float, deadline: float) -> list[str]:
    """Types the command, kills, and types it again until it has finished. Who was killed, and when.

    Args:
        kills: kinds of victims, in order.
        longest: seconds between one kill and the next, at most; the moment is drawn.
        deadline: seconds after which it is given up.

    Raises:
        RuntimeError: it did not end in time, or failed without having been killed, or ended before all were killed.
    """
    began, waiting, done = time.monotonic(), list(kills), []
    driver, moment = run.type(), time.monotonic() + chance.uniform(5, longest)
    while True:
        try:
            code = driver.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            code = None
        now = time.monotonic()
        if now - began > deadline:
            run.clean()
            raise RuntimeError(f"not at its end after {deadline:.0f} s, {done}:\n{run.text()[-4000:]}")
        if code == 0 and waiting:
            raise RuntimeError(f"ended after {done}, before there was a {waiting[0]} to kill: more --images are needed")
        if code == 0:
            return done
        if code is not None:
            if not done:
                raise RuntimeError(f"failed with {code} unharmed:\n{run.text()[-4000:]}")
            driver, moment = run.type(), time.monotonic() + chance.uniform(5, longest)
        elif waiting and now > moment and run.kill(waiting[0], chance):
            done.append(f"{waiting.pop(0)} at {now - began:.0f} s")
            print(f"  {now - began:5.0f} s  killed {done[-1].split(' ')[0]}", flush=True)
            moment = now + chance.uniform(5, longest)


def _undisturbed(rank: int, config: str, workers: int, meet: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=workers)
    train(TrainConfig.loads(config, "a run's folder"), World(rank, workers), torch.device("cpu"))
    dist.destroy_process_group()


def undisturbed(run: Folder, data: str, home: str, workers: int) -> Folder:
    """What a run would be if nobody had touched it: the same configuration in as many plain processes, without Ray,
    without loaders, on local files.

    Args:
        data: the same data, in a local folder.
        home: a folder for it.
    """
    config = checkpoint.read_config(run).with_section("data", uri=data, loaders=0, cache="")
    config = config.with_section("launch", storage=f"{home}/undisturbed")
    mp.spawn(_undisturbed, (config.dumps(), workers, f"{home}/meet"), nprocs=workers)
    return Folder(f"{config.launch.storage}/{config.run_name}")


def state_of(folder: Folder) -> dict[str, Any]:
    """Everything in a run's last checkpoint that the weights to come depend on, flat."""
    name = checkpoint.latest(folder)
    assert name, f"no checkpoint in {folder.url}"
    last = folder.sub(f"{checkpoint.CHECKPOINTS}/{name}")
    tensors = checkpoint._read_tensors(last.read("networks.safetensors"))
    return {"networks": tensors, **{k: v for k, v in checkpoint.load_state(last).items() if k != "done"}}


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--longest", type=float, default=30, help="most seconds between two kills")
    parser.add_argument("--deadline", type=float, default=1800, help="seconds for the whole disturbed run")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="chaos-") as home:
        data = f"{home}/data"
        shard_glyphs(data, "labelled", 16, characters=60)
        flags = ["--images", str(given.images), "--checkpoint-every", "500", "--workers", str(given.workers)]
        flags += ["--loaders", "1", "--max-failures", str(given.kills)]
        run = Run("storm", data, f"{home}/runs", flags)
        rounds = [chance.sample(VICTIMS, len(VICTIMS)) for _ in range(-(-given.kills // len(VICTIMS)))]
        kills = [kind for each in rounds for kind in each][: given.kills]
        began = time.monotonic()
        done = to_the_end(run, kills, chance, given.longest, given.deadline)
        run.clean()
        seconds = round(time.monotonic() - began)
        print(json.dumps({"seed": given.seed, "killed": done, "typed": run.typed, "seconds": seconds}), flush=True)
        different = differences(state_of(undisturbed(run.folder, data, home, given.workers)), state_of(run.folder))
        print("equal, bit for bit" if not different else f"DIFFERENT: {different[:10]}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
