"""Lab against published values, histograms and their intersection against arithmetic by hand.

pytest tests/unit/test_colour.py
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from i2i_core.data.format.manifest import DataSet
from i2i_core.errors import DataError
from i2i_core.evaluation.families.colour import LINES, build, histograms, intersection, lab, plot
from i2i_core.evaluation.samples import Asked

from ..support.pairs import maker, measured, parts_of, range_of, write_pairs

SIDE = 8
PUBLISHED = {
    (255, 0, 0): (53.2408, 80.0925, 67.2032),
    (0, 255, 0): (87.7347, -86.1827, 83.1793),
    (0, 0, 255): (32.2970, 79.1875, -107.8602),
    (255, 255, 0): (97.1393, -21.5537, 94.4780),
    (255, 255, 255): (100.0, 0.0, 0.0),
    (128, 128, 128): (53.5850, 0.0, 0.0),
    (64, 64, 64): (27.0934, 0.0, 0.0),
    (1, 1, 1): (0.2742, 0.0, 0.0),
    (0, 0, 0): (0.0, 0.0, 0.0),
}
"""CIE Lab of sRGB for D65, by Bruce Lindbloom's calculator."""


def images(n: int, seed: int, low: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(low, 256, (n, SIDE, SIDE, 3), dtype=np.uint8))


def shares(x: list[np.ndarray], channel: int) -> dict[int, float]:
    """Share of pixels by whole value, counted one by one."""
    rounded = [round(float(lab(pixel)[channel])) for image in x for pixel in image.reshape(-1, 3)]
    return {value: rounded.count(value) / len(rounded) for value in set(rounded)}


@pytest.mark.parametrize("rgb", PUBLISHED)
def test_lab_has_the_published_values(rgb: tuple[int, int, int]) -> None:
    assert lab(np.array(rgb, np.uint8)) == pytest.approx(PUBLISHED[rgb], abs=2e-3)


def test_histograms_put_greys_at_0_whatever_the_last_digits_say() -> None:
    greys = [np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)]
    counts = histograms(range_of(greys))
    assert counts[1:, 128].tolist() == [256, 256]
    assert counts.sum(1).tolist() == [256] * 3


def test_colour_intersections_equal_pixels_counted_one_by_one(tmp_path: Path) -> None:
    source, truth, made = images(35, 0, 128), images(35, 1), images(35, 2, 64)
    asked = Asked(maker(made), write_pairs(tmp_path / "d", source, truth), "test", SIDE)
    found = measured(build, asked)
    assert list(found) == [f"{name}/{c}" for name in ("colour", "colour_nothing") for c in "Lab"]
    assert {m.count for m in found.values()} == {35}
    for name, x in (("colour", made), ("colour_nothing", source)):
        for i, channel in enumerate("Lab"):
            p, q = shares(x, i), shares(truth, i)
            by_hand = sum(min(p.get(v, 0), q.get(v, 0)) for v in p)
            assert found[f"{name}/{channel}"].value == pytest.approx(by_hand, rel=1e-12), channel
    assert measured(build, asked, world=2) == found


def test_colour_of_the_same_colours_elsewhere_is_1_and_of_others_0(tmp_path: Path) -> None:
    truth = images(4, 0)
    data = write_pairs(tmp_path / "d", images(4, 1), truth)
    found = measured(build, Asked(maker(truth[::-1]), data, "test", SIDE))
    assert [found[f"colour/{c}"].value for c in "Lab"] == pytest.approx([1, 1, 1])
    red, green = (histograms(range_of([np.full((2, 2, 3), c, np.uint8)])) for c in ((255, 0, 0), (0, 255, 0)))
    assert [intersection(red[i], green[i]) for i in range(3)] == [0, 0, 0]


def test_colour_has_nothing_to_compare_in_a_grey_input(tmp_path: Path) -> None:
    source, truth = [x[..., :1] for x in images(3, 0)], images(3, 1)
    asked = Asked(maker(truth), write_pairs(tmp_path / "d", source, truth), "test", SIDE)
    assert list(measured(build, asked)) == ["colour/L", "colour/a", "colour/b"]
    assert build(asked).absent() == {"colour_nothing": "the inputs have 1 channels; expected 3"}


def test_colour_refuses_truths_that_are_grey(tmp_path: Path, unpaired: str) -> None:
    data = write_pairs(tmp_path / "d", [x[..., :1] for x in images(3, 0)], images(3, 1))
    back: Any = "BtoA"
    with pytest.raises(DataError, match="truths of 1 channels; expected 3"):
        build(Asked(maker([]), data, "test", SIDE, back))
    with pytest.raises(DataError, match="unpaired samples; expected paired"):
        build(Asked(maker([]), DataSet(unpaired), "test", SIDE))


def test_colour_plot_shows_both_lines_in_three_panels(tmp_path: Path) -> None:
    asked = Asked(maker(images(3, 0)), write_pairs(tmp_path / "d", images(3, 1), images(3, 2)), "test", SIDE)
    family = build(asked)
    parts = parts_of(family, asked)
    figure = np.asarray(Image.open(io.BytesIO(plot(parts))).convert("RGB")).astype(int)
    assert family.pictures(parts) == {"colour": plot(parts)}
    assert family.pictures([]) == {}
    for colour in LINES.values():
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        drawn = (np.abs(figure - wanted) < 8).all(-1)[60:]
        for third in np.array_split(drawn, 3, axis=1):
            assert third.sum() > 100, colour
