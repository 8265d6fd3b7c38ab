"""What killed programs leave in the temporary folder, in caches and beside results, and who removes it.

pytest tests/unit/test_leftovers.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from i2i_core.data.reading.staging import Cache
from i2i_core.evaluation.judges.classifier import ABANDONED, remove_abandoned
from i2i_core.orchestration.evaluating import check_out
from i2i_core.orchestration.launch import check_storage
from i2i_core.runs.folder import RunFolder
from i2i_core.storage import leftovers
from i2i_core.storage.folder import Folder, is_left, lives, writing
from i2i_core.storage.leftovers import OLD, TemporaryFolder, sweep

HOLDS = """
import sys, time
from pathlib import Path
from i2i_core.storage.leftovers import TemporaryFolder
folder = TemporaryFolder("ray")
Path(folder.name, "notes").mkdir()
Path(folder.name, "notes", "file").write_text("x")
print(folder.name, flush=True)
sys.stdin.read()
"""

LOADS = """
import multiprocessing, sys
from i2i_core.config.data import DataConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.stream import Stream
stream = Stream(DataSet(sys.argv[1]), DataConfig(load_size=20), 16, 8, 0)
batches = stream.batches(0, (0, 8), 2)
held = [next(batches) for _ in range(4)]
print(*(process.pid for process in multiprocessing.active_children()), flush=True)
while True:
    held = [*held[1:], next(batches)]
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder for this test and the processes that it starts."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return place


@pytest.fixture
def short(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder whose name leaves room for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="short-") as place:
        monkeypatch.setenv("TMPDIR", place)
        yield Path(place)


@contextmanager
def owner() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has a temporary folder until it is killed or its input ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLDS], **pipes) as process:  # type: ignore[call-overload]
        yield process, Path(process.stdout.readline().strip())


def make_old(*places: Path, seconds: float = OLD + 60) -> None:
    for place in places:
        os.utime(place, (time.time() - seconds, time.time() - seconds), follow_symlinks=False)


def left(temporary: Path, name: str = "") -> Path:
    """A folder as a killed process leaves it, in which is a file."""
    folder = temporary / (name or f"i2i-sweep-{os.getuid()}-{leftovers._host()}-abcdefgh")
    folder.mkdir()
    (folder / "file").write_text("x")
    return folder


@pytest.mark.processes
def test_temporary_folder_of_a_killed_process_goes_once_it_is_old() -> None:
    with owner() as (process, folder):
        process.send_signal(signal.SIGKILL)
    assert (folder / "notes/file").exists(), "nobody tidied up"
    sweep()
    assert folder.exists(), "it is young"
    make_old(folder)
    TemporaryFolder("other").cleanup()
    assert not folder.exists()


@pytest.mark.processes
def test_temporary_folder_of_a_live_process_stays_however_old() -> None:
    with owner() as (process, folder):
        make_old(folder)
        sweep()
        assert (folder / "notes/file").exists()
        process.send_signal(signal.SIGSTOP)  # a halted owner has it too
        sweep()
        assert (folder / "notes/file").exists()
        process.send_signal(signal.SIGCONT)
        process.stdin.close()  # type: ignore[union-attr]  # a pipe
        process.wait()
        assert not folder.exists(), "its own end removes it"


def test_temporary_folder_goes_with_its_block() -> None:
    with TemporaryFolder("ray") as name:
        make_old(Path(name))
        sweep()
        assert Path(name).is_dir()
        assert Path(name).stat().st_mode & 0o777 == 0o700
    assert not Path(name).exists()


def test_sweep_leaves_another_users_and_another_hosts(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = left(temporary)
    elsewhere = left(temporary, f"i2i-ray-{os.getuid()}-00000000-abcdefgh")
    named_theirs = left(temporary, f"i2i-ray-{os.getuid() + 1}-{leftovers._host()}-abcdefgh")
    make_old(mine, elsewhere, named_theirs)
    with monkeypatch.context() as patch:
        patch.setattr(leftovers.os, "getuid", lambda: mine.stat().st_uid + 1)
        sweep()
    assert mine.exists()
    assert named_theirs.exists(), "its name is another user's, its owner is not"
    sweep()
    assert [place.exists() for place in (mine, elsewhere, named_theirs)] == [False, True, True]


def test_sweep_follows_no_link(temporary: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    inside, instead = left(temporary), temporary / f"i2i-ray-{os.getuid()}-{leftovers._host()}-linklink"
    (inside / "out").symlink_to(outside)
    instead.symlink_to(outside)
    make_old(inside, instead, outside)
    sweep()
    assert not inside.exists()
    assert instead.is_symlink()
    assert (outside / "kept").exists()


def test_sweep_by_two_at_once_removes_each_folder_and_harms_neither(temporary: Path) -> None:
    for turn in range(20):
        places = [
            left(temporary, f"i2i-ray-{os.getuid()}-{leftovers._host()}-{turn:04d}{number:04d}") for number in range(5)
        ]
        make_old(*places)
        made: list[TemporaryFolder] = []
        launches = [threading.Thread(target=lambda: made.append(TemporaryFolder("ray"))) for _ in range(3)]  # noqa: B023
        for launch in launches:
            launch.start()
        for launch in launches:
            launch.join()
        assert not [place for place in places if place.exists()]
        assert len(made) == 3
        for folder in made:
            assert Path(folder.name).is_dir()
            folder.cleanup()


PART = st.sampled_from(
    ["i2i", "ray", "", "x y", "\n", str(os.getuid()), leftovers._host(), "0" * 8, "abcdefgh", "ABCDEFGH", "1"]
)


@settings(max_examples=25, deadline=None)
@given(st.lists(PART, min_size=1, max_size=6))
def test_sweep_touches_nothing_that_is_not_ours_by_name(parts: list[str]) -> None:
    name = "-".join(parts) or "-"
    assume(not leftovers._NAME.fullmatch(name))
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", home)
        place = left(Path(home), name)
        make_old(place)
        sweep()
        assert (place / "file").exists()


@pytest.mark.parametrize("name", ["novel.writing", "x.123.writing", "x.0000000g-1.writing", "x.writing.txt"])
def test_half_written_file_is_ours_by_its_name_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    make_old(tmp_path / name)
    Folder(str(tmp_path)).remove_left()
    assert (tmp_path / name).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_half_written_file_of_a_process_whose_number_another_has_now_is_left(tmp_path: Path) -> None:
    mine = tmp_path / writing("x")
    begun = mine.name.rpartition("-")[2].split(".")[0]
    reused = tmp_path / mine.name.replace(f"-{begun}.", f"-{int(begun) - 1}.")
    for place in (mine, reused):
        place.touch()
    assert [is_left(place) for place in (mine, reused)] == [False, True]
    assert lives(os.getpid(), int(begun))
    assert not lives(os.getpid(), int(begun) - 1)


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.mark.processes
def test_evaluation_removes_what_a_killed_one_left_of_the_same_result(tmp_path: Path) -> None:
    of_gone = writing("").replace(str(os.getpid()), str(ended_process()))
    mine = [tmp_path / f".{name}{of_gone}" for name in ("h[1].json", "h[1]-samples.png", ".h[1].json.probe")]
    others = [tmp_path / f".other.json{of_gone}", tmp_path / ".h[1].json.writing", tmp_path / "h[1].json"]
    for place in (*mine, *others):
        place.touch()
    check_out(str(tmp_path / "h[1].json"))
    assert not [place for place in mine if place.exists()]
    assert [place.exists() for place in others] == [True, True, True]


def test_launch_removes_the_probes_of_killed_ones(tmp_path: Path) -> None:
    checkpoints = tmp_path / "run/checkpoints"
    checkpoints.mkdir(parents=True)
    old, young, other = (checkpoints / name for name in (f".probe-{'a' * 32}", f".probe-{'b' * 32}", ".probe-mine"))
    for place in (old, young, other):
        place.write_text("x")
    make_old(old, other)
    check_storage(RunFolder(f"{tmp_path}/run"))
    assert sorted(place.name for place in checkpoints.iterdir()) == [young.name, other.name]


@pytest.mark.processes
def test_cache_removes_an_old_part_that_nobody_fetches(tmp_path: Path) -> None:
    old, young, fetched = (tmp_path / f"{letter * 64}-100.part" for letter in "abc")
    other = tmp_path / "notes.part"
    for place in (old, young, fetched, other):
        place.write_bytes(b"half")
    make_old(old, fetched, other)
    code = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(fetched)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # type: ignore[union-attr]  # a pipe
        Cache(str(tmp_path), 1000)
        assert [place.exists() for place in (old, young, fetched, other)] == [False, True, True, True]
        process.kill()
    Cache(str(tmp_path), 1000)
    assert [place.exists() for place in (young, fetched, other)] == [True, False, True]


def test_classifier_that_nobody_goes_on_with_leaves_the_cache(tmp_path: Path) -> None:
    old, young, other = (tmp_path / f"{name}.unfinished" for name in ("a.safetensors", "b.safetensors", "mine"))
    for place in (old, young, other):
        place.write_bytes(b"half")
    make_old(old, other, seconds=ABANDONED + 60)
    make_old(young, seconds=ABANDONED - 60)
    remove_abandoned(str(tmp_path))
    assert [place.exists() for place in (old, young, other)] == [False, True, True]


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="shared memory is in /dev/shm")
def test_loaders_of_a_killed_process_end_and_leave_no_shared_memory(labelled: str, short: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", LOADS, labelled], stdout=subprocess.PIPE, text=True) as process:
        loaders = process.stdout.readline().split()  # type: ignore[union-attr]  # a pipe
        process.kill()
        process.stdout.read()  # type: ignore[union-attr]  # to its end: the loaders hold it too
    assert len(loaders) == 2
    assert not [pid for pid in map(int, loaders) if lives(pid)]
    numbers = {str(process.pid), *loaders}
    assert not [place for place in Path("/dev/shm").iterdir() if numbers & {*place.name.split("_")}]
    assert not [*short.rglob("*")]
