"""The whole way: a cluster on this machine, a submitted job with two workers, a checkpoint that translates.

pytest tests/integration/test_job.py
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from i2i_core.training.checkpoint import load_trained

from .runs import config_of, loop_of

ROOT = Path(__file__).parents[2]
SMALL = ["--method", "stargan", "--preset", "demo", "--image-size", "16", "--g-base", "4", "--d-base", "4",
         "--d-layers", "3", "--blocks", "1", "--batch", "6", "--images", "48", "--loaders", "1",
         "--evaluate-samples", "32", "--ema-halflife", "0"]  # fmt: skip


with socket.create_server(("127.0.0.1", 0)) as free:
    PORT = free.getsockname()[1]  # another dashboard may be at Ray's own


def local(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {"RAY": str(Path(sys.executable).parent / "ray"), "RAY_DASHBOARD_PORT": str(PORT)}
    command = [str(ROOT / "cluster" / "local.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    started = local("start", "2")
    assert started.returncode == 0, started.stderr
    yield
    local("stop")


def submit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return local("submit", "--", "python", "pipelines/train.py", *arguments)


@pytest.mark.timeout(240)
def test_a_submitted_job_trains_resumes_and_its_checkpoint_translates(
    cluster: None, labelled: str, storage: str
) -> None:
    """With two workers; equal to one process on the same batches, up to the rounding of float32."""
    place = ["--data", labelled, "--storage", storage, "--name", "job", "--workers", "2"]
    done = submit(*SMALL, *place)
    assert "succeeded" in done.stdout + done.stderr, done.stdout[-3000:]
    assert "finished after 48 images" in done.stdout
    alone = config_of("stargan", labelled, storage, launch__name="alone", training__images=48, hyper__n_critic=2,
                      training__lr_schedule="linear", training__ema_halflife=0)  # fmt: skip
    one = loop_of(alone)
    one.train()
    first = loop_of(config_of("stargan", labelled, storage, launch__name="untrained")).method.networks
    two = load_trained(f"{storage}/job", torch.device("cpu"))
    networks = (first, one.method.networks, two.method.networks)
    begun, by_one, by_two = (parameters_to_vector(n.parameters()) for n in networks)
    # Adam divides by a root of squared gradients, so rounding of a tiny one shows; a wrong sum would be of order 1.
    assert (by_two - by_one).norm() < 0.05 * (by_one - begun).norm()
    image = torch.zeros(1, 1, 16, 16)
    made = two.method.translate(image, target=torch.tensor([[0, 1, 0, 0]]))
    assert made.shape == image.shape
    assert made.abs().max() <= 1

    again = submit(*SMALL, *place)
    assert "finished after 48 images" in again.stdout
    assert "0 of 48 images" not in again.stdout, "a finished run is not run again"

    many = submit(*SMALL, "--data", labelled, "--storage", storage, "--workers", "6", "--name", "many")
    assert "failed" in many.stdout + many.stderr
    assert "6 CPUs; expected at most what the cluster has or can grow to, 2 CPUs" in many.stdout
    assert "Traceback" not in many.stdout
