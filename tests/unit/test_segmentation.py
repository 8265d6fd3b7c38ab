"""Label images against what is seen in photos: by hand, with known answers, and with torchvision's networks.

pytest tests/unit/test_segmentation.py
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import segmentation as architectures

from i2i_core.config.evaluation import EvaluationConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.errors import ConfigError, DataError
from i2i_core.evaluation.families import segmentation
from i2i_core.evaluation.families.segmentation import build, confusion, scores
from i2i_core.evaluation.judges.palettes import CITYSCAPES, cityscapes, read_palette
from i2i_core.evaluation.samples import Asked, Measured
from i2i_core.pretrained.segmentation import ARCHITECTURES, MEAN, STD, Segmenter, read_network

from ..support.pairs import maker, measured, parts_of, range_of, write_pairs

SIDE = 24
COLOURS = np.array(list(CITYSCAPES.values()), np.uint8)
VOID = (0, 0, 0)
LRASPP = "lraspp_mobilenet_v3_large"


def label_images(n: int, seed: int, classes: int = 5) -> tuple[list[np.ndarray], np.ndarray]:
    """Blocks of 4 pixels of random classes, some of them void: images, and (n, SIDE, SIDE) classes, 19 for void."""
    drawn = np.random.default_rng(seed).integers(0, classes + 1, (n, SIDE // 4, SIDE // 4))
    drawn = np.where(drawn == classes, 19, drawn).repeat(4, 1).repeat(4, 2)
    return list(np.concatenate([COLOURS, [VOID]]).astype(np.uint8)[drawn]), drawn


def photos(n: int, seed: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8))


def by_hand(true: np.ndarray, seen: np.ndarray, k: int = 19) -> dict[str, float]:
    """Sets of pixels, class by class."""
    seen, true = seen[true < k], true[true < k]
    occurring = [c for c in range(k) if (true == c).any()]
    accuracy = [(seen[true == c] == c).mean() for c in occurring]
    iou = [((true == c) & (seen == c)).sum() / ((true == c) | (seen == c)).sum() for c in occurring]
    found = {"pixel_accuracy": (true == seen).mean(), "class_accuracy": np.mean(accuracy), "class_iou": np.mean(iou)}
    return {name: float(value) for name, value in found.items()}


def values(found: dict[str, Measured], name: str) -> dict[str, float]:
    return {key.removeprefix(f"{name}/"): m.value for key, m in found.items() if key.startswith(f"{name}/")}


@pytest.fixture(scope="module")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network of 19 classes that has learnt nothing, as torch saves one."""
    path = tmp_path_factory.mktemp("networks") / "net.pth"
    torch.save(random_network(19).state_dict(), path)
    return str(path)


def random_network(classes: int) -> nn.Module:
    """Random weights, set up so that the classes it sees in noise vary."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = architectures.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
    x = range_of(photos(8, 7))
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        network.train()(x)
        network.classifier.low_classifier.bias -= network.eval()(x)["out"].mean((0, 2, 3))
    return network


# ---------------------------------------------------------------- the numbers


def test_scores_of_four_pixels_by_hand() -> None:
    """Two classes, and a third that is seen once and never true; one true pixel is ignored."""
    true, seen = np.array([[[0, 0, 1, 1, 3]]]), np.array([[[0, 1, 1, 2, 0]]])
    table = confusion(true, seen, 3)
    assert table.tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert scores(table) == {
        "pixel_accuracy": 2 / 4,
        "class_accuracy": (1 / 2 + 1 / 2) / 2,
        "class_iou": (1 / 2 + 1 / 3) / 2,
    }


def test_scores_count_a_pixel_seen_as_an_ignored_class_as_wrong() -> None:
    table = confusion(np.array([[[0, 0, 1, 1]]]), np.array([[[0, 2, 1, 1]]]), 2)
    assert scores(table) == {"pixel_accuracy": 3 / 4, "class_accuracy": 3 / 4, "class_iou": 3 / 4}


def test_scores_of_random_classes_equal_sets_of_pixels() -> None:
    true, seen = np.random.default_rng(3).integers(0, 8, (2, 3, 20, 20))
    assert scores(confusion(true, seen, 7)) == pytest.approx(by_hand(true, seen, 7), rel=1e-12)


def test_palette_gives_the_class_of_the_nearest_colour_and_exact_distances() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (1, 9, 11, 3))
    palette = cityscapes()
    listed = np.array([c.color for c in palette.classes])
    squares = ((colours[..., None, :] - listed) ** 2).sum(-1)
    which, distance = palette.nearest(range_of(list(colours.astype(np.uint8))))
    assert np.array_equal(distance, squares.min(-1))
    assert np.array_equal(which, np.minimum(squares.argmin(-1), 19))


def test_palette_of_cityscapes_has_the_train_ids() -> None:
    names = cityscapes().names
    assert len(names) == 19
    assert [names.index(name) for name in ("road", "sky", "person", "car", "bicycle")] == [0, 10, 11, 13, 18]


# ---------------------------------------------------------------- photo -> label


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_fcn_compares_labels_made_of_photos_by_colour(tmp_path: Path, direction: Any) -> None:
    labels, true = label_images(40, 0)
    made, seen = label_images(40, 1)
    near = [np.clip(x.astype(int) + 5, 0, 255).astype(np.uint8) for x in made]  # no longer the very colours
    pair = (photos(40, 2), labels) if direction == "AtoB" else (labels, photos(40, 2))
    asked = Asked(maker(near), write_pairs(tmp_path / "d", *pair), "test", SIDE, direction)
    family = build(asked)
    found = family.result(parts_of(family, asked))
    assert values(found, "fcn") == pytest.approx(by_hand(true, seen), rel=1e-12)
    taken = cityscapes().nearest(range_of(photos(40, 2)))[0]
    assert values(found, "fcn_nothing") == pytest.approx(by_hand(true, taken), rel=1e-12)
    assert "right by definition" in family.absent()["fcn_real"]
    assert {m.count for m in found.values()} == {40}
    assert found["fcn_pixels"].value == (true < 19).sum()
    names = list(CITYSCAPES)[:5]
    ious = [(m.value, name) for name, m in found.items() if name.startswith("fcn_iou/")]
    assert [name for _, name in ious] == [f"fcn_iou/{name}" for name in names]
    assert np.mean([value for value, _ in ious]) == pytest.approx(found["fcn/class_iou"].value, rel=1e-12)
    road = (true == 0, (seen == 0) & (true < 19))
    assert found["fcn_iou/road"].value == (road[0] & road[1]).sum() / (road[0] | road[1]).sum()
    assert {name.split("/")[0] for name in found} <= set(family.metrics)
    assert family.facts()["labels"] == ("b" if direction == "AtoB" else "a")


def test_fcn_of_the_truth_is_1_and_of_what_is_wrong_everywhere_0(tmp_path: Path) -> None:
    labels, true = label_images(3, 0)
    data = write_pairs(tmp_path / "d", photos(3, 1), labels)
    assert set(values(measured(build, Asked(maker(labels), data, "test", SIDE)), "fcn").values()) == {1.0}
    wrong = list(COLOURS[(true + 1) % 19])
    assert set(values(measured(build, Asked(maker(wrong), data, "test", SIDE)), "fcn").values()) == {0.0}


def test_fcn_has_no_score_where_every_pixel_is_ignored(tmp_path: Path) -> None:
    void = [np.zeros((SIDE, SIDE, 3), np.uint8)] * 2
    data = write_pairs(tmp_path / "d", photos(2, 0), void)
    assert measured(build, Asked(maker(void), data, "test", SIDE)) == {}


# ---------------------------------------------------------------- label -> photo


def test_fcn_reads_photos_made_of_labels_by_the_network(tmp_path: Path, network_file: str) -> None:
    """Against the network called by hand; the real photos too."""
    labels, true = label_images(34, 0)
    real, made = photos(34, 1), photos(34, 2)
    network = random_network(19)

    def seen(images: list[np.ndarray]) -> np.ndarray:
        x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255
        mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
        with torch.no_grad():
            return network((x - mean) / std)["out"].argmax(1).numpy()

    data, judging = write_pairs(tmp_path / "d", labels, real), EvaluationConfig(segmentation=network_file)
    asked = Asked(maker(made), data, "test", SIDE, judging=judging)
    family = build(asked)
    found = family.result(parts_of(family, asked))
    assert len(np.unique(seen(made))) > 2, "a network that sees one class everywhere tests nothing"
    assert values(found, "fcn") == pytest.approx(by_hand(true, seen(made)), abs=2e-4)
    assert values(found, "fcn_nothing") == pytest.approx(by_hand(true, seen(labels)), abs=2e-4)
    assert values(found, "fcn_real") == pytest.approx(by_hand(true, seen(real)), abs=2e-4)
    assert values(found, "fcn") != values(found, "fcn_real")
    assert family.result(parts_of(build(asked), asked, 2)) == found
    facts = family.facts()
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["network"]["network"], facts["network"]["classes"]) == (LRASPP, 19)
    assert len(facts["network"]["sha256"]) == 64


class Brightest(nn.Module):
    """A network whose classes are the three channels, by the value of the pixel before normalisation."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.size = tuple(x.shape[-2:])
        return {"out": x * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]}


def test_segmenter_gets_photos_normalised_and_at_the_height_asked_for() -> None:
    x = range_of(photos(3, 0))[..., :12]
    brightest = Brightest()
    assert np.array_equal(Segmenter(brightest, np.arange(3))(x), x.argmax(1).numpy())
    assert brightest.size == (SIDE, 12)
    halves = torch.where(torch.arange(12) < 6, 1.0, -1.0).expand(1, 1, SIDE, 12)
    x = torch.cat([halves, -halves, -torch.ones_like(halves)], 1)
    assert np.array_equal(Segmenter(brightest, np.array([5, 6, 7]), 4 * SIDE)(x), x.argmax(1).numpy() + 5)
    assert brightest.size == (4 * SIDE, 48)


def test_segmenter_outputs_are_the_classes_that_count_or_all(tmp_path: Path) -> None:
    classes = [{"name": n, "color": [i, 0, 0], "ignore": n == "none"} for i, n in enumerate(["none", "cat", "dog"])]
    (tmp_path / "p.json").write_text(json.dumps({"classes": classes}))
    palette = read_palette(str(tmp_path / "p.json"))
    assert segmentation._numbers(2, palette).tolist() == [0, 1]
    assert segmentation._numbers(3, palette).tolist() == [2, 0, 1]
    with pytest.raises(ConfigError, match=r"a network of 4 classes; expected 2, one for each(.|\n)*or 3"):
        segmentation._numbers(4, palette)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_read_network_tells_the_architecture_by_the_state(name: str, tmp_path: Path) -> None:
    """With the auxiliary head that training has, as torchvision's reference script saves it, and as DDP names it."""
    options: dict[str, Any] = {} if name == LRASPP else {"aux_loss": True}
    with torch.device("meta"):
        network = getattr(architectures, name)(weights=None, weights_backbone=None, num_classes=7, **options)
    zeros = {f"module.{key}": torch.zeros((), dtype=x.dtype).expand(x.shape) for key, x in network.state_dict().items()}
    torch.save({"model": zeros, "epoch": 3, "args": argparse.Namespace(lr=0.01)}, tmp_path / "net.pth")
    found, about = read_network(str(tmp_path / "net.pth"))
    assert (about["network"], about["classes"]) == (name, 7)
    assert not found.training
    assert not any(x.is_meta for x in (*found.parameters(), *found.buffers()))


def test_read_network_takes_safetensors(tmp_path: Path) -> None:
    save_file(random_network(3).state_dict(), tmp_path / "net.safetensors")
    assert read_network(str(tmp_path / "net.safetensors"))[1]["classes"] == 3


def test_read_network_refuses_files_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--segmentation: found no file"):
        read_network(str(tmp_path / "none.pth"))
    (tmp_path / "text.pth").write_text("text")
    (tmp_path / "text.safetensors").write_text("text")
    torch.save(Path("code, not tensors"), tmp_path / "code.pth")
    for name in ("text.pth", "text.safetensors", "code.pth"):
        with pytest.raises(ConfigError, match="cannot be read as tensors alone"):
            read_network(str(tmp_path / name))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ConfigError, match="which is no state"):
        read_network(str(tmp_path / "list.pth"))
    torch.save({"classifier.4.weight": torch.zeros(3, 8, 1, 1), "x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"a state of 2 tensors(.|\n)*one of fcn_resnet50"):
        read_network(str(tmp_path / "other.pth"))


# ---------------------------------------------------------------- palettes and sides


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "JSON of another form"),
        ('{"classes": [], "more": 1}', "JSON of another form"),
        ('{"classes": [{"name": "a"}]}', "name and color"),
        ('{"classes": [{"name": "a", "color": [1, 2]}]}', "three whole numbers"),
        ('{"classes": [{"name": "a", "color": [1, 2, 256]}]}', "three whole numbers"),
        ('{"classes": [{"name": "a", "color": [1, 2, 0.5]}]}', "0.5"),
        ('{"classes": [{"name": "a", "color": [1, 2, 3], "ignored": true}]}', "Did you mean ignore"),
        ('{"classes": [{"name": "a", "color": [1, 2, 3]}, {"name": "a", "color": [1, 2, 4]}]}', "name 'a' twice"),
        ('{"classes": [{"name": "a", "color": [1, 2, 3]}, {"name": "b", "color": [1, 2, 3]}]}', "color .* twice"),
        ('{"classes": [{"name": "a", "color": [1, 2, 3]}]}', "1 classes that are not ignored"),
    ],
)
def test_read_palette_refuses_another_form(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_palette(str(tmp_path / "p.json"))


def test_read_palette_refuses_a_missing_file() -> None:
    with pytest.raises(ConfigError, match="--palette: found no file cityscape;"):
        read_palette("cityscape")


def ask(data: DataSet, **judging: Any) -> Asked:
    return Asked(maker([]), data, "test", SIDE, judging=EvaluationConfig(**judging))


def test_label_side_is_the_one_near_the_palette_or_the_one_named(tmp_path: Path, network_file: str) -> None:
    labels, _ = label_images(9, 0)
    both, neither = write_pairs(tmp_path / "2", labels, labels), write_pairs(tmp_path / "0", photos(9, 0), photos(9, 1))
    grey = [x[..., :1] for x in labels]
    with pytest.raises(ConfigError, match=r"--label-side auto: found both: 100%(.|\n)*--label-side a, or b"):
        build(ask(both))
    with pytest.raises(ConfigError, match="--label-side auto: found neither"):
        build(ask(neither))
    assert build(ask(neither, label_side="b")).labels == "b"
    assert build(ask(neither, label_side="a", segmentation=network_file)).labels == "a"
    assert build(ask(write_pairs(tmp_path / "g", grey, labels))).labels == "b"
    with pytest.raises(ConfigError, match="--label-side: found a, of 1 channels"):
        build(ask(DataSet(str(tmp_path / "g")), label_side="a"))


def test_label_side_tells_label_images_that_jpeg_has_blurred(tmp_path: Path) -> None:
    labels, _ = label_images(9, 0)
    noise = np.random.default_rng(1).integers(-10, 11, (9, SIDE, SIDE, 3))
    blurred = [np.clip(x.astype(int) + e, 0, 255).astype(np.uint8) for x, e in zip(labels, noise, strict=True)]
    assert build(ask(write_pairs(tmp_path / "d", photos(9, 0), blurred))).labels == "b"


def test_fcn_refuses_what_it_cannot_measure_before_any_work(tmp_path: Path, network_file: str, unpaired: str) -> None:
    labels, _ = label_images(2, 0)
    to_photo = write_pairs(tmp_path / "1", labels, photos(2, 0))
    with pytest.raises(ConfigError, match="--segmentation: found nothing"):
        build(ask(to_photo))
    with pytest.raises(ConfigError, match="--segmentation: found a network, where label images are made"):
        build(ask(write_pairs(tmp_path / "2", photos(2, 0), labels), segmentation=network_file))
    grey = write_pairs(tmp_path / "3", labels, [x[..., :1] for x in photos(2, 0)])
    with pytest.raises(DataError, match="photos of 1 channels"):
        build(ask(grey, segmentation=network_file))
    with pytest.raises(DataError, match="unpaired samples; expected paired"):
        build(ask(DataSet(unpaired)))
    with pytest.raises(ConfigError, match="a network of 19 classes"):
        (tmp_path / "p.json").write_text(
            '{"classes": [{"name": "a", "color": [128, 64, 128]}, {"name": "b", "color": [0, 0, 0]}]}'
        )
        build(ask(to_photo, segmentation=network_file, palette=str(tmp_path / "p.json"), label_side="a"))
    with pytest.raises(ConfigError, match="--label-side"):
        EvaluationConfig(label_side="c")  # type: ignore[arg-type]
