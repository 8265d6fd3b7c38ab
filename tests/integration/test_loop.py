"""What the loop shows and says, and what a run is refused for before it starts.

pytest tests/integration/test_loop.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.config.training import TrainingConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.stream import in_order
from i2i_core.errors import ConfigError
from i2i_core.evaluation.judges.classifier import Classifier, ClassifierInfo, save_classifier
from i2i_core.methods.base import Progress
from i2i_core.training import measuring
from i2i_core.training.step import Feed, Step
from i2i_core.training.sync import World

from ..support.methods import ALONE, Case, batches, small, whole_batch
from ..support.runs import config_of, loop_of


def test_grid_shows_the_side_that_the_run_translates(paired: str, storage: str) -> None:
    config = config_of(
        "pix2pix", paired, storage, data__direction="BtoA", monitoring__grid_every=96, training__images=12
    )
    loop, shown = loop_of(config), []
    right = loop.method.preview

    def noted(batch: Batch) -> dict[str, Tensor]:
        shown.append(batch["a"])
        return right(batch)

    loop.method.preview = noted  # type: ignore[method-assign]
    loop.train()
    rows = config.monitoring.grid_rows
    expected = next(in_order(DataSet(paired), "val", 16, most=rows, size=rows, direction="BtoA"))["a"]
    assert shown
    assert all(torch.equal(a, expected) for a in shown)


def test_grid_samples_are_read_once(paired: str, storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("pix2pix", paired, storage, monitoring__grid_every=24, monitoring__evaluate_samples=6)
    loop, read, seen = loop_of(config), [], []
    right, preview = measuring.in_order, loop.method.preview

    def noted(*args: Any, **named: Any) -> Iterator[Batch]:
        read.append(named["most"])
        return right(*args, **named)

    def shown(batch: Batch) -> Any:
        seen.append(batch["a"].clone())
        return preview(batch)

    monkeypatch.setattr(measuring, "in_order", noted)
    loop.method.preview = shown  # type: ignore[method-assign]
    loop.train()
    assert read == [config.monitoring.grid_rows]
    assert len(seen) > 3
    assert all(torch.equal(a, seen[0]) for a in seen)


def test_loop_has_few_attributes_and_all_from_its_beginning(labelled: str, storage: str) -> None:
    """So have those that it is made of."""
    loop = loop_of(config_of("stargan", labelled, storage, training__images=24, monitoring__log_every=12))
    holders = (loop, loop.state, loop.monitor, loop.keeper, loop.measuring)
    before = [set(vars(holder)) for holder in holders]
    loop.train()
    assert [set(vars(holder)) for holder in holders] == before
    assert len(before[0]) <= 12


def test_step_leaves_out_terms_of_a_player_that_did_not_move() -> None:
    """SimGAN after its warm-up of R: one move of D, none of R since the terms were read."""
    case = Case("simgan")
    method = small(case)
    step, progress, feed = (
        Step(method, TrainingConfig(), ALONE, lambda i: 1.0),
        Progress(),
        batches(method, case, ALONE),
    )
    step(feed, progress)
    assert {name.split("/")[0] for name in step.read_terms()[0]} == {"R"}
    step(feed, progress)
    assert {name.split("/")[0] for name in step.read_terms()[0]} == {"D"}
    assert step.read_terms()[0] == []


@pytest.mark.parametrize("most", [0, 3])
def test_feed_drops_batches_that_every_run_has_taken(most: int) -> None:
    method = small(Case("stargan"))
    feed = Feed(iter([whole_batch(method, 7, t) for t in range(4)]), most, World())
    runs = [feed.part(m) for m in range(len(feed.current))]
    for k in range(3):
        for run in runs:
            next(run)
        assert all(part is None for part in feed.taken[k])


@pytest.mark.parametrize(
    ("method", "kind", "metric", "said"),
    [
        ("stargan", "labelled", "accuracy", "there_and_back"),
        ("cyclegan", "unpaired", "in_target", "twin"),
        ("simgan", "unpaired", "cycle", "change, twin"),
        ("pix2pix", "paired", "diversity", "psnr"),
        ("pix2pix", "paired", "colour", "psnr"),
        ("pix2pix", "paired", "l1/part", "Known: l1, psnr"),
        ("pix2pix", "paired", "l2", "Did you mean l1"),
    ],
)
def test_best_metric_refuses_what_training_does_not_measure(
    method: str, kind: str, metric: str, said: str, storage: str, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(ConfigError, match=r"--best-metric") as caught:
        config_of(method, request.getfixturevalue(kind), storage, monitoring__best_metric=metric)
    assert said in str(caught.value)
    config_of("cyclegan", request.getfixturevalue("unpaired"), storage, monitoring__best_metric="cycle")


def test_evaluator_judges_by_the_metrics_and_the_classifier_it_is_given(
    labelled: str, storage: str, tmp_path: Path
) -> None:
    names = ("serif", "bold", "oblique", "mono")
    file = str(tmp_path / "judge.safetensors")
    save_classifier(Classifier(ClassifierInfo(names, False, 1, 16, "", 0)), file)
    over = {"hyper__attributes": names, "evaluation__classifier": file}
    loop = loop_of(config_of("stargan", labelled, storage, monitoring__best_metric="accuracy", **over))
    loop.train()
    assert loop.state.best.found["metric"] == "accuracy"
    assert set(loop.state.evaluations.metrics) > {"accuracy/bold", "accuracy_real", "there_and_back"}
    for named in ("accuracy/Bold", "accuracy/twin"):
        with pytest.raises(ConfigError, match="--best-metric"):
            config_of("stargan", labelled, storage, monitoring__best_metric=named, **over)
    config_of("stargan", labelled, storage, monitoring__best_metric="accuracy/bold", **over)
    with pytest.raises(ConfigError, match=r"--classifier: found a classifier of serif bold"):
        save_classifier(Classifier(ClassifierInfo(names[:2], False, 1, 16, "", 0)), file)
        config_of("stargan", labelled, storage, **over)
    with pytest.raises(ConfigError, match=r"--metrics: found 'fit'; expected a metric or a family"):
        config_of("stargan", labelled, storage, evaluation__metrics=("fit",))
    with pytest.raises(ConfigError, match="--classifier"):
        config_of("stargan", labelled, storage, evaluation__classifier=f"{file}-not-there")


def test_direction_is_refused_where_there_are_no_two_sides(labelled: str, storage: str) -> None:
    with pytest.raises(ConfigError, match="--direction: found BtoA"):
        config_of("stargan", labelled, storage, data__direction="BtoA")


def test_world_of_one_is_its_own_leader() -> None:
    assert World().to_leader("x") == ["x"]
