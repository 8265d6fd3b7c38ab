"""Serve trained networks over HTTP, with a page: `python pipelines/serve.py RUN [RUN ...]`.

RUN is a run's folder (then its best checkpoint is taken, else its last) or one checkpoint; several are served side by
side. The page draws, drops or pastes an input, shows source and output beside each other, and works without a network;
/docs lists the API. It listens on this machine alone; with `--host` elsewhere too, and then asks for a token. Ctrl-C
ends it. Exit codes: 0 ended; 1 it could not go on; 2 wrong input.
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
from i2i_core.config.common import SERVE
from i2i_core.config.serving import MOST_MODELS, ServeOptions
from i2i_core.errors import ConfigError
from i2i_core.logs import Level

PROGRAM = "serve.py"


@dataclass(frozen=True)
class Command:
    """Serve trained networks over HTTP."""

    run: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN")] = ()
    """Folders or URLs of runs, or of checkpoints, at most 32."""
    options: Annotated[ServeOptions, tyro.conf.arg(name="")] = field(default_factory=ServeOptions)
    log_level: Level = "info"
    """Least severe messages to log: debug, info, warning or error."""


def run() -> int:
    given = parse(Command(), PROGRAM, sys.argv[1:], __doc__ or "", SERVE)
    logs.show(given.log_level)
    if not given.run:
        raise ConfigError("RUN", "nothing", "folders of runs", "Name folders that train.py printed: serve.py RUN.")
    if len(given.run) > MOST_MODELS:
        raise ConfigError("RUN", f"{len(given.run)} runs", f"at most {MOST_MODELS}", "Serve the others by another one.")
    from i2i_core.serving.needed import check_packages

    check_packages()
    from i2i_core.orchestration.serving import serving

    with serving(given.run, given.options) as served:
        say(f"serving {', '.join(served.names)}", *served.lines, "Ctrl-C ends it")
        served.wait()
    say("ended")
    return 0


if __name__ == "__main__":
    main(run)
