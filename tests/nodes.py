"""A run over several nodes of one machine, of which some go and others come.

python -m tests.nodes replaced   a node is drained: the run saves at once, loses it, goes on on another; then a node is
                                 killed, and another comes: bit for bit as if nothing had happened
python -m tests.nodes elastic    --workers 1:3: one node, then three, then two
python -m tests.nodes scaled     the head alone: Ray's autoscaler brings two nodes, and takes them away again

Every node has a raylet of its own (ray.cluster_utils.Cluster; the autoscaler's fake provider) and room for one worker;
the head has none.
"""

from __future__ import annotations

import json
import os

os.environ["RAY_AUTH_MODE"] = "disabled"  # read when Ray is imported; this cluster is for this process alone
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # on loopback
os.environ["GLOO_SOCKET_IFNAME"] = "lo"

import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
import torch
from ray._private.services import get_node_ip_address
from ray.cluster_utils import Cluster

from i2i_core.orchestration.sharding import shard_glyphs
from i2i_core.runs.folder import images_of

from .support.processes import Run, differences, past, state_of, undisturbed, with_environment

DEADLINE = 600.0
EVERY = 500


class Autoscaled:
    """A head without room, which brings nodes of one CPU for what is asked of it, at most three, and takes those away
    that nobody has used for six seconds. The autoscaler's first version: Ray's package lacks a file that the second one
    needs for this provider."""

    def __init__(self, home: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"{get_node_ip_address()}:{port}"
        kinds = {"ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}}
        kinds["worker"] = {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 3}
        config = {
            "cluster_name": "fake",
            "max_workers": 3,
            "idle_timeout_minutes": 0.1,
            "upscaling_speed": 100,
            "provider": {"type": "fake_multinode", "use_node_id_as_ip": True, "disable_node_updaters": True}
            | {"disable_launch_config_check": True, "head_node_id": HEAD, "gcs_address": self.address},
            "auth": {"ssh_user": "ubuntu"},
            "available_node_types": kinds,
            "head_node_type": "ray.head.default",
            **{key: {} for key in ("file_mounts", "docker", "head_node", "worker_nodes")},
            **{key: [] for key in ("cluster_synced_files", "initialization_commands", "setup_commands")},
            **{key: [] for key in ("head_setup_commands", "worker_setup_commands", "rsync_exclude", "rsync_filter")},
            **{key: [] for key in ("head_start_ray_commands", "worker_start_ray_commands")},
            "file_mounts_sync_continuously": False,
        }
        with open(f"{home}/autoscaler.yaml", "w") as file:
            json.dump(config, file)  # JSON is YAML
        fake = {"RAY_FAKE_CLUSTER": "1", "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD, "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        self.env = {**os.environ, **fake, "I2I_NODES": self.address}
        start = ["start", "--head", f"--port={port}", "--num-cpus=0", f"--autoscaling-config={home}/autoscaler.yaml"]
        start += ["--dashboard-host=127.0.0.1", "--disable-usage-stats"]
        subprocess.run([sys.executable, "-m", "ray.scripts.scripts", *start], check=True, env=self.env)

    def shutdown(self) -> None:
        for process in with_environment("I2I_NODES", self.address):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def workers(self) -> int:
        """How many nodes there are beside the head."""
        ray.init(self.address, logging_level="error", ignore_reinit_error=True)
        return sum(node["Alive"] for node in ray.nodes()) - 1


HEAD = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"


class Scene:
    """A cluster without room, data, and a run of one name."""

    def __init__(self, home: str, workers: str, images: int, autoscaled: bool) -> None:
        head = {"num_cpus": 0, "include_dashboard": True}
        self.cluster: Any = Autoscaled(home) if autoscaled else Cluster(initialize_head=True, head_node_args=head)
        self.home, self.data = home, f"{home}/data"
        shard_glyphs(self.data, "labelled", 16, characters=60)
        env = {"RAY_ADDRESS": self.cluster.address}
        flags = ["--images", str(images), "--checkpoint-every", str(EVERY), "--loaders", "0"]
        flags += ["--workers", workers, "--resize-every", "5"]
        self.run = Run("storm", self.data, f"{home}/runs", flags, env)

    def node(self) -> Any:
        return self.cluster.add_node(num_cpus=1)

    def when(self, what: str, seen: Callable[[str], bool]) -> None:
        """Returns when the run's log is as it is waited for."""
        self.run.when(seen, DEADLINE)
        print(what, flush=True)

    def end(self) -> str:
        assert self.run.driver
        code = self.run.driver.wait(timeout=DEADLINE)
        if code:
            raise RuntimeError(f"exit code {code}:\n{self.run.text()[-6000:]}")
        return self.run.text()

    def close(self) -> None:
        self.run.clean()
        self.cluster.shutdown()


def power_cut(node: Any) -> None:
    """Kills a node's raylet and all that came of it. (`remove_node` leaves its workers alive for a while.)"""
    raylet = node.all_processes["raylet"][0].process.pid
    doomed = [info[0].process.pid for info in node.all_processes.values()]
    doomed += [process.pid for process in with_environment("RAY_RAYLET_PID", str(raylet))]
    for pid in doomed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def replaced(scene: Scene) -> list[str]:
    """Two nodes and two workers. One node is given notice, and goes; then one goes without."""
    _, second = scene.node(), scene.node()
    scene.run.type()
    scene.when("1,200 images on two nodes", past(1_200))
    notice = ["drain-node", "--address", scene.cluster.address, "--node-id", second.node_id]
    notice += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "test"]
    notice += ["--deadline-remaining-seconds", "60"]
    subprocess.run([sys.executable, "-m", "ray.scripts.scripts", *notice], check=True)
    scene.when("told", lambda text: "is being drained: saving" in text)

    def at_once(_: str) -> bool:
        whole = [images_of(name) for name in scene.run.folder.whole_checkpoints()]
        return any(images % EVERY for images in whole)

    scene.when("a checkpoint between two that were due", at_once)
    power_cut(second)
    third = scene.node()
    scene.when("resumed on another", lambda text: "resumed from" in text)
    scene.when("further", past(5_000, "resumed from"))
    power_cut(third)
    scene.node()
    scene.when("resumed again", lambda text: text.count("resumed from") == 2)
    scene.end()
    return differences(state_of(undisturbed(scene.run.folder, scene.data, scene.home, 2)), state_of(scene.run.folder))


def elastic(scene: Scene) -> list[str]:
    """One worker; then three; then two. The same samples at the same places; weights differ by the order of sums, which
    a game of thousands of moves makes large."""
    scene.node()
    scene.run.type()
    scene.when("600 images on one worker", lambda text: past(600)(text) and "over 1 worker," in text)
    second, _ = scene.node(), scene.node()
    scene.when("on three workers", lambda text: "over 3 workers" in text)
    scene.when("further on three", past(1_600, "over 3 workers"))
    power_cut(second)
    scene.when("on two workers", lambda text: "over 2 workers" in text)
    scene.end()
    calm = state_of(undisturbed(scene.run.folder, scene.data, scene.home, 1))
    storm = state_of(scene.run.folder)
    worst = max(
        float((calm["networks"][name] - storm["networks"][name]).abs().max() / calm["networks"][name].abs().max())
        for name in calm["networks"]
        if torch.is_floating_point(calm["networks"][name]) and calm["networks"][name].abs().max() > 0
    )
    print(f"largest difference of a weight, of the largest of its tensor: {worst:.2g}", flush=True)
    same = ("seen", "progress")
    return differences({k: calm[k] for k in same}, {k: storm[k] for k in same})


def scaled(scene: Scene) -> list[str]:
    """From the head alone to two nodes and back."""
    counts = [scene.cluster.workers()]
    scene.run.type()
    scene.when("the cluster is to grow", lambda text: "waiting for the cluster to grow: it has 0 CPUs, 2" in text)
    scene.when("on two workers", lambda text: past(200)(text) and "over 2 workers" in text)
    counts.append(scene.cluster.workers())
    scene.end()
    until = time.monotonic() + 120
    while scene.cluster.workers() and time.monotonic() < until:
        time.sleep(0.5)  # between two looks
    counts.append(scene.cluster.workers())
    return [] if counts == [0, 2, 0] else [f"nodes: {counts}"]


SCENES: dict[str, tuple[Callable[[Scene], list[str]], str, int]] = {
    "scaled": (scaled, "2", 1_000),
    "replaced": (replaced, "2", 8_000),
    "elastic": (elastic, "1:3", 16_000),
}


def main() -> int:
    play, workers, images = SCENES[sys.argv[1]]
    # Under /tmp, which is short: there lie Ray's sockets, and its note of this cluster, to be taken for no other's.
    with tempfile.TemporaryDirectory(prefix="nodes-", dir="/tmp", ignore_cleanup_errors=True) as home:
        os.environ["RAY_TMPDIR"] = home
        scene = Scene(home, workers, images, autoscaled=play is scaled)
        try:
            different = play(scene)
        finally:
            scene.close()
    print("equal" if not different else f"DIFFERENT: {different[:10]}", flush=True)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
