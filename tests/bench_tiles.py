"""Translate a large picture by `translate.py` in tiles, and print the time and the most memory that it took.

    python -m tests.bench_tiles                                                         4096 px, the test's
    python -m tests.bench_tiles --side 16384 --tile 1024 --base 8 --blocks 2            docs/tiles.md has its numbers

The generator is CycleGAN's, as it begins. The picture and its translation lie in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from i2i_core.images import large_png

from .support.data import shard
from .support.translating import noise, untrained

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Taken:
    """What a translation took."""

    code: int
    """Exit code."""
    seconds: float
    mib: float
    """Most resident memory."""


def picture(side: int) -> np.ndarray:
    """A picture (side, side, 3) uint8 that is neither flat nor noise: waves, with some noise laid over."""
    at, x = np.arange(side, dtype=np.float32), np.empty((side, side, 3), np.uint8)
    grain = np.tile(noise(256, 256, 3) % 16, (1, -(-side // 256), 1))[:, :side]
    for top in range(0, side, 256):
        strip = x[top : top + 256]
        rows = at[top : top + 256, None]
        for c in range(3):
            strip[..., c] = 40 * (np.sin(rows / (90 + 40 * c)) + np.cos(at / (70 + 30 * c)) + rows / side) + 100
        strip += grain[: len(strip)]
    return x


def run_of(folder: Path, base: int, blocks: int) -> str:
    """A run of CycleGAN, of colour images, that has not begun to learn."""
    for k, name in enumerate(("trainA/0", "trainA/1", "trainB/0", "trainB/1")):
        place = folder / "images" / f"{name}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(16, 16, 3, seed=k)).save(place)
    shard("unpaired", folder / "images", folder / "data")
    return untrained("cyclegan", str(folder / "data"), folder, hyper__g_base=base, hyper__blocks=blocks)


MEASURED = """
import re, sys
from pathlib import Path
from pipelines import translate
code = translate.run()
Path(f"{sys.argv[-1]}-peak").write_text(re.search(r"VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1])
sys.exit(code)
"""
"""Runs translate.py and writes the KiB of its most resident memory beside its outputs. (`ru_maxrss` of a child begins
with what its parent held.)"""


def translated(run: str, source: Path, out: Path, *flags: object) -> Taken:
    """Run translate.py, in a process whose memory has held nothing else. Linux only."""
    peak = out.with_name(f"{out.name}-peak")
    command = [sys.executable, "-c", MEASURED, run, "--input", source, "--cpu", *flags, "--out", out]
    began = time.perf_counter()
    code = subprocess.run([*map(str, command)], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode
    return Taken(code, time.perf_counter() - began, int(peak.read_text()) / 1024 if code == 0 else 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("side", 4096), ("tile", 512), ("base", 8), ("blocks", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--norm", choices=("exact", "blend"), default="exact")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "large.png"
        source.write_bytes(large_png.write(picture(given.side)))
        run = run_of(folder, given.base, given.blocks)
        taken = translated(run, source, folder / "out", "--tile", given.tile, "--tile-norm", given.norm)
        print(f"{given.side} px, tiles of {given.tile}, {given.norm}: {taken.seconds:,.0f} s, {taken.mib:,.0f} MiB")
    sys.exit(taken.code)


if __name__ == "__main__":
    main()
