"""How long a sweep is said to take still.

pytest tests/unit/test_time_left.py
"""

from __future__ import annotations

import pytest

from i2i_core.search.time_left import TimeLeft


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_time_left_goes_by_how_long_trials_take_and_how_many_run_at_once(clock: Clock) -> None:
    left = TimeLeft(clock)
    left.begin(0, 0.0)
    left.begin(1, 0.0)
    clock.now = 30
    assert left.left(1) is None, "nothing was measured"
    assert left.shares() == {}, "an unmeasured trial is not one of which nothing is done"
    clock.now = 60
    left.end(0)
    left.begin(2, 0.0)
    assert left.left(0) == 60, "the last trial runs alone, as long as others did"
    assert left.left(2) == 60 + 60, "two at once: trials 1 and 3, then 4 behind either"
    clock.now = 90
    assert left.left(0) == 30, "though it was not measured since"
    clock.now = 200
    assert left.left(0) == 0, "overdue"


def test_time_left_of_the_first_trials_goes_by_what_was_measured_when_it_was(clock: Clock) -> None:
    left = TimeLeft(clock)
    left.begin(0, 0.5)  # it goes on
    clock.now = 20
    left.measured(0, 0.75)
    assert left.shares() == {0: 0.75}
    clock.now = 30
    assert left.left(0) == 10, "a half takes 40 s, of which 30 are over"
    clock.now = 40
    left.end(0)
    left.end(0)
    assert left.took == [80]
