"""Load on serve.py: many clients at once, malformed and huge bodies among them. Nothing may be lost, memory is bounded.

    python -m tests.bench_serve                 200 clients, 2,000 requests (make bench-serve)
    python -m tests.bench_serve --run runs/x    a model of your own, whose labels need --target

Nine in ten requests are images, through a small untrained StarGAN of 32 px; the others are text, broken forms, cut
PNGs, PNGs that say they are larger than allowed, and bodies beyond the limit, with and without a stated length. A
request that is answered 429 or 503 is sent again, as a client should. Lost is what had no answer at all, or another
than its kind may have. Latency is that of images, the times of their waiting and of further tries included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from i2i_core.orchestration.sharding import shard_glyphs

from .support.serve_program import Program, serving
from .support.serving import png
from .support.translating import untrained

HUGE = 64 << 20
"""Bytes of a huge body: four times what is allowed."""
AGAIN = (429, 503)


def said_to_be(side: int) -> bytes:
    """A small PNG that says that it is large."""
    data = bytearray(png(4, 4))
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


async def pieces(size: int) -> AsyncIterator[bytes]:
    """A body without a stated length."""
    for _ in range(size >> 16):
        yield b"0" * (1 << 16)


def kinds(target: str, side: int) -> dict[str, tuple[set[int], Any]]:
    """Each kind of request: the statuses that it may have, and how one is made. None: the server may cut it off."""
    plain, fields = {"content-type": "image/png"}, {"target": target} if target else {}
    whole, broken = png(side, side), {"content-type": "multipart/form-data; boundary=x"}
    return {
        "image": ({200}, lambda: {"files": {"image": whole}, "data": fields}),
        "text": ({415}, lambda: {"content": b"hello", "headers": {"content-type": "text/plain"}}),
        "form": ({400, 422}, lambda: {"content": b"--", "headers": broken}),
        "cut": ({422}, lambda: {"files": {"image": whole[: len(whole) // 2]}, "data": fields}),
        "bomb": ({413}, lambda: {"files": {"image": said_to_be(9000)}, "data": fields}),
        "huge": ({413, 0}, lambda: {"content": b"0" * HUGE, "headers": plain}),
        "endless": ({413, 0}, lambda: {"content": pieces(HUGE), "headers": plain}),
    }


async def one(client: httpx.AsyncClient, path: str, make: Any) -> int:
    """Send a request until there is an answer that counts; 0 where the connection ended in its midst."""
    while True:
        try:
            answer = await client.post(path, **make())
        except (httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
            return 0
        if answer.status_code not in AGAIN:
            return answer.status_code
        await asyncio.sleep(float(answer.headers["retry-after"]))


async def load(url: str, path: str, clients: int, requests: int, of: dict[str, tuple[set[int], Any]]) -> dict[str, Any]:
    """Have clients send requests, each one after another."""
    rng = np.random.default_rng(0)
    odd = [name for name in of if name != "image"]
    left = ["image" if rng.random() < 0.9 else odd[int(rng.integers(len(odd)))] for _ in range(requests)]
    statuses: dict[str, Counter[int]] = {name: Counter() for name in of}
    seconds = list[float]()

    async def client() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=600, trust_env=False) as sender:
            while left:
                kind = left.pop()
                begun = time.perf_counter()
                status = await one(sender, path, of[kind][1])
                statuses[kind][status] += 1
                if kind == "image":
                    seconds.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    spent = time.perf_counter() - begun
    lost = sum(n for kind, found in statuses.items() for status, n in found.items() if status not in of[kind][0])
    p50, p99 = np.percentile(seconds, [50, 99])
    images = statuses["image"][200]
    found = {"clients": clients, "requests": requests, "images": images, "lost": lost, "images_per_s": images / spent}
    return {**found, "p50_s": p50, "p99_s": p99, "statuses": {kind: dict(n) for kind, n in statuses.items()}}


class Memory(threading.Thread):
    """Watch how much the server's processes hold."""

    def __init__(self, program: Program) -> None:
        super().__init__(daemon=True)
        self.program, self.first, self.most, self.over = program, program.resident(), 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.2):
            self.most = max(self.most, self.program.resident())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--run", default="")
    parser.add_argument("--target", default="")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run, target = given.run, given.target
        if not run:
            shard_glyphs(f"{folder}/data", "labelled", 32, characters=60)
            run, target = untrained("stargan", f"{folder}/data", Path(folder)), "bold"
        with serving(Path(folder) / "log", run) as program:
            about = httpx.get(f"{program.url}models").json()["models"][0]
            path, of = about["url"].lstrip("/"), kinds(target, given.side)
            asyncio.run(load(program.url, path, 4, 40, of))  # what is loaded once is loaded
            memory = Memory(program)
            memory.start()
            found = asyncio.run(load(program.url, path, given.clients, given.requests, of))
            memory.over.set()
            memory.join()
            found |= {"mib_before": memory.first >> 20, "mib_most": memory.most >> 20}
            found["ended"] = program.interrupt()
    print(json.dumps(found, indent=1))
    assert found["lost"] == 0, "every request has an answer of its kind"


if __name__ == "__main__":
    main()
