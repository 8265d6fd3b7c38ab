"""Processes that launch one run at the same moment: `racing` for the claim alone, `launching` with all that follows."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any
from uuid import uuid4

from i2i_core.errors import RunError
from i2i_core.runs.attempts import begin, claim
from i2i_core.runs.folder import RunFolder


def clock_of(run: RunFolder) -> float:
    """The time by the storage's clock, as `launch` takes it."""
    name = f"probe-{uuid4().hex}"
    run.write(name, b"1")
    now = run.modified(name)
    run.remove(name)
    return now


def race(who: str, url: str, pause: float, stand_still: bool) -> str:
    """Launch a run as far as its workers; "" where it is ours, else what a person is told."""
    run = RunFolder(url)
    since = clock_of(run)
    time.sleep(pause)
    if stand_still:
        os.kill(os.getpid(), signal.SIGSTOP)
    try:
        claim(run, who, since)
    except RunError as error:
        return str(error)
    begin(run, who, who.encode())
    return ""


def _racer(number: int, barrier: Any, pipe: Any) -> None:
    while (task := pipe.recv()) is not None:
        url, pause, stand_still = task
        barrier.wait()
        try:
            said = race(f"{number}", url, pause, stand_still)
        except BaseException as error:
            said = f"RAW {error!r}"
        pipe.send(said)


class Racers:
    """Long-lived processes; each round they launch one run together."""

    def __init__(self, many: int) -> None:
        context = get_context("spawn")
        self.many, self.barrier = many, context.Barrier(many)
        ends = [context.Pipe() for _ in range(many)]
        self.pipes = [here for here, _ in ends]
        self.processes = [
            context.Process(target=_racer, args=(i, self.barrier, there), daemon=True)
            for i, (_, there) in enumerate(ends)
        ]
        for process in self.processes:
            process.start()

    def round(self, url: str, chance: random.Random, still: int = -1) -> list[str]:
        """What each was told.

        Args:
            still: who stands still between its beginning and its claim, until the others are done.
        """
        for i, pipe in enumerate(self.pipes):
            pipe.send((url, chance.choice((0, 0, 0.001, 0.01)), i == still))
        told = {i: pipe.recv() for i, pipe in enumerate(self.pipes) if i != still}
        if still >= 0:
            number = self.processes[still].pid or 0
            os.waitpid(number, os.WUNTRACED)  # until it stands still
            os.kill(number, signal.SIGCONT)
            told[still] = self.pipes[still].recv()
        return [told[i] for i in range(self.many)]


@contextmanager
def racers(many: int) -> Iterator[Racers]:
    made = Racers(many)
    try:
        yield made
    finally:
        for pipe in made.pipes:
            pipe.send(None)
        for process in made.processes:
            process.join(30)
