"""Tests that share a server, or start Ray, run one after another also where tests run side by side.

pytest -n 2 --dist loadgroup tests/unit/test_groups.py
"""

from __future__ import annotations

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="tests run in one process")
def test_groups_reach_the_scheduler(request: pytest.FixtureRequest) -> None:
    """pytest-xdist tells a group to its scheduler by the end of a test's name."""
    grouped = [item for item in request.session.items if item.get_closest_marker("xdist_group")]
    lost = [item.nodeid for item in grouped if "@" not in item.nodeid.rpartition("]" if "[" in item.nodeid else ":")[2]]
    assert not lost, f"pytest-xdist knows no groups here: {lost[:3]}"
