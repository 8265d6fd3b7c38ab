"""A server's application with its models in this process, and requests to it."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import uvicorn
from PIL import Image

from i2i_core.config.serving import LimitOptions
from i2i_core.serving.app import Access, Server
from i2i_core.serving.refusing import Refused
from i2i_core.serving.served import Answer, Ask, Served
from i2i_core.translation.model import load

BASE = "http://localhost"


@dataclass
class InProcess:
    """Models that answer at once, each request alone."""

    models: Sequence[Served]

    async def ask(self, number: int, ask: Ask) -> Answer:
        (found,) = self.models[number].answer([ask])
        if isinstance(found, Refused):
            raise found
        return found

    async def missing(self) -> list[int]:
        return []


def served(run: str, name: str = "model", most_pixels: int = 1 << 20) -> Served:
    return Served(name, load(run), most_pixels)


def server_of(*models: Served, limits: LimitOptions | None = None, token: str = "", backend: Any = None) -> Server:
    access = Access.by_token(token) if token else Access()
    about = [model.about() for model in models]
    return Server(about, backend or InProcess(models), limits or LimitOptions(), access)


def ask(server: Server, method: str, path: str, **how: Any) -> httpx.Response:
    """One request, answered in this process."""
    (answer,) = asks(server, [(method, path, how)])
    return answer


def asks(server: Server, requests: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[httpx.Response]:
    """Several requests at once."""

    async def all_of_them() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=server.app(), raise_app_exceptions=False)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url=BASE, trust_env=False) as client:
            sent = [client.request(method, path, **how) for method, path, how in requests]
            return list(await asyncio.gather(*sent))

    return asyncio.run(all_of_them())


def png(*shape: int, seed: int = 0, kind: str = "PNG", dtype: str = "uint8") -> bytes:
    """A file of noise, (H, W) or (H, W, C)."""
    array = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind)
    return out.getvalue()


def image_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@contextmanager
def listening(server: Server) -> Iterator[str]:
    """A server that listens on loopback, in a thread of this process; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        config = uvicorn.Config(server.app(), log_level="error", lifespan="off")  # type: ignore[arg-type]
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}/"
        finally:
            running.should_exit = True
            thread.join()
