"""Numbers of flags and files: what is no number, or would take all memory, is refused by name before anything is made.

pytest tests/unit/test_bounds.py
"""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import typing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from i2i_core.arguments import check
from i2i_core.config.run import TrainConfig
from i2i_core.config.stages import parsed
from i2i_core.config.sweep import SweepConfig
from i2i_core.errors import ConfigError
from i2i_core.fields import Field, contradictions
from i2i_core.flags import SIZE, flags_of
from i2i_core.methods import build_from
from i2i_core.methods.base import check_parameters
from i2i_core.registry import METHODS
from i2i_core.settings import check_below, check_numbers, flag_of, most_of, setting
from pipelines.demo import Demo
from pipelines.evaluate import EvaluateOptions
from pipelines.shard import MakeOptions
from pipelines.train import TrainOptions
from pipelines.translate import Command
from pipelines.tune import TuneOptions

REALS = (math.nan, math.inf, -math.inf, -1.0, 0.0, 1e9, 1e30, 1e308, -1e308)
WHOLES = (-1, 0, 10**9, 10**12, 10**30, -(10**30), 10**4000)


@dataclass(frozen=True)
class Number:
    """A field of a section that holds a number, or several."""

    section: Any
    field: dataclasses.Field[Any]
    is_real: bool

    def __str__(self) -> str:
        return f"{type(self.section).__name__}.{self.field.name}"

    def __call__(self, value: float) -> Any:
        """The section with another value."""
        now = getattr(self.section, self.field.name)
        return replace(self.section, **{self.field.name: (value, *now[1:]) if isinstance(now, tuple) else value})


def options() -> Iterator[Any]:
    """The options of every program, of train.py with every method."""
    for method in METHODS:
        yield TrainOptions(TrainConfig.of(method, "demo"))
    yield TuneOptions(TrainConfig.of("unit", "demo"), SweepConfig())
    yield from (MakeOptions(), Command(), EvaluateOptions(), Demo())


def numbers() -> dict[str, Number]:
    """Every number that a flag of a program sets, by the section's class and the field."""
    found: dict[str, Number] = {}

    def walk(section: Any) -> None:
        hints = typing.get_type_hints(type(section))
        for field in dataclasses.fields(section):
            value, hint = getattr(section, field.name), str(hints[field.name])
            if dataclasses.is_dataclass(value):
                walk(value)
            elif not field.metadata.get("derived") and ("int" in hint or "float" in hint) and "Literal" not in hint:
                number = Number(section, field, "float" in hint)
                found.setdefault(str(number), number)

    for one in options():
        walk(one)
    return found


NUMBERS = numbers()


def test_numbers_here_are_those_that_programs_list() -> None:
    """So that no flag is left out below."""
    listed = {
        f"{flag.owner.__name__}.{flag.field}"
        for one in options()
        for flag in flags_of(one)
        if {*flag.kind.replace("|", " ").split()} & {"INT", "FLOAT"}
    }
    assert {str(number).rpartition(".")[2] for number in NUMBERS.values()} == {n.rpartition(".")[2] for n in listed}
    assert len(NUMBERS) > 150


@pytest.mark.parametrize("name", NUMBERS)
def test_check_numbers_bounds_every_flag(name: str) -> None:
    number = NUMBERS[name]
    for value in REALS if number.is_real else WHOLES:
        if refused := refusal(number, value):
            assert flag_of(number.field) in refused
            assert len(refused) < 600
        else:
            assert math.isfinite(value)
            assert -1 <= value <= most_of(number.field, value)


def refusal(number: Number, value: float) -> str:
    try:
        number(value)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("one", options(), ids=lambda one: type(one).__name__)
def test_check_refuses_a_whole_number_that_is_none(one: Any) -> None:
    flags = flags_of(one)
    for flag in flags:
        if flag.kind.startswith("INT"):
            texts = ("nan", "inf", "-inf", "1e308", "9" * 5000)
            for text in texts if flag.kind == SIZE else (*texts, "0x10"):  # a size of 0x10 is for the network to refuse
                with pytest.raises(ConfigError) as caught:
                    check([f"{flag.name}={text}"], flags, "x.py")
                assert caught.value.where == flag.name


SECTIONS = ("hyper", "data", "training", "monitoring", "evaluation", "launch")


def section_of(config: TrainConfig, number: Number) -> str:
    return next((name for name in SECTIONS if type(getattr(config, name)) is type(number.section)), "")


@pytest.mark.parametrize(
    ("ending", "words"),
    [("json", ("NaN", "Infinity", "-Infinity", "1e999")), ("yaml", (".nan", ".inf", "-.inf", "1e999"))],
)
def test_filled_refuses_numbers_of_a_file_that_are_not_finite(ending: str, words: tuple[str, ...]) -> None:
    base = TrainConfig.of("unit", "demo")
    seen = 0
    for n, number in enumerate(NUMBERS.values()):
        if section := section_of(base, number):
            word = words[n % len(words)]
            text = f'{{"method": "unit", "preset": "demo", "{section}": {{"{number.field.name}": {word}}}}}'
            with pytest.raises(ConfigError) as caught:
                TrainConfig.filled(text, f"run.{ending}")
            assert f"run.{ending}" in caught.value.where
            seen += 1
    assert seen > 50


@pytest.mark.parametrize("workers", ["10001", "1:1000000000", "9" * 30, "nan", "-1", "0", "1:inf"])
def test_workers_are_bounded(workers: str) -> None:
    with pytest.raises(ConfigError, match="--workers"):
        TrainConfig.of("unit", "demo", {"launch.workers": workers})


@pytest.mark.parametrize(
    "word",
    [
        "size=9001",
        "size=8x99999",
        "load=10000",
        "frames=10001",
        "images=1" + "0" * 30,
        "epochs=1e308",
        "lr=1e10",
        "images=" + "9" * 5000,
        "size=" + "9" * 5000,
    ],
)
def test_stage_refuses_numbers_out_of_bounds(word: str) -> None:
    with pytest.raises(ConfigError, match=r"--stages: stage 1 of 2.*expected (a|pixels)"):
        parsed([f"{'images=1 ' if 'images' not in word and 'epochs' not in word else ''}{word}", ""])


def test_check_below_leaves_out_the_limit() -> None:
    """Adam divides by 1 - beta^t."""
    with pytest.raises(ConfigError, match=r"--beta1: found 1\.0; expected a number from 0 up to, and below, 1"):
        TrainConfig.of("unit", "demo", {"hyper.beta1": 1.0})
    check_below(replace(TrainConfig.of("unit", "demo").hyper, beta1=0.0), 1, "beta1")


def test_check_numbers_knows_the_fields_own_limit_and_the_general_ones() -> None:
    @dataclass
    class Section:
        few: int = setting(1, most=10)
        whole: int = 1
        real: float = 1.0
        several: tuple[float, ...] = ()
        switch: bool = True

    check_numbers(Section(10, 10**12, 1e9, (0.0, 1e9)))
    wrong = Section(11), Section(whole=10**12 + 1), Section(real=1e9 + 1), Section(several=(0.0, math.nan))
    for section, found in zip(
        wrong,
        (
            "--few: found 11; expected a number of at most 10",
            "--whole",
            "--real",
            "--several: found nan; expected a finite number",
        ),
        strict=True,
    ):
        with pytest.raises(ConfigError, match=found):
            check_numbers(section)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("simgan", "gan", "cgan")])
def test_check_parameters_names_the_flags_of_networks_too_large(method: str) -> None:
    """Of those whose widest ones are."""
    widths = [f for f in dataclasses.fields(METHODS[method].config) if f.name.endswith("base")]
    hyper = replace(TrainConfig.of(method, "reference").hyper, **{f.name: f.metadata["most"] for f in widths})
    with torch.device("meta"):
        built = build_from(method, hyper)
    with pytest.raises(ConfigError, match=r"networks of [\d,]+ parameters \([\d,]+ GB in \w+ alone\)") as caught:
        check_parameters(built)
    assert all(flag_of(f) in caught.value.where for f in widths)


HUGE = 1 << 40
MAP, LABELS = Field("png", 3, "uint8", 4, 4), Field("png", 1, "uint8", 4, 4, role="classes", classes=9)
WIDE: dict[str, tuple[Field, dict[str, Any], str]] = {
    "channels": (MAP, {"channels": HUGE}, "1,024 channels"),
    "height": (MAP, {"height": HUGE}, "134,217,728 pixels"),
    "width": (MAP, {"height": 0, "width": HUGE}, "134,217,728 pixels"),
    "area": (MAP, {"height": 1 << 20, "width": 1 << 20}, "134,217,728 pixels"),
    "classes": (LABELS, {"classes": HUGE}, "65536 of a label map"),
    "shape": (Field("npy", 0, "float32", 0, 0, role="vector", shape=(4,)), {"shape": (HUGE, 1)}, "134,217,728 numbers"),
}


@pytest.mark.parametrize("what", WIDE)
def test_contradictions_bound_the_numbers_of_a_field(what: str) -> None:
    field, values, said = WIDE[what]
    assert list(contradictions(field)) == []
    assert any(said in expected for _, expected in contradictions(replace(field, **values)))


@pytest.mark.slow
@pytest.mark.processes
def test_prepare_takes_little_memory_for_any_number(tmp_path: Path) -> None:
    """Also where a value is legal: then its network, or its order of samples, is small enough."""
    program = [sys.executable, "-m", "tests.support.dry_runs", str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["other"] == {}
    assert min(found["seen"]["checked"], found["seen"]["refused"]) > 20
