"""Nothing that a run of this machine starts can be reached from another one.

pytest tests/integration/test_ports.py
"""

from __future__ import annotations

import os

import pytest

from ..support.processes import Run, past
from ..support.sockets import listeners

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="sockets are found in /proc"),
]


def test_launch_of_two_workers_listens_on_loopback_alone(labelled: str, storage: str) -> None:
    """Every socket of its process tree, in the midst of training: Ray's own, gloo's, the rendezvous, the driver's."""
    flags = ["--images", "6000", "--workers", "2", "--loaders", "1", "--log-every", "96"]
    run = Run("ports", labelled, storage, flags)
    try:
        run.type()
        run.when(past(96))
        found = listeners(run.left())
    finally:
        run.clean()
    for part in ("gcs_server", "raylet", "dashboard", "TrainWorker"):
        assert [one for one in found if part in one.command], f"{part} listens nowhere: {found}"
    assert [one for one in found if not one.address.is_loopback] == []
