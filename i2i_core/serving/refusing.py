"""Answer a request that cannot be served: a status of HTTP, and the house's four words about what is wrong."""

from __future__ import annotations

from i2i_core.errors import UserError
from i2i_core.names import printable, printable_text

MOST_SHOWN = 200
"""Characters of what was found that an answer repeats."""
RETRIED_AFTER = 1
"""Seconds after which a client that was turned away may come again."""
BUSY = (429, 503)
"""Statuses of requests that may be sent again as they are."""


class Refused(Exception):  # noqa: N818
    """Report why a request is not served.

    Args:
        status: the status of the answer.
        field: the field, header or part that is wrong.
        found: the value that stands there.
        expected: the values that may stand there.
        fix: one sentence that says what to do.
    """

    def __init__(self, status: int, field: str, found: str, expected: str, fix: str) -> None:
        super().__init__(status, field, found, expected, fix)
        self.status, self.field, self.found, self.expected, self.fix = status, field, found, expected, fix

    @classmethod
    def of(cls, error: UserError, field: str) -> Refused:
        """Refuse a value of a field that a part of the house refused, in that part's words."""

        def here(text: str) -> str:
            return text.replace(f"--{field} ", f"{field}=").replace(f"--{field}", field)

        return cls(422, field, here(error.found), here(error.expected), here(error.fix))

    def as_json(self) -> dict[str, dict[str, str]]:
        """Give the body of the answer."""
        said = {"field": printable(self.field), "found": printable(_cut(self.found))}
        return {"error": {**said, "expected": printable(self.expected), "fix": printable_text(self.fix)}}


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
