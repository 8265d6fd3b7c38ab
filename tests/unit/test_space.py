"""Spaces of sweeps: those of every method fit it, and a wrong one is refused with the file, the key and what to do.

pytest tests/unit/test_space.py
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import optuna
import pytest

from i2i_core.config.run import TrainConfig
from i2i_core.errors import ConfigError
from i2i_core.evaluation.suite import basic_metrics
from i2i_core.methods import METHODS
from i2i_core.search.space import (
    SPACES,
    Parameter,
    Space,
    check_space,
    choice,
    configured,
    integer,
    load_space,
    log_uniform,
    paper_values,
    suggest,
    uniform,
)
from i2i_core.settings import differences

BASE = TrainConfig.of("cyclegan", "demo")


def space_of(*, method: str = "cyclegan", **parts: Any) -> Space:
    parameters = {"hyper.lambda_cyc": log_uniform(1, 100, "why"), "hyper.pool_size": integer(0, 100, "why")}
    return Space(method, **{"parameters": parameters, **parts})


def trials(space: Space, count: int) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [suggest(space, study.ask()) for _ in range(count)]


@pytest.mark.parametrize("method", METHODS)
def test_space_of_a_method_fits_every_preset_and_holds_the_papers_values(method: str) -> None:
    space = load_space(method)
    for preset in METHODS[method].presets:
        base = TrainConfig.of(method, preset)
        check_space(space, base, method)
        paper = TrainConfig.of(method, "paper")
        values = paper_values(space, base)
        assert all(space.parameters[key].contains(value) for key, value in values.items())
        assert differences(configured(paper, values), paper) == []
        for tried in trials(space, 8):
            configured(base, tried)
    assert space.metrics
    assert set(space.metrics) <= {
        *basic_metrics(METHODS[method].method),
        *TrainConfig.of(method, "demo").evaluation.metrics,
    }
    assert all(parameter.why and "\n" not in parameter.why for parameter in space.parameters.values())


def test_space_files_are_of_methods() -> None:
    assert {file.stem for file in SPACES.glob("*.py")} == set(METHODS)


def test_space_in_the_docs_is_one(tmp_path: Path) -> None:
    text = (SPACES.parent / "docs" / "sweeps.md").read_text()
    (tmp_path / "mine.py").write_text(text.split("```python\n")[1].split("```")[0])
    space = load_space(str(tmp_path / "mine.py"))
    check_space(space, BASE, "cyclegan")
    assert len(space.parameters) == 5


def test_paper_values_are_the_papers_whatever_the_base_has() -> None:
    assert BASE.hyper.lr == 1e-3
    assert BASE.hyper.lambda_id == 0.5
    assert paper_values(load_space("cyclegan"), BASE) == {
        "hyper.lambda_cyc": 10.0,
        "hyper.lambda_id": 0.0,
        "hyper.pool_size": 50,
        "hyper.n_critic": 1,
        "hyper.adversarial": "lsgan",
        "hyper.lr": 2e-4,
    }


def test_parameter_suggests_in_its_range_and_type() -> None:
    parameters = {
        "float": uniform(0, 4, "why"),
        "log": log_uniform(1, 100, "why"),
        "int": integer(0, 20, "why", step=10),
        "log int": integer(1, 1000, "why", log=True),
        "choice": choice((True, 1.5, "word", None), "why"),
    }
    drawn = trials(Space("cyclegan", parameters), 400)
    for key, parameter in parameters.items():
        assert all(parameter.contains(values[key]) for values in drawn), key
    assert {values["int"] for values in drawn} == {0, 10, 20}
    assert {values["choice"] for values in drawn} == {True, 1.5, "word", None}
    assert all(type(values["int"]) is int and type(values["float"]) is float for values in drawn)
    assert 0.4 < sum(values["float"] < 2 for values in drawn) / 400 < 0.6  # the middle of an even range
    assert 0.4 < sum(values["log"] < 10 for values in drawn) / 400 < 0.6  # and of a logarithmic one
    assert 0.4 < sum(values["log int"] < 32 for values in drawn) / 400 < 0.6


@pytest.mark.parametrize(
    ("parameter", "inside", "outside"),
    [
        (uniform(0, 1, "why"), [0, 0.0, 0.5, 1.0], [-0.01, 1.01, "0.5", True, None, float("nan")]),
        (integer(0, 20, "why", step=10), [0, 10, 20], [5, 30, 10.0, True, "10"]),
        (choice((0, "a", None), "why"), [0, 0.0, "a", None], [False, 1, "b", "None"]),
    ],
)
def test_parameter_contains(parameter: Parameter, inside: list[Any], outside: list[Any]) -> None:
    assert [value for value in inside if not parameter.contains(value)] == []
    assert [value for value in outside if parameter.contains(value)] == []


def test_configured_changes_what_is_named_and_nothing_else() -> None:
    made = configured(BASE, {"hyper.lambda_cyc": 3, "hyper.pool_size": 7, "training.clip_grad": 1.0})
    assert (made.hyper.lambda_cyc, made.hyper.pool_size, made.training.clip_grad) == (3.0, 7, 1.0)
    changed = sorted(line.split(":")[0] for line in differences(BASE, made))
    assert changed == ["hyper.lambda_cyc", "hyper.pool_size", "training.clip_grad"]
    assert configured(BASE, {}) == BASE


def test_configured_takes_values_together_and_refuses_what_does_not_go_together() -> None:
    alone = configured(BASE, {"hyper.lambda_cyc": 0.0})
    with pytest.raises(ConfigError, match="at least one of them above 0"):
        configured(alone, {"hyper.lambda_gan": 0.0})
    assert configured(alone, {"hyper.lambda_gan": 0.0, "hyper.lambda_cyc": 1.0}).hyper.lambda_gan == 0
    with pytest.raises(ConfigError, match=r"hyper\.pool_size: found 7\.5"):
        configured(BASE, {"hyper.pool_size": 7.5})


WRONG = {
    "unknown name": ({"hyper.lambda_cycle": uniform(0, 1, "why")}, "Did you mean.* hyper.lambda_cyc"),
    "no section": ({"lambda_cyc": uniform(0, 1, "why")}, "an unknown name.*\n.*hyper.lambda_cyc"),
    "another section": ({"launch.workers": choice(("1", "2"), "why")}, "an unknown name"),
    "from the data": ({"hyper.in_channels": integer(1, 3, "why")}, "that the data does not"),
    "computes nothing": ({"data.loaders": integer(0, 3, "why")}, "decides what is learnt"),
    "the length": ({"training.images": integer(100, 300, "why")}, "the sweep's own length"),
    "the size": ({"hyper.image_size": choice((32, 64), "why")}, "one size"),
    "floats for an int": ({"hyper.pool_size": uniform(0, 100, "why")}, r"type int.\n.*integer\(\.\.\.\)"),
    "floats for a word": ({"hyper.adversarial": uniform(0, 1, "why")}, r"choice\(\.\.\.\)"),
    "words for a float": ({"hyper.lr": choice(("fast", "slow"), "why")}, "hyper.lr = 'fast'.*refuses"),
    "low end": ({"hyper.lr": uniform(0, 1, "why")}, "hyper.lr = 0.0.*refuses.*--lr"),
    "high end": ({"hyper.beta1": uniform(0.5, 1.5, "why")}, "hyper.beta1 = 1.5.*refuses"),
    "one choice": ({"hyper.adversarial": choice(("lsgan", "lsgun"), "why")}, "lsgun"),
    "without the paper's": ({"hyper.lambda_cyc": uniform(11, 20, "why")}, "paper's values.*hyper.lambda_cyc = 10"),
    "off the steps": ({"hyper.pool_size": integer(0, 60, "why", step=20)}, "hyper.pool_size = 50"),
}


@pytest.mark.parametrize("case", WRONG)
def test_check_space_refuses_a_parameter_that_the_method_does_not_take(case: str) -> None:
    parameters, message = WRONG[case]
    space = dataclasses.replace(space_of(parameters=parameters), file="mine.py")
    with pytest.raises(ConfigError, match=f"(?s)mine.py: .*{message}"):
        check_space(space, BASE, "cyclegan")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"guesses": ({"hyper.lambda_cyc": 2.0}, {"hyper.lambda_cyc": 200.0})},
            "guess 2: found hyper.lambda_cyc = 200",
        ),
        ({"guesses": ({"hyper.lambda_cyk": 2.0},)}, "Did you mean hyper.lambda_cyc"),
        ({"metrics": ("twins",)}, "Did you mean twin"),
        ({"method": "unit"}, "Give --method unit"),
    ],
)
def test_check_space_refuses_a_guess_metric_or_method_that_does_not_fit(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        check_space(space_of(**parts), BASE, "cyclegan")
    check_space(space_of(), BASE, "cyclegan")


def test_check_space_refuses_a_guess_that_does_not_go_together() -> None:
    parameters = {"hyper.lambda_cyc": uniform(0, 20, "why"), "hyper.lambda_gan": uniform(0, 2, "why")}
    guess = {"hyper.lambda_cyc": 0.0, "hyper.lambda_gan": 0.0}
    check_space(space_of(parameters=parameters), BASE, "cyclegan")
    with pytest.raises(ConfigError, match="guess 1: found a value that the configuration refuses"):
        check_space(space_of(parameters=parameters, guesses=(guess,)), BASE, "cyclegan")


TOP = "from i2i_core.search.space import *\n"
FILES = {
    "nothing of it": (f"{TOP}OTHER = 1\n", "mine.py: found no SPACE"),
    "another type": (f"{TOP}SPACE = {{'method': 'cyclegan'}}\n", r"mine.py: found SPACE = \{"),
    "syntax": (f"{TOP}SPACE = Space(\n  'cyclegan', {{'a': 1]\n)\n", "mine.py, line 3: .*expected Python"),
    "raises": (f"{TOP}a = 1\nb = a / 0\n", "mine.py, line 3: found ZeroDivisionError"),
    "raises inside": (f"{TOP}def f():\n    return {{}}['x']\nSPACE = f()\n", "mine.py, line 3: found KeyError"),
    "import": ("import no_such_library\n", "mine.py, line 1: found ModuleNotFoundError"),
    "exits": ("import sys\nsys.exit(3)\n", "mine.py, line 2: found SystemExit"),
    "bytes": ("x = '\0'\n", "mine.py.*expected Python"),
    "twice": (
        f"{TOP}SPACE = Space('cyclegan', {{\n 'hyper.lr': uniform(1, 2, 'w'),\n 'hyper.lr': uniform(1, 2, 'w')}})\n",
        r"mine.py, line 4: found 'hyper.lr' again \(line 3\)",
    ),
    "ends": (f"{TOP}\nx = uniform(2, 1, 'w')\n", "mine.py, line 3: 2 to 1: .*below the high end"),
    "log": (f"{TOP}x = log_uniform(0, 1, 'w')\n", "line 2: .*from above 0"),
    "no number": (f"{TOP}x = uniform(0, 'one', 'w')\n", "line 2: .*two floats"),
    "infinite": (f"{TOP}x = uniform(0, float('inf'), 'w')\n", "line 2: .*two floats"),
    "no int": (f"{TOP}x = integer(0, 1.5, 'w')\n", "line 2: .*two ints"),
    "step": (f"{TOP}x = integer(0, 5, 'w', step=2)\n", "line 2: .*found step 2"),
    "one choice": (f"{TOP}x = choice(['a'], 'w')\n", "line 2: .*two values or more"),
    "a word to choose from": (f"{TOP}x = choice('ab', 'w')\n", "line 2: .*two values or more"),
    "a list to choose": (f"{TOP}x = choice(['a', [1]], 'w')\n", r"line 2: .*found \[1\]"),
    "no reason": (f"{TOP}x = uniform(0, 1, ' ')\n", "line 2: .*found no reason"),
    "nothing to search": (f"{TOP}x = Space('cyclegan', {{}})\n", "line 2: .*something to search"),
    "no range": (f"{TOP}x = Space('cyclegan', {{'hyper.lr': 1}})\n", "line 2: Space: hyper.lr: found 1"),
    "one guess": (f"{TOP}x = Space('a', {{'b': uniform(0, 1, 'w')}}, guesses={{'b': 1}})\n", "line 2: .*a tuple"),
    "one metric": (f"{TOP}x = Space('a', {{'b': uniform(0, 1, 'w')}}, metrics='l1')\n", "line 2: .*a tuple"),
}


@pytest.mark.parametrize("case", FILES)
def test_load_space_refuses_a_file_without_a_space_and_names_the_line(case: str, tmp_path: Path) -> None:
    text, message = FILES[case]
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigError, match=f"(?s){message}") as caught:
        load_space(str(tmp_path / "mine.py"))
    error = caught.value
    assert error.__suppress_context__ or error.__context__ is None  # one message, no traceback of the file's own


def test_load_space_takes_a_path_and_says_where_it_is_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text((SPACES / "cyclegan.py").read_text())
    found = load_space(str(file))
    assert found == load_space("cyclegan")
    assert found.plain() == load_space("cyclegan").plain()
    assert (found.file, load_space("cyclegan").file) == (str(file), "tune_spaces/cyclegan.py")


@pytest.mark.parametrize(("name", "fix"), [("cyclegann", "Did you mean cyclegan"), ("no/such.py", "no file no/such")])
def test_load_space_refuses_a_missing_space(name: str, fix: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s)--space: .*{fix}"):
        load_space(name)
