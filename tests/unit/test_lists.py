"""Lists of what images show are read in all the forms that people have them in, or refused with their line."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from i2i_core.data.folders import lists
from i2i_core.data.folders.layouts import Found, LayoutOptions, find
from i2i_core.data.format.shards import WITHOUT_PARTNER
from i2i_core.errors import DataError, UserError

from ..support.data import noise, put, shard

NAMES = ("Black_Hair", "Male", "Smiling")
LABELS = [(1, 0, 0), (0, 0, 1), (0, 1, 1)]
SIGNED = [["-1", "1"][label] for row in LABELS for label in row]


def rows(between: str, cells: list[str], ending: str = "jpg", end: str = "\n") -> str:
    return "".join(between.join([f"{i}.{ending}", *cells[3 * i - 3 : 3 * i]]) + end for i in (1, 2, 3))


TEXT = rows(" ", SIGNED)
HEAD = " ".join(NAMES) + " \n"
WORDS = [["no", "yes"][label] for row in LABELS for label in row]
BITS = [str(label) for row in LABELS for label in row]
FORMS: dict[str, tuple[str, str, str]] = {
    "as CelebA ships it": ("list_attr_celeba.txt", f"3\n{HEAD}{TEXT}", "by spaces, 3 rows, 3 attributes, -1/1"),
    "Kaggle's csv": (
        "list_attr_celeba.csv", f"image_id,{','.join(NAMES)}\n{rows(',', SIGNED)}",
        "comma-separated, 3 rows, 3 attributes, -1/1",
    ),
    "CelebA-HQ's name": ("CelebAMask-HQ-attribute-anno.txt", f"3\n{HEAD}{TEXT}", "3 rows, 3 attributes, -1/1"),
    "without a count": ("list_attr_celeba.txt", HEAD + TEXT, "3 rows, 3 attributes, -1/1"),
    "0 and 1": ("list_attr_celeba.txt", f"3\n{HEAD}{rows(' ', BITS)}", "3 rows, 3 attributes, 0/1"),
    "numbers as pandas writes them": (
        "list_attr_celeba.csv", f",image_id,{','.join(NAMES)}\n"
        + "".join(f"{i},{line}\n" for i, line in enumerate(rows(",", [f"{b}.0" for b in BITS]).splitlines())),
        "comma-separated, 3 rows, 3 attributes, 0/1",
    ),
    "a mark of byte order, and lines of Windows": (
        "list_attr_celeba.txt", "\ufeff" + f"3\r\n{HEAD[:-1]}\r\n{rows('  ', SIGNED, end=chr(13) + chr(10))}",
        "separated by spaces, 3 rows, 3 attributes, -1/1",
    ),
    "tabs": ("list_attr_mine.tsv", "\t".join(["file", *NAMES]) + "\n" + rows("\t", BITS), "tab-separated, 3 rows"),
    "semicolons and words": (
        "list_attr_mine.csv", ";".join(["file", *NAMES]) + "\n" + rows(";", WORDS),
        "semicolon-separated, 3 rows, 3 attributes, no/yes",
    ),
    "names without endings": (
        "list_attr_mine.csv", ",".join(["id", *NAMES]) + "\n" + rows(",", BITS).replace(".jpg", ""),
        "3 attributes, 0/1",
    ),
    "paths of another system": (
        "list_attr_mine.csv", ",".join(["path", *NAMES]) + "\n" + "".join(
            f"D:\\faces\\img\\{line}\n" for line in rows(",", BITS).splitlines()), "3 attributes, 0/1",
    ),
    "names for the files alone": ("list_attr_mine.csv", ",".join(NAMES) + "\n" + rows(",", BITS), "3 attributes, 0/1"),
    "empty lines, quotes and spaces": (
        "list_attr_mine.csv",
        "\n" + ",".join(["file", *NAMES]) + "\n\n" + rows(" , ", [f'"{b}"' for b in BITS]) + "\n\n", "0/1",
    ),
}  # fmt: skip


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for i in (1, 2, 3):
        put(tmp_path / f"in/img/img/{i}.png", np.zeros((4, 4, 3), np.uint8))
    return tmp_path / "in"


def celeba(folder: Path, **options: object) -> Found:
    return find(LayoutOptions(layout="celeba", input=str(folder), **options))  # type: ignore[arg-type]


def message(folder: Path, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        celeba(folder, **options)
    return str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_lists_are_read_in_the_form_they_have(form: str, faces: Path) -> None:
    """The images are one folder deeper, and PNG where the list says jpg."""
    name, text, said = FORMS[form]
    (faces / name).write_bytes(text.encode())
    found = celeba(faces)
    assert found.notes[0].startswith(f"{name}: ")
    assert said in found.notes[0]
    assert (found.attributes, found.exclusive) == (NAMES, False)
    assert [(r.key, r.labels) for r in found.records] == [("1", LABELS[0]), ("2", LABELS[1]), ("3", LABELS[2])]
    assert found.lone == ()


def test_lists_of_another_encoding_are_read(faces: Path) -> None:
    (faces / "list_attr_mine.txt").write_bytes(("\t".join(["file", *NAMES]) + "\n" + rows("\t", BITS)).encode("utf-16"))
    assert [r.labels for r in celeba(faces).records] == LABELS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list_eval_partition.txt", "1.jpg 0\n2.jpg 2\n3.jpg 1\n"),
        ("list_eval_partition.csv", "image_id,partition\n1.jpg,0\n2.jpg,2\n3.jpg,1\n"),
        ("list_eval_partition.csv", "1.jpg,train\n2.jpg,test\n3.jpg,valid\n"),
    ],
)
def test_lists_of_splits_are_text_or_csv(name: str, text: str, faces: Path) -> None:
    (faces / "list_attr_celeba.txt").write_text(f"3\n{HEAD}{TEXT}")
    (faces / name).write_text(text)
    found = celeba(faces)
    assert [r.split for r in found.records] == ["train", "test", "val"]
    assert found.notes[1].startswith(f"{name}: ")
    assert "3 rows, splits" in found.notes[1]
    (faces / name).write_text(text.replace("3.jpg", "4.jpg"))
    assert "no row for 1 image (img/img/3.png)" in message(faces)


def test_lists_may_hold_the_splits_themselves(faces: Path) -> None:
    (faces / "own.csv").write_text("image,Smiling,split\n1.png,1,train\n2.png,0,val\n3.png,1,test\n")
    found = celeba(faces, labels_list=str(faces / "own.csv"))
    assert found.attributes == ("Smiling",)
    assert [(r.labels, r.split) for r in found.records] == [((1,), "train"), ((0,), "val"), ((1,), "test")]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("file,species\n1.png,dog\n2.png,cat\n3.png,dog\n", ("cat", "dog")),
        ("1.png dog\n2.png cat\n3.png dog\n", ("cat", "dog")),
        ("img/img/1.png,1\nimg/img/2.png,0\nimg/img/3.png,1\n", ("class_0", "class_1")),
        ("file,label\n1.png,1\n2.png,0\n3.png,1\n", ("class_0", "class_1")),
        ("file,id\n1.png,10\n2.png,9\n3.png,10\n", ("class_9", "class_10")),
    ],
)
def test_lists_of_classes_are_exclusive_attributes(text: str, names: tuple[str, ...], faces: Path) -> None:
    (faces / "own.csv").write_text(text)
    found = celeba(faces, labels_list="own.csv")
    assert (found.attributes, found.exclusive) == (names, True)
    assert [r.labels for r in found.records] == [(0, 1), (1, 0), (0, 1)]
    assert "2 classes" in found.notes[0]


def test_lists_name_what_has_no_partner_and_a_file_holds_the_rest(faces: Path, tmp_path: Path, said: list[str]) -> None:
    (faces / "own.csv").write_text("file,Smiling\n1.png,1\n2.png,0\n9.png,1\n8.png,1\n")
    manifest = shard("celeba", faces, tmp_path / "out", split=(1.0, 0.0, 0.0), labels_list="own.csv")
    assert manifest.splits["train"]["all"].samples == 2
    heading, *lines = (tmp_path / "out" / WITHOUT_PARTNER).read_text().splitlines()
    assert heading.startswith("# images without a partner")
    assert lines == [
        f"{faces}/img/img/3.png: an image without a row",
        f"{faces}/own.csv, line 4: 9.png, a row without an image",
        f"{faces}/own.csv, line 5: 8.png, a row without an image",
    ]
    assert any("3 images and rows without a partner are left out" in line for line in said)
    assert celeba(faces, labels_list="own.csv").notes[1:] == (  # nor is the list itself said to be left out
        "2 rows of own.csv without an image: 8.png, 9.png",
        "1 image without a row in own.csv: img/img/3.png",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,A,B\n1.png,1,0\n2.png,1\n3.png,0,0\n", "line 3: found 1 value; expected a name and 2 values"),
        ("file,A,B\n1.png,1,0\n2.png,1,2\n3.png,0,0\n", "line 3: found '2' of B; expected 0 or 1"),
        ("file,A,B\n1.png,1,0\n2.png,1,\n3.png,0,0\n", "line 3: found '' of B; expected 0 or 1"),
        ("file,A,B\n1.png,1,0\n\n1.png,1,0\n3.png,0,0\n", "line 4: found 1.png again, as on line 2"),
        ("file,A,A\n1.png,1,0\n2.png,0,0\n", "line 1: found A twice"),
        ("1.png,1,0\n2.png,0,0\n", "line 1: found no line of names before rows of 2 values"),
        ("1.png -1\n2.png 1\n", "no line of names before values of 1 and -1"),
        ("file,A\n1.png,1\n,0\n", "line 3: found no name"),
        ("file,label\n1.png,cat\n2.png,\n", "line 3: found no class"),
        ("file,label\n1.png,cat\n2.png,Cat\n3.png,dog\n", "found 'Cat' and 'cat'; expected each class with a name"),
        ("4\nA B\n1.png 1 0\n2.png 0 0\n", "line 1: found the count 4; expected 2"),
        ("file\n1.png\n2.png\n", "no column besides that of the files"),
        ("file,A,B\n7.png,1,0\n8.png,1,1\n", "found rows of 7.png, ..., and images img/img/1.png"),
        ("file,A,B\n1.png,1,0\n1.jpg,1,1\n", "line 3: found 1.png and 1.jpg, which both are img/img/1.png"),
        ("", "line 1: found nothing"),
        ("PK\x03\x04\0\0", "an Excel workbook"),
        ("file,A,B\n1.png,\"1,0\n2.png,1,1\n" + "x" * 140_000, "field larger than field limit"),
    ],
)  # fmt: skip
def test_lists_that_are_damaged_are_refused_with_their_line(text: str, says: str, faces: Path) -> None:
    (faces / "own.csv").write_text(text)
    shown = message(faces, labels_list="own.csv")
    assert says in shown
    assert "own.csv" in shown


def test_lists_name_two_images_of_one_row(faces: Path) -> None:
    put(faces / "more/1.png", noise(4, 4, 3))
    (faces / "own.csv").write_text("file,A\n1.png,1\n2.png,0\n")
    assert "1.png, which is both img/img/1.png and more/1.png" in message(faces, labels_list="own.csv")
    (faces / "own.csv").write_text("file,A\nelse/1.png,1\n2.png,0\n")
    assert celeba(faces, labels_list="own.csv").lone[-1].endswith("else/1.png, a row without an image")
    (faces / "own.csv").write_text("file,A\nmore/1.png,1\nimg/img/1.png,0\n")
    assert [(r.key, r.labels) for r in celeba(faces, labels_list="own.csv").records] == [
        ("img/img/1", (0,)),
        ("more/1", (1,)),
    ]


@pytest.mark.parametrize("own", ["own list.csv", "list_attr_x.txt"])
def test_lists_advice_names_columns_and_files_that_work(own: str, faces: Path) -> None:
    """What a message says to type is typed here."""
    (faces / own).write_text("file,age,Male,Smiling\n1.png,30,1,0\n2.png,41,0,0\n3.png,9,1,1\n")
    if own == "own list.csv":
        advice = "--list " + shlex.quote(f"{faces}/{own}")
        shown = message(faces)
        assert "no list of attributes" in shown
        assert advice not in shown, "it cannot be read without --attributes"
        (faces / own).write_text("file,Male,Smiling\n1.png,1,0\n2.png,0,0\n3.png,1,1\n")
        assert advice in message(faces)
        assert celeba(faces, labels_list=shlex.split(advice)[1]).attributes == ("Male", "Smiling")
        return
    shown = message(faces)
    assert "line 2: found '30' of age; expected 0 or 1" in shown
    words = shlex.split(shown.partition("--attributes ")[2].rstrip("."))
    assert words == ["Male", "Smiling"]
    assert [r.labels for r in celeba(faces, attributes=tuple(words)).records] == [(1, 0), (0, 0), (1, 1)]
    (faces / own).write_text("file,age,breed\n1.png,30,tabby\n2.png,41,manx\n3.png,9,manx\n")
    assert "--attributes age" in message(faces)
    assert celeba(faces, attributes=("breed",)).attributes == ("manx", "tabby")


def test_lists_two_of_which_are_there_are_told_apart_by_the_flag(faces: Path) -> None:
    for name in ("list_attr_celeba.txt", "list_attr_celeba.csv"):
        (faces / name).write_text(f"{HEAD}{TEXT}")
    shown = message(faces)
    assert "both list_attr_celeba.csv and list_attr_celeba.txt" in shown
    given = shlex.split(shown.partition("--list ")[2].removesuffix(", say."))[0]
    assert celeba(faces, labels_list=given).attributes == NAMES
    assert "no file at that place" in message(faces, labels_list="none.csv")
    with pytest.raises(UserError, match="--list: found it beside --layout classes"):
        find(LayoutOptions(layout="classes", input=str(faces), labels_list="list_attr_celeba.txt"))


def test_lists_keep_names_with_spaces_dots_and_accents(tmp_path: Path) -> None:
    for name in ("my face.v1", "café", "b"):
        put(tmp_path / f"in/{name}.png", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "in/own.txt").write_text("A B\nmy face.v1.png 1 0\ncafe\u0301.png 0 1\nb.png 1 1\n")
    found = celeba(tmp_path / "in", labels_list="own.txt")
    assert {r.sources[0]: r.labels for r in found.records} == {
        "my face.v1.png": (1, 0),
        "café.png": (0, 1),
        "b.png": (1, 1),
    }


def test_lists_as_long_as_celebas_take_seconds() -> None:
    """202,599 rows of 40 attributes take 3 s of one CPU; here a tenth of it."""
    names = [f"{i:06d}.jpg" for i in range(20_000)]
    text = "image_id," + ",".join(f"A{i}" for i in range(40)) + "\n"
    text += "".join(f"{name}{',-1,1' * 20}\n" for name in names)
    began = time.process_time()
    images = lists.Images([f"img/{name}" for name in names])
    read = lists.read_rows(text, "list.csv", images.is_known)
    labelled = lists.labels_of(read, read.names, read.names)
    assert len(lists.matched(read, images).rows) == len(labelled.labels) == 20_000
    assert time.process_time() - began < 5


def test_lists_too_large_are_refused_unread(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (faces / "own.csv").write_text("file,A\n1.png,1\n")
    monkeypatch.setattr(lists, "MOST_LIST", 10)
    monkeypatch.setattr(lists, "read_rows", lambda *_: pytest.fail("it was read"))
    assert "15 bytes; expected at most 10" in message(faces, labels_list="own.csv")


@pytest.mark.parametrize("damage", [lambda t: t[:40], lambda t: t[::-1], lambda t: t.replace("1", "\x00"), str.upper])
def test_lists_of_anything_are_read_or_refused(damage: Callable[[str], str], faces: Path) -> None:
    for name, text, _ in FORMS.values():
        (faces / name).write_bytes(damage(text).encode())
        try:
            celeba(faces, labels_list=name)
        except DataError as error:
            assert "own.csv" in str(error) or name in str(error)  # noqa: PT017
