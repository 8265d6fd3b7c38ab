"""Use FFmpeg through the package PyAV: its errors in words, its conversion of colours, its numbers."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

INSTALL = "pip install av"
"""Command that installs the package; it is the extra `video`."""
FULL, LIMITED = 2, 1
"""Ranges of the values of colours, by their numbers in FFmpeg."""
CUBIC = 4 | 1 << 18
"""Bicubic, accurately rounded: FFmpeg's numbers."""
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG)
"""Numbers of errors that are no fault of a clip's."""


def package() -> Any:
    """Import PyAV. Raises ValueError, which names the package, where it is not installed."""
    try:
        import av
    except ImportError:
        raise ValueError(f"a video, which takes a package to read: {INSTALL}") from None
    return av


def converter() -> Any:
    """Make a converter of frames, which keeps what it has prepared for the next one."""
    from av.video.reformatter import VideoReformatter  # late: see `package`

    return VideoReformatter()


@contextmanager
def worded(what: str | Callable[[], str], writes: bool = False) -> Iterator[None]:
    """Raise what FFmpeg raises as a ValueError that a person can read; where it writes, as an OSError if the disk is at
    fault."""
    av = package()
    try:
        yield
    except av.FFmpegError as error:
        if writes and error.errno in DISK:
            raise OSError(error.errno, error.strerror) from None
        said = what if isinstance(what, str) else what()
        raise ValueError(f"{said} ({error.strerror or type(error).__name__})") from None
