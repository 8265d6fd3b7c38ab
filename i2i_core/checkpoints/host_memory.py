"""Copy a run's state to host memory that is kept from one checkpoint to the next.

Filling fresh memory takes several times as long as filling memory that the process has used before: the system hands
it out page by page, and zeroes each page first. For a GPU the memory is page-locked, so that copies run asynchronously.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

MOST_FREE = 2
"""Unused memories to keep: one is written to storage while the next is filled."""


class HostMemory:
    """Hold one host copy of a run's state, and reuse its memory for the next copy.

    A tensor is copied into the host tensor that the same name had the last time, if type, shape and strides agree.

    Attributes:
        kept: host tensors by name.
        arrived: CUDA event after which the copy is whole; None once it is, and on a CPU.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Tensor] = {}
        self.arrived: torch.cuda.Event | None = None
        self._used: dict[str, Tensor] = {}
        self._coming: list[tuple[Tensor, Tensor]] = []
        """Pairs of a host tensor and the GPU tensor that will be copied into it."""
        self._device: torch.device | None = None
        """GPU that the tensors come from."""

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Begin a copy; at the end of the block, start the GPU's transfers and free host tensors not reused."""
        self.wait()  # for an earlier copy that nobody has read
        self._used, self._coming, self._device = {}, [], None
        yield
        self.kept = self._used
        if self._device:
            self._send(self._device)

    def copy(self, value: Any, name: str, contiguous: bool = False) -> Any:
        """Copy a nested state of dicts, lists, tuples and tensors. No tensor of the copy shares memory with the state.

        Args:
            name: names the state, unique within one copy; its parts are named by their places in it.
            contiguous: make contiguous copies, whatever the state's memory layout is.
        """
        if isinstance(value, Tensor):
            return self._copy_tensor(value.detach(), name, contiguous)
        if isinstance(value, dict):
            return {k: self.copy(v, f"{name}/{k}", contiguous) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.copy(v, f"{name}/{i}", contiguous) for i, v in enumerate(value))
        return value

    def _copy_tensor(self, x: Tensor, name: str, contiguous: bool) -> Tensor:
        form = torch.contiguous_format if contiguous else torch.preserve_format
        like = torch.empty_like(x, device="meta", memory_format=form)
        host = self.kept.get(name)
        if host is None or (host.dtype, host.shape, host.stride()) != (like.dtype, like.shape, like.stride()):
            host = torch.empty_strided(like.shape, like.stride(), dtype=x.dtype, pin_memory=x.is_cuda)
        self._used[name] = host
        if x.is_cuda:
            self._device = x.device
            self._stage(x, host, form)
        else:
            host.copy_(x)
        return host

    def _stage(self, x: Tensor, host: Tensor, form: torch.memory_format) -> None:
        """Copy a tensor within its GPU, which is quick compared with the transfer to the host.

        Where the GPU has no room for that, transfer it directly; later work in the same stream then waits.
        """
        try:
            self._coming.append((host, x.clone(memory_format=form)))
        except torch.OutOfMemoryError:
            host.copy_(x, non_blocking=True)

    def _send(self, device: torch.device) -> None:
        """Transfer the staged tensors to the host in a separate CUDA stream, in parallel with training."""
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for host, staged in self._coming:
                host.copy_(staged, non_blocking=True)
                staged.record_stream(stream)  # its memory is not given away before
            self.arrived = torch.cuda.Event()
            self.arrived.record(stream)
        self._coming = []

    def wait(self) -> None:
        """Wait until the copy is whole. Safe to call from any thread."""
        if self.arrived:
            self.arrived.synchronize()
            self.arrived = None


class HostMemories:
    """Lend `HostMemory` objects for copies, each to one user at a time: a returned one, else a new one."""

    def __init__(self) -> None:
        self.free: deque[HostMemory] = deque(maxlen=MOST_FREE)  # its ends are safe to use from two threads

    def take(self) -> HostMemory:
        """Take the memory that was returned last, or make a new one."""
        try:
            return self.free.pop()
        except IndexError:
            return HostMemory()

    def give_back(self, memory: HostMemory) -> None:
        """Return a memory whose content is no longer needed. Safe to call from any thread."""
        self.free.append(memory)
