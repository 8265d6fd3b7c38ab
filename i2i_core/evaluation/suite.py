"""List the metrics there are, and measure those that were asked for on a split of a data set."""

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
    NOTHING,
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
    no_idle,
)
from i2i_core.methods.base import Method, image_input, knows_truth
from i2i_core.methods.controls import Labels
from i2i_core.tensors import repeatable

NOT_ASKED = "not asked for"
NO_CLASSIFIER = "no classifier: --train-classifier trains one, --classifier FILE names one"


class Basic(Family):
    """Compute the family `basic`, which needs no pretrained network: distances to the truth or to the source, and what
    a classifier sees. `basis` tells which of these a method has.

    Attributes:
        ranking: the metric that orders samples from best to worst.
        target: chooses the labels that labelled samples are translated to.
    """

    target: Retarget | None = None

    def __init__(self, asked: Asked) -> None:
        self.metrics: dict[str, Metric] = basic_metrics(asked.method)
        self.ranking, self._judges, self._absent = "", list[str](), dict[str, str]()
        self._measures: list[Callable[[Outputs], Values]] = []
        match basis(asked.method):
            case "truth":
                self._of_pairs(asked)
            case "labels":
                self._of_labels(asked)
            case "domains":
                self._of_domains(asked)
            case "labelled noise":
                self._of_labelled_noise(asked)
        if asked.method.control(Labels) and self.target is None:
            self.target = attributes.SplitLabels.of(asked.method, asked.data, asked.split).kept
        if several := multimodal.metrics_of(asked.method):
            self._judges += several
            self._measures.append(multimodal.measure)
        if not self.ranking and several:
            self.ranking = "diversity"

    def _of_pairs(self, asked: Asked) -> None:
        self.ranking, self._judges = "l1", ["l1", "psnr", "ssim"]
        if why := no_idle(asked):
            self._absent |= {f"{name}{NOTHING}": why for name in self._judges}
        self._measures.append(paired.measure)

    def _of_labels(self, asked: Asked) -> None:
        labels = attributes.SplitLabels.of(asked.method, asked.data, asked.split)
        self.target, self.ranking = labels.target, "there_and_back"
        self._judges = ["there_and_back"]
        if asked.classifier:
            asked.classifier.check(asked.data)
            asked.classifier.columns(labels.names)
            self._judges += ["accuracy", *(f"accuracy/{name}" for name in labels.names)]
        else:
            self._absent |= {name: NO_CLASSIFIER for name in attributes.METRICS if name.startswith("accuracy")}
        self._measures.append(partial(attributes.measure, labels=labels, classifier=asked.classifier))

    def _of_labelled_noise(self, asked: Asked) -> None:
        labels = attributes.SplitLabels.of(asked.method, asked.data, asked.split)
        self.target = labels.kept
        if not asked.classifier:
            self._absent |= dict.fromkeys(attributes.OF_NOISE, NO_CLASSIFIER)
            return
        asked.classifier.check(asked.data)
        asked.classifier.columns(labels.names)
        self._judges += ["accuracy", *(f"accuracy/{name}" for name in labels.names)]
        self._measures.append(partial(attributes.measure_made, labels=labels, classifier=asked.classifier))

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
        else:
            self._absent |= {name: NO_CLASSIFIER for name in unpaired.METRICS if name.startswith("in_target")}
        if not twins.rows:
            why = (
                f"{twins.why} in split {asked.split} of domain {domains[1]}: a twin is found by its key, IDENTITY-REST "
                "in both domains. Name the files so, as horse7-a.png and horse7-b.png, and shard again"
            )
            self._absent |= {"twin": why, "twin_nothing": why}
        if not two_way:
            self._absent["cycle"] = "the method translates one way"
        self._measures.append(partial(unpaired.measure, twins=twins, domains=domains, classifier=asked.classifier))

    @property
    def judges(self) -> Sequence[str]:
        return self._judges

    def absent(self) -> dict[str, str]:
        return self._absent

    def chunk(self, outputs: Outputs) -> tuple[Values, tuple[str, ...]]:
        """Measure each image; give also the keys of those that the ranking metric was measured on."""
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
        """List the key of each sample with its value of the ranking metric."""
        both = [(keys, values[self.ranking]) for values, keys in parts if self.ranking in values]
        return [pair for keys, values in both for pair in zip(keys, values, strict=True)]


Basis = Literal["truth", "labels", "domains", "labelled noise", ""]
"""The standard that made images are measured by without a network of others: the truth, the label or the domain that
they are made for, of noise the label alone; empty: there is none."""
_BASES: dict[Basis, Mapping[str, Metric]] = {
    "truth": paired.METRICS,
    "labels": attributes.METRICS,
    "domains": unpaired.METRICS,
    "labelled noise": attributes.OF_NOISE,
    "": {},
}


def basis(method: Method[Any] | type[Method[Any]]) -> Basis:
    """Tell by which standard the images of a method are measured."""
    if knows_truth(method):
        return "truth"
    if not image_input(method):
        return "labelled noise" if method.control(Labels) and not method.inputs else ""
    if method.control(Labels):
        return "labels"
    return "domains" if method.needs.domains == 2 else ""


def basic_metrics(method: Method[Any] | type[Method[Any]]) -> dict[str, Metric]:
    """List the metrics of `basic` that a method has; none where there is no standard for what it makes."""
    return {**_BASES[basis(method)], **{name: multimodal.METRICS[name] for name in multimodal.metrics_of(method)}}


def default_metric(method: Method[Any] | type[Method[Any]]) -> str:
    """Name the metric that decides the best checkpoint where --best-metric names none; empty: the last one counts.

    Unpaired domains have none: `cycle` is best where nothing is changed.
    """
    return {"truth": "l1", "labels": "there_and_back"}.get(basis(method), "")


def check_inputs(asked: Asked) -> None:
    """Raise DataError where the data lacks an optional field that the method was trained to make images from."""
    method, fields = asked.method, asked.data.manifest.fields
    for name in method.inputs:
        if name.partition(".")[0] in method.needs.optional and method.needs.stored(name, asked.direction) not in fields:
            fix = "Name a data set with the fields of the one that it was trained on."
            raise DataError(f"data {asked.data.uri}", f"no field {name}", f"one, of role {method.inputs[name]}", fix)


@dataclass(frozen=True)
class MetricFamily:
    """Offer a family of metrics by name."""

    metrics: Mapping[str, Metric]
    build: Callable[[Asked], Family]
    check: Callable[[Asked], None]
    """Raises DataError where the family cannot measure such data; reads no network's weights."""


_BASIC = {name: m for of in (*_BASES.values(), multimodal.METRICS) for name, m in of.items()}
FAMILIES: dict[str, MetricFamily] = {
    "basic": MetricFamily(_BASIC, Basic, check_inputs),
    "lpips": MetricFamily(perceptual.METRICS, perceptual.build_lpips, perceptual.check_lpips),
    "inception": MetricFamily(distances.INCEPTION, distances.build_inception, distances.check_inception),
    "efficientnet": MetricFamily(distances.EFFICIENTNET, distances.build_efficientnet, distances.check_efficientnet),
    "efficientnet_pairs": MetricFamily(
        perceptual.EFFICIENTNET, perceptual.build_efficientnet, perceptual.check_efficientnet
    ),
    "fcn": MetricFamily(segmentation.METRICS, segmentation.build, segmentation.check),
    "colour": MetricFamily(colour.METRICS, colour.build, colour.check),
}
"""Every family, by name."""


class _Directions(dict[str, Literal["lower", "higher"]]):
    """Tell by metric whether lower or higher is better; `accuracy/bold` goes by `accuracy`."""

    def __missing__(self, name: str) -> Literal["lower", "higher"]:
        base = name.split("/")[0]
        if base not in self:
            raise ConfigError("--best-metric", repr(name), "a metric", nearest(name, self))
        return self[base]


METRICS = {name: metric for entry in FAMILIES.values() for name, metric in entry.metrics.items()}
"""Every metric, by name. `accuracy/bold` is `accuracy` of one attribute."""
DEFINITIONS = {name: metric.definition for name, metric in METRICS.items()}
"""The definition of each metric, in words."""
BETTER = _Directions({name: metric.better for name, metric in METRICS.items()})
"""`lower` or `higher`, by metric: which values are better. Raises ConfigError for an unknown metric."""


def better(metric: str, value: float, than: float) -> bool:
    """Tell whether a value of a metric is better than another. Raise ConfigError for an unknown metric."""
    return value < than if BETTER[metric] == "lower" else value > than


def families_of(names: Sequence[str]) -> list[str]:
    """Name the families to measure: `basic`, those that hold a named metric, and those that are named themselves.

    Raises:
        ConfigError: a name that is neither a metric nor a family.
    """
    wanted = {"basic"}
    for name in names:
        found = [family for family, entry in FAMILIES.items() if name == family or name in entry.metrics]
        if not found:
            raise ConfigError("--metrics", repr(name), "a metric or a family", nearest(name, {*DEFINITIONS, *FAMILIES}))
        wanted.add(found[0])
    return [name for name in FAMILIES if name in wanted]


Found = dict[str, Any]
"""One chunk's findings, by family."""


@dataclass(frozen=True)
class Result:
    """Hold the metrics of a split, and its samples with the values that rank them."""

    metrics: dict[str, Measured]
    ranked: list[tuple[str, float]] = field(default_factory=list)
    """The key of each sample and its value of the ranking metric, in the order of the split."""

    @property
    def values(self) -> dict[str, float]:
        """Give the value of each metric by name."""
        return {name: measured.value for name, measured in self.metrics.items()}


class Suite:
    """Measure a method on a split of a data set, by the family `basic` and by every family that `Asked` names, or names
    a metric of.

    `suite.result(suite.parts())` measures everything in this process. Several ranks each call `parts(rank, world)`, and
    `result` takes the parts of all of them, with equal bits for any world size; `together` does that between ranks.

    Raises:
        DataError: the data has no such split, or is not of the method's kind or attributes.
        ConfigError: an unknown metric, one that this method or data does not have, a file that cannot be used, or a
        classifier where the truth is known.
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
        """Name the metrics that can decide a run's best checkpoint, with their parts."""
        return [name for family in self.families.values() for name in family.judges]

    @property
    def absent(self) -> dict[str, str]:
        """Give the reason for each metric that cannot be measured here, by name."""
        return {name: why for family in self.families.values() for name, why in family.absent().items()}

    def parts(
        self, rank: int = 0, world: int = 1, progress: Callable[[int], None] | None = None
    ) -> list[tuple[Place, Found]]:
        """Measure the chunks of one rank; `result` turns the parts of all ranks into metrics.

        Args:
            rank, world: this process among those that measure together.
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
        """Return the outputs of a chunk, which make each image when a family first needs it."""
        return Outputs(self.asked.method, batch, self.basic.target)

    def result(self, parts: Sequence[tuple[Place, Found]]) -> Result:
        """Compute the metrics from the parts of all ranks, in any order."""
        metrics: dict[str, Measured] = {}
        for name, family in self.families.items():
            metrics |= family.result(_own(parts, name))
        return Result(metrics, self.basic.ranked(_own(parts, "basic")))

    def not_measured(self, found: Mapping[str, Measured]) -> dict[str, str]:
        """Give the reason for each metric, and each family, that is not among what was found."""
        why, known = dict[str, str](), {name.split("/")[0] for name in found}
        for family in self.families.values():
            absent = family.absent()
            for name, metric in family.metrics.items():
                if name not in known:
                    why[name] = absent.get(name, "no sample of the split has what it takes")
                if metric.nothing:
                    why[f"{name}{NOTHING}"] = metric.nothing
        return why | {name: _why_not(self.asked, name) for name in FAMILIES if name not in self.families}

    def pictures(self, parts: Sequence[tuple[Place, Found]]) -> dict[str, bytes]:
        """Draw PNG files that show the result, by name."""
        return {
            title: png
            for name, family in self.families.items()
            for title, png in family.pictures(_own(parts, name)).items()
        }

    def together(self, workers: Workers, progress: Callable[[int], None] | None = None) -> Result:
        """Measure with all ranks, each its chunks, and give every rank the same result: equal bits for any world size
        on equal hardware.

        Args:
            workers: the ranks.
            progress: called with the samples of each chunk that this rank has measured.

        Raises:
            UserError, RunError: raised on every rank as rank 0 met it.
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


def _why_not(asked: Asked, family: str) -> str:
    """Say why a family was not measured: nobody asked for it, or it cannot measure such data."""
    try:
        FAMILIES[family].check(asked)
    except DataError as error:
        return f"needs {error.expected}; found {error.found}"
    return f"{NOT_ASKED}: --metrics {family}"


def _own(parts: Sequence[tuple[Place, Found]], family: str) -> list[Any]:
    """Collect what a family found, in the order of the chunks."""
    ordered = (found[family] for _, found in sorted(parts, key=lambda part: part[0]))
    return [part for part in ordered if part is not None]


def evaluate(
    method: Method[Any], data: Any, split: str, *, workers: Workers | None = None, **options: Any
) -> dict[str, float]:
    """Measure a method on a split, and give the values by metric.

    Args:
        workers: the ranks that measure together; None: this process alone.
        options: further fields of `Asked`.
    """
    suite = Suite(Asked(method, data, split, **options))
    return (suite.together(workers) if workers else suite.result(suite.parts())).values


def _overall(found: dict[str, Measured]) -> dict[str, Measured]:
    """Average `accuracy` over every `accuracy/ATTRIBUTE`, each image counted once for each attribute."""
    out: dict[str, Measured] = {}
    for base in sorted({name.split("/")[0] for name in found if "/" in name}):
        parts = [m for name, m in found.items() if name.startswith(f"{base}/")]
        count = sum(m.count for m in parts)
        out[base] = Measured(sum(m.value * m.count for m in parts) / count, count)
    return out
