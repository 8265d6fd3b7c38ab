"""NumPy's `.npz` files, looked at by their headers before anything in them is read.

`numpy.savez` stores arrays as they are. So a file's arrays take no more memory than the file: what is compressed, or
says that it is longer than it is, is refused.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import IO

import numpy as np

MOST_HEADER = 1024
"""Bytes of an array's header: those of plain arrays take 128."""


@dataclass(frozen=True)
class Header:
    """Shape and type of a stored array."""

    shape: tuple[int, ...]
    dtype: np.dtype


def read_header(file: IO[bytes]) -> Header:
    """Read an `.npy` header, and leave the file where the values begin.

    Raises:
        ValueError: it is none of a plain array (no pickled objects, no fields).
    """
    version = np.lib.format.read_magic(file)
    known = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in known:
        raise ValueError(f"an array of format {version}")
    shape, _, dtype = known[version](file, max_header_size=MOST_HEADER)
    if dtype.hasobject or dtype.names or dtype.subdtype or not dtype.itemsize or any(n < 0 for n in shape):
        raise ValueError(f"an array of {dtype}")
    return Header(shape, dtype)


def headers(data: bytes, names: Sequence[str]) -> dict[str, Header]:
    """Read the headers of named arrays in the bytes of an `.npz`.

    Raises:
        ValueError: no `.npz`, or one of the arrays is not there once, is compressed, or is of another length than its
            header says.
    """
    with _zip(data) as file:
        return {name: _header(file, name) for name in names}


def read(data: bytes, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read named arrays from the bytes of an `.npz`, once the headers of all are right. Raises ValueError as
    `headers`."""
    headers(data, names)
    with _zip(data) as file:
        return {name: _values(file, name) for name in names}


@contextmanager
def _zip(data: bytes) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            yield file
    except Exception as error:  # a zip of arrays can be broken in many ways, each with its own exception
        raise ValueError(str(error) or type(error).__name__) from None


def _header(file: zipfile.ZipFile, name: str) -> Header:
    found = [info for info in file.infolist() if info.filename == f"{name}.npy"]
    if len(found) != 1:
        raise ValueError(f"{len(found)} arrays called {name}")
    if found[0].compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with file.open(found[0]) as member:
        header = read_header(member)
        size = member.tell() + prod(header.shape) * header.dtype.itemsize
    if not size == found[0].file_size == found[0].compress_size:
        raise ValueError(f"{name} of {found[0].file_size} bytes where its header says {size}")
    return header


def _values(file: zipfile.ZipFile, name: str) -> np.ndarray:
    with file.open(f"{name}.npy") as member:
        values: np.ndarray = np.lib.format.read_array(member, allow_pickle=False, max_header_size=MOST_HEADER)
    return values
