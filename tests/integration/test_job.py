"""The whole way: a cluster on this machine, data and checkpoints on s3://, a submitted job with two workers that is
killed and gone on with, a checkpoint that translates.

pytest tests/integration/test_job.py
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from i2i_core.config.translation import TranslateOptions
from i2i_core.data.format.manifest import DataSet
from i2i_core.orchestration.sharding import shard_glyphs
from i2i_core.orchestration.translating import translate
from i2i_core.runs.folder import RunFolder
from i2i_core.storage.folder import Folder

from ..support.processes import (
    ROOT,
    SMALL,
    Process,
    Run,
    differences,
    past,
    state_of,
    strange_lines,
    undisturbed,
    with_environment,
)
from ..support.scene_data import write_scenes
from ..support.server import SECRET, S3Server
from ..support.sockets import listening

pytestmark = pytest.mark.ray

SCENES = {
    "Scenes": "l1",
    "Videos": "ssim",
    "Styles": "efficientnet_frechet",
    "Generated": "diversity",
    "Conditional": "diversity",
    "Both": "diversity",
    "Tinted": "latent",
}
"""The small methods of the tests, and what they are searched by."""
IMAGES, EVERY = 1600, 160  # epochs are of 216; what a job says is heard a second or two later
LOCAL = str(ROOT / "cluster" / "local.sh")


with socket.create_server(("127.0.0.1", 0)) as free:
    PORT = free.getsockname()[1]  # another dashboard may be at Ray's own
FOLDER = Path(f"/tmp/i2i-{os.getuid()}-{PORT}")


@pytest.fixture(scope="module")
def cluster(s3_server: S3Server) -> Iterator[dict[str, str]]:
    """The environment in which cluster/local.sh knows it. Its nodes have the credentials, as those of a fleet do."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env |= {
        "RAY": str(Path(sys.executable).parent / "ray"),
        "RAY_DASHBOARD_PORT": str(PORT),
        "RAY_worker_niceness": "0",
    }
    with another_ray():
        started = subprocess.run(
            [LOCAL, "start", "2"], capture_output=True, text=True, env=env | s3_server.env, check=False
        )
        assert started.returncode == 0, started.stderr
        yield env
        subprocess.run([LOCAL, "stop"], env=env, check=True)
        assert not FOLDER.exists()


@contextmanager
def another_ray() -> Iterator[None]:
    """Have a process on the machine that looks like the node of another cluster to whoever asks for the newest one."""
    node = ["raylet", "-c", "import time; time.sleep(3600)", "--gcs-address=127.0.0.1:1"]
    with subprocess.Popen(node, executable=sys.executable) as process:
        try:
            yield
        finally:  # a cluster that does not stop would be waited for, too
            process.kill()


class Job(Run):
    """`train.py` as a submitted job."""

    def __init__(self, name: str, data: str, storage: str, flags: list[str], env: dict[str, str]) -> None:
        super().__init__(name, data, storage, flags)
        self.command = [LOCAL, "submit", "--", "python", *self.command[1:]]
        self.env = env

    def left(self) -> list[Process]:
        """All that came of the cluster."""
        return with_environment("I2I_LOCAL_CLUSTER", str(PORT))

    def driver_of_job(self) -> int:
        return next(p.pid for p in self.left() if p.command.startswith("python pipelines/train.py"))


@pytest.mark.slow
def test_job_on_s3_outlives_a_worker_and_its_driver_and_its_checkpoint_translates(
    cluster: dict[str, str], s3: str, tmp_path: Path
) -> None:
    """A worker of two, or a loader, is killed at some moment, and Ray starts both workers again; then the driver, and
    the command is typed again. Ends as two processes do without Ray, on local files."""
    chance = random.Random(0)
    for place in (f"{s3}/data", str(tmp_path / "data")):
        shard_glyphs(place, "labelled", 16, characters=20)
    flags = ["--images", str(IMAGES), "--checkpoint-every", str(EVERY), "--workers", "2", "--loaders", "1"]
    flags += ["--log-every", "48", "--cache", str(tmp_path / "cache"), "--patience", "60"]
    job = Job("job", f"{s3}/data", f"{s3}/runs", flags, cluster)
    submitted = job.type()
    moment = chance.randrange(EVERY, 2 * EVERY)
    job.when(lambda text: past(moment)(text) and bool(job.folder.whole_checkpoints()))
    open_to = {address for address, _ in listening(process.pid for process in job.left())}
    assert open_to
    assert all(address.is_loopback for address in open_to), "Ray, its workers and torch listen on loopback alone"
    assert job.kill(chance.choice(["worker", "loader"]), chance)
    job.when(past(chance.randrange(3 * EVERY, 4 * EVERY), "resumed from"))
    os.kill(job.driver_of_job(), 9)
    assert submitted.wait(timeout=600) == 1, "a job that failed is none that succeeded"
    before = len(job.text())
    assert job.type().wait(timeout=600) == 0, job.text()
    assert "resumed from" in job.text()[before:]
    assert f"finished after {IMAGES:,} images" in job.text()
    report = job.folder.read(RunFolder.REPORT).decode()
    assert all(word in report for word in ("D/loss", "state</td><td>finished")), "of a run on S3"
    assert not any(secret in job.text() for secret in (SECRET, "AWS_SECRET", (FOLDER / "auth_token").read_text()))
    assert "Found multiple active Ray instances" not in job.text(), "no other Ray of the machine is asked"
    assert not strange_lines(job.text()), "every line is one of ours, and comes once"
    calm = undisturbed(job.folder, str(tmp_path / "data"), str(tmp_path), 2)
    assert not differences(state_of(calm), state_of(job.folder))
    copies = [path for path in FOLDER.glob("ray/session_latest/*/working_dir_files/_ray_pkg_*") if path.is_dir()]
    assert len(copies) == 3, "each node has its own: to bring the code to one removes none that others run in"

    options = TranslateOptions(input=f"{s3}/data", split="test", out=f"{s3}/out", target="+bold", cpu=True)
    outcome = translate(job.folder.url, options)
    made = Folder(f"{s3}/out").names()
    assert outcome.written == DataSet(f"{s3}/data").shard_set("test").samples == len(made)
    assert outcome.sheet == f"{s3}/out-sheet.png"
    assert "out-sheet.png" in Folder(s3).names()


@pytest.mark.slow
def test_job_that_asks_for_too_much_fails_and_its_last_words_say_why(
    cluster: dict[str, str], labelled: str, storage: str
) -> None:
    job = Job("many", labelled, storage, ["--workers", "6"], cluster)
    assert job.type().wait(timeout=600) == 1
    assert "6 CPUs; expected at most what the cluster has or can grow to, 2 CPUs" in job.text()
    assert "Traceback" not in job.text()


@pytest.mark.slow
def test_job_that_asks_for_what_its_workers_cannot_is_wrong_input(
    cluster: dict[str, str], labelled: str, storage: str
) -> None:
    """Said before a worker starts."""
    job = Job("graphs", labelled, storage, ["--fast", "graphs", "--cpu"], cluster)
    assert job.type().wait(timeout=600) == 1
    assert "error: --fast: found graphs; expected options that are possible here; a CPU has no launches" in job.text()
    assert "starting " not in job.text()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "metric"), SCENES.items())
def test_job_takes_a_method_of_ones_own_like_ours(
    kind: str, metric: str, cluster: dict[str, str], tmp_path: Path
) -> None:
    """It comes with the job's working directory, beside the programs: trains on two workers, goes on, makes images, is
    measured and searched."""
    code, storage = tmp_path / "code", tmp_path / "runs"
    for name in ("i2i_core", "pipelines", "tune_spaces"):
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tests/support/scenes.py", code / "small.py")
    data = write_scenes(tmp_path / "data")[kind.lower()]
    env = cluster | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(FOLDER / "auth_token")}

    def submitted(program: str, *arguments: object) -> str:
        where = ["--address", f"http://127.0.0.1:{PORT}", "--working-dir", str(code)]
        trust = ["env", f"I2I_METHODS=small:{kind}"] if program in ("translate", "evaluate") else []  # a file names it
        command = [*trust, "python", f"pipelines/{program}.py", *map(str, arguments)]
        job = [env["RAY"], "job", "submit", *where, "--", *command]
        done = subprocess.run(job, capture_output=True, text=True, env=env, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    how = ("--method", f"small:{kind}", "--data", data, "--storage", storage)
    if kind in ("Scenes", "Videos"):  # all resume in test_scenes
        submitted("train", *how, "--name", "run", "--workers", 2, "--images", 24)
    said = submitted("train", *how, "--name", "run", "--workers", 2, "--images", 48)
    assert ("resumed from" in said) == (kind in ("Scenes", "Videos"))
    assert "finished after 48" in said
    source = (
        ("--count", 8)
        if kind in ("Generated", "Conditional", "Both")
        else ("--input", data, "--split", "train", "--most", 8)
    )
    source += ("--target", "b") if kind == "Conditional" else ()
    like = ("--like", tmp_path / "data/styles/train/a/0.png") if kind == "Styles" else ()
    submitted("translate", storage / "run", *source, *like, "--out", tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.png"))) == (16 if kind == "Both" else 8)
    measure = ("--data", data, "--split", "train", "--metrics", "efficientnet_frechet")
    assert "efficientnet_frechet" in submitted("evaluate", storage / "run", *measure)
    (code / "space.py").write_text(
        "from i2i_core.search.space import Space, log_uniform\n"
        'PARAMETERS = {"hyper.lr": log_uniform(1e-3, 1e-1, "1e-2 is the default")}\n'
        f'SPACE = Space(method="small:{kind}", parameters=PARAMETERS, metrics=("{metric}",))\n'
    )
    searched = ("--space", "space.py", "--samples", 1, "--evaluate-every", 24, "--name", "sweep")
    extra = ("--metrics", metric) if kind == "Styles" else ()
    assert "1 of 1 trials done" in submitted("tune", *how, *searched, *extra)


@pytest.mark.slow
def test_job_may_shard_search_measure_and_translate(cluster: dict[str, str], tmp_path: Path) -> None:
    """The last two on a worker of the cluster: its head has no room."""
    data, runs, out = str(tmp_path / "data"), str(tmp_path / "runs"), tmp_path / "out"

    def submitted(program: str, *arguments: str) -> str:
        command = [LOCAL, "submit", "--", "python", f"pipelines/{program}.py", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=cluster, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    submitted(
        "shard", "--layout", "glyphs", "--glyphs", "labelled", "--size", "16", "--characters", "30", "--out", data
    )
    flags = ["--preset", "demo", *SMALL, "--images", "64", "--evaluate-every", "32", "--storage", runs, "--data", data]
    said = submitted("tune", "--method", "stargan", "--name", "sweep", "--samples", "1", *flags)
    assert "1 of 1 trials done" in said
    best = f"{runs}/sweep/trials/0000"
    judge = ["--train-classifier", "--classifier-network", "small", "--classifier", str(tmp_path / "judge")]
    said = submitted(
        "evaluate", best, "--data", data, "--split", "train", *judge, "--out", str(tmp_path / "found.json")
    )
    assert "there_and_back" in said
    assert {"judge", "found.json", "found-samples.png"} <= {path.name for path in tmp_path.iterdir()}
    submitted(
        "translate", best, "--input", data, "--split", "train", "--target", "+bold", "--most", "8", "--out", str(out)
    )
    assert len(list(out.glob("*.png"))) == 8
    assert (tmp_path / "out-sheet.png").exists()
