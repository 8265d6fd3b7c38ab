"""Bring batches to the device ahead of the step, in a thread."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from queue import Queue

from i2i_core.background import Background
from i2i_core.batch import Batch


class Ahead:
    """Move batches from a source to the device in a thread, up to `depth` ahead of the step.

    An error in the source is raised where its batch would have come.
    """

    LEAVE = 5.0
    """Seconds that closing waits for the thread."""

    def __init__(self, source: Iterator[Batch], place: Callable[[Batch], Batch], depth: int = 2) -> None:
        self.source, self.place = source, place
        self.queue: Queue[Batch | BaseException] = Queue(maxsize=depth)
        self.background = Background("data-ahead")
        self.background.put(self._fill)

    def _fill(self) -> None:
        ending = self.background.ending
        try:
            for batch in self.source:
                if ending.is_set():
                    return
                self.queue.put(self.place(batch))
                if ending.is_set():
                    return
            raise StopIteration
        except BaseException as error:  # handed over to the consumer, whatever it is
            self.queue.put(error)
        finally:
            if isinstance(self.source, Generator):
                self.source.close()

    def __iter__(self) -> Ahead:
        return self

    def __next__(self) -> Batch:
        item = self.queue.get()
        if isinstance(item, BaseException):
            self.queue.put(item)  # for who asks again
            raise item
        return item

    def close(self) -> None:
        """End the thread and its source, and drop the batches that were not taken. A thread that is still waiting for
        storage is left behind; it ends when its wait does."""
        self.background.ending.set()
        for _ in range(int(self.LEAVE / 0.05)):
            while not self.queue.empty():
                self.queue.get_nowait()
            if self.background.wait(0.05):
                break
