"""runs.py: what its list says of runs, and what pruning removes and never does.

pytest tests/unit/test_runs.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from i2i_core.errors import ConfigError
from i2i_core.runs.attempts import Attempt
from i2i_core.runs.folder import CheckpointFolder, RunFolder, name_at
from i2i_core.runs.listing import ListedRun, Size, listed, names_of_runs
from i2i_core.storage.folder import Folder, machine
from i2i_core.storage.paths import sha256
from pipelines import runs
from pipelines.runs import PruneOptions, prune, said_age, table

ROOT = Path(__file__).parents[2]
OLDER = (100, 200, 300, 400)


def put_checkpoint(run: RunFolder, images: int, whole: bool = True) -> str:
    """A checkpoint of four small files."""
    folder, files = run.checkpoint(name_at(images)), {name: name.encode() for name in CheckpointFolder.FILES}
    for name, data in files.items():
        folder.write(name, data)
    if whole:
        folder.write_json(folder.CHECKSUMS, {name: sha256(data) for name, data in files.items()})
    return name_at(images)


def put_run(storage: str, name: str, *images: int, best: int = 0, state: str = "stopped", **training: Any) -> RunFolder:
    """A run that was trained by a process of another machine and has that state."""
    run = RunFolder(f"{storage}/{name}")
    run.write_json(run.CONFIG, {"method": "pix2pix", "training": training})
    run.write_json(f"{run.ATTEMPTS}/000001.json", asdict(Attempt("one", "elsewher", "far-host", 7, "then")))
    run.write_json(run.STATUS, {"state": state, "attempt": "one"})
    for count in images:
        put_checkpoint(run, count)
    if best:
        run.write_json(run.BEST, {"metric": "l1", "value": 0.25, "checkpoint": name_at(best)})
    return run


def pruned(storage: str, *names: str, **options: Any) -> int:
    return prune(PruneOptions(storage, names, **{"yes": True, **options}))


def left(run: RunFolder) -> list[int]:
    return [int(name[-12:]) for name in run.names_of_checkpoints()]


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


# ---- the list ----


@pytest.mark.processes
def test_list_says_how_each_run_stands(storage: str, capsys: pytest.CaptureFixture[str]) -> None:
    put_run(storage, "b", 100, 200, best=100)
    put_run(storage, "a", 1000, state="running")
    killed = put_run(storage, "c", state="running")
    killed.write_json(f"{killed.ATTEMPTS}/000002.json", asdict(Attempt("two", machine(), "here", ended_process())))
    put_run(f"{storage}/sweep/trials", "0000", 100, state="finished")
    Folder(storage).write("notes.txt", b"no run")
    Folder(storage).write("other/file", b"no run")
    found = listed(Folder(storage))
    assert [(r.name, r.state, r.images, r.best_by, r.best, len(r.whole), r.damage) for r in found] == [
        ("a", "running", 1000, "?", None, 1, ""),
        ("b", "stopped", 200, "l1", 0.25, 2, ""),
        ("c", "killed", 0, "?", None, 0, ""),
        ("sweep/trials/0000", "finished", 100, "?", None, 1, ""),
    ]
    assert {r.method for r in found} == {"pix2pix"}
    for each in found:
        on_disk = sum(p.stat().st_size for p in Path(storage, each.name).rglob("*") if p.is_file())
        assert each.size.bytes == on_disk
    assert prune(PruneOptions(storage)) == 0
    assert "a: left alone: it may be running (far-host, process 7, since then)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"uri": "s3://bucket/sets/maps/"}, "maps"),
        ({"uri": "data/faces", "also": ["data/rafd", "x"]}, "faces +2"),
        ({"uri": ""}, ""),
        ({"uri": 7}, ""),
        ("maps", ""),
    ],
)
def test_list_names_the_data_of_a_run(data: Any, said: str, storage: str) -> None:
    run = put_run(storage, "run")
    run.write_json(run.CONFIG, {"method": "pix2pix", "data": data})
    (found,) = listed(Folder(storage))
    assert (found.method, found.data) == ("pix2pix", said)


@pytest.mark.processes
def test_list_is_followed_until_ctrl_c(storage: str) -> None:
    put_run(storage, "first")
    command = [sys.executable, str(ROOT / "pipelines/runs.py"), storage, "--follow", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout
        lines = iter(following.stdout.readline, "")
        assert any(line.startswith("1 run,") for line in lines)
        put_run(storage, "second")
        assert any(line.startswith("2 runs,") for line in lines), "the list is made again"
        following.send_signal(signal.SIGINT)
        assert following.wait(60) == 0


def test_list_names_what_is_damaged(storage: str) -> None:
    put_run(storage, "config").write(RunFolder.CONFIG, b"\xff{")
    put_run(storage, "status").write(RunFolder.STATUS, b"[")
    put_run(storage, "best", best=100)
    put_checkpoint(put_run(storage, "half"), 100, whole=False)
    put_checkpoint(put_run(storage, "runs", state="running"), 100, whole=False)
    assert {run.name: run.damage for run in listed(Folder(storage))} == {
        "best": "best.json names no whole checkpoint",
        "config": "config.json cannot be read",
        "half": "1 checkpoint half written",
        "runs": "",
        "status": "status.json cannot be read",
    }


def test_list_follows_no_link(storage: str, tmp_path: Path) -> None:
    put_run(str(tmp_path / "elsewhere"), "run", 100)
    run = put_run(storage, "run")
    Path(storage, "link").symlink_to(tmp_path / "elsewhere/run")
    Path(run.root, "out").symlink_to(tmp_path / "elsewhere")
    (found,) = listed(Folder(storage))
    assert found.size.bytes == sum(
        len(run.read(path)) for path in ("config.json", "status.json", "attempts/000001.json")
    )


def test_table_has_a_line_for_each_run_and_their_sum() -> None:
    one = ListedRun("run", "unit", "maps +1", "finished", 12000, "fid", 31.25, Size(3 << 20, 100.0), ["x", "y"])
    other = ListedRun("a\x1b[2J\nb", "?", "", "stopped", 0, "?", None, Size(), [], "config.json cannot be read")
    assert table([one, other], 100.0 + 3 * 86400) == "\n".join(
        [
            "run          method  data     state     images  best           disk  checkpoints  age",
            "run          unit    maps +1  finished  12,000  fid 31.25  3.00 MiB            2  3 d",
            r"a\x1b[2J\nb  ?                stopped        0                  0 B            0",
            "2 runs, 3.00 MiB",
            r"damaged: a\x1b[2J\nb: config.json cannot be read",
        ]
    )


@pytest.mark.parametrize(("seconds", "said"), [(-3, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (1e6, "11 d")])
def test_age_is_said_in_its_largest_unit(seconds: float, said: str) -> None:
    assert said_age(seconds) == said


@pytest.mark.parametrize(
    ("sort", "order"),
    [("name", "abc"), ("images", "bca"), ("disk", "bca"), ("best", "cab"), ("state", "cab"), ("age", "acb")],
)
def test_list_is_sorted_as_asked(
    sort: str, order: str, storage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_run(storage, "a", 100, state="running")
    put_run(storage, "b", 100, 200, 300)
    put_run(storage, "c", 100, 200, best=100, state="finished")
    for age, name in enumerate("acb"):
        for path in Path(storage, name).rglob("*"):
            os.utime(path, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(sys, "argv", ["runs.py", storage, "--sort", sort])
    assert runs.run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines[1:4]] == list(order)
    assert lines[4].startswith("3 runs, ")


# ---- pruning ----


def test_prune_without_yes_removes_nothing_and_says_what_it_would(
    storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = put_run(storage, "run", *OLDER, best=200)
    size = sum(path.stat().st_size for path in Path(run.root, "checkpoints", name_at(100)).iterdir())
    assert pruned(storage, yes=False) == 0
    assert left(run) == [*OLDER]
    assert capsys.readouterr().out.splitlines() == [
        f"run/{name_at(100)}: {size} B",
        f"run/{name_at(300)}: {size} B",
        f"2 checkpoints, {2 * size} B: nothing was removed; the same command with --yes removes them",
    ]


@pytest.mark.parametrize(
    ("keep_last", "best", "kept"), [(1, 0, [400]), (1, 200, [200, 400]), (2, 100, [100, 300, 400])]
)
def test_prune_keeps_the_best_and_the_last(keep_last: int, best: int, kept: list[int], storage: str) -> None:
    run = put_run(storage, "run", *OLDER, best=best)
    assert pruned(storage, keep_last=keep_last) == 0
    assert left(run) == kept


def test_prune_keeps_the_last_whole_one_and_removes_half_ones(storage: str) -> None:
    run = put_run(storage, "run", 100, 200)
    put_checkpoint(run, 150, whole=False)
    put_checkpoint(run, 300, whole=False)
    assert pruned(storage) == 0
    assert left(run) == [200]


@pytest.mark.parametrize("who", ["elsewhere", "this process's parent", "one that has not said so yet"])
def test_prune_leaves_a_run_alone_that_may_be_running(who: str, storage: str) -> None:
    run = put_run(storage, "run", *OLDER, state="stopped" if who.startswith("one") else "running")
    if who != "elsewhere":
        run.write_json(f"{run.ATTEMPTS}/000002.json", asdict(Attempt("two", machine(), "here", os.getppid())))
    assert pruned(storage) == 0
    assert left(run) == [*OLDER]


@pytest.mark.processes
def test_prune_takes_a_run_whose_launch_was_killed(storage: str) -> None:
    run = put_run(storage, "run", *OLDER, state="running")
    run.write_json(f"{run.ATTEMPTS}/000002.json", asdict(Attempt("two", machine(), "here", ended_process())))
    assert pruned(storage) == 0
    assert left(run) == [400]


def test_prune_keeps_what_the_configuration_of_another_run_names(
    storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = put_run(storage, "run", *OLDER)
    put_run(storage, "tuned", init_from=run.at(run.in_checkpoint(name_at(100))))
    put_run(f"{storage}/sweep/trials", "0000", init_from=f"{run.url}/../run/checkpoints/{name_at(200)}/")
    named = f"authors:G={run.at(run.in_checkpoint(name_at(300), 'networks.safetensors'))}"
    put_run(storage, "authors", evaluation={"classifier": named})
    assert pruned(storage, "run") == 0
    assert left(run) == [*OLDER]
    said = capsys.readouterr().out
    for images, by in ((100, "tuned"), (200, "sweep/trials/0000"), (300, "authors")):
        assert f"run/{name_at(images)}: kept: the configuration of {by} names it" in said


def test_prune_removes_nothing_while_a_configuration_cannot_be_read(storage: str) -> None:
    run = put_run(storage, "run", *OLDER)
    put_run(storage, "torn").write(RunFolder.CONFIG, b"{")
    with pytest.raises(ConfigError, match=r"torn/config.json: found no configuration"):
        pruned(storage, "run")
    assert left(run) == [*OLDER]


def test_prune_leaves_a_run_alone_whose_best_is_unknown(storage: str) -> None:
    run = put_run(storage, "run", *OLDER)
    run.write(run.BEST, b"{")
    assert pruned(storage) == 0
    assert left(run) == [*OLDER]
    run.remove(run.BEST)
    assert pruned(storage) == 0
    assert left(run) == [400], "as it said"


def test_prune_removes_nothing_where_the_last_checkpoint_is_damaged(
    storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = put_run(storage, "run", *OLDER)
    run.write(run.in_checkpoint(name_at(400), "state.pt"), b"other")
    assert pruned(storage) == 1
    assert left(run) == [*OLDER]
    assert "other bytes than were written" in capsys.readouterr().err
    run.remove_checkpoint(name_at(400))
    assert pruned(storage) == 0
    assert left(run) == [300], "as it said"


def test_prune_takes_only_what_is_older_than_asked(storage: str) -> None:
    run = put_run(storage, "run", *OLDER)
    for path in Path(run.root, "checkpoints", name_at(100)).iterdir():
        os.utime(path, (0, 0))
    assert pruned(storage, older_than=1.0) == 0
    assert left(run) == [200, 300, 400]


def test_prune_takes_only_the_runs_that_are_named(storage: str) -> None:
    one, other = put_run(storage, "one", *OLDER), put_run(storage, "other", *OLDER)
    assert pruned(storage, "one/") == 0
    assert (left(one), left(other)) == ([400], [*OLDER])
    with pytest.raises(ConfigError, match="RUN: found onne; expected a run of"):
        pruned(storage, "onne")


def test_prune_follows_no_link(storage: str, tmp_path: Path) -> None:
    run, elsewhere = put_run(storage, "run", *OLDER), tmp_path / "elsewhere"
    (Path(run.root) / "checkpoints" / name_at(100)).rename(elsewhere)
    (Path(run.root) / "checkpoints" / name_at(100)).symlink_to(elsewhere)
    inside = Path(run.root) / "checkpoints" / name_at(200) / "out"
    inside.symlink_to(tmp_path / "elsewhere")
    assert pruned(storage) == 0
    assert left(run) == [100, 400]
    assert len(list(elsewhere.iterdir())) == len(CheckpointFolder.FILES) + 1


KILLED = """
import os, shutil, signal, sys
from pipelines.runs import PruneOptions, prune
at = int(sys.argv[2])
def removes(event, arguments, seen=[0]):
    if event in ("os.remove", "os.rmdir"):
        seen[0] += 1
        if seen[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(removes)
prune(PruneOptions(sys.argv[1], yes=True))
"""


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("at", [2, 4, 8])
def test_prune_that_was_killed_midway_is_done_by_the_next(at: int, storage: str) -> None:
    """What it has begun to remove is no whole checkpoint for anybody."""
    run = put_run(storage, "run", *OLDER, best=300)
    done = subprocess.run([sys.executable, "-c", KILLED, storage, str(at)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    for name in run.whole_checkpoints():
        assert {*CheckpointFolder.FILES} < {*run.names(run.in_checkpoint(name))}
    assert pruned(storage) == 0
    assert left(run) == [300, 400]


def test_prune_begins_with_what_makes_a_checkpoint_whole(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = put_run(storage, "run", *OLDER)
    gone: list[str] = []
    monkeypatch.setattr(RunFolder, "remove", lambda self, *paths: gone.extend(paths))
    run.remove_checkpoint(name_at(100))
    assert gone == [run.in_checkpoint(name_at(100), "checksums.json"), run.in_checkpoint(name_at(100))]


def test_prune_and_list_work_on_object_storage(s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = put_run(s3, "run", *OLDER, best=200)
    put_run(s3, "tuned", init_from=run.at(run.in_checkpoint(name_at(100))))
    put_run(f"{s3}/sweep/trials", "0000", 100)
    assert names_of_runs(Folder(s3)) == ["run", "sweep/trials/0000", "tuned"]
    found = listed(Folder(s3))[0]
    assert (found.images, found.best, len(found.whole), found.damage) == (400, 0.25, 4, "")
    assert found.size.bytes > 4 * len("config.json")
    assert pruned(s3, older_than=1.0) == 0
    assert left(run) == [*OLDER]
    assert pruned(s3) == 0
    assert run.whole_checkpoints() == [name_at(images) for images in (100, 200, 400)]
    capsys.readouterr()
    assert pruned(s3) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0 checkpoints, 0 B", "this server lists an empty folder"
    assert not listed(Folder(s3))[0].damage


@pytest.mark.parametrize(("given", "found"), [("none", "empty or not there"), ("run", "a run; expected the")])
def test_list_refuses_what_holds_no_runs(given: str, found: str, storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_run(storage, "run", 100)
    monkeypatch.setattr(sys, "argv", ["runs.py", f"{storage}/{given}"])
    with pytest.raises(ConfigError, match=found):
        runs.run()


def test_list_without_a_storage_is_of_the_folder_that_train_writes_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["runs.py"])
    for place in (None, tmp_path / "runs"):
        if place:
            place.mkdir()
        assert runs.run() == 0
        said = capsys.readouterr().out
        assert said == "no runs in runs, where train.py puts them without --storage; other folders: runs.py STORAGE\n"
    put_run(str(tmp_path / "runs"), "one", 100)
    assert runs.run() == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("one  pix2pix        stopped     100")
    monkeypatch.setattr(sys, "argv", ["runs.py", "prune"])
    with pytest.raises(ConfigError, match="STORAGE: found nothing"):
        runs.run()


def test_prune_reads_runs_and_flags_in_any_order(
    storage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        put_run(storage, name, *OLDER)
    for words in (
        [storage, "one", "two", "--keep-last", "2"],
        ["--keep-last", "2", storage, "one", "two"],
        [storage, "--keep-last", "2", "one", "two"],
    ):
        monkeypatch.setattr(sys, "argv", ["runs.py", "prune", *words])
        assert runs.run() == 0
        said = capsys.readouterr().out
        assert said.splitlines()[-1].startswith("4 checkpoints, ")
        assert "three" not in said
