"""A run whose processes are killed at random moments must end as one that was left alone.

make chaos                                            8 kills
python -m tests.chaos --kills 20 --seed 7 --workers 2

Victims are a training worker, a loader process, the driver, the raylet of the node, and all processes of the run
together, each by SIGKILL; and the driver is given notice, by SIGTERM. Ray's own retry brings back workers and loaders;
after anything else the command is typed again. At the end networks, optimisers and progress are compared, bit for bit,
with those of plain processes that train the same without Ray.
Linux only: processes are found in /proc.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time

from i2i_core.orchestration.sharding import shard_glyphs

from .support.processes import VICTIMS, Run, differences, state_of, undisturbed


def to_the_end(run: Run, kills: list[str], chance: random.Random, longest: float, deadline: float) -> list[str]:
    """Types the command, kills, and types it again until it has finished. Who was killed, and when.

    Args:
        kills: kinds of victims, in order.
        longest: seconds between one kill and the next, at most; the moment is drawn.
        deadline: seconds after which it is given up.

    Raises:
        RuntimeError: it did not end in time, or failed without having been killed, or ended before all were killed.
    """
    began, waiting, done = time.monotonic(), list(kills), []
    driver, moment = run.type(), time.monotonic() + chance.uniform(5, longest)
    while True:
        try:
            code = driver.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            code = None
        now = time.monotonic()
        if now - began > deadline:
            run.clean()
            raise RuntimeError(f"not at its end after {deadline:.0f} s, {done}:\n{run.text()[-4000:]}")
        if code == 0 and waiting:
            raise RuntimeError(f"ended after {done}, before there was a {waiting[0]} to kill: more --images are needed")
        if code == 0:
            return done
        if code is not None:
            if not done:
                raise RuntimeError(f"failed with {code} unharmed:\n{run.text()[-4000:]}")
            driver, moment = run.type(), time.monotonic() + chance.uniform(5, longest)
        elif waiting and now > moment and run.kill(waiting[0], chance):
            done.append(f"{waiting.pop(0)} at {now - began:.0f} s")
            print(f"  {now - began:5.0f} s  killed {done[-1].split(' ')[0]}", flush=True)
            moment = now + chance.uniform(5, longest)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--longest", type=float, default=30, help="most seconds between two kills")
    parser.add_argument("--deadline", type=float, default=1800, help="seconds for the whole disturbed run")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="chaos-") as home:
        data = f"{home}/data"
        shard_glyphs(data, "labelled", 16, characters=60)
        flags = ["--images", str(given.images), "--checkpoint-every", "500", "--workers", str(given.workers)]
        flags += ["--loaders", "1", "--max-failures", str(given.kills)]
        run = Run("storm", data, f"{home}/runs", flags)
        rounds = [chance.sample(VICTIMS, len(VICTIMS)) for _ in range(-(-given.kills // len(VICTIMS)))]
        kills = [kind for each in rounds for kind in each][: given.kills]
        began = time.monotonic()
        done = to_the_end(run, kills, chance, given.longest, given.deadline)
        run.clean()
        seconds = round(time.monotonic() - began)
        print(json.dumps({"seed": given.seed, "killed": done, "typed": run.typed, "seconds": seconds}), flush=True)
        different = differences(state_of(undisturbed(run.folder, data, home, given.workers)), state_of(run.folder))
        print("equal, bit for bit" if not different else f"DIFFERENT: {different[:10]}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
