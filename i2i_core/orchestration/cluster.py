"""Joining a Ray cluster, or starting one; and what it can hold."""

from __future__ import annotations

import json
import os
import socket
from typing import Any, Literal

import ray

ANY = 2**31
"""More CPUs and GPUs than a run asks for."""
FIXED_SIZE = "I2I_FIXED_SIZE"
"""In the environment of a cluster that no autoscaler serves."""
GROWS = 1800
"""Seconds that an autoscaled cluster may take to bring a run's workers."""


def connect(quiet: bool = False) -> None:
    """Joins the cluster that RAY_ADDRESS names (a submitted job's own, always), or starts one here for this process.

    Another cluster that happens to run on this machine is not joined. One started here keeps its dashboard, bound
    to loopback: Ray's State API, which cleans up after ended runs, needs it, and is told where it is. (By itself it
    asks the cluster that was started last on this machine, whosever that is.)

    Args:
        quiet: what workers print is kept in Ray's logs alone.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = os.environ.get("RAY_ADDRESS", "local")
    own: dict[str, Any] = {}
    if address == "local":
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        own = {"include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": port}
        os.environ["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{port}"
    ray.init(address, logging_level="warning", log_to_driver=not quiet, **own)


def room() -> dict[str, int]:
    """CPUs and GPUs that the cluster has or, where it is autoscaled, can grow to have: `ray status` says what its
    autoscaler cannot bring."""
    has = ray.cluster_resources()
    return {name: ANY if _grows() else int(has.get(name, 0)) for name in ("CPU", "GPU")}


def _grows() -> bool:
    """Whether an autoscaler brings nodes. Ray's monitor of a cluster without one calls each node a type of its own. Its
    second version is said to be there on every cluster of KubeRay: one of a fixed size says so by itself."""
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get

    if os.environ.get(FIXED_SIZE):
        return False
    if is_autoscaler_v2(fetch_from_server=True):
        return True
    status = json.loads(_internal_kv_get(b"__autoscaling_status") or b"{}")
    types = (status.get("autoscaler_report") or {}).get("node_type_mapping") or {}
    return any(kind != f"node_{node}" for node, kind in types.items())


def wait_for(kind: Literal["CPU", "GPU"], amount: int) -> None:
    """Says that the cluster must grow, where it must, and has Ray Train wait until it has.

    Without this it would take its request back every minute, and ask again.
    """
    has = int(ray.cluster_resources().get(kind, 0))
    if has < amount:
        os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(GROWS))
        print(f"waiting for the cluster to grow: it has {has} {kind}s, {amount} are needed", flush=True)
