"""Run jobs in a background thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, Event, Thread

Job = Callable[[], None]


class Background:
    """Run jobs one after the other in a thread, which exists only while there are jobs.

    The first exception of a job is raised, once, by the next `put` or `check`.

    Args:
        name: the thread's name.

    Attributes:
        jobs: the jobs that wait.
        error: an exception of a job that `put` or `check` has yet to raise.
        ending: set by `close`. A job that runs until then watches it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: deque[Job] = deque()
        self.error: BaseException | None = None
        self.ending = Event()
        self.thread: Thread | None = None
        self.changed = Condition()

    def put(self, job: Job) -> None:
        """Queue a job. Raise what an earlier job raised."""
        self.check()
        self.add(job)

    def add(self, job: Job) -> None:
        """Queue a job, whatever became of earlier ones."""
        with self.changed:
            self.jobs.append(job)
            if self.thread is None:
                self.thread = Thread(target=self._work, name=self.name, daemon=True)
                self.thread.start()

    def check(self) -> None:
        """Raise what a job raised since the last call."""
        error, self.error = self.error, None
        if error:
            raise error

    def wait(self, within: float | None = None) -> bool:
        """Wait until no job is left, at most `within` seconds. Return whether none is."""
        with self.changed:
            return self.changed.wait_for(lambda: self.thread is None, within)

    def close(self, within: float | None = None) -> bool:
        """Set `ending`, then wait as `wait` does. Jobs that are not done by then are left to run."""
        self.ending.set()
        return self.wait(within)

    def _work(self) -> None:
        while job := self._next():
            try:
                job()
            except BaseException as error:  # the caller's, whatever it is
                self.error = self.error or error

    def _next(self) -> Job | None:
        with self.changed:
            if self.jobs:
                return self.jobs.popleft()
            self.thread = None
            self.changed.notify_all()
            return None
