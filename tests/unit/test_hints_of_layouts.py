"""A layout that does not take a folder names what would, each with its condition; following it makes that data set."""

from __future__ import annotations

import itertools
import random
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from i2i_core.cli import parse
from i2i_core.config.common import SHARD
from i2i_core.data.folders.layouts import Found, LayoutOptions, find
from i2i_core.errors import UserError
from pipelines.shard import MakeOptions

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Makes empty files and gives their folder: names are all that is looked at."""

    def _write(*names: str, at: str = "in") -> str:
        for name in names:
            path = tmp_path / at / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return str(tmp_path / at)

    return _write


def refused(layout: str, uri: str, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        find(LayoutOptions(layout=layout, input=uri, **options))  # type: ignore[arg-type]
    return str(caught.value)


def followed(message: str, uri: str) -> list[tuple[str, Found]]:
    """What each command in a message finds, with the condition before it."""
    return [(means, find(options_of(flags, uri))) for means, flags in commands(message)]


def commands(message: str) -> list[tuple[str, str]]:
    """The condition and the flags of each hint in a message."""
    return re.findall(r"[Ii]f ([^`]+): `(--layout [^`]+)`", message)


def options_of(flags: str, uri: str) -> LayoutOptions:
    """The options that flags set, --input being the folder where they do not name one."""
    values: dict[str, Any] = {"input": uri}
    for word in shlex.split(flags):
        if word.startswith("--"):
            name = word[2:].replace("-", "_")
            values[name] = ()
        else:
            values[name] = (*values[name], word)
    one = {name: value[0] for name, value in values.items() if len(value) == 1}
    return LayoutOptions(**{**values, **one})


def pairs_of(found: Found) -> list[tuple[str, ...]]:
    return sorted(record.sources for record in found.records)


def test_hints_are_flags_of_the_program(write: Write) -> None:
    """The other tests read them without it, which is quicker."""
    for names, asked in ((("a/1.png", "b/1.png"), "unpaired"), (("1_A.png", "1_B.png", "2_A.png", "2_B.png"), "pairs")):
        uri = write(*names, at=f"it's {asked}")
        for _, flags in commands(refused(asked, uri)):
            given = [*shlex.split(flags), "--out", "unused"] + ["--input", uri] * ("--input" not in flags)
            assert parse(MakeOptions(), "shard.py", given, "", SHARD).layout == options_of(flags, uri)


def kinds(message: str, uri: str) -> list[str]:
    return [found.kind for _, found in followed(message, uri)]


@pytest.mark.parametrize(
    ("names", "asked", "expected"),
    [
        (("trainA/1.png", "trainB/1.png"), "ab", ["unpaired"]),
        (("a/1.png", "b/1.png"), "unpaired", ["paired", "unpaired", "labelled"]),
        (("a/1.png", "b/1.png"), "ab", ["paired", "unpaired", "labelled"]),
        (("horse/1.png", "zebra/2.png"), "pairs", ["unpaired"]),
        (("cat/1.png", "dog/2.png", "emu/1.png"), "pairs", ["labelled"]),
        (("train/cat/1.png", "train/dog/2.png", "val/cat/1.png", "val/dog/3.png"), "celeba", ["unpaired", "labelled"]),
        (("1.png", "2.png"), "classes", ["paired"]),
        (("train/1.png", "test/2.png"), "unpaired", ["paired"]),
        (("train/1.png", "val/1.png"), "pairs", ["paired"]),  # two folders of equal names, which are splits
        (("1_A.png", "1_B.png", "2_A.png", "2_B.png"), "unpaired", ["paired", "paired"]),
        (
            ("real/1_real.png", "real/2_real.png", "label/1_label.png", "label/2_label.png"),
            "pairs",
            ["paired", "unpaired"],
        ),
        (("img/img/1.png", "list_attr.csv"), "unpaired", []),
        (("1.png", "x/2.png"), "classes", []),
    ],
)
def test_hints_followed_find_what_their_condition_says(
    write: Write, names: tuple[str, ...], asked: str, expected: list[str]
) -> None:
    uri = write(*names)
    text = refused(asked, uri)
    assert kinds(text, uri) == expected, text
    assert expected or "Name another folder" in text


def test_hints_of_celebas_folder_never_make_a_class_of_it(write: Write) -> None:
    uri = write("img_align_celeba/1.png", "img_align_celeba/2.png")
    for asked in ("unpaired", "pairs", "celeba"):
        assert "--layout classes" not in refused(asked, uri)
    (Path(uri) / "list_attr_celeba.txt").write_text("2\nMale Young\n1.png 1 1\n2.png 1 -1\n")
    ((means, found),) = followed(refused("unpaired", uri), uri)
    assert "list of attributes" in means
    assert found.attributes == ("Male", "Young")


def test_hints_name_the_words_that_tell_pairs_apart(write: Write) -> None:
    uri = write("train/1_label.png", "train/1_real.jpg", "train/2_label.png", "train/2_real.jpg")
    (means, found), *_ = followed(refused("pairs", uri), uri)
    assert means == "x_label and x_real are a pair"
    assert pairs_of(found) == [
        ("train/1_label.png", "train/1_real.jpg"),
        ("train/2_label.png", "train/2_real.jpg"),
    ]
    assert {record.split for record in found.records} == {"train"}


def test_hints_of_two_folders_without_a_common_name_keep_their_sides(write: Write) -> None:
    a = write("input_1.png", "input_2.png", at="x")
    b = write("target_1.png", "target_2.png", at="y")
    pairs, domains = followed(refused("pairs", a, input_b=b), a)
    assert pairs_of(pairs[1]) == [("input_1.png", "target_1.png"), ("input_2.png", "target_2.png")]
    assert domains[1].kind == "unpaired"
    assert {r.domain for r in domains[1].records if "input" in r.sources[0]} == {"A"}


def test_hint_of_a_pattern_that_fits_nothing_names_one_that_does(write: Write) -> None:
    uri = write("1_A.png", "1_B.png", "2_A.png", "2_B.png")
    text = refused("pairs", uri, pair_pattern=("{key}_X", "{key}_Y"))
    ((_, found),) = followed(text, uri)
    assert len(found.records) == 2


def test_hint_of_common_only_is_given_where_it_helps_alone(write: Write) -> None:
    uri = write("a/1.png", "a/2.png", "b/1.png")
    assert "give --common-only" in refused("pairs", uri)
    assert len(find(LayoutOptions(layout="pairs", input=uri, common_only=True)).records) == 1
    apart = write("a/1.png", "b/2.png", at="apart")
    assert "--common-only" not in refused("pairs", apart)


def test_notes_of_classes_are_hints_that_can_be_followed(write: Write) -> None:
    uri = write("trainA/1.png", "trainB/2.png")
    found = find(LayoutOptions(layout="classes", input=uri))
    assert kinds("\n".join(found.notes), uri) == ["unpaired"]


def test_hints_of_random_folders_can_all_be_followed(write: Write) -> None:
    """Whatever lies in a folder, a command in a message is taken, and gives the kind that its condition names."""
    draw = random.Random(5)
    folders = [
        "",
        "a/",
        "b/",
        "cat/",
        "train/",
        "val/",
        "train/a/",
        "train/b/",
        "val/a/",
        "val/b/",
        "trainA/",
        "trainB/",
    ]
    names = ["1", "2", "3", "1_A", "1_B", "2_A", "2_B", "in_1", "out_1", "in_2", "out_2"]
    given, followed_ = 0, 0
    for number in range(60):
        some = draw.sample(folders, draw.randint(1, 4))
        words = draw.sample(names, draw.randint(1, 6))
        uri = write(*(f"{folder}{name}.png" for folder, name in itertools.product(some, words)), at=str(number))
        for layout in ("ab", "pairs", "unpaired", "classes", "celeba"):
            try:
                text = "\n".join(find(LayoutOptions(layout=layout, input=uri)).notes)  # type: ignore[arg-type]
            except UserError as error:
                text = str(error)
            given += text.count("`--layout")
            for means, found in followed(text, uri):
                followed_ += 1
                wanted = "paired" if "pair" in means.replace("without pairs", "") or "half" in means else found.kind
                assert found.kind == wanted, (some, words, text)
                assert found.kind != "labelled" or len(found.attributes) > 1
    assert given == followed_ > 50
