"""Start the nodes of cluster/local.sh: a head that takes no task, and worker nodes. The process ends when they are up.

python cluster/local_nodes.py PORT NODES CPUS

`ray start` would take a process and seconds for each, and refuses nodes on loopback. cluster/local.sh says by the
environment where Ray keeps its files and that it listens on loopback alone.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

STORE = 500_000_000
"""Bytes of each node's object store."""
PATIENCE = 120.0
"""Seconds in which the agents of the nodes must be there."""
LATE = "timed out during startup"
"""The part of Ray's error that tells a late start from others: Ray waits half a minute for a node's processes."""
SLOW = "time-out: this machine is slow or has too much to do. Try again when it has less, or with fewer nodes"


def start(head: bool, number: int, **options: Any) -> Any:
    """Start one node, whose processes stay when this one ends. Every port that is not given is a free one.

    Args:
        number: of the node. Each has its own copy of the jobs' code: an agent that is to bring code first removes what
            there is, and in a folder of all nodes that is where other nodes' workers are.
    """
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    ports = {"min_worker_port": 0, "max_worker_port": 0, "dashboard_agent_listen_port": 0}
    code = {"runtime_env_dir_name": f"runtime_resources_{number}"}
    params = RayParams(object_store_memory=STORE, **code, **ports, **options)
    params.include_log_monitor = head  # the folder of logs is the same
    return Node(params, head=head, shutdown_at_exit=False, spawn_reaper=False)


def wait_for_agents(nodes: Sequence[Any]) -> None:
    """Return when the agent of each node takes orders: without the head's, jobs are refused."""
    from ray._private.ray_constants import KV_NAMESPACE_DASHBOARD
    from ray.dashboard.consts import DASHBOARD_AGENT_ADDR_NODE_ID_PREFIX

    known, until = nodes[0].get_gcs_client(), time.monotonic() + PATIENCE
    for node in nodes:
        key = f"{DASHBOARD_AGENT_ADDR_NODE_ID_PREFIX}{node.node_id}".encode()
        while known.internal_kv_get(key, KV_NAMESPACE_DASHBOARD) is None:
            if time.monotonic() > until:
                found = f"the agent of node {node.node_id} has not begun after {PATIENCE:.0f} s"
                sys.exit(f"{SLOW}.\n  ({found}; its log is dashboard_agent.log)")
            time.sleep(0.1)  # between two looks


def main(port: int, nodes: int, cpus: int) -> None:
    """Start the head with its dashboard at a port, then the nodes, of which the first has the machine's GPUs.

    Exits with one message where the port is taken, or where Ray's processes are not up in time.
    """
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        sys.exit(f"found port {port} taken ({error.strerror}); expected a free one: RAY_DASHBOARD_PORT names another")
    try:
        start_all(port, nodes, cpus)
    except Exception as error:  # a bare one of Ray's
        if LATE not in str(error):
            raise
        sys.exit(f"{SLOW}.\n  (Ray gives a node's processes half a minute to start)")


def start_all(port: int, nodes: int, cpus: int) -> None:
    """Start the head and the nodes, and return when each takes orders."""
    from ray._private.utils import write_ray_address

    dashboard = {"include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": port}
    head = start(True, 0, num_cpus=0, num_gpus=0, **dashboard)
    write_ray_address(head.gcs_address)
    of_each = {"gcs_address": head.gcs_address, "num_cpus": cpus}
    others = [start(False, number, num_gpus=None if number == 1 else 0, **of_each) for number in range(1, nodes + 1)]
    wait_for_agents([head, *others])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
