"""Translate images with a checkpoint: `python pipelines/translate.py RUN --input IMAGES --out DIR`.

RUN is a run's folder (then its best checkpoint is taken, else its last) or one checkpoint. With StarGAN, `--target
bold,serif` sets the attributes of the outputs; BicycleGAN and its relatives make many outputs of an input
(`--samples`, `--like`, `--interpolate`); CycleGAN and UNIT also translate `--back`; `--shards` writes a data set of
the outputs (SimGAN); videos become videos (`--input clip.mp4 --out clip-out.mp4`). The same command goes on after a
stop. Exit codes: 0 done; 1 images or videos were left out; 2 wrong input.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Annotated

try:
    import tyro
except ModuleNotFoundError as missing:  # another Python than `make setup` installed into
    sys.exit(f"error: {missing}. Run `make setup` once, and `source .venv/bin/activate` in every new shell.")

from i2i_core import logs
from i2i_core.cli import main, parse, say
from i2i_core.config.translation import TranslateOptions
from i2i_core.errors import ConfigError, counted
from i2i_core.logs import Level
from i2i_core.names import printable

PROGRAM = "translate.py"
MOST_NAMED = 20
EXAMPLE = "translate.py RUN --input IMAGES --out DIR"


@dataclass(frozen=True)
class Command:
    """Translate images with a checkpoint."""

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")] = ""
    """Folder or URL of a run, or of one of its checkpoints."""
    options: Annotated[TranslateOptions, tyro.conf.arg(name="")] = field(default_factory=TranslateOptions)
    log_level: Level = "info"
    """Least severe messages to log: debug, info, warning or error."""


def run() -> int:
    given = parse(Command(), PROGRAM, sys.argv[1:], __doc__ or "")
    options = given.options
    logs.show(given.log_level)
    if not given.checkpoint:
        fix = f"Name a folder that train.py printed: {EXAMPLE}."
        raise ConfigError("checkpoint", "nothing", "a run or one of its checkpoints", fix)
    if not options.out:
        missing = "--out" if options.input or options.count else "--input and --out"
        raise ConfigError(missing, "nothing", "images, and a folder or URL for the outputs", f"For example {EXAMPLE}.")
    from i2i_core.orchestration.translating import translate

    outcome = translate(given.checkpoint, options)
    each = f", each in {outcome.each} outputs," if outcome.each > 1 else ""
    made_by = f", made with {outcome.made_by}" if outcome.made_by else ""
    images = counted(outcome.written, "video" if outcome.films else "image")
    shown = f", the first {outcome.shown} of them" if outcome.shown < outcome.written else ""
    before = f" ({outcome.before:,} of them made before)" if outcome.before else ""
    say(f"{images}{each} in {options.out}{made_by}{before}")
    if outcome.films:
        more = ["  ..."] if len(outcome.films) > MOST_NAMED else []
        say(*(f"  {printable(film.line)}" for film in outcome.films[:MOST_NAMED]), *more)
    if outcome.sheet:
        say(f"contact sheet{shown}: {outcome.sheet}")
    if outcome.ledger:
        say(f"a row for each image: {outcome.ledger}")
    if not outcome.bad:
        return 0
    named = (f"  {printable(f'{bad.key}: {bad.cause}')}" for bad in outcome.bad[:MOST_NAMED])
    more = ["  ..."] if len(outcome.bad) > MOST_NAMED else []
    say(f"left out, {len(outcome.bad)}:", *named, *more, file=sys.stderr)
    return 1 if options.bad == "fail" else 0


if __name__ == "__main__":
    main(run)
