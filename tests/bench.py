"""Timings, which are not tests.

    python -m tests.bench step --device cpu      the bare step of every method's preset on one fixed batch
    python -m tests.bench step --device cuda     the same in fp32 and bf16 at the paper's size (make bench-gpu)
    python -m tests.bench loop                   the loop against the bare step, built-in glyphs (make bench)
    python -m tests.bench save                   how long a checkpoint holds up the step, and how long it takes
    python -m tests.bench resume                 seconds to the first batch at 1 % and 99 % of an epoch, local and S3

Medians over `--repeats` rounds of `--updates` updates, after a warm-up.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import torch

from i2i_core.batch import Batch
from i2i_core.config.training import TrainingConfig
from i2i_core.methods import METHODS, build_method
from i2i_core.methods.base import Progress
from i2i_core.training.step import Step
from i2i_core.training.sync import World

from .support.methods import whole_batch


@dataclass
class Same:
    """One batch over and over, and how often it was taken."""

    batch: Batch
    taken: int = 0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        self.taken += 1
        return self.batch


def rate(step: Step, feed: Same, updates: int, repeats: int) -> tuple[float, float]:
    """Updates and images per second, the median round."""
    progress, wait = Progress(), torch.cuda.synchronize if step.device.type == "cuda" else (lambda: None)
    for _ in range(3):
        step(feed, progress)
    rates = []
    feed.taken = 0
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        for _ in range(updates):
            step(feed, progress)
        wait()
        rates.append(updates / (time.perf_counter() - start))
    per_second = statistics.median(rates)
    return per_second, per_second * feed.taken / (updates * repeats) * feed.batch.size


def bench_step(arguments: argparse.Namespace) -> None:
    device = torch.device(arguments.device)
    gpu = device.type == "cuda"
    where = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {where}")
    print("| method | preset | batch | precision | updates/s | images/s |\n|---|---|---|---|---|---|")
    for name in METHODS:
        for preset, batch in [("reference", b) for b in (1, 16, 64)] if gpu else [("demo", 16)]:
            for precision in ("fp32", "bf16") if gpu else ("fp32",):
                stages = (
                    {"warmup_r": 0, "warmup_d": 0} if name == "simgan" else {}
                )  # its rounds, not what precedes them
                method = build_method(name, preset, **stages).to(device)
                config = TrainingConfig(batch=batch, precision=precision)  # type: ignore[arg-type]
                step = Step(method, config, World(), lambda images: 1.0)
                feed = Same(whole_batch(method, batch, 0).to(device, torch.float32))
                updates, images = rate(step, feed, arguments.updates, arguments.repeats)
                print(f"| {name} | {preset} | {batch} | {precision} | {updates:.2f} | {images:.1f} |", flush=True)


def bench_loop(arguments: argparse.Namespace) -> None:
    """The whole loop (stream, decoding, logging, checkpoints) against its own step on one of its batches."""
    import tempfile

    from i2i_core.config.run import TrainConfig
    from i2i_core.orchestration.sharding import shard_glyphs
    from i2i_core.training.loop import Loop
    from i2i_core.training.preparing import prepare

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name, kind, size in (("stargan", "labelled", 32), ("cyclegan", "unpaired", 32), ("pix2pix", "paired", 64)):
            shard_glyphs(f"{folder}/{kind}", kind, size, characters=400)  # type: ignore[arg-type]
            values = {"data.uri": f"{folder}/{kind}", "data.loaders": 0, "launch.storage": folder}
            config = prepare(TrainConfig.of(name, "demo", values))
            bare, whole, own_bare, own_whole = compare(Loop(config, World(), torch.device("cpu")), arguments)
            print(
                f"{name}: bare step {bare:.1f} images/s, in the loop {whole:.1f}, ratio {whole / bare:.3f}; "
                f"by the time of the step's thread {own_bare:.1f}, {own_whole:.1f}, ratio {own_whole / own_bare:.3f}",
                flush=True,
            )


def bench_save(arguments: argparse.Namespace) -> None:
    """StarGAN and pix2pix at their papers' sizes, after one update, into a local folder."""
    import tempfile
    from pathlib import Path

    from i2i_core.config.run import TrainConfig
    from i2i_core.orchestration.sharding import shard_glyphs
    from i2i_core.training.loop import Loop
    from i2i_core.training.preparing import prepare

    for name, kind, size in (("stargan", "labelled", 128), ("pix2pix", "paired", 256)):
        with tempfile.TemporaryDirectory() as folder:
            shard_glyphs(f"{folder}/data", kind, size, characters=20)  # type: ignore[arg-type]
            values = {"data.uri": f"{folder}/data", "data.loaders": 0, "launch.storage": folder, "training.batch": 1}
            loop = Loop(prepare(TrainConfig.of(name, "reference", values)), World(), torch.device(arguments.device))
            batch = loop.step.place(next(loop.stream.batches(0, (0, loop.stream.batch), 0)))
            loop.step(repeat(batch), loop.progress)
            stalls, wholes = [], []
            for _ in range(arguments.repeats + 1):
                loop.progress.images += 1
                start = time.perf_counter()
                loop.keeper.save()
                stalls.append(time.perf_counter() - start)
                loop.keeper.writer.wait()
                wholes.append(time.perf_counter() - start)
            loop.monitor.close(True)
            last = max(Path(folder).rglob("checkpoints/*"))
            size_mb = sum(file.stat().st_size for file in last.iterdir()) / 1e6
            print(
                f"{name}: checkpoint of {size_mb:.0f} MB: the step waits {stalls[0]:.3f} s for the first and "
                f"{statistics.median(stalls[1:]):.3f} s for others, which are there after "
                f"{statistics.median(wholes[1:]):.2f} s",
                flush=True,
            )


def bench_resume(arguments: argparse.Namespace) -> None:
    """The built-in glyphs, 64 px, 24 shards; two loader processes; from S3 (on this machine) with an empty cache."""
    import os
    import tempfile

    from i2i_core.config.data import DataConfig
    from i2i_core.data.format.manifest import DataSet
    from i2i_core.data.reading.stream import Stream
    from i2i_core.orchestration.sharding import shard_glyphs

    from .support.server import S3Server, request

    with tempfile.TemporaryDirectory() as folder, S3Server(f"{folder}/s3") as server:
        os.environ |= server.env
        assert request("PUT", f"{server.endpoint}/bucket")[0] == 200
        for place in (f"{folder}/data", "s3://bucket/data"):
            shard_glyphs(place, "labelled", 64)
            for share in (0.01, 0.99):
                seconds = []
                for number in range(arguments.repeats):
                    config = DataConfig(cache=f"{folder}/cache-{share}-{number}")
                    stream = Stream(DataSet(place), config, 64, 16, 0)
                    start = time.perf_counter()
                    batches = stream.batches(int(share * stream.batches_per_epoch), (0, 16), 2)
                    next(batches)
                    seconds.append(time.perf_counter() - start)
                    batches.close()  # type: ignore[attr-defined]
                where = "S3" if "s3:" in place else "local"
                print(f"{where} {share:.0%}: first batch after {statistics.median(seconds):.2f} s")


def compare(loop: Any, arguments: argparse.Namespace) -> list[float]:
    """Images per second of the bare step and of the loop, in alternating rounds; then the same per second that the
    step's own thread had a core, which neighbours on the machine and the loop's threads do not change."""
    one = loop.step.place(next(loop.stream.batches(0, (0, loop.stream.batch), 0)))
    rounds: list[tuple[float, ...]] = []
    for _ in range(arguments.repeats):
        bare = timed(lambda: loop.step(repeat(one), Progress()), loop, arguments.updates)
        whole = looped(loop, arguments.updates)
        rounds.append((bare[0], whole[0], bare[1], whole[1]))
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def served(loop: Any) -> int:
    return loop.stream.batch * getattr(loop.config.hyper, "n_critic", 1)


def timed(update: Callable[[], None], loop: Any, updates: int) -> tuple[float, float]:
    """Images per second, and per second of this thread."""
    update()
    start, own = time.perf_counter(), time.thread_time()
    for _ in range(updates):
        update()
    images = updates * served(loop)
    return images / (time.perf_counter() - start), images / (time.thread_time() - own)


def looped(loop: Any, updates: int) -> tuple[float, float]:
    """The same of `Loop.train` over so many updates, evaluation and checkpoint at its end left out."""
    from dataclasses import replace

    begin = loop.progress.images
    monitoring = replace(loop.config.monitoring, log_every=served(loop) * 10)
    loop.config = replace(loop.config, monitoring=monitoring)
    loop.stages.length = begin + updates * served(loop)
    loop._finish = lambda: None
    start, own = time.perf_counter(), time.thread_time()
    loop.train()
    images = loop.progress.images - begin
    return images / (time.perf_counter() - start), images / (time.thread_time() - own)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("step", "loop", "save", "resume"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    benches = {"step": bench_step, "loop": bench_loop, "save": bench_save, "resume": bench_resume}
    benches[given.what](given)
