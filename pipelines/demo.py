"""The main job on the built-in data: `make demo`, or `make demo METHOD=pix2pix`.

Shards glyphs, submits a training run with two workers to a Ray cluster on this machine, translates
held-out characters and measures them. Prints every command it runs.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from i2i_core.cli import main
from i2i_core.errors import ConfigError, RunError, nearest

ROOT = Path(__file__).resolve().parents[1]
LOCAL = str(ROOT / "cluster" / "local.sh")


@dataclass(frozen=True)
class Job:
    """What the demo of one method runs on."""

    glyphs: tuple[str, ...]
    """Options of `shard.py --layout glyphs --glyphs`."""
    train: tuple[str, ...] = ()
    translate: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ()


JOBS = {
    "stargan": Job(
        ("labelled", "--size", "32", "--styles", "sans-regular", "sans-bold", "serif-regular", "serif-bold"),
        ("--attributes", "bold", "serif"),
        ("--target", "+bold"),
        ("--train-classifier",),
    ),
    "pix2pix": Job(("paired", "--size", "64", "--white-paper")),
}


@dataclass(frozen=True)
class Demo:
    """Trains a method on the built-in glyphs and shows what it learnt, in minutes on two CPU cores."""

    method: str = "stargan"
    """stargan (regular -> bold, serif, ...) or pix2pix (outline -> filled)."""
    out: Path = Path("demo-output")
    """Folder for the data set, the run and the pictures."""
    images: int = 0
    """Length of the training in images; 0: the preset's."""


def shown(part: str) -> str:
    """An argument as a person in the project's folder would type it."""
    if part == sys.executable:
        return "python"
    return os.path.relpath(part, ROOT) if part.startswith(f"{ROOT}/") else part


def call(*command: str) -> None:
    """Runs a command of this project, and shows it.

    Raises:
        RunError: it did not end with 0.
    """
    line = shlex.join(map(shown, command))
    print(f"\n$ {line}", flush=True)
    if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise RunError(f"`{line}` ended with exit code {code}")


def run() -> int:
    demo = tyro.cli(Demo, prog="demo.py")
    if demo.method not in JOBS:
        raise ConfigError("--method", repr(demo.method), "a method with a demo", nearest(demo.method, JOBS))
    started, job, out = time.monotonic(), JOBS[demo.method], demo.out.resolve()
    data, storage, name = out / f"glyphs-{job.glyphs[0]}", out / "runs", f"{demo.method}-demo"
    python, here = sys.executable, str(ROOT / "pipelines")
    length = ["--images", str(demo.images)] if demo.images else []
    call(
        python, f"{here}/shard.py", "--layout", "glyphs", "--glyphs", *job.glyphs, "--out", str(data), "--workers", "0"
    )
    call(LOCAL, "start", "2")
    try:
        call(LOCAL, "submit", "--", "python", "pipelines/train.py", "--method", demo.method, "--preset", "demo",
             "--data", str(data), "--storage", str(storage), "--name", name, "--workers", "2", *job.train,
             *length)  # fmt: skip
    finally:
        call(LOCAL, "stop")
    checkpoint, pictures = str(storage / name), out / f"{demo.method}-translated"
    measured = pictures.with_suffix(".json")
    held_out = (str(data), "--split", "test", "--out")
    call(
        python, f"{here}/translate.py", checkpoint, "--input", *held_out, str(pictures), "--most", "64", *job.translate
    )
    call(python, f"{here}/evaluate.py", checkpoint, "--data", *held_out, str(measured), *job.evaluate)
    print(f"\ndone in {time.monotonic() - started:.0f} s")
    print(f"look at   {pictures / 'contact_sheet.png'}\nmeasured  {measured}\nrun       {checkpoint}")
    return 0


if __name__ == "__main__":
    main(run)
