"""Check the words of a command line against a program's flags, so that one message says what is wrong and what to type.

The parser comes after it, and finds nothing to complain of.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence

from i2i_core.credentials import check_address
from i2i_core.errors import ConfigError, nearest, nearly
from i2i_core.flags import ALL, SIZE, Flag
from i2i_core.sizes import parsed_size

OURS = {
    "--batch": "Give --batch N: the global batch, over all workers together.",
    "--gpu": "Give --gpu, and --workers N for N of them.",
    "--data": "Give --data FOLDER_OR_URL: a data set that shard.py made.",
    "--input": "Give --input FOLDER_OR_URL.",
    "--storage": "Give --storage FOLDER_OR_URL, where runs are kept; --name NAME is the run's own folder there.",
    "--out": "Give --out FOLDER_OR_URL.",
    "--fast": "Give --fast bf16; or leave it out: auto takes bf16 where it is faster.",
    "--loaders": "Give --loaders N for processes that read and decode; --workers N is how many train.",
    "--images": "Give --images N: progress is counted in images, of which an update takes a batch or several.",
    "--epochs": "Give --epochs N.",
    "--init-from": "Give --init-from RUN_OR_CHECKPOINT to begin with its networks; the same command resumes a run.",
    "--image-size": "Give --image-size N, or WIDTHxHEIGHT for images that are no squares.",
    "--fit": "Give --fit shorter, which keeps shapes, or --fit square, which stretches; --load-size says to what size.",
    "--samples": "Give --samples N.",
    "--lr": "Give --lr RATE.",
    "--g-lr": "Give --g-lr RATE and --d-lr RATE.",
}
"""The fix for a flag of another program, by our flag."""
ELSEWHERE = {
    "--batch": ("batch-size", "bs", "train-batch-size", "global-batch"),
    "--gpu": ("gpus", "gpu-ids", "num-gpus", "n-gpus", "device", "cuda"),
    "--data": ("dataset", "dataroot", "data-dir", "data-path", "dataset-path", "train-data"),
    "--input": ("data", "dataset", "dataroot", "data-dir", "images-dir", "source", "input-dir"),
    "--out": ("output", "output-dir", "out-dir", "results-dir"),
    "--storage": ("output", "output-dir", "out-dir", "checkpoints-dir", "log-dir", "save-dir", "run-dir", "out"),
    "--fast": ("precision", "amp", "fp16", "bf16", "mixed-precision", "compile"),
    "--loaders": ("num-workers", "num-threads", "dataloader-workers"),
    "--images": ("iterations", "iters", "steps", "max-steps", "num-iters"),
    "--epochs": ("n-epochs", "num-epochs", "max-epochs", "niter"),
    "--init-from": ("checkpoint", "pretrained", "load", "resume", "resume-from", "continue-train", "load-network"),
    "--image-size": ("crop-size", "resolution", "img-size", "size", "image-width", "image-height"),
    "--fit": ("preprocess", "resize-mode", "resize-or-crop"),
    "--samples": ("trials", "num-trials", "n-trials"),
    "--lr": ("learning-rate",),
    "--g-lr": ("learning-rate", "lr"),
}
"""The names that other programs give to a flag of ours."""
NUMBERS: dict[str, Callable[[str], object]] = {"INT": int, "INT|auto": int, "FLOAT": float}
"""Readers of values, by the kinds that are numbers."""


def check(arguments: Sequence[str], flags: Sequence[Flag], program: str) -> None:
    """Refuse what the program cannot read: a flag that it has not, a missing value, a value of another kind; and an
    address with credentials in it.

    Raises:
        ConfigError: names the flag as it was typed, and the nearest flags or the values that it takes.
    """
    known = {flag.name: flag for flag in flags}
    switches = {name for name, flag in known.items() if not flag.kind}
    switches |= {f"--no-{name[2:]}" for name in switches}
    positional = [flag for flag in flags if not flag.name.startswith("--")]
    places = len(arguments) if any(flag.kind.endswith("...") for flag in positional) else len(positional)
    words = deque(arguments)
    while words:
        typed, equals, value = words.popleft().partition("=")
        name = typed.replace("_", "-")
        if not _is_flag(typed):
            check_address(f"{typed}{equals}{value}", "an address of the command line")
            places -= 1
            if places < 0:
                fix = "A value follows its flag; one with spaces or * stands in quotes."
                raise ConfigError(
                    f"{typed}{equals}{value}", "a word that belongs to no flag", f"a flag of {program}", fix
                )
        elif name in switches:
            if equals or (words and not places and not _is_flag(words[0])):
                bare = name[2:].removeprefix("no-") if name not in known else name[2:]
                fix = f"Give --{bare} or --no-{bare}, alone."
                raise ConfigError(typed, value or words[0], "no value: it is on or off", fix)
        elif name in known:
            _check_values(typed, [value] if equals else _taken(words, known[name].kind), known[name].kind)
        else:
            raise _unknown(typed, name, {*known, *switches}, program)


def _is_flag(word: str) -> bool:
    """Tell a flag from a value; `-1` and `-1e-3` are values."""
    return word.startswith("-") and not _reads(float, word)


def _reads(number: Callable[[str], object], word: str) -> bool:
    try:
        number(word)
    except ValueError:
        return False
    return True


def _taken(words: deque[str], kind: str) -> list[str]:
    """Take the values of a flag off the words: as many as its kind has, or all before the next flag."""
    most = len(words) if kind.endswith("...") else len(kind.split())
    taken: list[str] = []
    while words and len(taken) < most and not _is_flag(words[0]):
        taken.append(words.popleft())
    return taken


def _check_values(typed: str, values: Sequence[str], kind: str) -> None:
    for value in values:
        check_address(value, typed)
    each = kind.split()
    if kind.endswith("..."):
        each = each[:1] * len(values)
    if len(values) < len(each):
        dash = f" A value that begins with a dash follows an equals sign: {typed}=-x." if "STR" in kind else ""
        fix = f"Give {typed} {kind}.{dash}"
        raise ConfigError(typed, " ".join(values) or "no value", kind, fix)
    for value, form in zip(values, each, strict=False):
        choices = form.strip("{}").split(",") if form.startswith("{") and form.endswith("}") else []
        if choices and value not in choices:
            raise ConfigError(typed, repr(value), f"one of {', '.join(choices)}", nearest(value, choices))
        if form == SIZE and not _reads(parsed_size, value):
            fix = f"Give {typed} 256, or {typed} 512x256."
            raise ConfigError(typed, repr(value), "pixels of a square's side, or WIDTHxHEIGHT", fix)
        if form in NUMBERS and not _reads(NUMBERS[form], value) and (value, form) != ("auto", "INT|auto"):
            number = "a whole number" if NUMBERS[form] is int else "a number"
            expected = f"{number} or auto" if form == "INT|auto" else number
            raise ConfigError(typed, repr(value), expected, f"Give {typed} {kind}.")


def _unknown(typed: str, name: str, known: Collection[str], program: str) -> ConfigError:
    found = "a flag that this command does not take"
    for ours, names in ELSEWHERE.items():
        if name[2:] in names and ours in known:
            return ConfigError(typed, found, ours, OURS[ours])
    meant = f"Did you mean {' or '.join(close)}? " if (close := nearly(name, known)) else ""
    return ConfigError(typed, found, "one of its flags", f"{meant}{program} {ALL} lists them all.")
