"""The server answers by the environment alone, and every fault is what the client sees."""

from __future__ import annotations

import errno
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.fs
import pytest
import s3fs

from ..support.server import S3Server, request, signed
from ..support.weather import Delay, Hold, Reset, Status, Trickle, Truncate, Weather

BODY = bytes(range(256)) * 400


@pytest.fixture
def url(s3: str, s3_server: S3Server, weather: Weather) -> str:
    """An object of 100 kB, behind the weather."""
    path = s3.removeprefix("s3:/") + "/a.tar"
    assert request("PUT", s3_server.endpoint + path, BODY)[0] == 200
    return weather.endpoint + path


def get(url: str, connection: http.client.HTTPConnection | None = None) -> http.client.HTTPResponse:
    connection = connection or http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    connection.request("GET", urlsplit(url).path, headers=signed("GET", url))
    return connection.getresponse()


def read_until_it_breaks(url: str) -> tuple[int, type[Exception] | None]:
    """As a slow reader does: with room for little, most of the body waits on the other side."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    connection.sock = socket.socket()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sock.connect((connection.host, connection.port))
    response, count = get(url, connection), 0
    try:
        while piece := response.read1(1000):
            count += len(piece)
    except Exception as error:
        return count, type(error)
    return count, None


def test_s3fs_and_pyarrow_need_only_the_environment(s3: str) -> None:
    s3fs.S3FileSystem().pipe(f"{s3}/folder/a", BODY)
    files, path = pyarrow.fs.FileSystem.from_uri(f"{s3}/folder/a")
    with files.open_input_file(path) as file:
        assert file.read() == BODY
    with files.open_output_stream(f"{path}-b") as out:
        out.write(BODY[:100])
    assert s3fs.S3FileSystem(skip_instance_cache=True).cat(f"{s3}/folder/a-b") == BODY[:100]


def test_weather_that_is_clear_changes_nothing(s3: str, weather: Weather) -> None:
    """Multipart uploads, ranges, listings, 404s, HEADs and pyarrow's chunked, checksummed puts."""
    big = BODY * 60
    s3fs_ = s3fs.S3FileSystem(default_block_size=5 << 20)
    with s3fs_.open(f"{s3}/big", "wb") as out:
        out.write(big)
    assert s3fs_.cat_file(f"{s3}/big", start=1000, end=3000) == big[1000:3000]
    assert s3fs_.cat(f"{s3}/big") == big
    assert not s3fs_.exists(f"{s3}/none")
    files, path = pyarrow.fs.FileSystem.from_uri(f"{s3}/arrow")
    with files.open_output_stream(path) as out:
        out.write(BODY)
    assert files.get_file_info(path).size == len(BODY)
    assert sorted(s3fs_.ls(s3, refresh=True)) == [f"{s3[5:]}/arrow", f"{s3[5:]}/big"]
    ranged = [seen for seen in weather.seen if seen.range == "bytes=1000-2999"]
    assert [(seen.method, seen.status, seen.sent) for seen in ranged] == [("GET", 206, 2000)]
    assert {seen.method for seen in weather.seen} >= {"GET", "HEAD", "PUT", "POST"}


def test_weather_proxy_serves_many_requests_on_one_connection(url: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    get(url, connection).read()
    held = connection.sock
    put = url + "-2"
    connection.putrequest("PUT", urlsplit(put).path, skip_host=True)
    for name, value in {**signed("PUT", put, BODY), "Content-Length": str(len(BODY)), "Expect": "100-continue"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    first = held.recv(100)
    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send(BODY)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    assert get(put, connection).read() == BODY
    assert connection.sock is held
    connection.close()


@pytest.mark.parametrize("after", [0, 1, 1000, 70_001])
def test_weather_reset_comes_after_exactly_so_many_bytes(url: str, weather: Weather, after: int) -> None:
    with weather.rule(Reset(after), method="GET", path=".tar", times=1) as rule:
        assert read_until_it_breaks(url) == (after, ConnectionResetError)
        assert read_until_it_breaks(url) == (len(BODY), None)  # used up
    assert rule.used == 1
    assert [(seen.status, seen.sent, seen.fault) for seen in weather.seen] == [
        (200, after, Reset(after)),
        (200, len(BODY), None),
    ]


def test_weather_reset_comes_in_place_of_an_answer(url: str, weather: Weather) -> None:
    with weather.rule(Reset()), pytest.raises(ConnectionResetError):
        get(url)
    assert weather.seen[-1].status is None


def test_weather_truncates_a_body_early_and_cleanly(url: str, weather: Weather) -> None:
    with weather.rule(Truncate(after=1234)), pytest.raises(http.client.IncompleteRead) as caught:
        get(url).read()
    assert caught.value.partial == BODY[:1234]


def test_weather_slow_down_does_not_reach_the_server(url: str, weather: Weather) -> None:
    with weather.rule(Status(503), when=lambda method, path: method == "PUT" and path.endswith("-new")):
        status, text = request("PUT", url + "-new", b"x")
        assert get(url).read() == BODY
    assert (status, b"<Code>SlowDown</Code>" in text) == (503, True)
    assert request("GET", url + "-new")[0] == 404


def test_weather_holds_a_request_until_the_test_lets_it_go(url: str, weather: Weather) -> None:
    let_go, got = threading.Event(), []
    with weather.rule(Hold(let_go)):
        reader = threading.Thread(target=lambda: got.append(get(url).read()))
        reader.start()
        weather.wait(lambda seen: len(seen) == 1)
        assert not got
        let_go.set()
        reader.join(5)
    assert got == [BODY]


def test_weather_delay_and_trickle_take_their_time(url: str, weather: Weather) -> None:
    start = time.monotonic()
    with weather.rule(Delay(0.2)):
        assert get(url).read() == BODY
    delayed = time.monotonic()
    with weather.rule(Trickle(size=len(BODY) // 4, pause=0.1)):
        assert get(url).read() == BODY
    assert delayed - start >= 0.2
    assert time.monotonic() - delayed >= 0.3


def test_weather_gone_refuses_and_resets_until_it_is_back(url: str, weather: Weather) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    get(url, connection).read()
    with weather.gone():
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            get(url, connection)
        with pytest.raises(ConnectionRefusedError):
            get(url)
    assert get(url).read() == BODY
    with weather.rule(Hold(threading.Event())):
        waiting: list[object] = []
        reader = threading.Thread(target=lambda: waiting.append(_error_of(url)))
        reader.start()
        weather.wait(lambda seen: isinstance(seen[-1].fault, Hold))
        weather.gone()
        reader.join(5)
    assert waiting == [ConnectionResetError]


def _error_of(url: str) -> type[Exception] | None:
    try:
        get(url)
    except Exception as error:
        return type(error)
    return None


def test_weather_of_a_seed_is_the_same(url: str, weather: Weather) -> None:
    def outcomes(seed: int) -> list[object]:
        weather.forget()
        with weather.random_faults(seed, 0.5, method="GET"):
            for _ in range(12):
                _swallow(url)
        return [seen.fault for seen in weather.seen]

    first = outcomes(1)
    assert first == outcomes(1)
    assert first != outcomes(2)
    assert 0 < sum(fault is not None for fault in first) < 12


def _swallow(url: str) -> None:
    try:
        get(url).read()
    except (OSError, http.client.HTTPException):
        return


def test_weather_takes_the_later_rule(url: str, weather: Weather) -> None:
    with weather.rule(Status(500)) as older, weather.rule(Status(503), times=1) as newer:
        assert [get(url).status for _ in range(2)] == [503, 500]
    assert (older.used, newer.used) == (1, 1)
    assert get(url).status == 200


def test_weather_that_passes_lets_s3fs_read_on(s3: str, url: str, weather: Weather) -> None:
    files = s3fs.S3FileSystem()
    with weather.rule(Status(), method="GET", times=1) as slow:
        assert files.cat(f"{s3}/a.tar") == BODY
    with weather.rule(Truncate(after=10), method="GET", times=1) as short:
        assert files.cat(f"{s3}/a.tar") == BODY
    assert (slow.used, short.used) == (1, 1)


def test_weather_server_vanishes_and_comes_back_with_its_data(s3: str, url: str, s3_server: S3Server) -> None:
    direct = s3_server.endpoint + urlsplit(url).path
    s3_server.kill()
    with pytest.raises(ConnectionRefusedError):
        request("GET", direct)
    with pytest.raises(ConnectionResetError):
        get(url)
    s3_server.start()
    assert request("GET", direct) == (200, BODY)


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_weather_server_does_not_outlive_a_killed_process(tmp_path: Path) -> None:
    """And two servers live side by side: the session's may be up."""
    script = f"""
import json
from tests.support.server import S3Server
server = S3Server({str(tmp_path)!r})
server.start()
print(json.dumps(server.ports), flush=True)
input()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    server = S3Server(tmp_path)
    server.ports = json.loads(child.stdout.readline())
    port = server.ports["s3"]
    socket.create_connection(("127.0.0.1", port)).close()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert _ends_up_refusing(port)
    server.kill()  # takes away the sockets that it left in /tmp


def _ends_up_refusing(port: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED:
                return True
    return False


@pytest.mark.processes
def test_weather_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    server = S3Server(tmp_path)
    (tmp_path / "filerldb2").write_text("not a folder")
    with pytest.raises(RuntimeError, match=r"its log ends:\n(.*\n)*.*filerldb2"):
        server.start()
    assert server._process is None
