"""Hold every use of what Ray keeps to itself: private modules, attributes, and variables that its documentation omits.

All of it was read in Ray 2.60.0 (`READ_IN`). `tests/unit/test_private_uses.py` names what another version no longer
has, and holds that no other file has such uses. Ray is imported by the functions alone: some variables are read when
Ray is imported, and work that needs no cluster does without Ray.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from traceback import walk_tb
from typing import Any

READ_IN = "2.60.0"
"""The version of Ray in which each of these was read. After a change of Ray: read them again, then change this."""
STATE_API = "RAY_API_SERVER_ADDRESS"
"""In the environment of a process: the dashboard that Ray's State API asks there."""
CLUSTER_OFF_LINUX = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""0: to Ray, as on Windows and macOS, this machine's own address is loopback."""
HIDE_GPUS = "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"
"""0: a worker without a GPU of its own is not kept from seeing those of its node."""
START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
"""Seconds that Ray Train waits for a run's workers before it takes its request back, and asks again."""
QUIET_TUNE = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "20",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
"""A Ray Tune that prints and writes nothing of its own, and frees what an ended trial held after 20 s."""
ON_THE_HEAD = "node:__internal_head__"
"""A resource that the head node alone has, one of it."""
LATE = "timed out during startup"
"""In the error of a Ray whose own processes were not up in time."""
EVERYWHERE = "[::]"
"""The address at which a replica of Ray Serve takes calls of others: any of this machine's."""
AUTOSCALING_STATUS = b"__autoscaling_status"
"""The key of the first autoscaler's report in the cluster's store."""


def prepare_import() -> None:
    """Set what Ray reads when it is imported.

    A cluster started here asks for a token; one that is joined through RAY_ADDRESS has a mode of its own. Its processes
    listen on loopback alone, and 127.0.0.1 in RAY_ADDRESS stays what it is.
    """
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault(CLUSTER_OFF_LINUX, "0")


def take_calls_on_loopback() -> None:
    """Have this process, a replica of Ray Serve that is being made, take other replicas' calls on loopback alone.

    Ray takes them from every network, asks for no token, and unpickles what they bring.
    """
    from ray.serve._private import replica

    add_port = replica.add_port_to_grpc_server

    def on_loopback(server: Any, address: str) -> int:
        return int(add_port(server, address.replace(EVERYWHERE, "127.0.0.1")))

    replica.add_port_to_grpc_server = on_loopback


def forget_token() -> None:
    """Have Ray read its token from the environment again."""
    from ray._private.authentication.authentication_token_setup import AuthenticationTokenLoader

    AuthenticationTokenLoader.instance().reset_cache()


def end_late_start(error: Exception) -> bool:
    """Return whether Ray gave up on its own processes that were late, and end them: Ray itself forgets them."""
    from ray._private.node import Node

    if LATE not in str(error):
        return False
    for frame, _ in walk_tb(error.__traceback__):
        if isinstance(node := frame.f_locals.get("self"), Node):
            node.kill_all_processes(check_alive=False, allow_graceful=False)
    return True


def find_cluster(address: str, within: float) -> tuple[str, str]:
    """Find a running cluster's head, as HOST:PORT, and its dashboard's URL.

    Args:
        address: HOST:PORT, or `auto`.
        within: seconds in which the head must take a connection.

    Raises:
        OSError, ValueError, ray.exceptions.RayError: it does not answer, asks for another token, or has no dashboard.
    """
    from ray._private.authentication.authentication_token_setup import (
        ensure_token_if_auth_enabled,
        maybe_enable_token_auth_if_token_available,
    )
    from ray._private.services import canonicalize_bootstrap_address_or_die, extract_ip_port
    from ray.dashboard.utils import ray_address_to_api_server_url

    if address == "auto":
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    ensure_token_if_auth_enabled(create_token_if_missing=False)
    head = str(canonicalize_bootstrap_address_or_die(address))
    socket.create_connection(extract_ip_port(head), timeout=within).close()
    return head, str(ray_address_to_api_server_url(head))


def is_autoscaled() -> bool:
    """Return whether an autoscaler brings nodes to the joined cluster.

    Version 2 claims to be there on every KubeRay cluster. Version 1's monitor gives each node a type of its own on a
    cluster without an autoscaler.
    """
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get

    if is_autoscaler_v2(fetch_from_server=True):
        return True
    status = json.loads(_internal_kv_get(AUTOSCALING_STATUS) or b"{}")
    types = (status.get("autoscaler_report") or {}).get("node_type_mapping") or {}
    return any(kind != f"node_{node}" for node, kind in types.items())


def torch_backend() -> tuple[Any, Any]:
    """Return Ray Train's backend class for torch, and the function that sets a worker's ranks in its environment."""
    from ray.train.torch.config import _set_torch_distributed_env_vars, _TorchBackend

    return _TorchBackend, _set_torch_distributed_env_vars


@dataclass(frozen=True)
class Printed:
    """Lines that a process of the job has printed.

    Attributes:
        source: the name of the actor or the task that printed them; `autoscaler` or `raylet` for Ray's own.
        lines: without their ends.
        is_error: whether they were printed on standard error.
    """

    source: str
    lines: list[str]
    is_error: bool


def route_output(show: Callable[[Printed], None]) -> None:
    """Have Ray pass what the job's processes print to a function, in a thread, and print nothing of it. Call this
    before `ray.init`, whose threads look the function up by its name."""
    from ray._private import worker

    def routed(data: dict[str, Any], ignore_prefix: bool = False) -> None:
        source = str(data.get("actor_name") or data.get("task_name") or data.get("pid"))
        lines = data.get("lines", [])
        if source == "autoscaler":
            lines = [line for line in worker.filter_autoscaler_events(lines) if not line.startswith("Tip: ")]
        show(Printed(source, [*lines], bool(data["is_err"])))

    worker.print_to_stdstream = routed


def being_drained() -> bool:
    """Return whether Ray has told this training worker that a node of its group is about to go.

    `ray.train.get_preemption_info` says the same, but makes all workers wait for each other.
    """
    from ray.train.v2._internal.execution.context import get_train_context

    return get_train_context().preemption_context.preemption_info is not None


def silence_train() -> None:
    """Keep Ray Train, in this training worker, from printing its reports and the traces of what is raised."""
    from ray.train.v2._internal.execution import context
    from ray.train.v2._internal.util import logger

    context.logger.setLevel("CRITICAL")  # named by its file, so that no level of Ray Train's reaches it
    logger.setLevel("CRITICAL")


def answers(address: str) -> bool:
    """Tell if something listens at HOST:PORT, as Ray's GCS does while a cluster lives. A slow answer counts as one."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return True
