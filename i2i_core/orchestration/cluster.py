"""Joining a Ray cluster, or starting one."""

from __future__ import annotations

import os

import ray


def connect(quiet: bool = False) -> None:
    """Joins the cluster that RAY_ADDRESS names (a submitted job's own, always), or starts one here for this process.

    Another cluster that happens to run on this machine is not joined. One started here keeps its dashboard, bound
    to loopback: Ray's State API, which cleans up after ended runs, needs it.

    Args:
        quiet: what workers print is kept in Ray's logs alone.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = os.environ.get("RAY_ADDRESS", "local")
    own = {"include_dashboard": True, "dashboard_host": "127.0.0.1"} if address == "local" else {}
    ray.init(address, logging_level="warning", log_to_driver=not quiet, **own)
