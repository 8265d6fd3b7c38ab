"""Devices, sockets and named pipes among images are named and left out, and never opened: a reader would wait for ever.

pytest tests/unit/test_special_files.py
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from i2i_core.data.folders.declared import FieldOptions
from i2i_core.data.folders.layouts import LayoutOptions, find, list_files
from i2i_core.data.format import shards
from i2i_core.data.format.shards import ShardOptions
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.errors import DataError
from i2i_core.images.codec import ImageOptions
from i2i_core.methods.pix2pix import Pix2Pix
from i2i_core.orchestration.sharding import make
from i2i_core.storage.paths import special
from i2i_core.translation.inputs import Files, Inputs, open_inputs

from ..support.data import put

FOLDERS = {
    "ab": ("", "train/"),
    "pairs": ("a/", "b/"),
    "unpaired": ("trainA/", "trainB/"),
    "classes": ("x/", "y/"),
    "celeba": ("img/", "img/below/"),
    "fields": ("", "sub/"),
}
"""Folders of each layout; their images are 1.png and 2.png."""
FIELDS = FieldOptions(field=("image={key}.png",))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    """Bind a socket, by a short name: its address has room for some 100 bytes."""
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.open(path.parent, os.O_RDONLY)
        try:
            bound.bind(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (pipe, "a named pipe"),
    "socket": (listening, "a socket"),
    "device": (device, "a device"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_special_names_the_kind(kind: str, tmp_path: Path) -> None:
    create, name = KINDS[kind]
    create(tmp_path / "x.png")
    assert special(str(tmp_path / "x.png")) == name
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "broken").symlink_to("nothing")
    assert [special(str(tmp_path / name)) for name in (".", "file", "link", "broken", "gone")] == [""] * 5


def folder_with(layout: str, tmp_path: Path) -> str:
    """A folder of a layout with three special files among its images."""
    folders = FOLDERS[layout][:1] if layout in ("ab", "fields") else FOLDERS[layout]
    for number, folder in enumerate(folders):
        for name in "12":
            key = f"{name}{number}" if layout == "celeba" else name
            put(tmp_path / f"in/{folder}{key}.png", np.zeros((4, 8, 3), np.uint8))
        for odd, (create, _) in KINDS.items():
            create(tmp_path / f"in/{folder}{odd}.png")
    if layout == "celeba":
        rows = "".join(f"{name}{number}.png 1\n" for name in "12" for number in (0, 1))
        (tmp_path / "in/list_attr_celeba.txt").write_text(f"4\nBald\n{rows}")
    return str(tmp_path / "in")


@pytest.mark.parametrize("layout", FOLDERS)
def test_layout_names_special_files_and_leaves_them_out(layout: str, tmp_path: Path, said: list[str]) -> None:
    uri = folder_with(layout, tmp_path)
    options = LayoutOptions(layout=layout, input=uri)  # type: ignore[arg-type]
    found = find(options, fields=FIELDS if layout == "fields" else None)
    assert {Path(path).stem[0] for record in found.records for path in record.sources} == {"1", "2"}
    (line,) = said
    assert line.startswith(f"WARNING: {uri}: left out ")
    for odd, (_, kind) in KINDS.items():
        assert f"{FOLDERS[layout][0]}{odd}.png ({kind})" in line


def test_layout_shows_names_of_special_files_escaped_and_hidden_ones_not_at_all(
    tmp_path: Path, said: list[str]
) -> None:
    put(tmp_path / "1.png", np.zeros((4, 8, 3), np.uint8))
    pipe(tmp_path / ".hidden.png")
    pipe(tmp_path / "a\x1b[2J\nb.png")
    assert list(list_files(str(tmp_path)).files) == ["1.png"]
    assert said == [rf"WARNING: {tmp_path}: left out 1 special file: a\x1b[2J\nb.png (a named pipe)"]


def test_sharding_leaves_a_sample_out_whose_field_is_a_pipe(tmp_path: Path) -> None:
    """Such a sample misses a field: it is refused by name, and not opened."""
    for key in ("1", "2"):
        put(tmp_path / f"in/{key}_x.png", np.zeros((4, 4, 3), np.uint8))
    put(tmp_path / "in/1_y.png", np.zeros((4, 4, 3), np.uint8))
    pipe(tmp_path / "in/2_y.png")
    fields = FieldOptions(field=("x={key}_x.png", "y={key}_y.png"))
    where, to = LayoutOptions(layout="fields", input=str(tmp_path / "in")), ShardOptions(out=str(tmp_path / "out"))
    plan = shards.plan(find(where, fields=fields), where, GlyphOptions(), ImageOptions(), to)
    with pytest.raises(DataError, match=r"in/2_y\.png: found a file that cannot be read \(a named pipe\)"):
        make(plan, to, workers=0)


def inputs(uri: Path, out: str = "") -> Inputs:
    return open_inputs(str(uri), out, "test", Pix2Pix, "AtoB", "AtoB")


def test_inputs_of_a_folder_leave_special_files_out(tmp_path: Path, said: list[str]) -> None:
    uri = folder_with("ab", tmp_path)
    assert inputs(Path(uri)).names == ["1", "2"]
    assert "left out 3 special files: device.png (a device), pipe.png (a named pipe), socket.png (a socket)" in said[0]


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_refuse_a_special_file(kind: str, tmp_path: Path) -> None:
    create, name = KINDS[kind]
    for ending in ("png", "txt"):
        create(tmp_path / f"x.{ending}")
        with pytest.raises(DataError, match=f"found {name}, which is not opened"):
            inputs(tmp_path / f"x.{ending}")
    (tmp_path / "list").write_text("x.png\n")
    listed = inputs(tmp_path / "list")
    assert isinstance(listed, Files)
    with pytest.raises(ValueError, match=f"{name}, which is not opened"):
        listed.fetch(0)
