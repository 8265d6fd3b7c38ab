"""Hold a run's state: everything it goes on from besides its networks, in parts that a checkpoint keeps by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from torch import nn

from i2i_core.batch import Batch
from i2i_core.checkpoints.norm_batches import (
    NormBatches,
    norm_batches_added,
    norm_batches_of_a_batch,
    norm_batches_of_a_run,
)
from i2i_core.config.run import TrainConfig
from i2i_core.errors import CheckpointError, ConfigError
from i2i_core.evaluation.suite import better
from i2i_core.methods import at_test
from i2i_core.methods.base import Progress
from i2i_core.randomness import seed_from
from i2i_core.runs.folder import name_at
from i2i_core.settings import cut, typed
from i2i_core.sizes import Size, sides
from i2i_core.training.bad_samples import BadSamples
from i2i_core.training.monitoring.monitor import Monitor
from i2i_core.training.step import Step
from i2i_core.training.sync import World

VERSION = 2
"""The version of `state.pt`. Version 1 had no parts, and came with an order of samples that is no longer made."""
UNREADABLE = (ConfigError, TypeError, ValueError, LookupError, AttributeError, RuntimeError)
"""Errors that parts raise where a state holds something else than they wrote."""


class StatePart(Protocol):
    """Save and load one part of a run's state.

    All ranks call `state_dict` together, and rank 0's is kept. Every rank loads from it, whatever the world size was.
    """

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any) -> None: ...


class Position(Progress):
    """Count how far a run is: images, moves, and the stage of the last update, saved in a run of several stages."""

    def state_dict(self) -> dict[str, Any]:
        return {"images": self.images, "moves": dict(self.moves)} | ({"stage": self.stage} if self.stage else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        moves = typed(dict[str, int], state["moves"], "moves")
        self.images, self.moves = typed(int, state["images"], "images"), moves
        self.stage = typed(int, state.get("stage", 0), "stage")


class Histories:
    """Save and load the method's histories of made images, for every slot of the batch."""

    def __init__(self, step: Step, slots: tuple[int, int]) -> None:
        self.step, self.slots = step, slots

    def state_dict(self) -> dict[str, list[Any]]:
        return self.step.pools()

    def load_state_dict(self, state: dict[str, list[Any]]) -> None:
        self.step.load_pools(state, self.slots)


class Evaluations:
    """Keep every evaluation so far.

    Attributes:
        entries: in order, each with `images` and `metrics`.
        metrics: those of the last, which a checkpoint keeps in a file of its own.
    """

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.metrics: dict[str, float] = {}

    def add(self, images: int, metrics: dict[str, float]) -> None:
        """Add an evaluation after so many images; one that is made again takes the place of the earlier."""
        self.metrics = metrics
        before = [entry for entry in self.entries if entry["images"] < images]
        self.entries = [*before, {"images": images, "metrics": metrics}]

    def state_dict(self) -> list[dict[str, Any]]:
        return self.entries

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        self.entries = [typed(dict[str, Any], entry, "evaluations") for entry in typed(list[Any], state, "evaluations")]


class Best:
    """Keep which checkpoint is the best, and judge new ones.

    Attributes:
        found: `metric`, `value` and `checkpoint`; None before the first.
    """

    def __init__(self) -> None:
        self.found: dict[str, Any] | None = None

    def judge(self, metric: str, value: float, images: int, size: Size | None = None) -> bool:
        """Return whether a value is better than the best so far, or of another metric or size, and keep it if so.

        Args:
            size: the images' size, where it changes in the course of the run.
        """
        found, of = self.found, {} if size is None else {"size": list(sides(size))}
        alike = found is not None and (found["metric"], found.get("size")) == (metric, of.get("size"))
        if found is not None and alike and not better(metric, value, found["value"]):
            return False
        self.found = {"metric": metric, "value": value, "checkpoint": name_at(images), **of}
        return True

    def state_dict(self) -> dict[str, Any] | None:
        return self.found

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        self.found = typed(dict[str, Any] | None, state, "best")


class Seen:
    """Keep an order-independent checksum of the (position, sample) pairs that the run has consumed.

    The checksum adds up one number for each pair, so it does not depend on which rank had which sample.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.before = 0
        """The checksum of all ranks, up to the checkpoint that this start of the run resumed from."""
        self.since = 0
        """This rank's part of the checksum since then."""
        self.coming: dict[int, int] = {}
        """Numbers that batches read ahead will add, by the images before each batch."""

    def announce(self, batch: Batch) -> None:
        """Compute what a batch will add. The thread that reads ahead calls this."""
        places = enumerate(batch.keys, batch.images + batch.start)
        self.coming[batch.images] = sum(seed_from(place, key) for place, key in places)

    def add(self, batch: Batch) -> None:
        """Add an announced batch."""
        self.since += self.coming.pop(batch.images)

    def state_dict(self) -> int:
        return (self.before + sum(self.world.gather(self.since))) % 2**63

    def load_state_dict(self, state: int) -> None:
        self.before = typed(int, state, "seen")


class Normalised:
    """Count the run's images by the size of the batch that batch norm normalised them in.

    Args:
        config: the run's configuration.
        workers: the world size of this start of the run.
        progress: how far the run is.
        makers: the networks that make images.
    """

    def __init__(self, config: TrainConfig, workers: int, progress: Position, makers: Iterable[nn.Module]) -> None:
        self.config, self.workers, self.progress = config, workers, progress
        self.kept = at_test.has_batch_norm(makers)
        """Whether the networks have batch norm, which alone needs the count."""
        self.before: NormBatches = {}
        self.began = 0

    @property
    def so_far(self) -> NormBatches:
        """The counts up to now."""
        since = norm_batches_of_a_run(self.config, self.progress.images - self.began, self.workers)
        return norm_batches_added(self.before, since)

    @property
    def expected(self) -> NormBatches:
        """The counts up to now; before the first update, those of the first batch."""
        return self.so_far if self.progress.images else norm_batches_of_a_batch(self.config, self.workers)

    def state_dict(self) -> NormBatches:
        return self.so_far if self.kept else {}

    def load_state_dict(self, state: NormBatches) -> None:
        self.before, self.began = dict(state), self.progress.images


class Due:
    """Keep the number of images up to which every periodic action was run."""

    def __init__(self) -> None:
        self.done = 0

    def state_dict(self) -> int:
        return self.done

    def load_state_dict(self, state: int) -> None:
        self.done = typed(int, state, "due")


class RunState:
    """Hold everything that a checkpoint keeps besides the networks. Each attribute is a part, saved under its name.

    Args:
        config: the run's configuration.
        step: moves the run's networks.
        slots: this rank's slots of the batch.
        monitor: holds the log that is on its way, and the diagnosis.
    """

    def __init__(self, config: TrainConfig, step: Step, slots: tuple[int, int], monitor: Monitor) -> None:
        self.optimisers = step
        self.histories = Histories(step, slots)
        self.progress = Position()
        self.best = Best()
        self.evaluations = Evaluations()
        self.bad_samples = BadSamples(step.world, step.device, config.data.most_bad)
        self.diagnosis = monitor.diagnosis
        self.seen = Seen(step.world)
        self.norm_batches = Normalised(config, step.world.size, self.progress, step.method.makers)
        self.due = Due()
        self.log = monitor

    @property
    def parts(self) -> dict[str, StatePart]:
        """Every part, by name."""
        return vars(self)

    def state_dict(self) -> dict[str, Any]:
        """Collect every part's state. All workers call this together; rank 0's is whole."""
        return {"version": VERSION, **{name: part.state_dict() for name, part in self.parts.items()}}

    def load_state_dict(self, state: Mapping[str, Any], where: str) -> None:
        """Load every part.

        Args:
            state: as `state_dict` gave it.
            where: the file that it comes from.

        Raises:
            CheckpointError: a part is missing or damaged, or a later program wrote the state.
        """
        fix = "Use another checkpoint of the run."
        if state.get("version") != VERSION:
            found = f"a state of version {state.get('version')}"
            raise CheckpointError(where, found, f"one of version {VERSION}, which this program reads", fix)
        missing = [name for name in self.parts if name not in state]
        if missing:
            found = f"a state without {', '.join(missing)}"
            raise CheckpointError(where, found, f"all parts of a run's state: {', '.join(self.parts)}", fix)
        for name, part in self.parts.items():
            try:
                part.load_state_dict(state[name])
            except UNREADABLE as error:
                found = f"a part {name} that cannot be read ({type(error).__name__}: {cut(str(error))})"
                raise CheckpointError(where, found, "the state of this run, as it was written", fix) from error
