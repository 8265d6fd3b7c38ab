"""Resize, crop and flip of every role, against numbers worked out by hand.

pytest tests/unit/test_placement.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from i2i_core.data.reading.transforms import Augment
from i2i_core.fields import Field
from i2i_core.images.placement import Placement, bilinear, nearest
from i2i_core.sizes import Resizing

rng = np.random.default_rng(0)
STILL = Placement((2, 4), (2, 4), 0, 0, (2, 4), False)
MIRRORED = Placement((2, 4), (2, 4), 0, 0, (2, 4), True)
TWICE = Placement((2, 4), (4, 8), 0, 0, (4, 8), False)
CUT = Placement((2, 4), (2, 4), 0, 1, (2, 2), False)
CUT_AND_MIRRORED = Placement((2, 4), (2, 4), 0, 1, (2, 2), True)


def field(role: Any, **more: Any) -> Field:
    return Field("png", 1, "uint8", 0, 0, role, **more)


def grid(*rows: list[float], dtype: Any = np.uint8) -> np.ndarray:
    return np.array(rows, dtype)[..., None]


IDS = grid([0, 1, 2, 3], [4, 5, 6, 7])


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (STILL, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (MIRRORED, [[3, 2, 1, 0], [7, 6, 5, 4]]),
        (CUT, [[1, 2], [5, 6]]),
        (CUT_AND_MIRRORED, [[2, 1], [6, 5]]),
        (TWICE, [[0, 0, 1, 1, 2, 2, 3, 3]] * 2 + [[4, 4, 5, 5, 6, 6, 7, 7]] * 2),
        (Placement((2, 4), (1, 2), 0, 0, (1, 2), False), [[5, 7]]),
        (Placement((2, 4), (2, 3), 0, 0, (2, 3), False), [[0, 2, 3], [4, 6, 7]]),
    ],
)
def test_placement_of_ids(place: Placement, expected: list[list[int]]) -> None:
    """Of 4 columns in 3, middles lie at 2/3, 2 and 10/3: columns 0, 2 and 3."""
    assert place.ids(IDS)[..., 0].tolist() == expected


def test_placement_swaps_ids_of_pairs_in_the_mirror_alone() -> None:
    pairs = ((1, 2), (4, 7))
    assert MIRRORED.ids(IDS, pairs)[..., 0].tolist() == [[3, 1, 2, 0], [4, 6, 5, 7]]
    assert STILL.ids(IDS, pairs)[..., 0].tolist() == IDS[..., 0].tolist()


@pytest.mark.parametrize("size", [(3, 5), (7, 2), (20, 31), (1, 1)])
def test_placement_of_ids_is_the_exact_nearest_of_pillow_and_torch(size: tuple[int, int]) -> None:
    x = rng.integers(0, 256, (11, 9, 1), dtype=np.uint8)
    found = nearest(x, size)[..., 0]
    assert np.array_equal(found, np.asarray(Image.fromarray(x[..., 0]).resize(size[::-1], Image.Resampling.NEAREST)))
    exact = F.interpolate(torch.from_numpy(x[None, None, ..., 0]).float(), size, mode="nearest-exact")[0, 0]
    assert np.array_equal(found, exact.numpy())
    assert set(found.flat) <= set(x.flat)


def test_placement_of_a_map_is_bilinear_and_averages_when_it_shrinks() -> None:
    x = grid([0, 2, 4, 6], [0, 2, 4, 6], dtype=np.float32)
    assert bilinear(x, (2, 8))[0, :, 0].tolist() == [0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6]
    # a triangle that reaches 2 pixels to each side of 1: weights .75, .75 and .25 at the middles .5, 1.5 and 2.5
    shrunk = bilinear(x, (2, 2))[0, :, 0]
    assert shrunk == pytest.approx([(3 * 0 + 3 * 2 + 1 * 4) / 7, (1 * 2 + 3 * 4 + 3 * 6) / 7])


def test_placement_swaps_channels_of_pairs_in_the_mirror() -> None:
    x = np.array([[[1, 2, 3], [4, 5, 6]]], np.float32)
    place = Placement((1, 2), (1, 2), 0, 0, (1, 2), True)
    assert place.map(x, field("map", pairs=((0, 2),))).tolist() == [[[6, 5, 4], [3, 2, 1]]]
    assert place.map(x, field("map")).tolist() == [[[4, 5, 6], [1, 2, 3]]]


def test_placement_of_a_flow_changes_its_vectors_with_the_picture() -> None:
    """Twice as wide and three times as high: u doubles, v is three times as large; the mirror turns u alone."""
    flow = field("map", kind="flow")
    x = np.broadcast_to(np.array([3, -2], np.float32), (2, 4, 2))
    assert np.array_equal(
        Placement((2, 4), (6, 8), 0, 0, (6, 8), False).map(x, flow), np.broadcast_to([6, -6], (6, 8, 2))
    )
    assert np.array_equal(
        Placement((2, 4), (6, 8), 1, 2, (4, 4), True).map(x, flow), np.broadcast_to([-6, -6], (4, 4, 2))
    )
    distinct = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
    place = Placement((1, 4), (1, 4), 0, 0, (1, 4), True)
    assert place.map(distinct, flow).tolist() == [[[-6, 7], [-4, 5], [-2, 3], [-0.0, 1]]]


def test_placement_of_points() -> None:
    points = np.array([[0.5, 0.5], [3.0, 1.5]], np.float32)
    assert TWICE.points(points).tolist() == [[1, 1], [6, 3]]
    assert CUT.points(points).tolist() == [[-0.5, 0.5], [2, 1.5]]
    assert MIRRORED.points(points).tolist() == [[3.5, 0.5], [1, 1.5]]
    assert MIRRORED.points(points, ((0, 1),)).tolist() == [[1, 1.5], [3.5, 0.5]]
    assert STILL.points(points, ((0, 1),)).tolist() == points.tolist()


def test_placement_marks_points_that_are_cut_off_as_not_visible() -> None:
    points = np.array([[[0.5, 0.5, 2], [1.5, 0.5, 1], [3.5, 0.5, 2]]], np.float32)
    assert CUT.points(points).tolist() == [[[-0.5, 0.5, 0], [0.5, 0.5, 1], [2.5, 0.5, 0]]]


def test_placement_of_boxes_moves_cuts_and_drops() -> None:
    boxes = np.array([[0, 0, 2, 1, 7], [2, 0.5, 4, 2, 8], [0, 0, 1, 2, 9]], np.float32)
    assert STILL.boxes(boxes).tolist() == boxes.tolist()
    assert TWICE.boxes(boxes)[0].tolist() == [0, 0, 4, 2, 7]
    assert CUT.boxes(boxes).tolist() == [[0, 0, 1, 1, 7], [1, 0.5, 2, 2, 8]]
    assert MIRRORED.boxes(boxes).tolist() == [[2, 0, 4, 1, 7], [0, 0.5, 2, 2, 8], [3, 0, 4, 2, 9]]
    assert CUT_AND_MIRRORED.boxes(boxes).tolist() == [[1, 0, 2, 1, 7], [0, 0.5, 1, 2, 8]]
    assert CUT.boxes(boxes[:0]).shape == (0, 5)


# ---- all together ----


FIELDS = {
    "image": Field("png", 1, "uint8", 0, 0),
    "ids": field("classes", classes=200),
    "pose": Field("npy", 0, "float32", 0, 0, "vector", kind="points", shape=(1, 2)),
    "boxes": Field("json", 0, "float32", 0, 0, "boxes"),
    "code": Field("npy", 0, "float32", 0, 0, "vector", shape=(2,)),
    "text": Field("txt", 0, "str", 0, 0, "text"),
}


@pytest.mark.parametrize("words", [[3, 5, 0], [3, 5, 1], [0, 0, 1], [11, 4, 0]])
@pytest.mark.parametrize("fit", ["square", "shorter", "width", "native", "pad"])
def test_augment_moves_all_fields_by_one_draw(words: list[int], fit: Any) -> None:
    """A bright 4 x 4 block, its label, the point in its middle and its box stay on each other."""
    x = np.zeros((24, 40, 1), np.uint8)
    x[8:12, 12:16] = 199
    sample: dict[str, Any] = {
        "image": x,
        "ids": x,
        "pose": np.array([[14, 10]], np.float32),
        "boxes": np.array([[12, 8, 16, 12, -1]], np.float32),
        "code": np.ones(2, np.float32),
        "text": ("a block",),
    }
    augment = Augment(32, 48, "random", True, 0, Resizing(fit, "bilinear"))
    out: dict[str, Any] = augment(sample, words, FIELDS)
    rows, columns, _ = np.nonzero(out["ids"])
    (x0, y0, x1, y1, _) = out["boxes"][0].tolist()
    assert (x0, y0, x1, y1) == pytest.approx((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1), abs=0.51)
    inside = out["image"][out["ids"] == 199]
    assert inside.mean() > 150
    assert out["image"][out["ids"] == 0].mean() < 10
    assert out["pose"][0] == pytest.approx([(x0 + x1) / 2, (y0 + y1) / 2], abs=1e-4)
    assert out["text"] == ("a block",)
    assert out["code"].tolist() == [1, 1]


def test_augment_gives_images_the_same_pixels_beside_other_fields() -> None:
    x = rng.integers(0, 256, (24, 40, 3), dtype=np.uint8)
    augment = Augment(16, 20, "random", True, 0)
    alone = augment({"image": x}, [7, 9, 1])["image"]
    sample: dict[str, Any] = {"image": x, "ids": x[..., :1]}
    assert np.array_equal(alone, augment(sample, [7, 9, 1], FIELDS)["image"])
