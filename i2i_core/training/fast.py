"""Choose the options that make a step faster than plain eager fp32, and log which and why.

No option changes a method's mathematics beyond rounding. docs/performance.md has the measurements behind `auto`.
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
"""Fewest weights for which bf16 is faster: below, conversions cost what its arithmetic saves."""

AS_WRITTEN = ("compile", "graphs")
"""Options that exclude `--checkpoint-activations`, which computes blocks again eagerly."""


@dataclass(frozen=True)
class Fast:
    """Hold which options are on. None of them is plain eager fp32.

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
        """The options that are on."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name))


@dataclass(frozen=True)
class Choice:
    """Hold the options that a run uses, and why it does not use others.

    Attributes:
        fast: the options that are on.
        why_not: the reason, by option that is off.
    """

    fast: Fast
    why_not: dict[str, str] = field(default_factory=dict)

    def said(self) -> str:
        """Word the choice in a line."""
        on = ", ".join(self.fast.names) or "nothing: plain eager fp32"
        off = "; ".join(f"not {name}: {why}" for name, why in self.why_not.items())
        return f"fast: {on}" + (f" ({off})" if off else "")


def check_possible(asked: tuple[str, ...], device: torch.device, workers: int, again: bool) -> None:
    """Refuse options that are impossible in a run, before it starts.

    Args:
        asked: as `choose` takes it.
        device: the workers' device.
        workers: the largest world size of the run.
        again: as `choose` takes it.

    Raises:
        ConfigError: an option is impossible; the message has those that are possible.
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
    """Choose the options for this device and world size, which changes in an elastic run. Impossible options are off,
    with the reason.

    Args:
        asked: `("auto",)`, `("off",)`, or options by name.
        networks: the method's networks.
        device: where the networks are.
        workers: the present world size.
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
    """Keep the options that every rank chose, since machines may differ. All ranks call this together."""
    everyone = world.gather(choice.fast.names)
    lacking = [name for name in choice.fast.names if not all(name in names for names in everyone)]
    kept = [name for name in choice.fast.names if name not in lacking]
    return Choice(Fast.named(*kept), choice.why_not | dict.fromkeys(lacking, "not every worker's device takes it"))


def _impossible(device: torch.device, workers: int, again: bool) -> dict[str, str]:
    """Return why options are impossible, by name."""
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
    """Choose the options that measured faster on this kind of device."""
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
    """Return whether a device has instructions that multiply bf16 matrices, and does not convert to fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("amx_tile"))


def _missing_to_compile() -> str:
    """Name what this machine lacks to compile for a CPU; "" for nothing."""
    if not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        return "a C++ compiler (g++ or clang++)"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "Python's headers (Python.h)"
    return ""


assert tuple(f.name for f in fields(Fast)) == OPTIONS
