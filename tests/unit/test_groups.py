"""Check that tests which share a server, or start Ray, run one after another in a parallel session too.

pytest -n 2 --dist loadgroup tests/unit/test_groups.py
"""

from __future__ import annotations

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="tests run in one process")
def test_groups_reach_the_scheduler(request: pytest.FixtureRequest) -> None:
    """Read the ends of names, by which pytest-xdist passes groups to its scheduler."""
    grouped = [item for item in request.session.items if item.get_closest_marker("xdist_group")]
    lost = [item.nodeid for item in grouped if "@" not in item.nodeid.rpartition("]" if "[" in item.nodeid else ":")[2]]
    assert not lost, f"pytest-xdist knows no groups here: {lost[:3]}"
