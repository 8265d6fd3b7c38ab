"""Runs on a small filesystem of their own, which fills, turns read-only or goes while they train.

In a mount namespace (`NAMESPACE`), as its root: python -m tests.support.full_disk DATA FOLDER; prints JSON, for each
scene what was said, how the run ended, and what is left. FOLDER stays empty outside of the namespace.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from i2i_core.config.run import TrainConfig
from i2i_core.errors import RunError
from i2i_core.orchestration import worker
from i2i_core.runs.folder import RunFolder
from i2i_core.training.loop import Loop
from i2i_core.training.sync import World

from .logs import collected
from .runs import config_of

NAMESPACE = ["unshare", "--map-root-user", "--mount"]
AT = 24
"""Images after which it happens; checkpoints are made at every 12."""
OUTPUT = {"checkpoint_every": 12, "grid_every": 12, "log_every": 6, "evaluate_every": 48, "keep_last": 1}


def sh(*words: str) -> None:
    subprocess.run(words, check=True)


def no_namespace() -> str:
    """Why there can be no mount namespace here."""
    if not shutil.which(NAMESPACE[0]):
        return "no unshare (util-linux)"
    tried = subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    return tried.stderr.decode().strip() if tried.returncode else ""


def fill(storage: Path) -> None:
    with open(storage / "fill", "wb", buffering=0) as out:
        try:
            while out.write(bytes(1 << 16)):
                pass
        except OSError:
            return


def use_up_names(storage: Path) -> None:
    for number in range(10_000):
        try:
            (storage / f"empty-{number}").touch()
        except OSError:
            return


def make_read_only(storage: Path) -> None:
    """As soon as no file there is open for writing: the kernel refuses before that."""
    read_only = ["mount", "-o", "remount,ro", str(storage)]
    for _ in range(9_999):
        if not subprocess.run(read_only, stderr=subprocess.DEVNULL).returncode:
            return
    sh(*read_only)


@dataclass(frozen=True)
class Scene:
    """What happens to a storage, and what a person then does about it."""

    happens: Callable[[Path], Any]
    repaired: Callable[[Path], Any]


SCENES = {
    "full": Scene(fill, lambda storage: (storage / "fill").unlink()),
    "no_names_left": Scene(use_up_names, lambda storage: [place.unlink() for place in storage.glob("empty-*")]),
    "read_only": Scene(
        make_read_only,
        lambda storage: sh("mount", "-o", "remount,rw", str(storage)),
    ),
    "run_deleted": Scene(lambda storage: shutil.rmtree(storage / "run"), lambda storage: None),
    "unmounted": Scene(lambda storage: sh("umount", "--lazy", str(storage)), lambda storage: mount(storage)),
}


def mount(storage: Path) -> None:
    sh("mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=200", "tmpfs", str(storage))


def trained(config: TrainConfig, then: Callable[[], Any] | None, attempt: str) -> dict[str, Any]:
    """A launch's worker, without Ray."""
    reached = [0]

    class Watched(Loop):
        def _do_what_is_due(self) -> None:
            if then and self.progress.images >= AT and reached[0] < AT:
                then()
            reached[0] = self.progress.images
            super()._do_what_is_due()

    worker.Loop = Watched  # type: ignore[misc]
    run = RunFolder(f"{config.launch.storage}/run")
    run.write_json(RunFolder.STATUS, {"state": "running", "attempt": attempt})
    raised = ""
    with collected() as said:
        try:
            worker.train(config, World(), torch.device("cpu"), attempt)
        except RunError as error:
            raised = str(error)
        except BaseException as error:
            raised = f"RAW {error!r}"
    left = [place.name for place in Path(config.launch.storage).rglob("*.writing")]
    return {
        "said": said,
        "raised": raised,
        "images": reached[0],
        "status": run.status(),
        "whole": run.whole_checkpoints(),
        "left": left,
        "there": Path(config.launch.storage, "run").exists(),
    }


def last_networks(run: RunFolder) -> bytes:
    return run.read(f"checkpoints/{run.whole_checkpoints()[-1]}/networks.safetensors")


def main() -> None:
    data, home = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    told: dict[str, Any] = {}
    over = {f"monitoring__{name}": value for name, value in OUTPUT.items()} | {"launch__patience": 0.0}
    sh("mount", "-t", "tmpfs", "tmpfs", str(home))
    trained(config_of("stargan", data, str(home), **over), None, "whole")
    whole = last_networks(RunFolder(f"{home}/run"))
    for name, scene in SCENES.items():
        storage = home / name
        storage.mkdir()
        mount(storage)
        config = config_of("stargan", data, str(storage), training__images=600, **over)
        told[name] = trained(config, lambda scene=scene, storage=storage: scene.happens(storage), "first")
        scene.repaired(storage)
        again = trained(config_of("stargan", data, str(storage), **over), None, "second")
        again["equal"] = last_networks(RunFolder(f"{storage}/run")) == whole
        told[name]["again"] = again
        sh("umount", "--lazy", str(storage))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
