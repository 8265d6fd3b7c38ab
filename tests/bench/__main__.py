"""Time steps, workers, loops, checkpoints and starts. Rows go to bench-output/MACHINE-COMMIT.json, each measured once.

    python -m tests.bench                        all of these but resume and table, on the CPU (make bench)
    python -m tests.bench --device cuda          step and workers on GPUs; needs torch alone (make bench-gpu)
    python -m tests.bench step                   the bare step of every method on one fixed batch
    python -m tests.bench paper                  two methods at the paper's size and batch 1; minutes
    python -m tests.bench workers                the step on 1 and more workers
    python -m tests.bench loop                   the loop against the bare step, built-in glyphs
    python -m tests.bench save                   how long a checkpoint holds up the step, and how long it takes
    python -m tests.bench start                  seconds from the command to the first update
    python -m tests.bench resume                 seconds to the first batch at 1 % and 99 % of an epoch, local and S3
    python -m tests.bench table [FILE]           what was measured, for docs/performance.md (make bench-table)

docs/performance.md says what the numbers mean.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from i2i_core.config.fast import OPTIONS
from i2i_core.errors import ConfigError, UserError
from i2i_core.registry import METHODS

from . import bare, table
from .results import ROOT, Results, about, read

OUT = ROOT / "bench-output"
"""Folder of the files of results, unless --out names another."""


Bench = Callable[[Results, argparse.Namespace], None]


def step(results: Results, given: argparse.Namespace) -> None:
    """Time the bare step."""
    measure = bare.bench_cuda if given.device == "cuda" else bare.bench_cpu
    measure(results, given.methods, given.fast)


def paper(results: Results, given: argparse.Namespace) -> None:
    """Time the bare step at the papers' sizes on a CPU. Raises ConfigError on another device."""
    if given.device == "cuda":
        raise ConfigError("--device", "cuda, of paper", "cpu", "Give `step --device cuda`: it takes the papers' sizes.")
    bare.bench_paper(results, given.methods, given.fast)


def workers(results: Results, given: argparse.Namespace) -> None:
    """Time the step on several workers."""
    from .workers import bench

    bench(results)


def running(name: str) -> Bench:
    """Give a bench of `running`, and import that module only when the bench runs: it needs all that a run needs."""

    def bench(results: Results, given: argparse.Namespace) -> None:
        from . import running

        getattr(running, f"bench_{name}")(results)

    return bench


BENCHES: dict[str, Bench] = {"step": step, "paper": paper, "workers": workers}
BENCHES |= {name: running(name) for name in ("loop", "save", "start", "resume")}
ALL = {"cpu": ("step", "workers", "loop", "save", "start", "paper"), "cuda": ("step", "workers")}
"""The benches that run by default, by device; on a GPU those that need torch alone."""


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("tests.bench", None, __doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("all", *BENCHES, "table"), default="all")
    parser.add_argument("files", nargs="*", type=Path, help="files of results that `table` shows; default: the newest")
    parser.add_argument(
        "--methods", nargs="+", choices=[*METHODS], default=[], help="methods of step and paper; default: all, or two"
    )
    fast = ["auto", "off", *OPTIONS]
    words = "options that step and paper time one by one beside plain fp32; default: auto, on a GPU then each alone"
    parser.add_argument("--fast", nargs="+", choices=fast, default=[], help=words)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the files of results")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="minutes after which no row begins")
    parser.add_argument("--retry", action="store_true", help="measure rows again that failed, out of memory say")
    parser.add_argument("--commit", default="", help="name of the tree in results where it has no git")
    parser.add_argument("--plot", type=Path, help="PNG that `table` draws speeds into; needs matplotlib")
    return parser.parse_args()


def measure(given: argparse.Namespace) -> int:
    """Run one bench, or all of a device; a row that fails is kept as failed, and the others go on.

    Raises:
        ConfigError: there is no GPU, or the file of results is of other versions.
    """
    if given.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device", "cuda, and torch finds no GPU", "cpu", "Leave --device out.")
    until = time.monotonic() + given.minutes * 60
    results = Results.open(given.out, about(given.device, given.commit), retry=given.retry, until=until)
    for name in ALL[given.device] if given.what == "all" else (given.what,):
        BENCHES[name](results, given)
    failed = sum("failed" in row for row in results.rows)
    left = f", {len(results.left)} left for want of time: the same command goes on" if results.left else ""
    print(f"{results.path}: {len(results.rows)} rows, {failed} failed{left}")
    return 0


def show(given: argparse.Namespace) -> int:
    """Print the entry of each file for docs/performance.md, and draw the speeds where that is asked for.

    Raises:
        ConfigError: there is no file of results.
    """
    newest = sorted(given.out.glob("*.json"), key=lambda path: path.stat().st_mtime)[-1:]
    files = given.files or newest
    if not files:
        raise ConfigError(str(given.out), "no results", "a file of results", "Run `make bench` first, or name a file.")
    every = [read(path) for path in files]
    print("\n".join(table.entry(results) for results in every))
    if given.plot:
        table.draw(every, given.plot)
    return 0


def main() -> int:
    """Run what the command line asks for; give the exit code."""
    given = parsed()
    try:
        return show(given) if given.what == "table" else measure(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
