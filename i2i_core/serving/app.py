"""Speak HTTP: check who asks, read bodies within the limits, hand requests to models, and answer. The only module that
knows Starlette.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from starlette.applications import Starlette
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from i2i_core.config.serving import LOCALHOST, LimitOptions
from i2i_core.serving.admission import Admission, Place
from i2i_core.serving.counters import NO_MODEL, Counters
from i2i_core.serving.openapi import document, path_of
from i2i_core.serving.refusing import BUSY, RETRIED_AFTER, Refused
from i2i_core.serving.served import MOST_EXAMPLES, Answer, Ask, late

logger = logging.getLogger(__name__)

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every answer: pages run their own files alone, and no other site shows or reads an answer."""
PAGES = {
    "/": ("page.html", "text/html"),
    "/docs": ("docs.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/board.js": ("board.js", "text/javascript"),
    "/docs.js": ("docs.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
"""Files of the pages, which hold no data and need no token."""
OPEN = {*PAGES, "/health", "/favicon.ico"}
"""Paths that need no token."""
MOST_FIELDS = 32
MOST_FIELD = 1 << 16
"""Bytes of a text field of a form."""
FORM, BINARY = "multipart/form-data", "application/octet-stream"
PLAIN_FORM = "application/x-www-form-urlencoded"
"""Form without files, as `curl -d` sends it."""


class Backend(Protocol):
    """Make images, wherever the models are."""

    def ask(self, number: int, ask: Ask) -> Awaitable[Answer]:
        """Have model `number` answer. Raises Refused."""

    def missing(self) -> Awaitable[list[int]]:
        """List the models that do not answer."""


@dataclass(frozen=True)
class Access:
    """Say who may ask.

    Attributes:
        digest: SHA-256 of the token; empty: none is needed.
        hosts: names by which the server may be called where no token is needed: a page of another site that has its
            own name lead here is called by that name.
    """

    digest: bytes = b""
    hosts: frozenset[str] = frozenset({LOCALHOST, "127.0.0.1", "::1"})

    @classmethod
    def by_token(cls, token: str) -> Access:
        """Let in whoever has the token."""
        return cls(hashlib.sha256(token.encode()).digest())

    def check(self, headers: Mapping[str, str], path: str) -> None:
        """Check a request. Raises Refused 401 or 403."""
        host = _host(f"//{headers.get('host', '')}")
        origin = headers.get("origin", "")
        if origin and urlsplit(origin).netloc != headers.get("host", ""):
            fix = "Open this server's own page, or ask from a program, which sends no Origin."
            raise Refused(403, "Origin", origin, "the page of this server", fix)
        if not self.digest:
            if host not in self.hosts:
                fix = "Call it by localhost; for other names start it with a token."
                raise Refused(403, "Host", host or "nothing", ", ".join(sorted(self.hosts)), fix)
            return
        if path in OPEN:
            return
        given = headers.get("authorization", "")
        kind, _, token = given.partition(" ")
        known = hmac.compare_digest(hashlib.sha256(token.strip().encode()).digest(), self.digest)
        if kind.lower() != "bearer" or not known:
            found = "another token" if given else "nothing"
            fix = "Send the header Authorization: Bearer TOKEN; serve.py's owner has the token."
            raise Refused(401, "Authorization", found, "the token of this server", fix)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


@dataclass
class Server:
    """Answer requests.

    Args:
        models: descriptions of the models, in the order of their numbers.
        backend: makes the images.
    """

    models: Sequence[Mapping[str, Any]]
    backend: Backend
    limits: LimitOptions = field(default_factory=LimitOptions)
    access: Access = field(default_factory=Access)

    def __post_init__(self) -> None:
        self.admission = Admission(self.limits.most_waiting, self.limits.held)
        self.counters = Counters(self.admission)
        self.numbers = {about["name"]: number for number, about in enumerate(self.models)}
        self.described = document(self.models, self.limits, bool(self.access.digest))

    def app(self) -> ASGIApp:
        """Make the ASGI application."""
        routes = [Route(path, self._page, methods=["GET"]) for path in PAGES]
        routes += [
            Route("/favicon.ico", self._no_icon, methods=["GET"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/models", self._models, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/openapi.json", self._openapi, methods=["GET"]),
            Route("/models/{name}/translate", self._image, methods=["POST"]),
            Route("/models/{name}/generate", self._image, methods=["POST"]),
        ]
        handlers: dict[Any, Any] = {Refused: _refused, HTTPException: _http_error, Exception: _fault}
        return Guard(Starlette(routes=routes, exception_handlers=handlers), self.access)

    # ---- small answers ----

    async def _page(self, request: Request) -> Response:
        name, kind = PAGES[request.url.path]
        data = resources.files("i2i_core.serving").joinpath("pages", name).read_bytes()
        return Response(data, media_type=kind)

    async def _no_icon(self, request: Request) -> Response:
        return Response(status_code=204)

    async def _health(self, request: Request) -> Response:
        if missing := await self.backend.missing():
            names = ", ".join(self.models[number]["name"] for number in missing)
            raise Refused(503, "models", f"no answer of {names}", "an answer", "Ask again: they are started anew.")
        return JSONResponse({"state": "ready", "models": len(self.models)})

    async def _models(self, request: Request) -> Response:
        limits = {
            "bytes": self.limits.body,
            "pixels": self.limits.most_pixels,
            "seconds": self.limits.most_seconds,
        }
        listed = [{**about, "url": path_of(about)} for about in self.models]
        return JSONResponse({"models": listed, "limits": limits})

    async def _metrics(self, request: Request) -> Response:
        return Response(self.counters.text(), media_type="text/plain; version=0.0.4")

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(self.described)

    # ---- images ----

    async def _image(self, request: Request) -> Response:
        """Answer a request for an image, and count it."""
        begun, model = time.monotonic(), NO_MODEL
        status = 500
        try:
            number = self._number(request)
            model = self.models[number]["name"]
            with self.admission.enter() as place:
                answer = await self._made(request, number, place, begun)
            self.counters.made(model, answer.together, answer.seconds)
            status = 200
            return Response(answer.data, media_type=answer.media, headers={"x-batch": str(answer.together)})
        except Refused as refused:
            status = refused.status
            raise
        except ClientDisconnect:
            status = 499
            return Response(status_code=400)  # nobody reads it
        finally:
            self.counters.answered(model, status, time.monotonic() - begun)

    def _number(self, request: Request) -> int:
        name = request.path_params["name"]
        number = self.numbers.get(name)
        if number is None:
            known = ", ".join(self.numbers)
            raise Refused(404, "model", name, f"one of {known}", "Look at /models.")
        right = path_of(self.models[number]).rsplit("/", 1)[-1]
        if not request.url.path.endswith(f"/{right}"):
            raise Refused(404, "path", request.url.path.rsplit("/", 1)[-1], right, f"This model has /{right}.")
        return number

    async def _made(self, request: Request, number: int, place: Place, begun: float) -> Answer:
        def left() -> float:
            return begun + self.limits.most_seconds - time.monotonic()

        try:
            ask = await asyncio.wait_for(self._ask(request, place), left())
        except TimeoutError:
            seconds = f"{self.limits.most_seconds:g} s"
            raise Refused(408, "body", f"no end of it after {seconds}", "all of it", "Send it faster.") from None
        waiting = Ask(ask.fields, ask.image, ask.like, max(0.0, left()))
        try:
            return await asyncio.wait_for(self.backend.ask(number, waiting), waiting.seconds)
        except TimeoutError:
            raise late(self.limits.most_seconds) from None

    async def _ask(self, request: Request, place: Place) -> Ask:
        """Read what is asked, from a form or from an image with a query."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        whole = kind.startswith("image/") or kind == BINARY
        if kind == FORM:
            return await self._form(request, place)
        if not whole and kind != PLAIN_FORM and (kind or self._announced(request)):
            expected = f"{FORM}, or an image alone (image/png)"
            raise Refused(415, "Content-Type", kind or "nothing", expected, "Send a form: curl -F image=@FILE URL.")
        body = b"".join([part async for part in self._body(request, place)])
        pairs = request.query_params.multi_items()
        if kind == PLAIN_FORM:
            pairs += _plain_pairs(body)
        return Ask(_once(pairs), body if whole else None)

    async def _form(self, request: Request, place: Place) -> Ask:
        if request.query_params:
            raise Refused(400, "query", "fields beside a form", "all fields in the form", "Move them into it.")
        parser = MultiPartParser(
            request.headers,
            self._body(request, place),
            max_files=MOST_EXAMPLES + 1,
            max_fields=MOST_FIELDS,
            max_part_size=MOST_FIELD,
        )
        try:
            form = await parser.parse()
        except (MultiPartException, KeyError, ValueError) as error:
            said = error.message if isinstance(error, MultiPartException) else "a form without a boundary"
            raise Refused(400, "body", said, "a whole form", "Send one: curl -F image=@FILE URL.") from None
        try:
            return await _of_form(form)
        finally:
            await form.close()

    def _announced(self, request: Request) -> int:
        """Read the bytes that a body is to have; 0 where the client does not say. Raises Refused 400 or 413."""
        text = request.headers.get("content-length", "0")
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise Refused(400, "Content-Length", repr(text), "a number", "Leave it out.")
        if int(text) > self.limits.body:
            raise self._too_large(f"{int(text) / (1 << 20):,.1f} MiB")
        return int(text)

    def _too_large(self, found: str) -> Refused:
        expected = f"at most {self.limits.most_mib} MiB of a request"
        return Refused(413, "body", found, expected, "Send smaller images, or JPEG.")

    async def _body(self, request: Request, place: Place) -> AsyncGenerator[bytes, None]:
        """Give the parts of a body as they come, none of it beyond the limits."""
        announced = self._announced(request)
        async for part in request.stream():
            if place.held + len(part) > self.limits.body:
                raise self._too_large(f"more than {self.limits.most_mib} MiB")
            place.hold(len(part))
            yield part
        if place.held < announced:
            raise Refused(
                400, "body", f"{place.held:,} bytes", f"{announced:,}, as Content-Length says", "Send it again."
            )


async def _of_form(form: FormData) -> Ask:
    image, like, pairs = None, list[bytes](), list[tuple[str, str]]()
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name == "image" and image is None:
            image = await value.read()
        elif isinstance(value, UploadFile) and name == "like":
            like.append(await value.read())
        elif isinstance(value, UploadFile):
            fix = "Send the input as image, once, and style images as like."
            raise Refused(422, name, "a file", "files named image and like", fix)
        else:
            pairs.append((name, value))
    return Ask(_once(pairs), image, tuple(like))


def _plain_pairs(body: bytes) -> list[tuple[str, str]]:
    """Read a form without files. Raises Refused 400."""
    try:
        return parse_qsl(body[: MOST_FIELD + 1].decode("ascii"), True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Refused(400, "body", "no form without files", "NAME=VALUE&...", "Send curl -d NAME=VALUE URL.") from None


def _once(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise Refused(422, name, "two values", "each field once", "Leave one out.")
        found[name] = value
    return found


# ---- answers that are no images ----


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    headers = {"retry-after": str(RETRIED_AFTER)} if error.status in BUSY else {}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error.as_json(), error.status, headers)


async def _http_error(request: Request, error: Exception) -> Response:
    """Word what Starlette refuses: paths that are not there, and methods."""
    assert isinstance(error, HTTPException)
    found = f"{request.method} {request.url.path}"
    expected = "GET /, /docs, /models, /health, /metrics or /openapi.json, or POST to a model's path"
    refused = Refused(error.status_code, "path", found, expected, "Look at /docs.")
    return JSONResponse(refused.as_json(), error.status_code, dict(error.headers or {}))


async def _fault(request: Request, error: Exception) -> Response:
    fix = "Its log says more: tell who runs it."
    return JSONResponse(Refused(500, "request", "a fault of the server", "an answer", fix).as_json(), 500)


class Guard:
    """Check who asks before anything of a request is read, and give every answer the headers that keep pages apart."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.inner, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.inner(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        try:
            self.access.check(Headers(scope=scope), scope["path"])
        except Refused as refused:
            await (await _refused(Request(scope), refused))(scope, receive, sent)
            return
        try:
            await self.inner(scope, receive, sent)
        except Exception:  # answered already; Starlette raises it again for the log
            logger.exception("a request failed")
