"""Find the largest batch of which an update fits into memory (`--batch auto`).

On a GPU by trying updates, on a CPU by what autograd keeps in two small ones.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.run import TrainConfig
from i2i_core.config.stages import Stage
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.stream import open_sets
from i2i_core.errors import ResourceError
from i2i_core.methods import build_from
from i2i_core.methods.base import Method, Progress
from i2i_core.sizes import said_bytes
from i2i_core.training.fast import choose
from i2i_core.training.graphs import EAGER
from i2i_core.training.memory import Held, is_out_of_memory, memory_of
from i2i_core.training.staged import stages_of, stream_of
from i2i_core.training.step import Step
from i2i_core.training.sync import World

MOST = 256
"""The most samples of one worker: larger batches need other learning rates than any preset has."""
SHARE_OF_GPU = 0.9
"""The share of a GPU that updates may take: the rest is for sums over ranks, grids, and fragmentation."""
SHARE_OF_HOST = 0.4
"""The share of a host's free memory that autograd may keep: in an update processes grew by 1.4 to 2.0 times what
autograd kept, by workspaces of convolutions and gradients of activations."""
COPIES = 5
"""Copies of every parameter: itself, its gradient, two moments of Adam, its moving average."""


def largest(fits: Callable[[int], bool], most: int) -> int:
    """Find the largest n up to `most` that fits, by doubling and then bisecting; 0 where 1 does not fit.

    Args:
        fits: returns whether n fits. Everything smaller than an n that fits must fit too.
        most: the largest n that is tried.
    """
    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


class Kept:
    """Count the bytes that autograd keeps while a function runs, each storage once, without parameters.

    Attributes:
        most: the most bytes that were kept at a time.
    """

    def __init__(self) -> None:
        self.now = self.most = 0
        self.storages: dict[int, int] = {}
        """The number of kept tensors in each storage, by its address."""

    def of(self, run: Callable[[], None]) -> int:
        """Return the most bytes that autograd kept at a time while `run` ran."""
        with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda one: one.tensor):
            run()
        return self.most

    def _pack(self, x: Tensor) -> _One:
        one = _One(x)
        if not isinstance(x, nn.Parameter):
            place, size = x.untyped_storage().data_ptr(), x.untyped_storage().nbytes()
            self._add(place, size, 1)
            weakref.finalize(one, self._add, place, size, -1)
        return one

    def _add(self, place: int, size: int, many: int) -> None:
        before = self.storages.get(place, 0)
        self.storages[place] = before + many
        self.now += size * ((before + many > 0) - (before > 0))
        self.most = max(self.most, self.now)


class _One:
    """Hold a tensor as long as autograd keeps it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Trial:
    """Make updates of a prepared run on made-up batches: copies of its first sample.

    Args:
        config: the run's configuration, with one sample a worker for its batch.
        device: where the networks go.
        workers: the world size.
        number: the number of the stage that the updates belong to.
    """

    def __init__(self, config: TrainConfig, device: torch.device, workers: int, number: int = 0) -> None:
        self.config, self.device, self.workers, self.number = config, device, workers, number
        sets: Sequence[DataSet] = open_sets(config.data)
        method, training = self.build(), config.training
        again = training.checkpoint_activations
        self.fast = choose(training.fast, method.networks, device, workers, again).fast
        needs = method.needs
        config = config.with_section("training", batch=1)
        self.stream = stream_of(config, sets, needs)
        self.stages = stages_of(config.training, self.stream)
        self.begin = self.stages.begins[number]
        self.sample = next(self.stream.batches(self.begin, (0, 1), loaders=0))

    @property
    def stage(self) -> Stage:
        """The stage that the updates belong to."""
        return self.stages[self.number]

    def build(self) -> Method[Any]:
        """Build the method anew, on the device."""
        method = build_from(self.config.method, self.config.hyper, seed=self.config.training.seed).to(self.device)
        method.attach()
        return method

    def update(self, n: int, times: int = 1) -> None:
        """Make the first updates with n samples of each worker."""
        training = replace(self.config.training, batch=n * self.workers)
        step = Step(self.build(), training, World(), lambda images: 1.0, self.stages, self.fast)
        progress = Progress(self.begin)
        for _ in range(times):
            progress.images = self.begin
            step(map(step.place, self._batches(n)), progress)
        step.watch.settle()

    def _batches(self, n: int) -> Iterator[Batch]:
        one, size = self.sample, n * self.workers
        for number in count():
            yield replace(
                one,
                fields={name: x.repeat(n, *[1] * (x.dim() - 1)) for name, x in one.fields.items()},
                whole={name: x.repeat(size, *[1] * (x.dim() - 1)) for name, x in one.whole.items()},
                texts={name: values * n for name, values in one.texts.items()},
                boxes={name: values * n for name, values in one.boxes.items()},
                keys=one.keys * n,
                size=size,
                start=0,
                stop=n,
                images=self.begin + number * size,
            )


def fits_on_gpu(trial: Trial, n: int) -> bool:
    """Return whether updates of n samples fit into the GPU's memory.

    The second update has the optimisers' moments. With CUDA graphs enough updates follow for one to be recorded, and
    for an eager one after it.
    """
    try:
        trial.update(n, times=EAGER + 2 if trial.fast.graphs else 2)
        torch.cuda.synchronize(trial.device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        gc.collect()
        torch.cuda.empty_cache()
    return True


def bytes_of_updates(trial: Trial) -> Callable[[int], int]:
    """Measure two small updates, and return an estimate of the bytes that one with n samples keeps, with parameters.

    With micro-batches, of one and of two of them.
    """
    few, given = trial.config.training.micro_batch or 1, bool(trial.config.training.micro_batch)
    try:
        small = Kept().of(lambda: trial.update(few))
    except ValueError:  # batch norm of one value a sample takes two samples at least
        if given:
            raise
        few = 2
        small = Kept().of(lambda: trial.update(few))
    large = Kept().of(lambda: trial.update(2 * few))
    each = max(1, large - small) / few
    parameters = sum(p.numel() * p.element_size() for p in trial.build().networks.parameters())
    return lambda n: int(small + (n - few) * each + COPIES * parameters)


def fitting(config: TrainConfig, device: torch.device, workers: int, on_node: int, most: int = MOST) -> int:
    """Find how many samples of one worker fit in every stage of the run, at most `most`.

    Args:
        config: the prepared configuration, with any batch.
        device: this worker's device.
        workers: the world size.
        on_node: workers that share this host's memory.
        most: the largest number that is tried.

    Raises:
        ResourceError: not even one sample fits.
    """
    first = Trial(config, device, workers)
    for number in range(len(first.stages)):
        trial = Trial(config, device, workers, number) if number else first
        most = _of_stage(trial, on_node, most)
    return most


def _of_stage(trial: Trial, on_node: int, most: int) -> int:
    memory = memory_of(trial.device)
    if trial.device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(SHARE_OF_GPU)
        found = largest(lambda n: fits_on_gpu(trial, n), most)
        torch.cuda.set_per_process_memory_fraction(1.0)
    else:
        needed, room = bytes_of_updates(trial), SHARE_OF_HOST * memory.free / on_node
        found = largest(lambda n: needed(n) <= room, most)
    if not found:
        held = Held(trial.config, trial.build(), trial.device, 1)
        found_one = f"auto, and an update of one sample does not fit into {said_bytes(memory.free)}"
        raise ResourceError("--batch", found_one, "room for one", f"Give {'; or '.join(held.helps('an update'))}.")
    return found
