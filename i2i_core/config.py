"""One run's whole configuration: the sections, put together, and what it means to be the same run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from i2i_core.data.stream import DataConfig
from i2i_core.data.transforms import Size
from i2i_core.errors import ConfigError, nearest
from i2i_core.registry import entry
from i2i_core.settings import check_at_least, from_dict, resume_rule, setting, to_dict
from i2i_core.training.config import OutputConfig, TrainingConfig

VERSION = 1


@dataclass(frozen=True)
class LaunchConfig:
    """Where a run happens. Nothing here changes what it computes."""

    workers: str = setting("1", resume="free")
    """Training workers: N, or MIN:MAX for an elastic run."""
    gpu: bool = setting(False, resume="free")
    """One GPU per worker (nccl). Neither --gpu nor --cpu: GPUs if the cluster has any."""
    cpu: bool = setting(False, resume="free")
    """CPU only (gloo)."""
    cpus_per_worker: int = setting(1, resume="free")
    """CPUs, and torch threads, of a worker."""
    storage: str = setting("runs", resume="free")
    """Where runs are kept: a folder that all nodes see, or an fsspec URL."""
    name: str = setting("", resume="free")
    """Name of the run, a folder in the storage; none given: method, preset, data and what must match."""
    max_failures: int = setting(3, resume="free")
    """Restarts from the last checkpoint after a worker failed; those after a node was taken away are not counted."""
    resize_every: float = setting(60.0, resume="free")
    """Of an elastic run: seconds between looks whether the cluster has room for more workers."""
    patience: float = setting(600.0, resume="free")
    """Seconds that storage may go without answering before the run ends."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "cpus_per_worker")
        check_at_least(self, 0, "max_failures", "patience", "resize_every")
        if self.gpu and self.cpu:
            raise ConfigError("--gpu --cpu", "both", "one of them, or neither", "Remove one.")
        least, most = self.worker_range
        if not 1 <= least <= most:
            raise ConfigError("--workers", self.workers, "N >= 1, or MIN:MAX with MIN <= MAX", "Give --workers 2, say.")

    @property
    def worker_range(self) -> tuple[int, int]:
        """Fewest and most workers."""
        try:
            least, _, most = self.workers.partition(":")
            return int(least), int(most or least)
        except ValueError:
            fix = "Give --workers 4, or --workers 2:8."
            raise ConfigError("--workers", repr(self.workers), "a number, or MIN:MAX", fix) from None


@dataclass(frozen=True)
class TrainConfig:
    """Everything `train.py` is told. `config.json` in a run and in each of its checkpoints is this."""

    method: str
    preset: str
    hyper: Any
    """The method's own section."""
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    output: OutputConfig = field(default_factory=OutputConfig, metadata={"resume": "free"})
    launch: LaunchConfig = field(default_factory=LaunchConfig, metadata={"resume": "free"})

    @staticmethod
    def of(method: str, preset: str, values: Mapping[str, Any] | None = None) -> TrainConfig:
        """A method's preset, with `values` by dotted key (`hyper.lambda_rec`, `training.batch`) over it.

        Raises:
            ConfigError: an unknown method, preset or key, or a value out of range.
        """
        found = entry(method)
        merged = {**found.preset(preset).values, **(values or {})}
        sections = {"hyper": found.config, "data": DataConfig, "training": TrainingConfig}
        sections |= {"output": OutputConfig, "launch": LaunchConfig}
        parts: dict[str, dict[str, Any]] = {name: {} for name in sections}
        for key, value in merged.items():
            section, _, name = key.partition(".")
            if section not in parts:
                raise ConfigError(key, "an unknown section", "a dotted key", nearest(section, parts))
            parts[section][name] = value
        return TrainConfig(method, preset, **{n: from_dict(kind, parts[n], n) for n, kind in sections.items()})

    def dumps(self) -> str:
        return json.dumps({**to_dict(self), "version": VERSION}, indent=1) + "\n"

    @staticmethod
    def loads(text: str, where: str) -> TrainConfig:
        """A saved configuration; `where` names it in messages.

        Raises:
            ConfigError: not JSON, another version, an unknown key, or a value out of range.
        """
        fix = "Give a config.json that train.py wrote."
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ConfigError(where, f"text that is not JSON ({error})", "a saved configuration", fix) from None
        if not isinstance(values, dict) or values.pop("version", None) != VERSION:
            raise ConfigError(where, "no version, or another", f"a configuration of version {VERSION}", fix)
        for key in ("method", "preset", "hyper"):
            if key not in values:
                raise ConfigError(where, f"no {key!r}", "a saved configuration", fix)
        kind = entry(values["method"]).config
        values = _renamed(values)
        sections: dict[str, type[Any]] = {"data": DataConfig, "training": TrainingConfig}
        sections |= {"output": OutputConfig, "launch": LaunchConfig}
        made: dict[str, Any] = {
            name: from_dict(section, values.get(name, {}), name) for name, section in sections.items()
        }
        return TrainConfig(values["method"], values["preset"], from_dict(kind, values["hyper"], "hyper"), **made)

    @property
    def run_name(self) -> str:
        """The name given, or one made of method, preset, data and a hash of what must match on resume."""
        data = "+".join(self.data.names)
        digest = hashlib.sha256(json.dumps(_matched(self), sort_keys=True).encode()).hexdigest()[:8]
        return self.launch.name or f"{self.method}-{self.preset}-{data}-{digest}"

    @property
    def image_size(self) -> Size:
        """Pixels of training images: a square's side, or height and width where the method names a width."""
        height, width = self.hyper.image_size, getattr(self.hyper, "image_width", 0)
        return (height, width) if width else height

    def with_section(self, name: str, **values: Any) -> TrainConfig:
        """With some fields of one section changed."""
        return replace(self, **{name: replace(getattr(self, name), **values)})


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    """Bring a configuration that an earlier program wrote into today's names.

    pix2pix had `hyper.test_time`: `noise`, which was meant to be as in training (`auto`), or `fixed`: running
    statistics and no dropout.
    """
    hyper = values["hyper"]
    if values["method"] != "pix2pix" or not isinstance(hyper, dict) or "test_time" not in hyper:
        return values
    fixed = {"test_norm": "running", "test_dropout": "off"} if hyper["test_time"] == "fixed" else {}
    hyper = {name: value for name, value in hyper.items() if name != "test_time"}
    return {**values, "hyper": hyper, "output": {**values.get("output", {}), **fixed}}


def _matched(section: Any) -> dict[str, Any]:
    """The values that a resumed run must agree with."""
    out: dict[str, Any] = {}
    for f in fields(section):
        value = getattr(section, f.name)
        if resume_rule(f) == "match":
            out[f.name] = _matched(value) if is_dataclass(value) else value
    return out
