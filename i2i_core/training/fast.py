"""Choose the ways in which a step runs faster than plain eager fp32, and say which and why.

None of them changes the mathematics of a method beyond rounding. docs/performance.md has the measurements that `auto`
goes by.
"""

from __future__ import annotations

import shutil
import sysconfig
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from torch import nn

from i2i_core.config.fast import OPTIONS
from i2i_core.errors import ConfigError
from i2i_core.training.sync import World

FEWEST_WEIGHTS = 40_000
"""Below so many weights, conversions to bf16 cost what its arithmetic saves."""

AS_WRITTEN = ("compile", "graphs")
"""Options that do not go with what is computed again as it is written."""


@dataclass(frozen=True)
class Fast:
    """Say which options are on; none is plain eager fp32.

    Attributes:
        bf16: forward passes under bf16 autocast; weights, losses, penalties, statistics and moves stay float32.
        channels_last: images and convolutions laid out in memory with the channels last.
        passes: one call where a network goes over several images, if none of its layers tells one call from two.
        compile: networks compiled by torch.compile, but where they are differentiated twice.
        graphs: a whole update recorded as a CUDA graph, and launched as one.
        bf16_sums: gradients travel between workers as bf16.
    """

    bf16: bool = False
    channels_last: bool = False
    passes: bool = False
    compile: bool = False
    graphs: bool = False
    bf16_sums: bool = False

    @staticmethod
    def named(*names: str) -> Fast:
        """Turn options on by name."""
        return Fast(**dict.fromkeys(names, True))

    @property
    def names(self) -> tuple[str, ...]:
        """List the options that are on."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name))


@dataclass(frozen=True)
class Choice:
    """Hold what a run does of all options.

    Attributes:
        fast: those that are on.
        why_not: by option that is off, the reason.
    """

    fast: Fast
    why_not: dict[str, str] = field(default_factory=dict)

    def said(self) -> str:
        """Say it in a line."""
        on = ", ".join(self.fast.names) or "nothing: plain eager fp32"
        off = "; ".join(f"not {name}: {why}" for name, why in self.why_not.items())
        return f"fast: {on}" + (f" ({off})" if off else "")


def check_possible(asked: tuple[str, ...], device: torch.device, workers: int, again: bool) -> None:
    """Refuse options that cannot be in a run, before it starts.

    Args:
        asked: as of `choose`.
        device: of the workers.
        workers: of the run, at most.
        again: as of `choose`.

    Raises:
        ConfigError: it does, with the options that can be.
    """
    impossible = _impossible(device, workers, again)
    for name in asked:
        if name in impossible:
            others = [other for other in asked if other not in impossible]
            fix = f"Give --fast {' '.join(others) or 'auto'}."
            raise ConfigError("--fast", name, f"options that are possible here; {impossible[name]}", fix)


def choose(
    asked: tuple[str, ...], networks: nn.Module, device: torch.device, workers: int = 1, again: bool = False
) -> Choice:
    """Choose what a run's `--fast` comes to on this device and among so many workers, of whom an elastic run has now
    more, now fewer: what cannot be is off, with the reason.

    Args:
        asked: `("auto",)`, `("off",)`, or options by name.
        networks: of the method.
        workers: of the run, at present.
        again: whether blocks are computed again in backward (`--checkpoint-activations`).
    """
    impossible = _impossible(device, workers, again)
    if asked == ("off",):
        return Choice(Fast())
    if asked == ("auto",):
        return _auto(networks, device, impossible)
    possible = [name for name in asked if name not in impossible]
    return Choice(Fast.named(*possible), {name: impossible[name] for name in asked if name in impossible})


def agreed(choice: Choice, world: World) -> Choice:
    """Keep of a choice what every worker chose: they may be on machines of several kinds. All call this together."""
    everyone = world.gather(choice.fast.names)
    lacking = [name for name in choice.fast.names if not all(name in names for names in everyone)]
    kept = [name for name in choice.fast.names if name not in lacking]
    return Choice(Fast.named(*kept), choice.why_not | dict.fromkeys(lacking, "not every worker's device takes it"))


def _impossible(device: torch.device, workers: int, again: bool) -> dict[str, str]:
    """Tell why options cannot be, by name."""
    written = "--checkpoint-activations has blocks computed again as they are written"
    found = dict.fromkeys(AS_WRITTEN, written) if again else {}
    if device.type == "cpu" and (missing := _missing_to_compile()):
        found["compile"] = f"compiling for a CPU needs {missing}"
    if device.type != "cuda":
        found["graphs"] = "a CPU has no launches to save"
    elif workers > 1:
        found["graphs"] = "gradients of several workers are summed between the moves"
    if workers == 1:
        found["bf16_sums"] = "one worker sends no gradients"
    return found


def _auto(networks: nn.Module, device: torch.device, impossible: dict[str, str]) -> Choice:
    """Choose what has measured faster on a device of this kind."""
    why_not = {} if device.type == "cpu" else {**impossible}
    weights = sum(p.numel() for p in networks.parameters())
    if not has_bf16(device):
        why_not["bf16"] = "this device has no bf16 arithmetic"
    elif weights < FEWEST_WEIGHTS:
        why_not["bf16"] = f"networks of {weights:,} weights are too small to gain by it"
    if device.type == "cpu":
        why_not["compile"] = impossible.get("compile", "on a CPU it takes longer than it saves")
    for name in ("passes", "compile", "graphs") if device.type == "cuda" else ():
        why_not.setdefault(name, "not measured on a GPU yet; give it by name")
    return Choice(Fast(bf16="bf16" not in why_not, channels_last=True), why_not)


def has_bf16(device: torch.device) -> bool:
    """Tell whether a device multiplies matrices of bf16 in its own instructions, and not by way of fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("amx_tile"))


def _missing_to_compile() -> str:
    """Name what compiling for a CPU lacks here; empty: nothing."""
    if not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        return "a C++ compiler (g++ or clang++)"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "Python's headers (Python.h)"
    return ""


assert tuple(f.name for f in fields(Fast)) == OPTIONS
