"""Nothing of a folder is left out without a word, links to folders are followed, and images without an ending are read.

pytest tests/unit/test_left_out.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from i2i_core.data.folders import listing
from i2i_core.data.folders.declared import FieldOptions
from i2i_core.data.folders.layouts import Found, LayoutOptions, find
from i2i_core.data.folders.listing import list_files
from i2i_core.data.format.shards import ShardOptions
from i2i_core.errors import DataError, ResourceError, UserError
from i2i_core.methods.pix2pix import Pix2Pix
from i2i_core.names import printable
from i2i_core.translation.inputs import open_inputs
from pipelines.shard import MakeOptions, _shard

from ..support.data import put, sample
from ..support.pictures import noise, saved

JUNK = {
    "__MACOSX/._1.png": "tools",
    ".DS_Store": "tools",
    "Thumbs.db": "tools",
    "@eaDir/1.png": "tools",
    ".ipynb_checkpoints/1.png": "tools",
    "._1.png": "tools",
    "desktop.ini": "tools",
    ".secret.png": "hidden",
    ".kept/1.png": "hidden",
    "notes.txt": "others",
    "LICENSE": "unnamed",
    "x.psd": "formats",
    "y.CR2": "formats",
    "1.jpg_large": "renamed",
    "2.odd": "others",
}
"""What stands beside images, and why it is left out."""

FOLDERS = {
    "ab": ("", "train/"),
    "pairs": ("a/", "b/"),
    "unpaired": ("trainA/", "trainB/"),
    "classes": ("x/", "y/"),
    "celeba": ("img/", "img/below/"),
    "fields": ("", "sub/"),
}
"""Folders of each layout, of which some hold images and junk."""


def write(folder: Path, junk: tuple[str, ...] = tuple(JUNK)) -> None:
    for name in junk:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = path.suffix in (".png", ".jpg_large")
        path.write_bytes(saved(noise(4, 4), "JPEG" if path.suffix == ".jpg_large" else "PNG") if picture else b"text")


def input_of(layout: str, folder: Path) -> str:
    """A folder of a layout with two images and the junk in each folder that holds some."""
    for number, below in enumerate(FOLDERS[layout][: 1 if layout in ("ab", "fields") else 2]):
        key = number if layout == "celeba" else 0
        for name in (f"{key}a", f"{key}b"):
            put(folder / f"{below}{name}.png", noise(4, 8))
        write(folder / below)
    if layout == "celeba":
        rows = "".join(f"{name}.png 1\n" for name in ("0a", "0b", "1a", "1b"))
        (folder / "list_attr_celeba.txt").write_text(f"4\nBald\n{rows}")
    return str(folder)


def found_in(layout: str, uri: str, **options: Any) -> Found:
    fields = FieldOptions(field=("image={key}.png",)) if layout == "fields" else None
    return find(LayoutOptions(layout=layout, input=uri, **options), fields=fields)  # type: ignore[arg-type]


def read_list(path: Path) -> dict[str, list[str]]:
    """A list that was written: paths by the words of their cause."""
    causes: dict[str, list[str]] = {}
    cause = ""
    for line in path.read_text().splitlines()[1:]:
        if line.startswith("    "):
            causes[cause].append(line.strip())
        else:
            cause = line.rpartition(", ")[0]
            causes[cause] = []
    return causes


@pytest.mark.parametrize("layout", FOLDERS)
def test_layout_counts_what_it_leaves_out_and_lists_it(layout: str, tmp_path: Path) -> None:
    uri, into = input_of(layout, tmp_path / "in"), tmp_path / "list.txt"
    found = found_in(layout, uri, list_left_out=str(into))
    assert {Path(path).stem[1:] for record in found.records for path in record.sources} == {"a", "b"}
    (line,) = [note for note in found.notes if note.startswith("left out: ")]
    assert line.endswith(f"; {into} lists them")
    n = 1 if layout in ("ab", "fields") else 2
    counts = [f"{n} image", f"{2 * n} files of formats that are not read (.cr2, .psd)", f"{2 * n} hidden names"]
    counts += [f"{7 * n} things that systems and tools leave behind", f"{2 * n} files that are no images (.odd, .txt)"]
    assert all(count in line for count in counts), line
    causes = read_list(into)
    listed = sorted(path for paths in causes.values() for path in paths)
    below = FOLDERS[layout][:n]
    shown = {
        name.partition("/")[0] + "/" if JUNK[name] in ("tools", "hidden") and "/" in name else name for name in JUNK
    }
    assert listed == sorted(folder + name for folder in below for name in shown)
    assert found_in(layout, uri).notes[-1] == line.replace(f"; {into} lists", "; --list-left-out FILE lists")


def test_layout_says_nothing_where_nothing_is_left_out(tmp_path: Path) -> None:
    for name in ("1", "2"):
        put(tmp_path / f"in/{name}.png", noise(4, 8))
        (tmp_path / f"in/{name}.json").write_text("{}")
    assert found_in("ab", str(tmp_path / "in"), annotations=("json",)).notes == ()
    assert "2 files that are no images (.json)" in found_in("ab", str(tmp_path / "in")).notes[0]


def test_layout_counts_what_is_in_the_folder_of_b_and_not_who_has_no_partner(tmp_path: Path) -> None:
    for name in ("a/1", "b/1", "b/2"):
        put(tmp_path / f"{name}.png", noise(4, 4))
    (tmp_path / "b/notes.txt").touch()
    found = found_in("pairs", str(tmp_path / "a"), input_b=str(tmp_path / "b"), common_only=True)
    assert found.lone == (f"{tmp_path}/b/2.png",)
    assert found.notes == ("left out: 1 file that is no image (.txt); --list-left-out FILE lists them",)


def test_list_of_what_is_left_out_replaces_an_older_one_alone(tmp_path: Path) -> None:
    uri = input_of("ab", tmp_path / "in")
    for _ in range(2):
        found_in("ab", uri, list_left_out=str(tmp_path / "list.txt"))
    (tmp_path / "mine.txt").write_text("words")
    with pytest.raises(DataError, match="a file that holds something else"):
        found_in("ab", uri, list_left_out=str(tmp_path / "mine.txt"))
    with pytest.raises(ResourceError, match="--list-left-out"):
        found_in("ab", uri, list_left_out=str(tmp_path / "gone/list.txt"))
    assert (tmp_path / "mine.txt").read_text() == "words"
    with pytest.raises(UserError, match="--layout glyphs"):
        find(LayoutOptions(layout="glyphs", list_left_out="x"))


def test_names_that_are_left_out_are_escaped_in_the_list(tmp_path: Path) -> None:
    put(tmp_path / "in/1.png", noise(4, 8))
    (tmp_path / "in/a\x1b[2Jb.txt").touch()
    found_in("ab", str(tmp_path / "in"), list_left_out=str(tmp_path / "list"))
    assert printable("a\x1b[2Jb.txt") in (tmp_path / "list").read_text()


@pytest.fixture
def memory() -> Iterator[Any]:
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()


def test_listing_of_a_url_leaves_out_the_same(memory: Any, tmp_path: Path) -> None:
    input_of("ab", tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            memory.pipe_file(f"/in/{path.relative_to(tmp_path)}", path.read_bytes())
    here, there = list_files(str(tmp_path)), list_files("memory://in")
    assert (here.files, here.aside) == (there.files, there.aside)


def test_translation_says_what_it_leaves_out_of_a_folder(tmp_path: Path, said: list[str]) -> None:
    put(tmp_path / "1.png", noise(4, 4))
    write(tmp_path, ("notes.txt", "x.psd"))
    opened = open_inputs(str(tmp_path), "", "val", Pix2Pix, "AtoB", "AtoB")
    assert opened.names == ["1"]
    says = "left out: 1 file of a format that is not read (.psd), 1 file that is no image (.txt)"
    assert said == [f"--input {tmp_path}: {says}"]


# ---- names without an ending ----


def test_images_without_an_ending_are_read(tmp_path: Path) -> None:
    """As scrapers, scanners and caches name them; a text that begins with the letters of a format is none."""
    for i, kind in enumerate(("PNG", "JPEG", "TIFF", "BMP", "PPM", "WEBP")):
        for side in "ab":
            path = tmp_path / f"in/{side}/v1.2/{i:032x}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(saved(noise(8, 8, seed=i), kind))
    for name, text in {"README": b"BMWs and others", "NOTES": b"P3 is a format", "empty": b""}.items():
        (tmp_path / f"in/a/{name}").write_bytes(text)
    layout = LayoutOptions(layout="pairs", input=str(tmp_path / "in"), split=(1.0, 0.0, 0.0))
    options = MakeOptions(layout=layout, shards=ShardOptions(out=str(tmp_path / "out")))
    manifest, _ = _shard(options)
    assert "train 6" in manifest.describe()
    a, b = sample(tmp_path / "out", f"v1.2/{0:032x}")
    assert (a == noise(8, 8)).all()
    assert (a == b).all()
    line = find(options.layout).notes[-1]
    assert "3 names without an ending that are no images (NOTES, README, empty)" in line.replace("a/", "")


def test_names_without_an_ending_are_looked_at_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_AT_ONCE", 2)
    for i in range(5):
        (tmp_path / f"{i}").write_bytes(saved(noise(4, 4)) if i % 2 else b"x")
    assert list_files(str(tmp_path)).images == ["1", "3"]


# ---- links ----


def linked(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target, target_is_directory=True)


@pytest.mark.parametrize("layout", ["ab", "pairs", "unpaired", "classes", "celeba", "fields"])
def test_layout_follows_links_to_folders(layout: str, tmp_path: Path) -> None:
    """Every folder of images is a link, two of them to one and the same place: each counts."""
    for name in ("1", "2"):
        put(tmp_path / f"store/{name}.png", noise(4, 8))
    below = {"ab": ("train", "val"), "celeba": ("img",), "fields": ("x", "y")}.get(layout) or [
        folder.rstrip("/") for folder in FOLDERS[layout]
    ]
    for folder in below:
        linked(tmp_path / "in" / folder, tmp_path / "store")
    (tmp_path / "in/list_attr_celeba.txt").write_text("2\nBald\n1.png 1\n2.png -1\n")
    fields = FieldOptions(field=("image={class}/{key}.png",)) if layout == "fields" else None
    found = find(LayoutOptions(layout=layout, input=str(tmp_path / "in")), fields=fields)  # type: ignore[arg-type]
    assert len(found.records) == (2 if layout in ("pairs", "celeba") else 4)
    assert sum(len(record.sources) for record in found.records) == 2 * len(below)


def test_listing_names_links_that_lead_back_or_nowhere(tmp_path: Path) -> None:
    put(tmp_path / "in/x/1.png", noise(4, 4))
    linked(tmp_path / "in/x/up", tmp_path / "in")
    linked(tmp_path / "in/sad", tmp_path / "moved")
    found = found_in("classes", str(tmp_path / "in"))
    assert [r.key for r in found.records] == ["x/1"]
    line = found.notes[-1]
    assert "1 link that leads nowhere (sad), 1 link back to a folder above it (x/up/)" in line


def test_listing_ends_where_links_multiply(tmp_path: Path) -> None:
    """Two links at each of thirty levels would be a billion places."""
    (tmp_path / "30").mkdir()
    for level in range(30):
        for name in "ab":
            linked(tmp_path / f"{level}/{name}", tmp_path / f"{level + 1}")
    with pytest.raises(DataError, match="more than 1000 places"):
        list_files(str(tmp_path / "0"))


def test_listing_refuses_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "in/locked/1.png", noise(4, 4))
    scan = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match="locked: Permission denied"):
        list_files(str(tmp_path / "in"))
