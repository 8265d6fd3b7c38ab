"""Pictures of fields of every role.

pytest tests/unit/test_previews.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from i2i_core.fields import Field
from i2i_core.images.previews import flow_colours, hashed_colours, preview, spread


def field(role: Any, **more: Any) -> Field:
    return Field("png", 1, "uint8", 0, 0, role, **more)


def test_preview_of_a_label_map_is_in_its_palette() -> None:
    ids = np.array([[[0], [1]], [[1], [255]]], np.uint8)
    shown = preview(ids, field("classes", classes=2, palette=((1, 2, 3), (4, 5, 6)), ignore=255))
    assert shown.tolist() == [[[1, 2, 3], [4, 5, 6]], [[4, 5, 6], [0, 0, 0]]]


def test_preview_without_a_palette_has_colours_that_differ() -> None:
    assert len({spread(i) for i in range(1000)}) == 1000
    assert spread(1) == (128, 0, 0)  # of PASCAL VOC: aeroplane
    assert spread(15) == (192, 128, 128)  # person


def test_preview_of_instances_has_one_colour_for_each_id() -> None:
    a, b = hashed_colours(np.array([[0, 7, 9]])), hashed_colours(np.array([[9, 9, 7]]))
    assert a[0, 0].tolist() == [0, 0, 0]
    assert a[0, 2].tolist() == b[0, 0].tolist() == b[0, 1].tolist()
    assert a[0, 1].tolist() == b[0, 2].tolist() != a[0, 2].tolist()


def test_preview_of_a_flow_has_a_hue_for_each_direction() -> None:
    right, down, left, still = [2, 0], [0, 2], [-2, 0], [0, 0]
    shown = flow_colours(np.array([[right, down, left, still, [1, 0]]], np.float32))[0].tolist()
    assert shown[0] == [255, 0, 0]
    assert shown[1] == [128, 255, 0]
    assert shown[2] == [0, 255, 255]
    assert shown[3] == [255, 255, 255]
    assert shown[4] == [255, 128, 128]


def test_preview_of_a_depth_map_goes_by_its_range() -> None:
    depth = np.array([[[0.0], [40.0], [80.0]]], np.float32)
    assert preview(depth, field("map", low=0.0, high=80.0))[0, :, 0].tolist() == [0, 128, 255]
    assert preview(depth, field("map", low=0.0, high=160.0))[0, 2].tolist() == [128, 128, 128]


@pytest.mark.parametrize(
    ("value", "of"),
    [
        (np.zeros((4, 5, 3), np.uint8), field("image")),
        (np.zeros((4, 5, 1), np.uint16), field("image")),
        (np.zeros((4, 5, 4), np.float32), field("image")),
        (np.zeros((4, 5, 7), np.float32), field("map")),
        (np.zeros((3, 3), np.float32), field("vector", kind="points")),
        (np.full((2, 3, 2), 1e30, np.float32), field("vector", kind="points")),
        (np.zeros((10, 1024), np.float32), field("vector")),
        (("a bird", "w" * 500), field("text")),
        (np.array([[1, 2, 3, 4, 1], [0, 0, 5, 5, -1], [0, 0, 1, 1, 77]], np.float32), field("boxes")),
        (np.zeros((0, 5), np.float32), field("boxes")),
    ],
)
def test_preview_of_every_role_is_a_picture(value: Any, of: Field) -> None:
    shown = preview(value, of)
    assert (shown.ndim, shown.shape[2], shown.dtype) == (3, 3, np.uint8)
    assert min(shown.shape[:2]) > 0


def test_preview_of_points_and_boxes_is_drawn_on_the_picture() -> None:
    under = np.full((64, 64, 3), 200, np.uint8)
    points = preview(np.array([[10, 20, 2], [40, 50, 0]], np.float32), field("vector", kind="points"), under)
    assert points[20, 10].tolist() != [200, 200, 200]
    assert points[50, 40].tolist() == [200, 200, 200]
    boxes = preview(np.array([[8, 8, 40, 24, -1]], np.float32), field("boxes"), under)
    assert (
        boxes[8, 20].tolist() == boxes[23, 20].tolist() == boxes[12, 8].tolist() == boxes[12, 39].tolist() != [200] * 3
    )
    assert boxes[12, 20].tolist() == [200, 200, 200]
    assert (under == 200).all()
