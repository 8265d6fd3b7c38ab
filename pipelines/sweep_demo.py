"""Run a sweep on the built-in data: `make sweep-demo`, at most 15 minutes on two quiet CPU cores.

The sweep trains pix2pix on small glyphs ten times, with other weights of its L1 term and other learning rates. Trial 0
has the paper's values; the demo fails if the best trial is not at least as good. The same command goes on with a sweep
that was interrupted.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from i2i_core.cli import main, parse, say
from i2i_core.errors import RunError
from i2i_core.search.study import study_of
from i2i_core.storage.folder import Folder
from pipelines.demo import ROOT, call

GLYPHS = ["--layout", "glyphs", "--glyphs", "paired", "--size", "32", "--characters", "240"]
TRIAL = [
    *("--image-size", "32", "--g-base", "8", "--d-base", "8", "--batch", "8", "--images", "1600"),
    *("--evaluate-every", "400", "--evaluate-samples", "64", "--checkpoint-every", "800", "--grid-every", "1600"),
]


@dataclass(frozen=True)
class SweepDemo:
    """Tune pix2pix on the built-in glyphs, and compare the best trial with the paper's values."""

    out: Path = Path("demo-output")
    """Folder for the data set and the sweep."""
    samples: int = 10
    """Number of trials."""


def run() -> int:
    demo, started = parse(SweepDemo(), "sweep_demo.py", sys.argv[1:]), time.monotonic()
    data, storage, name = demo.out.resolve() / "glyphs-sweep", demo.out.resolve() / "sweeps", "pix2pix-demo"
    call(sys.executable, f"{ROOT}/pipelines/shard.py", *GLYPHS, "--out", str(data), "--workers", "0")
    command = [sys.executable, f"{ROOT}/pipelines/tune.py", "--method", "pix2pix", "--preset", "demo", *TRIAL]
    command += ["--space", f"{ROOT}/tune_spaces/demo/pix2pix.py", "--data", str(data), "--storage", str(storage)]
    command += ["--name", name, "--samples", str(demo.samples), "--reduction", "2", "--cpu"]
    sweep = Folder(str(storage / name))
    call(*command, *(["--resume"] if sweep.exists("sweep.json") else []))

    study = study_of(sweep)
    paper, best = study.trials[0].value, study.best_trial
    if paper is None or best.value > paper:
        raise RunError(f"the best trial, {best.number}, has l1 {best.value:.4g}; the paper's values have {paper}")
    plots = sweep.names("plots")
    if not plots:
        raise RunError(f"there are no plots in {sweep.at('plots')}")
    states = [t.user_attrs.get("outcome") for t in study.trials]
    say("", f"{states.count('finished')} trials ran to their end, {states.count('stopped early')} were stopped early")
    say(
        f"the paper's values  l1 {paper:.4g}", f"the best, trial {best.number:<4} l1 {best.value:.4g}: at least as good"
    )
    say(
        f"plots               {', '.join(plots)} in {sweep.at('plots')}",
        f"look at             {sweep.at('index.html')}",
    )
    say(f"done in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    main(run)
