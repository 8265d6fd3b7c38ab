"""Search a method's hyper-parameters: `python pipelines/tune.py --method pix2pix --data URI --samples 20`.

Each trial is a run as train.py makes it: the flags given here hold for all trials, and the sweep varies what its space
names. With --resume the same command goes on with a sweep that was interrupted.
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

from i2i_core import logs
from i2i_core.cli import asks_for_help, check_any, early, main, parse, say
from i2i_core.config.common import TUNE
from i2i_core.config.run import TrainConfig, hyper_of_every_method, without_length
from i2i_core.config.sweep import SweepConfig
from i2i_core.errors import ConfigError
from i2i_core.registry import METHODS, entry

PROGRAM = "tune.py"


@dataclass(frozen=True)
class TuneOptions:
    """Search a method's hyper-parameters."""

    run: Annotated[TrainConfig, tyro.conf.arg(name="")]
    sweep: SweepConfig
    resume: bool = False
    """Go on with the interrupted sweep of that --name."""
    dry_run: bool = False
    """Check everything, print what the sweep would search, and stop."""


def configure(arguments: Sequence[str]) -> TuneOptions:
    """Read the flags: the configuration that all trials share, the sweep, and whether it is resumed or a dry run.

    Raises:
        ConfigError: no method, an unknown one, or values that cannot be.
    """
    if asks_for_help(arguments, "method"):
        about = f"{__doc__}\nMethods: {', '.join(METHODS)}. --method NAME --help shows the flags of one."
        parse(TuneOptions(TrainConfig.of_no_method(), SweepConfig()), PROGRAM, arguments, about, TUNE)
    known = early(arguments, "method", "preset", "images", "epochs")
    if not known.get("method"):
        no_method = TuneOptions(TrainConfig.of_no_method(), SweepConfig())
        check_any(arguments, PROGRAM, no_method, *hyper_of_every_method())
        fix = f"Give --method NAME: {', '.join(METHODS)}. --method NAME --help lists its flags."
        raise ConfigError("--method", "nothing", "a method", fix)
    start = TrainConfig.of(known["method"], known.get("preset") or entry(known["method"]).first_preset)
    has_length = bool({"images", "epochs"} & {*known})
    start = replace(start, training=without_length(start.training, has_length))
    about = cleandoc(METHODS[start.method].presets[start.preset].doc)
    about = f"Search hyper-parameters of {start.method}, starting from the preset {start.preset}.\n\n{about}"
    options = parse(TuneOptions(start, SweepConfig()), PROGRAM, arguments, about, TUNE)
    options.run.training.check_length()
    options.run.launch.check_name()
    return options


def run() -> int:
    options = configure(sys.argv[1:])
    logs.show(options.run.launch.log_level)
    from i2i_core.orchestration.fitting import with_number
    from i2i_core.orchestration.sweep import SWEEP, plan, run_sweep
    from i2i_core.search.report import table
    from i2i_core.search.study import STUDY
    from i2i_core.training.preparing import warn

    base = options.run
    if not base.data.uri:
        from i2i_core.orchestration.sharding import builtin_data

        found = METHODS[base.method]
        drawn = found.presets[base.preset].glyphs
        uri = builtin_data(found.method.needs.kind, base.image_size, drawn, options.dry_run, base.data.fit)
        base = base.with_section("data", uri=uri)
    planned = plan(with_number(base, "sweep-", SWEEP), options.sweep)
    warn(planned.base)
    if options.dry_run:
        for key, parameter in planned.space.parameters.items():
            say(f"{key}: {parameter}  ({parameter.why})")
        return 0
    say(f"sweep {planned.folder.url}")
    if "tensorboard" in base.monitoring.tracker:
        say(f"watch with: tensorboard --logdir {shlex.quote(planned.folder.at('trials'))}")
    search, report = run_sweep(planned, options.resume)
    best = search.best()
    assert best is not None  # or run_sweep had not returned
    run = search.run_of(best.number).url
    say("", *table(search.study, planned.objectives, planned.space).split("\n"), "")
    for line in report.left_out:
        say(f"not drawn: {line}")
    say(f"best trial's run   {run}", f"its configuration  {report.best[0]}")
    say(f"plots, table       {report.page}", f"Optuna's study     {planned.folder.at(STUDY)}")
    say(f"translate with: python pipelines/translate.py {shlex.quote(run)} --input IMAGES --out FOLDER")
    say(f"train it longer: python pipelines/train.py --config {shlex.quote(report.best[0])} --images N --name NAME")
    return 0


if __name__ == "__main__":
    main(run)
