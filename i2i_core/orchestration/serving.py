"""Serve models on Ray Serve: a deployment for each model, which batches, and one before them that speaks HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

import ray
import torch
from ray import serve
from ray.exceptions import RayError

from i2i_core import logs
from i2i_core.config.evaluation import AtTestOptions
from i2i_core.config.serving import LOCALHOST, ServeOptions
from i2i_core.errors import ConfigError, ResourceError, RunError
from i2i_core.logs import Level
from i2i_core.orchestration import ray_compat
from i2i_core.orchestration.cluster import connect
from i2i_core.serving.app import Access, Server
from i2i_core.serving.naming import names_of
from i2i_core.serving.refusing import Refused
from i2i_core.serving.served import Answer, Ask, Served, late
from i2i_core.serving.token import token_of
from i2i_core.storage.paths import absolute
from i2i_core.translation.model import load

logger = logging.getLogger(__name__)

APP = "i2i"
ANSWERS_WITHIN = 5.0
"""Seconds in which a model must answer to count as there."""
EVERY_ADDRESS = ("0.0.0.0", "::")


@dataclass(frozen=True)
class ModelPlan:
    """Say how the replicas of a model run.

    Attributes:
        threads: of torch, in each.
    """

    name: str
    place: str
    at_test: AtTestOptions
    most_pixels: int
    device: str
    threads: int
    batch: int
    batch_wait: float
    level: Level


class ModelReplica:
    """Make images of one model, in batches, in a process of its own."""

    def __init__(self, plan: ModelPlan) -> None:
        ray_compat.take_calls_on_loopback()
        logs.show(plan.level)
        torch.set_num_threads(plan.threads)
        model = load(plan.place, plan.device, plan.at_test)
        self.served = Served(plan.name, model, plan.most_pixels)
        self.batched.set_max_batch_size(plan.batch)
        self.batched.set_batch_wait_timeout_s(plan.batch_wait / 1000)

    async def __call__(self, ask: Ask) -> Answer | Refused:
        """Answer one request."""
        found: Answer | Refused = await self.batched((ask, time.monotonic()))
        return found

    @serve.batch
    async def batched(self, asked: list[tuple[Ask, float]]) -> list[Answer | Refused]:
        """Answer those that wait; the networks run in a thread, so that others may come meanwhile."""
        asks, begun = zip(*asked, strict=True)
        return await asyncio.to_thread(self.served.answer, asks, begun)

    async def there(self) -> bool:
        """Answer that this replica lives."""
        return True


class OnRay:
    """Hand requests to the replicas of models."""

    def __init__(self, handles: Sequence[Any]) -> None:
        self.handles = handles

    async def ask(self, number: int, ask: Ask) -> Answer:
        """Have a model answer. Raises Refused, also where its replica died meanwhile."""
        response = self.handles[number].remote(ask)
        try:
            found: Answer | Refused = await asyncio.wait_for(response, ask.seconds)
        except TimeoutError:
            response.cancel()
            raise late(ask.seconds) from None
        except (RayError, serve.exceptions.RayServeException):
            logger.exception("a replica did not answer")
            fix = "Send it again: the model is started anew."
            raise Refused(503, "model", "no answer of it", "an image", fix) from None
        if isinstance(found, Refused):
            raise found
        return found

    async def missing(self) -> list[int]:
        """List the models that do not answer in time."""

        async def there(handle: Any) -> bool:
            try:
                return bool(await asyncio.wait_for(handle.there.remote(), ANSWERS_WITHIN))
            except (TimeoutError, RayError, serve.exceptions.RayServeException):
                return False

        found = await asyncio.gather(*map(there, self.handles))
        return [number for number, answers in enumerate(found) if not answers]


@serve.ingress()
class Front:
    """Speak HTTP, in a process of its own."""

    def __init__(
        self, models: Sequence[dict[str, Any]], options: ServeOptions, access: Access, level: Level, *handles: Any
    ) -> None:
        ray_compat.take_calls_on_loopback()
        logs.show(level)
        self.server = Server(models, OnRay(handles), options.limits, access)

    def __serve_build_asgi_app__(self) -> Any:
        """Give Ray Serve the application."""
        return self.server.app()


@dataclass(frozen=True)
class Serving:
    """Hold a server that answers.

    Attributes:
        names: of the models.
        url: where it answers.
        lines: what to tell who started it.
    """

    names: Sequence[str]
    url: str
    lines: Sequence[str]
    stopped: threading.Event

    def wait(self) -> None:
        """Return when somebody ends it, by Ctrl-C or SIGTERM."""
        with suppress(KeyboardInterrupt):
            self.stopped.wait()


@contextmanager
def serving(runs: Sequence[str], options: ServeOptions) -> Iterator[Serving]:
    """Serve runs inside the block. Everything that can be wrong is checked before Ray starts and the port opens.

    Raises:
        CheckpointError, ConfigError, ResourceError: as it is wrong.
        RunError: Ray did not start, or a process of it did not.
    """
    if os.environ.get("RAY_ADDRESS"):
        fix = "Unset RAY_ADDRESS: serve.py starts Ray for itself, on this machine."
        raise ResourceError("RAY_ADDRESS", os.environ["RAY_ADDRESS"], "nothing", fix)
    token, is_new = token_of(options)
    places = [absolute(run, "RUN") for run in runs]
    names = names_of(places)
    models = [_about(name, place, options) for name, place in zip(names, places, strict=True)]
    host, port = _port(options)
    access = Access.by_token(token) if token else Access()
    plans = _plans(names, places, options)
    connect(quiet=True)
    try:
        _start(host, port, plans, models, options, access)
        stopped = threading.Event()
        with _ended_by_sigterm(stopped):
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
            yield Serving(names, url, [*_lines(url, host, token, is_new)], stopped)
    finally:
        _end()


def _about(name: str, place: str, options: ServeOptions) -> dict[str, Any]:
    """Load a model, describe it, and let go of it."""
    return Served(name, load(place, "cpu", options.at_test), options.limits.most_pixels).about()


def _port(options: ServeOptions) -> tuple[str, int]:
    """Choose address and port, and check that they are free. Raises ConfigError."""
    host = "127.0.0.1" if options.host == LOCALHOST else options.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with closing(socket.create_server((host, options.port), family=family)) as taken:
            return host, taken.getsockname()[1]
    except OSError as error:
        fix = "Give --port another number, or 0 for a free one; --host an address of this machine."
        found = f"{options.host} {options.port} ({error.strerror})"
        raise ConfigError("--host --port", found, "a place that is free", fix) from None


def _plans(names: Sequence[str], places: Sequence[str], options: ServeOptions) -> list[ModelPlan]:
    """Share the CPUs between all replicas. Raises ResourceError where GPUs are asked for and there are none."""
    if options.gpu and not torch.cuda.is_available():
        raise ResourceError("--gpu", "no GPU that torch can use", "one", "Leave --gpu out.")
    threads = max(1, (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))
    each = max(1, threads // (len(names) * options.replicas))
    return [
        ModelPlan(
            name,
            place,
            options.at_test,
            options.limits.most_pixels,
            device="cuda" if options.gpu else "cpu",
            threads=each,
            batch=options.batch,
            batch_wait=options.batch_wait,
            level=_level(),
        )
        for name, place in zip(names, places, strict=True)
    ]


def _level() -> Level:
    shown = logging.getLogger(logs.PACKAGE).getEffectiveLevel()
    found = logging.getLevelName(shown).lower()
    return found if found in logs.LEVELS else "info"


def _start(
    host: str,
    port: int,
    plans: Sequence[ModelPlan],
    models: Sequence[dict[str, Any]],
    options: ServeOptions,
    access: Access,
) -> None:
    """Start Ray Serve, and return when all replicas are there. Raises RunError where one did not start."""
    for name in ("ray.serve", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
    most = options.limits.most_waiting
    gpus = min(1.0, torch.cuda.device_count() / (len(plans) * options.replicas)) if options.gpu else 0
    quiet = serve.schema.LoggingConfig(log_level="WARNING", enable_access_log=False)
    handles = [
        serve.deployment(ModelReplica)
        .options(
            name=f"model-{number}",
            num_replicas=options.replicas,
            max_ongoing_requests=most + 1,
            ray_actor_options={"num_cpus": 0, "num_gpus": gpus},
            logging_config=quiet,
        )
        .bind(plan)
        for number, plan in enumerate(plans)
    ]
    front = serve.deployment(Front).options(
        name="front",
        max_ongoing_requests=2 * most + 64,  # those that are turned away must come in to be told
        ray_actor_options={"num_cpus": 0},
        logging_config=quiet,
    )
    try:
        serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port}, logging_config=quiet)
        serve.run(front.bind(models, options, access, _level(), *handles), name=APP, route_prefix="/")
    except (RuntimeError, RayError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RunError(f"the server did not start ({reason[0]})\n  Ray's logs say more: --log-level debug.") from error


def _end() -> None:
    """End Ray Serve and Ray, quietly."""
    with suppress(Exception):
        serve.shutdown()
    ray.shutdown()


@contextmanager
def _ended_by_sigterm(stopped: threading.Event) -> Iterator[None]:
    """Set the event on SIGTERM, by which services and containers are ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def answer(number: int, frame: FrameType | None) -> None:
        stopped.set()

    before = signal.signal(signal.SIGTERM, answer)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _lines(url: str, host: str, token: str, is_new: bool) -> Iterator[str]:
    """Say where the page is, and once the token, if it is a new one."""
    if host in EVERY_ADDRESS:
        url = url.replace(host, socket.gethostname(), 1).replace("[", "").replace("]", "")
    yield f"page: {url}{f'#{token}' if is_new else ''}"
    yield f"API: {url}docs"
    if token:
        yield "it asks for the token" + (", which the page's address holds behind the #" if is_new else "")
        yield "nothing is encrypted: put a proxy with TLS before it where others can listen"
