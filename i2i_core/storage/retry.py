"""Retry storage that does not answer, for as long as patience lasts, and log that it does not answer."""

from __future__ import annotations

import errno
import logging
import math
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ClassVar, TypeVar

from i2i_core.credentials import redacted
from i2i_core.errors import WorkerError

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
PATIENCE = "I2I_STORAGE_PATIENCE"
"""Environment variable: seconds that storage may go without answering. Processes inherit it."""
DEFAULT_PATIENCE = 600.0
AT_START = 30.0
"""The same while nothing has begun."""
LONGEST_PAUSE = 15.0
TELL = 3
"""Failed tries in a row before a warning."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a local disk without room."""
_FINAL = (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError)
_FINAL_NUMBERS = {errno.EROFS, errno.EINVAL, errno.ENAMETOOLONG, errno.EMFILE, errno.EMSGSIZE, errno.ENOSYS}
_LIBRARIES = {"aiohttp", "requests", "urllib3", "gcsfs", "google", "azure", "adlfs"}
_NO_WEATHER = ("Credential", "Config", "Validation", "Auth", "Certificate", "InvalidURL")
_OF_BOTOCORE = {"HTTPClientError", "ConnectionError", "IncompleteReadError", "ResponseParserError", "ChecksumError"}
_TRANSIENT = (408, 409, 429)


class StorageError(WorkerError):
    """Report storage that has not answered for `patience` seconds."""


def is_weather(error: BaseException) -> bool:
    """Tell whether a remote filesystem's error is transient: connections, time-outs, 5xx, cut bodies. Not transient: no
    such file, no permission, no credentials, a certificate that nobody trusts."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return False
    if isinstance(error, TimeoutError):
        return True
    if status := _status(error):
        return status in _TRANSIENT or (status >= 500 and status != 501)
    if isinstance(error, OSError):
        return not isinstance(error, _FINAL) and getattr(error, "errno", None) not in _FINAL_NUMBERS
    library, name = type(error).__module__.split(".")[0], type(error).__name__
    if library in ("botocore", "aiobotocore"):
        return any(kind.__name__ in _OF_BOTOCORE for kind in type(error).__mro__)
    return library in _LIBRARIES and not any(word in name for word in _NO_WEATHER)


def _status(error: BaseException) -> int:
    """Find the HTTP status that an error stands for; 0 where it stands for none."""
    for of_botocore in (error, error.__cause__):  # what s3fs raises is caused by botocore's
        answer = getattr(of_botocore, "response", None)
        if isinstance(answer, dict):
            return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    of_others = (getattr(error, name, None) for name in ("status", "status_code", "code"))
    return next((number for number in of_others if isinstance(number, int) and 400 <= number < 600), 0)


def patience() -> float:
    """Count the seconds that storage may go without answering."""
    return min(_MOST.get(), float(os.environ.get(PATIENCE, DEFAULT_PATIENCE)))


_MOST: ContextVar[float] = ContextVar("most patience", default=math.inf)


@contextmanager
def patient_for(seconds: float) -> Iterator[None]:
    """Lower this thread's patience inside the block, or inside the function that this decorates."""
    before = _MOST.set(min(seconds, patience()))
    try:
        yield
    finally:
        _MOST.reset(before)


class Trying:
    """Decide after each error whether to try the storage again, and pause before the next try, longer each time.

    Args:
        where: what is read or written, as a person would name it.

    Attributes:
        began: when the storage last stopped answering; None while it answers.
    """

    _silent: ClassVar[set[str]] = set()  # storages that were warned of, by any thread of this process
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, where: str) -> None:
        self.where = redacted(where)
        self.storage = "/".join(self.where.split("/")[:3])
        self.began: float | None = None
        self.tries = 0

    def answered(self) -> None:
        """Note that the storage answered; patience begins anew."""
        self.began, self.tries = None, 0
        with self._lock:
            told = self.storage in self._silent
            self._silent.discard(self.storage)
        if told:
            logger.info(f"{self.storage} answers again")

    def failed(self, error: Exception) -> None:
        """Pause before the caller's next try, or raise.

        Raises:
            StorageError: the storage has not answered for `patience` seconds.
            PermissionError: the storage refused, or there are no credentials.
        Raises the error itself where no retry would help.
        """
        if _is_refusal(error):
            raise PermissionError(errno.EACCES, f"refused ({_short(error)})", self.where) from error
        if not is_weather(error):
            raise error
        now = time.monotonic()
        self.began = self.began or now
        self.tries += 1
        left = patience() - (now - self.began)
        if left <= 0:
            raise StorageError(
                f"{self.where} has not answered for {patience():.0f} s ({_short(error)}). "
                "What was saved is whole; the same command goes on from there once the storage answers."
            ) from error
        if self.tries == TELL:
            with self._lock:
                new = self.storage not in self._silent
                self._silent.add(self.storage)
            if new:
                logger.warning(f"{self.where} does not answer ({_short(error)}); trying again for {left:.0f} s")
        pause = min(LONGEST_PAUSE, 0.1 * 2 ** min(self.tries, 10)) * (0.5 + random.random() / 2)
        logger.debug(f"{self.where}: try {self.tries} failed ({_short(error)}); the next in {pause:.1f} s")
        time.sleep(min(pause, left + 0.01))


def _is_refusal(error: Exception) -> bool:
    words = ("Credential", "Profile", "Token", "SSO", "Auth")
    return isinstance(error, PermissionError) or any(word in type(error).__name__ for word in words)


def _short(error: Exception) -> str:
    """Shorten an error to one line, without credentials and without the queries of addresses."""
    line = f"{type(error).__name__}: {error}".split("\n")[0]
    return redacted(re.sub(r"\?[^\s\"']*=[^\s\"']*", "", line))[:200]


def patiently(where: str, call: Callable[[], Answer]) -> Answer:
    """Call a function, again and again while storage does not answer, and return its result. Raises as
    `Trying.failed`."""
    trying = Trying(where)
    while True:
        try:
            result = call()
        except Exception as error:
            trying.failed(error)
        else:
            trying.answered()
            return result
