"""Time what surrounds the step: the loop, checkpoints, starts; on the built-in glyphs, in folders that are removed."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import torch

from i2i_core.batch import Batch
from i2i_core.config.data import DataConfig
from i2i_core.config.run import TrainConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.stream import Stream
from i2i_core.methods import METHODS
from i2i_core.orchestration.sharding import shard_glyphs
from i2i_core.training.loop import Loop
from i2i_core.training.preparing import prepare
from i2i_core.training.sync import World

from ..support.server import S3Server, request
from .bare import ROUNDED, Bare, Same
from .peak import synchronize
from .results import ROOT, Key, Results, Values

ROUNDS = 3
SECONDS = 1.5
"""Seconds of a round of the loop, and of a round of the bare step."""
SKIPPED = 3
"""First updates of the loop that are not counted: prefetching begins with them."""
CHARACTERS = 400
"""Characters of the glyphs: more than a round reads, so that nothing is read twice."""


# ---- the loop ----


class Enough(Exception):  # noqa: N818
    """Raised to end a loop that has been timed."""


@dataclass
class Clock:
    """Note when the loop asks for batches and when it gets them, and end it after so many.

    Attributes:
        asked: seconds by the clock, of each batch.
        waited: for each.
    """

    most: int
    device: str
    asked: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)

    def through(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Hand the batches on. Raises Enough when there were enough."""
        while True:
            if len(self.asked) == self.most:
                synchronize(self.device)
            self.asked.append(time.perf_counter())
            if len(self.asked) > self.most:
                raise Enough
            batch = next(batches)
            self.waited.append(time.perf_counter() - self.asked[-1])
            yield batch

    def between(self, first: int) -> tuple[float, float]:
        """Give the seconds from the request for batch `first` to the last one, and the share that was waiting."""
        seconds = self.asked[-1] - self.asked[first]
        return seconds, sum(self.waited[first:]) / seconds


def bench_loop(results: Results) -> None:
    """Measure every method's demo, each loop on one thread: the others of a run are its reader's and its writers'."""
    with tempfile.TemporaryDirectory() as folder, threads(1):
        for name in METHODS:
            key: Key = {"bench": "loop", "method": name, "preset": "demo"}
            results.measure(key, partial(loop_beside_step, name, Path(folder), results.about["device"]))


def loop_beside_step(name: str, folder: Path, device: str) -> Values:
    """Time the whole loop (stream, decoding, logging) and its own step on one of its batches, in alternating rounds,
    each of a new run. What comes before the first updates of a loop (the first grid, threads that start) is left out.
    """
    uri, rates, waits = data_of(name, folder), {"bare": [], "loop": []}, []  # type: ignore[var-annotated]
    for number in range(ROUNDS):
        loop = begun(name, uri, folder / f"{name}-{number}", device)
        bare = Bare(loop.step, Same(first_batch(loop)))
        updates = max(SKIPPED, int(SECONDS / bare.warm_up(2, count=False)))
        seconds, served = bare.update(updates), bare.feed.taken // bare.updates
        rates["bare"].append(served * loop.stream.batch / seconds)
        clock = Clock((SKIPPED + updates) * served, device)
        try:
            loop.train(clock.through)
        except Enough:
            seconds, waited = clock.between(SKIPPED * served)
        rates["loop"].append(updates * served * loop.stream.batch / seconds)
        waits.append(waited)
    bare_rate, loop_rate = (statistics.median(rates[side]) for side in ("bare", "loop"))
    return {
        "bare": bare_rate,
        "loop": loop_rate,
        "ratio": loop_rate / bare_rate,
        "data_wait": statistics.median(waits),
        "options": list(loop.step.fast.names),
        "rounds": rates,
    }


def data_of(name: str, folder: Path, **options: Any) -> str:
    """Make the glyphs that a method's demo is for, unless they are there; return their place."""
    preset, kind = METHODS[name].presets["demo"], METHODS[name].method.needs.kind
    glyphs = {"characters": CHARACTERS, **preset.glyphs, **options}
    size = glyphs.pop("size", preset.values["hyper.image_size"])
    uri = str(folder / "-".join(["data", kind, str(size), *(f"{k}.{v}" for k, v in glyphs.items())]))
    uri = re.sub(r"[^\w./-]", "", uri)
    shard_glyphs(uri, kind, size, **glyphs)
    return uri


def begun(name: str, uri: str, storage: Path, device: str, preset: str = "demo", **values: Any) -> Loop:
    """Begin a run of one worker in a folder of its own."""
    rounds = {f"hyper.{field}": value for field, value in ROUNDED.get(name, {}).items()}
    given = {"data.uri": uri, "data.loaders": 0, "launch.storage": str(storage), **rounds, **values}
    return Loop(prepare(TrainConfig.of(name, preset, given)), World(), torch.device(device))


def first_batch(loop: Loop) -> Batch:
    """Read the first batch of a run, placed as the run's own are."""
    return loop.step.place(next(loop.stream.batches(0, (0, loop.stream.batch), 0)))


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch compute with that many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    yield
    torch.set_num_threads(before)


# ---- checkpoints ----


def bench_save(results: Results) -> None:
    """Measure pix2pix and StarGAN at their papers' sizes, after one update, into a local folder."""
    with tempfile.TemporaryDirectory() as folder:
        for name, size in (("pix2pix", 256), ("stargan", 128)):
            key: Key = {"bench": "save", "method": name, "preset": "reference"}
            results.measure(key, partial(checkpoint, name, size, Path(folder), results.about["device"]))


def checkpoint(name: str, size: int, folder: Path, device: str) -> Values:
    """Save a run again and again; return its bytes, the seconds that the step waits, and those until the checkpoint is
    there, as medians."""
    uri, storage = data_of(name, folder, size=size, characters=20), folder / name
    loop = begun(name, uri, storage, device, "reference", **{"training.batch": 1})
    loop.step(repeat(first_batch(loop)), loop.progress)
    stalls, wholes = [], []
    for _ in range(ROUNDS):
        loop.progress.images += 1
        start = time.perf_counter()
        loop.keeper.save()
        stalls.append(time.perf_counter() - start)
        loop.keeper.writer.wait()
        wholes.append(time.perf_counter() - start)
    loop.keeper.close()
    loop.monitor.close(True)
    newest = max(storage.rglob("checkpoints/*/"), key=lambda path: path.stat().st_mtime)
    size_bytes = sum(file.stat().st_size for file in newest.iterdir())
    return {"bytes": size_bytes, "stall": statistics.median(stalls), "whole": statistics.median(wholes)}


# ---- starts ----


def bench_start(results: Results) -> None:
    """Measure `train.py` from the command to the first log of pix2pix's demo, Ray and all, twice: the second time
    files lie in memory."""
    with tempfile.TemporaryDirectory() as folder:
        for time_ in ("first", "again"):
            key: Key = {"bench": "start", "method": "pix2pix", "preset": "demo", "time": time_}
            results.measure(key, partial(start, "pix2pix", Path(folder), time_, results.about["device"]))


def start(name: str, folder: Path, run: str, device: str) -> Values:
    """Start a run that logs after its first update; return the seconds until then, and until the command has ended.

    Raises:
        RuntimeError: it fails, or logs nothing.
    """
    batch = METHODS[name].presets["demo"].values["training.batch"]
    options = ["--method", name, "--preset", "demo", "--data", data_of(name, folder), "--storage", str(folder)]
    options += ["--name", run, "--workers", "1", "--images", str(2 * batch), "--log-every", str(batch)]
    command = [sys.executable, "pipelines/train.py", *options, *(["--gpu"] if device == "cuda" else [])]
    began, first, lines = time.monotonic(), 0.0, []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as run_:
        assert run_.stdout
        for line in run_.stdout:
            lines.append(line.decode(errors="replace").rstrip())
            if not first and re.search(r"\d / [\d,]+ images \|", lines[-1]):
                first = time.monotonic() - began
    if run_.returncode or not first:
        raise RuntimeError(f"train.py ended with {run_.returncode}: {lines[-1] if lines else 'it said nothing'}")
    return {"first_update": first, "whole": time.monotonic() - began}


def bench_resume(results: Results) -> None:
    """Measure the first batch of glyphs, 64 px, 24 shards, two loaders; from S3 on this machine with an empty cache."""
    with tempfile.TemporaryDirectory() as folder, S3Server(f"{folder}/s3") as server:
        os.environ |= server.env
        assert request("PUT", f"{server.endpoint}/bucket")[0] == 200
        for where, place in (("local", f"{folder}/data"), ("S3", "s3://bucket/data")):
            shard_glyphs(place, "labelled", 64)
            for share in (0.01, 0.99):
                key: Key = {"bench": "resume", "where": where, "at": f"{share:.0%}"}
                results.measure(key, partial(first_batches, place, share, f"{folder}/cache-{share}"))


def first_batches(place: str, share: float, cache: str) -> Values:
    """Time the first batch at a share of an epoch; return the seconds of the median round."""
    seconds = []
    for number in range(ROUNDS):
        stream = Stream(DataSet(place), DataConfig(cache=f"{cache}-{number}"), 64, 16, 0)
        began = time.perf_counter()
        batches = stream.batches(int(share * stream.batches_per_epoch), (0, 16), 2)
        next(batches)
        seconds.append(time.perf_counter() - began)
        batches.close()  # type: ignore[attr-defined]
    return {"first_batch": statistics.median(seconds), "rounds": seconds}
