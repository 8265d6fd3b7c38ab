"""Measures a checkpoint: `python pipelines/evaluate.py RUN --data URI --split test --out FILE.json`.

RUN is a run's folder (its best checkpoint, else its last) or one checkpoint. Prints a table and writes it as
JSON with every metric's definition. docs/evaluation.md defines the metrics.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import fsspec
import torch
import tyro
from tqdm import tqdm

from i2i_core.cli import flags, main, parse, with_flags
from i2i_core.data.manifest import DataSet
from i2i_core.errors import ConfigError, ResourceError, RunError
from i2i_core.evaluation.classifier import (
    SEEN,
    Classifier,
    has_classifier,
    load_classifier,
    save_classifier,
    train_classifier,
)
from i2i_core.evaluation.samples import CHUNK, Measured
from i2i_core.evaluation.suite import BETTER, DEFINITIONS, measure
from i2i_core.settings import check_at_least, setting, to_dict
from i2i_core.training.checkpoint import Trained, load_trained

PROGRAM = "evaluate.py"
CHECKPOINT = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
OWN = [("checkpoint", CHECKPOINT, "", "A run's folder or URL, or one of its checkpoints.")]


@dataclass(frozen=True)
class EvaluateOptions:
    """What to measure on, and where to write it."""

    data: str = setting("", resume="free")
    """Data set: a folder or URL with manifest.json."""
    split: str = setting("test", resume="free")
    """Split to measure on."""
    train_classifier: bool = setting(False, resume="free")
    """Labelled data: train a classifier on the real images of the train split, to judge translations with."""
    classifier: str = setting("", resume="free")
    """File of a trained classifier. With --train-classifier: where it is kept, and used again if it fits."""
    most: int = setting(0, resume="free")
    """Only the first so many samples; 0: all."""
    out: str = setting("", resume="free")
    """JSON file or URL for the result."""
    cpu: bool = setting(False, resume="free")
    """CPU only; else a GPU where there is one."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "most")


def judge(options: EvaluateOptions, data: DataSet, image_size: int, device: torch.device) -> Classifier | None:
    """The classifier that the options ask for: loaded, or trained and kept."""
    if not options.train_classifier:
        return load_classifier(options.classifier).to(device) if options.classifier else None
    if options.classifier and has_classifier(options.classifier):
        kept = load_classifier(options.classifier)
        if kept.info.data == data.manifest.fingerprint:
            print(f"classifier of this data: {options.classifier}")
            return kept.to(device)
    with tqdm(total=SEEN, unit=" images", desc="classifier", smoothing=0) as bar:
        trained = train_classifier(data, image_size=image_size, device=device, progress=bar.update)
    if options.classifier:
        save_classifier(trained, options.classifier)
    return trained


def report(trained: Trained, options: EvaluateOptions, found: dict[str, Measured], judged: Classifier | None) -> str:
    """The result as JSON."""
    metrics = {
        name: {
            "value": m.value,
            "images": m.count,
            "better": BETTER[name],
            "definition": DEFINITIONS[name.split("/")[0]],
        }
        for name, m in found.items()
    }
    values: dict[str, Any] = {
        "checkpoint": {"url": trained.url, "method": trained.config.method, "images": trained.images},
        "data": options.data,
        "split": options.split,
        "most": options.most,
        "image_size": trained.config.hyper.image_size,
        "resampling": "bicubic, antialiased; images of the image size as they are",
        "chunk": CHUNK,
        "classifier": to_dict(judged.info) if judged else None,
        "metrics": metrics,
    }
    return json.dumps(values, indent=1) + "\n"


def table(found: dict[str, Measured]) -> str:
    """One line per metric; of metrics of one attribute, one line per attribute."""
    plain = {name: m for name, m in found.items() if not name.startswith("accuracy")}
    lines = [f"{name:<16} {m.value:10.4f}   {m.count:,} images" for name, m in plain.items()]
    kinds = ("accuracy_nothing", "accuracy", "accuracy_real")
    ends = [name.removeprefix("accuracy") for name in found if name.split("/")[0] == "accuracy"]
    if ends:
        lines += ["", f"{'every attribute right':<24} {'doing nothing':>14} {'translated':>12} {'real':>8}"]
    for end in ends:
        cells = [found.get(f"{kind}{end}") for kind in kinds]
        shown = [f"{m.value:.3f}" if m else "-" for m in cells]
        lines.append(f"{end.removeprefix('/') or 'all':<24} {shown[0]:>14} {shown[1]:>12} {shown[2]:>8}")
    return "\n".join(lines)


def run() -> int:
    given = parse(flags(__doc__ or "", {"options": EvaluateOptions()}, OWN), PROGRAM, sys.argv[1:])
    options: EvaluateOptions = with_flags(EvaluateOptions(), given.options)
    if not given.checkpoint or not options.data:
        where = "--data" if given.checkpoint else "checkpoint"
        raise ConfigError(where, "nothing", "evaluate.py CHECKPOINT --data URI", "Name both.")
    device = torch.device("cuda" if torch.cuda.is_available() and not options.cpu else "cpu")
    trained, data = load_trained(given.checkpoint, device), DataSet(options.data)
    data.check_shards(options.split)
    size, direction = trained.config.hyper.image_size, trained.config.data.direction
    judged = judge(options, data, size, device)
    found = measure(
        trained.method, data, options.split, image_size=size, direction=direction, most=options.most, classifier=judged
    )
    if not found:
        raise RunError(f"nothing to measure on split {options.split} of {options.data}")
    print(
        f"{trained.config.method} after {trained.images:,} images, on {options.split} of {options.data}\n{table(found)}"
    )
    if judged and judged.info.held_out:
        info = judged.info
        print(f"classifier: {info.accuracy:.3f} right on {info.held_out_images:,} real images of {info.held_out}")
    if options.out:
        write(options.out, report(trained, options, found, judged))
        print(f"written to {options.out}")
    return 0


def write(out: str, text: str) -> None:
    """Raises ResourceError when it cannot."""
    try:
        with fsspec.open(out, "w", auto_mkdir=True) as file:
            file.write(text)
    except OSError as error:
        raise ResourceError("--out", f"{out} ({error})", "a file that can be written", "Name another.") from None


if __name__ == "__main__":
    main(run)
