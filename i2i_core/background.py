"""Do work beside the program, in a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, Event, Thread

Job = Callable[[], None]


class Background:
    """Does jobs one after the other in a thread, which is there as long as there are any.

    What a job raises is the caller's: `put` and `check` raise it, once.

    Args:
        name: of the thread.

    Attributes:
        jobs: those that wait.
        error: what a job raised, while nobody was told.
        ending: set when the worker is closed; a job that goes on until then looks at it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: deque[Job] = deque()
        self.error: BaseException | None = None
        self.ending = Event()
        self.thread: Thread | None = None
        self.changed = Condition()

    def put(self, job: Job) -> None:
        """Do a job after those that were put before. Raises what one of them raised."""
        self.check()
        self.add(job)

    def add(self, job: Job) -> None:
        """Do a job after those that were put before, whatever became of them."""
        with self.changed:
            self.jobs.append(job)
            if self.thread is None:
                self.thread = Thread(target=self._work, name=self.name, daemon=True)
                self.thread.start()

    def check(self) -> None:
        """Raise what a job raised."""
        error, self.error = self.error, None
        if error:
            raise error

    def wait(self, within: float | None = None) -> bool:
        """Wait until no job is left, for so many seconds at most; tell if none is."""
        with self.changed:
            return self.changed.wait_for(lambda: self.thread is None, within)

    def close(self, within: float | None = None) -> bool:
        """Have jobs end that go on until then, and wait as `wait` does. What is not done by then is left to itself."""
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
