"""Drivers and workers that are killed while they translate, object storage, and a disk that fills: the same command
goes on, and ends with the bytes of one that nobody disturbed.

pytest tests/integration/test_translating_many.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.translation import TranslateOptions
from i2i_core.data.folders.listing import list_files
from i2i_core.errors import RunError
from i2i_core.orchestration import pool, ray_compat, translating
from i2i_core.storage.remote import Remote
from i2i_core.translation import pieces
from i2i_core.translation.inputs import ledger_of
from i2i_core.translation.ledger import Ledger
from i2i_core.translation.pieces import Part, Piece, Pieces
from i2i_core.translation.translator import Translator

from ..support.full_disk import NAMESPACE, no_namespace
from ..support.processes import ROOT
from ..support.translating import files, go, noise, save
from ..support.weather import Weather

COUNT, BATCH = 60, 4
DIES = f"""
import os, signal, sys
from i2i_core.config.translation import TranslateOptions
from i2i_core.orchestration.translating import translate
from i2i_core.translation.pieces import Pieces
from i2i_core.translation.translator import Translator
run, source, out, workers, which, after = sys.argv[1:]
kind, name = {{"driver": (Pieces, "add"), "writing": (Translator, "_write")}}[which]
inner, left = getattr(kind, name), [int(after)]
def dying(self, *given):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return inner(self, *given)
setattr(kind, name, dying)
translate(run, TranslateOptions(input=source, out=out, target="bold", workers=int(workers), batch={BATCH}, cpu=True))
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(COUNT):
        save(folder / f"{i % 3}/{i:03d}.png", noise(16, 16 + 4 * (i % 2), seed=i))
    return folder


@pytest.fixture(scope="module")
def whole(stargan: str, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a command makes that nobody disturbs."""
    out = tmp_path_factory.mktemp("whole") / "out"
    go(stargan, photos, out, target="bold")
    return files(out)


def inputs_in(out: Path | str) -> list[str]:
    """The inputs that have a row in the ledger."""
    fs, root = fsspec.core.url_to_fs(ledger_of(str(out)), use_listings_cache=False)
    names = [path for path in fs.find(root) if path.endswith(".jsonl")]
    return sorted(json.loads(line)["input"] for name in names for line in fs.cat_file(name).splitlines())


def killed(stargan: str, photos: Path, out: Path, workers: int, which: str, after: int) -> None:
    """Start a driver that kills itself."""
    command = [sys.executable, "-c", DIES, stargan, str(photos), str(out), str(workers), which, str(after)]
    died = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()


@pytest.mark.slow
@pytest.mark.processes
def test_translate_goes_on_after_a_kill_in_the_middle_of_a_piece(
    stargan: str, photos: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    killed(stargan, photos, out, 1, "writing", 30)
    assert len(inputs_in(out)) == 28, "seven pieces are whole"
    assert len(files(out)) == 30
    outcome = go(stargan, photos, out, target="bold", batch=BATCH)
    assert (outcome.before, outcome.written) == (28, COUNT)
    assert files(out) == whole
    assert len(inputs_in(out)) == len({*inputs_in(out)}) == COUNT


@pytest.mark.slow
@pytest.mark.ray
def test_translate_goes_on_after_its_driver_was_killed_beside_two_workers(
    stargan: str, photos: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    killed(stargan, photos, out, 2, "driver", 5)
    noted = {*inputs_in(out)}
    assert 5 * BATCH <= len(noted) <= (5 + 1 + 2) * BATCH, "and a row more for what workers had in hand"
    assert len(files(out)) <= len(noted) + 2 * BATCH
    outcome = go(stargan, photos, out, target="bold", batch=BATCH)
    assert outcome.before >= len(noted)
    assert outcome.before - len(noted) <= 2 * BATCH
    assert files(out) == whole
    assert len(inputs_in(out)) == COUNT


@pytest.mark.slow
@pytest.mark.ray
def test_translate_outlives_a_worker_that_is_killed(
    stargan: str, photos: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    import ray

    out, mark = tmp_path / "out", tmp_path / "died"
    os.environ.setdefault("RAY_AUTH_TOKEN", "0" * 64)
    ray_compat.forget_token()
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="warning")
    try:
        options = TranslateOptions(input=str(photos), out=str(out), target="bold", workers=2, batch=BATCH, cpu=True)
        trained = load_trained(stargan, torch.device("cpu"))
        job = translating.prepare_job(trained.url, trained, options)
        book = Ledger(str(out), pieces.depends_on(job, trained, options))
        book.open(overwrite=False)

        def dies_once(translator: Translator, piece: Piece) -> Part:
            if 20 in piece.at and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return pieces.run(translator, piece)

        def always_dies(translator: Translator, piece: Piece) -> Part:
            os.kill(os.getpid(), signal.SIGKILL)
            return pieces.run(translator, piece)

        where = pool.Where(2, gpu=False, cpu=True)
        todo = Pieces(job, book, BATCH, 0, memory=False)
        for part in pool.over(todo, dies_once, todo.for_workers(), trained, where, pool.TRIES, 2):
            todo.add(part)
        book.close()
        with pytest.raises(RunError, match="a worker was lost"):
            list(pool.over([Piece((0,), ("x",), ("",))], always_dies, todo.for_workers(), trained, where, 2))
    finally:
        ray.shutdown()
    assert mark.exists()
    assert (todo.written, todo.before) == (COUNT, 0)
    assert files(out) == whole
    assert len(inputs_in(out)) == COUNT


# ---- object storage ----


@pytest.mark.s3
def test_translate_goes_from_s3_to_s3_and_on(
    stargan: str, photos: Path, whole: dict[str, bytes], s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    fs.put(str(photos), f"{s3}/in", recursive=True)
    fs.pipe_file(f"{s3}/in/0/odd.png", b"no image")
    inner, left = Translator._write, [30]

    def fail(self: Translator, *given: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise RunError("it fails")
        inner(self, *given)

    monkeypatch.setattr(translating, "AT_FIRST", 1)
    with monkeypatch.context() as broken:
        broken.setattr(Translator, "_write", fail)
        with pytest.raises(RunError, match="it fails"):
            go(stargan, f"{s3}/in", f"{s3}/out", target="bold", batch=BATCH)
    there = len(inputs_in(f"{s3}/out"))
    assert there == 28
    outcome = go(stargan, f"{s3}/in", f"{s3}/out", target="bold", batch=BATCH)
    assert (outcome.before, outcome.written) == (there - 1, COUNT), "all but the one that was left out"
    root = fs._strip_protocol(f"{s3}/out")
    assert {path[len(root) + 1 :]: fs.cat_file(path) for path in fs.find(root)} == whole
    assert inputs_in(f"{s3}/out").count("0/odd.png") == 1
    fs.pipe_file(f"{s3}/in/0/000.png", (photos / "1/001.png").read_bytes())
    again = go(stargan, f"{s3}/in", f"{s3}/out", target="bold")
    assert again.before == COUNT - 1, "an object of another ETag is another input"
    with pytest.raises(RunError):
        go(stargan, f"{s3}/in/0/odd.png", f"{s3}/other", target="bold")
    anew = go(stargan, f"{s3}/in/2", f"{s3}/out", target="bold", overwrite=True)
    assert len(fs.find(root)) == anew.written == COUNT // 3
    bucket = s3.removeprefix("s3://").split("/")[0]
    assert ledger_of(f"s3://{bucket}") == f"s3://{bucket}/.ledger"


@pytest.mark.s3
def test_listing_of_s3_comes_in_pages_and_asks_for_a_page_again(
    s3: str, weather: Weather, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    names = [f"{'ab'[i % 2]}/{i:02d}.png" for i in range(25)]
    for name in names:
        fs.pipe_file(f"{s3}/{name}", b"x" * len(name))
    inner, asked = Remote._page, list[Any]()

    def page(self: Remote, wanted: dict[str, Any]) -> Any:
        asked.append(wanted.get("ContinuationToken"))
        if len(asked) == 3:
            raise ConnectionResetError("reset")
        return inner(self, {**wanted, "MaxKeys": 10})

    monkeypatch.setattr(Remote, "_page", page)
    assert list(list_files(s3).files) == sorted(names)
    assert len(asked) == 4, "three pages, one of them asked for twice"
    assert asked[2] == asked[3]


# ---- a full disk ----

FILLS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.support.full_disk import sh
from tests.support.translating import files, go
run, source, home = sys.argv[2], sys.argv[3], Path(sys.argv[4])
sh("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(home))
filler = home / "fill"
filler.write_bytes(bytes((1 << 20) - 24 * 4096))
from i2i_core.errors import RunError
try:
    go(run, source, home / "out", target="bold", batch=4)
    print("done")
except RunError as error:
    print("failed:", error)
print(len(files(home / "out")))
filler.unlink()
outcome = go(run, source, home / "out", target="bold", batch=4)
go(run, source, home / "whole", target="bold")
print(outcome.before, outcome.written, files(home / "out") == files(home / "whole"))
"""


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.skipif(bool(no_namespace()), reason="no mount namespace here")
def test_translate_goes_on_once_a_full_disk_has_room(stargan: str, photos: Path, tmp_path: Path) -> None:
    command = [*NAMESPACE, sys.executable, "-c", FILLS, str(ROOT), stargan, str(photos), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said, there, last = done.stdout.splitlines()[-3:]
    assert "has no room (No space left on device). Make room there, and run the same command again" in said
    assert 0 < int(there) < COUNT
    before, written, same = last.split()
    assert 0 < int(before) < COUNT
    assert (written, same) == (str(COUNT), "True")
