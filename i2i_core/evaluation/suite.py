"""The metrics of a method on a split of a data set: which there are, and all that were asked for at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from i2i_core.batch import Batch
from i2i_core.errors import ConfigError, DataError, RunError, UserError, nearest
from i2i_core.evaluation.families import (
    attributes,
    colour,
    distances,
    multimodal,
    paired,
    perceptual,
    segmentation,
    unpaired,
)
from i2i_core.evaluation.judges.classifier import load_classifier
from i2i_core.evaluation.samples import (
    Asked,
    Family,
    Measured,
    Metric,
    Outputs,
    Place,
    Retarget,
    Values,
    Workers,
    chunks,
    means,
)
from i2i_core.methods.base import Method, image_input, knows_truth
from i2i_core.methods.controls import Labels
from i2i_core.tensors import repeatable


class Basic(Family):
    """What needs no network of others: distances to the truth or to where one came from, and what a classifier sees.

    Attributes:
        ranking: the metric that orders samples from best to worst.
        target: of labelled data, what its samples are translated to.
    """

    target: Retarget | None = None

    def __init__(self, asked: Asked) -> None:
        self.metrics: dict[str, Metric] = basic_metrics(asked.method)
        self.ranking, self._judges = "", list[str]()
        self._measures: list[Callable[[Outputs], Values]] = []
        match basis(asked.method):
            case "truth":
                self._of_pairs()
            case "labels":
                self._of_labels(asked)
            case "domains":
                self._of_domains(asked)
        if asked.method.control(Labels) and self.target is None:
            self.target = attributes.SplitLabels.of(asked.method, asked.data, asked.split).kept
        if several := multimodal.metrics_of(asked.method):
            self._judges += several
            self._measures.append(multimodal.measure)
        if not self.ranking and several:
            self.ranking = "diversity"

    def _of_pairs(self) -> None:
        self.ranking, self._judges = "l1", ["l1", "psnr", "ssim"]
        self._measures.append(paired.measure)

    def _of_labels(self, asked: Asked) -> None:
        labels = attributes.SplitLabels.of(asked.method, asked.data, asked.split)
        self.target, self.ranking = labels.target, "there_and_back"
        self._judges = ["there_and_back"]
        if asked.classifier:
            asked.classifier.check(asked.data)
            asked.classifier.columns(labels.names)
            self._judges += ["accuracy", *(f"accuracy/{name}" for name in labels.names)]
        self._measures.append(partial(attributes.measure, labels=labels, classifier=asked.classifier))

    def _of_domains(self, asked: Asked) -> None:
        two_way, (a, b) = asked.method.two_way, asked.data.manifest.domains
        domains = (a, b) if asked.direction == "AtoB" else (b, a)
        twins = unpaired.Twins(asked.data, asked.split, domains[1], asked.image_size, asked.resizing)
        self.ranking = "cycle" if two_way else "change"
        self._judges = ["change", *(["twin"] if twins.rows else []), *(["cycle"] if two_way else [])]
        if asked.classifier:
            asked.classifier.check(asked.data)
            asked.classifier.columns(domains)
            self._judges += ["in_target", "in_target/there", *(["in_target/back"] if two_way else [])]
        self._measures.append(partial(unpaired.measure, twins=twins, domains=domains, classifier=asked.classifier))

    @property
    def judges(self) -> Sequence[str]:
        return self._judges

    def chunk(self, outputs: Outputs) -> tuple[Values, tuple[str, ...]]:
        """The metrics of each image, and the keys of those that the ranking metric was measured on."""
        keys = outputs.keys
        if self.target:
            keys = tuple(key for key, possible in zip(keys, outputs.translated[0], strict=True) if possible)
        values: Values = {}
        for measure in self._measures:
            values |= measure(outputs)
        count = len(values.get(self.ranking, ()))  # diversity is of a split's first inputs alone
        return values, keys[:count]

    def result(self, parts: Sequence[tuple[Values, tuple[str, ...]]]) -> dict[str, Measured]:
        found = means(values for values, _ in parts)
        return found | _overall(found)

    def ranked(self, parts: Sequence[tuple[Values, tuple[str, ...]]]) -> list[tuple[str, float]]:
        """Each sample's key, and what the ranking metric is of it."""
        both = [(keys, values[self.ranking]) for values, keys in parts if self.ranking in values]
        return [pair for keys, values in both for pair in zip(keys, values, strict=True)]


Basis = Literal["truth", "labels", "domains", ""]
"""What images are measured by without a network of others: the truth, a label that they are made to have, the domain
that they are made for; or nothing."""
_BASES: dict[Basis, Mapping[str, Metric]] = {
    "truth": paired.METRICS,
    "labels": attributes.METRICS,
    "domains": unpaired.METRICS,
    "": {},
}


def basis(method: Method[Any] | type[Method[Any]]) -> Basis:
    """Tell what the images of a method are measured by."""
    if knows_truth(method):
        return "truth"
    if not image_input(method):
        return ""
    if method.control(Labels):
        return "labels"
    return "domains" if method.needs.domains == 2 else ""


def basic_metrics(method: Method[Any] | type[Method[Any]]) -> dict[str, Metric]:
    """What `basic` measures of a method; nothing where nothing is known of what it makes."""
    return {**_BASES[basis(method)], **{name: multimodal.METRICS[name] for name in multimodal.metrics_of(method)}}


def default_metric(method: Method[Any] | type[Method[Any]]) -> str:
    """The metric that decides the best checkpoint; empty: none does. Of two domains `cycle` is best where nothing is
    changed, so the last checkpoint counts unless --best-metric names one."""
    return {"truth": "l1", "labels": "there_and_back"}.get(basis(method), "")


@dataclass(frozen=True)
class MetricFamily:
    """A family that can be asked for."""

    metrics: Mapping[str, Metric]
    build: Callable[[Asked], Family]


FAMILIES: dict[str, MetricFamily] = {
    "basic": MetricFamily({name: m for of in (*_BASES.values(), multimodal.METRICS) for name, m in of.items()}, Basic),
    "lpips": MetricFamily(perceptual.METRICS, perceptual.build_lpips),
    "inception": MetricFamily(distances.INCEPTION, distances.build_inception),
    "efficientnet": MetricFamily(distances.EFFICIENTNET, distances.build_efficientnet),
    "efficientnet_pairs": MetricFamily(perceptual.EFFICIENTNET, perceptual.build_efficientnet),
    "fcn": MetricFamily(segmentation.METRICS, segmentation.build),
    "colour": MetricFamily(colour.METRICS, colour.build),
}
"""Every family, by name."""


class _Directions(dict[str, Literal["lower", "higher"]]):
    """By metric; `accuracy/bold` goes by `accuracy`."""

    def __missing__(self, name: str) -> Literal["lower", "higher"]:
        base = name.split("/")[0]
        if base not in self:
            raise ConfigError("--best-metric", repr(name), "a metric", nearest(name, self))
        return self[base]


DEFINITIONS = {name: metric.definition for entry in FAMILIES.values() for name, metric in entry.metrics.items()}
"""What each metric is, in words. `accuracy/bold` is `accuracy` of one attribute."""
BETTER = _Directions({name: metric.better for entry in FAMILIES.values() for name, metric in entry.metrics.items()})
"""Whether lower or higher values of a metric are better. Raises ConfigError for a name that is none."""


def better(metric: str, value: float, than: float) -> bool:
    """Whether a value of the metric is better than another. Raises ConfigError for a name that is none."""
    return value < than if BETTER[metric] == "lower" else value > than


def families_of(names: Sequence[str]) -> list[str]:
    """`basic`, and the families that hold the named metrics, or are named themselves.

    Raises:
        ConfigError: a name that is neither.
    """
    wanted = {"basic"}
    for name in names:
        found = [family for family, entry in FAMILIES.items() if name == family or name in entry.metrics]
        if not found:
            raise ConfigError("--metrics", repr(name), "a metric or a family", nearest(name, {*DEFINITIONS, *FAMILIES}))
        wanted.add(found[0])
    return [name for name in FAMILIES if name in wanted]


Found = dict[str, Any]
"""By family, what it found in one chunk."""


@dataclass(frozen=True)
class Result:
    """What was measured."""

    metrics: dict[str, Measured]
    ranked: list[tuple[str, float]] = field(default_factory=list)
    """Each sample's key and what the ranking metric is of it, in the order of the split."""

    @property
    def values(self) -> dict[str, float]:
        return {name: measured.value for name, measured in self.metrics.items()}


class Suite:
    """What was asked for, ready to measure.

    Raises:
        DataError: the data has no such split, or is not of the method's kind or attributes.
        ConfigError: an unknown metric, one that this method or data does not have, or a file that cannot be used.
    """

    def __init__(self, asked: Asked) -> None:
        data = asked.data
        check_inputs(asked)
        if lack := asked.method.needs.lacks(data.manifest):
            raise DataError(f"data {data.uri}", lack.found, f"{lack.expected} for this method", lack.fix)
        if basis(asked.method) == "truth" and (asked.classifier or asked.judging.classifier):
            expected = "none: of pairs the truth is known, and no classifier judges"
            raise ConfigError("--classifier", "one", expected, "Leave --classifier out.")
        if asked.classifier is None and asked.judging.classifier:
            asked = replace(asked, classifier=load_classifier(asked.judging.classifier).to(asked.device))
        self.asked, self.basic = asked, Basic(asked)
        if not self.basic.metrics and not asked.judging.metrics:
            found = f"a method that reads {asked.method.needs.described}"
            expected = "one whose images have a truth, a label or a domain; or --metrics, by networks of others"
            raise DataError("metrics", found, expected, "Look at its grids, or name metrics: --metrics fid.")
        self.families: dict[str, Family] = {
            name: self.basic if name == "basic" else FAMILIES[name].build(asked)
            for name in families_of(asked.judging.metrics)
        }

    @property
    def judges(self) -> list[str]:
        """What a run can be judged by: names of metrics, with their parts."""
        return [name for family in self.families.values() for name in family.judges]

    def parts(
        self, rank: int = 0, world: int = 1, progress: Callable[[int], None] | None = None
    ) -> list[tuple[Place, Found]]:
        """What this worker of `world` finds in its chunks.

        Args:
            progress: called with the number of samples after each chunk.
        """
        found = []
        with repeatable():
            for place, batch in chunks(self.asked, rank, world):
                outputs = self.outputs(batch)
                found.append((place, {name: family.chunk(outputs) for name, family in self.families.items()}))
                if progress:
                    progress(len(batch.keys))
        return found

    def outputs(self, batch: Batch) -> Outputs:
        """A chunk, and what the method makes of it."""
        return Outputs(self.asked.method, batch, self.basic.target)

    def result(self, parts: Sequence[tuple[Place, Found]]) -> Result:
        """The metrics, from all workers' parts, in whatever order they came."""
        metrics: dict[str, Measured] = {}
        for name, family in self.families.items():
            metrics |= family.result(_own(parts, name))
        return Result(metrics, self.basic.ranked(_own(parts, "basic")))

    def pictures(self, parts: Sequence[tuple[Place, Found]]) -> dict[str, bytes]:
        """PNG files that show what was found, by name."""
        return {
            title: png
            for name, family in self.families.items()
            for title, png in family.pictures(_own(parts, name)).items()
        }

    def together(self, workers: Workers, progress: Callable[[int], None] | None = None) -> Result:
        """Measured by all workers, each its chunks; all get the same result, whatever their number: bit for bit on
        equal hardware.

        Raises:
            UserError, RunError: as the leader met it, on every worker.
        """
        gathered = workers.to_leader(self.parts(workers.rank, workers.size, progress))
        outcome: Result | UserError | RunError | None = None
        if gathered is not None:
            try:
                outcome = self.result([part for parts in gathered for part in parts])
            except (UserError, RunError) as error:
                outcome = error
        outcome = workers.from_leader(outcome)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def check_inputs(asked: Asked) -> None:
    """Raise DataError where the data lacks an optional field that the method was trained to make images from."""
    method, fields = asked.method, asked.data.manifest.fields
    for name in method.inputs:
        if name.partition(".")[0] in method.needs.optional and method.needs.stored(name, asked.direction) not in fields:
            fix = "Name a data set with the fields of the one that it was trained on."
            raise DataError(f"data {asked.data.uri}", f"no field {name}", f"one, of role {method.inputs[name]}", fix)


def _own(parts: Sequence[tuple[Place, Found]], family: str) -> list[Any]:
    """What a family found, in the order of the chunks."""
    ordered = (found[family] for _, found in sorted(parts, key=lambda part: part[0]))
    return [part for part in ordered if part is not None]


def evaluate(
    method: Method[Any], data: Any, split: str, *, workers: Workers | None = None, **options: Any
) -> dict[str, float]:
    """The values of a suite; the options are the fields of `Asked`."""
    suite = Suite(Asked(method, data, split, **options))
    return (suite.together(workers) if workers else suite.result(suite.parts())).values


def _overall(found: dict[str, Measured]) -> dict[str, Measured]:
    """`accuracy` from every `accuracy/ATTRIBUTE`, each image counted once for each attribute."""
    out: dict[str, Measured] = {}
    for base in sorted({name.split("/")[0] for name in found if "/" in name}):
        parts = [m for name, m in found.items() if name.startswith(f"{base}/")]
        count = sum(m.count for m in parts)
        out[base] = Measured(sum(m.value * m.count for m in parts) / count, count)
    return out
