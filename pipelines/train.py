"""Train a method: `python pipelines/train.py --method stargan --data URI --workers 2`.

The same command resumes an interrupted run; for a finished one it prints the result.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import cleandoc
from typing import Annotated

try:
    import tyro
except ModuleNotFoundError as missing:  # another Python than `make setup` installed into
    sys.exit(f"error: {missing}. Run `make setup` once, and `source .venv/bin/activate` in every new shell.")

from i2i_core import BEGAN, logs
from i2i_core.cli import asks_for_help, check_any, early, main, parse, say
from i2i_core.config.common import TRAIN
from i2i_core.config.run import TrainConfig, hyper_of_every_method, without_length
from i2i_core.credentials import check_address
from i2i_core.errors import ConfigError
from i2i_core.registry import METHODS, entry
from i2i_core.storage.near import corrected
from i2i_core.storage.remote import storage_of

PROGRAM = "train.py"


@dataclass(frozen=True)
class TrainOptions:
    """Train a method."""

    run: Annotated[TrainConfig, tyro.conf.arg(name="")]
    config: str = ""
    """Configuration file or URL, JSON or YAML: a run's config.json, or a part of one. Flags replace its values; the
    preset has the values that it lacks (docs/methods.md)."""
    lr_may_rise: bool = False
    """Resume a run with a greater length even though its learning rate then rises (docs/recovery.md)."""
    dry_run: bool = False
    """Check the configuration and the data, print the configuration, and stop before any worker starts."""


def starting_point(arguments: Sequence[str]) -> TrainConfig:
    """Read the configuration that flags then change: a method's preset, with a file's values over it.

    Raises:
        ConfigError: the method is missing or unknown, or the file cannot be used.
    """
    given = early(arguments, "method", "preset", "config", "images", "epochs")
    method, preset, has_length = given.get("method", ""), given.get("preset", ""), bool({"images", "epochs"} & {*given})
    if file := given.get("config"):
        check_address(file, "--config")
        fs, place = storage_of(file)
        if not fs.isfile(place):
            fix = corrected(file, "Name one that train.py wrote.")
            raise ConfigError("--config", f"no file {file}", "a config.json", fix)
        start = TrainConfig.filled(fs.cat_file(place), file, method, preset, has_length)
    elif not method:
        check_any(arguments, PROGRAM, TrainOptions(TrainConfig.of_no_method()), *hyper_of_every_method())
        fix = f"Give --method NAME and perhaps --preset NAME:\n{_listed()}\n  --method NAME --help lists its flags."
        raise ConfigError("--method", "nothing", "a method", fix)
    else:
        start = TrainConfig.of(method, preset or entry(method).first_preset)
    return replace(start, training=without_length(start.training, has_length))


def _listed() -> str:
    return "\n".join(f"    - {name}: {', '.join(entry.presets)}" for name, entry in METHODS.items())


def configure(arguments: Sequence[str]) -> TrainOptions:
    """Read the command line, and the file and preset that it names. Asked for help, print it and exit with 0."""
    if asks_for_help(arguments, "method", "config"):
        about = f"{__doc__}\nMethods and presets; --method NAME --help shows the flags of one:\n\n{_listed()}"
        parse(TrainOptions(TrainConfig.of_no_method()), PROGRAM, arguments, about, TRAIN)
    start = starting_point(arguments)
    about = METHODS[start.method].presets[start.preset].doc
    about = f"Train {start.method} with the preset {start.preset}.\n\n{cleandoc(about)}"
    options = parse(TrainOptions(start), PROGRAM, arguments, about, TRAIN)
    options.run.training.check_length()
    options.run.launch.check_name()
    return options


def run() -> int:
    options = configure(sys.argv[1:])
    config = options.run
    logs.show(config.launch.log_level)
    from i2i_core.orchestration.ending import ending
    from i2i_core.orchestration.fitting import with_number
    from i2i_core.orchestration.launch import check_run, launch
    from i2i_core.orchestration.sharding import builtin_data
    from i2i_core.runs.folder import RunFolder
    from i2i_core.training.preparing import prepare, warn
    from i2i_core.training.staged import check_stages

    if not config.data.uri:
        check_stages(config)  # before a minute of sharding; `prepare` refuses the same of other data
        found = METHODS[config.method]
        glyphs = found.presets[config.preset].glyphs
        uri = builtin_data(found.method.needs.kind, config.image_size, glyphs, options.dry_run, config.data.fit)
        config = config.with_section("data", uri=uri)
    config = prepare(with_number(config))
    said = check_run(config, options.lr_may_rise)
    folder = RunFolder.of(config)
    say(f"run {folder.url}")
    if "tensorboard" in config.monitoring.tracker:
        say(f"watch with: tensorboard --logdir {shlex.quote(config.launch.storage)}")
    warn(config)
    if options.dry_run:
        if said:
            say(*said.split("\n"))
        say(*config.dumps().rstrip().split("\n"))
        fit = "flags, data and the earlier run of this name" if folder.exists(folder.CONFIG) else "flags and data"
        checked = f"checked: {fit} fit each other. Nothing was started, no cluster or GPU was looked for"
        say(checked, file=sys.stderr)
        return 0
    say(*ending(launch(config, options.lr_may_rise, BEGAN), config))
    return 0


if __name__ == "__main__":
    main(run)
