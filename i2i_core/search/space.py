"""Define what a sweep searches: ranges of a method's configuration by dotted key, each with its reason.

A space is a file: `tune_spaces/NAME.py` has one for each method, which names it `SPACE`. The paper's values lie in
every space, so that a sweep always compares with them.
"""

from __future__ import annotations

import ast
import dataclasses
import math
import runpy
import traceback
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import optuna

from i2i_core.config.run import TrainConfig
from i2i_core.errors import ConfigError, nearest
from i2i_core.evaluation.suite import BETTER
from i2i_core.registry import entry
from i2i_core.settings import from_dict, resume_rule, to_dict
from i2i_core.storage.near import corrected

SPACES = Path(__file__).resolve().parents[2] / "tune_spaces"
SECTIONS = ("hyper", "data", "training")
GIVEN = {
    "training.images": "the sweep's own length",
    "training.epochs": "the sweep's own length",
    "data.split": "one split",
    "data.direction": "one direction",
    "hyper.image_size": "one size: a metric at 32 px is not the same metric at 64",
    "hyper.attributes": "the same attributes",
}
"""Fields that all trials share, or their metrics could not be compared, and what is said of each."""


@dataclass(frozen=True)
class Parameter:
    """Define the values that a field may take. Use `uniform`, `log_uniform`, `integer` or `choice` to make one."""

    kind: Literal["float", "int", "choice"]
    why: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: int = 1
    """Distance between two values of an int."""
    choices: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if not self.why.strip():
            raise ConfigError(str(self), "no reason", "why this range", "Say it in the last argument: one line.")
        if self.kind == "choice":
            self._check_choices()
        else:
            self._check_range()

    def _check_range(self) -> None:
        low, high, kind = self.low, self.high, int if self.kind == "int" else int | float
        if any(isinstance(end, bool) or not isinstance(end, kind) or not math.isfinite(end) for end in (low, high)):
            raise ConfigError(str(self), f"{low!r} and {high!r}", f"two {self.kind}s", "Write numbers.")
        if not low < high:
            raise ConfigError(str(self), f"{low} to {high}", "a low end below the high end", "Swap or widen the ends.")
        if self.log and low <= 0:
            fix = "Begin the range above zero, or do not make it logarithmic."
            raise ConfigError(str(self), f"a logarithmic range from {low}", "one from above 0", fix)
        if self.kind == "int" and (self.step < 1 or (high - low) % self.step or (self.log and self.step > 1)):
            expected = "a step >= 1 that leads from end to end, and 1 in a logarithmic range"
            raise ConfigError(str(self), f"step {self.step}", expected, "Change the step or an end.")

    def _check_choices(self) -> None:
        if len(self.choices) < 2 or len(self.choices) > len(set(map(repr, self.choices))):
            raise ConfigError(str(self), repr(self.choices), "two values or more, each once", "Change the list.")
        for value in self.choices:
            if value is not None and not isinstance(value, bool | int | float | str):
                raise ConfigError(str(self), repr(value), "a number, a word, a bool or None", "Change that value.")

    @property
    def ends(self) -> tuple[Any, ...]:
        """List both ends of a range, or every choice."""
        return self.choices if self.kind == "choice" else (self.low, self.high)

    def contains(self, value: Any) -> bool:
        """Tell whether a value lies in the range and is of its type."""
        if self.kind == "choice":
            return any(_same(value, one) for one in self.choices)
        if isinstance(value, bool) or not isinstance(value, int if self.kind == "int" else int | float):
            return False
        return self.low <= value <= self.high and (self.kind == "float" or (value - self.low) % self.step == 0)

    def suggest(self, trial: optuna.trial.Trial, key: str) -> Any:
        """Draw a value from the trial's sampler."""
        if self.kind == "choice":
            return trial.suggest_categorical(key, self.choices)
        if self.kind == "int":
            return trial.suggest_int(key, int(self.low), int(self.high), step=self.step, log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)

    def __str__(self) -> str:
        """Describe the range: `1 to 100, logarithmic`."""
        if self.kind == "choice":
            return "one of " + ", ".join(map(str, self.choices))
        steps = f" in steps of {self.step}" if self.step != 1 else ""
        return f"{_shown(self.low)} to {_shown(self.high)}{', logarithmic' if self.log else steps}"


def uniform(low: float, high: float, why: str) -> Parameter:
    """Search a float evenly from `low` to `high`."""
    return Parameter("float", why, _float(low), _float(high))


def log_uniform(low: float, high: float, why: str) -> Parameter:
    """Search a float evenly by its logarithm: as many tries between 1 and 10 as between 10 and 100."""
    return Parameter("float", why, _float(low), _float(high), log=True)


def integer(low: int, high: int, why: str, *, log: bool = False, step: int = 1) -> Parameter:
    """Search a whole number from `low` to `high`, both included."""
    return Parameter("int", why, low, high, log, step)


def choice(values: Sequence[Any], why: str) -> Parameter:
    """Search values that have no order."""
    return Parameter("choice", why, choices=(values,) if isinstance(values, str) else tuple(values))


@dataclass(frozen=True)
class Space:
    """Define what a sweep of one method searches: parameters, metrics, and values to try first."""

    method: str
    parameters: Mapping[str, Parameter]
    """Ranges by dotted key: `hyper.lambda_l1`."""
    metrics: tuple[str, ...] = ()
    """Metrics to search for where --metric names none; several: a Pareto front."""
    guesses: tuple[Mapping[str, Any], ...] = ()
    """Values to try after the paper's, which are always trial 0. The sampler draws what a guess leaves out."""
    file: str = field(default="", compare=False)
    """File that the space was read from, for messages."""

    def __post_init__(self) -> None:
        kinds: dict[str, type[Any]] = {"method": str, "parameters": Mapping, "metrics": tuple, "guesses": tuple}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise ConfigError(f"Space({name}=...)", repr(value), f"a {kind.__name__}", "See tune_spaces/ for one.")
        for key, parameter in self.parameters.items():
            if not isinstance(key, str) or not isinstance(parameter, Parameter):
                fix = "Write uniform(...), log_uniform(...), integer(...) or choice(...)."
                raise ConfigError(f"Space: {key}", repr(parameter), "a range for a dotted key", fix)
        if not self.parameters:
            raise ConfigError("Space(parameters=...)", "none", "something to search", "Add a range.")
        for guess in self.guesses:
            if not isinstance(guess, Mapping):
                raise ConfigError("Space(guesses=...)", repr(guess), "values by dotted key", "Write a dict.")
        for metric in self.metrics:
            if not isinstance(metric, str):
                raise ConfigError("Space(metrics=...)", repr(metric), "names of metrics", "Write ('l1',), say.")

    def plain(self) -> dict[str, Any]:
        """Give the space as JSON values, without the file's name: a resumed sweep compares these."""
        values = to_dict(self)
        del values["file"]
        return dict(values)

    def at(self, key: str) -> str:
        """Name a key as messages do."""
        return f"{self.file or 'the space'}: {key}"


def load_space(name_or_path: str) -> Space:
    """Load the space of a method's name, or in a file.

    Raises:
        ConfigError: no such file, or one that does not hold a space; with the file and the line.
    """
    path = Path(name_or_path)
    if path.suffix != ".py":
        path = SPACES / f"{name_or_path}.py"
        known = [file.stem for file in SPACES.glob("*.py") if file.stem != "__init__"]
        if name_or_path not in known:
            fix = nearest(name_or_path, known) + " Or name a file that ends in .py."
            raise ConfigError("--space", repr(name_or_path), f"a file of {SPACES.name}/", fix)
    if not path.is_file():
        fix = corrected(str(path), "Name a file like those of tune_spaces/.")
        raise ConfigError("--space", f"no file {path}", "a Python file with SPACE = Space(...)", fix)
    space = _run(path).get("SPACE")
    if not isinstance(space, Space):
        found = "no SPACE" if space is None else f"SPACE = {space!r}"
        raise ConfigError(str(path), found, "SPACE = Space(...)", "See the files of tune_spaces/.")
    return dataclasses.replace(space, file=_named(path))


def _named(path: Path) -> str:
    """Name a file for messages: the project's own relative to the project."""
    resolved = path.resolve()
    return str(resolved.relative_to(SPACES.parent)) if resolved.is_relative_to(SPACES) else str(path)


def _run(path: Path) -> dict[str, Any]:
    """Run a file and give what it defines. Raise ConfigError with the line for whatever goes wrong in it."""
    try:
        tree = ast.parse(path.read_text(), str(path))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(f"{path}{line}", message, "Python", "Correct the line.") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            _check_once(node, path)
    try:
        return runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        where = f"{path}, line {frames[-1]}" if frames else str(path)
        if isinstance(error, ConfigError):
            raise ConfigError(f"{where}: {error.where}", error.found, error.expected, error.fix) from None
        found = f"{type(error).__name__}: {error}"
        raise ConfigError(where, found, "a file that runs", "Correct the line.") from None


def _check_once(node: ast.Dict, path: Path) -> None:
    """Refuse a dict with a key twice, of which Python would keep the second."""
    seen: dict[Any, int] = {}
    for key in node.keys:
        if isinstance(key, ast.Constant):
            if key.value in seen:
                where, found = f"{path}, line {key.lineno}", f"{key.value!r} again (line {seen[key.value]})"
                raise ConfigError(where, found, "each key once", "Remove one of the two.")
            seen[key.value] = key.lineno


def check_space(space: Space, base: TrainConfig, method: str) -> None:
    """Refuse a space that does not fit the method, or that the configuration would refuse somewhere.

    Each end of a range and each choice is tried alone over `base`; guesses and the paper's values as a whole. The
    configuration can still refuse combinations in between: `configured` then raises ConfigError.

    Raises:
        ConfigError: naming the space's file and the key.
    """
    if space.method != method:
        fix = f"Give --method {space.method}, or another --space."
        raise ConfigError(f"--space {space.file}", f"a space of {space.method}", f"one of {method}", fix)
    for key, parameter in space.parameters.items():
        _check_key(space, key, parameter, base)
        for end in parameter.ends:
            _accepted(space, f"{key} = {end!r}", base, {key: end})
    for name, values in [("the paper's values", paper_values(space, base)), *_named_guesses(space)]:
        for key, value in values.items():
            if key not in space.parameters:
                found = f"{key!r}, which is not searched"
                raise ConfigError(space.at(name), found, "a key of the space", nearest(key, space.parameters))
            if not space.parameters[key].contains(value):
                expected = f"a value in {space.parameters[key]}"
                raise ConfigError(space.at(name), f"{key} = {value!r}", expected, "Widen the range.")
        _accepted(space, name, base, values)
    for metric in space.metrics:
        if metric.split("/")[0] not in BETTER:
            raise ConfigError(space.at("metrics"), repr(metric), "a metric", nearest(metric, BETTER))


def _named_guesses(space: Space) -> list[tuple[str, Mapping[str, Any]]]:
    return [(f"guess {number}", guess) for number, guess in enumerate(space.guesses, 1)]


def _check_key(space: Space, key: str, parameter: Parameter, base: TrainConfig) -> None:
    """Refuse a key that the configuration does not have or a sweep must not vary, and a range of another type."""
    sections = {name: {f.name: f for f in fields(getattr(base, name))} for name in SECTIONS}
    section, _, name = key.partition(".")
    if name not in sections.get(section, {}):
        known = [f"{s}.{n}" for s in SECTIONS for n, f in sections[s].items() if _searchable(f"{s}.{n}", f)]
        expected = f"a field of {base.method}'s configuration that decides what is learnt"
        raise ConfigError(space.at(key), "an unknown name", expected, nearest(key, known))
    found = sections[section][name]
    if key in GIVEN:
        fix = "Remove it; give the value as a flag."
        raise ConfigError(space.at(key), "a range", f"{GIVEN[key]}, for all trials", fix)
    if not _searchable(key, found):
        expected = "a field that decides what is learnt, and that the data does not"
        raise ConfigError(space.at(key), "a range", expected, "Remove it.")
    hint = typing.get_type_hints(type(getattr(base, section)))[name]
    fits = {"float": hint is float, "int": hint in (int, float), "choice": True}[parameter.kind]
    if not fits:
        shown = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
        fix = f"Write {'integer' if hint is int else 'choice'}(...)."
        raise ConfigError(space.at(key), f"a range of {parameter.kind}s", f"values for a field of type {shown}", fix)


def _searchable(key: str, found: dataclasses.Field[Any]) -> bool:
    return key not in GIVEN and resume_rule(found) == "match" and not found.metadata.get("derived")


def _accepted(space: Space, name: str, base: TrainConfig, values: Mapping[str, Any]) -> None:
    try:
        configured(base, values)
    except ConfigError as error:
        found = f"a value that the configuration refuses ({error.where}: {error.found})"
        raise ConfigError(space.at(name), found, error.expected, error.fix) from None


def paper_values(space: Space, base: TrainConfig) -> dict[str, Any]:
    """Look up the values of the method's `paper` preset for the space's keys; without that preset those of the preset
    that `base` begins with."""
    preset = "paper" if "paper" in entry(base.method).presets else base.preset
    return values_in(space, TrainConfig.of(base.method, preset))


def values_in(space: Space, config: TrainConfig) -> dict[str, Any]:
    """Look up a configuration's values for the space's keys."""
    values = {}
    for key in space.parameters:
        section, _, name = key.partition(".")
        values[key] = getattr(getattr(config, section), name)
    return values


def first_values(space: Space, base: TrainConfig) -> list[Mapping[str, Any]]:
    """List what a sweep tries before its sampler draws: the paper's values, those that a run without a sweep would have
    (where the space holds them), the space's guesses."""
    own = values_in(space, base)
    held = all(space.parameters[key].contains(value) for key, value in own.items())
    return [paper_values(space, base), *([own] if held else []), *space.guesses]


def configured(base: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """Replace the values of the dotted keys in `base`.

    Raises:
        ConfigError: an unknown key, a value of another type, or a combination that the configuration refuses.
    """
    changed: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        if section not in SECTIONS:
            raise ConfigError(key, "an unknown section", "a dotted key", nearest(section, SECTIONS))
        changed.setdefault(section, {})[name] = value
    made = {}
    for section, new in changed.items():
        old = getattr(base, section)
        made[section] = from_dict(type(old), {**{f.name: getattr(old, f.name) for f in fields(old)}, **new}, section)
    return dataclasses.replace(base, **made)


def suggest(space: Space, trial: optuna.trial.Trial) -> dict[str, Any]:
    """Draw a trial's values, by dotted key, in the order of the space."""
    return {key: parameter.suggest(trial, key) for key, parameter in space.parameters.items()}


def _float(value: Any) -> Any:
    """Convert ints to floats; leave what is no number for the check to refuse."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else repr(value)


def _same(a: Any, b: Any) -> bool:
    """Compare two values; True is not 1."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)
