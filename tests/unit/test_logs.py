"""What is logged: the run and rank of each record, its level by flag, one copy of a line, nothing set up by an import.

pytest tests/unit/test_logs.py
"""

from __future__ import annotations

import ast
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from i2i_core import logs

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (.*)")
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    """The package's logger, left as it was."""
    package = logging.getLogger(logs.PACKAGE)
    handlers, level, propagate = [*package.handlers], package.level, package.propagate
    yield package
    package.handlers[:], package.level, package.propagate = handlers, level, propagate


def lines(captured: Captured) -> list[str]:
    """What is on the screen, without times."""
    found = [LINE.fullmatch(line) for line in captured.readouterr().out.splitlines()]
    assert all(found)
    return [match[1] for match in found if match]


def test_progress_lines_say_rate_and_time_left_every_so_many_seconds_and_not_at_the_end() -> None:
    now, told = [5.0], list[str]()
    lines = logs.ProgressLines("classifier", 1000, "images", told.append, lambda: now[0])
    lines(200)  # done before
    for _ in range(3):
        now[0] += 4
        lines(40)
    assert told == ["classifier: 320 / 1,000 images | 10 images/s | 1:08 left"]
    now[0] += 60
    lines(680)
    assert len(told) == 1


def test_line_names_run_rank_and_level(capsys: Captured) -> None:
    module = logging.getLogger("i2i_core.training.loop")
    logs.show("debug", "faces", 3)
    module.debug("a shard is staged")
    module.info("12 images")
    module.warning("no room")
    assert lines(capsys) == ["faces[3] DEBUG: a shard is staged", "faces[3] 12 images", "faces[3] WARNING: no room"]
    logs.show("debug", "faces")
    module.info("a trial's launch")
    logs.show("debug")
    module.info("a program")
    assert lines(capsys) == ["faces a trial's launch", "a program"]


def test_line_of_a_hostile_name_is_one_line_that_steers_no_terminal(capsys: Captured) -> None:
    module = logging.getLogger("i2i_core.training.loop")
    logs.show("info", "a\x1b]0;x\x07", 1)
    module.warning("left out b\n2026-11-28 03:00:12 faces: forged\x1b[2J\u202e\n  as before")
    try:
        raise ValueError("c\n2026-11-28 03:00:12 faces: forged\r")
    except ValueError:
        module.exception("failed")
    said = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() for line in said)
    assert [line[20:] for line in said if not line.startswith("  ")] == [
        r"a\x1b]0;x\x07[1] WARNING: left out b\n2026-11-28 03:00:12 faces: forged\x1b[2J\u202e",
        r"a\x1b]0;x\x07[1] ERROR: failed",
    ]
    assert "  ValueError: c" in said


def test_origin_puts_run_and_rank_into_the_record(logger: logging.Logger) -> None:
    records: list[logging.LogRecord] = []

    class Others(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    others = Others()
    others.addFilter(logs.Origin("faces", 3))
    logger.addHandler(others)
    logging.getLogger("i2i_core.training.loop").error("x")
    assert [(r.run, r.rank, r.name) for r in records] == [("faces", 3, "i2i_core.training.loop")]  # type: ignore[attr-defined]


@pytest.mark.parametrize("level", logs.LEVELS)
def test_show_leaves_out_what_is_below_its_level(level: logs.Level, capsys: Captured) -> None:
    logs.show(level)
    assert logs.shown() == level
    for each in logs.LEVELS:
        logging.getLogger("i2i_core.x").log(logging.getLevelName(each.upper()), each)
    words = [line.split(": ")[-1] for line in lines(capsys)]
    assert words == list(logs.LEVELS[logs.LEVELS.index(level) :])


def test_show_prints_a_line_once_however_often_it_is_called(capsys: Captured) -> None:
    root = logging.StreamHandler(sys.stdout)  # as a library or Ray may set one up
    logging.getLogger().addHandler(root)
    try:
        for rank in (0, 1):
            logs.show("info", "run", rank)
        logging.getLogger("i2i_core.x").info("once")
    finally:
        logging.getLogger().removeHandler(root)
    assert lines(capsys) == ["run[1] once"]


@pytest.mark.processes
def test_logs_are_not_set_up_by_an_import() -> None:
    """A program that uses these modules from Python has its own way: by default warnings on stderr, and no more."""
    code = (
        "import logging, i2i_core.storage.retry as r\n"
        "r.logger.info('quiet'); r.logger.warning('heard')\n"
        "assert not logging.getLogger('i2i_core').handlers\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert (done.stdout, done.stderr) == ("", "heard\n")


def test_modules_log_instead_of_printing() -> None:
    """Programs print their results, `cli` what ends them, and `screen` what other processes have printed."""
    printing = []
    for file in sorted((ROOT / "i2i_core").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write"):
                printing.append(str(file.relative_to(ROOT / "i2i_core")))
    assert set(printing) == {"cli.py", "orchestration/screen.py"}
