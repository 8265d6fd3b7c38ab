"""Serve torch's store, by which the workers of a run find each other, at one address of one machine."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import Any

import ray
import torch.distributed as dist
from ray.train.torch import TorchConfig

from i2i_core.orchestration.ray_compat import torch_backend

_backend: Any
_tell_ranks: Any
_backend, _tell_ranks = torch_backend()
_served: dist.TCPStore | None = None
"""The store that this process serves, which lives as long as the process."""


class OneAddressConfig(TorchConfig):
    """Configure Ray Train's torch backend with a store that listens at the address alone by which Ray knows rank 0's
    node: loopback on a cluster of one machine, else the address in the cluster's own network.

    The store that torch opens by itself listens on every address of the machine, and anybody may write to it.
    """

    @property
    def backend_cls(self) -> Any:
        return _OneAddressBackend


class _OneAddressBackend(_backend):
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        """Have rank 0 serve the store and all ranks join their process group by it; else do as Ray Train does."""
        worker_group.execute(_tell_ranks)
        address = worker_group.execute_single(0, ray.util.get_node_ip_address)
        port, world = worker_group.execute_single(0, serve, address), len(worker_group)
        how = (address, port, world, backend_config.backend, backend_config.timeout_s)
        ray.get([worker_group.execute_single_async(rank, join, rank, *how) for rank in range(world)])


def serve(address: str) -> int:
    """Serve a store at an address of this machine from now on, and return its port."""
    global _served
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.create_server((address, 0), family=family)
    port = listening.getsockname()[1]
    options: dict[str, Any] = {"is_master": True, "wait_for_workers": False, "master_listen_fd": listening.detach()}
    _served = dist.TCPStore(address, port, **options)
    return int(port)


def join(rank: int, address: str, port: int, world: int, backend: str, timeout_s: int) -> None:
    """Join the process group of a world of workers by the store at an address and port."""
    os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")  # as Ray does: end when a worker is lost, do not wait
    timeout = timedelta(seconds=timeout_s)
    store = dist.TCPStore(address, port, is_master=False, timeout=timeout, wait_for_workers=False)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
