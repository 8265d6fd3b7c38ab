"""Each layout finds what is there, and says what is wrong where it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2i_core.data.folders.layouts import Found, LayoutOptions, cut, find
from i2i_core.errors import ConfigError, DataError, UserError

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes small images (any other name: as empty files) and gives their folder."""

    def _write(*names: str, size: tuple[int, int] = (4, 4)) -> str:
        for name in names:
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path) if path.suffix == ".png" else path.touch()
        return str(tmp_path / "in")

    return _write


def run(layout: str, uri: str, **options: object) -> Found:
    return find(LayoutOptions(layout=layout, input=uri, **options))  # type: ignore[arg-type]


def message(layout: str, uri: str, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        run(layout, uri, **options)
    return str(caught.value)


def splits(found: Found) -> dict[str, str | None]:
    return {r.key: r.split for r in found.records}


def test_ab_takes_splits_from_folders(write: Write) -> None:
    found = run("ab", write("train/1.png", "train/2.png", "val/1.png", "notes.txt", ".hidden.png"))
    assert (found.kind, found.fields, found.reader) == ("paired", ("a", "b"), "left-right")
    assert [(r.key, r.split, r.sources) for r in found.records] == [
        ("1", "train", ("train/1.png",)),
        ("2", "train", ("train/2.png",)),
        ("1", "val", ("val/1.png",)),
    ]


def test_ab_without_splits_is_cut_by_the_shares(write: Write) -> None:
    found = run("ab", write(*(f"{i}.png" for i in range(20))), split=(0.5, 0.25, 0.25))
    assert sorted(splits(found).values()) == ["test"] * 5 + ["train"] * 10 + ["val"] * 5  # type: ignore[type-var]
    assert run("ab", found.roots[0], split=(0.5, 0.25, 0.25)) == found


def test_ab_direction_reads_the_right_half_as_a(write: Write) -> None:
    assert run("ab", write("1.png"), direction="BtoA").reader == "right-left"


def test_layouts_refuse_images_beside_split_folders(write: Write) -> None:
    assert "1 images outside of the split folders (3.png)" in message("ab", write("train/1.png", "3.png"))


def test_pairs_in_two_folders_of_one(write: Write) -> None:
    found = run("pairs", write("a/1.png", "a/2.png", "b/1.png", "b/2.jpg"))
    assert [(r.key, r.sources) for r in found.records] == [("1", ("1.png", "1.png")), ("2", ("2.png", "2.jpg"))]
    assert [root.rsplit("/", 1)[-1] for root in found.roots] == ["a", "b"]


def test_pairs_in_two_places_with_splits(write: Write) -> None:
    uri = write("x/train/1.png", "x/test/2.png", "y/train/1.png", "y/test/2.png")
    found = run("pairs", f"{uri}/x", input_b=f"{uri}/y")
    assert splits(found) == {"1": "train", "2": "test"}


def test_pairs_direction_swaps_sources_and_roots(write: Write) -> None:
    found = run("pairs", write("a/1.png", "b/1.jpg"), direction="BtoA")
    assert found.records[0].sources == ("1.jpg", "1.png")
    assert found.roots[0].endswith("/b")


def test_pairs_names_what_has_no_partner(write: Write) -> None:
    text = message("pairs", write("a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/9.png"))
    assert "2 only in" in text
    assert "(2, 3)" in text
    assert "(9)" in text


def test_unpaired_takes_two_folders(write: Write) -> None:
    uri = write("photos/1.png", "photos/2.png", "monet/x/1.png", "monet/9.png")
    found = run("unpaired", f"{uri}/photos", input_b=f"{uri}/monet", split=(1.0, 0.0, 0.0))
    assert [(r.key, r.domain, r.sources) for r in found.records] == [
        ("1", "A", ("photos/1.png",)),
        ("2", "A", ("photos/2.png",)),
        ("9", "B", ("monet/9.png",)),
        ("x/1", "B", ("monet/x/1.png",)),
    ]
    assert found.roots[0].removeprefix("file://") == uri
    turned = run("unpaired", f"{uri}/photos", input_b=f"{uri}/monet", direction="BtoA")
    assert {r.domain for r in turned.records if r.sources[0].startswith("photos")} == {"B"}


def test_unpaired_takes_one_folder_within_another(write: Write) -> None:
    uri = write("1.png", "b/2.png")
    found = run("unpaired", uri, input_b=f"{uri}/b", split=(1.0, 0.0, 0.0))
    assert {(r.domain, r.sources) for r in found.records} == {
        ("A", ("1.png",)),
        ("A", ("b/2.png",)),
        ("B", ("b/2.png",)),
    }


def test_unpaired_of_two_folders_wants_the_same_splits_in_both(write: Write) -> None:
    uri = write("x/train/1.png", "x/val/2.png", "y/train/1.png")
    assert "train, val in A and train in B" in message("unpaired", f"{uri}/x", input_b=f"{uri}/y")
    assert "--annotations" in message("unpaired", f"{uri}/x", input_b=f"{uri}/y", annotations=("json",))


def test_listing_follows_links_to_folders(write: Write, tmp_path: Path) -> None:
    far = write("far/1.png", "far/sub/2.png")
    (tmp_path / "set").mkdir()
    for name in ("trainA", "trainB"):
        (tmp_path / "set" / name).symlink_to(f"{far}/far")
    (Path(far) / "far/sub/back").symlink_to(f"{far}/far")  # a ring
    found = run("unpaired", str(tmp_path / "set"))
    assert {(r.domain, r.key) for r in found.records} == {(d, k) for d in "AB" for k in ("1", "sub/2")}
    assert all(r.bytes > 0 for r in found.records)


def test_pairs_takes_the_common_names_when_asked(write: Write) -> None:
    uri = write("a/1.png", "a/2.png", "b/1.png", "b/9.png")
    found = run("pairs", uri, common_only=True)
    assert [r.key for r in found.records] == ["1"]
    assert found.lone == (f"{uri}/a/2.png", f"{uri}/b/9.png")
    assert "no name in both" in message("pairs", f"{uri}/a", input_b=write("c/5.png") + "/c", common_only=True)
    assert "--common-only" in message("classes", uri, common_only=True)


def test_unpaired_domains_and_splits(write: Write) -> None:
    found = run("unpaired", write("trainA/1.png", "trainB/1.png", "trainB/2.png", "testA/1.png", "testB/x.png"))
    assert (found.kind, found.domains, found.fields) == ("unpaired", ("A", "B"), ("image",))
    assert [(r.key, r.split, r.domain) for r in found.records] == [
        ("1", "test", "A"),
        ("x", "test", "B"),
        ("1", "train", "A"),
        ("1", "train", "B"),
        ("2", "train", "B"),
    ]
    turned = run("unpaired", found.roots[0].removeprefix("file://"), direction="BtoA")
    assert {(r.sources[0], r.domain) for r in turned.records} >= {("trainA/1.png", "B"), ("testB/x.png", "A")}


def test_unpaired_wants_both_domains(write: Write) -> None:
    assert "images in testA and none in testB" in message(
        "unpaired", write("trainA/1.png", "trainB/1.png", "testA/1.png")
    )


def test_images_are_taken_from_all_folders_and_have_no_label(write: Write) -> None:
    found = run("images", write("1.png", "more/1.png", "more/deep/x.jpg", "notes.txt"), split=(1.0, 0.0, 0.0))
    assert (found.kind, found.fields, found.attributes) == ("labelled", ("image",), ())
    assert splits(found) == {"1": "train", "more/1": "train", "more/deep/x": "train"}
    assert {r.labels for r in found.records} == {()}
    assert "no image among 1 files" in message("images", write("txt/notes.txt") + "/txt")


def test_images_in_folders_of_splits_keep_them(write: Write) -> None:
    assert splits(run("images", write("train/a/1.png", "test/2.png"))) == {"a/1": "train", "2": "test"}


def test_classes_become_exclusive_attributes(write: Write) -> None:
    found = run("classes", write("train/cat/1.png", "train/dog/1.png", "val/cat/2.png", "train/ant/x/1.png"))
    assert (found.kind, found.attributes, found.exclusive) == ("labelled", ("ant", "cat", "dog"), True)
    assert {(r.key, r.split, r.labels) for r in found.records} == {
        ("ant/x/1", "train", (1, 0, 0)),
        ("cat/1", "train", (0, 1, 0)),
        ("dog/1", "train", (0, 0, 1)),
        ("cat/2", "val", (0, 1, 0)),
    }


def test_classes_say_how_many_images_each_has_and_when_they_look_like_pairs(write: Write) -> None:
    """The advised layout finds them as pairs."""
    uri = write("a/1.png", "a/2.png", "b/1.png", "b/2.png")
    counts, pairs, *_ = run("classes", uri).notes
    assert counts == "images of each class: a 2, b 2"
    assert pairs == "if a/1 and b/1 are a pair, and so on: `--layout pairs`"
    assert run("pairs", uri).kind == "paired"
    write("b/3.png")
    assert not any("--layout pairs" in note for note in run("classes", uri).notes)


def test_classes_refuses_images_beside_the_folders_and_a_direction(write: Write) -> None:
    uri = write("cat/1.png", "dog/1.png")
    assert "--direction" in message("classes", uri, direction="BtoA")
    assert "1 images beside the class folders (loose.png)" in message("classes", write("loose.png"))


CELEBA = "3\nBlack_Hair Male Smiling\n1.png  1 -1 -1\n2.png -1 -1 1\n3.png -1 1 1\n"


@pytest.fixture
def celeba(write: Write) -> Path:
    root = Path(write("img_align_celeba/1.png", "img_align_celeba/2.png", "img_align_celeba/3.png"))
    (root / "list_attr_celeba.txt").write_text(CELEBA)
    (root / "list_eval_partition.txt").write_text("1.png 0\n2.png 2\n3.png 1\n")
    return root


def test_celeba_attributes_and_partition(celeba: Path) -> None:
    found = run("celeba", str(celeba), attributes=("Smiling,Male",))
    assert (found.attributes, found.exclusive) == (("Smiling", "Male"), False)
    assert [(r.key, r.split, r.labels) for r in found.records] == [
        ("1", "train", (0, 0)),
        ("2", "test", (1, 0)),
        ("3", "val", (1, 1)),
    ]


def test_celeba_defaults_to_the_five_of_stargan_where_there_are_more(celeba: Path) -> None:
    assert run("celeba", str(celeba)).attributes == ("Black_Hair", "Male", "Smiling")
    names = "Young Bald Male Brown_Hair Blond_Hair Black_Hair"
    rows = "".join(f"{i}.png 1 -1 1 -1 1 -1\n" for i in (1, 2, 3))
    (celeba / "list_attr_celeba.txt").write_text(f"3\n{names}\n{rows}")
    found = run("celeba", str(celeba))
    assert found.attributes == ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
    assert found.records[0].labels == (0, 1, 0, 1, 1)


def test_celeba_without_partition_is_cut_by_the_shares(celeba: Path) -> None:
    (celeba / "list_eval_partition.txt").unlink()
    assert sorted(splits(run("celeba", str(celeba), split=(0.34, 0.33, 0.33))).values()) == ["test", "train", "val"]  # type: ignore[type-var]


def test_celeba_names_the_nearest_attribute(celeba: Path) -> None:
    assert "Did you mean Smiling" in message("celeba", str(celeba), attributes=("Smilling",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CELEBA.replace("2.png -1 -1 1", "2.png -1 1"), "line 4: found 2 values"),
        (CELEBA.replace("3.png -1 1 1", "3.png -1 1 0"), "line 5: found '0'"),
        (CELEBA.replace("3\n", "Black_Hair\n", 1), "line 1"),
        (CELEBA.replace("3\n", "7\n", 1), "line 1: found the count 7; expected 3"),
        ("", "line 1"),
    ],
)
def test_celeba_names_a_malformed_attribute_file_with_its_line(celeba: Path, text: str, says: str) -> None:
    (celeba / "list_attr_celeba.txt").write_text(text)
    shown = message("celeba", str(celeba))
    assert says in shown
    assert "list_attr_celeba.txt" in shown


def test_celeba_names_a_malformed_partition_with_its_line(celeba: Path) -> None:
    (celeba / "list_eval_partition.txt").write_text("1.png 0\n2.png 3\n3.png 1\n")
    assert "list_eval_partition.txt, line 2" in message("celeba", str(celeba))


def test_layouts_give_keys_without_dots_and_twins(write: Write) -> None:
    found = run("ab", write("a.b.png", "a_b.png", "c.png", "c.jpg", "d/e.f.png"))
    keys = [r.key for r in found.records]
    assert len(set(keys)) == 5
    assert not any("." in key for key in keys)
    assert {"c_png", "c_jpg", "d/e_f"} <= set(keys)


def test_layouts_refuse_an_input_without_images(write: Write, tmp_path: Path) -> None:
    assert "nothing at that place" in message("ab", str(tmp_path / "none"))
    assert "2 .txt" in message("ab", write("a.txt", "b.txt"))
    assert "a file" in message("ab", write("a.txt") + "/a.txt")
    assert "--input" in message("ab", "")


def test_layouts_refuse_options_of_others(write: Write) -> None:
    assert "--attributes" in message("ab", write("1.png"), attributes=("x",))
    assert "--input-b" in message("ab", write("1.png"), input_b="x")
    with pytest.raises(ConfigError, match="sum to 1"):
        LayoutOptions(split=(0.9, 0.2, 0.1))
    with pytest.raises(ConfigError, match="trainA"):
        find(LayoutOptions())


def test_cut_is_exact_and_keeps_train_when_tiny() -> None:
    assert list(cut(["x"], (0.1, 0.4, 0.5), 0).values()) == ["train"]
    assert sorted(cut(["x"], (0, 0, 1), 0).values()) == ["test"]
    names = [str(i) for i in range(1000)]
    before, after = cut(names, (0.8, 0.1, 0.1), 0), cut([*names, "new"], (0.8, 0.1, 0.1), 0)
    assert sorted(before.values()).count("train") == 800
    assert sum(before[name] != after[name] for name in names) <= 2, "one more image moved others between splits"


def test_layouts_list_urls_like_folders(write: Write) -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe_file("/layouts/train/1.png", b"x")
    fs.pipe_file("/layouts/test/2.png", b"xyz")
    found = run("ab", "memory://layouts")
    assert [(r.key, r.split, r.bytes) for r in found.records] == [("2", "test", 3), ("1", "train", 1)]
    with pytest.raises(DataError, match="nothing at that place"):
        run("ab", "memory://other")


def test_unpaired_of_two_folders_in_every_split(write: Write) -> None:
    uri = write("train/horse/1.png", "train/zebra/d/2.png", "val/horse/3.png", "val/zebra/3.png")
    found = run("unpaired", uri)
    assert {(r.key, r.split, r.domain) for r in found.records} == {
        ("1", "train", "A"),
        ("d/2", "train", "B"),
        ("3", "val", "A"),
        ("3", "val", "B"),
    }
    assert found.notes == ("domain A is horse", "domain B is zebra")
    Path(uri, "val/zebra/3.png").unlink()
    assert "images in val/horse and none in val/zebra" in message("unpaired", uri)


def test_classes_of_one_folder_say_what_methods_need(write: Write) -> None:
    (note,) = run("classes", write("cat/1.png", "cat/2.png")).notes
    assert note.startswith("one class only: cat; a method that changes classes needs two")
