"""Resize, crop and flip of training images, and the same resizing where they are judged.

pytest tests/unit/test_transforms.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from i2i_core.batch import Batch, join
from i2i_core.checkpoints.trained import Trained
from i2i_core.config.data import DataConfig
from i2i_core.config.run import TrainConfig
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.shards import ShardOptions, plan
from i2i_core.data.reading.lanes import slots_of
from i2i_core.data.reading.stream import Stream, in_order
from i2i_core.data.reading.transforms import Augment
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.evaluation import extremes
from i2i_core.evaluation.families.unpaired import Twins
from i2i_core.evaluation.judges.classifier import Classifier, train_classifier
from i2i_core.evaluation.samples import Asked, chunks
from i2i_core.images.codec import ImageOptions
from i2i_core.methods import build_method
from i2i_core.orchestration.evaluating import EvaluationJob
from i2i_core.orchestration.sharding import make
from i2i_core.sizes import Resizing, fitted
from i2i_core.training.measuring import suites

from ..support.runs import config_of, loop_of

SHORTER = Resizing("shorter", "bilinear")
WORDS = [123456789, 987654321, 3]
"""What a sample draws: where its crop is, and that it is flipped."""


def photo(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def pillow(x_HWC: np.ndarray, width: int, height: int, how: Image.Resampling) -> np.ndarray:
    planes = [np.asarray(Image.fromarray(x_HWC[..., c]).resize((width, height), how)) for c in range(x_HWC.shape[2])]
    return np.stack(planes, axis=2)


def near(a: np.ndarray, b: np.ndarray) -> bool:
    """Up to the rounding of two programs."""
    return a.shape == b.shape and int(np.abs(a.astype(int) - b.astype(int)).max()) <= 2


def augmented(image: np.ndarray, *arguments: Any, words: list[int] = WORDS, **options: Any) -> np.ndarray:
    return Augment(*arguments, seed=0, **options)({"image": image}, words)["image"]


# ---------------------------------------------------------------- training


@pytest.mark.parametrize(("height", "width"), [(90, 160), (160, 90), (64, 64)])
def test_augment_keeps_the_shape_where_the_shorter_side_is_fitted(height: int, width: int) -> None:
    """UNIT's later program: shorter side bilinear, a random square out of the rectangle, half of them mirrored."""
    image = photo(height, width)
    rows, columns = fitted(height, width, 40, "shorter")
    assert min(rows, columns) == 40
    assert rows / columns == pytest.approx(height / width, rel=0.02)
    loaded = pillow(image, columns, rows, Image.Resampling.BILINEAR)
    top, left = WORDS[0] % (rows - 32 + 1), WORDS[1] % (columns - 32 + 1)
    expected = loaded[top : top + 32, left : left + 32][:, ::-1]
    found = augmented(image, 32, 40, "random", True, resizing=SHORTER)
    assert near(found, expected)


def test_augment_keeps_a_disc_round() -> None:
    """A disc of 60 px in an image of 160 x 90: 27 x 48 of 72 px where images are stretched."""
    y, x = np.mgrid[:90, :160]
    disc = np.where((y - 45) ** 2 + (x - 80) ** 2 < 30**2, 0, 255).astype(np.uint8)[..., None]
    sizes = {}
    for fit in ("square", "shorter"):
        seen = augmented(disc, 72, 0, "center", False, resizing=Resizing(fit))[..., 0] < 128  # type: ignore[arg-type]
        sizes[fit] = int(seen.any(0).sum()), int(seen.any(1).sum())
    assert sizes["shorter"] == pytest.approx((48, 48), abs=1)
    assert sizes["square"] == pytest.approx((27, 48), abs=1)


def test_augment_covers_a_training_size_that_is_no_square() -> None:
    """35 x 55 out of 90 x 160: the height decides, and the width has something over."""
    image = photo(90, 160)
    loaded = pillow(image, 62, 35, Image.Resampling.BILINEAR)
    found = augmented(image, (35, 55), 0, "center", False, resizing=SHORTER)
    assert near(found, loaded[:, 3:58])


def test_augment_crops_everywhere_along_the_longer_side() -> None:
    image = np.zeros((32, 96, 1), np.uint8) + np.arange(96, dtype=np.uint8)[:, None]
    places = {
        int(augmented(image, 32, 0, "random", False, words=[0, i, 0], resizing=SHORTER)[0, 0, 0]) for i in range(65)
    }
    assert places == set(range(65))


@pytest.mark.parametrize("crop", ["random", "center"])
def test_fit_makes_no_difference_to_squares(crop: Any) -> None:
    image = photo(50, 50)
    square, shorter = (augmented(image, 32, 40, crop, True, resizing=Resizing(fit)) for fit in ("square", "shorter"))  # type: ignore[arg-type]
    assert np.array_equal(square, shorter)


def test_augment_does_not_resize_images_of_the_load_size() -> None:
    image = photo(40, 61)
    found = augmented(image, 40, 40, "center", False, resizing=SHORTER)
    assert np.array_equal(found, image[:, 10:50])


def test_fitted_compares_the_sides_with_those_of_the_load_size() -> None:
    assert fitted(90, 160, 256, "shorter") == (256, 455)
    assert fitted(160, 90, 256, "shorter") == (455, 256)
    assert fitted(90, 160, (35, 55), "shorter") == (35, 62)
    assert fitted(90, 110, (35, 55), "shorter") == (45, 55)
    assert fitted(90, 160, (35, 55), "square") == (35, 55)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two domains of images twice as wide as high, with keys of identities."""
    folder = tmp_path_factory.mktemp("wide")
    for split in ("train", "val"):
        for side in "AB":
            (folder / f"{split}{side}").mkdir()
            for i in range(8):
                name = folder / f"{split}{side}" / f"{i}-{side}.png"
                Image.fromarray(photo(24, 48, seed=i + 100 * (side == "B"))).save(name)
    layout, goal = LayoutOptions(layout="unpaired", input=str(folder)), ShardOptions(out=str(folder / "shards"))
    make(plan(find(layout), layout, GlyphOptions(), ImageOptions(), goal), goal, 0)
    return goal.out


@pytest.mark.parametrize("world", [2, 3])
def test_stream_crops_wide_images_alike_for_any_number_of_workers(wide: str, world: int) -> None:
    config = DataConfig(uri=wide, load_size=20, fit="shorter", resample="bilinear")
    stream = Stream(DataSet(wide), config, 16, 6, 0)
    for t in range(3):
        whole = stream.read(t, 0, 6)
        parts = join(stream.read(t, *slots_of(6, rank, world)) for rank in range(world))
        assert whole.fields["a"].shape == (6, 3, 16, 16)
        assert all(torch.equal(whole.fields[side], parts.fields[side]) for side in "ab")
    again = stream.read(stream.batches_per_epoch, 0, 6)
    assert not torch.equal(stream.read(0, 0, 6).fields["a"], again.fields["a"])


# ---------------------------------------------------------------- where images are judged


def middle(key: str, seed: int) -> np.ndarray:
    return pillow(photo(24, 48, seed=int(key.split("-")[0]) + seed), 32, 16, Image.Resampling.BILINEAR)[:, 8:24]


def stored(x_CHW: Tensor) -> np.ndarray:
    return ((x_CHW + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(np.uint8)


def test_in_order_shows_the_middle_where_the_shape_is_kept(wide: str) -> None:
    batch = next(in_order(DataSet(wide), "val", 16, resizing=SHORTER))
    for key, image in zip(batch.keys, batch["a"], strict=True):
        assert near(stored(image), middle(key, 0))


def test_metrics_see_images_as_training_did(wide: str) -> None:
    """Chunks, the samples of the sheet and the twins alike."""
    method = build_method("cyclegan", image_size=16, g_base=4, d_base=4, blocks=1, receptive_field=16)
    asked = Asked(method, DataSet(wide), "val", 16, resizing=SHORTER)
    (_, sources), _ = chunks(asked)
    ((_, sample, _),) = extremes.batches_of(asked, ["3-A"])
    _, (twin,) = Twins(asked.data, "val", "B", 16, SHORTER).of(("3-A",))
    assert near(stored(sources["a"][sources.keys.index("3-A")]), middle("3-A", 0))
    assert near(stored(sample["a"][0]), middle("3-A", 0))
    assert near(stored(twin), middle("3-B", 100))


def test_evaluation_uses_the_resizing_of_its_run(wide: str) -> None:
    """In the loop and by evaluate.py."""
    hyper = {"image_size": 16, "g_base": 4, "d_base": 4, "blocks": 1, "receptive_field": 16}
    values = {f"hyper.{name}": value for name, value in hyper.items()}
    config = TrainConfig.of("cyclegan", "paper", {**values, "data.uri": wide, "data.fit": "shorter"})
    method = build_method("cyclegan", **hyper)
    (suite,) = suites(config, [DataSet(wide)], method, torch.device("cpu")).values()
    assert suite.asked.resizing == Resizing("shorter")
    trained = Trained(method, config, 0, "", {}, "")
    assert EvaluationJob(wide, wide, "val", config.evaluation).suite(trained).asked.resizing == Resizing("shorter")


def test_grid_shows_images_as_training_sees_them(wide: str, tmp_path: Path) -> None:
    values = {"data__fit": "shorter", "data__resample": "bilinear", "data__crop": "center", "training__images": 6}
    loop = loop_of(config_of("cyclegan", wide, str(tmp_path), monitoring__grid_every=6, **values))
    seen: list[Batch] = []
    preview = loop.method.preview
    loop.method.preview = lambda batch: seen.append(batch) or preview(batch)  # type: ignore
    loop.train()
    assert seen
    for key, image in zip(seen[0].keys, seen[0]["a"], strict=True):
        assert near(stored(image), middle(key, 0))


def test_classifier_learns_from_images_as_the_run_sees_them(wide: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    forward = Classifier.forward
    monkeypatch.setattr(Classifier, "forward", lambda self, x: seen.append(x) or forward(self, x))
    classifier = train_classifier(DataSet(wide), image_size=16, resizing=SHORTER, seen=16)
    assert classifier.fits(DataSet(wide), 16, resizing=SHORTER)
    assert not classifier.fits(DataSet(wide), 16)
    images = {stored(x.float()).tobytes() for batch in seen for x in batch}
    expected = next(in_order(DataSet(wide), "train", 16, resizing=SHORTER))["a"].half().float()
    assert {stored(x).tobytes() for x in expected} <= images
