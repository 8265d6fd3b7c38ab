"""Measures a checkpoint: `python pipelines/evaluate.py RUN --data URI --split test --metrics l1 fid --out FILE.json`.

RUN is a run's folder (its best checkpoint, else its last) or one checkpoint. Prints a table and writes it as
JSON with every metric's definition; beside it, as PNG, the best, median and worst samples. docs/evaluation.md defines
the metrics.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tqdm import tqdm

from i2i_core import logs
from i2i_core.cli import main, parse
from i2i_core.config.common import EVALUATE
from i2i_core.config.evaluation import AtTestOptions, EvaluationConfig, located
from i2i_core.errors import ConfigError, RunError
from i2i_core.logs import Level
from i2i_core.settings import check_at_least
from i2i_core.storage.paths import absolute

if TYPE_CHECKING:
    from i2i_core.checkpoints.trained import Trained
    from i2i_core.orchestration.evaluating import Measurement

PROGRAM = "evaluate.py"


@dataclass(frozen=True)
class EvaluateOptions:
    """Say what to measure, on what, and where to write it."""

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")] = ""
    """A run's folder or URL, or one of its checkpoints."""
    data: str = ""
    """Data set: a folder or URL with manifest.json."""
    shards_at: tuple[str, ...] = ()
    """Folders or URLs outside the data set's own where its shards may lie too, of the same protocol and host."""
    split: str = "test"
    """Split to measure on."""
    train_classifier: bool = False
    """Labelled or unpaired data: train a classifier on the real images of the train split, to judge translations. With
    --classifier: it is kept there, and used again if it fits."""
    classifier_network: Literal["resnet18", "small"] = "resnet18"
    """What is trained: the papers' ResNet-18, or a small network that takes a minute on two cores."""
    most: int = 0
    """Only the first so many samples; 0: all."""
    out: str = ""
    """JSON file or URL for the result; pictures are written beside it."""
    workers: int = 1
    """1: in this process, or on one worker of the cluster that RAY_ADDRESS names, as it does for a submitted job; more:
    as many Ray workers."""
    gpu: bool = False
    """One GPU per worker. Neither --gpu nor --cpu: a GPU where there is one."""
    cpu: bool = False
    """CPU only."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    at_test: AtTestOptions = field(default_factory=AtTestOptions)
    log_level: Level = "info"
    """The least that is logged: debug, info, warning or error."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "most")
        check_at_least(self, 1, "workers")
        if self.gpu and self.cpu:
            raise ConfigError("--gpu --cpu", "both", "one of them, or neither", "Remove one.")


def run() -> int:
    options = parse(EvaluateOptions(), PROGRAM, sys.argv[1:], __doc__ or "", EVALUATE)
    logs.show(options.log_level)
    if not options.checkpoint or not options.data:
        where = "--data" if options.checkpoint else "checkpoint"
        raise ConfigError(where, "nothing", "evaluate.py CHECKPOINT --data URI", "Name both.")
    options = replace(
        options,
        checkpoint=absolute(options.checkpoint, "the checkpoint"),
        data=absolute(options.data, "--data"),
        shards_at=tuple(absolute(at, "--shards-at") for at in options.shards_at),
        out=absolute(options.out, "--out"),
        evaluation=located(options.evaluation),
    )
    measure(options)
    return 0


def measure(options: EvaluateOptions) -> None:
    """Measure what the options name, print a table of it, and write it where they say.

    Raises:
        UserError: checkpoint, data, metrics, files or workers do not fit.
        RunError: there is nothing to measure, or a worker was lost.
    """
    from i2i_core.checkpoints.trained import load_trained
    from i2i_core.data.format.manifest import DataSet
    from i2i_core.orchestration import evaluating
    from i2i_core.orchestration.pool import Where, once

    workers = Where(options.workers, options.gpu, options.cpu)
    workers.check()
    trained = load_trained(options.checkpoint, workers.device)
    data = DataSet(options.data, options.shards_at)
    data.shard_set(options.split, data.manifest.domains[0])
    data.check_shards(options.split)
    kept = options.evaluation.classifier
    judging = replace(options.evaluation, classifier="" if options.train_classifier else kept)
    job = evaluating.EvaluationJob(
        trained.url, options.data, options.split, judging, options.most, None, options.shards_at, options.at_test
    )
    job.suite(trained)  # what cannot be measured, or written, is said before a classifier is trained
    if options.out:
        evaluating.check_out(options.out)
    if options.train_classifier:
        size, resizing = trained.stage.size, trained.config.data.resizing
        how = options.classifier_network, size, resizing, options.cpu, options.shards_at
        job = replace(job, classifier=once(evaluating.classifier_of, workers, data.uri, kept, *how))
    samples = max(shards.samples for shards in data.manifest.splits[options.split].values())
    with tqdm(total=min(samples, options.most or samples), unit=" samples", smoothing=0, mininterval=2) as bar:
        measured = evaluating.measure(job, trained, workers, bar.update)
    if not measured.result.metrics:
        raise RunError(f"nothing to measure on split {options.split} of {options.data}")
    _print(options, trained, measured)
    if options.out:
        _write(options, trained, measured, data.manifest.fingerprint)


def _print(options: EvaluateOptions, trained: Trained, measured: Measurement) -> None:
    from i2i_core.evaluation.report import table
    from i2i_core.methods.at_test import words

    metrics, classifier = table(measured.result.metrics), measured.suite.asked.classifier
    made_by = words(trained.method.makers, trained.method.at_test)
    print(f"{trained.config.method} after {trained.images:,} images, on {options.split} of {options.data}")
    print(f"made with {made_by}\n{metrics}" if made_by else metrics)
    if classifier and classifier.info.held_out:
        info = classifier.info
        print(f"classifier: {info.accuracy:.3f} right on {info.held_out_images:,} real images of {info.held_out}")


def _write(options: EvaluateOptions, trained: Trained, measured: Measurement, fingerprint: str) -> None:
    from i2i_core.evaluation import extremes
    from i2i_core.evaluation.report import as_json
    from i2i_core.evaluation.suite import BETTER
    from i2i_core.images.sheet import png_bytes
    from i2i_core.orchestration.evaluating import beside, write

    suite, result = measured.suite, measured.result
    ranking = suite.basic.ranking
    shown = extremes.chosen(result.ranked, BETTER[ranking]) if ranking else {}
    about = {
        "checkpoint": {"url": trained.url, "method": trained.config.method, "images": trained.images},
        "data": {"uri": options.data, "fingerprint": fingerprint, "split": options.split},
        "most": options.most,
        "image_size": trained.stage.size,
        "shown": {"metric": ranking, **shown},
    }
    write(options.out, as_json(suite, result, about).encode())
    pictures = dict(measured.pictures)
    if result.ranked:
        pictures["samples"] = png_bytes(extremes.sheet(suite, shown))
    for name, png in pictures.items():
        write(beside(options.out, name), png)
    print("written to " + " ".join([options.out, *(beside(options.out, name) for name in pictures)]))


if __name__ == "__main__":
    main(run)
