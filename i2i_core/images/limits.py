"""Limit how large a picture may be, with all its pages and channels, before anything of it is inflated."""

from __future__ import annotations

MAX_PIXELS = 89_478_485
"""Pixels (about 9459 x 9459) of a page, beyond which it is refused: Pillow's own limit against decompression bombs."""
MAX_BYTES = 1 << 28
"""Bytes of a picture's values as they are stored, all pages and channels: 9459 x 9459 of 8-bit RGB."""
MAX_CHANNELS = 512
LARGE_PIXELS = 1 << 28
"""Pixels of a PNG that is read a few rows at a time (`large_png`), at most: 16384 x 16384."""


def check_size(width: int, height: int, channels: int = 1, value_bytes: int = 1) -> None:
    """Refuse a picture that is too large.

    Args:
        channels: of a pixel; pages count as channels.
        value_bytes: bytes of a value.

    Raises:
        ValueError: it has more than `MAX_PIXELS` pixels, or its values take more than `MAX_BYTES`.
    """
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels, over the limit of {MAX_PIXELS}; cut it into tiles first")
    check_bytes(width * height * channels * value_bytes, f"{width} x {height} pixels of {channels} channels")


def check_bytes(size: int, what: str) -> None:
    """Refuse `what`, which takes `size` bytes, where that is more than `MAX_BYTES`."""
    if size > MAX_BYTES:
        taken = f"{-(-size >> 20)} MiB, over the limit of {MAX_BYTES >> 20} MiB"
        raise ValueError(f"{what}, {taken}; cut it into tiles first")
