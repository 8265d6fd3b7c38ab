"""The ResNet that judges translations: its size, its kinds of labels, its file beside those of the small network.

pytest tests/unit/test_classifier.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from i2i_core.data.format.manifest import DataSet
from i2i_core.errors import ConfigError
from i2i_core.evaluation.judges import classifier as classifiers
from i2i_core.evaluation.judges.classifier import (
    Classifier,
    ClassifierInfo,
    judged_size,
    load_classifier,
    save_classifier,
    train_classifier,
)
from i2i_core.sizes import Resizing

SIDE = 16


@pytest.mark.parametrize(
    ("size", "judged"), [(16, 64), (64, 64), (100, 100), (224, 224), (256, 224), ((128, 200), 128)]
)
def test_a_resnet_judges_images_at_their_size_within_bounds(size: int, judged: int) -> None:
    assert judged_size(size, "resnet18") == judged


def test_images_too_small_to_judge_are_refused() -> None:
    with pytest.raises(ConfigError, match="images of 15 px"):
        judged_size(15, "resnet18")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_resnet_is_torchvisions_with_the_channels_there_are(channels: int) -> None:
    network = Classifier(ClassifierInfo(("a", "b", "c"), True, channels, 64, "", 0, network="resnet18"))
    theirs = sum(p.numel() for p in resnet18(num_classes=3).parameters())
    assert sum(p.numel() for p in network.parameters()) == theirs + (channels - 3) * 64 * 7 * 7
    judged = network.judge(torch.rand(4, channels, 20, 30) * 2 - 1)
    assert judged.shape == (4, 3)
    assert (judged.sum(1) == 1).all()


def test_a_resnet_learns_the_domains_and_its_file_judges_the_same(
    unpaired: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regular against bold glyphs. Ten steps are enough to know those it has seen."""
    monkeypatch.setattr(classifiers, "LEAST_RESNET", 32)  # as good here, and 4 times as fast
    data = DataSet(unpaired)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trained = train_classifier(data, image_size=SIDE, seen=640, network="resnet18")
    assert torch.equal(torch.get_rng_state(), before)
    assert (trained.info.network, trained.info.size, trained.info.attributes) == ("resnet18", 32, ("A", "B"))
    x, y = classifiers._in_memory(data, "train", 32, Resizing())
    assert (trained.judge(x.float()) == y.bool()).all(1).double().mean() > 0.95
    assert (trained.info.held_out, trained.info.held_out_images) == ("val", 12)
    assert trained.info.accuracy > 0.5
    path = str(tmp_path / "judge.safetensors")
    save_classifier(trained, path)
    loaded = load_classifier(path)
    assert loaded.info == trained.info
    x = torch.rand(3, 1, 40, 24) * 2 - 1
    assert torch.equal(loaded(x), trained(x))
    assert loaded.fits(data, SIDE, "resnet18")
    assert not loaded.fits(data, 48, "resnet18")


def test_a_network_of_the_same_size_but_the_other_kind_is_trained_anew(unpaired: str) -> None:
    data = DataSet(unpaired)
    small = Classifier(ClassifierInfo(("A", "B"), True, 1, 64, data.manifest.fingerprint, 0))
    assert small.fits(data, 64, "small")
    assert not small.fits(data, 64, "resnet18")


def test_a_file_that_does_not_name_its_network_has_the_small_one(tmp_path: Path) -> None:
    path = tmp_path / "judge.safetensors"
    small = Classifier(ClassifierInfo(("a", "b"), False, 1, SIDE, "", 0)).eval()
    save_classifier(small, str(path))
    info = json.loads((tmp_path / "judge.safetensors.json").read_text())
    assert info.pop("network") == "small"
    (tmp_path / "judge.safetensors.json").write_text(json.dumps(info))
    x = torch.rand(2, 1, SIDE, SIDE)
    assert torch.equal(load_classifier(str(path))(x), small(x))
    (tmp_path / "judge.safetensors.json").write_text(json.dumps({**info, "network": "resnet19"}))
    with pytest.raises(ConfigError, match="network"):
        load_classifier(str(path))


def test_training_images_in_memory_are_bounded(labelled: str, unpaired: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "MOST_BYTES", 2 * SIDE**2 * 10)
    x, y = classifiers._in_memory(DataSet(labelled), "train", SIDE, Resizing())
    assert (tuple(x.shape), tuple(y.shape)) == ((10, 1, SIDE, SIDE), (10, 4))
    x, y = classifiers._in_memory(DataSet(unpaired), "train", SIDE, Resizing())
    assert len(x) == 10
    assert y.tolist() == [[1.0, 0.0]] * 5 + [[0.0, 1.0]] * 5
