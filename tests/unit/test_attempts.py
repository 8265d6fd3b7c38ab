"""Whose a run is: launches at the same moment, take-overs, and what a dead or a halted launch leaves.

pytest tests/unit/test_attempts.py
"""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from i2i_core.errors import RunError, TakenOverError
from i2i_core.runs.attempts import MOMENT, Attempt, begin, claim, held, holder, is_over_for, record
from i2i_core.runs.folder import RunFolder
from i2i_core.storage.folder import is_left, lives, machine, writing

from ..support.launching import Racers, clock_of, racers

NAMES = ["000001.json", "000002.json", "000003.json"]


@pytest.fixture
def run(storage: str) -> RunFolder:
    return RunFolder(f"{storage}/run")


@pytest.fixture(scope="module")
def six() -> Iterator[Racers]:
    with racers(6) as made:
        yield made


def ended_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def of(process: int, attempt: str = "old", at: str = "") -> bytes:
    """What an attempt of some process says of itself; `at`: of another machine."""
    return json.dumps(asdict(Attempt(attempt, at or machine(), "a-host", process, "then"))).encode()


def check_one_winner(run: RunFolder, told: list[str]) -> int:
    (winner,) = [i for i, said in enumerate(told) if not said]
    for said in told:
        if said:
            assert said.startswith(f"{run.url}: another launch of this run"), said
            assert "process" in said, "which"
    assert run.read_json(RunFolder.STATUS) == {"state": "running", "attempt": str(winner)}
    assert run.read("config.json") == str(winner).encode()
    found = holder(run)
    assert found
    assert found.attempt == str(winner)
    return winner


@pytest.mark.slow
@pytest.mark.xdist_group("racers")
@pytest.mark.processes
def test_claim_gives_a_run_to_exactly_one_of_six_launches_of_a_moment(six: Racers, storage: str) -> None:
    """300 rounds in new folders; what another process writes meanwhile stays, what a dead one left goes."""
    chance, gone = random.Random(0), ended_process()
    winners = set()
    for number in range(300):
        run = RunFolder(f"{storage}/{number}")
        mine, left = writing(".mine"), writing(".left").replace(str(os.getpid()), str(gone))
        run.write(mine, b"half")
        run.write(left, b"half")
        winners.add(check_one_winner(run, six.round(run.url, chance)))
        assert run.exists(mine)
        assert not run.exists(left)
        assert not [name for name in run.names() if name.startswith("probe")]
    assert len(winners) > 1, "the race is one"


@pytest.mark.xdist_group("racers")
@pytest.mark.processes
@pytest.mark.parametrize("process", ["ended", "another machine's, long ago"])
def test_claim_gives_a_run_that_somebody_had_to_exactly_one(six: Racers, storage: str, process: str) -> None:
    chance, gone = random.Random(1), ended_process()
    for number in range(50):
        run = RunFolder(f"{storage}/{number}")
        run.create(f"attempts/{NAMES[0]}", of(gone, at="" if process == "ended" else "elsewher"))
        then = time.time() - (0.05 if process == "ended" else MOMENT + 1)
        os.utime(run.path(f"attempts/{NAMES[0]}"), (then, then))
        check_one_winner(run, six.round(run.url, chance))
        assert run.names("attempts") == NAMES[:2]


@pytest.mark.xdist_group("racers")
@pytest.mark.processes
def test_claim_of_a_launch_that_stood_still_takes_nothing_over(six: Racers, storage: str) -> None:
    """SIGSTOP between its beginning and its claim, until the others are done and long after."""
    chance = random.Random(2)
    for number in range(10):
        run, still = RunFolder(f"{storage}/{number}"), number % 6
        assert check_one_winner(run, six.round(run.url, chance, still)) != still


@pytest.mark.slow
@pytest.mark.xdist_group("racers")
@pytest.mark.processes
def test_claim_on_object_storage_gives_a_run_to_exactly_one(s3: str) -> None:
    """By S3's conditional put."""
    with racers(4) as four:  # born with the server's address
        for number in range(60):
            run = RunFolder(f"{s3}/{number}")
            check_one_winner(run, four.round(run.url, random.Random(number)))


def test_create_on_object_storage_makes_a_file_once(s3: str) -> None:
    folder = RunFolder(s3)
    assert [folder.create("x", word) for word in (b"first", b"second")] == [True, False]
    assert folder.read("x") == b"first"
    assert abs(folder.modified("x") - time.time()) < 60


def test_create_makes_a_file_once_where_there_are_no_hard_links(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*places: object) -> None:
        raise OSError(errno.EMLINK, "no links here")

    monkeypatch.setattr(os, "link", link)
    folder = RunFolder(storage)
    assert [folder.create("x", word) for word in (b"first", b"second")] == [True, False]
    assert folder.read("x") == b"first"
    assert folder.names() == ["x"]


def test_claim_knows_its_own_file_after_an_answer_that_was_lost(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = RunFolder.create
    monkeypatch.setattr(RunFolder, "create", lambda *given: not create(*given))
    claim(run, "mine", clock_of(run))
    assert run.names("attempts") == NAMES[:1]


def test_claim_later_takes_a_run_over_from_one_that_lives(run: RunFolder) -> None:
    now = clock_of(run)
    run.create(f"attempts/{NAMES[0]}", of(os.getppid()))
    with pytest.raises(RunError, match=rf"a-host, process {os.getppid()}, since then.*\n.*a file `stop`"):
        claim(run, "new", now + MOMENT - 1)
    claim(run, "new", now + MOMENT + 1)
    assert run.names("attempts") == NAMES[:2]


@pytest.mark.processes
def test_claim_goes_on_at_once_after_a_launch_that_ended(run: RunFolder) -> None:
    """Typed again: one that was killed, one of this process that is over, one that says so from another machine."""
    now = clock_of(run)
    for number, old in enumerate((of(ended_process()), of(os.getpid()), of(1, at="elsewher"))):
        one = RunFolder(f"{run.url}-{number}")
        one.create(f"attempts/{NAMES[0]}", old)
        one.write_json(RunFolder.STATUS, {"state": "running" if number < 2 else "failed", "attempt": "old"})
        with pytest.raises(RunError, match="at the same moment"):
            claim(one, "of that moment", now - 1)
        claim(one, "new", now + 1)


def test_claim_waits_for_one_that_runs_in_this_process(run: RunFolder) -> None:
    now = clock_of(run)
    with held(run, "first", now), pytest.raises(RunError, match="at the same moment"):
        claim(run, "second", now + 1)
    claim(run, "second", now + 1)


def test_claim_on_top_of_one_that_is_being_written_waits_for_it(run: RunFolder) -> None:
    """A filesystem without links shows a file before all that is in it; one that stays so has nothing to say."""
    now = clock_of(run)
    run.write(f"attempts/{NAMES[0]}", of(1))
    run.write(f"attempts/{NAMES[1]}", b"")
    with pytest.raises(RunError, match="at the same moment"):
        claim(run, "new", now + 1)
    assert not is_over_for(run, "old")
    claim(run, "new", now + MOMENT + 1)
    assert run.names("attempts") == NAMES


def test_begin_of_a_launch_that_was_taken_over_writes_and_removes_nothing(run: RunFolder) -> None:
    """It stood still after its claim, until another had taken over, written and been asked to stop."""
    now = clock_of(run)
    claim(run, "first", now)
    claim(run, "second", now + MOMENT + 1)
    begin(run, "second", b"second")
    run.write(RunFolder.STOP, b"second")
    with pytest.raises(TakenOverError, match="has taken it over"):
        begin(run, "first", b"first")
    record(run, "first", state="failed", error="late")
    assert run.read_json(RunFolder.STATUS) == {"state": "running", "attempt": "second"}
    assert run.read("config.json") == b"second"
    assert run.read(RunFolder.STOP) == b"second"
    assert is_over_for(run, "first")
    assert not is_over_for(run, "second")


def test_guard_is_asked_last_before_a_file_takes_its_place(run: RunFolder) -> None:
    """A launch that stood still while it wrote: it finds out when it goes on."""
    run.write("x", b"theirs")

    def guard() -> None:
        assert any(name.endswith(".writing") for name in run.names()), "all is written but the name"
        raise TakenOverError("late")

    with pytest.raises(TakenOverError):
        run.guarded(guard).write("x", b"ours")
    assert run.read("x") == b"theirs"
    assert run.names() == ["x"]


def test_status_of_an_earlier_launch_does_not_end_the_one_that_has_the_run(run: RunFolder) -> None:
    now = clock_of(run)
    claim(run, "first", now)
    claim(run, "second", now + MOMENT + 1)
    run.write_json(RunFolder.STATUS, {"state": "failed", "attempt": "first"})
    assert not is_over_for(run, "second")
    run.write_json(RunFolder.STATUS, {"state": "stopped", "reason": "others were better"})
    assert is_over_for(run, "second")
    record(run, "second", state="finished")
    assert run.read_json(RunFolder.STATUS)["state"] == "stopped", "what ended it stays"


@pytest.mark.parametrize("text", ["", "[]", "{", "7"])
def test_status_that_is_torn_is_none(text: str, run: RunFolder) -> None:
    run.write(RunFolder.STATUS, text.encode())
    assert run.status() == {}
    assert not is_over_for(run, "mine")


def test_write_over_uses_the_room_that_is_there(run: RunFolder) -> None:
    run.write("x", b"0" * 300)
    run.write_over("x", b"short")
    assert run.read("x") == b"short"
    with pytest.raises(OSError, match="No space left"):
        run.write_over("x", b"long" * 100_000)
    assert run.read("x") == b"short"


@pytest.mark.processes
def test_half_written_file_tells_whether_its_writer_lives(tmp_path: Path) -> None:
    mine, old = tmp_path / writing("x"), tmp_path / ".x.123.writing"
    foreign = tmp_path / f"x.{'0' * 8}-{os.getpid()}.writing"
    gone = tmp_path / writing("x").replace(str(os.getpid()), str(ended_process()))
    for place in (mine, old, foreign, gone):
        place.touch()
    assert [is_left(place) for place in (mine, old, foreign, gone)] == [False, False, False, True]
    for place in (mine, old, foreign):
        os.utime(place, (0, 0))
    assert [is_left(place) for place in (mine, old, foreign)] == [False, False, True], "another program named `old`"


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_lives_is_false_of_a_process_that_ended_and_was_not_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)  # until it has ended
        assert not lives(process.pid)
    assert lives(os.getpid())


def test_folder_that_was_removed_is_not_made_again(run: RunFolder) -> None:
    run.keep()
    run.write("a/x", b"1")
    run.remove("a")
    run.write("a/x", b"1")
    Path(run.root).rename(f"{run.root}-moved")
    with pytest.raises(FileNotFoundError, match="removed, replaced or unmounted"):
        run.write("a/x", b"2")
    assert not Path(run.root).exists()
