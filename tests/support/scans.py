"""Writes DICOM files, element by element, and what other scanners write."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
JPEG = "1.2.840.10008.1.2.4.50"

_ELEMENTS = {
    "frames": (0x0028, 0x0008, "IS"),
    "samples": (0x0028, 0x0002, "US"),
    "colours": (0x0028, 0x0004, "CS"),
    "planar": (0x0028, 0x0006, "US"),
    "rows": (0x0028, 0x0010, "US"),
    "columns": (0x0028, 0x0011, "US"),
    "allocated": (0x0028, 0x0100, "US"),
    "stored": (0x0028, 0x0101, "US"),
    "high": (0x0028, 0x0102, "US"),
    "signed": (0x0028, 0x0103, "US"),
    "centre": (0x0028, 0x1050, "DS"),
    "width": (0x0028, 0x1051, "DS"),
    "intercept": (0x0028, 0x1052, "DS"),
    "slope": (0x0028, 0x1053, "DS"),
}


def dicom(x: np.ndarray, syntax: str = EXPLICIT, **tags: Any) -> bytes:
    """A file of one picture, (H, W) or (H, W, 3). `tags` add to or replace those that follow from it; None: without."""
    order = ">" if syntax == BIG else "<"
    bits = 8 * x.itemsize
    values: dict[str, Any] = {"samples": 1 if x.ndim == 2 else 3, "colours": "MONOCHROME2" if x.ndim == 2 else "RGB"}
    values |= {"rows": x.shape[0], "columns": x.shape[1], "allocated": bits, "stored": bits, "high": bits - 1}
    values |= {"signed": int(x.dtype.kind == "i"), **tags}
    out = b""
    for name, (group, element, kind) in sorted(_ELEMENTS.items(), key=lambda item: item[1]):
        if values.get(name) is not None:
            value = struct.pack(f"{order}H", values[name]) if kind == "US" else str(values[name]).encode()
            out += _element(group, element, kind, value, order, syntax == IMPLICIT)
    pixels = x.astype(x.dtype.newbyteorder(order)).tobytes()
    out += _element(0x7FE0, 0x0010, "OB" if bits == 8 else "OW", pixels, order, syntax == IMPLICIT)
    of_file = _element(2, 0x10, "UI", syntax.encode() + b"\0" * (len(syntax) % 2), "<", False)
    length = _element(2, 0, "UL", struct.pack("<I", len(of_file)), "<", False)
    return bytes(128) + b"DICM" + length + of_file + out


def _element(group: int, element: int, kind: str, value: bytes, order: str, implicit: bool) -> bytes:
    value += b" " * (len(value) % 2) if kind not in ("OB", "OW") else b"\0" * (len(value) % 2)
    tag = struct.pack(f"{order}HH", group, element)
    if implicit:
        return tag + struct.pack(f"{order}I", len(value)) + value
    if kind in ("OB", "OW"):
        return tag + kind.encode() + bytes(2) + struct.pack(f"{order}I", len(value)) + value
    return tag + kind.encode() + struct.pack(f"{order}H", len(value)) + value


def slices(kind: str = "int16") -> np.ndarray:
    """Values as a scanner gives them, (16, 16), from -1024 to 3071."""
    y, x = np.mgrid[0:16, 0:16]
    return np.clip((np.sin(x / 4) + np.cos(y / 3)) * 2000, -1024, 3071).astype(kind)
