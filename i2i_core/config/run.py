"""Put the sections together into a run's configuration; read, save and name it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import i2i_core.config.methods  # noqa: F401  fills METHODS
from i2i_core.config.data import DataConfig
from i2i_core.config.evaluation import AtTestOptions, EvaluationConfig
from i2i_core.config.files import FIX, parsed
from i2i_core.config.launch import LaunchConfig
from i2i_core.config.methods.game import OF_DISCRIMINATORS
from i2i_core.config.monitoring import MonitoringConfig
from i2i_core.config.outside import check_trusted
from i2i_core.config.sections import SECTIONS
from i2i_core.config.stages import Stage, filled, turned
from i2i_core.config.training import TrainingConfig
from i2i_core.credentials import check_address
from i2i_core.errors import ConfigError, nearest
from i2i_core.names import MOST_NAME, shortened
from i2i_core.registry import METHODS, entry
from i2i_core.settings import cut, from_dict, resume_rule, shown, to_dict, unnamed
from i2i_core.sizes import Fit, Size, sides, simplest

VERSION = 3
"""Version of the `config.json` that is written. Version 1 had `output` for monitoring, evaluation and at_test; 2 had
the fit `square` by default, `HEIGHTxWIDTH` as the size of a stage, and SimGAN's `image_width`."""
READ = (1, 2, VERSION)
FIT_BEFORE: Fit = "square"
"""The default of `--fit` in versions 1 and 2."""
LENGTHS = ("training.images", "training.epochs")
"""The two forms of a run's length; a configuration has one of them."""
SINCE_VERSION_1 = (
    *(("data", name) for name in ("frame_stride", "balance")),
    ("training", "batch_norm"),
    ("training", "stages"),
    *(("hyper", name) for name in ("lambda_perceptual", "perceptual", "perceptual_input", "perceptual_sha256")),
    *(("hyper", name) for name in (*OF_DISCRIMINATORS, "input_noise_until", "layer_noise")),
)
"""Options (section, name) that must match on resume and that programs of version 1 lacked."""
EPOCHS_BEFORE = 1.0
"""The epochs in files of earlier versions that have a length in images."""


@dataclass(frozen=True)
class _NoMethod:
    """Stand for a method's section in a configuration without a method."""


@dataclass(frozen=True)
class TrainConfig:
    """Hold every option of a run: the content of `config.json` in the run's folder and in each of its checkpoints."""

    method: str
    """Method to train (docs/methods.md)."""
    preset: str
    """Preset of the method, a named set of values; other flags replace single values."""
    hyper: Any
    """Options of the method itself: networks, weights of its terms, learning rates."""
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    monitoring: MonitoringConfig = field(default_factory=MonitoringConfig, metadata={"resume": "free"})
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig, metadata={"resume": "free"})
    at_test: AtTestOptions = field(default_factory=AtTestOptions, metadata={"resume": "free"})
    launch: LaunchConfig = field(default_factory=LaunchConfig, metadata={"resume": "free"})

    @staticmethod
    def of(method: str, preset: str, values: Mapping[str, Any] | None = None) -> TrainConfig:
        """Build the configuration of a method's preset, with `values` by dotted key (`hyper.lambda_rec`) over it.

        A length among the values (`training.images` or `training.epochs`) takes the place of the preset's.

        Raises:
            ConfigError: an unknown method, preset or key, a value out of range, an address with credentials, or two
                lengths.
        """
        found = entry(method)
        merged = _over(found.preset(preset).values, values or {})
        sections = _sections(found.config)
        parts: dict[str, dict[str, Any]] = {name: {} for name in sections}
        for key, value in merged.items():
            section, _, name = key.partition(".")
            if section not in parts:
                raise ConfigError(key, "an unknown section", "a dotted key", nearest(section, parts))
            parts[section][name] = value
            for text in value if isinstance(value, list | tuple) else (value,):
                if isinstance(text, str):
                    check_address(text, key)
        made = TrainConfig(method, preset, **{n: from_dict(kind, parts[n], n) for n, kind in sections.items()})
        made.training.check_length()
        return made

    @staticmethod
    def of_no_method() -> TrainConfig:
        """Build a configuration of the sections that all methods share, to list their flags."""
        return TrainConfig("", "reference", _NoMethod())

    @staticmethod
    def filled(
        text: str | bytes, where: str, method: str = "", preset: str = "", has_length: bool = False
    ) -> TrainConfig:
        """Read a configuration file, and take the values that it lacks from the preset.

        Args:
            text: a saved `config.json` or a part of one; JSON, or YAML if the file's name ends so.
            where: the file's name, for messages.
            method, preset: names from the command line. The file may lack them, and may not have others.
            has_length: true if the command line gives a length; the file's length then does not count.

        Raises:
            ConfigError: the text is of another language or version, names no method or preset or others than the
                command line, has an unknown key or a value out of range, or has two lengths.
        """
        values = parsed(text, where)
        if (named := values.get("method")) != method and isinstance(named, str):
            check_trusted(named, where)
        method = _named("method", values.pop("method", ""), method, where, METHODS, _is_method)
        preset = _named("preset", values.pop("preset", ""), preset, where, entry(method).presets)
        values = {"version": 1 if "output" in values else VERSION, **values}
        before = values["version"] in READ[:-1] and "data.fit" not in entry(method).presets[preset].values
        size = entry(method).presets[preset].values.get("hyper.image_size", METHODS[method].config.image_size)
        values = _current(values, method, where, size)
        if before and isinstance(data := values.get("data", {}), Mapping):
            values["data"] = {"fit": FIT_BEFORE, **data}
        sections = _sections(entry(method).config)
        given: dict[str, Any] = {}
        for name, section in values.items():
            if name not in sections:
                expected = f"method, preset, version and the sections {', '.join(sections)}"
                raise ConfigError(f"{where}: {name}", "an unknown key", expected, nearest(name, sections))
            if not isinstance(section, Mapping):
                fix = f'Write "{name}": {{"NAME": VALUE}}, as in a config.json.'
                raise ConfigError(f"{where}: {name}", shown(section), "values by name", fix)
            given |= {f"{name}.{key}": value for key, value in section.items()}
        if given.get("training.images") and given.get("training.epochs") == EPOCHS_BEFORE:
            del given["training.epochs"]
        if has_length:
            given = {key: value for key, value in given.items() if key not in LENGTHS}
        try:
            return TrainConfig.of(method, preset, given)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error.where}", cut(error.found), error.expected, error.fix) from None

    def dumps(self) -> str:
        """Write the configuration as the JSON of `config.json`."""
        return json.dumps({**to_dict(self), "version": VERSION}, indent=1) + "\n"

    @staticmethod
    def loads(text: str | bytes, where: str, from_driver: bool = False) -> TrainConfig:
        """Read a saved configuration; `where` names it in messages.

        Args:
            from_driver: true if the text comes from this run's own driver, which has imported the method.

        Raises:
            ConfigError: the text is no JSON, is of another version, has an unknown key or a value out of range, or
                names a method that would have to be imported and that nobody else has named (`outside.check_trusted`).
        """
        values = parsed(text, where)
        before = values.get("version") in READ[:-1]
        values = _current(values, values.get("method"), where)
        if before and isinstance(data := values.get("data", {}), Mapping):
            values["data"] = {"fit": FIT_BEFORE, **data}
        for key, kind in (("method", str), ("preset", str), ("hyper", dict)):
            if not isinstance(values.get(key), kind):
                found = f"{key} as a {type(values[key]).__name__}" if key in values else f"no {key!r}"
                raise ConfigError(where, found, "a saved configuration", FIX)
        if not from_driver:
            check_trusted(values["method"], where)
        training = values.get("training")
        if isinstance(training, dict) and training.get("images"):
            training.pop("epochs", None)  # as a run of an earlier version had it: images counted
        try:
            sections = _sections(entry(values["method"]).config)
            made: dict[str, Any] = {n: from_dict(kind, values.get(n, {}), n) for n, kind in sections.items()}
        except ConfigError as error:
            raise ConfigError(f"{where}: {error.where}", cut(error.found), error.expected, error.fix) from None
        return TrainConfig(values["method"], values["preset"], **made)

    @property
    def run_name(self) -> str:
        """Return the run's name: the one that is given, else one made of method, preset, data and a hash.

        The hash covers the values that must match on resume and differ from their defaults, so that a new option
        renames no run that leaves it alone.
        """
        return self.launch.name or self._hashed(_matched(self, with_defaults=False))

    @property
    def name_of_version_1(self) -> str:
        """Return the name that programs of version 1 made, of every value that must match, without newer options."""
        values = _matched(self.before_fits, with_defaults=True)
        for section, name in SINCE_VERSION_1:
            values[section].pop(name, None)
        values["training"]["precision"] = "bf16" if self.training.fast == ("bf16",) else "fp32"
        return self._hashed(values)

    @property
    def name_with_precision(self) -> str:
        """Return the name that earlier programs made: they had the option `precision`, with which a resumed run had to
        agree."""
        values = _matched(self.before_fits, with_defaults=False)
        if self.training.fast == ("bf16",):
            values.setdefault("training", {})["precision"] = "bf16"
        return self._hashed(values)

    @property
    def name_with_fit(self) -> str:
        """Return the name that programs of version 2 made, whose `--fit` was `square` where nobody gave another."""
        return self._hashed(_matched(self.before_fits, with_defaults=False))

    @property
    def before_fits(self) -> TrainConfig:
        """Return the configuration that a program of version 2 made of the same flags, if `--fit` was not given."""
        default = self.data.fit == DataConfig.fit
        return self.with_section("data", fit=FIT_BEFORE) if default else self

    def _hashed(self, values: dict[str, Any]) -> str:
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
        method = re.sub(r"[^\w.-]", "-", self.method)  # that of an outside one has a colon
        data = "".join(c if c.isprintable() else "-" for c in "+".join(self.data.names))
        room = MOST_NAME - len(f"sweep-{method}-{self.preset}--{digest}".encode())
        return f"{method}-{self.preset}-{shortened(data, room)}-{digest}"

    @property
    def image_size(self) -> Size:
        """Return the size of training images in pixels: the side of a square, or (height, width)."""
        size: Size = self.hyper.size
        return size

    def stages(self, frames: int) -> tuple[Stage, ...]:
        """List the stages of the run with every value filled in; a run without stages has a single one.

        Args:
            frames: length of a sequence, as the method has it.
        """
        return filled(self.training.parsed_stages, self.image_size, self.data.load_size, frames)

    def with_section(self, section: str, /, **values: Any) -> TrainConfig:
        """Return a copy with some fields of one section changed."""
        return replace(self, **{section: replace(getattr(self, section), **values)})


def hyper_of_every_method() -> list[Any]:
    """Give the own section of each method, with its first preset's values."""
    return [TrainConfig.of(name, method.first_preset).hyper for name, method in METHODS.items()]


def without_length(training: TrainingConfig, is_given: bool) -> TrainingConfig:
    """Clear the section's length if another one is given, so that the other alone counts."""
    return replace(training, images=0, epochs=0.0) if is_given else training


def _over(below: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge values by dotted key, `given` over `below`. A length in `given` replaces both lengths in `below`."""
    kept = {key: value for key, value in below.items() if key not in LENGTHS or not given.keys() & set(LENGTHS)}
    return {**kept, **given}


def _sections(hyper: type[Any]) -> dict[str, type[Any]]:
    """Return the classes of a configuration's sections by name, given that of the method's own section."""
    return {"hyper": hyper, **SECTIONS}


def _is_method(name: str) -> bool:
    """Return whether there is a method of that name. Raises ConfigError for an outside one that cannot be used."""
    try:
        return bool(entry(name))
    except ConfigError as error:
        if error.where != "--method":  # one outside says what is wrong with it
            raise
        return False


def _named(
    key: str,
    found: Any,
    asked: str,
    where: str,
    known: Mapping[str, Any],
    exists: Callable[[str], bool] | None = None,
) -> str:
    """Find the method or preset that a file and the command line agree on.

    Args:
        exists: tells whether a name exists; None takes the `known` names.

    Raises:
        ConfigError: neither names one, they name two, or the name does not exist.
    """
    if not found and not asked:
        fix = f'Write "{key}": "NAME" into the file, or give --{key} NAME: {", ".join(known)}.'
        raise ConfigError(where, f"no {key!r}", f"a {key}, which fills in what the file leaves out", fix)
    if found and asked and found != asked:
        fix = f"Leave --{key} out, or give another file."
        raise ConfigError(f"--{key} {asked}", f"{where}, which is of {key} {found!r}", f"--{key} {found}", fix)
    name = found or asked
    if not isinstance(name, str) or not (exists(name) if exists else name in known):
        at = f"{where}: {key}" if found else f"--{key}"
        raise ConfigError(at, shown(name), f"a {key}", nearest(str(name), known))
    return name


def _current(values: dict[str, Any], method: Any, where: str, size: Size = (35, 55)) -> dict[str, Any]:
    """Convert a configuration that an earlier program wrote to today's version and names.

    Args:
        size: that of the images, where it leaves height or width out.

    Raises:
        ConfigError: the version is missing or unknown.
    """
    version = values.pop("version", None)
    if version not in READ or isinstance(version, bool):
        expected = f"a configuration of version {' or '.join(map(str, READ))}"
        raise ConfigError(where, f"version {shown(version)}" if version else "no version", expected, FIX)
    values = _with_fast(values, where)
    values = _with_width(values, method, size if version != VERSION else None)
    if version != VERSION:
        values = _with_turned_stages(values)
    return _of_version_1(values, method, where) if version == 1 else values


def _with_width(values: dict[str, Any], method: Any, size: Size | None) -> dict[str, Any]:
    """Convert SimGAN's `image_width`, where 0 is that of a square, and `image_size`, then the height, to one size.

    Args:
        size: of the images, where the file leaves height or width out; None: leaving out the width is a square.
    """
    hyper = values.get("hyper")
    if method != "simgan" or not isinstance(hyper, Mapping) or not {"image_width", "image_size"} & {*hyper}:
        return values
    if size is None and "image_width" not in hyper:
        return values
    default = sides(size or (35, 55))
    height = hyper.get("image_size", default[0])
    width = hyper.get("image_width", 0 if isinstance(size, int) else default[1])
    if not all(isinstance(side, int) and not isinstance(side, bool) for side in (height, width)):
        return values  # the field refuses them
    kept = {name: value for name, value in hyper.items() if name not in ("image_size", "image_width")}
    return {**values, "hyper": {**kept, "image_size": simplest((height, width or height))}}


def _with_turned_stages(values: dict[str, Any]) -> dict[str, Any]:
    """Convert stages of version 2, whose sizes are `HEIGHTxWIDTH`."""
    training = values.get("training")
    if isinstance(training, Mapping) and isinstance(stages := training.get("stages"), list):
        written = [turned(stage) if isinstance(stage, str) else stage for stage in stages]
        values = {**values, "training": {**training, "stages": written}}
    return values


def _with_fast(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Convert `precision` of earlier programs to `fast`. Raises ConfigError for a value that is neither fp32 nor
    bf16."""
    training = values.get("training")
    if not isinstance(training, Mapping) or "precision" not in training:
        return values
    training, at = dict(training), f"{where}: training.precision"
    precision = training.pop("precision")
    if precision not in ("fp32", "bf16"):
        raise ConfigError(at, shown(precision), "fp32 or bf16", 'Write "fast": ["bf16"] in its place, or leave it out.')
    if "fast" in training:
        raise ConfigError(at, "precision, beside fast", "one of them", "Remove precision.")
    return {**values, "training": {"fast": ["off"] if precision == "fp32" else ["bf16"], **training}}


def _of_version_1(values: dict[str, Any], method: Any, where: str) -> dict[str, Any]:
    """Distribute version 1's section `output` to today's sections.

    Before `test_norm` and `test_dropout`, pix2pix had `hyper.test_time`: `noise`, which meant as in training (`auto`),
    or `fixed`: running statistics and no dropout.
    """
    output, hyper = values.pop("output", {}), values.get("hyper")
    if not isinstance(output, Mapping):
        fix = f'Write "output": {{"NAME": VALUE}} at {where}.'
        raise ConfigError(f"{where}: output", shown(output), "values by name", fix)
    if method == "pix2pix" and isinstance(hyper, Mapping) and "test_time" in hyper:
        fixed = {"test_norm": "running", "test_dropout": "off"} if hyper["test_time"] == "fixed" else {}
        output = {**output, **fixed}
        values["hyper"] = {name: value for name, value in hyper.items() if name != "test_time"}
    dealt: dict[str, dict[str, Any]] = {"monitoring": {}, "evaluation": {}, "at_test": {}}
    owners = {f.name: name for name in ("evaluation", "at_test") for f in fields(SECTIONS[name])}
    for name, value in output.items():
        dealt[owners.get(name, "monitoring")][name] = value
    if both := dealt.keys() & values.keys():
        found = f"sections of two versions: output and {', '.join(sorted(both))}"
        fix = "Move the values of output into monitoring, evaluation and at_test."
        raise ConfigError(where, found, "those of one version", fix)
    return {**values, **dealt}


def _matched(section: Any, with_defaults: bool) -> dict[str, Any]:
    """Collect the values that a resumed run must agree with: all, or those that differ from their defaults.

    The result leaves out a section without such values.
    """
    found: dict[str, Any] = {}
    for f in fields(section):
        value = getattr(section, f.name)
        if resume_rule(f) == "free":
            continue
        if is_dataclass(value):
            if inner := _matched(value, with_defaults):
                found[f.name] = inner
        elif with_defaults or value != unnamed(f):
            found[f.name] = value
    for name, (value, default) in getattr(section, "sides_before", {}).items():
        found.pop(name, None)
        if with_defaults or value != default:
            found[name] = value
    return found
