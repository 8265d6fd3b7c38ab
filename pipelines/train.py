"""Trains a method: `python pipelines/train.py --method stargan --data URI --workers 2`.

The same command again resumes the run; a finished run prints its result.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from i2i_core import BEGAN
from i2i_core.cli import flags, main, parse, with_flags
from i2i_core.config import TrainConfig
from i2i_core.errors import ConfigError
from i2i_core.methods import METHODS
from i2i_core.storage import storage_of

PROGRAM = "train.py"
OWN = [
    ("method", str, "", "Method to train."),
    ("preset", str, "", "Named values to start from; other flags go over them."),
    ("config", str, "", "A saved config.json, file or URL, to start from instead of a preset."),
    ("dry_run", bool, False, "Check everything, print the configuration, and stop."),
]


def starting_point(arguments: Sequence[str]) -> TrainConfig:
    """The configuration that the flags go over: a saved one, or a method's preset.

    Raises:
        ConfigError: no method, an unknown one, or a file that cannot be used.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--method", "--preset", "--config"):
        first.add_argument(name, default="")
    given, _ = first.parse_known_args(arguments)
    if given.config:
        fs, place = storage_of(given.config)
        if not fs.isfile(place):
            raise ConfigError("--config", f"no file {given.config}", "a config.json", "Name one that train.py wrote.")
        return TrainConfig.loads(fs.cat_file(place).decode(errors="replace"), given.config)
    if not given.method:
        listed = "\n".join(f"    {name}: {', '.join(entry.presets)}" for name, entry in METHODS.items())
        fix = f"Give --method NAME and perhaps --preset NAME:\n{listed}\n  --method NAME --help lists its flags."
        raise ConfigError("--method", "nothing", "a method", fix)
    return TrainConfig.of(given.method, given.preset or "reference")


def configure(arguments: Sequence[str]) -> tuple[TrainConfig, bool]:
    """The configuration of the command line, and whether this is a dry run."""
    start = starting_point(arguments)
    sections = {name: getattr(start, name) for name in ("hyper", "data", "training", "output", "launch")}
    own = [(n, t, getattr(start, n, d), h) for n, t, d, h in OWN]
    title = (
        f"Trains {start.method} with the preset {start.preset}.\n\n{METHODS[start.method].presets[start.preset].doc}"
    )
    given = parse(flags(title, sections, own), PROGRAM, arguments)
    made = {name: with_flags(section, getattr(given, name)) for name, section in sections.items()}
    return TrainConfig(start.method, start.preset, **made), given.dry_run


def run() -> int:
    config, dry = configure(sys.argv[1:])
    from i2i_core.orchestration.launch import launch, prepare
    from i2i_core.orchestration.sharding import builtin_data

    if not config.data.uri:
        found = METHODS[config.method]
        glyphs = found.presets[config.preset].glyphs
        uri = builtin_data(found.method.needs.kind, config.hyper.image_size, glyphs)
        config = config.with_section("data", uri=uri)
    config = prepare(config)
    print(f"run {config.launch.storage}/{config.run_name}")
    if dry:
        print(config.dumps())
        return 0
    outcome = launch(config, BEGAN)
    print(f"finished after {outcome.images:,} images")
    for name, value in outcome.metrics.items():
        print(f"  {name} {value:.4g}")
    print(f"checkpoints {outcome.run.at('checkpoints')}\ngrids {outcome.run.at('grids')}")
    print(f"translate with: python pipelines/translate.py {outcome.run.url} --input IMAGES --out FOLDER")
    return 0


if __name__ == "__main__":
    main(run)
