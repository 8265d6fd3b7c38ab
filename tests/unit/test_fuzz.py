"""Inputs that failed once under `make fuzz` are read or refused; fuzzing sees what fails.

pytest tests/unit/test_fuzz.py
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from i2i_core.errors import DataError
from tests.fuzz import __main__ as fuzzing
from tests.fuzz.damage import damage
from tests.fuzz.kinds import KINDS, Kind

KEPT = sorted(path.name for path in fuzzing.KEPT.glob("[!.]*"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Kind]:
    """Makes a kind, once."""
    return cache(lambda name: KINDS[name](tmp_path_factory.mktemp(name)))


@pytest.mark.parametrize("name", KEPT)
def test_fuzz_input_that_failed_once_is_read_or_refused(name: str, made: Callable[[str], Kind]) -> None:
    assert fuzzing.failure(made(name.partition("-")[0]), (fuzzing.KEPT / name).read_bytes()) is None


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("name", KINDS)
def test_fuzz_finds_nothing_in_some_seconds(name: str, tmp_path: Path) -> None:
    cases, failures = fuzzing.watched(name, random.randrange(1 << 30), 20, tmp_path)
    assert failures == []
    assert cases > 10


class Planted(Kind):
    """Fails by what the input says."""

    def make(self) -> list[tuple[str, bytes]]:
        return [("", b"good")]

    def read(self, how: str, data: bytes) -> None:
        if data == b"key":
            raise KeyError("a")
        if data == b"memory":
            raise MemoryError
        if data == b"exit":
            raise SystemExit(2)
        if data == b"data":
            raise DataError("a", "b", "c", "d")


@pytest.mark.parametrize("said", ["KeyError", "MemoryError", "SystemExit", ""])
def test_fuzz_failure_is_whatever_is_no_error_of_ours(said: str, tmp_path: Path) -> None:
    case = {"KeyError": b"\nkey", "MemoryError": b"\nmemory", "SystemExit": b"\nexit", "": b"\ndata"}[said]
    found = fuzzing.failure(Planted(tmp_path), case)
    assert (found[0].partition(" ")[0] if found else "") == said


DYING = """
import os, resource, signal, sys, time
import tests.fuzz.__main__ as fuzzing
from tests.unit.test_fuzz import Planted
class Dying(Planted):
    def case(self, seed, number):
        return b"\\n" + [b"key", b"exit", b"signal", b"hang", b"good"][number]
    def read(self, how, data):
        if data == b"signal":
            os.kill(os.getpid(), 9)
        if data == b"hang":
            signal.pause()
        super().read(how, data)
fuzzing.KINDS["dying"] = Dying
fuzzing.main()
"""


@pytest.mark.slow
@pytest.mark.processes
def test_fuzz_outlives_a_process_that_dies_or_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "SECONDS", 10.0)
    monkeypatch.setattr(fuzzing, "PROGRAM", ["-c", DYING])
    cases, failures = fuzzing.watched("dying", 0, 600, tmp_path, 5)
    assert cases == 5
    for said in ("exit code -9", "hang of more than 10 seconds", "KeyError", "SystemExit"):
        assert any(failure.startswith(said) for failure in failures)
    kept = {path.read_bytes() for path in tmp_path.iterdir()}
    assert kept == {b"\nsignal", b"\nhang", b"\nkey", b"\nexit"}


def test_damage_is_the_same_for_a_seed_and_mostly_something_else() -> None:
    healthy = b'{"a": [1, 2, {"b": "c"}], "d": null}'
    made = [damage(healthy, random.Random(f"{n}"), [healthy]) for n in range(300)]
    assert made == [damage(healthy, random.Random(f"{n}"), [healthy]) for n in range(300)]
    assert len({*made} - {healthy}) > 200
