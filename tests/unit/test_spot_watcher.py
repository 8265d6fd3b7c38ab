"""The spot watcher against a small HTTP server that plays the metadata service."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from ray.scripts.scripts import drain_node

spec = importlib.util.spec_from_file_location("spot_watcher", Path(__file__).parents[2] / "cluster" / "spot_watcher.py")
assert spec
assert spec.loader
spot_watcher = importlib.util.module_from_spec(spec)
sys.modules["spot_watcher"] = spot_watcher
spec.loader.exec_module(spot_watcher)

ACTION = "/latest/meta-data/spot/instance-action"
REBALANCE = "/latest/meta-data/events/recommendations/rebalance"


class Service(ThreadingHTTPServer):
    """Both providers' metadata: `values` by path, tokens that expire, requests that fail."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.values: dict[str, str] = {}
        self.tokens = 0
        self.failing = 0
        self.asked: list[str] = []
        self.preempted, self.waiting, self.changed = "FALSE", Event(), Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, code: int, body: str = "", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token"
        assert int(self.headers["X-aws-ec2-metadata-token-ttl-seconds"]) <= 21600
        self.server.tokens += 1
        self.answer(200, f"token-{self.server.tokens}")

    def do_GET(self) -> None:
        place, query = urlparse(self.path).path, parse_qs(urlparse(self.path).query)
        self.server.asked.append(place)
        if self.server.failing:
            self.server.failing -= 1
            self.answer(503)
        elif place == "/computeMetadata/v1/instance/preempted":
            self.preempted(query)
        elif self.headers.get("X-aws-ec2-metadata-token") != f"token-{self.server.tokens}":
            self.answer(401)
        elif place in self.server.values:
            self.answer(200, self.server.values[place])
        else:
            self.answer(404)

    def preempted(self, query: dict[str, list[str]]) -> None:
        if self.headers.get("Metadata-Flavor") != "Google":
            self.answer(403)
            return
        assert query["wait_for_change"] == ["true"]
        if query["last_etag"] == [f"etag-{self.server.preempted}"]:  # nothing new yet
            self.server.waiting.set()
            self.server.changed.wait(float(query["timeout_sec"][0]))
        self.answer(200, self.server.preempted, ETag=f"etag-{self.server.preempted}")


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.changed.set()
    made.shutdown()
    made.server_close()


def in_seconds(seconds: float) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


class Drains:
    """What was asked of Ray; refuses so many times."""

    def __init__(self, refusals: int = 0) -> None:
        self.notices: list[Any] = []
        self.refusals = refusals

    def __call__(self, notice: Any) -> bool:
        self.notices.append(notice)
        return len(self.notices) > self.refusals


def pauses(*then: Any) -> Any:
    """Does the next thing instead of pausing, and remembers for how long it was asked to."""
    todo = list(then)

    def pause(seconds: float) -> None:
        pause.taken.append(seconds)  # type: ignore[attr-defined]
        if todo:
            todo.pop(0)()

    pause.taken = []  # type: ignore[attr-defined]
    return pause


def test_aws_notice_of_two_minutes_drains_with_the_time_left(service: Service) -> None:
    drains = Drains()
    notice = {"action": "terminate", "time": in_seconds(118)}
    pause = pauses(lambda: None, lambda: service.values.update({ACTION: json.dumps(notice)}))
    spot_watcher.watch(spot_watcher.Aws(service.url), drains, pause)
    assert pause.taken == [5.0, 5.0]
    assert len(drains.notices) == 1
    assert 110 < drains.notices[0].seconds <= 118
    assert "terminate" in drains.notices[0].why
    assert service.tokens == 1, "one token serves many questions"


def test_aws_rebalance_recommendation_drains_only_on_request(service: Service) -> None:
    service.values[REBALANCE] = json.dumps({"noticeTime": in_seconds(0)})
    assert spot_watcher.Aws(service.url).look() is None
    assert REBALANCE not in service.asked
    notice = spot_watcher.Aws(service.url, rebalance=True).look()
    assert notice is not None
    assert "rebalance" in notice.why


def test_aws_token_that_expired_is_fetched_again(service: Service) -> None:
    drains, provider = Drains(), spot_watcher.Aws(service.url)
    assert provider.look() is None
    service.tokens += 1  # the one handed out is no longer good
    service.values[ACTION] = json.dumps({"action": "stop", "time": in_seconds(60)})
    spot_watcher.watch(provider, drains, pauses())
    assert len(drains.notices) == 1


def test_gcp_change_is_waited_for_at_the_service(service: Service) -> None:
    drains, provider = Drains(), spot_watcher.Gcp(service.url)
    assert provider.look() is None
    watching = Thread(target=spot_watcher.watch, args=(provider, drains, pauses()))
    watching.start()
    assert service.waiting.wait(timeout=300), "it asks again and again instead"
    service.preempted = "TRUE"
    service.changed.set()
    watching.join(timeout=30)
    assert not watching.is_alive()
    assert [(notice.seconds, notice.why) for notice in drains.notices] == [(30.0, "preempted")]


def test_watcher_asks_a_failing_service_again_and_warns_once(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.failing = 4
    service.values[ACTION] = json.dumps({"action": "terminate", "time": in_seconds(90)})
    drains, pause = Drains(), pauses()
    spot_watcher.watch(spot_watcher.Aws(service.url), drains, pause)
    assert pause.taken == [1.0, 2.0, 4.0, 8.0]
    said = capsys.readouterr().out
    assert said.count("does not answer") == 1
    assert said.count("answers again") == 1
    assert len(drains.notices) == 1


def test_drain_that_is_refused_is_asked_for_again_with_the_time_left(service: Service) -> None:
    service.values[ACTION] = json.dumps({"action": "terminate", "time": in_seconds(90)})
    drains = Drains(refusals=2)
    spot_watcher.watch(spot_watcher.Aws(service.url), drains, pauses())
    assert len(drains.notices) == 3
    assert drains.notices[2].seconds < drains.notices[0].seconds


def test_watcher_watches_the_service_it_is_given(service: Service) -> None:
    service.values[ACTION] = json.dumps({"action": "terminate", "time": in_seconds(90)})
    drains = Drains()
    assert spot_watcher.main(["aws", "--address", "10.0.0.1:6379", "--metadata", service.url], drains) == 0
    assert len(drains.notices) == 1


def test_without_an_address_the_program_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(SystemExit) as stopped:
        spot_watcher.main(["aws"])
    assert stopped.value.code == 2
    assert "--address" in capsys.readouterr().err


def test_rays_own_command_takes_the_arguments() -> None:
    notice = spot_watcher.Notice(117.6, "spot: terminate")
    command = spot_watcher.drain_command("ab" * 28, "10.0.0.1:6379", notice)
    assert command[1:4] == ["-m", "ray.scripts.scripts", "drain-node"]
    given = drain_node.make_context("drain-node", command[4:]).params
    assert given == {
        "address": "10.0.0.1:6379",
        "node_id": "ab" * 28,
        "reason": "DRAIN_NODE_REASON_PREEMPTION",
        "reason_message": "spot: terminate",
        "deadline_remaining_seconds": 117,
    }


@pytest.mark.processes
def test_drain_that_fails_passes_on_the_words_of_ray(capsys: pytest.CaptureFixture[str]) -> None:
    """Ray's own command, which refuses the id before it talks to anybody."""
    drain = spot_watcher.ray_drain("127.0.0.1:1", lambda: ["0" * 7])
    assert drain(spot_watcher.Notice(60, "test")) is False
    assert "is not drained" in capsys.readouterr().out


def test_watcher_holds_a_stopping_machine_until_its_ray_node_is_gone() -> None:
    there, drains = [["node"], ["node"], []], Drains()
    pause = pauses()
    spot_watcher.now(100, drains, lambda: there.pop(0), pause)
    assert len(pause.taken) == 2
    assert drains.notices[0].seconds == 100
    spot_watcher.now(0, drains, lambda: ["node"], pause)
    assert len(pause.taken) == 2
