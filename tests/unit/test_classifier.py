"""The ResNet that judges translations: its size, its kinds of labels, its file beside those of the small network.

pytest tests/unit/test_classifier.py
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from i2i_core.data.format.manifest import DataSet
from i2i_core.errors import ConfigError, Stopped
from i2i_core.evaluation.judges import classifier as classifiers
from i2i_core.evaluation.judges.classifier import (
    Classifier,
    ClassifierInfo,
    Network,
    Unfinished,
    judged_size,
    load_classifier,
    save_classifier,
    train_classifier,
)
from i2i_core.orchestration import evaluating
from i2i_core.sizes import Resizing

SIDE = 16


@pytest.mark.parametrize(
    ("size", "judged"), [(16, 64), (64, 64), (100, 100), (224, 224), (256, 224), ((128, 200), 128)]
)
def test_classifier_of_a_resnet_judges_images_at_their_size_within_bounds(size: int, judged: int) -> None:
    assert judged_size(size, "resnet18") == judged


def test_classifier_refuses_images_too_small_to_judge() -> None:
    with pytest.raises(ConfigError, match="images of 15 px"):
        judged_size(15, "resnet18")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_classifier_of_a_resnet_is_torchvisions_with_the_channels_there_are(channels: int) -> None:
    network = Classifier(ClassifierInfo(("a", "b", "c"), True, channels, 64, "", 0, network="resnet18"))
    theirs = sum(p.numel() for p in resnet18(num_classes=3).parameters())
    assert sum(p.numel() for p in network.parameters()) == theirs + (channels - 3) * 64 * 7 * 7
    judged = network.judge(torch.rand(4, channels, 20, 30) * 2 - 1)
    assert judged.shape == (4, 3)
    assert (judged.sum(1) == 1).all()


@pytest.mark.slow
def test_classifier_of_a_resnet_learns_the_domains_and_its_file_judges_the_same(
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
    x, y = classifiers._in_memory(data, "train", trained.info)
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


def test_classifier_of_the_other_network_does_not_fit(unpaired: str) -> None:
    data = DataSet(unpaired)
    small = Classifier(ClassifierInfo(("A", "B"), True, 1, 64, data.manifest.fingerprint, 0))
    assert small.fits(data, 64, "small")
    assert not small.fits(data, 64, "resnet18")


def test_classifier_file_without_a_network_has_the_small_one(tmp_path: Path) -> None:
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


def test_classifier_training_holds_a_bounded_number_of_images(
    labelled: str, unpaired: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifiers, "MOST_BYTES", 2 * SIDE**2 * 10)
    x, y = classifiers._in_memory(DataSet(labelled), "train", ClassifierInfo(("a",) * 4, False, 1, SIDE, "", 0, 1))
    assert (tuple(x.shape), tuple(y.shape)) == ((10, 1, SIDE, SIDE), (10, 4))
    x, y = classifiers._in_memory(DataSet(unpaired), "train", ClassifierInfo(("A", "B"), True, 1, SIDE, "", 0, 1))
    assert len(x) == 10
    assert y.tolist() == [[1.0, 0.0]] * 5 + [[0.0, 1.0]] * 5


# ---------------------------------------------------------------- an interrupted training


SEEN = 640
"""Ten steps."""


class After:
    """Asks to stop after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


def weights_of(classifier: Classifier) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in classifier.state_dict().items()}


@pytest.mark.parametrize("network", ["small", pytest.param("resnet18", marks=pytest.mark.slow)])
def test_classifier_training_that_is_stopped_goes_on_to_the_same_bits(
    network: Network, unpaired: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(classifiers, "LEAST_RESNET", 32)
    data, path = DataSet(unpaired), str(tmp_path / "judge.safetensors")

    def train(unfinished: Unfinished | None = None, progress: list[int] | None = None) -> Classifier:
        note = progress.append if progress is not None else None
        return train_classifier(data, image_size=SIDE, seen=SEEN, network=network, unfinished=unfinished, progress=note)

    whole, seen = train(), list[int]()
    with pytest.raises(Stopped, match="after 192 of 640 images"):
        train(Unfinished(path, After(3)))
    with pytest.raises(Stopped, match="after 448 of 640 images"):
        train(Unfinished(path, After(4)), seen)
    assert seen == [192, *4 * [64]]
    again = train(Unfinished(path))
    assert "goes on after 448 of 640 images" in said[-1]
    assert again.info == whole.info
    for name, tensor in weights_of(whole).items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_classifier_training_that_is_killed_goes_on_from_where_it_was_last_kept(
    unpaired: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept after every second step; the process is gone in the middle of the fifth."""
    monkeypatch.setattr(classifiers, "KEPT", 5)
    data, path = DataSet(unpaired), str(tmp_path / "judge")
    whole, seen = train_classifier(data, image_size=SIDE, seen=SEEN), list[int]()

    def die(n: int) -> None:
        seen.append(n)
        if sum(seen) == 5 * 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_classifier(data, image_size=SIDE, seen=SEEN, unfinished=Unfinished(path), progress=die)
    seen.clear()
    again = train_classifier(data, image_size=SIDE, seen=SEEN, unfinished=Unfinished(path), progress=seen.append)
    assert seen == [4 * 64, *6 * [64]]
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in weights_of(whole).items())


def test_classifier_training_of_another_kind_or_damaged_is_not_gone_on_with(
    unpaired: str, tmp_path: Path, said: list[str]
) -> None:
    data, path = DataSet(unpaired), tmp_path / "judge"
    with pytest.raises(Stopped):
        train_classifier(data, image_size=SIDE, seen=SEEN, unfinished=Unfinished(str(path), After(3)))
    file = path.with_name("judge.unfinished")
    whole = train_classifier(data, image_size=SIDE, seen=SEEN, seed=1)
    other = train_classifier(data, image_size=SIDE, seen=SEEN, seed=1, unfinished=Unfinished(str(path)))
    assert "is of another training" in said[-1]
    assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in weights_of(whole).items())
    file.write_bytes(file.read_bytes()[:-500])
    train_classifier(data, image_size=SIDE, seen=SEEN, seed=1, unfinished=Unfinished(str(path)))
    assert "is damaged" in said[-1]


def test_classifier_of_says_its_length_keeps_what_it_trained_and_uses_it_again(
    unpaired: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """Without a path in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(evaluating, "EPOCHS", 4)

    def give(size: int = SIDE) -> Classifier:
        return evaluating.classifier_of(unpaired, "", "small", size, Resizing(), cpu=True)

    trained = give()
    assert "trains a small network on 108 real images of train, 432 images in all (4.0 passes)" in said[0]
    folder = tmp_path / "i2i" / "classifiers"
    assert sorted(file.suffix for file in folder.iterdir()) == [".json", ".safetensors"]
    again = give()
    assert "classifier of this data" in said[-1]
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in weights_of(trained).items())
    give(32)
    assert len(list(folder.iterdir())) == 4


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_classifier_training_in_a_process_survives_its_end(by: signal.Signals, unpaired: str, tmp_path: Path) -> None:
    """The same command, once without an interruption, once with, and once more."""
    code = (
        "import sys; from i2i_core import logs; from i2i_core.cli import main; from i2i_core.sizes import Resizing\n"
        "from i2i_core.evaluation.judges import classifier; from i2i_core.orchestration import evaluating\n"
        "import torch; torch.set_num_threads(1); logs.show(); evaluating.EPOCHS = 60; classifier.KEPT = 100\n"
        "main(lambda: evaluating.classifier_of(sys.argv[1], sys.argv[2], 'small', 16, Resizing(), True) and 0)"
    )

    def begin(path: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, unpaired, str(path)]
        return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    whole, path = tmp_path / "whole", tmp_path / "judge"
    assert begin(whole).wait() == 0
    process = begin(path)
    while not path.with_name("judge.unfinished").exists():
        assert process.poll() is None
    process.send_signal(by)
    said = process.communicate()[0]
    assert process.returncode == (-by if by == signal.SIGKILL else 1), said
    assert by == signal.SIGKILL or "the same command goes on" in said
    assert not path.exists()
    process = begin(path)
    assert "goes on after" in process.communicate()[0]
    assert path.read_bytes() == whole.read_bytes()
    assert not path.with_name("judge.unfinished").exists()
