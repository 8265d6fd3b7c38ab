"""The nodes of cluster/local.sh: a head without room, and worker nodes, in one process that ends when they are there.

python cluster/local_nodes.py PORT NODES CPUS

`ray start` would take a process and seconds for each, and refuses nodes on loopback. cluster/local.sh says by the
environment where Ray keeps its files and that it listens on loopback alone.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

STORE = 500_000_000
"""Bytes of each node's object store."""


def start(head: bool, **options: Any) -> Any:
    """Start one node, whose processes stay when this one ends. Every port that is not given is a free one."""
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    params = RayParams(object_store_memory=STORE, min_worker_port=0, max_worker_port=0, **options)
    params.include_log_monitor = head  # the folder of logs is the same
    return Node(params, head=head, shutdown_at_exit=False, spawn_reaper=False)


def main(port: int, nodes: int, cpus: int) -> None:
    """Start the head with its dashboard at a port, then the nodes, of which the first has the machine's GPUs."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        sys.exit(f"found port {port} taken ({error.strerror}); expected a free one: RAY_DASHBOARD_PORT names another")

    from ray._private.utils import write_ray_address

    dashboard = {"include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": port}
    head = start(True, num_cpus=0, num_gpus=0, **dashboard)
    write_ray_address(head.gcs_address)
    for number in range(nodes):
        start(False, gcs_address=head.gcs_address, num_cpus=cpus, num_gpus=0 if number else None)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
