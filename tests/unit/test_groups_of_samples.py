"""`--group-by` cuts splits by groups: near-copies never fall into two splits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2i_core.data.folders.declared import FieldOptions
from i2i_core.data.folders.groups import cut_groups, groups_of
from i2i_core.data.folders.layouts import Found, LayoutOptions, Record, find, order, with_groups
from i2i_core.data.format.shards import ShardOptions, plan
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.errors import ConfigError, DataError
from i2i_core.images.codec import ImageOptions
from i2i_core.orchestration.sharding import make

from ..support.data import put

PERSON = "([a-z]+)_"


def people(folder: Path, *below: str, names: str = "abcdefghij", each: int = 3) -> str:
    """Write `each` images of every person below each folder, some more of the first."""
    for where in below or ("",):
        for name in names:
            for i in range(each + 4 * (name == names[0])):
                put(folder / where / f"{name}_{i}.png", np.full((4, 8, 3), 20 * i, np.uint8))
    return str(folder)


def grouped(layout: str, uri: str, pattern: str = PERSON, **options: object) -> Found:
    return find(LayoutOptions(layout=layout, input=uri, group_by=pattern, **options))  # type: ignore[arg-type]


def check_whole(found: Found, pattern: str = PERSON) -> None:
    """Check that no group is in two splits, and that every split has samples."""
    groups = groups_of((r.key for r in found.records), pattern)
    splits: dict[str, set[str | None]] = {}
    for r in found.records:
        splits.setdefault(groups[r.key], set()).add(r.split)
    assert all(len(some) == 1 for some in splits.values())
    assert {r.split for r in found.records} == {"train", "val", "test"}


SHARES = (0.6, 0.2, 0.2)


@given(
    sizes=st.dictionaries(st.text("abcdef", min_size=1), st.integers(1, 40), min_size=1),
    cut=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)).filter(any),
    seed=st.integers(0, 3),
)
def test_cut_groups_keeps_to_the_shares_as_far_as_whole_groups_allow(
    sizes: dict[str, int], cut: tuple[int, int, int], seed: int
) -> None:
    shares = tuple(part / sum(cut) for part in cut)
    splits = cut_groups(sizes, shares, order(sizes, seed))  # type: ignore[arg-type]
    assert splits.keys() == sizes.keys()
    assert splits == cut_groups(dict(reversed(sizes.items())), shares, order(sizes, seed))  # type: ignore[arg-type]
    n, largest = sum(sizes.values()), max(sizes.values())
    held = {split: sum(sizes[name] for name, its in splits.items() if its == split) for split in ("val", "test")}
    assert held["test"] <= shares[2] * n + 0.5 + largest / 2
    assert held["val"] <= shares[1] * n + 0.5 + largest / 2
    assert "train" in splits.values() or not shares[0]


def test_cut_groups_counts_groups_that_are_settled() -> None:
    sizes, halves = {"a": 5, "b": 5}, (0.5, 0.0, 0.5)
    assert cut_groups(sizes, halves, ["a", "b"]) == {"a": "test", "b": "train"}
    assert cut_groups(sizes, halves, ["a", "b"], {"b": "test"}) == {"a": "train", "b": "test"}


@given(
    rows=st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from("abcdefgh"), st.integers(0, 9)), min_size=1),
    seed=st.integers(0, 3),
)
def test_with_groups_never_puts_a_group_into_two_splits(rows: list[tuple[str, str, int]], seed: int) -> None:
    records = [Record(f"{group}_{n}", (f"{domain}/{group}_{n}.png",), None, domain) for domain, group, n in rows]
    options = LayoutOptions(layout="unpaired", split=SHARES, seed=seed, group_by=PERSON)

    def cut(some: list[Record]) -> set[tuple[str, str | None]]:
        found = Found("unpaired", ("image",), tuple(some), "files", domains=("A", "B"))
        return {(r.key[0], r.split) for r in with_groups(found, options).records}

    splits = cut(records)
    assert len(splits) == len({group for group, _ in splits}) == len({group for _, group, _ in rows})
    assert None not in {split for _, split in splits}
    assert cut(records[::-1]) == splits


@pytest.mark.parametrize("layout", ["ab", "pairs", "unpaired", "classes", "fields"])
def test_group_by_cuts_every_layout_between_groups(tmp_path: Path, layout: str) -> None:
    below = {"pairs": ("a", "b"), "unpaired": ("x", "y"), "classes": ("cat", "dog")}.get(layout, ())
    uri = people(tmp_path, *below)
    options: dict[str, object] = {"split": SHARES}
    if layout == "unpaired":
        uri, options["input_b"] = f"{uri}/x", f"{uri}/y"
    if layout == "fields":
        own = LayoutOptions(layout="fields", input=uri, group_by=PERSON, split=SHARES)
        found = find(own, None, FieldOptions(field=("image={key}.png",)))
    else:
        found = grouped(layout, uri, **options)
    check_whole(found)
    assert any("10 groups" in note for note in found.notes)
    if layout != "fields":
        assert grouped(layout, uri, **options) == found
        assert grouped(layout, uri, **{**options, "seed": 1}).records != found.records


def test_group_by_takes_clips_by_their_names(tmp_path: Path) -> None:
    for clip in ("anna_1", "anna_2", "bo_1", "cy_1", "di_1"):
        for i in range(4):
            put(tmp_path / clip / f"{i}.png", np.zeros((4, 4, 3), np.uint8))
    options = LayoutOptions(layout="fields", input=str(tmp_path), group_by=PERSON, split=SHARES)
    found = find(options, None, FieldOptions(field=("image={clip}/{frame}.png",)))
    assert len({r.split for r in found.records if r.clip.startswith("anna")}) == 1
    assert {r.split for r in found.records} == {"train", "val", "test"}


@pytest.mark.parametrize("kind", ["labelled", "paired", "unpaired"])
def test_group_by_takes_glyphs_which_are_split_by_character(kind: str) -> None:
    options = LayoutOptions(layout="glyphs", group_by=r"U\+(\w+)-")
    found = find(options, GlyphOptions(glyphs=kind, characters=60))  # type: ignore[arg-type]
    assert {r.split for r in found.records} == {"train", "val", "test"}


def test_group_by_refuses_folders_that_cut_a_group(tmp_path: Path) -> None:
    people(tmp_path, "train", names="abc")
    people(tmp_path, "val", names="de")
    assert {r.split for r in grouped("ab", str(tmp_path)).records} == {"train", "val"}
    people(tmp_path, "val", names="c")
    with pytest.raises(DataError, match=r"group 'c' in two splits: 'train/c_0\.png' in train, 'val/c_0\.png' in val"):
        grouped("ab", str(tmp_path))


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("z_", "finds no group in 34 of 34 names ('a_0', ...)"),
        ("^(a)?", "finds no group in 27 of 34 names ('b_0', ...)"),
        ("(", "missing )"),
    ],
)
def test_group_by_refuses_names_that_do_not_fit(tmp_path: Path, pattern: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        grouped("ab", people(tmp_path), pattern)
    assert says in str(caught.value)


def test_group_by_is_recorded_and_must_match_on_resuming(tmp_path: Path) -> None:
    uri = people(tmp_path / "in")
    to = ShardOptions(out=str(tmp_path / "out"), shard_samples=10)

    def shard(pattern: str) -> None:
        layout = LayoutOptions(layout="ab", input=uri, group_by=pattern)
        make(plan(find(layout), layout, GlyphOptions(), ImageOptions(), to), to, 0)

    shard(PERSON)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["made_by"]["layout"]["group_by"] == PERSON
    shard(PERSON)
    saved = re.escape(json.dumps(PERSON))
    with pytest.raises(DataError, match=rf'with other options \(group_by: {saved} there, "\^\(\.\)" here\)'):
        shard("^(.)")
    with pytest.raises(DataError, match=rf"with other options \(group_by: {saved} there, not given here\)"):
        shard("")
    put(tmp_path / "in" / "kim_0.png", np.zeros((4, 8, 3), np.uint8))
    with pytest.raises(DataError, match="the options are equal: the images or their names differ"):
        shard(PERSON)
