"""Nothing that a run of this machine starts can be reached from another one.

pytest tests/integration/test_ports.py
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ..support.processes import MARK, ROOT, Run, past, with_environment
from ..support.sockets import Listener, listeners

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


def test_demo_listens_on_loopback_alone_from_its_first_command_to_its_last(tmp_path: Path) -> None:
    """What `make demo` runs once the environment is there, looked at twice a second: shards, cluster, job, pictures,
    metrics. Its training is short, its dashboard at a port that no other test takes."""
    made = subprocess.run(
        ["make", "--no-print-directory", "-n", "-o", ".venv/.ready", "demo"], cwd=ROOT, text=True, capture_output=True
    )
    assert made.returncode == 0, made.stderr
    _, *command = shlex.split(made.stdout)
    assert command[0] == "pipelines/demo.py", made.stdout
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    mark = f"demo-{os.getpid()}-{time.monotonic_ns()}"
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    ray = str(Path(sys.executable).parent / "ray")
    env |= {MARK: mark, "RAY": ray, "RAY_DASHBOARD_PORT": port, "RAY_USAGE_STATS_ENABLED": "0"}
    found = set[Listener]()
    with (tmp_path / "log").open("wb") as log:
        flags = ["--images", "3000", "--out", str(tmp_path / "out")]
        demo = subprocess.Popen([sys.executable, *command, *flags], cwd=ROOT, env=env, stdout=log, stderr=log)
        while demo.poll() is None:
            found |= {*listeners(with_environment(MARK, mark))}
            with suppress(subprocess.TimeoutExpired):
                demo.wait(0.5)
    assert demo.returncode == 0, (tmp_path / "log").read_text()[-3000:]
    for part in ("gcs_server", "raylet", "dashboard", "TrainWorker"):
        assert [one for one in found if part in one.command], f"{part} listens nowhere: {found}"
    assert [one for one in found if not one.address.is_loopback] == []
    assert with_environment(MARK, mark) == [], "the cluster is stopped at the end"
