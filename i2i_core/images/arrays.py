"""Read NumPy's files, `.npy` and `.npz` in memory; their headers are checked before anything else is read."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence

import numpy as np
from numpy.lib import format as npy

from i2i_core.images.limits import MAX_CHANNELS

MAGIC = npy.MAGIC_PREFIX
"""Bytes that every `.npy` begins with."""

_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npy(data: bytes | memoryview) -> np.ndarray:
    """Read an array that lies in `data`, without copying it.

    Args:
        data: the bytes of a whole `.npy`.

    Returns:
        A read-only view of the bytes, in the order and dtype that the header names.

    Raises:
        ValueError: no header, values that are Python objects, or bytes of another number than the header says.
    """
    header = io.BytesIO(data[: 1 << 16])
    try:
        shape, by_columns, dtype = _READERS[npy.read_magic(header)](header)
    except Exception as error:  # numpy evaluates the header, which fails in as many ways as Python's own parser
        raise ValueError(f"an array file whose header cannot be read: {type(error).__name__}") from None
    if dtype.hasobject or dtype.fields is not None or not dtype.itemsize:
        raise ValueError(f"an array of {dtype.name}; only numbers are read")
    if any(size < 0 for size in shape):
        raise ValueError(f"an array of shape {shape}")
    count, held = math.prod(shape), len(data) - header.tell()
    if count * dtype.itemsize != held:
        raise ValueError(f"an array of shape {shape} of {dtype}, {count * dtype.itemsize} bytes, in {held} bytes")
    values = np.frombuffer(data, dtype, count, header.tell()) if held else np.empty(count, dtype)
    return values.reshape(shape, order="F" if by_columns else "C")


def read_pixels(data: bytes | memoryview) -> np.ndarray:
    """Read a picture from the bytes of a whole `.npy`, as (H, W, C); (H, W) has one channel.

    Raises:
        ValueError: as `read_npy`, or an array of another form.
    """
    x = read_npy(data)
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise ValueError(f"an array of shape {x.shape}, not (H, W) or (H, W, C)")
    x = x[..., None] if x.ndim == 2 else x
    if x.shape[2] > MAX_CHANNELS:
        raise ValueError(f"an array of shape {x.shape}: {x.shape[2]} channels; the order must be (H, W, C)")
    return x


def read_npz(data: bytes, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the arrays called `names` from a file that `np.savez` wrote.

    Args:
        data: the bytes of a whole `.npz`.
        names: of the arrays, without `.npy`.

    Raises:
        ValueError: no such file, an array that is missing or damaged, or a compressed one: what is inflated could be
            a thousand times as large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            return {name: read_npy(_stored(packed, f"{name}.npy")).copy() for name in names}
    except KeyError as error:
        raise ValueError(str(error.args[0])) from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, OverflowError) as error:
        raise ValueError(str(error) or type(error).__name__) from None


def _stored(packed: zipfile.ZipFile, name: str) -> bytes:
    info = packed.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return packed.read(info)
