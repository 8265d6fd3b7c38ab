"""Word a run's end for the screen: its metrics beside doing nothing, where to look, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from i2i_core.config.run import TrainConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.evaluation.samples import NOTHING, suffixed
from i2i_core.evaluation.suite import BETTER, METRICS
from i2i_core.methods.base import Method
from i2i_core.methods.controls import Labels
from i2i_core.orchestration.launch import Reached
from i2i_core.registry import entry
from i2i_core.training.resuming import BY_LENGTH, LR_MAY_RISE


def ending(reached: Reached, config: TrainConfig) -> Iterator[str]:
    """Give the lines of a finished run.

    Args:
        reached: the run's folder, length and metrics.
        config: the prepared configuration that it was launched with.
    """
    run, method = reached.run, entry(config.method).method
    if reached.again:
        yield f"finished before, after {reached.images:,} images: nothing was done; {run.url}"
    else:
        yield f"finished after {reached.images:,} images: {run.url}"
    yield from metrics(reached.metrics)
    yield f"checkpoints {run.at(run.CHECKPOINTS)}"
    yield f"report, with curves and grids: {run.at(run.REPORT)}"
    url = shlex.quote(run.url)
    yield f"translate with: python pipelines/translate.py {url} {_input(method, config)} --out FOLDER"
    if reached.metrics:
        splits = DataSet(config.data.uri, config.data.shards_at).manifest.splits
        likeliest = ("test", config.monitoring.evaluate_split, config.data.split)
        split = next((split for split in likeliest if split in splits), next(iter(splits)))
        asked = f"--data {shlex.quote(config.data.uri)} --split {split}"
        yield f"evaluate with: python pipelines/evaluate.py {url} {asked}"
    if (whole := entry(config.method).presets[config.preset].values.get("training.images", 0)) > reached.images:
        yield f"too short to judge by: the preset {config.preset} has {whole:,} images"
    rises = f" {LR_MAY_RISE} (docs/recovery.md)" if config.training.lr_schedule in BY_LENGTH else ""
    longer = 2 * (config.training.images or reached.images)
    yield f"train longer with: the same command and --images {longer}{rises}"


def metrics(found: Mapping[str, float]) -> Iterator[str]:
    """Give a line for each metric: its value, which values are better, and what doing nothing scores."""
    for name, value in found.items():
        base = name.partition("/")[0]
        if base.endswith(NOTHING):
            continue
        remarks = [f"{BETTER[name]} is better"]
        if (untouched := found.get(suffixed(name, NOTHING))) is not None:
            remarks.append(f"doing nothing {untouched:.4g}")
        elif base in METRICS and METRICS[base].nothing.startswith("0 by definition"):
            remarks.append("doing nothing 0, by definition: alone it says little")
        yield f"  {name} {value:.4g} ({', '.join(remarks)})"


def _input(method: type[Method[Any]], config: TrainConfig) -> str:
    """Give the flags that translate.py needs of a run of this method."""
    flags = "--input IMAGES" if method.inputs else "--count 16"
    labels = getattr(config.hyper, "attributes", ())
    return f"{flags} --target {shlex.quote(labels[0])}" if method.control(Labels) and labels else flags
