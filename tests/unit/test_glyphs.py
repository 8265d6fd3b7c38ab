"""The built-in characters: which they are, how they are drawn, how they are dealt out."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict

import numpy as np
import pytest

from i2i_core.data.folders.layouts import Found, LayoutOptions, find
from i2i_core.data.worlds import glyphs
from i2i_core.data.worlds.glyphs import STYLES, GlyphOptions, characters, fill, outline, render, source
from i2i_core.errors import ConfigError

SOME = "Ag.W@ỘжΩ→½"


def deal(**options: object) -> Found:
    return find(LayoutOptions(layout="glyphs"), GlyphOptions(**options))  # type: ignore[arg-type]


def character_of(key: str) -> str:
    return key.split("-")[0]


def test_glyphs_are_two_thousand_characters_that_every_style_has() -> None:
    from fontTools.ttLib import TTFont

    assert len(characters()) >= 2000
    assert set("Ag0?éжΩ") <= set(characters())
    for style in STYLES.values():
        with TTFont(glyphs._font_file(style), lazy=True) as font:
            assert {ord(c) for c in characters()} <= set(font.getBestCmap())


def test_glyphs_are_no_spaces_controls_or_combining_marks() -> None:
    assert not {c for c in characters() if unicodedata.category(c) in ("Zs", "Cc", "Cf", "Mn", "Me")}


def test_glyphs_leave_ink_inside_the_margins() -> None:
    size, margin = 32, 1
    for c in characters():
        ink = fill(c, "serif-bold", size)
        assert ink.max() > 60, f"U+{ord(c):04X} is blank"
        framed = ink.copy()
        framed[margin:-margin, margin:-margin] = 0
        assert not framed.any(), f"U+{ord(c):04X} touches the border"


def test_glyphs_of_large_characters_are_not_clipped() -> None:
    for c in "WỘᾯ⟷—":
        for style in STYLES:
            ink = fill(c, style, 48)
            border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
            assert not border.any(), (c, style)


def test_glyphs_are_centred() -> None:
    for c in SOME:
        for style in STYLES:
            rows, columns = np.nonzero(fill(c, style, 64) > 127)
            assert abs((rows.min() + rows.max()) / 2 - 31.5) <= 1
            assert abs((columns.min() + columns.max()) / 2 - 31.5) <= 1


def test_glyphs_in_bold_have_more_ink_and_oblique_ones_lean() -> None:
    for c in "AgHж":
        for family in ("sans", "serif", "mono"):
            regular, bold = fill(c, f"{family}-regular", 64), fill(c, f"{family}-bold", 64)
            assert bold.sum() > 1.2 * regular.sum()
    ink = fill("l", "sans-oblique", 64).astype(float)
    centre = (ink * np.arange(64)).sum(1) / np.maximum(ink.sum(1), 1)
    rows = np.nonzero(ink.sum(1) > 200)[0]
    assert centre[rows[0]] > centre[rows[-1]] + 3


def test_glyphs_of_twelve_styles_are_twelve_drawings() -> None:
    assert len(STYLES) == 12
    assert len({fill("a", style, 64).tobytes() for style in STYLES}) == 12


def test_glyphs_are_antialiased() -> None:
    assert len(np.unique(fill("O", "sans-regular", 32))) > 8


def test_glyphs_in_grey_are_dark_on_light() -> None:
    x = render(source("A", "sans-bold"), 32)
    assert x.shape == (32, 32, 1)
    assert x.dtype == np.uint8
    assert x[0, 0, 0] == 255
    assert x.min() == 0
    assert np.array_equal(255 - x[..., 0], fill("A", "sans-bold", 32))


def test_glyphs_have_contrasting_colours_of_their_character() -> None:
    for c in characters()[::20]:
        ink, paper = glyphs.colours(c, 0)
        assert glyphs._contrast(ink, paper) >= glyphs.CONTRAST
    plain, serif = (render(source("M", s), 32, colour=True) for s in ("sans-bold", "serif-bold"))
    assert np.array_equal(plain[0, 0], serif[0, 0])
    assert np.array_equal(plain[0, 0], glyphs.colours("M", 0)[1])
    assert (plain == glyphs.colours("M", 0)[0]).all(axis=2).any(), "no pixel has the colour of the ink"
    assert not np.array_equal(plain[0, 0], render(source("M", "sans-bold"), 32, colour=True, seed=1)[0, 0])
    white = render(source("M", "sans-bold"), 32, colour=True, white_paper=True)
    assert (white[0, 0] == 255).all()
    assert (white == glyphs.colours("M", 0)[0]).all(axis=2).any(), "no pixel has the colour of the ink"


def test_glyph_outline_lies_on_its_filled_shape() -> None:
    for c in "BOж@":
        rim, whole = outline(c, "serif-bold", 64).astype(int), fill(c, "serif-bold", 64).astype(int)
        assert (rim <= whole).all()
        assert 0.2 * whole.sum() < rim.sum() < 0.8 * whole.sum()
        edge = (whole > 40) & (whole < 215)
        assert np.abs(rim - whole)[edge].mean() < 1, "the rim does not follow the edge of the shape"
    middle = outline("I", "sans-bold", 64)[32]
    assert middle[middle.nonzero()[0].mean().astype(int)] == 0, "the inside of an outline is not empty"


def test_glyphs_of_the_same_arguments_are_the_same_bytes() -> None:
    names = [source(c, s, d) for c in SOME for s in ("mono-bold", "serif-oblique") for d in ("fill", "outline")]

    def digest(ordered: list[str]) -> dict[str, str]:
        return {name: hashlib.sha256(render(name, 24, colour=True).tobytes()).hexdigest() for name in ordered}

    first = digest(names)
    for cached in (glyphs._drawn, glyphs._font, glyphs._em, glyphs._blend, glyphs.colours):
        cached.cache_clear()
    assert digest(names[::-1]) == first


def test_glyphs_labelled_draw_each_character_in_every_style() -> None:
    found = deal(characters=50)
    assert found.kind == "labelled"
    assert found.attributes == ("serif", "bold", "oblique", "mono")
    assert len(found.records) == 50 * 12
    labels = {r.key: r.labels for r in found.records if r.key.endswith(("serif-bold", "mono-oblique", "sans-regular"))}
    assert {v for k, v in labels.items() if k.endswith("serif-bold")} == {(1, 1, 0, 0)}
    assert {v for k, v in labels.items() if k.endswith("mono-oblique")} == {(0, 0, 1, 1)}
    assert {v for k, v in labels.items() if k.endswith("sans-regular")} == {(0, 0, 0, 0)}


def test_glyphs_are_split_by_character_by_the_shares() -> None:
    split_of = defaultdict(set)
    for record in deal().records:
        split_of[character_of(record.key)].add(record.split)
    assert all(len(splits) == 1 for splits in split_of.values())
    n = len(characters())
    counts = [sum(splits == {name} for splits in split_of.values()) for name in ("train", "val", "test")]
    assert counts == [n - 2 * round(0.05 * n), round(0.05 * n), round(0.05 * n)]


def test_glyphs_move_between_splits_with_the_seed() -> None:
    def test_set(seed: int) -> set[str]:
        found = find(LayoutOptions(layout="glyphs", seed=seed), GlyphOptions())
        return {character_of(r.key) for r in found.records if r.split == "test"}

    assert test_set(0) == test_set(0)
    assert test_set(0) != test_set(1)


def test_glyphs_unpaired_share_characters_in_test_alone() -> None:
    found = deal(glyphs="unpaired", characters=200)
    sets = defaultdict(set)
    for record in found.records:
        sets[record.split, record.domain].add(character_of(record.key))
    assert not sets["train", "A"] & sets["train", "B"]
    assert len(sets["train", "A"]) == len(sets["train", "B"]) == 90
    assert sets["test", "A"] == sets["test", "B"]
    assert not sets["test", "A"] & (sets["train", "A"] | sets["train", "B"])
    assert {r.sources[0].split("/")[1] for r in found.records if r.domain == "B"} == {"serif-regular"}


def test_glyphs_paired_have_variants() -> None:
    lines = deal(glyphs="paired", characters=10, styles=("serif-bold", "mono-regular"))
    assert len(lines.records) == 20
    assert all(
        a.endswith("/outline") and a.replace("outline", "fill") == b for a, b in (r.sources for r in lines.records)
    )
    bold = deal(glyphs="paired", variant="bold", characters=10)
    assert len(bold.records) == 60
    assert all("bold" not in a and "bold" in b for a, b in (r.sources for r in bold.records))
    assert ("U+0041/serif-oblique/fill", "U+0041/serif-bold-oblique/fill") in {
        r.sources for r in deal(glyphs="paired", variant="bold").records
    }


def test_glyphs_paired_swap_with_the_direction() -> None:
    options, glyph = LayoutOptions(layout="glyphs", direction="BtoA"), GlyphOptions(glyphs="paired", characters=5)
    assert all(r.sources[1].endswith("/outline") for r in find(options, glyph).records)


def test_glyphs_refuse_an_unknown_style_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean sans-bold"):
        GlyphOptions(styles=("sans-bolt",))
    with pytest.raises(ConfigError, match="--size"):
        GlyphOptions(size=2)


def test_glyphs_in_colour_have_a_colour_that_the_input_does_not_tell() -> None:
    records = deal(glyphs="paired", variant="colour", characters=10).records
    a, b = (render(name, 32, colour=True, white_paper=True).astype(int) for name in records[0].sources)
    assert a.shape == b.shape == (32, 32, 3)
    assert (a == a[..., :1]).all(), "the input is grey"
    ink = glyphs.colours(chr(int(records[0].sources[0][2:6], 16)), 0)[0]
    assert (b[0, 0] == ink).all(), "the ground has the colour"
    assert ((a == 0).all(axis=2) <= (b == 255).all(axis=2)).all(), "the drawing is white"


def test_glyphs_scanned_are_soft_and_grey() -> None:
    found = deal(glyphs="unpaired", scanned=True, characters=10)
    assert {r.sources[0].split("/")[2] for r in found.records if r.domain == "B"} == {"scan"}
    assert {r.sources[0].split("/")[2] for r in found.records if r.domain == "A"} == {"fill"}
    clean, scanned = render(source("M", "sans-bold"), 32), render(source("M", "sans-bold", "scan"), 32)
    assert scanned.shape == clean.shape
    assert scanned.max() == 205
    assert 85 <= scanned.min() < 130
    assert np.abs(np.diff(scanned[..., 0].astype(int))).max() < np.abs(np.diff(clean[..., 0].astype(int))).max() / 2
    with pytest.raises(ConfigError, match="--scanned --colour"):
        GlyphOptions(glyphs="unpaired", scanned=True, colour=True)


def test_glyphs_of_classes_are_digits_that_no_two_drawings_show_alike() -> None:
    found = deal(glyphs="classes", size=32, styles=("sans-regular", "serif-bold"))
    assert (found.kind, found.attributes, found.exclusive) == ("labelled", tuple("0123456789"), True)
    assert len(found.records) == 10 * 2 * glyphs.COPIES
    assert {record.split for record in found.records} == {"train", "val", "test"}
    for record in found.records:
        assert record.labels[int(chr(int(character_of(record.key)[2:], 16)))] == sum(record.labels) == 1
    sevens = [r.sources[0] for r in found.records if r.key.startswith("U+0037-sans-regular")]
    drawn = {render(name, 32).tobytes() for name in sevens}
    assert len(drawn) == len(sevens) == glyphs.COPIES
    assert render(sevens[0], 32).shape == (32, 32, 1)
    assert len(deal(glyphs="classes", characters=3).attributes) == 3


def test_glyphs_moved_stay_inside_and_keep_about_their_ink() -> None:
    for character in glyphs.DIGITS:
        for style in ("sans-regular", "mono-bold-oblique"):
            still = fill(character, style, 32).astype(float)
            for copy in range(glyphs.COPIES):
                ink = glyphs.moved(character, style, 32, copy).astype(float)
                assert not ink[[0, -1]].any(), (character, style, copy)
                assert not ink[:, [0, -1]].any(), (character, style, copy)
                assert 0.55 < ink.sum() / still.sum() < 1.05
