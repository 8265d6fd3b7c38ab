"""Record what an update tells the CPU, and do it again without running its Python: what a CUDA graph does on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    """A list of operations with the very tensors they were called with; done again, each writes where it wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.namespace != "profiler":
            self.done.append((func, args, kwargs or {}, out))
        return out

    def record(self, work: Callable[[], None]) -> None:
        with self:
            work()

    @torch.no_grad()
    def again(self) -> None:
        for func, args, kwargs, out in self.done:
            given = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
            for before, now in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(before, Tensor) and before.untyped_storage().data_ptr() not in given:
                    before.copy_(now)  # what is no view and was not changed in place
                else:
                    assert isinstance(before, Tensor) or before == now, f"{func}: a number was read, and is another now"
