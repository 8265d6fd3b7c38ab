"""`pipelines/shard.py` as a person calls it, and the same work as Ray tasks."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from i2i_core.data.folders import layouts
from i2i_core.data.format import shards, webdatasets
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.worlds import glyphs
from i2i_core.errors import DataError, RunError
from i2i_core.images.codec import ImageOptions
from i2i_core.orchestration import pool
from i2i_core.orchestration.sharding import builtin_data, index_webdataset, make, shard_glyphs

from ..support.data import png, put, sums, write_tar

ROOT = Path(__file__).parents[2]


Outcome = tuple[int, str, str]
Cli = Callable[..., Outcome]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs the entry point in this process: its exit code, what it printed, what it said on stderr."""

    def _cli(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["shard.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / "pipelines/shard.py"), run_name="__main__")
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, *capsys.readouterr()

    return _cli


@pytest.mark.processes
def test_shard_command_makes_a_data_set(tmp_path: Path) -> None:
    out = tmp_path / "glyphs"
    job = ["--layout", "glyphs", "--characters", "10", "--size", "16", "--workers", "0", "--out", str(out)]
    command, env = [sys.executable, str(ROOT / "pipelines/shard.py"), *job], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert DataSet(str(out)).manifest.describe() in done.stdout
    assert f"finished: {out}" in done.stdout
    assert "samples/s" in done.stderr


def test_shard_command_says_that_it_is_finished_and_guards_the_data_set(cli: Cli, tmp_path: Path) -> None:
    job = ["--layout", "glyphs", "--characters", 10, "--workers", 0, "--out", tmp_path / "out"]
    assert cli(*job, "--size", 16)[0] == 0
    before = sums(tmp_path / "out")
    code, out, _ = cli(*job, "--size", 16)
    assert code == 0
    assert f"already finished: {tmp_path / 'out'}" in out
    code, _, error = cli(*job, "--size", 20)
    assert code == 2
    assert error.startswith("error: --out")
    assert sums(tmp_path / "out") == before
    assert cli(*job, "--size", 20, "--overwrite")[0] == 0
    assert DataSet(str(tmp_path / "out")).manifest.fields["image"].width == 20


def test_shard_command_refuses_wrong_input_before_any_work(cli: Cli, tmp_path: Path) -> None:
    code, _, error = cli("--layout", "ab", "--input", tmp_path / "none", "--out", tmp_path / "out")
    assert code == 2
    assert error.startswith(f"error: --input {tmp_path / 'none'}: found nothing at that place")
    assert not (tmp_path / "out").exists()
    code, out, error = cli("--layuot", "ab")
    assert code == 2
    assert "--layout" in out + error
    assert cli("--layout", "glyphs")[0] == 2
    assert cli("--out", tmp_path / "out")[0] == 2
    assert cli("--layout", "glyphs", "--out", tmp_path / "out", "--workers", -2)[0] == 2
    assert cli("--layout", "ab", "--index", tmp_path)[0] == 2


def test_shard_command_names_and_counts_images_left_out(cli: Cli, tmp_path: Path) -> None:
    put(tmp_path / "in/1.png", np.zeros((4, 8, 3), np.uint8))
    (tmp_path / "in/2.png").write_bytes(b"x")
    job = ["--layout", "ab", "--input", tmp_path / "in", "--out", tmp_path / "out", "--workers", 0]
    code, _, error = cli(*job)
    assert code == 2
    assert "in/2.png: found a file that cannot be decoded (cannot identify it as an image)" in error
    code, out, _ = cli(*job, "--bad", "skip")
    assert code == 0
    assert "left out, 1:\n  2.png: a file that cannot be decoded (cannot identify it as an image)" in out


def test_shard_command_prints_hostile_names_escaped(cli: Cli, tmp_path: Path) -> None:
    """Of classes, of an image that is left out, of one without a partner, and of attributes in labels."""
    image, one = np.zeros((4, 4, 3), np.uint8), ["--workers", 0, "--split", 1, 0, 0]
    for name in ("a/1", "b\u202e/1", "b\u202e/2"):
        put(tmp_path / f"in/{name}.png", image)
    (tmp_path / "in/a/c\u2066.png").write_bytes(b"x")
    job = ["--layout", "classes", "--input", tmp_path / "in", "--out", tmp_path / "out", *one, "--bad", "skip"]
    code, out, _ = cli(*job)
    assert code == 0
    assert r"note: images of each class: a 2, b\u202e 2" in out
    assert r"left out, 1:" + "\n  " + r"a/c\u2066.png: a file" in out
    assert r"attributes a b\u202e" in out
    assert all(line.isprintable() for line in out.split("\n"))
    assert DataSet(str(tmp_path / "out")).manifest.attributes == ("a", "b\u202e"), "data stays as it is"

    job = ["--layout", "pairs", "--input", tmp_path / "in", "--out", tmp_path / "pairs", *one]
    code, _, error = cli(*job)
    assert (code, r"b\u202e (2)" in error) == (2, True)
    assert cli(*job, "--common-only", "--overwrite")[0] == 0
    assert r"b\u202e/2.png" in (tmp_path / "pairs/without_partner.txt").read_text()

    tars = tmp_path / "tars"
    write_tar(tars / "train-0.tar", {"1": {"json": b'{"d\\u001b[2J\\ud800": 1}', "png": png()}})
    code, out, error = cli("--index", tars, "--workers", 0)
    assert code == 0, error
    assert r"attributes d\x1b[2J\ud800" in out


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\nb", "x" * 247])
def test_shard_command_refuses_names_that_no_output_can_have(name: str, cli: Cli, tmp_path: Path) -> None:
    put(tmp_path / f"in/{name}.png", np.zeros((4, 8, 3), np.uint8))
    code, out, error = cli("--layout", "ab", "--input", tmp_path / "in", "--out", tmp_path / "out", "--workers", 0)
    assert (code, out) == (2, "")
    assert "expected names that any reader can read" in error
    assert all(line.isprintable() for line in error.split("\n"))
    assert not (tmp_path / "out").exists()


def test_shard_command_says_what_became_of_transparency_and_what_comes_next(
    cli: Cli, tmp_path: Path, said: list[str]
) -> None:
    clear = np.zeros((4, 4, 4), np.uint8)
    for name in ("x/1", "x/2", "y/1", "y/3"):
        put(tmp_path / f"in/{name}.png", clear)
    job = ["--layout", "pairs", "--input", tmp_path / "in", "--split", 1, 0, 0, "--out", tmp_path / "out"]
    code, _, error = cli(*job)
    assert code == 2
    assert "--common-only" in error
    code, out, _ = cli(*job, "--common-only", "--background", "red")
    assert code == 0
    assert any("--workers 0, chosen: 1 samples" in line for line in said)
    assert any(f"{tmp_path / 'out/without_partner.txt'} lists them" in line for line in said)
    assert "1 samples have transparent pixels, which are laid over red" in out
    trained = f"python pipelines/train.py --method pix2pix --preset demo --data {tmp_path / 'out'} --name out"
    assert f"train on it with: {trained}" in out


def test_shard_command_indexes_an_existing_webdataset(cli: Cli, tmp_path: Path) -> None:
    shard_glyphs(str(tmp_path / "g"), "labelled", 16, characters=4)
    (tmp_path / "g/manifest.json").unlink()
    code, out, _ = cli("--index", tmp_path / "g", "--workers", 0)
    assert code == 0
    assert "labelled, 16x16x1 uint8, attributes serif bold oblique mono" in out
    assert f"finished: {tmp_path / 'g'}" in out


def test_builtin_data_is_made_once_and_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(glyphs, "characters", lambda: ("A", "B", "C", "D"))
    where = builtin_data("unpaired", 16, {"scanned": True})
    assert "the built-in glyphs, unpaired, 16 px" in said[0]
    assert DataSet(where).manifest.kind == "unpaired"
    when = (tmp_path / where / "manifest.json").stat().st_mtime_ns
    for sketch in (False, True):
        assert builtin_data("unpaired", 16, {"scanned": True}, sketch=sketch) == where
    assert (tmp_path / where / "manifest.json").stat().st_mtime_ns == when


@pytest.mark.processes
def test_builtin_data_is_sketched_for_a_dry_run_and_leaves_nothing(tmp_path: Path) -> None:
    """Some characters in a temporary folder, gone at the end."""
    program = "from i2i_core.orchestration.sharding import *; print(builtin_data('paired', 16, {}, sketch=True))"
    command = [sys.executable, "-c", program]
    where = Path(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip())
    assert "i2i-sketch-" in str(where)
    assert not where.exists()
    assert [*tmp_path.iterdir()] == []


# ---- on Ray: one cluster for all that follows ----


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    from i2i_core.orchestration.cluster import connect  # first: it sets what Ray reads when it is imported

    import ray  # isort: skip

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


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_sharding_gives_the_same_bytes_for_any_workers(folder: Path, tmp_path: Path) -> None:
    for workers in (0, 2, -1):
        shard(folder, tmp_path / f"out{workers}", workers)
    assert len(sums(tmp_path / "out0")) > 8
    assert sums(tmp_path / "out0") == sums(tmp_path / "out2") == sums(tmp_path / "out-1")
    index_webdataset(
        webdatasets.IndexOptions(index=str(tmp_path / "out0")), shards.ShardOptions(out=str(tmp_path / "i0")), (), 0
    )
    index_webdataset(
        webdatasets.IndexOptions(index=str(tmp_path / "out0")), shards.ShardOptions(out=str(tmp_path / "i2")), (), 2
    )
    assert sums(tmp_path / "i0") == sums(tmp_path / "i2")


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_pool_raises_an_error_of_a_task_as_it_was_raised(folder: Path, tmp_path: Path) -> None:
    (folder / "cat/broken.png").write_bytes((folder / "cat/1.png").read_bytes()[:80])
    with pytest.raises(DataError) as caught:
        shard(folder, tmp_path / "out", 2)
    assert type(caught.value) is DataError
    assert caught.value.where.endswith("cat/broken.png")
    with pytest.raises(DataError, match="without manifest"):
        DataSet(str(tmp_path / "out"))
    shard(folder, tmp_path / "out", 2, bad="skip")
    shard(folder, tmp_path / "serial", 0, bad="skip")
    assert sums(tmp_path / "out") == sums(tmp_path / "serial")


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_pool_has_no_more_tasks_flying_than_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    flying: list[int] = []
    wait = ray.wait

    def counted(tasks: list[object], **options: object) -> object:
        flying.append(len(tasks))
        return wait(tasks, **options)

    monkeypatch.setattr(ray, "wait", counted)
    assert sorted(pool.each([(i,) for i in range(8)], lambda number: number, 2)) == list(range(8))
    assert flying == [2] * 7 + [1]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_pool_has_a_unit_of_a_lost_worker_done_by_another(tmp_path: Path) -> None:
    def dies_once(number: int) -> int:
        if number == 2 and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os._exit(1)
        return number

    assert sorted(pool.each([(i,) for i in range(4)], dies_once, 2)) == list(range(4))
    assert (tmp_path / "died").exists()
    with pytest.raises(RunError, match="a worker was lost"):
        list(pool.each([(1,)], lambda code: os._exit(code), 2))


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_pool_begins_no_unit_when_nobody_wants_more(tmp_path: Path) -> None:
    def note(number: int) -> None:
        (tmp_path / str(number)).touch()

    made = pool.each([(i,) for i in range(20)], note, 2)
    next(made)
    made.close()
    begun = sorted(file.name for file in tmp_path.iterdir())
    assert len(begun) <= 3
    list(pool.each([(99,)], note, 1))
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*begun, "99"])


def test_shard_command_says_what_narrow_halves_one_class_and_apart_domains_need(cli: Cli, tmp_path: Path) -> None:
    """And the command that it names for training is one that such data can be trained with."""
    put(tmp_path / "tall/1.png", np.zeros((16, 8, 3), np.uint8))
    job = ["--layout", "ab", "--input", tmp_path / "tall", "--out", tmp_path / "ab", "--workers", 0]
    code, out, _ = cli(*job)
    assert code == 0
    assert "halves of 4x16 pixels: if A and B lie one above the other, give --stacked (and --overwrite)" in out
    code, out, _ = cli(*job, "--stacked", "--overwrite")
    assert code == 0
    assert "halves" not in out
    put(tmp_path / "one/cat/1.png", np.zeros((8, 8, 3), np.uint8))
    code, out, _ = cli("--layout", "classes", "--input", tmp_path / "one", "--out", tmp_path / "c", "--workers", 0)
    assert code == 0
    assert "train on it with" not in out
    assert "stargan needs two" in out
    for side in "AB":
        put(tmp_path / f"two/train{side}/1.png", np.zeros((8, 8, 3), np.uint8))
    apart = ["--layout", "unpaired", "--input", tmp_path / "two", "--channels", 1, "--channels-b", 3]
    code, out, _ = cli(*apart, "--out", tmp_path / "u", "--workers", 0)
    assert code == 0
    assert "--method cyclegan" in out
    assert "--lambda-id 0" in out
