"""The background worker: order, errors, and an end that comes in time.

pytest tests/unit/test_background.py
"""

from __future__ import annotations

import threading
from threading import Event

import pytest

from i2i_core.background import Background


def test_background_does_jobs_in_order_in_one_thread_and_leaves_none() -> None:
    background, done, threads = Background("order"), list[int](), set[str]()

    def job(number: int) -> None:
        done.append(number)
        threads.add(threading.current_thread().name)

    for number in range(50):
        background.put(lambda number=number: job(number))  # type: ignore[misc]
    assert background.wait(60)
    assert done == [*range(50)]
    assert threads == {"order"}
    assert background.thread is None
    background.put(lambda: job(50))
    assert background.wait(60)
    assert done[-1] == 50, "it begins again"


def wrong() -> None:
    raise ValueError("ours")


def test_background_raises_an_error_once_where_the_next_job_is_put() -> None:
    background, done = Background("errors"), list[int]()
    background.put(wrong)
    assert background.wait(60)
    with pytest.raises(ValueError, match="ours"):
        background.put(lambda: done.append(1))
    background.put(lambda: done.append(2))
    assert background.wait(60)
    assert done == [2]


def test_background_goes_on_after_an_error_and_keeps_the_first() -> None:
    background, done, gate = Background("errors"), list[int](), Event()
    background.put(lambda: gate.wait(60) and None)
    background.add(wrong)
    background.add(lambda: [][0])
    background.add(lambda: done.append(1))
    gate.set()
    assert background.close(60)
    assert done == [1]
    with pytest.raises(ValueError, match="ours"):
        background.check()
    background.check()


def test_background_that_is_closed_ends_a_job_that_goes_on_until_then() -> None:
    background = Background("long")
    background.put(lambda: background.ending.wait(300) and None)
    assert not background.wait(0)
    assert background.close(60)
    assert background.error is None


def test_background_that_is_closed_leaves_behind_what_does_not_end_in_time() -> None:
    background, gate = Background("stuck"), Event()
    background.put(lambda: gate.wait(60) and None)
    assert not background.close(0)
    gate.set()
    assert background.wait(60)
