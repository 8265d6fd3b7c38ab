"""serve.py on Ray Serve, as a person starts it: its answers, its sockets, a replica that is killed, and its end.

pytest tests/integration/test_serve_cli.py
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from i2i_core.translation.model import load

from ..support.processes import left_for_good
from ..support.serve_program import Program, serving
from ..support.serving import image_of, png
from ..support.sockets import listeners

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.processes]


@pytest.fixture
def run(stargan: str, tmp_path: Path) -> str:
    """A run in a folder of its own name."""
    shutil.copytree(stargan, tmp_path / "letters")
    return str(tmp_path / "letters")


def ask(client: httpx.Client, path: str = "models/letters/translate", target: str = "bold", seed: int = 0) -> Any:
    return client.post(path, files={"image": png(16, 16, seed=seed)}, data={"target": target})


def test_serve_answers_batches_survives_and_ends_quietly(run: str, tmp_path: Path) -> None:
    from PIL import Image

    with serving(tmp_path / "log", run, "--batch-wait", "200", "--most-mib", "1") as program:
        client = httpx.Client(base_url=program.url, timeout=120)
        assert client.get("health").json() == {"state": "ready", "models": 1}
        answer = ask(client)
        assert answer.status_code == 200, answer.text
        expected = load(run).translate(Image.fromarray(image_of(png(16, 16))), target="bold")
        assert (image_of(answer.content) == expected).all()
        with ThreadPoolExecutor(12) as pool:
            together = list(pool.map(lambda seed: ask(client, seed=seed), range(12)))
        assert {one.status_code for one in together} == {200}
        assert max(int(one.headers["x-batch"]) for one in together) > 1, "images that wait go together"
        _refuses_what_is_too_large(client, program)
        assert [one for one in listeners(program.processes()) if not one.address.is_loopback] == []
        _survives(client, program)
        metrics = client.get("metrics").text
        assert re.search(r'i2i_answers_total\{model="letters",status="200"\} \d+', metrics)
        texts = [client.get(path).text for path in ("models", "openapi.json", "metrics", "nothing", "-/routes")]
        assert not [text for text in texts if str(tmp_path) in text or run in text]
        assert program.interrupt() == 0
        lines = program.text().splitlines()
    assert lines[-1] == "ended"
    assert not [line for line in lines if "Traceback" in line or "ERROR" in line or "WARNING" in line], lines
    assert left_for_good(program.processes) == []


def _refuses_what_is_too_large(client: httpx.Client, program: Program) -> None:
    """Bodies of 200 MB, with and without a stated length, are turned away and take no memory."""
    before = program.resident()
    part = b"0" * (1 << 20)

    def body() -> Any:
        for _ in range(200):
            yield part

    headers = {"content-type": "image/png"}
    for length in ({}, {"content-length": str(200 << 20)}):
        try:
            answer = client.post("models/letters/translate", content=body(), headers={**headers, **length})
            assert answer.status_code == 413
        except (httpx.WriteError, httpx.RemoteProtocolError):
            pass  # turned away in the midst of it
    assert program.resident() - before < 150 << 20


def _survives(client: httpx.Client, program: Program) -> None:
    """A model whose process is killed is back by itself; until then there is an answer, and it is 503."""
    (replica,) = program.processes("ServeReplica:i2i:model-0")
    os.kill(replica.pid, signal.SIGKILL)
    statuses = list[int]()
    began = time.monotonic()
    while time.monotonic() - began < 180:
        statuses.append(ask(client).status_code)
        if statuses[-1] == 200 and program.processes("ServeReplica:i2i:model-0"):
            break
        time.sleep(0.5)  # a client's own patience
    assert statuses[-1] == 200
    assert {*statuses} <= {200, 503, 504}


def test_serve_asks_for_a_token_beyond_loopback_and_shows_it_nowhere_else(run: str, tmp_path: Path) -> None:
    with serving(tmp_path / "log", run, "--host", "0.0.0.0") as program:
        (token,) = re.findall(r"page: http://\S+/#(\S+)", program.text())
        url = re.sub(r"//[^:]+:", "//127.0.0.1:", program.url)
        assert httpx.get(f"{url}models").status_code == 401
        assert httpx.get(f"{url}models", headers={"authorization": f"Bearer {token}"}).status_code == 200
        assert not [one for one in program.processes() if token in one.command]
        session = next(Path("/tmp/ray").glob("session_latest/logs"), None)
        assert session
        logs = [path for path in session.rglob("*") if path.is_file()]
        assert not [path for path in logs if token.encode() in path.read_bytes()]
        assert program.interrupt(signal.SIGTERM) == 0


@pytest.mark.parametrize("wrong", ["nowhere", "damaged", "port"])
def test_serve_says_what_is_wrong_before_ray_starts(wrong: str, run: str, tmp_path: Path) -> None:
    import socket
    import subprocess
    import sys

    from ..support.data import ROOT

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        place = run
        if wrong == "nowhere":
            place = f"{run}s"
        elif wrong == "damaged":
            for file in Path(run).rglob("*.safetensors"):
                file.write_bytes(file.read_bytes()[:-4])
        command = [sys.executable, f"{ROOT}/pipelines/serve.py", place]
        command += ["--port", str(port)] if wrong == "port" else []
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2, done.stderr
    assert {"nowhere": "letterss", "damaged": "found", "port": "--port: found"}[wrong] in done.stderr
    assert "Traceback" not in done.stderr
