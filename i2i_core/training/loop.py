"""Repeats the step until the run is long enough; logs, draws, evaluates and saves in between.

Progress is counted in images. Nothing here knows a method's name.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from i2i_core.batch import Batch
from i2i_core.checkpoints import checkpoint, starting
from i2i_core.checkpoints.checkpoint import Snapshot, name_at, named_tensors
from i2i_core.checkpoints.norm_batches import (
    NormBatches,
    norm_batches_added,
    norm_batches_of_a_batch,
    norm_batches_of_a_run,
)
from i2i_core.checkpoints.writer import Writer
from i2i_core.config.run import TrainConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.ahead import Ahead
from i2i_core.data.reading.order import slots_of
from i2i_core.data.reading.stream import Alternating, in_order, open_sets
from i2i_core.errors import ConfigError, DataError, RunError, Stopped, TakenOverError, WorkerError, nearest
from i2i_core.evaluation.families.attributes import over_sets
from i2i_core.evaluation.report import described, warnings
from i2i_core.evaluation.samples import Asked
from i2i_core.evaluation.suite import DEFAULT_METRIC, Suite, better
from i2i_core.methods import at_test, build_from
from i2i_core.methods.base import Method, Progress
from i2i_core.randomness import seed_from
from i2i_core.storage.folder import Folder, unwritable
from i2i_core.tensors import host_copy
from i2i_core.training.monitoring import boards
from i2i_core.training.monitoring.diagnosis import Diagnosis
from i2i_core.training.monitoring.readings import WAIT, Sent, send, spread_of
from i2i_core.training.monitoring.trackers import Measured, Tracker, progress_line
from i2i_core.training.node import Node
from i2i_core.training.schedule import lr_factor
from i2i_core.training.step import Step, Wish
from i2i_core.training.sync import World

MOST_NAMED = 20
EVALUATIONS = "evaluations.json"
"""In a run's folder: every evaluation so far, a list of {images, metrics}."""
LAST_EVALUATION = "last_evaluation.json"
"""The last one in full, by data set: each metric's definition, and what it was measured with."""


class Loop:
    """One worker's side of a run.

    Args:
        config: the run, validated, with what the data knows filled in.
        world: this worker among its peers.
        device: where the networks live.
        say: prints a line; called by rank 0 only.
        ours: whether the run is still this launch's to write; asked before every checkpoint.
        measured: given every scalar that is logged, by a thread; called by rank 0 only.
        node: where this worker is; None: what this process may use.

    Raises:
        CheckpointError, DataError: a checkpoint or the data cannot be used.
    """

    def __init__(
        self,
        config: TrainConfig,
        world: World,
        device: torch.device,
        say: Callable[[str], None] = print,
        ours: Callable[[], bool] = lambda: True,
        measured: Measured = lambda values: None,
        node: Node | None = None,
    ) -> None:
        self.config, self.world, self.say, self.ours, self.measured = config, world, say, ours, measured
        self.run = Folder(f"{config.launch.storage}/{config.run_name}").guarded(self._check_ours)
        self.sets = open_sets(config.data)
        if config.data.fingerprint != (found := "+".join(data.manifest.fingerprint for data in self.sets)):
            where, fix = " ".join(config.data.uris), "Put the data set back that the run began with."
            raise DataError(where, f"fingerprint {found}: other data", f"{config.data.fingerprint}, as at launch", fix)
        training = config.training
        self.loaders = (node or Node.of_process()).loaders(config.data.loaders, device.type == "cuda")
        self.stream = Alternating(self.sets, config.data, config.image_size, training.batch, training.seed)
        self.slots = slots_of(self.stream.batch, self.stream.lanes, self.world.rank, self.world.size)
        self.per_epoch = self.stream.images_per_epoch
        self.length = training.length(self.per_epoch)
        self.method = build_from(config.method, config.hyper, seed=training.seed).to(device)
        self.step = Step(self.method, training, world, lambda images: lr_factor(training, images, self.per_epoch))
        self.progress = Progress()
        self.diagnosis = Diagnosis(self.method)
        self.sent: Sent | None = None
        """The last log, which no one has looked at yet."""
        self.spread: torch.Tensor | None = None
        """Rank 0's, of what was made since the last log."""
        self.metrics: dict[str, float] = {}
        self.evaluations: list[dict[str, Any]] = []
        """Every evaluation so far, in order: `images` and `metrics`."""
        self.warned: set[str] = set()
        """What was said of metrics."""
        self.best: dict[str, Any] | None = None
        self.bad: dict[str, list[str]] = {}
        """Every sample that could not be used, with the cause and the sample that took its place; all workers'."""
        self.new_bad: dict[str, tuple[int, str, str]] = {}
        """Those that this worker met since workers last told each other: images served before, and the same."""
        self.seen = 0
        """Sum of a number for every (place in the run, sample) that was trained on, this worker's since it began."""
        self.seen_before = 0
        """All workers', up to the checkpoint that it began from."""
        self.numbers: dict[int, int] = {}
        """What batches that are under way will add to `seen`, by the images before them."""
        self.done = 0
        """Images up to which everything that was due has been done."""
        self.written: tuple[int, dict[str, Any] | None] = (-1, None)
        self.norm_batches_before: NormBatches = {}
        """How many images shared a normalisation, up to the checkpoint that it began from."""
        self._start()
        self.began = self.progress.images
        self.eval_split = evaluation_split(config, self.sets)
        self.suites = suites(config, self.sets, self.method, device)

    def _check_ours(self) -> None:
        if not self.ours():
            raise TakenOverError(f"{self.run.url}: another launch of this run has taken it over; this one ends")

    def _by_leader(self, call: Callable[[], Any]) -> Any:
        """What rank 0 finds in the run's folder, or makes there. Raises RunError on every worker alike when its storage
        is out of order."""
        found, failed = None, None
        if self.world.leads:
            try:
                found = call()
            except RunError as error:
                failed = error
            except OSError as error:
                failed = unwritable(self.run, error)
        return self._alike(found, failed)

    def _alike(self, found: Any, failed: RunError | None) -> Any:
        """Rank 0's on every worker; what failed is raised."""
        found, failed = self.world.from_leader((found, failed))
        if failed:
            if isinstance(failed, WorkerError):
                failed.together = True
            raise failed
        return found

    def _last(self) -> str | None:
        """The name of the checkpoint that the run goes on from; rank 0 removes what is later."""
        name = checkpoint.latest(self.run, self.say)
        if name:
            checkpoint.discard_after(self.run, checkpoint.images_of(name), self._check_ours)
        return name

    def _start(self) -> None:
        """From the latest whole checkpoint of the run, if there is one; else from `--init-from`; else anew."""
        name = self._by_leader(self._last)
        if name is None:
            training = self.config.training
            if training.init_from:
                start = starting.read(training.init_from, training.init_parts, self.config.method, self.method)
                self._tell(start.fill(self.method, self.step.ema))
            return
        folder = self.run.sub(f"{checkpoint.CHECKPOINTS}/{name}")
        saved = checkpoint.load_networks(folder, self.method, self.step.ema)
        state = checkpoint.load_state(folder)
        self.norm_batches_before = checkpoint.norm_batches_in(folder, self.method, saved, state["images"])
        self.step.load_state_dict(state["optimisers"])
        self.step.load_pools(state.get("pools", {}), self.slots)
        self.progress = Progress(state["images"], dict(state["moves"]))
        self.seen_before = state.get("seen", 0)
        self.done = state.get("done", self.progress.images)
        if "diagnosis" in state:
            self.diagnosis.load_state_dict(state["diagnosis"])
        if log := state.get("log"):
            self.step.load_unread(log)
            self.spread = log["spread"] if log["spread"] is None else log["spread"].to(self.step.device)
        self.bad = {key: [cause, instead] for key, cause, instead in state.get("bad", [])}
        self.evaluations = state.get("evaluations", [])
        self.metrics, self.best = folder.read_json("metrics.json"), state.get("best")
        self.written = (self.progress.images, self.best)
        self._tell(f"resumed from {folder.url}")

    def ask(self, what: Wish) -> None:
        """Has all workers save, or save and stop, after the same update: the next or the one after it.

        Any worker may be asked, at any time, from any thread or signal handler.
        """
        self.step.ask(what)

    @property
    def norm_batches(self) -> NormBatches:
        """How many images of the run shared a normalisation."""
        images = self.progress.images - self.began
        since = norm_batches_of_a_run(self.config, images, self.world.size)
        return norm_batches_added(self.norm_batches_before, since)

    def _at_test(self) -> at_test.AtTest:
        """How grids and evaluations are made: as asked, else by how the run has trained so far, or begins to."""
        method, together = self.method, self.norm_batches
        if not self.progress.images:
            together = norm_batches_of_a_batch(self.config, self.world.size)
        return at_test.chosen(method.makers, method.dropout_is_noise, together, self.config.at_test)

    def _tell(self, line: str) -> None:
        if self.world.leads:
            self.say(line)

    def train(self) -> dict[str, float]:
        """Runs to the end of the run; gives the last metrics.

        Raises:
            NonFiniteError: a move was not finite.
            Stopped: it was asked to; on every worker alike.
            RunError: too many unusable samples, no room for the last checkpoint, storage that takes none any more, or,
                where that is asked for, a run that diverges; on every worker alike.
        """
        self._by_leader(lambda: self.run.keep())
        first = self.progress.images // self.stream.batch
        batches = Ahead(self.stream.batches(first, self.slots, self.loaders), self._number)
        self.tracker = self._tracker() if self.world.leads else None
        self.writer = Writer(self.run, self.config.monitoring.keep_last, self.say, self.ours, lambda: self.ask("stop"))
        self.logged = (time.monotonic(), self.progress.images)
        self.waited = 0.0
        self._tell(
            f"{self.config.method}: {self.progress.images:,} of {self.length:,} images, {self.per_epoch:,} an epoch, "
            f"batch {self.stream.batch} over {self.world.size} workers, "
            + "; and ".join(data.manifest.describe() for data in self.sets)
        )
        if made_by := at_test.words(self.method.makers, self._at_test()):
            self._tell(f"grids and evaluations: {made_by}")
        if self.tracker and self.best:  # a crash may have come between a checkpoint and its being called the best
            self.writer.put(None, self.best)
        finished = False
        try:
            self._repeat(self._timed(batches))
            finished = True
        finally:
            batches.close()
            self.writer.close()
            if self.tracker:
                self.tracker.close(finished)
        return self.metrics

    def _tracker(self) -> Tracker:
        names = self.config.monitoring.tracker
        others: dict[str, boards.Board] = {
            name: boards.EXTERNAL[name](self.run, self.config) for name in names if name in boards.EXTERNAL
        }
        return Tracker(self.run, self.say, "tensorboard" in names, others, self.measured)

    def _number(self, batch: Batch) -> Batch:
        """Placed, and with what it will add to `seen` worked out. In the thread that reads ahead."""
        places = enumerate(batch.keys, batch.images + batch.start)
        self.numbers[batch.images] = sum(seed_from(place, key) for place, key in places)
        return self._place(batch)

    def _place(self, batch: Batch) -> Batch:
        weight = next(self.method.parameters())
        return batch.to(weight.device, weight.dtype)

    def _timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, noting how long each was waited for and which samples were replaced."""
        while True:
            start = time.monotonic()
            batch = next(batches)
            self.waited += time.monotonic() - start
            self.seen += self.numbers.pop(batch.images)
            for bad in batch.bad:
                if bad.key not in self.bad:
                    met = (batch.images, bad.cause, bad.instead)
                    self.new_bad[bad.key] = min(met, self.new_bad.get(bad.key, met))
            yield batch

    def _repeat(self, batches: Iterator[Batch]) -> None:
        if self.progress.images == 0:
            self._draw()
        while self.progress.images < self.length:
            self._do_what_is_due()
            self.step(batches, self.progress)
            if self.step.asked:
                self._save()
            if self.step.asked == "stop":
                self._settle()
                raise Stopped(
                    f"stopped after {self.progress.images:,} of {self.length:,} images, as asked. "
                    "Everything is saved: the same command goes on from there."
                )
        self._finish()

    def _do_what_is_due(self) -> None:
        """What a multiple of some number of images was passed for since it was last looked at; in a resumed run,
        also what there was no time for when it was asked to stop."""
        out, before = self.config.monitoring, self.done
        self.done = self.progress.images
        if logged := self._due(out.log_every, before):
            self._log()
        if self._due(out.grid_every, before):
            self._draw()
        if self._due(out.evaluate_every, before):
            self._evaluate()
        if self._due(out.checkpoint_every, before):
            self._save()
        if logged and out.stop_on_collapse and self.diagnosis.collapse:
            self._give_up()

    def _due(self, every: int, before: int) -> bool:
        """Whether a multiple of `every` images was passed since `before`."""
        return bool(every) and self.progress.images // every > before // every

    def _give_up(self) -> None:
        """Saves, and ends the run on every worker alike."""
        self._save()
        self._settle()
        raise RunError(
            f"stopped after {self.progress.images:,} of {self.length:,} images, as --stop-on-collapse asks: "
            f"{self.diagnosis.collapse}.\n  Everything is saved: the same command without it goes on from there."
        )

    def _finish(self) -> None:
        if self.done < self.progress.images:
            self.done = self.progress.images
            self.written = (-1, None)  # a checkpoint that was asked for by now lacks what follows
        self._log()
        self._draw()
        self._evaluate()
        self._save()
        self._settle()
        if self.bad:
            self._tell(f"{len(self.bad)} samples could not be used, and others took their places: {self._causes()}")

    def _settle(self) -> None:
        """Until the last checkpoint is written. Raises RunError on every worker alike when it cannot be."""
        failed: RunError | None = None
        try:
            self.writer.wait()
        except RunError as error:
            failed = error
        self._alike(None, failed)

    def _log(self) -> None:
        """Terms, speed and waiting since the last time; workers agree on the number of bad samples."""
        self._diagnose()
        (then, images_then), now = self.logged, time.monotonic()
        rate = (self.progress.images - images_then) / max(now - then, 1e-9)
        share, images = self.waited / max(now - then, 1e-9), self.progress.images
        self.logged, self.waited = (now, images), 0.0
        self.sent = sent = send(self.step, self.world, images, share, self.spread)
        self.spread = None
        self._count_bad()
        if self.tracker:
            tracker, length, workers = self.tracker, self.length, self.world.size
            speed = {"speed/images_per_second": rate, "speed/images_per_second_per_worker": rate / workers}
            rates = {f"{player}/lr": lr for player, lr in self.step.learning_rates().items()}

            def write() -> None:
                log = sent.read()
                self.say(progress_line(images, length, rate, log.speed[WAIT], log.terms))
                tracker.scalars(images, log.terms | speed | log.speed | rates)

            tracker.later(write)

    def _diagnose(self) -> None:
        """Looks at the last log, which has arrived by now: no one waits for the device."""
        sent, self.sent = self.sent, None
        if sent is None:
            return
        log = sent.read()
        changes = self.diagnosis.read(log)
        for change in changes:
            self._tell(f"WARNING: the run diverges: {change.text}" if change.began else change.text)
        if self.tracker:
            tracker = self.tracker
            signs = {f"diagnosis/{name}": float(sign.on) for name, sign in self.diagnosis.signs.items()}
            signs |= {} if log.spread is None else {"diagnosis/spread": log.spread}

            def write() -> None:
                tracker.scalars(log.images, signs)
                for change in changes:
                    tracker.text(log.images, f"diagnosis/{change.name}", change.text)

            tracker.later(write)

    def _count_bad(self) -> None:
        """Names the unusable samples that were met for the first time, in an order that all workers share.

        Raises RunError on every worker when there are more than allowed.
        """
        if not self._any_bad():
            return
        found: dict[str, tuple[int, str, str]] = {}
        for theirs in self.world.gather(self.new_bad):
            for key, met in theirs.items():
                found[key] = min(met, found.get(key, met))
        self.new_bad = {}
        for key, (_, cause, instead) in sorted(found.items(), key=lambda item: (item[1][0], item[0])):
            self.bad[key] = [cause, instead]
            self._tell(f"WARNING: sample {key} cannot be used ({cause}); {instead} takes its place")
        most = self.config.data.most_bad
        if len(self.bad) > most:
            named = "\n  ".join(f"{key}: {cause}" for key, (cause, _) in [*self.bad.items()][:MOST_NAMED])
            more = f"\n  and {len(self.bad) - MOST_NAMED} more" if len(self.bad) > MOST_NAMED else ""
            raise RunError(
                f"{len(self.bad)} unusable samples, more than --most-bad {most} ({self._causes()}):\n  {named}{more}\n"
                "Shard the images again with `--bad skip`, or raise --most-bad; then run the same command to go on."
            )

    def _causes(self) -> str:
        """How many samples could not be used, by cause."""
        counts = Counter(kind_of(cause) for cause, _ in self.bad.values())
        return "; ".join(f"{n} x {cause}" for cause, n in counts.most_common())

    def _any_bad(self) -> bool:
        """Whether any worker met an unusable sample since it was last asked."""
        mine = torch.tensor(float(bool(self.new_bad)), device=self.method.device)
        return bool(self.world.sum_(mine).item())

    def _draw(self) -> None:
        if self.tracker and self.config.monitoring.grid_every and (columns := self._made()):
            self.tracker.grid(self.progress.images, columns)

    def _made(self) -> dict[str, torch.Tensor]:
        """What the method makes of some fixed samples, by title; nothing where not one of a set can be read."""
        rows, size, d = self.config.monitoring.grid_rows, self.config.image_size, self.config.data
        samples = [
            next(
                in_order(data, self.eval_split, size, most=rows, size=rows, direction=d.direction, resizing=d.resizing),
                None,
            )
            for data in self.sets
        ]
        if not all(samples):  # the evaluation says so
            return {}
        placed = [replace(self._place(sample), source=i) for i, sample in enumerate(samples) if sample]
        self.method.at_test = self._at_test()
        with self.step.averaged():
            grids = [self.method.preview(batch) for batch in placed]
        settle = at_test.batches_to_settle(self.method.makers, self.method.at_test) * self.stream.batch
        if self.progress.images >= settle:  # untrained networks make the same of everything
            found = [spread_of(grid, [*batch.fields.values()]) for grid, batch in zip(grids, placed, strict=True)]
            spreads = [spread for spread in found if spread is not None]
            self.spread = torch.stack(spreads).min() if spreads else None
        return {title: torch.cat([grid[title] for grid in grids]) for title in grids[0]}

    def _evaluate(self) -> None:
        """Measures on the evaluation split, all workers together; a new best is saved at once."""
        out, images, start = self.config.monitoring, self.progress.images, time.monotonic()
        self.method.at_test = self._at_test()
        with self.step.averaged():
            results = {name: suite.together(self.world) for name, suite in self.suites.items()}
        self.metrics = over_sets({name: result.metrics for name, result in results.items()})
        before = [entry for entry in self.evaluations if entry["images"] < images]
        self.evaluations = [*before, {"images": images, "metrics": self.metrics}]
        metrics = {f"{self.eval_split}/{name}": value for name, value in self.metrics.items()}
        self._tell("  ".join([f"{images:,} images:", *(f"{name} {value:.4g}" for name, value in metrics.items())]))
        if self.tracker:
            if not out.grid_every:
                self._made()
            tracker, so_far = self.tracker, self.evaluations
            taken = {"speed/evaluation_seconds": time.monotonic() - start}
            tracker.later(lambda: tracker.scalars(images, metrics | taken))
            about: dict[str, Any] = {"images": images, "split": self.eval_split}
            if self.eval_split == self.config.data.split:
                about["warning"] = trained_on(self.eval_split)
            whole = {name: described(self.suites[name], result, about) for name, result in results.items()}
            tracker.later(lambda: self.run.write_json(EVALUATIONS, so_far))
            tracker.later(lambda: self.run.write_json(LAST_EVALUATION, whole))
            for warning in {w: None for one in whole.values() for w in warnings(one)}:
                if warning not in self.warned:
                    self._tell(f"WARNING: {warning}")
                self.warned.add(warning)
        name = out.best_metric or DEFAULT_METRIC[self.method.needs.kind]
        value = self.metrics.get(name)
        if value is None or math.isnan(value):  # nothing in the split that it could be measured on
            return
        if self.best is None or self.best["metric"] != name or better(name, value, self.best["value"]):
            self.best = {"metric": name, "value": value, "checkpoint": name_at(images)}
            self._save()

    def _save(self) -> None:
        """A checkpoint of this moment, once every flag is read; written while training goes on."""
        start, now = time.monotonic(), (self.progress.images, self.best)
        if self.written == now:
            return
        snapshot = None if self.written[0] == self.progress.images else self._snapshot()
        self.written = now
        if not self.tracker:
            return
        self.writer.put(snapshot, self.best)
        tracker, stalled = self.tracker, {"checkpoint/stall_seconds": time.monotonic() - start}
        tracker.later(lambda: tracker.scalars(now[0], stalled))
        tracker.flush()

    def _snapshot(self) -> Snapshot | None:
        """All workers call this together; the first gets it."""
        self.step.watch.settle()
        self._diagnose()
        self._count_bad()
        pools, unread = self.step.pools(), self.step.unread()
        seen = (self.seen_before + sum(self.world.gather(self.seen))) % 2**63
        if unread is None:
            return None
        tensors, aliases = named_tensors(self.method.networks, self.step.ema)
        state = {
            "optimisers": host_copy(self.step.state_dict()),
            "pools": pools,
            "images": self.progress.images,
            "moves": dict(self.progress.moves),
            "best": self.best,
            "seen": seen,
            "done": self.done,
            "bad": [[key, *why] for key, why in self.bad.items()],
            "evaluations": self.evaluations,
            "diagnosis": self.diagnosis.state_dict(),
            "log": {**unread, "spread": host_copy(self.spread)},
        }
        together = self.norm_batches if at_test.has_batch_norm(self.method.makers) else {}
        return Snapshot(self.progress.images, self.config, tensors, aliases, state, self.metrics, together)


def check_judge(measured: Mapping[str, Suite], name: str, flag: str) -> None:
    """Raises ConfigError, which names the flag, for a metric that a run with these suites cannot be judged by.

    A run on several data sets also has `METRIC/DATA SET`.
    """
    known = next(iter(measured.values())).judges
    exact = known if len(measured) == 1 else [*known, *(f"{one}/{of}" for of in measured for one in known)]
    if name not in exact:
        expected = f"a metric that this run measures: {', '.join(known)}"
        raise ConfigError(flag, repr(name), expected, nearest(name, exact))


def kind_of(cause: str) -> str:
    """A cause without what differs from sample to sample: `28x30 pixels where ...` -> `N pixels where ...`."""
    return re.sub(r"-?\b\d[\d.]*(x\d+)?\b", "N", cause.partition(" (")[0])


def evaluation_split(config: TrainConfig, sets: Sequence[DataSet]) -> str:
    """The split that a run is measured on: the one asked for, where all its data sets have it, else the one it trains
    on."""
    wanted = config.monitoring.evaluate_split
    return wanted if all(wanted in data.manifest.splits for data in sets) else config.data.split


def trained_on(split: str) -> str:
    """Say what it means that a run is measured on the split that it trains on."""
    return (
        f"Metrics, grids and the best checkpoint go by the split {split!r}, which the run also trains on: they show "
        "how well it knows these images, not what it makes of others."
    )


def suites(config: TrainConfig, sets: Sequence[DataSet], method: Method[Any], device: torch.device) -> dict[str, Suite]:
    """What a run is measured by: a suite for each of its data sets, by name.

    Raises:
        ConfigError, DataError: metrics, files or data that do not fit.
    """
    split = evaluation_split(config, sets)
    return {
        name: Suite(
            Asked(
                method,
                data,
                split,
                config.image_size,
                config.data.direction,
                config.evaluation,
                device,
                most=config.monitoring.evaluate_samples,
                resizing=config.data.resizing,
            )
        )
        for name, data in zip(config.data.names, sets, strict=True)
    }
