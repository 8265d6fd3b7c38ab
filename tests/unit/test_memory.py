"""What does not fit into memory ends with one message that names what would.

pytest tests/unit/test_memory.py
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from i2i_core.config.run import TrainConfig
from i2i_core.config.stages import Stage
from i2i_core.errors import ResourceError
from i2i_core.sizes import said_bytes
from i2i_core.training.fast import Choice, Fast
from i2i_core.training.memory import Held, asked_for, is_out_of_memory, memory_of
from i2i_core.training.node import host_memory

from ..support.layered import Layered, Made
from ..support.methods import Case, small
from ..support.runs import config_of, loop_of

CPU = torch.device("cpu")
CUDA = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.00 GiB is free."
)


def of_torch() -> None:
    torch.empty(2**60, dtype=torch.uint8)


def of_numpy() -> None:
    np.empty(2**60, dtype=np.uint8)


@pytest.mark.parametrize("ask", [of_torch, of_numpy])
def test_out_of_memory_is_an_allocation_that_cannot_succeed(ask: Any) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        ask()
    assert is_out_of_memory(raised.value)
    assert asked_for(raised.value).replace("1.00", "1") == "1 EiB"


def test_out_of_memory_is_seen_in_errors_of_cuda() -> None:
    assert is_out_of_memory(CUDA)
    assert asked_for(CUDA) == "2.50 GiB"
    alloc = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    assert is_out_of_memory(alloc)
    assert asked_for(alloc) == ""
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (2**60, "1.00 EiB"), (2**71, "2048.00 EiB")]
)
def test_said_bytes_uses_binary_units(count: int, said: str) -> None:
    assert said_bytes(count) == said


def held(part: int = 8, method: str = "pix2pix", **values: Any) -> Held:
    over = {key.replace("__", "."): value for key, value in {"training__batch": 16, **values}.items()}
    return Held(TrainConfig.of(method, "demo", over), small(Case(method)), CPU, part)


ALL = ["--micro-batch 4", "more --workers, or as a new run a smaller --batch", "--fast bf16"]
ALL += ["--checkpoint-activations", "a smaller --image-size, as a new run"]


@pytest.mark.parametrize(
    ("given", "helps"),
    [
        (held(), ALL),
        (held(7), ["--micro-batch 3", *ALL[1:]]),
        (held(1), ALL[2:]),
        (held(training__micro_batch=4), ["--micro-batch 2", *ALL[1:]]),
        (held(training__micro_batch=1), ALL[2:]),
        (held(training__batch_norm="global"), ALL[1:]),
        (replace(held(), choice=Choice(Fast.named("bf16"))), [*ALL[:2], *ALL[3:]]),
        (replace(held(), choice=Choice(Fast.named("passes"))), [*ALL[:2], "--fast passes bf16", *ALL[3:]]),
        (replace(held(), choice=Choice(Fast(), {"bf16": "this device has none"})), [*ALL[:2], *ALL[3:]]),
        (
            replace(held(), choice=Choice(Fast.named("bf16", "compile"))),
            [*ALL[:2], "--checkpoint-activations --fast bf16", *ALL[4:]],
        ),
        (held(training__checkpoint_activations=True), [*ALL[:3], *ALL[4:]]),
        (replace(held(), method=Layered(Made())), [*ALL[:3], *ALL[4:]]),
    ],
    ids=[
        "all",
        "odd",
        "one",
        "micro-batch",
        "micro-batch of one",
        "global",
        "bf16",
        "passes",
        "none",
        "compiled",
        "on",
        "no blocks",
    ],
)
def test_held_helps_are_those_that_apply_and_are_not_on(given: Held, helps: list[str]) -> None:
    assert given.helps("an update") == helps


def test_held_advises_no_micro_batch_for_an_objective_of_the_whole_batch() -> None:
    method = small(Case("pix2pix"))
    method.couples = True  # type: ignore[misc]
    assert replace(held(), method=method).helps("an update") == ALL[1:]


def test_held_names_size_part_bytes_and_memory() -> None:
    with pytest.raises(ResourceError) as raised, held().during("an update", Stage(size=(48, 64), frames=1)):
        of_torch()
    total = said_bytes(host_memory().total)
    assert str(raised.value) == (
        "memory: found an update of 8 samples of 64x48 px (this worker's of --batch 16), which asked for 1.00 EiB "
        f"more, on a host of {total}; expected what fits.\n  Give {'; or '.join(ALL)}."
    )
    assert memory_of(CPU).total == host_memory().total


def test_held_lets_other_errors_pass() -> None:
    error = RuntimeError("a fault")
    with pytest.raises(RuntimeError) as raised, held().during("an update", Stage(size=64, frames=1)):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            "update",
            r"memory: found an update of 6 samples of 16 px \(this worker's of --batch 6\), which asked for 1.00",
        ),
        ("preview", r"memory: found a grid of 8 samples of 16 px, which .*\n  Give --grid-rows 4; or a smaller"),
        ("translate", r"memory: found an evaluation at 16 px, which asked for 1.00 EiB more, .*\n  Give a smaller"),
    ],
)
def test_loop_says_what_does_not_fit_into_memory(
    where: str, said: str, paired: str, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an update, a grid or an evaluation of a real run."""
    loop = loop_of(config_of("pix2pix", paired, storage, training__images=6, monitoring__grid_every=1_000))
    if where == "translate":  # a grid calls it too
        monkeypatch.setattr(loop.measuring, "draw", lambda: None)
    monkeypatch.setattr(loop.method, where, lambda *args, **kwargs: of_torch())
    with pytest.raises(ResourceError, match=said):
        loop.train()
