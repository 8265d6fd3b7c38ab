"""What is written down of each image that was translated, and how the same command goes on from it.

pytest tests/unit/test_ledger.py
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch

from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.translation import TranslateOptions
from i2i_core.data.folders.arriving import Ahead, Images, packed, unpacked
from i2i_core.data.folders.listing import Entry, list_files
from i2i_core.errors import ConfigError, DataError, RunError
from i2i_core.orchestration import translating
from i2i_core.translation import inputs, ledger, pieces
from i2i_core.translation.hashes import Hashes, hashes
from i2i_core.translation.ledger import Ledger, Row
from i2i_core.translation.translator import Translator

from ..support.data import annotated_glyphs
from ..support.translating import files, go, noise, save, untrained

Patch = pytest.MonkeyPatch


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten images, one of them in a folder below, and one that cannot be read."""
    for i in range(9):
        save(tmp_path / f"photos/{i}.png", noise(16, 16, seed=i))
    save(tmp_path / "photos/below/x.jpg", noise(16, 16, seed=9))
    (tmp_path / "photos/odd.png").write_text("no image")
    return tmp_path / "photos"


@pytest.fixture
def runs(monkeypatch: Patch) -> list[str]:
    """The names of the images that went through the networks, in the order in which they did."""
    seen: list[str] = []
    inner = Translator.run

    def run(self: Translator, chunk: Any) -> Any:
        done = inner(self, chunk)
        seen.extend(self.job.inputs.names[i] for i in self.outputs)
        return done

    monkeypatch.setattr(Translator, "run", run)
    return seen


def rows_of(out: Path | str) -> list[dict[str, Any]]:
    """All rows of a ledger, as a stranger reads them."""
    fs, root = fsspec.core.url_to_fs(inputs.ledger_of(str(out)))
    names = sorted(path for path in fs.find(root) if path.endswith(".jsonl"))
    return [json.loads(line) for name in names for line in fs.cat_file(name).decode().splitlines()]


def translated(run: str, photos: Path | str, out: Path | str, **options: Any) -> Any:
    return go(run, photos, out, target="bold", **options)


# ---- rows ----


def test_ledger_has_a_row_for_each_input(stargan: str, photos: Path, tmp_path: Path) -> None:
    outcome = translated(stargan, photos, tmp_path / "out", batch=3)
    rows = {row["input"]: row for row in rows_of(tmp_path / "out")}
    assert len(rows) == len(rows_of(tmp_path / "out")) == 11
    made = files(tmp_path / "out")
    assert {(row["outputs"][0], row["sizes"][0]) for row in rows.values() if row["state"] == "made"} == {
        (name, len(data)) for name, data in made.items()
    }
    assert rows["below/x.jpg"]["outputs"] == ["below/x.png"]
    assert rows["odd.png"]["state"] == "left out"
    assert rows["odd.png"]["cause"] == outcome.bad[0].cause
    assert outcome.ledger == f"{tmp_path}/out-ledger"
    assert [path.name for path in sorted((tmp_path / "out-ledger").iterdir())] == ["made_by.json", "rows-000000.jsonl"]


def test_ledger_lies_where_no_listing_takes_it_for_an_input(
    stargan: str, photos: Path, tmp_path: Path, said: list[str]
) -> None:
    translated(stargan, photos, photos / "out")
    assert translated(stargan, photos, photos / "out").written == 10
    assert not [line for line in said if "left out" in line]
    assert (photos / "out-ledger").is_dir()
    again = translated(stargan, photos / "out", tmp_path / "again")
    assert again.written == 10, "a translated folder is an input like any other"
    assert list_files(str(photos / "out")).aside == {}


def test_ledger_with_nothing_beside_the_folder_lies_in_it_by_a_hidden_name(
    stargan: str, photos: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    """As beside a bucket."""
    monkeypatch.setattr(inputs, "_beside_of", lambda out, ending: "")
    outcome = translated(stargan, photos, photos / "out")
    assert (outcome.ledger, outcome.sheet) == (f"{photos}/out/.ledger", "")
    assert len(rows_of(photos / "out")) == 11
    assert translated(stargan, photos, photos / "out").before == 10
    assert set(list_files(str(photos / "out")).files) == {*(f"{i}.png" for i in range(9)), "below/x.png"}
    assert translated(stargan, photos / "out", tmp_path / "again").written == 10


def test_ledger_row_is_read_as_it_was_written() -> None:
    row = Row("a ü.png", "12-34", "made", ("a ü-0.png", "a ü-1.png"), (5, 6))
    assert Row.read(row.line()) == row
    assert Row.read(Row("x\udcff\n.png", "", "left out", cause="no\nimage").line()).cause == r"no\nimage"


# ---- going on ----


def test_translate_again_makes_nothing_again_but_tries_what_was_left_out(
    stargan: str, photos: Path, tmp_path: Path, runs: list[str]
) -> None:
    first = translated(stargan, photos, tmp_path / "out")
    sheet = (tmp_path / "out-sheet.png").read_bytes()
    made, count = files(tmp_path / "out"), len(runs)
    (tmp_path / "out-sheet.png").unlink()
    again = translated(stargan, photos, tmp_path / "out", batch=2)
    assert (again.written, again.before, again.bad) == (first.written, 10, first.bad)
    assert len(runs) == count == 10
    assert files(tmp_path / "out") == made
    assert (tmp_path / "out-sheet.png").read_bytes() == sheet, "drawn of the files"
    save(photos / "odd.png", noise(16, 16))
    assert translated(stargan, photos, tmp_path / "out").bad == ()
    assert runs[count:] == ["odd"]
    assert sorted(row["input"] for row in rows_of(tmp_path / "out")).count("odd.png") == 1


def test_translate_goes_on_where_a_worker_failed(
    stargan: str, photos: Path, tmp_path: Path, runs: list[str], monkeypatch: Patch
) -> None:
    """The outputs of the piece that failed are there in part, and no row says that they are."""
    translated(stargan, photos, tmp_path / "whole")
    runs.clear()
    inner, written = Translator._write, []

    def fail(self: Translator, *given: Any) -> None:
        if len(written) == 5:
            raise RunError("it fails")
        written.append(1)
        inner(self, *given)

    with monkeypatch.context() as broken:
        broken.setattr(Translator, "_write", fail)
        with pytest.raises(RunError, match="it fails"):
            translated(stargan, photos, tmp_path / "out", batch=2)
    assert len(rows_of(tmp_path / "out")) == 4
    assert len(files(tmp_path / "out")) == 5
    outcome = translated(stargan, photos, tmp_path / "out", batch=3)
    assert (outcome.before, outcome.written) == (4, 10)
    assert sorted(runs) == sorted({*runs}), "nothing twice"
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert len(rows_of(tmp_path / "out")) == 11


def test_translate_makes_again_what_is_missing_cut_or_of_a_changed_input(
    stargan: str, photos: Path, tmp_path: Path, runs: list[str]
) -> None:
    translated(stargan, photos, tmp_path / "out")
    whole = files(tmp_path / "out")
    runs.clear()
    (tmp_path / "out/1.png").unlink()
    (tmp_path / "out/2.png").write_bytes(whole["2.png"][:-1])
    save(photos / "3.png", noise(16, 18, seed=77))
    save(photos / "new.png", noise(16, 16, seed=78))
    translated(stargan, photos, tmp_path / "out")
    assert sorted(runs) == ["1", "2", "3", "new"]
    made = files(tmp_path / "out")
    assert {name for name in whole if made[name] != whole[name]} == {"3.png"}
    inputs = [row["input"] for row in rows_of(tmp_path / "out")]
    assert len(inputs) == len({*inputs}) == 12
    runs.clear()
    shutil.rmtree(tmp_path / "out")
    translated(stargan, photos, tmp_path / "out")
    assert len(runs) == 11


def test_translate_of_a_pattern_a_list_and_a_file_makes_a_changed_image_again(
    stargan: str, photos: Path, tmp_path: Path, runs: list[str]
) -> None:
    (tmp_path / "list.txt").write_text(f"{photos}/1.png\n{photos}/2.png\n")
    for name, given in {"a": f"{photos}/[12].png", "b": str(tmp_path / "list.txt"), "c": f"{photos}/1.png"}.items():
        runs.clear()
        translated(stargan, given, tmp_path / name)
        assert translated(stargan, given, tmp_path / name).before == len(runs)
        save(photos / "1.png", noise(16, 16, seed=ord(name)))
        runs.clear()
        translated(stargan, given, tmp_path / name)
        assert runs == ["1"]


def test_ledger_drops_rows_that_it_has_twice(stargan: str, photos: Path, tmp_path: Path, runs: list[str]) -> None:
    """As a driver leaves them that is killed after it has put rows together, and before it removes the small files."""
    translated(stargan, photos, tmp_path / "out")
    rows = tmp_path / "out-ledger/rows-000000.jsonl"
    (tmp_path / "out-ledger/new").mkdir()
    lines = rows.read_bytes().splitlines(keepends=True)
    (tmp_path / "out-ledger/new/0123.jsonl").write_bytes(b"".join(lines[:3] + lines[:1]))
    assert translated(stargan, photos, tmp_path / "out").before == 10
    assert len(runs) == 10
    assert len(rows_of(tmp_path / "out")) == 11


def test_translate_with_more_or_fewer_images_goes_on(
    stargan: str, photos: Path, tmp_path: Path, runs: list[str]
) -> None:
    translated(stargan, photos, tmp_path / "out", most=4)
    outcome = translated(stargan, photos, tmp_path / "out", most=7, batch=1)
    assert (outcome.before, outcome.written, len(runs)) == (4, 7, 7)
    outcome = translated(stargan, photos, tmp_path / "out", most=2)
    assert (outcome.before, outcome.written, len(runs)) == (2, 2, 7)
    assert len(rows_of(tmp_path / "out")) == 7


def test_translate_of_a_data_set_goes_on(stargan: str, labelled: str, tmp_path: Path, runs: list[str]) -> None:
    translated(stargan, Path(labelled), tmp_path / "out", most=5)
    translated(stargan, Path(labelled), tmp_path / "out", most=9)
    assert len(runs) == 9
    assert {row["outputs"][0] for row in rows_of(tmp_path / "out")} == files(tmp_path / "out").keys()


# ---- other options ----


def test_translate_refuses_a_folder_of_other_options_by_name(
    stargan: str, labelled: str, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    translated(stargan, photos, out)
    before = files(tmp_path)
    other = untrained("stargan", labelled, tmp_path / "other", gain=1.5)
    says = {
        "--target: bold there, serif here": {"target": "serif"},
        "--size: not given there, 20 here": {"target": "bold", "size": "20"},
        "--background: not given there, red here": {"target": "bold", "background": "red"},
    }
    for message, options in says.items():
        with pytest.raises(ConfigError, match=message):
            go(stargan, photos, out, **options)
    with pytest.raises(ConfigError, match=r"checkpoint: stargan of 36 images .* there, stargan of 36 images .* here"):
        translated(other, photos, out)
    with pytest.raises(ConfigError, match=rf"--input: {photos} there, {photos}/below here"):
        translated(stargan, photos / "below", out)
    after = files(tmp_path)
    assert {name: data for name, data in after.items() if not name.startswith("other")} == before


def test_translate_overwrites_what_the_ledger_names_and_nothing_else(
    stargan: str, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    translated(stargan, photos, out)
    save(out / "mine.png", noise(4, 4))
    (photos / "8.png").unlink()
    go(stargan, photos, out, target="serif", overwrite=True)
    assert files(out).keys() == {*(f"{i}.png" for i in range(8)), "below/x.png", "mine.png"}
    go(stargan, photos, tmp_path / "new", target="serif")
    assert {**files(tmp_path / "new"), "mine.png": files(out)["mine.png"]} == files(out)
    assert len(rows_of(out)) == 10


# ---- damage ----


def damaged(text: bytes) -> bytes:
    return text[: len(text) // 2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (damaged, "text that is no row of a ledger"),
        (lambda text: b"", "an empty file"),
        (lambda text: text.replace(b'"sizes": [', b'"sizes": [-'), "other outputs than sizes"),
        (lambda text: text.replace(b'"outputs": ["', b'"outputs": ["../'), "a path that leaves its folder"),
        (lambda text: text.replace(b'"state": "made"', b'"state": "well"'), "no row"),
        (lambda text: text.replace(b'"version"', b'"input"'), "twice 'input'"),
    ],
)
def test_ledger_that_is_damaged_is_named_and_the_advice_works(
    change: Any, says: str, stargan: str, photos: Path, tmp_path: Path, runs: list[str]
) -> None:
    out, file = tmp_path / "out", tmp_path / "out-ledger/rows-000000.jsonl"
    translated(stargan, photos, out)
    whole, text = files(out), file.read_bytes()
    file.write_bytes(change(text))
    with pytest.raises(DataError, match=r"rows-000000\.jsonl.*" + says) as error:
        translated(stargan, photos, out)
    assert error.value.fix.startswith("Remove that file, and run the same command again")
    runs.clear()
    file.unlink()
    translated(stargan, photos, out)
    assert (len(runs), files(out)) == (10, whole)
    file.write_bytes(change(text))
    translated(stargan, photos, out, overwrite=True)
    assert files(out) == whole


def test_ledger_whose_options_are_damaged_or_gone_is_refused(stargan: str, photos: Path, tmp_path: Path) -> None:
    translated(stargan, photos, tmp_path / "out")
    (tmp_path / "out-ledger/made_by.json").write_text("{")
    with pytest.raises(DataError, match=r"made_by\.json.*not JSON"):
        translated(stargan, photos, tmp_path / "out")
    (tmp_path / "out-ledger/made_by.json").unlink()
    with pytest.raises(DataError, match=r"1 file of rows, and no made_by\.json"):
        translated(stargan, photos, tmp_path / "out")
    assert translated(stargan, photos, tmp_path / "out", overwrite=True).written == 10


def test_ledger_goes_with_a_folder_that_stays_empty(stargan: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x.png").write_text("no image")
    with pytest.raises(RunError, match="not one image"):
        translated(stargan, tmp_path / "in", tmp_path / "out")
    save(tmp_path / "odd/x.npy", np.zeros((4, 4, 7), np.float32))
    with pytest.raises(DataError):
        translated(stargan, tmp_path / "odd", tmp_path / "odd-out")
    assert not (tmp_path / "odd-out").exists()
    assert not (tmp_path / "odd-out-ledger").exists()


def test_translate_leaves_out_the_one_image_of_other_channels(stargan: str, photos: Path, tmp_path: Path) -> None:
    """The first one is refused: then all are likely to be such."""
    save(photos / "5x.npy", np.zeros((4, 4, 7), np.float32))
    outcome = translated(stargan, photos, tmp_path / "out")
    assert outcome.written == 10
    assert [bad.key for bad in outcome.bad] == ["5x", "odd"]
    assert "7 channels" in outcome.bad[0].cause


# ---- a listing that goes on ----


@pytest.fixture
def streamed(monkeypatch: Patch) -> None:
    """Pages of three files, of which one is listed before the first image is translated."""
    monkeypatch.setattr("i2i_core.data.folders.arriving.PAGE", 3)
    monkeypatch.setattr(translating, "AT_FIRST", 1)
    monkeypatch.setattr(pieces, "AT_ONCE", 2)


@pytest.mark.usefixtures("streamed")
def test_translate_of_a_listing_that_goes_on_writes_the_same(
    stargan: str, photos: Path, tmp_path: Path, said: list[str], monkeypatch: Patch, runs: list[str]
) -> None:
    (photos / "notes.txt").write_text("no image")
    outcome = translated(stargan, photos, tmp_path / "out", batch=4)
    assert "input: more than 3 images, which are listed while they are translated" in said
    assert f"--input {photos}: left out: 1 file that is no image (.txt)" in said
    assert (outcome.written, [bad.key for bad in outcome.bad]) == (10, ["odd"])
    again = translated(stargan, photos, tmp_path / "out", batch=4, most=9)
    assert (again.before, len(runs)) == (9, 10)
    translated(stargan, photos, tmp_path / "three", most=3)
    assert (tmp_path / "out-sheet.png").read_bytes() == (tmp_path / "three-sheet.png").read_bytes()
    monkeypatch.undo()
    translated(stargan, photos, tmp_path / "whole")
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.usefixtures("streamed")
def test_pieces_count_positions_over_pages(stargan: str, photos: Path, tmp_path: Path) -> None:
    options = TranslateOptions(input=str(photos), out=str(tmp_path / "out"), target="bold")
    trained = load_trained(stargan, torch.device("cpu"))
    job = translating.prepare_job(trained.url, trained, options)
    book = Ledger(job.out, {})
    book.open(overwrite=False)
    found = [*pieces.Pieces(job, book, 4, 0, memory=False)]
    assert [i for piece in found for i in piece.at] == [*range(11)]
    assert [len(piece.at) for piece in found] == [4, 4, 3]
    assert [label for piece in found for label in piece.labels] == [
        *(f"{i}.png" for i in range(9)),
        "below/x.jpg",
        "odd.png",
    ]
    assert pieces.Pieces(job, book, 4, 0, memory=False).for_workers().inputs.names == ()


@pytest.mark.usefixtures("streamed")
def test_translate_of_a_listing_that_goes_on_refuses_names_that_collide(
    stargan: str, photos: Path, tmp_path: Path
) -> None:
    save(photos / "8.jpg", noise(16, 16))
    with pytest.raises(DataError, match=r"8\.png: rename one"):
        translated(stargan, photos, tmp_path / "out", batch=1)


@pytest.mark.usefixtures("streamed")
def test_translate_makes_what_was_listed_before_the_listing_fails(
    stargan: str, photos: Path, tmp_path: Path, monkeypatch: Patch, runs: list[str]
) -> None:
    inner = Images.pages

    def pages(self: Images) -> Any:
        for number, page in enumerate(inner(self)):
            if number == 2:
                raise RunError("it does not answer")
            yield page

    with monkeypatch.context() as broken:
        broken.setattr(Images, "pages", pages)
        with pytest.raises(RunError, match="it does not answer"):
            translated(stargan, photos, tmp_path / "out", batch=3)
    assert len(rows_of(tmp_path / "out")) == len(runs) == 6
    translated(stargan, photos, tmp_path / "out", batch=3)
    assert len(runs) == 10


def test_listing_ahead_is_in_order_and_packed(tmp_path: Path) -> None:
    for name in ("a-b/1.png", "a/1.png", "a.png", "b/c/1.png", "b.png", "ü.png"):
        save(tmp_path / name, noise(4, 4))
    found = [one.path for page in Ahead(Images(str(tmp_path), "--input").pages()) for one in page]
    assert found == sorted(found) == list(list_files(str(tmp_path)).files)
    page = [Entry(f"images/{i:07d}.png", 1234, f"1234-{1764412345123456789 + 7919 * i}") for i in range(1000)]
    assert unpacked(packed(page)) == page
    assert len(packed(page)) < 16 * len(page)


def test_hashes_hold_what_was_added_in_eight_bytes_each() -> None:
    held, texts = Hashes(), [str(i) for i in range(5000)]
    for start in range(0, 5000, 7):
        held.add(hashes(texts[start : start + 7]))
    assert len(held) == 5000
    assert held.has(hashes(texts)).all()
    assert not held.has(hashes(f"x{i}" for i in range(5000))).any()
    assert sum(run.nbytes for run in held.runs) == 8 * 5000
    assert len(held.runs) < 14
    assert not Hashes().has(hashes(texts)).any()


def test_ledger_puts_rows_together_and_removes_the_small_files(
    stargan: str, photos: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(ledger, "TOGETHER", 4)
    translated(stargan, photos, tmp_path / "out", batch=2)
    names = sorted(path.name for path in (tmp_path / "out-ledger").iterdir())
    assert names == ["made_by.json", *(f"rows-{i:06d}.jsonl" for i in range(3))]
    assert len(rows_of(tmp_path / "out")) == 11


def test_ledger_of_another_method_of_refining_is_not_asked(tmp_path: Path) -> None:
    """A data set says itself what it was made of."""
    synthetic = annotated_glyphs(tmp_path / "synthetic")
    simgan = untrained("simgan", synthetic, tmp_path / "simgan")
    go(simgan, synthetic, tmp_path / "out", shards=True, split="train")
    assert not (tmp_path / "out-ledger").exists()
