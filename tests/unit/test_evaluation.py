"""Metrics against arithmetic by hand, any number of workers, and generators whose score is known.

pytest tests/unit/test_evaluation.py
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from i2i_core.batch import scaled
from i2i_core.config.methods.stargan import StarGANConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.reader import Reader
from i2i_core.errors import ConfigError, DataError
from i2i_core.evaluation.families import paired as paired_metrics
from i2i_core.evaluation.families.attributes import SplitLabels
from i2i_core.evaluation.families.unpaired import Twins
from i2i_core.evaluation.judges.classifier import (
    Classifier,
    ClassifierInfo,
    judged_size,
    load_classifier,
    save_classifier,
    train_classifier,
)
from i2i_core.evaluation.report import MOST_REASON, as_json, table, unmeasured
from i2i_core.evaluation.samples import Asked, Measured, chunks
from i2i_core.evaluation.suite import BETTER, DEFINITIONS, FAMILIES, Result, Suite, default_metric, evaluate
from i2i_core.fields import Field
from i2i_core.images.codec import decode
from i2i_core.images.sheet import GAP, LEAST_CELL, contact_sheet, png_bytes, to_array, to_bytes
from i2i_core.labels import LabelSet
from i2i_core.methods import build_method
from i2i_core.methods.base import Direction, Method, Needs
from i2i_core.methods.controls import Code, Labels
from i2i_core.names import printable
from i2i_core.registry import METHODS
from i2i_core.sizes import Resizing
from tests.support.data import whole_index, write_whole

from ..support.pairs import Function, Pairs

NAMES = ("serif", "bold", "mono")
COMBINATIONS = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1)]
"""serif and mono never meet, nor bold and mono."""
SIDE = 16


# ---------------------------------------------------------------- data and methods whose answers are known


def coded(label: Sequence[int], seed: int) -> np.ndarray:
    """A noise image (SIDE, SIDE, 1) whose first row of pixels says its label: white is on, black is off."""
    x = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 1), dtype=np.uint8)
    x[0, :, 0] = 0
    x[0, : len(label), 0] = np.array(label) * 255
    return x


def write_labelled(folder: Path, images: Sequence[np.ndarray], labels: Sequence[Sequence[int]], **more: Any) -> str:
    """A labelled data set of one shard, the same for every split, made by hand."""
    folder.mkdir(parents=True)
    keys = [f"{i:04d}" for i in range(len(images))]
    with tarfile.open(folder / "all.tar", "w") as tar:
        for key, image in zip(keys, images, strict=True):
            out = io.BytesIO()
            Image.fromarray(image[..., 0]).save(out, "PNG")
            member = tarfile.TarInfo(f"{key}.png")
            member.size = out.tell()
            tar.addfile(member, io.BytesIO(out.getvalue()))
    fields, splits = {"image": Field("png", 1, "uint8", SIDE, SIDE)}, ("train", "val", "test")
    return write_whole(folder, keys, fields, splits, labels=labels, **{"attributes": NAMES, **more}).uri


@pytest.fixture(scope="module")
def coded_data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    labels = [COMBINATIONS[i % len(COMBINATIONS)] for i in range(100)]
    images = [coded(label, i) for i, label in enumerate(labels)]
    return DataSet(write_labelled(tmp_path_factory.mktemp("coded") / "data", images, labels))


class Oracle(Classifier):
    """Reads the label off the first row."""

    def __init__(self, names: tuple[str, ...] = NAMES) -> None:
        super().__init__(ClassifierInfo(names, False, 1, 16, "", 0))

    def judge(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW[:, 0, 0, : len(self.info.attributes)] > 0


class Fake(Method[StarGANConfig]):
    """A labelled method that makes images by a function of (x, target)."""

    needs = Needs({"image": "image"}, attributes=True)
    inputs, outputs = {"image": "image"}, {"image": "image"}
    controls: ClassVar = {"target": Labels()}
    generators = ()

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], labels: Any = "attributes") -> None:
        super().__init__(StarGANConfig(attributes=NAMES, c_dim=3, columns=(0, 1, 2), channels=1, labels=labels))
        self.function, self.weight = function, nn.Parameter(torch.zeros(()))

    @property
    def label_sets(self) -> tuple[LabelSet, ...]:
        return self.config.sets

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        return Function(self.function)


class FakeCodes(Pairs):
    """The input, brighter by `spread` times the code; the code is the mean brightness of an image."""

    controls: ClassVar = {"z": Code(encoded=True)}

    def __init__(self, spread: float) -> None:
        super().__init__(lambda x, keys: x)
        self.spread = spread

    def draw_codes(self, keys: Sequence[str], sample: int = 0) -> Tensor:
        return torch.full((len(keys), 1), float(sample % 3))

    def encode(self, images: Tensor, direction: Direction = "AtoB") -> Tensor:
        return images.mean(dim=(1, 2, 3))[:, None] / self.spread

    def translate(self, inputs: Any, controls: Any = None, *way: Any, **more: Any) -> dict[str, Tensor]:
        x, z = inputs["a"], (controls or {}).get("z", torch.zeros(len(inputs["a"]), 1))
        return {"b": x + self.spread * z[:, :, None, None]}


class FakeLabelledNoise(Fake):
    """Makes images of a label and a code by a function of the label."""

    inputs: Mapping[str, str] = {}
    controls: ClassVar = {"target": Labels(), "z": Code()}

    @property
    def code_length(self) -> int:
        return 1

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        return Function(lambda c, z: self.function(torch.zeros(len(c), 1, SIDE, SIDE), c))


class FakeUnpaired(Method[Any]):
    """There the image gets brighter, back it gets darker by half of that."""

    needs = Needs({"image": "image"}, domains=2)
    inputs, outputs = {"a": "image"}, {"b": "image"}
    generators = ()
    two_way = True

    def __init__(self) -> None:
        super().__init__(None)
        self.weight = nn.Parameter(torch.zeros(()))

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        return Function((lambda x: x + 0.2) if direction == "AtoB" else lambda y: y - 0.1)


class Brightness(Classifier):
    """Takes an image for B where its mean is above `level`."""

    def __init__(self, level: float = 0.0) -> None:
        super().__init__(ClassifierInfo(("A", "B"), True, 1, SIDE, "", 0))
        self.level = level

    def judge(self, x_BCHW: Tensor) -> Tensor:
        bright = x_BCHW.mean(dim=(1, 2, 3)) > self.level
        return torch.stack([~bright, bright], dim=1)


def perfect(x: Tensor, target: Tensor) -> Tensor:
    out = x.clone()
    out[:, 0, 0, : target.shape[1]] = target * 2 - 1
    return out


def identity(x: Tensor, target: Tensor) -> Tensor:
    return x


def always_bold(x: Tensor, target: Tensor) -> Tensor:
    return perfect(x, torch.tensor([0.0, 1.0, 0.0]).expand(len(x), 3))


def stored(data: DataSet, split: str, column: int) -> dict[str, np.ndarray]:
    """Every image of a field by key, as Pillow reads it, in [0, 1]: no code of the stream."""
    reader = Reader(data, split, "all")
    rows = range(len(reader.rows))
    opened = [Image.open(io.BytesIO(b)) for b in reader.read(list(rows), column)]
    return {reader.key(i): np.asarray(image, np.float64) / 255 for i, image in zip(rows, opened, strict=True)}


# ---------------------------------------------------------------- paired


def test_l1_and_psnr_of_tensors_equal_numpy_by_hand() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (2, 4, 3, 5, 7))
    a, b = (x + 1) / 2, (y + 1) / 2
    by_hand = [10 * np.log10(1 / np.mean((a[i] - b[i]) ** 2)) for i in range(4)]
    np.testing.assert_allclose(paired_metrics.psnr(torch.tensor(x), torch.tensor(y)), by_hand, rtol=1e-12)
    by_hand = [np.abs(a[i] - b[i]).sum() / (3 * 5 * 7) for i in range(4)]
    np.testing.assert_allclose(paired_metrics.l1(torch.tensor(x), torch.tensor(y)), by_hand, rtol=1e-12)


def test_psnr_of_black_against_white_is_0_and_of_equal_images_the_ceiling() -> None:
    black, white = -torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    assert paired_metrics.psnr(black, white) == [0.0]
    assert paired_metrics.psnr(black, black) == [paired_metrics.CEILING]


@pytest.mark.parametrize(("direction", "read"), [("AtoB", 0), ("BtoA", 1)])
def test_paired_metrics_equal_pillow_and_numpy_on_the_stored_images(paired: str, direction: Any, read: int) -> None:
    """The fake halves the contrast of its input."""
    data = DataSet(paired)
    found = evaluate(Pairs(lambda x, keys: x * 0.5), data, "test", image_size=SIDE, direction=direction)

    def decibels(x: np.ndarray, y: np.ndarray) -> float:
        """Some outlines are as small as their shape: equal images."""
        return 100.0 if (x == y).all() else 10 * np.log10(1 / np.square(x - y).mean())

    a, b = stored(data, "test", read), stored(data, "test", 1 - read)
    made = {key: 0.5 + (image - 0.5) * 0.5 for key, image in a.items()}
    by_hand = {
        "l1": np.mean([np.abs(made[k] - b[k]).mean() for k in a]),
        "l1_nothing": np.mean([np.abs(a[k] - b[k]).mean() for k in a]),
        "psnr": np.mean([decibels(made[k], b[k]) for k in a]),
        "psnr_nothing": np.mean([decibels(a[k], b[k]) for k in a]),
    }
    assert found.keys() == by_hand.keys() | {"ssim", "ssim_nothing"}
    for name, value in by_hand.items():
        assert found[name] == pytest.approx(value, rel=1e-6), name


def test_paired_metrics_of_a_generator_that_knows_the_truth_are_l1_0(paired: str) -> None:
    data = DataSet(paired)
    truth = stored(data, "train", 1)

    def know(x: Tensor, keys: Sequence[str]) -> Tensor:
        return torch.stack([torch.tensor(truth[k] * 2 - 1).permute(2, 0, 1).to(x) for k in keys])

    found = evaluate(Pairs(know), data, "train", image_size=SIDE)
    assert found["l1"] < 1e-7
    assert found["psnr"] == paired_metrics.CEILING
    assert found["l1_nothing"] > 1e-4


# ---------------------------------------------------------------- labelled


def test_accuracy_of_a_perfect_generator_is_1_where_doing_nothing_scores_0(coded_data: DataSet) -> None:
    found = evaluate(Fake(perfect), coded_data, "test", image_size=SIDE, classifier=Oracle())
    assert found["there_and_back"] < 1e-7
    for name in ("", *(f"/{n}" for n in NAMES)):
        assert found[f"accuracy{name}"] == 1, name
        assert found[f"accuracy_nothing{name}"] == 0, name
        assert found[f"accuracy_real{name}"] == 1, name


def test_accuracy_of_the_identity_is_that_of_doing_nothing(coded_data: DataSet) -> None:
    found = evaluate(Fake(identity), coded_data, "test", image_size=SIDE, classifier=Oracle())
    assert found["there_and_back"] == 0
    assert found["accuracy"] == found["accuracy_nothing"] == 0


def test_accuracy_switches_an_attribute_on_only_where_the_result_occurs(coded_data: DataSet) -> None:
    """Of 20 images of each combination: serif in plain and bold; bold in plain and serif; mono in plain alone
    (serif + mono and bold + mono do not occur). Real: labels that so come about."""
    found = measure(Fake(perfect), coded_data, "test", image_size=SIDE, classifier=Oracle())
    counts = {name: m.count for name, m in found.items() if "/" in name}
    assert counts == {
        "accuracy/serif": 40, "accuracy_nothing/serif": 40, "accuracy_real/serif": 40,
        "accuracy/bold": 40, "accuracy_nothing/bold": 40, "accuracy_real/bold": 40,
        "accuracy/mono": 20, "accuracy_nothing/mono": 20, "accuracy_real/mono": 20,
    }  # fmt: skip
    assert found["accuracy"].count == 100


def test_accuracy_needs_every_attribute_of_the_target(coded_data: DataSet) -> None:
    """A generator that always makes plain bold is right for the plain half of +bold, and never else."""
    found = evaluate(Fake(always_bold), coded_data, "test", image_size=SIDE, classifier=Oracle())
    assert found["accuracy/bold"] == 0.5
    assert found["accuracy/serif"] == found["accuracy/mono"] == 0
    assert found["accuracy"] == pytest.approx(20 / 100)


def test_classifier_attributes_are_matched_by_name(coded_data: DataSet) -> None:
    """A classifier with another order of attributes: what it calls serif is the last pixel."""
    found = evaluate(Fake(perfect), coded_data, "test", image_size=SIDE, classifier=Oracle(("mono", "bold", "serif")))
    assert found["accuracy/mono"] == 0
    with pytest.raises(ConfigError, match="'mono'"):
        evaluate(Fake(perfect), coded_data, "test", image_size=SIDE, classifier=Oracle(("serif", "bold")))


def test_accuracy_of_classes_has_each_as_a_target_for_all_others(tmp_path: Path) -> None:
    labels = [[int(i % 3 == k) for k in range(3)] for i in range(30)]
    folder = write_labelled(tmp_path / "c", [coded(c, i) for i, c in enumerate(labels)], labels, exclusive=True)
    found = measure(Fake(perfect, "classes"), DataSet(folder), "val", image_size=SIDE, classifier=Oracle())
    for name in NAMES:
        assert (found[f"accuracy/{name}"].value, found[f"accuracy/{name}"].count) == (1, 20)
        assert (found[f"accuracy_real/{name}"].value, found[f"accuracy_real/{name}"].count) == (1, 10)


def test_there_and_back_equals_numpy_by_hand(tmp_path: Path) -> None:
    """With two labels the other one is the target. The fake moves by 0.1 for bold, then by 0.3 for serif."""
    labels = [[1, 0, 0] if i % 3 else [0, 1, 0] for i in range(9)]
    images = [np.full((SIDE, SIDE, 1), 100, np.uint8) for _ in labels]
    data = DataSet(write_labelled(tmp_path / "d", images, labels))
    step = torch.tensor([0.3, 0.1, 0.0])
    found = evaluate(Fake(lambda x, c: x / 2 + (c @ step)[:, None, None, None]), data, "val", image_size=SIDE)
    x = 100 / 127.5 - 1
    errors = []
    for serif, bold, _ in labels:
        there = x / 2 + (0.1 if serif else 0.3)
        back = there / 2 + 0.3 * serif + 0.1 * bold
        errors.append(abs(back - x) / 2)
    assert found == {"there_and_back": pytest.approx(np.mean(errors), rel=1e-6)}


def test_split_labels_draw_another_label_that_occurs_by_the_key(coded_data: DataSet) -> None:
    labels = SplitLabels.of(Fake(perfect), coded_data, "test")
    c = torch.tensor(COMBINATIONS * 20, dtype=torch.uint8)
    keys = tuple(map(str, range(len(c))))
    possible, drawn = labels.others(c, keys)
    assert possible.all()
    assert (drawn != c).any(-1).all()
    assert {tuple(row) for row in drawn.tolist()} == set(COMBINATIONS)
    assert torch.equal(labels.others(c[7:9], keys[7:9])[1], drawn[7:9])


def test_split_labels_of_some_attributes_read_those_columns(coded_data: DataSet) -> None:
    """A method of bold alone: the source's other attributes are not its business."""
    fake = Fake(lambda x, c: torch.cat([x[..., :1, :1], c[:, None, None] * 2 - 1, x[..., :1, 2:]], -1))
    fake.config = StarGANConfig(attributes=("bold",), c_dim=1, columns=(1,), channels=1)
    found = measure(fake, coded_data, "test", image_size=SIDE, classifier=Oracle())
    assert found["accuracy/bold"].value == 1
    assert found["accuracy/bold"].count == 60


# ---------------------------------------------------------------- workers, samples, names


class Worker:
    """One of several that measure one after the other: what they found comes in another order than they have."""

    def __init__(self, rank: int, size: int, before: list[Any]) -> None:
        self.rank, self.size, self.before = rank, size, before

    def to_leader(self, value: Any) -> list[Any] | None:
        self.before.append(value)
        return [*reversed(self.before)] if len(self.before) == self.size else None

    def from_leader(self, value: Any) -> Any:
        return value


def by_workers(world: int, *arguments: Any, **options: Any) -> Result:
    """What `world` workers get together."""
    found: list[Any] = []
    suite = Suite(Asked(*arguments, **options))
    return [suite.together(Worker(rank, world, found)) for rank in range(world)][-1]


def measure(*arguments: Any, **options: Any) -> dict[str, Measured]:
    suite = Suite(Asked(*arguments, **options))
    return suite.result(suite.parts()).metrics


def test_suite_of_labelled_data_gives_equal_bits_for_any_number_of_workers(labelled: str) -> None:
    names = ("serif", "bold", "oblique", "mono")
    small = {"g_base": 4, "d_base": 4, "d_layers": 3, "blocks": 1, "n_critic": 1, "image_size": 16}
    method = build_method("stargan", channels=1, c_dim=4, attributes=names, columns=(0, 1, 2, 3), **small)
    classifier = Classifier(ClassifierInfo(names, False, 1, 16, "", 0))
    alone = evaluate(method, DataSet(labelled), "train", image_size=16, most=150, classifier=classifier)
    assert len(alone) == 16
    for world in (2, 3):
        found = by_workers(world, method, DataSet(labelled), "train", image_size=16, most=150, classifier=classifier)
        assert found.values == alone


@pytest.mark.parametrize(
    ("name", "sizes", "also"),
    [
        ("pix2pix", {"receptive_field": 16}, {"l1", "ssim"}),
        ("bicyclegan", {"e_base": 4, "d_layers": 1}, {"diversity", "l1_best", "l1_encoded", "latent"}),
    ],
)
def test_suite_of_paired_data_gives_equal_bits_for_any_number_of_workers(
    name: str, sizes: dict[str, int], also: set[str], paired: str
) -> None:
    method = build_method(name, image_size=16, g_base=4, d_base=4, **sizes)
    alone = evaluate(method, DataSet(paired), "train", image_size=16, most=100)
    assert also <= set(alone)
    for world in (2, 3):
        assert by_workers(world, method, DataSet(paired), "train", image_size=16, most=100).values == alone


def test_suite_of_unpaired_data_gives_equal_bits_and_order_for_any_number_of_workers(unpaired: str) -> None:
    options: dict[str, Any] = {"image_size": SIDE, "classifier": Brightness(), "most": 50}
    suite = Suite(Asked(FakeUnpaired(), DataSet(unpaired), "train", **options))
    alone = suite.result(suite.parts())
    assert len(alone.ranked) == 50
    for world in (2, 3):
        assert by_workers(world, FakeUnpaired(), DataSet(unpaired), "train", **options) == alone


def test_suite_measures_every_sample_once_whatever_the_workers(coded_data: DataSet) -> None:
    for world in (1, 2, 5):
        keys = [
            key
            for rank in range(world)
            for _, batch in chunks(Asked(Fake(perfect), coded_data, "test", SIDE), rank, world)
            for key in batch.keys
        ]
        assert sorted(keys) == [f"{i:04d}" for i in range(100)]


def test_suite_takes_the_first_most_samples(coded_data: DataSet) -> None:
    seen: list[int] = []
    suite = Suite(Asked(Fake(perfect), coded_data, "test", image_size=SIDE, most=40))
    found = suite.result(suite.parts(progress=seen.append))
    assert found.metrics["there_and_back"].count == 40
    assert seen == [32, 8]


def test_suite_leaves_out_an_unreadable_sample(tmp_path: Path) -> None:
    labels = [COMBINATIONS[i % 2] for i in range(10)]
    folder = Path(write_labelled(tmp_path / "d", [coded(c, i) for i, c in enumerate(labels)], labels))
    data = DataSet(str(folder))
    with (folder / "all.tar").open("r+b") as file:
        file.seek(int(whole_index(data, "val").offset[3, 0]))
        file.write(b"not an image")
    assert measure(Fake(perfect), data, "val", image_size=SIDE)["there_and_back"].count == 9


def test_suite_refuses_another_kind_of_data_and_unknown_attributes(paired: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="paired samples; expected labelled"):
        evaluate(Fake(perfect), DataSet(paired), "test", image_size=SIDE)
    folder = write_labelled(tmp_path / "d", [coded((0, 0, 0), 0)], [(0, 0, 0)], attributes=("serif", "bald", "mono"))
    with pytest.raises(DataError, match=r"'bold' among them(.|\n)*Did you mean bald"):
        evaluate(Fake(perfect), DataSet(folder), "test", image_size=SIDE)


def test_accuracy_of_images_made_of_noise_is_that_of_their_own_labels(coded_data: DataSet) -> None:
    """The oracle sees serif and mono where the label has them in every image, and bold in all or where it is."""
    labels = torch.tensor([COMBINATIONS[i % len(COMBINATIONS)] for i in range(100)])
    for function, bold in ((perfect, 1.0), (always_bold, labels[:, 1].double().mean().item())):
        method = FakeLabelledNoise(function)
        found = evaluate(method, coded_data, "test", image_size=SIDE, classifier=Oracle())
        assert found["accuracy/bold"] == pytest.approx(bold)
        right = 1.0 if function is perfect else 1 - labels[:, 0].double().mean().item()
        assert found["accuracy/serif"] == pytest.approx(right)
        assert {found[f"accuracy_real/{name}"] for name in NAMES} == {1.0}
    assert set(evaluate(method, coded_data, "test", image_size=SIDE)) == {"diversity"}, "no classifier"


def test_accuracy_of_classes_made_of_noise_is_by_class(tmp_path: Path) -> None:
    labels = [tuple(int(i % 3 == k) for k in range(3)) for i in range(12)]
    images = [coded(label, i) for i, label in enumerate(labels)]
    data = DataSet(write_labelled(tmp_path / "d", images, labels, exclusive=True))
    method = FakeLabelledNoise(lambda x, c: perfect(x, torch.tensor([[1.0, 0, 0]]).expand(len(x), 3)), "classes")
    found = evaluate(method, data, "test", image_size=SIDE, classifier=Oracle())
    assert [found[f"accuracy/{name}"] for name in NAMES] == [1.0, 0.0, 0.0]
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["accuracy_real"] == 1


def test_metric_has_a_direction_and_a_definition(coded_data: DataSet, paired: str, unpaired: str) -> None:
    found = list(evaluate(Fake(perfect), coded_data, "test", image_size=SIDE, classifier=Oracle()))
    found += list(evaluate(Pairs(lambda x, keys: x), DataSet(paired), "test", image_size=SIDE))
    found += list(evaluate(FakeCodes(0.1), DataSet(paired), "test", image_size=SIDE))
    found += list(evaluate(FakeUnpaired(), DataSet(unpaired), "test", image_size=SIDE, classifier=Brightness()))
    assert {name.split("/")[0] for name in found} == set(FAMILIES["basic"].metrics)
    assert set(DEFINITIONS) == set(BETTER) == {name for entry in FAMILIES.values() for name in entry.metrics}
    assert len(BETTER) == sum(len(entry.metrics) for entry in FAMILIES.values()), "no name stands for two metrics"
    assert BETTER["accuracy/bold"] == "higher"
    assert BETTER["l1"] == "lower"
    assert {default_metric(entry.method) for entry in METHODS.values()} <= {*found, ""}
    with pytest.raises(ConfigError, match="accuracy"):
        BETTER["acuracy"]
    with pytest.raises(ConfigError, match="l1"):
        BETTER["l2/bold"]


def test_report_holds_every_value_with_its_definition(coded_data: DataSet) -> None:
    suite = Suite(Asked(Fake(always_bold), coded_data, "test", image_size=SIDE, classifier=Oracle()))
    found = suite.result(suite.parts())
    values = json.loads(as_json(suite, found, {"data": "here"}))
    assert values["data"] == "here"
    assert values["classifier"]["attributes"] == list(NAMES)
    bold = values["metrics"]["accuracy/bold"]
    assert (bold["value"], bold["images"], bold["better"]) == (0.5, 40, "higher")
    assert bold["definition"] == DEFINITIONS["accuracy"]
    head, *lines = (line.split() for line in table(found.metrics).splitlines())
    assert head == ["metric", "doing", "nothing", "translated", "real", "images", "better"]
    assert ["accuracy/bold", "0.0000", "0.5000", "1.0000", "40", "higher"] in lines
    (back,) = (line for line in lines if line[0] == "there_and_back")
    assert (back[1], back[3:]) == ("0", ["100", "lower"])
    assert ["no", "better", "than", "doing", "nothing:", "accuracy/serif,", "accuracy/mono"] in lines


def test_report_says_what_was_not_measured_and_why(coded_data: DataSet) -> None:
    suite = Suite(Asked(Fake(always_bold), coded_data, "test", image_size=SIDE))
    found = suite.result(suite.parts())
    why = json.loads(as_json(suite, found, {}))["not_measured"]
    assert "--train-classifier" in why["accuracy"] == why["accuracy_nothing"] == why["accuracy_real"]
    assert why["there_and_back_nothing"].startswith("0 by definition")
    assert why["lpips"] == "needs pairs, whose truth is known, for lpips; found labelled samples"
    assert why["inception"] == "not asked for: --metrics inception"
    assert set(found.metrics).isdisjoint(why)
    lines = unmeasured(why)
    assert f"not measured: accuracy, accuracy_nothing, accuracy_real: {why['accuracy']}" in lines
    assert lines[-2:] == [
        "not for this method or data: lpips, efficientnet_pairs, fcn, colour (--out FILE.json has the reasons)",
        "not asked for: --metrics inception efficientnet",
    ]
    assert "there_and_back" not in " ".join(lines)


def test_report_shows_the_beginning_of_a_long_reason_and_names_the_file_with_the_rest() -> None:
    reason = "no key has a twin " + "for many reasons " * 20
    (line,) = unmeasured({"twin": reason, "twin_nothing": reason})
    assert line.startswith("not measured: twin, twin_nothing: no key has a twin for many reasons for")
    assert line.endswith("many reasons for ... (--out FILE.json has the rest)")
    assert len(line) < 200
    assert unmeasured({"twin": "x" * 10_000, "lpips": "needs pairs"}, "m.json") == [
        f"not measured: twin: {'x' * MOST_REASON} ... (m.json has the rest)",
        "not for this method or data: lpips (m.json has the reasons)",
    ]


@pytest.mark.parametrize(
    ("most", "said"), [(12, ["measured on 12 images only, where one image is 8% of a share"]), (0, [])]
)
def test_report_warns_where_images_are_few(most: int, said: list[str], coded_data: DataSet) -> None:
    suite = Suite(Asked(Fake(always_bold), coded_data, "test", image_size=SIDE, most=most))
    found = suite.result(suite.parts())
    assert (found.metrics["there_and_back"].count >= 50) == (not said)
    warnings = json.loads(as_json(suite, found, {}))["warnings"]
    assert [line.partition(":")[0] for line in warnings if "images only" in line] == said


def test_report_names_each_metric_of_a_family_as_found_or_not(paired: str, unpaired: str) -> None:
    for data, method in ((paired, Pairs(lambda x, keys: x)), (unpaired, FakeUnpaired())):
        suite = Suite(Asked(method, DataSet(data), "test", image_size=SIDE))
        found = suite.result(suite.parts()).metrics
        named = {name.split("/")[0] for name in found} | set(suite.not_measured(found))
        assert set(suite.basic.metrics) <= named
        for name in suite.basic.metrics:
            base = name.removesuffix("_nothing").removesuffix("_real")
            assert base == "in_target" or f"{base}_nothing" in named, "doing nothing stands beside it, or why not"


# ---------------------------------------------------------------- classifier


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Easy labels: a dark bar on the left (serif), at the top (bold), on a noisy image."""
    rng = np.random.default_rng(1)
    labels = [(i & 1, i >> 1 & 1, 0) for i in range(200)]
    images = []
    for serif, bold, _ in labels:
        x = rng.integers(128, 256, (SIDE, SIDE, 1), dtype=np.uint8)
        x[:, :5] //= 1 + 7 * serif
        x[:5] //= 1 + 7 * bold
        images.append(x)
    return DataSet(write_labelled(tmp_path_factory.mktemp("stripes") / "data", images, labels))


def test_classifier_learns(stripes: DataSet) -> None:
    assert train_classifier(stripes, image_size=SIDE, seen=2000).info.accuracy > 0.95


def test_classifier_says_how_often_it_is_right_on_held_out_images(coded_data: DataSet) -> None:
    """One that has hardly learnt: right on some attributes of some images."""
    classifier = train_classifier(coded_data, image_size=SIDE, seen=256)
    info = classifier.info
    assert (info.held_out, info.held_out_images) == ("val", 100)
    batches = [batch for _, batch in chunks(Asked(Fake(perfect), coded_data, "val", SIDE))]
    right = torch.cat([classifier.judge(b["image"]) == b["labels"].bool() for b in batches]).numpy()
    assert right.all(1).mean() < right.any(1).mean()
    assert info.accuracy == pytest.approx(right.all(1).mean())
    assert info.accuracies == pytest.approx(tuple(right.mean(0)))


def test_classifier_of_a_seed_is_the_same_and_leaves_global_randomness_alone(stripes: DataSet) -> None:
    made = []
    for state, seed in ((5, 0), (6, 0), (6, 1)):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        made.append(train_classifier(stripes, image_size=SIDE, seen=256, seed=seed))
        assert torch.equal(torch.get_rng_state(), before)
    x = torch.rand(4, 1, SIDE, SIDE)
    one, two, other = (classifier(x) for classifier in made)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_classifier_judges_the_same_after_it_was_saved(stripes: DataSet, tmp_path: Path) -> None:
    classifier = train_classifier(stripes, image_size=SIDE, seen=256)
    path = str(tmp_path / "deep" / "judge.safetensors")
    save_classifier(classifier, path)
    loaded = load_classifier(path)
    assert loaded.info == classifier.info
    x = torch.rand(9, 1, 40, 24) * 2 - 1
    assert torch.equal(loaded(x), classifier(x))
    assert loaded.fits(stripes, SIDE)
    assert not loaded.fits(stripes, 2 * SIDE)


@pytest.mark.parametrize(("size", "judged"), [(16, 16), (31, 16), (32, 32), (64, 64), (128, 64), (100, 64)])
def test_classifier_judges_at_whole_patches(size: int, judged: int) -> None:
    assert judged_size(size) == judged
    classifier = Classifier(ClassifierInfo(("a", "b"), False, 5, judged, "", 0))
    assert classifier.judge(torch.rand(2, 5, size, size)).shape == (2, 2)


def test_classifier_of_classes_sees_exactly_one() -> None:
    x = torch.rand(50, 3, SIDE, SIDE) * 2 - 1
    classes = Classifier(ClassifierInfo(("a", "b", "c"), True, 3, 16, "", 0))
    assert (classes.judge(x).sum(1) == 1).all()
    assert torch.equal(classes.judge(x).int().argmax(1), classes(x).argmax(1))


def test_classifier_learns_classes_with_cross_entropy(tmp_path: Path) -> None:
    """Three grey levels; one of them always the only class."""
    labels = [[int(i % 3 == k) for k in range(3)] for i in range(90)]
    rng = np.random.default_rng(0)
    images = [rng.integers(c.index(1) * 85, c.index(1) * 85 + 80, (SIDE, SIDE, 1), dtype=np.uint8) for c in labels]
    data = DataSet(write_labelled(tmp_path / "d", images, labels, exclusive=True))
    assert train_classifier(data, image_size=SIDE, seen=1500).info.accuracy > 0.95


def test_classifier_refuses_what_it_cannot_judge(paired: str, tmp_path: Path) -> None:
    classifier = Classifier(ClassifierInfo(("serif",), False, 3, 16, "", 0))
    with pytest.raises(ConfigError, match="images of 1 channels; expected 3"):
        classifier.judge(torch.zeros(1, 1, 16, 16))
    with pytest.raises(ConfigError, match="knows 'bold'"):
        classifier.columns(["serif", "bold"])
    with pytest.raises(ConfigError, match="images of 15 px"):
        judged_size(15)
    with pytest.raises(DataError, match="paired samples; expected labelled"):
        train_classifier(DataSet(paired), image_size=16)
    with pytest.raises(ConfigError, match="a saved classifier"):
        load_classifier(str(tmp_path / "none"))
    (tmp_path / "x").write_text("text")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ConfigError, match="found no 'attributes'"):
        load_classifier(str(tmp_path / "x"))


# ---------------------------------------------------------------- images and sheets


@pytest.mark.parametrize(("dtype", "kind"), [("uint8", torch.uint8), ("uint16", torch.uint16)])
def test_to_array_gives_back_stored_values_through_the_networks_range(dtype: str, kind: torch.dtype) -> None:
    every = np.arange(np.iinfo(dtype).max + 1).astype(dtype).reshape(1, -1, 16)
    assert np.array_equal(to_array(scaled(torch.from_numpy(every)), dtype)[..., 0], every[0])


@pytest.mark.parametrize(
    ("channels", "dtype", "ending"),
    [(1, "uint8", "png"), (3, "uint8", "png"), (4, "uint8", "png"), (5, "uint8", "npy"),
     (1, "uint16", "png"), (3, "uint16", "npy"), (3, "float32", "npy")],
)  # fmt: skip
def test_to_bytes_writes_files_that_hold_what_was_made(channels: int, dtype: str, ending: str) -> None:
    x = torch.rand(channels, 6, 9, generator=torch.Generator().manual_seed(0)) * 2 - 1
    data, found = to_bytes(x, dtype)
    assert found == ending
    read = decode(data, ending)
    assert (read.shape, str(read.dtype)) == ((6, 9, channels), dtype)
    by_hand = x.numpy().astype(np.float64).transpose(1, 2, 0)
    if dtype != "float32":
        by_hand = np.rint((by_hand + 1) / 2 * np.iinfo(dtype).max)
    assert np.array_equal(read, by_hand.astype(dtype))


def test_to_array_clips_values_outside_the_range() -> None:
    assert to_array(torch.tensor([[[-3.0, 3.0]]])).ravel().tolist() == [0, 255]


def test_contact_sheet_enlarges_small_images_by_a_whole_factor() -> None:
    x = torch.rand(3, 3, 16, 16) * 2 - 1
    sheet = np.asarray(contact_sheet({"source": torch.zeros(3, 1, 16, 16), "made": x}))
    factor = LEAST_CELL // 16
    cell = 16 * factor
    for row in range(3):
        bottom = sheet.shape[0] - GAP - (2 - row) * (cell + GAP)
        shown = sheet[bottom - cell : bottom, -GAP - cell : -GAP]
        assert np.array_equal(shown, to_array(x[row]).repeat(factor, 0).repeat(factor, 1))


def test_contact_sheet_has_a_legible_title_over_each_column() -> None:
    x = torch.ones(1, 1, 32, 32)
    plain = np.asarray(contact_sheet({"": x, " ": x}))
    sheet = np.asarray(contact_sheet({"The source": x, "translation +bold": x}))
    head = sheet.shape[0] - 96 - GAP
    half = sheet.shape[1] // 2
    for part in (sheet[:head, :half], sheet[:head, half:]):
        rows = np.flatnonzero((part < 60).all(-1).any(1))
        assert np.ptp(rows) >= 10, "capitals at least 11 pixels tall"
    assert not (plain[: plain.shape[0] - 96 - GAP] < 60).any()


def test_contact_sheet_shows_names_escaped_and_bounded() -> None:
    x = torch.full((1, 1, 96, 96), -1.0)
    hostile, long = "a\x1b\udcff\u202e", "W" * 100_000
    shown = contact_sheet({hostile: x}, rows=[hostile])
    assert png_bytes(shown) == png_bytes(contact_sheet({printable(hostile): x}, rows=[printable(hostile)]))
    width, height = contact_sheet({long: x, f"{'b ' * 10_000}": x}, rows=[long]).size
    assert max(width, height) < 1000


def test_contact_sheet_reduces_large_images_and_takes_gaps_and_mixed_sizes() -> None:
    large = torch.zeros(2, 3, 1200, 600)
    assert contact_sheet({"a": large}).size[0] < 300
    sheet = contact_sheet({"a": [torch.zeros(1, 20, 30), None], "b": [torch.zeros(4, 30, 20), torch.zeros(2, 9, 9)]})
    assert png_bytes(sheet) == png_bytes(sheet)
    assert sheet.size[1] > 2 * 90


def test_contact_sheet_fits_every_row_into_cells_of_one_size() -> None:
    """Side by side at one scale, whatever the row's own size; each keeps its shape, and no row is higher than it is."""
    shapes = [(600, 800), (32, 32), (900, 300), (16, 240)]
    column = [torch.full((3, *shape), -1.0) for shape in shapes]
    half = [torch.full((3, shape[0] // 2, shape[1] // 2), -1.0) for shape in shapes]
    sheet = np.asarray(contact_sheet({"": column, " ": half, "  ": [column[0], None, None, None]}))
    first, second = ((sheet[:, GAP + k * (512 + GAP) :][:, :512] == 0).all(-1) for k in (0, 1))
    heights = [384, 512, 512, 32]
    top = sheet.shape[0] - sum(heights) - GAP * len(heights)
    for height, width in zip(heights, (512, 512, 171, 480), strict=True):
        for shown, share in ((first, 1), (second, 2)):
            rows, columns = (shown[top : top + height].any(axis) for axis in (1, 0))
            assert (rows.sum(), columns.sum()) == pytest.approx((height / share, width / share), abs=1)
        top += height + GAP


# ---------------------------------------------------------------- structural similarity, codes, unpaired domains


@pytest.mark.parametrize("shape", [(3, 3, 16, 16), (2, 1, 6, 40)])
def test_ssim_is_that_of_torchmetrics(shape: tuple[int, ...]) -> None:
    noise = torch.Generator().manual_seed(1)
    x, y = (torch.rand(shape, generator=noise, dtype=torch.float64) * 2 - 1 for _ in range(2))
    y[0] = 0.9 * x[0]
    found = structural_similarity_index_measure((x + 1) / 2, (y + 1) / 2, data_range=1.0, reduction="none")
    assert paired_metrics.ssim(x, y) == pytest.approx(found.tolist(), abs=1e-12)


def test_ssim_of_equal_and_of_shifted_images_by_hand() -> None:
    """Of constant images the variance terms are 1, and what is left is the luminance term."""
    x = torch.full((1, 1, 24, 24), 0.2)
    y = torch.full((1, 1, 24, 24), -0.6)
    a, b, c1 = 0.6, 0.2, 0.01**2
    assert paired_metrics.ssim(x, x) == [pytest.approx(1.0)]
    assert paired_metrics.ssim(x, y)[0] == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), abs=1e-6)


def test_diversity_of_codes_that_do_nothing_is_0_and_of_others_what_they_change(paired: str) -> None:
    """Codes go 0, 1, 2, 0, 1, ...: of 19 neighbouring pairs 13 are 1 apart and 6 are 2 apart."""
    data = DataSet(paired)
    still = evaluate(FakeCodes(1e-9), data, "test", image_size=SIDE)
    assert still["diversity"] == pytest.approx(0, abs=1e-8)
    found = evaluate(FakeCodes(0.1), data, "test", image_size=SIDE)
    assert found["diversity"] == pytest.approx(0.1 / 2 * (13 * 1 + 6 * 2) / 19, rel=1e-5)
    a, b = stored(data, "test", 0), stored(data, "test", 1)
    best = [min(np.abs(a[k] + 0.05 * z - b[k]).mean() for z in range(3)) for k in a]
    assert found["l1_best"] == pytest.approx(np.mean(best[:100]), rel=1e-5)
    encoded = [np.abs(a[k] + (b[k] - 0.5).mean() - b[k]).mean() for k in a]
    assert found["l1_encoded"] == pytest.approx(np.mean(encoded), rel=1e-5)
    latent = [abs((a[k] * 2 - 1).mean() / 0.1) for k in a]
    assert found["latent"] == pytest.approx(np.mean(latent), rel=1e-4)


def test_unpaired_metrics_equal_numpy_there_and_back_and_by_a_classifier(unpaired: str) -> None:
    data = DataSet(unpaired)
    a, b = (stored_domain(data, domain) for domain in "AB")
    level = float(np.median([2 * x.mean() - 1 for x in a.values()])) + 0.15  # so that 0.2 more lifts some above it
    found = evaluate(FakeUnpaired(), data, "test", image_size=SIDE, classifier=Brightness(level))
    assert found["change"] == pytest.approx(0.1, abs=1e-6)
    assert found["cycle"] == pytest.approx(0.05, abs=1e-6)
    twin = [np.abs(a[k] + 0.1 - b[k]).mean() for k in a]
    assert found["twin"] == pytest.approx(np.mean(twin), rel=1e-5)
    assert found["twin_nothing"] == pytest.approx(np.mean([np.abs(a[k] - b[k]).mean() for k in a]), rel=1e-5)

    def bright(images: dict[str, np.ndarray], more: float) -> float:
        return float(np.mean([2 * x.mean() - 1 + more > level for x in images.values()]))

    assert 0 < bright(a, 0.2) < 1
    assert found["in_target/there"] == pytest.approx(bright(a, 0.2))
    assert found["in_target_nothing/there"] == pytest.approx(bright(a, 0))
    assert found["in_target_real/there"] == pytest.approx(bright(b, 0))
    assert found["in_target/back"] == pytest.approx(1 - bright(b, -0.1))
    assert found["in_target"] == pytest.approx((found["in_target/there"] + found["in_target/back"]) / 2)
    other = evaluate(FakeUnpaired(), data, "test", image_size=SIDE, classifier=Brightness(level), direction="BtoA")
    assert other["in_target_nothing/there"] == pytest.approx(1 - bright(b, 0))


def test_twins_leave_out_an_unreadable_one(unpaired: str) -> None:
    data = DataSet(unpaired)
    twins = Twins(data, "test", "B", SIDE, Resizing())
    keys = tuple(data.rows("test", "A").keys()[:3])
    assert twins.of(keys)[0] == [0, 1, 2]
    right, lost = twins.reader.read, twins.rows[keys[1].split("-")[0]]
    twins.reader.read = lambda rows, field: [b"no image"] if lost in rows else right(rows, field)  # type: ignore
    assert twins.of(keys)[0] == [0, 2]


def stored_domain(data: DataSet, domain: str) -> dict[str, np.ndarray]:
    """Every image of a domain by its character."""
    reader = Reader(data, "test", domain)
    rows = range(len(reader.rows))
    opened = [Image.open(io.BytesIO(x)) for x in reader.read(list(rows), 0)]
    return {
        reader.key(i).split("-")[0]: np.asarray(im, np.float64)[None] / 255 for i, im in zip(rows, opened, strict=True)
    }


def test_classifier_of_two_domains_tells_them_apart(unpaired: str) -> None:
    """Regular against bold glyphs, held-out characters."""
    trained = train_classifier(DataSet(unpaired), image_size=SIDE, seen=6_000)
    assert trained.info.attributes == ("A", "B")
    assert trained.info.exclusive
    assert trained.info.accuracy > 0.8
