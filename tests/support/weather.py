"""Bad weather between a client and an S3 server: an HTTP proxy that breaks what it is told to break.

    with Weather(server.endpoint) as weather:
        with weather.rule(Reset(after=1000), method="GET", path=".tar", times=2) as rule:
            ...                       # the next two GETs of a shard die after 1000 bytes of their bodies
        assert rule.used == 2
        with weather.gone():          # nobody listens; connections that were open are reset
            ...
        print(weather.seen)           # every request: method, path, query, range, status, bytes sent, fault

The Host header goes through unchanged, so a request signed for the proxy is valid at the server. Of several rules that
match a request the one added last decides; one that is used up does not match.
"""

from __future__ import annotations

import contextlib
import fcntl
import random
import socket
import struct
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO
from urllib.parse import urlsplit

from .server import free_ports

PIECE = 1 << 16


@dataclass(frozen=True)
class Delay:
    """The request waits `seconds` before it is passed on."""

    seconds: float


@dataclass(frozen=True)
class Hold:
    """The request waits until a test sets the event. For order without sleeping."""

    until: threading.Event


@dataclass(frozen=True)
class Status:
    """Answered here with an S3 error; the server does not hear of it."""

    status: int = 503
    code: str = "SlowDown"
    message: str = "Please reduce your request rate."


@dataclass(frozen=True)
class Reset:
    """TCP RST after `after` bytes of the response's body (0: after its headers; a shorter body: at its end).

    None: instead of any answer, and the server does not hear of it. With a number it has done what was asked.
    """

    after: int | None = None


@dataclass(frozen=True)
class Truncate:
    """The connection ends in order (FIN) after `after` bytes of the response's body, whatever Content-Length said."""

    after: int


@dataclass(frozen=True)
class Trickle:
    """The response's body comes `size` bytes at a time, `pause` seconds apart."""

    size: int
    pause: float


@dataclass(frozen=True)
class RandomFaults:
    """At `rate`, a fault by lot: SlowDown, a reset at once, a reset or an end within 4096 bytes.

    The lot is a function of (seed, request, how often it was asked before): threads that race do not change it.
    """

    seed: int
    rate: float

    def draw(self, request: str, nth: int) -> Fault | None:
        lot = random.Random(f"{self.seed} {request} {nth}")
        if lot.random() >= self.rate:
            return None
        after = lot.randrange(4096)
        faults: list[Fault] = [Status(), Reset(), Reset(after), Truncate(after)]
        return lot.choice(faults)


Fault = Delay | Hold | Status | Reset | Truncate | Trickle


@dataclass
class Seen:
    """One request, in the order of arrival. `status` is None and `sent` 0 while there is no answer."""

    method: str
    path: str
    query: str
    range: str | None
    at: float  # time.monotonic() of its arrival
    status: int | None = None
    sent: int = 0  # bytes of the response's body given to the client
    fault: Fault | None = None


@dataclass
class Rule:
    """A fault and when it applies. Applies until used `times` times, removed, or its `with` block ends."""

    weather: Weather
    fault: Fault | RandomFaults
    method: str | None
    path: str
    times: int | None
    when: Callable[[str, str], bool] | None
    used: int = 0
    asked: Counter[str] = field(default_factory=Counter)

    def matches(self, method: str, path: str) -> bool:
        return (
            (self.times is None or self.used < self.times)
            and self.method in (None, method)
            and self.path in path
            and (self.when is None or self.when(method, path))
        )

    def remove(self) -> None:
        with self.weather._changed, contextlib.suppress(ValueError):
            self.weather._rules.remove(self)

    def __enter__(self) -> Rule:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class _CutError(Exception):
    """The connection to the client ends here, with RST or with FIN."""

    def __init__(self, reset: bool) -> None:
        self.reset = reset


class Weather:
    """The proxy: `endpoint` in place of the server's. See the module for its use."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        assert parts.hostname is not None
        assert parts.port is not None
        self._server = (parts.hostname, parts.port)
        self._port = free_ports(1)[0]
        self._changed = threading.Condition(threading.RLock())
        self._rules: list[Rule] = []
        self._seen: list[Seen] = []
        self._listener: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._open: dict[threading.Thread, list[socket.socket]] = {}
        self._storm = threading.Event()  # set: every connection of this listener ends now

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def env(self) -> dict[str, str]:
        """What differs from the server's own `env`."""
        return {"AWS_ENDPOINT_URL": self.endpoint}

    @property
    def seen(self) -> list[Seen]:
        with self._changed:
            return list(self._seen)

    def forget(self) -> None:
        """Empties `seen`."""
        with self._changed:
            self._seen.clear()

    def wait(self, until: Callable[[list[Seen]], bool], timeout: float = 10) -> None:
        """Until what was seen satisfies `until`.

        Raises:
            TimeoutError: it never did; with what was seen.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: until(self._seen), timeout):
                raise TimeoutError(f"not in {timeout} s; seen: {self._seen}")

    def rule(
        self,
        fault: Fault | RandomFaults,
        *,
        method: str | None = None,
        path: str = "",
        times: int | None = None,
        when: Callable[[str, str], bool] | None = None,
    ) -> Rule:
        """Applies `fault`, from now on, to requests of `method` whose path contains `path` and for which `when(method,
        path)` is true. A path is /BUCKET/KEY without the query. May be used in a `with`, which removes it again."""
        rule = Rule(self, fault, method, path, times, when)
        with self._changed:
            self._rules.append(rule)
        return rule

    def random_faults(self, seed: int, rate: float, **which: object) -> Rule:
        """`rule(RandomFaults(seed, rate), ...)`."""
        return self.rule(RandomFaults(seed, rate), **which)  # type: ignore[arg-type]

    def gone(self) -> contextlib.ExitStack:
        """Closes the listening socket and resets live connections. Ends with `back()`, or with its `with` block."""
        with self._changed:
            listener, self._listener = self._listener, None
        if listener is not None:
            self._storm.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # on Linux close() alone does not wake accept()
            listener.close()
            assert self._accepting is not None
            self._accepting.join()
            for how in (socket.SHUT_RD, socket.SHUT_RDWR):  # the second wakes who waits for a client that does not read
                with self._changed:
                    live = dict(self._open)
                    for sock in [s for pair in live.values() for s in pair]:
                        with contextlib.suppress(OSError):
                            sock.shutdown(how)
                deadline = time.monotonic() + 1
                for thread in live:
                    thread.join(max(0.0, deadline - time.monotonic()))
        stack = contextlib.ExitStack()
        stack.callback(self.back)
        return stack

    def back(self) -> None:
        """Listens again, on the same port."""
        with self._changed:
            if self._listener is not None:
                return
            self._storm = threading.Event()
            self._listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
            self._accepting = threading.Thread(
                target=self._accept, args=(self._listener, self._storm), name="weather", daemon=True
            )
            self._accepting.start()

    def __enter__(self) -> Weather:
        self.back()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gone()

    def _accept(self, listener: socket.socket, storm: threading.Event) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(client, storm), name="weather", daemon=True)
            with self._changed:
                self._open[thread] = [client]
            thread.start()

    def _serve(self, client: socket.socket, storm: threading.Event) -> None:
        """One connection, request after request."""
        incoming = client.makefile("rb")
        reset = flush = True
        try:
            while not storm.is_set() and self._exchange(client, incoming, storm):
                pass
            reset = storm.is_set()
        except _CutError as cut:
            reset = cut.reset or storm.is_set()
        except OSError:
            flush = False  # client or server is gone; the other learns it by a reset
        finally:
            if reset and flush:
                _arrived(client, storm)
            _close(client, incoming, reset)
            with self._changed:
                del self._open[threading.current_thread()]

    def _exchange(self, client: socket.socket, incoming: BinaryIO, storm: threading.Event) -> bool:
        """One request and its answer. Returns whether the connection goes on."""
        head = _Head.read(incoming)
        if head is None:
            return False
        method, target, version = head.first.split(" ", 2)
        parts = urlsplit(target)
        seen = Seen(method, parts.path, parts.query, head.get("range") or None, time.monotonic())
        with self._changed:
            seen.fault = fault = self._fault(seen)
            self._seen.append(seen)
            self._changed.notify_all()
        if head.get("expect").lower() == "100-continue":
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head.lines = [line for line in head.lines if not line.lower().startswith(b"expect:")]
        body = b"".join(_raw_body(head, incoming))

        if isinstance(fault, Delay) and storm.wait(fault.seconds):
            raise _CutError(reset=True)
        if isinstance(fault, Hold):
            while not fault.until.wait(0.05):
                if storm.is_set():
                    raise _CutError(reset=True)
        if fault == Reset(None):
            raise _CutError(reset=True)
        keep = version != "HTTP/1.0" and head.get("connection").lower() != "close"
        if isinstance(fault, Status):
            self._refuse(client, seen, fault)
            return keep

        with contextlib.ExitStack() as stack:
            server = stack.enter_context(socket.create_connection(self._server))
            with self._changed:
                self._open[threading.current_thread()][1:] = [server]
            server.sendall(head.raw() + body)
            answers = stack.enter_context(server.makefile("rb"))
            return self._answer(client, answers, seen, fault, storm) and keep

    def _fault(self, seen: Seen) -> Fault | None:
        for rule in reversed(self._rules):
            if not rule.matches(seen.method, seen.path):
                continue
            fault = rule.fault
            if isinstance(fault, RandomFaults):
                request = f"{seen.method} {seen.path}?{seen.query} {seen.range}"
                rule.asked[request] += 1
                drawn = fault.draw(request, rule.asked[request])
                if drawn is None:
                    continue
                fault = drawn
            rule.used += 1
            return fault
        return None

    def _refuse(self, client: socket.socket, seen: Seen, fault: Status) -> None:
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{fault.code}</Code><Message>{fault.message}</Message>"
            f"<Resource>{seen.path}</Resource><RequestId>weather</RequestId></Error>"
        ).encode()
        head = f"HTTP/1.1 {fault.status} {fault.code}\r\nContent-Type: application/xml\r\n"
        body = b"" if seen.method == "HEAD" else text
        self._note(seen, status=fault.status, sent=len(body))
        client.sendall(f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + body)

    def _answer(
        self, client: socket.socket, answers: BinaryIO, seen: Seen, fault: Fault | None, storm: threading.Event
    ) -> bool:
        """The server's answer, as far as the fault lets it. Returns whether the connection can go on."""
        head = _Head.read(answers)
        while head is not None and head.status < 200:
            head = _Head.read(answers)
        if head is None:
            raise _CutError(reset=True)  # the server died
        self._note(seen, status=head.status)
        client.sendall(head.raw())
        bodiless = seen.method == "HEAD" or head.status in (204, 304)
        left = fault.after if isinstance(fault, Reset | Truncate) else None
        size = fault.size if isinstance(fault, Trickle) else PIECE
        try:
            for piece in () if bodiless else _payload(head, answers):
                for start in range(0, len(piece), size):
                    part = piece[start : start + size]
                    part = part if left is None else part[: left - seen.sent]
                    if part:
                        self._note(seen, sent=len(part))
                        client.sendall(b"%x\r\n%b\r\n" % (len(part), part) if head.chunked else part)
                    if left is not None and seen.sent >= left:
                        raise _CutError(isinstance(fault, Reset))
                    if isinstance(fault, Trickle) and storm.wait(fault.pause):
                        raise _CutError(reset=True)
        except EOFError:
            raise _CutError(reset=True) from None  # the server died in the middle
        if head.chunked and not bodiless:
            client.sendall(b"0\r\n\r\n")
        if isinstance(fault, Reset | Truncate):
            raise _CutError(isinstance(fault, Reset))
        framed = bodiless or head.chunked or head.get("content-length") != ""
        return framed and head.get("connection").lower() != "close"

    def _note(self, seen: Seen, status: int | None = None, sent: int = 0) -> None:
        with self._changed:
            seen.status = seen.status if status is None else status
            seen.sent += sent
            self._changed.notify_all()


@dataclass
class _Head:
    """The first line and the header lines of a message, as they came."""

    first: str
    lines: list[bytes]

    @classmethod
    def read(cls, stream: BinaryIO) -> _Head | None:
        """None at the end of the stream."""
        lines = []
        while (line := stream.readline(PIECE)) not in (b"\r\n", b"\n"):
            if not line.endswith(b"\n"):
                return None
            lines.append(line)
        return cls(lines[0].decode("latin-1").strip(), lines) if lines else None

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1])

    @property
    def chunked(self) -> bool:
        return "chunked" in self.get("transfer-encoding").lower()

    def get(self, name: str) -> str:
        """The header `name`, in lower case; "" where there is none."""
        for line in self.lines[1:]:
            key, _, value = line.decode("latin-1").partition(":")
            if key.strip().lower() == name:
                return value.strip()
        return ""

    def raw(self) -> bytes:
        return b"".join(self.lines) + b"\r\n"


def _exactly(stream: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read1(min(size, PIECE))  # type: ignore[attr-defined]
        if not piece:
            raise EOFError
        size -= len(piece)
        yield piece


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The line before each chunk, and the chunk's size."""
    while True:
        line = stream.readline(PIECE)
        if not line.endswith(b"\n"):
            raise EOFError
        size = int(line.split(b";")[0], 16)
        yield line, size
        if size == 0:
            return


def _raw_body(head: _Head, stream: BinaryIO) -> Iterator[bytes]:
    """A request's body as it came, chunks' framing and trailers included."""
    try:
        if not head.chunked:
            yield from _exactly(stream, int(head.get("content-length") or 0))
            return
        for line, size in _chunks(stream):
            yield line
            if size:
                yield from _exactly(stream, size + 2)
        trailer = b""
        while trailer not in (b"\r\n", b"\n"):
            trailer = stream.readline(PIECE)
            if not trailer:
                raise EOFError
            yield trailer
    except EOFError:
        raise ConnectionResetError("the client left in the middle of its request") from None


def _payload(head: _Head, stream: BinaryIO) -> Iterator[bytes]:
    """A response's body without its framing.

    Raises:
        EOFError: it ends too soon.
    """
    length = head.get("content-length")
    if head.chunked:
        for _, size in _chunks(stream):
            yield from _exactly(stream, size)
            stream.readline()
    elif length:
        yield from _exactly(stream, int(length))
    else:
        while piece := stream.read1(PIECE):  # type: ignore[attr-defined]
            yield piece


def _arrived(sock: socket.socket, storm: threading.Event) -> None:
    """Waits until the client's side has what was sent, for an RST would overtake it."""
    deadline = time.monotonic() + 5
    with contextlib.suppress(OSError):
        while any(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))) and time.monotonic() < deadline:
            if storm.wait(0.001):
                return


def _close(sock: socket.socket, stream: BinaryIO, reset: bool) -> None:
    """With RST or with FIN."""
    with contextlib.suppress(OSError):
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            sock.shutdown(socket.SHUT_WR)
    stream.close()
    sock.close()
