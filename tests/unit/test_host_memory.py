"""Copies of a state: equal to it, apart from it, and in memory that nobody else is using.

pytest tests/unit/test_host_memory.py
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from i2i_core.checkpoints.host_memory import MOST_FREE, HostMemories, HostMemory

from ..support.runs import assert_equal, leaves


def state() -> dict[str, Any]:
    noise = torch.Generator().manual_seed(3)
    nhwc = torch.randn(2, 3, 4, 5, generator=noise).to(memory_format=torch.channels_last)
    return {"moves": {"G": [torch.randn(4, 3, generator=noise), nhwc]}, "step": (torch.tensor(7), 2), "name": "a"}


def filled(memory: HostMemory, value: Any, contiguous: bool = False) -> Any:
    with memory.filling():
        return memory.copy(value, "state", contiguous)


def places(value: Any) -> list[int]:
    return [x.data_ptr() for _, x in leaves(value) if isinstance(x, torch.Tensor)]


def test_host_memory_holds_equal_copy_apart_from_the_state() -> None:
    held = state()
    before, copied = copy.deepcopy(held), filled(HostMemory(), held)
    held["moves"]["G"][0].zero_()
    held["moves"]["G"][1].zero_()
    assert_equal(dict(leaves(copied)), dict(leaves(before)))
    assert isinstance(copied["step"], tuple)
    assert copied["moves"]["G"][1].stride() == before["moves"]["G"][1].stride()


def test_host_memory_gives_contiguous_copies_where_asked() -> None:
    copied = filled(HostMemory(), state(), contiguous=True)
    assert copied["moves"]["G"][1].is_contiguous()
    assert torch.equal(copied["moves"]["G"][1], state()["moves"]["G"][1])


def test_host_memory_is_filled_again_in_its_place() -> None:
    memory, held = HostMemory(), state()
    first = places(filled(memory, held))
    held["moves"]["G"][0] += 1
    copied = filled(memory, held)
    assert places(copied) == first
    assert torch.equal(copied["moves"]["G"][0], held["moves"]["G"][0])


def test_host_memory_keeps_nothing_that_the_last_copy_left_out() -> None:
    memory, held = HostMemory(), state()
    filled(memory, held)
    held["moves"]["G"] = [torch.ones(9)]
    copied = filled(memory, held)
    assert torch.equal(copied["moves"]["G"][0], torch.ones(9))
    assert {id(x) for x in memory.kept.values()} == {id(x) for _, x in leaves(copied) if isinstance(x, torch.Tensor)}


def test_host_memories_lend_none_twice_and_keep_two() -> None:
    memories = HostMemories()
    lent = [memories.take() for _ in range(4)]
    assert len({id(memory) for memory in lent}) == 4
    for memory in lent:
        memories.give_back(memory)
    assert len(memories.free) == MOST_FREE == 2
    assert memories.take() is lent[-1]
