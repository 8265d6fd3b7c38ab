"""Tests run on one torch thread: they are small, and threads of several processes would fight for two cores."""

from __future__ import annotations

import importlib.util
import multiprocessing.process
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import i2i_core.orchestration  # noqa: F401  Ray reads what this sets when a test first imports it

from .support.logs import collected
from .support.server import S3Server, request, use
from .support.weather import Weather

pytest.register_assert_rewrite("tests.support.table")  # it judges demos: a failure shows the values
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start
torch.set_num_threads(1)

ON_TORCH_ALONE = ["gpu", "distributed", "unit/test_networks.py", "unit/test_losses.py", "unit/test_finite.py"]
ON_TORCH_ALONE += ["unit/test_fast.py", "unit/test_recorded.py"]
if importlib.util.find_spec("ray") is None:  # a GPU machine with torch and nothing else
    here = Path(__file__).parent
    kept = [here / name for name in ON_TORCH_ALONE]
    collect_ignore = [str(p) for p in here.rglob("test_*.py") if not any(p.is_relative_to(k) for k in kept)]


PROCESSES = ("subprocess.Popen", "os.fork", "os.posix_spawn")
started: list[str] = []
"""Processes that were started since the test began, by Python's audit event."""
sys.addaudithook(lambda event, _: started.append(event) if event in PROCESSES else None)
begin = multiprocessing.process.BaseProcess.start


def noted(process: multiprocessing.process.BaseProcess) -> None:
    """Start a process of multiprocessing, which raises no audit event where it spawns."""
    started.append("multiprocessing")
    begin(process)


multiprocessing.process.BaseProcess.start = noted  # type: ignore[method-assign]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what uses the S3 server; keep tests that share a server in one process of the run's, and those of a file
    that share a Ray."""
    if "s3_server" in item.fixturenames:  # type: ignore[attr-defined]
        item.add_marker("s3")
    if item.get_closest_marker("ray"):
        item.add_marker(pytest.mark.xdist_group(f"ray, {item.path.name}"))
    elif item.get_closest_marker("s3"):
        item.add_marker(pytest.mark.xdist_group("s3"))


@pytest.fixture(autouse=True)
def processes_are_announced(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that starts a process and has no marker that says so: `make test-quick` leaves those out."""
    started.clear()
    yield
    announced = any(request.node.get_closest_marker(name) for name in ("processes", "ray", "s3", "gpu"))
    assert announced or not started, f"starts processes ({', '.join(sorted(set(started)))}): mark it `processes`"


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A labelled data set: 60 characters in twelve styles, 16 px, grey."""
    from i2i_core.orchestration.sharding import shard_glyphs

    out = str(tmp_path_factory.mktemp("data") / "labelled")
    shard_glyphs(out, "labelled", 16, characters=60)
    return out


@pytest.fixture(scope="session")
def paired(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A paired data set: outline and filled glyphs of 60 characters, 16 px, colour."""
    from i2i_core.orchestration.sharding import shard_glyphs

    out = str(tmp_path_factory.mktemp("data") / "paired")
    shard_glyphs(out, "paired", 16, characters=60)
    return out


@pytest.fixture(scope="session")
def unpaired(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An unpaired data set: regular and bold glyphs of 120 characters, 16 px, grey."""
    from i2i_core.orchestration.sharding import shard_glyphs

    out = str(tmp_path_factory.mktemp("data") / "unpaired")
    shard_glyphs(out, "unpaired", 16, characters=120, faces=("sans-regular", "sans-bold"))
    return out


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is logged, line by line: `WARNING: the run diverges: ...`."""
    with collected() as lines:
        yield lines


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return str(tmp_path / "runs")


def _untrained(method: str, data: str, folders: pytest.TempPathFactory) -> str:
    from .support.translating import untrained  # late: tests on a machine with a GPU alone have no data to make it of

    return untrained(method, data, folders.mktemp(method))


@pytest.fixture(scope="module")
def stargan(labelled: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of StarGAN as it begins."""
    return _untrained("stargan", labelled, tmp_path_factory)


@pytest.fixture(scope="module")
def pix2pix(paired: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of pix2pix as it begins."""
    return _untrained("pix2pix", paired, tmp_path_factory)


@pytest.fixture(scope="module")
def bicyclegan(paired: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of BicycleGAN as it begins."""
    return _untrained("bicyclegan", paired, tmp_path_factory)


@pytest.fixture(scope="module")
def cyclegan(unpaired: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of CycleGAN as it begins."""
    return _untrained("cyclegan", unpaired, tmp_path_factory)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What translate.py (or another `pipeline`) says: exit code 2 (or `code`), and no traceback."""

    def run(*arguments: object, code: int = 2, pipeline: Any = None) -> str:
        from i2i_core import cli
        from pipelines import translate

        monkeypatch.setattr(sys, "argv", ["x.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main((pipeline or translate).run)
        said = capsys.readouterr()
        assert ended.value.code == code, said
        assert "Traceback" not in said.err + said.out
        return said.err + said.out

    return run


@pytest.fixture
def ray_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray of two CPUs in this process, which nothing else of the session uses."""
    ray = pytest.importorskip("ray")
    from i2i_core.orchestration import ray_compat

    if "RAY_AUTH_TOKEN" not in os.environ:
        monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)  # Ray would write one into the home folder
    ray_compat.forget_token()  # an earlier test of this process may have asked for another cluster's
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="warning")
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """SeaweedFS, started once, for the first test that asks."""
    if sys.platform != "linux":
        pytest.skip("the S3 server of the tests is installed on Linux only")
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def bucket(s3_server: S3Server) -> str:
    """One for all tests: SeaweedFS takes its time with the first file of a bucket."""
    s3_server.start()  # an earlier test may have left it dead
    assert request("PUT", f"{s3_server.endpoint}/all-tests")[0] == 200
    return "all-tests"


@pytest.fixture
def s3(s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty place in a bucket, which s3fs and pyarrow reach by the environment."""
    from i2i_core.storage.retry import Trying

    s3_server.start()
    use(monkeypatch, s3_server.env)
    monkeypatch.setattr(Trying, "_silent", set())  # an earlier test may have left the bucket without an answer
    yield f"s3://{bucket}/test-{os.urandom(4).hex()}"
    use(monkeypatch, {})


@pytest.fixture
def weather(s3: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Weather]:
    """As `s3`, but everything goes through a proxy that can fail in every way (tests/support/weather.py)."""
    with Weather(s3_server.endpoint) as proxy:
        use(monkeypatch, proxy.env)
        yield proxy
