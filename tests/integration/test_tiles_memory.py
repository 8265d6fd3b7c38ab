"""The memory that a large picture takes in tiles, and whole.

pytest -m slow tests/integration/test_tiles_memory.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from i2i_core.images import large_png

from ..bench_tiles import picture, run_of, translated

SIDE, TILE = 4096, 512
MOST_MIB = 1400
"""The program itself takes 600; the picture and its output, as they are stored, 50 each."""


@pytest.mark.slow
@pytest.mark.processes
def test_tiles_bound_the_memory_of_a_large_picture(tmp_path: Path) -> None:
    """By the tile: the networks' maps of the whole picture take more than the bound."""
    source, run = tmp_path / "large.png", run_of(tmp_path, base=8, blocks=1)
    source.write_bytes(large_png.write(picture(SIDE)))
    tiled = translated(run, source, tmp_path / "tiled", "--tile", TILE)
    whole = translated(run, source, tmp_path / "whole")
    assert (tiled.code, whole.code) == (0, 0)
    assert tiled.mib < MOST_MIB < whole.mib
    one, other = (large_png.read((tmp_path / how / "large.png").read_bytes()) for how in ("tiled", "whole"))
    assert one.shape == (SIDE, SIDE, 3)
    assert int(np.abs(one.astype(np.int16) - other).max()) <= 1, "one rounding"
