"""Draw a wide strip of pictures from demos, source above, output below: `make strip`, `python -m pipelines.strip`.

Reads what `make methods-table` (methods-output) or `make demo` (demo-output) left: data sets, runs and translated
images. Of several methods it draws a group each, which is the strip of the README; of one method it draws every output
and the truth, which is how a demo ends. Run it again after the demos to replace the picture, on whatever data they ran.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from torch import Tensor

from i2i_core.cli import main, parse, say
from i2i_core.config.translation import TranslateOptions
from i2i_core.errors import ConfigError, nearest
from i2i_core.images.picture_strip import Column, picture_strip
from i2i_core.images.sheet import png_bytes
from i2i_core.orchestration.translating import rows_again
from i2i_core.settings import check_at_least
from i2i_core.translation.translator import Row
from pipelines.demo import EXAMPLES, ROOT, input_flags

MOST = 8
"""Samples that are read of each demo."""


@dataclass(frozen=True)
class Strip:
    """Draw a strip of pictures from what demos left."""

    demos: Path = Path("methods-output")
    """Folder that `make methods-table` or `make demo` wrote; for the latter, demo-output."""
    methods: tuple[str, ...] = ("stargan", "pix2pix", "cyclegan", "bicyclegan")
    """Methods whose demos are shown, from left to right."""
    each: int = 3
    """Columns of each method, where there are several methods."""
    out: Path = ROOT / "docs" / "images" / "strip.png"
    """PNG file to write."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "each")


def options_of(method: str, demos: Path) -> TranslateOptions:
    """Give the options that a method's demo called translate.py with."""
    example = EXAMPLES[method]
    taken = input_flags(method, str(demos / f"glyphs-{example.data}"))
    flags = [*taken, "--out", str(demos / f"{method}-translated"), *example.translate]
    return parse(TranslateOptions(), "translate.py", flags)


def rows_of(method: str, demos: Path, count: int) -> list[Row]:
    """Read some samples of a method's demo: source, outputs and truth by title.

    Raises:
        ConfigError: the demo was not run into this folder.
    """
    run, options = demos / "runs" / f"{method}-demo", options_of(method, demos)
    for place in (run, Path(options.out), Path(options.input)):
        if not place.exists():
            fix = f"Make it: `python -m pipelines.demo --method {method} --out {demos}`."
            raise ConfigError("--demos", f"no {place}", "the folder of a finished demo", fix)
    return rows_again(str(run), options, count)


def alone(rows: list[Row]) -> tuple[list[Column], list[str]]:
    """Lay one method's samples out: a column a sample, a row for the source, each output and the truth."""
    titles = [title for title in rows[0] if any(row[title] is not None for row in rows)]
    return [[row[title] for title in titles] for row in rows], titles


def side_by_side(rows: list[Row], each: int) -> list[Column]:
    """Lay a method's samples out in columns of a source, if it has one, and an output; of many outputs, those of one
    source.

    Sources with the largest deviation of their pixels come first: a small character shows little. Outputs are not
    chosen.
    """
    fullest = sorted(rows, key=lambda row: deviation(row.get("source")), reverse=True)
    outputs = [title for title in rows[0] if title not in ("source", "truth")]
    if len(outputs) > 1:
        return [[fullest[0].get("source"), fullest[0][title]] for title in outputs[:each]]
    return [[row.get("source"), row[outputs[0]]] for row in fullest[:each]]


def deviation(x_CHW: Tensor | None) -> float:
    """Compute the standard deviation of an image's values; 0 where there is no image."""
    return 0.0 if x_CHW is None else float(x_CHW.std())


def run() -> int:
    given = tyro.cli(Strip, prog="strip.py", description=__doc__)
    for name in given.methods:
        if name not in EXAMPLES:
            raise ConfigError("--methods", repr(name), "methods with a demo", nearest(name, EXAMPLES))
    demos = given.demos.resolve()
    titles = {method: f"{method}: {EXAMPLES[method].shows}" for method in given.methods}
    if len(given.methods) == 1:
        (method,) = given.methods
        columns, labels = alone(rows_of(method, demos, MOST))
        groups = {titles[method]: columns}
    else:
        labels = ["source", "translation"]
        groups = {titles[m]: side_by_side(rows_of(m, demos, MOST), given.each) for m in given.methods}
    given.out.write_bytes(png_bytes(picture_strip(groups, labels)))
    say(f"strip of {', '.join(given.methods)} in {given.out}")
    return 0


if __name__ == "__main__":
    main(run)
