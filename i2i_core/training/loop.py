"""Repeat the step until the run is long enough; log, draw grids, evaluate and save in between.

Progress is counted in images. Nothing here knows a method's name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from i2i_core.batch import Batch
from i2i_core.checkpoints.writer import Writer
from i2i_core.config.run import TrainConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.ahead import Ahead
from i2i_core.data.reading.lanes import slots_of
from i2i_core.data.reading.stream import open_sets
from i2i_core.errors import DataError, RunError, Stopped, TakenOverError, counted
from i2i_core.methods import at_test, build_from
from i2i_core.methods.base import Method
from i2i_core.runs.folder import RunFolder
from i2i_core.sizes import written
from i2i_core.training.fast import agreed, choose
from i2i_core.training.keeping import Keeper
from i2i_core.training.measuring import Evaluator
from i2i_core.training.memory import Held
from i2i_core.training.monitoring.monitor import Monitor
from i2i_core.training.monitoring.trackers import ShowScalars
from i2i_core.training.node import Node
from i2i_core.training.staged import stages_of, stream_of
from i2i_core.training.state import Position, RunState
from i2i_core.training.step import Step, Wish
from i2i_core.training.sync import World
from i2i_core.training.timing import Spent, device_name, shares, spent_line
from i2i_core.training.together import by_leader

Through = Callable[[Iterator[Batch]], Iterator[Batch]]
PAUSES = ("grid", "evaluation", "checkpoint")
"""Parts of a run's time in which training stands still."""


class Loop:
    """Train one rank's part of a run: `Loop(config, world, device).train()`.

    Args:
        config: the run's configuration, prepared (`preparing.prepare`).
        world: this rank among its peers.
        device: where the networks are.
        ours: tells whether the run still belongs to this launch; called before every checkpoint.
        measured: takes every scalar that is logged; called by a thread of rank 0 alone.
        node: the CPUs and GPUs that this worker shares; None for what this process may use.
        run: the run's folder; None for that of the configuration.
        spent: adds up where the time goes; None to begin now.

    Raises:
        CheckpointError, DataError: a checkpoint or the data cannot be used.
        ConfigError: a file of a frozen network cannot be used.
    """

    def __init__(
        self,
        config: TrainConfig,
        world: World,
        device: torch.device,
        ours: Callable[[], bool] = lambda: True,
        measured: ShowScalars = lambda values: None,
        node: Node | None = None,
        run: RunFolder | None = None,
        spent: Spent | None = None,
    ) -> None:
        self.spent = spent or Spent()
        self.config = config
        self.run = (run or RunFolder.of(config)).guarded(partial(_check_ours, config, ours))
        sets, training = open_sets(config.data), config.training
        _check_data(config, sets)
        method = build_from(config.method, config.hyper, seed=training.seed).to(device)
        method.attach()
        self.stream = stream_of(config, sets, method.needs)
        self.stages = stages_of(training, self.stream)
        slots = slots_of(self.stream.batch, world.rank, world.size)
        loaders = (node or Node.of_process()).loaders(config.data.loaders, device.type == "cuda")
        self.read = partial(self.stream.batches, slots=slots, loaders=loaders)
        again = training.checkpoint_activations
        choice = agreed(choose(training.fast, method.networks, device, world.size, again), world)
        self.step = Step(
            method, training, world, lambda images: self.stages.lr(images, method.stage), self.stages, choice.fast
        )
        self.monitor = Monitor(config, self.step, self.run, measured)
        self.state = RunState(config, self.step, slots, self.monitor)
        writer = Writer(self.run, config.monitoring.keep_last, ours, partial(self.ask, "stop"))
        self.keeper = Keeper(config, self.run, self.step, self.state, self.monitor, writer)
        self.keeper.begin()
        self.step.set_up(self.progress)
        self.measuring = Evaluator(config, sets, self.step, self.state, self.monitor, self.run, self.stages)
        self.held = Held(config, method, device, slots[1] - slots[0], choice)

    @property
    def world(self) -> World:
        """This rank among its peers."""
        return self.step.world

    @property
    def method(self) -> Method[Any]:
        """The method that the run trains."""
        return self.step.method

    @property
    def progress(self) -> Position:
        """The run's position: images, moves, stage."""
        return self.state.progress

    @property
    def length(self) -> int:
        """The run's length in images."""
        return self.stages.length

    def ask(self, what: Wish) -> None:
        """Have all ranks save, or save and stop, after the same update: the next or the one after it.

        Any rank may call this at any time, from any thread or signal handler.
        """
        self.step.ask(what)

    def train(self, through: Through = iter) -> dict[str, float]:
        """Train to the end of the run, and return the last evaluation's metrics.

        Args:
            through: an iterator that batches pass through on their way to the step.

        Raises:
            NonFiniteError: a move was not finite.
            ResourceError: an update, a grid or an evaluation does not fit into memory; on this rank alone.
            Stopped: somebody asked the run to stop; on every rank.
            RunError: too many unusable samples, no room for the last checkpoint, storage that takes none any more, or,
                with `--stop-on-collapse`, a run that diverges; on every rank.
        """
        by_leader(self.world, self.run, self.run.keep)
        ahead = Ahead(self.read(self.progress.images // self.stream.batch), self._ready)
        self.monitor.begin(self.progress.images, self.measuring.chosen_by)
        self.monitor.tell(_introduced(self))
        self.monitor.tell(self.held.choice.said())
        if made_by := at_test.words(self.method.makers, self.measuring.at_test):
            self.monitor.tell(f"grids and evaluations: {made_by}")
        for number in range(len(self.config.training.stages)):
            self.monitor.tell(self.stages.said(number, self.method))
        self.keeper.name_best()
        finished = False
        try:
            self.spent.begin(self.progress.images)
            self._repeat(self._counted(through(ahead)))
            finished = True
        finally:
            ahead.close()
            self.keeper.close()
            self.monitor.close(finished)
        return self.state.evaluations.metrics

    def _ready(self, batch: Batch) -> Batch:
        """Bring a batch to the device. The thread that reads ahead calls this."""
        self.state.seen.announce(batch)
        return self.step.place(batch)

    def _counted(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Pass batches on, and note how long the step waited for each and which samples were replaced."""
        while True:
            start = time.monotonic()
            with self.spent.on("data"):
                batch = next(batches)
            waited = time.monotonic() - start
            self.monitor.since.waited += waited
            self.step.stopwatch.waited += waited
            self.state.seen.add(batch)
            self.state.bad_samples.note(batch)
            yield batch

    def _repeat(self, batches: Iterator[Batch]) -> None:
        if self.progress.images == 0:
            self._draw()
        while self.progress.images < self.length:
            self._do_what_is_due()
            if self.step.enter(self.progress):
                self.monitor.tell(f"{self.progress.images:,} images: {self._said()}")
            began = self.progress.images
            with self.spent.on(Spent.STEP), self.held.during("an update", self.measuring.stage):
                self.step(batches, self.progress)
            self.monitor.pace.per_update = self.progress.images - began
            if self.step.asked:
                self._save()
            if self.step.asked == "stop":
                self._settle()
                raise Stopped(
                    f"stopped after {self.progress.images:,} of {self.length:,} images, as asked. "
                    "Everything is saved: the same command goes on from there."
                )
        self._finish()

    def _said(self) -> str:
        return self.stages.said(self.progress.stage, self.method)

    @property
    def _periodic(self) -> Sequence[tuple[int, Callable[[], None]]]:
        """The periodic actions in order, each with its interval in images (0: never). All but the last run at the end,
        too."""
        out = self.config.monitoring
        return (
            (out.log_every, self._log),
            (out.grid_every, self._draw),
            (out.evaluate_every, self._evaluate),
            (out.checkpoint_every, self._save),
            (out.log_every if out.stop_on_collapse else 0, self._give_up_if_collapsed),
        )

    def _do_what_is_due(self) -> None:
        """Run every periodic action whose interval elapsed since the last call, including those an earlier stop
        skipped."""
        before, now = self.state.due.done, self.progress.images
        self.state.due.done = now
        for every, act in self._periodic:
            if every and now // every > before // every:
                act()

    def _finish(self) -> None:
        if self.state.due.done < self.progress.images:
            self.state.due.done = self.progress.images
            self.keeper.forget()  # a checkpoint that was asked for by now lacks what follows
        (_, log), *others = self._periodic[:-1]
        log()
        self.monitor.tell_in_turn(f"{self.progress.images:,} images are trained on; {self._left_to_do()}")
        for _, act in others:
            act()
        with self.spent.on("evaluation"):
            self.measuring.draw_samples()
        self._settle()
        if bad := self.state.bad_samples.known:
            causes = self.state.bad_samples.causes()
            self.monitor.tell(f"{len(bad)} samples could not be used, and others took their places: {causes}")

    def _left_to_do(self) -> str:
        """Name what comes after the last update."""
        parts = ["a grid"] if self.config.monitoring.grid_every else []
        parts += ["an evaluation"] if self.measuring.suites else []
        return f"to come: {', '.join([*parts, 'the last checkpoint'])}"

    def _log(self) -> None:
        """Log terms, speed and waiting since the last log, and agree on the samples that cannot be used."""
        with self.spent.on("log"):
            speed = self.monitor.send(self.progress.images, self.spent.of(*PAUSES))
            self.state.bad_samples.agree()
            self.monitor.show(speed, self.progress.images, self.length)

    def _draw(self) -> None:
        if self.config.monitoring.grid_every:
            with self.spent.on("grid"), self.held.during("a grid", self.measuring.stage):
                self.measuring.draw()

    def _evaluate(self) -> None:
        """Evaluate, and save at once where the run is better than before."""
        with self.spent.on("evaluation"), self.held.during("an evaluation", self.measuring.stage):
            is_best = self.measuring.evaluate()
        if is_best:
            self._save()

    def _save(self) -> None:
        with self.spent.on("checkpoint"):
            self.keeper.save()

    def _settle(self) -> None:
        """Wait for the last checkpoint, and log where the time of this start of the run went, if it trained."""
        with self.spent.on("checkpoint"):
            self.keeper.settle()
        if self.progress.images == self.spent.from_images:
            return
        seconds = self.spent.by_part(self.step.stopwatch.worked())
        report = {
            "seconds": seconds,
            "share": shares(seconds),
            "images": self.progress.images - self.spent.from_images,
            "from_images": self.spent.from_images,
            "workers": self.world.size,
            "fast": self.step.fast.names,
            "device": device_name(self.step.device),
        }
        self.monitor.tell(spent_line(report))
        self.monitor.later(lambda: self.run.write_json(RunFolder.SPEED, report))

    def _give_up_if_collapsed(self) -> None:
        """Save and end a run that diverges, on every rank after the same update."""
        if not (collapse := self.monitor.diagnosis.collapse):
            return
        self._save()
        self._settle()
        raise RunError(
            f"stopped after {self.progress.images:,} of {self.length:,} images, as --stop-on-collapse asks: "
            f"{collapse}.\n  Everything is saved: the same command without it goes on from there."
        )


def _introduced(loop: Loop) -> str:
    """Describe the run in a line, and how far it is."""
    stream, sets, frames = loop.stream, loop.measuring.sets, loop.measuring.stage.frames
    what = "images" if frames == 1 else f"sequences of {frames} frames"
    at = written(loop.measuring.stage.size)
    workers = counted(loop.world.size, "worker")
    return (
        f"{loop.config.method}: {loop.progress.images:,} of {loop.length:,} {what}, "
        f"{stream.images_per_epoch:,} an epoch in whole batches of {stream.batch} over {workers}, at {at} pixels, "
        + "; and ".join(data.manifest.describe() for data in sets)
    )


def _check_ours(config: TrainConfig, ours: Callable[[], bool]) -> None:
    if not ours():
        url = RunFolder.of(config).url
        raise TakenOverError(f"{url}: another launch of this run has taken it over; this one ends")


def _check_data(config: TrainConfig, sets: Sequence[DataSet]) -> None:
    """Refuse data that is not what the run was launched with."""
    if config.data.fingerprint != (found := "+".join(data.manifest.fingerprint for data in sets)):
        where, fix = " ".join(config.data.uris), "Put the data set back that the run began with."
        raise DataError(where, f"fingerprint {found}: other data", f"{config.data.fingerprint}, as at launch", fix)
