"""Storage that fails in every way it can: what comes is right, what does not come is told, and when.

pytest tests/storage/test_storage.py
"""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from torch.utils.data import DataLoader, Dataset

from i2i_core.errors import RunError
from i2i_core.storage import remote as remotes
from i2i_core.storage import retry
from i2i_core.storage.folder import Folder
from i2i_core.storage.remote import Remote, storage_of
from i2i_core.storage.retry import PATIENCE, StorageError, is_weather, patient_for

from ..support.server import KEY, SECRET, S3Server, use
from ..support.server import request as asked
from ..support.weather import Delay, Fault, Reset, Status, Truncate, Weather

BODY = random.Random(0).randbytes(300_000)
FAULTS: dict[str, Fault] = {
    "503": Status(503, "SlowDown"),
    "500": Status(500, "InternalError", "We encountered an internal error."),
    "429": Status(429, "TooManyRequests"),
    "reset": Reset(),
    "reset-in-body": Reset(after=70),
    "truncated": Truncate(after=50),
}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No retry but ours, short pauses and little patience."""
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.1)
    monkeypatch.setitem(remotes.S3, "retries", {"mode": "standard", "total_max_attempts": 1})
    monkeypatch.setenv(PATIENCE, "20")


@pytest.fixture
def remote(s3: str, s3_server: S3Server, weather: Weather, bare: None) -> Remote:
    """A place with a/x (BODY), a/y (its first 1000 bytes), ab (one byte)."""
    for key, data in {"a/x": BODY, "a/y": BODY[:1000], "ab": b"b"}.items():
        assert asked("PUT", f"{s3_server.endpoint}/{s3[5:]}/{key}", data)[0] == 200
    return Remote(s3)


def poured(remote: Remote, path: str, start: int, stop: int) -> bytes:
    out = io.BytesIO()
    remote.pour(path, out, start, stop)
    return out.getvalue()


def written(remote: Remote, path: str, write: Callable[[], None]) -> bytes:
    write()
    return remote.cat_file(path)


def put(remote: Remote, path: str, tmp: Path) -> bytes:
    (tmp / "local").write_bytes(BODY)
    return written(remote, path, lambda: remote.put_file(str(tmp / "local"), path))


def removed(remote: Remote, path: str) -> bool:
    remote.rm(path)
    return remote.exists(path)


OPERATIONS: dict[str, tuple[Callable[[Remote, str, Path], Any], Any]] = {
    "cat_file": (lambda r, b, _: r.cat_file(f"{b}/a/x"), BODY),
    "a range": (lambda r, b, _: r.cat_file(f"{b}/a/x", 10, 2010), BODY[10:2010]),
    "cat_ranges": (
        lambda r, b, _: r.cat_ranges([f"{b}/a/x", f"{b}/a/y"], [5, 6], [900, 907]),
        [BODY[5:900], BODY[6:907]],
    ),
    "pipe_file": (lambda r, b, _: written(r, f"{b}/new", lambda: r.pipe_file(f"{b}/new", BODY)), BODY),
    "put_file": (lambda r, b, tmp: put(r, f"{b}/new", tmp), BODY),
    "size": (lambda r, b, _: r.size(f"{b}/a/x"), len(BODY)),
    "exists": (lambda r, b, _: (r.exists(f"{b}/a/y"), r.exists(f"{b}/a/z")), (True, False)),
    "isdir": (lambda r, b, _: (r.isdir(f"{b}/a"), r.isfile(f"{b}/a"), r.isdir(f"{b}/no")), (True, False, False)),
    "ls": (lambda r, b, _: [p.removeprefix(f"{b}/") for p in r.ls(f"{b}/a", detail=False)], ["a/x", "a/y"]),
    "find": (lambda r, b, _: [p.removeprefix(f"{b}/") for p in r.find(b)], ["a/x", "a/y", "ab"]),
    "rm": (lambda r, b, _: removed(r, f"{b}/a/y"), False),
    "pour": (lambda r, b, _: poured(r, f"{b}/a/x", 3, 200_000), BODY[3:200_000]),
    "open": (lambda r, b, _: r.open(f"{b}/a/x").read(), BODY),
}


SHORT = ("truncated",)
"""What `make test` plays; the others are long forms."""


@pytest.mark.parametrize("fault", [pytest.param(f, marks=[] if f in SHORT else [pytest.mark.slow]) for f in FAULTS])
def test_storage_operations_survive_every_fault(remote: Remote, weather: Weather, tmp_path: Path, fault: str) -> None:
    for name, (operation, expected) in OPERATIONS.items():
        with weather.rule(FAULTS[fault], times=2) as rule:
            assert operation(remote, remote.root, tmp_path) == expected, name
        assert rule.used == 2 or (name in ("size", "exists") and rule.used), name  # of a HEAD there is no body to cut
        if name == "put_file":
            remote.rm(f"{remote.root}/new")
        if name == "rm":
            remote.pipe_file(f"{remote.root}/a/y", BODY[:1000])


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
def test_storage_operations_survive_random_faults(remote: Remote, weather: Weather, tmp_path: Path, seed: int) -> None:
    with weather.random_faults(seed, 0.4):
        for name, (operation, expected) in OPERATIONS.items():
            assert operation(remote, remote.root, tmp_path) == expected, name
            if name == "put_file":
                remote.rm(f"{remote.root}/new")
            if name == "rm":
                remote.pipe_file(f"{remote.root}/a/y", BODY[:1000])


def test_storage_that_is_slow_is_waited_for(remote: Remote, weather: Weather) -> None:
    with weather.rule(Delay(0.3)) as rule:
        assert remote.cat_file(f"{remote.root}/a/x", 0, 10) == BODY[:10]
    assert rule.used == 1


@pytest.mark.slow
def test_storage_that_never_answers_is_asked_again(
    remote: Remote, weather: Weather, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(remotes.S3, "read_timeout", 0.3)
    with weather.rule(Delay(30), times=2) as rule:
        assert Remote(remote.url).cat_file(f"{remote.root}/a/x") == BODY
    assert rule.used == 2


def test_pour_goes_on_at_the_byte_where_a_body_broke(remote: Remote, weather: Weather) -> None:
    weather.rule(Truncate(after=50_000), times=1)
    weather.rule(Reset(after=70_001), times=1)
    with weather.rule(Reset(), times=1):
        assert poured(remote, f"{remote.root}/a/x", 1000, len(BODY)) == BODY[1000:]
    asked = [int(str(seen.range).removeprefix("bytes=").split("-")[0]) for seen in weather.seen]
    sent = [seen.sent for seen in weather.seen]
    assert sent == [0, 70_001, 50_000, len(BODY) - 1000 - 120_001], "no byte is sent twice"
    assert asked == [1000, 1000, 71_001, 121_001]


def test_pour_of_a_file_that_is_shorter_ends(remote: Remote) -> None:
    for start in (0, 500, 1000, 1500):
        with pytest.raises(EOFError, match="a/y ends before"):
            poured(remote, f"{remote.root}/a/y", start, 2000)


def test_cat_ranges_asks_again_only_for_what_failed(remote: Remote, weather: Weather) -> None:
    """And what is missing is not asked for again, nor does it take what came with it."""
    paths = [f"{remote.root}/a/x", f"{remote.root}/a/y", f"{remote.root}/no", f"{remote.root}/a/y"]
    with weather.rule(Status(), path="/a/x", times=2):
        got = remote.cat_ranges(paths, [0, 0, 0, 5], 10, on_error="return")
    assert [got[0], got[1], got[3]] == [BODY[:10], BODY[:10], BODY[5:10]]
    assert isinstance(got[2], FileNotFoundError)
    assert Counter(seen.path.removeprefix(f"/{remote.root}/") for seen in weather.seen) == {"a/x": 3, "a/y": 2, "no": 1}
    with pytest.raises(FileNotFoundError):
        remote.cat_ranges(paths, 0, 10)
    assert remote.cat_ranges([], [], []) == []


@pytest.mark.slow
def test_storage_writes_a_file_of_many_parts(remote: Remote, weather: Weather, tmp_path: Path) -> None:
    """More than s3fs sends at once, with a part that fails."""
    data = random.Random(1).randbytes(1 << 20) * 101
    (tmp_path / "large").write_bytes(data)
    with weather.rule(Status(), method="PUT", times=1):
        remote.put_file(str(tmp_path / "large"), f"{remote.root}/large")
    assert remote.size(f"{remote.root}/large") == len(data)
    assert remote.cat_file(f"{remote.root}/large", 52_000_000, 53_000_000) == data[52_000_000:53_000_000]


# ---- patience ----


def test_storage_gone_for_good_is_an_error_within_patience(
    remote: Remote, weather: Weather, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATIENCE, "0.1")
    with weather.gone():
        for name, (call, _) in OPERATIONS.items():
            begun = time.monotonic()
            with pytest.raises(StorageError) as caught:
                call(remote, remote.root, tmp_path)
            assert 0.1 <= time.monotonic() - begun < 15, name
            said = str(caught.value)
            assert f"{remote.url}/" in said or f"{remote.url} has" in said, name
            assert "EndpointConnectionError" in said or "ConnectionClosedError" in said, name
            assert KEY not in said, name
            assert SECRET not in said, name
            assert isinstance(caught.value, RunError), name


def test_storage_that_answers_slow_down_is_an_error_within_patience(
    s3: str, weather: Weather, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the retries that a run has below ours."""
    monkeypatch.setenv(PATIENCE, "1")
    begun = time.monotonic()
    with (
        weather.rule(Status()),
        pytest.raises(StorageError, match=r"s3://.*/k has not answered for 1 s \(OSError: .*Unavail"),
    ):
        Remote(s3).cat_file(f"{s3[5:]}/k")
    assert time.monotonic() - begun < 15


def test_storage_gone_for_a_while_is_waited_for(
    remote: Remote, weather: Weather, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """Eight threads and every kind of operation: one line when it is gone, one when it is back."""
    gone = threading.Event()
    refused = threading.Semaphore(0)
    failed = retry.Trying.failed

    def counted(trying: retry.Trying, error: Exception) -> None:
        refused.release()
        failed(trying, error)

    monkeypatch.setattr(retry.Trying, "failed", counted)

    def bring_back() -> None:
        for _ in range(8 * retry.TELL):
            refused.acquire()
        gone.set()
        weather.back()

    reader = threading.Thread(target=bring_back)
    calls = [lambda: remote.cat_file(f"{remote.root}/a/x"), lambda: poured(remote, f"{remote.root}/a/x", 0, len(BODY))]
    calls += [lambda: remote.cat_ranges([f"{remote.root}/a/x"], [0], [len(BODY)])[0]]
    calls += [lambda: remote.open(f"{remote.root}/a/x").read()]
    got: list[bytes] = []
    threads = [threading.Thread(target=lambda i=i: got.append(calls[i % 4]())) for i in range(8)]
    with weather.gone():
        reader.start()
        for thread in threads:
            thread.start()
        for thread in [reader, *threads]:
            thread.join(20)
    assert gone.is_set()
    assert got == [BODY] * 8
    assert [line.split(":")[0] for line in said if "WARNING" in line] == ["WARNING"], said
    assert said[-1] == f"{remote.url.rsplit('/', 1)[0]} answers again", "the bucket"
    assert len(said) == 2


def test_retry_logs_nothing_of_what_fails_once(remote: Remote, weather: Weather, said: list[str]) -> None:
    with weather.rule(Status(), times=retry.TELL - 1):
        remote.cat_file(f"{remote.root}/a/x")
    assert said == []


@pytest.mark.slow
def test_patience_begins_anew_with_every_byte_that_comes(
    remote: Remote, weather: Weather, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty breaks take far longer than the patience of each."""
    monkeypatch.setenv(PATIENCE, "0.3")
    with weather.rule(Reset(after=5000), times=20) as rule:
        monkeypatch.setattr(retry, "LONGEST_PAUSE", 15.0)
        begun = time.monotonic()
        assert poured(remote, f"{remote.root}/a/x", 0, len(BODY)) == BODY
    assert rule.used == 20
    assert time.monotonic() - begun > 2 * 0.3


def test_patience_for_a_while_is_the_smaller_and_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENCE, "50")
    with patient_for(30):
        assert retry.patience() == 30
        with patient_for(100):
            assert retry.patience() == 30
    assert retry.patience() == 50
    monkeypatch.delenv(PATIENCE)
    with patient_for(30):
        pass
    assert retry.patience() == retry.DEFAULT_PATIENCE


def test_retry_logs_no_password_of_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENCE, "0")
    error = OSError("no answer from https://me:hidden@host/a?X-Amz-Signature=hidden&b=1 at all")
    with pytest.raises(StorageError) as caught:
        retry.Trying("sftp://me:hidden@host/folder").failed(error)
    assert str(caught.value).startswith(
        "sftp://host/folder has not answered for 0 s (OSError: no answer from https://host/a at all)"
    )


# ---- what is told at once ----


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A pause is a failure."""

    def never(_: float) -> None:
        raise AssertionError("it was tried again")

    monkeypatch.setattr(retry.time, "sleep", never)
    return


@pytest.mark.usefixtures("impatient")
def test_storage_says_at_once_what_is_not_there(remote: Remote, weather: Weather, tmp_path: Path) -> None:
    key, bucket = f"{remote.root}/no", "bucket-that-never-was/no"
    for path in (key, bucket):
        for call in (
            lambda path=path: remote.cat_file(path),
            lambda path=path: remote.size(path),
            lambda path=path: remote.open(path),
            lambda path=path: remote.ls(path),
            lambda path=path: poured(remote, path, 0, 10),
            lambda path=path: remote.cat_ranges([path], 0, 10),
        ):
            weather.forget()
            with pytest.raises(FileNotFoundError):
                call()
            assert len(weather.seen) <= 3, weather.seen
        assert not remote.exists(path)


@pytest.mark.usefixtures("impatient")
def test_storage_says_at_once_what_is_forbidden(remote: Remote, weather: Weather) -> None:
    with weather.rule(Status(403, "AccessDenied", "Access Denied")):
        for call in (
            lambda: remote.cat_file(f"{remote.root}/a/x"),
            lambda: remote.exists(f"{remote.root}/a/x"),
            lambda: remote.ls(remote.root),
            lambda: remote.pipe_file(f"{remote.root}/new", b""),
        ):
            with pytest.raises(PermissionError):
                call()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("wrong", ["none", "unknown key", "wrong secret", "no profile", "half"])
def test_storage_says_at_once_that_credentials_are_wrong(
    remote: Remote, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    env = {
        "none": {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
        "half": {"AWS_SECRET_ACCESS_KEY": ""},
        "unknown key": {"AWS_ACCESS_KEY_ID": "nobody"},
        "wrong secret": {"AWS_SECRET_ACCESS_KEY": "guess"},
        "no profile": {"AWS_PROFILE": "nobody"},
    }[wrong]
    use(monkeypatch, env)
    other = Remote(remote.url)
    for call in (lambda: other.cat_file(f"{remote.root}/a/x"), lambda: other.exists(f"{remote.root}/a/x")):
        with pytest.raises(PermissionError, match="refused") as caught:
            call()
        assert str(caught.value.filename).startswith(remote.url)


@pytest.mark.usefixtures("impatient")
def test_storage_reads_local_files_without_patience(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        folder.read("no")
    (tmp_path / "sub").mkdir()
    with pytest.raises(IsADirectoryError):
        folder.read("sub")
    assert type(storage_of(str(tmp_path))[0]).__name__ == "LocalFileSystem"


def test_retry_knows_errors_of_other_libraries() -> None:
    import aiohttp
    import botocore.exceptions as boto

    class OfGoogle(Exception):  # noqa: N818
        code = 403

    OfGoogle.__module__ = "gcsfs.retry"
    for error in (
        aiohttp.ClientPayloadError(),
        aiohttp.ServerDisconnectedError(),
        boto.EndpointConnectionError(endpoint_url="u"),
        boto.ConnectionClosedError(endpoint_url="u"),
        boto.ReadTimeoutError(endpoint_url="u"),
        boto.ConnectTimeoutError(endpoint_url="u"),
        boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        TimeoutError(),
        ConnectionResetError(),
        OSError(16, "Please reduce your request rate."),
    ):
        assert is_weather(error), error
    for error in (
        boto.NoCredentialsError(),
        boto.ProfileNotFound(profile="p"),
        boto.NoRegionError(),
        boto.ParamValidationError(report="r"),
        boto.UnauthorizedSSOTokenError(),
        boto.SSLError(endpoint_url="u", error="certificate verify failed: CERTIFICATE_VERIFY_FAILED"),
        OfGoogle(),
        OSError(28, "No space left on device"),
        PermissionError(),
        ValueError(),
        KeyError(),
    ):
        assert not is_weather(error), error


def test_storage_heeds_the_user_s_own_settings(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"config_kwargs": {"read_timeout": 99, "retries": {"total_max_attempts": 7}}, "requester_pays": True}
    monkeypatch.setitem(fsspec.config.conf, "s3", own)
    fs = Remote(s3).fs
    assert fs.config_kwargs["read_timeout"] == 99
    assert fs.config_kwargs["retries"] == {"total_max_attempts": 7}
    assert fs.config_kwargs["max_pool_connections"] == 64
    assert fs.requester_pays


# ---- other processes ----


class Lengths(Dataset[int]):
    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> int:
        return len(self.folder.read("a/x")) + i


def _send(folder: Folder, out: Any) -> None:
    out.send((folder.read("a/x"), folder.names("a")))


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_folder_carries_over_to_other_processes(remote: Remote, how: str) -> None:
    """One that is in use: what it is connected to stays here."""
    folder = Folder(remote.url)
    folder.read("a/x")
    context = multiprocessing.get_context(how)
    here, there = context.Pipe()
    child = context.Process(target=_send, args=(folder, there))
    child.start()
    try:
        assert here.poll(30)
        assert here.recv() == (BODY, ["x", "y"])
    finally:
        child.kill()
        child.join()
    assert folder.read("a/x") == BODY


def test_folder_carries_over_to_loaders_and_by_pickling(remote: Remote) -> None:
    folder = Folder(remote.url)
    assert pickle.loads(pickle.dumps(folder)).read("a/y") == BODY[:1000]
    loader = DataLoader(Lengths(folder), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=30)
    assert [int(n) for n in loader] == [len(BODY) + i for i in range(4)]


# ---- the same on every storage ----


@pytest.fixture(
    params=[
        "local",
        "memory",
        *(pytest.param(place, marks=pytest.mark.s3) for place in ("s3", "s3 bucket", "s3 slash")),
    ]
)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "local":
        return Folder(str(tmp_path / "new" / "folder"))
    if request.param == "memory":
        return Folder(f"memory://{tmp_path.name}/folder")
    s3 = request.getfixturevalue("s3")
    if request.param != "s3 bucket":
        return Folder(s3 + {"s3": "/new/folder", "s3 slash": "/new/folder/"}[request.param])
    name, server = f"bucket-{os.urandom(4).hex()}", request.getfixturevalue("s3_server")
    assert asked("PUT", f"{server.endpoint}/{name}")[0] == 200
    return Folder(f"s3://{name}")


def test_folder_is_the_same_everywhere(folder: Folder) -> None:
    assert folder.names() == []
    assert folder.names("no/such") == []
    assert not folder.exists("a")
    assert folder.size("a") == -1
    assert folder.read_json("a") is None
    with pytest.raises(FileNotFoundError):
        folder.read("a")

    folder.write("a", b"")
    assert (folder.read("a"), folder.size("a"), folder.exists("a")) == (b"", 0, True)
    folder.write("a", BODY)
    assert (folder.read("a"), folder.size("a")) == (BODY, len(BODY))
    folder.write_json("run-1/b.json", {"x": [1, None, "ü"]})
    folder.write("run-10/b", b"b")
    folder.write("run-1/deep/er/c", b"c")
    assert folder.names() == ["a", "run-1", "run-10"]
    assert folder.names("run-1") == ["b.json", "deep"]
    assert folder.names("run-1/") == ["b.json", "deep"]
    assert folder.names("a") == []
    assert folder.read_json("run-1/b.json") == {"x": [1, None, "ü"]}
    assert folder.exists("run-1")

    sub = folder.sub("run-1")
    assert sub.read("deep/er/c") == b"c"
    sub.write("d", b"d")
    assert folder.read("run-1/d") == b"d"
    assert folder.at("x") == f"{folder.url}/x"
    assert Folder(folder.absolute).read("a") == BODY

    with folder.beside("shard/0.tar", "_parts") as out:
        out.write(b"whole")
    assert not folder.exists("e")
    folder.publish(out.name, "e")
    assert folder.read("e") == b"whole"
    assert not Path(out.name).exists()

    folder.remove("run-1", "no", "a")
    assert not folder.exists("run-1/deep/er/c")
    assert folder.read("run-10/b") == b"b", "only its own"
    folder.remove("run-10", "e", "_parts")
    assert [path for path in folder.fs.find(folder.root) if path != folder.root] == []


def test_folder_gives_two_files_beside_it_two_names(s3: str) -> None:
    folder = Folder(s3)
    with folder.beside("a", "_parts") as one, folder.beside("a", "_parts") as other:
        assert one.name != other.name
    for file in (one, other):
        folder.discard(file.name)
        assert not Path(file.name).parent.exists()
