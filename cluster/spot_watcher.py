"""Turn the notice that this machine is about to be taken away into a drain of its Ray nodes.

    python spot_watcher.py aws --address HEAD:6379    watches, until there is a notice
    python spot_watcher.py gcp --address HEAD:6379
    python spot_watcher.py now --seconds 100          a preStop hook: drains, and returns when Ray's node is gone

A training run then saves a checkpoint with its next update. Standard library, and Ray at the notice; it needs what
every process of the cluster needs: RAY_AUTH_MODE and the token.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Protocol

AWS = "http://169.254.169.254"
GCP = "http://metadata.google.internal"
TIMEOUT = 5.0
LONGEST_PAUSE = 30.0
"""Seconds between two requests while the metadata service does not answer."""

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Notice:
    """Hold in how many seconds the machine is taken away, and why."""

    seconds: float
    why: str


Drain = Callable[[Notice], bool]
"""Drains the machine's Ray nodes, and returns whether Ray took the request."""


class Provider(Protocol):
    """Read notices from a cloud's metadata service."""

    every: float
    """Seconds between looks."""

    def look(self) -> Notice | None:
        """Return the notice, if there is one. Raise OSError or HTTPException where the service does not answer well."""


class Aws:
    """Read EC2's instance metadata, version 2.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html

    Args:
        rebalance: also take the earlier, weaker "rebalance recommendation" for a notice.
    """

    every = 5.0

    def __init__(self, base: str = AWS, rebalance: bool = False) -> None:
        self.base, self.rebalance, self.token = base, rebalance, ""

    def look(self) -> Notice | None:
        if found := self._get("/latest/meta-data/spot/instance-action"):
            action = json.loads(found)
            left = (datetime.fromisoformat(action["time"]) - datetime.now(UTC)).total_seconds()
            return Notice(max(0.0, left), f"spot: {action['action']} at {action['time']}")
        if self.rebalance and (found := self._get("/latest/meta-data/events/recommendations/rebalance")):
            return Notice(120.0, f"spot: rebalance recommendation of {json.loads(found)['noticeTime']}")
        return None

    def _get(self, path: str) -> str:
        """Return the value at a path; "" where there is none."""
        if not self.token:
            ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
            self.token = _ask(self.base + "/latest/api/token", ttl, "PUT")[0]
        try:
            return _ask(self.base + path, {"X-aws-ec2-metadata-token": self.token})[0]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return ""
            self.token = ""  # it may have expired; the next look fetches another
            raise


class Gcp:
    """Read Compute Engine's metadata, whose notice is 30 s: https://cloud.google.com/compute/docs/instances/spot."""

    every = 1.0  # the service itself answers only when there is something new
    wait = 60

    def __init__(self, base: str = GCP) -> None:
        self.base, self.etag = base, "0"

    def look(self) -> Notice | None:
        query = f"?wait_for_change=true&timeout_sec={self.wait}&last_etag={self.etag}"
        url = self.base + "/computeMetadata/v1/instance/preempted" + query
        value, self.etag = _ask(url, {"Metadata-Flavor": "Google"}, timeout=self.wait + TIMEOUT)
        return Notice(30.0, "preempted") if value.strip() == "TRUE" else None


def _ask(url: str, headers: dict[str, str], method: str = "GET", timeout: float = TIMEOUT) -> tuple[str, str]:
    """Return the answer and its ETag."""
    request = urllib.request.Request(url, headers=headers, method=method)
    with _direct.open(request, timeout=timeout) as answer:
        return answer.read().decode(), answer.headers.get("ETag", "0")


def watch(provider: Provider, drain: Drain, pause: Callable[[float], object] = time.sleep) -> Notice:
    """Look until there is a notice, then drain, again and again while Ray refuses and the machine lasts."""
    wait = 0.0
    while True:
        try:
            notice = provider.look()
        except (OSError, HTTPException, ValueError, KeyError) as error:
            if not wait:
                say(f"the metadata service does not answer ({error}); asking on")
            wait = min(LONGEST_PAUSE, 2 * wait or 1.0)
            pause(wait)
            continue
        if wait:
            say("the metadata service answers again")
            wait = 0.0
        if notice:
            break
        pause(provider.every)
    say(f"this machine goes in {notice.seconds:.0f} s ({notice.why}): draining")
    end = time.monotonic() + notice.seconds
    while not drain(notice) and time.monotonic() < end:
        pause(1.0)
        notice = Notice(max(0.0, end - time.monotonic()), notice.why)
    return notice


def ray_nodes() -> list[str]:
    """List the ids of the Ray nodes of this machine, or in a container of the container."""
    from ray._private.services import find_node_ids

    return sorted(find_node_ids())


def drain_command(node: str, address: str, notice: Notice) -> list[str]:
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", address, "--node-id", node),
        *("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", notice.why),
        *("--deadline-remaining-seconds", str(int(notice.seconds))),
    ]


def ray_drain(address: str, nodes: Callable[[], list[str]] = ray_nodes) -> Drain:
    """Return a function that drains every Ray node of this machine."""

    def drain(notice: Notice) -> bool:
        found = nodes()
        if not found:
            say("no Ray node on this machine")
        for node in found:
            done = subprocess.run(drain_command(node, address, notice), capture_output=True, text=True, check=False)
            if done.returncode:
                say(f"node {node} is not drained: {(done.stderr or done.stdout).strip()[-500:]}")
                return False
            say(f"node {node} is being drained")
        return bool(found)

    return drain


def now(
    seconds: float,
    drain: Drain,
    nodes: Callable[[], list[str]] = ray_nodes,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Drain, and return when the nodes are gone or the seconds are over."""
    end = time.monotonic() + seconds
    drain(Notice(seconds, "this machine is being stopped"))
    while nodes() and time.monotonic() < end:
        pause(1.0)


def say(line: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} spot_watcher: {line}", flush=True)


def main(arguments: Sequence[str], drain: Drain | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["aws", "gcp", "now"])
    parser.add_argument("--address", default=os.environ.get("RAY_ADDRESS", ""), help="HEAD:PORT; else $RAY_ADDRESS")
    parser.add_argument("--metadata", default="", help="another metadata service than the provider's own")
    parser.add_argument("--rebalance", action="store_true", help="aws: drain at a rebalance recommendation already")
    parser.add_argument("--seconds", type=float, default=100.0, help="now: how long this machine lasts")
    given = parser.parse_args(arguments)
    if not given.address:
        parser.error("found no --address and no RAY_ADDRESS; expected the head's HEAD:PORT")
    drain = drain or ray_drain(given.address)
    if given.what == "now":
        now(given.seconds, drain)
        return 0
    provider: Provider = Gcp(given.metadata or GCP)
    if given.what == "aws":
        provider = Aws(given.metadata or AWS, given.rebalance)
    say(f"watching {given.what}'s metadata service")
    watch(provider, drain)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
