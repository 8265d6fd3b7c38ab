"""Suggest places that are there for those that are not.

pytest tests/unit/test_near.py
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from i2i_core.checkpoints import authors, trained
from i2i_core.data.folders import declared, lists
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.folders.listing import list_files
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.webdatasets import IndexOptions, list_tars
from i2i_core.errors import UserError
from i2i_core.evaluation.judges.classifier import load_classifier
from i2i_core.evaluation.judges.palettes import read_palette
from i2i_core.pretrained.segmentation import read_network
from i2i_core.pretrained.weights import Published
from i2i_core.search.space import load_space
from i2i_core.storage.near import corrected
from i2i_core.translation.inputs import open_images
from pipelines import runs, train

from ..support.methods import Case, small


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give a folder, local and remote, that holds data/photos/a.png, data/monet/b.png and .photo/c.png."""
    root = str(tmp_path) if request.param == "local" else f"memory://near-{tmp_path.name}"
    fs, path = fsspec.core.url_to_fs(root)
    for name in ("data/photos/a.png", "data/monet/b.png", ".photo/c.png"):
        fs.makedirs(f"{path}/{name}".rpartition("/")[0], exist_ok=True)
        fs.pipe_file(f"{path}/{name}", b"1")
    yield root
    fs.rm(path, recursive=True)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("data/photo", "data/photos"),
        ("data/photso/", "data/photos"),
        ("dta/photos", "data/photos"),
        ("dta/photos/b.png", "data"),
        ("data/Photos/a.png", "data/photos/a.png"),
        ("DATA", "data"),
    ],
)
def test_near_place_is_suggested(place: str, given: str, meant: str) -> None:
    assert corrected(f"{place}/{given}") == f"Did you mean {place.replace('memory://', 'memory:///')}/{meant}?"


@pytest.mark.parametrize("given", ["", "data", "data/photos", "data/photos/a.png", "data/photos/a.png/x", "photo", "x"])
def test_near_suggests_nothing_for_what_is_there_or_like_nothing(place: str, given: str) -> None:
    assert corrected(f"{place}/{given}") == "Check the name."
    assert corrected(f"{place}/{given}", "Make one.") == "Make one."


def test_near_suggestion_stands_before_the_fix(place: str) -> None:
    assert corrected(f"{place}/data/mone", "Make one.").endswith("data/monet? Make one.")


def test_near_folder_that_may_not_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.setattr(os, "scandir", _refuse)
    assert corrected(str(tmp_path / "photo")) == "Check the name."


def _refuse(path: str) -> None:
    raise PermissionError(path)


def _of_pairs(table: str) -> object:
    return find(LayoutOptions("pairs", str(Path(table).parent), pair_table=table))


READERS: dict[str, Callable[[str], object]] = {
    "train --config": lambda at: train.configure(["--config", at]),
    "--data": DataSet,
    "CHECKPOINT": trained.find,
    "--init-from authors": lambda at: authors.read(f"authors:{at}", "cyclegan", small(Case("cyclegan"))),
    "shard --input": list_files,
    "shard --index": lambda at: list_tars(IndexOptions(at), ()),
    "--list": lambda at: lists.named(at, "nowhere"),
    "--pair-table": _of_pairs,
    "--classes": lambda at: declared.declared(declared.FieldOptions(("a:classes={key}",), classes=(f"a={at}",))),
    "translate --input": lambda at: open_images(at, "--input"),
    "translate --input, a pattern": lambda at: open_images(f"{at}/*.png", "--input"),
    "--classifier": load_classifier,
    "--palette": read_palette,
    "--segmentation": read_network,
    "--inception": lambda at: Published("a file", "https://x.invalid/y", "0", "--inception").read(at),
    "--space": lambda at: load_space(f"{at}.py"),
    "runs STORAGE": lambda at: runs.prune(runs.PruneOptions(at)),
}


@pytest.mark.parametrize("reader", READERS)
def test_near_place_is_suggested_by_every_reader(reader: str, tmp_path: Path) -> None:
    (tmp_path / ("right.py" if reader == "--space" else "right")).mkdir()
    with pytest.raises(UserError, match=rf"Did you mean {tmp_path}/right") as caught:
        READERS[reader](f"{tmp_path}/rihgt")
    assert "rihgt" in f"{caught.value.where} {caught.value.found}"
