"""Measures a checkpoint: `python pipelines/evaluate.py RUN --data URI --split test --metrics l1 fid --out FILE.json`.

RUN is a run's folder (its best checkpoint, else its last) or one checkpoint. Prints a table and writes it as
JSON with every metric's definition; beside it, as PNG, the best, median and worst samples. docs/evaluation.md defines
the metrics.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

import tyro
from tqdm import tqdm

from i2i_core.checkpoints.trained import load_trained
from i2i_core.cli import flags, main, parse, with_flags
from i2i_core.config.evaluation import Judging, located
from i2i_core.data.format.manifest import DataSet
from i2i_core.errors import ConfigError, RunError
from i2i_core.evaluation import extremes
from i2i_core.evaluation.report import as_json, table
from i2i_core.evaluation.suite import BETTER
from i2i_core.images.sheet import png_bytes
from i2i_core.methods.at_test import words
from i2i_core.orchestration.evaluating import Measuring, beside, check_out, classifier_of, measure, write
from i2i_core.orchestration.pool import Where, once
from i2i_core.settings import check_at_least, setting
from i2i_core.storage.paths import absolute

PROGRAM = "evaluate.py"
CHECKPOINT = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
OWN = [("checkpoint", CHECKPOINT, "", "A run's folder or URL, or one of its checkpoints.")]


@dataclass(frozen=True)
class EvaluateOptions(Judging):
    """What to measure on, how, and where to write it."""

    data: str = setting("", resume="free")
    """Data set: a folder or URL with manifest.json."""
    shards_at: tuple[str, ...] = setting((), resume="free")
    """Folders or URLs outside the data set's own where its shards may lie too, of the same protocol and host."""
    split: str = setting("test", resume="free")
    """Split to measure on."""
    train_classifier: bool = setting(False, resume="free")
    """Labelled or unpaired data: train a classifier on the real images of the train split, to judge translations. With
    --classifier: it is kept there, and used again if it fits."""
    classifier_network: Literal["resnet18", "small"] = setting("resnet18", resume="free")
    """What is trained: the papers' ResNet-18, or a small network that takes a minute on two cores."""
    most: int = setting(0, resume="free")
    """Only the first so many samples; 0: all."""
    out: str = setting("", resume="free")
    """JSON file or URL for the result; pictures are written beside it."""
    workers: int = setting(1, resume="free")
    """1: in this process, or on one worker of the cluster that RAY_ADDRESS names, as it does for a submitted job; more:
    as many Ray workers."""
    gpu: bool = setting(False, resume="free")
    """One GPU per worker. Neither --gpu nor --cpu: a GPU where there is one."""
    cpu: bool = setting(False, resume="free")
    """CPU only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "most")
        check_at_least(self, 1, "workers")
        if self.gpu and self.cpu:
            raise ConfigError("--gpu --cpu", "both", "one of them, or neither", "Remove one.")


def run() -> int:
    given = parse(flags(__doc__ or "", {"options": EvaluateOptions()}, OWN), PROGRAM, sys.argv[1:])
    options: EvaluateOptions = with_flags(EvaluateOptions(), given.options)
    if not given.checkpoint or not options.data:
        where = "--data" if given.checkpoint else "checkpoint"
        raise ConfigError(where, "nothing", "evaluate.py CHECKPOINT --data URI", "Name both.")
    workers = Where(options.workers, options.gpu, options.cpu)
    workers.check()
    options = replace(located(options), data=absolute(options.data, "--data"), out=absolute(options.out, "--out"))
    apart = tuple(absolute(at, "--shards-at") for at in options.shards_at)
    trained = load_trained(absolute(given.checkpoint, "the checkpoint"), workers.device)
    data = DataSet(options.data, apart)
    data.check_shards(options.split)
    judging = Judging(**{f.name: getattr(options, f.name) for f in fields(Judging)})
    if options.train_classifier:  # the file is where it is kept
        judging = replace(judging, classifier="")
    job = Measuring(trained.url, options.data, options.split, judging, options.most, shards_at=apart)
    job.suite(trained)  # what cannot be measured, or written, is said before a classifier is trained
    if options.out:
        check_out(options.out)
    judged = None
    if options.train_classifier:
        network = options.classifier_network
        judged = once(classifier_of, workers, data.uri, options.classifier, network, trained.config, options.cpu, apart)
    samples = max(shards.samples for shards in data.manifest.splits[options.split].values())
    with tqdm(total=min(samples, options.most or samples), unit=" samples", smoothing=0, mininterval=2) as bar:
        measured = measure(replace(job, classifier=judged), trained, workers, bar.update)
    suite, result = measured.suite, measured.result
    if not result.metrics:
        raise RunError(f"nothing to measure on split {options.split} of {options.data}")
    images = f"{trained.images:,} images"
    made_by = words(trained.method.makers, trained.method.at_test)
    print(f"{trained.config.method} after {images}, on {options.split} of {options.data}")
    print(f"made with {made_by}\n{table(result.metrics)}" if made_by else table(result.metrics))
    if (classifier := suite.asked.classifier) and classifier.info.held_out:
        info = classifier.info
        print(f"classifier: {info.accuracy:.3f} right on {info.held_out_images:,} real images of {info.held_out}")
    if options.out:
        shown = extremes.chosen(result.ranked, BETTER[suite.basic.ranking])
        about = {
            "checkpoint": {"url": trained.url, "method": trained.config.method, "images": trained.images},
            "data": {"uri": options.data, "fingerprint": data.manifest.fingerprint, "split": options.split},
            "most": options.most,
            "image_size": trained.config.image_size,
            "shown": {"metric": suite.basic.ranking, **shown},
        }
        write(options.out, as_json(suite, result, about).encode())
        pictures = dict(measured.pictures)
        if result.ranked:
            pictures["samples"] = png_bytes(extremes.sheet(suite, shown))
        for name, png in pictures.items():
            write(beside(options.out, name), png)
        print("written to " + " ".join([options.out, *(beside(options.out, name) for name in pictures)]))
    return 0


if __name__ == "__main__":
    main(run)
