"""Joining a Ray cluster, or starting one, as far as that can be told without Ray's processes.

pytest tests/unit/test_cluster.py
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from i2i_core.errors import ResourceError
from i2i_core.orchestration import cluster, rendezvous  # first: it sets what Ray reads when it is imported

from ..support.sockets import listening


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "ray://127.0.0.1:10001", "nonsense", "127.0.0.1:port"])
def test_cluster_refuses_an_address_that_is_none_of_a_head(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ResourceError, match=f"RAY_ADDRESS: found {address}, which cannot be joined") as raised:
        cluster.connect()
    assert "unset RAY_ADDRESS to start one" in str(raised.value)


def test_cluster_that_is_gone_is_said_to_be_gone_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself would try for two minutes."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)  # which Ray asks for before it tries
    with pytest.raises(ResourceError, match=f"found 127.0.0.1:{port}, which cannot be joined .*refused"):
        cluster.connect()


@pytest.mark.processes
def test_cluster_whose_token_is_missing_is_not_joined(tmp_path: Path) -> None:
    """In a process of its own, which Ray would abort."""
    env = {**os.environ, "RAY_ADDRESS": "127.0.0.1:6379", "RAY_AUTH_MODE": "token", "HOME": str(tmp_path)}
    env = {k: v for k, v in env.items() if k not in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")}
    join = "from i2i_core.orchestration.cluster import connect; connect()"
    for told in ({}, {"RAY_AUTH_TOKEN_PATH": f"{tmp_path}/none"}):
        run = subprocess.run([sys.executable, "-c", join], env=env | told, capture_output=True, text=True, check=False)
        assert run.returncode == 1, run.stderr
        assert "ResourceError: RAY_ADDRESS: found 127.0.0.1:6379, which cannot be joined (" in run.stderr
        assert "oken" in run.stderr.partition("cannot be joined (")[2]


@pytest.mark.processes
def test_cluster_that_does_not_start_is_one_message(tmp_path: Path) -> None:
    """In a process of its own: Ray's folder cannot be made, one of its many ways not to start."""
    (tmp_path / "file").touch()
    env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"RAY_TMPDIR": str(tmp_path / "file")}
    join = "from i2i_core.cli import main; from i2i_core.orchestration.cluster import connect; main(connect)"
    run = subprocess.run([sys.executable, "-c", join], env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "failed: Ray did not start (" in run.stderr
    assert "Run the same command again" in run.stderr
    assert "Traceback" not in run.stderr


LATE = """
import os, ray
from ray._private.node import Node
from i2i_core import logs
from i2i_core.orchestration.cluster import connect
from i2i_core.orchestration.ray_compat import LATE

logs.show()
start, nodes = Node.start_ray_processes, []
def late(node):
    start(node)
    nodes.append(node)
    if len(nodes) < 3:
        raise Exception(f"The current node {LATE}.")
Node.start_ray_processes = late
connect()
assert ray.get(ray.remote(lambda: 1).remote()) == 1
assert len(nodes) == 3
left = [p.process.pid for node in nodes[:2] for found in node.all_processes.values() for p in found]
assert not left, left
print("it runs")
"""


@pytest.mark.slow
@pytest.mark.ray
def test_connect_starts_a_late_ray_again_and_leaves_nothing() -> None:
    """The third time it is: the first two have their processes, and are told that they were too slow."""
    env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    run = subprocess.run([sys.executable, "-c", LATE], env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("WARNING: Ray's processes were not up within") == 2
    assert run.stdout.endswith("it runs\n")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment of which nothing is left afterwards."""
    for name in [*filter(re.compile("RAY_A|GLOO|NCCL").match, os.environ), cluster.STATE_API]:
        monkeypatch.setenv(name, "")  # noted, so that it is put back
        monkeypatch.delenv(name)
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def test_cluster_of_its_own_has_a_token_of_its_own_that_no_file_holds(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("RAY_AUTH_MODE", "token")
    cluster._own()
    token = os.environ["RAY_AUTH_TOKEN"]
    assert re.fullmatch("[0-9a-f]{64}", token)
    cluster._own()
    assert os.environ["RAY_AUTH_TOKEN"] == token, "of this process, not of each call"


@pytest.mark.parametrize("given", [{"RAY_AUTH_TOKEN_PATH": "mine"}, {"RAY_AUTH_MODE": "disabled"}])
def test_cluster_of_its_own_takes_the_token_that_is_given(
    given: dict[str, str], environment: pytest.MonkeyPatch
) -> None:
    for name, value in {"RAY_AUTH_MODE": "token", **given}.items():
        environment.setenv(name, value)
    cluster._own()
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_dashboard_says_where_its_token_is_and_never_the_token(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("RAY_AUTH_MODE", "token")
    cluster._own()
    url = os.environ[cluster.STATE_API]
    assert cluster.dashboard() == f"{url} (for a browser, set RAY_AUTH_TOKEN before the command: its page asks for it)"
    environment.setenv("RAY_AUTH_TOKEN", "mine")
    assert cluster.dashboard() == f"{url} (it asks for the token in RAY_AUTH_TOKEN)"
    environment.setenv("RAY_AUTH_TOKEN_PATH", "/a/file")
    assert cluster.dashboard() == f"{url} (it asks for the token in /a/file)"
    environment.setenv("RAY_AUTH_MODE", "disabled")
    assert cluster.dashboard() == url


def test_cluster_of_its_own_is_the_one_that_its_processes_ask(environment: pytest.MonkeyPatch) -> None:
    environment.setenv(cluster.STATE_API, "http://127.0.0.1:1")  # of an earlier one, say
    how = cluster._own()
    assert how["include_dashboard"]
    assert os.environ[cluster.STATE_API] == f"http://{how['dashboard_host']}:{how['dashboard_port']}"
    assert how["dashboard_host"] == "127.0.0.1"
    assert os.environ["GLOO_SOCKET_IFNAME"] == os.environ["NCCL_SOCKET_IFNAME"]
    assert os.environ["GLOO_SOCKET_IFNAME"] in [name for _, name in socket.if_nameindex()]


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="sockets are found in /proc")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "own"])
def test_rendezvous_listens_at_one_address_alone(address: str) -> None:
    """Of this machine: on loopback, or in a network where it has an address."""
    address = own_address() if address == "own" else address
    before = listening([os.getpid()])
    try:
        port = rendezvous.serve(address)
    except OSError as error:  # no IPv6, say
        pytest.skip(f"this machine has no {address}: {error}")
    assert listening([os.getpid()]) - before == {(ip_address(address), port)}


def own_address() -> str:
    """Return an address of this machine by which others reach it, else loopback. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
        except OSError:  # no network
            return "127.0.0.1"
        return str(sock.getsockname()[0])
