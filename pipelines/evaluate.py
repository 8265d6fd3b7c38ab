"""Measure a checkpoint: `python pipelines/evaluate.py RUN --data URI --split test --metrics l1 fid --out FILE.json`.

RUN is a run's folder (its best checkpoint, else its last) or one checkpoint. The program prints a table: each metric
of the translations beside what doing nothing scores. --out writes it as JSON with every metric's definition, and beside
that file, as PNG, the best, median and worst samples. docs/evaluation.md defines the metrics.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Literal

try:
    import tyro
except ModuleNotFoundError as missing:  # another Python than `make setup` installed into
    sys.exit(f"error: {missing}. Run `make setup` once, and `source .venv/bin/activate` in every new shell.")

from i2i_core import logs
from i2i_core.cli import main, parse, say
from i2i_core.config.common import EVALUATE
from i2i_core.config.evaluation import AtTestOptions, EvaluationConfig, located
from i2i_core.errors import ConfigError, RunError
from i2i_core.logs import Level
from i2i_core.settings import MOST_PROCESSES, check_at_least, check_numbers, setting
from i2i_core.storage.paths import absolute

if TYPE_CHECKING:
    from i2i_core.checkpoints.trained import Trained
    from i2i_core.orchestration.evaluating import Measurement

PROGRAM = "evaluate.py"


@dataclass(frozen=True)
class EvaluateOptions:
    """Say what to measure, on which data, and where to write the result."""

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")] = ""
    """Run to measure: its folder or URL, or one of its checkpoints."""
    data: str = ""
    """Data set to measure on: a folder or URL with manifest.json."""
    shards_at: tuple[str, ...] = ()
    """Further folders or URLs where the data set's shards may lie, of the same protocol and host."""
    split: str = "test"
    """Split of the data set to measure on."""
    train_classifier: bool = False
    """Train a classifier on the real images of the train split, to judge translations of labelled or unpaired data. The
    file that --classifier names keeps it, else the user's cache; a later command uses it again if it fits the data. An
    interrupted training goes on with the same command."""
    classifier_network: Literal["resnet18", "small"] = "resnet18"
    """Classifier to train: the papers' ResNet-18, or a small network that takes a minute on two cores."""
    most: int = 0
    """Number of samples to measure, the first of the split; 0: all. Fewer are quicker, and less certain."""
    out: str = ""
    """JSON file or URL for the result, with pictures beside it; none: the result is only printed."""
    workers: int = setting(1, most=MOST_PROCESSES)
    """Number of processes that measure. 1: this one, or one worker of the cluster that RAY_ADDRESS names, as it does
    for a submitted job; more: that many Ray workers. The result is the same for any number."""
    gpu: bool = False
    """Measure on one GPU per worker. Without --gpu and --cpu: on a GPU where there is one."""
    cpu: bool = False
    """Measure on the CPU only."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    at_test: AtTestOptions = field(default_factory=AtTestOptions)
    log_level: Level = "info"
    """Least severe messages to log: debug, info, warning or error."""

    def __post_init__(self) -> None:
        check_numbers(self)
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
    from i2i_core.evaluation.judges.classifier import check_trainable
    from i2i_core.orchestration import evaluating
    from i2i_core.orchestration.pool import Where, once

    workers = Where(options.workers, options.gpu, options.cpu)
    workers.check()
    trained = load_trained(options.checkpoint, workers.device)
    data = DataSet(options.data, options.shards_at)
    evaluating.check_kind(trained, data)
    if options.train_classifier:
        check_trainable(data)
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
    with evaluating.progress("measuring", min(samples, options.most or samples), "samples") as done:
        measured = evaluating.measure(job, trained, workers, done)
    if not measured.result.metrics:
        raise RunError(f"nothing to measure on split {options.split} of {options.data}")
    _print(options, trained, measured)
    if options.out:
        _write(options, trained, measured, data.manifest.fingerprint)


def _print(options: EvaluateOptions, trained: Trained, measured: Measurement) -> None:
    from i2i_core.evaluation.report import described, table, unmeasured
    from i2i_core.methods.at_test import words

    metrics, classifier = table(measured.result.metrics), measured.suite.asked.classifier
    made_by = words(trained.method.makers, trained.method.at_test)
    say(f"{trained.config.method} after {trained.images:,} images, on {options.split} of {options.data}")
    say(*([f"made with {made_by}"] if made_by else []), *metrics.split("\n"))
    if classifier and classifier.info.held_out:
        info = classifier.info
        say(f"classifier: {info.accuracy:.3f} right on {info.held_out_images:,} real images of {info.held_out}")
    about = described(measured.suite, measured.result, {})
    reasons = unmeasured(about["not_measured"], options.out)
    for line in [*(f"warning: {warning}" for warning in about["warnings"]), *reasons]:
        say(line)


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
    say("written to " + " ".join([options.out, *(beside(options.out, name) for name in pictures)]))


if __name__ == "__main__":
    main(run)
