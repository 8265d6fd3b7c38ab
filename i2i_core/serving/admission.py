"""Admit requests: so many at once, with so many bytes of bodies. The memory that clients can take is bounded by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from i2i_core.serving.refusing import RETRIED_AFTER, Refused


class Place:
    """Hold the place of one admitted request, and count the bytes that it has sent."""

    def __init__(self, admission: Admission) -> None:
        self._admission, self.held = admission, 0

    def hold(self, size: int) -> None:
        """Take room for `size` bytes more. Raises Refused 429 where the bodies of all requests have no more room."""
        if self._admission.held + size > self._admission.most_bytes:
            found = f"bodies of {self._admission.held >> 20} MiB in hand"
            raise _busy(found, f"at most {self._admission.most_bytes >> 20} MiB of all requests together")
        self.held += size
        self._admission.held += size


class Admission:
    """Count the requests that are read, wait or run, and the bytes of their bodies. One thread uses it.

    Attributes:
        waiting: requests that are admitted.
        held: bytes of their bodies.
    """

    def __init__(self, most_requests: int, most_bytes: int) -> None:
        self.most_requests, self.most_bytes = most_requests, most_bytes
        self.waiting, self.held = 0, 0

    @contextmanager
    def enter(self) -> Iterator[Place]:
        """Admit a request for the time of the block. Raises Refused 429 where too many are in already."""
        if self.waiting >= self.most_requests:
            raise _busy(f"{self.waiting} requests in hand", f"at most {self.most_requests}")
        place = Place(self)
        self.waiting += 1
        try:
            yield place
        finally:
            self.waiting -= 1
            self.held -= place.held


def _busy(found: str, expected: str) -> Refused:
    return Refused(429, "request", found, expected, f"Send it again after {RETRIED_AFTER} s.")
