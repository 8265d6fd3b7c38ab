"""Draw what a checkpoint makes of codes: `python pipelines/generate.py RUN --out grid.png`.

For every method with a code z. A grid of samples, whose numbers stand above and before them; walks from code to code
(`--walk line` or `circle`); `--arithmetic A B C`, a - b + c on means of three codes each. Methods with labels get a row
for each class, or `--target`; methods with an input image (BicycleGAN) take `--input`, which stays fixed in a walk.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

try:
    import tyro
except ModuleNotFoundError as missing:  # another Python than `make setup` installed into
    sys.exit(f"error: {missing}. Run `make setup` once, and `source .venv/bin/activate` in every new shell.")

from i2i_core import logs
from i2i_core.cli import main, parse, say
from i2i_core.config.common import GENERATE
from i2i_core.config.evaluation import AtTestOptions
from i2i_core.errors import ConfigError
from i2i_core.logs import Level
from i2i_core.settings import check_at_least, check_choice, check_numbers, setting
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import absolute

PROGRAM = "generate.py"
ROWS = 8
"""Rows of a grid whose rows differ by their codes alone."""
MOST = 100
"""Most rows, and most columns, of a grid."""


@dataclass(frozen=True)
class GenerateOptions:
    """Say which checkpoint makes images, and of which codes."""

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")] = ""
    """Folder or URL of a run, or of one of its checkpoints."""
    out: str = ""
    """File or URL of the grid; its name ends in .png."""
    walk: Literal["none", "line", "circle"] = "none"
    """Walk from code to code, a row each: straight, or along a great circle, which keeps to lengths of codes that G has
    seen where they are drawn from N(0, 1). none: samples."""
    arithmetic: tuple[str, ...] = ()
    """Three groups of three numbers, such as `3,17,40 5,6,12 1,2,9`: the means of their codes are a, b and c, and the
    grid shows a - b + c. The numbers are those of a grid of samples."""
    input: str = ""
    """Images whose outputs vary, a row each, for methods that take one: an image, a folder or a list."""
    target: str = ""
    """Labels of all images, for methods that take labels, as in translate.py. Without it, a class for each row."""
    rows: int = setting(0, most=MOST)
    """Rows of the grid. 0: a row for each class or input, else 8."""
    columns: int = setting(8, most=MOST)
    """Columns of the grid; of a walk its steps, both ends included."""
    first: int = setting(0, most=10**9)
    """Number of the first code."""
    at_test: AtTestOptions = field(default_factory=AtTestOptions)
    log_level: Level = "info"
    """Least severe messages to log: debug, info, warning or error."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_choice(self, "walk", ("none", "line", "circle"))
        check_at_least(self, 0, "rows", "first")
        check_at_least(self, 2 if self.walk != "none" else 1, "columns")
        if self.arithmetic and self.walk != "none":
            raise ConfigError("--arithmetic --walk", "both", "one of them, or neither", "Remove one.")


def run() -> int:
    options = parse(GenerateOptions(), PROGRAM, sys.argv[1:], __doc__ or "", GENERATE)
    logs.show(options.log_level)
    if not options.checkpoint:
        fix = "Name a folder that train.py printed: generate.py RUN --out grid.png."
        raise ConfigError("checkpoint", "nothing", "a run or one of its checkpoints", fix)
    if not options.out.endswith(".png") or options.out.endswith("/.png"):
        found = options.out or "nothing"
        raise ConfigError("--out", found, "a file whose name ends in .png", "For example --out out/grid.png.")
    place, _, name = absolute(options.out, "--out").rpartition("/")
    from i2i_core.images.sheet import png_bytes
    from i2i_core.translation import generating
    from i2i_core.translation.model import load

    groups = generating.parse_groups(options.arithmetic) if options.arithmetic else []
    model = load(options.checkpoint, at_test=options.at_test)
    rows = generating.rows_of(model, options.target, absolute(options.input, "--input"))
    height = options.rows or (rows.count if rows.count > 1 or rows.images is not None else ROWS)
    if groups:
        grid = generating.arithmetic(model, rows, groups)
    elif options.walk != "none":
        grid = generating.walks(model, rows, height, options.columns, options.walk, options.first)
    else:
        grid = generating.samples(model, rows, height, options.columns, options.first)
    Folder(place).write(name, png_bytes(grid))
    say(f"{options.out}: {grid.width} x {grid.height} pixels")
    return 0


if __name__ == "__main__":
    main(run)
