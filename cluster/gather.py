"""Waits until the autoscaler has brought a run's GPUs, then runs its command:

    ray job submit --working-dir . -- python cluster/gather.py --gpus 4 -- python pipelines/train.py --workers 4 ...

A run refuses to start on a cluster that does not hold its workers; an autoscaled one holds none until somebody asks.
The request ends before the command begins: when the run is over nothing keeps the machines longer than
`idle_timeout_minutes`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence


def gather(
    gpus: int,
    timeout: float,
    request: Callable[[int], object],
    held: Callable[[], int],
    pause: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Asks for so many GPUs and waits for them; what there is when they are there, or at the time-out."""
    end, seen = clock() + timeout, -1
    request(gpus)
    try:
        while (has := held()) < gpus and clock() < end:
            if has != seen:
                print(f"waiting for GPUs: {has} of {gpus} are there", flush=True)
                seen = has
            pause(5.0)
        return has
    finally:
        request(0)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, required=True, help="how many to wait for: the fewest workers of the run")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds after which it gives up")
    parser.add_argument("command", nargs="+", help="after --: what to run then")
    given = parser.parse_args(arguments)

    import ray
    from ray.autoscaler.sdk import request_resources

    ray.init("auto", logging_level="warning")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # `ray job stop`; the request must not outlive the job
    has = gather(
        given.gpus,
        given.timeout,
        lambda gpus: request_resources(bundles=[{"GPU": 1}] * gpus),
        lambda: int(ray.cluster_resources().get("GPU", 0)),
    )
    ray.shutdown()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if has < given.gpus:
        print(
            f"failed: found {has} GPUs after {given.timeout:.0f} s; expected {given.gpus}.\n  `ray status` on the head "
            "says what could not be launched, and why: no capacity in the zone, or the account's quota.",
            file=sys.stderr,
        )
        return 1
    os.execvp(given.command[0], given.command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
