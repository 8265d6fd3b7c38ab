"""Checks runs with extreme numbers as `train.py --dry-run` does, in little memory: each ends well or in a UserError.

    python -m tests.support.dry_runs FOLDER

A process of its own, which may be killed. FOLDER takes the runs' storage. Prints a JSON object: how many ended in which
way, and what else was raised, by command.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import resource
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from i2i_core.config.methods.perceptual import PerceptualConfig
from i2i_core.config.run import TrainConfig
from i2i_core.errors import UserError
from i2i_core.flags import Flag, flags_of
from i2i_core.methods import METHODS
from i2i_core.settings import most_of
from pipelines import train

MEMORY = 4 << 30
"""Bytes of address space beyond what the process has when it begins."""
SECONDS = 60
"""Of a check."""
FIRST = "unit"
"""The method that is checked with the flags that all share."""
SHARED = {field.name for field in dataclasses.fields(PerceptualConfig)}


def commands() -> Iterator[list[str]]:
    """Each number of a run at its largest value, and at a small one."""
    for method in METHODS:
        for flag in flags_of(TrainConfig.of(method, "demo")):
            kind = flag.kind.split("|")[0]
            own = flag.section == "hyper" and flag.field not in SHARED
            if kind in ("INT", "FLOAT") and (own or method == FIRST):
                for value in values(flag, kind):
                    yield ["--method", method, "--preset", "demo", f"{flag.name}={value}"]


def values(flag: Flag, kind: str) -> list[str]:
    field = flag.owner.__dataclass_fields__[flag.field]
    most = most_of(field, 0.0 if kind == "FLOAT" else 0)
    return [f"{most:.0f}", "1"] if kind == "INT" else [f"{most!r}", "1e-300"]


def ended(command: list[str], folder: str) -> str:
    sys.argv = ["train.py", *command, "--dry-run", "--cpu", "--storage", folder, "--log-level", "error"]
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            train.run()
        return "checked"
    except UserError:
        return "refused"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.alarm(0)


def late(*_: Any) -> None:
    raise TimeoutError(f"more than {SECONDS} seconds")


def main(folder: str) -> dict[str, Any]:
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, late)
    assert ended(["--method", FIRST, "--preset", "demo"], folder) == "checked"
    with open("/proc/self/statm") as pages:
        now = int(pages.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
    seen: Counter[str] = Counter()
    other: dict[str, str] = {}
    for command in commands():
        how = ended(command, folder)
        seen[how.split(":")[0]] += 1
        if how not in ("checked", "refused"):
            other[" ".join(command)] = how
    return {"seen": seen, "other": other}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
