"""Which samples are shown, and that a sheet shows what the method makes of them.

pytest tests/unit/test_extremes.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2i_core.data.format.manifest import DataSet
from i2i_core.evaluation.extremes import chosen, sheet
from i2i_core.evaluation.samples import Asked
from i2i_core.evaluation.suite import BETTER, Suite
from i2i_core.images.sheet import GAP, LEAST_CELL, MOST_LABEL, contact_sheet, to_array
from i2i_core.methods import build_method
from i2i_core.methods.base import Method
from tests.support.data import whole_index

from ..support.pairs import Pairs, range_of, write_pairs

SIDE = 16
CELL = LEAST_CELL


def keys(shown: dict[str, list[tuple[str, float]]]) -> dict[str, str]:
    return {kind: "".join(key for key, _ in ranked) for kind, ranked in shown.items()}


def cells(picture: Image.Image, rows: int, columns: int) -> np.ndarray:
    """(rows, columns, SIDE, SIDE, 3): the images of a sheet, each as large as it was. Titles are no wider."""
    x = np.asarray(picture)
    tops = [x.shape[0] - (rows - i) * (CELL + GAP) for i in range(rows)]
    lefts = [x.shape[1] - (columns - i) * (CELL + GAP) for i in range(columns)]
    step = CELL // SIDE
    return np.array([[x[t : t + CELL : step, left : left + CELL : step] for left in lefts] for t in tops])


# ---------------------------------------------------------------- which samples


def test_chosen_are_the_best_the_median_and_the_worst_from_better_to_worse() -> None:
    ranked = [(key, float(value)) for value, key in enumerate("abcdefghi")][::-1]
    assert keys(chosen(ranked, "lower", 2)) == {"best": "ab", "median": "de", "worst": "hi"}
    assert keys(chosen(ranked, "higher", 2)) == {"best": "ih", "median": "fe", "worst": "ba"}
    assert chosen(ranked, "lower", 1) == {"best": [("a", 0.0)], "median": [("e", 4.0)], "worst": [("i", 8.0)]}


def test_chosen_orders_equal_samples_by_key_and_takes_nan_for_worst() -> None:
    ranked = [("c", 1.0), ("a", 1.0), ("n", float("nan")), ("b", 1.0), ("d", -5.0)]
    assert keys(chosen(ranked, "higher", 1)) == {"best": "a", "median": "c", "worst": "n"}
    assert keys(chosen(ranked, "lower", 1)) == {"best": "d", "median": "b", "worst": "n"}


@pytest.mark.parametrize(
    ("n", "shared"),
    [(0, ("", "", "")), (1, ("a", "", "")), (2, ("a", "", "b")), (3, ("a", "b", "c")), (4, ("ab", "c", "d")),
     (5, ("ab", "c", "de")), (8, ("abc", "de", "fgh")), (9, ("abc", "def", "ghi"))],
)  # fmt: skip
def test_chosen_shares_few_samples_and_takes_none_twice(n: int, shared: tuple[str, ...]) -> None:
    ranked = [(key, float(value)) for value, key in enumerate("abcdefghi"[:n])]
    assert tuple(keys(chosen(ranked, "lower", 4)).values()) == shared


# ---------------------------------------------------------------- sheets


def test_sheet_of_pairs_shows_source_translation_and_truth_of_each(tmp_path: Path) -> None:
    """Sample i is made wrong by i grey levels."""
    a, b = np.random.default_rng(0).integers(0, 200, (2, 5, SIDE, SIDE, 3), dtype=np.uint8)
    wrong = np.array([3, 0, 4, 1, 2], np.uint8)
    made = [b[i] + wrong[i] for i in range(5)]
    method = Pairs(lambda x, keys: range_of([made[int(key)] for key in keys]))
    suite = Suite(Asked(method, write_pairs(tmp_path / "d", list(a), list(b)), "test", SIDE))
    result = suite.result(suite.parts())
    shown = chosen(result.ranked, BETTER[suite.basic.ranking], 1)
    assert {kind: [int(key) for key, _ in ranked] for kind, ranked in shown.items()} == {
        "best": [1], "median": [4], "worst": [2]
    }  # fmt: skip
    for row, i in zip(cells(sheet(suite, shown), 3, 3), (1, 4, 2), strict=True):
        assert np.array_equal(row, np.stack([a[i], made[i], b[i]]))


def test_sheet_leaves_out_a_sample_that_became_unreadable(tmp_path: Path) -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8))
    data = write_pairs(tmp_path / "d", images, images)
    suite = Suite(Asked(Pairs(lambda x, keys: x), data, "test", SIDE))
    shown = chosen(suite.result(suite.parts()).ranked, "lower", 1)
    whole = sheet(suite, shown)
    with (tmp_path / "d" / "all.tar").open("r+b") as file:
        file.seek(int(whole_index(data, "test").offset[1, 0]))
        file.write(b"no image")
    assert whole.size[1] - sheet(suite, shown).size[1] == CELL + GAP


def grey_cells(picture: Image.Image, rows: int) -> np.ndarray:
    return cells(picture, rows, 3)[..., 0]


def seen(x: object) -> np.ndarray:
    return to_array(x)[..., 0]  # type: ignore[arg-type]


def test_sheet_of_labels_goes_to_the_label_that_was_measured_and_back(labelled: str) -> None:
    """Against `there_and_back` of the shown sample, from the pixels of the sheet."""
    names = ("serif", "bold", "oblique", "mono")
    small = {"g_base": 4, "d_base": 4, "d_layers": 3, "blocks": 1, "n_critic": 1, "image_size": SIDE}
    method = build_method("stargan", channels=1, c_dim=4, attributes=names, columns=(0, 1, 2, 3), **small)
    suite = Suite(Asked(method, DataSet(labelled), "test", SIDE, most=40))
    shown = chosen(suite.result(suite.parts()).ranked, "lower", 1)
    for row, (value,) in zip(grey_cells(sheet(suite, shown), 3), shown.values(), strict=True):
        source, there, back = row.astype(float) / 255
        assert np.abs(back - source).mean() == pytest.approx(value[1], abs=2e-3)
        assert np.abs(there - source).mean() > 0.01


def test_sheet_of_two_domains_goes_there_and_back(unpaired: str) -> None:
    method: Method[object] = build_method(
        "cyclegan", in_channels=1, out_channels=1, g_base=4, d_base=4, image_size=SIDE, blocks=1, receptive_field=16
    )
    suite = Suite(Asked(method, DataSet(unpaired), "test", SIDE))
    shown = chosen(suite.result(suite.parts()).ranked, "lower", 1)
    for row, (value,) in zip(grey_cells(sheet(suite, shown), 3), shown.values(), strict=True):
        source, _, back = row.astype(float) / 255
        assert np.abs(back - source).mean() == pytest.approx(value[1], abs=2e-3)


# ---------------------------------------------------------------- what stands before a row


def test_contact_sheet_writes_words_beside_each_row_and_leaves_images_as_they_are() -> None:
    x = range_of(list(np.random.default_rng(0).integers(90, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)))
    plain, labelled = (np.asarray(contact_sheet({"": x}, rows=rows)) for rows in ((), ("best\n1", "", "w" * 300)))
    margin = labelled.shape[1] - plain.shape[1]
    assert np.array_equal(labelled[:, margin + GAP :], plain[:, GAP:])
    assert MOST_LABEL * 0.9 < margin <= MOST_LABEL + GAP + 1
    top = plain.shape[0] - 3 * (CELL + GAP)
    dark = (labelled[top:, :margin] < 80).all(-1).reshape(3, CELL + GAP, margin)
    assert [part.any() for part in dark] == [True, False, True]
    rows = np.flatnonzero(dark[0].any(1))
    assert abs((rows[0] + rows[-1]) / 2 - CELL / 2) < 6, "in the middle of its row"
