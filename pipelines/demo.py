"""The main job on the built-in data: `make demo`, or `make demo METHOD=cyclegan` and so on for every method.

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

import i2i_core.config.methods  # noqa: F401  fills METHODS
from i2i_core.cli import main, parse
from i2i_core.config.fast import check_fast
from i2i_core.errors import ConfigError, RunError, nearest
from i2i_core.registry import METHODS
from i2i_core.settings import flag

ROOT = Path(__file__).resolve().parents[1]
LOCAL = str(ROOT / "cluster" / "local.sh")


@dataclass(frozen=True)
class Example:
    """What the demo of one method runs on, besides its preset."""

    data: str
    """What the data set is called."""
    translate: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ()


JUDGED = ("--train-classifier", "--classifier-network", "small")
WEIGHTS = Example("weights", evaluate=JUDGED)
COLOURS = Example("colours", translate=("--samples", "4"))
EXAMPLES = {
    "stargan": Example("styles", ("--target", "+bold"), JUDGED),
    "pix2pix": Example("outlines"),
    "cyclegan": WEIGHTS,
    "unit": WEIGHTS,
    "simgan": Example("scans", evaluate=JUDGED),
    "bicyclegan": COLOURS,
    "cvae_gan": COLOURS,
    "clr_gan": COLOURS,
    "pix2pix_noise": COLOURS,
}


def glyph_flags(method: str) -> list[str]:
    """The preset's built-in data as flags of `shard.py`."""
    preset, flags = METHODS[method].presets["demo"], ["--layout", "glyphs"]
    options = {"glyphs": METHODS[method].method.needs.kind, "size": preset.values["hyper.image_size"], **preset.glyphs}
    for name, value in options.items():
        flags += [flag(name)] if value is True else [flag(name), *([value] if not isinstance(value, tuple) else value)]
    return list(map(str, flags))


@dataclass(frozen=True)
class Demo:
    """Trains a method on the built-in glyphs and shows what it learnt, in minutes on two CPU cores."""

    method: str = "stargan"
    """Any method: what `train.py` lists."""
    out: Path = Path("demo-output")
    """Folder for the data set, the run and the pictures."""
    images: int = 0
    """Length of the training in images; 0: the preset's."""
    direct: bool = False
    """Run train.py itself, without a cluster to submit it to."""
    fast: tuple[str, ...] = ("auto",)
    """As of train.py: auto is bf16 where the CPU has it, off plain fp32."""


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


def train(demo: Demo, arguments: list[str]) -> float:
    """The training run, submitted to a cluster of this machine, or started directly; seconds it took."""
    script = ["pipelines/train.py", "--method", demo.method, "--preset", "demo", *arguments]
    if demo.direct:
        started = time.monotonic()
        call(sys.executable, *script)
        return time.monotonic() - started
    call(LOCAL, "start", "2")
    try:
        started = time.monotonic()
        call(LOCAL, "submit", "--", "python", *script)
        return time.monotonic() - started
    finally:
        call(LOCAL, "stop")


def run() -> int:
    demo = parse(Demo(), "demo.py", sys.argv[1:])
    if demo.method not in EXAMPLES:
        raise ConfigError("--method", repr(demo.method), "a method with a demo", nearest(demo.method, EXAMPLES))
    check_fast(demo.fast)
    started, example, out = time.monotonic(), EXAMPLES[demo.method], demo.out.resolve()
    data, storage, name = out / f"glyphs-{example.data}", out / "runs", f"{demo.method}-demo"
    python, here = sys.executable, str(ROOT / "pipelines")
    length = ["--images", str(demo.images)] if demo.images else []
    call(python, f"{here}/shard.py", *glyph_flags(demo.method), "--out", str(data), "--workers", "0")
    where = ["--data", str(data), "--storage", str(storage), "--name", name, "--workers", "2", "--fast", *demo.fast]
    seconds = train(demo, [*where, *length])
    checkpoint, pictures = str(storage / name), out / f"{demo.method}-translated"
    measured = pictures.with_suffix(".json")
    held_out = (str(data), "--split", "test", "--out")
    call(
        python,
        f"{here}/translate.py",
        checkpoint,
        "--input",
        *held_out,
        str(pictures),
        "--most",
        "64",
        *example.translate,
    )
    judge = ("--classifier", f"{data}-classifier") if "--train-classifier" in example.evaluate else ()
    call(python, f"{here}/evaluate.py", checkpoint, "--data", *held_out, str(measured), *example.evaluate, *judge)
    print(f"\ntrained in {seconds:.0f} s, done in {time.monotonic() - started:.0f} s")
    print(f"look at   {pictures / 'contact_sheet.png'}\nmeasured  {measured}\nrun       {checkpoint}")
    return 0


if __name__ == "__main__":
    main(run)
