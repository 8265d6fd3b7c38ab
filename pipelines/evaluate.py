"""Measures a checkpoint: `python pipelines/evaluate.py RUN --data URI --split test --out FILE.json`.

RUN is a run's folder (its best checkpoint, else its last) or one checkpoint. Prints a table and writes it as
JSON with every metric's definition. docs/evaluation.md defines the metrics.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import torch
import tyro
from tqdm import tqdm

from i2i_core.cli import flags, main, parse, with_flags
from i2i_core.data.manifest import DataSet
from i2i_core.data.transforms import Size
from i2i_core.errors import ConfigError, ResourceError, RunError
from i2i_core.evaluation.classifier import (
    EPOCHS,
    SEEN,
    Classifier,
    has_classifier,
    load_classifier,
    save_classifier,
    train_classifier,
)
from i2i_core.evaluation.report import as_json, table
from i2i_core.evaluation.suite import measure
from i2i_core.settings import check_at_least, setting
from i2i_core.storage import Folder
from i2i_core.training.checkpoint import load_trained

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
    """Labelled or unpaired data: train a classifier on the real images of the train split, to judge translations."""
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


def judge(options: EvaluateOptions, data: DataSet, image_size: Size, device: torch.device) -> Classifier | None:
    """The classifier that the options ask for: loaded, or trained and kept."""
    path = options.classifier
    if not options.train_classifier:
        return load_classifier(path).to(device) if path else None
    if path and has_classifier(path) and (kept := load_classifier(path)).fits(data, image_size):
        print(f"classifier of this data: {path}")
        return kept.to(device)
    samples = sum(shards.samples for shards in data.manifest.splits.get("train", {}).values())
    seen = min(SEEN, EPOCHS * samples)
    with tqdm(total=seen, unit=" images", desc="classifier", smoothing=0, mininterval=2) as bar:
        trained = train_classifier(data, image_size=image_size, device=device, progress=bar.update, seen=seen)
    if path:
        save_classifier(trained, path)
    return trained


def run() -> int:
    given = parse(flags(__doc__ or "", {"options": EvaluateOptions()}, OWN), PROGRAM, sys.argv[1:])
    options: EvaluateOptions = with_flags(EvaluateOptions(), given.options)
    if not given.checkpoint or not options.data:
        where = "--data" if given.checkpoint else "checkpoint"
        raise ConfigError(where, "nothing", "evaluate.py CHECKPOINT --data URI", "Name both.")
    device = torch.device("cuda" if torch.cuda.is_available() and not options.cpu else "cpu")
    trained, data = load_trained(given.checkpoint, device), DataSet(options.data)
    data.check_shards(options.split)
    size, direction = trained.config.image_size, trained.config.data.direction
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
        about = {
            "checkpoint": {"url": trained.url, "method": trained.config.method, "images": trained.images},
            "data": {"uri": options.data, "fingerprint": data.manifest.fingerprint, "split": options.split},
            "most": options.most,
            "image_size": size,
        }
        write(options.out, as_json(found, about, judged))
        print(f"written to {options.out}")
    return 0


def write(out: str, text: str) -> None:
    """Raises ResourceError when it cannot."""
    try:
        folder, _, name = out.rpartition("/")
        Folder(folder or ".").write(name, text.encode())
    except OSError as error:
        raise ResourceError("--out", f"{out} ({error})", "a file that can be written", "Name another.") from None


if __name__ == "__main__":
    main(run)
