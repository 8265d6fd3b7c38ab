"""Copy a run's state to host memory that is kept from one checkpoint to the next.

To fill fresh memory takes several times as long as to fill memory that a process has used before: the system hands
it out page by page, each zeroed first. On a GPU the memory is page-locked, so that copies need no host to wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

MOST_FREE = 2
"""Memories that are kept while nobody uses them: one is written while the next is filled."""


class HostMemory:
    """Hold one copy of a state.

    A tensor is copied into what its name had the last time, where that has the same type, sizes and strides.

    Attributes:
        kept: by name, on the host.
        arrived: on a GPU, the event after which the copy is whole; None where it is.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Tensor] = {}
        self.arrived: torch.cuda.Event | None = None
        self._used: dict[str, Tensor] = {}
        self._coming: list[tuple[Tensor, Tensor]] = []
        """On a GPU, the host's tensor and the one there that goes to it."""
        self._device: torch.device | None = None
        """The GPU that tensors come from."""

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Begin a copy; at the end of the block send what is on a GPU on its way, and drop what was not used again."""
        self.wait()  # for an earlier copy that nobody has read
        self._used, self._coming, self._device = {}, [], None
        yield
        self.kept = self._used
        if self._device:
            self._send(self._device)

    def copy(self, value: Any, name: str, contiguous: bool = False) -> Any:
        """Copy a nested state. No tensor of the copy shares memory with the state.

        Args:
            name: of the state, another for each of a copy's; its parts are named by their places in it.
            contiguous: whether copies are contiguous, whatever the state's tensors are.
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
        """Copy a tensor on its GPU, which is quick beside the way to the host; where there is no room for that, send it
        from where it is: later moves in the same stream wait."""
        try:
            self._coming.append((host, x.clone(memory_format=form)))
        except torch.OutOfMemoryError:
            host.copy_(x, non_blocking=True)

    def _send(self, device: torch.device) -> None:
        """Copy what is staged to the host in a stream of its own, beside the training's."""
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
        """Wait until the copy is whole. From any thread."""
        if self.arrived:
            self.arrived.synchronize()
            self.arrived = None


class HostMemories:
    """Lend memories for copies: one that was given back, else a new one. None is lent twice at a time."""

    def __init__(self) -> None:
        self.free: deque[HostMemory] = deque(maxlen=MOST_FREE)  # its ends are safe to use from two threads

    def take(self) -> HostMemory:
        """Take the memory that was given back last."""
        try:
            return self.free.pop()
        except IndexError:
            return HostMemory()

    def give_back(self, memory: HostMemory) -> None:
        """Lend a memory again. From any thread; what it holds is not read any more."""
        self.free.append(memory)
