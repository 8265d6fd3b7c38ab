"""Train and measure every method's demo, and write the numbers and pictures of docs/methods.md: `make methods-table`.

A method whose result is there already, of the same preset and data, is not trained again; to do so, remove the output
folder or name another one.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro

from i2i_core.cli import main, say
from i2i_core.errors import ConfigError, RunError, nearest
from i2i_core.methods import METHODS
from pipelines.demo import EXAMPLES, ROOT

DOC = ROOT / "docs" / "methods.md"
IMAGES = ROOT / "docs" / "images"
BEGIN, END = "<!-- measured: made by `make methods-table` -->", "<!-- end of measured -->"
SHOWN = (
    "accuracy", "accuracy/bold", "accuracy/serif", "there_and_back", "in_target/there", "in_target/back", "cycle",
    "twin", "l1", "ssim", "l1_encoded", "l1_best", "diversity", "latent", "efficientnet_frechet",
)  # fmt: skip
"""The metrics in the table, in this order."""


@dataclass(frozen=True)
class Table:
    """Train and measure the demos, and write the table of docs/methods.md."""

    methods: tuple[str, ...] = tuple(EXAMPLES)
    """Methods to train, if the folder does not have their results; all others keep the results that are there."""
    out: Path = Path("methods-output")
    """Folder for data sets, runs and results."""


@dataclass(frozen=True)
class Measured:
    """Hold the result of a method's demo."""

    recipe: str
    """Digest of preset, data and commands; a result with another digest is out of date."""
    about: str
    """Day and machine."""
    images: int
    """Images that the measured checkpoint was trained on."""
    seconds: float
    """Seconds of all steps together."""
    metrics: dict[str, float]


def recipe(method: str) -> str:
    """Compute a digest of the preset, its data and the commands."""
    preset, example = METHODS[method].presets["demo"], EXAMPLES[method]
    made_by = (dict(preset.values), dict(preset.glyphs), example.data, example.translate, example.evaluate)
    return hashlib.sha256(repr(made_by).encode()).hexdigest()[:12]


def kept(method: str, out: Path) -> Measured | None:
    """Read the result in the folder; None where there is none of the same recipe."""
    path = out / f"{method}.json"
    result = Measured(**json.loads(path.read_text())) if path.exists() else None
    return result if result and result.recipe == recipe(method) else None


def measured(method: str, out: Path) -> Measured:
    """Train and measure one method, unless the folder has its result.

    Raises:
        RunError: a step failed; what it printed says why.
    """
    if result := kept(method, out):
        return result
    shutil.rmtree(out / "runs" / f"{method}-demo", ignore_errors=True)
    started = time.monotonic()
    command = ["-m", "pipelines.demo", "--method", method, "--direct", "--fast", "off", "--out", str(out)]
    if subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode:
        raise RunError(f"the demo of {method} failed")
    report = json.loads((out / f"{method}-translated.json").read_text())
    about = (
        f"{datetime.date.today()}, torch {torch.__version__.split('+')[0]}, {os.cpu_count()} CPU cores, 2 workers, fp32"
    )
    metrics = {name: metric["value"] for name, metric in report["metrics"].items()}
    seconds = time.monotonic() - started
    result = Measured(recipe(method), about, report["checkpoint"]["images"], seconds, metrics)
    shutil.copy(sorted((out / "runs" / f"{method}-demo" / "grids").glob("*.png"))[-1], out / f"{method}.png")
    (out / f"{method}.json").write_text(json.dumps(asdict(result), indent=1))
    return result


def rows(method: str, result: Measured) -> list[str]:
    """Write the table's lines for one method."""
    lines: list[str] = []
    found = result.metrics
    for name in (name for name in SHOWN if name in found):
        base, _, part = name.partition("/")
        beside = (f"{base}_nothing", f"{base}_real")
        cells = [found.get(f"{other}/{part}" if part else other) for other in beside]
        nothing, real = ("" if cell is None else f"{cell:.4f}" for cell in cells)
        run = f"`{method}`, {result.images:,} images, {result.seconds:.0f} s" if not lines else ""
        lines.append(f"| {run} | `{name}` | {nothing} | {found[name]:.4f} | {real} |")
    return lines


def run() -> int:
    given = tyro.cli(Table, prog="methods_table.py")
    for name in given.methods:
        if name not in EXAMPLES:
            raise ConfigError("--methods", repr(name), "methods with a demo", nearest(name, EXAMPLES))
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for name in given.methods:
        measured(name, out)
    done = {name: result for name in EXAMPLES if (result := kept(name, out))}
    lines = [line for name, result in done.items() for line in rows(name, result)]
    about = "; ".join(sorted({result.about for result in done.values()}))
    head = ["| method | measure | doing nothing | trained | real images |", "|---|---|---|---|---|"]
    block = "\n".join([BEGIN, f"Measured {about}; seconds are of all steps together.\n", *head, *lines, END])
    text = DOC.read_text()
    DOC.write_text(re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: block, text, flags=re.DOTALL))
    for name in done:
        shutil.copy(out / f"{name}.png", IMAGES / f"method-{name}.png")
    say(f"{len(done)} methods in {DOC}; pictures in {IMAGES}")
    return 0


if __name__ == "__main__":
    main(run)
