"""Two clusters of cluster/local.sh on one machine know nothing of each other.

pytest tests/integration/test_clusters.py
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.processes import ROOT, Process, Run, past, with_environment
from ..support.sockets import listeners, listening

pytestmark = pytest.mark.ray
LOCAL = str(ROOT / "cluster" / "local.sh")
ASK = """
import json, os
from i2i_core.orchestration.cluster import connect
import ray
from ray.train.v2._internal.state.util import is_actor_alive

class Asked:
    def answer(self):
        here = ray.get_runtime_context()
        return {"url": os.environ["RAY_API_SERVER_ADDRESS"], "told": here.runtime_env["env_vars"],
                "alive": is_actor_alive(here.get_actor_id(), timeout=10), "nodes": len(ray.nodes())}

connect()
found = ray.get(ray.remote(num_cpus=1)(Asked).remote().answer.remote())
print(json.dumps(found | {"address": ray.get_runtime_context().gcs_address}))
"""
"""What Ray Train's cleaner does: asks from within an actor whether an actor of its own cluster is alive."""


class Cluster:
    """One of cluster/local.sh, of one node of two CPUs."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.folder = Path(f"/tmp/i2i-{os.getuid()}-{self.port}")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        self.env |= {"RAY": str(Path(sys.executable).parent / "ray"), "RAY_DASHBOARD_PORT": str(self.port)}

    @property
    def address(self) -> str:
        return (self.folder / "ray" / "ray_current_cluster").read_text()

    def processes(self) -> list[Process]:
        return with_environment("I2I_LOCAL_CLUSTER", str(self.port))

    def __enter__(self) -> Cluster:
        try:
            subprocess.run([LOCAL, "start", "1", "2"], check=True, env=self.env, stdout=subprocess.DEVNULL)
        except BaseException:  # interrupted, say
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        subprocess.run([LOCAL, "stop"], check=True, env=self.env)

    def ask(self, *command: str, env: dict[str, str] | None = None) -> dict[str, object]:
        """Return what ASK finds, run by a command."""
        run = subprocess.run(
            [*command, "python", "-c", ASK],
            check=False,
            env=self.env | (env or {}),
            text=True,
            capture_output=True,
            cwd=ROOT,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert "Found multiple active Ray instances" not in run.stdout + run.stderr
        return dict(json.loads(next(line for line in run.stdout.splitlines() if line.startswith("{"))))

    def is_asked(self, found: dict[str, object]) -> bool:
        """Tell whether an answer of `ask` came from this cluster, which a newer one did not change."""
        url = f"http://127.0.0.1:{self.port}"
        told = {"url": url, "told": {"RAY_API_SERVER_ADDRESS": url}, "alive": True, "nodes": 2, "address": self.address}
        return found == told


class Job(Run):
    """`train.py`, submitted to a cluster."""

    def __init__(self, cluster: Cluster, data: str, storage: str, flags: list[str]) -> None:
        super().__init__("job", data, storage, flags)
        self.command = [LOCAL, "submit", "--", "python", *self.command[1:]]
        self.env = cluster.env


@pytest.fixture
def clusters() -> Iterator[tuple[Cluster, Cluster]]:
    """Two, of which the second is newer."""
    with Cluster() as first, Cluster() as second:
        yield first, second


@pytest.mark.slow
def test_cluster_of_a_demo_listens_on_loopback_alone() -> None:
    """Every socket of the processes that `local.sh start` leaves, before any job."""
    with Cluster() as cluster:
        found = listeners(cluster.processes())
    for part in ("gcs_server", "raylet", "dashboard"):
        assert [one for one in found if part in one.command], f"{part} listens nowhere: {found}"
    assert [one for one in found if not one.address.is_loopback] == []


@pytest.mark.slow
def test_clusters_side_by_side_keep_to_their_own_jobs(
    clusters: tuple[Cluster, Cluster], labelled: str, storage: str
) -> None:
    """Jobs, and a program that joins by RAY_ADDRESS, land on the cluster they name; the end of the newer one leaves the
    older one's run alone."""
    first, second = clusters
    assert second.is_asked(second.ask(LOCAL, "submit", "--"))
    assert first.is_asked(first.ask(LOCAL, "submit", "--")), "a job of the older one"
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(first.folder / "auth_token")}
    joins = own | {"RAY_ADDRESS": first.address, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert first.is_asked(first.ask(env=joins)), "a program that joins the older one"

    job = Job(first, labelled, storage, ["--images", "3000", "--workers", "2", "--loaders", "0", "--log-every", "96"])
    submitted = job.type()
    job.when(past(96))
    open_to = {address for address, _ in listening(process.pid for process in first.processes() + second.processes())}
    assert open_to
    assert all(address.is_loopback for address in open_to)
    second.stop()
    assert not second.folder.exists()
    assert not second.processes()
    assert submitted.wait(timeout=600) == 0, job.text()
    assert "finished after 3,0" in job.text()
    assert "resumed from" not in job.text()
    assert "Found multiple active Ray instances" not in job.text()
