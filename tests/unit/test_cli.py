"""How an entry point ends: its exit code and what it says.

pytest tests/unit/test_cli.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from i2i_core import cli
from i2i_core.arguments import ELSEWHERE, OURS
from i2i_core.errors import ConfigError, RunError, Stopped
from i2i_core.settings import AUTO, check_at_least, setting

ROOT = Path(__file__).parents[2]
ENDS: dict[str, tuple[BaseException | None, int, str]] = {
    "done": (None, 0, ""),
    "wrong input": (ConfigError("--a", "1", "2", "Give 2."), 2, "error: --a: found 1; expected 2.\n  Give 2.\n"),
    "forbidden": (
        PermissionError(13, "Permission denied", "/x"), 2,
        "error: /x: Permission denied.\n  Check its permissions; of object storage also the credentials "
        "(AWS_PROFILE, AWS_ACCESS_KEY_ID, ...).\n",
    ),
    "failed": (RunError("no room"), 1, "failed: no room\n"),
    "stopped": (Stopped("runs/x: stopped after 3 of 9 images"), 1, "runs/x: stopped after 3 of 9 images\n"),
    "a second Ctrl-C": (
        KeyboardInterrupt(), 130, "interrupted: what was saved is kept, and the same command goes on from it\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_main_ends_with_a_code_and_one_message(end: str, capsys: pytest.CaptureFixture[str]) -> None:
    error, code, said = ENDS[end]

    def run() -> int:
        if error:
            raise error
        return 0

    with pytest.raises(SystemExit) as ended:
        cli.main(run)
    assert ended.value.code == code
    assert capsys.readouterr().err == said


@pytest.fixture
def heard() -> Iterator[None]:
    """Hear SIGINT as a program of a terminal does, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_main_answers_an_interrupt_before_what_has_to_end_first(capfd: pytest.CaptureFixture[str]) -> None:
    said = []

    def run() -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:  # as a cluster that ends
            said.append(capfd.readouterr().err)
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "another one ends this too"
        return 0

    with pytest.raises(SystemExit) as ended:
        cli.main(run)
    assert ended.value.code == 130
    assert said == ["\nstopping: what was started has to end first; another Ctrl-C ends it at once\n"]
    assert capfd.readouterr().err.startswith("interrupted: what was saved is kept")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.processes
def test_main_ends_without_a_last_search_for_garbage() -> None:
    program = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0)); "
        "from i2i_core import cli; cli.main(lambda: 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_early_reads_some_flags_and_leaves_what_is_wrong_to_the_parser() -> None:
    arguments = ["--data", "x", "--images=5", "--epochs", "--method", "unit", "--no-flip"]
    assert cli.early(arguments, "method", "images", "epochs", "preset") == {
        "images": "5",
        "epochs": "",
        "method": "unit",
    }


@dataclass(frozen=True)
class Base:
    size: int = setting(3)
    """Pixels of a side."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "size")


@dataclass(frozen=True)
class Part(Base):
    """Name a part."""

    uri: str = setting("", name="data")
    """Where it lies."""
    channels: int = setting(3, derived=True)
    """Channels of the data."""
    # no help text
    bare: int = setting(0)


@dataclass(frozen=True)
class Whole:
    """Make a whole."""

    part: Part = field(default_factory=Part)
    dry_run: bool = False
    """Stop early, when all that there is
    to check has been checked."""


def test_parse_puts_flags_over_an_instance() -> None:
    """Sections are read in place, and what has no flag keeps its value."""
    start = Whole(Part(size=7, uri="a", channels=5), dry_run=True)
    assert cli.parse(start, "x.py", []) == start
    assert cli.parse(start, "x.py", ["--data", "b", "--no-dry-run"]) == Whole(Part(size=7, uri="b", channels=5))


WRONG: dict[str, tuple[str, str]] = {
    "--channels 3": ("--channels: found a flag that this command does not take", "x.py --help-all lists them all."),
    "--part.channels 3": ("--part.channels: found a flag that this command does not take", "--help-all"),
    "--uri x": ("--uri: found a flag that this command does not take", "--help-all"),
    "--sise 3": ("--sise: found a flag that this command does not take", "Did you mean --size"),
    "--sise=3": ("--sise: found a flag that this command does not take", "Did you mean --size"),
    "-size 3": ("-size: found a flag that this command does not take", "--help-all"),
    "--size x": ("--size: found 'x'; expected a whole number", "Give --size INT."),
    "--size 1.5": ("--size: found '1.5'; expected a whole number", "Give --size INT."),
    "--size": ("--size: found no value; expected INT", "Give --size INT."),
    "--size --data x": ("--size: found no value; expected INT", "Give --size INT."),
    "--data -x": ("--data: found no value; expected STR", "follows an equals sign: --data=-x"),
    "--data x y": ("y: found a word that belongs to no flag; expected a flag of x.py", "quotes"),
    "--dry-run yes": ("--dry-run: found yes; expected no value: it is on or off", "--dry-run or --no-dry-run, alone"),
    "--no-dry-run=1": ("--no-dry-run: found 1; expected no value", "--dry-run or --no-dry-run, alone"),
    "--side left": ("--side: found 'left'; expected one of A, B", "Known: A, B."),
    "--rate fast": ("--rate: found 'fast'; expected a number", "Give --rate FLOAT."),
    "--several 1 x": ("--several: found 'x'; expected a whole number", "Give --several INT ...."),
    "--two 1": ("--two: found 1; expected FLOAT FLOAT", "Give --two FLOAT FLOAT."),
    "--found often": ("--found: found 'often'; expected a whole number or auto", "Give --found INT|auto."),
}
"""By command line, the beginning of the message and a part of its remedy."""


@dataclass(frozen=True)
class Kinds(Whole):
    side: Literal["A", "B"] = "A"
    rate: float = 0.5
    several: tuple[int, ...] = ()
    two: tuple[float, float] = (0.0, 1.0)
    found: int = setting(AUTO, auto=True)


@pytest.mark.parametrize("line", WRONG)
def test_parse_answers_what_it_cannot_read(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    begins, remedy = WRONG[line]
    with pytest.raises(ConfigError) as refused:
        cli.parse(Kinds(), "x.py", line.split())
    assert str(refused.value).startswith(begins)
    assert remedy in refused.value.fix
    assert capsys.readouterr() == ("", "")


def test_parse_reads_values_of_every_kind() -> None:
    line = "--side=B --rate -1e-3 --several 1 -2 --two 0 -1 --found auto --no-dry-run --data=-x --size 4"
    expected = Kinds(Part(size=4, uri="-x"), False, "B", -1e-3, (1, -2), (0.0, -1.0))
    assert cli.parse(Kinds(), "x.py", line.split()) == expected
    assert cli.parse(Kinds(several=(1,)), "x.py", ["--several"]).several == ()


def test_parse_lets_errors_of_sections_through() -> None:
    with pytest.raises(ConfigError, match="--size: found 0; expected a number >= 1"):
        cli.parse(Whole(), "x.py", ["--size", "0"])


def test_parse_shows_texts_of_fields_their_defaults_and_no_derived_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.parse(Whole(Part(size=7)), "x.py", ["--help"], "About this.")
    assert ended.value.code == 0
    page = capsys.readouterr().out
    assert "when all that there is to check" in page, "one paragraph, however it was broken in the source"
    said = " ".join(page.replace("│", " ").split())
    texts = ["About this.", "name a part", "--data STR Where it lies.", "--size INT Pixels of a side. (default: 7)"]
    texts += ["--bare INT (default: 0)"]
    assert [text for text in texts if text not in said] == []
    assert [text for text in ("Make a whole.", "channels", "no help text") if text in said] == []


@pytest.mark.parametrize("asked", ["-h", "--help"])
def test_parse_shows_common_flags_in_their_groups(asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    common = {"what to read": ("data",), "what to make": ("size", "nothing-like-it")}
    with pytest.raises(SystemExit) as ended:
        cli.parse(
            Whole(Part(size=7)), "x.py", ["--size", "0", "--dataset", asked], "About\nthis.\n\n  - a list", common
        )
    assert ended.value.code == 0
    page = capsys.readouterr().out
    assert page.splitlines() == [
        "usage: x.py [FLAGS]",
        "",
        "About this.",
        "",
        "  - a list",
        "",
        "what to read:",
        "  --data STR              Where it lies.",
        "",
        "what to make:",
        "  --size INT              Pixels of a side. (default: 7)",
        "",
        "All 4 flags: the same command with --help-all.",
    ]


def test_parse_shows_every_flag_when_asked_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.parse(Whole(), "x.py", ["--help-all"], "About this.", {"what to read": ("data",)})
    assert ended.value.code == 0
    page = capsys.readouterr().out
    assert [flag for flag in ("--data", "--size", "--bare", "--dry-run") if flag not in page] == []


@dataclass(frozen=True)
class Training:
    batch: int = setting(16)
    g_lr: float = setting(1e-4)
    storage: str = setting("runs")


@dataclass(frozen=True)
class Program:
    training: Training = field(default_factory=Training)
    resume: bool = False


@pytest.mark.parametrize(
    ("given", "ours", "follow"),
    [
        (["--batch-size", "4"], "--batch", ["--batch", "4"]),
        (["--batch_size=4"], "--batch", ["--batch", "4"]),
        (["--learning-rate", "0.1"], "--g-lr", ["--g-lr", "0.1"]),
        (["--output", "x"], "--storage", ["--storage", "x"]),
    ],
)
def test_parse_answers_a_flag_of_other_programs_with_ours(given: list[str], ours: str, follow: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        cli.parse(Program(), "p.py", given)
    assert str(raised.value).startswith(
        f"{given[0].partition('=')[0]}: found a flag that this command does not take; expected {ours}."
    )
    cli.parse(Program(), "p.py", follow)


def test_parse_keeps_a_flag_that_the_program_has_whatever_others_mean_by_it() -> None:
    assert cli.parse(Program(), "p.py", ["--resume"]).resume


def test_ours_says_what_to_do_for_every_flag_of_elsewhere() -> None:
    assert OURS.keys() == ELSEWHERE.keys()
    assert all(ours in remedy for ours, remedy in OURS.items())


@pytest.mark.processes
@pytest.mark.parametrize("asked", ["--help", "--help-all"])
def test_help_ends_quietly_when_its_reader_closes_the_pipe(asked: str) -> None:
    """The pipe is closed before anything is written to it."""
    command = [sys.executable, str(ROOT / "pipelines" / "train.py"), "--method", "stargan", asked]
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")
