"""Pairs whose names differ: patterns, tables, and halves one above the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from i2i_core.data.folders import pairing
from i2i_core.data.folders.layouts import Found, LayoutOptions, find
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.shards import WITHOUT_PARTNER
from i2i_core.errors import DataError, UserError

from ..support.data import noise, put, sample, shard

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Makes empty files and gives their folder."""

    def _write(*names: str) -> str:
        for name in names:
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return str(tmp_path / "in")

    return _write


def run(uri: str, **options: object) -> Found:
    return find(LayoutOptions(layout="pairs", input=uri, **options))  # type: ignore[arg-type]


def message(uri: str, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        run(uri, **options)
    return str(caught.value)


def rows(found: Found) -> list[tuple[object, ...]]:
    return [(r.key, *r.sources) for r in found.records]


@pytest.mark.parametrize(
    ("names", "patterns", "expected"),
    [
        (("x_A.png", "x_B.jpg", "y_A.png", "y_B.png"), ("{key}_A", "{key}_B"), ["x", "y"]),
        (("input_1.png", "target_1.png"), ("input_{key}", "target_{key}"), ["1"]),
        (("1_real.png", "1_label.png"), ("{key}_label", "{key}_real"), ["1"]),
        (("1.png", "1_label.png", "2.png", "2_label.png"), ("{key}", "{key}_label"), ["1", "2"]),
        (("p/1.png", "l/1_l.png", "p/d/2.png", "l/d/2_l.png"), ("p/{key}", "l/{key}_l"), ["1", "d/2"]),
        (("1_A.png", "1_B.png", "1_B.jpg"), ("{key}_A.png", "{key}_B.jpg"), ["1"]),
        (("day/1/day_1.png", "night/1/1.png"), ("day/{key}/day_{key}", "night/{key}/{key}"), ["1"]),
    ],
)
def test_pairs_by_pattern_have_what_the_names_share_as_key(
    write: Write, names: tuple[str, ...], patterns: tuple[str, str], expected: list[str]
) -> None:
    found = run(write(*names), pair_pattern=patterns)
    assert (found.kind, found.fields, found.lone) == ("paired", ("a", "b"), ())
    assert sorted(r.key for r in found.records) == expected
    turned = run(write(), pair_pattern=patterns, direction="BtoA")
    assert [r.sources[::-1] for r in turned.records] == [r.sources for r in found.records]


def test_pairs_by_pattern_take_splits_from_folders_above_or_within(write: Write) -> None:
    uri = write("train/1_A.png", "train/1_B.png", "val/1_A.png", "val/1_B.png")
    found = run(uri, pair_pattern=("{key}_A", "{key}_B"))
    assert [(r.key, r.split) for r in found.records] == [("1", "train"), ("1", "val")]
    uri = write("../other/A/train/1.png", "../other/B/training/1.png", "../other/A/test/2.png") + "/../other"
    assert "1 only in side A (test/2)" in message(uri, pair_pattern=("A/{split}/{key}", "B/{split}/{key}"))


def test_pairs_by_pattern_within_two_folders_of_their_own(write: Write) -> None:
    uri = write("x/1_rgb.png", "y/1_depth.png", "y/notes.png")
    found = run(f"{uri}/x", input_b=f"{uri}/y", pair_pattern=("{key}_rgb", "{key}_depth"))
    assert rows(found) == [("1", "1_rgb.png", "1_depth.png")]
    assert "1 file that the layout does not take (.png)" in found.notes[0]


def test_pairs_by_pattern_name_lone_images_and_leave_them_out_when_asked(write: Write) -> None:
    uri = write("1_A.png", "1_B.png", "2_A.png", "3_B.png", "4_C.png")
    patterns = ("{key}_A", "{key}_B")
    text = message(uri, pair_pattern=patterns)
    assert "1 only in side A (2) and 1 only in side B (3)" in text
    assert "--common-only" in text
    found = run(uri, pair_pattern=patterns, common_only=True)
    assert [r.key for r in found.records] == ["1"]
    assert found.lone == (f"{uri}/2_A.png", f"{uri}/3_B.png")
    assert "1 file that the layout does not take" in found.notes[0]


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        (("{key}_A",), "two patterns"),
        (("{key}_A", "x_B"), "'x_B'"),
        (("{key}_A", "{name}_B"), "{name}_B"),
        (("/abs/{key}", "{key}"), "a path below --input"),
        (("../{key}", "{key}"), "a path below --input"),
        (("{key}", "{key}"), "which are equal"),
        (("{split}/{key}_A", "{key}_B"), "in both patterns or in neither"),
        (("{key}_X", "{key}_B"), "no image of '{key}_X'"),
    ],
)
def test_pair_patterns_that_cannot_be_are_refused(write: Write, patterns: tuple[str, ...], says: str) -> None:
    assert says in message(write("1_A.png", "1_B.png"), pair_pattern=patterns)


def test_pair_pattern_refuses_two_images_of_one_key(write: Write) -> None:
    text = message(write("1_A.png", "1_A.jpg", "1_B.png"), pair_pattern=("{key}_A", "{key}_B"))
    assert "both 1_A.jpg and 1_A.png" in text


def test_pairs_in_folders_of_splits_are_not_taken_for_the_two_sides(write: Write) -> None:
    """Images of equal names in train/ and val/ were pairs once."""
    assert "--layout pairs" in message(write("train/1.png", "val/1.png"))
    found = run(
        write("../deep/train/a/1.png", "../deep/train/b/1.png", "../deep/val/a/1.png", "../deep/val/b/1.png")
        + "/../deep"
    )
    assert [(r.key, r.split, r.sources[1][-7:]) for r in found.records] == [
        ("1", "train", "b/1.png"),
        ("1", "val", "b/1.png"),
    ]


TABLE = "photos/1.png,labels/one.png\nphotos/2.png,labels/two.jpg\n"


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        "input,target\n" + TABLE,
        "\ufeff" + TABLE.replace("\n", "\r\n"),
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        TABLE.replace(",", ", ").replace("labels/one.png", '"labels/one.png"'),
        TABLE.replace(".png", "").replace(".jpg", ""),
        TABLE.replace("/", "\\"),
        TABLE.replace("photos", "./photos"),
        "a,b\n\n" + TABLE + "\n",
    ],
)
def test_pair_table_is_read_as_people_write_it(write: Write, text: str) -> None:
    uri = write("photos/1.png", "photos/2.png", "labels/one.png", "labels/two.jpg")
    (Path(uri) / "pairs.csv").write_bytes(text.encode())
    found = run("", pair_table=f"{uri}/pairs.csv")
    assert rows(found) == [("1", "photos/1.png", "labels/one.png"), ("2", "photos/2.png", "labels/two.jpg")]
    assert any("heading: input, target" in note for note in found.notes) == text.startswith("input")


def test_pair_table_of_utf16_and_of_absolute_paths(write: Write) -> None:
    uri = write("1.png", "2.png")
    (Path(uri) / "t.csv").write_text(f"{uri}/1.png,{uri}/2.png\n", "utf-16")
    assert rows(run("", pair_table=f"{uri}/t.csv")) == [("1", "1.png", "2.png")]


def test_pair_table_elsewhere_names_paths_below_the_inputs(write: Write, tmp_path: Path) -> None:
    uri = write("x/1.png", "y/7.png", "y/8.png")
    (tmp_path / "t.csv").write_text("1.png,7.png\n1.png,8.png\n")
    found = run(f"{uri}/x", input_b=f"{uri}/y", pair_table=str(tmp_path / "t.csv"))
    assert [r.sources for r in found.records] == [("1.png", "7.png"), ("1.png", "8.png")]
    assert len({r.key for r in found.records}) == 2, "one image in two rows is two samples"


def test_pair_table_takes_splits_from_its_third_column_or_from_folders(write: Write) -> None:
    uri = write("a/train/1.png", "a/test/2.png", "b/1.png", "b/2.png")
    table = Path(uri) / "t.csv"
    table.write_text("a/train/1.png,b/1.png\na/test/2.png,b/2.png\n")
    assert [(r.key, r.split) for r in run("", pair_table=str(table)).records] == [("1", "train"), ("2", "test")]
    table.write_text("a,b,split\na/train/1.png,b/1.png,val\na/test/2.png,b/2.png,train\n")
    assert [(r.key, r.split) for r in run("", pair_table=str(table)).records] == [("1", "val"), ("2", "train")]
    table.write_text("a/train/1.png,b/1.png,x\n")
    assert "line 1: found the split 'x'" in message("", pair_table=str(table))


def test_pair_table_names_rows_without_images_and_leaves_them_out_when_asked(write: Write) -> None:
    uri = write("a/1.png", "a/2.png", "a/3.png", "b/1.png")
    table = Path(uri) / "t.csv"
    table.write_text("a/1.png,b/1.png\na/2.png,b/2.png\na/9.png,b/9.png\na/1.png,b/1.png\n")
    text = message("", pair_table=str(table))
    assert "2 rows of images that are not there (line 2: b/2.png, line 3: a/9.png)" in text
    assert "--common-only" in text
    found = run("", pair_table=str(table), common_only=True)
    assert rows(found) == [("1", "a/1.png", "b/1.png")]
    assert found.lone == (f"{uri}/a/2.png",)
    assert "1 row of" in found.notes[0]
    assert "1 file that the layout does not take" in found.notes[1], "neither the table nor a lone image"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no row"),
        ("a/1.png\n", "1 cell"),
        ("a/1.png,b/1.png,train,x\n", "4 cells"),
        ("a/1.png,b/1.png\na/1.png,\n", "line 2"),
        ("a/1.png,a/1.png\n", "a/1.png twice"),
        ("a/x.png,b/x.png\n", "1 row of images that are not there"),
        ('a/1.png,"b/1.png\n', "cannot be read"),
    ],
)
def test_pair_table_of_another_form_is_refused_with_its_line(write: Write, text: str, says: str) -> None:
    uri = write("a/1.png", "b/1.png")
    (Path(uri) / "t.csv").write_text(text)
    assert says in message("", pair_table=f"{uri}/t.csv")


def test_pair_options_are_refused_beside_other_layouts(write: Write) -> None:
    uri = write("a/1.png", "b/1.png")
    for options in ({"pair_pattern": ("{key}", "{key}")}, {"pair_table": "t.csv"}, {"stacked": True}):
        with pytest.raises(UserError, match="Leave it out"):
            find(LayoutOptions(layout="classes", input=uri, **options))  # type: ignore[arg-type]
    assert "no file at that place" in message(uri, pair_table=f"{uri}/none.csv")
    assert "one of the two" in message(uri, pair_table="t", pair_pattern=("{key}", "x{key}"))


def test_sharding_pairs_of_a_table_stores_both_images_and_lists_lone_ones(tmp_path: Path) -> None:
    a, b = noise(4, 4, 3), noise(4, 4, 1)
    put(tmp_path / "in/x/cat.png", a)
    put(tmp_path / "in/y/drawing.png", b)
    put(tmp_path / "in/x/lone.png", a)
    (tmp_path / "in/t.csv").write_text("x/cat.png,y/drawing.png\nx/lone.png,y/lone.png\n")
    where = {"pair_table": str(tmp_path / "in/t.csv"), "split": (1.0, 0.0, 0.0)}
    with pytest.raises(DataError, match="--common-only"):
        shard("pairs", "", tmp_path / "out", **where)
    manifest = shard("pairs", "", tmp_path / "out", common_only=True, **where)
    got = sample(tmp_path / "out", "cat")
    assert np.array_equal(got[0], a)
    assert np.array_equal(got[1], b)
    assert manifest.made_by["layout"].keys().isdisjoint({"pair_table", "pair_pattern", "stacked"})
    assert (tmp_path / "out" / WITHOUT_PARTNER).read_text().splitlines()[1:] == [f"{tmp_path}/in/x/lone.png"]


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_sharding_ab_one_above_the_other_cuts_upper_and_lower_halves(tmp_path: Path, direction: str) -> None:
    x = noise(6, 4, 3)
    put(tmp_path / "in/1.png", x)
    out = tmp_path / "out"
    manifest = shard("ab", tmp_path / "in", out, stacked=True, direction=direction, split=(1.0, 0.0, 0.0))
    halves = [x[:3], x[3:]]
    got = sample(out, "1")
    assert all(map(np.array_equal, got, halves if direction == "AtoB" else halves[::-1]))
    assert DataSet(str(out)).manifest.made_by["layout"]["stacked"]
    assert manifest.fields["a"].height == 3


def test_sharding_ab_of_an_odd_side_names_the_flag_for_the_other_cut(tmp_path: Path) -> None:
    put(tmp_path / "in/1.png", noise(6, 3, 3))
    with pytest.raises(DataError, match="--stacked"):
        shard("ab", tmp_path / "in", tmp_path / "out")
    shard("ab", tmp_path / "in", tmp_path / "out", stacked=True, split=(1.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("1_A", "1_B", "2_A", "2_B"), ("_A", "_B", True)),
        (("in_1", "out_1", "in_2", "out_2"), ("in_", "out_", False)),
        (("1", "1_label", "2", "2_label"), ("", "_label", True)),
        (("1a", "1b", "2a", "2b"), ("a", "b", True)),
        (("shot 1 sharp", "shot 1 shadow", "shot 2 sharp", "shot 2 shadow"), (" shadow", " sharp", True)),
        (("img_00", "img_01", "img_10", "img_11"), None),
        (("cat_1", "cat_2", "dog_1", "dog_2"), ("cat_", "dog_", False)),
        (("1_A", "1_B", "2_A", "3_B"), None),
        (("1_A", "1_B", "1_C", "2_A", "2_B", "2_C"), None),
        (("1_A", "1_B"), None),
    ],
)
def test_told_apart_finds_the_words_of_both_sides_or_none(
    names: tuple[str, ...], words: tuple[str, str, bool] | None
) -> None:
    assert pairing.told_apart([("", name) for name in names]) == words
