"""Run the main job on the built-in data: `make demo`, or `make demo METHOD=cyclegan` and so on for every method.

Shards glyphs, submits a training run with two workers to a Ray cluster on this machine, translates held-out
characters, measures them and draws a strip of them. Prints every command that it runs, and ends with five lines: what
was trained, on what, the numbers, where to look, what to try next.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import i2i_core.config.methods  # noqa: F401  fills METHODS
except ModuleNotFoundError as missing:  # another Python than `make setup` installed into
    sys.exit(f"error: {missing}. Run `make setup` once, and `source .venv/bin/activate` in every new shell.")
from i2i_core.cli import main, parse, say
from i2i_core.config.fast import check_fast
from i2i_core.errors import ConfigError, RunError, nearest
from i2i_core.registry import METHODS
from i2i_core.settings import check_at_least, check_numbers, flag

ROOT = Path(__file__).resolve().parents[1]
LOCAL = str(ROOT / "cluster" / "local.sh")


@dataclass(frozen=True)
class Example:
    """Say what the demo of one method runs on, besides its preset."""

    data: str
    """The data set's name, after `glyphs-`."""
    shows: str
    """The translation in a few words, for the title of its pictures."""
    headline: tuple[str, ...]
    """The metrics that the demo prints at its end."""
    translate: tuple[str, ...] = ()
    """Flags of translate.py."""
    evaluate: tuple[str, ...] = ()
    """Flags of evaluate.py."""


JUDGED = ("--train-classifier", "--classifier-network", "small")
WEIGHTS = Example("weights", "regular to bold, no pairs", ("in_target/there", "in_target/back", "cycle"), (), JUDGED)
ONE_WAY = Example("weights", "regular to bold, no pairs", ("in_target/there", "twin"), (), JUDGED)
COLOURS = Example("colours", "one input, many colours", ("l1", "l1_best", "diversity"), ("--samples", "4"))
REALISM = ("--metrics", "efficientnet_frechet")
DIGITS = Example("digits", "digits of noise", ("efficientnet_frechet", "diversity"), (), REALISM)
BOLD = ("accuracy/bold", "accuracy/serif", "there_and_back")
EXAMPLES = {
    "stargan": Example("styles", "made bold", BOLD, ("--target", "+bold"), JUDGED),
    "pix2pix": Example("outlines", "outline to filled", ("l1", "ssim")),
    "cyclegan": WEIGHTS,
    "bigan": Example("weights", WEIGHTS.shows, ("in_target/there", "twin", "cycle"), (), JUDGED),
    "cogan": Example("weights", WEIGHTS.shows, ("in_target/there", "twin", "cycle"), (), JUDGED),
    "pixel_gan": ONE_WAY,
    "feature_gan": ONE_WAY,
    "unit": WEIGHTS,
    "simgan": Example("scans", "drawn to scanned", ("in_target/there", "twin"), (), JUDGED),
    "bicyclegan": COLOURS,
    "cvae_gan": COLOURS,
    "clr_gan": COLOURS,
    "pix2pix_noise": COLOURS,
    "dcgan": DIGITS,
    "gan": DIGITS,
    "cgan": Example(
        "digits", "sevens of noise", ("accuracy", "efficientnet_frechet"), ("--target", "7"), (*JUDGED, *REALISM)
    ),
}


TRANSLATED = ("--most", "64")
"""Flags of translate.py in every demo."""
LEAST_CHARACTERS = 320
"""Characters of the shortest demo: one in twenty is of the test split, so that 16 are measured."""
TRAINED = 0.9
"""Share of the characters in the train split (`--split`)."""


def glyph_flags(method: str) -> list[str]:
    """Write the preset's built-in data as flags of `shard.py`."""
    preset, flags = METHODS[method].presets["demo"], ["--layout", "glyphs"]
    options = {"glyphs": METHODS[method].method.needs.kind, "size": preset.values["hyper.image_size"], **preset.glyphs}
    for name, value in options.items():
        flags += [flag(name)] if value is True else [flag(name), *([value] if not isinstance(value, tuple) else value)]
    return list(map(str, flags))


def input_flags(method: str, data: str) -> tuple[str, ...]:
    """Write what a demo's translate.py makes images of: held-out samples, or for methods without inputs a number."""
    if not METHODS[method].method.inputs:
        return ("--count", TRANSLATED[-1])
    return ("--input", data, "--split", "test", *TRANSLATED)


def characters_for(method: str, images: int) -> int:
    """Count the characters that a demo of so many images draws; 0 for all of them.

    A run that reads fewer images than all characters have gets as many as it reads, or up to twice as many: the number
    is LEAST_CHARACTERS times a power of two, so that a demo which is made a little longer goes on with its data.

    Args:
        images: length of the training; 0 for the preset's.
    """
    from i2i_core.data.worlds.glyphs import STYLES, characters  # late, as in `ended`

    found, few = METHODS[method], LEAST_CHARACTERS
    styles = len(found.presets["demo"].glyphs.get("styles", ())) or len(STYLES)
    each = 0.5 if found.method.needs.kind == "unpaired" else styles  # a domain has half of the characters
    while few * each * TRAINED < images:
        few *= 2
    return few if images and few < len(characters()) else 0


def place_of(demo: Demo) -> tuple[Path, int]:
    """Return the folder of a demo, and how many characters it draws (0: all).

    A short demo, which draws few, has a folder of its own within `--out`, unless all are drawn there already.
    """
    out = demo.out.resolve()
    few = characters_for(demo.method, demo.images)
    if not few or (out / f"glyphs-{EXAMPLES[demo.method].data}" / "manifest.json").exists():
        return out, 0
    return out / f"short-{few}", few


@dataclass(frozen=True)
class Demo:
    """Train a method on the built-in glyphs and show what it learnt, in minutes on two CPU cores."""

    method: str = "stargan"
    """Method to train: any that `train.py --help` lists."""
    out: Path = Path("demo-output")
    """Folder for the data set, the run and the pictures."""
    images: int = 0
    """Length of the training in images; 0 takes the preset's. A few thousand show the way it goes, not the result. A
    short one draws only about as many glyphs as it reads, into short-N of --out, or takes those of all characters where
    an earlier demo drew them."""
    direct: bool = False
    """Start train.py directly, without a Ray cluster to submit it to: quicker by the cluster's start."""
    fast: tuple[str, ...] = ("auto",)
    """Precision and kernels, as train.py takes them: `auto` is bf16 where the CPU has it, `off` plain fp32."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 0, "images")


def shown(part: str) -> str:
    """Write an argument as a person in the project's folder would type it."""
    if part == sys.executable:
        return "python"
    return os.path.relpath(part, ROOT) if part.startswith(f"{ROOT}/") else part


def call(*command: str) -> None:
    """Run a command of this project, and print it first.

    Raises:
        RunError: the command did not end with 0.
    """
    line = shlex.join(map(shown, command))
    say("", f"$ {line}")
    if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise RunError(f"`{line}` ended with exit code {code}")


def train(demo: Demo, arguments: list[str]) -> float:
    """Run the training, submitted to a Ray cluster on this machine or started directly; return its seconds."""
    script = ["pipelines/train.py", "--method", demo.method, "--preset", "demo", *arguments]
    if demo.direct:
        started = time.monotonic()
        call(sys.executable, *script)
        return time.monotonic() - started
    call(LOCAL, "start", "2")
    try:
        started = time.monotonic()
        call(LOCAL, "submit", "--", "python", *script)
        return time.monotonic() - started
    finally:
        try:
            call(LOCAL, "stop")
        except RunError as error:  # what was trained is there all the same
            say(f"{error}: try it again later, as the cluster holds memory")


def run() -> int:
    demo = parse(Demo(), "demo.py", sys.argv[1:])
    if demo.method not in EXAMPLES:
        raise ConfigError("--method", repr(demo.method), "a method with a demo", nearest(demo.method, EXAMPLES))
    check_fast(demo.fast)
    started, example, (out, few) = time.monotonic(), EXAMPLES[demo.method], place_of(demo)
    data, storage, name = out / f"glyphs-{example.data}", out / "runs", f"{demo.method}-demo"
    python, here = sys.executable, str(ROOT / "pipelines")
    length = ["--images", str(demo.images)] if demo.images else []
    drawn = ("--characters", str(few)) if few else ()
    glyphs = (*glyph_flags(demo.method), *drawn, "--out", str(data), "--workers", "0", "--log-level", "warning")
    call(python, f"{here}/shard.py", *glyphs)
    where = ["--data", str(data), "--storage", str(storage), "--name", name, "--workers", "2", "--fast", *demo.fast]
    before = _images(str(storage / name))
    seconds = train(demo, [*where, *length])
    seconds = seconds if _images(str(storage / name)) > before else 0
    checkpoint, pictures = str(storage / name), out / f"{demo.method}-translated"
    measured, strip = pictures.with_suffix(".json"), out / f"{demo.method}-strip.png"
    held_out = (str(data), "--split", "test", "--out")
    translated = (*input_flags(demo.method, str(data)), "--out", str(pictures), *example.translate)
    call(python, f"{here}/translate.py", checkpoint, *translated)
    judge = ("--classifier", f"{data}-classifier") if "--train-classifier" in example.evaluate else ()
    call(python, f"{here}/evaluate.py", checkpoint, "--data", *held_out, str(measured), *example.evaluate, *judge)
    call(python, "-m", "pipelines.strip", "--demos", str(out), "--methods", demo.method, "--out", str(strip))
    say("", *ended(demo.method, out, seconds, time.monotonic() - started))
    return 0


def _images(run: str) -> int:
    """Count the images of a run's last checkpoint; 0 where it has none."""
    from i2i_core.runs.folder import RunFolder, images_of  # late, as in `ended`

    return max(map(images_of, RunFolder(run).whole_checkpoints()), default=0)


def ended(method: str, out: Path, seconds: float, total: float) -> list[str]:
    """Sum a finished demo up in five lines. 0 seconds: its training had finished before."""
    from i2i_core.data.format.manifest import DataSet  # late: the imports of all of it would hold up the first command
    from i2i_core.runs.folder import RunFolder, images_of

    example, run = EXAMPLES[method], RunFolder(str(out / "runs" / f"{method}-demo"))
    data = DataSet(str(out / f"glyphs-{example.data}"))
    train, test = (sum(part.samples for part in data.manifest.splits[split].values()) for split in ("train", "test"))
    report = json.loads((out / f"{method}-translated.json").read_text())
    pictures = shown(str(out / f"{method}-translated"))
    other = next(name for name in ("cyclegan", "stargan") if name != method)
    images, whole = images_of(run.whole_checkpoints()[-1]), METHODS[method].presets["demo"].values["training.images"]
    longer = f"this was too short to judge: leave --images out, for {whole:,}; " if images < whole else ""
    took = f"in {seconds:.0f} s" if seconds else "in an earlier demo"
    return [
        f"trained  {method} ({example.shows}), {images:,} images {took}; {total:.0f} s with all steps",
        f"on       {train:,} built-in glyphs in {shown(data.uri)}; measured on {test:,} of held-out characters",
        f"numbers  {numbers(report['metrics'], example.headline)}",
        f"look at  {shown(str(out / f'{method}-strip.png'))}; more in {pictures}-sheet.png, "
        f"numbers in {pictures}.json, the run in {shown(run.url)}",
        f"next     {longer}make demo METHOD={other}; your own images: docs/data.md; every method: docs/methods.md",
    ]


def numbers(metrics: dict[str, dict[str, Any]], names: Sequence[str]) -> str:
    """Write metrics beside what doing nothing and real images have, where that is measured."""
    from i2i_core.evaluation.samples import NOTHING, REAL, suffixed  # late, as in `ended`

    parts = []
    for name in (name for name in names if name in metrics):
        others = {"doing nothing": suffixed(name, NOTHING), "real images": suffixed(name, REAL)}
        beside = [f"{words} {metrics[other]['value']:.3g}" for words, other in others.items() if other in metrics]
        about = ", ".join([*beside, f"{metrics[name]['better']} is better"])
        parts.append(f"{name} {metrics[name]['value']:.3g} ({about})")
    return "; ".join(parts)


if __name__ == "__main__":
    main(run)
