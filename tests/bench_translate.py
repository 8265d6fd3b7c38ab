"""Images per second and the driver's memory of `translate.py`, on many small images.

    python -m tests.bench_translate             local files (make bench-translate)
    python -m tests.bench_translate --s3        from and to an S3 server of this machine
    python -m tests.bench_translate --kill 0.5  and a driver that is killed (SIGKILL) half-way; the same command goes on
    python -m tests.bench_translate --side 128 --images 2000    larger images

Images are noise of three sizes, a thousand a folder, through a small untrained StarGAN. Each run is a process of its
own: `here` translates in the driver, with one thread; a number is so many Ray workers of one thread each. Rates leave
out the first tenth, in which workers start. Memory is the driver's resident set, when a tenth and when all is done.
Milliseconds of CPU say what an image costs where other programs take the cores: two workers on two cores reach at most
workers / (workers + driver + Ray) of twice the speed of one that has a core for itself.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import torch
from PIL import Image

from i2i_core.config.translation import TranslateOptions
from i2i_core.orchestration.translating import translate
from i2i_core.translation.inputs import ledger_of
from i2i_core.translation.pieces import Part, Pieces

from .bench_stream import uploaded
from .support.data import ROOT
from .support.translating import untrained

FOLDER = 1000


def draw(folder: Path, count: int, side: int) -> None:
    """Write grey images of noise, `side` pixels high and up to twice as wide."""
    rng = np.random.default_rng(0)
    for i in range(count):
        place = folder / f"{i // FOLDER:05d}" / f"{i:08d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (side, side + side // 2 * (i % 3)), dtype=np.uint8)).save(
            out, "PNG", compress_level=1
        )
        place.write_bytes(out.getvalue())


def resident() -> float:
    """Megabytes that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_seconds() -> dict[str, float]:
    """Seconds of CPU that this process, its workers, and all else of Ray have used."""
    tick, found = os.sysconf("SC_CLK_TCK"), {"driver": time.process_time(), "workers": 0.0, "ray": 0.0}
    parents, used = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:  # just ended
            continue
        values = rest.split()
        parents[int(entry.name)] = int(values[1])
        used[int(entry.name)] = name, (int(values[11]) + int(values[12])) / tick
    for process in parents:
        above = process
        while above and above != os.getpid():
            above = parents.get(above, 0)
        if above and process != os.getpid():
            name, seconds = used[process]
            found["workers" if name.startswith("ray::_Actor") else "ray"] += seconds
    return found


def child(given: argparse.Namespace) -> None:
    """Translate, and print what was measured; end by SIGKILL after `kill` images."""
    torch.set_num_threads(1)
    took: list[tuple[float, int, float]] = []
    cpu: list[tuple[int, dict[str, float]]] = []
    add = Pieces.add

    def noted(self: Pieces, part: Part) -> None:
        add(self, part)
        made = self.written - self.before
        took.append((time.perf_counter(), made, resident()))
        if (not cpu and made > (self.count or 0) // 10) or made == self.count:
            cpu.append((made, cpu_seconds()))
        if given.kill and self.written - self.before >= given.kill:
            os.kill(os.getpid(), signal.SIGKILL)

    Pieces.add = noted  # type: ignore[method-assign]
    workers = 1 if given.workers == "here" else int(given.workers)
    if given.workers != "here":
        import ray

        ray.init(address="local", num_cpus=workers, include_dashboard=False, logging_level="warning")
        os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    began = time.perf_counter()
    options = TranslateOptions(
        input=given.input, out=given.out, target="bold", workers=workers, batch=given.batch, cpu=True
    )
    outcome = translate(given.run, options)
    told = {"seconds": time.perf_counter() - began, "images": outcome.written, "before": outcome.before}
    if len(took) > 10:
        first, last = took[len(took) // 10], took[-1]
        told["images_per_second"] = (last[1] - first[1]) / (last[0] - first[0])
        told["first_image_after"] = took[0][0] - began
        (before, used), (after, spent) = cpu[0], cpu[-1]
        for name in used:
            told[f"cpu_{name}"] = 1000 * (spent[name] - used[name]) / (after - before)
        told["megabytes_at_a_tenth"], told["megabytes"] = first[2], last[2]
    print(json.dumps(told))


def measured(run: str, source: str, out: str, workers: str, batch: int, kill: int = 0) -> dict[str, Any]:
    """Translate in a process of its own, and give what it printed; {} where it was killed as asked."""
    command = [sys.executable, "-m", "tests.bench_translate", "child", "--run", run, "--input", source, "--out", out]
    command += ["--workers", workers, "--batch", str(batch), "--kill", str(kill)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)
    if kill and done.returncode == -signal.SIGKILL:
        return {}
    assert done.returncode == 0, f"ended with {done.returncode}"
    return dict(json.loads(done.stdout.splitlines()[-1]))


def contents(out: str) -> tuple[int, str]:
    """Count the outputs, and give a checksum of all names and bytes."""
    fs, root = fsspec.core.url_to_fs(out, use_listings_cache=False)
    names = sorted(path for path in fs.find(root) if "/." not in path[len(root) :])
    whole = hashlib.sha256()
    for start in range(0, len(names), 500):
        for name, data in fs.cat(names[start : start + 500]).items() if names else ():
            whole.update(f"{name[len(root) :]} {hashlib.sha256(data).hexdigest()}\n".encode())
    return len(names), whole.hexdigest()[:16]


def rows_in(out: str) -> int:
    """Count the rows of a ledger."""
    fs, root = fsspec.core.url_to_fs(ledger_of(out), use_listings_cache=False)
    names = [path for path in fs.find(root) if path.endswith(".jsonl")]
    return sum(fs.cat_file(name).count(b"\n") for name in names)


def main(given: argparse.Namespace) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=given.folder or None)))
        from i2i_core.orchestration.sharding import shard_glyphs

        shard_glyphs(str(folder / "glyphs"), "labelled", 16, characters=60)
        run = untrained("stargan", str(folder / "glyphs"), folder / "runs")
        (folder / "in").mkdir()
        began = time.perf_counter()
        draw(folder / "in", given.images, given.side)
        print(
            f"{given.images:,} images drawn in {time.perf_counter() - began:.0f} s; {os.cpu_count()} cores", flush=True
        )
        place = uploaded(stack, folder / "in") if given.s3 else str(folder / "in")
        outs = f"{place}-out" if not given.s3 else "s3://bench-out"
        if given.s3:
            fsspec.filesystem("s3").mkdir("bench-out")
        print("| workers | images/s | first after s | MB at a tenth | MB at the end | seconds ", end="")
        print("| CPU ms an image: driver | workers | Ray | outputs |")
        print("|---" * 10 + "|")
        for number, workers in enumerate(given.workers):
            told = measured(run, place, f"{outs}/{number}", workers, given.batch)
            cells = [told[name] for name in ("images_per_second", "first_image_after")]
            cells += [told[name] for name in ("megabytes_at_a_tenth", "megabytes", "seconds")]
            shown = " | ".join(f"{cell:.0f}" for cell in cells)
            shown += "".join(f" | {told[f'cpu_{name}']:.2f}" for name in ("driver", "workers", "ray"))
            count, checksum = contents(f"{outs}/{number}")
            print(f"| {workers} | {shown} | {count:,} files, {checksum} |", flush=True)
        again = measured(run, place, f"{outs}/{number}", workers, given.batch)
        print(f"the same again: {again['seconds']:.1f} s, {again['before']:,} of {again['images']:,} made before")
        if given.kill:
            killed = f"{outs}/killed"
            measured(run, place, killed, workers, given.batch, int(given.images * given.kill))
            rows, (there, _) = rows_in(killed), contents(killed)
            print(f"killed: {there:,} files, {rows:,} rows", flush=True)
            told = measured(run, place, killed, workers, given.batch)
            redone = told["images"] - told["before"] - (given.images - rows)
            count, checksum = contents(killed)
            print(
                f"gone on with: {told['before']:,} made before, {redone:,} of them again; {count:,} files, {checksum}"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--workers", nargs="+", default=["here", "1", "2"], help="`here`, or a number of Ray workers")
    parser.add_argument("--side", type=int, default=16, help="height of the images in pixels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--s3", action="store_true", help="from and to an S3 server of this machine")
    parser.add_argument("--kill", type=float, default=0.0, help="share of the images after which a driver is killed")
    parser.add_argument("--folder", help="where files lie meanwhile, instead of the temporary folder")
    if sys.argv[1:2] == ["child"]:
        of_child = argparse.ArgumentParser()
        for name in ("--run", "--input", "--out", "--workers"):
            of_child.add_argument(name)
        of_child.add_argument("--batch", type=int)
        of_child.add_argument("--kill", type=int)
        child(of_child.parse_args(sys.argv[2:]))
    else:
        main(parser.parse_args())
