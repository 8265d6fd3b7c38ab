"""What is said of the streets' frames: flow, boxes, key points and captions are true of the pictures."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from i2i_core.data.worlds.streets.captions import NUMBERS, PLURALS, WHEN, captions, embedding
from i2i_core.data.worlds.streets.classes import ID, NAMES
from i2i_core.data.worlds.streets.frames import Frame
from i2i_core.data.worlds.streets.light import CONDITIONS
from i2i_core.data.worlds.streets.people import LIMBS, MIRRORED, POINTS, joints
from i2i_core.data.worlds.streets.truth import boxes, flow, key_points

SIZE = 96, 192


@cache
def some(clip: int, number: int, stage: bool = False) -> Frame:
    return Frame(0, clip, number, *SIZE, stage)


def inside_of(part: np.ndarray, reach: int = 1) -> np.ndarray:
    """Mark pixels whose neighbours show the same surface, apart from the picture's edge."""
    out = np.zeros(part.shape, bool)
    core = part[reach:-reach, reach:-reach]
    same = np.ones(core.shape, bool)
    for i in range(2 * reach + 1):
        for j in range(2 * reach + 1):
            same &= part[i : i + core.shape[0], j : j + core.shape[1]] == core
    out[reach:-reach, reach:-reach] = same
    return out


def targets(moved: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the row and column that each pixel moves to, and whether they are in the picture."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    to_rows, to_columns = np.floor(rows + 0.5 + moved[..., 1]), np.floor(columns + 0.5 + moved[..., 0])
    there = (to_rows >= 0) & (to_rows < SIZE[0]) & (to_columns >= 0) & (to_columns < SIZE[1])
    return np.clip(to_rows, 0, SIZE[0] - 1).astype(int), np.clip(to_columns, 0, SIZE[1] - 1).astype(int), there


@pytest.mark.parametrize(("clip", "stage"), [(1, False), (4, False), (2, True)])
def test_streets_flow_leads_to_the_same_surface(clip: int, stage: bool) -> None:
    here, next_ = some(clip, 3, stage), some(clip, 4, stage)
    rows, columns, there = targets(flow(here))
    looked = inside_of(here.part) & there
    for of in ("labels", "instances"):
        same = getattr(here, of) == getattr(next_, of)[rows, columns]
        assert same[looked].mean() > 0.985, of
    moved = there & (rows != np.mgrid[: SIZE[0], : SIZE[1]][0])
    assert moved.any()


def test_streets_flow_is_where_patches_match_within_a_pixel() -> None:
    """Search the next frame around each patch's target: where the patch is seen, its best place is at most 1 off."""
    here, next_ = some(1, 3), some(1, 4)
    moved, size, far = flow(here), 4, 3
    a, b = (f.image("day").astype(float).mean(axis=2) for f in (here, next_))
    rows, columns, _ = targets(moved)
    looked = inside_of(here.part, size) & inside_of(next_.part, size)[rows, columns]
    hits, seen = 0, 0
    for row, column in np.argwhere(looked)[::23]:
        r, c = rows[row, column], columns[row, column]
        patch = a[row - size : row + size + 1, column - size : column + size + 1]
        reach = size + far
        if patch.std() < 9 or not (reach <= r < SIZE[0] - reach and reach <= c < SIZE[1] - reach):
            continue
        errors = {
            (i, j): np.abs(b[r + i - size : r + i + size + 1, c + j - size : c + j + size + 1] - patch).mean()
            for i in range(-far, far + 1)
            for j in range(-far, far + 1)
        }
        seen += 1
        near = min(error for at, error in errors.items() if max(map(abs, at)) <= 1)
        hits += near <= 1.2 * min(errors.values()) + 0.5  # an edge matches anywhere along itself
    assert seen > 25
    assert hits / seen > 0.9, (hits, seen)


def test_streets_flow_of_cars_moves_their_boxes() -> None:
    here, next_ = some(4, 3), some(4, 4)
    moved = flow(here)
    there = {int(i): box for i, box in zip(ids_of(next_), boxes(next_.labels, next_.instances), strict=True)}
    checked = 0
    for i, box in zip(ids_of(here), boxes(here.labels, here.instances), strict=True):
        x0, y0, x1, y1, of = box
        whole = x0 > 2 and x1 < SIZE[1] - 2 and y1 < SIZE[0] - 2 and (x1 - x0) * (y1 - y0) > 120
        if of == ID["car"] and whole and int(i) in there:
            shown = moved[here.instances == i]
            low, high = shown[:, 0].min(), shown[:, 0].max()
            for before, after in ((x0, there[int(i)][0]), (x1, there[int(i)][2])):
                assert low - 1.5 <= after - before <= high + 1.5
            checked += 1
    assert checked


def ids_of(frame: Frame) -> np.ndarray:
    return np.unique(frame.instances[frame.instances > 0])


@pytest.mark.parametrize("clip", [0, 1, 4])
def test_streets_boxes_are_the_extents_of_instances(clip: int) -> None:
    frame = some(clip, 0)
    found = boxes(frame.labels, frame.instances)
    assert len(found) == len(ids_of(frame))
    for i, (x0, y0, x1, y1, of) in zip(ids_of(frame), found, strict=True):
        rows, columns = np.nonzero(frame.instances == i)
        assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert of == frame.labels[rows[0], columns[0]]


def test_streets_boxes_of_no_instance_are_none() -> None:
    assert boxes(np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint16)).shape == (0, 5)


def test_streets_key_points_lie_on_the_person() -> None:
    on, all_ = 0, 0
    for clip in range(6):
        for number in (0, 7):
            frame = some(clip, number, True)
            for column, row, seen in key_points(frame):
                if seen:
                    all_ += 1
                    on += int(frame.instances[int(row), int(column)] == frame.street.people[0].number)
    assert all_ > 150
    assert on / all_ > 0.93, (on, all_)


def test_streets_key_points_move_and_keep_the_length_of_limbs() -> None:
    street = some(0, 0, True).street
    person = street.people[0]
    frames = [joints(person, k, 0.0) for k in range(0, 12, 3)]
    assert any(np.abs(np.array(a) - np.array(frames[0])).max() > 0.05 for a in frames[1:])
    for limb in LIMBS[8:12]:
        lengths = [np.linalg.norm(np.subtract(f[limb.a], f[limb.b])) for f in frames]
        assert max(lengths) - min(lengths) < 0.02 * person.height


def test_streets_dancers_show_their_left_at_the_right_and_pairs_swap_sides() -> None:
    assert {POINTS[i].replace("left", "") for i, _ in MIRRORED} == {POINTS[j].replace("right", "") for _, j in MIRRORED}
    found = [some(clip, 0, True) for clip in range(6)]
    dancing = [key_points(f) for f in found if f.street.people[0].dancing]
    assert dancing
    for points in dancing:
        assert points[POINTS.index("left_shoulder"), 0] > points[POINTS.index("right_shoulder"), 0]


@pytest.mark.parametrize("clip", range(5))
def test_streets_captions_are_true_of_the_label_map(clip: int) -> None:
    frame = some(clip, 0)
    for condition in CONDITIONS:
        texts = captions(frame, condition)
        words = " ".join(texts)
        assert WHEN[condition] in words
        assert not {"left", "right", "beside"} & set(words.split())
        for name in ("car", "person", "traffic light", "traffic sign"):
            count = len(np.unique(frame.instances[frame.labels == ID[name]]))
            word = NUMBERS[count] if count < 10 else "many"
            assert f"{word} {name if count == 1 else PLURALS.get(name, name + 's')}" in words
        assert ("with trees" in words) == bool((frame.labels == ID["vegetation"]).any())
        most = NAMES[int(np.bincount(frame.labels.ravel(), minlength=12).argmax())]
        assert texts[1].endswith({"building": "houses", "vegetation": "green"}.get(most, most))


def test_streets_embeddings_tell_captions_apart() -> None:
    a, b = embedding(["two cars at night"]), embedding(["two cars at dusk"])
    assert a.dtype == np.float32
    assert abs(float(a @ a) - 1) < 1e-6
    assert np.array_equal(a, embedding(["two cars at night"]))
    assert 0.2 < float(a @ b) < 0.999
    assert float(a @ embedding(["no people by the road"])) < float(a @ b)
