"""Join a Ray cluster or start one, and measure what it can hold."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
from typing import Any, Literal

import ray
from ray.exceptions import RayError

from i2i_core.errors import ResourceError, RunError
from i2i_core.orchestration import ray_compat
from i2i_core.orchestration.ray_compat import STATE_API
from i2i_core.orchestration.screen import Screen

logger = logging.getLogger(__name__)

ANY = 2**31
"""More CPUs and GPUs than a run asks for."""
FIXED_SIZE = "I2I_FIXED_SIZE"
"""The environment variable that marks a cluster without an autoscaler."""
ANSWERS_WITHIN = 10.0
"""Seconds in which the cluster to join must accept a connection."""
STARTS = 3
"""The most times that Ray's processes are started on a busy machine, until they are up in time."""
GROWS = 1800
"""Seconds that an autoscaled cluster may take to bring up a run's workers."""

_made_token = ""
"""The token that this process made for its own cluster, which nobody else knows."""


def connect(quiet: bool = False) -> None:
    """Join the cluster that RAY_ADDRESS names (a submitted job's own, always), or start one for this process.

    Another cluster on this machine is neither joined nor asked. By itself Ray's State API, with which Ray Train cleans
    up after a run that died, asks the cluster that was started last on this machine, does not find the run there, and
    takes the workers of a live run away.

    Args:
        quiet: whether what workers print is kept in Ray's logs alone.

    Raises:
        ResourceError: no cluster, or one without a dashboard, is where RAY_ADDRESS says.
        RunError: Ray's own processes did not start, or not in time.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault(ray_compat.HIDE_GPUS, "0")
    ray_compat.route_output(Screen().show)
    address = os.environ.get("RAY_ADDRESS") or "local"
    for left in reversed(range(STARTS)):
        how = _own() if address == "local" else _joined(address)
        try:
            ray.init(logging_level="error", log_to_driver=not quiet, **how)
            return
        except Exception as error:  # a bare one, where its processes are not up in time
            ray.shutdown()
            if left and ray_compat.end_late_start(error):
                logger.warning("Ray's processes were not up within the half a minute that Ray waits: starting new ones")
                continue
            reason = str(error).strip().splitlines() or [type(error).__name__]
            fix = "Run the same command again when this machine has less to do and memory to spare."
            raise RunError(f"Ray did not start ({reason[0]})\n  {fix}") from error


def _own() -> dict[str, Any]:
    """Prepare a cluster of this process, on loopback, whose processes inherit this environment.

    The State API needs the dashboard. The token is in the environment, closed to others; Ray would write a file.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    os.environ[STATE_API] = f"http://127.0.0.1:{port}"
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo0" if sys.platform == "darwin" else "lo")
    if os.environ.get("RAY_AUTH_MODE") == "token" and not os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
        global _made_token
        os.environ["RAY_AUTH_TOKEN"] = _made_token = secrets.token_hex(32)
        ray_compat.forget_token()
    return {"address": "local", "include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": port}


def _joined(address: str) -> dict[str, Any]:
    """Find a running cluster, and its dashboard for every process of this job.

    Raises:
        ResourceError: it does not answer (Ray would try for minutes), asks for another token, or has no dashboard.
    """
    fix = "Name the head of a running cluster, and by RAY_AUTH_TOKEN_PATH its token, or unset RAY_ADDRESS to start one."
    expected = "HOST:PORT of a running cluster's head, or auto"
    try:
        if "://" in address:
            raise ValueError("an URL")
        where, url = ray_compat.find_cluster(address, ANSWERS_WITHIN)
    except (OSError, ValueError, RayError) as error:
        found = f"{address}, which cannot be joined ({str(error).partition('. ')[0]})"
        raise ResourceError("RAY_ADDRESS", found, expected, fix) from None
    os.environ[STATE_API] = url
    return {"address": where, "runtime_env": {"env_vars": {STATE_API: url}}}


def dashboard() -> str:
    """Give the URL of the joined cluster's dashboard, and where the token is that it asks for."""
    url = os.environ[STATE_API]
    if os.environ.get("RAY_AUTH_MODE") != "token":
        return url
    if file := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return f"{url} (it asks for the token in {file})"
    if os.environ.get("RAY_AUTH_TOKEN") == _made_token:
        return f"{url} (for a browser, set RAY_AUTH_TOKEN before the command: its page asks for it)"
    return f"{url} (it asks for the token in RAY_AUTH_TOKEN)"


def capacity() -> dict[str, int]:
    """Count the CPUs and GPUs that the cluster has; ANY of each where it is autoscaled.

    `ray status` shows what its autoscaler cannot bring.
    """
    has = ray.cluster_resources()
    return {name: ANY if _grows() else int(has.get(name, 0)) for name in ("CPU", "GPU")}


def _grows() -> bool:
    """Return whether an autoscaler brings nodes. A KubeRay cluster of a fixed size must set I2I_FIXED_SIZE."""
    return not os.environ.get(FIXED_SIZE) and ray_compat.is_autoscaled()


def wait_for(kind: Literal["CPU", "GPU"], amount: int) -> None:
    """Log that the cluster must grow, if it must, and have Ray Train wait for that.

    By itself Ray Train would withdraw its request every minute, and make it again.
    """
    has = int(ray.cluster_resources().get(kind, 0))
    if has < amount:
        os.environ.setdefault(ray_compat.START_TIMEOUT, str(GROWS))
        logger.info(f"waiting for the cluster to grow: it has {has} {kind}s, {amount} are needed")
