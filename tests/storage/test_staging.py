"""Shards of object storage on this node's disk: once, whole, bounded, and in time.

pytest tests/storage/test_staging.py
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import astuple
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import torch

from i2i_core.batch import Batch, join
from i2i_core.config.data import DataConfig
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.shards import ShardOptions, plan
from i2i_core.data.format.table import Shard
from i2i_core.data.reading import staging
from i2i_core.data.reading.ahead import Ahead
from i2i_core.data.reading.lanes import slots_of
from i2i_core.data.reading.reader import Reader
from i2i_core.data.reading.staging import Cache, Need, Stager
from i2i_core.data.reading.stream import Alternating, Numbered, Stream
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.errors import DataError, ResourceError
from i2i_core.images.codec import ImageOptions
from i2i_core.orchestration.sharding import make
from i2i_core.storage import remote, retry
from i2i_core.storage.remote import storage_of
from i2i_core.storage.retry import PATIENCE, StorageError

from ..support.server import S3Server, request
from ..support.weather import Hold, Reset, Seen, Weather

BATCH = 8


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(remote.S3, "retries", {"mode": "standard", "total_max_attempts": 1})
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.3)
    monkeypatch.setenv(PATIENCE, "20")
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.5)  # that loaders may take to end


def ranges(weather: Weather, name: str = ".tar") -> list[str | None]:
    return [seen.range for seen in weather.seen if seen.method == "GET" and name in seen.path]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


# ---- the cache ----


class Files:
    """As much of a data set as a cache needs: three shards under a URL."""

    def __init__(self, url: str, sizes: tuple[int, ...] = (40_000, 40_000, 40_000), seed: int = 0) -> None:
        self.uri = url
        self.fs, self.root = storage_of(url)
        self.bodies = [random.Random(f"{seed} {i}").randbytes(size) for i, size in enumerate(sizes)]
        self.shards = [
            Shard(f"{i}.tar", 1, len(body), hashlib.sha256(body).hexdigest()) for i, body in enumerate(self.bodies)
        ]

    def upload(self) -> Files:
        for shard, body in zip(self.shards, self.bodies, strict=True):
            self.fs.pipe_file(self.path(shard.name), body)
        return self

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def url(self, name: str) -> str:
        return f"{self.uri}/{name}"


@pytest.fixture
def files(s3: str, weather: Weather) -> Any:
    made = Files(f"{s3}/data").upload()
    weather.forget()
    return made


def test_cache_fetches_a_shard_once_and_whole(files: Any, weather: Weather, tmp_path: Path) -> None:
    cache = Cache(str(tmp_path), 10**6)
    for _ in range(2):
        with cache.fetch(files, files.shards[0]) as whole:  # type: ignore[union-attr]
            assert cache.path(files.shards[0]).read_bytes() == files.bodies[0]
            assert os.fstat(whole.fileno()).st_size == len(files.bodies[0])
    assert ranges(weather) == ["bytes=0-39999"]
    assert names(tmp_path) == [f"{files.shards[0].sha256}.tar"]


CHILD = """
import sys
sys.path.insert(0, {root!r})
from types import SimpleNamespace
from i2i_core.data.format.table import Shard
from i2i_core.data.reading.staging import Cache
from i2i_core.storage.remote import storage_of
fs, root = storage_of({url!r})
data = SimpleNamespace(fs=fs, path=lambda name: root + "/" + name)
print("ready", flush=True)
input()
with Cache({folder!r}, 10**6).fetch(data, Shard(*{shard!r})) as whole:
    print("fetched", flush=True)
    input()
"""


@pytest.fixture
def start(files: Any, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts processes that each fetch the first shard."""
    begun: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        root = str(Path(__file__).parents[2])
        code = CHILD.format(root=root, url=files.uri, folder=str(tmp_path), shard=astuple(files.shards[0]))
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        begun.append(subprocess.Popen([sys.executable, "-c", code], text=True, **pipes))  # type: ignore[call-overload]
        return begun[-1]

    yield begin
    for child in begun:
        child.kill()
        child.communicate()


def told(child: subprocess.Popen[str], line: str = "") -> str:
    assert child.stdin is not None
    assert child.stdout is not None
    if line:
        child.stdin.write(line + "\n")
        child.stdin.flush()
    return child.stdout.readline().strip()


def test_cache_shares_one_download_among_processes(
    files: Any, weather: Weather, tmp_path: Path, start: Callable[[], subprocess.Popen[str]]
) -> None:
    """The first is killed when it has 10000 bytes; of two others that wait, one goes on from there."""
    children = [start() for _ in range(3)]
    assert [told(child) for child in children] == ["ready"] * 3
    cache, shard = Cache(str(tmp_path), 10**6), files.shards[0]
    until = threading.Event()
    weather.rule(Hold(until), path="0.tar", times=1)
    weather.rule(Reset(after=10_000), path="0.tar", times=1)
    first = children[0]
    assert first.stdin is not None
    first.stdin.write("\n")
    first.stdin.flush()
    weather.wait(lambda seen: len([s for s in seen if "0.tar" in s.path]) == 2)  # broken, and asked again: held
    for child in children[1:]:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert {told(child) for child in children[1:]} == {"fetched"}
    until.set()
    assert cache.path(shard).read_bytes() == files.bodies[0]
    assert ranges(weather) == ["bytes=0-39999", "bytes=10000-39999", "bytes=10000-39999"]
    assert names(tmp_path) == [cache.path(shard).name]


def test_cache_fetches_a_part_of_other_bytes_anew(files: Any, weather: Weather, tmp_path: Path) -> None:
    cache = Cache(str(tmp_path), 10**6)
    for n, part in enumerate((b"x" * 500, b"x" * 90_000, files.bodies[2])):
        cache.part(files.shards[n]).write_bytes(part)
        cache.fetch(files, files.shards[n]).close()  # type: ignore[union-attr]
        assert cache.path(files.shards[n]).read_bytes() == files.bodies[n]
    assert ranges(weather) == ["bytes=500-39999", "bytes=0-39999", "bytes=0-39999"], "a whole part needs no request"


@pytest.mark.parametrize("change", ["other", "shorter", "longer", "gone", "empty"])
def test_cache_names_the_shard_of_altered_bytes(files: Any, tmp_path: Path, change: str) -> None:
    body, path = files.bodies[0], files.path("0.tar")
    if change == "gone":
        files.fs.rm(path)
    else:
        other = {"other": body[:-1] + b"x", "shorter": body[:900], "longer": body + b"x", "empty": b""}
        files.fs.pipe_file(path, other[change])
    cache = Cache(str(tmp_path), 10**6)
    if change == "longer":  # what the manifest knows of is there
        assert cache.fetch(files, files.shards[0]) is not None
        return
    cut = {"shorter": 900, "empty": 0}.get(change)
    causes = {"gone": "no such shard any more", "other": "checksum"}
    with pytest.raises(DataError, match=causes.get(change, f"{cut} of its 40,000 bytes: it is truncated")) as caught:
        cache.fetch(files, files.shards[0])
    assert caught.value.where == files.url("0.tar")
    assert names(tmp_path) == []


def test_cache_is_bounded_and_drops_the_longest_unused_first(files: Any, tmp_path: Path) -> None:
    cache = Cache(str(tmp_path), 85_000)
    one, two, three = files.shards
    foreign = tmp_path / "holiday.tar"
    foreign.write_bytes(b"x" * 90_000)
    (tmp_path / "odd.part").touch()
    for used, shard in enumerate((one, two)):
        cache.fetch(files, shard).close()  # type: ignore[union-attr]
        os.utime(cache.path(shard), (used, used))
    cache.fetch(files, one).close()  # type: ignore[union-attr]
    cache.fetch(files, three).close()  # type: ignore[union-attr]
    assert cache.path(one).exists(), "used last"
    assert not cache.path(two).exists()
    assert foreign.exists(), "only what is the cache's"
    assert (tmp_path / "odd.part").exists()


def test_cache_removes_nothing_that_is_held(files: Any, weather: Weather, tmp_path: Path) -> None:
    """Nor is anything else removed in vain."""
    cache = Cache(str(tmp_path), 85_000)
    one, two, three = files.shards
    held = cache.fetch(files, one)
    cache.fetch(files, two).close()  # type: ignore[union-attr]
    with cache.path(two).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # as another process has it
        assert cache.fetch(files, three) is None
    assert ranges(weather, "2.tar") == [], "it is not asked for where it has no room"
    large = Shard("0.tar", 1, 10**6, "f" * 64)
    assert cache.fetch(files, large) is None
    assert names(tmp_path) == sorted(cache.path(shard).name for shard in (one, two))
    held.close()  # type: ignore[union-attr]
    cache.fetch(files, three).close()  # type: ignore[union-attr]
    assert not cache.path(one).exists()


def test_cache_counts_parts_and_removes_those_left_behind(files: Any, tmp_path: Path) -> None:
    cache = Cache(str(tmp_path), 85_000)
    left = [Shard("x", 1, 40_000, letter * 64) for letter in "ab"]
    for shard in left:
        cache.part(shard).write_bytes(b"1")
    with cache.part(left[0]).open("rb") as part:
        fcntl.flock(part, fcntl.LOCK_EX)  # under way: it will be 40000 bytes
        cache.fetch(files, files.shards[0]).close()  # type: ignore[union-attr]
        assert cache.part(left[0]).exists()
        assert not cache.part(left[1]).exists()
        cache.fetch(files, files.shards[1]).close()  # type: ignore[union-attr]
        assert not cache.path(files.shards[0]).exists()


def test_cache_never_holds_more_than_it_may(files: Any, tmp_path: Path) -> None:
    """Four threads fetch three shards in random order, of which two fit."""
    cache, over = Cache(str(tmp_path), 85_000), []
    done = threading.Event()

    def look() -> list[tuple[str, int, int]]:
        stats = [(path.name, path.stat()) for path in tmp_path.iterdir()]
        return sorted((name, stat.st_ctime_ns, stat.st_size) for name, stat in stats)

    def watch() -> None:
        while not done.is_set():
            with suppress(FileNotFoundError):
                there = look()
                if look() == there:  # else files went, came or grew between the looks
                    over.append(sum(size for _, _, size in there))

    def fetch(seed: int) -> None:
        lot = random.Random(seed)
        for _ in range(10):
            if (file := cache.fetch(files, lot.choice(files.shards))) is not None:
                file.close()

    watcher = threading.Thread(target=watch)
    watcher.start()
    threads = [threading.Thread(target=fetch, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    done.set()
    watcher.join()
    assert 0 < max(over) <= 85_000


def test_cache_keeps_equal_names_of_two_data_sets_apart(s3: str, tmp_path: Path) -> None:
    cache = Cache(str(tmp_path), 10**6)
    for seed in (1, 2):
        files: Any = Files(f"{s3}/set-{seed}", (3000,), seed).upload()
        cache.fetch(files, files.shards[0]).close()  # type: ignore[union-attr]
        assert cache.path(files.shards[0]).read_bytes() == files.bodies[0]


def test_cache_refuses_a_folder_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ResourceError, match=r"--cache: found .*file"):
            Cache(str(folder), 1)
    monkeypatch.setattr(os, "getuid", lambda: 12345)  # another's folder, also where tests run as root
    with pytest.raises(ResourceError, match="does not own"):
        Cache(str(tmp_path), 1)


# ---- the stager ----


def needs_of(files: Any, *numbers: int) -> Iterator[Need]:
    """Each shard is needed for ten batches, one after another, without end."""
    for n in count():
        yield Need(10 * n, 10 * n + 9, files, files.shards[numbers[n % len(numbers)]])


def test_stager_does_not_run_on_where_everything_fits(files: Any, weather: Weather, tmp_path: Path) -> None:
    seen = 0

    def counted() -> Iterator[Need]:
        nonlocal seen
        for need in needs_of(files, 0, 1, 2):
            seen += 1
            yield need

    stager = Stager(Cache(str(tmp_path), 10**6), counted())
    weather.wait(lambda seen: len(seen) == 3)
    for t in range(100):
        stager.at(t)
    stager.close()
    for thread in stager.threads:
        thread.join(10)
        assert not thread.is_alive()
    assert 3 <= seen <= staging.FARTHEST + 12
    assert len(ranges(weather)) == 3


def test_stager_has_its_share_of_the_cache(files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    stager = Stager(Cache(str(tmp_path), 4 * 85_000), iter(needs_of(files, 0, 1, 2)))
    assert stager.share == 85_000
    stager.close()
    assert ended()


FULL = """
import resource, signal, sys
sys.path.insert(0, {root!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
from itertools import islice
from tests.support.logs import collected
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.stream import DataConfig, Stream
stream = Stream(DataSet({url!r}), DataConfig(cache={folder!r}, load_size=20), 16, 8, 0)
with collected(print):
    for batch in islice(stream.batches(0, (0, 8), 0), stream.batches_per_epoch):
        print(*batch.keys, flush=True)
"""


# ---- streams ----


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Small data sets of shards of eight samples, by kind."""
    out: dict[str, str] = {}
    for kind, characters in (("labelled", 4), ("unpaired", 70)):
        goal = ShardOptions(out=str(tmp_path_factory.mktemp("staged") / kind), shard_samples=8)
        glyph = GlyphOptions(glyphs=kind, size=16, characters=characters)  # type: ignore[arg-type]
        layout = LayoutOptions(layout="glyphs")
        make(plan(find(layout, glyph), layout, glyph, ImageOptions(), goal), goal, 0)
        out[kind] = goal.out
    return out


def upload(folder: str, endpoint: str, prefix: str) -> None:
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            name = f"{endpoint}/{prefix}/{path.relative_to(folder)}"
            assert request("PUT", name, path.read_bytes())[0] == 200


@pytest.fixture(scope="session")
def uploaded(made: dict[str, str], s3_server: S3Server, bucket: str) -> str:
    """A place in the bucket with the same, which nobody alters."""
    s3_server.start()
    for kind, folder in made.items():
        upload(folder, s3_server.endpoint, f"{bucket}/staging/{kind}")
    return f"{bucket}/staging"


@pytest.fixture
def far(made: dict[str, str], uploaded: str, weather: Weather) -> dict[str, str]:
    """The same on object storage, behind the weather."""
    return {kind: f"s3://{uploaded}/{kind}" for kind in made}


@pytest.fixture
def own(made: dict[str, str], s3: str, s3_server: S3Server, weather: Weather) -> str:
    """A labelled data set on object storage that a test may alter."""
    upload(made["labelled"], s3_server.endpoint, f"{s3[5:]}/labelled")
    return f"{s3}/labelled"


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., DataConfig]:
    return lambda **values: DataConfig(**{"cache": str(tmp_path / "cache"), "load_size": 20, "window": 5} | values)


def played(batches: Numbered, world: int, loaders: int, first: int, n: int) -> list[Batch]:
    """n global batches from `first`, put together from the parts that `world` workers read."""
    parts = [batches.batches(first, slots_of(BATCH, rank, world), loaders) for rank in range(world)]
    try:
        return [join(together) for together in zip(*(islice(part, n) for part in parts), strict=True)]
    finally:
        for part in parts:
            part.close()  # type: ignore[attr-defined]


def assert_same(left: list[Batch], right: list[Batch]) -> None:
    assert [a.keys for a in left] == [b.keys for b in right]
    for a, b in zip(left, right, strict=True):
        assert all(torch.equal(a.fields[k], b.fields[k]) for k in a.fields)
        assert not a.bad


def stagers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("stager")]


def ended() -> bool:
    for thread in stagers():
        thread.join(35)  # a connection may be given up by its time-out only
    return not stagers()


@pytest.mark.parametrize(
    ("kind", "world", "loaders", "gb"),
    [
        ("labelled", 1, 0, 20),
        ("labelled", 1, 2, 20),
        ("labelled", 2, 1, 20),
        ("labelled", 2, 1, 0),
        ("unpaired", 1, 2, 20),
        ("unpaired", 1, 0, 0),
    ],
)
def test_stream_of_remote_data_is_that_of_local_data(
    made: dict[str, str],
    far: dict[str, str],
    config: Callable[..., DataConfig],
    kind: str,
    world: int,
    loaders: int,
    gb: float,
) -> None:
    """Over the change of an epoch."""
    near = Stream(DataSet(made[kind]), config(), 16, BATCH, 0)
    n = near.batches_per_epoch + 2
    there = Stream(DataSet(far[kind]), config(cache_gb=gb), 16, BATCH, 0)
    assert_same(played(near, 1, 0, 3, n), played(there, world, loaders, 3, n))
    assert ended()


@pytest.mark.parametrize(("seed", "gb"), [(0, 20), (1, 0)])
def test_stream_of_remote_data_is_the_same_in_any_weather(
    made: dict[str, str],
    far: dict[str, str],
    weather: Weather,
    config: Callable[..., DataConfig],
    seed: int,
    gb: float,
) -> None:
    near = Stream(DataSet(made["labelled"]), config(), 16, BATCH, 0)
    with weather.random_faults(seed, 0.3):
        there = Stream(DataSet(far["labelled"]), config(cache_gb=gb), 16, BATCH, 0)
        assert_same(played(near, 1, 0, 0, 6), played(there, 1, 2, 0, 6))
    assert ended()


def test_stager_serves_several_data_sets_in_turn(
    made: dict[str, str], far: dict[str, str], config: Callable[..., DataConfig], tmp_path: Path
) -> None:
    """One near, one far, one far again."""
    near = Alternating([DataSet(made["labelled"])] * 3, config(), 16, BATCH, 0)
    there = Alternating([DataSet(uri["labelled"]) for uri in (far, made, far)], config(), 16, BATCH, 0)
    assert_same(played(near, 1, 0, 4, 8), played(there, 1, 1, 4, 8))
    assert list((tmp_path / "cache").glob("*.tar"))


@pytest.mark.parametrize("room", [1, 1.5, 2.5])
def test_stager_with_a_cache_too_small_gives_every_batch(
    made: dict[str, str],
    far: dict[str, str],
    config: Callable[..., DataConfig],
    tmp_path: Path,
    said: list[str],
    room: float,
) -> None:
    """Nothing fits; one shard; two shards."""
    near = Stream(DataSet(made["labelled"]), config(), 16, BATCH, 0)
    largest = max(shard.bytes for shard in near.sources[0].reader.set.shards)
    gb = (largest * room - (largest if room == 1 else 0) + 1) / 1e9
    there = Stream(DataSet(far["labelled"]), config(cache_gb=gb), 16, BATCH, 0)
    n = near.batches_per_epoch
    assert_same(played(near, 1, 0, 0, n), played(there, 1, 0, 0, n))
    assert len([line for line in said if line.startswith("WARNING: the cache")]) == 1
    assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= gb * 1e9
    assert ended()


def test_stager_asks_for_nothing_in_a_second_epoch(
    far: dict[str, str], weather: Weather, config: Callable[..., DataConfig]
) -> None:
    there = Stream(DataSet(far["labelled"]), config(), 16, BATCH, 0)
    shards = [shard.name for shard in there.sources[0].reader.set.shards]
    with closing(there.batches(0, (0, BATCH), 0)) as batches:  # type: ignore[type-var]
        for _ in range(there.batches_per_epoch):
            next(batches)
        weather.wait(lambda seen: {s.path.rsplit("/", 1)[1] for s in _whole(seen)} >= set(shards))
        for _ in range(there.batches_per_epoch):
            next(batches)
    assert ended()
    weather.forget()
    again = Stream(DataSet(far["labelled"]), config(), 16, BATCH, 0)
    assert len(played(again, 1, 0, again.batches_per_epoch, again.batches_per_epoch)) == again.batches_per_epoch
    assert ranges(weather) == []


def _whole(seen: list[Seen]) -> list[Seen]:
    """What stagers asked for: from the first byte on, all of it."""
    return [s for s in seen if s.path.endswith(".tar") and str(s.range).startswith("bytes=0-")]


def spoil(uri: str, how: str) -> str:
    """Alters or removes one shard; its URL."""
    data = DataSet(uri)
    shard = data.shard_set("train").shards[3]
    path = data.path(shard.name)
    body = data.fs.cat_file(path)
    if how == "gone":
        data.fs.rm(path)
    else:
        data.fs.pipe_file(path, body[:600] if how == "shorter" else body[:-2000] + b"x" * 2000)
    return data.url(shard.name)


@pytest.mark.parametrize(
    ("how", "gb"),
    [
        ("gone", 20),
        ("altered", 20),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [("gone", 0), ("shorter", 20), ("shorter", 0)]),
    ],
)
def test_stager_ends_the_stream_at_a_spoilt_shard_and_names_it(
    own: str, config: Callable[..., DataConfig], how: str, gb: float
) -> None:
    there = Stream(DataSet(own), config(cache_gb=gb), 16, BATCH, 0)
    url = spoil(own, how)
    ahead = Ahead(there.batches(0, (0, BATCH), 1), lambda batch: batch)
    with pytest.raises(DataError) as caught:
        for _ in range(4 * there.batches_per_epoch):
            next(ahead)
    assert url in str(caught.value)
    causes = {"gone": "no such shard", "shorter": "600 of its 20,480 bytes: it is truncated"}
    assert causes.get(how, "checksum") in str(caught.value)
    with pytest.raises(DataError):
        next(ahead)  # whoever asks again is told again
    ahead.close()
    assert ended()


@pytest.mark.parametrize("loaders", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_stager_ends_the_stream_where_storage_is_gone_for_good(
    far: dict[str, str],
    weather: Weather,
    config: Callable[..., DataConfig],
    monkeypatch: pytest.MonkeyPatch,
    loaders: int,
) -> None:
    monkeypatch.setenv(PATIENCE, "0.5")
    there = Stream(DataSet(far["labelled"]), config(), 16, BATCH, 0)
    with weather.gone():
        ahead = Ahead(there.batches(0, (0, BATCH), loaders), lambda batch: batch)
        with pytest.raises(StorageError, match="has not answered"):
            next(ahead)
        ahead.close()
    assert ended()


@pytest.mark.slow
def test_stager_closes_without_waiting_for_storage_that_is_gone(
    far: dict[str, str], weather: Weather, config: Callable[..., DataConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was left behind ends when it comes back."""
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.5)
    monkeypatch.setattr(Ahead, "LEAVE", 0.5)
    there = Stream(DataSet(far["labelled"]), config(cache_gb=0), 16, BATCH, 0)
    refused = threading.Event()
    failed = retry.Trying.failed
    monkeypatch.setattr(retry.Trying, "failed", lambda *args: (refused.set(), failed(*args)))
    with weather.gone():
        ahead = Ahead(there.batches(0, (0, BATCH), 0), lambda batch: batch)
        assert refused.wait(10)
        begun = time.monotonic()
        ahead.close()
        assert time.monotonic() - begun < 3
        assert not ahead.background.wait(0)
    assert ahead.background.wait(10)


def test_stager_goes_on_with_a_full_disk(made: dict[str, str], far: dict[str, str], tmp_path: Path) -> None:
    """Of a process whose files may not be larger than a part of a shard."""
    root, folder = str(Path(__file__).parents[2]), tmp_path / "cache"
    code = FULL.format(root=root, url=far["labelled"], folder=str(folder))
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert out.returncode == 0, out.stderr
    lines = out.stdout.splitlines()
    near = Stream(DataSet(made["labelled"]), DataConfig(load_size=20), 16, BATCH, 0)
    keys = [" ".join(batch.keys) for batch in played(near, 1, 0, 0, near.batches_per_epoch)]
    assert [line for line in lines if not line.startswith("WARNING")] == keys
    assert [line.split(",")[0] for line in lines if line not in keys] == ["WARNING: the disk of the cache"]
    assert names(folder) == []


def test_reader_gives_descriptors_back(far: dict[str, str], config: Callable[..., DataConfig], tmp_path: Path) -> None:
    """Of files that were removed from the cache, when others are opened; of all, with their reader."""
    there = Stream(DataSet(far["labelled"]), config(), 16, BATCH, 0)
    reader = there.sources[0].reader
    cache = there.cache
    assert cache is not None
    for shard in reader.set.shards:
        cache.fetch(reader.data, shard).close()  # type: ignore[union-attr]
    rows = [0, 8, 16]
    got = reader.read(rows, 0)
    assert len(reader._files) == 3
    for shard in reader.set.shards[:3]:
        cache.path(shard).unlink()
    reader.read([24], 0)
    assert len(reader._files) == 1
    assert reader.read(rows, 0) == got, "by ranges now"
    del there, reader
    assert not [file for file in Path("/proc/self/fd").iterdir() if str(tmp_path) in os.path.realpath(file)]


def test_reader_reads_more_shards_at_once_than_may_be_open(
    made: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Stream(DataSet(made["labelled"]), DataConfig(), 16, BATCH, 0).sources[0].reader
    rows = list(range(len(reader.rows)))
    expected = reader.read(rows, 0)
    monkeypatch.setattr(Reader, "OPEN", 2)
    other = Stream(DataSet(made["labelled"]), DataConfig(), 16, BATCH, 0).sources[0].reader
    assert other.read(rows, 0) == expected
    assert len(other._files) == 2
