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
    assert all(item.nodeid.endswith(("@ray", "@s3")) for item in grouped), "pytest-xdist knows no groups here"
