"""The built-in streets: what is drawn is the same everywhere, and what is said of it is true."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from i2i_core.data.worlds import streets
from i2i_core.data.worlds.streets.camera import View
from i2i_core.data.worlds.streets.classes import COUNTED, ID, NAMES
from i2i_core.data.worlds.streets.exactly import cosine, sine
from i2i_core.data.worlds.streets.frames import Frame
from i2i_core.data.worlds.streets.light import CONDITIONS
from i2i_core.data.worlds.streets.plan import street
from i2i_core.data.worlds.streets.scene import drawn

SIZE = 64, 128
FILES = sorted(Path(streets.__file__).parent.glob("*.py"))


@cache
def some(clip: int = 1, frame: int = 3, seed: int = 0) -> Frame:
    return Frame(seed, clip, frame, *SIZE)


def test_streets_are_the_same_bytes_as_ever() -> None:
    """Compare with a checksum that was computed once: another CPU or release that draws otherwise fails."""
    total = hashlib.sha256()
    for clip in (0, 1):
        frame = some(clip)
        for x in (*(frame.image(c) for c in CONDITIONS), frame.labels, frame.instances, frame.depth):
            total.update(np.ascontiguousarray(x).tobytes())
    assert total.hexdigest()[:16] == "b59297961efc0aae"


ROUNDED_ALIKE = {
    *("float32", "int32", "int64", "uint8", "uint16", "uint32", "ndarray"),
    *("abs", "arange", "argwhere", "array", "asarray", "ascontiguousarray", "atleast_1d", "broadcast_to", "clip"),
    *(
        "argmax",
        "bincount",
        "broadcast_arrays",
        "concatenate",
        "copyto",
        "count_nonzero",
        "diff",
        "empty",
        "empty_like",
        "errstate",
        "flatnonzero",
        "floor",
        "frexp",
        "full",
    ),
    *(
        "maximum",
        "minimum",
        "multiply",
        "nonzero",
        "ones",
        "repeat",
        "rint",
        "roll",
        "searchsorted",
        "sqrt",
        "stack",
        "take",
    ),
    *("unique", "where", "zeros", "zeros_like"),
}
"""What numpy computes alike on every machine: single operations of IEEE numbers, and what moves numbers about."""


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.stem)
def test_streets_use_no_operation_that_differs_between_machines(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
            assert node.attr in ROUNDED_ALIKE, f"np.{node.attr} in line {node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "math":
            assert node.attr == "sqrt", f"math.{node.attr} in line {node.lineno}"
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("sum", "mean", "dot", "prod", "std"), f".{node.attr} in line {node.lineno}"
        assert not isinstance(node, ast.Pow | ast.MatMult)


def test_streets_sines_are_those_of_the_library() -> None:
    for turns in np.linspace(-2.3, 2.3, 301):
        assert abs(sine(turns) - np.sin(2 * np.pi * turns)) < 1e-11
        assert abs(cosine(turns) - np.cos(2 * np.pi * turns)) < 1e-11


def test_streets_frame_needs_no_frame_before_it() -> None:
    first = Frame(0, 5, 40, *SIZE).image("day")
    for k in (39, 3):
        Frame(0, 5, k, *SIZE).image("night")
    again = Frame(0, 5, 40, *SIZE)
    again.image("rain")
    assert np.array_equal(again.image("day"), first)


def test_streets_of_two_seeds_and_of_two_clips_differ() -> None:
    shown = [some(1, 3, 0), some(1, 3, 1), some(2, 3, 0)]
    for i, a in enumerate(shown):
        for b in shown[i + 1 :]:
            assert (a.labels != b.labels).mean() > 0.1


def test_streets_conditions_are_twins() -> None:
    """Compare edges: the ends of objects are in the same pixels in every condition, which all look otherwise."""
    frame = Frame(0, 4, 0, 96, 192)
    images = {c: frame.image(c).astype(int) for c in CONDITIONS}
    for a in CONDITIONS:
        for b in CONDITIONS:
            assert a == b or np.abs(images[a] - images[b]).mean() > 12, (a, b)
    edge = frame.part[:, 1:] != frame.part[:, :-1]
    for c, x in images.items():
        step = np.abs(np.diff(x, axis=1)).max(axis=2)
        assert step[edge].mean() > 2.0 * step[~edge].mean(), c


def test_streets_photos_have_high_frequencies() -> None:
    """Look inside of roads and houses, away from edges: what a smooth image would leave out."""
    x, labels = some().image("day").astype(float).mean(axis=2), some().labels
    inside = np.ones(SIZE, bool)[1:-1, 1:-1]
    for rows, columns in ((slice(2, None), slice(1, -1)), (slice(None, -2), slice(1, -1))):
        inside &= labels[rows, columns] == labels[1:-1, 1:-1]
    rough = np.abs(4 * x[1:-1, 1:-1] - x[2:, 1:-1] - x[:-2, 1:-1] - x[1:-1, 2:] - x[1:-1, :-2])
    for name in ("road", "building", "vegetation"):
        assert rough[inside & (labels[1:-1, 1:-1] == ID[name])].mean() > 6, name


def test_streets_labels_and_instances_agree() -> None:
    counted = [ID[name] for name in COUNTED]
    for clip in range(4):
        frame = some(clip)
        assert np.array_equal(np.isin(frame.labels, counted), frame.instances > 0)
        for instance in np.unique(frame.instances[frame.instances > 0]):
            assert len(np.unique(frame.labels[frame.instances == instance])) == 1


def test_streets_hold_every_class() -> None:
    found = {int(i) for clip in range(14) for i in np.unique(Frame(0, clip, 0, 96, 192).labels)}
    assert {NAMES[i] for i in found} == set(NAMES)


def test_streets_instances_keep_their_ids_in_a_clip() -> None:
    here, there = (set(np.unique(some(2, k).instances)) for k in (3, 4))
    assert len(here & there) >= 0.7 * len(here)


@pytest.mark.parametrize("clip", [0, 2])
def test_streets_depth_orders_what_hides_what(clip: int) -> None:
    """Draw the street again without what moves: where that was, it was nearer; nothing else has changed."""
    full = some(clip)
    empty = replace(street(0, clip), cars=(), people=())
    bare = drawn(empty, 3, full.view)
    of = street(0, clip)
    moving = [car.number for car in of.cars] + [person.number for person in of.people]
    theirs = np.isin(np.array([s.instance for s in full.canvas.surfaces])[full.canvas.part], moving)
    assert theirs.any()
    assert (full.canvas.depth[theirs] < bare.depth[theirs]).all()
    assert np.array_equal(full.canvas.depth[~theirs], bare.depth[~theirs])


def test_streets_depth_is_that_of_the_ground_and_the_sky() -> None:
    frame = some()
    assert (frame.depth[frame.labels == ID["sky"]] == 65535).all()
    rows, columns = np.nonzero(frame.labels == ID["road"])
    down = (rows + 0.5 - frame.view.horizon) / frame.view.focal
    assert np.abs(frame.depth[rows, columns] / 100 * down / frame.view.pose.y - 1).max() < 0.01
    assert len(columns)


@pytest.mark.parametrize("size", [(33, 47), (128, 64), (8, 8)])
def test_streets_take_any_size(size: tuple[int, int]) -> None:
    frame = Frame(0, 1, 0, *size)
    assert frame.image("rain").shape == (*size, 3)
    assert frame.labels.shape == frame.instances.shape == frame.depth.shape == size


def test_streets_look_alike_at_every_size() -> None:
    """Compare labels with those at twice the size: a pixel shows what one of its four shows."""
    small, large = Frame(0, 3, 2, 64, 128).labels, Frame(0, 3, 2, 128, 256).labels
    same = np.zeros(small.shape, bool)
    for i in (0, 1):
        for j in (0, 1):
            same |= large[i::2, j::2] == small
    assert same.mean() > 0.97


def test_streets_view_places_pixels_where_its_rays_go() -> None:
    view = View(street(0, 3).pose(5), 48, 96)
    t = np.float32(7.5)
    x, z = view.pose.x + t * view.across, view.pose.z + t * view.along
    column, row, depth = view.pixels_of(x, np.float32(view.pose.y) + t * view.up[10], z)
    assert np.abs(column - view.columns).max() < 1e-3
    assert np.abs(row - view.rows[10]).max() < 1e-3
    assert np.abs(depth - t).max() < 1e-3
