"""Flags of every program: listed as the parser reads them, and shown in part by --help.

pytest tests/unit/test_flags.py
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import pytest

import pipelines.train
import pipelines.tune
from i2i_core import cli
from i2i_core.config import common
from i2i_core.config.run import TrainConfig
from i2i_core.config.sweep import SweepConfig
from i2i_core.errors import ConfigError
from i2i_core.flags import _kind, flags_of, typed_value
from i2i_core.registry import METHODS
from pipelines.demo import Demo
from pipelines.evaluate import EvaluateOptions
from pipelines.shard import MakeOptions
from pipelines.train import TrainOptions
from pipelines.translate import Command
from pipelines.tune import TuneOptions


def train(method: str = "unit") -> TrainOptions:
    return TrainOptions(TrainConfig.of(method, "demo"))


def tune(method: str = "unit") -> TuneOptions:
    return TuneOptions(TrainConfig.of(method, "demo"), SweepConfig())


PROGRAMS: dict[str, Callable[[], Any]] = {
    "train": train,
    "tune": tune,
    "shard": MakeOptions,
    "translate": Command,
    "evaluate": EvaluateOptions,
    "demo": Demo,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_flags_of_are_those_that_the_parser_knows(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The parser's own page is not shown to anybody; it lists what it reads."""
    with pytest.raises(SystemExit):
        cli._read(PROGRAMS[program](), program, ["--help"])
    shown = set(re.findall(r"^[│| ] (--\w[\w-]*|CHECKPOINT)", capsys.readouterr().out, re.MULTILINE))
    assert {flag.name for flag in flags_of(PROGRAMS[program]())} == shown


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_all_shows_every_flag_in_the_section_it_sets(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = PROGRAMS[program]()
    with pytest.raises(SystemExit) as ended:
        cli.parse(options, program, ["--help-all"])
    assert ended.value.code == 0
    page = capsys.readouterr().out
    for block in page.split("\n\n"):
        shown = set(re.findall(r"^  (--(?:\[no-\])?\w[\w-]*|CHECKPOINT)", block, re.MULTILINE))
        sections = {flag.section for flag in flags_of(options) if flag.typed.split(" ")[0] in shown}
        assert len(sections) <= 1
    every = set(re.findall(r"^  (--(?:\[no-\])?\w[\w-]*|CHECKPOINT)", page, re.MULTILINE))
    assert {flag.typed.split(" ")[0] for flag in flags_of(options)} == every


@pytest.mark.parametrize("program", PROGRAMS)
def test_flags_of_every_program_have_a_text(program: str) -> None:
    assert [flag.name for flag in flags_of(PROGRAMS[program]()) if not flag.text] == []


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        (str, "STR"),
        (bool, ""),
        (Path, "PATH"),
        (int | None, "INT"),
        (Literal["a", "b"], "{a,b}"),
        (tuple[str, ...], "STR ..."),
        (tuple[float, float], "FLOAT FLOAT"),
    ],
)
def test_kind_is_shown_as_it_is_typed(hint: Any, shown: str) -> None:
    assert _kind(hint) == shown


@pytest.mark.parametrize(
    ("value", "typed"), [(True, "on"), (False, ""), (None, ""), ((), ""), ((0.5, 2), "0.5 2"), (2e-5, "2e-05")]
)
def test_typed_value_is_as_one_would_type_it(value: object, typed: str) -> None:
    assert typed_value(value) == typed


@pytest.mark.parametrize("program", ["train", "tune", "shard", "evaluate"])
def test_common_flags_exist(program: str) -> None:
    made = PROGRAMS[program]
    several = [made(method) for method in METHODS] if program in ("train", "tune") else [made()]
    known = {flag.name.lstrip("-") for options in several for flag in flags_of(options)}
    names = [name for group in getattr(common, program.upper()).values() for name in group]
    assert [name for name in names if not any(fnmatchcase(flag, name) for flag in known)] == []
    assert len(names) == len({*names})
    assert 10 <= len(names) <= 28, "a page that can be read at once"


@pytest.mark.parametrize("program", [pipelines.train, pipelines.tune], ids=["train", "tune"])
@pytest.mark.parametrize("asked", ["--help", "--help-all"])
def test_configure_shows_the_presets_text_above_the_flags(
    program: Any, asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        program.configure(["--method", "unit", "--preset", "demo", asked])
    assert ended.value.code == 0
    page = " ".join(capsys.readouterr().out.split())
    assert page.index("Minutes on two CPU cores, on the built-in glyphs (regular <-> bold") < page.index("--preset STR")


@pytest.mark.parametrize("program", [pipelines.train, pipelines.tune], ids=["train", "tune"])
def test_configure_shows_help_without_a_method(program: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.configure(["--help"])
    assert ended.value.code == 0
    page = capsys.readouterr().out
    assert [name for name in METHODS if name not in page] == []


@pytest.mark.parametrize(
    ("program", "given", "ours"),
    [
        ("train", "--batch-size", "--batch"),
        ("train", "--gpus", "--gpu"),
        ("train", "--dataset", "--data"),
        ("train", "--output", "--storage"),
        ("tune", "--batch-size", "--batch"),
        ("tune", "--gpus", "--gpu"),
        ("tune", "--dataset", "--data"),
        ("tune", "--output", "--storage"),
        ("shard", "--dataset", "--input"),
        ("shard", "--output", "--out"),
        ("translate", "--batch-size", "--batch"),
        ("translate", "--gpus", "--gpu"),
        ("translate", "--dataset", "--input"),
        ("translate", "--data", "--input"),
        ("translate", "--output", "--out"),
        ("evaluate", "--gpus", "--gpu"),
        ("evaluate", "--dataset", "--data"),
        ("evaluate", "--output", "--out"),
        ("demo", "--output", "--out"),
    ],
)
def test_flags_of_other_programs_are_answered_with_ours(program: str, given: str, ours: str) -> None:
    with pytest.raises(ConfigError) as refused:
        cli.parse(PROGRAMS[program](), program, [given, "2"])
    assert (refused.value.where, refused.value.expected) == (given, ours)
