"""`pipelines/shard.py` as a person calls it, and the same work as Ray tasks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from i2i_core.data import glyphs, layouts, shards
from i2i_core.data.images import ImageOptions, encode
from i2i_core.data.manifest import DataSet
from i2i_core.errors import DataError
from i2i_core.orchestration.sharding import builtin_data, index_webdataset, make, run_tasks
from tests.unit.test_shards import put, sums

ROOT = Path(__file__).parents[2]


def cli(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "pipelines/shard.py"), *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def test_a_job_is_done_then_said_to_be_finished_then_guarded(tmp_path: Path) -> None:
    out = tmp_path / "glyphs"
    job = ["--layout", "glyphs", "--glyphs", "labelled", "--characters", 10, "--workers", 0, "--out", out]
    first = cli(*job, "--size", 16)
    assert first.returncode == 0, first.stderr
    assert DataSet(str(out)).manifest.describe() in first.stdout
    assert f"finished: {out}" in first.stdout
    assert "samples/s" in first.stderr
    before = sums(out)

    again = cli(*job, "--size", 16)
    assert again.returncode == 0
    assert f"already finished: {out}" in again.stdout

    other = cli(*job, "--size", 20)
    assert other.returncode == 2
    assert other.stderr.startswith("error: --out")
    assert "Traceback" not in other.stderr
    assert sums(out) == before


def test_wrong_input_is_told_before_any_work(tmp_path: Path) -> None:
    bad = cli("--layout", "ab", "--input", tmp_path / "none", "--out", tmp_path / "out")
    assert bad.returncode == 2
    assert bad.stderr.startswith(f"error: --input {tmp_path / 'none'}: found nothing at that place")
    assert not (tmp_path / "out").exists()
    unknown = cli("--layuot", "ab")
    assert unknown.returncode == 2
    assert "--layout" in unknown.stdout + unknown.stderr


def test_images_left_out_are_named_and_counted(tmp_path: Path) -> None:
    put(tmp_path / "in/1.png", np.zeros((4, 8, 3), np.uint8))
    (tmp_path / "in/2.png").write_bytes(b"x")
    done = cli("--layout", "ab", "--input", "in", "--out", "out", "--bad", "skip", "--workers", 0, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "left out, 1:\n  2.png: a file that cannot be decoded (cannot identify it as an image)" in done.stdout


def test_builtin_data_is_made_once_and_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(glyphs, "characters", lambda: ("A", "B", "C", "D"))
    where = builtin_data("unpaired", 16)
    assert "the built-in glyphs, unpaired, 16 px" in capsys.readouterr().out
    assert DataSet(where).manifest.kind == "unpaired"
    when = (tmp_path / where / "manifest.json").stat().st_mtime_ns
    assert builtin_data("unpaired", 16) == where
    assert (tmp_path / where / "manifest.json").stat().st_mtime_ns == when


# ---- on Ray: one cluster for all that follows ----


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    import ray

    from i2i_core.orchestration.launch import connect

    joined = ray.is_initialized()
    connect()
    yield
    if not joined:
        ray.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(30):
        put(tmp_path / f"in/{'cat' if i % 3 else 'dog'}/{i}.png", rng.integers(0, 255, (8, 8, 3), np.uint8))
    return tmp_path / "in"


def shard(folder: Path, out: Path, workers: int, **goal: object) -> None:
    layout = layouts.LayoutOptions(layout="classes", input=str(folder))
    images, to = ImageOptions(load_size=6), shards.ShardOptions(out=str(out), shard_samples=4, **goal)  # type: ignore[arg-type]
    make(shards.plan(layouts.find(layout), layout, glyphs.GlyphOptions(), images, to), to, workers)


@pytest.mark.usefixtures("cluster")
def test_any_number_of_workers_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for workers in (0, 2, -1):
        shard(folder, tmp_path / f"out{workers}", workers)
    assert len(sums(tmp_path / "out0")) > 8
    assert sums(tmp_path / "out0") == sums(tmp_path / "out2") == sums(tmp_path / "out-1")
    index_webdataset(
        shards.IndexOptions(index=str(tmp_path / "out0")), shards.ShardOptions(out=str(tmp_path / "i0")), (), 0
    )
    index_webdataset(
        shards.IndexOptions(index=str(tmp_path / "out0")), shards.ShardOptions(out=str(tmp_path / "i2")), (), 2
    )
    assert sums(tmp_path / "i0") == sums(tmp_path / "i2")


@pytest.mark.usefixtures("cluster")
def test_an_error_in_a_task_arrives_as_it_was_raised(folder: Path, tmp_path: Path) -> None:
    (folder / "cat/broken.png").write_bytes(encode(np.zeros((9, 9, 3), np.uint8), "png")[:50])
    with pytest.raises(DataError) as caught:
        shard(folder, tmp_path / "out", 2)
    assert type(caught.value) is DataError
    assert caught.value.where.endswith("cat/broken.png")
    with pytest.raises(DataError, match="without manifest"):
        DataSet(str(tmp_path / "out"))
    shard(folder, tmp_path / "out", 2, bad="skip")
    shard(folder, tmp_path / "serial", 0, bad="skip")
    assert sums(tmp_path / "out") == sums(tmp_path / "serial")


@pytest.mark.usefixtures("cluster")
def test_no_more_tasks_fly_than_workers(tmp_path: Path) -> None:
    def together(number: int) -> int:
        mine = tmp_path / f"{number}"
        mine.touch()
        count = len(list(tmp_path.iterdir()))
        mine.unlink()
        return count

    assert list(run_tasks(together, [(i,) for i in range(8)], 1)) == [1] * 8
