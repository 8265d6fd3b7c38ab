"""Put runs on one page: `python pipelines/report.py RUN [RUN ...] --out FILE.html`.

The page needs no other file and no network: what differs between the runs (or from the preset), metrics with their
definitions, curves, grids through time, samples, where the time went, warnings. Each run's own page is RUN/report.html,
which train.py writes at its end; `report.py RUN` writes it anew.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

try:
    import tyro
except ModuleNotFoundError as missing:  # another Python than `make setup` installed into
    sys.exit(f"error: {missing}. Run `make setup` once, and `source .venv/bin/activate` in every new shell.")

from i2i_core import logs
from i2i_core.cli import main, parse, say
from i2i_core.config.common import REPORT
from i2i_core.errors import ConfigError
from i2i_core.logs import Level
from i2i_core.sizes import said_bytes
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import absolute

PROGRAM = "report.py"
NAME = "report.html"


@dataclass(frozen=True)
class ReportOptions:
    """Say which runs to put on a page."""

    run: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN")] = ()
    """Folders or URLs of runs, at most 8; several stand beside each other."""
    out: str = ""
    """File or URL to write, whose name ends in .html. Of one run, without it: report.html in the run's folder."""
    log_level: Level = "info"
    """Least severe messages to log: debug, info, warning or error."""


def run() -> int:
    options = parse(ReportOptions(), PROGRAM, sys.argv[1:], __doc__ or "", REPORT)
    logs.show(options.log_level)
    if not options.run:
        raise ConfigError("RUN", "nothing", "folders of runs", "Name folders that train.py printed: report.py RUN.")
    from i2i_core.reporting.facts import RunFacts
    from i2i_core.reporting.page import MOST_RUNS, page

    if len(options.run) > MOST_RUNS:
        raise ConfigError("RUN", f"{len(options.run)} runs", f"at most {MOST_RUNS}", "Name those to compare.")
    if len(options.run) > 1 and not options.out:
        raise ConfigError("--out", "nothing", "a file for the page of several runs", "For example --out compared.html.")
    urls = [absolute(one, "RUN") for one in options.run]
    place, _, name = absolute(options.out, "--out").rpartition("/") if options.out else (urls[0].rstrip("/"), "", NAME)
    if not name.endswith(".html") or name == ".html":
        raise ConfigError("--out", options.out, "a file whose name ends in .html", "For example --out compared.html.")
    data = page([RunFacts.of(url) for url in urls]).encode()
    Folder(place).write(name, data)
    say(f"{place}/{name}: {said_bytes(len(data))}")
    return 0


if __name__ == "__main__":
    main(run)
